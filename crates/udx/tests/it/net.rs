//! Hosts joined by links that lose, delay, reorder, duplicate and limit, in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use udx::{CloseReason, Config, Event, Path, Read, StreamId, Udx};
use wire::SocketId;
use wire::udx::{Kinds, Packet, Seq};

/// What a link does to datagrams, in each direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) delay: Duration,
    /// Of a thousand datagrams, how many are lost, sent twice, or delayed by `late` more.
    pub(crate) loss: u32,
    pub(crate) twice: u32,
    pub(crate) reorder: u32,
    pub(crate) late: Duration,
    /// Bytes a second, and how much of a second may wait for them.
    pub(crate) rate: Option<u64>,
    pub(crate) queue: Duration,
    /// Largest IP packet.
    pub(crate) mtu: usize,
}

impl Link {
    pub(crate) const fn of(delay_ms: u64) -> Self {
        Self {
            delay: Duration::from_millis(delay_ms),
            loss: 0,
            twice: 0,
            reorder: 0,
            late: Duration::ZERO,
            rate: None,
            queue: Duration::from_millis(100),
            mtu: 1500,
        }
    }
}

/// A datagram that a host sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) ms: u64,
    pub(crate) from: usize,
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

impl Sent {
    pub(crate) fn packet(&self) -> Packet<'_> {
        Packet::decode(&self.bytes).expect("hosts send packets")
    }
}

pub(crate) struct Host {
    pub(crate) udx: Udx,
    pub(crate) address: SocketAddr,
    pub(crate) events: Vec<Event>,
    /// Streams that told of room, and were not written since.
    writable: BTreeSet<StreamId>,
    busy_until: Instant,
}

/// Decides about a datagram before the link does: is it lost?
pub(crate) type Censor = Box<dyn FnMut(&Sent) -> bool>;

pub(crate) struct Net {
    pub(crate) start: Instant,
    pub(crate) now: Instant,
    pub(crate) hosts: Vec<Host>,
    pub(crate) link: Link,
    pub(crate) censor: Option<Censor>,
    /// Everything that hosts sent, if asked for.
    pub(crate) log: Option<Vec<Sent>>,
    flying: BTreeMap<(Instant, u64), (SocketAddr, SocketAddr, Vec<u8>)>,
    serial: u64,
    rng: StdRng,
}

/// One direction of a stream that is written, and read and compared at the other end.
pub(crate) struct Flow {
    pub(crate) from: (usize, StreamId),
    pub(crate) to: (usize, StreamId),
    pub(crate) len: u64,
    pub(crate) written: u64,
    pub(crate) read: u64,
    pub(crate) ended: Option<Instant>,
}

impl Flow {
    pub(crate) fn new(from: (usize, StreamId), to: (usize, StreamId), len: u64) -> Self {
        Self { from, to, len, written: 0, read: 0, ended: None }
    }
}

/// The byte at a place of every flow: neighbours, packets and repetitions of both differ.
pub(crate) fn byte(at: u64) -> u8 {
    let mixed = at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
    u8::try_from(mixed).expect("eight bits")
}

fn bytes(at: u64, len: u64) -> Vec<u8> {
    (at..at + len).map(byte).collect()
}

pub(crate) fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 1000))
}

pub(crate) const fn path(remote: SocketAddr) -> Path {
    Path { socket: SocketId::SERVER, remote }
}

impl Net {
    pub(crate) fn new(link: Link, seed: u64) -> Self {
        Self::with(link, seed, Config::default())
    }

    /// Two hosts, at `address(1)` and `address(2)`.
    pub(crate) fn with(link: Link, seed: u64, config: Config) -> Self {
        let start = Instant::now();
        let mut net = Self {
            start,
            now: start,
            hosts: Vec::new(),
            link,
            censor: None,
            log: None,
            flying: BTreeMap::new(),
            serial: 0,
            rng: StdRng::seed_from_u64(seed),
        };
        for _ in 0..2 {
            net.add(config);
        }
        net
    }

