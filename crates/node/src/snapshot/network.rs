//! What the DHT tells of itself beyond counters: how it was entered, who proved what, which walks go on.

use std::net::SocketAddrV4;

use dht::Openness;
use serde::{Deserialize, Serialize};
use wire::{Command, Id, hyper};

use super::{Text, millis};

/// Whether others can reach this node, and what that is known from.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Reachability {
    /// Why the server socket is believed to be reachable or not.
    pub openness: Belief,
    /// Milliseconds since nodes that were asked to call back reached the server socket.
    pub proven_ms_ago: Option<u64>,
    /// The last finished test, by nodes asked to call back.
    pub test: Option<CallTest>,
    /// This node's address as its latest observers told it, oldest first; 16 at most.
    pub samples: Vec<SocketAddrV4>,
    /// Milliseconds since another node last answered a request of ours.
    pub answered_ms_ago: Option<u64>,
    /// Milliseconds since a request of another node last arrived.
    pub asked_ms_ago: Option<u64>,
}

/// Where the belief about the server socket comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Belief {
    /// Nobody called back yet, so it counts as closed.
    Closed,
    /// The configuration says it is open; nobody tested it.
    Assumed,
    /// Other nodes reached it.
    Proven,
}

/// A test in which nodes were asked to call back at the server socket.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CallTest {
    /// Nodes asked.
    pub asked: usize,
    /// Calls that arrived.
    pub calls: usize,
    /// Milliseconds since the test ended.
    pub ms_ago: u64,
}

/// How the network was entered.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Entering {
    /// Bootstrap nodes named in the configuration.
    pub named: usize,
    /// Those that answered the first walk.
    pub answered: usize,
    /// Those whose name could not be resolved.
    pub unresolved: usize,
    /// Duration of the first bootstrap in milliseconds; absent until it ended.
    pub took_ms: Option<u64>,
}

/// One walk through the network.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Walk {
    /// What every node on the way is asked: `find-node`, `lookup` and so on.
    pub kind: String,
    /// Where to.
    pub target: Text<Id<32>>,
    /// Made by upkeep, not by a user.
    pub background: bool,
    /// Nodes asked.
    pub requests: u64,
    /// Nodes that answered.
    pub responses: u64,
    /// Nodes given up.
    pub timeouts: u64,
    /// Answers that led from our own table to the last of the closest nodes.
    pub hops: u32,
    /// Duration so far, or to the end, in milliseconds.
    pub elapsed_ms: u64,
    /// Milliseconds since it ended; absent while it runs.
    pub ended_ms_ago: Option<u64>,
}

/// How long answers took, from the first sending of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RoundTrips {
    /// Upper bounds of all counts but the last, in milliseconds.
    pub bounds_ms: [u64; 11],
    /// Answers that took no longer than each bound and longer than the one before; the last counts the rest.
    pub counts: [u64; 12],
    /// All of them together, in microseconds.
    pub sum_us: u64,
}

/// Changes of the routing table since the node was started.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TableChanges {
    /// Nodes that entered it.
    pub added: u64,
    /// Nodes that left it because they no longer answered.
    pub removed: u64,
}

/// How many addresses this node sent datagrams to; [`Node::contacts`](crate::Node::contacts) lists them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Contacted {
    /// Distinct addresses; counting ends at 4,096.
    pub addresses: usize,
    /// Datagrams to addresses beyond those.
    pub beyond: u64,
}

pub(super) fn reachability(dht: &dht::Snapshot) -> Reachability {
    let (openness, proven) = match dht.openness {
        Openness::Closed => (Belief::Closed, None),
        Openness::Assumed => (Belief::Assumed, None),
        Openness::Proven { ago } => (Belief::Proven, Some(ago)),
    };
    let test =
        |test: dht::CallTest| CallTest { asked: test.asked, calls: test.calls, ms_ago: millis(test.ago) };
    Reachability {
        openness,
        proven_ms_ago: proven.map(millis),
        test: dht.call_test.map(test),
        samples: dht.samples.clone(),
        answered_ms_ago: dht.answered_ago.map(millis),
        asked_ms_ago: dht.asked_ago.map(millis),
    }
}

pub(super) fn entering(state: &dht::BootstrapState) -> Entering {
    let (named, answered, unresolved) = (state.entries, state.answered, state.unresolved);
    Entering { named, answered, unresolved, took_ms: state.took.map(millis) }
}

pub(super) fn walk(walk: &dht::WalkState) -> Walk {
    Walk {
        kind: kind(walk.command).into(),
        target: Text(walk.target),
        background: walk.background,
        requests: walk.figures.requests,
        responses: walk.figures.responses,
        timeouts: walk.figures.timeouts,
        hops: walk.figures.hops,
        elapsed_ms: millis(walk.figures.elapsed),
        ended_ms_ago: walk.ended_ago.map(millis),
    }
}

const fn kind(command: Command) -> &'static str {
    match command {
        Command::FIND_NODE => "find-node",
        hyper::FIND_PEER => "find-peer",
        hyper::LOOKUP => "lookup",
        hyper::UNANNOUNCE => "unannounce",
        hyper::ANNOUNCE => "announce",
        hyper::MUTABLE_GET | hyper::MUTABLE_PUT => "mutable value",
        hyper::IMMUTABLE_GET | hyper::IMMUTABLE_PUT => "immutable value",
        Command::Internal(_) | Command::App(_) => "other",
    }
}

impl From<dht::RoundTrips> for RoundTrips {
    fn from(of: dht::RoundTrips) -> Self {
        Self { bounds_ms: dht::RoundTrips::BOUNDS_MS, counts: of.counts, sum_us: of.sum_us }
    }
}

impl From<dht::TableStats> for TableChanges {
    fn from(of: dht::TableStats) -> Self {
        Self { added: of.added, removed: of.removed }
    }
}
