use std::net::SocketAddr;
use std::time::Duration;

use crate::block::is_public;
use crate::config::Standing;

/// How a node is set up; the defaults are for the public network.
#[derive(Clone, Debug)]
pub struct Config {
    /// Hosts that know the network by name and port; asked once at the start, and kept out of the table.
    pub routers: Vec<(String, u16)>,
    /// Nodes to begin with: known ones, or those of a saved routing table.
    pub nodes: Vec<SocketAddr>,
    /// Whether others may put this node into their tables (BEP 43).
    pub standing: Standing,
    /// What is measured to keep one owner from being many nodes.
    pub diversity: Diversity,
    /// What an id that does not belong to its address means (BEP 42).
    pub binding: Binding,
    /// Independent ways that a look-up takes through the network; `None` takes four where the network seems
    /// larger than 50,000 nodes, and else one.
    pub paths: Option<usize>,
    /// Whether strangers may ask which info-hashes are stored here (BEP 51).
    pub sampling: Sampling,
    /// Every wait.
    pub timing: Timing,
    /// Bounds that an operator may want to move.
    pub limits: Limits,
}

/// Where nodes of one network block count as one owner's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Diversity {
    /// Among public addresses.
    Public,
    /// Nowhere: each address is its own.
    Off,
}

impl Diversity {
    pub(super) const fn counts(self, addr: &SocketAddr) -> bool {
        matches!(self, Self::Public) && is_public(addr.ip())
    }
}

/// What becomes of nodes whose id does not belong to their address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// Nothing: an id may be anything.
    Off,
    /// They come after those whose id does, of which they displace none; many programs draw any id.
    Preferred,
    /// They are not used, as in a network of one's own.
    Required,
}

/// Whether `sample_infohashes` is answered with samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// It is.
    On,
    /// The answer names nodes only: what people look for is theirs.
    Off,
}

/// Every wait of the machine.
#[derive(Clone, Debug)]
pub struct Timing {
    /// Period of upkeep.
    pub tick: Duration,
    /// Shortest wait for an answer before others are asked; also used before any round trip was seen.
    pub patience_min: Duration,
    /// Longest such wait.
    pub patience_max: Duration,
    /// Shortest time after which a query is given up; answers count until then.
    pub deadline_min: Duration,
    /// A node not heard from within this is asked whether it is there (BEP 5).
    pub questionable: Duration,
    /// Between two look-ups that refresh the table.
    pub refresh: Duration,
    /// The same while fewer than a row of nodes is known.
    pub refresh_sparse: Duration,
    /// Between two announcements of a topic, to which up to half as much is added.
    pub announce: Duration,
    /// Uptime at one address before an adaptive node tries whether others reach it.
    pub stable: Duration,
    /// How long it waits for them.
    pub trial: Duration,
    /// One slot of the congestion window.
    pub window_slot: Duration,
}

/// Bounds that an operator may want to move; what a protocol or a packet dictates is a constant elsewhere.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Answers that a look-up wants, and nodes that store an announcement; BEP 5 says 8, and with 20 an
    /// attacker needs more than twice as many nodes around the target.
    pub width: usize,
    /// Queries in flight within one look-up.
    pub concurrency: usize,
    /// Queries sent in one slot of the congestion window; twice that in four slots.
    pub window: usize,
    /// Queries answered to one address.
    pub host: Rate,
    /// Queries answered to one /24, or /64 of IPv6.
    pub block: Rate,
    /// Signatures of others checked in a second; a put above that is not answered.
    pub signature_checks_per_second: u32,
}

/// How many in a second, after how many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_second: u32,
    /// At once.
    pub burst: u32,
}

impl Rate {
    /// No limit.
    pub const UNLIMITED: Self = Self { per_second: u32::MAX, burst: u32::MAX };
}

impl Default for Config {
    fn default() -> Self {
        let public = [
            ("router.bittorrent.com", 6881),
            ("dht.transmissionbt.com", 6881),
            ("router.utorrent.com", 6881),
            ("dht.libtorrent.org", 25401),
        ];
        Self {
            routers: public.map(|(host, port)| (host.into(), port)).into(),
            nodes: Vec::new(),
            standing: Standing::Adaptive,
            diversity: Diversity::Public,
            binding: Binding::Preferred,
            paths: None,
            sampling: Sampling::Off,
            timing: Timing::default(),
            limits: Limits::default(),
        }
    }
}

impl Config {
    /// A node of a private network: in the tables of others at once, and without limits of rate, since all of
    /// them may live at one address.
    #[must_use]
    pub fn testnet(nodes: Vec<SocketAddr>) -> Self {
        let limits = Limits { host: Rate::UNLIMITED, block: Rate::UNLIMITED, ..Limits::default() };
        Self { routers: Vec::new(), nodes, standing: Standing::Persistent, limits, ..Self::default() }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            tick: Duration::from_secs(5),
            patience_min: Duration::from_millis(100),
            patience_max: Duration::from_secs(1),
            deadline_min: Duration::from_millis(700),
            questionable: Duration::from_mins(10),
            refresh: Duration::from_mins(10),
            refresh_sparse: Duration::from_secs(30),
            announce: Duration::from_mins(10),
            stable: Duration::from_mins(15),
            trial: Duration::from_mins(15),
            window_slot: Duration::from_millis(100),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            width: 20,
            concurrency: 10,
            window: 400,
            host: Rate { per_second: 20, burst: 50 },
            block: Rate { per_second: 200, burst: 500 },
            signature_checks_per_second: 2_000,
        }
    }
}
