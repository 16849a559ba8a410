use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;

use ::swarm::{DialError, DialOptions, Identity, ListenOptions, Swarm};
use dht::{Answered, Config, KeyPair, Outcome, Peer, PublicKey, Task, UnixMillis, Walked};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time;
use wire::{Id, SocketId};

use crate::ask::{ASKS_MAX, Ask, Cancel, Left, REPLIES_MAX, Reply, Tell, Ticket};
use crate::clock::Clock;
use crate::connection::Connection;
use crate::contacts::Contact;
use crate::driver::{BACKLOG_MAX, Driver};
use crate::entropy;
use crate::events::{Event, Events};
use crate::interfaces::{self, Interfaces};
use crate::snapshot::{Snapshot, unix_millis};

mod outcome;

pub use outcome::{AskError, PutError, Record, Stored, WalkError};

/// A running node. Handles are cheap to clone; the node ends with [`Node::shutdown`], or at once and without
/// unannouncing anything when the last handle is dropped.
///
/// Every future of this type is cancellation-safe: dropping it cancels the operation that it waits for.
#[derive(Clone, Debug)]
pub struct Node {
    asks: mpsc::Sender<Ask>,
    events: Arc<Events>,
    server: SocketAddrV4,
    client: SocketAddrV4,
}

/// Why a node could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// A port is taken, or the address is not this computer's.
    #[error("cannot listen on {0}")]
    Bind(SocketAddr, #[source] io::Error),
    /// The system has no randomness to give.
    #[error("no randomness")]
    Entropy(#[source] io::Error),
}

/// Why a connection could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The peer could not be reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The node was shut down.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// The connections of peers to one key. Those that arrive while 128 wait are closed.
#[derive(Debug)]
pub struct Listener {
    connections: mpsc::Receiver<Connection>,
}

impl Listener {
    /// Waits for the next connection; `None` once the key is served no more. Cancellation-safe.
    pub async fn accept(&mut self) -> Option<Connection> {
        self.connections.recv().await
    }
}

/// The node was shut down before it could answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node was shut down")]
pub struct Stopped;

impl Node {
    /// Opens the sockets and starts the task that runs the node. Must be called inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// Fails if the sockets cannot be bound, or without randomness.
    // Async as a promise that the caller is inside a runtime, which the sockets need.
    #[expect(clippy::unused_async, reason = "a runtime is needed, and only an async function has one")]
    pub async fn spawn(mut config: Config) -> Result<Self, SpawnError> {
        let clock = Clock::start();
        let seed = entropy::seed().map_err(SpawnError::Entropy)?;
        let is_local = config.host.is_loopback();
        config.wall_clock = UnixMillis(unix_millis());
        let swarm = Swarm::new(::swarm::Config::new(config), seed, clock.now());

        let (asks, receiver) = mpsc::channel(ASKS_MAX);
        let events = Arc::new(Events::default());
        let mut driver = Driver::new(swarm, clock, receiver, asks.downgrade(), Arc::clone(&events));
        driver.open().map_err(|(ports, error)| {
            let port = ports.candidates.first().copied().unwrap_or_default();
            SpawnError::Bind((ports.host, port).into(), error)
        })?;
        let closed = || {
            SpawnError::Bind((std::net::Ipv4Addr::UNSPECIFIED, 0).into(), io::ErrorKind::NotConnected.into())
        };
        let server = driver.sockets().local(SocketId::SERVER).ok_or_else(closed)?;
        let client = driver.sockets().local(SocketId::CLIENT).ok_or_else(closed)?;
        if !is_local {
            let now = Interfaces::read().unwrap_or_default();
            driver.note_interfaces(now.clone());
            tokio::spawn(watch_interfaces(now, asks.downgrade()));
        }
        tokio::spawn(driver.run());
        Ok(Self { asks, events, server, client })
    }

    /// Returns the local address of the socket that others can reach, as it was at the start.
    pub fn server_address(&self) -> SocketAddrV4 {
        self.server
    }

    /// Returns the local address of the socket that asks while firewalled, as it was at the start.
    pub fn client_address(&self) -> SocketAddrV4 {
        self.client
    }

    /// Waits until the first bootstrap has ended, with or without success.
    ///
    /// # Errors
    ///
    /// Fails if the node is shut down.
    pub async fn ready(&self) -> Result<(), Stopped> {
        self.ask(Ask::WhenReady).await
    }

    /// Asks one node whether it is there.
    ///
    /// # Errors
    ///
    /// Fails if no answer comes after all retries, about four seconds.
    pub async fn ping(&self, to: SocketAddrV4) -> Result<Answered, AskError> {
        outcome::answered(self.run(Task::Ping { to }).await?)
    }

    /// Walks to the nodes closest to an id.
    ///
    /// # Errors
    ///
    /// Fails if no node answers.
    pub async fn find_node(&self, target: Id<32>) -> Result<Walked, WalkError> {
        outcome::walked(self.run(Task::FindNode { target }).await?)
    }

    /// Begins to look for the peers that announced a topic.
    ///
    /// # Errors
    ///
    /// Fails if the node is shut down.
    pub async fn lookup(&self, topic: Id<32>) -> Result<Lookup, Stopped> {
        self.start_lookup(Task::Lookup { topic }).await
    }

    /// Begins to look for the relays of a key.
    ///
    /// # Errors
    ///
    /// Fails if the node is shut down.
    pub async fn find_peer(&self, key: PublicKey) -> Result<Lookup, Stopped> {
        self.start_lookup(Task::FindPeer { target: dht::target(key) }).await
    }

    /// Announces a key under a topic now and every ten to twelve minutes, until [`Node::leave`] or
    /// [`Node::shutdown`]; each time [`Event::Announced`] tells how it went.
    ///
    /// # Errors
    ///
    /// Fails if the node is shut down.
    pub async fn announce(&self, topic: Id<32>, key: KeyPair) -> Result<(), Stopped> {
        self.send(Ask::Announce { topic, key: Box::new(key) }).await
    }

    /// Stops announcing a topic, and removes the announcements. Does nothing for a topic not announced.
    ///
    /// # Errors
    ///
    /// Fails if no node answers.
    pub async fn leave(&self, topic: Id<32>) -> Result<Option<Stored>, PutError> {
        let (done, left) = oneshot::channel();
        self.send(Ask::Leave { topic, done }).await?;
        left.await.ok().map(outcome::stored).transpose()
    }

    /// Announces a key under a topic once.
    ///
    /// # Errors
    ///
    /// Fails if no node stores it.
    pub async fn announce_once(&self, topic: Id<32>, key: KeyPair) -> Result<Stored, PutError> {
        let task = Task::Announce { topic, key, relays: Vec::new(), bump: 0 };
        outcome::stored(self.run(task).await?)
    }

    /// Removes what this or an earlier node announced.
    ///
    /// # Errors
    ///
    /// Fails if no node answers.
    pub async fn unannounce(&self, topic: Id<32>, key: KeyPair) -> Result<Stored, PutError> {
        outcome::stored(self.run(Task::Unannounce { topic, key }).await?)
    }

    /// Connects to whoever serves a key.
    ///
    /// # Errors
    ///
    /// Fails with the step at which it failed; the longest takes some twenty seconds.
    pub async fn connect(
        &self,
        key: PublicKey,
        identity: &Arc<Identity>,
        options: DialOptions,
    ) -> Result<Connection, ConnectError> {
        let (done, outcome) = oneshot::channel();
        let (identity, options) = (Arc::clone(identity), Box::new(options));
        self.send(Ask::Dial { key, identity, options, done }).await?;
        let forsaken = Forsaken(self);
        let outcome = outcome.await.map_err(|_| Stopped);
        drop(forsaken);
        Ok(outcome??)
    }

    /// Serves a key: announces it, and accepts who connects, until [`Node::unlisten`] or [`Node::shutdown`].
    ///
    /// # Errors
    ///
    /// Fails if the node is shut down.
    pub async fn serve(&self, identity: &Arc<Identity>, options: ListenOptions) -> Result<Listener, Stopped> {
        let (accepted, connections) = mpsc::channel(BACKLOG_MAX);
        self.send(Ask::Serve { identity: Arc::clone(identity), options, accepted }).await?;
        Ok(Listener { connections })
    }

    /// Makes a key reachable through this node: announces it on three relays and keeps them warm, until
    /// [`Node::unlisten`] or [`Node::shutdown`].
    ///
    /// # Errors
    ///
    /// Fails if the node is shut down.
    pub async fn listen(&self, key: KeyPair) -> Result<(), Stopped> {
        self.send(Ask::Listen(Box::new(key))).await
    }

    /// Takes a key off the network. Does nothing for a key that was not listened for.
    ///
    /// # Errors
    ///
    /// Fails if no node answers.
    pub async fn unlisten(&self, key: PublicKey) -> Result<Option<Stored>, PutError> {
        let (done, left) = oneshot::channel();
        self.send(Ask::Unlisten { key, done }).await?;
        left.await.ok().map(outcome::stored).transpose()
    }

    /// Stores a value under its hash.
    ///
    /// # Errors
    ///
    /// Fails if no node stores it.
    pub async fn put_immutable(&self, value: Vec<u8>) -> Result<Stored, PutError> {
        outcome::stored(self.run(Task::ImmutablePut { value }).await?)
    }

    /// Reads a value by its hash; `None` if nobody has it.
    ///
    /// # Errors
    ///
    /// Fails if no node answers.
    pub async fn get_immutable(&self, target: Id<32>) -> Result<Option<Vec<u8>>, WalkError> {
        Ok(outcome::found(self.run(Task::ImmutableGet { target }).await?)?.map(|(_, value)| value))
    }

    /// Stores a signed value under its key. A node that has a higher sequence number refuses it, and so does
    /// one that has the same number with another value.
    ///
    /// # Errors
    ///
    /// Fails if no node stores it.
    pub async fn put_mutable(&self, key: KeyPair, seq: u64, value: Vec<u8>) -> Result<Stored, PutError> {
        outcome::stored(self.run(Task::MutablePut { key, seq, value }).await?)
    }

    /// Reads the newest value of a key with at least this sequence number; `None` if nobody has one.
    ///
    /// # Errors
    ///
    /// Fails if no node answers.
    pub async fn get_mutable(&self, key: PublicKey, seq_min: u64) -> Result<Option<Record>, WalkError> {
        let found = outcome::found(self.run(Task::MutableGet { key, seq: seq_min }).await?)?;
        Ok(found.map(|(seq, value)| Record { seq, value }))
    }

    /// Sends any request to one node, for tools and experiments.
    ///
    /// # Errors
    ///
    /// Fails if no answer comes after all retries.
    pub async fn call(&self, call: Call) -> Result<Answered, AskError> {
        let Call { to, command, target, value } = call;
        outcome::answered(
            self.run(Task::Call { to, command, target, value, sending: dht::Sending::default() }).await?,
        )
    }

    /// Returns the state of the node.
    ///
    /// # Errors
    ///
    /// Fails if the node is shut down.
    pub async fn snapshot(&self) -> Result<Snapshot, Stopped> {
        self.ask(Ask::Snapshot).await.map(|snapshot| *snapshot)
    }

    /// Returns the addresses in the routing table, for the next start.
    ///
    /// # Errors
    ///
    /// Fails if the node is shut down.
    pub async fn nodes(&self) -> Result<Vec<SocketAddrV4>, Stopped> {
        self.ask(Ask::Nodes).await
    }

    /// Returns the addresses that this node sent datagrams to since it was started, 4,096 at most: they know
    /// its own.
    ///
    /// # Errors
    ///
    /// Fails if the node is shut down.
    pub async fn contacts(&self) -> Result<Vec<Contact>, Stopped> {
        self.ask(Ask::Contacts).await
    }

    /// Returns what happens from now on. A reader that lags more than 64 events behind is told how many it
    /// missed.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Closes the sockets, as a mobile system wants it in the background.
    ///
    /// # Errors
    ///
    /// Fails if the node is shut down.
    pub async fn suspend(&self) -> Result<(), Stopped> {
        self.send(Ask::Suspend).await
    }

    /// Opens the sockets again, on the same ports where they are free.
    ///
    /// # Errors
    ///
    /// Fails if the node is shut down.
    pub async fn resume(&self) -> Result<(), Stopped> {
        self.send(Ask::Resume).await
    }

    /// Unannounces what was announced, for at most 1.5 seconds, and ends the node; returns what became of
    /// each topic. Other handles find the node [`Stopped`].
    ///
    /// # Errors
    ///
    /// Fails if the node was shut down already.
    pub async fn shutdown(self) -> Result<Vec<Left>, Stopped> {
        self.ask(Ask::Shutdown).await
    }

    pub(crate) async fn send(&self, ask: Ask) -> Result<(), Stopped> {
        self.asks.send(ask).await.map_err(|_| Stopped)
    }

    /// Asks without waiting; a node that is too busy, or gone, does not hear it.
    pub(crate) fn try_send(&self, ask: Ask) {
        drop(self.asks.try_send(ask));
    }

    pub(crate) async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, Stopped> {
        let (answer, answered) = oneshot::channel();
        self.send(ask(answer)).await?;
        answered.await.map_err(|_| Stopped)
    }

    async fn run(&self, task: Task) -> Result<Outcome, Stopped> {
        let (done, outcome) = oneshot::channel();
        let cancel = self.start(task, Tell { replies: None, done }).await?;
        let outcome = outcome.await.map_err(|_| Stopped);
        cancel.disarm();
        outcome
    }

    async fn start_lookup(&self, task: Task) -> Result<Lookup, Stopped> {
        let (done, outcome) = oneshot::channel();
        let (sender, replies) = mpsc::channel(REPLIES_MAX);
        let cancel = self.start(task, Tell { replies: Some(sender), done }).await?;
        Ok(Lookup { replies, found: Vec::new(), outcome, cancel })
    }

    async fn start(&self, task: Task, tell: Tell) -> Result<Cancel, Stopped> {
        let ticket = Ticket::next();
        self.send(Ask::Start { ticket, task: Box::new(task), tell }).await?;
        Ok(Cancel::new(ticket, self.asks.clone()))
    }
}

/// Has dials taken back for which nobody waits any more, when it is dropped.
struct Forsaken<'a>(&'a Node);

