use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use wire::{Command, Id};

use crate::stats::Stats;
use crate::walk::WalkFigures;
use wire::PublicKey;

/// The state of a node at one moment: everything that a monitor shows of the DHT.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "they are the reference's properties, each by its name")]
pub struct Snapshot {
    /// This node's id, while it is persistent.
    pub id: Option<Id<32>>,
    /// Local addresses of the server and the client socket, once bound.
    pub local: [Option<SocketAddrV4>; 2],
    /// Public host, where observers agree on it.
    pub host: Option<Ipv4Addr>,
    /// Public port of the active socket; `None` while unknown or different for every observer.
    pub port: Option<u16>,
    /// Observers agree on the host and see different ports.
    pub randomized: bool,
    /// Nobody proved yet that the server socket can be reached.
    pub firewalled: bool,
    /// Why the server socket is believed to be reachable or not.
    pub openness: Openness,
    /// The last finished test whether it can be reached.
    pub call_test: Option<CallTest>,
    /// This node's address as its latest observers told it, oldest first; 16 at most.
    pub samples: Vec<SocketAddrV4>,
    /// Time since a node last answered a request of ours.
    pub answered_ago: Option<Duration>,
    /// Time since a request of another node last arrived.
    pub asked_ago: Option<Duration>,
    /// How the network was entered.
    pub bootstrap: BootstrapState,
    /// Others do not store this node.
    pub ephemeral: bool,
    /// The first bootstrap ended, with or without success.
    pub bootstrapped: bool,
    /// Sockets are closed.
    pub suspended: bool,
    /// Judged by the outcome of this node's own requests.
    pub health: Health,
    /// The routing table: strangers used for routing, not peers. Most recently heard first.
    pub nodes: Vec<NodeEntry>,
    /// Nodes in each row of the table, from those sharing no bit of our id.
    pub rows: Vec<u8>,
    /// Estimated nodes in the network, from how close the closest ones are; `None` below a full bucket.
    pub network_size: Option<u64>,
    /// Smoothed round trip to the nodes asked so far.
    pub round_trip: Option<Duration>,
    /// Counters.
    pub stats: Stats,
    /// Requests that wait for room in the congestion window.
    pub waiting: usize,
    /// Walks under way, oldest first; 32 at most.
    pub walks: Vec<WalkState>,
    /// Walks that ended, latest first; 32 at most.
    pub walked: Vec<WalkState>,
    /// Records stored for others: announcements of topics and of keys, mutable and immutable values.
    pub stored: [usize; 4],
    /// Bytes of the mutable and immutable values stored.
    pub stored_bytes: usize,
    /// Topics that this node announces.
    pub topics: Vec<TopicState>,
    /// Keys that this node announces, with the relays that pass handshakes on to it.
    pub listening: Vec<(PublicKey, Vec<SocketAddrV4>)>,
}

/// Why the server socket is believed to be reachable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Openness {
    /// It is not: nobody called back yet.
    #[default]
    Closed,
    /// The configuration says so; nobody tested it.
    Assumed,
    /// Nodes that were asked to call back reached it.
    Proven {
        /// Time since they did.
        ago: Duration,
    },
}

/// A test in which nodes were asked to call back at the server socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallTest {
    /// Nodes asked.
    pub asked: usize,
    /// Calls that arrived.
    pub calls: usize,
    /// Time since the test ended.
    pub ago: Duration,
}

/// How the network was entered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BootstrapState {
    /// Bootstrap nodes named in the configuration.
    pub entries: usize,
    /// Those that answered the first walk.
    pub answered: usize,
    /// Those whose name could not be resolved.
    pub unresolved: usize,
    /// From the start to the end of the first bootstrap, once it ended.
    pub took: Option<Duration>,
}

/// One walk through the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalkState {
    /// Where to.
    pub target: Id<32>,
    /// What every node on the way is asked.
    pub command: Command,
    /// Made by upkeep, not by a user.
    pub background: bool,
    /// Figures so far, or at the end.
    pub figures: WalkFigures,
    /// Time since it ended; `None` while it runs.
    pub ended_ago: Option<Duration>,
}

/// Whether the network answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Online {
    /// It does, or there was no cause to doubt it.
    #[default]
    Yes,
    /// Nothing was answered for two ticks in a row.
    No,
}

/// How well the network answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Whether anything is answered.
    pub online: Online,
    /// More than half of the requests of the last four ticks failed.
    pub degraded: bool,
}

/// One node of the routing table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeEntry {
    /// Hash of its address.
    pub id: Id<32>,
    /// UDP address.
    pub addr: SocketAddrV4,
    /// Ticks since it last answered.
    pub seen_ticks_ago: u32,
    /// Ticks since it entered the table.
    pub known_ticks: u32,
    /// How often others called it down since it last answered.
    pub down_hints: u16,
}

/// A topic that this node announces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicState {
    /// Its key in the DHT.
    pub topic: Id<32>,
    /// The announced key.
    pub public_key: PublicKey,
    /// Nodes that stored the last announcement.
    pub stored: usize,
    /// Their addresses.
    pub holders: Vec<SocketAddrV4>,
    /// Time since it, if there was one.
    pub announced_ago: Option<Duration>,
    /// Time until the next.
    pub next_in: Option<Duration>,
}
