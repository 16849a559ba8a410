use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dht::KeyPair;
use peer::{
    BlindRelay, BlindRelayAction, ChannelId, Mux, MuxEvent, MuxLimits, RelaySessionId, blind_relay_channel,
};
use udx::StreamId;
use wire::PublicKey;

use super::{Hour, RelayCensus, RelayOptions, SeparationReason, session};
use crate::event::LinkId;
use crate::identity::Identity;
use crate::policy::Permit;

const HOUR: Duration = Duration::from_hours(1);
/// Addresses whose bytes of an hour are counted; beyond them those of all others count as one's.
const HOSTS_MAX: usize = 4096;

/// A relay of ours.
#[derive(Debug)]
pub(crate) struct Host {
    identity: Arc<Identity>,
    pub(super) options: RelayOptions,
    relay: BlindRelay,
    clients: BTreeMap<LinkId, Client>,
    bridges: BTreeMap<peer::LinkId, Bridge>,
    why: BTreeMap<peer::LinkId, SeparationReason>,
    count_at: Option<Instant>,
    hour: (Instant, Hour, u64),
    announced: Announced,
    refused: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Announced {
    No,
    Yes,
}

/// The connection of a client.
#[derive(Debug)]
struct Client {
    key: PublicKey,
    host: IpAddr,
    mux: Mux,
    channel: Option<ChannelId>,
    /// Since when it has had no pair.
    idle: Option<Instant>,
}

/// Two streams that are joined.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bridge {
    pub(super) streams: [StreamId; 2],
    /// The connections of the clients, and their names for their streams.
    pub(super) ends: [(LinkId, StreamId); 2],
    pub(super) hosts: [IpAddr; 2],
    pub(super) clients: [PublicKey; 2],
    pub(super) since: Instant,
    pub(super) heard: Instant,
    pub(super) bytes: u64,
}

impl Host {
    pub(super) fn new(now: Instant, identity: Arc<Identity>, options: RelayOptions) -> Self {
        Self {
            identity,
            options,
            relay: BlindRelay::new(options.limits.of_protocol()),
            clients: BTreeMap::new(),
            bridges: BTreeMap::new(),
            why: BTreeMap::new(),
            count_at: None,
            hour: (now, Hour::new(), 0),
            announced: Announced::No,
            refused: 0,
        }
    }

    /// Lends the key that signs the announcement, once.
    pub(super) fn take_announcement(&mut self) -> Option<KeyPair> {
        let wanted = self.options.announce == Permit::Allowed && self.announced == Announced::No;
        wanted.then(|| {
            self.announced = Announced::Yes;
            self.identity.signing().clone()
        })
    }

    pub(super) fn accept(&mut self, now: Instant, link: LinkId, (key, host): (PublicKey, IpAddr)) -> bool {
        let neighbours = self.clients.values().filter(|client| client.host == host).count();
        let mut mux = Mux::new(MuxLimits { channels_max: 4, ..MuxLimits::default() });
        let channel = mux.open(blind_relay_channel(key), &[]).ok();
        let has_room = neighbours < self.options.limits.clients_of_host && !self.is_spent(now, host);
        if !has_room || self.relay.accept(session(link)).is_err() {
            self.refused += 1;
            return false;
        }
        self.clients.insert(link, Client { key, host, mux, channel, idle: Some(now) });
        self.count_at.get_or_insert(now + super::COUNT);
        true
    }

    /// Tells whether an address, or all together, has had its bytes of the hour.
    fn is_spent(&mut self, now: Instant, host: IpAddr) -> bool {
        if now.saturating_duration_since(self.hour.0) >= HOUR {
            self.hour = (now, Hour::new(), 0);
        }
        let own = self.hour.1.get(&self.slot(host)).copied().unwrap_or_default();
        own >= self.options.limits.bytes_of_host_hour || self.hour.2 >= self.options.limits.bytes_hour
    }

