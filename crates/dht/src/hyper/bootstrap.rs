//! Entering the network (`dht-rpc index.js`).

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use wire::{Command, SocketId};

use super::{Purpose, event};
use crate::config::{Bootstrap, Standing};
use crate::engine::{Ask, Engine, Reach, Reply, WalkPace, WalkSpec};
use crate::snapshot::BootstrapState;

/// Rounds of the first walk; the second follows where the first taught us our id.
const ROUNDS_MAX: u8 = 2;

#[derive(Debug)]
pub(super) struct Bootstrapper {
    entries: Vec<Entry>,
    /// Nodes known from an earlier run.
    nodes: Vec<SocketAddrV4>,
    stage: Stage,
    rounds: u8,
    quick_test: QuickTest,
    begun: Option<Instant>,
    took: Option<Duration>,
}

#[derive(Debug)]
struct Entry {
    source: Bootstrap,
    state: State,
    /// It answered a walk.
    answered: bool,
}

#[derive(Debug)]
enum State {
    Found(Vec<SocketAddrV4>),
    Pinging,
    Resolving,
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    Walking,
    Done,
}

/// One node is asked at once to call back at the server socket, so that an open host need not wait for the
/// full test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum QuickTest {
    NotBegun,
    Begun,
    Passed,
}

impl Bootstrapper {
    pub(super) fn new(entries: Vec<Bootstrap>, nodes: Vec<SocketAddrV4>) -> Self {
        let entries = entries
            .into_iter()
            .map(|source| Entry { source, state: State::Failed, answered: false })
            .collect();
        Self {
            entries,
            nodes,
            stage: Stage::Waiting,
            rounds: 0,
            quick_test: QuickTest::NotBegun,
            begun: None,
            took: None,
        }
    }

    /// Begins, or begins again for the entries that could not be found.
    pub(super) fn start(
        &mut self,
        now: Instant,
        engine: &mut Engine,
        commands: &mut VecDeque<event::Command>,
    ) {
        self.begun.get_or_insert(now);
        for (n, entry) in self.entries.iter_mut().enumerate() {
            if !matches!(entry.state, State::Failed) {
                continue;
            }
            entry.state = match &entry.source {
                Bootstrap::Address(addr) => State::Found(vec![*addr]),
                Bootstrap::Name { hint: Some(ip), port, .. } => {
                    let ask = Ask::new(SocketAddrV4::new(*ip, *port), Command::PING);
                    engine.ask_for(now, &ask, Purpose::BootstrapHint(n));
                    State::Pinging
                }
                Bootstrap::Name { host, .. } => resolve(host, commands),
            };
        }
        self.advance(now, engine);
    }

    pub(super) fn hint_answered(&mut self, now: Instant, engine: &mut Engine, n: usize, addr: SocketAddrV4) {
        if let Some(entry) = self.entries.get_mut(n) {
            entry.state = State::Found(vec![addr]);
        }
        self.advance(now, engine);
    }

    pub(super) fn hint_failed(&mut self, n: usize, commands: &mut VecDeque<event::Command>) {
        if let Some(Entry { source: Bootstrap::Name { host, .. }, state, .. }) = self.entries.get_mut(n) {
            *state = resolve(host, commands);
        }
    }

    pub(super) fn resolved(&mut self, now: Instant, engine: &mut Engine, name: &str, ips: &[Ipv4Addr]) {
        for entry in &mut self.entries {
            if let Bootstrap::Name { host, port, .. } = &entry.source
                && matches!(entry.state, State::Resolving)
                && host == name
            {
                let addrs: Vec<_> = ips.iter().map(|ip| SocketAddrV4::new(*ip, *port)).collect();
                entry.state = if addrs.is_empty() { State::Failed } else { State::Found(addrs) };
            }
        }
        self.advance(now, engine);
    }

    /// Takes an answer of the first walk.
    pub(super) fn walked(&mut self, now: Instant, engine: &mut Engine, standing: Standing, reply: &Reply) {
        for entry in &mut self.entries {
            entry.answered |= matches!(&entry.state, State::Found(addrs) if addrs.contains(&reply.from));
        }
        let untested = engine.reach() == Reach::Firewalled && self.quick_test == QuickTest::NotBegun;
        if !untested || standing == Standing::Persistent {
            return;
        }
        let Some(port) = engine.server_port() else { return };
        self.quick_test = QuickTest::Begun;
        let value = port.to_le_bytes();
        let ask = Ask { value: Some(&value), retries: 0, ..Ask::new(reply.from, Command::PING_NAT) };
        engine.ask_for(now, &ask, Purpose::QuickTest);
    }

    /// Takes the answer to the quick test; tells whether it reached the server socket.
    pub(super) fn quick_tested(&mut self, reply: &Reply) -> bool {
        if reply.at == SocketId::SERVER {
            self.quick_test = QuickTest::Passed;
        }
        self.passed_quick_test()
    }

    pub(super) fn passed_quick_test(&self) -> bool {
        self.quick_test == QuickTest::Passed
    }

    /// Walks to our own id; again if it changed by what the first round taught us.
    pub(super) fn walk(&mut self, now: Instant, engine: &mut Engine) {
        self.stage = Stage::Walking;
        self.rounds += 1;
        let target = engine.table().id();
        let spec = WalkSpec { pace: WalkPace::Background, ..WalkSpec::new(target, Command::FIND_NODE) };
        engine.walk(now, spec, Purpose::Bootstrap);
    }

    pub(super) const fn may_walk_again(&self) -> bool {
        self.rounds < ROUNDS_MAX
    }

    pub(super) fn finish(&mut self, now: Instant) {
        self.stage = Stage::Done;
        self.took = self.begun.map(|begun| now.saturating_duration_since(begun));
    }

    pub(super) fn state(&self) -> BootstrapState {
        let count = |of: fn(&Entry) -> bool| self.entries.iter().filter(|entry| of(entry)).count();
        BootstrapState {
            entries: self.entries.len(),
            answered: count(|entry| entry.answered),
            unresolved: count(|entry| matches!(entry.state, State::Failed)),
            took: self.took,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// Begins the walk once somebody is known to begin with, or nobody is left to wait for.
    fn advance(&mut self, now: Instant, engine: &mut Engine) {
        let settled = self.entries.iter().all(|entry| matches!(entry.state, State::Found(_) | State::Failed));
        let found = self.entries.iter().filter_map(|entry| match &entry.state {
            State::Found(addrs) => Some(addrs),
            State::Pinging | State::Resolving | State::Failed => None,
        });
        let seeds: Vec<_> = self.nodes.iter().chain(found.flatten()).copied().collect();
        let ready = settled || !seeds.is_empty();
        engine.set_seeds(now, seeds);
        if self.stage == Stage::Waiting && ready {
            self.walk(now, engine);
        }
    }
}

fn resolve(host: &str, commands: &mut VecDeque<event::Command>) -> State {
    commands.push_back(event::Command::Resolve { host: host.into() });
    State::Resolving
}
