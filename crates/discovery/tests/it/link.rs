//! A link with hosts on it, in virtual time: what one multicasts, all others and it itself hear.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use discovery::{
    Act, Channel, Event, Found, GROUP, Join, Manner, Multicast, Outcome, Own, Seat, Sighting, Source,
    Sources, Topic, UnixMillis, Who,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use wire::SocketId;

use crate::vectors::start;

/// Noon of a day in 2026, a full hour since 1970.
pub(crate) const NOON: UnixMillis = UnixMillis(1_795_521_600_000);
const SEAT: SocketId = SocketId(0);

/// A computer: a channel that has only the local network.
pub(crate) struct Host {
    pub(crate) channel: Channel,
    pub(crate) multicast: Multicast,
    pub(crate) events: Vec<Event>,
    pub(crate) sent: u64,
}

impl Host {
    /// Addresses found, each as often as it was told.
    pub(crate) fn found(&self) -> Vec<SocketAddr> {
        self.addresses(|event| match event {
            Event::Found { found, .. } => Some(*found),
            _ => None,
        })
    }

    /// Addresses lost.
    pub(crate) fn lost(&self) -> Vec<SocketAddr> {
        self.addresses(|event| match event {
            Event::Lost { found, .. } => Some(*found),
            _ => None,
        })
    }

    fn addresses(&self, pick: impl Fn(&Event) -> Option<Found>) -> Vec<SocketAddr> {
        let found = self.events.iter().filter_map(pick);
        found
            .map(|found| match found {
                Found::Address { address, source: Source::Mdns } => address,
                other => panic!("not by multicast DNS: {other:?}"),
            })
            .collect()
    }
}

/// What the link does to datagrams.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    /// Of a thousand that a host should hear, this many it does not.
    pub(crate) lost_permille: u32,
}

/// A link, its hosts by the last byte of their address in 192.0.2.0/24, and the time.
pub(crate) struct Link {
    pub(crate) hosts: BTreeMap<u8, Host>,
    pub(crate) now: Instant,
    pub(crate) weather: Weather,
    /// Every datagram that was sent, with its sender, for those who listen.
    pub(crate) heard: Vec<(u8, Vec<u8>)>,
    began: Instant,
    rng: StdRng,
    flight: Vec<(Instant, u8, Vec<u8>)>,
    born: u8,
}

impl Link {
    pub(crate) fn new(seed: u8) -> Self {
        let now = start();
        Self {
            hosts: BTreeMap::new(),
            now,
            weather: Weather::default(),
            heard: Vec::new(),
            began: now,
            rng: StdRng::from_seed([seed; 32]),
            flight: Vec::new(),
            born: 0,
        }
    }

    /// Starts a host, in place of an earlier one with its address; its clock goes `ahead` of the others'.
    pub(crate) fn start(&mut self, number: u8, ahead: Duration) {
        self.born += 1;
        let seed = [self.born; 32];
        let wall = self.wall(ahead);
        let mut multicast = Multicast::new(seed, self.now, wall);
        let address = address(number);
        multicast.handle_seats(self.now, [Seat { socket: SEAT, address, prefix_len: 24 }]);
        let mut channel = Channel::new(Manner::Active, Sources::NONE.with(Source::Mdns), seed);
        channel.handle_own(Own { hosts: [address.into()].into(), ..Own::default() });
        self.hosts.insert(number, Host { channel, multicast, events: Vec::new(), sent: 0 });
    }

    /// The host falls silent, without a word.
    pub(crate) fn kill(&mut self, number: u8) {
        self.hosts.remove(&number);
    }

    pub(crate) fn join(&mut self, number: u8, join: Join) {
        let now = self.now;
        self.host(number).channel.join(now, join).unwrap();
        self.settle(number);
    }

    pub(crate) fn leave(&mut self, number: u8, topic: Topic) {
        self.host(number).channel.leave(topic);
        self.settle(number);
    }

