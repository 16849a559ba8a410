//! Tool Db servers and a client that have nothing in common but the topic.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, ensure};
use db::{Config, Db, Discovery, Listen, Networks, Running, Storage};
use node::{Identity, Node};
use tooldb::json::Value;
use tooldb::message::Verdict;
use tooldb::{Draft, Key, Topic};

use super::Stage;

/// The databases of the demo; their stores are in memory.
#[derive(Default)]
pub(super) struct Databases {
    servers: Vec<Peer>,
    client: Option<Peer>,
}

struct Peer {
    db: Db,
    running: Running,
    discovery: Discovery,
}

impl Peer {
    async fn start(node: &Node, listen: Option<Listen>) -> anyhow::Result<Self> {
        let topic = Topic::new("homing demo").context("a short topic")?;
        let mut config = Config::new(topic, PathBuf::new());
        config.storage = Storage::Memory;
        config.identity = Some(tooldb::Identity::from_seed(node::seed()?));
        config.listen = listen;
        let (db, running) = Db::start(config).await?;
        let identity = Arc::new(Identity::from_seed(node::seed()?));
        let networks = Networks { hyper: Some((node.clone(), identity)), ..Networks::default() };
        let discovery = Discovery::open(&db, networks).await?;
        Ok(Self { db, running, discovery })
    }

    async fn server(node: &Node) -> anyhow::Result<Self> {
        let address = (Ipv4Addr::LOCALHOST, 0).into();
        Self::start(node, Some(Listen { address, announced: None, certificate: None })).await
    }

    async fn end(self) -> anyhow::Result<()> {
        self.discovery.close().await;
        Ok(self.db.shutdown(self.running).await?)
    }

    /// Waits until so many servers are connected.
    async fn meets(&self, servers: usize) -> anyhow::Result<()> {
        let mut events = self.db.events();
        while self.db.status().await?.peers < servers {
            events.recv().await?;
        }
        Ok(())
    }

    /// Waits until it has a value of its own.
    async fn has(&self, name: &str) -> anyhow::Result<String> {
        let key = Key::new(name).context("a short key")?;
        let mut watch = self.db.watch(key.clone());
        if let Some(record) = self.db.local(key).await? {
            return Ok(record.value().to_owned());
        }
        Ok(watch.next().await.context("the database ended")?.value().to_owned())
    }
}

pub(super) async fn meet(stage: &mut Stage) -> anyhow::Result<String> {
    let nodes = &stage.network.nodes;
    let (first, last) = (nodes.first().context("no nodes")?, nodes.last().context("no nodes")?);
    let servers = vec![Peer::server(first).await?, Peer::server(last).await?];
    let client = Peer::start(nodes.get(nodes.len() / 2).context("no nodes")?, None).await?;
    for server in &servers {
        server.meets(1).await?;
    }
    client.meets(servers.len()).await?;
    stage.databases = Databases { servers, client: Some(client) };
    Ok("each knows the others".into())
}

pub(super) async fn write(stage: &mut Stage) -> anyhow::Result<String> {
    let [one, other] = &stage.databases.servers[..] else { anyhow::bail!("two servers are not two") };
    let author = one.db.identity().clone();
    one.db.put(draft("greeting", "hi")?, &author).await?;
    let value = other.has("greeting").await?;
    ensure!(value == "\"hi\"", "read {value}");
    Ok(format!("read {value}"))
}

/// The client writes to whoever is left.
pub(super) async fn miss(stage: &mut Stage) -> anyhow::Result<String> {
    let ended = stage.databases.servers.pop().context("no server")?;
    ended.end().await?;
    let client = stage.databases.client.as_ref().context("no client")?;
    let author = client.db.identity().clone();
    let kept = client.db.put(draft("meanwhile", "there")?, &author).await?;
    let verdict = client.db.confirmed(kept.hash).await?;
    ensure!(matches!(verdict, Verdict::Kept | Verdict::Known), "the other says {verdict:?}");
    Ok("confirmed by the other".into())
}

pub(super) async fn come_back(stage: &mut Stage) -> anyhow::Result<String> {
    let node = stage.network.nodes.last().context("no nodes")?;
    let back = Peer::server(node).await?;
    for (name, expected) in [("greeting", "\"hi\""), ("meanwhile", "\"there\"")] {
        let value = back.has(name).await?;
        ensure!(value == expected, "{name} is {value}");
    }
    let Databases { servers, client } = std::mem::take(&mut stage.databases);
    for peer in servers.into_iter().chain(client).chain([back]) {
        peer.end().await?;
    }
    Ok("it began empty, and has both values".into())
}

fn draft(name: &str, value: &str) -> anyhow::Result<Draft> {
    Ok(Draft::plain(Key::new(name).context("a short key")?, Value::Text(value.into())))
}
