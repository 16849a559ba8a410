//! The peers of an identity: joined topics, and the connections that come of them.

use std::sync::Arc;

use ::swarm::CircleOptions;
use ::swarm::Identity;
use ::swarm::roster::{Ban, Census, FlushOutcome, JoinError, JoinId, PeerState, Role, Roster};
use dht::PublicKey;
use tokio::sync::{mpsc, oneshot};
use wire::Id;

use crate::ask::Ask;
use crate::connection::Connection;
use crate::driver::BACKLOG_MAX;
use crate::node::{Node, Stopped};

/// How the peers of an identity are found, dialled and served.
pub type SwarmOptions = CircleOptions;

/// Keeps an identity connected with the peers of the topics that it joins, as Hyperswarm does: looks for them
/// for ever, dials them, serves those that dial, comes back to those that went.
///
/// There is at most one connection with a peer. Dropping the swarm, or [`Swarm::end`], removes its announcements and
/// closes its connections.
#[derive(Debug)]
pub struct Swarm {
    node: Node,
    local: PublicKey,
    meetings: mpsc::Receiver<Meeting>,
    /// Nobody else ends it when it is dropped.
    life: Life,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Going,
    Ended,
}

/// A peer that is connected from now on.
#[derive(Debug)]
pub struct Meeting {
    /// The connection with it.
    pub connection: Connection,
    /// Topics that it was found in; none for a peer that only found us.
    pub topics: Vec<Id<32>>,
}

/// Why a topic or a peer could not be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SwarmError {
    /// A limit is reached.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The node was shut down.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl Node {
    /// Begins to keep the peers of an identity. One identity has one swarm: a second replaces the first, whose
    /// connections go to the new one.
    ///
    /// # Errors
    ///
    /// Fails if the node is shut down.
    pub async fn swarm(&self, identity: &Arc<Identity>, options: SwarmOptions) -> Result<Swarm, Stopped> {
        let (meetings, receiver) = mpsc::channel(BACKLOG_MAX);
        let identity = Arc::clone(identity);
        let local = identity.public_key();
        self.send(Ask::Gather { identity, options: Box::new(options), meetings }).await?;
        Ok(Swarm { node: self.clone(), local, meetings: receiver, life: Life::Going })
    }
}

impl Swarm {
    /// Returns the identity's key.
    #[must_use]
    pub const fn public_key(&self) -> PublicKey {
        self.local
    }

    /// Joins a topic: announces the identity in it, looks for others, or both.
    ///
    /// # Errors
    ///
    /// Fails where too many topics are joined, or the node is shut down.
    pub async fn join(&self, topic: Id<32>, role: Role) -> Result<JoinId, SwarmError> {
        let (done, joined) = oneshot::channel();
        self.node.send(Ask::Join { local: self.local, topic, role, done }).await?;
        Ok(joined.await.map_err(|_| Stopped)??)
    }

    /// Takes a join back; connections stay.
    ///
    /// # Errors
    ///
    /// Fails if the node is shut down.
    pub async fn leave(&self, join: JoinId) -> Result<(), Stopped> {
        let local = self.local;
        self.with(move |swarm, now| swarm.leave(now, local, join)).await
    }

    /// Connects to a peer by its key, and again whenever that is lost, until [`Swarm::leave_peer`].
    ///
    /// # Errors
    ///
    /// Fails where too many peers are joined, or the node is shut down.
    pub async fn join_peer(&self, key: PublicKey) -> Result<(), SwarmError> {
        let local = self.local;
        let joined = self
            .with(move |swarm, now| swarm.with_roster(now, local, |roster| roster.join_peer(now, key)))
            .await?;
        Ok(joined.ok_or(Stopped)??)
    }

    /// Takes [`Swarm::join_peer`] back; a connection stays.
    ///
    /// # Errors
    ///
    /// Fails if the node is shut down.
    pub async fn leave_peer(&self, key: PublicKey) -> Result<(), Stopped> {
        let local = self.local;
        self.with(move |swarm, now| swarm.with_roster(now, local, |roster| roster.leave_peer(now, key)))
            .await?;
        Ok(())
    }

    /// Keeps a peer away, or no longer.
    ///
    /// # Errors
    ///
    /// Fails if the node is shut down.
    pub async fn ban(&self, key: PublicKey, ban: Ban) -> Result<(), Stopped> {
        let local = self.local;
        self.with(move |swarm, now| swarm.with_roster(now, local, |roster| roster.ban(now, key, ban)))
            .await?;
        Ok(())
    }

    /// Waits until every topic was looked up, and every peer found by then is connected or was tried once.
    ///
    /// # Errors
    ///
    /// Fails if the node is shut down.
    pub async fn flush(&self) -> Result<FlushOutcome, Stopped> {
        let local = self.local;
        self.node.ask(|done| Ask::Flush { local, done }).await
    }

    /// Counts connections, attempts and peers.
    ///
    /// # Errors
    ///
    /// Fails if the node is shut down.
    pub async fn census(&self) -> Result<Census, Stopped> {
        let local = self.local;
        self.with(move |swarm, _| swarm.roster(&local).map(Roster::census).unwrap_or_default()).await
    }

    /// Lists the peers that are remembered, connected or not.
    ///
    /// # Errors
    ///
    /// Fails if the node is shut down.
    pub async fn peers(&self) -> Result<Vec<PeerState>, Stopped> {
        let local = self.local;
        self.with(move |swarm, _| {
            swarm.roster(&local).map(|roster| roster.peers().collect()).unwrap_or_default()
        })
        .await
    }

    /// Waits for the next peer; `None` once the swarm has ended. Those that arrive while 128 wait are closed.
    /// Cancellation-safe.
    pub async fn next(&mut self) -> Option<Meeting> {
        self.meetings.recv().await
    }

    /// Removes the identity's announcements and closes its connections.
    ///
    /// # Errors
    ///
    /// Fails if the node is shut down.
    pub async fn end(mut self) -> Result<(), Stopped> {
        let local = self.local;
        let ended = self.node.ask(|done| Ask::Disperse { local, done: Some(done) }).await;
        self.life = Life::Ended;
        ended
    }

    async fn with<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut ::swarm::Swarm, std::time::Instant) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        self.node
            .ask(|done| Ask::WithSwarm(Box::new(move |swarm, now| drop(done.send(act(swarm, now))))))
            .await
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        if self.life == Life::Going {
            self.node.try_send(Ask::Disperse { local: self.local, done: None });
        }
    }
}
