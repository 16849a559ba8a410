use std::process::ExitCode;

use pehr::StartError;
use pehr::control::ControlError;

/// Why a command failed, for people, for programs and for the shell.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) exit: u8,
    pub(crate) code: String,
    pub(crate) message: String,
}

impl Failed {
    pub(crate) fn new(code: &str, message: impl std::fmt::Display) -> Self {
        Self { exit: exit_of(code), code: code.into(), message: message.to_string() }
    }

    pub(crate) fn code(&self) -> ExitCode {
        self.exit.into()
    }
}

/// As the help text lists them.
fn exit_of(code: &str) -> u8 {
    match code {
        "usage" | "ambiguous" => 2,
        "not-running" | "nobody-there" | "offline" | "late" | "parted" | "network" | "ending" => 3,
        "system" | "file" | "vault" | "store" | "damaged" | "unknown-version" => 4,
        "locked" | "wrong-passphrase" | "phrase" => 5,
        "interrupted" => 130,
        _ => 1,
    }
}

impl From<ControlError> for Failed {
    fn from(error: ControlError) -> Self {
        match &error {
            ControlError::NotRunning(_) => Self::new("not-running", &error),
            ControlError::Refused { code, .. } => Self::new(code, &error),
            _ => Self::new("system", &error),
        }
    }
}

impl From<StartError> for Failed {
    fn from(error: StartError) -> Self {
        match &error {
            StartError::Refused { code, .. } => Self::new(code, &error),
            _ => Self::new("system", &error),
        }
    }
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        Self::new("system", error)
    }
}
