//! Everything that a monitor needs to know of one node, from one place.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::str::FromStr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ::swarm::Pulse;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use wire::Id;

use crate::clock::Clock;
use crate::socket::Traffic;

mod counters;
mod links;
mod network;

pub use counters::{Commands, Exchanged, Queries, Requests, Served};
pub use links::{
    Attempt, Connections, DialStep, Failure, Link, Listening, Paths, Peer, PeerState, Peers, Punches, Reason,
    Streams, SwarmState, Topic, TopicRole,
};
pub use network::{Belief, CallTest, Contacted, Entering, Reachability, RoundTrips, TableChanges, Walk};

/// A value that JSON shows as the text a person would write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Text<T>(pub T);

impl<T: fmt::Display> fmt::Display for Text<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<T: fmt::Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(de::Error::custom)
    }
}

/// The state of one node at one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// When it was taken, in milliseconds since 1970 by the wall clock.
    pub taken_unix_ms: u64,
    /// The process the node runs in; several nodes may share it.
    pub process: Process,
    /// How the node stands in the network.
    pub state: State,
    /// Whether others can reach it, and what that is known from.
    pub reachability: Reachability,
    /// How the network was entered.
    pub entering: Entering,
    /// The server and the client socket, as far as they were opened.
    pub sockets: Vec<SocketState>,
    /// Strangers that this node routes by: DHT nodes.
    pub nodes: Nodes,
    /// Connections with peers.
    pub connections: Connections,
    /// People and programs: peers. They are never counted among the nodes.
    pub peers: Peers,
    /// Walks through the network, by users and in the background (`stats.queries` of the reference).
    pub queries: Queries,
    /// Requests that this node made (`stats.requests` of the reference).
    pub requests: Requests,
    /// Walks under way, oldest first; 32 at most.
    pub walks: Vec<Walk>,
    /// Walks that ended, latest first; 32 at most.
    pub walked: Vec<Walk>,
    /// How long answers took.
    pub round_trips: RoundTrips,
    /// Changes of the routing table.
    pub table_changes: TableChanges,
    /// How many addresses this node sent to, and which therefore know its own.
    pub contacted: Contacted,
    /// Internal requests that this node made (`stats.commands` of the reference).
    pub commands: Commands,
    /// Requests of others that this node answered or passed on.
    pub served: Served,
    /// What this node keeps for others.
    pub stored: Stored,
    /// Datagrams that were no valid message, or an answer that nobody waits for.
    pub rejected: u64,
    /// Replies withheld because the receiver had not proven its address and had used up its credit.
    pub withheld: u64,
}

/// The process a node runs in.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Process {
    /// Version of this library.
    pub version: String,
    /// Number the system gave the process.
    pub pid: u32,
    /// Time since the node was started, in milliseconds, sleep of the computer included.
    pub uptime_ms: u64,
    /// Resident memory of the whole process in bytes, from `/proc/self/statm`; absent on other systems.
    pub resident_bytes: Option<u64>,
    /// Events that a slow reader of this node missed.
    pub events_missed: u64,
}

/// How a node stands in the network.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a property of the reference, shown as such")]
#[non_exhaustive]
pub struct State {
    /// Hash of the public address, while the node is persistent.
    pub id: Option<Text<Id<32>>>,
    /// Public host, where the nodes asked agree on it.
    pub host: Option<Ipv4Addr>,
    /// Public port of the socket that requests leave from; absent while unknown or different for every observer.
    pub port: Option<u16>,
    /// Observers agree on the host and see different ports: a NAT that is hard to punch.
    pub randomized: bool,
    /// Nobody proved yet that the server socket can be reached.
    pub firewalled: bool,
    /// Others do not store this node.
    pub ephemeral: bool,
    /// The first bootstrap ended, with or without success.
    pub bootstrapped: bool,
    /// The sockets are closed until the node is resumed.
    pub suspended: bool,
    /// The network answers, or there was no cause to doubt it.
    pub online: bool,
    /// More than half of the requests of the last four ticks (20 s) failed.
    pub degraded: bool,
    /// IPv4 addresses of this computer, loopback left out, as the watch saw them last.
    pub interfaces: Vec<Ipv4Addr>,
}

/// One UDP socket.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SocketState {
    /// `server` for the one others can reach, `client` for the one that asks while firewalled.
    pub name: String,
    /// Local address; absent while closed.
    pub local: Option<SocketAddrV4>,
    /// Datagrams received since the node was started.
    pub packets_in: u64,
    /// Bytes received, without IP and UDP headers.
    pub bytes_in: u64,
    /// Datagrams sent.
    pub packets_out: u64,
    /// Bytes sent, without IP and UDP headers.
    pub bytes_out: u64,
    /// Datagrams dropped because they were longer than 2,048 bytes.
    pub dropped_in: u64,
    /// Datagrams that the system refused to send.
    pub dropped_out: u64,
}

/// The DHT nodes that a node knows.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Nodes {
    /// Nodes in the routing table.
    pub known: usize,
    /// How many share no, one, two … leading bits with this node's id.
    pub rows: Vec<u8>,
    /// Estimated nodes in the whole network, from how close the closest ones are.
    pub network_estimate: Option<u64>,
    /// Smoothed round trip to the nodes asked so far, in milliseconds.
    pub round_trip_ms: Option<f64>,
    /// Requests that wait for room in the congestion window.
    pub waiting: usize,
    /// The routing table, most recently heard first.
    pub table: Vec<NodeEntry>,
}

