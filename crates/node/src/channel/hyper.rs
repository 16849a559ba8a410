//! HyperDHT as a mechanism of the channel: tasks that use the node, one for each order.

use std::net::IpAddr;

use dht::KeyPair;
use discovery::{Act, Command, Outcome, Sighting, Source, Topic, Who};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use wire::Id;

use super::driver::Report;
use crate::events::Event;
use crate::node::{Node, Stopped};

/// Walks once, and reports whom it finds.
pub(super) async fn look(node: Node, command: Command, id: Id<32>, reports: mpsc::Sender<Report>) {
    let outcome = match walk(&node, command.topic, id, &reports).await {
        Ok(outcome) => outcome,
        Err(Stopped) => Outcome::Failed,
    };
    // A channel that has ended wants no reports.
    reports.send(Report::Outcome(command, outcome)).await.unwrap_or_default();
}

async fn walk(
    node: &Node,
    topic: Topic,
    id: Id<32>,
    reports: &mpsc::Sender<Report>,
) -> Result<Outcome, Stopped> {
    // Else a look-up at the very start finds no node, and the next comes much later.
    node.ready().await?;
    let mut lookup = node.lookup(id).await?;
    while let Some(found) = lookup.next().await {
        let who = Who::Key(Id(found.peer.public_key.0));
        let informant = Some(IpAddr::from(*found.from.ip()));
        let sighting = Sighting { source: Source::Hyper, topic, who, informant };
        reports.send(Report::Sighting(sighting)).await.map_err(|_| Stopped)?;
    }
    Ok(if lookup.finish().await.is_ok() { Outcome::Answered } else { Outcome::Failed })
}

/// Announces a key until it is aborted: the key itself first, so that the topic's record names its relays, and the
/// topic again whenever they change.
pub(super) async fn announce(
    node: Node,
    key: KeyPair,
    what: (Command, Id<32>),
    reports: mpsc::Sender<Report>,
) {
    let (command, topic) = what;
    let mut events = node.events();
    let mut announced = None;
    if node.listen(key.clone()).await.is_err() {
        return;
    }
    loop {
        match events.recv().await {
            Ok(Event::Reachable { public_key, mut relays }) if public_key == key.public_key() => {
                relays.sort_unstable();
                if announced.as_ref() != Some(&relays) {
                    announced = Some(relays);
                    if node.announce(topic, key.clone()).await.is_err() {
                        return;
                    }
                }
            }
            Ok(Event::Announced { topic: of, stored }) if of == topic => {
                let outcome = if stored > 0 { Outcome::Answered } else { Outcome::Failed };
                debug_assert!(matches!(command.act, Act::Announce(_)));
                if reports.send(Report::Outcome(command, outcome)).await.is_err() {
                    return;
                }
            }
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}
