use std::collections::VecDeque;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddrV4;
use std::time::Duration;

use crate::net::{HostId, Lost};

/// How many records a failure shows.
const TAIL: usize = 200;
/// First bytes of a datagram in a record: enough to tell what it is.
const HEAD: usize = 12;

/// Everything that happened, as one number, and the last of it in full.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    hasher: DefaultHasher,
    tail: VecDeque<Record>,
}

/// One thing that happened in a world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// When.
    pub at: Duration,
    /// To whom.
    pub host: HostId,
    /// What.
    pub what: Step,
}

/// A kind of [`Record`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// The host's machine was replaced by a new one.
    Started,
    /// The host's machine or script was taken away.
    Killed,
    /// The host was suspended.
    Slept,
    /// The host went on.
    Woke,
    /// The host's machine was told that its interfaces changed.
    NetworkChanged,
    /// A deadline passed.
    TimedOut,
    /// Its owner called the machine.
    Called,
    /// A socket was bound.
    Opened(u16),
    /// A name was looked up, with so many addresses.
    Resolved(usize),
    /// The machine raised an event, in its own words.
    Raised(String),
    /// A datagram left, or was lost on the way.
    Sent {
        /// Port it left from.
        port: u16,
        /// Its destination.
        to: SocketAddrV4,
        /// Its beginning and length.
        bytes: Sample,
        /// Why it will not arrive.
        lost: Option<Lost>,
    },
    /// A datagram arrived, or was lost at the end of its way.
    Received {
        /// Its source, as the host sees it.
        from: SocketAddrV4,
        /// Port it arrived at.
        port: u16,
        /// Its beginning and length.
        bytes: Sample,
        /// Why it did not.
        lost: Option<Lost>,
    },
}

/// The beginning of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sample {
    head: [u8; HEAD],
    len: usize,
}

impl Trace {
    pub(crate) fn record(&mut self, record: Record, bytes: &[u8]) {
        record.hash(&mut self.hasher);
        self.hasher.write(bytes);
        if self.tail.len() == TAIL {
            self.tail.pop_front();
        }
        self.tail.push_back(record);
    }

    /// Returns a number that two runs share only if they did the same.
    pub(crate) fn digest(&self) -> u64 {
        self.hasher.finish()
    }

    pub(crate) fn tail(&self) -> Vec<Record> {
        self.tail.iter().cloned().collect()
    }
}

impl Sample {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let mut head = [0; HEAD];
        let shown = bytes.len().min(HEAD);
        head[..shown].copy_from_slice(&bytes[..shown]);
        Self { head, len: bytes.len() }
    }
}

impl fmt::Debug for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head.iter().take(self.len).try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, "… ({} bytes)", self.len)
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let HostId(host) = self.host;
        write!(f, "{:>13.6} host {host:<5} ", self.at.as_secs_f64())?;
        if let Step::Sent { port, to: peer, bytes, lost } = &self.what {
            write!(f, ":{port} -> {peer} {bytes:?}")?;
            lost.map_or(Ok(()), |why| write!(f, " lost: {why:?}"))
        } else if let Step::Received { port, from: peer, bytes, lost } = &self.what {
            write!(f, ":{port} <- {peer} {bytes:?}")?;
            lost.map_or(Ok(()), |why| write!(f, " lost: {why:?}"))
        } else {
            write!(f, "{:?}", self.what)
        }
    }
}
