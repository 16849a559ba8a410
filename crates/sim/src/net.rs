mod nat;
mod path;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use rand::rngs::StdRng;

use crate::chance::{Branch, Chance};

use nat::Nat;
pub use nat::{Allocation, Dependence, Hairpin, NatConfig, Refresh};
use path::Place;
pub use path::{Latency, Millionths, Path};

/// Names a host of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub(crate) u32);

/// Names a NAT of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NatId(u32);

/// Names a cut, to heal it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CutId(u32);

/// An address space: the internet, or what lies behind a NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Realm {
    /// Public addresses.
    Internet,
    /// Private addresses.
    Behind(NatId),
}

/// What a host's cable does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cable {
    /// Carries both ways.
    Up,
    /// Carries in, and nothing out: the host is silent.
    Mute,
    /// Carries nothing.
    Down,
}

/// A datagram on its way to an address, as its last router sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flight {
    /// When it arrives there.
    pub arrives: Duration,
    /// The address space in which `from` and `to` are valid.
    pub realm: Realm,
    /// Its source.
    pub from: SocketAddrV4,
    /// Its destination.
    pub to: SocketAddrV4,
    ttl: u8,
    sender: HostId,
}

/// A datagram that left its sender's network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The datagram.
    pub flight: Flight,
    /// When a second copy of it arrives.
    pub copy_arrives: Option<Duration>,
}

/// A datagram that reached a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Whom it reached.
    pub host: HostId,
    /// The host's port.
    pub port: u16,
    /// Its source, as the host sees it.
    pub from: SocketAddrV4,
}

/// Why a datagram did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Lost {
    /// Bad luck on the path.
    Dropped,
    /// One end's cable carries nothing, or not that way.
    Cable,
    /// A cut lies between both ends.
    Cut,
    /// Its time to live ended on the path.
    Expired,
    /// A NAT did not let it in.
    Filtered,
    /// A NAT without hairpin got it from inside.
    Hairpin,
    /// Nobody has that address, or no socket of the host that port.
    Unreachable,
}

/// Routers between any two networks of the internet; a punch's first probe (time to live 5) ends before them.
const INTERNET_HOPS: u8 = 8;
/// Addresses are spread over as many /24 as there can be hosts, so that limits by network stay idle.
const NETWORKS_MAX: u32 = 1 << 22;

/// Hosts, NATs and the paths between them, without the datagrams' bytes: a pure function of what was asked
/// of it, in order, and of its seed.
#[derive(Debug)]
pub struct Net {
    hosts: Vec<Site<Cable>>,
    nats: Vec<Site<Nat>>,
    directory: BTreeMap<(Realm, Ipv4Addr), Occupant>,
    path: Path,
    paths: BTreeMap<(Ipv4Addr, Ipv4Addr), Path>,
    cuts: BTreeMap<CutId, BTreeSet<HostId>>,
    cuts_made: u32,
    addresses_given: u32,
    chance: Chance,
    links: StdRng,
    places: StdRng,
}

#[derive(Debug)]
struct Site<T> {
    realm: Realm,
    address: Ipv4Addr,
    place: Place,
    what: T,
}

#[derive(Clone, Copy, Debug)]
enum Occupant {
    Host(HostId),
    Nat(NatId),
}

impl Net {
    /// Creates an empty internet in which every two networks are joined by `path`.
    #[must_use]
    pub fn new(seed: u64, path: Path) -> Self {
        let chance = Chance(seed);
        Self {
            hosts: Vec::new(),
            nats: Vec::new(),
            directory: BTreeMap::new(),
            path,
            paths: BTreeMap::new(),
            cuts: BTreeMap::new(),
            cuts_made: 0,
            addresses_given: 0,
            chance,
            links: chance.generator(Branch::Links),
            places: chance.generator(Branch::Places),
        }
    }

    /// Adds a host with an address of its own.
    pub fn add_host(&mut self, realm: Realm) -> HostId {
        let id = HostId(index(self.hosts.len()));
        let site = self.site(realm, Cable::Up);
        self.directory.insert((realm, site.address), Occupant::Host(id));
        self.hosts.push(site);
        id
    }

    /// Adds a NAT whose outer side is in `realm`: another NAT's inside makes it a carrier's customer.
    pub fn add_nat(&mut self, realm: Realm, config: NatConfig) -> NatId {
        let id = NatId(index(self.nats.len()));
        let nat = Nat::new(config, self.chance.generator(Branch::Nat(id.0)));
        let site = self.site(realm, nat);
        self.directory.insert((realm, site.address), Occupant::Nat(id));
        self.nats.push(site);
        id
    }

