use std::net::{Ipv4Addr, SocketAddrV4};
use std::str::FromStr;
use std::time::Duration;

/// Milliseconds since 1970, as a host's wall clock tells them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixMillis(pub u64);

/// How a node is set up. The defaults are the reference's (`dht-rpc` 6.27, `hyperdht` 6.34) unless a field
/// says otherwise.
#[derive(Clone, Debug)]
pub struct Config {
    /// Local address that both sockets bind; 0.0.0.0 by default.
    pub host: Ipv4Addr,
    /// First choice for the server socket; the four ports above it are tried next. 0 is any port.
    pub port: u16,
    /// Whether another port will do when those are taken.
    pub any_port: AnyPort,
    /// Where to enter the network; the three public nodes by default.
    pub bootstrap: Vec<Bootstrap>,
    /// Nodes known from an earlier run; asked like bootstrap nodes, so that a few dead ones do no harm.
    pub nodes: Vec<SocketAddrV4>,
    /// Whether others may store this node.
    pub standing: Standing,
    /// Whether to believe that others can reach the server socket.
    pub firewall: AssumedFirewall,
    /// The public address, where it is known beforehand; a bootstrap node has nobody to learn it from.
    pub known_address: Option<SocketAddrV4>,
    /// What the wall clock says at the instant given to [`Hyper::new`](crate::Hyper::new).
    pub wall_clock: UnixMillis,
    /// Every wait.
    pub timing: Timing,
    /// Every bound that an operator may want to move.
    pub limits: Limits,
}

/// Whether a port outside the wanted ones is acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnyPort {
    /// Take whatever the system gives.
    Allowed,
    /// Fail instead.
    Refused,
}

/// Where a socket may be bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Local address.
    pub host: Ipv4Addr,
    /// Ports to try in order; empty is any port.
    pub candidates: Vec<u16>,
    /// What to do when all are taken.
    pub any: AnyPort,
}

/// Whether others may store this node in their tables, and store records on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Ephemeral until it has been up for a while and proved reachable.
    Adaptive,
    /// Never stored.
    Ephemeral,
    /// Stored as soon as the address is known.
    Persistent,
}

/// What is believed about the server socket before anyone proved it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AssumedFirewall {
    /// Unreachable until a test succeeds.
    Closed,
    /// Unreachable, and not tested before the node has been up for long (`quickFirewall: false`).
    ClosedUntested,
    /// Reachable.
    Open,
}

/// Every wait of the machine.
#[derive(Clone, Debug)]
pub struct Timing {
    /// Period of upkeep; the counts below named `_ticks` are in it.
    pub tick: Duration,
    /// A gap between two ticks above this means that the host slept.
    pub sleep: Duration,
    /// Wait for an answer before a plain request is sent again.
    pub request: Duration,
    /// How often a plain request is sent again.
    pub request_retries: u8,
    /// Wait for an answer within a query. The reference waits [`Patience::Fixed`] one second unless asked to
    /// adapt; see `docs/adr/002-adaptive-patience.md`.
    pub query: Patience,
    /// How often a request within a query is sent again.
    pub query_retries: u8,
    /// One slot of the congestion window.
    pub window_slot: Duration,
    /// Life of a token secret; a token is good for one to two of these.
    pub token: Duration,
    /// Uptime before an adaptive node first tries to become persistent.
    pub stable_ticks: u32,
    /// Wait before it tries again, and after a sleep.
    pub unstable_ticks: u32,
    /// Between background queries when nothing else refreshed the table.
    pub refresh_ticks: u32,
    /// Between background queries while fewer than a bucket of nodes is known.
    pub refresh_sparse_ticks: u32,
    /// Between background queries while no node is known; the reference waits for the next ping round.
    pub refresh_empty_ticks: u32,
    /// Between rounds of pings to the nodes heard from longest ago.
    pub ping_ticks: u32,
    /// A node heard from within this is recent.
    pub recent_ticks: u32,
    /// A node known for longer is old: it is kept in favour of a newcomer.
    pub old_ticks: u32,
    /// Longest delay that a delayed ping may ask for.
    pub ping_delay_max: Duration,
    /// Between pings to the relays of a key that this node serves; keeps its NAT mapping open.
    pub relay_ping: Duration,
    /// After how many such pings the key is announced anew.
    pub relay_pings: u32,
    /// Between announcements of a topic, to which up to `topic_jitter` is added (`hyperswarm lib/peer-discovery.js`).
    pub topic: Duration,
    /// See `topic`.
    pub topic_jitter: Duration,
    /// Age that announcements are kept for, give or take a third.
    pub record_age: Duration,
    /// Age that mutable and immutable values are kept for, give or take a third.
    pub value_age: Duration,
}

/// How long to wait for an answer before sending again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Always this long.
    Fixed(Duration),
    /// By the round trips seen so far, within these bounds, doubled at each repetition up to the upper one.
    Adaptive {
        /// Lower bound; also used before any round trip was seen.
        min: Duration,
        /// Upper bound.
        max: Duration,
    },
}

/// Bounds that an operator may want to move; what a protocol or a packet dictates is a constant elsewhere.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Requests in flight within one query.
    pub concurrency: usize,
    /// Requests sent in one slot of the congestion window; twice that in four slots.
    pub window: usize,
    /// Down hints sent in one tick.
    pub down_hints_per_tick: usize,
    /// Announcements under topics, and announcements of keys, that are stored.
    pub records: usize,
    /// Mutable, and immutable values that are stored, each.
    pub values: usize,
    /// Bytes of mutable, and of immutable values that are stored, each. The reference has no such bound.
    pub value_bytes: usize,
    /// Signatures of others checked in a second; what comes above is not answered. The reference has no such
    /// bound; one check costs about 50 µs.
    pub signature_checks_per_second: u32,
}

