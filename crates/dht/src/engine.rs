//! `dht-rpc`: requests, the table, walks, tokens, health. It knows no application command.

mod ask;
mod serve;
mod upkeep;
mod walks;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use pace::{Rtt, Timers};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use wire::{Id, Outbox, Request, Response, SocketId, Token, Transmit, is_rpc};

pub(crate) use ask::{Ask, AskError, Urgency};
pub(crate) use serve::{Answer, Extras, Inbound};
pub(crate) use walks::{WalkEnd, WalkId, WalkPace, WalkSpec};

use crate::config::{Limits, Timing};
use crate::guard::Guard;
use crate::health::Pulse;
use crate::hyper::Purpose;
use crate::key::node_id;
use crate::sampler::{Sampler, Seen};
use crate::snapshot::{Health, Openness, WalkState};
use crate::stats::Stats;
use crate::table::{K, Node, Table};
use crate::token::Tokens;
use crate::window::Window;
use ask::Asked;
use serve::Delayed;
use upkeep::Upkeep;
use walks::Running;

/// Whether others may store this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Ephemeral,
    Persistent,
}

/// Whether the server socket is known to be reachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    Firewalled,
    Open,
}

/// What the engine tells the parts around it.
#[derive(Debug)]
pub(crate) enum Signal {
    Answered {
        purpose: Purpose,
        reply: Reply,
    },
    Failed {
        purpose: Purpose,
        error: AskError,
    },
    /// A node answered a walk without an error.
    Walked {
        purpose: Purpose,
        reply: Reply,
    },
    WalkEnded {
        purpose: Purpose,
        end: WalkEnd,
    },
    Tick,
    Woke,
    AddressChanged,
    HealthChanged,
}

/// The answer to a request of ours.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) from: SocketAddrV4,
    /// The socket that it arrived at.
    pub(crate) at: SocketId,
    /// Our address as the responder saw it.
    pub(crate) to: SocketAddrV4,
    /// Checked against the address.
    pub(crate) id: Option<Id<32>>,
    pub(crate) token: Option<Token>,
    pub(crate) error: u64,
    pub(crate) value: Option<Box<[u8]>>,
    pub(crate) closer: Vec<SocketAddrV4>,
    /// From the first sending.
    pub(crate) elapsed: Duration,
}

#[derive(Debug)]
pub(crate) struct Engine {
    timing: Timing,
    limits: Limits,
    rng: StdRng,
    pub(crate) stats: Stats,
    outbox: Outbox,
    signals: VecDeque<Signal>,
    table: Table<32>,
    presence: Presence,
    reach: Reach,
    suspended: bool,
    /// Background walks may crowd out nothing before the first bootstrap ended, nor does upkeep run.
    bootstrapped: bool,
    sampler: Sampler,
    /// Nodes without an id that were counted as observers of our address.
    observers: BTreeSet<SocketAddrV4>,
    tokens: Tokens,
    window: Window,
    guard: Guard,
    rtt: Rtt,
    pulse: Pulse,
    asked: BTreeMap<u16, Asked>,
    timers: Timers<u16>,
    waiting: VecDeque<u16>,
    walks: BTreeMap<WalkId, Running>,
    walk_serial: u32,
    seeds: Vec<SocketAddrV4>,
    server_port: Option<u16>,
    upkeep: Upkeep,
    delayed: BTreeMap<(Instant, u64), Delayed>,
    serial: u64,
    /// When the server socket was last proven reachable.
    proven: Option<Instant>,
    /// When a request of ours was last answered, and when one of others last came.
    answered: Option<Instant>,
    heard: Option<Instant>,
    /// Walks that ended, latest first.
    walked: VecDeque<(Instant, WalkState)>,
}

