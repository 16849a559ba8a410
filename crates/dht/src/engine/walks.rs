use std::net::SocketAddrV4;
use std::time::Instant;

use wire::{Command, Id, pack_addr};

use super::ask::{Ask, Owner};
use super::{Engine, Reply, Signal};
use crate::hyper::Purpose;
use crate::key::node_id;
use crate::snapshot::WalkState;
use crate::table::K;
use crate::walk::{Referred, Walk, WalkFigures};

/// Requests that one walk may make; an honest one on a network of millions needs about a hundred.
const REQUESTS_MAX: u64 = 512;
/// Walks shown of those that run, and of those that ended.
const SHOWN_MAX: usize = 32;

/// Names a running walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct WalkId(u32);

/// A walk to make.
#[derive(Debug)]
pub(crate) struct WalkSpec {
    pub(crate) target: Id<32>,
    pub(crate) command: Command,
    pub(crate) value: Option<Box<[u8]>>,
    pub(crate) pace: WalkPace,
    /// Nodes to begin with, besides those of the table.
    pub(crate) seeds: Vec<SocketAddrV4>,
}

impl WalkSpec {
    pub(crate) const fn new(target: Id<32>, command: Command) -> Self {
        Self { target, command, value: None, pace: WalkPace::Foreground, seeds: Vec::new() }
    }
}

/// How often a request of the first walk is repeated: four sendings take 2.25 s in all, after which a person learns
/// that there is no network. A node that had no answer tries again soon.
const ENTRY_RETRIES: u8 = 3;

/// How many requests a walk has in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WalkPace {
    Foreground,
    /// Few, unless nothing else happens.
    Background,
}

/// How a walk ended.
#[derive(Debug)]
pub(crate) struct WalkEnd {
    /// Answers of the closest nodes that have an id, closest first.
    pub(crate) closest: Vec<Reply>,
    pub(crate) figures: WalkFigures,
}

#[derive(Debug)]
pub(super) struct Running {
    walk: Walk<32, Reply>,
    command: Command,
    value: Option<Box<[u8]>>,
    pace: WalkPace,
    purpose: Purpose,
    started: Instant,
    figures: WalkFigures,
}

impl Running {
    fn state(&self, figures: WalkFigures) -> WalkState {
        let (target, command) = (self.walk.target(), self.command);
        let background = self.pace == WalkPace::Background;
        WalkState { target, command, background, figures, ended_ago: None }
    }
}

impl Engine {
    /// Starts a walk; `purpose` will hear of its answers and its end.
    pub(crate) fn walk(&mut self, now: Instant, spec: WalkSpec, purpose: Purpose) -> WalkId {
        let mut walk = Walk::new(spec.target);
        if spec.seeds.len() >= K {
            walk.be_cautious(self.limits.concurrency);
        }
        for seed in &spec.seeds {
            walk.add_seed(*seed, &node_id(*seed));
        }
        let nearest = self.table.closest(&spec.target);
        nearest.iter().for_each(|node| walk.add_seed(node.addr, &node.id));
        if nearest.iter().count() + spec.seeds.len() < K {
            for seed in &self.seeds {
                walk.add_seed(*seed, &node_id(*seed));
            }
        }
        self.walk_serial = self.walk_serial.wrapping_add(1);
        let id = WalkId(self.walk_serial);
        let (command, value, pace) = (spec.command, spec.value, spec.pace);
        let figures = WalkFigures::default();
        self.walks.insert(id, Running { walk, command, value, pace, purpose, started: now, figures });
        self.stats.queries.total += 1;
        self.stats.queries.active += 1;
        self.upkeep.walked(self.timing.refresh_ticks);
        self.pump_walk(now, id);
        id
    }

    pub(super) fn seed_walks(&mut self, now: Instant) {
        for running in self.walks.values_mut() {
            for seed in &self.seeds {
                running.walk.add_seed(*seed, &node_id(*seed));
            }
        }
        let ids: Vec<WalkId> = self.walks.keys().copied().collect();
        for id in ids {
            self.pump_walk(now, id);
        }
    }

