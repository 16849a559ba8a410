//! A node of the BitTorrent Mainline DHT, with a task and sockets of its own.
//!
//! It never shares HyperDHT's sockets: what it sends from them would open ways that falsify that network's
//! test of its firewall.

mod driver;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use dht::mainline::{Outcome, Pong, Scraped, Snapshot};
use tokio::sync::{broadcast, mpsc, oneshot};
use wire::Id;
use wire::krpc::Family;

pub use dht::mainline::Config as Machine;
pub use dht::mainline::{
    Binding, ContactState, Diversity, Event, Failure, Limits, Port, Rate, Sampling, StackState, Stored, Task,
    Value, Walked, sha1,
};
pub use wire::bencode;

use crate::ask::Ticket;
use crate::clock::Clock;
use crate::entropy;
use crate::mainline::driver::{Ask, Driver, Seats};
use crate::node::{SpawnError, Stopped};

/// Asks that wait for a busy node; beyond them the callers wait.
const ASKS_MAX: usize = 64;
/// Answers of one look-up that wait for its reader; what comes above them is dropped.
const FOUND_MAX: usize = 1024;
/// Events that a reader may lag behind.
const EVENTS_MAX: usize = 64;

/// Where a node listens, and what its machine does.
#[derive(Clone, Debug)]
pub struct Config {
    /// Local IPv4 address; none does without that internet.
    pub v4: Option<Ipv4Addr>,
    /// Local IPv6 address; a computer without IPv6 does without that internet.
    pub v6: Option<Ipv6Addr>,
    /// UDP port of both sockets; 0 is any.
    pub port: u16,
    /// Everything else.
    pub machine: Machine,
}

impl Default for Config {
    fn default() -> Self {
        let (v4, v6) = (Some(Ipv4Addr::UNSPECIFIED), Some(Ipv6Addr::UNSPECIFIED));
        Self { v4, v6, port: Self::PORT, machine: Machine::default() }
    }
}

impl Config {
    /// The port that most nodes have.
    pub const PORT: u16 = 6881;

    /// A node of a private network on loopback, on any port.
    #[must_use]
    pub fn testnet(nodes: Vec<SocketAddr>) -> Self {
        Self { v4: Some(Ipv4Addr::LOCALHOST), v6: None, port: 0, machine: Machine::testnet(nodes) }
    }
}

/// A running Mainline node. Handles are cheap to clone; the node ends with [`Mainline::shutdown`], or when the last
/// handle is dropped. Others forget what it announced within 45 minutes: the network knows no unannouncing.
///
/// Every future of this type is cancellation-safe: dropping it cancels the operation that it waits for.
#[derive(Clone, Debug)]
pub struct Mainline {
    asks: mpsc::Sender<Ask>,
    events: broadcast::Sender<Event>,
    local: [Option<SocketAddr>; 2],
}

