use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::net::{HostId, Lost};
use crate::trace::Record;

/// What a world did so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Virtual time since the world began.
    pub now: Duration,
    /// Things that happened: arrivals and deadlines.
    pub steps: u64,
    /// Datagrams.
    pub traffic: Traffic,
    /// A number that two runs share only if they did the same.
    pub digest: u64,
}

/// Counts datagrams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Datagrams that hosts sent.
    pub sent: u64,
    /// Their bytes, without headers.
    pub sent_bytes: u64,
    /// Second copies that the network made.
    pub copied: u64,
    /// Datagrams and copies that reached a socket.
    pub delivered: u64,
    /// Those that did not, by reason.
    pub lost: BTreeMap<Lost, u64>,
}

/// A run that did not do what it should.
#[derive(Clone, thiserror::Error)]
pub struct Failure {
    /// Gives the same run again.
    pub seed: u64,
    /// Virtual time of the failure.
    pub at: Duration,
    /// What went wrong.
    pub why: Why,
    /// What happened last.
    pub tail: Vec<Record>,
}

/// What went wrong in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// What was waited for did not happen in time.
    Limit,
    /// A host broke the rule.
    Broken(HostId, &'static str),
    /// A machine asks to be woken at a time that has passed, again and again.
    Spinning(HostId),
    /// A machine insists on a port that is taken.
    NoPort(HostId),
    /// A property of the whole run does not hold.
    Unmet(&'static str),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} failed after {:?}: {:?}; what happened last:", self.seed, self.at, self.why)?;
        self.tail.iter().try_for_each(|record| writeln!(f, "{record}"))
    }
}

impl fmt::Debug for Failure {
    /// A test that unwraps shows this: a trace is read line by line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Traffic { sent, sent_bytes, copied, delivered, lost } = &self.traffic;
        writeln!(f, "virtual time     {:?}", self.now)?;
        writeln!(f, "steps            {}", self.steps)?;
        writeln!(f, "datagrams sent   {sent} ({sent_bytes} bytes), {copied} copied, {delivered} delivered")?;
        for (why, count) in lost {
            writeln!(f, "  lost           {count} ({why:?})")?;
        }
        writeln!(f, "trace            {:016x}", self.digest)
    }
}
