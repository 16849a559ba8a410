use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use rand::{Rng, RngExt};
use wire::Id;

use crate::block::{Block, is_public};

/// Voters on our address that are remembered.
const BALLOTS_MAX: usize = 32;
/// Voters that must agree.
const VOTES_MIN: usize = 8;
/// Providers that they must be spread over, so that renting one network is not enough.
const PROVIDERS_MIN: usize = 5;
/// Look-ups in which they must have been met, so that one poisoned look-up is not enough.
const LOOKUPS_MIN: usize = 3;
/// Tenths of all remembered voters that must agree.
const AGREEMENT_TENTHS: usize = 8;
/// Between two changes of our id; each costs others their way to us.
const CHANGE_EVERY: Duration = Duration::from_mins(30);

/// Tells whether a node may have this id at this address (BEP 42). Addresses that are not public are exempt.
pub(crate) fn is_secure(id: &Id<20>, ip: IpAddr) -> bool {
    if !is_public(ip) {
        return true;
    }
    let [a, b, c, .., last] = id.0;
    let [wanted_a, wanted_b, wanted_c, _] = checksum(ip, last).to_be_bytes();
    a == wanted_a && b == wanted_b && c & 0xf8 == wanted_c & 0xf8
}

/// Draws an id that is secure at an address.
pub(crate) fn secure_id(ip: IpAddr, rng: &mut impl Rng) -> Id<20> {
    let mut id: [u8; 20] = rng.random();
    let [a, b, c, _] = checksum(ip, id[19]).to_be_bytes();
    (id[0], id[1], id[2]) = (a, b, c & 0xf8 | id[2] & 7);
    Id(id)
}

/// The first bits of an id, from the address's first half and three bits that its owner may choose.
fn checksum(ip: IpAddr, chosen: u8) -> u32 {
    let r = chosen & 7;
    match ip {
        IpAddr::V4(ip) => {
            let mut masked = (ip.to_bits() & 0x030f_3fff).to_be_bytes();
            masked[0] |= r << 5;
            crc32c(&masked)
        }
        IpAddr::V6(ip) => {
            let half = u64::try_from(ip.to_bits() >> 64).unwrap_or_default();
            let mut masked = (half & 0x0103_070f_1f3f_7fff).to_be_bytes();
            masked[0] |= r << 5;
            crc32c(&masked)
        }
    }
}

fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// What others say our address is, and when that is believed.
#[derive(Debug, Default)]
pub(crate) struct Votes {
    ballots: VecDeque<Ballot>,
    elected: Option<IpAddr>,
    changed: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Ballot {
    voter: Block,
    lookup: u64,
    seen: IpAddr,
}

impl Votes {
    /// Our public address, once enough others agree.
    pub(crate) const fn elected(&self) -> Option<IpAddr> {
        self.elected
    }

    pub(crate) fn len(&self) -> usize {
        self.ballots.len()
    }

    /// Counts what a node that answered us within a look-up says; returns an address that is newly believed.
    /// One block has one vote, its latest.
    pub(crate) fn cast(&mut self, now: Instant, voter: IpAddr, lookup: u64, seen: IpAddr) -> Option<IpAddr> {
        if !is_public(seen) {
            return None;
        }
        let voter = Block::of(voter);
        self.ballots.retain(|ballot| ballot.voter != voter);
        if self.ballots.len() == BALLOTS_MAX {
            self.ballots.pop_front();
        }
        self.ballots.push_back(Ballot { voter, lookup, seen });
        if self.elected == Some(seen) || !self.agrees_on(seen) {
            return None;
        }
        if self.changed.is_some_and(|at| now.saturating_duration_since(at) < CHANGE_EVERY) {
            return None;
        }
        (self.elected, self.changed) = (Some(seen), Some(now));
        Some(seen)
    }

