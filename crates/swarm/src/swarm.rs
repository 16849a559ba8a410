//! Everything of a node that is not the world: the DHT, dials, servers and links.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Instant;

use dht::{Command, Hyper, OperationId, Outcome, Task};
use pace::Timers;
use peer::{ReplayLimits, StreamConfig};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use udx::{CloseReason, Path, StreamId, Udx};
use wire::{Datagram, PublicKey, SocketId, Transmit};

use crate::dial::{Dial, DialOptions, DialStep};
use crate::event::{DialError, DialId, Event, LinkError, LinkId, SendError, SlotId};
use crate::ground::{Errand, Ground};
use crate::identity::Identity;
use crate::link::{Birth, Link, Taken};
use crate::server::{Admission, ServerStep, Servers, Verdict};

/// Dials at one time.
const DIALS_MAX: usize = 1024;

/// How a node is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its part in the DHT.
    pub dht: dht::Config,
    /// Its streams.
    pub udx: udx::Config,
    /// What every connection allows.
    pub stream: StreamConfig,
    /// Connections at one time; further clients are met with silence.
    pub links_max: usize,
    /// How long first messages of handshakes are remembered, so that no recording opens a connection.
    pub replay: ReplayLimits,
}

impl Config {
    /// The reference's defaults, and room for 4,096 connections.
    #[must_use]
    pub fn new(dht: dht::Config) -> Self {
        Self {
            dht,
            udx: udx::Config::default(),
            stream: StreamConfig::default(),
            links_max: 4096,
            replay: ReplayLimits::default(),
        }
    }
}

/// A HyperDHT node with its connections, without its sockets.
///
/// The contract of the verbs is that of every machine: mutate once, then drain [`Swarm::poll_command`],
/// [`Swarm::poll_transmit`] and [`Swarm::poll_event`], then read [`Swarm::poll_timeout`].
#[derive(Debug)]
pub struct Swarm {
    ground: Ground,
    dials: BTreeMap<DialId, Dial>,
    servers: Servers,
    links: BTreeMap<LinkId, Link>,
    /// Who owns a stream.
    streams: BTreeMap<StreamId, Owner>,
    timers: Timers<LinkId>,
    serial: u64,
    stream_config: StreamConfig,
    links_max: usize,
    events: VecDeque<Event>,
    scratch: Vec<u8>,
    stats: Stats,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Dial(DialId),
    Link(LinkId),
}

/// Counters of connections since the machine was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Dials begun.
    pub dialled: u64,
    /// Dials that came to nothing.
    pub failed: u64,
    /// Connections that opened, by us and by peers.
    pub opened: u64,
    /// Connections that are over.
    pub closed: u64,
}

impl Swarm {
    /// Creates a node, which asks for its two sockets at once.
    #[must_use]
    pub fn new(config: Config, seed: [u8; 32], now: Instant) -> Self {
        let mut rng = StdRng::from_seed(seed);
        let hyper = Hyper::new(config.dht, rng.random(), now);
        let udx = Udx::new(config.udx, rng.random());
        Self {
            ground: Ground::new(hyper, udx, rng),
            dials: BTreeMap::new(),
            servers: Servers::new(now, config.replay),
            links: BTreeMap::new(),
            streams: BTreeMap::new(),
            timers: Timers::new(),
            serial: 0,
            stream_config: config.stream,
            links_max: config.links_max,
            events: VecDeque::new(),
            scratch: Vec::new(),
            stats: Stats::default(),
        }
    }

    /// Lends the DHT's part, to read.
    #[must_use]
    pub const fn hyper(&self) -> &Hyper {
        &self.ground.hyper
    }

    /// Lends the DHT's part, and hands on what follows from its change.
    pub fn with_hyper<T>(&mut self, now: Instant, change: impl FnOnce(&mut Hyper) -> T) -> T {
        let result = change(&mut self.ground.hyper);
        self.settle(now);
        result
    }