    pub(crate) fn add(&mut self, config: Config) -> usize {
        let seed = self.rng.random();
        let host = u8::try_from(self.hosts.len() + 1).unwrap();
        self.hosts.push(Host {
            udx: Udx::new(config, seed),
            address: address(host),
            events: Vec::new(),
            writable: BTreeSet::new(),
            busy_until: self.start,
        });
        self.hosts.len() - 1
    }

    /// Connects a stream of the first host with one of the second.
    pub(crate) fn connect(&mut self) -> (StreamId, StreamId) {
        let a = self.hosts[0].udx.open(self.now).unwrap();
        let b = self.hosts[1].udx.open(self.now).unwrap();
        self.join(a, b);
        (a, b)
    }

    /// Connects streams under ids 1 and 2, which count from `first`.
    pub(crate) fn connect_as(&mut self, first: (u32, u32)) -> (StreamId, StreamId) {
        let (a, b) = self.open_as(first);
        self.join(a, b);
        (a, b)
    }

    pub(crate) fn open_as(&mut self, first: (u32, u32)) -> (StreamId, StreamId) {
        let (a, b, now) = (StreamId(1), StreamId(2), self.now);
        self.hosts[0].udx.open_as(now, a, Seq(first.0), Seq(first.1)).unwrap();
        self.hosts[1].udx.open_as(now, b, Seq(first.1), Seq(first.0)).unwrap();
        (a, b)
    }

    pub(crate) fn join(&mut self, a: StreamId, b: StreamId) {
        let (at_a, at_b) = (self.hosts[0].address, self.hosts[1].address);
        self.hosts[0].udx.connect(self.now, a, path(at_b), b).unwrap();
        self.hosts[1].udx.connect(self.now, b, path(at_a), a).unwrap();
    }

    pub(crate) fn ms(&self) -> u64 {
        u64::try_from((self.now - self.start).as_millis()).unwrap()
    }

    /// Lets a host send from, and be reached at, another address from now on.
    pub(crate) fn rebind(&mut self, host: usize, address: SocketAddr) {
        self.hosts[host].address = address;
    }

    /// Hands a datagram to a host as if it came from `from`.
    pub(crate) fn inject(&mut self, host: usize, from: SocketAddr, bytes: &[u8]) -> udx::Taken {
        let taken = self.hosts[host].udx.handle_packet(self.now, from, SocketId::SERVER, bytes);
        self.drain();
        taken
    }

    /// Takes what the hosts want to send, and their events.
    pub(crate) fn drain(&mut self) {
        let mut buf = Vec::new();
        for host in 0..self.hosts.len() {
            while let Some(transmit) = self.hosts[host].udx.poll_transmit(self.now, &mut buf) {
                let segment = transmit.segment.map_or(buf.len(), usize::from);
                for bytes in buf.chunks(segment) {
                    let (ms, to) = (self.ms(), transmit.to);
                    self.send(&Sent { ms, from: host, to, bytes: bytes.to_vec() });
                }
            }
            while let Some(event) = self.hosts[host].udx.poll_event() {
                if let Event::Writable(stream) = event {
                    self.hosts[host].writable.insert(stream);
                }
                self.hosts[host].events.push(event);
            }
        }
    }

    fn send(&mut self, sent: &Sent) {
        let censored = self.censor.as_mut().is_some_and(|censor| censor(sent));
        let lost = censored || self.chance(self.link.loss) || sent.bytes.len() + 28 > self.link.mtu;
        if let Some(log) = &mut self.log {
            log.push(sent.clone());
        }
        let host = &mut self.hosts[sent.from];
        let mut leaves = self.now;
        if let Some(rate) = self.link.rate {
            let wait = host.busy_until.saturating_duration_since(self.now);
            if wait > self.link.queue {
                return;
            }
            let nanos = (sent.bytes.len() as u64 + 28) * 1_000_000_000 / rate;
            leaves += wait + Duration::from_nanos(nanos);
            host.busy_until = leaves;
        }
        if lost {
            return;
        }
        let from = host.address;
        let copies = if self.chance(self.link.twice) { 2 } else { 1 };
        for _ in 0..copies {
            let late = if self.chance(self.link.reorder) { self.link.late } else { Duration::ZERO };
            self.serial += 1;
            let at = (leaves + self.link.delay + late, self.serial);
            self.flying.insert(at, (from, sent.to, sent.bytes.clone()));
        }
    }

