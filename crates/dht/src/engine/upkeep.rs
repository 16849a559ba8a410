use std::net::SocketAddrV4;
use std::time::Instant;

use rand::RngExt;
use rand::rngs::StdRng;
use wire::{Command, Id, SocketId};

use super::ask::{Ask, Owner, Urgency};
use super::walks::{WalkPace, WalkSpec};
use super::{Engine, Signal};
use crate::config::Timing;
use crate::hyper::Purpose;
use crate::table::{K, Node, Place};

/// Nodes tried at one time because somebody said they are down, or because they want to enter the table.
const CHECKS_MAX: usize = 64;
/// Nodes tried at one time because a newcomer wants their place.
const SWAPS_MAX: usize = 3;
/// Between two looks through the accounts of those heard from, which are kept for ten minutes anyway.
const TIDY_TICKS: u32 = 12;
/// Nodes pinged in one round of upkeep; fewer while the network or the node is busy.
const ROUND: usize = 5;

/// A node that answered us.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sighting {
    pub(super) from: SocketAddrV4,
    /// The socket that it answered at.
    pub(super) at: SocketId,
    /// Checked against the address.
    pub(super) id: Option<Id<32>>,
    /// Our address as it sees it.
    pub(super) to: SocketAddrV4,
}

/// The state of the periodic work.
#[derive(Debug)]
pub(super) struct Upkeep {
    tick: u32,
    due: Instant,
    last: Instant,
    refresh_in: u32,
    hints: usize,
    checks: usize,
    swaps: usize,
}

impl Upkeep {
    pub(super) fn new(timing: &Timing, rng: &mut StdRng, now: Instant) -> Self {
        let half = timing.refresh_ticks / 2;
        let refresh_in = half + rng.random_range(0..=half);
        // Nodes that start together do not ping together.
        let tick = rng.random_range(50..=100);
        Self { tick, due: now + timing.tick, last: now, refresh_in, hints: 0, checks: 0, swaps: 0 }
    }

    pub(super) const fn due(&self) -> Instant {
        self.due
    }

    pub(super) const fn tick(&self) -> u32 {
        self.tick
    }

    /// Any query refreshes the table, so the next one in the background can wait.
    pub(super) const fn walked(&mut self, refresh_ticks: u32) {
        self.refresh_in = refresh_ticks;
    }

    pub(super) const fn may_hint(&mut self, max: usize) -> bool {
        self.hints += 1;
        self.hints <= max
    }

    pub(super) const fn check_ended(&mut self) {
        self.checks = self.checks.saturating_sub(1);
    }

    pub(super) const fn swap_ended(&mut self) {
        self.swaps = self.swaps.saturating_sub(1);
    }
}

impl Engine {
    pub(super) fn run_upkeep(&mut self, now: Instant) {
        if self.upkeep.due > now {
            return;
        }
        let slept = now.saturating_duration_since(self.upkeep.last) > self.timing.sleep;
        self.upkeep.last = now;
        self.upkeep.due = now + self.timing.tick;
        if slept {
            self.wake(now);
            self.signals.push_back(Signal::Woke);
        } else {
            self.upkeep.tick += 1;
        }
        if self.upkeep.tick.is_multiple_of(TIDY_TICKS) {
            self.guard.tidy(now);
        }
        if !self.bootstrapped {
            return;
        }
        self.signals.push_back(Signal::Tick);
        if self.upkeep.tick.is_multiple_of(self.timing.ping_ticks) {
            self.ping_oldest(now);
        }
        self.refresh_if_due(now);
        self.upkeep.hints = 0;
        let requests = &self.stats.requests;
        if self.pulse.tick(requests.responses, requests.timeouts).is_some() {
            self.signals.push_back(Signal::HealthChanged);
        }
    }

    /// Takes up work after a time without it: pings start two ticks on, a refresh comes with the next.
    pub(super) fn wake(&mut self, now: Instant) {
        let period = self.timing.ping_ticks;
        self.upkeep.tick += self.timing.unstable_ticks;
        self.upkeep.tick += (period - self.upkeep.tick % period) % period + period.saturating_sub(2);
        self.upkeep.refresh_in = 1;
        self.upkeep.last = now;
        self.upkeep.due = now + self.timing.tick;
        self.pulse.reset();
        self.observers.clear();
    }

    /// Refreshes the table by a walk in the background.
    pub(crate) fn refresh(&mut self, now: Instant) {
        let own = self.table.id();
        let target = self.table.random(&mut self.rng).map_or(own, |node| node.id);
        let spec = WalkSpec { pace: WalkPace::Background, ..WalkSpec::new(target, Command::FIND_NODE) };
        self.walk(now, spec, Purpose::Refresh);
    }

    /// Makes ourselves known around our own id, in the background.
    pub(crate) fn refresh_own(&mut self, now: Instant) {
        let spec =
            WalkSpec { pace: WalkPace::Background, ..WalkSpec::new(self.table.id(), Command::FIND_NODE) };
        self.walk(now, spec, Purpose::Refresh);
    }

    /// Gets to know nodes of one row of the table, in the background.
    pub(crate) fn fill_row(&mut self, now: Instant, row: u8) {
        let own = self.table.id().0;
        let mut target: [u8; 32] = self.rng.random();
        // The first `row` bits are ours, the next is not, the others are chance.
        let (byte, bit) = (usize::from(row / 8), row % 8);
        let ours = !(0xff_u8 >> bit);
        target[..byte].copy_from_slice(&own[..byte]);
        target[byte] =
            (own[byte] & ours) | (!own[byte] & (0x80 >> bit)) | (target[byte] & !ours & !(0x80 >> bit));
        let spec = WalkSpec { pace: WalkPace::Background, ..WalkSpec::new(Id(target), Command::FIND_NODE) };
        self.walk(now, spec, Purpose::Fill(row));
    }

