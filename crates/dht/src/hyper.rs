//! A full HyperDHT node: the engine, and the parts that give its commands a meaning.

mod announcer;
mod bootstrap;
mod event;
mod knock;
mod operation;
mod reachability;
mod router;
mod serve;
mod store;
mod topics;

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Instant;

use rand::RngExt;
use wire::{Id, SocketId, Transmit};

pub use event::{Answered, Command, Event, Failure, OperationId, Outcome, Peer, Sending, Task, Walked};
pub use knock::{Knock, Step, Way};

use crate::config::{AnyPort, AssumedFirewall, Config, Ports, Standing};
use crate::engine::{AskError, Engine, Presence, Reach, Reply, Signal, WalkEnd};
use crate::key::KeyPair;
use crate::sampler::Seen;
use crate::snapshot::{NodeEntry, Snapshot};
use announcer::Announcer;
use bootstrap::Bootstrapper;
use operation::{Begun, Operations};
use reachability::{Goal, Reachability, Verdict};
use router::Router;
use serve::Server;
use store::Store;
use topics::{Topics, Waits};
use wire::PublicKey;

/// Keys that one node serves.
const KEYS_MAX: usize = 1024;
/// Rows of the table that are filled after the first bootstrap; they hold fifteen sixteenths of all nodes.
const ROWS_FILLED: u8 = 4;
/// Ports above the wanted one that are tried when it is taken.
const PORTS_TRIED: u16 = 5;

/// What the engine is asked to do something for; it hands this back with the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Refresh,
    /// After the first bootstrap: one row of the table after the other.
    Fill(u8),
    Bootstrap,
    BootstrapHint(usize),
    QuickTest,
    Reachability,
    Operation(OperationId),
    AnnouncerWalk(PublicKey),
    Announced(PublicKey),
    RelayPing(PublicKey),
}

/// A HyperDHT node without its sockets.
///
/// See the [crate] documentation for the contract of its verbs.
#[derive(Debug)]
pub struct Hyper {
    config: Config,
    engine: Engine,
    server: Server,
    bootstrap: Bootstrapper,
    reachability: Reachability,
    announcers: BTreeMap<PublicKey, Announcer>,
    topics: Topics,
    operations: Operations,
    local: [Option<SocketAddrV4>; 2],
    events: VecDeque<Event>,
    commands: VecDeque<Command>,
}

impl Hyper {
    /// Creates a node, which asks for its two sockets at once.
    #[must_use]
    pub fn new(config: Config, seed: [u8; 32], now: Instant) -> Self {
        let (timing, limits) = (config.timing.clone(), config.limits.clone());
        let mut engine = Engine::new(timing.clone(), limits.clone(), seed, now);
        if config.firewall == AssumedFirewall::Open {
            engine.open();
        }
        config.known_address.into_iter().for_each(|addr| engine.sample(addr));
        let router = Router::new(&limits, &timing);
        let mut node = Self {
            engine,
            server: Server::new(router, limits.signature_checks_per_second, now, config.wall_clock),
            bootstrap: Bootstrapper::new(config.bootstrap.clone(), config.nodes.clone()),
            reachability: Reachability::new(config.standing, &timing),
            announcers: BTreeMap::new(),
            topics: Topics::default(),
            operations: Operations::default(),
            local: [None; 2],
            events: VecDeque::new(),
            commands: VecDeque::new(),
            config,
        };
        node.open_sockets();
        node
    }

    /// Takes the local address of a socket that was asked for.
    pub fn handle_opened(&mut self, now: Instant, socket: SocketId, local: SocketAddrV4) {
        match socket {
            SocketId::SERVER => {
                self.local[0] = Some(local);
                self.engine.set_server_port(local.port());
            }
            SocketId::CLIENT => self.local[1] = Some(local),
            _ => return,
        }
        if self.local.iter().any(Option::is_none) {
            return;
        }
        if self.engine.is_suspended() {
            self.engine.resume(now);
            self.events.push_back(Event::Resumed);
            self.doubt(now);
            self.engine.refresh(now);
        } else {
            self.events.push_back(Event::Listening);
        }
        self.bootstrap.start(now, &mut self.engine, &mut self.commands);
        self.settle(now);
    }

    /// Takes the addresses of a name; none means that it could not be resolved.
    pub fn handle_resolved(&mut self, now: Instant, host: &str, addrs: &[Ipv4Addr]) {
        self.bootstrap.resolved(now, &mut self.engine, host, addrs);
        self.settle(now);
    }

