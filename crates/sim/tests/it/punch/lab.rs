//! Two punchers behind NATs, DHT nodes that show them how they are seen, and a relay between both.
//!
//! The relay and the dialogue are the lab's: as short as the specification's (4.9 and 4.10), since only the punch is
//! under test. What a token proves is modelled by the host that it was made for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use peer::{
    Analysis, LocalReach, PunchCommand, PunchConfig, PunchEvent, Puncher, RemoteNat, Reopening, Side,
    Stability, Strategy, Unpunchable,
};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sim::{Flight, HostId, Latency, Millionths, NatConfig, Net, Path, Realm};
use wire::SocketId;
use wire::hyper::Firewall;

const MS: Duration = Duration::from_millis(1);
/// One way between a host and a node, as in the lab; twice that between two hosts.
const LINK: Duration = Duration::from_millis(20);
const NODES: usize = 12;
const NODE_PORT: u16 = 49737;
const DHT_PORT: u16 = 40_000;
/// When a ping or a request without an answer is given up or repeated.
const PING_TIMEOUT: Duration = Duration::from_secs(1);
const REPEATS: [Duration; 5] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_millis(1000),
    Duration::from_millis(2000),
    Duration::from_millis(3000),
];
const GIVE_UP: Duration = Duration::from_millis(4000);
const STREAM_EVERY: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(45);

/// NATs from a host outwards.
pub(super) type Chain = &'static [NatConfig];

/// One trial.
#[derive(Clone, Copy)]
pub(super) struct Trial {
    pub(super) server: Chain,
    pub(super) client: Chain,
    pub(super) server_config: PunchConfig,
    pub(super) client_config: PunchConfig,
    /// Lost on each link of a host, in each direction, in percent.
    pub(super) loss: u32,
    /// Mappings a second that the rest of each household makes.
    pub(super) noise: u32,
}

impl Trial {
    pub(super) fn new(server: Chain, client: Chain) -> Self {
        let config = PunchConfig::default();
        Self { server, client, server_config: config, client_config: config, loss: 0, noise: 0 }
    }

    /// Returns the time from the begin of the look-up to the open path, if a stream packet came back by it.
    pub(super) fn run(self, seed: u64) -> Result<Opened, Stopped> {
        Lab::new(self, seed).run()
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Opened {
    pub(super) at: Duration,
    pub(super) by: Option<Strategy>,
}

/// Why, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stopped {
    pub(super) why: Why,
    pub(super) at: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Unstable,
    Unpunchable,
    Exhausted,
    NoAnswer,
    NoStream,
}

#[derive(Clone, Debug)]
enum Packet {
    Ping,
    Pong { seen_as: SocketAddrV4 },
    Forward { to: SocketAddrV4, body: Body },
    Forwarded { client: SocketAddrV4, to: SocketAddrV4, body: Body },
    Back { client: SocketAddrV4, body: Body },
    Answer { server: SocketAddrV4, client: SocketAddrV4, body: Body },
    Probe,
    Stream,
    Echo,
}

#[derive(Clone, Debug)]
enum Body {
    Hello,
    Round(Round),
}

#[derive(Clone, Debug)]
struct Round {
    /// Which request this is, or answers.
    request: u32,
    firewall: Firewall,
    addresses: Vec<SocketAddrV4>,
    punching: bool,
    remote_address: Option<SocketAddrV4>,
    token: Option<Ipv4Addr>,
    remote_token: Option<Ipv4Addr>,
}

#[derive(Debug)]
enum Due {
    Arrival(Flight, Packet),
    PingsOver(Side, SocketId),
    Repeat(u32),
    GiveUp(u32),
    Stream,
    Noise(Side),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Greeting,
    Probing,
    Analyzing,
    Announcing,
    Racing,
}

struct Peer {
    host: HostId,
    puncher: Puncher,
    ports: BTreeMap<SocketId, u16>,
    sockets: u16,
    /// Nodes that have not answered, and when the last of them is given up.
    pings: BTreeMap<SocketId, (BTreeSet<SocketAddrV4>, Duration)>,
    pinged: BTreeSet<(SocketId, SocketAddrV4)>,
}

struct Lab {
    trial: Trial,
    net: Net,
    epoch: Instant,
    now: Duration,
    queue: BTreeMap<(Duration, u64), Due>,
    queued: u64,
    nodes: Vec<HostId>,
    rng: StdRng,
    client: Peer,
    server: Option<Peer>,
    server_host: HostId,
    announced: SocketAddrV4,
    server_address: SocketAddrV4,
    token: Option<Ipv4Addr>,
    waiting: Vec<(SocketAddrV4, Round)>,
    step: Step,
    requests: u32,
    request: Option<(SocketId, SocketAddrV4, Body)>,
    rounds_left: u32,
    opened: Option<(SocketId, SocketAddrV4, Opened)>,
}

impl Peer {
    fn new(host: HostId, side: Side, config: PunchConfig, (now, rng): (Instant, &mut StdRng)) -> Self {
        let puncher = Puncher::new(now, side, LocalReach::Unknown, config, rng.random());
        let (ports, pings, pinged) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { host, puncher, ports, sockets: 2, pings, pinged }
    }