impl Default for Config {
    fn default() -> Self {
        let public = [
            ([88, 99, 3, 86], "node1.hyperdht.org"),
            ([142, 93, 90, 113], "node2.hyperdht.org"),
            ([138, 68, 147, 8], "node3.hyperdht.org"),
        ];
        Self {
            host: Ipv4Addr::UNSPECIFIED,
            port: Self::PORT,
            any_port: AnyPort::Allowed,
            bootstrap: public
                .map(|(ip, host)| Bootstrap::Name {
                    hint: Some(ip.into()),
                    host: host.into(),
                    port: Self::PORT,
                })
                .into(),
            nodes: Vec::new(),
            standing: Standing::Adaptive,
            firewall: AssumedFirewall::Closed,
            known_address: None,
            wall_clock: UnixMillis::default(),
            timing: Timing::default(),
            limits: Limits::default(),
        }
    }
}

impl Config {
    /// HyperDHT's port.
    pub const PORT: u16 = 49737;

    /// A node that others enter a network by: persistent, open, at a fixed address, with nobody above it.
    #[must_use]
    pub fn bootstrapper(address: SocketAddrV4) -> Self {
        Self {
            host: *address.ip(),
            port: address.port(),
            any_port: AnyPort::Refused,
            bootstrap: Vec::new(),
            standing: Standing::Persistent,
            firewall: AssumedFirewall::Open,
            known_address: Some(address),
            ..Self::default()
        }
    }

    /// A node of a private network on loopback: persistent and open at once, on any port.
    #[must_use]
    pub fn testnet(bootstrap: Vec<SocketAddrV4>) -> Self {
        Self {
            host: Ipv4Addr::LOCALHOST,
            port: 0,
            bootstrap: bootstrap.into_iter().map(Bootstrap::Address).collect(),
            standing: Standing::Persistent,
            firewall: AssumedFirewall::Open,
            ..Self::default()
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            tick: Duration::from_secs(5),
            sleep: Duration::from_secs(15),
            request: Duration::from_secs(1),
            request_retries: 3,
            query: Patience::Adaptive { min: Duration::from_millis(150), max: Duration::from_millis(1500) },
            query_retries: 5,
            window_slot: Duration::from_millis(750),
            token: Duration::from_millis(7500),
            stable_ticks: 240,
            unstable_ticks: 720,
            refresh_ticks: 60,
            refresh_sparse_ticks: 64,
            refresh_empty_ticks: 2,
            ping_ticks: 8,
            recent_ticks: 12,
            old_ticks: 360,
            ping_delay_max: Duration::from_secs(10),
            relay_ping: Duration::from_secs(3),
            relay_pings: 100,
            topic: Duration::from_mins(10),
            topic_jitter: Duration::from_mins(2),
            record_age: Duration::from_mins(20),
            value_age: Duration::from_hours(48),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            concurrency: 10,
            window: 80,
            down_hints_per_tick: 50,
            records: 65_536,
            values: 32_768,
            value_bytes: 12 << 20,
            signature_checks_per_second: 2_000,
        }
    }
}

/// A node to enter the network by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bootstrap {
    /// A known address.
    Address(SocketAddrV4),
    /// A name, with the address that it is likely to have, which saves a name lookup.
    Name {
        /// Tried first.
        hint: Option<Ipv4Addr>,
        /// Resolved when the hint does not answer.
        host: String,
        /// UDP port.
        port: u16,
    },
}

/// A text that is no bootstrap entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither host:port nor ip@host:port")]
pub struct ParseBootstrapError(pub String);

impl FromStr for Bootstrap {
    type Err = ParseBootstrapError;

    /// Reads `host:port` or `ip@host:port` (`dht-rpc index.js`).
    fn from_str(text: &str) -> Result<Self, ParseBootstrapError> {
        let wrong = || ParseBootstrapError(text.into());
        if let Ok(addr) = text.parse() {
            return Ok(Self::Address(addr));
        }
        let (hint, rest) = match text.split_once('@') {
            Some((ip, rest)) => (Some(ip.parse().map_err(|_| wrong())?), rest),
            None => (None, text),
        };
        let (host, port) = rest.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        if host.is_empty() || !host.chars().all(is_name) {
            return Err(wrong());
        }
        Ok(Self::Name { hint, host: host.into(), port })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bootstrap_entries_are_read_in_all_three_forms() {
        let name = |hint: Option<&str>| Bootstrap::Name {
            hint: hint.map(|ip| ip.parse().unwrap()),
            host: "node1.example".into(),
            port: 49737,
        };
        assert_eq!("1.2.3.4:5".parse(), Ok(Bootstrap::Address("1.2.3.4:5".parse().unwrap())));
        assert_eq!("node1.example:49737".parse(), Ok(name(None)));
        assert_eq!("88.99.3.86@node1.example:49737".parse(), Ok(name(Some("88.99.3.86"))));
        for wrong in ["", "node1", "node1:", "node1:0", "node1:70000", "x@node1:1", ":1", "a b:1", "[::1]:1"]
        {
            assert_eq!(wrong.parse::<Bootstrap>(), Err(ParseBootstrapError(wrong.into())));
        }
    }
}
