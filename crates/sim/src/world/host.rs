use std::fmt;
use std::net::SocketAddrV4;
use std::time::Duration;

use dht::Hyper;
use wire::SocketId;

/// What runs on a host, and what it holds of the world.
#[derive(Debug, Default)]
pub(super) struct Host {
    pub(super) resident: Resident,
    pub(super) sockets: Vec<(SocketId, u16)>,
    /// The deadline for which an alarm waits in the queue; alarms for others are void.
    pub(super) wake: Option<Duration>,
    pub(super) spins: u8,
    pub(super) asleep: bool,
}

#[derive(Default)]
pub(super) enum Resident {
    #[default]
    Nobody,
    Node(Box<Hyper>),
    Script(Script),
}

/// A host that does as its test says: a liar, a flooder, a dead end.
pub type Script = Box<dyn FnMut(&Heard<'_>) -> Vec<Said>>;

/// A datagram that a script got.
#[derive(Clone, Copy, Debug)]
pub struct Heard<'a> {
    /// Virtual time.
    pub now: Duration,
    /// The script's address and the port that the datagram was for.
    pub at: SocketAddrV4,
    /// Its source.
    pub from: SocketAddrV4,
    /// The datagram.
    pub bytes: &'a [u8],
}

/// A datagram that a script sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Waits this long first.
    pub after: Duration,
    /// Port it leaves from.
    pub port: u16,
    /// A false source, instead of the host's address and that port.
    pub spoof: Option<SocketAddrV4>,
    /// Its destination.
    pub to: SocketAddrV4,
    /// The datagram.
    pub bytes: Vec<u8>,
}

impl Said {
    /// Makes a datagram that leaves at once under its true source.
    #[must_use]
    pub const fn new(port: u16, to: SocketAddrV4, bytes: Vec<u8>) -> Self {
        Self { after: Duration::ZERO, port, spoof: None, to, bytes }
    }
}

impl fmt::Debug for Resident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nobody => "Nobody",
            Self::Node(_) => "Node",
            Self::Script(_) => "Script",
        })
    }
}
