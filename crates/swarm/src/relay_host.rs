//! Being a relay: clients, their streams, and how much is done for them (npm `blind-relay`).

mod host;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use peer::{BlindRelayAction, BlindRelayLimits, RelayEnd, RelaySessionId};
use udx::{Path, StreamId, Unacked};
use wire::PublicKey;

use crate::event::{Event, LinkError, LinkId};
use crate::identity::Identity;
use crate::policy::{Permit, RelayPolicy};
use crate::relays::RELAYS_TOPIC;
use crate::server::ListenOptions;
use crate::swarm::{Owner, Swarm};
use host::Bridge;
pub(crate) use host::Host;

/// How often bytes are counted while streams are joined.
const COUNT: Duration = Duration::from_secs(1);

/// How a node is a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayOptions {
    /// How much it does.
    pub limits: RelayLimits,
    /// Whether it announces itself under [`RELAYS_TOPIC`](crate::RELAYS_TOPIC), as soon as others reach it.
    pub announce: Permit,
}

impl Default for RelayOptions {
    fn default() -> Self {
        Self { limits: RelayLimits::default(), announce: Permit::Forbidden }
    }
}

/// How much a relay does for others. Beyond a limit a client is not answered, and gives up after fifteen
/// seconds, as the protocol has no refusal; beyond a rate packets are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayLimits {
    /// Clients at once.
    pub clients: usize,
    /// Clients at once from one address.
    pub clients_of_host: usize,
    /// Pairs of one client, those that wait for their second peer included.
    pub pairs_of_client: usize,
    /// Joined pairs at once.
    pub pairs: usize,
    /// How long a token waits for its second peer; clients give up after fifteen seconds.
    pub patience: Duration,
    /// How long a pair stays joined by which nothing passes; living connections send every five seconds.
    pub idle: Duration,
    /// How long a client stays that has no pair.
    pub idle_client: Duration,
    /// Bytes of one pair, both ways together.
    pub bytes_of_pair: u64,
    /// Bytes of all pairs of one address in an hour.
    pub bytes_of_host_hour: u64,
    /// Bytes of all pairs in an hour.
    pub bytes_hour: u64,
    /// Bytes a second of each direction of a pair.
    pub rate_of_pair: u64,
    /// Bytes a second of all pairs.
    pub rate: u64,
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self {
            clients: 256,
            clients_of_host: 16,
            pairs_of_client: 16,
            pairs: 512,
            patience: Duration::from_secs(30),
            idle: Duration::from_mins(1),
            idle_client: Duration::from_mins(10),
            bytes_of_pair: 1 << 30,
            bytes_of_host_hour: 4 << 30,
            bytes_hour: 32 << 30,
            rate_of_pair: 4 << 20,
            rate: 32 << 20,
        }
    }
}

impl RelayLimits {
    const fn of_protocol(&self) -> BlindRelayLimits {
        BlindRelayLimits {
            sessions_max: self.clients,
            pairs_max: self.pairs_of_client,
            patience: self.patience,
            bytes_max: self.bytes_of_pair,
        }
    }
}

/// What happens to a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RelayNews {
    /// It is announced, for everybody to find.
    Announced,
    /// A client came.
    Came {
        /// Its key, which it may have made for this alone.
        client: PublicKey,
        /// Its address.
        address: SocketAddr,
    },
    /// A client went.
    Went {
        /// Its key.
        client: PublicKey,
    },
    /// Two clients' streams are joined.
    Joined {
        /// Who proposed the relay, and the other.
        clients: [PublicKey; 2],
    },
    /// Two streams are separated.
    Separated {
        /// Whose they were.
        clients: [PublicKey; 2],
        /// What passed, both ways together.
        bytes: u64,
        /// How long they were joined.
        lasted: Duration,
        /// Why.
        why: SeparationReason,
    },
}

/// Why two streams were separated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SeparationReason {
    /// A client left, or wanted it.
    Left,
    /// Nothing passed for too long.
    Idle,
    /// As many bytes passed as may.
    Exhausted,
    /// The relay ends.
    Ended,
}

impl SeparationReason {
    /// Returns the word for it in machine-readable output.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Idle => "idle",
            Self::Exhausted => "exhausted",
            Self::Ended => "ended",
        }
    }
}

/// What a relay has at one moment, and did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayCensus {
    /// Clients.
    pub clients: usize,
    /// Tokens that wait for their second peer.
    pub waiting: usize,
    /// Joined pairs.
    pub pairs: usize,
    /// Pairs joined so far.
    pub joined: u64,
    /// Bytes passed on so far.
    pub bytes: u64,
    /// Clients and pairs that found no room.
    pub refused: u64,
}

