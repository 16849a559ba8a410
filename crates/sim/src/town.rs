//! A Mainline network in virtual time: many nodes, some of which turn into liars, and little else. It is leaner
//! than [`World`](crate::World), so that tens of thousands of nodes fit, and knows no NATs.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use dht::OperationId;
use dht::mainline::{Binding, Config, Diversity, Event, Limits, Mainline, Outcome, Port, Rate, Task, sha1};
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use wire::Id;
use wire::krpc::{Body, Family, Message, Method, Nodes, Query, Response, write_addr};

/// The shortest and the longest way between two hosts, in microseconds; there and back takes 20 to 120 ms.
const PATH_US: std::ops::Range<u64> = 10_000..60_000;
/// The port of every host.
const PORT: u16 = 6881;
/// Nodes that a liar names: as many as are taken from one answer, though an honest node names eight.
const NAMED: usize = 20;

/// What liars do with a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// They name those of them that are closest to the target, under their true ids, and know nobody.
    Misroute,
    /// They name each other under ids invented next to the target.
    Forge,
}

/// A host of the network.
enum Host {
    Node(Box<Mainline>),
    Liar(Id<20>),
    Silent,
}

enum Due {
    Arrival { from: SocketAddr, to: usize, bytes: Box<[u8]> },
    Deadline(usize),
}

/// The hosts, and what is on its way between them.
pub struct Town {
    rng: StdRng,
    epoch: Instant,
    now: Duration,
    hosts: Vec<(SocketAddr, Host)>,
    homes: BTreeMap<SocketAddr, usize>,
    queue: BinaryHeap<Reverse<(Duration, u64)>>,
    dues: BTreeMap<u64, Due>,
    serial: u64,
    wakes: Vec<Option<Duration>>,
    lie: Lie,
    liars: Vec<(Id<20>, SocketAddr)>,
    events: Vec<(usize, Event)>,
    /// Datagrams sent so far.
    pub sent: u64,
}

impl std::fmt::Debug for Town {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Town")
            .field("now", &self.now)
            .field("hosts", &self.hosts.len())
            .finish_non_exhaustive()
    }
}

/// One announcement and one look-up for it by another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trial {
    /// The look-up found the announced peer.
    pub found: bool,
    /// Queries of the look-up.
    pub requests: u64,
    /// When the peer was found first, and after how many queries.
    pub first: Option<(Duration, u64)>,
    /// When the look-up ended.
    pub elapsed: Duration,
}

impl Town {
    /// Grows a network of `nodes`, each of which learns its address from others and takes an id that belongs to it.
    #[must_use]
    pub fn grow(seed: u64, nodes: usize) -> Self {
        let mut town = Self {
            rng: StdRng::seed_from_u64(seed),
            epoch: Instant::now(),
            now: Duration::ZERO,
            hosts: Vec::new(),
            homes: BTreeMap::new(),
            queue: BinaryHeap::new(),
            dues: BTreeMap::new(),
            serial: 0,
            wakes: Vec::new(),
            lie: Lie::Misroute,
            liars: Vec::new(),
            events: Vec::new(),
            sent: 0,
        };
        for _ in 0..nodes {
            town.join();
            town.run_for(Duration::from_millis(if town.hosts.len() < 200 { 200 } else { 20 }));
        }
        town.run_for(Duration::from_mins(12));
        town
    }

    /// Adds a node that is like all others.
    pub fn join(&mut self) -> usize {
        let known = self.acquaintances();
        self.add(Config::testnet(known))
    }

    /// Adds a node that is in no table, and looks up in a way of its own.
    pub fn ask_by(&mut self, defence: &Defence) -> usize {
        let known = self.acquaintances();
        self.add(defence.config(known))
    }

    fn add(&mut self, config: Config) -> usize {
        let home = self.hosts.len();
        // An odd factor permutes the networks, so that each host has a /24 of its own.
        let n =
            u32::try_from(home).expect("fewer hosts than addresses").wrapping_mul(2_654_435_761) % (1 << 22);
        let [_, high, middle, low] = n.to_be_bytes();
        let addr = SocketAddr::from((Ipv4Addr::new(24 + high, middle, low, 7), PORT));
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let node = Mainline::new(config, &[Family::V4], seed, self.epoch + self.now);
        self.hosts.push((addr, Host::Node(Box::new(node))));
        self.homes.insert(addr, home);
        self.wakes.push(None);
        self.settle(home);
        home
    }

    /// Lets random nodes of the first `among` turn into liars, until they are `count`.
    pub fn corrupt(&mut self, among: usize, count: usize) {
        while self.liars.len() < count {
            let home = self.rng.random_range(1..among);
            let (addr, host) = &mut self.hosts[home];
            if let Host::Node(node) = host
                && let Some(id) = node.id(Family::V4)
            {
                self.liars.push((id, *addr));
                *host = Host::Liar(id);
            }
        }
    }

