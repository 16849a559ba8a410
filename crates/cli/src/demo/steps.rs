mod databases;

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, ensure};
use databases::Databases;
use node::roster::Role;
use node::{Connection, Event, Id, Identity, KeyPair, Lookup, Node, PublicKey, Record, Swarm, SwarmOptions};

use super::Step;
use crate::commands::Network;
use crate::exit::Failed;

/// Everything the demo does, in order.
pub(super) const STEPS: &[Step] = &[
    Step { name: "ask a node whether it is there", run: |stage| Box::pin(ping(stage)) },
    Step { name: "make a key reachable", run: |stage| Box::pin(listen(stage)) },
    Step { name: "announce a topic", run: |stage| Box::pin(announce(stage)) },
    Step { name: "find it from another node", run: |stage| Box::pin(look_up(stage)) },
    Step { name: "find the key itself", run: |stage| Box::pin(find_peer(stage)) },
    Step { name: "store a value under its hash", run: |stage| Box::pin(put_immutable(stage)) },
    Step { name: "read it from another node", run: |stage| Box::pin(get_immutable(stage)) },
    Step { name: "store a signed value", run: |stage| Box::pin(put_first(stage)) },
    Step { name: "replace it by a newer one", run: |stage| Box::pin(put_second(stage)) },
    Step { name: "refuse an older one", run: |stage| Box::pin(refuse_older(stage)) },
    Step { name: "refuse another value with the same number", run: |stage| Box::pin(refuse_reused(stage)) },
    Step { name: "read the newest from another node", run: |stage| Box::pin(get_newest(stage)) },
    Step { name: "take the announcement back", run: |stage| Box::pin(unannounce(stage)) },
    Step { name: "meet a peer of the same topic, encrypted", run: |stage| Box::pin(meet(stage)) },
    Step { name: "send a megabyte there and back", run: |stage| Box::pin(exchange(stage)) },
    Step { name: "count nodes and peers apart", run: |stage| Box::pin(count(stage)) },
    Step {
        name: "let two databases and a client meet by topic",
        run: |stage| Box::pin(databases::meet(stage)),
    },
    Step {
        name: "write to one database, read from the other",
        run: |stage| Box::pin(databases::write(stage)),
    },
    Step { name: "end one database and write on", run: |stage| Box::pin(databases::miss(stage)) },
    Step { name: "let it come back and lack nothing", run: |stage| Box::pin(databases::come_back(stage)) },
];

/// What the steps work with.
pub(super) struct Stage {
    pub(super) network: Network,
    topic: Id<32>,
    key: KeyPair,
    swarms: Vec<Swarm>,
    connections: Vec<Connection>,
    databases: Databases,
}

const VALUE: &[u8] = b"what everybody may read";
const FIRST: &[u8] = b"the first edition";
const SECOND: &[u8] = b"the second edition";

impl Stage {
    pub(super) fn new(network: Network) -> Result<Self, Failed> {
        let (topic, key) = (Id(node::seed()?), KeyPair::from_seed(node::seed()?));
        Ok(Self {
            network,
            topic,
            key,
            swarms: Vec::new(),
            connections: Vec::new(),
            databases: Databases::default(),
        })
    }

    /// The node that announces and stores.
    fn here(&self) -> anyhow::Result<&Node> {
        self.network.nodes.first().context("no nodes")
    }

    /// The node that looks for what the other announced.
    fn there(&self) -> anyhow::Result<&Node> {
        self.network.nodes.last().context("no nodes")
    }
}

async fn ping(stage: &mut Stage) -> anyhow::Result<String> {
    let (here, there) = (stage.here()?, stage.there()?);
    let pong = here.ping(there.server_address()).await?;
    ensure!(pong.id.is_some(), "it has no id");
    ensure!(pong.seen_as == here.server_address(), "it saw us as {}", pong.seen_as);
    Ok(format!("{} answered in {:.1?}", pong.from, pong.round_trip))
}

async fn listen(stage: &mut Stage) -> anyhow::Result<String> {
    let here = stage.here()?;
    let mut events = here.events();
    here.listen(stage.key.clone()).await?;
    loop {
        if let Event::Reachable { public_key, relays } = events.recv().await?
            && public_key == stage.key.public_key()
        {
            ensure!(!relays.is_empty(), "no node passes handshakes on");
            return Ok(format!("through {} relays", relays.len()));
        }
    }
}

async fn announce(stage: &mut Stage) -> anyhow::Result<String> {
    let here = stage.here()?;
    let mut events = here.events();
    here.announce(stage.topic, stage.key.clone()).await?;
    loop {
        if let Event::Announced { topic, stored } = events.recv().await?
            && topic == stage.topic
        {
            let wanted = stage.network.nodes.len().min(20) / 2;
            ensure!(stored >= wanted, "stored on {stored} nodes, which is fewer than {wanted}");
            return Ok(format!("stored on {stored} nodes"));
        }
    }
}

async fn look_up(stage: &mut Stage) -> anyhow::Result<String> {
    let found = everybody(stage.there()?.lookup(stage.topic).await?).await?;
    ensure!(found == BTreeSet::from([stage.key.public_key()]), "found {found:?}");
    Ok("found the key, and nobody else".into())
}

