//! Whole nodes on a network in memory: connections from the first message to the end, in virtual time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dht::{AssumedFirewall, Command, Standing};
use peer::StreamError;
use swarm::{
    Config, DialOptions, Event, Identity, LinkError, LinkId, ListenOptions, Opened, Pulse, Route, Swarm,
    Taken, Way,
};
use wire::{PublicKey, SocketId};

/// One way between any two hosts, unless a test says otherwise.
const DELAY: Duration = Duration::from_millis(20);

/// A NAT that lets in only what was sent to.
#[derive(Debug, Default)]
pub(crate) struct Nat {
    pub(crate) mapping: Mapping,
    /// Outer ports by inner port and, where they depend on it, destination; with whom was sent to.
    table: BTreeMap<(u16, Option<SocketAddrV4>), (u16, BTreeSet<SocketAddrV4>)>,
    drawn: u64,
}

/// Whether each destination sees another port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mapping {
    #[default]
    Same,
    Random,
}

impl Nat {
    pub(crate) fn new(mapping: Mapping) -> Self {
        Self { mapping, ..Self::default() }
    }

    fn outbound(&mut self, inner: u16, to: SocketAddrV4) -> u16 {
        let key = (inner, (self.mapping == Mapping::Random).then_some(to));
        let next = &mut self.drawn;
        let (outer, peers) = self.table.entry(key).or_insert_with(|| {
            // A full period over the ports, in no order that anybody would guess.
            *next = (*next * 48_271 + 11) % 64_000;
            (u16::try_from(1_024 + *next).expect("below 65,024"), BTreeSet::new())
        });
        peers.insert(to);
        *outer
    }

    fn inbound(&self, from: SocketAddrV4, outer: u16) -> Option<u16> {
        let mut open = self.table.iter().filter(|(_, (port, peers))| *port == outer && peers.contains(&from));
        open.next().map(|((inner, _), _)| *inner)
    }
}

pub(crate) struct Host {
    pub(crate) swarm: Swarm,
    pub(crate) ip: Ipv4Addr,
    sockets: BTreeMap<SocketId, u16>,
    ports: u16,
    pub(crate) events: VecDeque<Event>,
    pub(crate) nat: Option<Nat>,
    /// The host's NAT forgot these ports and shows others in their place.
    moved: BTreeMap<u16, u16>,
    /// Ports that its NAT shows to each destination of each of its ports, if it draws them.
    drawn: Option<BTreeMap<(u16, SocketAddrV4), u16>>,
    /// Where it sent to, if its NAT lets nobody else in.
    met: Option<BTreeSet<SocketAddrV4>>,
    /// Nothing leaves it, and nothing arrives.
    is_away: bool,
    /// How much longer than others' its datagrams are under way.
    slowness: Duration,
}

pub(crate) struct Street {
    pub(crate) now: Instant,
    pub(crate) hosts: Vec<Host>,
    unfinished_max: usize,
    /// One way between any two hosts.
    pub(crate) delay: Duration,
    /// No packet passes straight between these two before then.
    pub(crate) barred: Option<(usize, usize, Instant)>,
    flying: VecDeque<(Instant, SocketAddrV4, SocketAddrV4, Vec<u8>)>,
}

impl Street {
    #[expect(clippy::disallowed_methods, reason = "a test needs an origin to count from")]
    pub(crate) fn new() -> Self {
        let mut street = Self {
            now: Instant::now(),
            hosts: Vec::new(),
            unfinished_max: 256 << 20,
            delay: DELAY,
            barred: None,
            flying: VecDeque::new(),
        };
        street.add(dht::Config::bootstrapper(SocketAddrV4::new(Ipv4Addr::new(10, 1, 0, 1), 1000)));
        for _ in 0..5 {
            let config = street.config(AssumedFirewall::Open, Standing::Persistent);
            street.add(config);
            street.run(Duration::from_secs(2));
        }
        street
    }

    fn config(&self, firewall: AssumedFirewall, standing: Standing) -> dht::Config {
        let bootstrap = vec![SocketAddrV4::new(self.hosts[0].ip, 1000)];
        let host = Ipv4Addr::UNSPECIFIED;
        dht::Config { host, port: 1000, firewall, standing, ..dht::Config::testnet(bootstrap) }
    }

