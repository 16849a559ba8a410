use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;

/// How much of a remote address a NAT looks at, for mapping or for filtering (RFC 4787, 4.1 and 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dependence {
    /// Nothing: one mapping for all destinations, or anybody may send in.
    Independent,
    /// The remote address.
    Address,
    /// The remote address and port.
    AddressAndPort,
}

/// Which outer port a new mapping gets (RFC 4787, 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocation {
    /// The inner port, or the next free one above it.
    Preserving,
    /// Any free port.
    Random,
    /// One above the port given out last.
    Sequential,
}

/// Which packets keep a mapping alive (RFC 4787, 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// Only those that leave.
    Outbound,
    /// Those that leave and those that are let in.
    Both,
}

/// Whether two hosts behind one NAT reach each other through its outer address (RFC 4787, 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hairpin {
    /// They do.
    On,
    /// Such packets are lost.
    Off,
}

/// The behaviour of one NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatConfig {
    /// When one inner endpoint gets several outer ports.
    pub mapping: Dependence,
    /// Who may send in through an existing mapping.
    pub filtering: Dependence,
    /// Which outer ports are given out.
    pub allocation: Allocation,
    /// How long an idle mapping lives.
    pub expiry: Duration,
    /// What counts as not idle.
    pub refresh: Refresh,
    /// Whether the outer address works from inside.
    pub hairpin: Hairpin,
    /// Most mappings at once, at most 64,000; a full NAT forgets the one idle for longest.
    pub mappings_max: usize,
}

impl NatConfig {
    /// A home router: one mapping an endpoint, ports kept, closed to strangers (RFC 4787 calls it
    /// endpoint-independent mapping with address-and-port-dependent filtering).
    pub const HOME: Self = Self {
        mapping: Dependence::Independent,
        filtering: Dependence::AddressAndPort,
        allocation: Allocation::Preserving,
        expiry: Duration::from_mins(2),
        refresh: Refresh::Both,
        hairpin: Hairpin::Off,
        mappings_max: 4096,
    };
    /// A NAT that lets everybody in once a mapping exists ("full cone").
    pub const OPEN: Self = Self { filtering: Dependence::Independent, ..Self::HOME };
    /// A NAT with another random port for each destination ("symmetric").
    pub const SYMMETRIC: Self =
        Self { mapping: Dependence::AddressAndPort, allocation: Allocation::Random, ..Self::HOME };
}

const FIRST_PORT: u16 = 1024;
/// Remote endpoints remembered by a mapping; a birthday-attack punch contacts 256.
const PEERS_MAX: usize = 1024;

/// A NAT's table.
#[derive(Debug)]
pub(crate) struct Nat {
    config: NatConfig,
    mappings: BTreeMap<Key, Mapping>,
    by_port: BTreeMap<u16, Key>,
    forwards: BTreeMap<u16, SocketAddrV4>,
    last_port: u16,
    rng: StdRng,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    inner: SocketAddrV4,
    address: Option<Ipv4Addr>,
    port: Option<u16>,
}

#[derive(Debug)]
struct Mapping {
    outer: u16,
    used: Duration,
    peers: BTreeMap<SocketAddrV4, Duration>,
}

impl Nat {
    pub(crate) fn new(config: NatConfig, mut rng: StdRng) -> Self {
        let last_port = rng.random_range(FIRST_PORT..u16::MAX);
        Self {
            config,
            mappings: BTreeMap::new(),
            by_port: BTreeMap::new(),
            forwards: BTreeMap::new(),
            last_port,
            rng,
        }
    }

    pub(crate) const fn hairpin(&self) -> Hairpin {
        self.config.hairpin
    }

    /// Sends everything for the outer port `port` to `inner`, as a port forwarding rule does.
    pub(crate) fn forward(&mut self, port: u16, inner: SocketAddrV4) {
        self.forwards.insert(port, inner);
    }

    /// Forgets every mapping, as a router that restarts does; forwarding rules stay.
    pub(crate) fn flush(&mut self) {
        self.mappings.clear();
        self.by_port.clear();
    }