    /// Remembers a node that answered us, and its view of our address.
    pub(super) fn meet(&mut self, now: Instant, Sighting { from, at, id, to }: Sighting) {
        let internal = at == self.active();
        let tick = self.upkeep.tick;
        let Some(id) = id else {
            if internal && self.observers.len() < self.seeds.len().max(1) && self.observers.insert(from) {
                self.sample(to);
            }
            return;
        };
        if id == self.table.id() || to.port() == 0 {
            return;
        }
        self.serial += 1;
        let contact = self.serial;
        let old = self.timing.old_ticks;
        if let Some(node) = self.table.get_mut(&id) {
            (node.pinged, node.seen, node.contact, node.to) = (tick, tick, contact, to);
            let due = node.sampled.is_none_or(|sampled| tick - sampled > old);
            if internal && due {
                node.sampled = Some(tick);
                self.sample(to);
            }
            return;
        }
        let sampled = internal.then_some(tick);
        let node = Node {
            id,
            addr: from,
            to,
            added: tick,
            pinged: tick,
            seen: tick,
            sampled,
            contact,
            down_hints: 0,
        };
        if internal {
            self.sample(to);
        }
        if self.admit(node.clone()) == Place::RowFull {
            self.try_swap(now, node);
        }
    }

    /// Offers a node that is not in the table yet to it.
    pub(super) fn admit(&mut self, node: Node<32>) -> Place {
        let place = self.table.insert(node);
        self.stats.table.added += u64::from(place == Place::Taken);
        place
    }

    pub(super) fn drop_node(&mut self, id: &Id<32>) {
        if self.table.remove(id).is_some() {
            self.stats.table.removed += 1;
            tracing::trace!(%id, "node left the table");
        }
    }

    /// Starts the test of a node that somebody called down, if it may be true and there is room.
    pub(super) fn check_hinted(&mut self, now: Instant, addr: SocketAddrV4) {
        let tick = self.upkeep.tick;
        let room = self.upkeep.checks < CHECKS_MAX;
        let Some(node) = self.table.get_mut(&crate::key::node_id(addr)) else { return };
        if room && (node.pinged != tick || node.down_hints == 0) {
            node.down_hints = node.down_hints.saturating_add(1);
            node.pinged = tick;
            self.upkeep.checks += 1;
            self.ask(now, &Ask::new(addr, Command::PING), Owner::Check);
        }
    }

    /// Takes a place among the nodes under test, if there is one.
    pub(super) const fn may_check(&mut self) -> bool {
        let room = self.upkeep.checks < CHECKS_MAX;
        if room {
            self.upkeep.checks += 1;
        }
        room
    }

    /// Tries the node of a full row that was tried longest ago: if it is gone, the newcomer takes its place.
    fn try_swap(&mut self, now: Instant, newcomer: Node<32>) {
        let tick = self.upkeep.tick;
        if !self.bootstrapped || self.upkeep.swaps >= SWAPS_MAX {
            return;
        }
        let incumbent = self
            .table
            .neighbours(&newcomer.id)
            .iter()
            .filter(|node| node.pinged != tick)
            .min_by_key(|node| (node.pinged, node.added));
        let Some(incumbent) = incumbent else { return };
        let recent = tick - incumbent.pinged < self.timing.recent_ticks;
        if recent && tick - incumbent.added > self.timing.old_ticks {
            return;
        }
        let (id, addr) = (incumbent.id, incumbent.addr);
        if let Some(node) = self.table.get_mut(&id) {
            node.pinged = tick;
        }
        self.upkeep.swaps += 1;
        let owner = Owner::Swap { incumbent: id, newcomer: Box::new(newcomer) };
        self.ask(now, &Ask { retries: 0, ..Ask::new(addr, Command::PING) }, owner);
    }

    fn ping_oldest(&mut self, now: Instant) {
        let tick = self.upkeep.tick;
        let mut nodes: Vec<&Node<32>> = self.table.iter().filter(|node| node.pinged != tick).collect();
        nodes.sort_unstable_by_key(|node| node.contact);
        let recent = nodes.first().is_some_and(|node| tick - node.pinged < self.timing.recent_ticks);
        let count = match self.stats.requests.active {
            _ if recent => 2,
            3.. => 3,
            _ => ROUND,
        };
        let round: Vec<(Id<32>, SocketAddrV4)> =
            nodes.into_iter().take(count).map(|node| (node.id, node.addr)).collect();
        for (id, addr) in round {
            if let Some(node) = self.table.get_mut(&id) {
                node.pinged = tick;
            }
            self.ask(
                now,
                &Ask { urgency: Urgency::Windowed, ..Ask::new(addr, Command::PING) },
                Owner::Keepalive,
            );
        }
    }

    fn refresh_if_due(&mut self, now: Instant) {
        self.upkeep.refresh_in = self.upkeep.refresh_in.saturating_sub(1);
        let known = self.table.len();
        let sparse = match known {
            0 => self.upkeep.tick.is_multiple_of(self.timing.refresh_empty_ticks),
            1..K => self.upkeep.tick.is_multiple_of(self.timing.refresh_sparse_ticks),
            _ => false,
        };
        if self.upkeep.refresh_in == 0 || sparse {
            self.refresh(now);
        }
    }
}
