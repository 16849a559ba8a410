use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use node::{Event, Id, KeyPair, Lookup, Node, PublicKey, Record};

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
];

/// What the steps work with.
pub(super) struct Stage {
    pub(super) network: Network,
    topic: Id<32>,
    key: KeyPair,
}

const VALUE: &[u8] = b"what everybody may read";
const FIRST: &[u8] = b"the first edition";
const SECOND: &[u8] = b"the second edition";

impl Stage {
    pub(super) fn new(network: Network) -> Result<Self, Failed> {
        let (topic, key) = (Id(node::seed()?), KeyPair::from_seed(node::seed()?));
        Ok(Self { network, topic, key })
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