impl Drop for Forsaken<'_> {
    fn drop(&mut self) {
        self.0.try_send(Ask::CancelDials);
    }
}

/// Any request to one node.
#[derive(Clone, Debug)]
pub struct Call {
    /// The node to ask.
    pub to: SocketAddrV4,
    /// What is asked.
    pub command: wire::Command,
    /// The key it is about.
    pub target: Option<Id<32>>,
    /// What is sent with it.
    pub value: Option<Vec<u8>>,
}

/// A look-up under way; dropping it cancels it.
#[derive(Debug)]
#[must_use]
pub struct Lookup {
    replies: mpsc::Receiver<Reply>,
    found: Vec<Found>,
    outcome: oneshot::Receiver<Outcome>,
    cancel: Cancel,
}

/// A peer that a look-up found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The peer.
    pub peer: Peer,
    /// The DHT node that knew of it; several may.
    pub from: SocketAddrV4,
}

impl Lookup {
    /// Waits for the next peer; `None` when the walk has ended. Cancellation-safe.
    ///
    /// The same peer comes once from each node that knows of it.
    pub async fn next(&mut self) -> Option<Found> {
        loop {
            if let Some(found) = self.found.pop() {
                return Some(found);
            }
            let Reply { from, peers } = self.replies.recv().await?;
            self.found.extend(peers.into_iter().rev().map(|peer| Found { peer, from }));
        }
    }

    /// Waits until the walk has ended, and returns its figures. Peers not yet read are dropped.
    ///
    /// # Errors
    ///
    /// Fails if no node answered.
    pub async fn finish(self) -> Result<Walked, WalkError> {
        let outcome = self.outcome.await.map_err(|_| Stopped)?;
        self.cancel.disarm();
        outcome::walked(outcome)
    }
}

async fn watch_interfaces(mut last: Interfaces, asks: mpsc::WeakSender<Ask>) {
    loop {
        time::sleep(interfaces::INTERVAL).await;
        let Some(asks) = asks.upgrade() else { return };
        match Interfaces::read() {
            Ok(now) if now != last => {
                last = now.clone();
                if asks.send(Ask::Interfaces(now)).await.is_err() {
                    return;
                }
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "cannot read the computer's addresses"),
        }
    }
}
