//! One channel to find peers by, over HyperDHT, Mainline, the local network, and servers of npm `dns-discovery`.
//!
//! [`Channel`] runs the machine of the same name from `homing-discovery` together with what the computer has of
//! mechanisms.

use std::io;
use std::num::NonZeroU16;

use dht::KeyPair;
pub use discovery::{
    Domain, Event, Found, Join, JoinError, Manner, NameServer, Naming, Outcome, ParseSourceError, Source,
    Sources, Topic,
};
use tokio::sync::{mpsc, oneshot};

pub use crate::local::Scope;
use crate::mainline::Mainline;
use crate::node::{Node, Stopped};

mod driver;
mod hyper;
mod mainline;

use driver::Driver;

/// Requests of handles that wait.
const ASKS_MAX: usize = 64;
/// Events that wait for their reader; beyond them the machine keeps what it has, and then takes in no more.
const EVENTS_MAX: usize = 256;

/// What a channel is made of.
#[derive(Debug, Default)]
pub struct Setup {
    /// Whether it may announce.
    pub manner: Manner,
    /// A node of HyperDHT, and the key to announce there.
    pub hyper: Option<(Node, KeyPair)>,
    /// A node of Mainline; a passive channel's should be ephemeral.
    pub mainline: Option<Mainline>,
    /// Where to use multicast DNS, if anywhere.
    pub local: Option<Scope>,
    /// Servers of npm `dns-discovery`, eight at most.
    pub servers: Vec<NameServer>,
}

/// Why a channel could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The system has no randomness to give.
    #[error("no randomness")]
    Entropy(#[source] io::Error),
    /// No socket could be opened to ask servers by.
    #[error("cannot open a socket")]
    Socket(#[source] io::Error),
}

/// Why a topic was not joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The channel has ended.
    #[error("the channel has ended")]
    Stopped,
    /// It was refused.
    #[error(transparent)]
    Refused(#[from] JoinError),
}

impl From<Stopped> for ChannelError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

/// A running channel. Handles are cheap to clone; it ends with [`Channel::close`], or without taking back what was
/// announced when the last handle is dropped.
#[derive(Clone, Debug)]
pub struct Channel {
    asks: mpsc::Sender<Ask>,
}

/// What happens on a channel, in order.
#[derive(Debug)]
pub struct Events(mpsc::Receiver<Event>);

impl Events {
    /// Waits for the next event; `None` once the channel has ended. Cancellation-safe.
    pub async fn next(&mut self) -> Option<Event> {
        self.0.recv().await
    }
}

/// What a handle asks of the task.
#[derive(Debug)]
enum Ask {
    Join(Box<Join>, oneshot::Sender<Result<(), JoinError>>),
    Leave(Topic, Option<NonZeroU16>),
    Close(oneshot::Sender<()>),
}

impl Channel {
    /// Opens the sockets that the mechanisms need, and starts the task that runs them. Must be called inside a tokio
    /// runtime.
    ///
    /// # Errors
    ///
    /// Fails without randomness or sockets. A link on which local discovery cannot be had is left out.
    pub async fn open(setup: Setup) -> Result<(Self, Events), OpenError> {
        let (asks, receiver) = mpsc::channel(ASKS_MAX);
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        tokio::spawn(Driver::open(setup, sender).await?.run(receiver));
        Ok((Self { asks }, Events(events)))
    }

    /// Joins a topic: looks for others from now on, and is found where a port is given.
    ///
    /// # Errors
    ///
    /// Fails where a passive channel is to announce, where no mechanism knows the topic, or where a limit is reached.
    pub async fn join(&self, join: Join) -> Result<(), ChannelError> {
        let (done, joined) = oneshot::channel();
        self.asks.send(Ask::Join(Box::new(join), done)).await.map_err(|_| Stopped)?;
        Ok(joined.await.map_err(|_| Stopped)??)
    }

    /// Leaves a topic with every port.
    ///
    /// # Errors
    ///
    /// Fails if the channel has ended.
    pub async fn leave(&self, topic: Topic) -> Result<(), Stopped> {
        self.asks.send(Ask::Leave(topic, None)).await.map_err(|_| Stopped)
    }

    /// Announces one port of a topic no more.
    ///
    /// # Errors
    ///
    /// Fails if the channel has ended.
    pub async fn leave_port(&self, topic: Topic, port: NonZeroU16) -> Result<(), Stopped> {
        self.asks.send(Ask::Leave(topic, Some(port))).await.map_err(|_| Stopped)
    }

    /// Leaves every topic, takes back what was announced, for at most 1.5 seconds, and ends the channel. Its nodes go on.
    ///
    /// # Errors
    ///
    /// Fails if the channel has ended.
    pub async fn close(self) -> Result<(), Stopped> {
        let (done, closed) = oneshot::channel();
        self.asks.send(Ask::Close(done)).await.map_err(|_| Stopped)?;
        closed.await.map_err(|_| Stopped)
    }
}
