use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dht::{Config, KeyPair};
use tokio::task::JoinHandle;
use tokio::time;

use crate::ask::Left;
use crate::control::{self, ControlError};
use crate::datadir::{DataDir, DataDirError, load_nodes};
use crate::entropy;
use crate::node::{Node, SpawnError, Stopped};

/// Between two savings of the routing table, the first of which follows the bootstrap at once.
const SAVE_INTERVAL: Duration = Duration::from_mins(3);

/// A node with a directory: it remembers the nodes it knew, and can be asked from other processes.
#[derive(Debug)]
pub struct Resident {
    node: Node,
    dir: Arc<DataDir>,
    key: KeyPair,
    control: JoinHandle<()>,
    keeper: JoinHandle<()>,
}

/// Why a resident node could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResidentError {
    /// The directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DataDirError),
    /// The node could not be started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// The control socket could not be opened.
    #[error(transparent)]
    Control(#[from] ControlError),
}

impl Resident {
    /// Starts a node that also asks the nodes saved in the directory, and opens its control socket. The
    /// identity in the directory is created where there is none.
    ///
    /// # Errors
    ///
    /// Fails if the directory or its key is unusable or in use, or as [`Node::spawn`] does.
    pub async fn spawn(mut config: Config, path: &Path) -> Result<Self, ResidentError> {
        let dir = Arc::new(DataDir::open(path)?);
        let fresh = entropy::seed().map_err(SpawnError::Entropy)?;
        let key = KeyPair::from_seed(dir.key(fresh)?);
        config.nodes.extend(load_nodes(path)?);
        let listener = control::listen(&dir)?;
        let node = Node::spawn(config).await?;
        let control = tokio::spawn(control::serve(listener, node.clone()));
        let keeper = tokio::spawn(keep(node.clone(), Arc::clone(&dir)));
        Ok(Self { node, dir, key, control, keeper })
    }

    /// Returns the node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Returns the identity that the directory holds.
    pub fn key(&self) -> &KeyPair {
        &self.key
    }

    /// Waits until the first bootstrap has ended and its result is saved.
    ///
    /// # Errors
    ///
    /// Fails if the node is shut down.
    pub async fn ready(&self) -> Result<(), Stopped> {
        self.node.ready().await?;
        save(&self.node, &self.dir).await;
        Ok(())
    }

    /// Saves the routing table and ends the node as [`Node::shutdown`] does.
    ///
    /// # Errors
    ///
    /// Fails if the node was shut down already.
    pub async fn shutdown(self) -> Result<Vec<Left>, Stopped> {
        self.keeper.abort();
        self.control.abort();
        save(&self.node, &self.dir).await;
        control::remove(&self.dir);
        self.node.shutdown().await
    }
}

async fn keep(node: Node, dir: Arc<DataDir>) {
    if node.ready().await.is_err() {
        return;
    }
    let mut interval = time::interval(SAVE_INTERVAL);
    loop {
        interval.tick().await;
        save(&node, &dir).await;
    }
}

/// An empty table is not saved: a start without a network must not forget the way into it.
async fn save(node: &Node, dir: &DataDir) {
    let Ok(nodes) = node.nodes().await else { return };
    if nodes.is_empty() {
        return;
    }
    if let Err(error) = dir.save_nodes(&nodes) {
        tracing::warn!(%error, "cannot save the routing table");
    }
}
