//! What a database is told about itself.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tooldb::{Backfill, Endpoint, Identity, Key, Limits, Misses, Rules, Screen, Topic};

use crate::functions::Function;
use crate::limits::LinkLimits;
use crate::status::Server;
use crate::tls::Certificate;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// The address of this computer; port 0 takes any.
    pub address: SocketAddr,
    /// The name or address that others are told. [default: the address it listens on]
    pub announced: Option<String>,
    /// For TLS.
    pub certificate: Option<Certificate>,
}

/// Where a store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// In the directory.
    Directory,
    /// In memory, gone at the end.
    Memory,
}

/// Rules of the application.
#[derive(Default)]
pub struct Screens(pub Vec<(Key, Screen)>);

impl fmt::Debug for Screens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(prefix, _)| prefix)).finish()
    }
}

/// What a database is told about itself.
pub struct Config {
    /// The application.
    pub topic: Topic,
    /// Where its store and its key are; must exist.
    pub directory: PathBuf,
    /// Where its store is.
    pub storage: Storage,
    /// The key pair that it introduces itself with. [default: that of the directory]
    pub identity: Option<Identity>,
    /// Where it listens. A database that does not is a client.
    pub listen: Option<Listen>,
    /// Servers of the same federation, or those of a client.
    pub peers: Vec<Server>,
    /// Which records it believes.
    pub rules: Rules,
    /// What its conversations may cost.
    pub replica: Limits,
    /// What its connections may cost.
    pub links: LinkLimits,
    /// What it does about records it lacks.
    pub misses: Misses,
    /// Whether it asks those who connect for what they wrote meanwhile.
    pub backfill: Backfill,
    /// For how long writes are gathered before they are taken to the disk together. A subscriber gets them at
    /// once; whoever waits for a confirmation waits for this and for the disk.
    pub sync_window: Duration,
    /// Certificates that are trusted when dialling. [default: the system's]
    pub roots: Option<PathBuf>,
    /// What clients may call.
    pub functions: BTreeMap<Key, Function>,
    /// What the application asks of records.
    pub screens: Screens,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("topic", &self.topic)
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Two milliseconds of gathering, and the rest of five for a disk that is no slower than most.
    pub const SYNC_WINDOW: Duration = Duration::from_millis(2);

    /// A client with the default limits, which keeps what it knows in a directory.
    pub fn new(topic: Topic, directory: PathBuf) -> Self {
        Self {
            topic,
            directory,
            storage: Storage::Directory,
            identity: None,
            listen: None,
            peers: Vec::new(),
            rules: Rules::default(),
            replica: Limits::default(),
            links: LinkLimits::default(),
            misses: Misses::Silent,
            backfill: Backfill::Asked,
            sync_window: Self::SYNC_WINDOW,
            roots: None,
            functions: BTreeMap::new(),
            screens: Screens::default(),
        }
    }

    pub(crate) fn replica(&self, own: Option<&Server>) -> tooldb::Config {
        let nowhere = || Endpoint::new("127.0.0.1", 8080).expect("a short name");
        let role = super::role(self.listen.as_ref());
        let backfill = if self.listen.is_some() { self.backfill } else { Backfill::Never };
        tooldb::Config {
            topic: self.topic.clone(),
            endpoint: own.map_or_else(nowhere, |own| own.endpoint.clone()),
            role,
            rules: self.rules.clone(),
            limits: self.replica.clone(),
            misses: self.misses,
            backfill,
            upkeep: tooldb::Upkeep::Regular,
        }
    }
}