    /// Returns the counters.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Takes the addresses of this host's interfaces, without loopback.
    pub fn handle_interfaces(&mut self, addresses: Vec<Ipv4Addr>) {
        self.ground.interfaces = addresses;
    }

    /// Takes the local address of a socket that was asked for.
    pub fn handle_opened(&mut self, now: Instant, socket: SocketId, local: SocketAddrV4) {
        if socket <= SocketId::CLIENT {
            self.ground.hyper.handle_opened(now, socket, local);
        }
        self.settle(now);
    }

    /// Takes the addresses of a name; none means that it could not be resolved.
    pub fn handle_resolved(&mut self, now: Instant, host: &str, addrs: &[Ipv4Addr]) {
        self.ground.hyper.handle_resolved(now, host, addrs);
        self.settle(now);
    }

    /// Takes a datagram from the network.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, at: SocketId, bytes: &[u8]) {
        match Datagram::classify(bytes) {
            Ok(Datagram::Stream(packet)) => {
                // A packet for no stream of ours is nobody's: there is no other protocol with this first byte.
                let _taken = self.ground.udx.handle_packet(now, from, at, packet);
            }
            Ok(Datagram::Probe) if at > SocketId::CLIENT => {}
            Ok(Datagram::Rpc(_) | Datagram::Probe) | Err(_) => {
                self.ground.hyper.handle_datagram(now, from, at, bytes);
            }
        }
        self.settle(now);
    }

    /// Acts on every deadline up to `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        if is_due(self.ground.hyper.poll_timeout(), now) {
            self.ground.hyper.handle_timeout(now);
        }
        if is_due(self.ground.udx.poll_timeout(), now) {
            self.ground.udx.handle_timeout(now);
        }
        self.servers.handle_timeout(now, &mut self.ground);
        let due = |(id, dial): (&DialId, &Dial)| is_due(dial.poll_timeout(), now).then_some(*id);
        let dials: Vec<DialId> = self.dials.iter().filter_map(due).collect();
        for id in dials {
            self.step_dial(now, id, |dial, _| dial.handle_timeout(now));
        }
        while let Some(id) = self.timers.expire(now) {
            self.with_link(now, id, |link, ground| {
                link.handle_timeout(now, &mut ground.udx).map_err(LinkError::from)
            });
        }
        self.settle(now);
    }

    /// Moves the next datagram into `buf`, replacing what was there.
    pub fn poll_transmit(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        if let Some(transmit) = self.ground.hyper.poll_transmit(buf) {
            return Some(transmit);
        }
        self.ground.udx.poll_transmit(now, buf)
    }

    /// Returns the next thing that the host has to do.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.ground.commands.pop_front().or_else(|| self.ground.hyper.poll_command())
    }

    /// Returns the next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns when [`Swarm::handle_timeout`] is next due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let dials = self.dials.values().filter_map(Dial::poll_timeout).min();
        [
            self.ground.hyper.poll_timeout(),
            self.ground.udx.poll_timeout(),
            self.servers.poll_timeout(),
            self.timers.next(),
            dials,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Starts something in the DHT; [`Event::Dht`] tells of its end.
    pub fn start(&mut self, now: Instant, task: Task) -> OperationId {
        self.with_hyper(now, |hyper| hyper.start(now, task))
    }

    /// Dials a key. [`Event::Dialled`] or [`Event::DialFailed`] follows.
    pub fn dial(
        &mut self,
        now: Instant,
        remote: PublicKey,
        from: &Arc<Identity>,
        options: DialOptions,
    ) -> DialId {
        self.serial += 1;
        let id = DialId(self.serial);
        self.stats.dialled += 1;
        let dial = if self.dials.len() >= DIALS_MAX {
            Err(DialError::TooBusy)
        } else {
            Dial::new(now, &mut self.ground, (id, remote), from, options)
        };
        match dial {
            Ok(dial) => {
                self.streams.insert(dial.stream, Owner::Dial(id));
                self.dials.insert(id, dial);
            }
            Err(error) => {
                self.stats.failed += 1;
                self.events.push_back(Event::DialFailed { dial: id, remote, error });
            }
        }
        self.settle(now);
        id
    }

    /// Takes a dial back; [`Event::DialFailed`] follows.
    pub fn cancel_dial(&mut self, now: Instant, id: DialId) {
        self.step_dial(now, id, |_, _| DialStep::Failed(DialError::Canceled));
        self.settle(now);
    }

    /// Serves a key: announces it, and answers who connects to it.
    pub fn listen(&mut self, now: Instant, identity: Arc<Identity>, admission: Admission) {
        let signing = identity.signing().clone();
        self.servers.listen(identity, admission);
        self.with_hyper(now, |hyper| hyper.listen(now, signing));
    }

    /// Stops serving a key; connections that are open stay. [`Event::Dht`] tells when the announcement is gone.
    pub fn unlisten(&mut self, now: Instant, key: PublicKey) -> Option<OperationId> {
        self.servers.unlisten(now, &mut self.ground, key);
        self.with_hyper(now, |hyper| hyper.unlisten(now, key))
    }

    /// Goes through the keys that are served.
    pub fn keys(&self) -> impl Iterator<Item = PublicKey> {
        self.servers.keys()
    }

    /// Answers [`Event::Asked`].
    pub fn decide(&mut self, now: Instant, slot: SlotId, verdict: Verdict) {
        let step = self.servers.decide(now, &mut self.ground, slot, verdict);
        self.take_server_step(now, step);
        self.settle(now);
    }

    /// Sends a frame, whole or not at all.
    ///
    /// # Errors
    ///
    /// Fails with any [`SendError`]; after [`SendError::Full`], [`Event::Writable`] tells of room.
    pub fn send(&mut self, now: Instant, link: LinkId, frame: &[u8]) -> Result<(), SendError> {
        let result =
            self.links.get_mut(&link).ok_or(SendError::Closed)?.send(now, &mut self.ground.udx, frame);
        self.set_timer(link);
        result
    }

    /// Takes the oldest frame of a connection.
    pub fn take(&mut self, now: Instant, link: LinkId) -> Taken {
        let Some(entry) = self.links.get_mut(&link) else { return Taken::End };
        match entry.take(now, &mut self.ground.udx, &mut self.scratch) {
            Ok(Taken::End) => {
                let closed = entry.closed;
                closed.into_iter().for_each(|why| self.remove_link(now, link, why));
                Taken::End
            }
            Ok(taken) => taken,
            Err(error) => {
                self.remove_link(now, link, error.into());
                Taken::End
            }
        }
    }

    /// Says that no frame follows those sent; the peer may still send.
    pub fn finish(&mut self, now: Instant, link: LinkId) {
        if let Some(link) = self.links.get_mut(&link) {
            link.finish(now, &mut self.ground.udx);
        }
        self.settle(now);
    }

    /// Sends a sign of life that the peer has to acknowledge.
    pub fn keep_alive(&mut self, now: Instant, link: LinkId) {
        if let Some(link) = self.links.get_mut(&link) {
            link.keep_alive(now, &mut self.ground.udx);
        }
        self.set_timer(link);
    }

    /// Closes a connection at once; [`Event::Closed`] follows.
    pub fn destroy(&mut self, now: Instant, link: LinkId, why: LinkError) {
        if self.links.contains_key(&link) {
            self.remove_link(now, link, why);
        }
        self.settle(now);
    }

    /// Closes all connections and the sockets. What is announced is announced again after
    /// [`Hyper::resume`].
    pub fn suspend(&mut self, now: Instant) {
        for id in self.dials.keys().copied().collect::<Vec<_>>() {
            self.step_dial(now, id, |_, _| DialStep::Failed(DialError::Suspended));
        }
        self.servers.clear(now, &mut self.ground);
        for id in self.links.keys().copied().collect::<Vec<_>>() {
            self.remove_link(now, id, LinkError::Closed);
        }
        self.with_hyper(now, |hyper| hyper.suspend(now));
    }

    /// Hands news of the lower parts to those that wait for them, until there are none.
    fn settle(&mut self, now: Instant) {
        loop {
            if let Some(event) = self.ground.hyper.poll_event() {
                self.handle_dht(now, event);
            } else if let Some(event) = self.ground.udx.poll_event() {
                self.handle_udx(now, event);
            } else {
                return;
            }
        }
    }

    fn handle_dht(&mut self, now: Instant, event: dht::Event) {
        match event {
            dht::Event::Knock(knock) => {
                let step = self.servers.handle_knock(now, &mut self.ground, *knock);
                self.take_server_step(now, step);
            }
            dht::Event::Peers { operation, from, .. } if self.ground.errands.contains_key(&operation) => {
                if let Some(Errand::Find(id)) = self.ground.errands.get(&operation)
                    && let Some(dial) = self.dials.get_mut(id)
                {
                    dial.handle_found(now, &mut self.ground, from);
                }
            }
            dht::Event::Finished { operation, outcome } => match self.ground.errands.remove(&operation) {
                Some(errand) => self.finish_errand(now, (operation, errand), outcome),
                None => self.events.push_back(Event::Dht(dht::Event::Finished { operation, outcome })),
            },
            event => self.events.push_back(Event::Dht(event)),
        }
    }

    fn finish_errand(&mut self, now: Instant, (operation, errand): (OperationId, Errand), outcome: Outcome) {
        match errand {
            Errand::Find(id) => self.step_dial(now, id, |dial, _| dial.handle_search_end(&outcome)),
            Errand::Shake(id, via) => {
                self.step_dial(now, id, |dial, ground| {
                    dial.handle_shaken(now, ground, (operation, via), outcome)
                });
            }
            Errand::Lan(id, to) => self.step_dial(now, id, |dial, _| dial.handle_lan(to, &outcome)),
            Errand::Punch(..) | Errand::Sample(..) | Errand::Refresh(_) => {}
        }
    }

    fn take_server_step(&mut self, now: Instant, step: ServerStep) {
        match step {
            ServerStep::Nothing => {}
            ServerStep::Ask(visitor) => self.events.push_back(Event::Asked(visitor)),
            ServerStep::Connected(birth) => self.accept(now, birth),
        }
    }

    fn accept(&mut self, now: Instant, birth: Box<Birth>) {
        if self.links.len() >= self.links_max {
            return self.ground.udx.destroy(now, birth.stream);
        }
        if let Some(link) = self.open_link(now, birth) {
            let opened = self.links[&link].opened();
            self.events.push_back(Event::Accepted(opened));
        }
    }

    fn step_dial(&mut self, now: Instant, id: DialId, step: impl FnOnce(&mut Dial, &mut Ground) -> DialStep) {
        let Some(dial) = self.dials.get_mut(&id) else { return };
        let result = step(dial, &mut self.ground);
        let (remote, stream) = (dial.remote, dial.stream);
        match result {
            DialStep::Going => {}
            DialStep::Connected(birth) => {
                self.end_dial(now, id);
                if let Some(link) = self.open_link(now, birth) {
                    let opened = self.links[&link].opened();
                    self.events.push_back(Event::Dialled { dial: id, opened });
                }
            }
            DialStep::Failed(error) => {
                self.end_dial(now, id);
                self.streams.remove(&stream);
                self.ground.udx.destroy(now, stream);
                self.stats.failed += 1;
                self.events.push_back(Event::DialFailed { dial: id, remote, error });
            }
        }
    }

    fn end_dial(&mut self, now: Instant, id: DialId) {
        if let Some(dial) = self.dials.remove(&id) {
            dial.end(now, &mut self.ground);
        }
    }

    fn open_link(&mut self, now: Instant, birth: Box<Birth>) -> Option<LinkId> {
        let (stream, path, remote) = (birth.stream, birth.path, birth.remote_stream);
        self.ground.udx.connect(now, stream, path, remote).ok()?;
        self.serial += 1;
        let id = LinkId(self.serial);
        let link = Link::new(now, &mut self.ground, id, *birth, self.stream_config);
        self.streams.insert(stream, Owner::Link(id));
        self.links.insert(id, link);
        self.stats.opened += 1;
        self.set_timer(id);
        Some(id)
    }

    fn handle_udx(&mut self, now: Instant, event: udx::Event) {
        match event {
            udx::Event::PathOffered { stream, path } => self.handle_offered(now, stream, path),
            udx::Event::Readable(stream) => {
                if let Some(Owner::Link(link)) = self.streams.get(&stream) {
                    self.events.push_back(Event::Readable(*link));
                }
            }
            udx::Event::Writable(stream) => {
                if let Some(Owner::Link(id)) = self.streams.get(&stream)
                    && let Some(link) = self.links.get_mut(id)
                    && link.flush(now, &mut self.ground.udx)
                {
                    self.events.push_back(Event::Writable(*id));
                }
            }
            udx::Event::Closed { stream, why } => self.handle_closed(now, stream, why),
            udx::Event::Message(stream) => {
                // Nobody reads unordered messages here: they are as readable to relays as to us.
                while self.ground.udx.read_message(stream).is_some() {}
            }
            _ => {}
        }
    }

    fn handle_offered(&mut self, now: Instant, stream: StreamId, path: Path) {
        match self.streams.get(&stream) {
            Some(Owner::Dial(id)) => {
                let id = *id;
                self.step_dial(now, id, |dial, _| dial.handle_offered(path));
            }
            Some(Owner::Link(_)) => self.ground.udx.refuse(stream, path),
            None => {
                if let Some(birth) = self.servers.handle_offered(stream, path) {
                    self.accept(now, birth);
                }
            }
        }
    }

    fn handle_closed(&mut self, now: Instant, stream: StreamId, why: CloseReason) {
        let Some(Owner::Link(id)) = self.streams.get(&stream) else { return };
        let id = *id;
        match why {
            // What is unread can still be taken; the end follows it.
            CloseReason::Finished => {
                if let Some(link) = self.links.get_mut(&id) {
                    link.closed = Some(LinkError::Finished);
                    self.events.push_back(Event::Readable(id));
                }
            }
            CloseReason::Reset => self.remove_link(now, id, LinkError::Reset),
            CloseReason::TimedOut => self.remove_link(now, id, LinkError::TimedOut),
            _ => self.remove_link(now, id, LinkError::Reset),
        }
    }

    fn with_link(
        &mut self,
        now: Instant,
        id: LinkId,
        act: impl FnOnce(&mut Link, &mut Ground) -> Result<(), LinkError>,
    ) {
        let Some(link) = self.links.get_mut(&id) else { return };
        match act(link, &mut self.ground) {
            Ok(()) => self.set_timer(id),
            Err(error) => self.remove_link(now, id, error),
        }
    }

    fn set_timer(&mut self, id: LinkId) {
        match self.links.get(&id).and_then(Link::poll_timeout) {
            Some(at) => self.timers.set(id, at),
            None => self.timers.cancel(id),
        }
    }

    fn remove_link(&mut self, now: Instant, id: LinkId, why: LinkError) {
        let Some(link) = self.links.remove(&id) else { return };
        self.timers.cancel(id);
        self.streams.remove(&link.stream);
        self.ground.udx.destroy(now, link.stream);
        self.stats.closed += 1;
        self.events.push_back(Event::Closed { link: id, remote: link.remote, why });
    }
}

fn is_due(deadline: Option<Instant>, now: Instant) -> bool {
    deadline.is_some_and(|at| at <= now)
}
