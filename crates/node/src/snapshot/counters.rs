use serde::{Deserialize, Serialize};

/// Walks through the network.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Queries {
    /// Begun and not ended, now.
    pub active: u64,
    /// Begun since the node was started.
    pub total: u64,
}

/// Requests that a node made; a request that is sent again counts once.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Requests {
    /// Made and not ended, now.
    pub active: u64,
    /// Made since the node was started.
    pub total: u64,
    /// Answered.
    pub responses: u64,
    /// Given up after all retries.
    pub timeouts: u64,
    /// Sent again.
    pub retries: u64,
}

/// Internal requests that a node made, by kind.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Commands {
    /// PING: is anybody there?
    pub ping: Exchanged,
    /// `PING_NAT`: answer to another port of mine.
    pub ping_nat: Exchanged,
    /// `FIND_NODE`: who is close to this id?
    pub find_node: Exchanged,
    /// `DOWN_HINT`: a node you named is dead.
    pub down_hint: Exchanged,
}

/// Requests made and answers received to them.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Exchanged {
    /// Requests made.
    pub tx: u64,
    /// Answers received, not requests of others.
    pub rx: u64,
}

/// Requests of others that were answered or passed on, by kind.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Served {
    /// PING.
    pub ping: u64,
    /// `PING_NAT`.
    pub ping_nat: u64,
    /// `FIND_NODE`.
    pub find_node: u64,
    /// `DOWN_HINT`.
    pub down_hint: u64,
    /// `DELAYED_PING`.
    pub delayed_ping: u64,
    /// `PEER_HANDSHAKE`, passed on.
    pub handshake: u64,
    /// `PEER_HOLEPUNCH`, passed on.
    pub holepunch: u64,
    /// `FIND_PEER`.
    pub find_peer: u64,
    /// LOOKUP.
    pub lookup: u64,
    /// ANNOUNCE, stored.
    pub announce: u64,
    /// UNANNOUNCE, obeyed.
    pub unannounce: u64,
    /// `MUTABLE_PUT`, stored or refused for its sequence number.
    pub mutable_put: u64,
    /// `MUTABLE_GET`.
    pub mutable_get: u64,
    /// `IMMUTABLE_PUT`, stored.
    pub immutable_put: u64,
    /// `IMMUTABLE_GET`.
    pub immutable_get: u64,
    /// Commands that this node does not serve.
    pub unknown: u64,
}

impl Served {
    /// Returns the counters with their names, in the order of the fields.
    pub fn named(&self) -> [(&'static str, u64); 16] {
        [
            ("ping", self.ping),
            ("ping_nat", self.ping_nat),
            ("find_node", self.find_node),
            ("down_hint", self.down_hint),
            ("delayed_ping", self.delayed_ping),
            ("handshake", self.handshake),
            ("holepunch", self.holepunch),
            ("find_peer", self.find_peer),
            ("lookup", self.lookup),
            ("announce", self.announce),
            ("unannounce", self.unannounce),
            ("mutable_put", self.mutable_put),
            ("mutable_get", self.mutable_get),
            ("immutable_put", self.immutable_put),
            ("immutable_get", self.immutable_get),
            ("unknown", self.unknown),
        ]
    }
}

impl From<dht::QueryStats> for Queries {
    fn from(stats: dht::QueryStats) -> Self {
        Self { active: stats.active, total: stats.total }
    }
}

impl From<dht::RequestStats> for Requests {
    fn from(stats: dht::RequestStats) -> Self {
        Self {
            active: stats.active,
            total: stats.total,
            responses: stats.responses,
            timeouts: stats.timeouts,
            retries: stats.retries,
        }
    }
}

impl From<dht::CommandStats> for Commands {
    fn from(stats: dht::CommandStats) -> Self {
        let exchanged = |of: dht::Exchanged| Exchanged { tx: of.tx, rx: of.rx };
        Self {
            ping: exchanged(stats.ping),
            ping_nat: exchanged(stats.ping_nat),
            find_node: exchanged(stats.find_node),
            down_hint: exchanged(stats.down_hint),
        }
    }
}

impl From<dht::Served> for Served {
    fn from(stats: dht::Served) -> Self {
        Self {
            ping: stats.ping,
            ping_nat: stats.ping_nat,
            find_node: stats.find_node,
            down_hint: stats.down_hint,
            delayed_ping: stats.delayed_ping,
            handshake: stats.handshake,
            holepunch: stats.holepunch,
            find_peer: stats.find_peer,
            lookup: stats.lookup,
            announce: stats.announce,
            unannounce: stats.unannounce,
            mutable_put: stats.mutable_put,
            mutable_get: stats.mutable_get,
            immutable_put: stats.immutable_put,
            immutable_get: stats.immutable_get,
            unknown: stats.unknown,
        }
    }
}
