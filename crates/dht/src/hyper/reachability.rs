//! The test whether others can reach our server socket, and the step from ephemeral to persistent
//! (`dht-rpc index.js`).

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Instant;

use wire::{Command, SocketId};

use super::Purpose;
use crate::config::{Standing, Timing};
use crate::engine::{Ask, Engine, Presence, Reach, Reply};
use crate::sampler::{Sampler, Seen};
use crate::snapshot::CallTest;

/// Nodes asked to call back.
const ASKED: usize = 5;
/// Calls that must arrive, of five.
const CALLS_MIN: usize = 3;

#[derive(Debug)]
pub(super) struct Reachability {
    standing: Standing,
    /// Ticks until the next attempt.
    stable_in: u32,
    tested_host: Option<Ipv4Addr>,
    test: Option<Test>,
    /// The last finished test: when, nodes asked, calls that arrived.
    tested: Option<(Instant, usize, usize)>,
}

#[derive(Debug)]
struct Test {
    goal: Goal,
    asked: usize,
    outstanding: usize,
    calls: usize,
    sampler: Sampler,
    claimed: SocketAddrV4,
}

/// What to do when the test succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// Know that we are open.
    Open,
    /// Become persistent as well.
    Persistent,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing is known yet: calls are awaited.
    Pending,
    Unchanged,
    /// The node is persistent now, under the same id as before or another.
    Persistent {
        id_changed: bool,
    },
}

impl Reachability {
    pub(super) const fn new(standing: Standing, timing: &Timing) -> Self {
        Self { standing, stable_in: timing.stable_ticks, tested_host: None, test: None, tested: None }
    }

    pub(super) const fn standing(&self) -> Standing {
        self.standing
    }

    /// Tries when it is time to.
    pub(super) fn tick(&mut self, now: Instant, engine: &mut Engine, timing: &Timing) -> Verdict {
        let due = match (self.standing, engine.presence()) {
            (_, Presence::Persistent) | (Standing::Ephemeral, _) => return Verdict::Unchanged,
            // Nothing but a missing address keeps such a node ephemeral.
            (Standing::Persistent, Presence::Ephemeral) => true,
            (Standing::Adaptive, Presence::Ephemeral) => {
                self.stable_in = self.stable_in.saturating_sub(1);
                self.stable_in == 0
            }
        };
        if !due || self.test.is_some() {
            return Verdict::Unchanged;
        }
        self.stable_in = timing.unstable_ticks;
        let host = engine.sampler().host();
        if self.standing == Standing::Adaptive && host.is_some() && host == self.tested_host {
            return Verdict::Unchanged;
        }
        self.tested_host = host;
        self.attempt(now, engine, Goal::Persistent)
    }

    /// Starts an attempt, which ends at once where there is nothing to test.
    pub(super) fn attempt(&mut self, now: Instant, engine: &mut Engine, goal: Goal) -> Verdict {
        let Seen::Address(claimed) = engine.sampler().seen() else { return Verdict::Unchanged };
        if engine.presence() == Presence::Persistent || self.test.is_some() {
            return Verdict::Unchanged;
        }
        if engine.reach() == Reach::Open {
            return conclude(engine, goal, claimed);
        }
        let Some(port) = engine.server_port() else { return Verdict::Unchanged };
        let mut nodes = engine.recent(ASKED);
        let seeds: Vec<_> = engine.seeds().iter().copied().filter(|seed| !nodes.contains(seed)).collect();
        nodes.extend(seeds.into_iter().take(ASKED - nodes.len()));
        if nodes.is_empty() {
            return Verdict::Unchanged;
        }
        let (asked, sampler) = (nodes.len(), Sampler::default());
        self.test = Some(Test { goal, asked, outstanding: asked, calls: 0, sampler, claimed });
        let value = port.to_le_bytes();
        for node in nodes {
            let ask = Ask { value: Some(&value), ..Ask::new(node, Command::PING_NAT) };
            engine.ask_for(now, &ask, Purpose::Reachability);
        }
        Verdict::Pending
    }

    /// Returns the last finished test.
    pub(super) fn last(&self, now: Instant) -> Option<CallTest> {
        let (at, asked, calls) = self.tested?;
        Some(CallTest { asked, calls, ago: now.saturating_duration_since(at) })
    }

    /// Takes an answer; only one that reached the server socket says anything.
    pub(super) fn called(&mut self, now: Instant, engine: &mut Engine, reply: Option<&Reply>) -> Verdict {
        let Some(test) = &mut self.test else { return Verdict::Unchanged };
        test.outstanding -= 1;
        if let Some(reply) = reply.filter(|reply| reply.at == SocketId::SERVER) {
            test.calls += 1;
            test.sampler.add(reply.to);
        }
        if test.outstanding > 0 {
            return Verdict::Pending;
        }
        let Some(test) = self.test.take() else { return Verdict::Unchanged };
        self.tested = Some((now, test.asked, test.calls));
        let needed = if test.asked < ASKED { 1 } else { CALLS_MIN };
        let consistent = match test.sampler.seen() {
            // A mapping to another port than ours may be one that only the callers can use.
            Seen::Address(seen) => {
                seen.ip() == test.claimed.ip() && Some(seen.port()) == engine.server_port()
            }
            Seen::Host(_) | Seen::Nothing => false,
        };
        let still = engine.sampler().seen() == Seen::Address(test.claimed);
        if test.calls < needed || !consistent || !still {
            return Verdict::Unchanged;
        }
        let Seen::Address(seen) = test.sampler.seen() else { return Verdict::Unchanged };
        engine.open_as_seen(now, test.sampler);
        conclude(engine, test.goal, seen)
    }

    /// Starts over after a sleep, a resumption or a change of network; tells whether the node withdrew.
    pub(super) fn doubt(&mut self, engine: &mut Engine, timing: &Timing) -> bool {
        self.stable_in = timing.unstable_ticks;
        self.tested_host = None;
        let withdraws = self.standing == Standing::Adaptive && engine.presence() == Presence::Persistent;
        if withdraws {
            engine.withdraw();
        }
        withdraws
    }
}

fn conclude(engine: &mut Engine, goal: Goal, addr: SocketAddrV4) -> Verdict {
    match goal {
        Goal::Open => Verdict::Unchanged,
        Goal::Persistent => Verdict::Persistent { id_changed: engine.persist(addr) },
    }
}