    /// A host that is reached through others only.
    pub(crate) fn add_firewalled(&mut self) -> usize {
        self.add_behind(None)
    }

    /// A host that is reached by nobody, behind a NAT if there is one.
    pub(crate) fn add_behind(&mut self, mapping: Option<Mapping>) -> usize {
        let config = self.config(AssumedFirewall::ClosedUntested, Standing::Ephemeral);
        let index = self.add_with(config, mapping.map(Nat::new));
        self.run(Duration::from_secs(2));
        index
    }

    fn add(&mut self, config: dht::Config) -> usize {
        self.add_with(config, None)
    }

    /// A host that everybody reaches.
    pub(crate) fn add_open(&mut self) -> usize {
        let config = self.config(AssumedFirewall::Open, Standing::Ephemeral);
        let index = self.add(config);
        self.run(Duration::from_secs(2));
        index
    }

    fn add_with(&mut self, config: dht::Config, nat: Option<Nat>) -> usize {
        let number = u8::try_from(self.hosts.len() + 1).expect("a street of a few hosts");
        let config = Config { unfinished_max: self.unfinished_max, ..Config::new(config) };
        let swarm = Swarm::new(config, [number; 32], self.now);
        let ip = Ipv4Addr::new(10, number, 0, 1);
        let (sockets, events, moved) = (BTreeMap::new(), VecDeque::new(), BTreeMap::new());
        let (drawn, met, slowness, is_away) = (None, None, Duration::ZERO, false);
        let ports = 1000;
        self.hosts.push(Host {
            swarm,
            ip,
            sockets,
            ports,
            events,
            nat,
            moved,
            drawn,
            met,
            is_away,
            slowness,
        });
        self.drain(self.hosts.len() - 1);
        self.hosts.len() - 1
    }

    /// Changes a machine, and does what follows.
    pub(crate) fn with<T>(&mut self, host: usize, change: impl FnOnce(&mut Swarm, Instant) -> T) -> T {
        let result = change(&mut self.hosts[host].swarm, self.now);
        self.drain(host);
        result
    }