    fn chance(&mut self, permille: u32) -> bool {
        permille > 0 && self.rng.random_ratio(permille, 1000)
    }

    /// Goes on to the next moment at which something happens; tells whether there is one until `end`.
    fn step(&mut self, end: Instant) -> bool {
        let arrival = self.flying.keys().next().map(|(at, _)| *at);
        let timers = self.hosts.iter().filter_map(|host| host.udx.poll_timeout());
        let Some(next) = timers.chain(arrival).min().filter(|next| *next <= end) else {
            self.now = end;
            return false;
        };
        self.now = next.max(self.now);
        while let Some(entry) = self.flying.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (from, to, bytes) = entry.remove();
            if let Some(host) = self.hosts.iter_mut().find(|host| host.address == to) {
                let _taken = host.udx.handle_packet(self.now, from, SocketId::SERVER, &bytes);
            }
        }
        for host in &mut self.hosts {
            if host.udx.poll_timeout().is_some_and(|at| at <= self.now) {
                host.udx.handle_timeout(self.now);
            }
        }
        self.drain();
        true
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.drain();
        while self.step(end) {}
    }

    pub(crate) fn run_ms(&mut self, ms: u64) {
        self.run(Duration::from_millis(ms));
    }

    /// Moves the flows until all have ended or `limit` has passed; tells whether they ended.
    pub(crate) fn run_flows(&mut self, flows: &mut [Flow], limit: Duration) -> bool {
        let end = self.now + limit;
        loop {
            for flow in flows.iter_mut() {
                self.move_flow(flow);
            }
            self.drain();
            if flows.iter().all(|flow| flow.ended.is_some()) {
                return true;
            }
            if !self.step(end) {
                return false;
            }
        }
    }

    fn move_flow(&mut self, flow: &mut Flow) {
        self.write_flow(flow);
        self.read_flow(flow);
    }

    pub(crate) fn write_flow(&mut self, flow: &mut Flow) {
        let (host, stream) = flow.from;
        if flow.written > 0 && flow.written < flow.len && !self.hosts[host].writable.remove(&stream) {
            return;
        }
        while flow.written < flow.len {
            let len = (flow.len - flow.written).min(65_536);
            let chunk = bytes(flow.written, len);
            let Ok(taken) = self.hosts[host].udx.write(self.now, stream, &chunk) else { return };
            flow.written += taken as u64;
            if (taken as u64) < len {
                return;
            }
        }
        self.hosts[host].udx.finish(self.now, stream);
    }

    pub(crate) fn read_flow(&mut self, flow: &mut Flow) {
        let (host, stream) = flow.to;
        let mut buf = [0; 16_384];
        loop {
            match self.hosts[host].udx.read(stream, &mut buf) {
                Read::Bytes(len) => {
                    let at = flow.read;
                    flow.read += len as u64;
                    assert!(flow.read <= flow.len, "more came than was sent");
                    assert!(
                        buf[..len].iter().zip(at..).all(|(b, at)| *b == byte(at)),
                        "wrong bytes after {at}"
                    );
                }
                Read::End => {
                    assert_eq!(flow.read, flow.len, "the end came too early");
                    flow.ended.get_or_insert(self.now);
                    return;
                }
                Read::Empty | Read::Gone => return,
            }
        }
    }

    pub(crate) fn closed(&self, host: usize, stream: StreamId) -> Option<CloseReason> {
        self.hosts[host].events.iter().find_map(|event| match event {
            Event::Closed { stream: closed, why } if *closed == stream => Some(*why),
            _ => None,
        })
    }

    pub(crate) fn has(&self, host: usize, event: &Event) -> bool {
        self.hosts[host].events.contains(event)
    }
}

/// A packet of no stream in particular, for those who forge some.
pub(crate) const fn forged(kinds: Kinds, stream: StreamId) -> Packet<'static> {
    Packet { kinds, stream, window: 1 << 22, seq: Seq(0), ack: Seq(0), between: &[], payload: &[] }
}

pub(crate) fn encoded(packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(&mut bytes);
    bytes
}