    /// Addresses beyond the limit share the count of none.
    fn slot(&self, host: IpAddr) -> IpAddr {
        if self.hour.1.contains_key(&host) || self.hour.1.len() < HOSTS_MAX {
            host
        } else {
            IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)
        }
    }

    /// Takes a frame of a client; tells whether it is one that a client may send.
    pub(super) fn handle_frame(&mut self, now: Instant, link: LinkId, frame: &[u8]) -> bool {
        let Some(client) = self.clients.get_mut(&link) else { return false };
        if client.mux.handle_frame(frame).is_err() {
            return false;
        }
        loop {
            match client.mux.poll_event() {
                Ok(Some(MuxEvent::Requested { request, .. })) => client.mux.reject(request),
                Ok(Some(MuxEvent::Opened { .. })) => self.relay.handle_opened(session(link)),
                Ok(Some(MuxEvent::Message { kind, payload, .. })) => {
                    if self.relay.handle_message(now, session(link), kind, &payload).is_err() {
                        return false;
                    }
                }
                Ok(Some(MuxEvent::Closed { .. } | MuxEvent::Rejected { .. })) => {
                    client.channel = None;
                    return false;
                }
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    /// Forgets a client; its streams are separated.
    pub(super) fn lose(&mut self, link: LinkId) -> Option<PublicKey> {
        let client = self.clients.remove(&link)?;
        self.relay.handle_closed(session(link));
        Some(client.key)
    }

    pub(super) fn say(&mut self, RelaySessionId(link): RelaySessionId, kind: u64, payload: &[u8]) {
        let Some(client) = self.clients.get_mut(&LinkId(link)) else { return };
        if let Some(channel) = client.channel {
            // A channel that closed meanwhile takes its pairs with it.
            client.mux.send(channel, kind, payload).unwrap_or_default();
        }
    }

    pub(super) fn poll_action(&mut self) -> Option<BlindRelayAction> {
        self.relay.poll_action()
    }

    pub(super) fn has_room(&mut self) -> bool {
        let has_room = self.bridges.len() < self.options.limits.pairs;
        self.refused += u64::from(!has_room);
        has_room
    }

    pub(super) fn joined(&mut self, link: peer::LinkId, bridge: Bridge) {
        for (client, _) in bridge.ends {
            if let Some(client) = self.clients.get_mut(&client) {
                client.idle = None;
            }
        }
        self.relay.handle_joined(link, bridge.streams[0].0, bridge.streams[1].0);
        self.bridges.insert(link, bridge);
    }

    /// Takes note that there are no such streams.
    pub(super) fn not_joined(&mut self, link: peer::LinkId) {
        self.relay.handle_ended(link);
    }

    pub(super) fn separated(&mut self, link: peer::LinkId) -> Option<(Bridge, SeparationReason)> {
        let bridge = self.bridges.remove(&link)?;
        for (client, _) in bridge.ends {
            let has_more = self.bridges.values().any(|other| other.ends.iter().any(|end| end.0 == client));
            if let Some(client) = self.clients.get_mut(&client).filter(|_| !has_more) {
                client.idle = Some(bridge.heard);
            }
        }
        Some((bridge, self.why.remove(&link).unwrap_or(SeparationReason::Left)))
    }

    pub(super) fn bridges(&self) -> Vec<peer::LinkId> {
        self.bridges.keys().copied().collect()
    }

    pub(super) fn bridge_mut(&mut self, link: peer::LinkId) -> Option<&mut Bridge> {
        self.bridges.get_mut(&link)
    }

    /// The client's name for a stream of ours, and its address.
    pub(super) fn end_of(&self, link: peer::LinkId, stream: StreamId) -> Option<(StreamId, IpAddr)> {
        let bridge = self.bridges.get(&link)?;
        let i = bridge.streams.iter().position(|own| *own == stream)?;
        Some((bridge.ends[i].1, bridge.hosts[i]))
    }

    /// Tells whether it is time to count, and when it is next.
    pub(super) fn counts_at(&mut self, now: Instant, every: Duration) -> bool {
        if self.count_at.is_none_or(|at| at > now) {
            return false;
        }
        self.count_at = (!self.clients.is_empty()).then_some(now + every);
        true
    }

    /// Counts what passed between two streams; those that had enough, or nothing for long, are separated.
    pub(super) fn count(&mut self, now: Instant, link: peer::LinkId, bytes: u64) {
        let limits = self.options.limits;
        let Some(bridge) = self.bridges.get_mut(&link) else { return };
        if bytes > 0 {
            bridge.heard = now;
        }
        let hosts: BTreeSet<IpAddr> = bridge.hosts.into_iter().collect();
        let is_idle = now.saturating_duration_since(bridge.heard) >= limits.idle;
        let mut is_spent = bridge.bytes > limits.bytes_of_pair;
        for host in &hosts {
            let slot = self.slot(*host);
            *self.hour.1.entry(slot).or_default() += bytes;
        }
        self.hour.2 += bytes;
        for host in hosts {
            is_spent |= self.is_spent(now, host);
        }
        if is_spent {
            self.why.insert(link, SeparationReason::Exhausted);
        } else if is_idle {
            self.why.insert(link, SeparationReason::Idle);
        }
        self.relay.handle_relayed(link, bytes);
        if is_spent || is_idle {
            self.relay.separate(link);
        }
    }

    /// Gives up what waited too long, and returns the clients that want nothing.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Vec<LinkId> {
        self.relay.handle_timeout(now);
        let idle = self.options.limits.idle_client;
        let is_idle =
            |client: &Client| client.idle.is_some_and(|since| now.saturating_duration_since(since) >= idle);
        self.clients.iter().filter(|(_, client)| is_idle(client)).map(|(link, _)| *link).collect()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.relay.poll_timeout().into_iter().chain(self.count_at).min()
    }

    pub(super) fn clients(&self) -> Vec<LinkId> {
        self.clients.keys().copied().collect()
    }

    /// Those that something waits for.
    pub(super) fn talkative(&self) -> Vec<LinkId> {
        self.clients.iter().filter(|(_, client)| client.mux.has_frames()).map(|(link, _)| *link).collect()
    }

    pub(super) fn poll_frame(&mut self, link: LinkId, buf: &mut Vec<u8>) -> bool {
        self.clients.get_mut(&link).is_some_and(|client| client.mux.poll_frame(buf))
    }

    pub(super) fn census(&self) -> RelayCensus {
        let (census, stats) = (self.relay.census(), self.relay.stats());
        RelayCensus {
            clients: census.sessions,
            waiting: census.waiting,
            pairs: self.bridges.len(),
            joined: stats.streams_opened / 2,
            bytes: stats.bytes_relayed,
            refused: self.refused,
        }
    }

    /// Tells of which relay a link is a client.
    pub(crate) fn has_client(&self, link: LinkId) -> bool {
        self.clients.contains_key(&link)
    }
}
