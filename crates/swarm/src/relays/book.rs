use std::collections::BTreeSet;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use rand::RngExt as _;
use rand::rngs::StdRng;
use wire::{Id, PublicKey};

/// What relays announce that serve everybody: BLAKE2b-256 of `homing blind relay 1`.
pub const RELAYS_TOPIC: Id<32> = Id([
    0x9e, 0x4b, 0x58, 0x95, 0x3b, 0xc2, 0xa3, 0x7d, 0x25, 0x49, 0x47, 0x15, 0x4d, 0xc7, 0xb9, 0x70, 0x15,
    0xdd, 0x64, 0x9f, 0x1c, 0x18, 0x65, 0x14, 0x50, 0xf7, 0x99, 0x14, 0xb8, 0x79, 0xe3, 0x47,
]);

/// Relays remembered of one walk. Whoever floods the topic crowds others out of it only as far as the nodes
/// that store it let them.
const FOUND_MAX: usize = 64;
/// How long a walk's result serves; records live for 13 to 27 minutes.
const FRESH: Duration = Duration::from_mins(10);
/// A walk that found nobody is repeated no sooner.
const EMPTY: Duration = Duration::from_secs(30);

/// The relays that were found, and those whose connection with us is open.
#[derive(Debug, Default)]
pub(crate) struct Book {
    found: Vec<Entry>,
    open: BTreeSet<PublicKey>,
    walked: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    key: PublicKey,
    /// Nodes that know it.
    nodes: Vec<SocketAddrV4>,
}

impl Book {
    /// Tells whether another walk would tell nothing new.
    pub(crate) fn is_fresh(&self, now: Instant) -> bool {
        let lasts = if self.found.is_empty() { EMPTY } else { FRESH };
        self.walked.is_some_and(|at| now < at + lasts)
    }

    pub(crate) const fn walked(&mut self, now: Instant) {
        self.walked = Some(now);
    }

    pub(crate) fn add(&mut self, key: PublicKey, nodes: &[SocketAddrV4]) {
        if let Some(entry) = self.found.iter_mut().find(|entry| entry.key == key) {
            entry.nodes = nodes.to_vec();
        } else if self.found.len() < FOUND_MAX {
            self.found.push(Entry { key, nodes: nodes.to_vec() });
        }
    }

    /// Strikes a relay out that did not serve us.
    pub(crate) fn strike(&mut self, key: &PublicKey) {
        self.found.retain(|entry| entry.key != *key);
        self.open.remove(key);
    }

    pub(crate) fn open(&mut self, key: PublicKey) {
        self.open.insert(key);
    }

    pub(crate) fn close(&mut self, key: &PublicKey) {
        self.open.remove(key);
    }

    pub(crate) fn nodes(&self, key: &PublicKey) -> Vec<SocketAddrV4> {
        self.found.iter().find(|entry| entry.key == *key).map(|entry| entry.nodes.clone()).unwrap_or_default()
    }

    /// Chooses one by chance, of those that are known to serve us if there are any.
    pub(crate) fn choose(&self, rng: &mut StdRng) -> Option<PublicKey> {
        let open: Vec<_> =
            self.found.iter().map(|entry| entry.key).filter(|key| self.open.contains(key)).collect();
        let keys = if open.is_empty() { self.found.iter().map(|entry| entry.key).collect() } else { open };
        (!keys.is_empty()).then(|| keys[rng.random_range(0..keys.len())])
    }
}
