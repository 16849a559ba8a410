//! Connections and peers: who is connected by which way, who is not and why.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, SocketAddrV4};
use std::time::Instant;

use ::swarm::roster::{self, RefreshKind};
use ::swarm::{DialError, Direction, LinkId, LinkState, Route, Step, Survey, Way};
use dht::PublicKey;
use serde::{Deserialize, Serialize};
use wire::Id;

use super::{Text, millis};

/// Rows of [`Peers::list`]; counts are of all.
const PEERS_MAX: usize = 1024;
/// Rows of [`Connections::attempts`].
const ATTEMPTS_MAX: usize = 64;
/// Topics of one peer that are listed.
const PEER_TOPICS_MAX: usize = 16;

/// Connections with peers. No DHT node is ever among them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Connections {
    /// Open now, and in the hands of an application; those whose peer has fallen silent are not among them.
    pub open: usize,
    /// Of these, begun by the peer.
    pub incoming: usize,
    /// The open ones by their path.
    pub paths: Paths,
    /// Has a path, and the peer has not proven yet that it is there, or another connection with it stays.
    pub on_trial: usize,
    /// Dials under way.
    pub dialling: usize,
    /// Handshakes of others that are being answered.
    pub handshakes: usize,
    /// First messages of handshakes read since the node was started.
    pub handshakes_total: u64,
    /// Dials begun since the node was started.
    pub attempted: u64,
    /// Dials that came to nothing.
    pub failed: u64,
    /// Connections that opened since the node was started, those on trial included.
    pub opened: u64,
    /// Of these, those that are over.
    pub closed: u64,
    /// Hole punches since the node was started (`stats.punches` of the reference).
    pub punches: Punches,
    /// Datagrams of all connections since the node was started.
    pub streams: Streams,
    /// Dials under way, oldest first; 64 at most.
    pub attempts: Vec<Attempt>,
}

/// Connections by how their packets travel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Paths {
    /// To an address that anybody reaches.
    pub direct: usize,
    /// Within one network.
    pub lan: usize,
    /// Through NATs that were opened from both sides.
    pub punched: usize,
    /// Through a third peer.
    pub relayed: usize,
}

impl Paths {
    /// Returns the counts with their names.
    pub fn named(&self) -> [(&'static str, usize); 4] {
        let Self { direct, lan, punched, relayed } = *self;
        [("direct", direct), ("lan", lan), ("punched", punched), ("relayed", relayed)]
    }
}

/// Hole punches; each counts when it begins, whatever becomes of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Punches {
    /// Both sides show everybody one address.
    pub consistent: u64,
    /// One side shows everybody another port.
    pub random: u64,
    /// Both sides do, and number their ports; the reference has no such punch.
    pub predicted: u64,
    /// Connections that needed none.
    pub open: u64,
    /// Put off by this node, since another random punch went on.
    pub try_later: u64,
}

/// Datagrams of connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Streams {
    /// Datagrams received.
    pub packets_in: u64,
    /// Their bytes, without IP and UDP headers.
    pub bytes_in: u64,
    /// Datagrams sent.
    pub packets_out: u64,
    /// Their bytes, without IP and UDP headers.
    pub bytes_out: u64,
}

/// A dial under way.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Attempt {
    /// Whom it is to.
    pub key: Text<PublicKey>,
    /// How far it is.
    pub step: DialStep,
    /// Milliseconds since it began.
    pub ms: u64,
}

/// How far a dial is, or came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum DialStep {
    /// Asking nodes who knows the key.
    Find,
    /// Shaking hands through nodes that know it.
    Handshake,
    /// Waiting for the first packet of a peer that agreed.
    Contact,
    /// Trying an address of the same network.
    Lan,
    /// Opening NATs from both sides.
    Punch,
    /// Having a third peer carry the packets.
    Relay,
}

