//! What one look at a node costs it.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use node::{Config, DialOptions, Event, Identity, ListenOptions, Node};

use crate::bench::report::{Better, Report, Row, Target};

/// Nodes of the network; of so many, about a hundred fit the table of one.
const NODES: usize = 250;
/// Peers connected to the node that is looked at.
const PEERS: u8 = 100;
/// Looks that are timed.
const LOOKS: u32 = 2_000;
/// The specification's budget for one look, in microseconds.
const BUDGET_US: f64 = 200.0;

pub(crate) fn run(report: &mut Report) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (known, us) = runtime.block_on(measure())?;
    report.add(&Row {
        name: format!("a snapshot with {known} DHT nodes and {PEERS} peers, µs"),
        better: Better::Lower,
        ours: us,
        reference: None,
        floor: None,
        targets: vec![Target::AtMost(BUDGET_US)],
    });
    Ok(())
}

/// Returns the nodes in the table, and the microseconds of a snapshot with its way to the node's task and back.
async fn measure() -> Result<(usize, f64)> {
    let free = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let entry = SocketAddrV4::new(Ipv4Addr::LOCALHOST, free);
    let first = Node::spawn(Config::bootstrapper(entry)).await?;
    first.ready().await?;
    let mut nodes = vec![first];
    while nodes.len() < NODES {
        let node = Node::spawn(Config::testnet(vec![entry])).await?;
        node.ready().await?;
        nodes.push(node);
    }
    let node = nodes.pop().context("there are nodes")?;
    let identity = Arc::new(Identity::from_seed([200; 32]));
    let mut events = node.events();
    let mut listener = node.serve(&identity, ListenOptions::default()).await?;
    while !matches!(events.recv().await?, Event::Reachable { relays, .. } if !relays.is_empty()) {}
    let client = nodes.last().context("there are nodes")?;
    let mut held = Vec::new();
    for seed in 0..PEERS {
        let own = Arc::new(Identity::from_seed([seed; 32]));
        let dialled = client.connect(identity.public_key(), &own, DialOptions::default());
        let (here, there) = tokio::join!(dialled, listener.accept());
        held.push((here?, there.context("the listener ended")?));
    }
    let snapshot = node.snapshot().await?;
    ensure!(
        snapshot.peers.connected == usize::from(PEERS),
        "{} peers are connected",
        snapshot.peers.connected
    );
    let begun = Instant::now();
    for _ in 0..LOOKS {
        node.snapshot().await?;
    }
    let us = begun.elapsed().as_secs_f64() * 1e6 / f64::from(LOOKS);
    Ok((snapshot.nodes.known, us))
}
