use std::net::SocketAddrV4;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use node::{Config, Node};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time;

use crate::flood::prober::PING_WAIT_MAX;

/// Time between two pings of the node.
const PERIOD: Duration = Duration::from_millis(50);

/// Runs the node that is flooded, which pings an address 20 times a second, until its input ends. The same as
/// `bench/flooded.js` does with the reference.
pub(crate) fn serve(at: SocketAddrV4, pinged: SocketAddrV4) -> Result<ExitCode> {
    let (ended, mut end) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        // Whatever ends the input, a failure too, ends the node.
        drop(std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
        drop(ended);
    });
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let node = Node::spawn(Config::bootstrapper(at)).await?;
        node.ready().await?;
        println!("{}", json!({ "event": "ready", "address": at.to_string() }));
        let mut period = time::interval(PERIOD);
        loop {
            tokio::select! {
                _ = period.tick() => drop(tokio::spawn(ping(node.clone(), pinged))),
                _ = &mut end => return Ok(ExitCode::SUCCESS),
            }
        }
    })
}

async fn ping(node: Node, to: SocketAddrV4) {
    let round_trip = node.ping(to).await.map(|answered| answered.round_trip);
    // An answer to a repetition means that the first sending was lost.
    match round_trip {
        Ok(time) if time < PING_WAIT_MAX => {
            println!("{}", json!({ "event": "ping", "ms": time.as_secs_f64() * 1000.0 }));
        }
        Ok(_) | Err(_) => println!("{}", json!({ "event": "lost" })),
    }
}
