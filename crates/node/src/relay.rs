//! Being a relay for others.

use std::sync::Arc;

use ::swarm::{Identity, RelayCensus, RelayNews, RelayOptions};
use dht::PublicKey;
use tokio::sync::mpsc;

use crate::ask::Ask;
use crate::node::{Node, Stopped};

/// News of a relay that wait to be read; further ones are lost.
const NEWS_MAX: usize = 256;

/// A relay of this node: it joins the streams of peers that do not reach each other, and sees nothing of what they
/// say. It goes on until [`Relay::end`] or [`Node::shutdown`], also where this handle is dropped.
#[derive(Debug)]
pub struct Relay {
    node: Node,
    key: PublicKey,
    news: mpsc::Receiver<RelayNews>,
}

impl Node {
    /// Becomes a relay under a key that is used for nothing else.
    ///
    /// # Errors
    ///
    /// Fails if the node is shut down.
    pub async fn relay(&self, identity: &Arc<Identity>, options: RelayOptions) -> Result<Relay, Stopped> {
        let (sender, news) = mpsc::channel(NEWS_MAX);
        let key = identity.public_key();
        let (identity, options) = (Arc::clone(identity), Box::new(options));
        self.send(Ask::HostRelay { identity, options, news: sender }).await?;
        Ok(Relay { node: self.clone(), key, news })
    }
}

impl Relay {
    /// Returns the key that peers name it by.
    #[must_use]
    pub const fn public_key(&self) -> PublicKey {
        self.key
    }

    /// Waits for the next news; `None` once the node is shut down. Cancellation-safe.
    pub async fn next(&mut self) -> Option<RelayNews> {
        self.news.recv().await
    }

    /// Counts what it has and did.
    ///
    /// # Errors
    ///
    /// Fails if the node is shut down.
    pub async fn census(&self) -> Result<RelayCensus, Stopped> {
        let key = self.key;
        self.node
            .ask(|done| {
                Ask::WithSwarm(Box::new(move |swarm, _| {
                    crate::driver::tell(done, swarm.relay_census(&key).unwrap_or_default());
                }))
            })
            .await
    }

    /// Separates all streams and tells the clients; the key is served no more.
    ///
    /// # Errors
    ///
    /// Fails if the node is shut down.
    pub async fn end(self) -> Result<(), Stopped> {
        let key = self.key;
        self.node
            .ask(|done| {
                Ask::WithSwarm(Box::new(move |swarm, now| {
                    swarm.end_relay(now, key);
                    swarm.unlisten(now, key);
                    crate::driver::tell(done, ());
                }))
            })
            .await
    }
}
