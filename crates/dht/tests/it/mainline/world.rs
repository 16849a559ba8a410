use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dht::OperationId;
use dht::mainline::{Config, Event, Mainline, Outcome, Task};
use wire::Id;
use wire::krpc::{Body, Family, Message, Method, Query};

/// Nodes joined by a network that delivers at once, and strangers that send what they like.
pub(crate) struct World {
    pub(crate) now: Instant,
    nodes: BTreeMap<SocketAddr, Mainline>,
    flying: VecDeque<(SocketAddr, SocketAddr, Vec<u8>)>,
    /// What was sent to addresses that belong to no node: from, to, bytes.
    pub(crate) outside: Vec<(SocketAddr, SocketAddr, Vec<u8>)>,
    pub(crate) events: Vec<(SocketAddr, Event)>,
    seeds: u8,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            now: Instant::now(),
            nodes: BTreeMap::new(),
            flying: VecDeque::new(),
            outside: Vec::new(),
            events: Vec::new(),
            seeds: 0,
        }
    }

    /// A network of `n` nodes that all know the first.
    pub(crate) fn network(n: u8) -> Self {
        let mut world = Self::new();
        for host in 1..=n {
            let nodes = if host == 1 { Vec::new() } else { vec![address(1)] };
            world.add(address(host), Config::testnet(nodes));
        }
        world.run(Duration::from_secs(10));
        world
    }

    pub(crate) fn add(&mut self, at: SocketAddr, config: Config) {
        self.seeds += 1;
        let node = Mainline::new(config, &[Family::of(&at)], [self.seeds; 32], self.now);
        self.nodes.insert(at, node);
        self.drain();
    }

    pub(crate) fn remove(&mut self, at: SocketAddr) {
        self.nodes.remove(&at);
    }

    pub(crate) fn node(&mut self, at: SocketAddr) -> &mut Mainline {
        self.nodes.get_mut(&at).expect("the node was added")
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        self.drain();
        while let Some(due) = self.nodes.values().map(Mainline::poll_timeout).min().filter(|due| *due <= end)
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
    pub(crate) fn perform(&mut self, at: SocketAddr, task: Task) -> Outcome {
        let now = self.now;
        let operation = self.node(at).start(now, task);
        self.run(Duration::from_secs(10));
        self.outcome(at, operation).expect("it ended")
    }

    fn outcome(&self, of: SocketAddr, wanted: OperationId) -> Option<Outcome> {
        self.events.iter().find_map(|(at, event)| match event {
            Event::Finished { operation, outcome } if *at == of && *operation == wanted => {
                Some(outcome.clone())
            }
            _ => None,
        })
    }

    /// The peers that a node's look-ups found, each as often as it was told.
    pub(crate) fn peers(&self, of: SocketAddr) -> Vec<SocketAddr> {
        let told = self.events.iter().filter(|(at, _)| *at == of);
        told.flat_map(|(_, event)| match event {
            Event::Peers { peers, .. } => peers.clone(),
            _ => Vec::new(),
        })
        .collect()
    }

    /// Sends bytes from an address that belongs to no node; returns what came back to it.
    pub(crate) fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.outside.clear();
        self.flying.push_back((from, to, bytes.to_vec()));
        self.drain();
        let back = self.outside.iter().filter(|(_, to, _)| *to == from);
        back.map(|(_, _, bytes)| bytes.clone()).collect()
    }

    /// Sends a query and returns the answer to it, as bytes.
    pub(crate) fn ask(&mut self, from: SocketAddr, to: SocketAddr, query: &Query<'_>) -> Option<Vec<u8>> {
        let bytes = encode(query);
        let is_answer = |bytes: &Vec<u8>| Message::decode(bytes).is_ok_and(|message| message.tid == b"??");
        let answers: Vec<_> = self.send(from, to, &bytes).into_iter().filter(is_answer).collect();
        assert!(answers.len() <= 1, "one answer at most");
        answers.into_iter().next()
    }

    /// Answers pings sent to `at` since the last [`World::send`], so that it counts as proven.
    pub(crate) fn answer_pings(&mut self, at: SocketAddr, id: Id<20>) {
        let sent = std::mem::take(&mut self.outside);
        for (from, to, bytes) in sent.iter().filter(|(_, to, _)| *to == at) {
            let Ok(message) = Message::decode(bytes) else { continue };
            if let Body::Query(Query { method: Method::Ping, .. }) = message.body {
                let mut out = Vec::new();
                let body = Body::Response(wire::krpc::Response::new(id));
                Message { tid: message.tid, client: None, ip: None, body }.encode(&mut out);
                self.flying.push_back((*to, *from, out));
            }
        }
        self.drain();
    }

    fn drain(&mut self) {
        let mut buf = Vec::new();
        loop {
            for (at, node) in &mut self.nodes {
                while let Some(transmit) = node.poll_transmit(&mut buf) {
                    self.flying.push_back((*at, transmit.to, buf.clone()));
                }
                self.events.extend(std::iter::from_fn(|| node.poll_event()).map(|event| (*at, event)));
            }
            let Some((from, to, bytes)) = self.flying.pop_front() else { return };
            match self.nodes.get_mut(&to) {
                Some(node) => node.handle_datagram(self.now, from, &bytes),
                None => self.outside.push((from, to, bytes)),
            }
        }
    }
}

pub(crate) fn encode(query: &Query<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    Message { tid: b"??", client: None, ip: None, body: Body::Query(*query) }.encode(&mut bytes);
    bytes
}

/// The address of the n-th node; private, so that neither ids nor blocks are measured.
pub(crate) fn address(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, n, 1], 6881))
}

/// An address of no node.
pub(crate) fn stranger(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 9, 9, n], 5000))
}
