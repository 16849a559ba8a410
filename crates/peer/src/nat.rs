//! What our own NAT does, told from how others see one socket (`hyperdht lib/nat.js`).

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};

use wire::hyper::Firewall;

/// What the node knows of its own reachability before any sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalReach {
    /// Strangers reach it: no sample is needed.
    Open,
    /// It may be behind a NAT.
    Unknown,
}

/// Samples after which nothing is left to wait for (`lib/nat.js`).
pub(crate) const SAMPLES_WANTED: usize = 4;
/// Samples without which nothing is said.
const SAMPLES_MIN: usize = 3;
/// Samples kept: those of a socket's pings, and of the relays that carry its messages.
const SAMPLES_MAX: usize = 16;
/// Addresses named to the other side; a CONSISTENT view has one, rarely two.
pub(crate) const ADDRESSES_MAX: usize = 8;
/// The widest range of ports that counts as a sequence. Three random ports lie within such a range three times
/// in a million, four of them five times in a billion.
const SEQUENCE_SPAN: u16 = 64;

/// A NAT that numbers its mappings: the port after the greatest that was seen, and what each one adds.
///
/// Towards the other side it is two more addresses behind the one that says RANDOM, with the next port and
/// the one after. The reference reads only the host of a RANDOM view's first verified address, and is not
/// disturbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sequence {
    pub(crate) next: u16,
    pub(crate) step: u16,
}

impl Sequence {
    /// Returns the port that the mapping gets that is made after `n` others.
    pub(crate) const fn port(self, n: u16) -> u16 {
        self.next.wrapping_add(self.step.wrapping_mul(n))
    }

    /// Reads what [`Nat::addresses`] of the other side says.
    pub(crate) fn read(addresses: impl IntoIterator<Item = SocketAddrV4>) -> Option<Self> {
        let mut addresses = addresses.into_iter();
        let (random, next, after) = (addresses.next()?, addresses.next()?, addresses.next()?);
        let step = after.port().wrapping_sub(next.port());
        let one_host = random.ip() == next.ip() && next.ip() == after.ip();
        (one_host && random.port() == 0 && (1..=SEQUENCE_SPAN).contains(&step))
            .then_some(Self { next: next.port(), step })
    }
}

/// What the NAT before one socket does.
#[derive(Debug)]
pub struct Nat {
    reach: LocalReach,
    observers: BTreeSet<SocketAddrV4>,
    hosts: Ranking<Ipv4Addr>,
    seen: Ranking<SocketAddrV4>,
    firewall: Firewall,
    addresses: Vec<SocketAddrV4>,
    frozen: bool,
}

impl Nat {
    /// Begins without samples.
    #[must_use]
    pub const fn new(reach: LocalReach) -> Self {
        Self {
            reach,
            observers: BTreeSet::new(),
            hosts: Ranking::new(),
            seen: Ranking::new(),
            firewall: match reach {
                LocalReach::Open => Firewall::Open,
                LocalReach::Unknown => Firewall::Unknown,
            },
            addresses: Vec::new(),
            frozen: false,
        }
    }

    /// Adds how `observer` sees the socket; only its first word counts.
    pub fn add(&mut self, observer: SocketAddrV4, seen_as: SocketAddrV4) {
        if self.samples() >= SAMPLES_MAX || !self.observers.insert(observer) {
            return;
        }
        self.hosts.count(*seen_as.ip());
        self.seen.count(seen_as);
        if self.frozen || self.reach == LocalReach::Open || self.samples() < SAMPLES_MIN {
            return;
        }
        self.firewall = self.judge().unwrap_or(self.firewall);
        self.addresses = self.tell();
    }

