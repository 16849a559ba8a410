use std::fmt;
use std::process::ExitCode;

use node::channel::{ChannelError, OpenError};
use node::control::ControlError;
use node::{
    AskError, ConnectError, DataDirError, DialError, PutError, ResidentError, SendError, SpawnError, Stopped,
    SwarmError, WalkError,
};

/// How the program ends; the help text lists the codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done,
    Failed,
    Usage,
    NoNetwork,
    System,
    Interrupted,
    /// The doctor's verdict has codes of its own.
    Verdict(u8),
}

impl From<Exit> for u8 {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::NoNetwork => 3,
            Exit::System => 4,
            Exit::Interrupted => 130,
            Exit::Verdict(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(u8::from(exit))
    }
}

/// What went wrong, for people, for programs, and for the shell.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) exit: Exit,
    /// Name of the case in JSON.
    pub(crate) code: &'static str,
    pub(crate) error: anyhow::Error,
}

impl Failed {
    pub(crate) fn new(code: &'static str, error: impl fmt::Display) -> Self {
        Self { exit: Exit::Failed, code, error: anyhow::Error::msg(error.to_string()) }
    }

    pub(crate) fn usage(error: impl fmt::Display) -> Self {
        Self { exit: Exit::Usage, ..Self::new("usage", error) }
    }

    pub(crate) fn no_network(error: impl fmt::Display) -> Self {
        Self { exit: Exit::NoNetwork, ..Self::new("no-network", error) }
    }

    pub(crate) fn interrupted() -> Self {
        Self { exit: Exit::Interrupted, ..Self::new("interrupted", "interrupted") }
    }

    pub(crate) fn system(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::System, code: "system", error: error.into() }
    }

    /// The doctor found something, which is printed already.
    pub(crate) fn verdict(code: u8) -> Self {
        Self { exit: Exit::Verdict(code), ..Self::new("verdict", "see the report") }
    }

    /// Tells whether the reader of our output went away, which ends us and is no failure.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        let kind = self.error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        kind == Some(std::io::ErrorKind::BrokenPipe)
    }
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        Self::system(error)
    }
}

impl From<SpawnError> for Failed {
    fn from(error: SpawnError) -> Self {
        Self::system(error)
    }
}

impl From<monitor::MonitorError> for Failed {
    fn from(error: monitor::MonitorError) -> Self {
        Self::system(error)
    }
}

impl From<monitor::SourceError> for Failed {
    fn from(error: monitor::SourceError) -> Self {
        Self::system(error)
    }
}

impl From<DataDirError> for Failed {
    fn from(error: DataDirError) -> Self {
        Self::system(error)
    }
}

impl From<ResidentError> for Failed {
    fn from(error: ResidentError) -> Self {
        Self::system(error)
    }
}

impl From<ControlError> for Failed {
    fn from(error: ControlError) -> Self {
        Self::system(error)
    }
}

impl From<OpenError> for Failed {
    fn from(error: OpenError) -> Self {
        Self::system(error)
    }
}

impl From<ChannelError> for Failed {
    fn from(error: ChannelError) -> Self {
        match error {
            ChannelError::Stopped => Self::new("stopped", error),
            ChannelError::Refused(_) | _ => Self::usage(error),
        }
    }
}

impl From<db::StartError> for Failed {
    fn from(error: db::StartError) -> Self {
        Self::system(error)
    }
}

impl From<db::DiscoverError> for Failed {
    fn from(error: db::DiscoverError) -> Self {
        match error {
            db::DiscoverError::Channel(error) => error.into(),
            db::DiscoverError::Join(error) => error.into(),
            db::DiscoverError::Swarm(error) => error.into(),
            _ => Self::new("failed", error),
        }
    }
}

impl From<db::Stopped> for Failed {
    fn from(error: db::Stopped) -> Self {
        Self::new("stopped", error)
    }
}

impl From<db::control::Failed> for Failed {
    fn from(error: db::control::Failed) -> Self {
        match error {
            db::control::Failed::Database(error) => error.into(),
            db::control::Failed::Backup(error) => error.into(),
            error => Self { exit: Exit::Failed, code: "failed", error: error.into() },
        }
    }
}

impl From<db::BackupError> for Failed {
    fn from(error: db::BackupError) -> Self {
        Self::system(error)
    }
}

impl From<db::Error> for Failed {
    fn from(error: db::Error) -> Self {
        let code = match &error {
            db::Error::Taken => "taken",
            db::Error::NoAccount => "no-account",
            db::Error::SignIn(_) => "sign-in",
            db::Error::NoAnswer => "no-answer",
            db::Error::Put(_) => "refused",
            db::Error::Invalid(_) => return Self::usage(error),
            _ => "failed",
        };
        Self { exit: Exit::Failed, code, error: error.into() }
    }
}

impl From<Stopped> for Failed {
    fn from(error: Stopped) -> Self {
        Self::new("stopped", error)
    }
}

impl From<AskError> for Failed {
    fn from(error: AskError) -> Self {
        Self::new("no-answer", error)
    }
}

impl From<SendError> for Failed {
    fn from(error: SendError) -> Self {
        Self::new("closed", error)
    }
}

impl From<SwarmError> for Failed {
    fn from(error: SwarmError) -> Self {
        Self::new("failed", error)
    }
}

impl From<ConnectError> for Failed {
    fn from(error: ConnectError) -> Self {
        let code = match error {
            ConnectError::Dial(error) => dial_code(error),
            ConnectError::Stopped(_) | _ => "stopped",
        };
        Self::new(code, error)
    }
}

/// Names as `hyperdht lib/errors.js` has them, where it has one.
const fn dial_code(error: DialError) -> &'static str {
    match error {
        DialError::NotFound => "peer-not-found",
        DialError::NoAnswer => "peer-connection-failed",
        DialError::Incompatible => "server-incompatible",
        DialError::Refused(_) => "server-error",
        DialError::Unreachable => "peer-unreachable",
        DialError::CannotPunch => "cannot-holepunch",
        DialError::PunchAborted => "holepunch-aborted",
        DialError::NatUnknown => "holepunch-probe-timeout",
        DialError::DoubleRandom => "holepunch-double-randomized-nats",
        DialError::NotPunching => "remote-not-holepunching",
        DialError::NotPunchable => "remote-not-holepunchable",
        DialError::RelayAborted => "relay-aborted",
        DialError::Suspended => "suspended",
        DialError::TooBusy => "too-busy",
        DialError::Canceled | _ => "canceled",
    }
}

impl From<WalkError> for Failed {
    fn from(error: WalkError) -> Self {
        match error {
            WalkError::NoNodes => Self::no_network(error),
            WalkError::Suspended | WalkError::Busy | WalkError::Stopped(_) | _ => Self::new("failed", error),
        }
    }
}

impl From<PutError> for Failed {
    fn from(error: PutError) -> Self {
        match error {
            PutError::Walk(error) => error.into(),
            PutError::TooLong => Self { code: "too-long", ..Self::usage(error) },
            _ => Self::new("failed", error),
        }
    }
}