    /// Returns a host's own address, private if it is behind a NAT.
    #[must_use]
    pub fn address(&self, host: HostId) -> Ipv4Addr {
        self.host(host).address
    }

    /// Returns a NAT's outer address.
    #[must_use]
    pub fn outer_address(&self, nat: NatId) -> Ipv4Addr {
        self.nat(nat).address
    }

    /// Sets what a host's cable does.
    pub fn set_cable(&mut self, host: HostId, cable: Cable) {
        self.hosts[host.0 as usize].what = cable;
    }

    /// Returns what a host's cable does.
    #[must_use]
    pub fn cable(&self, host: HostId) -> Cable {
        self.host(host).what
    }

    /// Replaces the path between all networks that have none of their own.
    pub fn set_path(&mut self, path: Path) {
        self.path = path;
    }

    /// Gives one direction between two addresses a path of its own.
    pub fn set_path_between(&mut self, from: Ipv4Addr, to: Ipv4Addr, path: Path) {
        self.paths.insert((from, to), path);
    }

    /// Cuts `hosts` off from all others, in both directions, until the cut is healed.
    pub fn cut(&mut self, hosts: impl IntoIterator<Item = HostId>) -> CutId {
        let id = CutId(self.cuts_made);
        self.cuts_made += 1;
        self.cuts.insert(id, hosts.into_iter().collect());
        id
    }

    /// Ends a cut.
    pub fn heal(&mut self, cut: CutId) {
        self.cuts.remove(&cut);
    }

    /// Moves a host to a new address, as a phone that roams.
    pub fn roam(&mut self, host: HostId, realm: Realm) {
        let cable = self.host(host).what;
        let old = std::mem::replace(&mut self.hosts[host.0 as usize], Site::nowhere(cable));
        self.directory.remove(&(old.realm, old.address));
        let site = self.site(realm, cable);
        self.directory.insert((realm, site.address), Occupant::Host(host));
        self.hosts[host.0 as usize] = site;
    }

    /// Makes a NAT forget its mappings and, as after a provider's forced reconnection, get another address.
    pub fn rebind(&mut self, nat: NatId) {
        let (realm, old) = (self.nat(nat).realm, self.nat(nat).address);
        let address = self.give_address(realm);
        self.directory.remove(&(realm, old));
        self.directory.insert((realm, address), Occupant::Nat(nat));
        let site = &mut self.nats[nat.0 as usize];
        site.address = address;
        site.what.flush();
    }

    /// Makes a NAT forget its mappings and keep its address.
    pub fn flush(&mut self, nat: NatId) {
        self.nats[nat.0 as usize].what.flush();
    }

    /// Forwards a NAT's outer port to an inner endpoint.
    pub fn forward(&mut self, nat: NatId, port: u16, inner: SocketAddrV4) {
        self.nats[nat.0 as usize].what.forward(port, inner);
    }

    /// Sends a datagram from a host's port; a `ttl` of `None` is the system's 64.
    ///
    /// # Errors
    ///
    /// Says why it never leaves or is lost on the path.
    pub fn send(
        &mut self,
        now: Duration,
        (sender, port): (HostId, u16),
        to: SocketAddrV4,
        ttl: Option<u8>,
    ) -> Result<Sent, Lost> {
        let host = self.host(sender);
        if host.what != Cable::Up {
            return Err(Lost::Cable);
        }
        let mut flight = Flight {
            arrives: now,
            realm: host.realm,
            from: SocketAddrV4::new(host.address, port),
            to,
            ttl: ttl.unwrap_or(64),
            sender,
        };
        let mut place = host.place;
        while !self.directory.contains_key(&(flight.realm, *to.ip())) {
            let Realm::Behind(nat) = flight.realm else { return Err(Lost::Unreachable) };
            flight.hop(1)?;
            let site = &mut self.nats[nat.0 as usize];
            if site.address == *to.ip() && site.what.hairpin() == Hairpin::Off {
                return Err(Lost::Hairpin);
            }
            flight.from = SocketAddrV4::new(site.address, site.what.outbound(now, flight.from, to));
            flight.realm = site.realm;
            place = site.place;
        }
        if flight.realm == Realm::Internet {
            flight.hop(INTERNET_HOPS)?;
        }
        self.travel(now, place, flight)
    }