    fn drain(&mut self, index: usize) {
        let now = self.now;
        let host = &mut self.hosts[index];
        while let Some(command) = host.swarm.poll_command() {
            match command {
                Command::Open { socket, .. } => {
                    host.sockets.insert(socket, host.ports);
                    let local = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, host.ports);
                    host.ports += 1;
                    host.swarm.handle_opened(now, socket, local);
                }
                Command::Close(socket) => drop(host.sockets.remove(&socket)),
                // Nobody names hosts here.
                _ => {}
            }
        }
        let mut buf = Vec::new();
        while let Some(transmit) = host.swarm.poll_transmit(now, &mut buf) {
            let (Some(port), SocketAddr::V4(to)) = (host.sockets.get(&transmit.from), transmit.to) else {
                continue;
            };
            let mut shown = *host.moved.get(port).unwrap_or(port);
            if let Some(drawn) = &mut host.drawn {
                let place = u16::try_from(drawn.len()).expect("a few hundred destinations");
                shown = *drawn
                    .entry((*port, to))
                    .or_insert_with(|| 20_000 + 7919_u16.wrapping_mul(place) % 40_000);
            }
            if let Some(met) = &mut host.met {
                met.insert(to);
            }
            if let Some(nat) = &mut host.nat {
                shown = nat.outbound(shown, to);
            }
            // What dies on the way has opened the NAT.
            if transmit.ttl.is_none() && !host.is_away {
                let at = now + self.delay + host.slowness;
                let place = self.flying.partition_point(|(other, ..)| *other <= at);
                self.flying.insert(place, (at, SocketAddrV4::new(host.ip, shown), to, buf.clone()));
            }
        }
        while let Some(event) = host.swarm.poll_event() {
            host.events.push_back(event);
        }
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let due = |host: &Host| host.swarm.poll_timeout();
            let timer = (0..self.hosts.len()).filter_map(|i| Some((due(&self.hosts[i])?, i))).min();
            let packet = self.flying.front().map(|(at, ..)| *at);
            match (timer, packet) {
                (timer, Some(at)) if at <= end && timer.is_none_or(|(due, _)| at <= due) => self.deliver(at),
                (Some((at, index)), _) if at <= end => {
                    self.now = self.now.max(at);
                    self.with(index, Swarm::handle_timeout);
                }
                _ => break,
            }
        }
        self.now = end;
    }

    fn deliver(&mut self, at: Instant) {
        self.now = self.now.max(at);
        let Some((_, from, to, bytes)) = self.flying.pop_front() else { return };
        let Some(index) = self.hosts.iter().position(|host| host.ip == *to.ip()) else { return };
        if let Some((one, other, until)) = self.barred
            && self.now < until
            && [[one, other], [other, one]].contains(&[index, self.host_at(*from.ip())])
        {
            return;
        }
        let host = &self.hosts[index];
        if host.is_away || host.met.as_ref().is_some_and(|met| !met.contains(&from)) {
            return;
        }
        let outer = to.port();
        let Some(port) = host.nat.as_ref().map_or(Some(outer), |nat| nat.inbound(from, outer)) else {
            return;
        };
        let to = SocketAddrV4::new(*to.ip(), port);
        let hidden = host.moved.iter().find(|(_, shown)| **shown == to.port()).map(|(port, _)| *port);
        let drawn = host.drawn.iter().flatten().find(|(_, shown)| **shown == to.port());
        // A port that was given up leads nowhere.
        let port = drawn
            .map(|((port, _), _)| *port)
            .or(hidden)
            .or_else(|| (!host.moved.contains_key(&to.port())).then(|| to.port()));
        let socket = host.sockets.iter().find(|(_, bound)| Some(**bound) == port).map(|(socket, _)| *socket);
        if let Some(socket) = socket {
            self.with(index, |swarm, now| swarm.handle_datagram(now, from.into(), socket, &bytes));
        }
    }

    fn host_at(&self, ip: Ipv4Addr) -> usize {
        self.hosts.iter().position(|host| host.ip == ip).expect("packets come from hosts")
    }

    pub(crate) fn opened(&mut self, host: usize) -> Option<Opened> {
        self.hosts[host].events.iter().rev().find_map(|event| match event {
            Event::Dialled { opened, .. } | Event::Accepted(opened) => Some(*opened),
            _ => None,
        })
    }

    pub(crate) fn closed(&self, host: usize) -> Option<LinkError> {
        self.hosts[host].events.iter().find_map(|event| match event {
            Event::Closed { why, .. } => Some(*why),
            _ => None,
        })
    }

    fn pulses(&self, host: usize) -> Vec<Pulse> {
        self.hosts[host].swarm.survey().links.iter().map(|link| link.pulse).collect()
    }

    fn serve(&mut self, host: usize) -> PublicKey {
        self.serve_with(host, ListenOptions::default())
    }

    pub(crate) fn serve_with(&mut self, host: usize, options: ListenOptions) -> PublicKey {
        let key = Arc::new(Identity::from_seed([91; 32]));
        let public = key.public_key();
        self.with(host, |swarm, now| swarm.listen(now, key, options));
        self.run(Duration::from_secs(2));
        public
    }

    /// Runs until a host has a frame to take, for a minute at most, and tells how long that took.
    fn wait_for_frame(&mut self, host: usize, link: LinkId) -> (Duration, Vec<u8>) {
        let begun = self.now;
        loop {
            self.run(Duration::from_millis(5));
            if let Taken::Frame(frame) = self.take(host, link) {
                return (self.now - begun, frame);
            }
            assert!(self.now < begun + Duration::from_secs(60), "no frame came within a minute");
        }
    }

    pub(crate) fn send(&mut self, host: usize, link: LinkId, frame: &[u8]) {
        self.with(host, |swarm, now| swarm.send(now, link, frame)).expect("there is room");
    }

    pub(crate) fn take(&mut self, host: usize, link: LinkId) -> Taken {
        self.with(host, |swarm, now| swarm.take(now, link))
    }
}

/// Two hosts that nobody reaches directly, connected: the server's end and the client's.
fn pair() -> (Street, (usize, LinkId), (usize, LinkId)) {
    pair_with(256 << 20)
}

