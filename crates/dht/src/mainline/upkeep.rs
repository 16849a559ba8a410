use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rand::RngExt;
use wire::Id;
use wire::krpc::{Family, Method};

use super::ask::Owner;
use super::event::{Event, Outcome, Port, Task};
use super::identity::{is_secure, secure_id};
use super::lookup::{Purpose, Question};
use super::{Mainline, SEEDS_MAX};
use crate::block::Block;
use crate::config::Standing;
use crate::hyper::OperationId;
use crate::table::K;

/// Topics that one node announces.
const TOPICS_MAX: usize = 4096;
/// Rows of the table that are filled after the first bootstrap; they hold fifteen sixteenths of all nodes.
const ROWS_FILLED: u8 = 4;
/// Nodes asked in one round of upkeep whether they are still there.
const ROUND: usize = 5;
/// Hosts that must ask us unasked before others may store us; each in a provider's network of its own.
const UNSOLICITED_MIN: usize = 3;
/// Trials that failed are repeated after so many of their lengths.
const TRIAL_PAUSE: u32 = 4;
/// Operations that announcements may have under way at one time.
const ANNOUNCING_MAX: usize = 16;

/// Whether others may put us into their tables.
#[derive(Debug)]
pub(super) enum Role {
    /// Not before this time, if ever.
    ReadOnly {
        until: Option<Instant>,
    },
    /// They may, to see whether they reach us: who asks without having been asked proves that.
    Trial {
        until: Instant,
        by: Vec<[u8; 4]>,
    },
    Full,
}

/// A topic that is announced again and again.
#[derive(Debug)]
pub(super) struct Announced {
    due: Instant,
    running: Option<OperationId>,
    stored: usize,
}

impl Mainline {
    /// Announces a port under a topic now and every 10 to 15 minutes, until [`Mainline::leave`]. At most 4,096
    /// topics are announced; more are ignored.
    pub fn announce(&mut self, now: Instant, info_hash: Id<20>, port: Port) {
        if self.announced.len() < TOPICS_MAX {
            let announced = Announced { due: now, running: None, stored: 0 };
            self.announced.entry((info_hash, port)).or_insert(announced);
        }
        self.run_announcements(now);
    }

    /// Stops announcing a topic, under every port; nodes forget it within 45 minutes or so.
    pub fn leave(&mut self, info_hash: Id<20>) {
        let of_topic = self.announced.iter().filter(|((topic, _), _)| *topic == info_hash);
        let running: Vec<_> = of_topic.filter_map(|(_, announced)| announced.running).collect();
        self.announced.retain(|(topic, _), _| *topic != info_hash);
        for operation in running {
            self.cancel(operation);
        }
    }

    /// Starts the announcements that are due.
    pub(super) fn run_announcements(&mut self, now: Instant) {
        let running = self.announced.values().filter(|announced| announced.running.is_some()).count();
        if !self.bootstrapped || running >= ANNOUNCING_MAX {
            return;
        }
        let due = self.announced.iter().filter(|(_, a)| a.running.is_none() && a.due <= now);
        let due: Vec<_> = due.map(|(key, _)| *key).take(ANNOUNCING_MAX - running).collect();
        for (info_hash, port) in due {
            let every = self.config.timing.announce;
            let due = now + every + every.mul_f64(self.rng.random_range(0.0..0.5));
            if let Some(announced) = self.announced.get_mut(&(info_hash, port)) {
                (announced.due, announced.running) = (due, Some(OperationId(self.serial + 1)));
            }
            self.start(now, Task::Announce { info_hash, port });
        }
    }

    /// Takes the end of an operation that an announcement of ours started; tells whether it was one.
    pub(super) fn announcement_ended(&mut self, operation: OperationId, outcome: &Outcome) -> bool {
        let mut all = self.announced.iter_mut();
        let Some(((info_hash, _), announced)) = all.find(|(_, a)| a.running == Some(operation)) else {
            return false;
        };
        announced.running = None;
        announced.stored = if let Outcome::Stored(stored) = outcome { stored.nodes.len() } else { 0 };
        self.events.push_back(Event::Announced { info_hash: *info_hash, stored: announced.stored });
        true
    }

