use std::time::Duration;

/// Counters since the machine was made. Those in `queries`, `requests` and `commands` mean what the
/// reference's `stats` mean (`hyperdht index.js`, `dht-rpc index.js`); the others are ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Walks through the network.
    pub queries: QueryStats,
    /// Requests that this node made.
    pub requests: RequestStats,
    /// Internal requests that this node made, by kind.
    pub commands: CommandStats,
    /// Requests of others that made sense, by kind. Their replies may have been withheld.
    pub served: Served,
    /// How long answers took.
    pub round_trips: RoundTrips,
    /// Changes of the routing table.
    pub table: TableStats,
    /// Datagrams that were no valid message, or an answer that nobody waits for.
    pub rejected: u64,
    /// Replies withheld because their receiver had not proven its address and had used up its credit.
    pub withheld: u64,
}

/// How long answers to requests of ours took, from the first sending, so that a repetition shows as time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoundTrips {
    /// Answers that took no longer than each of [`RoundTrips::BOUNDS_MS`] and longer than the one before; the
    /// last counts what took longer than all.
    pub counts: [u64; 12],
    /// All of them together, in microseconds.
    pub sum_us: u64,
}

impl RoundTrips {
    /// Upper bounds of all but the last count, in milliseconds.
    pub const BOUNDS_MS: [u64; 11] = [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120];

    pub(crate) fn add(&mut self, time: Duration) {
        let ms = time.as_millis();
        let at = Self::BOUNDS_MS.partition_point(|bound| u128::from(*bound) < ms);
        self.counts[at] += 1;
        self.sum_us += u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    }
}

/// Changes of the routing table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableStats {
    /// Nodes that entered it.
    pub added: u64,
    /// Nodes that left it because they no longer answered.
    pub removed: u64,
}

/// Walks through the network, by users and in the background.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueryStats {
    /// Begun and not ended, now.
    pub active: u64,
    /// Begun.
    pub total: u64,
}

/// Requests that this node made; a request that is sent again counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestStats {
    /// Made and not ended, now.
    pub active: u64,
    /// Made.
    pub total: u64,
    /// Answered.
    pub responses: u64,
    /// Given up after all retries.
    pub timeouts: u64,
    /// Sent again.
    pub retries: u64,
}

/// Internal requests that this node made, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommandStats {
    /// PING.
    pub ping: Exchanged,
    /// `PING_NAT`.
    pub ping_nat: Exchanged,
    /// `FIND_NODE`.
    pub find_node: Exchanged,
    /// `DOWN_HINT`.
    pub down_hint: Exchanged,
}

/// Requests made and answers received to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exchanged {
    /// Requests made.
    pub tx: u64,
    /// Answers received, not requests of others.
    pub rx: u64,
}

/// Requests of others that made sense, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
    /// `PEER_HANDSHAKE` to be passed on.
    pub handshake: u64,
    /// `PEER_HOLEPUNCH` to be passed on.
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