/// One node of the routing table.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NodeEntry {
    /// Hash of its address.
    pub id: Text<Id<32>>,
    /// Its UDP address.
    pub address: SocketAddrV4,
    /// Ticks (5 s) since it last answered.
    pub seen_ticks_ago: u32,
    /// Ticks since it entered the table.
    pub known_ticks: u32,
    /// How often others called it down since it last answered.
    pub down_hints: u16,
}

/// What a node keeps for others.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stored {
    /// Announcements of topics.
    pub topics: usize,
    /// Announcements of keys, which handshakes are passed on by.
    pub keys: usize,
    /// Signed values.
    pub mutable: usize,
    /// Values under their own hash.
    pub immutable: usize,
    /// Bytes of the values.
    pub value_bytes: usize,
}

/// What the driver knows that the machine does not.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) clock: Clock,
    pub(crate) sockets: Vec<(&'static str, Option<SocketAddrV4>, Traffic)>,
    pub(crate) interfaces: Vec<Ipv4Addr>,
    pub(crate) peers_found: usize,
    pub(crate) events_missed: u64,
    pub(crate) contacted: Contacted,
    pub(crate) now: Instant,
    pub(crate) survey: ::swarm::Survey,
    /// Connections that an application was given.
    pub(crate) held: BTreeSet<::swarm::LinkId>,
}

impl Snapshot {
    pub(crate) fn new(dht: &dht::Snapshot, around: Surroundings) -> Self {
        let [topics, keys, mutable, immutable] = dht.stored;
        let mut held = around.held;
        for link in around.survey.links.iter().filter(|link| link.pulse == Pulse::Stalled) {
            held.remove(&link.opened.link);
        }
        let view = links::View { now: around.now, survey: &around.survey, held: &held };
        let (connections, peers) = (view.connections(), view.peers(dht, around.peers_found));
        Self {
            taken_unix_ms: unix_millis(),
            process: Process {
                version: env!("CARGO_PKG_VERSION").into(),
                pid: std::process::id(),
                uptime_ms: millis(around.clock.elapsed()),
                resident_bytes: resident_bytes(),
                events_missed: around.events_missed,
            },
            state: state(dht, around.interfaces),
            reachability: network::reachability(dht),
            entering: network::entering(&dht.bootstrap),
            sockets: around.sockets.into_iter().map(socket).collect(),
            nodes: nodes(dht),
            connections,
            peers,
            queries: dht.stats.queries.into(),
            requests: dht.stats.requests.into(),
            walks: dht.walks.iter().map(network::walk).collect(),
            walked: dht.walked.iter().map(network::walk).collect(),
            round_trips: dht.stats.round_trips.into(),
            table_changes: dht.stats.table.into(),
            contacted: around.contacted,
            commands: dht.stats.commands.into(),
            served: dht.stats.served.into(),
            stored: Stored { topics, keys, mutable, immutable, value_bytes: dht.stored_bytes },
            rejected: dht.stats.rejected,
            withheld: dht.stats.withheld,
        }
    }
}

fn state(dht: &dht::Snapshot, interfaces: Vec<Ipv4Addr>) -> State {
    State {
        id: dht.id.map(Text),
        host: dht.host,
        port: dht.port,
        randomized: dht.randomized,
        firewalled: dht.firewalled,
        ephemeral: dht.ephemeral,
        bootstrapped: dht.bootstrapped,
        suspended: dht.suspended,
        online: dht.health.online == dht::Online::Yes,
        degraded: dht.health.degraded,
        interfaces,
    }
}

fn socket((name, local, traffic): (&'static str, Option<SocketAddrV4>, Traffic)) -> SocketState {
    SocketState {
        name: name.into(),
        local,
        packets_in: traffic.packets_in,
        bytes_in: traffic.bytes_in,
        packets_out: traffic.packets_out,
        bytes_out: traffic.bytes_out,
        dropped_in: traffic.dropped_in,
        dropped_out: traffic.dropped_out,
    }
}

fn nodes(dht: &dht::Snapshot) -> Nodes {
    let entry = |node: &dht::NodeEntry| NodeEntry {
        id: Text(node.id),
        address: node.addr,
        seen_ticks_ago: node.seen_ticks_ago,
        known_ticks: node.known_ticks,
        down_hints: node.down_hints,
    };
    Nodes {
        known: dht.nodes.len(),
        rows: dht.rows.clone(),
        network_estimate: dht.network_size,
        round_trip_ms: dht.round_trip.map(|time| time.as_secs_f64() * 1e3),
        waiting: dht.waiting,
        table: dht.nodes.iter().map(entry).collect(),
    }
}

/// What the wall clock says, in milliseconds since 1970; zero before that.
pub(crate) fn unix_millis() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The second field of `statm` counts resident pages; a page has 4,096 bytes on the systems we run on.
fn resident_bytes() -> Option<u64> {
    const PAGE: u64 = 4096;
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    statm.split_whitespace().nth(1)?.parse().ok().map(|pages: u64| pages * PAGE)
}
