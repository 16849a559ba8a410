use std::collections::VecDeque;
use std::sync::Arc;

use node::snapshot::Reason;
use node::{Direction, Event, PublicKey};
use serde::Serialize;

use crate::words::{self, Cause};

/// Events kept to be read later.
const ENTRIES_MAX: usize = 500;

/// Something that happened to the node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Grows by one with each event of this launch.
    pub seq: u64,
    /// When, in milliseconds since 1970 by the wall clock.
    pub unix_ms: u64,
    /// When, in milliseconds since the node was started.
    pub uptime_ms: u64,
    /// What kind, such as `nat.changed`.
    pub kind: &'static str,
    /// What happened, in a sentence.
    pub text: String,
    /// The code of its cause, where one is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<&'static str>,
}

/// The latest events, oldest first; a clone shares them.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<VecDeque<Arc<Entry>>>);

impl Log {
    pub(crate) fn push(&mut self, entry: Arc<Entry>) {
        let entries = Arc::make_mut(&mut self.0);
        if entries.len() == ENTRIES_MAX {
            entries.pop_front();
        }
        entries.push_back(entry);
    }

    /// Goes through the events, latest first.
    pub fn latest(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.0.iter().rev()
    }

    /// Goes through the events after one, oldest first.
    pub fn since(&self, seq: u64) -> impl Iterator<Item = &Arc<Entry>> {
        self.0.iter().filter(move |entry| entry.seq > seq)
    }
}

/// Names an event, says it in words, and gives its cause where one is known. Addresses of others do not appear.
pub(crate) fn describe(event: &Event) -> (&'static str, String, Option<Cause>) {
    let short = |text: String| text.chars().take(8).collect::<String>();
    let peer = |key: &PublicKey| short(key.to_string());
    let (kind, text) = match event {
        Event::Connected(opened) => {
            let (who, way) = (peer(&opened.remote), words::way(opened.route.word()));
            let text = match opened.direction {
                Direction::Incoming => format!("The peer {who}… connected to us {way}."),
                Direction::Outgoing => {
                    let took = words::span(u64::try_from(opened.took.as_millis()).unwrap_or(u64::MAX));
                    format!("We connected to the peer {who}… {way}, after {took}.")
                }
            };
            ("conn.open", text)
        }
        Event::Disconnected { remote, why, .. } => {
            ("conn.closed", format!("The connection with the peer {}… is over: {why}.", peer(remote)))
        }
        Event::Rerouted { route, .. } => {
            ("conn.path.changed", format!("A connection's packets now travel {}.", words::way(route.word())))
        }
        Event::Stalled(_) => (
            "conn.stalled",
            "The peer of a connection has been silent for 18 s; the connection is kept for five minutes."
                .into(),
        ),
        Event::Revived(_) => ("conn.revived", "The peer of a silent connection is heard again.".into()),
        Event::PeerFound { topic, remote } => (
            "peer.found",
            format!("The peer {}… was found in the topic {}…", peer(remote), short(topic.to_string())),
        ),
        Event::DialFailed { remote, error } => {
            let reason = Reason::from(*error);
            let text = format!("The peer {}… was not reached: {error}.", peer(remote));
            return ("conn.failed", text, Cause::of(reason));
        }
        Event::Listening { server, client } => {
            ("net.listening", format!("Listening on {}, asking from {}.", server.port(), client.port()))
        }
        Event::Ready => ("dht.bootstrap.done", "The first bootstrap ended.".into()),
        Event::Persistent => ("state.changed", "Others store this node from now on.".into()),
        Event::Ephemeral => ("state.changed", "Others store this node no more.".into()),
        Event::AddressChanged => ("nat.changed", "Observers see this node at another address.".into()),
        Event::HealthChanged => ("state.changed", "The network answers better or worse than before.".into()),
        Event::NetworkChanged => ("net.change", "The addresses of this computer changed.".into()),
        Event::Woke => ("sleep.resume", "The computer slept.".into()),
        Event::Suspended => ("state.changed", "The sockets were closed.".into()),
        Event::Resumed => ("state.changed", "The sockets are open again.".into()),
        Event::Announced { topic, stored: 0 } => {
            ("dht.announce.lost", format!("No node stored the topic {}…", short(topic.to_string())))
        }
        Event::Announced { topic, stored } => (
            "dht.announce.confirmed",
            format!("{stored} nodes stored the topic {}…", short(topic.to_string())),
        ),
        Event::Reachable { public_key, relays } => (
            if relays.is_empty() { "dht.announce.lost" } else { "dht.announce.confirmed" },
            format!(
                "{} nodes pass handshakes on to the key {}…",
                relays.len(),
                short(public_key.to_string())
            ),
        ),
        _ => ("other", "Something happened that this page does not know.".into()),
    };
    (kind, text, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_keeps_the_latest_and_reads_on_from_any() {
        let mut log = Log::default();
        for seq in 1..=600 {
            let text = String::new();
            log.push(Arc::new(Entry { seq, unix_ms: 0, uptime_ms: 0, kind: "k", text, cause: None }));
        }
        assert_eq!(log.latest().count(), ENTRIES_MAX);
        assert_eq!(log.latest().next().unwrap().seq, 600);
        assert_eq!(log.since(598).map(|entry| entry.seq).collect::<Vec<_>>(), [599, 600]);
    }
}
