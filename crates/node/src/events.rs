use std::net::SocketAddrV4;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use ::swarm::{DialError, LinkError, LinkId, Opened, Route};
use dht::PublicKey;
use tokio::sync::broadcast;
use wire::{Id, SocketId};

use crate::sockets::Sockets;

/// Events kept for a reader that lags behind; the oldest are dropped then, and the reader is told.
const EVENTS_MAX: usize = 64;

/// What happens to a node, for whoever wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The sockets are open.
    Listening {
        /// Local address of the socket that others can reach.
        server: SocketAddrV4,
        /// Local address of the socket that asks while firewalled.
        client: SocketAddrV4,
    },
    /// The first bootstrap ended, with or without success.
    Ready,
    /// Others store this node from now on.
    Persistent,
    /// Others store this node no more.
    Ephemeral,
    /// The public address became known, or another one.
    AddressChanged,
    /// The node went online, offline, degraded or back.
    HealthChanged,
    /// The computer's addresses changed.
    NetworkChanged,
    /// The computer slept.
    Woke,
    /// The sockets were closed on request.
    Suspended,
    /// The sockets are open again.
    Resumed,
    /// A topic was announced, for the first time or again.
    Announced {
        /// The topic.
        topic: Id<32>,
        /// Nodes that stored it.
        stored: usize,
    },
    /// A key that is listened for was announced, for the first time or again.
    Reachable {
        /// The key.
        public_key: PublicKey,
        /// Nodes that pass handshakes on to it; none where the attempt failed, which is repeated soon.
        relays: Vec<SocketAddrV4>,
    },
    /// A peer is connected, and an application has the connection.
    Connected(Opened),
    /// Such a connection is over.
    Disconnected {
        /// Which.
        link: LinkId,
        /// Whose.
        remote: PublicKey,
        /// Why.
        why: LinkError,
    },
    /// A connection's packets travel another way.
    Rerouted {
        /// Which.
        link: LinkId,
        /// How.
        route: Route,
    },
    /// The peer of a connection has been silent for 18 s. The connection is kept, and counts as open again once the
    /// peer is heard.
    Stalled(LinkId),
    /// The peer of a stalled connection is heard again.
    Revived(LinkId),
    /// A swarm found a peer in a topic, for the first time as long as it is remembered.
    PeerFound {
        /// The topic.
        topic: Id<32>,
        /// The peer.
        remote: PublicKey,
    },
    /// A dial came to nothing.
    DialFailed {
        /// Whom it was to.
        remote: PublicKey,
        /// Why.
        error: DialError,
    },
}

impl Event {
    /// Translates what concerns everybody; the others belong to one operation.
    pub(crate) fn new(event: &dht::Event, sockets: &Sockets) -> Option<Self> {
        Some(match event {
            dht::Event::Listening => Self::Listening {
                server: sockets.local(SocketId::SERVER)?,
                client: sockets.local(SocketId::CLIENT)?,
            },
            dht::Event::Ready => Self::Ready,
            dht::Event::Persistent => Self::Persistent,
            dht::Event::Ephemeral => Self::Ephemeral,
            dht::Event::AddressChanged => Self::AddressChanged,
            dht::Event::HealthChanged => Self::HealthChanged,
            dht::Event::Woke => Self::Woke,
            dht::Event::Suspended => Self::Suspended,
            dht::Event::Resumed => Self::Resumed,
            dht::Event::Announced { topic, stored } => Self::Announced { topic: *topic, stored: *stored },
            dht::Event::Reachable { public_key, relays } => {
                Self::Reachable { public_key: *public_key, relays: relays.clone() }
            }
            dht::Event::Peers { .. } | dht::Event::Finished { .. } | _ => return None,
        })
    }
}

/// The events of one node. A node that nobody listens to keeps no buffer for them.
#[derive(Debug, Default)]
pub(crate) struct Events {
    sender: OnceLock<broadcast::Sender<Event>>,
    missed: AtomicU64,
}

impl Events {
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.sender.get_or_init(|| broadcast::Sender::new(EVENTS_MAX)).subscribe()
    }

    pub(crate) fn send(&self, event: Event) {
        if let Some(sender) = self.sender.get() {
            // Without a receiver there is nobody to tell.
            sender.send(event).unwrap_or_default();
        }
    }

    pub(crate) fn count_missed(&self) {
        self.missed.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }
}