/// Why an operation came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OperationError {
    /// The network did not do it.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The node was shut down.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl Mainline {
    /// Opens the sockets and starts the task that runs the node. Must be called inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// Fails if the IPv4 socket cannot be bound, or without randomness.
    // Async as a promise that the caller is inside a runtime, which the sockets need.
    #[expect(clippy::unused_async, reason = "a runtime is needed, and only an async function has one")]
    pub async fn spawn(config: Config) -> Result<Self, SpawnError> {
        let clock = Clock::start();
        let seed = entropy::seed().map_err(SpawnError::Entropy)?;
        let bound = Seats::open(&config);
        let host = config
            .v4
            .map_or_else(|| SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)), |v4| (v4, config.port).into());
        let seats = bound.map_err(|error| SpawnError::Bind(host, error))?;
        let families: Vec<Family> = seats.families().collect();
        if families.is_empty() {
            return Err(SpawnError::Bind(host, io::ErrorKind::Unsupported.into()));
        }
        let machine = dht::mainline::Mainline::new(config.machine, &families, seed, clock.now());
        let (asks, receiver) = mpsc::channel(ASKS_MAX);
        let (events, _) = broadcast::channel(EVENTS_MAX);
        let local = seats.local();
        let driver = Driver::new(machine, (clock, seats), receiver, asks.downgrade(), events.clone());
        tokio::spawn(driver.run());
        Ok(Self { asks, events, local })
    }

    /// Returns the local addresses, of IPv4 and of IPv6.
    pub const fn local(&self) -> [Option<SocketAddr>; 2] {
        self.local
    }

    /// Waits until the first bootstrap has ended, with or without success.
    ///
    /// # Errors
    ///
    /// Fails if the node is shut down.
    pub async fn ready(&self) -> Result<(), Stopped> {
        self.ask(Ask::WhenReady).await
    }

    /// Announces a port under a topic now and every 10 to 15 minutes, until [`Mainline::leave`]; each time
    /// [`Event::Announced`] tells how it went.
    ///
    /// # Errors
    ///
    /// Fails if the node is shut down.
    pub async fn announce(&self, info_hash: Id<20>, port: Port) -> Result<(), Stopped> {
        self.send(Ask::Announce(info_hash, port)).await
    }

    /// Stops announcing a topic.
    ///
    /// # Errors
    ///
    /// Fails if the node is shut down.
    pub async fn leave(&self, info_hash: Id<20>) -> Result<(), Stopped> {
        self.send(Ask::Leave(info_hash)).await
    }

    /// Announces a port under a topic once.
    ///
    /// # Errors
    ///
    /// Fails if no node stores it.
    pub async fn announce_once(&self, info_hash: Id<20>, port: Port) -> Result<Stored, OperationError> {
        self.store(Task::Announce { info_hash, port }).await
    }

    /// Begins to look for the peers that announced a topic.
    ///
    /// # Errors
    ///
    /// Fails if the node is shut down.
    pub async fn lookup(&self, info_hash: Id<20>) -> Result<Lookup, Stopped> {
        let (sender, found) = mpsc::channel(FOUND_MAX);
        let running = self.start(Task::Lookup { info_hash }, Some(sender)).await?;
        Ok(Lookup { found, running })
    }

    /// Estimates how many share a topic.
    ///
    /// # Errors
    ///
    /// Fails if no node answers.
    pub async fn scrape(&self, info_hash: Id<20>) -> Result<Scraped, OperationError> {
        match self.run(Task::Scrape { info_hash }).await? {
            Outcome::Scraped(scraped) => Ok(scraped),
            outcome => Err(failure(outcome)),
        }
    }

    /// Stores a value, bencoded, under its hash.
    ///
    /// # Errors
    ///
    /// Fails if no node stores it.
    pub async fn put_immutable(&self, value: Vec<u8>) -> Result<Stored, OperationError> {
        self.store(Task::PutImmutable { value }).await
    }

    /// Stores whatever the task says under its key; see [`Task::PutMutable`].
    ///
    /// # Errors
    ///
    /// Fails if no node stores it.
    pub async fn put(&self, task: Task) -> Result<Stored, OperationError> {
        self.store(task).await
    }

    /// Reads the newest value under a target; a mutable one may have a salt.
    ///
    /// # Errors
    ///
    /// Fails if no node answers.
    pub async fn get(&self, target: Id<20>, salt: Vec<u8>) -> Result<Option<Value>, OperationError> {
        match self.run(Task::Get { target, salt }).await? {
            Outcome::Got(value, _) => Ok(value),
            outcome => Err(failure(outcome)),
        }
    }

    /// Asks one node whether it is there.
    ///
    /// # Errors
    ///
    /// Fails if no answer comes, within three seconds at most.
    pub async fn ping(&self, to: SocketAddr) -> Result<Pong, OperationError> {
        match self.run(Task::Ping { to }).await? {
            Outcome::Pong(pong) => Ok(pong),
            outcome => Err(failure(outcome)),
        }
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
    pub async fn nodes(&self) -> Result<Vec<SocketAddr>, Stopped> {
        self.ask(Ask::Nodes).await
    }

    /// Returns what happens from now on. A reader that lags more than 64 events behind is told how many it
    /// missed.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Ends the node. Other handles find it [`Stopped`].
    ///
    /// # Errors
    ///
    /// Fails if the node was shut down already.
    pub async fn shutdown(self) -> Result<(), Stopped> {
        self.ask(Ask::Shutdown).await
    }

    async fn store(&self, task: Task) -> Result<Stored, OperationError> {
        match self.run(task).await? {
            Outcome::Stored(stored) => Ok(stored),
            outcome => Err(failure(outcome)),
        }
    }

    async fn run(&self, task: Task) -> Result<Outcome, Stopped> {
        self.start(task, None).await?.outcome().await
    }

    async fn start(&self, task: Task, found: Option<mpsc::Sender<Found>>) -> Result<Running, Stopped> {
        let (done, outcome) = oneshot::channel();
        let ticket = Ticket::next();
        self.send(Ask::Start { ticket, task: Box::new(task), found, done }).await?;
        Ok(Running { ticket, outcome, asks: self.asks.clone() })
    }

    async fn send(&self, ask: Ask) -> Result<(), Stopped> {
        self.asks.send(ask).await.map_err(|_| Stopped)
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, Stopped> {
        let (answer, answered) = oneshot::channel();
        self.send(ask(answer)).await?;
        answered.await.map_err(|_| Stopped)
    }
}

/// A peer that a look-up found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The peer.
    pub peer: SocketAddr,
    /// The DHT node that told of it first.
    pub from: SocketAddr,
}

/// A look-up under way; dropping it cancels it.
#[derive(Debug)]
#[must_use]
pub struct Lookup {
    found: mpsc::Receiver<Found>,
    running: Running,
}

impl Lookup {
    /// Waits for the next peer; `None` when the walk has ended. Each peer comes once. Cancellation-safe.
    pub async fn next(&mut self) -> Option<Found> {
        self.found.recv().await
    }

    /// Waits until the walk has ended, and returns its figures. Peers not yet read are dropped.
    ///
    /// # Errors
    ///
    /// Fails if no node answered.
    pub async fn finish(self) -> Result<Walked, OperationError> {
        match self.running.outcome().await? {
            Outcome::Walked(walked) => Ok(walked),
            outcome => Err(failure(outcome)),
        }
    }
}

/// An operation that ends when it is dropped.
#[derive(Debug)]
struct Running {
    ticket: Ticket,
    outcome: oneshot::Receiver<Outcome>,
    asks: mpsc::Sender<Ask>,
}

impl Running {
    async fn outcome(mut self) -> Result<Outcome, Stopped> {
        (&mut self.outcome).await.map_err(|_| Stopped)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.outcome.try_recv(), Err(oneshot::error::TryRecvError::Empty)) {
            // A node that is too busy to hear it finishes what nobody waits for.
            self.asks.try_send(Ask::Cancel(self.ticket)).unwrap_or_default();
        }
    }
}

fn failure(outcome: Outcome) -> OperationError {
    match outcome {
        Outcome::Failed(failure) => failure.into(),
        other => unreachable!("the machine does not end this operation with {other:?}"),
    }
}
