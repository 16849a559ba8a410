//! The state of a database at a moment, and the forms in which it is shown.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use tooldb::{Address, Endpoint, Stats};

use crate::host::Counts;
use crate::store::Usage;

/// How a server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// In the clear.
    Ws,
    /// Over TLS.
    Wss,
}

impl Scheme {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Ws => Self::Wss,
            Self::Wss => Self::Ws,
        }
    }
}

/// Where a server is, and how it is spoken to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Server {
    /// Name or address, and port.
    pub endpoint: Endpoint,
    /// How it is spoken to.
    pub scheme: Scheme,
}

impl Server {
    /// A server as the library would dial it: over TLS at port 443, and nowhere else.
    pub fn new(endpoint: Endpoint) -> Self {
        let scheme = if endpoint.port() == 443 { Scheme::Wss } else { Scheme::Ws };
        Self { endpoint, scheme }
    }

    /// Whether it is spoken to over TLS.
    pub fn is_tls(&self) -> bool {
        self.scheme == Scheme::Wss
    }
}

/// The state of a database.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Status {
    /// The application that it serves.
    pub topic: String,
    /// The key pair that it introduces itself with.
    pub address: Address,
    /// How long it has been running.
    pub uptime: Duration,
    /// Servers that were reached and are connected, and this one if it is one.
    pub servers: Vec<Server>,
    /// Clients that are connected.
    pub clients: usize,
    /// Servers that are connected, either way.
    pub peers: usize,
    /// What the store holds.
    pub stored: Usage,
    /// Writes that are not on disk yet.
    pub unsynced: usize,
    /// Own records that no server has confirmed.
    pub unconfirmed: usize,
    /// What the replica counted.
    pub stats: Stats,
    /// What the host counted.
    pub counts: Counts,
}

impl Status {
    /// Whether the last writes reach the disk.
    pub fn is_healthy(&self) -> bool {
        self.counts.store_failures == 0 && self.counts.flushes_failed == 0
    }

    fn gauges(&self) -> [(&'static str, u64); 8] {
        let size = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        [
            ("uptime_seconds", self.uptime.as_secs()),
            ("clients", size(self.clients)),
            ("peers", size(self.peers)),
            ("servers", size(self.servers.len())),
            ("stored_records", self.stored.records),
            ("stored_bytes", self.stored.bytes),
            ("unsynced_writes", size(self.unsynced)),
            ("unconfirmed_records", size(self.unconfirmed)),
        ]
    }

    fn counters(&self) -> [(&'static str, u64); 18] {
        let (stats, counts) = (&self.stats, &self.counts);
        [
            ("frames_received", counts.frames_in),
            ("frames_sent", counts.frames_out),
            ("bytes_received", counts.bytes_in),
            ("bytes_sent", counts.bytes_out),
            ("records_admitted", stats.admitted),
            ("records_known", stats.known),
            ("records_rejected", stats.rejected),
            ("records_limited", stats.limited),
            ("records_pushed", stats.pushed),
            ("frames_malformed", stats.malformed),
            ("frames_unintroduced", stats.unintroduced),
            ("connections_slow", counts.slow),
            ("connections_refused", counts.refused),
            ("connections_turned_away", counts.turned_away),
            ("function_calls", counts.calls),
            ("disk_flushes", counts.flushes),
            ("disk_flushes_failed", counts.flushes_failed),
            ("store_failures", counts.store_failures),
        ]
    }

    /// The state in the text format of Prometheus.
    pub fn metrics(&self) -> String {
        let mut out = String::new();
        let mut line = |kind: &str, suffix: &str, (name, value): (&str, u64)| {
            writeln!(out, "# TYPE homing_tooldb_{name}{suffix} {kind}\nhoming_tooldb_{name}{suffix} {value}")
                .expect("a string takes everything");
        };
        self.gauges().into_iter().for_each(|gauge| line("gauge", "", gauge));
        self.counters().into_iter().for_each(|counter| line("counter", "_total", counter));
        out
    }

    /// The state as one object.
    pub fn to_json(&self) -> Value {
        let mut object = json!({"topic": self.topic, "address": self.address.to_string()});
        for (name, value) in self.gauges().into_iter().chain(self.counters()) {
            object[name] = json!(value);
        }
        object
    }

    /// Names and values for people.
    pub fn rows(&self) -> Vec<(String, String)> {
        let counts = self.gauges().into_iter().chain(self.counters());
        let shown = counts.map(|(name, value)| (name.replace('_', " "), value.to_string()));
        [("address".to_owned(), self.address.to_string())].into_iter().chain(shown).collect()
    }
}