    /// Returns the walks that run, oldest first.
    pub(crate) fn running_walks(&self, now: Instant) -> Vec<WalkState> {
        let state = |running: &Running| {
            let elapsed = now.saturating_duration_since(running.started);
            running.state(WalkFigures { hops: running.walk.hops(), elapsed, ..running.figures })
        };
        self.walks.values().take(SHOWN_MAX).map(state).collect()
    }

    /// Returns the walks that ended, latest first.
    pub(crate) fn ended_walks(&self, now: Instant) -> Vec<WalkState> {
        let state = |(at, walk): &(Instant, WalkState)| {
            let ended_ago = Some(now.saturating_duration_since(*at));
            WalkState { ended_ago, ..*walk }
        };
        self.walked.iter().map(state).collect()
    }

    /// Returns what a running walk took so far.
    pub(crate) fn walk_figures(&self, now: Instant, id: WalkId) -> Option<WalkFigures> {
        let running = self.walks.get(&id)?;
        let elapsed = now.saturating_duration_since(running.started);
        Some(WalkFigures { hops: running.walk.hops(), elapsed, ..running.figures })
    }

    /// Ends a walk whose result is no longer wanted; nobody hears of it.
    pub(crate) fn cancel_walk(&mut self, id: WalkId) {
        if self.walks.remove(&id).is_some() {
            self.stats.queries.active -= 1;
            self.abandon_walk(id);
        }
    }

    /// Sends what a walk may send now, and ends it if nothing is left to wait for.
    pub(super) fn pump_walk(&mut self, now: Instant, id: WalkId) {
        let in_flight = self.stats.requests.active;
        loop {
            let Some(running) = self.walks.get_mut(&id) else { return };
            let concurrency = match running.pace {
                WalkPace::Background if in_flight > 2 => (self.limits.concurrency / 8).max(2),
                WalkPace::Background | WalkPace::Foreground => self.limits.concurrency,
            };
            if running.figures.requests >= REQUESTS_MAX {
                break;
            }
            let Some(to) = running.walk.next(concurrency) else { break };
            running.figures.requests += 1;
            let (target, command) = (running.walk.target(), running.command);
            let value = running.value.clone();
            let retries = match running.purpose {
                Purpose::Bootstrap => self.timing.query_retries.min(ENTRY_RETRIES),
                _ => self.timing.query_retries,
            };
            let ask = Ask {
                target: Some(target),
                value: value.as_deref(),
                retries,
                patience: Some(self.timing.query),
                ..Ask::new(to, command)
            };
            self.ask(now, &ask, Owner::Walk(id));
        }
        self.look_into_branch(now, id);
        let done = self.walks.get(&id).is_some_and(|running| {
            running.walk.is_done() || running.figures.requests >= REQUESTS_MAX && running.walk.brisk() == 0
        });
        if done {
            self.end_walk(now, id);
        }
    }

    /// Asks about the surroundings where dead nodes hide live ones.
    fn look_into_branch(&mut self, now: Instant, id: WalkId) {
        let Some(running) = self.walks.get_mut(&id) else { return };
        let Some(branch) = running.walk.next_branch() else { return };
        running.figures.requests += branch.witnesses.len() as u64;
        for witness in branch.witnesses {
            let ask = Ask {
                target: Some(branch.target),
                retries: 1,
                patience: Some(self.timing.query),
                ..Ask::new(witness, Command::FIND_NODE)
            };
            self.ask(now, &ask, Owner::Branch(id));
        }
    }

    pub(super) fn branch_answered(&mut self, now: Instant, id: WalkId, reply: &Reply) {
        let Some(running) = self.walks.get_mut(&id) else { return };
        running.figures.responses += 1;
        let depth = running.walk.testify(reply.from);
        self.take_referrals(now, id, reply, depth);
        self.pump_walk(now, id);
    }