    fn socket_of(&self, port: u16) -> Option<SocketId> {
        self.ports.iter().find(|(_, of)| **of == port).map(|(socket, _)| *socket)
    }
}

impl Lab {
    fn new(trial: Trial, seed: u64) -> Self {
        let path = |links: u32, loss| Path {
            latency: Latency::Fixed(LINK * links),
            jitter: MS * links,
            ..Path::INTERNET.with_loss(loss)
        };
        let mut net = Net::new(seed, path(2, Millionths::NEVER));
        let nodes: Vec<HostId> = (0..NODES).map(|_| net.add_host(Realm::Internet)).collect();
        let mut rng = StdRng::seed_from_u64(seed);
        let [server_host, client_host] = [trial.server, trial.client].map(|chain| {
            let mut realm = Realm::Internet;
            let mut outer = None;
            for config in chain.iter().rev() {
                let nat = net.add_nat(realm, *config);
                realm = Realm::Behind(nat);
                outer = outer.or_else(|| Some(net.outer_address(nat)));
            }
            let host = net.add_host(realm);
            let outer = outer.unwrap_or_else(|| net.address(host));
            for node in nodes.iter().map(|node| net.address(*node)).collect::<Vec<_>>() {
                let path = path(1, Millionths::percent(trial.loss));
                net.set_path_between(outer, node, path);
                net.set_path_between(node, outer, path);
            }
            host
        });
        // The server announced itself long ago, through the relay.
        let relay = SocketAddrV4::new(net.address(nodes[0]), NODE_PORT);
        let announced = loop {
            if let Ok(sent) = net.send(Duration::ZERO, (server_host, DHT_PORT), relay, None) {
                break sent.flight.from;
            }
        };
        net.set_path(path(2, Millionths::percent(2 * trial.loss)));
        let epoch = Instant::now();
        let client = Peer::new(client_host, Side::Initiator, trial.client_config, (epoch, &mut rng));
        Self {
            trial,
            net,
            epoch,
            // The look-up has taken one round trip.
            now: 2 * LINK,
            queue: BTreeMap::new(),
            queued: 0,
            nodes,
            rng,
            client,
            server: None,
            server_host,
            announced,
            server_address: announced,
            token: None,
            waiting: Vec::new(),
            step: Step::Greeting,
            requests: 0,
            request: None,
            rounds_left: 2,
            opened: None,
        }
    }

