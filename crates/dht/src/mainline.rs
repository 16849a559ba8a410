//! A node of the BitTorrent Mainline DHT as a machine without I/O.
//!
//! [`Mainline`] has the five verbs of every machine; what it wants to be resolved, [`Mainline::poll_resolve`] names.
//! It speaks over one socket for each internet (BEP 32), and has an id, a table and stores of its own in each.

mod ask;
mod bloom;
mod config;
mod contacts;
mod event;
mod gate;
mod identity;
mod items;
mod lookup;
mod operation;
mod peers;
mod serve;
mod stats;
mod token;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use pace::{Generations, Rtt, Timers};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sha1::Digest;
use wire::krpc::{Body, Family, Message};
use wire::{Id, Outbox, SocketId, Transmit};

pub use config::{Binding, Config, Diversity, Limits, Rate, Sampling, Timing};
pub use event::{
    ContactState, Event, Failure, Outcome, Pong, Port, Scraped, Snapshot, StackState, Stored, Task, Value,
    Walked,
};
pub use stats::{Served, Stats};

use crate::hyper::OperationId;
use crate::window::Window;
use ask::Asked;
use contacts::Contacts;
use gate::Gate;
use items::Items;
use lookup::{Lookup, LookupId, Responder};
use operation::Operation;
use peers::{Peers, TopicRate};
use token::Tokens;
use upkeep::{Announced, Role};

/// The client's name and version in our queries (BEP 5): Homing, 0.1.
const CLIENT: &[u8] = b"HM\x00\x01";
/// Nodes to begin with that are kept.
const SEEDS_MAX: usize = 256;
/// Look-ups from whose results the size of the network is estimated.
const SIZES_MAX: usize = 16;
/// Hosts remembered to have heard of us, for one to two spans: longer than any NAT keeps a way open.
const SPOKEN_MAX: usize = 16_384;
const SPOKEN_SPAN: Duration = Duration::from_mins(30);
/// Hosts whose new topics are counted.
const TOPIC_RATE_MAX: usize = 8192;

/// Returns SHA-1, the hash that names topics and values on Mainline.
#[must_use]
pub fn sha1(bytes: &[u8]) -> Id<20> {
    Id(sha1::Sha1::digest(bytes).into())
}

/// The socket that speaks to an address: one for IPv4, one for IPv6.
const fn socket(to: &SocketAddr) -> SocketId {
    if to.is_ipv4() { Mainline::SOCKET_V4 } else { Mainline::SOCKET_V6 }
}

/// A Mainline node without its sockets.
#[derive(Debug)]
pub struct Mainline {
    config: Config,
    rng: StdRng,
    born: Instant,
    stats: Stats,
    outbox: Outbox,
    events: VecDeque<Event>,
    resolve: VecDeque<String>,
    stacks: [Option<Stack>; 2],
    gate: Gate,
    tokens: Tokens,
    topic_rate: TopicRate,
    window: Window,
    rtt: Rtt,
    asked: BTreeMap<u16, Asked>,
    timers: Timers<u16>,
    waiting: VecDeque<u16>,
    checks: usize,
    lookups: BTreeMap<LookupId, Lookup>,
    operations: BTreeMap<OperationId, Operation>,
    announced: BTreeMap<(Id<20>, Port), Announced>,
    serial: u64,
    role: Role,
    spoken: Generations<IpAddr, ()>,
    signatures: (Instant, u32),
    tick_due: Instant,
    bootstrapped: bool,
    bootstrapping: usize,
    resolving: usize,
}

/// What a node is in one of the two internets.
#[derive(Debug)]
struct Stack {
    family: Family,
    contacts: Contacts,
    votes: identity::Votes,
    peers: Peers,
    items: Items,
    seeds: Vec<SocketAddr>,
    /// They introduce others and want to be left alone.
    routers: BTreeSet<IpAddr>,
    sizes: VecDeque<u64>,
    unfilled: u8,
    refresh_due: Instant,
    turn: bool,
}

impl Stack {
    /// Estimates the nodes of the network, as the median of what look-ups saw.
    fn network_size(&self) -> Option<u64> {
        let mut sizes: Vec<u64> = self.sizes.iter().copied().collect();
        sizes.sort_unstable();
        sizes.get(sizes.len() / 2).copied()
    }

    /// Takes the result of a look-up: the closer it is to its target, the more nodes there must be.
    fn measure(&mut self, target: &Id<20>, closest: &[Responder]) {
        let Some(farthest) = closest.last() else { return };
        let share = farthest.id.distance(target).prefix().max(1);
        if self.sizes.len() == SIZES_MAX {
            self.sizes.pop_front();
        }
        self.sizes.push_back((u64::MAX / share).saturating_mul(closest.len() as u64));
    }
}

impl Mainline {
    /// The socket of the IPv4 internet.
    pub const SOCKET_V4: SocketId = SocketId(0);
    /// The socket of the IPv6 internet.
    pub const SOCKET_V6: SocketId = SocketId(1);

