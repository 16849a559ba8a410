//! What all connections stand on: the DHT, the streams, chance, and sockets.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use dht::{AnyPort, Command, Hyper, OperationId, Patience, Ports, Sending, Task};
use peer::{PairToken, Probe, PunchLimiter, Secret, Side};
use rand::RngExt as _;
use rand::rngs::StdRng;
use udx::{StreamId, Udx};
use wire::hyper::RelayThrough;
use wire::{Id, PublicKey, SocketId};

use crate::event::{DialId, SlotId};
use crate::policy::{RelayPolicy, Resort};
use crate::relays::Book;
use crate::survey::{Punches, Way};

/// Sockets of hole punches at one time: two random punches of 256, and room for ordinary ones.
const SOCKETS_MAX: usize = 1024;

/// Of these, sockets of punches that strangers began: what they ask for leaves room for dials of ours.
const STRANGERS_SOCKETS_MAX: usize = SOCKETS_MAX / 2;
/// Probes that wait to be sent; a flood of probes that ask for answers is answered no further.
const PROBES_MAX: usize = 4096;
/// How long the socket of a connection that is over stays: the reference gives up after 13 s.
const LINGER: Duration = Duration::from_secs(15);

/// Who waits for the outcome of something that the DHT does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errand {
    /// A dial looks for nodes that know its peer.
    Find(DialId),
    /// A dial sent the first message of its handshake through a node.
    Shake(DialId, SocketAddrV4),
    /// A dial sent a message about hole punching through a node.
    Punch(DialId, SocketAddrV4),
    /// A dial asks whether its peer is in the same network.
    Lan(DialId, SocketAddrV4),
    /// A hole punch learns how a node sees one of its sockets.
    Sample(Holder, SocketId),
    /// The roster refreshes a topic.
    Refresh(PublicKey, Id<32>),
    /// Relays are looked for.
    Relays,
}

/// What a dial or a handshake wants of a relay.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Want {
    /// That a stream is joined with the peer's.
    Join(Crossing),
    /// A connection with it, as it will soon be needed.
    Ready(PublicKey),
    /// No more of this.
    Release(PairToken),
}

/// A stream of ours that is to be joined with its peer's at a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crossing {
    pub(crate) relay: PublicKey,
    pub(crate) token: PairToken,
    /// The initiator is whoever proposed the relay.
    pub(crate) side: Side,
    pub(crate) stream: StreamId,
}

impl Crossing {
    pub(crate) const fn new(through: &RelayThrough, side: Side, stream: StreamId) -> Self {
        Self { relay: PublicKey(through.public_key), token: PairToken(through.token), side, stream }
    }
}

/// Whose hole punch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Holder {
    Dial(DialId),
    Slot(SlotId),
}

/// What connections share.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) hyper: Hyper,
    pub(crate) udx: Udx,
    pub(crate) rng: StdRng,
    pub(crate) errands: BTreeMap<OperationId, Errand>,
    pub(crate) commands: VecDeque<Command>,
    /// Sockets of hole punches, with whose they are.
    pub(crate) sockets: BTreeMap<SocketId, Holder>,
    /// How those of them that have a path got it.
    pub(crate) ways: BTreeMap<SocketId, Way>,
    pub(crate) punches: Punches,
    socket_serial: u16,
    /// Sockets of connections that are over, which still answer late packets.
    closing: VecDeque<(Instant, SocketId)>,
    /// Probes that wait to be sent.
    pub(crate) probes: VecDeque<Probe>,
    /// One random punch at a time.
    pub(crate) limiter: PunchLimiter,
    /// Addresses of this host's interfaces, without loopback.
    pub(crate) interfaces: Vec<Ipv4Addr>,
    /// What is wanted of relays and was not done yet.
    pub(crate) wants: VecDeque<Want>,
    pub(crate) book: Book,
}

impl Ground {
    pub(crate) fn new(hyper: Hyper, udx: Udx, rng: StdRng) -> Self {
        Self {
            hyper,
            udx,
            rng,
            errands: BTreeMap::new(),
            commands: VecDeque::new(),
            sockets: BTreeMap::new(),
            ways: BTreeMap::new(),
            punches: Punches { consistent: 0, random: 0, predicted: 0, open: 0, try_later: 0 },
            socket_serial: 1,
            closing: VecDeque::new(),
            probes: VecDeque::new(),
            limiter: PunchLimiter::new(PunchLimiter::INTERVAL),
            interfaces: Vec::new(),
            wants: VecDeque::new(),
            book: Book::default(),
        }
    }

    /// Starts something in the DHT for one of us.
    pub(crate) fn send(&mut self, now: Instant, task: Task, errand: Errand) -> OperationId {
        let operation = self.hyper.start(now, task);
        self.errands.insert(operation, errand);
        operation
    }

    pub(crate) fn cancel(&mut self, now: Instant, operation: OperationId) {
        if self.errands.remove(&operation).is_some() {
            self.hyper.cancel(now, operation);
        }
    }

    /// Ends everything that is under way for one of us.
    pub(crate) fn cancel_all(&mut self, now: Instant, unwanted: impl Fn(&Errand) -> bool) {
        let operations: Vec<_> = self
            .errands
            .iter()
            .filter(|(_, errand)| unwanted(errand))
            .map(|(operation, _)| *operation)
            .collect();
        for operation in operations {
            self.cancel(now, operation);
        }
    }