    /// Lets `count` random nodes of the first `among` fall silent.
    pub fn silence(&mut self, among: usize, count: usize) {
        let mut left = count;
        while left > 0 {
            let home = self.rng.random_range(1..among);
            if matches!(self.hosts[home].1, Host::Node(_)) {
                self.hosts[home].1 = Host::Silent;
                left -= 1;
            }
        }
    }

    /// Says what liars do from now on.
    pub const fn set_lie(&mut self, lie: Lie) {
        self.lie = lie;
    }

    /// Lets `count` pairs of these nodes announce and look up a topic each, all at once.
    pub fn try_pairs(&mut self, askers: &[usize], count: usize) -> Vec<Trial> {
        let topic = |rng: &mut StdRng| sha1(&rng.random::<[u8; 16]>());
        let pairs: Vec<(usize, usize, Id<20>)> = (0..count)
            .map(|n| (askers[n % askers.len()], askers[(n + 1) % askers.len()], topic(&mut self.rng)))
            .collect();
        let now = self.epoch + self.now;
        for (by, _, info_hash) in &pairs {
            self.start(now, *by, Task::Announce { info_hash: *info_hash, port: Port::Implied });
        }
        self.run_for(Duration::from_secs(8));
        self.events.clear();
        let now = self.epoch + self.now;
        let looking: Vec<_> = pairs
            .iter()
            .map(|(_, by, topic)| self.start(now, *by, Task::Lookup { info_hash: *topic }))
            .collect();
        self.run_for(Duration::from_secs(8));
        let events = std::mem::take(&mut self.events);
        let trial = |((by, asker, _), operation): (&(usize, usize, Id<20>), &Option<OperationId>)| {
            let wanted = self.hosts[*by].0;
            let mut trial = Trial::default();
            for (home, event) in &events {
                match event {
                    Event::Peers { operation: of, peers, .. } if home == asker && Some(*of) == *operation => {
                        trial.found |= peers.contains(&wanted);
                    }
                    Event::Finished { operation: of, outcome: Outcome::Walked(walked) }
                        if home == asker && Some(*of) == *operation =>
                    {
                        trial.requests = walked.figures.requests;
                        trial.elapsed = walked.figures.elapsed;
                        trial.first = walked.first_peer;
                    }
                    _ => {}
                }
            }
            trial
        };
        pairs.iter().zip(&looking).map(trial).collect()
    }

    /// Counts the nodes whose id belongs to their address, as those should that know it.
    #[must_use]
    pub fn secured(&self) -> usize {
        let nodes = self.hosts.iter().filter_map(|(_, host)| match host {
            Host::Node(node) => Some(node),
            Host::Liar(_) | Host::Silent => None,
        });
        nodes
            .filter(|node| node.snapshot(self.epoch + self.now).stacks.iter().any(|s| s.address.is_some()))
            .count()
    }

