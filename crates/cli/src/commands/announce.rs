use std::time::Instant;

use node::{Event, Id, KeyPair, Node};
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;

use crate::args::KeyArgs;
use crate::commands::serve::unless_interrupted;
use crate::console::millis;
use crate::exit::Failed;
use crate::session::{Home, Session};
use crate::topic::Topic;

/// Announces a key under a topic until told to end, and unannounces it then.
pub(super) async fn announce(session: &Session, topic: Topic, key: &KeyArgs) -> Result<(), Failed> {
    let mut config = session.config()?;
    config.port = session.global.port.unwrap_or_default();
    let home = session.open(config, session.global.data_dir.as_deref()).await?;
    let key = announced_key(key, &home)?;
    let outcome = session.or_stop(keep_announcing(session, home.node(), topic.0, &key)).await;
    let left = leave(session, home.node(), topic.0).await;
    home.shutdown().await?;
    unless_interrupted(outcome).and(left)
}

async fn keep_announcing(session: &Session, node: &Node, topic: Id<32>, key: &KeyPair) -> Result<(), Failed> {
    session.show_listening(node)?;
    session.join(node).await?;
    session.show_ready(node).await?;
    let mut events = node.events();
    let mut started = Instant::now();
    node.listen(key.clone()).await?;
    node.announce(topic, key.clone()).await?;
    loop {
        match events.recv().await {
            Ok(Event::Announced { topic: announced, stored }) if announced == topic => {
                let ms = millis(started.elapsed());
                show_announced(session, topic, key, (stored, ms))?;
            }
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return Err(node::Stopped.into()),
        }
        started = Instant::now();
    }
}

/// Takes the announcement back, if one was made.
async fn leave(session: &Session, node: &Node, topic: Id<32>) -> Result<(), Failed> {
    let Some(removed) = node.leave(topic).await? else { return Ok(()) };
    let line = json!({"event": "unannounced", "topic": topic.to_string(), "removed": removed.stored});
    session.console.line(&line, format_args!("unannounced {topic} from {} nodes", removed.stored))
}

/// Announces a key under a topic and ends; the announcement stays until it expires.
pub(super) async fn announce_once(session: &Session, topic: Topic, key: &KeyArgs) -> Result<(), Failed> {
    let key = key.read()?.map_or_else(fresh_key, Ok)?;
    session
        .with_node(session.asking()?, async |node| {
            session.join(node).await?;
            let started = Instant::now();
            let announced = node.announce_once(topic.0, key.clone());
            let stored = session.console.progress("announcing", announced).await?.stored;
            show_announced(session, topic.0, &key, (stored, millis(started.elapsed())))?;
            if stored == 0 { Err(Failed::new("not-stored", "no node stored it")) } else { Ok(()) }
        })
        .await
}

/// Removes an announcement of an earlier run.
pub(super) async fn unannounce(session: &Session, topic: Topic, key: &KeyArgs) -> Result<(), Failed> {
    let key = key.read()?.ok_or_else(|| Failed::usage("whose announcement?"))?;
    session
        .with_node(session.asking()?, async |node| {
            session.join(node).await?;
            let unannounced = node.unannounce(topic.0, key);
            let removed = session.console.progress("unannouncing", unannounced).await?.stored;
            let topic = topic.0.to_string();
            let line = json!({"event": "unannounced", "topic": topic, "removed": removed});
            session.console.line(&line, format_args!("unannounced {topic} from {removed} nodes"))
        })
        .await
}

fn show_announced(
    session: &Session,
    topic: Id<32>,
    key: &KeyPair,
    (stored, ms): (usize, f64),
) -> Result<(), Failed> {
    let public_key = key.public_key().to_string();
    let line = json!({
        "event": "announced", "topic": topic.to_string(), "public_key": public_key, "stored": stored, "ms": ms,
    });
    session.console.line(&line, format_args!("announced {public_key} on {stored} nodes in {ms:.0} ms"))
}

/// The key that was named, else that of the directory that was named, else a new one.
fn announced_key(key: &KeyArgs, home: &Home) -> Result<KeyPair, Failed> {
    match (key.read()?, home) {
        (Some(key), _) => Ok(key),
        (None, Home::Resident(resident)) => Ok(KeyPair::from_seed(resident.dir().key(node::seed()?)?)),
        (None, Home::Node(_)) => fresh_key(),
    }
}

fn fresh_key() -> Result<KeyPair, Failed> {
    Ok(KeyPair::from_seed(node::seed()?))
}