fn pair_with(unfinished_max: usize) -> (Street, (usize, LinkId), (usize, LinkId)) {
    let mut street = Street::new();
    street.unfinished_max = unfinished_max;
    let (server, client) = (street.add_firewalled(), street.add_firewalled());
    let remote = street.serve(server);
    let own = Arc::new(Identity::from_seed([92; 32]));
    street.with(client, |swarm, now| swarm.dial(now, remote, &own, DialOptions::default()));
    street.run(Duration::from_secs(2));
    let here = street.opened(client).expect("the dial succeeds");
    let there = street.opened(server).expect("the server accepts");
    assert_eq!((here.route, there.route), (Route::Punched, Route::Punched));
    (street, (server, there.link), (client, here.link))
}

#[test]
fn two_hosts_that_nobody_reaches_punch_and_exchange_frames() {
    let (mut street, (server, there), (client, here)) = pair();
    street.send(client, here, b"hello");
    street.run(Duration::from_millis(100));
    assert_eq!(street.take(server, there), Taken::Frame(b"hello".to_vec()));
    street.send(server, there, b"hello back");
    street.run(Duration::from_millis(100));
    assert_eq!(street.take(client, here), Taken::Frame(b"hello back".to_vec()));
}

#[test]
fn a_peer_whose_router_gave_it_another_port_keeps_its_connection() {
    let (mut street, (server, there), (client, here)) = pair();
    street.send(client, here, b"before");
    street.run(Duration::from_secs(1));
    assert_eq!(street.take(server, there), Taken::Frame(b"before".to_vec()));
    let ports: Vec<u16> = street.hosts[client].sockets.values().copied().collect();
    street.hosts[client].moved = ports.into_iter().map(|port| (port, port + 20_000)).collect();
    street.send(client, here, b"after");
    street.run(Duration::from_secs(1));
    assert_eq!(street.take(server, there), Taken::Frame(b"after".to_vec()));
    // Longer than sockets and streams that are over linger.
    street.run(Duration::from_secs(40));
    street.send(server, there, b"still here");
    street.run(Duration::from_secs(1));
    assert_eq!(street.take(client, here), Taken::Frame(b"still here".to_vec()));
    assert_eq!((street.closed(server), street.closed(client)), (None, None));
}

/// Messages about hole punches that are on their way from a host, each by its bytes.
fn punch_messages(street: &Street, host: usize) -> Vec<&[u8]> {
    let ip = street.hosts[host].ip;
    let sent = street.flying.iter().filter(|(_, from, ..)| *from.ip() == ip).map(|(.., bytes)| &bytes[..]);
    sent.filter(|bytes| {
        wire::Request::decode(bytes).is_ok_and(|request| request.command == wire::hyper::PEER_HOLEPUNCH)
    })
    .collect()
}

#[test]
fn the_message_that_begins_a_random_punch_is_not_repeated_while_the_server_opens_its_sockets() {
    let mut street = Street::new();
    let (server, client) = (street.add_firewalled(), street.add_firewalled());
    let remote = street.serve(server);
    street.hosts[server].drawn = Some(BTreeMap::new());
    street.hosts[client].met = Some(BTreeSet::new());
    let own = Arc::new(Identity::from_seed([92; 32]));
    street.with(client, |swarm, now| swarm.dial(now, remote, &own, DialOptions::default()));
    let mut seen: Vec<Vec<u8>> = Vec::new();
    for _ in 0..100 {
        street.run(DELAY);
        seen.extend(punch_messages(&street, client).into_iter().map(<[u8]>::to_vec));
        if seen.len() == 2 {
            // The reference opens 256 sockets now; on a busy machine its answer comes that much later.
            street.hosts[server].slowness = Duration::from_millis(500);
        }
    }
    assert_eq!(seen.len(), 2, "the client asks once and tells once");
    assert_ne!(seen[0], seen[1]);
}