/// Why a dial came to nothing, as far as it matters to whoever is to do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Reason {
    /// No node knows the key: it is not announced, or mistyped.
    Unknown,
    /// It is announced, and the peer answers through no node.
    Silent,
    /// The peer said no.
    Refused,
    /// The peer speaks another version of the protocol.
    Version,
    /// The peer agreed, and no way for packets was found.
    NoPath,
    /// Both sides are behind NATs that show everybody another port.
    BothRandom,
    /// A relay was tried in vain.
    Relay,
    /// This node did not or could not try.
    NotTried,
}

impl From<DialError> for Reason {
    fn from(error: DialError) -> Self {
        match (error, error.step()) {
            (DialError::NotFound, _) => Self::Unknown,
            (DialError::NoAnswer, _) => Self::Silent,
            (DialError::Refused(_), _) => Self::Refused,
            (DialError::Incompatible, _) => Self::Version,
            (DialError::DoubleRandom, _) => Self::BothRandom,
            (_, Some(Step::Relay)) => Self::Relay,
            (_, Some(_)) => Self::NoPath,
            (_, None) => Self::NotTried,
        }
    }
}

/// People and programs, and what was announced to them. They are never counted among the nodes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Peers {
    /// Distinct public keys that this node's look-ups found since it was started; counting ends at 1,024.
    pub found: usize,
    /// Distinct keys that are connected now.
    pub connected: usize,
    /// Distinct keys that are connected, remembered by a swarm, being dialled, or whose last dial failed.
    pub known: usize,
    /// One row for each connection and each key that is not connected: connected ones first; 1,024 at most.
    pub list: Vec<Peer>,
    /// Topics that this node announces or looks up again and again.
    pub topics: Vec<Topic>,
    /// Keys that this node announces as reachable through it.
    pub listening: Vec<Listening>,
    /// Identities whose peers are kept, with their counts.
    pub swarms: Vec<SwarmState>,
}

/// A peer, and its connection if there is one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Peer {
    /// Its key.
    pub key: Text<PublicKey>,
    /// The key of ours that it deals with; absent for a single dial that failed or is under way.
    pub local: Option<Text<PublicKey>>,
    /// What goes on with it.
    pub state: PeerState,
    /// Milliseconds since that began.
    pub state_ms: u64,
    /// Milliseconds until the next attempt, while one is waited for.
    pub next_in_ms: Option<u64>,
    /// Joined topics that it was found in; 16 at most.
    pub topics: Vec<Text<Id<32>>>,
    /// Attempts and short connections since the last long one; absent where no swarm keeps it.
    pub attempts: Option<u32>,
    /// Why the last dial came to nothing, unless a later one succeeded.
    pub failure: Option<Failure>,
    /// The connection.
    pub link: Option<Link>,
}

/// What goes on with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PeerState {
    /// It is connected.
    Connected,
    /// It has a path, and has proven nothing yet, or nothing since it fell silent.
    OnTrial,
    /// It is being dialled.
    Connecting,
    /// It waits for its turn.
    Queued,
    /// It is dialled again later.
    Waiting,
    /// Nothing.
    Idle,
}

/// Why a dial came to nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Failure {
    /// At which step.
    pub step: DialStep,
    /// Why.
    pub reason: Reason,
    /// In words.
    pub text: String,
    /// Milliseconds since then.
    pub ms_ago: u64,
}

/// One connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Link {
    /// Its number; none is used twice.
    pub id: u64,
    /// The peer began it.
    pub incoming: bool,
    /// How its packets travel: `direct`, `lan`, `punched` or `relayed`.
    pub path: String,
    /// How its hole was opened: `opening`, `consistent`, `random` or `predicted`; absent where none was needed.
    pub punch: Option<String>,
    /// The peer's address as this node sees it; the relay's, where there is one.
    pub address: SocketAddr,
    /// Milliseconds since it opened.
    pub open_ms: u64,
    /// From the first message of its handshake to its opening, in milliseconds.
    pub took_ms: u64,
    /// Smoothed round trip in milliseconds; absent until measured.
    pub round_trip_ms: Option<f64>,
    /// Its datagrams.
    pub traffic: Streams,
    /// Authentic frames received.
    pub frames_in: u64,
    /// Frames sent.
    pub frames_out: u64,
    /// Packets sent once more.
    pub retransmits: u64,
    /// Times that patience ended without an answer.
    pub timeouts: u64,
    /// Times that a later packet showed a loss.
    pub fast_recoveries: u64,
    /// Largest IP packet known to arrive, in bytes.
    pub mtu: u16,
    /// Packets that may be on their way.
    pub window: u64,
}

