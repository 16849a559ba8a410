//! A database: a server, a client, or both.

mod ask;
mod config;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tooldb::message::Role;
use tooldb::{Endpoint, Identity, Now, Replica, StoreError};

pub use ask::{Error, Kept, Watch};
pub use config::{Config, Listen, Screens, Storage};

use crate::dial::{self, Named};
use crate::event::Event;
use crate::functions::Functions;
use crate::host::{self, Ask, Host, Parts};
use crate::limits::LinkLimits;
use crate::link::Shared;
use crate::listen::{Front, listen};
use crate::status::{Scheme, Server, Status};
use crate::store::{CACHE_BYTES, Disk, OpenError};
use crate::tls::TlsError;

/// Asks of handles and connections that wait for the host.
const ASKS_MAX: usize = 256;
/// Events that a slow listener may lag behind.
const EVENTS_MAX: usize = 4_096;
/// Servers that were told of and are not looked at yet.
const LEARNED_MAX: usize = 64;
/// How often certificates are looked at.
const CERTIFICATE_SPAN: std::time::Duration = std::time::Duration::from_secs(30);

/// Why a database cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The directory cannot be used, or the key in it.
    #[error(transparent)]
    Directory(#[from] node::DataDirError),
    /// The store in it cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The store cannot be read.
    #[error("the store cannot be read")]
    Database(#[from] redb::Error),
    /// The port is taken, or the address is not this computer's.
    #[error("cannot listen on {0}")]
    Bind(SocketAddr, #[source] std::io::Error),
    /// Certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The system has no randomness to give.
    #[error("no randomness")]
    Entropy(#[source] std::io::Error),
}

/// The database was shut down before it could answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the database was shut down")]
pub struct Stopped;

/// A running database. Handles are cheap to clone; it ends with [`Db::shutdown`]. Futures are cancellation-safe:
/// what was asked is done all the same.
#[derive(Debug, Clone)]
pub struct Db {
    asks: mpsc::Sender<Ask>,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    limits: Arc<LinkLimits>,
    frame_bytes_max: usize,
    budget: Arc<Semaphore>,
    checkers: Arc<Semaphore>,
    events: broadcast::Sender<Event>,
    servers: mpsc::Sender<(Server, Named)>,
    identity: Identity,
    topic: String,
    own: Option<Server>,
    address: Option<SocketAddr>,
    stop: watch::Sender<()>,
    reload: mpsc::Sender<()>,
}

/// What ends with a database.
#[derive(Debug)]
pub struct Running {
    host: JoinHandle<()>,
}

/// The file of the store in a database's directory.
pub fn store_path(directory: &Path) -> std::path::PathBuf {
    directory.join("store.redb")
}

/// The key pair that the node of a directory introduces itself with; made where there is none.
///
/// # Errors
///
/// Fails if the key file is none or open to others, or as the system does.
pub fn node_identity(directory: &Path) -> Result<Identity, StartError> {
    let path = directory.join("key");
    if !path.exists() {
        let seed = node::seed().map_err(StartError::Entropy)?;
        match node::create_key(&path, seed) {
            Ok(()) | Err(node::DataDirError::KeyExists(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Identity::from_seed(node::read_key(&path)?))
}

impl Db {
    /// Opens the store and starts the tasks. Must be called inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// Fails if directory, store, certificate or port cannot be used.
    pub async fn start(config: Config) -> Result<(Self, Running), StartError> {
        let (identity, disk) = open(&config)?;
        let tls = config.listen.as_ref().and_then(|listen| listen.certificate.clone());
        let acceptor = tls.as_ref().map(crate::tls::Certificate::acceptor).transpose()?;
        let listener = match &config.listen {
            None => None,
            Some(listen) => {
                let failed = |error| StartError::Bind(listen.address, error);
                Some(TcpListener::bind(listen.address).await.map_err(failed)?)
            }
        };
        let address = listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let own = address.and_then(|address| announced(&config, address));
        let connector = dial::connector(config.roots.as_deref())?;
        let (asks, receiver) = mpsc::channel(ASKS_MAX);
        let (servers, dialled) = mpsc::channel(LEARNED_MAX);
        let (learned, told) = mpsc::channel(LEARNED_MAX);
        let (stop, stopped) = watch::channel(());
        let (events, _) = broadcast::channel(EVENTS_MAX);
        let (reload, reloads) = mpsc::channel(1);
        let limits = Arc::new(config.links.clone());
        let seed = node::seed().map_err(StartError::Entropy)?;
        let replica_config = config.replica(own.as_ref());
        let mut replica = Replica::new(replica_config, identity.clone(), disk, (seed, host::now()));
        for (prefix, screen) in config.screens.0 {
            replica.screen(prefix, screen);
        }
        let host = Host::new(Parts {
            replica,
            identity: identity.clone(),
            limits: Arc::clone(&limits),
            functions: Functions::new(config.functions),
            window: config.sync_window,
            events: events.clone(),
            asks: asks.downgrade(),
            learned,
        })?;
        let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let db = Self {
            asks,
            inner: Arc::new(Inner {
                frame_bytes_max: config.replica.frame_bytes_max,
                budget: Arc::new(Semaphore::new(limits.unhandled_bytes_max / 1024)),
                checkers: Arc::new(Semaphore::new(threads)),
                limits,
                events,
                servers: servers.clone(),
                identity,
                topic: config.topic.as_str().into(),
                own,
                address,
                stop,
                reload,
            }),
        };
        let running = Running { host: tokio::spawn(host.run(receiver)) };
        tokio::spawn(dial::dial(db.clone(), dialled, (connector, stopped.clone())));
        tokio::spawn(dial::follow(told, servers.clone()));
        if let Some(listener) = listener {
            let tls =
                acceptor.zip(tls).map(|(first, files)| keep_fresh(first, files, (reloads, stopped.clone())));
            let front = Arc::new(Front { db: db.clone(), tls });
            tokio::spawn(listen(listener, front, stopped));
        }
        for peer in config.peers {
            db.connect(peer, Named::ByOperator).await;
        }
        Ok((db, running))
    }

    /// Where it listens, if it does.
    pub fn address(&self) -> Option<SocketAddr> {
        self.inner.address
    }

    /// Where it says it listens.
    pub fn announced(&self) -> Option<&Server> {
        self.inner.own.as_ref()
    }

    /// The key pair that it introduces itself with.
    pub fn identity(&self) -> &Identity {
        &self.inner.identity
    }

    pub(crate) fn topic(&self) -> &str {
        &self.inner.topic
    }

    /// Keeps a connection to a server from now on.
    pub async fn connect(&self, server: Server, named: Named) {
        if self.inner.own.as_ref() != Some(&server) {
            // After the end there is nothing to connect.
            self.inner.servers.send((server, named)).await.unwrap_or_default();
        }
    }

    /// What happens from now on. A reader that lags too far behind is told how much it missed.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.inner.events.subscribe()
    }

    /// Reads the certificate again.
    pub fn reload(&self) {
        // One that waits already is as good.
        self.inner.reload.try_send(()).unwrap_or_default();
    }

    /// The state at this moment.
    ///
    /// # Errors
    ///
    /// Fails if the database was shut down.
    pub async fn status(&self) -> Result<Status, Stopped> {
        let (topic, own) = (self.inner.topic.clone(), self.inner.own.clone());
        self.with(move |host, now| {
            let (clients, peers) = host.connected();
            let store = host.replica.store();
            Status {
                topic,
                address: host.identity.address(),
                uptime: now.instant.saturating_duration_since(host.started),
                servers: own.into_iter().chain(host.servers()).collect(),
                clients,
                peers,
                stored: store.size().unwrap_or_default(),
                unsynced: store.waiting(),
                unconfirmed: host.waiting.unconfirmed.len(),
                stats: host.replica.stats(),
                counts: host.counts,
            }
        })
        .await
    }

    pub(crate) fn limits(&self) -> &LinkLimits {
        &self.inner.limits
    }

    pub(crate) fn frame_bytes_max(&self) -> usize {
        self.inner.frame_bytes_max
    }

    pub(crate) fn shared(&self) -> Shared {
        Shared {
            asks: self.asks.clone(),
            limits: Arc::clone(&self.inner.limits),
            budget: Arc::clone(&self.inner.budget),
            checkers: Arc::clone(&self.inner.checkers),
        }
    }

    /// Admits one more connection of a host, if it may have one.
    pub(crate) async fn admit(&self, address: IpAddr) -> Option<Arc<crate::limits::Host>> {
        self.with(move |host, now| host.admit(now, address)).await.ok()?.ok()
    }

    /// Has the host do something.
    pub(crate) async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Host, Now) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (done, result) = oneshot::channel();
        let work = move |host: &mut Host, now: Now| host::tell(done, work(host, now));
        self.asks.send(Ask::Do(Box::new(work))).await.map_err(|_| Stopped)?;
        result.await.map_err(|_| Stopped)
    }

    /// Ends connections and listening, and waits until everything is on disk.
    ///
    /// # Errors
    ///
    /// Fails if it was shut down already, or its task broke.
    pub async fn shutdown(self, running: Running) -> Result<(), Stopped> {
        self.inner.stop.send_replace(());
        self.asks.send(Ask::Shutdown).await.map_err(|_| Stopped)?;
        running.host.await.map_err(|_| Stopped)
    }
}

impl Running {
    /// Waits until the database has ended, which it only does by itself if it broke.
    pub async fn ended(&mut self) {
        // How it ended was logged by whatever broke.
        let ended = (&mut self.host).await;
        drop(ended);
    }
}

fn open(config: &Config) -> Result<(Identity, Disk), StartError> {
    let identity = match config.identity.clone() {
        Some(identity) => identity,
        None => node_identity(&config.directory)?,
    };
    let disk = match config.storage {
        Storage::Directory => Disk::open(&store_path(&config.directory), CACHE_BYTES)?,
        Storage::Memory => Disk::in_memory()?,
    };
    Ok((identity, disk))
}

/// Where others are told that this node listens.
fn announced(config: &Config, address: SocketAddr) -> Option<Server> {
    let listen = config.listen.as_ref()?;
    let host = listen.announced.clone().unwrap_or_else(|| address.ip().to_string());
    let scheme = if listen.certificate.is_some() { Scheme::Wss } else { Scheme::Ws };
    Some(Server { endpoint: Endpoint::new(&host, address.port())?, scheme })
}

/// Makes an acceptor again whenever the files of its certificate change, or somebody says so.
fn keep_fresh(
    first: tokio_rustls::TlsAcceptor,
    files: crate::tls::Certificate,
    (mut reloads, mut stop): (mpsc::Receiver<()>, watch::Receiver<()>),
) -> watch::Receiver<tokio_rustls::TlsAcceptor> {
    let (sender, receiver) = watch::channel(first);
    tokio::spawn(async move {
        let mut seen = files.changed().ok();
        loop {
            tokio::select! {
                told = reloads.recv() => if told.is_none() { return },
                () = tokio::time::sleep(CERTIFICATE_SPAN) => {
                    let changed = files.changed().ok();
                    if changed == seen {
                        continue;
                    }
                    seen = changed;
                }
                _ = stop.changed() => return,
            }
            match files.acceptor() {
                Ok(acceptor) => {
                    sender.send_replace(acceptor);
                }
                // The certificate that is in use goes on.
                Err(error) => tracing::warn!(error = ?error, "the new certificate cannot be used"),
            }
        }
    });
    receiver
}

/// The role of a node by whether it listens.
fn role(listen: Option<&Listen>) -> Role {
    if listen.is_some() { Role::Server } else { Role::Client }
}

pub(crate) fn failed(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError(Box::new(error))
}