    pub(super) fn topics(&self) -> impl Iterator<Item = (Id<20>, Port, usize)> {
        self.announced.iter().map(|((topic, port), announced)| (*topic, *port, announced.stored))
    }

    /// Starts to look for the network by the nodes that are known.
    pub(super) fn bootstrap(&mut self, now: Instant) {
        for family in self.families() {
            let Some(own) = self.stack(family).map(|stack| stack.contacts.table().id()) else { continue };
            self.bootstrapping += 1;
            self.look_up(now, (family, own), Question::Nodes, Purpose::Bootstrap);
        }
    }

    /// Takes the addresses of a router; none means that its name could not be resolved.
    pub fn handle_resolved(&mut self, now: Instant, host: &str, addrs: &[IpAddr]) {
        let router = self.config.routers.iter().find(|(name, _)| name == host);
        let Some(port) = router.map(|(_, port)| *port) else { return };
        self.resolving = self.resolving.saturating_sub(1);
        for family in self.families() {
            let addrs: Vec<_> = addrs.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
            let addrs: Vec<_> = addrs.into_iter().filter(|addr| Family::of(addr) == family).collect();
            let Some(stack) = self.stack_mut(family) else { continue };
            stack.routers.extend(addrs.iter().map(SocketAddr::ip));
            stack.seeds.extend(addrs.iter().take(SEEDS_MAX - stack.seeds.len().min(SEEDS_MAX)));
            self.seed_lookups(now, family, &addrs);
        }
        let known = self.stacks.iter().flatten().any(|stack| stack.contacts.table().len() > 0);
        if !known && self.bootstrapping == 0 && self.lookups.is_empty() {
            self.bootstrap(now);
        }
    }

    pub(super) fn bootstrap_walked(&mut self, now: Instant, family: Family) {
        self.bootstrapping = self.bootstrapping.saturating_sub(1);
        if let Some(stack) = self.stack_mut(family).filter(|stack| stack.contacts.table().len() > 0) {
            stack.unfilled = ROWS_FILLED;
        }
        self.fill_row(now, family);
        if self.bootstrapping == 0 && !self.bootstrapped {
            let known = self.stacks.iter().flatten().any(|stack| stack.contacts.table().len() > 0);
            // Names that are still being resolved may be the only way in.
            if known || self.resolving == 0 {
                self.bootstrapped = true;
                self.events.push_back(Event::Bootstrapped);
                self.run_announcements(now);
            }
        }
    }

    pub(super) fn refresh_walked(&mut self, now: Instant, family: Family) {
        self.fill_row(now, family);
    }

    /// Gets to know nodes of the next row of the table that is to be filled.
    fn fill_row(&mut self, now: Instant, family: Family) {
        let mut target: [u8; 20] = self.rng.random();
        let Some(stack) = self.stack_mut(family) else { return };
        let Some(row) = stack.unfilled.checked_sub(1) else { return };
        stack.unfilled = row;
        let own = stack.contacts.table().id().0;
        // The first `row` bits are ours, the next is not, the others are chance.
        let ours = !(0xff_u8 >> row);
        let flipped = 0x80 >> row;
        target[0] = own[0] & ours | !own[0] & flipped | target[0] & !ours & !flipped;
        self.look_up(now, (family, Id(target)), Question::Nodes, Purpose::Refresh);
    }

    pub(super) fn run_upkeep(&mut self, now: Instant) {
        if self.tick_due > now {
            return;
        }
        self.tick_due = now + self.config.timing.tick;
        self.gate.tidy(now);
        self.spoken.expire(now);
        for stack in self.stacks.iter_mut().flatten() {
            stack.peers.expire(now);
            stack.items.expire(now);
        }
        self.run_announcements(now);
        self.run_role(now);
        if self.bootstrapping > 0 {
            return;
        }
        for family in self.families() {
            self.ping_stale(now, family);
            self.refresh_if_due(now, family);
        }
    }

    fn ping_stale(&mut self, now: Instant, family: Family) {
        let heard = self.seconds(now);
        let before =
            heard.saturating_sub(self.config.timing.questionable.as_secs().try_into().unwrap_or(u32::MAX));
        for _ in 0..ROUND {
            let stale = self.stack(family).and_then(|stack| stack.contacts.stalest(before)).map(|c| c.addr);
            let Some(addr) = stale else { return };
            if !self.gate.may_challenge(now, addr) {
                return;
            }
            let query = self.query(family, Method::Ping);
            self.ask(now, addr, &query, Owner::Check);
        }
    }

