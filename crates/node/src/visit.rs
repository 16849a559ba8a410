//! Who asks to be let in: the questions of a key that is served by `Admission::Ask`.

use std::net::SocketAddrV4;

use ::swarm::{Verdict, Visitor};
use dht::PublicKey;
use tokio::sync::mpsc;

use crate::ask::Ask;
use crate::node::{Node, Stopped};

/// Questions of one key that wait for the application; further clients are met with silence and repeat themselves.
const VISITS_MAX: usize = 128;

/// The questions of one key: the `firewall` function of the reference's servers.
#[derive(Debug)]
pub struct Visits {
    node: Node,
    visitors: mpsc::Receiver<Visitor>,
}

/// A client that wants to connect, and waits for about ten seconds. Dropping it refuses, as silence.
#[derive(Debug)]
#[must_use = "a visitor that is dropped is refused"]
pub struct Visit {
    node: Node,
    visitor: Visitor,
}

impl Node {
    /// Takes the questions of a key that is, or will be, served with [`Admission::Ask`](crate::Admission::Ask). Without
    /// a taker everybody is refused; a second taker replaces the first.
    ///
    /// # Errors
    ///
    /// Fails if the node is shut down.
    pub async fn visits(&self, key: PublicKey) -> Result<Visits, Stopped> {
        let (asked, visitors) = mpsc::channel(VISITS_MAX);
        self.send(Ask::Visits { key, asked }).await?;
        Ok(Visits { node: self.clone(), visitors })
    }
}

impl Visits {
    /// Waits for the next question; `None` once the node is shut down or the key has another taker.
    /// Cancellation-safe.
    pub async fn next(&mut self) -> Option<Visit> {
        let visitor = self.visitors.recv().await?;
        Some(Visit { node: self.node.clone(), visitor })
    }
}

impl Visit {
    /// Returns the client's key. Until its first frame a recording of it may be played.
    #[must_use]
    pub const fn remote(&self) -> PublicKey {
        self.visitor.remote
    }

    /// Returns the client's address as the node that it came through saw it.
    #[must_use]
    pub const fn address(&self) -> SocketAddrV4 {
        self.visitor.address
    }

    /// Lets it in: its connection is accepted as any other.
    ///
    /// # Errors
    ///
    /// Fails if the node is shut down.
    pub async fn admit(self) -> Result<(), Stopped> {
        self.decide(Verdict::Admit).await
    }

    /// Leaves it without any answer, as if nobody were here, without waiting for the time to run out.
    ///
    /// # Errors
    ///
    /// Fails if the node is shut down.
    pub async fn refuse(self) -> Result<(), Stopped> {
        self.decide(Verdict::Refuse).await
    }

    async fn decide(self, verdict: Verdict) -> Result<(), Stopped> {
        let slot = self.visitor.slot;
        self.node.send(Ask::WithSwarm(Box::new(move |swarm, now| swarm.decide(now, slot, verdict)))).await
    }
}