    fn run(mut self) -> Result<Opened, Stopped> {
        self.client.ports.insert(SocketId::CLIENT, DHT_PORT);
        self.ask(SocketId::CLIENT, self.announced, Body::Hello);
        for side in [Side::Initiator, Side::Responder] {
            self.make_noise(side);
        }
        loop {
            let result = self.turn();
            if let Err(why) = result {
                return why.map_or_else(
                    || Ok(self.opened.expect("only an open path ends a trial well").2),
                    |why| Err(Stopped { why, at: self.now }),
                );
            }
        }
    }

    /// Does what is next; an error of `None` is success.
    fn turn(&mut self) -> Result<(), Option<Why>> {
        self.drain(Side::Responder)?;
        self.drain(Side::Initiator)?;
        let timers = [Some(&self.client), self.server.as_ref()].map(|peer| peer?.puncher.poll_timeout());
        let timer = timers.into_iter().flatten().min().map(|at| at.saturating_duration_since(self.epoch));
        let next = self.queue.keys().next().map(|(at, _)| *at);
        let at = timer.into_iter().chain(next).min().ok_or(Why::NoAnswer)?;
        self.now = self.now.max(at);
        if self.now > PATIENCE {
            let opened = self.opened.is_some();
            return Err(Some(if opened { Why::NoStream } else { Why::Exhausted }));
        }
        if timer == Some(at) {
            let now = self.instant();
            self.client.puncher.handle_timeout(now);
            if let Some(server) = &mut self.server {
                server.puncher.handle_timeout(now);
            }
            return Ok(());
        }
        let (_, due) = self.queue.pop_first().expect("it is the next");
        match due {
            Due::Arrival(flight, packet) => self.arrive(&flight, packet),
            Due::PingsOver(side, socket) => {
                self.end_pings(side, socket);
                Ok(())
            }
            Due::GiveUp(of) if of == self.requests => Err(Some(Why::NoAnswer)),
            Due::GiveUp(_) => Ok(()),
            Due::Repeat(of) => {
                if of == self.requests {
                    self.repeat();
                }
                Ok(())
            }
            Due::Stream => {
                let (socket, remote, _) = self.opened.expect("the stream begins with the path");
                self.send((Side::Initiator, socket), remote, None, Packet::Stream);
                self.push(STREAM_EVERY, Due::Stream);
                Ok(())
            }
            Due::Noise(side) => {
                self.make_noise(side);
                Ok(())
            }
        }
    }

    fn drain(&mut self, side: Side) -> Result<(), Option<Why>> {
        loop {
            let Some(peer) = self.peer(side) else { return Ok(()) };
            if let Some(command) = peer.puncher.poll_command() {
                self.obey(side, command);
            } else if let Some(probe) = peer.puncher.poll_transmit() {
                self.send((side, probe.from), probe.to, probe.ttl, Packet::Probe);
            } else if let Some(event) = peer.puncher.poll_event() {
                match (side, event) {
                    (Side::Initiator, PunchEvent::Analyzed) => self.advance()?,
                    (Side::Responder, PunchEvent::Analyzed) => self.answer_waiting()?,
                    (_, PunchEvent::Opened { socket, remote }) => {
                        let by = self.server.as_ref().and_then(|server| server.puncher.strategy().ok());
                        self.opened = Some((socket, remote, Opened { at: self.now, by }));
                        self.push(Duration::ZERO, Due::Stream);
                    }
                    (Side::Responder, PunchEvent::Failed(_)) => {}
                    (Side::Initiator, PunchEvent::Failed(_)) => return Err(Some(Why::Exhausted)),
                }
            } else {
                return Ok(());
            }
        }
    }

