use std::net::SocketAddrV4;
use std::time::Duration;

use wire::{Id, SocketId};

use super::knock::Knock;
use crate::config::{Patience, Ports};
use crate::key::KeyPair;
use crate::walk::WalkFigures;
use wire::PublicKey;

/// Names something that was started and will end with [`Event::Finished`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(pub(crate) u64);

/// Something to do once.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Task {
    /// Ask one node whether it is there.
    Ping {
        /// Whom.
        to: SocketAddrV4,
    },
    /// Make one request of any kind.
    Call {
        /// Whom.
        to: SocketAddrV4,
        /// What.
        command: wire::Command,
        /// About which point of the key space.
        target: Option<Id<32>>,
        /// The command's argument.
        value: Option<Vec<u8>>,
        /// From where, and how often.
        sending: Sending,
    },
    /// Find the nodes closest to a target.
    FindNode {
        /// The target.
        target: Id<32>,
    },
    /// Find who serves a key.
    FindPeer {
        /// The hash of the key.
        target: Id<32>,
    },
    /// Find who announced a topic.
    Lookup {
        /// The topic.
        topic: Id<32>,
    },
    /// Announce a key under a topic, once; also finds who else did.
    Announce {
        /// The topic; the hash of the key announces the key itself.
        topic: Id<32>,
        /// The key.
        key: KeyPair,
        /// Nodes that pass handshakes on to it, three at most.
        relays: Vec<SocketAddrV4>,
        /// When the topic last changed; 0 is never.
        bump: u64,
    },
    /// Remove a key from a topic wherever it is found.
    Unannounce {
        /// The topic.
        topic: Id<32>,
        /// The key.
        key: KeyPair,
    },
    /// Store a value under its hash.
    ImmutablePut {
        /// At most [`Task::VALUE_MAX`] bytes.
        value: Vec<u8>,
    },
    /// Read a value by its hash.
    ImmutableGet {
        /// The hash.
        target: Id<32>,
    },
    /// Store a signed value under the hash of its key.
    MutablePut {
        /// The key.
        key: KeyPair,
        /// Must be above the one stored.
        seq: u64,
        /// At most [`Task::VALUE_MAX`] bytes.
        value: Vec<u8>,
    },
    /// Read a signed value: of all answers, the one with the highest sequence number.
    MutableGet {
        /// The key.
        key: PublicKey,
        /// The lowest sequence number of interest.
        seq: u64,
    },
}

/// How a request of [`Task::Call`] is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sending {
    /// The socket; the active one, where none is named.
    pub from: Option<SocketId>,
    /// Times that it is repeated before it fails.
    pub retries: u8,
    /// How long each sending waits for an answer; the plain request's second, where nothing is said.
    pub patience: Option<Patience>,
}

impl Default for Sending {
    fn default() -> Self {
        Self { from: None, retries: 3, patience: None }
    }
}

impl Task {
    /// Longest value that is stored, in bytes: with it a datagram stays below 1,472.
    pub const VALUE_MAX: usize = 1200;
}

/// What the machine tells its owner.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// Both sockets are bound.
    Listening,
    /// The first bootstrap ended, with or without success.
    Ready,
    /// Others may store this node from now on.
    Persistent,
    /// They no longer may.
    Ephemeral,
    /// The public address, as observers see it, changed.
    AddressChanged,
    /// The network went away, came back, or changed how well it answers.
    HealthChanged,
    /// The host slept.
    Woke,
    /// Sockets are closed.
    Suspended,
    /// Sockets are opened again.
    Resumed,
    /// A topic was announced, at first or again.
    Announced {
        /// The topic.
        topic: Id<32>,
        /// Nodes that stored it.
        stored: usize,
    },
    /// A key that is listened for was announced, at first or again.
    Reachable {
        /// The key.
        public_key: PublicKey,
        /// Nodes that pass handshakes on to it; none where the attempt failed, which is repeated soon.
        relays: Vec<SocketAddrV4>,
    },
    /// A step of somebody's connection to a key that is listened for.
    Knock(Box<Knock>),
    /// Peers were found under a topic or key; each node that knows them tells of them again.
    Peers {
        /// What was started.
        operation: OperationId,
        /// The topic, or the hash of the key.
        topic: Id<32>,
        /// The node that told.
        from: SocketAddrV4,
        /// Who was found.
        peers: Vec<Peer>,
        /// When the topic last changed, in milliseconds since 1970; 0 where never.
        bump: u64,
    },
    /// What was started has ended.
    Finished {
        /// What was started.
        operation: OperationId,
        /// How.
        outcome: Outcome,
    },
}

/// A peer found in the DHT: a key, and nodes that pass handshakes on to it. It carries no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its Ed25519 key.
    pub public_key: PublicKey,
    /// Its relays, three at most.
    pub relays: Vec<SocketAddrV4>,
}

/// How an operation ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// One node answered: to [`Task::Ping`] and [`Task::Call`].
    Answered(Answered),
    /// A walk ended: to [`Task::FindNode`], [`Task::FindPeer`] and [`Task::Lookup`].
    Walked(Walked),
    /// To [`Task::Announce`], [`Task::Unannounce`] and puts.
    Stored {
        /// The walk that found the nodes.
        walked: Walked,
        /// Nodes that did what was asked.
        stored: usize,
        /// Their addresses.
        holders: Vec<SocketAddrV4>,
        /// Nodes that hold the same sequence number with another value.
        seq_reused: usize,
        /// Nodes that hold a higher sequence number.
        seq_too_low: usize,
    },
    /// To gets: the sequence number, 0 for an immutable value, and the value, where one was found.
    Value {
        /// The walk that looked for it.
        walked: Walked,
        /// What was found; every value was checked against its hash or signature.
        found: Option<(u64, Vec<u8>)>,
    },
    /// It did not come that far.
    Failed(Failure),
}

/// One node's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The node.
    pub from: SocketAddrV4,
    /// Its id, if it is persistent.
    pub id: Option<Id<32>>,
    /// This host's address as the node saw it.
    pub seen_as: SocketAddrV4,
    /// 0 is success.
    pub error: u64,
    /// The result.
    pub value: Option<Vec<u8>>,
    /// Nodes closer to the target.
    pub closer: Vec<SocketAddrV4>,
    /// From the first sending to the answer.
    pub round_trip: Duration,
}

/// A walk's result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// The closest nodes that answered and have an id, closest first, 20 at most.
    pub closest: Vec<SocketAddrV4>,
    /// What it took.
    pub figures: WalkFigures,
}

/// Why an operation came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The node did not answer, four sendings long.
    #[error("the node did not answer")]
    NoAnswer,
    /// No node answered at all.
    #[error("no node of the network answered")]
    NoNodes,
    /// Too much is under way at once.
    #[error("too many requests are under way")]
    TooBusy,
    /// The machine is suspended.
    #[error("the node is suspended")]
    Suspended,
    /// The value is longer than [`Task::VALUE_MAX`].
    #[error("the value is longer than 1,200 bytes")]
    TooLong,
}

/// What the machine needs from its host.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// Bind a socket and tell [`Hyper::handle_opened`](super::Hyper::handle_opened).
    Open {
        /// Its name.
        socket: SocketId,
        /// Where.
        ports: Ports,
    },
    /// Close a socket.
    Close(SocketId),
    /// Find the IPv4 addresses of a name and tell [`Hyper::handle_resolved`](super::Hyper::handle_resolved).
    Resolve {
        /// The name.
        host: String,
    },
}