    fn agrees_on(&self, seen: IpAddr) -> bool {
        let for_it = || self.ballots.iter().filter(|ballot| ballot.seen == seen);
        let providers: BTreeSet<_> = for_it().map(|ballot| ballot.voter.provider()).collect();
        let lookups: BTreeSet<_> = for_it().map(|ballot| ballot.lookup).collect();
        let votes = for_it().count();
        votes >= VOTES_MIN
            && providers.len() >= PROVIDERS_MIN
            && lookups.len() >= LOOKUPS_MIN
            && votes * 10 >= self.ballots.len() * AGREEMENT_TENTHS
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs an origin to count from")]
    use super::*;
    use crate::mainline::tests::vector;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    #[test]
    fn ids_are_bound_to_addresses_as_the_bep_prints_it() {
        for row in vector()["bep42"].as_array().unwrap() {
            let ip: IpAddr = row["ip"].as_str().unwrap().parse().unwrap();
            if let Some(id) = row["spec_node_id"].as_str() {
                assert_eq!(is_secure(&id.parse().unwrap(), ip), row["valid"].as_bool().unwrap(), "{row}");
            } else {
                // The row gives the first 21 bits of an id that ends in these three bits.
                let chosen = u8::try_from(row["rand"].as_u64().unwrap()).unwrap();
                let prefix = checksum(ip, chosen) >> 11 << 3;
                assert!(row["prefix21"].as_str().unwrap().starts_with(&format!("{prefix:06x}")));
            }
        }
    }

    #[test]
    fn a_drawn_id_is_secure_there_and_hardly_elsewhere() {
        let mut rng = StdRng::seed_from_u64(1);
        for text in ["44.1.2.3", "2001:db8:5::1"] {
            let ip = text.parse().unwrap();
            assert!((0..50).all(|_| is_secure(&secure_id(ip, &mut rng), ip)));
        }
        let elsewhere = "45.9.9.9".parse().unwrap();
        assert!(!is_secure(&secure_id("44.1.2.3".parse().unwrap(), &mut rng), elsewhere));
    }

    fn voter(n: u8) -> IpAddr {
        IpAddr::from([50, n, 1, 1])
    }

    #[test]
    fn an_address_is_believed_when_many_from_many_places_agree_in_several_lookups() {
        let (now, ours) = (Instant::now(), IpAddr::from([44, 1, 1, 1]));
        let mut votes = Votes::default();
        let cast = |votes: &mut Votes, n: u8| votes.cast(now, voter(n), u64::from(n % 3), ours);
        assert!((0..7).all(|n| cast(&mut votes, n).is_none()));
        assert_eq!(cast(&mut votes, 7), Some(ours));
        assert_eq!((cast(&mut votes, 8), votes.elected()), (None, Some(ours)));
    }

    #[test]
    fn one_lookup_one_block_or_one_provider_elects_nothing() {
        let (now, ours) = (Instant::now(), IpAddr::from([44, 1, 1, 1]));
        let mut votes = Votes::default();
        assert!((0..100).all(|n| votes.cast(now, voter(n), 1, ours).is_none()));
        let mut votes = Votes::default();
        assert!((0..100).all(|n| votes.cast(now, IpAddr::from([50, 1, 1, n]), u64::from(n), ours).is_none()));
        let mut votes = Votes::default();
        assert!((0..100).all(|n| votes.cast(now, IpAddr::from([50, 1, n, 1]), u64::from(n), ours).is_none()));
        assert!((0..30).all(|n| votes.cast(now, voter(n), u64::from(n), [10, 0, 0, 1].into()).is_none()));
    }

    #[test]
    fn a_minority_changes_nothing_and_a_move_is_believed_after_half_an_hour() {
        let (start, ours) = (Instant::now(), IpAddr::from([44, 1, 1, 1]));
        let (liars, moved) = (IpAddr::from([44, 66, 66, 66]), IpAddr::from([45, 1, 1, 1]));
        let mut votes = Votes::default();
        let cast = (0..24).filter_map(|n| votes.cast(start, voter(n), u64::from(n), ours)).count();
        assert_eq!(cast, 1);
        assert_eq!(votes.elected(), Some(ours));
        assert!((100..108).all(|n| votes.cast(start, voter(n), u64::from(n), liars).is_none()));
        let soon = start + Duration::from_mins(29);
        assert!((0..32).all(|n| votes.cast(soon, voter(n), u64::from(n), moved).is_none()));
        assert_eq!(votes.cast(start + CHANGE_EVERY, voter(3), 3, moved), Some(moved));
    }
}