impl Swarm {
    /// Becomes a relay under a key, which is served for nothing else.
    pub fn host_relay(&mut self, now: Instant, identity: Arc<Identity>, options: RelayOptions) {
        let key = identity.public_key();
        self.hosts.entry(key).or_insert_with(|| Host::new(now, Arc::clone(&identity), options));
        let served = ListenOptions { through: RelayPolicy::Never, ..ListenOptions::default() };
        self.ground.udx.set_relay_rate_total(now, Some(options.limits.rate));
        self.begin_listening(now, identity, served);
        self.announce_relays(now);
        self.settle(now);
    }

    /// Stops being a relay: clients are told, streams separated, and the announcement removed.
    pub fn end_relay(&mut self, now: Instant, key: PublicKey) {
        let Some(host) = self.hosts.get(&key) else { return };
        for link in host.clients() {
            self.remove_link(now, link, LinkError::Closed);
        }
        self.hosts.remove(&key);
        if self.hosts.is_empty() {
            self.ground.udx.set_relay_rate_total(now, None);
        }
        self.settle(now);
    }

    /// Tells what a relay of ours has and did.
    #[must_use]
    pub fn relay_census(&self, key: &PublicKey) -> Option<RelayCensus> {
        self.hosts.get(key).map(Host::census)
    }

    /// Announces the relays that are to be, once others reach this node.
    pub(crate) fn announce_relays(&mut self, now: Instant) {
        if self.ground.open_address().is_none() {
            return;
        }
        for (key, host) in &mut self.hosts {
            if let Some(signing) = host.take_announcement() {
                self.ground.hyper.announce(now, RELAYS_TOPIC, signing);
                self.events.push_back(Event::Relay { relay: *key, news: RelayNews::Announced });
            }
        }
    }

    /// Takes a client of a relay of ours.
    pub(crate) fn accept_client(&mut self, now: Instant, link: LinkId) {
        let Some((key, remote, address)) = self.links.get(&link).map(|l| (l.local, l.remote, l.address()))
        else {
            return;
        };
        let Some(host) = self.hosts.get_mut(&key) else { return };
        if !host.accept(now, link, (remote, address.ip())) {
            return self.remove_link(now, link, LinkError::Closed);
        }
        let news = RelayNews::Came { client: remote, address };
        self.events.push_back(Event::Relay { relay: key, news });
        self.drive_host(now, key);
    }

    /// Reads what a client says.
    pub(crate) fn read_client(&mut self, now: Instant, key: PublicKey, link: LinkId) {
        let goes_on = self.read_mux(now, link, |swarm, frame| {
            swarm.hosts.get_mut(&key).is_some_and(|host| host.handle_frame(now, link, frame))
        });
        if !goes_on {
            self.remove_link(now, link, LinkError::Closed);
        }
        self.drive_host(now, key);
    }

    /// Forgets a client whose connection is over.
    pub(crate) fn lose_client(&mut self, now: Instant, key: PublicKey, link: LinkId) {
        let Some(host) = self.hosts.get_mut(&key) else { return };
        if let Some(client) = host.lose(link) {
            self.events.push_back(Event::Relay { relay: key, news: RelayNews::Went { client } });
        }
        self.drive_host(now, key);
    }

    fn drive_host(&mut self, now: Instant, key: PublicKey) {
        while let Some(action) = self.hosts.get_mut(&key).and_then(Host::poll_action) {
            match action {
                BlindRelayAction::Join { link, initiator, responder } => {
                    let bridge = self.bridge(now, key, (link, initiator, responder));
                    let Some(host) = self.hosts.get_mut(&key) else { return };
                    match bridge {
                        Some(bridge) => {
                            let clients = bridge.clients;
                            host.joined(link, bridge);
                            self.events
                                .push_back(Event::Relay { relay: key, news: RelayNews::Joined { clients } });
                        }
                        None => host.not_joined(link),
                    }
                }
                BlindRelayAction::Send { session, kind, payload } => {
                    if let Some(host) = self.hosts.get_mut(&key) {
                        host.say(session, kind, &payload);
                    }
                }
                BlindRelayAction::Separate { link } => self.separate(now, key, link),
                _ => {}
            }
        }
        let Some(host) = self.hosts.get(&key) else { return };
        for link in host.talkative() {
            let mut frame = Vec::new();
            while self.hosts.get_mut(&key).is_some_and(|host| host.poll_frame(link, &mut frame)) {
                // A client that asks and does not read is none.
                if self.send(now, link, &frame).is_err() {
                    self.remove_link(now, link, LinkError::Closed);
                    break;
                }
            }
        }
    }