    pub(super) fn branch_failed(&mut self, id: WalkId) {
        if let Some(running) = self.walks.get_mut(&id) {
            running.walk.lose_witness();
        }
    }

    pub(super) fn pump_walks(&mut self) {
        // Only a suspension ends walks from outside; their requests have failed, so each is over.
        let ids: Vec<WalkId> = self.walks.keys().copied().collect();
        for id in ids {
            let Some(started) = self.walks.get(&id).map(|running| running.started) else { continue };
            self.end_walk(started, id);
        }
    }

    pub(super) fn walk_answered(&mut self, now: Instant, id: WalkId, reply: Reply) {
        let Some(running) = self.walks.get_mut(&id) else { return };
        running.figures.responses += 1;
        let result = reply.id.filter(|_| reply.error == 0).map(|node| (node, reply.clone()));
        let (depth, purpose) = (running.walk.answer(reply.from, result), running.purpose);
        self.take_referrals(now, id, &reply, depth);
        if reply.error == 0 {
            self.signals.push_back(Signal::Walked { purpose, reply });
        }
        self.pump_walk(now, id);
    }

    /// Takes the nodes that an answer names; who names a dead one hears of it.
    fn take_referrals(&mut self, now: Instant, id: WalkId, reply: &Reply, depth: u32) {
        let own = self.id();
        let Some(running) = self.walks.get_mut(&id) else { return };
        let mut down = Vec::new();
        for addr in reply.closer.iter().copied().filter(|addr| addr.port() != 0) {
            let node = node_id(addr);
            if Some(node) != own && running.walk.refer(addr, &node, reply.from, depth) == Referred::IsDown {
                down.push(addr);
            }
        }
        for addr in down {
            self.hint_down(now, addr, reply.from);
        }
    }

    pub(super) fn walk_repeated(&mut self, id: WalkId, to: SocketAddrV4) {
        if let Some(running) = self.walks.get_mut(&id) {
            running.walk.repeat(to);
        }
    }

    /// A node did not answer at all: those who named it are told.
    pub(super) fn walk_missed(&mut self, now: Instant, id: WalkId, to: SocketAddrV4) {
        let Some(running) = self.walks.get_mut(&id) else { return };
        running.figures.timeouts += 1;
        let referrers = running.walk.fail(to);
        for referrer in referrers {
            self.hint_down(now, to, referrer);
        }
        self.pump_walk(now, id);
    }

    pub(super) fn walk_failed(&mut self, id: WalkId, to: SocketAddrV4) {
        if let Some(running) = self.walks.get_mut(&id) {
            running.walk.fail(to);
        }
    }

    fn hint_down(&mut self, now: Instant, down: SocketAddrV4, to: SocketAddrV4) {
        if self.upkeep.may_hint(self.limits.down_hints_per_tick) {
            let value = pack_addr(down);
            self.ask(now, &Ask { value: Some(&value), ..Ask::new(to, Command::DOWN_HINT) }, Owner::Nobody);
        }
    }

    fn end_walk(&mut self, now: Instant, id: WalkId) {
        let Some(running) = self.walks.remove(&id) else { return };
        self.stats.queries.active -= 1;
        self.abandon_walk(id);
        // The reference tells of a node only once it gave it up, which most walks do not live to see; a hint
        // costs whoever gets it a ping, and dead nodes in tables cost everybody.
        for (addr, referrers) in running.walk.silent() {
            for referrer in referrers {
                self.hint_down(now, addr, *referrer);
            }
            self.check_hinted(now, addr);
        }
        let elapsed = now.saturating_duration_since(running.started);
        let figures = WalkFigures { hops: running.walk.hops(), elapsed, ..running.figures };
        let state = running.state(figures);
        self.walked.truncate(SHOWN_MAX - 1);
        self.walked.push_front((now, state));
        let end = WalkEnd { closest: running.walk.into_closest(), figures };
        self.signals.push_back(Signal::WalkEnded { purpose: running.purpose, end });
    }
}
