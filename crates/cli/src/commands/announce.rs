use std::time::{Duration, Instant};

use node::{Event, Id, KeyPair, Left};
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
    let home = session.open(config, session.global.data_dir()).await?;
    let key = announced_key(key, &home)?;
    let outcome = session.or_stop(keep_announcing(session, &home, topic.0, &key)).await;
    let left = home.shutdown().await?;
    unless_interrupted(outcome)?;
    left.iter().try_for_each(|left| show_left(session, left))
}

/// Announces the key itself first, so that the topic's announcement names its relays; again when they change.
async fn keep_announcing(session: &Session, home: &Home, topic: Id<32>, key: &KeyPair) -> Result<(), Failed> {
    let node = home.node();
    session.show_listening(home)?;
    session.joined(node, home.ready()).await?;
    session.show_ready(node).await?;
    let mut events = node.events();
    let mut relays_announced = None;
    let mut started = None;
    node.listen(key.clone()).await?;
    loop {
        match events.recv().await {
            Ok(Event::Reachable { public_key, mut relays }) if public_key == key.public_key() => {
                relays.sort_unstable();
                if relays_announced.as_ref() != Some(&relays) {
                    relays_announced = Some(relays);
                    started = Some(Instant::now());
                    node.announce(topic, key.clone()).await?;
                }
            }
            Ok(Event::Announced { topic: announced, stored }) if announced == topic => {
                let elapsed = started.take().map(|at| at.elapsed());
                show_announced(session, topic, key, Announced { stored, elapsed })?;
            }
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return Err(node::Stopped.into()),
        }
    }
}

fn show_left(session: &Session, left: &Left) -> Result<(), Failed> {
    let (topic, removed) = (left.topic.to_string(), left.removed);
    let line = json!({"event": "unannounced", "topic": topic, "removed": removed});
    let text = match removed {
        Some(nodes) => format!("unannounced {topic} from {nodes} nodes"),
        None => format!("no time to unannounce {topic} everywhere; it expires within 27 minutes"),
    };
    session.console.line(&line, text)
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
            let elapsed = Some(started.elapsed());
            show_announced(session, topic.0, &key, Announced { stored, elapsed })?;
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
            show_left(session, &Left { topic: topic.0, removed: Some(removed) })
        })
        .await
}

/// How an announcement went.
#[derive(Clone, Copy, Debug)]
struct Announced {
    stored: usize,
    /// Only known where we said when to begin.
    elapsed: Option<Duration>,
}

fn show_announced(session: &Session, topic: Id<32>, key: &KeyPair, how: Announced) -> Result<(), Failed> {
    let Announced { stored, elapsed } = how;
    let public_key = key.public_key().to_string();
    let ms = elapsed.map(millis);
    let line = json!({
        "event": "announced", "topic": topic.to_string(), "public_key": public_key, "stored": stored, "ms": ms,
    });
    let took = ms.map(|ms| format!(" in {ms:.0} ms")).unwrap_or_default();
    session.console.line(&line, format_args!("announced {public_key} on {stored} nodes{took}"))
}

/// The key that was named, else that of the directory that was named, else a new one.
pub(super) fn announced_key(key: &KeyArgs, home: &Home) -> Result<KeyPair, Failed> {
    match (key.read()?, home) {
        (Some(key), _) => Ok(key),
        (None, Home::Resident(resident)) => Ok(resident.key().clone()),
        (None, Home::Node(_)) => fresh_key(),
    }
}

fn fresh_key() -> Result<KeyPair, Failed> {
    Ok(KeyPair::from_seed(node::seed()?))
}
