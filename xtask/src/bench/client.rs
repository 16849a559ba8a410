use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result};
use node::{Bootstrap, Config, KeyPair, Node, Standing};
use serde_json::json;
use wire::Id;

/// Looks topics up with our own node, one after the other; or announces them, if the first word says so. The
/// same as `bench/lookups.js` does with the reference.
pub(crate) fn run(bootstrap: SocketAddrV4, words: &[&str]) -> Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let config = Config {
            host: Ipv4Addr::LOCALHOST,
            port: 0,
            bootstrap: vec![Bootstrap::Address(bootstrap)],
            standing: Standing::Ephemeral,
            ..Config::default()
        };
        let node = Node::spawn(config).await?;
        node.ready().await?;
        if let Some((&"--announce", topics)) = words.split_first() {
            for (number, topic) in (1..).zip(topics) {
                let stored = node.announce_once(topic.parse()?, KeyPair::from_seed([number; 32])).await?;
                anyhow::ensure!(stored.stored > 0, "nobody stored an announcement");
            }
            println!("{}", json!({ "event": "announced" }));
        } else {
            for topic in words {
                look_up(&node, topic.parse()?).await?;
            }
        }
        node.shutdown().await.context("the node ended by itself")
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn look_up(node: &Node, topic: Id<32>) -> Result<()> {
    let start = Instant::now();
    let mut lookup = node.lookup(topic).await?;
    let first = lookup.next().await.map(|_| start.elapsed());
    while lookup.next().await.is_some() {}
    let walked = lookup.finish().await?;
    let ms = start.elapsed().as_secs_f64() * 1000.0;
    let first_ms = first.map(|first| first.as_secs_f64() * 1000.0);
    let closest: Vec<String> = walked.closest.iter().map(ToString::to_string).collect();
    println!("{}", json!({ "event": "done", "ms": ms, "first_ms": first_ms, "closest": closest }));
    Ok(())
}