/// What is done in a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TopicRole {
    /// This node is to be found in it.
    Announce,
    /// Others are looked for and connected with.
    Find,
    /// Both.
    Both,
    /// What was announced is being taken back.
    Leaving,
}

impl TopicRole {
    /// Tells whether nodes are told of us.
    pub const fn announces(self) -> bool {
        matches!(self, Self::Announce | Self::Both)
    }

    /// Returns the word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Announce => "announce",
            Self::Find => "find",
            Self::Both => "announce, find",
            Self::Leaving => "leaving",
        }
    }
}

/// A topic that this node announces, or looks up.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Topic {
    /// Its 32 bytes.
    pub topic: Text<Id<32>>,
    /// The announced key.
    pub public_key: Text<PublicKey>,
    /// What is done in it.
    pub role: TopicRole,
    /// Nodes that stored the last announcement.
    pub stored: usize,
    /// Their addresses.
    pub holders: Vec<SocketAddrV4>,
    /// Milliseconds since it was first announced; absent where that is not known.
    pub first_ms_ago: Option<u64>,
    /// Milliseconds since the last announcement ended; absent before the first.
    pub announced_ms_ago: Option<u64>,
    /// Milliseconds since others were last looked for in it; absent where that is not known.
    pub looked_ms_ago: Option<u64>,
    /// Milliseconds until the next walk begins; absent while one runs.
    pub next_in_ms: Option<u64>,
    /// Peers remembered that were found in it; absent where no swarm keeps them.
    pub found: Option<usize>,
    /// Peers of it that are connected; absent where no swarm keeps them.
    pub connected: Option<usize>,
}

/// A key that this node announces.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Listening {
    /// The key.
    pub public_key: Text<PublicKey>,
    /// The nodes that pass handshakes on to it, three where all is well.
    pub relays: Vec<SocketAddrV4>,
}

/// The counts of an identity whose peers are kept: first what the reference counts, then what is true now.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SwarmState {
    /// Its key.
    pub public_key: Text<PublicKey>,
    /// Attempts begun (`stats.connects.client.attempted`).
    pub client_attempted: u64,
    /// Attempts that became a connection (`stats.connects.client.opened`).
    pub client_opened: u64,
    /// Attempts that failed, and outgoing connections that closed (`stats.connects.client.closed`).
    pub client_closed: u64,
    /// Incoming connections kept (`stats.connects.server.opened`).
    pub server_opened: u64,
    /// Of these, those that closed (`stats.connects.server.closed`).
    pub server_closed: u64,
    /// Changes (`stats.updates`).
    pub updates: u64,
    /// Peers that the firewall rejected (`stats.bannedPeers`).
    pub banned_peers: u64,
    /// Connections open now.
    pub open: usize,
    /// Attempts under way.
    pub connecting: usize,
    /// Peers that wait for an attempt.
    pub queued: usize,
    /// Peers that wait for the time of their next attempt.
    pub waiting: usize,
    /// Peers remembered, connected or not.
    pub known: usize,
    /// Peers banned.
    pub banned: usize,
    /// Topics joined.
    pub topics: usize,
}

/// What connections are described from.
pub(super) struct View<'a> {
    pub(super) now: Instant,
    pub(super) survey: &'a Survey,
    /// Connections that an application was given, and whose peers are heard.
    pub(super) held: &'a BTreeSet<LinkId>,
}