    fn obey(&mut self, side: Side, command: PunchCommand) {
        let (now, until) = (self.instant(), self.now + PING_TIMEOUT);
        let port = self.rng.random_range(1024..=u16::MAX);
        let nodes: Vec<SocketAddrV4> = self.nodes.iter().map(|node| self.node_address(*node)).collect();
        let peer = self.peer(side).expect("it spoke");
        match command {
            PunchCommand::Open => {
                let socket = SocketId(peer.sockets);
                peer.sockets += 1;
                peer.ports.insert(socket, port);
                peer.puncher.handle_opened(now, socket);
            }
            PunchCommand::Close(socket) => {
                peer.ports.remove(&socket);
            }
            PunchCommand::Sample { socket, count, .. } => {
                let fresh = nodes.into_iter().skip(1).filter(|node| peer.pinged.insert((socket, *node)));
                let chosen: Vec<SocketAddrV4> = fresh.take(count).collect();
                let (waits, over) = peer.pings.entry(socket).or_default();
                waits.extend(&chosen);
                *over = until;
                for node in chosen {
                    self.send((side, socket), node, None, Packet::Ping);
                }
                self.push(PING_TIMEOUT, Due::PingsOver(side, socket));
            }
        }
    }

    fn end_pings(&mut self, side: Side, socket: SocketId) {
        let (at, now) = (self.now, self.instant());
        if let Some(peer) = self.peer(side)
            && peer.pings.get(&socket).is_some_and(|(_, until)| *until <= at)
        {
            peer.puncher.handle_sampling_ended(now, socket);
        }
    }

    fn arrive(&mut self, flight: &Flight, packet: Packet) -> Result<(), Option<Why>> {
        let Ok(arrival) = self.net.arrive(self.now, flight) else { return Ok(()) };
        if let Some(node) = self.nodes.iter().find(|node| **node == arrival.host).copied() {
            self.relay_on(node, arrival.from, packet);
            return Ok(());
        }
        let side = if arrival.host == self.server_host { Side::Responder } else { Side::Initiator };
        let now = self.instant();
        if side == Side::Responder && self.server.is_none() {
            let config = self.trial.server_config;
            self.server = Some(Peer::new(arrival.host, side, config, (now, &mut self.rng)));
            self.drain(side)?;
        }
        let relay = self.relay();
        let peer = self.peer(side).expect("it is there by now");
        let socket = peer.socket_of(arrival.port);
        match (packet, socket) {
            (Packet::Pong { seen_as }, Some(socket)) => {
                peer.puncher.handle_sample(now, socket, arrival.from, seen_as);
                let (waits, _) = peer.pings.entry(socket).or_default();
                if waits.remove(&arrival.from) && waits.is_empty() {
                    peer.puncher.handle_sampling_ended(now, socket);
                }
                Ok(())
            }
            (Packet::Probe, Some(socket)) => {
                peer.puncher.handle_probe(now, socket, arrival.from);
                Ok(())
            }
            (Packet::Stream, Some(socket)) => {
                peer.puncher.settle_on(now, socket);
                self.send((side, socket), arrival.from, None, Packet::Echo);
                Ok(())
            }
            (Packet::Echo, Some(_)) => Err(None),
            (Packet::Forwarded { client, to, body }, socket) => {
                if let Some(socket) = socket {
                    peer.puncher.handle_sample(now, socket, relay, to);
                }
                self.serve(client, body)
            }
            (Packet::Answer { server, client, body }, Some(socket)) => {
                peer.puncher.handle_sample(now, socket, relay, client);
                self.take_answer(server, body)
            }
            _ => Ok(()),
        }
    }

    /// What a node does with a packet.
    fn relay_on(&mut self, node: HostId, from: SocketAddrV4, packet: Packet) {
        let (to, packet) = match packet {
            Packet::Ping => (from, Packet::Pong { seen_as: from }),
            Packet::Forward { to, body } => (to, Packet::Forwarded { client: from, to, body }),
            Packet::Back { client, body } => (client, Packet::Answer { server: from, client, body }),
            _ => return,
        };
        self.send_from((node, NODE_PORT), to, None, packet);
    }

    fn serve(&mut self, client: SocketAddrV4, body: Body) -> Result<(), Option<Why>> {
        match body {
            Body::Hello => {
                self.reply(client, Body::Hello);
                Ok(())
            }
            Body::Round(round) => {
                self.waiting.push((client, round));
                self.answer_waiting()
            }
        }
    }