    /// Makes two streams that pass packets to each other. Each client's packets come by the path of its
    /// connection, so that a stranger who guesses the stream's name changes nothing.
    fn bridge(
        &mut self,
        now: Instant,
        key: PublicKey,
        (link, initiator, responder): (peer::LinkId, RelayEnd, RelayEnd),
    ) -> Option<Bridge> {
        let host = self.hosts.get_mut(&key)?;
        if !host.has_room() {
            return None;
        }
        let rate = host.options.limits.rate_of_pair;
        let ends = [initiator, responder].map(|end| (LinkId(end.session.0), StreamId(end.stream)));
        let known = ends.map(|(link, _)| self.links.get(&link).map(|link| (link.path, link.remote)));
        let [Some(first), Some(second)] = known else { return None };
        let paths: [Path; 2] = [first.0, second.0];
        let udx = &mut self.ground.udx;
        let streams = [udx.open(now).ok()?, udx.open(now).ok()?];
        let connected = udx
            .relay(now, streams[0], streams[1])
            .and_then(|()| udx.relay(now, streams[1], streams[0]))
            .and_then(|()| udx.connect(now, streams[0], paths[0], ends[0].1))
            .and_then(|()| udx.connect(now, streams[1], paths[1], ends[1].1));
        for stream in streams {
            udx.set_relay_rate(now, stream, Some(rate));
            if connected.is_err() {
                udx.destroy(now, stream);
            } else {
                self.streams.insert(stream, Owner::Relay(key, link));
            }
        }
        connected.ok()?;
        let hosts = paths.map(|path| path.remote.ip());
        Some(Bridge { streams, ends, hosts, clients: [first.1, second.1], since: now, heard: now, bytes: 0 })
    }

    fn separate(&mut self, now: Instant, key: PublicKey, link: peer::LinkId) {
        self.count_bridge(key, link);
        let Some((bridge, why)) = self.hosts.get_mut(&key).and_then(|host| host.separated(link)) else {
            return;
        };
        for stream in bridge.streams {
            self.streams.remove(&stream);
            self.ground.udx.destroy(now, stream);
        }
        let lasted = now.saturating_duration_since(bridge.since);
        let news = RelayNews::Separated { clients: bridge.clients, bytes: bridge.bytes, lasted, why };
        self.events.push_back(Event::Relay { relay: key, news });
    }

    /// Takes the end of a stream between two clients.
    pub(crate) fn bridge_closed(&mut self, now: Instant, key: PublicKey, link: peer::LinkId) {
        self.separate(now, key, link);
        if let Some(host) = self.hosts.get_mut(&key) {
            host.not_joined(link);
        }
    }

    /// Takes another path of a client's packets: its NAT may have given it another port.
    pub(crate) fn bridge_offered(
        &mut self,
        now: Instant,
        (key, link): (PublicKey, peer::LinkId),
        stream: StreamId,
        path: Path,
    ) {
        let end = self.hosts.get(&key).and_then(|host| host.end_of(link, stream));
        match end {
            Some((name, host)) if host == path.remote.ip() => {
                self.ground.udx.change_path(now, stream, (path, name), Unacked::Stay).unwrap_or_default();
            }
            _ => self.ground.udx.refuse(stream, path),
        }
    }

    fn count_bridge(&mut self, key: PublicKey, link: peer::LinkId) -> u64 {
        let Some(bridge) = self.hosts.get_mut(&key).and_then(|host| host.bridge_mut(link)) else { return 0 };
        let udx = &self.ground.udx;
        let passed = bridge.streams.iter().filter_map(|stream| udx.stream_stats(*stream));
        let total: u64 = passed.map(|stats| stats.bytes_rx).sum();
        let more = total.saturating_sub(bridge.bytes);
        bridge.bytes = bridge.bytes.max(total);
        more
    }

    pub(crate) fn hosts_timeout(&mut self, now: Instant) {
        let due = |host: &Host| host.poll_timeout().is_some_and(|at| at <= now);
        let keys: Vec<_> = self.hosts.iter().filter(|(_, host)| due(host)).map(|(key, _)| *key).collect();
        for key in keys {
            self.count_host(now, key);
            let idle = self.hosts.get_mut(&key).map(|host| host.handle_timeout(now)).unwrap_or_default();
            for link in idle {
                self.remove_link(now, link, LinkError::Closed);
            }
            self.drive_host(now, key);
        }
    }

    fn count_host(&mut self, now: Instant, key: PublicKey) {
        let Some(host) = self.hosts.get_mut(&key) else { return };
        if !host.counts_at(now, COUNT) {
            return;
        }
        for link in host.bridges() {
            let more = self.count_bridge(key, link);
            if let Some(host) = self.hosts.get_mut(&key) {
                host.count(now, link, more);
            }
        }
    }
}

/// The connection of a client names its session.
const fn session(link: LinkId) -> RelaySessionId {
    RelaySessionId(link.0)
}

/// Bytes by address in the hour that runs.
type Hour = std::collections::BTreeMap<IpAddr, u64>;
