use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rand::{Rng, RngExt};
use wire::Id;
use wire::krpc::{BLOOM_LEN, Family};

use super::bloom::Bloom;

/// Topics stored; when full, a topic nearer to us takes the place of the farthest.
const TOPICS_MAX: usize = 2000;
/// Peers of one topic; when full, a newcomer takes the place of the one heard of longest ago.
const PEERS_MAX: usize = 256;
/// Peers of one topic at one address.
const PORTS_MAX: usize = 8;
/// How long a peer is given out; clients announce again every 10 to 30 minutes.
const AGE_MAX: Duration = Duration::from_mins(45);

/// Who announced what.
#[derive(Debug)]
pub(super) struct Peers {
    /// By distance from us, so that the farthest is at hand.
    topics: BTreeMap<Id<20>, Vec<Peer>>,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Peer {
    addr: SocketAddr,
    seed: Share,
    heard: Instant,
}

/// How much of what it shares a peer has (BEP 33).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    Some,
    All,
}

/// Whom a look-up is after (BEP 33).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Anybody,
    /// Those who have everything are of no use to the asker.
    NoSeeds,
}

impl Peers {
    pub(super) const fn new() -> Self {
        Self { topics: BTreeMap::new(), len: 0 }
    }

    /// Counts topics and peers.
    pub(super) fn len(&self) -> (usize, usize) {
        (self.topics.len(), self.len)
    }

    /// Tells whether anybody announced a topic.
    pub(super) fn has(&self, distance: &Id<20>) -> bool {
        self.topics.contains_key(distance)
    }

    /// Stores an announcement; tells whether there was room.
    pub(super) fn insert(&mut self, now: Instant, distance: Id<20>, addr: SocketAddr, seed: Share) -> bool {
        if self.topics.len() >= TOPICS_MAX && !self.topics.contains_key(&distance) {
            let nearer = self.topics.last_entry().filter(|farthest| *farthest.key() > distance);
            let Some(farthest) = nearer else { return false };
            self.len -= farthest.remove().len();
        }
        let peers = self.topics.entry(distance).or_default();
        let peer = Peer { addr, seed, heard: now };
        if let Some(known) = peers.iter_mut().find(|peer| peer.addr == addr) {
            *known = peer;
            return true;
        }
        if peers.iter().filter(|peer| peer.addr.ip() == addr.ip()).count() >= PORTS_MAX {
            return false;
        }
        if peers.len() >= PEERS_MAX
            && let Some(oldest) = (0..peers.len()).min_by_key(|at| peers[*at].heard)
        {
            peers[oldest] = peer;
            return true;
        }
        peers.push(peer);
        self.len += 1;
        true
    }

    /// Goes through the peers of a topic, from a random one on.
    pub(super) fn sample(
        &self,
        distance: &Id<20>,
        family: Family,
        wanted: Wanted,
        rng: &mut impl Rng,
    ) -> impl Iterator<Item = SocketAddr> {
        let peers = self.topics.get(distance).map(Vec::as_slice).unwrap_or_default();
        let start = if peers.is_empty() { 0 } else { rng.random_range(0..peers.len()) };
        let (before, after) = peers.split_at(start);
        let fits = move |peer: &&Peer| {
            Family::of(&peer.addr) == family && (wanted == Wanted::Anybody || peer.seed == Share::Some)
        };
        after.iter().chain(before).filter(fits).map(|peer| peer.addr)
    }

    /// Returns filters of those who have everything and of those who do not (BEP 33).
    pub(super) fn blooms(&self, distance: &Id<20>) -> [[u8; BLOOM_LEN]; 2] {
        let [mut seeds, mut downloaders] = [Bloom::default(), Bloom::default()];
        for peer in self.topics.get(distance).into_iter().flatten() {
            match peer.seed {
                Share::All => seeds.insert(peer.addr.ip()),
                Share::Some => downloaders.insert(peer.addr.ip()),
            }
        }
        [seeds.0, downloaders.0]
    }