impl Engine {
    pub(crate) fn new(timing: Timing, limits: Limits, seed: [u8; 32], now: Instant) -> Self {
        let mut rng = StdRng::from_seed(seed);
        Self {
            stats: Stats::default(),
            outbox: Outbox::default(),
            signals: VecDeque::new(),
            table: Table::new(Id(rng.random())),
            presence: Presence::Ephemeral,
            reach: Reach::Firewalled,
            suspended: false,
            bootstrapped: false,
            sampler: Sampler::default(),
            observers: BTreeSet::new(),
            tokens: Tokens::new([rng.random(), rng.random()], timing.token, now),
            window: Window::new(limits.window, timing.window_slot, now),
            guard: Guard::new(now),
            rtt: Rtt::default(),
            pulse: Pulse::default(),
            asked: BTreeMap::new(),
            timers: Timers::new(),
            waiting: VecDeque::new(),
            walks: BTreeMap::new(),
            walk_serial: 0,
            seeds: Vec::new(),
            server_port: None,
            upkeep: Upkeep::new(&timing, &mut rng, now),
            delayed: BTreeMap::new(),
            serial: 0,
            proven: None,
            answered: None,
            heard: None,
            walked: VecDeque::new(),
            rng,
            timing,
            limits,
        }
    }

    /// Takes a datagram; a request for the application is returned, everything else is dealt with.
    pub(crate) fn handle_datagram<'a>(
        &mut self,
        now: Instant,
        from: SocketAddr,
        at: SocketId,
        bytes: &'a [u8],
    ) -> Option<Inbound<'a>> {
        if self.suspended {
            return None;
        }
        let SocketAddr::V4(from) = from else {
            self.stats.rejected += 1;
            return None;
        };
        self.guard.receive(now, *from.ip(), bytes.len());
        if from.port() == 0 || !bytes.first().is_some_and(|first| is_rpc(*first)) {
            self.stats.rejected += 1;
            return None;
        }
        if let Ok(request) = Request::decode(bytes) {
            return self.handle_request(now, from, at, request);
        }
        match Response::decode(bytes) {
            Ok(response) => self.handle_response(now, from, at, &response),
            Err(_) => self.stats.rejected += 1,
        }
        None
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.suspended {
            return;
        }
        self.expire_asks(now);
        self.send_waiting(now);
        self.answer_delayed(now);
        self.run_upkeep(now);
    }

    pub(crate) fn poll_transmit(&mut self, buf: &mut Vec<u8>) -> Option<Transmit> {
        self.outbox.pop(buf)
    }

    pub(crate) fn poll_signal(&mut self) -> Option<Signal> {
        self.signals.pop_front()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if self.suspended {
            return None;
        }
        let slot = (!self.waiting.is_empty()).then(|| self.window.turn());
        let delayed = self.delayed.keys().next().map(|(at, _)| *at);
        [self.timers.next(), slot, delayed, Some(self.upkeep.due())].into_iter().flatten().min()
    }

    pub(crate) const fn presence(&self) -> Presence {
        self.presence
    }

    pub(crate) const fn reach(&self) -> Reach {
        self.reach
    }

    pub(crate) const fn is_suspended(&self) -> bool {
        self.suspended
    }

    pub(crate) const fn sampler(&self) -> &Sampler {
        &self.sampler
    }

    pub(crate) const fn table(&self) -> &Table<32> {
        &self.table
    }

    pub(crate) const fn health(&self) -> Health {
        self.pulse.state()
    }

    pub(crate) const fn rtt(&self) -> &Rtt {
        &self.rtt
    }

    pub(crate) const fn tick(&self) -> u32 {
        self.upkeep.tick()
    }

    pub(crate) fn waiting_len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) const fn rng(&mut self) -> &mut StdRng {
        &mut self.rng
    }

    /// Our id as others know it, while they may store us.
    pub(crate) fn id(&self) -> Option<Id<32>> {
        (self.presence == Presence::Persistent).then(|| self.table.id())
    }

    /// The socket that our own requests leave from.
    pub(crate) const fn active(&self) -> SocketId {
        match self.reach {
            Reach::Firewalled => SocketId::CLIENT,
            Reach::Open => SocketId::SERVER,
        }
    }

    /// Sets the nodes that walks begin with while the table has too few. Walks that began without them get
    /// them as well: those of an earlier run may all be gone.
    pub(crate) fn set_seeds(&mut self, now: Instant, seeds: Vec<SocketAddrV4>) {
        self.seeds = seeds;
        if self.table.len() == 0 {
            self.seed_walks(now);
        }
    }

    pub(crate) fn seeds(&self) -> &[SocketAddrV4] {
        &self.seeds
    }

    pub(crate) const fn set_server_port(&mut self, port: u16) {
        self.server_port = Some(port);
    }

    pub(crate) const fn server_port(&self) -> Option<u16> {
        self.server_port
    }

    /// Tells whether an address is this node's own, as far as it knows.
    pub(crate) fn is_own(&self, addr: SocketAddrV4) -> bool {
        self.sampler.seen() == Seen::Address(addr)
    }

    /// Forgets what others said of our address.
    pub(crate) fn forget_address(&mut self) {
        self.sampler = Sampler::default();
        self.observers.clear();
        // Each of them may say anew what it sees, or none would for half an hour.
        for node in self.table.iter_mut() {
            node.sampled = None;
        }
    }

    /// Estimates the nodes of the network: the closer the closest ones are to us, the more there must be.
    pub(crate) fn network_size(&self) -> Option<u64> {
        let own = self.table.id();
        let farthest = self.table.closest(&own).iter().nth(K - 1)?.id.distance(&own).prefix().max(1);
        // K - 1 nodes lie within this share of the key space.
        Some((u64::MAX / farthest).saturating_mul(K as u64 - 1))
    }

    pub(crate) const fn set_bootstrapped(&mut self) {
        self.bootstrapped = true;
    }

    pub(crate) const fn open(&mut self) {
        self.reach = Reach::Open;
    }

    pub(crate) const fn close(&mut self) {
        self.reach = Reach::Firewalled;
        self.proven = None;
    }

    /// Opens after a test, whose callers saw the server socket's address: what is known of the client
    /// socket's no longer counts.
    pub(crate) fn open_as_seen(&mut self, now: Instant, sampler: Sampler) {
        self.open();
        self.proven = Some(now);
        if sampler.seen() != self.sampler.seen() {
            self.signals.push_back(Signal::AddressChanged);
        }
        self.sampler = sampler;
    }

    /// Why the server socket is believed to be reachable or not.
    pub(crate) fn openness(&self, now: Instant) -> Openness {
        match (self.reach, self.proven) {
            (Reach::Firewalled, _) => Openness::Closed,
            (Reach::Open, None) => Openness::Assumed,
            (Reach::Open, Some(at)) => Openness::Proven { ago: now.saturating_duration_since(at) },
        }
    }

    /// Time since a request of ours was answered, and since one of others came.
    pub(crate) fn silence(&self, now: Instant) -> [Option<Duration>; 2] {
        [self.answered, self.heard].map(|at| at.map(|at| now.saturating_duration_since(at)))
    }

    /// Counts an observer's word for our address.
    pub(crate) fn sample(&mut self, addr: SocketAddrV4) {
        if self.sampler.add(addr) {
            self.signals.push_back(Signal::AddressChanged);
        }
    }

    /// Makes others store us under the id of `addr`; tells whether that is another id than before.
    pub(crate) fn persist(&mut self, addr: SocketAddrV4) -> bool {
        self.presence = Presence::Persistent;
        let id = node_id(addr);
        let changed = self.table.id() != id;
        if changed {
            self.table.remove(&id);
            self.table.rebase(id);
        }
        changed
    }

    pub(crate) const fn withdraw(&mut self) {
        self.presence = Presence::Ephemeral;
    }

    /// Returns up to `n` nodes, the one heard from last first.
    pub(crate) fn recent(&self, n: usize) -> Vec<SocketAddrV4> {
        let mut nodes: Vec<&Node<32>> = self.table.iter().collect();
        nodes.sort_unstable_by_key(|node| std::cmp::Reverse(node.contact));
        nodes.into_iter().take(n).map(|node| node.addr).collect()
    }

    /// Stops: everything in flight fails, and nothing is sent or understood until [`Engine::resume`].
    pub(crate) fn suspend(&mut self) {
        self.suspended = true;
        let tids: Vec<u16> = self.asked.keys().copied().collect();
        for tid in tids {
            self.abandon(tid, AskError::Suspended);
        }
        self.delayed.clear();
        self.outbox.clear();
        self.pump_walks();
    }

    pub(crate) fn resume(&mut self, now: Instant) {
        self.suspended = false;
        self.window = Window::new(self.limits.window, self.timing.window_slot, now);
        self.wake(now);
    }
}
