//! What is announced, who is found, and who can be reached.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;

use node::snapshot::{DialStep, Reason};
use node::{
    Config, ConnectError, DialError, DialOptions, Identity, Node, PublicKey, Route, Snapshot, Standing,
};
use tokio::time::{Instant, timeout, timeout_at};

use super::report::{Finding, Report};
use super::{PINGED, SHORT_PATIENCE, Wanted, ping_all};
use crate::words::{self, Cause};

/// Topics that a fresh node looks for.
const TOPICS: usize = 2;
/// Nodes that it is given to begin with.
const SEEDS: usize = 8;

/// Looks for what should be found, and dials a key that was.
pub(super) async fn search(node: &Node, wanted: Wanted, deadline: Instant, report: &mut Report) {
    match wanted {
        Wanted::Topic(topic) => {
            let Ok(lookup) = node.lookup(topic).await else { return };
            let (keys, _) = found(lookup).await;
            report.add(match keys.len() {
                0 => Finding::fault(
                    "search",
                    Cause::PeerNotAnnounced,
                    "A fresh node finds nobody under this topic.",
                ),
                found => {
                    Finding::fine("search", format!("A fresh node finds {found} peers under this topic."))
                }
            });
        }
        Wanted::Key(key) => {
            let Ok(lookup) = node.find_peer(key).await else { return };
            let (keys, relays) = found(lookup).await;
            if keys.is_empty() {
                report.add(Finding::fault(
                    "search",
                    Cause::PeerNotAnnounced,
                    "A fresh node finds nobody who knows this key.",
                ));
                return;
            }
            report.add(relayed_by(node, relays).await);
            report.add(dial(node, key, deadline).await);
        }
    }
}

/// Collects the keys that a walk finds, and the nodes that should pass handshakes on to them.
async fn found(mut lookup: node::Lookup) -> (BTreeSet<PublicKey>, BTreeSet<std::net::SocketAddrV4>) {
    let (mut keys, mut relays) = (BTreeSet::new(), BTreeSet::new());
    let walk = async {
        while let Some(found) = lookup.next().await {
            keys.insert(found.peer.public_key);
            relays.extend(found.peer.relays);
            relays.insert(found.from);
        }
    };
    // What was found until then counts.
    drop(timeout(SHORT_PATIENCE, walk).await);
    (keys, relays)
}

async fn relayed_by(node: &Node, relays: BTreeSet<std::net::SocketAddrV4>) -> Finding {
    let asked = relays.len();
    match ping_all(node, relays.into_iter().take(PINGED).collect()).await {
        0 => Finding::note(
            "search",
            Cause::PeerOffline,
            format!("The key is announced, and none of its {asked} relays answers."),
        ),
        n => Finding::fine(
            "search",
            format!("The key is announced, and {n} nodes that pass handshakes on to it answer."),
        ),
    }
}

/// Connects under a key that nobody knows, and hangs up at once.
async fn dial(node: &Node, key: PublicKey, deadline: Instant) -> Finding {
    let Ok(seed) = node::seed() else {
        return Finding::skipped("connection", "The system has no randomness to give.");
    };
    let identity = Arc::new(Identity::from_seed(seed));
    let mut dialling = pin!(node.connect(key, &identity, DialOptions::default()));
    match timeout_at(deadline, &mut dialling).await {
        Ok(Ok(connection)) => {
            let took = words::span(u64::try_from(connection.took().as_millis()).unwrap_or(u64::MAX));
            let way = words::way(connection.route().word());
            let said = format!("A connection opened {way}, in {took}.");
            match connection.route() {
                Route::Relayed => Finding::relayed("connection", said),
                Route::Direct | Route::Lan | Route::Punched => Finding::fine("connection", said),
            }
        }
        Ok(Err(ConnectError::Dial(error))) => unreached(error),
        Ok(Err(_)) => Finding::skipped("connection", "The node was shut down."),
        Err(_) => undecided(node).await,
    }
}

