use std::net::{SocketAddr, SocketAddrV4};
use std::time::Duration;

use node::Config;
use serde_json::json;

use crate::console::millis;
use crate::exit::Failed;
use crate::session::Session;

/// A name that is not resolved within this counts as unresolvable.
const RESOLVE_MAX: Duration = Duration::from_secs(10);

/// Asks one node whether it is there.
pub(super) async fn ping(session: &Session, to: &str) -> Result<(), Failed> {
    let to = session.or_stop(resolve(to)).await?;
    let mut config = Config { bootstrap: Vec::new(), nodes: Vec::new(), ..session.asking()? };
    if session.global.host()?.is_none() && to.ip().is_loopback() {
        config.host = *to.ip();
    }
    session
        .with_node(config, async |node| {
            let pong = session.console.progress("waiting for an answer", node.ping(to)).await?;
            let ms = millis(pong.round_trip);
            let id = pong.id.map(|id| id.to_string());
            let line = json!({
                "event": "pong", "from": pong.from, "id": id, "seen_as": pong.seen_as, "rtt_ms": ms,
            });
            let id = id.unwrap_or_else(|| "none, it is ephemeral".into());
            let text =
                format!("{} answered in {ms:.2} ms\n  id {id}\n  sees us as {}", pong.from, pong.seen_as);
            session.console.line(&line, text)
        })
        .await
}

async fn resolve(to: &str) -> Result<SocketAddrV4, Failed> {
    if !to.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port != 0)) {
        return Err(Failed::usage(format_args!("`{to}` is not host:port")));
    }
    let found = tokio::time::timeout(RESOLVE_MAX, tokio::net::lookup_host(to)).await;
    let found = found.map_err(|_| Failed::no_network(format_args!("no answer about the name {to}")))?;
    let mut found =
        found.map_err(|error| Failed::no_network(format_args!("cannot resolve {to}: {error}")))?;
    found
        .find_map(|address| match address {
            SocketAddr::V4(address) => Some(address),
            SocketAddr::V6(_) => None,
        })
        .ok_or_else(|| Failed::no_network(format_args!("{to} has no IPv4 address")))
}