    /// Returns how many observers spoke.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.observers.len()
    }

    /// Returns what is known.
    #[must_use]
    pub const fn firewall(&self) -> Firewall {
        self.firewall
    }

    /// Returns the addresses to tell the other side: where a CONSISTENT NAT lets it in, or the host of a
    /// RANDOM one with port 0, and, where that NAT numbers its mappings, the two ports that follow.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddrV4] {
        &self.addresses
    }

    /// Stops changing the view, since the other side acts on it. Samples are still counted.
    pub const fn freeze(&mut self) {
        self.frozen = true;
    }

    /// Tells whether more samples would change nothing that we wait for.
    #[must_use]
    pub fn is_decided(&self) -> bool {
        matches!(self.firewall, Firewall::Consistent | Firewall::Open) || self.samples() >= SAMPLES_WANTED
    }

    /// Returns the sequence that the NAT draws from, if it does.
    pub(crate) fn sequence(&self) -> Option<Sequence> {
        Sequence::read(self.addresses.iter().copied())
    }

    fn judge(&self) -> Option<Firewall> {
        match (self.seen.hits(0), self.seen.hits(1)) {
            (3.., _) => Some(Firewall::Consistent),
            (..=1, _) => Some(Firewall::Random),
            _ if self.hosts.len() == 1 && self.samples() > SAMPLES_MIN => Some(Firewall::Random),
            // Two hits on each of two hosts: a carrier with several addresses that keeps ports.
            (_, 2..) if self.hosts.len() > 1 => Some(Firewall::Consistent),
            _ if self.samples() > SAMPLES_WANTED => Some(Firewall::Random),
            _ => None,
        }
    }

    fn tell(&self) -> Vec<SocketAddrV4> {
        match self.firewall {
            Firewall::Unknown | Firewall::Open => Vec::new(),
            Firewall::Consistent => {
                let told = |(place, (_, hits)): &(usize, &(SocketAddrV4, u32))| *place < 2 || *hits >= 2;
                let all = self.seen.0.iter().enumerate().filter(told).map(|(_, (address, _))| *address);
                all.take(ADDRESSES_MAX).collect()
            }
            Firewall::Random | Firewall::Other(_) => {
                let Some((host, _)) = self.hosts.0.first() else { return Vec::new() };
                let predicted = self.predict().into_iter().flat_map(|known| [known.port(0), known.port(1)]);
                [0].into_iter().chain(predicted).map(|port| SocketAddrV4::new(*host, port)).collect()
            }
        }
    }

    /// Finds a sequence in the ports. Answers overtake each other, so that their order says nothing.
    fn predict(&self) -> Option<Sequence> {
        let (first, _) = self.seen.0.first()?;
        if self.hosts.len() != 1 {
            return None;
        }
        // Counted from half a circle below the first, ports that lie around it are in order, wrapped or not.
        let base = first.port().wrapping_sub(1 << 15);
        let mut ports: Vec<u16> =
            self.seen.0.iter().map(|(seen, _)| seen.port().wrapping_sub(base)).collect();
        ports.sort_unstable();
        let (least, greatest) = (*ports.first()?, *ports.last()?);
        let step = ports.windows(2).fold(0, |step, pair| common_divisor(step, pair[1] - pair[0]));
        let next = greatest.wrapping_add(base).wrapping_add(step);
        (step > 0 && greatest - least <= SEQUENCE_SPAN).then_some(Sequence { next, step })
    }
}

fn common_divisor(a: u16, b: u16) -> u16 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

/// Values by how often they were seen, the most frequent first, and of equals the one that got there first.
#[derive(Debug)]
struct Ranking<T>(Vec<(T, u32)>);

impl<T: Copy + PartialEq> Ranking<T> {
    const fn new() -> Self {
        Self(Vec::new())
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn hits(&self, place: usize) -> u32 {
        self.0.get(place).map_or(0, |(_, hits)| *hits)
    }

    fn count(&mut self, value: T) {
        let Some(mut place) = self.0.iter().position(|(known, _)| *known == value) else {
            self.0.push((value, 1));
            return;
        };
        self.0[place].1 += 1;
        while place > 0 && self.0[place - 1].1 < self.0[place].1 {
            self.0.swap(place - 1, place);
            place -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampled(ports: &[u16]) -> Nat {
        let mut nat = Nat::new(LocalReach::Unknown);
        for (observer, port) in (1..).zip(ports) {
            let observer = SocketAddrV4::new(Ipv4Addr::new(30, 0, 0, observer), 49737);
            nat.add(observer, SocketAddrV4::new(Ipv4Addr::new(40, 0, 0, 1), *port));
        }
        nat
    }

    #[test]
    fn a_nat_that_numbers_its_mappings_names_the_next_two_whatever_the_order_of_the_answers() {
        for (ports, expected) in [
            (&[5000, 5001, 5002, 5003][..], [5004, 5005]),
            (&[5003, 5000, 5002, 5001], [5004, 5005]),
            (&[5000, 5002, 5003], [5004, 5005]),
            (&[5004, 5000, 5002], [5006, 5008]),
            (&[65535, 0, 65534, 1], [2, 3]),
        ] {
            let nat = sampled(ports);
            assert_eq!(nat.firewall(), Firewall::Random, "{ports:?}");
            let told: Vec<u16> = nat.addresses().iter().map(SocketAddrV4::port).collect();
            assert_eq!(told, [0, expected[0], expected[1]], "{ports:?}");
        }
    }

    #[test]
    fn random_ports_are_no_sequence() {
        for ports in [&[5000, 40_000, 5001, 5002][..], &[1024, 1100, 1200], &[9, 30_000, 60_000, 12]] {
            assert_eq!(sampled(ports).addresses().len(), 1, "{ports:?}");
        }
    }

    #[test]
    fn the_samples_of_one_socket_are_limited() {
        let ports: Vec<u16> = (0..200).map(|n| 2000 + 300 * (n % 100)).collect();
        let nat = sampled(&ports);
        assert_eq!((nat.samples(), nat.seen.len()), (SAMPLES_MAX, SAMPLES_MAX));
    }

    #[test]
    fn a_frozen_view_stays_as_it_is() {
        let mut nat = sampled(&[5000, 40_000, 6000]);
        nat.freeze();
        let before = nat.addresses().to_vec();
        for observer in 10..14 {
            let observer = SocketAddrV4::new(Ipv4Addr::new(30, 0, 0, observer), 49737);
            nat.add(observer, SocketAddrV4::new(Ipv4Addr::new(40, 0, 0, 1), 5000));
        }
        assert_eq!((nat.firewall(), nat.addresses()), (Firewall::Random, &before[..]));
        assert_eq!(nat.samples(), 7);
    }
}
