use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use node::{
    Bootstrap, Config, Connection, DialOptions, Event, Identity, ListenOptions, Node, PublicKey, Standing,
};
use serde_json::json;

/// Bytes of a frame: as much as `homing connect` reads at once.
const FRAME: usize = 64 << 10;

const MIB: usize = 1 << 20;

/// Plays one end of streams with our own node: `serve HOST BOOTSTRAP`, `pour HOST BOOTSTRAP KEY MIB` or
/// `hold HOST BOOTSTRAP KEY COUNT`. The same as `bench/stream-end.js` does with the reference.
pub(crate) fn run(words: &[&str]) -> Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        match *words {
            ["serve", host, bootstrap] => serve(host.parse()?, bootstrap.parse()?).await,
            ["pour", host, bootstrap, key, mib] => {
                let connection = Dialler::start(host.parse()?, bootstrap.parse()?).await?;
                connection.pour(key.parse()?, mib.parse()?).await
            }
            ["hold", host, bootstrap, key, count] => {
                let connection = Dialler::start(host.parse()?, bootstrap.parse()?).await?;
                connection.hold(key.parse()?, count.parse()?).await
            }
            _ => bail!("an end of a stream serves, pours or holds"),
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn node(host: Ipv4Addr, bootstrap: SocketAddrV4) -> Result<Node> {
    let config = Config {
        host,
        port: 0,
        bootstrap: vec![Bootstrap::Address(bootstrap)],
        standing: Standing::Ephemeral,
        ..Config::default()
    };
    let node = Node::spawn(config).await?;
    node.ready().await?;
    Ok(node)
}

/// Takes what comes by any connection, and tells how much it was once the peer has finished.
async fn serve(host: Ipv4Addr, bootstrap: SocketAddrV4) -> Result<()> {
    let node = node(host, bootstrap).await?;
    let mut events = node.events();
    let identity = Arc::new(Identity::from_seed([7; 32]));
    let mut listener = node.serve(&identity, ListenOptions::default()).await?;
    while !matches!(events.recv().await?, Event::Reachable { relays, .. } if !relays.is_empty()) {}
    println!("{}", json!({ "event": "listening", "key": identity.public_key().to_string() }));
    while let Some(connection) = listener.accept().await {
        tokio::spawn(take(connection));
    }
    Ok(())
}

async fn take(mut connection: Connection) {
    let (mut bytes, mut begun) = (0, None);
    while let Some(frame) = connection.recv().await {
        begun.get_or_insert_with(Instant::now);
        bytes += frame.len();
    }
    let seconds = begun.map(|begun| begun.elapsed().as_secs_f64());
    connection.finish();
    println!("{}", json!({ "event": "received", "bytes": bytes, "seconds": seconds }));
}

struct Dialler {
    node: Node,
    identity: Arc<Identity>,
}

impl Dialler {
    async fn start(host: Ipv4Addr, bootstrap: SocketAddrV4) -> Result<Self> {
        Ok(Self { node: node(host, bootstrap).await?, identity: Arc::new(Identity::from_seed([8; 32])) })
    }

    async fn dial(&self, key: PublicKey) -> Result<Connection> {
        Ok(self.node.connect(key, &self.identity, DialOptions::default()).await?)
    }

    /// Sends as much as is asked, as fast as it goes.
    async fn pour(self, key: PublicKey, mib: usize) -> Result<()> {
        let connection = self.dial(key).await?;
        let frame = vec![0x5a; FRAME];
        for _ in 0..mib * MIB / FRAME {
            connection.send(&frame).await?;
        }
        connection.finish();
        let why = connection.closed().await;
        println!("{}", json!({ "event": "poured", "why": why.to_string() }));
        Ok(())
    }

    /// Keeps connections open until standard input ends.
    async fn hold(self, key: PublicKey, count: usize) -> Result<()> {
        let mut held = Vec::new();
        for number in 0..count {
            held.push(self.dial(key).await.with_context(|| format!("connection {number} failed"))?);
        }
        println!("{}", json!({ "event": "held" }));
        let ended =
            tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
        ended.await??;
        drop(held);
        Ok(())
    }
}