    /// Lets `span` pass.
    pub fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(Reverse((at, serial))) = self.queue.peek().copied() {
            if at > end {
                break;
            }
            self.queue.pop();
            self.now = at;
            match self.dues.remove(&serial) {
                Some(Due::Arrival { from, to, bytes }) => self.arrive(from, to, &bytes),
                Some(Due::Deadline(home)) if self.wakes[home] == Some(at) => {
                    self.wakes[home] = None;
                    let now = self.epoch + self.now;
                    if let Host::Node(node) = &mut self.hosts[home].1 {
                        node.handle_timeout(now);
                    }
                    self.settle(home);
                }
                Some(Due::Deadline(_)) | None => {}
            }
        }
        self.now = end;
    }

    fn start(&mut self, now: Instant, home: usize, task: Task) -> Option<OperationId> {
        let Host::Node(node) = &mut self.hosts[home].1 else { return None };
        let operation = node.start(now, task);
        self.settle(home);
        Some(operation)
    }

    /// Nodes that a newcomer is told of.
    fn acquaintances(&mut self) -> Vec<SocketAddr> {
        let len = self.hosts.len();
        (0..3.min(len)).map(|_| self.hosts[self.rng.random_range(0..len)].0).collect()
    }

    fn arrive(&mut self, from: SocketAddr, to: usize, bytes: &[u8]) {
        let now = self.epoch + self.now;
        let (addr, host) = &mut self.hosts[to];
        match host {
            Host::Node(node) => {
                node.handle_datagram(now, from, bytes);
                self.settle(to);
            }
            Host::Liar(id) => {
                let (id, addr) = (*id, *addr);
                if let Some(answer) = self.lie_to(from, (id, addr), bytes) {
                    self.send(to, from, answer.into());
                }
            }
            Host::Silent => {}
        }
    }

    /// What a liar answers: yes to everything, and nobody's peers.
    fn lie_to(
        &mut self,
        from: SocketAddr,
        (id, addr): (Id<20>, SocketAddr),
        bytes: &[u8],
    ) -> Option<Vec<u8>> {
        let message = Message::decode(bytes).ok()?;
        let Body::Query(Query { method, target, .. }) = message.body else { return None };
        let mut packed = Vec::new();
        let mut id = id;
        if let (Some(target), Method::FindNode | Method::GetPeers | Method::Get) = (target, method) {
            if self.lie == Lie::Forge {
                id = forged(&target, &addr);
            }
            let mut liars: Vec<(Id<20>, SocketAddr)> = match self.lie {
                Lie::Misroute => self.liars.clone(),
                Lie::Forge => self.liars.iter().map(|(_, addr)| (forged(&target, addr), *addr)).collect(),
            };
            let at = NAMED.min(liars.len().checked_sub(1)?);
            match self.lie {
                Lie::Misroute => drop(liars.select_nth_unstable_by_key(at, |(id, _)| id.distance(&target))),
                // All are equally near; whom each names is chance, so that there are as many as are wanted.
                Lie::Forge => {
                    let first = self.rng.random_range(0..liars.len());
                    liars.rotate_left(first);
                }
            }
            for (id, addr) in liars.iter().take(NAMED) {
                packed.extend_from_slice(&id.0);
                write_addr(&mut packed, addr);
            }
        }
        let nodes = (!packed.is_empty()).then(|| Nodes::from_packed(Family::V4, &packed));
        let body = Body::Response(Response { nodes, token: Some(b"lie"), ..Response::new(id) });
        let mut out = Vec::new();
        Message { tid: message.tid, client: None, ip: Some(from), body }.encode(&mut out);
        Some(out)
    }

    fn settle(&mut self, home: usize) {
        let mut buf = Vec::new();
        loop {
            let Host::Node(node) = &mut self.hosts[home].1 else { return };
            if let Some(transmit) = node.poll_transmit(&mut buf) {
                self.send(home, transmit.to, buf.as_slice().into());
            } else if let Some(event) = node.poll_event() {
                self.events.push((home, event));
            } else {
                break;
            }
        }
        let Host::Node(node) = &self.hosts[home].1 else { return };
        let due = node.poll_timeout().saturating_duration_since(self.epoch).max(self.now);
        if self.wakes[home].is_none_or(|wake| due < wake) {
            self.wakes[home] = Some(due);
            self.push(due, Due::Deadline(home));
        }
    }

    fn send(&mut self, home: usize, to: SocketAddr, bytes: Box<[u8]>) {
        self.sent += 1;
        let Some(to) = self.homes.get(&to).copied() else { return };
        let delay = Duration::from_micros(self.rng.random_range(PATH_US));
        self.push(self.now + delay, Due::Arrival { from: self.hosts[home].0, to, bytes });
    }

    fn push(&mut self, at: Duration, due: Due) {
        self.serial += 1;
        self.dues.insert(self.serial, due);
        self.queue.push(Reverse((at, self.serial)));
    }
}

/// The id next to a target that a liar claims for an address.
fn forged(target: &Id<20>, addr: &SocketAddr) -> Id<20> {
    let mut id = *target;
    id.0[16..].copy_from_slice(&sha1(addr.to_string().as_bytes()).0[..4]);
    id
}

/// A way to look nodes up, by the name that the table gives it.
#[derive(Clone, Copy, Debug)]
pub struct Defence {
    /// Its row's name.
    pub name: &'static str,
    width: usize,
    concurrency: usize,
    paths: usize,
    binding: Binding,
    diversity: Diversity,
}

impl Defence {
    /// The rows of the table: what each measure adds.
    pub const ALL: [Self; 6] = [
        Self::new("k=8 a=3 (BEP 5)", (8, 3, 1), Binding::Off, Diversity::Off),
        Self::new("k=20 a=10", (20, 10, 1), Binding::Off, Diversity::Off),
        Self::new("k=20, 4 disjoint paths", (20, 12, 4), Binding::Off, Diversity::Off),
        Self::new("k=20, 8 disjoint paths", (20, 16, 8), Binding::Off, Diversity::Off),
        Self::new("k=20 + id binding", (20, 10, 1), Binding::Required, Diversity::Off),
        Self::new("the default", (20, 12, 1), Binding::Preferred, Diversity::Public),
    ];

    const fn new(
        name: &'static str,
        (width, concurrency, paths): (usize, usize, usize),
        binding: Binding,
        diversity: Diversity,
    ) -> Self {
        Self { name, width, concurrency, paths, binding, diversity }
    }

    fn config(&self, nodes: Vec<SocketAddr>) -> Config {
        let usual = Limits { host: Rate::UNLIMITED, block: Rate::UNLIMITED, ..Limits::default() };
        let limits = Limits { width: self.width, concurrency: self.concurrency, ..usual };
        let (binding, diversity, paths) = (self.binding, self.diversity, Some(self.paths));
        let standing = dht::Standing::Ephemeral;
        Config { binding, diversity, paths, limits, standing, ..Config::testnet(nodes) }
    }
}