    /// Sets a host's clock otherwise.
    pub(crate) fn step_clock(&mut self, number: u8, ahead: Duration) {
        let (now, wall) = (self.now, self.wall(ahead));
        let host = self.host(number);
        host.multicast.handle_clock(now, wall);
        self.settle(number);
    }

    pub(crate) fn host(&mut self, number: u8) -> &mut Host {
        self.hosts.get_mut(&number).unwrap()
    }

    /// A datagram from anywhere, to all hosts.
    pub(crate) fn inject(&mut self, from: SocketAddrV4, bytes: &[u8]) {
        for number in self.hosts.keys().copied().collect::<Vec<_>>() {
            let now = self.now;
            self.host(number).multicast.handle_datagram(now, SEAT, from.into(), bytes);
            self.settle(number);
        }
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let wakes = self
                .hosts
                .values()
                .flat_map(|host| [host.channel.poll_timeout(), host.multicast.poll_timeout()]);
            let arrivals = self.flight.iter().map(|(at, ..)| Some(*at));
            let next = wakes.chain(arrivals).flatten().min().filter(|next| *next <= end);
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            self.arrive();
            for number in self.hosts.keys().copied().collect::<Vec<_>>() {
                let now = self.now;
                let host = self.host(number);
                host.channel.handle_timeout(now);
                host.multicast.handle_timeout(now);
                self.settle(number);
            }
        }
        self.now = end;
    }

    fn arrive(&mut self) {
        let now = self.now;
        let (due, later) = std::mem::take(&mut self.flight).into_iter().partition(|(at, ..)| *at <= now);
        self.flight = later;
        let due: Vec<(Instant, u8, Vec<u8>)> = due;
        for (_, from, bytes) in due {
            for number in self.hosts.keys().copied().collect::<Vec<_>>() {
                if self.rng.random_range(0..1000) < self.weather.lost_permille {
                    continue;
                }
                let from = SocketAddr::from((address(from), GROUP.port()));
                self.host(number).multicast.handle_datagram(now, SEAT, from, &bytes);
                self.settle(number);
            }
        }
    }

    /// Carries out what the machines of a host want.
    fn settle(&mut self, number: u8) {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(&number) else { return };
        while let Some(command) = host.channel.poll_command() {
            match command.act {
                Act::Join(naming) => host.multicast.join(now, command.topic, naming),
                Act::Look => {
                    host.multicast.ask(now, command.topic);
                    host.channel.handle_outcome(now, command, Outcome::Answered);
                }
                Act::Announce(port) => {
                    host.multicast.announce(command.topic, port);
                    host.channel.handle_outcome(now, command, Outcome::Answered);
                }
                Act::Unannounce(port) => host.multicast.unannounce(command.topic, port),
                Act::Leave => host.multicast.leave(now, command.topic),
            }
        }
        while let Some(finding) = host.multicast.poll_event() {
            let sighting = Sighting {
                source: Source::Mdns,
                topic: finding.topic,
                who: Who::Address(finding.address.into()),
                informant: Some(finding.informant.into()),
            };
            host.channel.handle_sighting(now, sighting);
        }
        while let Some(event) = host.channel.poll_event() {
            host.events.push(event);
        }
        let mut buf = Vec::new();
        while let Some(transmit) = host.multicast.poll_transmit(&mut buf) {
            assert_eq!(transmit.to, SocketAddr::V4(GROUP), "nothing leaves but to the group");
            host.sent += 1;
            self.heard.push((number, buf.clone()));
            self.flight.push((now + Duration::from_millis(1), number, buf.clone()));
        }
    }

    fn wall(&self, ahead: Duration) -> UnixMillis {
        let passed = self.now.saturating_duration_since(self.began) + ahead;
        UnixMillis(NOON.0 + u64::try_from(passed.as_millis()).unwrap())
    }
}

/// The address of a host.
pub(crate) fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, number)
}

/// Where a host is found that announces a port.
pub(crate) fn at(number: u8, port: u16) -> SocketAddr {
    SocketAddr::from((address(number), port))
}
