//! Databases of a test, on loopback.

use std::net::Ipv4Addr;

use db::{Config, Db, Event, Listen, Running, Server};
use tooldb::json::Value;
use tooldb::message::Role;
use tooldb::{Draft, Key, Topic};

use crate::temporary::Temporary;

pub(crate) fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

pub(crate) fn topic() -> Topic {
    Topic::new("test").unwrap()
}

pub(crate) fn draft(name: &str, value: &str) -> Draft {
    Draft::plain(key(name), Value::parse(value).unwrap())
}

/// A database, with the directory that it leaves behind.
pub(crate) struct Home {
    pub(crate) db: Db,
    running: Running,
    directory: Temporary,
}

impl Home {
    pub(crate) async fn open(directory: Temporary, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(topic(), directory.path().into());
        change(&mut config);
        let (db, running) = Db::start(config).await.unwrap();
        Self { db, running, directory }
    }

    pub(crate) async fn server(change: impl FnOnce(&mut Config)) -> Self {
        Self::open(Temporary::new(), |config| {
            config.listen = Some(listen(0));
            change(config);
        })
        .await
    }

    /// A client that has met the servers.
    pub(crate) async fn client(servers: &[&Self]) -> Self {
        let peers: Vec<Server> = servers.iter().map(|home| home.db.announced().unwrap().clone()).collect();
        let count = peers.len();
        let home = Self::open(Temporary::new(), |config| config.peers = peers).await;
        met(&home.db, count).await;
        home
    }

    pub(crate) async fn close(self) -> Temporary {
        self.db.shutdown(self.running).await.unwrap();
        self.directory
    }
}

pub(crate) fn listen(port: u16) -> Listen {
    Listen { address: (Ipv4Addr::LOCALHOST, port).into(), announced: None, certificate: None }
}

/// Waits until so many servers are connected.
pub(crate) async fn met(db: &Db, count: usize) {
    let mut events = db.events();
    while db.status().await.unwrap().peers < count {
        while !matches!(events.recv().await.unwrap(), Event::Connected { role: Role::Server, .. }) {}
    }
}

/// Waits until a server has a value.
pub(crate) async fn arrived(db: &Db, name: &str) -> String {
    let mut watch = db.watch(key(name));
    if let Some(record) = db.local(key(name)).await.unwrap() {
        return record.value().to_owned();
    }
    watch.next().await.unwrap().value().to_owned()
}