impl View<'_> {
    fn ago(&self, at: Instant) -> u64 {
        millis(self.now.saturating_duration_since(at))
    }

    fn until(&self, at: Instant) -> u64 {
        millis(at.saturating_duration_since(self.now))
    }

    pub(super) fn connections(&self) -> Connections {
        let Survey { stats, punches, streams, .. } = self.survey;
        let mut open = 0;
        let mut incoming = 0;
        let mut paths = Paths::default();
        for link in self.survey.links.iter().filter(|link| self.held.contains(&link.opened.link)) {
            open += 1;
            incoming += usize::from(link.opened.direction == Direction::Incoming);
            *match link.opened.route {
                Route::Direct => &mut paths.direct,
                Route::Lan => &mut paths.lan,
                Route::Punched => &mut paths.punched,
                Route::Relayed => &mut paths.relayed,
            } += 1;
        }
        let attempt = |dial: &::swarm::DialState| Attempt {
            key: Text(dial.remote),
            step: dial.step.into(),
            ms: self.ago(dial.begun),
        };
        Connections {
            open,
            incoming,
            paths,
            on_trial: self.survey.links.len() - open,
            dialling: self.survey.dials.len(),
            handshakes: self.survey.handshakes,
            handshakes_total: self.survey.handshakes_total,
            attempted: stats.dialled,
            failed: stats.failed,
            opened: stats.opened,
            closed: stats.closed,
            punches: Punches {
                consistent: punches.consistent,
                random: punches.random,
                predicted: punches.predicted,
                open: punches.open,
                try_later: punches.try_later,
            },
            streams: Streams {
                packets_in: streams.packets_rx,
                bytes_in: streams.bytes_rx,
                packets_out: streams.packets_tx,
                bytes_out: streams.bytes_tx,
            },
            attempts: self.survey.dials.iter().take(ATTEMPTS_MAX).map(attempt).collect(),
        }
    }

    pub(super) fn peers(&self, dht: &dht::Snapshot, found: usize) -> Peers {
        let mut list = self.rows();
        let keys: BTreeSet<PublicKey> = list.iter().map(|peer| peer.key.0).collect();
        let connected = list.iter().filter(|peer| peer.state == PeerState::Connected);
        let connected: BTreeSet<PublicKey> = connected.map(|peer| peer.key.0).collect();
        list.sort_by_key(|peer| (peer.state, peer.key));
        list.truncate(PEERS_MAX);
        Peers {
            found,
            connected: connected.len(),
            known: keys.len(),
            list,
            topics: self.topics(dht),
            listening: dht.listening.iter().map(listening).collect(),
            swarms: self.survey.circles.iter().map(swarm).collect(),
        }
    }

    /// One row for each connection, and for each key without one.
    fn rows(&self) -> Vec<Peer> {
        let links: BTreeMap<LinkId, &LinkState> =
            self.survey.links.iter().map(|link| (link.opened.link, link)).collect();
        let mut failures: BTreeMap<PublicKey, Failure> = self
            .survey
            .failures
            .iter()
            .filter_map(|failure| Some((failure.remote, self.failure(failure)?)))
            .collect();
        let mut told = BTreeSet::new();
        let mut rows = Vec::new();
        for circle in &self.survey.circles {
            for peer in &circle.peers {
                let (mut row, link) = self.kept(circle.local, peer);
                row.failure = failures.get(&peer.key).cloned();
                if let Some(link) = link.and_then(|id| links.get(&id)) {
                    told.insert(link.opened.link);
                    row.link = Some(self.link(link));
                }
                rows.push(row);
            }
        }
        for (id, link) in links {
            if !told.contains(&id) {
                let held = self.held.contains(&id);
                let state = if held { PeerState::Connected } else { PeerState::OnTrial };
                rows.push(self.unkept(link, state));
            }
        }
        let listed: BTreeSet<PublicKey> = rows.iter().map(|row| row.key.0).collect();
        for dial in self.survey.dials.iter().filter(|dial| !listed.contains(&dial.remote)) {
            let failure = failures.remove(&dial.remote);
            rows.push(single(dial.remote, (PeerState::Connecting, self.ago(dial.begun)), failure));
        }
        let listed: BTreeSet<PublicKey> = rows.iter().map(|row| row.key.0).collect();
        for (key, failure) in failures.into_iter().filter(|(key, _)| !listed.contains(key)) {
            rows.push(single(key, (PeerState::Idle, failure.ms_ago), Some(failure)));
        }
        rows
    }

    /// The row of a peer that a swarm keeps, and the connection that it knows of.
    fn kept(&self, local: PublicKey, peer: &roster::PeerState) -> (Peer, Option<LinkId>) {
        let (state, next, link) = match peer.standing {
            roster::Standing::Idle => (PeerState::Idle, None, None),
            roster::Standing::Queued => (PeerState::Queued, None, None),
            roster::Standing::Connecting => (PeerState::Connecting, None, None),
            roster::Standing::Waiting(until) => (PeerState::Waiting, Some(self.until(until)), None),
            roster::Standing::Connected(link, _) if self.held.contains(&link) => {
                (PeerState::Connected, None, Some(link))
            }
            roster::Standing::Connected(link, _) => (PeerState::OnTrial, None, Some(link)),
        };
        let row = Peer {
            key: Text(peer.key),
            local: Some(Text(local)),
            state,
            state_ms: self.ago(peer.since),
            next_in_ms: next,
            topics: peer.topics.iter().take(PEER_TOPICS_MAX).map(|topic| Text(*topic)).collect(),
            attempts: Some(peer.attempts),
            failure: None,
            link: None,
        };
        (row, link)
    }

    /// The row of a connection that no swarm keeps.
    fn unkept(&self, link: &LinkState, state: PeerState) -> Peer {
        Peer {
            key: Text(link.opened.remote),
            local: Some(Text(link.opened.local)),
            state,
            state_ms: self.ago(link.since),
            next_in_ms: None,
            topics: Vec::new(),
            attempts: None,
            failure: None,
            link: Some(self.link(link)),
        }
    }

    fn link(&self, link: &LinkState) -> Link {
        let (opened, stream) = (&link.opened, link.stream.as_ref());
        let punch = link.way.filter(|_| opened.route == Route::Punched).map(|way| match way {
            Way::Opening => "opening",
            Way::Consistent => "consistent",
            Way::Random => "random",
            Way::Predicted => "predicted",
        });
        let traffic = stream.map(|stream| Streams {
            packets_in: stream.packets_rx,
            bytes_in: stream.bytes_rx,
            packets_out: stream.packets_tx,
            bytes_out: stream.bytes_tx,
        });
        Link {
            id: opened.link.0,
            incoming: opened.direction == Direction::Incoming,
            path: opened.route.word().into(),
            punch: punch.map(Into::into),
            address: opened.address,
            open_ms: self.ago(link.since),
            took_ms: millis(opened.took),
            round_trip_ms: stream.and_then(|stream| stream.rtt).map(|time| time.as_secs_f64() * 1e3),
            traffic: traffic.unwrap_or_default(),
            frames_in: link.frames.frames_read,
            frames_out: link.frames.frames_written,
            retransmits: stream.map_or(0, |stream| stream.retransmits),
            timeouts: stream.map_or(0, |stream| stream.timeouts),
            fast_recoveries: stream.map_or(0, |stream| stream.fast_recoveries),
            mtu: stream.map_or(0, |stream| stream.mtu),
            window: stream.map_or(0, |stream| stream.cwnd),
        }
    }

    fn failure(&self, failure: &::swarm::Failure) -> Option<Failure> {
        Some(Failure {
            step: failure.error.step()?.into(),
            reason: failure.error.into(),
            text: failure.error.to_string(),
            ms_ago: self.ago(failure.at),
        })
    }

    fn topics(&self, dht: &dht::Snapshot) -> Vec<Topic> {
        let announced = dht.topics.iter().map(|topic| Topic {
            topic: Text(topic.topic),
            public_key: Text(topic.public_key),
            role: TopicRole::Announce,
            stored: topic.stored,
            holders: topic.holders.clone(),
            first_ms_ago: None,
            announced_ms_ago: topic.announced_ago.map(millis),
            looked_ms_ago: None,
            next_in_ms: topic.next_in.map(millis),
            found: None,
            connected: None,
        });
        let joined = self.survey.circles.iter().flat_map(|circle| {
            let mut found: BTreeMap<Id<32>, usize> = BTreeMap::new();
            for topic in circle.peers.iter().flat_map(|peer| &peer.topics) {
                *found.entry(*topic).or_default() += 1;
            }
            circle.topics.iter().map(move |(topic, records)| Topic {
                topic: Text(topic.topic),
                public_key: Text(circle.local),
                role: role(topic),
                stored: records.holders.len(),
                holders: records.holders.clone(),
                first_ms_ago: records.first.map(|at| self.ago(at)),
                announced_ms_ago: records.announced.map(|at| self.ago(at)),
                looked_ms_ago: records.looked.map(|at| self.ago(at)),
                next_in_ms: topic.running.is_none().then(|| self.until(topic.due)),
                found: Some(found.get(&topic.topic).copied().unwrap_or_default()),
                connected: Some(topic.linked),
            })
        });
        announced.chain(joined).collect()
    }
}