    /// Takes a datagram from the network.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, at: SocketId, bytes: &[u8]) {
        if let Some(inbound) = self.engine.handle_datagram(now, from, at, bytes) {
            let knock = self.server.handle(now, &mut self.engine, &inbound);
            self.events.extend(knock.map(|knock| Event::Knock(Box::new(knock))));
        }
        self.settle(now);
    }

    /// Takes the news that the host's network is another one: addresses learned so far say nothing.
    pub fn handle_network_change(&mut self, now: Instant) {
        if self.engine.is_suspended() {
            return;
        }
        if self.config.known_address.is_none() {
            self.engine.forget_address();
            // Behind the next router nobody may reach us, and no id but that of the new address is believed.
            if self.config.firewall != AssumedFirewall::Open {
                self.engine.close();
            }
            if self.engine.presence() == Presence::Persistent {
                self.engine.withdraw();
                self.events.push_back(Event::Ephemeral);
            }
        }
        self.doubt(now);
        self.engine.refresh(now);
        self.settle(now);
    }

    /// Acts on every deadline up to `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.engine.handle_timeout(now);
        self.settle(now);
        if self.engine.is_suspended() || !self.bootstrap.is_done() {
            return;
        }
        for announcer in self.announcers.values_mut() {
            announcer.handle_timeout(now, &mut self.engine, &self.config.timing);
        }
        while let Some((topic, key)) = self.topics.next_due(now) {
            let relays =
                self.announcers.get(&key.public_key()).map(|a| a.relays().clone()).unwrap_or_default();
            let begun =
                self.operations.start(now, &mut self.engine, Task::Announce { topic, key, relays, bump: 0 });
            self.topics.started(&topic, begun.id);
            self.begin(now, begun);
        }
        self.settle(now);
    }

    /// Moves the next datagram into `buf`, replacing what was there.
    pub fn poll_transmit(&mut self, buf: &mut Vec<u8>) -> Option<Transmit> {
        self.engine.poll_transmit(buf)
    }

    /// Returns the next thing that the host has to do.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// Returns the next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns when [`Hyper::handle_timeout`] is next due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let engine = self.engine.poll_timeout();
        if self.engine.is_suspended() || !self.bootstrap.is_done() {
            return engine;
        }
        let announcers = self.announcers.values().filter_map(Announcer::due).min();
        [engine, announcers, self.topics.due()].into_iter().flatten().min()
    }

    /// Starts something to do once; [`Event::Finished`] tells of its end.
    pub fn start(&mut self, now: Instant, task: Task) -> OperationId {
        let begun = self.operations.start(now, &mut self.engine, task);
        self.begin(now, begun)
    }

    /// Stops an operation; nothing more is told of it.
    pub fn cancel(&mut self, now: Instant, operation: OperationId) {
        self.operations.cancel(&mut self.engine, operation);
        self.settle(now);
    }

    /// Announces a key under a topic, now and every ten to twelve minutes, until [`Hyper::leave`].
    ///
    /// At most 4,096 topics are announced; more are ignored.
    pub fn announce(&mut self, now: Instant, topic: Id<32>, key: KeyPair) {
        self.topics.join(now, topic, key);
        self.settle(now);
    }

    /// Stops announcing a topic and removes what was announced, of which [`Event::Finished`] tells.
    pub fn leave(&mut self, now: Instant, topic: Id<32>) -> Option<OperationId> {
        let (key, running) = self.topics.leave(&topic)?;
        if let Some(operation) = running {
            self.operations.cancel(&mut self.engine, operation);
        }
        Some(self.start(now, Task::Unannounce { topic, key }))
    }

    /// Announces a key itself on the three nodes closest to it, and keeps the way to this node open, until
    /// [`Hyper::unlisten`].
    ///
    /// At most 1,024 keys are announced; more are ignored.
    pub fn listen(&mut self, now: Instant, key: KeyPair) {
        if self.announcers.len() < KEYS_MAX {
            self.server.router.serve(key.public_key());
            self.announcers.entry(key.public_key()).or_insert_with(|| Announcer::new(now, key));
        }
        self.settle(now);
    }

    /// Stops announcing a key and removes what was announced, of which [`Event::Finished`] tells.
    pub fn unlisten(&mut self, now: Instant, key: PublicKey) -> Option<OperationId> {
        let announcer = self.announcers.remove(&key)?;
        self.server.router.unserve(key);
        let topic = crate::key::target(announcer.stop(&mut self.engine));
        Some(self.start(now, Task::Unannounce { topic, key: announcer.key().clone() }))
    }

    /// Answers a step that came for a key of ours, back the way it came; see [`Knock`] for `from`.
    pub fn answer(&mut self, now: Instant, way: &Way, from: Option<SocketId>, message: &[u8]) {
        way.answer(now, &mut self.engine, from, message);
    }

    /// Returns the nodes that pass handshakes on to a key of ours, each with this host's address as it sees it.
    pub fn relays(&self, key: PublicKey) -> impl Iterator<Item = (SocketAddrV4, SocketAddrV4)> {
        self.announcers.get(&key).into_iter().flat_map(Announcer::seen)
    }

    /// Returns a node that has announced the way to a key here.
    #[must_use]
    pub fn route(&self, target: &Id<32>) -> Option<SocketAddrV4> {
        self.server.router.route(target)
    }

    /// Returns up to `n` nodes of the table, the one heard from last first.
    #[must_use]
    pub fn recent(&self, n: usize) -> Vec<SocketAddrV4> {
        self.engine.recent(n)
    }

    /// Returns the nodes that the network was entered by, once their names are known.
    #[must_use]
    pub fn seeds(&self) -> &[SocketAddrV4] {
        self.engine.seeds()
    }

    /// Tells whether the server socket is not known to be reachable.
    #[must_use]
    pub fn is_firewalled(&self) -> bool {
        self.engine.reach() == Reach::Firewalled
    }

    /// Returns the socket that requests leave from.
    #[must_use]
    pub const fn active(&self) -> SocketId {
        self.engine.active()
    }

    /// Returns the public address, where observers agree on one.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddrV4> {
        match self.engine.sampler().seen() {
            Seen::Address(addr) => Some(addr),
            Seen::Host(_) | Seen::Nothing => None,
        }
    }

    /// Tells whether observers agree on this host and not on its port: its NAT gives out another for each of them.
    #[must_use]
    pub const fn is_randomized(&self) -> bool {
        matches!(self.engine.sampler().seen(), Seen::Host(_))
    }

    /// Returns the local addresses of the server and client sockets.
    #[must_use]
    pub const fn local(&self) -> [Option<SocketAddrV4>; 2] {
        self.local
    }

    /// Tells whether the first bootstrap ended.
    #[must_use]
    pub fn is_bootstrapped(&self) -> bool {
        self.bootstrap.is_done()
    }

    /// Closes the sockets and lets everything in flight fail. What is announced is announced again after
    /// [`Hyper::resume`]; to be gone from the network meanwhile, leave first.
    pub fn suspend(&mut self, now: Instant) {
        if self.engine.is_suspended() {
            return;
        }
        self.engine.suspend();
        self.local = [None; 2];
        self.commands.extend([Command::Close(SocketId::SERVER), Command::Close(SocketId::CLIENT)]);
        self.events.push_back(Event::Suspended);
        self.settle(now);
    }

    /// Asks for the sockets again, the same ports first; [`Event::Resumed`] tells when they are there.
    pub fn resume(&mut self, _now: Instant) {
        if self.engine.is_suspended() && self.local.iter().all(Option::is_none) {
            self.open_sockets();
        }
    }

    /// Goes through the nodes of the routing table, to be saved for the next start.
    pub fn nodes(&self) -> impl Iterator<Item = SocketAddrV4> {
        self.engine.table().iter().map(|node| node.addr)
    }

    /// Returns the state at this moment.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let engine = &self.engine;
        let tick = engine.tick();
        let entry = |node: &crate::table::Node<32>| {
            let (seen_ticks_ago, known_ticks) = (tick - node.seen, tick - node.added);
            let (id, addr, down_hints) = (node.id, node.addr, node.down_hints);
            (node.contact, NodeEntry { id, addr, seen_ticks_ago, known_ticks, down_hints })
        };
        let mut nodes: Vec<_> = engine.table().iter().map(entry).collect();
        nodes.sort_unstable_by_key(|(contact, _)| std::cmp::Reverse(*contact));
        let stored = self.server.store.as_ref().map(Store::len).unwrap_or_default();
        let seen = engine.sampler().seen();
        let [answered_ago, asked_ago] = engine.silence(now);
        Snapshot {
            id: engine.id(),
            local: self.local,
            host: engine.sampler().host(),
            port: match seen {
                Seen::Address(addr) => Some(addr.port()),
                Seen::Host(_) | Seen::Nothing => None,
            },
            randomized: matches!(seen, Seen::Host(_)),
            openness: engine.openness(now),
            call_test: self.reachability.last(now),
            samples: engine.sampler().samples().collect(),
            answered_ago,
            asked_ago,
            bootstrap: self.bootstrap.state(),
            firewalled: engine.reach() == Reach::Firewalled,
            ephemeral: engine.presence() == Presence::Ephemeral,
            bootstrapped: self.bootstrap.is_done(),
            suspended: engine.is_suspended(),
            health: engine.health(),
            nodes: nodes.into_iter().map(|(_, entry)| entry).collect(),
            rows: engine.table().fill(),
            network_size: engine.network_size(),
            round_trip: engine.rtt().smoothed(),
            stats: engine.stats,
            waiting: engine.waiting_len(),
            walks: engine.running_walks(now),
            walked: engine.ended_walks(now),
            stored: [stored[0], self.server.router.len(), stored[1], stored[2]],
            stored_bytes: self.server.store.as_ref().map_or(0, Store::bytes),
            topics: self.topics.snapshot(now),
            listening: self.announcers.iter().map(|(key, a)| (*key, a.relays().clone())).collect(),
        }
    }

    fn open_sockets(&mut self) {
        let (host, port) = (self.config.host, self.config.port);
        let candidates = if port == 0 {
            Vec::new()
        } else {
            (0..PORTS_TRIED).filter_map(|n| port.checked_add(n)).collect()
        };
        let candidates = match self.config.any_port {
            AnyPort::Allowed => candidates,
            AnyPort::Refused => vec![port],
        };
        let server = Ports { host, candidates, any: self.config.any_port };
        let client = Ports { host, candidates: Vec::new(), any: AnyPort::Allowed };
        for (socket, ports) in [(SocketId::SERVER, server), (SocketId::CLIENT, client)] {
            self.commands.push_back(Command::Open { socket, ports });
        }
    }

    fn begin(&mut self, now: Instant, begun: Begun) -> OperationId {
        if let Some(event) = begun.failed {
            self.tell(now, event);
        }
        self.settle(now);
        begun.id
    }

    /// Hands the engine's news to the parts that wait for them, until there are none.
    fn settle(&mut self, now: Instant) {
        while let Some(signal) = self.engine.poll_signal() {
            match signal {
                Signal::Answered { purpose, reply } => self.answered(now, purpose, Ok(reply)),
                Signal::Failed { purpose, error } => self.answered(now, purpose, Err(error)),
                Signal::Walked { purpose, reply } => self.walked(now, purpose, &reply),
                Signal::WalkEnded { purpose, end } => self.walk_ended(now, purpose, &end),
                Signal::Tick => self.tick(now),
                Signal::Woke => {
                    self.events.push_back(Event::Woke);
                    self.doubt(now);
                }
                Signal::AddressChanged => self.events.push_back(Event::AddressChanged),
                Signal::HealthChanged => self.events.push_back(Event::HealthChanged),
            }
        }
    }

    fn answered(&mut self, now: Instant, purpose: Purpose, result: Result<Reply, AskError>) {
        let timing = &self.config.timing;
        match purpose {
            Purpose::BootstrapHint(n) => match result {
                Ok(reply) => self.bootstrap.hint_answered(now, &mut self.engine, n, reply.from),
                Err(_) => self.bootstrap.hint_failed(n, &mut self.commands),
            },
            Purpose::QuickTest => {
                let passed = result.is_ok_and(|reply| self.bootstrap.quick_tested(&reply));
                if passed && self.bootstrap.is_done() {
                    let verdict = self.reachability.attempt(now, &mut self.engine, Goal::Open);
                    self.judged(now, verdict);
                }
            }
            Purpose::Reachability => {
                let verdict = self.reachability.called(now, &mut self.engine, result.as_ref().ok());
                self.judged(now, verdict);
            }
            Purpose::Operation(id) => {
                if let Some(event) = self.operations.answered(id, result) {
                    self.tell(now, event);
                }
            }
            Purpose::Announced(key) => {
                if let Some(announcer) = self.announcers.get_mut(&key)
                    && announcer.announced(now, timing, result.as_ref().ok())
                {
                    let relays = announcer.relays().clone();
                    self.events.push_back(Event::Reachable { public_key: key, relays });
                }
            }
            Purpose::RelayPing(key) => {
                if let (Some(announcer), Ok(reply)) = (self.announcers.get_mut(&key), result) {
                    announcer.relay_answered(now, &mut self.engine, &reply);
                }
            }
            Purpose::Refresh | Purpose::Fill(_) | Purpose::Bootstrap | Purpose::AnnouncerWalk(_) => {}
        }
    }

    fn walked(&mut self, now: Instant, purpose: Purpose, reply: &Reply) {
        if purpose == Purpose::Bootstrap {
            if self.config.firewall != AssumedFirewall::ClosedUntested {
                self.bootstrap.walked(now, &mut self.engine, self.reachability.standing(), reply);
            }
        } else if let Purpose::Operation(id) = purpose
            && let Some(event) = self.operations.walked(now, &mut self.engine, id, reply)
        {
            self.tell(now, event);
        }
    }

    fn walk_ended(&mut self, now: Instant, purpose: Purpose, end: &WalkEnd) {
        if purpose == Purpose::Bootstrap {
            self.bootstrap_walked(now);
        } else if let Purpose::Fill(row) = purpose {
            // The walk to our own id met our neighbours; of the half, the quarter and so on of the network
            // that is far from us it met just those on the way.
            if row + 1 < ROWS_FILLED && !self.engine.is_suspended() {
                self.engine.fill_row(now, row + 1);
            }
        } else if let Purpose::Operation(id) = purpose
            && let Some(event) = self.operations.walk_ended(now, &mut self.engine, id, end)
        {
            self.tell(now, event);
        } else if let Purpose::AnnouncerWalk(key) = purpose
            && let Some(announcer) = self.announcers.get_mut(&key)
            && announcer.walk_ended(now, &mut self.engine, &self.config.timing, end)
        {
            self.events.push_back(Event::Reachable { public_key: key, relays: Vec::new() });
        }
    }

    /// A round of the first walk ended: the address is known now, if anybody answered.
    fn bootstrap_walked(&mut self, now: Instant) {
        if self.bootstrap.is_done() {
            return;
        }
        let goal = match self.reachability.standing() {
            Standing::Persistent => Goal::Persistent,
            Standing::Adaptive | Standing::Ephemeral => Goal::Open,
        };
        let verdict = if goal == Goal::Persistent || self.bootstrap.passed_quick_test() {
            self.reachability.attempt(now, &mut self.engine, goal)
        } else {
            Verdict::Unchanged
        };
        self.judged(now, verdict);
    }

    /// Takes what came of an attempt to become reachable or persistent.
    fn judged(&mut self, now: Instant, verdict: Verdict) {
        let id_changed = match verdict {
            Verdict::Pending => return,
            Verdict::Unchanged => false,
            Verdict::Persistent { id_changed } => {
                let (limits, timing) = (&self.config.limits, &self.config.timing);
                self.server.store.get_or_insert_with(|| Store::new(limits, timing));
                self.events.push_back(Event::Persistent);
                id_changed
            }
        };
        if self.bootstrap.is_done() {
            if id_changed {
                self.engine.refresh_own(now);
            }
        } else if id_changed && self.bootstrap.may_walk_again() {
            self.bootstrap.walk(now, &mut self.engine);
        } else {
            self.bootstrap.finish(now);
            self.engine.set_bootstrapped();
            self.events.push_back(Event::Ready);
            self.engine.fill_row(now, 0);
        }
    }

    fn tick(&mut self, now: Instant) {
        let verdict = self.reachability.tick(now, &mut self.engine, &self.config.timing);
        if verdict != Verdict::Unchanged {
            self.judged(now, verdict);
        }
        self.server.router.tidy(now);
        if let Some(store) = &mut self.server.store {
            store.tidy(now);
        }
        if self.engine.table().len() == 0 {
            // Names that could not be resolved without a network may be by now.
            self.bootstrap.start(now, &mut self.engine, &mut self.commands);
        }
    }

    /// Takes nothing for granted that was learned before a sleep or a change of network.
    fn doubt(&mut self, now: Instant) {
        if self.reachability.doubt(&mut self.engine, &self.config.timing) {
            self.events.push_back(Event::Ephemeral);
        }
        self.announcers.values_mut().for_each(|announcer| announcer.update(now, &mut self.engine));
        self.topics.hurry(now);
    }

    /// Passes news on to the application, unless they are of an announcement that we keep up ourselves.
    fn tell(&mut self, now: Instant, event: Event) {
        if let Event::Finished { operation, outcome } = &event
            && self.topics.is_running(*operation)
        {
            let timing = &self.config.timing;
            // A jitter keeps nodes that started together from announcing together for ever.
            let stored = timing.topic + timing.topic_jitter.mul_f64(self.engine.rng().random());
            let waits = Waits { stored, failed: 2 * timing.tick };
            if let Some((topic, stored)) = self.topics.finished(now, *operation, outcome, waits) {
                self.events.push_back(Event::Announced { topic, stored });
            }
        } else if !matches!(&event, Event::Peers { operation, .. } if self.topics.is_running(*operation)) {
            self.events.push_back(event);
        }
    }
}