    /// Creates a node in the internets that it has a socket in; it starts to look for the network at once.
    #[must_use]
    pub fn new(config: Config, families: &[Family], seed: [u8; 32], now: Instant) -> Self {
        let mut rng = StdRng::from_seed(seed);
        let stacks = [Family::V4, Family::V6].map(|family| {
            families.contains(&family).then(|| Stack {
                family,
                contacts: Contacts::new(Id(rng.random()), config.diversity, config.binding),
                votes: identity::Votes::default(),
                peers: Peers::new(),
                items: Items::default(),
                seeds: config
                    .nodes
                    .iter()
                    .filter(|a| Family::of(a) == family)
                    .take(SEEDS_MAX)
                    .copied()
                    .collect(),
                routers: BTreeSet::new(),
                sizes: VecDeque::new(),
                unfilled: 0,
                refresh_due: now + config.timing.tick,
                turn: true,
            })
        });
        let (timing, limits) = (&config.timing, &config.limits);
        let mut node = Self {
            born: now,
            stats: Stats::default(),
            outbox: Outbox::default(),
            events: VecDeque::new(),
            resolve: config.routers.iter().map(|(host, _)| host.clone()).collect(),
            stacks,
            gate: Gate::new(limits.host, limits.block, now),
            tokens: Tokens::new([rng.random(), rng.random()], now),
            topic_rate: Generations::new(TOPIC_RATE_MAX, Duration::from_mins(1)),
            window: Window::new(limits.window, timing.window_slot, now),
            rtt: Rtt::default(),
            asked: BTreeMap::new(),
            timers: Timers::new(),
            waiting: VecDeque::new(),
            checks: 0,
            lookups: BTreeMap::new(),
            operations: BTreeMap::new(),
            announced: BTreeMap::new(),
            serial: 0,
            role: Self::first_role(config.standing, timing.stable, now),
            spoken: Generations::new(SPOKEN_MAX, SPOKEN_SPAN),
            signatures: (now, 0),
            // Nodes that start together do not work together.
            tick_due: now + timing.tick.mul_f64(rng.random_range(0.5..1.0)),
            bootstrapped: false,
            bootstrapping: 0,
            resolving: config.routers.len(),
            rng,
            config,
        };
        node.bootstrap(now);
        node
    }

    /// Takes a datagram from the network.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        if from.port() == 0 || self.stack(Family::of(&from)).is_none() {
            self.stats.rejected += 1;
            return;
        }
        match Message::decode(bytes) {
            Ok(message) => match message.body {
                Body::Query(query) => self.handle_query(now, from, &message, (query, bytes.len())),
                Body::Response(_) | Body::Error(..) => self.handle_answer(now, from, &message),
            },
            Err(_) => self.stats.rejected += 1,
        }
    }

    /// Acts on every deadline up to `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.expire_asks(now);
        self.send_waiting(now);
        self.run_upkeep(now);
    }

    /// Moves the next datagram into `buf`, replacing what was there.
    pub fn poll_transmit(&mut self, buf: &mut Vec<u8>) -> Option<Transmit> {
        self.outbox.pop(buf)
    }

    /// Returns the next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns the next name to be resolved; [`Mainline::handle_resolved`] takes the answer.
    pub fn poll_resolve(&mut self) -> Option<String> {
        self.resolve.pop_front()
    }

    /// Returns when [`Mainline::handle_timeout`] is next due.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        let slot = (!self.waiting.is_empty()).then(|| self.window.turn());
        [self.timers.next(), slot].into_iter().flatten().fold(self.tick_due, Instant::min)
    }

    /// Goes through the nodes of the routing table that answer, to be saved for the next start.
    pub fn nodes(&self) -> impl Iterator<Item = SocketAddr> {
        let tables = self.stacks.iter().flatten().map(|stack| stack.contacts.table());
        tables
            .flat_map(crate::table::Table::iter)
            .filter(|contact| contact.failures == 0)
            .map(|contact| contact.addr)
    }

    /// Returns the counters.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Returns our id in one internet.
    #[must_use]
    pub fn id(&self, family: Family) -> Option<Id<20>> {
        self.stack(family).map(|stack| stack.contacts.table().id())
    }

    /// Returns the state at this moment.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let seconds = self.seconds(now);
        let contact = |contact: &contacts::Contact| ContactState {
            id: contact.id,
            addr: contact.addr,
            heard_ago: Duration::from_secs(u64::from(seconds.saturating_sub(contact.heard))),
            round_trip: Duration::from_millis(u64::from(contact.round_trip_ms)),
            failures: contact.failures,
            secure: contact.secure,
        };
        let stack = |stack: &Stack| StackState {
            family: stack.family,
            id: stack.contacts.table().id(),
            address: stack.votes.elected(),
            votes: stack.votes.len(),
            nodes: stack.contacts.table().iter().map(contact).collect(),
            rows: stack.contacts.table().fill(),
            network_size: stack.network_size(),
            stored_peers: stack.peers.len(),
            stored_items: stack.items.len(),
        };
        Snapshot {
            stacks: self.stacks.iter().flatten().map(stack).collect(),
            read_only: self.is_read_only(),
            bootstrapped: self.bootstrapped,
            round_trip: self.rtt.smoothed(),
            waiting: self.waiting.len(),
            topics: self.topics().collect(),
            stats: self.stats,
        }
    }

    fn families(&self) -> Vec<Family> {
        self.stacks.iter().flatten().map(|stack| stack.family).collect()
    }

    fn stack(&self, family: Family) -> Option<&Stack> {
        self.stacks[family as usize].as_ref()
    }

    fn stack_mut(&mut self, family: Family) -> Option<&mut Stack> {
        self.stacks[family as usize].as_mut()
    }

    /// Seconds of this machine's life, what its table counts in.
    fn seconds(&self, now: Instant) -> u32 {
        u32::try_from(now.saturating_duration_since(self.born).as_secs()).unwrap_or(u32::MAX)
    }

    /// Tells whether one more signature of others may be checked in this second.
    fn may_check_signature(&mut self, now: Instant) -> bool {
        let (since, count) = &mut self.signatures;
        if now.saturating_duration_since(*since) >= Duration::from_secs(1) {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        *count <= self.config.limits.signature_checks_per_second
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::Value;

    pub(crate) use crate::key::tests::hex;

    /// The vectors of Mainline: what the BEPs print.
    pub(crate) fn vector() -> Value {
        let path = format!("{}/../../vectors/discovery/vectors.json", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }
}