#[test]
fn a_survey_counts_punches_as_the_reference_does_and_tells_how_each_hole_was_opened() {
    // Two steady sides: the reference's own run of this counts nothing, as the first probes meet before a punch begins.
    let (mut street, (server, _), (client, link)) = pair();
    for host in [server, client] {
        let survey = street.with(host, |swarm, _| swarm.survey());
        let punches = survey.punches;
        assert_eq!((punches.consistent, punches.random, punches.open), (0, 0, 0), "{punches:?}");
        let links: Vec<_> = survey.links.iter().map(|link| (link.opened.route, link.way)).collect();
        assert_eq!(links, [(Route::Punched, Some(Way::Opening))]);
        assert_eq!((survey.stats.opened, survey.stats.closed, survey.dials.len()), (1, 0, 0));
    }
    let told = street.with(client, |swarm, _| swarm.survey()).links[0].opened.link;
    assert_eq!(told, link);

    // One side with changing ports: both begin one random punch.
    let mut street = Street::new();
    let (server, client) = (street.add_behind(Some(Mapping::Random)), street.add_behind(Some(Mapping::Same)));
    let remote = street.serve(server);
    street.run(Duration::from_secs(2));
    let own = Arc::new(Identity::from_seed([92; 32]));
    street.with(client, |swarm, now| swarm.dial(now, remote, &own, DialOptions::default()));
    street.run(Duration::from_secs(20));
    for host in [server, client] {
        let survey = street.with(host, |swarm, _| swarm.survey());
        assert_eq!((survey.punches.consistent, survey.punches.random, survey.punches.open), (0, 1, 0));
        assert_eq!(survey.links.iter().map(|link| link.way).collect::<Vec<_>>(), [Some(Way::Random)]);
    }
}

#[test]
fn a_peer_that_roams_to_another_network_is_followed_within_a_second_though_it_does_not_know_that_it_moved() {
    let (mut street, (server, there), (client, here)) = pair();
    street.run(Duration::from_secs(3));
    street.hosts[client].ip = Ipv4Addr::new(10, 200, 0, 1);
    street.send(client, here, b"from elsewhere");
    let (took, frame) = street.wait_for_frame(server, there);
    assert_eq!(frame, b"from elsewhere");
    assert!(took < Duration::from_secs(1), "{took:?}");
    street.send(server, there, b"to elsewhere");
    let (took, frame) = street.wait_for_frame(client, here);
    assert_eq!(frame, b"to elsewhere");
    assert!(took < Duration::from_millis(100), "{took:?}");
    street.run(Duration::from_secs(60));
    assert_eq!((street.closed(server), street.closed(client)), (None, None));
}

#[test]
fn a_peer_that_knows_that_it_roamed_gets_what_is_sent_to_it_within_a_quarter_of_a_second() {
    let (mut street, (server, there), (client, here)) = pair();
    street.run(Duration::from_secs(3));
    street.hosts[client].ip = Ipv4Addr::new(10, 200, 0, 1);
    street.send(server, there, b"too late for the old address");
    street.with(client, Swarm::handle_network_change);
    let (took, _) = street.wait_for_frame(client, here);
    // Three ways of the exchange and one of the frame, each 20 ms.
    assert!(took < Duration::from_millis(250), "{took:?}");
    let address = street.hosts[server].events.iter().find_map(|event| match event {
        Event::Rerouted { course, .. } => Some(course.address.ip()),
        _ => None,
    });
    assert_eq!(address, Some(Ipv4Addr::new(10, 200, 0, 1).into()));
}

#[test]
fn a_link_that_is_away_for_forty_seconds_resumes_half_a_second_after_its_return() {
    let (mut street, (server, there), (client, here)) = pair();
    street.run(Duration::from_secs(3));
    let cut = street.now;
    street.hosts[client].is_away = true;
    street.send(client, here, b"into the void");
    let stalled = |street: &Street, host: usize| {
        street.hosts[host].events.iter().any(|event| matches!(event, Event::Stalled(_)))
    };
    while !(stalled(&street, server) && stalled(&street, client)) {
        street.run(Duration::from_millis(100));
        assert!(street.now - cut <= Duration::from_secs(19), "silence of 18 s is a stall");
    }
    assert!(street.now - cut > Duration::from_secs(12), "a pause is no stall");
    assert_eq!(street.pulses(server), [Pulse::Stalled]);
    street.run(Duration::from_secs(40).saturating_sub(street.now - cut));
    street.hosts[client].is_away = false;
    let (took, frame) = street.wait_for_frame(server, there);
    assert_eq!(frame, b"into the void");
    assert!(took <= Duration::from_millis(500), "{took:?}");
    street.run(Duration::from_secs(1));
    assert_eq!((street.pulses(server), street.pulses(client)), (vec![Pulse::Heard], vec![Pulse::Heard]));
    street.send(server, there, b"welcome back");
    let (took, _) = street.wait_for_frame(client, here);
    assert!(took <= Duration::from_millis(100), "{took:?}");
}