    /// Returns the outer port for a packet from `inner` to `to`, making the mapping where there is none.
    pub(crate) fn outbound(&mut self, now: Duration, inner: SocketAddrV4, to: SocketAddrV4) -> u16 {
        if let Some((port, _)) = self.forwards.iter().find(|(_, to)| **to == inner) {
            return *port;
        }
        let key = Key {
            inner,
            address: (self.config.mapping >= Dependence::Address).then_some(*to.ip()),
            port: (self.config.mapping >= Dependence::AddressAndPort).then_some(to.port()),
        };
        if !self.mappings.get(&key).is_some_and(|mapping| self.alive(now, mapping.used)) {
            self.remove(key);
            self.make_room(now);
            let outer = self.allocate(inner.port());
            self.by_port.insert(outer, key);
            self.mappings.insert(key, Mapping { outer, used: now, peers: BTreeMap::new() });
        }
        let filtering = self.config.filtering;
        let mapping = self.mappings.get_mut(&key).expect("was just made if it was missing");
        mapping.used = now;
        if filtering != Dependence::Independent {
            mapping.peers.insert(to, now);
            if mapping.peers.len() > PEERS_MAX {
                let oldest = mapping.peers.iter().min_by_key(|(peer, used)| (**used, **peer));
                let oldest = *oldest.expect("the table is over its limit").0;
                mapping.peers.remove(&oldest);
            }
        }
        mapping.outer
    }

    /// Returns where a packet from `from` to the outer port `port` goes, if it is let in.
    pub(crate) fn inbound(&mut self, now: Duration, from: SocketAddrV4, port: u16) -> Option<SocketAddrV4> {
        if let Some(inner) = self.forwards.get(&port) {
            return Some(*inner);
        }
        let key = *self.by_port.get(&port)?;
        let expiry = self.config.expiry;
        let mapping = self.mappings.get_mut(&key)?;
        let fresh = |used: Duration| now < used + expiry;
        let allowed = match self.config.filtering {
            Dependence::Independent => true,
            Dependence::Address => {
                let all = SocketAddrV4::new(*from.ip(), 0)..=SocketAddrV4::new(*from.ip(), u16::MAX);
                mapping.peers.range(all).any(|(_, used)| fresh(*used))
            }
            Dependence::AddressAndPort => mapping.peers.get(&from).is_some_and(|used| fresh(*used)),
        };
        if !allowed || !fresh(mapping.used) {
            return None;
        }
        if self.config.refresh == Refresh::Both {
            mapping.used = now;
            if let Some(used) = mapping.peers.get_mut(&from) {
                *used = now;
            }
        }
        Some(key.inner)
    }

    fn alive(&self, now: Duration, used: Duration) -> bool {
        now < used + self.config.expiry
    }

    fn remove(&mut self, key: Key) {
        if let Some(mapping) = self.mappings.remove(&key) {
            self.by_port.remove(&mapping.outer);
        }
    }

    fn make_room(&mut self, now: Duration) {
        if self.mappings.len() < self.config.mappings_max {
            return;
        }
        let expired = self.mappings.iter().filter(|(_, mapping)| !self.alive(now, mapping.used));
        let mut leaving: Vec<Key> = expired.map(|(key, _)| *key).collect();
        if leaving.is_empty() {
            let idle = self.mappings.iter().min_by_key(|(key, mapping)| (mapping.used, **key));
            leaving.extend(idle.map(|(key, _)| *key));
        }
        for key in leaving {
            self.remove(key);
        }
    }

    fn allocate(&mut self, inner: u16) -> u16 {
        let mut port = match self.config.allocation {
            Allocation::Preserving => inner,
            Allocation::Random => self.rng.random_range(FIRST_PORT..=u16::MAX),
            Allocation::Sequential => next(self.last_port),
        };
        while self.by_port.contains_key(&port) || self.forwards.contains_key(&port) {
            port = next(port);
        }
        self.last_port = port;
        port
    }
}

