//! Nodes joined by a network that delivers at once, and strangers that send what they like.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use dht::{Command, Config, Event, Hyper, OperationId, Outcome, Task, node_id};
use wire::{Addrs, Id, Request, Response, SocketId, Token};

pub(crate) struct World {
    pub(crate) now: Instant,
    nodes: BTreeMap<SocketAddrV4, Hyper>,
    sockets: BTreeMap<SocketAddrV4, (SocketAddrV4, SocketId)>,
    flying: VecDeque<(SocketAddrV4, SocketAddrV4, Vec<u8>)>,
    /// What was sent to addresses that belong to no node: from, to, bytes.
    pub(crate) outside: Vec<(SocketAddrV4, SocketAddrV4, Vec<u8>)>,
    pub(crate) events: Vec<(SocketAddrV4, Event)>,
    /// Names that can be resolved.
    pub(crate) names: BTreeMap<String, Ipv4Addr>,
    seeds: u8,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            now: Instant::now(),
            nodes: BTreeMap::new(),
            sockets: BTreeMap::new(),
            flying: VecDeque::new(),
            outside: Vec::new(),
            events: Vec::new(),
            names: BTreeMap::new(),
            seeds: 0,
        }
    }

    /// Adds a bootstrap node at `10.0.0.1:49737` and `n - 1` persistent ones.
    pub(crate) fn network(n: u8) -> Self {
        let mut world = Self::new();
        let first = address(1);
        world.add(first, Config::bootstrapper(first));
        for host in 2..=n {
            world.add(address(host), Config { host: *address(host).ip(), ..Config::testnet(vec![first]) });
        }
        world.run(Duration::from_secs(1));
        world
    }

    pub(crate) fn add(&mut self, at: SocketAddrV4, config: Config) {
        self.seeds += 1;
        self.nodes.insert(at, Hyper::new(config, [self.seeds; 32], self.now));
        self.drain();
    }

    pub(crate) fn remove(&mut self, at: SocketAddrV4) {
        self.nodes.remove(&at);
        self.sockets.retain(|_, (node, _)| *node != at);
    }

    pub(crate) fn node(&mut self, at: SocketAddrV4) -> &mut Hyper {
        self.nodes.get_mut(&at).expect("the node was added")
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.drain();
        while let Some(due) =
            self.nodes.values().filter_map(Hyper::poll_timeout).min().filter(|due| *due <= end)
        {
            self.now = due.max(self.now);
            for node in self.nodes.values_mut() {
                node.handle_timeout(self.now);
            }
            self.drain();
        }
        self.now = end;
    }

    /// Does something once and waits for its end.
    pub(crate) fn perform(&mut self, at: SocketAddrV4, task: Task) -> Outcome {
        let now = self.now;
        let operation = self.node(at).start(now, task);
        self.run(Duration::from_secs(10));
        self.outcome(at, operation).expect("it ended")
    }

    pub(crate) fn outcome(&self, of: SocketAddrV4, wanted: OperationId) -> Option<Outcome> {
        self.events.iter().find_map(|(at, event)| match event {
            Event::Finished { operation, outcome } if *at == of && *operation == wanted => {
                Some(outcome.clone())
            }
            _ => None,
        })
    }

    /// Sends bytes from an address that belongs to no node; returns what came back to any such address.
    pub(crate) fn send(&mut self, from: SocketAddrV4, to: SocketAddrV4, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.outside.clear();
        self.deliver(from, to, bytes);
        self.outside.iter().map(|(_, _, bytes)| bytes.clone()).collect()
    }

    /// Sends bytes from an address that belongs to no node.
    pub(crate) fn deliver(&mut self, from: SocketAddrV4, to: SocketAddrV4, bytes: &[u8]) {
        self.flying.push_back((from, to, bytes.to_vec()));
        self.drain();
    }

    /// Sends a request; returns the one answer to it.
    pub(crate) fn ask(&mut self, from: SocketAddrV4, request: &Request<'_>) -> Option<Answer> {
        let mut bytes = Vec::new();
        request.encode(&mut bytes);
        let replies = self.send(from, request.to, &bytes);
        let mut answers =
            replies.iter().filter_map(|bytes| Response::decode(bytes).ok()).filter(|r| r.tid == request.tid);
        let answer = answers.next().map(Answer::from);
        assert_eq!(answers.count(), 0, "one answer at most");
        answer
    }

    /// Answers whatever the nodes asked of `at` since the last [`World::send`].
    pub(crate) fn answer_as(&mut self, at: SocketAddrV4, reply: impl Fn(&Request<'_>) -> Option<Vec<u8>>) {
        let sent = std::mem::take(&mut self.outside);
        for (from, to, bytes) in sent.iter().filter(|(_, to, _)| *to == at) {
            if let Some(bytes) = Request::decode(bytes).ok().and_then(|request| reply(&request)) {
                self.flying.push_back((*to, *from, bytes));
            }
        }
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            let mut buf = Vec::new();
            for (at, node) in &mut self.nodes {
                while let Some(command) = node.poll_command() {
                    match command {
                        Command::Open { socket, ports } => {
                            let port = if socket == SocketId::SERVER { at.port() } else { 30_000 };
                            let local = SocketAddrV4::new(*at.ip(), port);
                            assert!(ports.host.is_unspecified() || ports.host == *at.ip());
                            self.sockets.insert(local, (*at, socket));
                            node.handle_opened(self.now, socket, local);
                        }
                        Command::Close(closed) => {
                            self.sockets.retain(|_, (node, id)| node != at || *id != closed);
                        }
                        Command::Resolve { host } => {
                            let found: Vec<_> = self.names.get(&host).copied().into_iter().collect();
                            node.handle_resolved(self.now, &host, &found);
                        }
                        other => unreachable!("no such command: {other:?}"),
                    }
                }
                while let Some(transmit) = node.poll_transmit(&mut buf) {
                    let port = if transmit.from == SocketId::SERVER { at.port() } else { 30_000 };
                    let SocketAddr::V4(to) = transmit.to else { unreachable!("HyperDHT speaks IPv4") };
                    self.flying.push_back((SocketAddrV4::new(*at.ip(), port), to, buf.clone()));
                }
                self.events.extend(std::iter::from_fn(|| node.poll_event()).map(|event| (*at, event)));
            }
            let Some((from, to, bytes)) = self.flying.pop_front() else { return };
            match self.sockets.get(&to) {
                Some((node, socket)) => {
                    let node = self.nodes.get_mut(node).expect("its sockets go with it");
                    node.handle_datagram(self.now, from.into(), *socket, &bytes);
                }
                None => self.outside.push((from, to, bytes)),
            }
        }
    }
}