/// Says how far a dial came that has not ended.
async fn undecided(node: &Node) -> Finding {
    let snapshot = node.snapshot().await.ok();
    let step =
        snapshot.and_then(|snapshot| snapshot.connections.attempts.first().map(|attempt| attempt.step));
    match step {
        Some(DialStep::Find | DialStep::Handshake) => Finding::fault(
            "connection",
            Cause::PeerOffline,
            "The key is announced, and its owner answers through none of the nodes asked so far.",
        ),
        Some(step) => Finding::note(
            "connection",
            Cause::RelayNone,
            format!(
                "The peer answered, and no way to it was found yet while {}; it may take longer.",
                step.phrase()
            ),
        ),
        None => Finding::skipped("connection", "The dial did not end in time."),
    }
}

fn unreached(error: DialError) -> Finding {
    match (Cause::of(error.into()), error.step()) {
        (Some(cause), Some(step)) => Finding::fault(
            "connection",
            cause,
            format!("It failed while {}: {error}.", DialStep::from(step).phrase()),
        ),
        _ => Finding::skipped("connection", format!("It was not tried: {error}.")),
    }
}

/// Has a fresh node look for what the running one announces.
pub(super) async fn announced(node: &Node, snapshot: &Snapshot) -> Option<Finding> {
    let topics = snapshot.peers.topics.iter().filter(|topic| topic.role.announces() && topic.stored > 0);
    let topics: Vec<_> = topics.take(TOPICS).collect();
    if topics.is_empty() {
        return None;
    }
    let seeds = snapshot.nodes.table.iter().take(SEEDS).map(|entry| entry.address).collect();
    let config =
        Config { host: *node.server_address().ip(), standing: Standing::Ephemeral, ..Config::testnet(seeds) };
    let Ok(fresh) = Node::spawn(config).await else {
        return Some(Finding::skipped("announced", "No fresh node could be started to look for us."));
    };
    drop(timeout(SHORT_PATIENCE, fresh.ready()).await);
    let mut lost = 0;
    for topic in &topics {
        let Ok(lookup) = fresh.lookup(topic.topic.0).await else { continue };
        lost += usize::from(!found(lookup).await.0.contains(&topic.public_key.0));
    }
    drop(timeout(SHORT_PATIENCE, fresh.shutdown()).await);
    Some(if lost == 0 {
        Finding::fine("announced", format!("A fresh node finds this one under {} topics.", topics.len()))
    } else {
        let said = format!(
            "{lost} of {} topics are announced, and a fresh node does not find us there.",
            topics.len()
        );
        Finding::fault("announced", Cause::PeerNotAnnounced, said)
    })
}

/// Tells who is connected, and who is not and why, without naming anybody.
pub(super) fn known(snapshot: &Snapshot, report: &mut Report) {
    let (peers, connections) = (&snapshot.peers, &snapshot.connections);
    if peers.known == 0 {
        return report.add(Finding::skipped("peers", "No peer is known, so none could be examined."));
    }
    if peers.connected > 0 {
        let said = words::company(snapshot).sentence;
        report.add(match connections.paths.relayed {
            relayed if relayed == connections.open => Finding::relayed("peers", said),
            _ => Finding::fine("peers", said),
        });
    }
    let mut failed: BTreeMap<(DialStep, Reason), usize> = BTreeMap::new();
    for failure in words::failures(snapshot) {
        *failed.entry((failure.step, failure.reason)).or_default() += 1;
    }
    for ((step, reason), count) in failed {
        let Some(cause) = Cause::of(reason) else { continue };
        let who = if count == 1 {
            "1 peer that is known was".into()
        } else {
            format!("{count} peers that are known were")
        };
        let said = format!("{who} not reached; it failed while {}.", step.phrase());
        report.add(if peers.connected == 0 {
            Finding::fault("peers", cause, said)
        } else {
            Finding::note("peers", cause, said)
        });
    }
}