#[test]
fn a_peer_that_is_silent_for_five_minutes_is_gone() {
    let (mut street, (server, _), (client, _)) = pair();
    street.hosts[client].is_away = true;
    street.run(Duration::from_secs(290));
    assert_eq!(street.closed(server), None);
    street.run(Duration::from_secs(30));
    assert_eq!(street.closed(server), Some(LinkError::TimedOut));
}

#[test]
fn who_repeats_what_a_peer_says_from_another_address_moves_nothing() {
    let (mut street, (server, there), (client, here)) = pair();
    street.run(Duration::from_secs(3));
    let thief = Ipv4Addr::new(10, 66, 0, 6);
    let (home, elsewhere) = (street.hosts[client].ip, Ipv4Addr::new(10, 200, 0, 1));
    street.hosts[client].ip = elsewhere;
    street.with(client, Swarm::handle_network_change);
    // Everything that the client says is said once more, by somebody who hears all of it.
    let end = street.now + Duration::from_secs(2);
    while street.now < end {
        street.run(DELAY);
        let ip = street.hosts[client].ip;
        let said: Vec<_> = street.flying.iter().filter(|(_, from, ..)| *from.ip() == ip).cloned().collect();
        for (_, from, to, bytes) in said {
            let (now, copier) = (street.now + DELAY, SocketAddrV4::new(thief, from.port()));
            street.flying.push_back((now, copier, to, bytes));
        }
    }
    let moved = |street: &Street, to: Ipv4Addr| {
        let events = street.hosts[server].events.iter();
        events
            .filter(|event| matches!(event, Event::Rerouted { course, .. } if course.address.ip() == to))
            .count()
    };
    assert_eq!((moved(&street, elsewhere), moved(&street, thief), moved(&street, home)), (1, 0, 0));
    street.send(server, there, b"only for you");
    assert_eq!(street.wait_for_frame(client, here).1, b"only for you");
}

#[test]
fn who_parts_tells_its_peers_at_once() {
    let (mut street, (server, _), (client, _)) = pair();
    street.with(client, Swarm::part);
    street.run(Duration::from_millis(100));
    assert_eq!(street.closed(server), Some(LinkError::Reset));
}

#[test]
fn a_flood_of_probes_that_ask_for_answers_takes_bounded_memory() {
    let mut street = Street::new();
    let (server, client) = (street.add_firewalled(), street.add_firewalled());
    let remote = street.serve(server);
    let own = Arc::new(Identity::from_seed([92; 32]));
    street.with(client, |swarm, now| swarm.dial(now, remote, &own, DialOptions::default()));
    // The handshake has arrived, and the punch waits for the client.
    while street.hosts[server].sockets.keys().all(|socket| *socket <= SocketId::CLIENT) {
        street.run(Duration::from_millis(5));
    }
    let socket = *street.hosts[server].sockets.keys().next_back().unwrap();
    let now = street.now;
    for port in 1..60_000_u16 {
        let from = SocketAddr::from(([10, 200, 0, 1], port));
        street.hosts[server].swarm.handle_datagram(now, from, socket, &[0]);
    }
    let mut buf = Vec::new();
    let mut probes = 0;
    while street.hosts[server].swarm.poll_transmit(now, &mut buf).is_some() {
        probes += usize::from(buf == [0]);
    }
    // `ground.rs` keeps 4,096, the puncher 1,024.
    assert!((1_000..=5_120).contains(&probes), "{probes} probes wait");
    street.run(Duration::from_secs(3));
    assert!(street.opened(client).is_some(), "the client still gets through");
}

#[test]
fn frames_that_are_begun_and_not_ended_take_their_share_only() {
    for (unfinished_max, whole) in [(16 << 20, true), (1 << 20, false)] {
        let (mut street, (server, there), (client, here)) = pair_with(unfinished_max);
        let frame = vec![7; 8 << 20];
        street.send(client, here, &frame);
        let mut taken = Taken::Nothing;
        while taken == Taken::Nothing {
            street.run(Duration::from_millis(50));
            taken = street.take(server, there);
        }
        let expected = if whole { Taken::Frame(frame) } else { Taken::End };
        assert!(taken == expected, "within {unfinished_max} bytes: whole is not {whole}");
        let broken = LinkError::Broken(StreamError::FrameTooLong);
        assert_eq!(street.closed(server), (!whole).then_some(broken));
    }
}
