use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use ::swarm::roster::{FlushOutcome, JoinError, JoinId, Role};
use ::swarm::{
    CircleOptions, DialError, DialOptions, Identity, ListenOptions, RelayNews, RelayOptions, Swarm, Visitor,
};
use dht::{KeyPair, Outcome, Peer, PublicKey, Task};
use tokio::sync::{mpsc, oneshot};
use wire::Id;

use crate::connection::Connection;
use crate::contacts::Contact;
use crate::interfaces::Interfaces;
use crate::snapshot::Snapshot;
use crate::swarm::Meeting;

/// Asks that wait for a busy node; beyond them the callers wait.
pub(crate) const ASKS_MAX: usize = 64;
/// Replies of one look-up that wait for its reader; a walk gets fewer, unless nobody reads.
pub(crate) const REPLIES_MAX: usize = 256;

/// What handles ask of the task that owns the node.
pub(crate) enum Ask {
    Start {
        ticket: Ticket,
        task: Box<Task>,
        tell: Tell,
    },
    Cancel(Ticket),
    Announce {
        topic: Id<32>,
        key: Box<KeyPair>,
    },
    Leave {
        topic: Id<32>,
        done: oneshot::Sender<Outcome>,
    },
    Dial {
        key: PublicKey,
        identity: Arc<Identity>,
        options: Box<DialOptions>,
        done: oneshot::Sender<Result<Connection, DialError>>,
    },
    /// Somebody no longer waits for a dial.
    CancelDials,
    Serve {
        identity: Arc<Identity>,
        options: ListenOptions,
        accepted: mpsc::Sender<Connection>,
    },
    HostRelay {
        identity: Arc<Identity>,
        options: Box<RelayOptions>,
        news: mpsc::Sender<RelayNews>,
    },
    Visits {
        key: PublicKey,
        asked: mpsc::Sender<Visitor>,
    },
    Gather {
        identity: Arc<Identity>,
        options: Box<CircleOptions>,
        meetings: mpsc::Sender<Meeting>,
    },
    Join {
        local: PublicKey,
        topic: Id<32>,
        role: Role,
        done: oneshot::Sender<Result<JoinId, JoinError>>,
    },
    Flush {
        local: PublicKey,
        done: oneshot::Sender<FlushOutcome>,
    },
    Disperse {
        local: PublicKey,
        done: Option<oneshot::Sender<()>>,
    },
    /// A change or a question that needs no memory of ours.
    WithSwarm(Change),
    Listen(Box<KeyPair>),
    Unlisten {
        key: PublicKey,
        done: oneshot::Sender<Outcome>,
    },
    WhenReady(oneshot::Sender<()>),
    Snapshot(oneshot::Sender<Box<Snapshot>>),
    Nodes(oneshot::Sender<Vec<SocketAddrV4>>),
    Contacts(oneshot::Sender<Vec<Contact>>),
    Suspend,
    Resume,
    Shutdown(oneshot::Sender<Vec<Left>>),
    /// The watch found other addresses.
    Interfaces(Interfaces),
    /// The name service answered.
    Resolved {
        host: String,
        addresses: Vec<Ipv4Addr>,
    },
}

/// Something to do with the machine, at a time.
pub(crate) type Change = Box<dyn FnOnce(&mut Swarm, Instant) + Send>;

/// What became of the announcement of a topic when its node was shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// The topic.
    pub topic: Id<32>,
    /// Nodes that removed the announcement; `None` if there was no time to ask them all.
    pub removed: Option<usize>,
}

/// Who waits for an operation.
pub(crate) struct Tell {
    pub(crate) replies: Option<mpsc::Sender<Reply>>,
    pub(crate) done: oneshot::Sender<Outcome>,
}

/// The peers that one node knew of.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) from: SocketAddrV4,
    pub(crate) peers: Vec<Peer>,
}

/// Names an operation from the moment it is asked for, before the machine has given it a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

impl Ticket {
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Cancels its operation when it is dropped first.
#[derive(Debug)]
pub(crate) struct Cancel {
    ticket: Ticket,
    asks: Option<mpsc::Sender<Ask>>,
}

impl Cancel {
    pub(crate) fn new(ticket: Ticket, asks: mpsc::Sender<Ask>) -> Self {
        Self { ticket, asks: Some(asks) }
    }

    /// The operation has ended by itself.
    pub(crate) fn disarm(mut self) {
        self.asks = None;
    }
}

impl Drop for Cancel {
    fn drop(&mut self) {
        if let Some(asks) = self.asks.take()
            && asks.try_send(Ask::Cancel(self.ticket)).is_err()
        {
            tracing::debug!(ticket = ?self.ticket, "too busy to cancel; the operation runs to its end");
        }
    }
}
