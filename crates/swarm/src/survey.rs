//! How connections stand: plain copies, for whoever watches.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::time::Instant;

use peer::{Strategy, StreamStats};
use wire::{Id, PublicKey};

use crate::event::{DialError, DialId, Opened};
use crate::roster::{Census, PeerState, TopicState};
use crate::swarm::{Stats, Swarm};

/// Keys whose last dial failed that are remembered.
const FAILURES_MAX: usize = 256;

/// All connections of a node at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Survey {
    /// Counters since the machine was made.
    pub stats: Stats,
    /// Hole punches begun, and connections that needed none.
    pub punches: Punches,
    /// Datagrams of all streams, of closed ones too.
    pub streams: udx::Stats,
    /// Connections with peers, those on trial included; those with relays and their clients are not.
    pub links: Vec<LinkState>,
    /// Dials under way.
    pub dials: Vec<DialState>,
    /// Handshakes that a server of ours answers now.
    pub handshakes: usize,
    /// First messages that servers of ours read since the machine was made.
    pub handshakes_total: u64,
    /// Identities whose peers are kept.
    pub circles: Vec<CircleState>,
    /// Keys whose last dial failed, 256 at most.
    pub failures: Vec<Failure>,
}

/// Hole punches since the machine was made, with the reference's meaning (`stats.punches`): each counts when it
/// begins, whatever becomes of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Punches {
    /// Both sides show everybody one address.
    pub consistent: u64,
    /// One side shows everybody another port.
    pub random: u64,
    /// Both sides do, and number their ports; the reference has no such punch.
    pub predicted: u64,
    /// Connections that needed none, since one side is open or there was nobody to punch with.
    pub open: u64,
    /// Put off by us, since another random punch went on.
    pub try_later: u64,
}

/// How the hole of a connection was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The probe that opens our own NAT was answered before any punch began.
    Opening,
    /// Both sides show everybody one address.
    Consistent,
    /// One side shows everybody another port.
    Random,
    /// Both sides do, and number their ports.
    Predicted,
}

impl Way {
    pub(crate) const fn new(strategy: Option<Strategy>) -> Self {
        match strategy {
            None => Self::Opening,
            Some(Strategy::Consistent) => Self::Consistent,
            Some(Strategy::Spray | Strategy::Birthday) => Self::Random,
            Some(Strategy::Predicted) => Self::Predicted,
        }
    }
}

impl Punches {
    pub(crate) const fn count(&mut self, strategy: Strategy) {
        match Way::new(Some(strategy)) {
            Way::Opening => {}
            Way::Consistent => self.consistent += 1,
            Way::Random => self.random += 1,
            Way::Predicted => self.predicted += 1,
        }
    }
}

/// One connection.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct LinkState {
    /// Its name, its ends, and its present path.
    pub opened: Opened,
    /// How its hole was opened; absent where none was needed.
    pub way: Option<Way>,
    /// When it opened.
    pub since: Instant,
    /// What its frames carried.
    pub frames: StreamStats,
    /// Its datagrams, and how its path is; absent once the stream is over.
    pub stream: Option<udx::StreamStats>,
    /// Whether its peer is heard.
    pub pulse: Pulse,
}

/// Whether the peer of a connection is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulse {
    /// It is.
    Heard,
    /// It has been silent for 18 s; the connection does not count as open.
    Stalled,
}

/// How far a dial is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Nodes are asked who knows the key.
    Find,
    /// The first message of a handshake is with nodes that know the key.
    Handshake,
    /// The peer agreed, and its first packet is awaited.
    Contact,
    /// An address of the same network is tried.
    Lan,
    /// NATs are being opened from both sides.
    Punch,
    /// A third peer shall carry the packets.
    Relay,
}

