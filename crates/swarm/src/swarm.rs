//! Everything of a node that is not the world: the DHT, dials, servers and links.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Instant;

use dht::{Command, Hyper, OperationId, Outcome, Task};
use pace::Timers;
use peer::{ReplayLimits, StreamConfig, StreamError};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use udx::{CloseReason, Path, StreamId, Udx, Unacked};
use wire::{Datagram, PublicKey, SocketId, Transmit};

use crate::circle::Circle;
use crate::dial::{Dial, DialOptions, DialStep};
use crate::event::{DialError, DialId, Event, LinkError, LinkId, SendError, SlotId};
use crate::ground::{Errand, Ground, Holder};
use crate::hole::Hole;
use crate::identity::Identity;
use crate::link::{Birth, Link, Sign, Taken};
use crate::relay_host::Host;
use crate::relays::Relays;
use crate::server::{ListenOptions, ServerStep, Servers, Verdict};
use crate::survey::Failures;

/// Dials at one time.
const DIALS_MAX: usize = 1024;

/// A share of [`Config::unfinished_max`] is not less than this: what a peer sends in a turn.
const UNFINISHED_MIN: usize = 64 << 10;
/// Longest frame between a relay and its client; messages have about forty bytes.
const RELAY_FRAME_MAX: usize = 16 << 10;

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
    /// Bytes that frames of all peers may take before they are whole; 256 MiB. Each connection has its share, 64 KiB
    /// at least, so that many strangers who each begin a frame of sixteen megabytes take no more than one who may.
    pub unfinished_max: usize,
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
            unfinished_max: 256 << 20,
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
    pub(crate) ground: Ground,
    pub(crate) dials: BTreeMap<DialId, Dial>,
    pub(crate) servers: Servers,
    pub(crate) failures: Failures,
    pub(crate) links: BTreeMap<LinkId, Link>,
    pub(crate) circles: BTreeMap<PublicKey, Circle>,
    /// Who owns a stream.
    pub(crate) streams: BTreeMap<StreamId, Owner>,
    pub(crate) relays: Relays,
    pub(crate) hosts: BTreeMap<PublicKey, Host>,
    timers: Timers<LinkId>,
    serial: u64,
    stream_config: StreamConfig,
    links_max: usize,
    unfinished_max: usize,
    pub(crate) events: VecDeque<Event>,
    scratch: Vec<u8>,
    stats: Stats,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Dial(DialId),
    Link(LinkId),
    /// A relay of ours passes its packets on.
    Relay(PublicKey, peer::LinkId),
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
        let relays = Relays::new(rng.random());
        Self {
            ground: Ground::new(hyper, udx, rng),
            dials: BTreeMap::new(),
            servers: Servers::new(now, config.replay),
            failures: Failures::default(),
            links: BTreeMap::new(),
            circles: BTreeMap::new(),
            streams: BTreeMap::new(),
            relays,
            hosts: BTreeMap::new(),
            timers: Timers::new(),
            serial: 0,
            stream_config: config.stream,
            links_max: config.links_max,
            unfinished_max: config.unfinished_max,
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
        } else if let Some(holder) = self.ground.sockets.get(&socket).copied() {
            self.with_hole(now, holder, |hole| hole.puncher.handle_opened(now, socket));
        }
        self.settle(now);
    }

    /// Learns that a socket of a hole punch cannot be had.
    pub fn handle_refused(&mut self, now: Instant, socket: SocketId) {
        if let Some(holder) = self.ground.sockets.remove(&socket) {
            self.with_hole(now, holder, |hole| hole.puncher.handle_refused(now));
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
            Ok(Datagram::Probe) if at > SocketId::CLIENT => {
                if let (Some(holder), SocketAddr::V4(from)) = (self.ground.sockets.get(&at).copied(), from) {
                    self.with_hole(now, holder, |hole| hole.puncher.handle_probe(now, at, from));
                }
            }
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
        self.ground.handle_timeout(now);
        self.circles_timeout(now);
        self.servers.handle_timeout(now, &mut self.ground);
        self.relays_timeout(now);
        self.hosts_timeout(now);
        let due = |(id, dial): (&DialId, &Dial)| is_due(dial.poll_timeout(), now).then_some(*id);
        let dials: Vec<DialId> = self.dials.iter().filter_map(due).collect();
        for id in dials {
            self.step_dial(now, id, |dial, ground| dial.handle_timeout(now, ground));
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
        if let Some(probe) = self.ground.probes.pop_front() {
            buf.clear();
            buf.push(0);
            return Some(Transmit { ttl: probe.ttl, ..Transmit::new(probe.from, probe.to.into()) });
        }
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
        let circles = self.circles.values().filter_map(Circle::poll_timeout).min();
        [
            circles,
            self.ground.hyper.poll_timeout(),
            self.ground.udx.poll_timeout(),
            self.ground.poll_timeout(),
            self.servers.poll_timeout(),
            self.timers.next(),
            self.relays.poll_timeout(),
            self.hosts.values().filter_map(Host::poll_timeout).min(),
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
        let id = self.begin_dial(now, (remote, from), options, |_, _| {});
        self.settle(now);
        id
    }

    /// Begins a dial; `note` learns its name before anything can become of it.
    pub(crate) fn begin_dial(
        &mut self,
        now: Instant,
        (remote, from): (PublicKey, &Arc<Identity>),
        options: DialOptions,
        note: impl FnOnce(&mut Self, DialId),
    ) -> DialId {
        self.serial += 1;
        let id = DialId(self.serial);
        self.stats.dialled += 1;
        note(self, id);
        let dial = if self.dials.len() >= DIALS_MAX {
            Err(DialError::TooBusy)
        } else {
            Dial::new(now, &mut self.ground, (id, remote), from, options)
        };
        match dial {
            Ok(dial) => self.insert_dial(dial),
            Err(error) => self.tell_failed(now, (id, remote), error),
        }
        id
    }

    pub(crate) fn insert_dial(&mut self, dial: Dial) {
        self.streams.insert(dial.stream, Owner::Dial(dial.id));
        self.dials.insert(dial.id, dial);
    }

    pub(crate) fn tell_failed(
        &mut self,
        now: Instant,
        (dial, remote): (DialId, PublicKey),
        error: DialError,
    ) {
        self.stats.failed += 1;
        if self.ferry_failed(now, dial) {
            return;
        }
        self.failures.note(now, remote, error);
        self.circle_failed(now, dial, error);
        self.events.push_back(Event::DialFailed { dial, remote, error });
    }

    /// Takes a dial back; [`Event::DialFailed`] follows.
    pub fn cancel_dial(&mut self, now: Instant, id: DialId) {
        match self.forget_parked(id) {
            Some(remote) => self.tell_failed(now, (id, remote), DialError::Canceled),
            None => self.step_dial(now, id, |_, _| DialStep::Failed(DialError::Canceled)),
        }
        self.settle(now);
    }

    /// Takes a dial back of which nobody wants to hear more.
    pub(crate) fn drop_dial(&mut self, now: Instant, id: DialId) {
        self.forget_parked(id);
        if let Some(mut dial) = self.dials.remove(&id) {
            dial.end(now, &mut self.ground);
            if dial.link.is_none() {
                self.abandon(now, dial.stream);
            }
        }
    }

    /// Ends a stream that nobody was connected by.
    fn abandon(&mut self, now: Instant, stream: StreamId) {
        self.streams.remove(&stream);
        self.release_crossing(now, stream);
        self.ground.udx.destroy(now, stream);
    }

    pub(crate) fn fresh_seed(&mut self) -> [u8; 32] {
        self.ground.rng.random()
    }

    /// Serves a key: announces it, and answers who connects to it.
    pub fn listen(&mut self, now: Instant, identity: Arc<Identity>, options: ListenOptions) {
        self.begin_listening(now, identity, options);
        self.settle(now);
    }

    pub(crate) fn begin_listening(&mut self, now: Instant, identity: Arc<Identity>, options: ListenOptions) {
        let signing = identity.signing().clone();
        self.servers.listen(identity, options);
        self.ground.hyper.listen(now, signing);
    }

    pub(crate) fn end_listening(&mut self, now: Instant, key: PublicKey) -> Option<OperationId> {
        self.servers.unlisten(now, &mut self.ground, key);
        self.ground.hyper.unlisten(now, key)
    }

    /// Stops serving a key; connections that are open stay. [`Event::Dht`] tells when the announcement is gone.
    pub fn unlisten(&mut self, now: Instant, key: PublicKey) -> Option<OperationId> {
        let operation = self.end_listening(now, key);
        self.settle(now);
        operation
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
        let share = self.share_of_unfinished();
        let Some(entry) = self.links.get_mut(&link) else { return Taken::End };
        match entry.take(now, &mut self.ground.udx, &mut self.scratch) {
            Ok(Taken::End) => {
                let closed = entry.closed;
                if let Some(why) = closed {
                    self.remove_link(now, link, why);
                }
                Taken::End
            }
            Ok(Taken::Nothing) if entry.unread() > share => {
                self.remove_link(now, link, StreamError::FrameTooLong.into());
                Taken::End
            }
            Ok(taken) => taken,
            Err(error) => {
                self.remove_link(now, link, error.into());
                Taken::End
            }
        }
    }

    /// Bytes that an unfinished frame of one connection may take.
    fn share_of_unfinished(&self) -> usize {
        (self.unfinished_max / self.links.len().max(1)).max(UNFINISHED_MIN)
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
        self.send_keep_alive(now, link);
    }

    pub(crate) fn send_keep_alive(&mut self, now: Instant, link: LinkId) {
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

    /// Closes all connections and gives all dials up. Send what follows before the sockets close: peers learn
    /// of it by that.
    pub fn part(&mut self, now: Instant) {
        for circle in self.circles.values_mut() {
            circle.roster.suspend(now);
        }
        self.forget_all_parked(now, DialError::Suspended);
        for id in self.dials.keys().copied().collect::<Vec<_>>() {
            self.step_dial(now, id, |_, _| DialStep::Failed(DialError::Suspended));
        }
        self.servers.clear(now, &mut self.ground);
        self.close_links(now);
    }

    /// Closes all connections; peers are told.
    pub fn close_links(&mut self, now: Instant) {
        for id in self.links.keys().copied().collect::<Vec<_>>() {
            self.remove_link(now, id, LinkError::Closed);
        }
        self.settle(now);
    }

    /// Parts, and closes the sockets. What is announced is announced again after [`Swarm::resume`], and peers are
    /// dialled again.
    pub fn suspend(&mut self, now: Instant) {
        self.part(now);
        self.with_hyper(now, |hyper| hyper.suspend(now));
    }

    /// Asks for the sockets again.
    pub fn resume(&mut self, now: Instant) {
        for circle in self.circles.values_mut() {
            circle.roster.resume(now);
        }
        self.with_hyper(now, |hyper| hyper.resume(now));
    }

    /// Takes the news that the host's network is another one.
    pub fn handle_network_change(&mut self, now: Instant) {
        for circle in self.circles.values_mut() {
            circle.roster.handle_network_change(now);
        }
        self.call_all(now);
        self.with_hyper(now, |hyper| hyper.handle_network_change(now));
    }

    /// Hands news of the lower parts to those that wait for them, until there are none.
    pub(crate) fn settle(&mut self, now: Instant) {
        loop {
            if let Some(event) = self.ground.hyper.poll_event() {
                self.handle_dht(now, event);
            } else if let Some(event) = self.ground.udx.poll_event() {
                self.handle_udx(now, event);
            } else if let Some(want) = self.ground.wants.pop_front() {
                self.fulfil(now, want);
            } else if !self.drive_circles(now) {
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
            dht::Event::Peers { operation, from, peers, .. }
                if self.ground.errands.contains_key(&operation) =>
            {
                match self.ground.errands.get(&operation).copied() {
                    Some(Errand::Find(id)) => {
                        if let Some(dial) = self.dials.get_mut(&id) {
                            dial.handle_found(now, &mut self.ground, from);
                        }
                    }
                    Some(Errand::Refresh(local, topic)) => self.circle_found(now, (local, topic), &peers),
                    Some(Errand::Relays) => self.relays_found(&peers),
                    _ => {}
                }
            }
            dht::Event::Finished { operation, outcome } => match self.ground.errands.remove(&operation) {
                Some(errand) => self.finish_errand(now, (operation, errand), outcome),
                None => self.events.push_back(Event::Dht(dht::Event::Finished { operation, outcome })),
            },
            event => {
                if let dht::Event::Reachable { public_key, relays } = &event {
                    let changed = self.servers.handle_announced(*public_key, relays);
                    if let Some(circle) = self.circles.get_mut(public_key).filter(|_| changed) {
                        // Records that name other relays lead peers nowhere.
                        circle.roster.renew_records(now);
                    }
                }
                if matches!(event, dht::Event::Ready | dht::Event::Reachable { .. }) {
                    self.tend_relays(now);
                    self.announce_relays(now);
                }
                self.events.push_back(Event::Dht(event));
            }
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
            Errand::Lan(id, to) => {
                self.step_dial(now, id, |dial, ground| dial.handle_lan(now, ground, to, &outcome));
            }
            Errand::Punch(id, to) => {
                self.step_dial(now, id, |dial, ground| dial.handle_punch(now, ground, to, &outcome));
            }
            Errand::Sample(holder, socket) => {
                self.with_hole(now, holder, |hole| hole.handle_sample(now, socket, &outcome));
            }
            Errand::Refresh(local, topic) => self.circle_refreshed(now, (local, topic), &outcome),
            Errand::Relays => self.relays_walked(now),
        }
    }

    fn take_server_step(&mut self, now: Instant, step: ServerStep) {
        match step {
            ServerStep::Nothing => {}
            ServerStep::Ask(visitor) => self.events.push_back(Event::Asked(visitor)),
            ServerStep::Connected(birth) => self.accept(now, birth),
        }
    }

    pub(crate) fn accept(&mut self, now: Instant, birth: Box<Birth>) {
        if self.links.len() >= self.links_max {
            self.release_crossing(now, birth.stream);
            return self.ground.udx.destroy(now, birth.stream);
        }
        if birth.relayed.is_none() {
            self.spare_crossing(now, birth.stream);
        }
        if let Some(link) = self.open_link(now, birth) {
            if self.hosts.contains_key(&self.links[&link].local) {
                return self.accept_client(now, link);
            }
            let (opened, begun) = (self.links[&link].opened(), self.links[&link].begun);
            if !self.circle_accepted(now, opened, begun) {
                self.outlast(link);
                self.events.push_back(Event::Accepted(opened));
            }
        }
    }

    fn with_hole(&mut self, now: Instant, holder: Holder, act: impl FnOnce(&mut Hole)) {
        match holder {
            Holder::Dial(id) => self.step_dial(now, id, |dial, ground| dial.with_hole(now, ground, act)),
            Holder::Slot(id) => self.servers.with_hole(now, &mut self.ground, id, act),
        }
    }

    pub(crate) fn step_dial(
        &mut self,
        now: Instant,
        id: DialId,
        step: impl FnOnce(&mut Dial, &mut Ground) -> DialStep,
    ) {
        let Some(dial) = self.dials.get_mut(&id) else { return };
        let result = step(dial, &mut self.ground);
        let (remote, stream, linked) = (dial.remote, dial.stream, dial.link);
        match (result, linked) {
            (DialStep::Going, _) => {}
            (DialStep::Connected(birth), _) => {
                self.end_dial(now, id);
                self.spare_crossing(now, stream);
                self.tell_dialled(now, id, birth);
            }
            (DialStep::Relayed(birth), _) => {
                if let Some(link) = self.tell_dialled(now, id, birth) {
                    self.link_through(now, id, link);
                }
            }
            (DialStep::Found(path, route), Some(link)) => {
                self.end_dial(now, id);
                self.try_path(now, link, (path, route));
            }
            (DialStep::Failed(_), Some(_)) => self.end_dial(now, id),
            // Only a dial whose connection is open gave its session away.
            (DialStep::Found(..), None) => {}
            (DialStep::Failed(error), None) => {
                let again = self.dials.get(&id).and_then(|dial| dial.again(error));
                self.end_dial(now, id);
                self.abandon(now, stream);
                match again {
                    Some(again) => self.dial_again(now, (id, remote), again),
                    None => self.tell_failed(now, (id, remote), error),
                }
            }
        }
    }

    fn tell_dialled(&mut self, now: Instant, id: DialId, birth: Box<Birth>) -> Option<LinkId> {
        let link = self.open_link(now, birth)?;
        let opened = self.links[&link].opened();
        if !self.ferry_dialled(now, id, link) && !self.circle_dialled(now, id, opened) {
            self.outlast(link);
            self.events.push_back(Event::Dialled { dial: id, opened });
        }
        Some(link)
    }

    fn end_dial(&mut self, now: Instant, id: DialId) {
        if let Some(mut dial) = self.dials.remove(&id) {
            dial.end(now, &mut self.ground);
        }
    }

    fn open_link(&mut self, now: Instant, birth: Box<Birth>) -> Option<LinkId> {
        let (stream, path, remote) = (birth.stream, birth.path, birth.remote_stream);
        self.ground.udx.connect(now, stream, path, remote).ok()?;
        self.serial += 1;
        let id = LinkId(self.serial);
        let is_of_relay = self.hosts.contains_key(&birth.session.local())
            || birth.session.local() == self.relays.public_key();
        let config = if is_of_relay {
            StreamConfig { frame_max: RELAY_FRAME_MAX, ..self.stream_config }
        } else {
            self.stream_config
        };
        let link = Link::new(now, &mut self.ground, id, *birth, config);
        // Of a relayed link only the relay's name for the stream leads anywhere.
        if link.moving.is_some() && link.relayed.is_none() {
            self.ground.udx.hear_strangers(stream);
        }
        self.streams.insert(stream, Owner::Link(id));
        self.failures.forgive(&link.remote);
        self.links.insert(id, link);
        self.stats.opened += 1;
        self.set_timer(id);
        Some(id)
    }

    fn handle_udx(&mut self, now: Instant, event: udx::Event) {
        match event {
            udx::Event::PathOffered { stream, path } => self.handle_offered(now, stream, path),
            udx::Event::Readable(stream) => {
                if let Some(Owner::Link(link)) = self.streams.get(&stream).copied() {
                    self.handle_readable(now, link);
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
            udx::Event::PathHeard { stream, path } => self.follow(now, (stream, path), Unacked::Stay),
            udx::Event::PathChanged(stream) => {
                self.note_sign(now, stream, |arrived, _| *arrived = Sign::Seen);
            }
            udx::Event::PathShared(stream) => {
                self.note_sign(now, stream, |_, shared| *shared = Sign::Seen);
            }
            udx::Event::Closed { stream, why } => self.handle_closed(now, stream, why),
            udx::Event::Message(stream) => self.read_notes(now, stream),
            udx::Event::Overheard(stream) => self.read_overheard(now, stream),
            udx::Event::Unanswered(stream) => self.handle_unanswered(now, stream),
            udx::Event::Answered(stream) => self.handle_answered(stream),
            _ => {}
        }
    }

    fn handle_readable(&mut self, now: Instant, link: LinkId) {
        if let Some(ferry) = self.relays.ferry_of(link) {
            return self.read_ferry(now, ferry);
        }
        let Some(local) = self.links.get(&link).map(|link| link.local) else { return };
        if self.hosts.get(&local).is_some_and(|host| host.has_client(link)) {
            return self.read_client(now, local, link);
        }
        self.read_first(now, link);
        self.events.push_back(Event::Readable(link));
    }

    fn handle_offered(&mut self, now: Instant, stream: StreamId, path: Path) {
        match self.streams.get(&stream) {
            Some(Owner::Dial(id)) => {
                let id = *id;
                self.step_dial(now, id, |dial, ground| dial.handle_offered(now, ground, path));
            }
            Some(Owner::Link(id)) => self.consider_path(now, *id, path),
            Some(Owner::Relay(key, link)) => self.bridge_offered(now, (*key, *link), stream, path),
            None => {
                if let Some(birth) = self.servers.handle_offered(now, &mut self.ground, (stream, path)) {
                    self.accept(now, birth);
                }
            }
        }
    }

    /// Takes packets of a link by another path too, where that is likely the peer's: until a frame was authentic,
    /// as both sides may have begun by paths of their own, and afterwards from the host that it has.
    fn consider_path(&mut self, now: Instant, id: LinkId, path: Path) {
        let Some(link) = self.links.get(&id) else { return };
        let is_left = |relayed: &crate::link::Relayed| relayed.stage == crate::link::Stage::Left;
        if link.relayed.as_ref().is_some_and(|relayed| !is_left(relayed)) {
            return self.consider_direct(now, id, path);
        }
        if !link.is_confirmed() || link.path.remote.ip() == path.remote.ip() {
            self.ground.udx.admit(now, link.stream, path);
        } else {
            self.ground.udx.refuse(link.stream, path);
        }
    }

    /// Sends where the peer sends from: its NAT gave it another port, or its way to us is the better one.
    pub(crate) fn follow(&mut self, now: Instant, (stream, path): (StreamId, Path), unacked: Unacked) {
        let Some(Owner::Link(id)) = self.streams.get(&stream) else { return };
        let Some(link) = self.links.get_mut(id).filter(|link| link.path != path) else { return };
        // What comes through the relay, after the change to a direct path, was sent before.
        if link.relayed.as_ref().is_some_and(|relayed| relayed.via.path == path) {
            return;
        }
        let to = (path, link.remote_stream);
        if self.ground.udx.change_path(now, stream, to, unacked).is_ok() {
            if link.path.socket != path.socket {
                self.ground.close_later(now, link.path.socket);
                self.ground.keep_socket(path.socket);
            }
            link.path = path;
        }
    }

    fn handle_closed(&mut self, now: Instant, stream: StreamId, why: CloseReason) {
        let id = match self.streams.get(&stream).copied() {
            Some(Owner::Link(id)) => id,
            Some(Owner::Relay(key, link)) => return self.bridge_closed(now, key, link),
            Some(Owner::Dial(_)) | None => return,
        };
        match why {
            // What is unread can still be taken; the end follows it.
            CloseReason::Finished => {
                if let Some(link) = self.links.get_mut(&id) {
                    link.closed = Some(LinkError::Finished);
                    self.handle_readable(now, id);
                }
            }
            CloseReason::TimedOut => self.remove_link(now, id, LinkError::TimedOut),
            _ => self.remove_link(now, id, LinkError::Reset),
        }
    }

    /// Reads until a frame of the peer was authentic: only then is it certain that it is there.
    fn read_first(&mut self, now: Instant, id: LinkId) {
        let Some(link) = self.links.get_mut(&id).filter(|link| !link.is_confirmed()) else { return };
        let (local, outcome) = (link.local, link.prefetch(now, &mut self.ground.udx, &mut self.scratch));
        match outcome {
            Ok(()) if self.links.get(&id).is_some_and(Link::is_confirmed) => {
                self.circle_confirmed(now, local, id);
            }
            Ok(()) => {}
            Err(error) => self.remove_link(now, id, error.into()),
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
            Ok(()) => {
                self.tell_silence(id);
                self.set_timer(id);
            }
            Err(error) => self.remove_link(now, id, error),
        }
    }

    pub(crate) fn link_of(&self, stream: StreamId) -> Option<LinkId> {
        match self.streams.get(&stream) {
            Some(Owner::Link(id)) => Some(*id),
            Some(Owner::Dial(_) | Owner::Relay(..)) | None => None,
        }
    }

    pub(crate) fn set_timer(&mut self, id: LinkId) {
        match self.links.get(&id).and_then(Link::poll_timeout) {
            Some(at) => self.timers.set(id, at),
            None => self.timers.cancel(id),
        }
    }

    pub(crate) fn remove_link(&mut self, now: Instant, id: LinkId, why: LinkError) {
        let Some(link) = self.links.remove(&id) else { return };
        self.timers.cancel(id);
        self.streams.remove(&link.stream);
        self.ground.udx.destroy(now, link.stream);
        self.ground.close_later(now, link.path.socket);
        self.stats.closed += 1;
        self.release_later(now, link.stream);
        if let Some(ferry) = self.relays.forget_link(id) {
            return self.lose_ferry(now, ferry);
        }
        if self.hosts.get(&link.local).is_some_and(|host| host.has_client(id)) {
            return self.lose_client(now, link.local, id);
        }
        self.events.push_back(Event::Closed { link: id, remote: link.remote, why });
        self.circle_closed(now, link.local, id);
    }
}

fn is_due(deadline: Option<Instant>, now: Instant) -> bool {
    deadline.is_some_and(|at| at <= now)
}