fn role(topic: &roster::TopicState) -> TopicRole {
    match (topic.running, topic.role) {
        (Some(RefreshKind::Unannounce), _) | (_, None) => TopicRole::Leaving,
        (_, Some(roster::Role::Announce)) => TopicRole::Announce,
        (_, Some(roster::Role::Find)) => TopicRole::Find,
        (_, Some(roster::Role::Both)) => TopicRole::Both,
    }
}

fn single(key: PublicKey, (state, state_ms): (PeerState, u64), failure: Option<Failure>) -> Peer {
    Peer {
        key: Text(key),
        local: None,
        state,
        state_ms,
        next_in_ms: None,
        topics: Vec::new(),
        attempts: None,
        failure,
        link: None,
    }
}

fn listening((key, relays): &(PublicKey, Vec<SocketAddrV4>)) -> Listening {
    Listening { public_key: Text(*key), relays: relays.clone() }
}

fn swarm(circle: &::swarm::CircleState) -> SwarmState {
    let census = &circle.census;
    SwarmState {
        public_key: Text(circle.local),
        client_attempted: census.outgoing_attempted,
        client_opened: census.outgoing_opened,
        client_closed: census.outgoing_closed,
        server_opened: census.incoming_opened,
        server_closed: census.incoming_closed,
        updates: census.updates,
        banned_peers: census.firewalled,
        open: census.links_open,
        connecting: census.connecting,
        queued: census.queued,
        waiting: census.waiting,
        known: census.peers_known,
        banned: census.banned,
        topics: census.topics,
    }
}

impl From<Step> for DialStep {
    fn from(step: Step) -> Self {
        match step {
            Step::Find => Self::Find,
            Step::Handshake => Self::Handshake,
            Step::Lan => Self::Lan,
            Step::Punch => Self::Punch,
            Step::Relay => Self::Relay,
            Step::Contact | _ => Self::Contact,
        }
    }
}

impl DialStep {
    /// Says what is or was being done.
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::Find => "asking the network for the key",
            Self::Handshake => "shaking hands through other nodes",
            Self::Contact => "waiting for the first packet",
            Self::Lan => "trying the local network",
            Self::Punch => "opening the routers in between",
            Self::Relay => "going through a relay",
        }
    }
}
