use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use wire::hyper::{LOOKUP, LookupReply};
use wire::{Command, Id, Request};

use crate::bench::author::{Author, hash};
use crate::bench::batch::{BATCH, Inbox, Outbound, Wait, send_segments};
use crate::bench::caller::Caller;
use crate::bench::crowd::pong;

/// Requests that wait for an answer at any time: two batches, so that neither side waits for the other.
const WINDOW: usize = 2 * BATCH;

/// After this long without an answer, what is outstanding counts as lost.
const PATIENCE: Duration = Duration::from_millis(200);

/// Requests of one kind have this many targets in turn.
const TARGETS: u64 = 512;

/// Peers that announce the topic that is looked up.
const PEERS: u64 = 5;

/// Closer nodes in a full answer.
const CLOSER: usize = 20;

/// First byte of a response.
const RESPONSE: u8 = 0x13;

/// What is asked over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ping,
    FindNode,
    Lookup,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Ping, Self::FindNode, Self::Lookup];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::FindNode => "find-node",
            Self::Lookup => "look-up",
        }
    }

    fn request(self, to: SocketAddrV4, number: u64) -> Vec<u8> {
        let (command, target) = match self {
            Self::Ping => (Command::PING, None),
            Self::FindNode => (Command::FIND_NODE, Some(hash(&[b"target", &number.to_le_bytes()]))),
            Self::Lookup => (LOOKUP, Some(topic())),
        };
        let mut out = Vec::new();
        Request { tid: 0, to, id: None, token: None, command, target, value: None }.encode(&mut out);
        out
    }
}

/// The topic that peers announce and look up.
fn topic() -> Id<32> {
    hash(&[b"homing bench topic"])
}

/// Stores what look-ups find, and checks that the server answers every kind in full.
pub(crate) fn prepare(to: SocketAddrV4) -> Result<()> {
    let mut caller = Caller::new(Ipv4Addr::LOCALHOST, to)?;
    for number in 0..PEERS {
        caller.announce(&Author::new(number), topic())?;
    }
    let closer = caller.ask(Command::FIND_NODE, Some(topic()))?.closer.len();
    ensure!(closer == CLOSER, "find-node is answered with {closer} nodes");
    let found = caller.ask(LOOKUP, Some(topic()))?;
    let peers = LookupReply::decode(found.value.context("a look-up is answered without peers")?)?.peers.len();
    ensure!(found.closer.len() == CLOSER, "a look-up is answered with {} nodes", found.closer.len());
    ensure!(u64::try_from(peers)? == PEERS, "a look-up is answered with {peers} peers");
    Ok(())
}

/// What answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    /// A node, which may also ask.
    Node,
    /// Something that sends everything back.
    Echo,
}

/// What a run showed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Answers {
    /// Requests answered.
    pub(crate) answered: u64,
    /// Requests that were not.
    pub(crate) lost: u64,
    /// How long it took.
    pub(crate) wall: Duration,
}

/// Asks one server, always with the same number of requests outstanding.
pub(crate) struct Generator {
    socket: UdpSocket,
    to: SocketAddrV4,
    server: Server,
    inbox: Inbox,
    outbound: Outbound,
    burst: Vec<u8>,
    requests: Vec<Vec<u8>>,
    next: usize,
    tid: u16,
    waiting: Vec<bool>,
    outstanding: usize,
}

impl Generator {
    pub(crate) fn new(to: SocketAddrV4, server: Server) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        Ok(Self {
            socket,
            to,
            server,
            inbox: Inbox::new(),
            outbound: Outbound::new(),
            burst: Vec::new(),
            requests: Vec::new(),
            next: 0,
            tid: 0,
            waiting: vec![false; 1 << 16],
            outstanding: 0,
        })
    }

    /// Asks for this long.
    pub(crate) fn run(&mut self, kind: Kind, time: Duration) -> Result<Answers> {
        self.requests = (0..TARGETS).map(|number| kind.request(self.to, number)).collect();
        self.waiting.fill(false);
        self.outstanding = 0;
        let mut answers = Answers::default();
        let start = Instant::now();
        let mut heard = start;
        loop {
            let now = Instant::now();
            if now - start >= time {
                break;
            }
            if now - heard > PATIENCE {
                answers.lost += u64::try_from(self.outstanding)?;
                self.waiting.fill(false);
                self.outstanding = 0;
                heard = now;
            }
            self.refill()?;
            let answered = self.collect()?;
            if answered > 0 {
                heard = now;
                answers.answered += answered;
            } else {
                thread::yield_now();
            }
        }
        answers.wall = start.elapsed();
        Ok(answers)
    }

    /// Sends as one segmented datagram what the window has room for: that costs the generator less than it costs
    /// the server, so that the server is what is measured.
    fn refill(&mut self) -> Result<()> {
        self.outbound.flush(&self.socket)?;
        self.burst.clear();
        let room = (WINDOW - self.outstanding).min(BATCH);
        for _ in 0..room {
            self.tid = self.tid.wrapping_add(1);
            let start = self.burst.len();
            self.burst.extend_from_slice(&self.requests[self.next]);
            self.burst[start + 2..start + 4].copy_from_slice(&self.tid.to_le_bytes());
            self.next = (self.next + 1) % self.requests.len();
            self.waiting[usize::from(self.tid)] = true;
            self.outstanding += 1;
        }
        if room > 0 {
            send_segments(&self.socket, self.to, &self.burst, self.requests[0].len())?;
        }
        Ok(())
    }

    /// Takes answers, and answers a server that wants to know whether this address is ours.
    fn collect(&mut self) -> Result<u64> {
        self.inbox.receive(&self.socket, Wait::Never)?;
        let mut answered = 0;
        for (meta, bytes) in self.inbox.iter() {
            let [first, _, low, high, ..] = *bytes else { continue };
            if first != RESPONSE && self.server == Server::Node {
                self.outbound.push(meta.from, |out| {
                    pong(bytes, meta.from, None, out);
                });
                continue;
            }
            let tid = usize::from(u16::from_le_bytes([low, high]));
            if std::mem::take(&mut self.waiting[tid]) {
                self.outstanding -= 1;
                answered += 1;
            }
        }
        Ok(answered)
    }
}
