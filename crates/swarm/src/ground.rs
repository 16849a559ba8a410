//! What all connections stand on: the DHT, the streams, chance, and sockets.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Instant;

use dht::{AnyPort, Command, Hyper, OperationId, Ports, Sending, Task};
use peer::Secret;
use rand::RngExt as _;
use rand::rngs::StdRng;
use udx::Udx;
use wire::{Id, SocketId};

use crate::event::{DialId, SlotId};

/// Sockets of hole punches at one time: two random punches of 256, and room for ordinary ones.
const SOCKETS_MAX: usize = 1024;

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
    Sample(Puncher, SocketId),
    /// The roster refreshes a topic.
    Refresh(Id<32>),
}

/// Whose hole punch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Puncher {
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
    pub(crate) sockets: BTreeMap<SocketId, Puncher>,
    socket_serial: u16,
    /// Addresses of this host's interfaces, without loopback.
    pub(crate) interfaces: Vec<Ipv4Addr>,
}

impl Ground {
    pub(crate) const fn new(hyper: Hyper, udx: Udx, rng: StdRng) -> Self {
        Self {
            hyper,
            udx,
            rng,
            errands: BTreeMap::new(),
            commands: VecDeque::new(),
            sockets: BTreeMap::new(),
            socket_serial: 1,
            interfaces: Vec::new(),
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
    pub(crate) fn open_socket(&mut self, owner: Puncher) -> Option<SocketId> {
        if self.sockets.len() >= SOCKETS_MAX {
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

    pub(crate) fn close_socket(&mut self, socket: SocketId) {
        if self.sockets.remove(&socket).is_some() {
            self.commands.push_back(Command::Close(socket));
        }
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

    /// A plain request that is sent from a socket of ours and repeated as said.
    pub(crate) const fn sending(from: Option<SocketId>, retries: u8) -> Sending {
        Sending { from, retries }
    }
}