    /// Goes through the topics as distances from us, from a random one on.
    pub(super) fn distances(&self, start: &Id<20>) -> impl Iterator<Item = &Id<20>> {
        self.topics.range(start..).chain(self.topics.range(..start)).map(|(distance, _)| distance)
    }

    /// Drops what nobody announced again.
    pub(super) fn expire(&mut self, now: Instant) {
        for peers in self.topics.values_mut() {
            peers.retain(|peer| now.saturating_duration_since(peer.heard) < AGE_MAX);
        }
        self.topics.retain(|_, peers| !peers.is_empty());
        self.len = self.topics.values().map(Vec::len).sum();
    }

    /// Sorts anew after our id has changed.
    pub(super) fn rebase(&mut self, from: &Id<20>, to: &Id<20>) {
        let shift = from.distance(to);
        let topics = std::mem::take(&mut self.topics);
        self.topics =
            topics.into_iter().map(|(distance, peers)| (distance.distance(&shift), peers)).collect();
    }
}

/// How many topics one host may newly announce on within a minute.
pub(super) const TOPICS_PER_MINUTE: u8 = 16;

/// Counts new topics by host.
pub(super) type TopicRate = pace::Generations<IpAddr, u8>;

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs an origin to count from")]
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn id(n: u32) -> Id<20> {
        let mut id = [0; 20];
        id[..4].copy_from_slice(&n.to_be_bytes());
        Id(id)
    }

    fn peer(host: u32, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::from(host.to_be_bytes()), port)
    }

    fn found(peers: &Peers, topic: &Id<20>) -> Vec<SocketAddr> {
        let mut found: Vec<_> =
            peers.sample(topic, Family::V4, Wanted::Anybody, &mut StdRng::seed_from_u64(1)).collect();
        found.sort();
        found
    }

    #[test]
    fn a_peer_is_given_out_until_it_is_too_old() {
        let start = Instant::now();
        let mut peers = Peers::new();
        assert!(peers.insert(start, id(1), peer(1, 1), Share::Some));
        assert!(peers.insert(start + AGE_MAX / 2, id(1), peer(2, 1), Share::Some));
        peers.expire(start + AGE_MAX);
        assert_eq!(found(&peers, &id(1)), [peer(2, 1)]);
        peers.expire(start + 2 * AGE_MAX);
        assert_eq!(peers.len(), (0, 0));
    }

    #[test]
    fn one_host_has_eight_ports_and_a_topic_its_newest_peers() {
        let start = Instant::now();
        let mut peers = Peers::new();
        let stored = (1..100).filter(|port| peers.insert(start, id(1), peer(1, *port), Share::Some)).count();
        assert_eq!(stored, PORTS_MAX);
        for n in 2..400_u32 {
            let at = start + Duration::from_secs(u64::from(n));
            assert!(peers.insert(at, id(1), peer(n, 1), Share::Some));
        }
        let found = found(&peers, &id(1));
        assert_eq!((found.len(), peers.len()), (PEERS_MAX, (1, PEERS_MAX)));
        assert!(found.contains(&peer(399, 1)) && !found.contains(&peer(1, 1)));
    }

    #[test]
    fn a_full_store_keeps_the_topics_that_are_nearest() {
        let start = Instant::now();
        let mut peers = Peers::new();
        for n in 0..3000 {
            assert!(peers.insert(start, id(3000 - n), peer(1, 1), Share::Some));
        }
        assert!(!peers.insert(start, id(5000), peer(1, 1), Share::Some));
        assert_eq!(peers.len(), (TOPICS_MAX, TOPICS_MAX));
        assert_eq!((found(&peers, &id(1)).len(), found(&peers, &id(2001)).len()), (1, 0));
        peers.rebase(&id(0), &id(1 << 31));
        assert_eq!(found(&peers, &id(1 << 31 | 1)).len(), 1);
    }
}