    /// Puts a datagram with a false source on the way, past the sender's own NAT.
    ///
    /// # Errors
    ///
    /// Says why it is lost on the path.
    pub fn spoof(
        &mut self,
        now: Duration,
        sender: HostId,
        from: SocketAddrV4,
        to: SocketAddrV4,
    ) -> Result<Sent, Lost> {
        let flight =
            Flight { arrives: now, realm: Realm::Internet, from, to, ttl: 64 - INTERNET_HOPS, sender };
        self.travel(now, self.host(sender).place, flight)
    }

    /// Brings a datagram that reached its destination address to a host, through the NATs before it.
    ///
    /// # Errors
    ///
    /// Says why it does not get through.
    pub fn arrive(&mut self, now: Duration, flight: &Flight) -> Result<Arrival, Lost> {
        let mut flight = *flight;
        loop {
            match self.directory.get(&(flight.realm, *flight.to.ip())).copied().ok_or(Lost::Unreachable)? {
                Occupant::Nat(nat) => {
                    flight.hop(1)?;
                    let site = &mut self.nats[nat.0 as usize];
                    flight.to =
                        site.what.inbound(now, flight.from, flight.to.port()).ok_or(Lost::Filtered)?;
                    flight.realm = Realm::Behind(nat);
                }
                Occupant::Host(host) if self.host(host).what == Cable::Down => return Err(Lost::Cable),
                Occupant::Host(host) if self.is_cut(flight.sender, host) => return Err(Lost::Cut),
                Occupant::Host(host) => {
                    return Ok(Arrival { host, port: flight.to.port(), from: flight.from });
                }
            }
        }
    }

    fn travel(&mut self, now: Duration, from: Place, mut flight: Flight) -> Result<Sent, Lost> {
        let near = (*flight.from.ip(), *flight.to.ip());
        let path = match flight.realm {
            Realm::Internet => *self.paths.get(&near).unwrap_or(&self.path),
            Realm::Behind(_) => Path::LAN,
        };
        let to = match self.directory.get(&(flight.realm, near.1)) {
            Some(Occupant::Host(host)) => self.host(*host).place,
            Some(Occupant::Nat(nat)) => self.nat(*nat).place,
            None => return Err(Lost::Unreachable),
        };
        let rng = &mut self.links;
        if path.loss.happens(rng) {
            return Err(Lost::Dropped);
        }
        flight.arrives = now + path.delay(from.distance(to), rng);
        let copied = path.duplication.happens(rng);
        let copy_arrives = copied.then(|| now + path.delay(from.distance(to), rng));
        Ok(Sent { flight, copy_arrives })
    }

    fn is_cut(&self, one: HostId, other: HostId) -> bool {
        self.cuts.values().any(|inside| inside.contains(&one) != inside.contains(&other))
    }

    fn host(&self, id: HostId) -> &Site<Cable> {
        &self.hosts[id.0 as usize]
    }

    fn nat(&self, id: NatId) -> &Site<Nat> {
        &self.nats[id.0 as usize]
    }

    fn site<T>(&mut self, realm: Realm, what: T) -> Site<T> {
        let place = match realm {
            Realm::Internet => Place::random(&mut self.places),
            Realm::Behind(nat) => self.nat(nat).place,
        };
        Site { realm, address: self.give_address(realm), place, what }
    }

    fn give_address(&mut self, realm: Realm) -> Ipv4Addr {
        let n = self.addresses_given;
        self.addresses_given += 1;
        debug_assert!(n < NETWORKS_MAX, "more addresses than networks");
        let [_, high, middle, low] = n.to_be_bytes();
        match realm {
            Realm::Internet => {
                // An odd factor permutes the networks; 24.0.0.0 to 87.255.255.0 holds no reserved range.
                let network = (n.wrapping_mul(2_654_435_761) % NETWORKS_MAX).to_be_bytes();
                Ipv4Addr::new(24 + network[1], network[2], network[3], 1 + low % 250)
            }
            Realm::Behind(_) => Ipv4Addr::new(10, high, middle, low),
        }
    }
}

impl Flight {
    fn hop(&mut self, routers: u8) -> Result<(), Lost> {
        self.ttl = self.ttl.checked_sub(routers).filter(|left| *left > 0).ok_or(Lost::Expired)?;
        Ok(())
    }
}

impl<T> Site<T> {
    const fn nowhere(what: T) -> Self {
        Self { realm: Realm::Internet, address: Ipv4Addr::UNSPECIFIED, place: Place::CENTRE, what }
    }
}

fn index(len: usize) -> u32 {
    u32::try_from(len).expect("there are fewer addresses than that")
}

#[cfg(test)]
mod tests;