    pub(crate) fn secret(&mut self) -> Secret {
        Secret::new(self.rng.random())
    }

    /// Asks the host for one more socket, unless there are too many.
    pub(crate) fn open_socket(&mut self, owner: Holder) -> Option<SocketId> {
        let strangers = || self.sockets.values().filter(|holder| matches!(holder, Holder::Slot(_))).count();
        let is_full = self.sockets.len() >= SOCKETS_MAX
            || matches!(owner, Holder::Slot(_)) && strangers() >= STRANGERS_SOCKETS_MAX;
        if is_full {
            return None;
        }
        // Names are used again, but as late as possible: a datagram may still be under way.
        let socket = loop {
            self.socket_serial = self.socket_serial.checked_add(1).unwrap_or(SocketId::CLIENT.0 + 1);
            if !self.sockets.contains_key(&SocketId(self.socket_serial)) {
                break SocketId(self.socket_serial);
            }
        };
        self.sockets.insert(socket, owner);
        let host = self.hyper.local()[0].map_or(Ipv4Addr::UNSPECIFIED, |local| *local.ip());
        let ports = Ports { host, candidates: Vec::new(), any: AnyPort::Allowed };
        self.commands.push_back(Command::Open { socket, ports });
        Some(socket)
    }

    /// Keeps a socket that is used again.
    pub(crate) fn keep_socket(&mut self, socket: SocketId) {
        self.closing.retain(|(_, closing)| *closing != socket);
    }

    /// Sends a probe, unless too many wait.
    pub(crate) fn probe(&mut self, probe: Probe) {
        if self.probes.len() < PROBES_MAX {
            self.probes.push_back(probe);
        }
    }

    pub(crate) fn close_socket(&mut self, socket: SocketId) {
        self.ways.remove(&socket);
        if self.sockets.remove(&socket).is_some() {
            self.commands.push_back(Command::Close(socket));
        }
    }

    /// Closes the socket of a connection once its peer has given up to repeat its last packets.
    pub(crate) fn close_later(&mut self, now: Instant, socket: SocketId) {
        if self.sockets.contains_key(&socket) {
            self.closing.push_back((now + LINGER, socket));
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, socket)) = self.closing.front().copied()
            && at <= now
        {
            self.closing.pop_front();
            self.close_socket(socket);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.closing.front().map(|(at, _)| *at)
    }

    /// Chooses a relay to propose to a peer, where there should be one and one is known.
    pub(crate) fn propose(&mut self, policy: &RelayPolicy, resort: Resort) -> Option<RelayThrough> {
        let is_likely = resort == Resort::Last || self.hyper.is_randomized();
        let public_key = match policy {
            RelayPolicy::These(keys) if !keys.is_empty() && (is_likely || resort == Resort::Usual) => {
                keys[self.rng.random_range(0..keys.len())]
            }
            RelayPolicy::Found if is_likely => self.book.choose(&mut self.rng)?,
            RelayPolicy::These(_) | RelayPolicy::Found | RelayPolicy::Never => return None,
        };
        Some(RelayThrough { version: 1, public_key: public_key.0, token: self.rng.random() })
    }

    /// Where peers of the same network may reach the server socket (`hyperdht lib/connect.js`).
    pub(crate) fn local_addresses(&self) -> Vec<SocketAddrV4> {
        let Some(server) = self.hyper.local()[0] else { return Vec::new() };
        let hosts = match *server.ip() {
            ip if !ip.is_unspecified() => vec![ip],
            _ if self.interfaces.is_empty() => vec![Ipv4Addr::LOCALHOST],
            _ => self.interfaces.clone(),
        };
        hosts.into_iter().map(|host| SocketAddrV4::new(host, server.port())).collect()
    }

    /// The public address, if it is one that others reach the server socket by (`hyperdht index.js`).
    pub(crate) fn open_address(&self) -> Option<SocketAddrV4> {
        let port = self.hyper.local()[0]?.port();
        self.hyper.address().filter(|addr| !self.hyper.is_firewalled() && addr.port() == port)
    }

    /// How a message to a peer is sent through a node: repeated sooner than the reference's second, since it is
    /// on its way to a person who waits. The way through a node is about twice as long as that to it.
    pub(crate) const fn hurried(from: Option<SocketId>) -> Sending {
        let (min, max) = (Duration::from_millis(250), Duration::from_secs(1));
        Sending { from, retries: 5, patience: Some(Patience::Adaptive { min, max }) }
    }

    /// How a message is sent that begins a punch at random ports. The reference opens 256 sockets before it answers,
    /// takes a repetition meanwhile for a second such punch, and ends both: it has the second that it grants itself.
    pub(crate) const fn unhurried(from: Option<SocketId>) -> Sending {
        Sending { from, retries: 3, patience: Some(Patience::Fixed(Duration::from_secs(1))) }
    }

    /// How nodes are asked how they see a socket: once, as another will do.
    pub(crate) const fn once(from: SocketId) -> Sending {
        let patience = Some(Patience::Fixed(Duration::from_secs(1)));
        Sending { from: Some(from), retries: 0, patience }
    }
}
