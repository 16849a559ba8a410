use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::words::Cause;

/// What one check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its name.
    pub check: &'static str,
    /// How bad it is.
    pub grade: Grade,
    /// Why, where something is wrong or limited.
    pub cause: Option<Cause>,
    /// In a sentence, without addresses, keys and topics.
    pub sentence: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// As it should be.
    Fine,
    /// A limit that one can live with.
    Note,
    /// It works, through a third peer.
    Relayed,
    /// Something does not work.
    Fault,
    /// Not examined, or not known.
    Skipped,
}

impl Finding {
    pub(super) fn fine(check: &'static str, sentence: impl Into<String>) -> Self {
        Self { check, grade: Grade::Fine, cause: None, sentence: sentence.into() }
    }

    pub(super) fn relayed(check: &'static str, sentence: impl Into<String>) -> Self {
        Self { check, grade: Grade::Relayed, cause: None, sentence: sentence.into() }
    }

    pub(super) fn skipped(check: &'static str, sentence: impl Into<String>) -> Self {
        Self { check, grade: Grade::Skipped, cause: None, sentence: sentence.into() }
    }

    pub(super) fn note(check: &'static str, cause: Cause, sentence: impl Into<String>) -> Self {
        Self { check, grade: Grade::Note, cause: Some(cause), sentence: sentence.into() }
    }

    pub(super) fn fault(check: &'static str, cause: Cause, sentence: impl Into<String>) -> Self {
        Self { check, grade: Grade::Fault, cause: Some(cause), sentence: sentence.into() }
    }
}

impl Finding {
    /// Tells whether a peer answered, and no way to it was found in time.
    fn is_slow(&self) -> bool {
        self.grade == Grade::Note && self.cause == Some(Cause::RelayNone)
    }
}

/// What all checks found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// One for each check, in the order they were made.
    pub findings: Vec<Finding>,
}

impl Report {
    pub(super) fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Returns the first fault: checks go from what others rest on to what rests on them.
    pub fn root(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.grade == Grade::Fault)
    }

    /// Returns the cause of the first fault.
    pub fn cause(&self) -> Option<Cause> {
        self.root()?.cause
    }

    /// Says the result in a sentence.
    pub fn verdict(&self) -> String {
        let fine = self.findings.iter().filter(|finding| finding.grade == Grade::Fine).count();
        let notes = self.findings.iter().filter(|finding| finding.grade == Grade::Note).count();
        match self.root() {
            Some(fault) => fault.sentence.clone(),
            None if notes == 1 => "It works, with one limit to know of.".into(),
            None if notes > 0 => format!("It works, with {notes} limits to know of."),
            None => format!("No fault was found by {fine} checks."),
        }
    }

    /// Returns the exit code: 0 fine, 10 only through a relay, 20 there and no way to it yet,
    /// 30 not found, 31 refused, 40 a fault of the network,
    /// 50 one of this computer.
    pub fn exit_code(&self) -> u8 {
        match self.cause() {
            None if self.findings.iter().any(|finding| finding.grade == Grade::Relayed) => 10,
            None if self.findings.iter().any(Finding::is_slow) => 20,
            None => 0,
            Some(Cause::PeerRefused | Cause::PeerVersion) => 31,
            Some(Cause::PeerNotAnnounced | Cause::PeerOffline) => 30,
            Some(
                Cause::NetDown
                | Cause::NoRoute
                | Cause::DnsFail
                | Cause::UdpBlocked
                | Cause::BootstrapUnreachable
                | Cause::NatSymmetric
                | Cause::Firewalled
                | Cause::NatSymmetricBoth
                | Cause::RelayNone
                | Cause::RelayFailed
                | Cause::EclipseSuspected,
            ) => 40,
            Some(Cause::ClockSkew | Cause::PortInUse | Cause::FdLimit | Cause::StoreUnusable) => 50,
        }
    }

    /// Writes it for a file that may be shown to others: no address, key or topic is in it.
    pub fn text(&self) -> String {
        let mut out = format!("homing {} self-test\n\n{}\n\n", env!("CARGO_PKG_VERSION"), self.verdict());
        for finding in &self.findings {
            let grade = match finding.grade {
                Grade::Fine => "fine   ",
                Grade::Note => "note   ",
                Grade::Relayed => "relayed",
                Grade::Fault => "FAULT  ",
                Grade::Skipped => "skipped",
            };
            writeln!(out, "{grade}  {:12} {}", finding.check, finding.sentence)
                .expect("a string takes everything");
            if let Some(cause) = finding.cause {
                writeln!(out, "                      {}: {}", cause.code(), cause.advice())
                    .expect("a string takes everything");
            }
        }
        out
    }

    /// Gives it to programs.
    pub fn json(&self) -> serde_json::Value {
        let findings = self.findings.iter().map(|finding| {
            serde_json::json!({
                "check": finding.check, "grade": finding.grade, "sentence": finding.sentence,
                "cause": finding.cause.map(Cause::code), "advice": finding.cause.map(Cause::advice),
            })
        });
        serde_json::json!({
            "event": "report", "verdict": self.verdict(), "cause": self.cause().map(Cause::code),
            "exit_code": self.exit_code(), "findings": findings.collect::<Vec<_>>(),
        })
    }
}