/// The address of the n-th node.
pub(crate) fn address(n: u8) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 0, n, 1), 49737)
}

/// An address of no node.
pub(crate) fn stranger(n: u8) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(11, 0, 0, n), 5000)
}

pub(crate) fn request(to: SocketAddrV4, command: wire::Command) -> Request<'static> {
    Request { tid: 7, to, id: None, token: None, command, target: None, value: None }
}

/// A pong that claims the id of its address, as a persistent node's does.
pub(crate) fn pong(request: &Request<'_>, from: SocketAddrV4) -> Vec<u8> {
    let mut out = Vec::new();
    let (tid, id) = (request.tid, Some(node_id(from)));
    Response { tid, to: address(1), id, token: None, closer: Addrs::EMPTY, error: 0, value: None }
        .encode(&mut out);
    out
}

/// An answer, owned.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) to: SocketAddrV4,
    pub(crate) id: Option<Id<32>>,
    pub(crate) token: Option<Token>,
    pub(crate) closer: Vec<SocketAddrV4>,
    pub(crate) error: u64,
    pub(crate) value: Option<Vec<u8>>,
}

impl From<Response<'_>> for Answer {
    fn from(r: Response<'_>) -> Self {
        let (to, id, token, error) = (r.to, r.id, r.token, r.error);
        Self { to, id, token, error, closer: r.closer.iter().collect(), value: r.value.map(Into::into) }
    }
}