    /// The server's side of a round (4.10), once its own NAT is known.
    fn answer_waiting(&mut self) -> Result<(), Option<Why>> {
        let now = self.instant();
        let Some(server) = &mut self.server else { return Ok(()) };
        let puncher = &mut server.puncher;
        for (client, round) in std::mem::take(&mut self.waiting) {
            let verified = round.remote_token.filter(|token| token == client.ip());
            let (firewall, addresses) = (round.firewall, &round.addresses[..]);
            puncher.update_remote(now, RemoteNat { firewall, addresses, punching: round.punching, verified });
            match puncher.analyzed() {
                Analysis::Pending => {
                    self.waiting.push((client, round));
                    continue;
                }
                Analysis::Done { stability: Stability::Unstable, .. } if !round.punching => {
                    if puncher.reopen(now) == Reopening::Started {
                        self.waiting.push((client, round));
                        continue;
                    }
                    return Err(Some(Why::Unstable));
                }
                Analysis::Done { .. } => {}
            }
            if let Some(address) = round.remote_address {
                puncher.answer_opening(now, client, address);
            }
            match if round.punching { puncher.punch(now) } else { Ok(()) } {
                Ok(()) => {}
                // The stream came before the message.
                Err(Unpunchable::Over) => continue,
                Err(_) => return Err(Some(Why::Unpunchable)),
            }
            puncher.freeze();
            let answer = Round {
                request: round.request,
                firewall: puncher.firewall(),
                addresses: puncher.addresses().to_vec(),
                punching: puncher.is_punching(),
                remote_address: None,
                token: Some(*client.ip()),
                remote_token: round.token,
            };
            self.reply(client, Body::Round(answer));
            return self.answer_waiting();
        }
        Ok(())
    }

    fn reply(&mut self, client: SocketAddrV4, body: Body) {
        let relay = self.relay();
        let from = self.server.as_ref().and_then(|server| server.puncher.socket());
        let from = from.expect("its socket was opened when it was born");
        self.send((Side::Responder, from), relay, None, Packet::Back { client, body });
    }