    fn refresh_if_due(&mut self, now: Instant, family: Family) {
        let timing = &self.config.timing;
        let (usual, sparse, empty) = (timing.refresh, timing.refresh_sparse, timing.tick);
        let target = Id(self.rng.random());
        let Some(stack) = self.stack_mut(family) else { return };
        if stack.refresh_due > now {
            return;
        }
        let known = stack.contacts.table().len();
        stack.refresh_due = match known {
            0 => now + empty,
            1..K => now + sparse,
            _ => now + usual,
        };
        // Our own surroundings and the rest of the key space take turns.
        stack.turn = !stack.turn;
        let target = if stack.turn || known < K { stack.contacts.table().id() } else { target };
        self.look_up(now, (family, target), Question::Nodes, Purpose::Refresh);
    }

    /// Takes a node that answered us into the table, and its view of our address into account.
    pub(super) fn meet(&mut self, now: Instant, from: SocketAddr, id: Id<20>, elapsed: Duration) {
        let heard = self.seconds(now);
        let Some(stack) = self.stack_mut(Family::of(&from)) else { return };
        if !stack.routers.contains(&from.ip()) {
            stack.contacts.answered(id, from, heard, elapsed);
        }
        self.spoken.insert(now, from.ip(), ());
    }

    pub(super) fn hear_address(&mut self, now: Instant, from: SocketAddr, owner: Owner, seen: SocketAddr) {
        let lookup = match owner {
            Owner::Lookup(id) => id.0,
            Owner::Operation(OperationId(id)) => id,
            Owner::Check => 0,
        };
        let family = Family::of(&from);
        if Family::of(&seen) != family {
            return;
        }
        let rng = &mut self.rng;
        let Some(stack) = &mut self.stacks[family as usize] else { return };
        let Some(ip) = stack.votes.cast(now, from.ip(), lookup, seen.ip()) else { return };
        let own = stack.contacts.table().id();
        if !is_secure(&own, ip) {
            let id = secure_id(ip, rng);
            stack.contacts.rebase(id);
            stack.peers.rebase(&own, &id);
            stack.items.rebase(&own, &id);
            // Our new surroundings are others than the old.
            (stack.refresh_due, stack.turn) = (now, false);
            self.tick_due = now;
        }
        self.events.push_back(Event::AddressChanged(ip));
    }

    pub(super) const fn is_read_only(&self) -> bool {
        matches!(self.role, Role::ReadOnly { .. })
    }

    /// Counts a query of a host that we never spoke to: it cannot have come in by a way that we opened.
    pub(super) fn note_unsolicited(&mut self, now: Instant, from: IpAddr) {
        let Role::Trial { by, .. } = &mut self.role else { return };
        let provider = Block::of(from).provider();
        if self.spoken.get(&from).is_some() || by.contains(&provider) {
            return;
        }
        by.push(provider);
        if by.len() >= UNSOLICITED_MIN {
            self.role = Role::Full;
            self.events.push_back(Event::StandingChanged);
            self.refresh_soon(now);
        }
    }

    fn run_role(&mut self, now: Instant) {
        let trial = self.config.timing.trial;
        match &self.role {
            Role::ReadOnly { until: Some(until) } if *until <= now => {
                self.role = Role::Trial { until: now + trial, by: Vec::new() };
                self.refresh_soon(now);
            }
            Role::Trial { until, .. } if *until <= now => {
                self.role = Role::ReadOnly { until: Some(now + trial * TRIAL_PAUSE) };
            }
            Role::ReadOnly { .. } | Role::Trial { .. } | Role::Full => {}
        }
    }

    fn refresh_soon(&mut self, now: Instant) {
        for stack in self.stacks.iter_mut().flatten() {
            stack.refresh_due = now;
        }
    }

    pub(super) fn first_role(standing: Standing, stable: Duration, now: Instant) -> Role {
        match standing {
            Standing::Adaptive => Role::ReadOnly { until: Some(now + stable) },
            Standing::Ephemeral => Role::ReadOnly { until: None },
            Standing::Persistent => Role::Full,
        }
    }
}