impl DialError {
    /// Tells at which step a dial ended; nothing where it was no failure of the network or the peer.
    #[must_use]
    pub const fn step(self) -> Option<Step> {
        match self {
            Self::NotFound => Some(Step::Find),
            Self::NoAnswer | Self::Incompatible | Self::Refused(_) => Some(Step::Handshake),
            Self::Unreachable => Some(Step::Contact),
            Self::CannotPunch
            | Self::PunchAborted
            | Self::NatUnknown
            | Self::DoubleRandom
            | Self::NotPunching
            | Self::NotPunchable => Some(Step::Punch),
            Self::RelayAborted => Some(Step::Relay),
            Self::Suspended | Self::TooBusy | Self::Canceled => None,
        }
    }
}

/// One dial under way.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct DialState {
    /// Its name.
    pub dial: DialId,
    /// Whom it is to.
    pub remote: PublicKey,
    /// When it began.
    pub begun: Instant,
    /// How far it is.
    pub step: Step,
}

/// One identity whose peers are kept.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CircleState {
    /// Its key.
    pub local: PublicKey,
    /// Its counts.
    pub census: Census,
    /// Its topics.
    pub topics: Vec<(TopicState, Records)>,
    /// Its peers, connected or not.
    pub peers: Vec<PeerState>,
}

/// What walks for a topic came to.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Records {
    /// When the topic was first announced.
    pub first: Option<Instant>,
    /// When it was last announced.
    pub announced: Option<Instant>,
    /// When it was last looked up; announcing looks, too.
    pub looked: Option<Instant>,
    /// Nodes that stored the last announcement.
    pub holders: Vec<SocketAddrV4>,
}

/// The last dial of a key, which came to nothing.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The key.
    pub remote: PublicKey,
    /// Why.
    pub error: DialError,
    /// When.
    pub at: Instant,
}

/// Failures by key; the oldest makes room for a new one.
#[derive(Debug, Default)]
pub(crate) struct Failures(BTreeMap<PublicKey, Failure>);

impl Failures {
    pub(crate) fn note(&mut self, now: Instant, remote: PublicKey, error: DialError) {
        if error.step().is_none() {
            return;
        }
        if self.0.len() >= FAILURES_MAX
            && !self.0.contains_key(&remote)
            && let Some(oldest) =
                self.0.values().min_by_key(|failure| failure.at).map(|failure| failure.remote)
        {
            self.0.remove(&oldest);
        }
        self.0.insert(remote, Failure { remote, error, at: now });
    }

    pub(crate) fn forgive(&mut self, remote: &PublicKey) {
        self.0.remove(remote);
    }
}

impl Swarm {
    /// Tells how all connections stand.
    #[must_use]
    pub fn survey(&self) -> Survey {
        let (handshakes, handshakes_total) = self.servers.handshakes();
        Survey {
            stats: *self.stats(),
            punches: self.ground.punches,
            streams: *self.ground.udx.stats(),
            links: self.links_of_peers().map(|link| self.link_state(link)).collect(),
            dials: self.dials_of_peers().map(crate::dial::Dial::state).collect(),
            handshakes,
            handshakes_total,
            circles: self.circles.values().map(crate::circle::Circle::state).collect(),
            failures: self.failures.0.values().copied().collect(),
        }
    }

    fn link_state(&self, link: &crate::link::Link) -> LinkState {
        LinkState {
            opened: link.opened(),
            way: self.ground.ways.get(&link.path.socket).copied(),
            since: link.since,
            frames: link.stats(),
            stream: self.ground.udx.stream_stats(link.stream),
            pulse: link.pulse(),
        }
    }
}

/// Whether a walk for a topic also told nodes of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// It announced.
    Announced,
    /// It only looked.
    Looked,
    /// It took back what was announced.
    Removed,
}

impl Records {
    pub(crate) fn note(&mut self, now: Instant, told: Told, holders: &[SocketAddrV4]) {
        self.looked = Some(now);
        match told {
            Told::Announced => {
                self.first.get_or_insert(now);
                self.announced = Some(now);
                self.holders = holders.to_vec();
            }
            Told::Looked => {}
            Told::Removed => *self = Self { looked: Some(now), ..Self::default() },
        }
    }
}

/// Names the topics that records are kept of.
pub(crate) type RecordsByTopic = BTreeMap<Id<32>, Records>;