    /// The client's side of the dialogue (4.9).
    fn take_answer(&mut self, server: SocketAddrV4, body: Body) -> Result<(), Option<Why>> {
        let now = self.instant();
        match (self.step, body) {
            (Step::Greeting, Body::Hello) => {
                self.server_address = server;
                self.drain(Side::Initiator)?;
                self.client.puncher.fast_open(now, server);
                self.step = Step::Probing;
                self.ask_round();
                Ok(())
            }
            (Step::Probing, Body::Round(round)) if round.request == self.requests => {
                self.take_round(&round, None);
                self.token = round.token;
                if self.server_address != server {
                    self.server_address = server;
                    self.client.puncher.fast_open(now, server);
                }
                self.step = Step::Analyzing;
                self.requests += 1;
                self.advance()
            }
            (Step::Announcing, Body::Round(round)) if round.request == self.requests => {
                let verified = round.remote_token.filter(|token| token == self.server_address.ip());
                self.take_round(&round, verified);
                self.step = Step::Racing;
                self.requests += 1;
                if self.opened.is_none() && self.client.puncher.punch(now).is_err() {
                    return Err(Some(Why::Unpunchable));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn take_round(&mut self, round: &Round, verified: Option<Ipv4Addr>) {
        let (firewall, addresses) = (round.firewall, &round.addresses[..]);
        let remote = RemoteNat { firewall, addresses, punching: round.punching, verified };
        let now = self.instant();
        self.client.puncher.update_remote(now, remote);
    }

    /// Goes on once both NATs are known.
    fn advance(&mut self) -> Result<(), Option<Why>> {
        let now = self.instant();
        if self.step != Step::Analyzing || self.opened.is_some() {
            return Ok(());
        }
        match self.client.puncher.analyzed() {
            Analysis::Pending => Ok(()),
            Analysis::Done { stability: Stability::Unstable, .. } => match self.client.puncher.reopen(now) {
                Reopening::Started => Ok(()),
                Reopening::Exhausted => Err(Some(Why::Unstable)),
            },
            Analysis::Done { .. } if self.client.puncher.remote_firewall() == Firewall::Unknown => {
                self.rounds_left = self.rounds_left.checked_sub(1).ok_or(Why::NoAnswer)?;
                self.step = Step::Probing;
                self.ask_round();
                Ok(())
            }
            Analysis::Done { .. } => {
                self.client.puncher.freeze();
                self.step = Step::Announcing;
                self.ask_round();
                Ok(())
            }
        }
    }

    fn ask_round(&mut self) {
        let punching = self.step == Step::Announcing;
        let puncher = &self.client.puncher;
        let round = Round {
            request: self.requests + 1,
            firewall: puncher.firewall(),
            addresses: puncher.addresses().to_vec(),
            punching,
            remote_address: (!punching).then_some(self.server_address),
            token: punching.then_some(*self.server_address.ip()),
            remote_token: self.token,
        };
        let to = if punching { self.server_address } else { self.announced };
        let socket = puncher.socket().expect("it was opened at once");
        self.ask(socket, to, Body::Round(round));
    }

    fn ask(&mut self, socket: SocketId, to: SocketAddrV4, body: Body) {
        self.requests += 1;
        self.request = Some((socket, to, body));
        self.repeat();
        for after in REPEATS {
            self.push(after, Due::Repeat(self.requests));
        }
        self.push(GIVE_UP, Due::GiveUp(self.requests));
    }

    fn repeat(&mut self) {
        if let Some((socket, to, body)) = self.request.clone() {
            self.send((Side::Initiator, socket), self.relay(), None, Packet::Forward { to, body });
        }
    }

    fn make_noise(&mut self, side: Side) {
        if self.trial.noise == 0 {
            return;
        }
        let host = if side == Side::Initiator { self.client.host } else { self.server_host };
        let to = SocketAddrV4::new(self.net.address(self.nodes[1]), self.rng.random_range(1..NODE_PORT));
        // It is lost at a port that nobody has; its mapping stays.
        self.net.send(self.now, (host, DHT_PORT + 1), to, None).ok();
        let mean = Duration::from_secs(1) / self.trial.noise;
        let after = self.rng.random_range(Duration::ZERO..2 * mean);
        self.push(after, Due::Noise(side));
    }

    fn send(&mut self, (side, socket): (Side, SocketId), to: SocketAddrV4, ttl: Option<u8>, packet: Packet) {
        let Some(peer) = self.peer(side) else { return };
        let Some(port) = peer.ports.get(&socket) else { return };
        let from = (peer.host, *port);
        self.send_from(from, to, ttl, packet);
    }

    fn send_from(&mut self, from: (HostId, u16), to: SocketAddrV4, ttl: Option<u8>, packet: Packet) {
        if let Ok(sent) = self.net.send(self.now, from, to, ttl) {
            self.push(sent.flight.arrives.saturating_sub(self.now), Due::Arrival(sent.flight, packet));
        }
    }

    fn push(&mut self, after: Duration, due: Due) {
        self.queued += 1;
        self.queue.insert((self.now + after, self.queued), due);
    }

    fn peer(&mut self, side: Side) -> Option<&mut Peer> {
        match side {
            Side::Initiator => Some(&mut self.client),
            Side::Responder => self.server.as_mut(),
        }
    }

    fn relay(&self) -> SocketAddrV4 {
        self.node_address(self.nodes[0])
    }

    fn node_address(&self, node: HostId) -> SocketAddrV4 {
        SocketAddrV4::new(self.net.address(node), NODE_PORT)
    }

    fn instant(&self) -> Instant {
        self.epoch + self.now
    }
}
