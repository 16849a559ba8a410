use std::collections::BTreeSet;

use node::{Found, Lookup, PublicKey};
use serde_json::json;

use crate::console::millis;
use crate::exit::Failed;
use crate::session::Session;
use crate::topic::Topic;

/// Prints who announced a topic.
pub(super) async fn lookup(session: &Session, topic: Topic) -> Result<(), Failed> {
    session
        .with_node(session.asking()?, async |node| {
            session.join(node).await?;
            show_all(session, node.lookup(topic.0).await?).await
        })
        .await
}

/// Prints the relays of a key.
pub(super) async fn find_peer(session: &Session, key: PublicKey) -> Result<(), Failed> {
    session
        .with_node(session.asking()?, async |node| {
            session.join(node).await?;
            show_all(session, node.find_peer(key).await?).await
        })
        .await
}

async fn show_all(session: &Session, mut lookup: Lookup) -> Result<(), Failed> {
    let mut seen = BTreeSet::new();
    let walk = async {
        while let Some(found) = lookup.next().await {
            if seen.insert(found.peer.public_key) {
                show_peer(session, &found)?;
            }
        }
        Ok::<_, Failed>(lookup.finish().await?)
    };
    let figures = session.console.progress("looking", walk).await?.figures;
    let ms = millis(figures.elapsed);
    let peers = seen.len();
    let line = json!({
        "event": "done", "peers": peers, "requests": figures.requests, "responses": figures.responses,
        "timeouts": figures.timeouts, "hops": figures.hops, "ms": ms,
    });
    let text =
        format!("{peers} found in {ms:.0} ms, {} nodes asked, {} hops", figures.requests, figures.hops);
    session.console.line(&line, text)?;
    if peers == 0 { Err(Failed::new("not-found", "nobody found")) } else { Ok(()) }
}

fn show_peer(session: &Session, found: &Found) -> Result<(), Failed> {
    let key = found.peer.public_key.to_string();
    let relays = &found.peer.relays;
    let line = json!({"event": "peer", "public_key": key, "relays": relays, "from": found.from});
    let through: Vec<_> = relays.iter().map(ToString::to_string).collect();
    let through = if through.is_empty() { "no relays".into() } else { through.join(" ") };
    session.console.line(&line, format_args!("{key} through {through}"))
}