const fn next(port: u16) -> u16 {
    match port.checked_add(1) {
        Some(port) => port,
        None => FIRST_PORT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;

    const INNER: &str = "192.168.0.2:5000";

    fn addr(text: &str) -> SocketAddrV4 {
        text.parse().unwrap()
    }

    fn nat(config: NatConfig) -> Nat {
        Nat::new(config, StdRng::seed_from_u64(1))
    }

    const NOW: Duration = Duration::from_secs(1);

    /// Tells for the same endpoint, another port and another address whether they share a mapping.
    fn shares(mapping: Dependence) -> [bool; 3] {
        let mut nat = nat(NatConfig { mapping, ..NatConfig::SYMMETRIC });
        let first = nat.outbound(NOW, addr(INNER), addr("30.0.0.1:1"));
        ["30.0.0.1:1", "30.0.0.1:2", "30.0.0.2:1"].map(|to| nat.outbound(NOW, addr(INNER), addr(to)) == first)
    }

    #[test]
    fn mapping_depends_on_what_it_is_told_to() {
        assert_eq!(shares(Dependence::Independent), [true, true, true]);
        assert_eq!(shares(Dependence::Address), [true, true, false]);
        assert_eq!(shares(Dependence::AddressAndPort), [true, false, false]);
    }

    /// Tells for the same endpoint, another port and another address whether they may send in.
    fn admits(filtering: Dependence) -> [bool; 3] {
        let mut nat = nat(NatConfig { filtering, ..NatConfig::HOME });
        let outer = nat.outbound(NOW, addr(INNER), addr("30.0.0.1:1"));
        ["30.0.0.1:1", "30.0.0.1:2", "30.0.0.2:1"].map(|from| nat.inbound(NOW, addr(from), outer).is_some())
    }

    #[test]
    fn filtering_depends_on_what_it_is_told_to() {
        assert_eq!(admits(Dependence::Independent), [true, true, true]);
        assert_eq!(admits(Dependence::Address), [true, true, false]);
        assert_eq!(admits(Dependence::AddressAndPort), [true, false, false]);
    }

    #[test]
    fn a_preserving_nat_keeps_the_port_unless_it_is_taken() {
        let mut nat = nat(NatConfig::HOME);
        let to = addr("30.0.0.1:1");
        assert_eq!(nat.outbound(NOW, addr(INNER), to), 5000);
        assert_eq!(nat.outbound(NOW, addr("192.168.0.3:5000"), to), 5001);
    }

    #[test]
    fn a_sequential_nat_counts_up() {
        let mut nat = nat(NatConfig { allocation: Allocation::Sequential, ..NatConfig::SYMMETRIC });
        let first = nat.outbound(NOW, addr(INNER), addr("30.0.0.1:1"));
        assert_eq!(nat.outbound(NOW, addr(INNER), addr("30.0.0.1:2")), first + 1);
        assert_eq!(nat.outbound(NOW, addr(INNER), addr("30.0.0.1:3")), first + 2);
    }

    /// Tells whether a mapping of ten seconds, used inwards after eight, still works after sixteen.
    fn survives(refresh: Refresh) -> bool {
        let mut nat = nat(NatConfig { expiry: Duration::from_secs(10), refresh, ..NatConfig::HOME });
        let peer = addr("30.0.0.1:1");
        let outer = nat.outbound(Duration::ZERO, addr(INNER), peer);
        assert_eq!(nat.inbound(Duration::from_secs(8), peer, outer), Some(addr(INNER)));
        nat.inbound(Duration::from_secs(16), peer, outer).is_some()
    }

    #[test]
    fn an_idle_mapping_expires_unless_inbound_traffic_refreshes_it() {
        assert!(survives(Refresh::Both));
        assert!(!survives(Refresh::Outbound));
    }

    #[test]
    fn a_mapping_that_expired_comes_back_under_another_random_port() {
        let mut nat = nat(NatConfig::SYMMETRIC);
        let peer = addr("30.0.0.1:1");
        let first = nat.outbound(Duration::ZERO, addr(INNER), peer);
        let later = Duration::from_mins(3);
        assert_ne!(nat.outbound(later, addr(INNER), peer), first);
        assert_eq!(nat.inbound(later, peer, first), None);
        assert_eq!((nat.mappings.len(), nat.by_port.len()), (1, 1));
    }

    #[test]
    fn a_full_nat_forgets_the_mapping_idle_for_longest() {
        let mut nat = nat(NatConfig { mappings_max: 2, ..NatConfig::SYMMETRIC });
        let peers = ["30.0.0.1:1", "30.0.0.1:2", "30.0.0.1:3"].map(addr);
        let mut outer = Vec::new();
        for (second, peer) in (0..).zip(peers) {
            outer.push(nat.outbound(Duration::from_secs(second), addr(INNER), peer));
        }
        let admitted =
            std::array::from_fn(|i| nat.inbound(Duration::from_secs(3), peers[i], outer[i]).is_some());
        assert_eq!(admitted, [false, true, true]);
    }

    #[test]
    fn a_mapping_remembers_a_limited_number_of_peers() {
        let mut nat = nat(NatConfig::HOME);
        for port in 1..=2000 {
            let peer = SocketAddrV4::new(Ipv4Addr::new(30, 0, 0, 1), port);
            nat.outbound(NOW + Duration::from_millis(port.into()), addr(INNER), peer);
        }
        let now = Duration::from_secs(4);
        assert_eq!(nat.mappings.values().map(|mapping| mapping.peers.len()).sum::<usize>(), PEERS_MAX);
        assert!(nat.inbound(now, addr("30.0.0.1:2000"), 5000).is_some());
        assert!(nat.inbound(now, addr("30.0.0.1:1"), 5000).is_none());
    }

    #[test]
    fn a_forwarded_port_is_open_to_strangers_and_is_the_source_port_too() {
        let mut nat = nat(NatConfig::HOME);
        nat.forward(80, addr(INNER));
        assert_eq!(nat.inbound(NOW, addr("30.0.0.9:9"), 80), Some(addr(INNER)));
        assert_eq!(nat.outbound(NOW, addr(INNER), addr("30.0.0.9:9")), 80);
    }
}