async fn find_peer(stage: &mut Stage) -> anyhow::Result<String> {
    let key = stage.key.public_key();
    let mut lookup = stage.there()?.find_peer(key).await?;
    let mut knowing = 0;
    while let Some(found) = lookup.next().await {
        ensure!(found.peer.public_key == key, "found {}", found.peer.public_key);
        knowing += 1;
    }
    ensure!(knowing > 0, "nobody knows it");
    Ok(format!("{knowing} nodes know it"))
}

async fn put_immutable(stage: &mut Stage) -> anyhow::Result<String> {
    let stored = stage.here()?.put_immutable(VALUE.to_vec()).await?.stored;
    ensure!(stored > 0, "no node stored it");
    Ok(format!("stored on {stored} nodes"))
}

async fn get_immutable(stage: &mut Stage) -> anyhow::Result<String> {
    let value = stage.there()?.get_immutable(node::hash(VALUE)).await?;
    ensure!(value.as_deref() == Some(VALUE), "read {value:?}");
    Ok("the same bytes".into())
}

async fn put_first(stage: &mut Stage) -> anyhow::Result<String> {
    put(stage, 1, FIRST).await
}

async fn put_second(stage: &mut Stage) -> anyhow::Result<String> {
    put(stage, 2, SECOND).await
}

async fn put(stage: &Stage, seq: u64, value: &[u8]) -> anyhow::Result<String> {
    let done = stage.here()?.put_mutable(stage.key.clone(), seq, value.to_vec()).await?;
    ensure!(done.seq_too_low == 0 && done.seq_reused == 0, "refused: {done:?}");
    ensure!(done.stored > 0, "no node stored it");
    Ok(format!("number {seq} stored on {} nodes", done.stored))
}

/// From the node that stored it, since a node never stores on itself: all whom this one asks hold the value.
async fn refuse_older(stage: &mut Stage) -> anyhow::Result<String> {
    let done = stage.here()?.put_mutable(stage.key.clone(), 1, FIRST.to_vec()).await?;
    ensure!(done.stored == 0, "{} nodes stored it", done.stored);
    ensure!(done.seq_too_low > 0, "no node said why");
    Ok(format!("{} nodes refused number 1", done.seq_too_low))
}

async fn refuse_reused(stage: &mut Stage) -> anyhow::Result<String> {
    let done = stage.here()?.put_mutable(stage.key.clone(), 2, b"another second".to_vec()).await?;
    ensure!(done.stored == 0, "{} nodes stored it", done.stored);
    ensure!(done.seq_reused > 0, "no node said why");
    Ok(format!("{} nodes refused it", done.seq_reused))
}

async fn get_newest(stage: &mut Stage) -> anyhow::Result<String> {
    let record = stage.there()?.get_mutable(stage.key.public_key(), 0).await?;
    ensure!(record == Some(Record { seq: 2, value: SECOND.to_vec() }), "read {record:?}");
    Ok("number 2, signed by the key".into())
}

async fn unannounce(stage: &mut Stage) -> anyhow::Result<String> {
    let removed = stage.here()?.leave(stage.topic).await?.context("nothing was announced")?.stored;
    let found = everybody(stage.there()?.lookup(stage.topic).await?).await?;
    ensure!(found.is_empty(), "still found {found:?}");
    Ok(format!("removed from {removed} nodes, nobody is found"))
}

async fn everybody(mut lookup: Lookup) -> anyhow::Result<BTreeSet<PublicKey>> {
    let mut found = BTreeSet::new();
    while let Some(next) = lookup.next().await {
        found.insert(next.peer.public_key);
    }
    lookup.finish().await?;
    Ok(found)
}

/// Two peers join a topic under keys of their own; each gets the other.
async fn meet(stage: &mut Stage) -> anyhow::Result<String> {
    let mut swarms = Vec::new();
    for node in [stage.here()?, stage.there()?] {
        let identity = Arc::new(Identity::from_seed(node::seed()?));
        let swarm = node.swarm(&identity, SwarmOptions::default()).await?;
        swarm.join(stage.topic, Role::Both).await?;
        swarms.push(swarm);
    }
    for swarm in &mut swarms {
        let meeting = swarm.next().await.context("the swarm ended")?;
        stage.connections.push(meeting.connection);
    }
    let [one, other] = &stage.connections[..] else { anyhow::bail!("two peers are not two") };
    ensure!(one.remote() == other.local() && other.remote() == one.local(), "they met somebody else");
    stage.swarms = swarms;
    Ok(format!("{} in {:.1?}", one.route().word(), one.took().max(other.took())))
}

async fn exchange(stage: &mut Stage) -> anyhow::Result<String> {
    const LEN: usize = 1 << 20;
    let [one, other] = &mut stage.connections[..] else { anyhow::bail!("two peers are not two") };
    let bytes = vec![7; LEN];
    one.send(&bytes).await?;
    let there = other.recv().await.context("the connection ended")?;
    other.send(&there).await?;
    let back = one.recv().await.context("the connection ended")?;
    ensure!(back == bytes, "other bytes came back");
    Ok("the same bytes".into())
}

/// DHT nodes are strangers, peers are who we are connected to.
async fn count(stage: &mut Stage) -> anyhow::Result<String> {
    let nodes = stage.here()?.snapshot().await?.nodes.known;
    let census = stage.swarms.first().context("no swarm")?.census().await?;
    ensure!(nodes + 1 >= stage.network.nodes.len().min(20), "the table has {nodes} nodes only");
    ensure!(census.links_open == 1, "connected with {} peers", census.links_open);
    Ok(format!("{nodes} nodes in the table, connected with {} peer", census.links_open))
}
