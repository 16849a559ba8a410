use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use wire::Id;
use wire::krpc::Family;

use crate::hyper::OperationId;
use crate::key::KeyPair;
use crate::walk::WalkFigures;

/// Something to do once.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Task {
    /// Ask one node whether it is there.
    Ping {
        /// Whom.
        to: SocketAddr,
    },
    /// Find the nodes closest to a target.
    FindNode {
        /// The target.
        target: Id<20>,
    },
    /// Find who announced a topic.
    Lookup {
        /// The topic.
        info_hash: Id<20>,
    },
    /// Announce a port under a topic, once; also finds who else did.
    Announce {
        /// The topic.
        info_hash: Id<20>,
        /// The port.
        port: Port,
    },
    /// Estimate how many share a topic (BEP 33).
    Scrape {
        /// The topic.
        info_hash: Id<20>,
    },
    /// Store a value under its hash (BEP 44).
    PutImmutable {
        /// The value, bencoded, 1,000 bytes at most.
        value: Vec<u8>,
    },
    /// Store a signed value under its key (BEP 44).
    PutMutable {
        /// The key.
        key: Box<KeyPair>,
        /// Tells several values of one key apart; 64 bytes at most.
        salt: Vec<u8>,
        /// A higher number replaces a lower.
        seq: i64,
        /// The number that the stored value must have.
        cas: Option<i64>,
        /// The value, bencoded, 1,000 bytes at most.
        value: Vec<u8>,
    },
    /// Read the newest value stored under a target (BEP 44).
    Get {
        /// The hash of an immutable value, or of a key and a salt.
        target: Id<20>,
        /// The salt of a mutable value.
        salt: Vec<u8>,
    },
}

impl Task {
    /// Returns where a mutable value is stored.
    #[must_use]
    pub fn mutable_target(key: &[u8; 32], salt: &[u8]) -> Id<20> {
        super::sha1(&[key, salt].concat())
    }
}

/// The port that is announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Port {
    /// This one.
    Is(std::num::NonZeroU16),
    /// The one that the announcement comes from, as others see it.
    Implied,
}

/// What a node tells its host.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The first bootstrap ended, with or without success.
    Bootstrapped,
    /// A node knows peers of a topic; each is told once in an operation.
    Peers {
        /// The look-up.
        operation: OperationId,
        /// The node.
        from: SocketAddr,
        /// Peers that no node named before.
        peers: Vec<SocketAddr>,
    },
    /// An operation ended.
    Finished {
        /// Which.
        operation: OperationId,
        /// How.
        outcome: Outcome,
    },
    /// A topic was announced, as it is every 10 to 15 minutes.
    Announced {
        /// The topic.
        info_hash: Id<20>,
        /// Nodes that store it now.
        stored: usize,
    },
    /// Others agree on another address of ours than before; our id changed with it if it had to.
    AddressChanged(IpAddr),
    /// Others may from now on, or may no longer, put this node into their tables.
    StandingChanged,
}

/// How an operation ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// A node answered a ping.
    Pong(Pong),
    /// A walk ended.
    Walked(Walked),
    /// Nodes stored what they were given.
    Stored(Stored),
    /// Nodes told how many share a topic.
    Scraped(Scraped),
    /// A value was found, or none.
    Got(Option<Value>, Walked),
    /// Nothing came of it.
    Failed(Failure),
}

/// Why nothing came of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// Nobody answered.
    #[error("no node answered")]
    NoAnswer,
    /// Nodes answered, and none stored what it was given.
    #[error("no node stored it; the last refusal has code {0}")]
    Refused(i64),
    /// A value or a salt is longer than a node takes.
    #[error("the value or its salt is too long, or is not bencoded")]
    Unfit,
    /// This node has too much to do.
    #[error("too many operations are under way")]
    Busy,
}

/// A node's answer to a ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pong {
    /// Its id.
    pub id: Id<20>,
    /// Our address as it sees it.
    pub seen: Option<SocketAddr>,
    /// The round trip.
    pub elapsed: Duration,
}

/// Where a walk led.
#[derive(Clone, Debug, Default)]
pub struct Walked {
    /// The closest nodes that answered, closest first.
    pub closest: Vec<(Id<20>, SocketAddr)>,
    /// What it took.
    pub figures: WalkFigures,
    /// When the first peer was found, and after how many requests.
    pub first_peer: Option<(Duration, u64)>,
}

/// What was stored where.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// The nodes.
    pub nodes: Vec<SocketAddr>,
    /// Nodes that refused or did not answer.
    pub refused: usize,
    /// The walk that led to them.
    pub walked: Walked,
}

/// How many share a topic, as far as nodes know.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scraped {
    /// Who have everything.
    pub seeds: f64,
    /// Who do not.
    pub downloaders: f64,
    /// Nodes that told.
    pub nodes: usize,
}

/// A stored value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Bencoded.
    pub value: Vec<u8>,
    /// Its key and number, if it is mutable.
    pub signed: Option<([u8; 32], i64)>,
}

/// The state of a node at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// Its part in each internet that it has a socket in.
    pub stacks: Vec<StackState>,
    /// Others may not put this node into their tables, and it answers pings only.
    pub read_only: bool,
    /// The first bootstrap ended.
    pub bootstrapped: bool,
    /// Smoothed round trip to the nodes asked so far.
    pub round_trip: Option<Duration>,
    /// Queries of ours that wait for room in the congestion window.
    pub waiting: usize,
    /// Topics that this node announces, with the nodes that stored the last announcement.
    pub topics: Vec<(Id<20>, Port, usize)>,
    /// Counters.
    pub stats: super::Stats,
}

/// A node's part in one internet.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StackState {
    /// Which.
    pub family: Family,
    /// Our id in it.
    pub id: Id<20>,
    /// Our public address, where enough others agree on it.
    pub address: Option<IpAddr>,
    /// Others whose view of our address is remembered.
    pub votes: usize,
    /// The routing table: strangers used for routing, not peers.
    pub nodes: Vec<ContactState>,
    /// Nodes in each row of the table.
    pub rows: Vec<u8>,
    /// Estimated nodes in the network.
    pub network_size: Option<u64>,
    /// Topics and peers stored for others.
    pub stored_peers: (usize, usize),
    /// Values stored for others.
    pub stored_items: usize,
}

/// A node of the routing table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContactState {
    /// Its id.
    pub id: Id<20>,
    /// Its address.
    pub addr: SocketAddr,
    /// Time since it last answered.
    pub heard_ago: Duration,
    /// Its last round trip.
    pub round_trip: Duration,
    /// Queries in a row that it did not answer.
    pub failures: u8,
    /// Its id belongs to its address (BEP 42).
    pub secure: bool,
}
