//! Proof of work: the nonce that makes a record's hash start with zeros.

use crate::digest::{Digest, Hasher};

/// How many leading `0` characters the hexadecimal hash must have; each costs sixteen times the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Difficulty(pub u8);

impl Difficulty {
    /// Tells whether a hash has the zeros.
    pub fn met_by(self, hash: &Digest) -> bool {
        hash.to_hex().bytes().take_while(|digit| *digit == b'0').count() >= usize::from(self.0)
    }
}

/// A search for the least nonce.
#[derive(Clone)]
pub(crate) struct Search {
    head: Hasher,
    difficulty: Difficulty,
    next: u64,
}

impl Search {
    /// Starts a search; `head` is everything of the pre-image that stands before the nonce.
    pub(crate) fn new(head: Hasher, difficulty: Difficulty) -> Self {
        Self { head, difficulty, next: 0 }
    }

    /// Tries up to `tries` nonces and returns the first that meets the difficulty.
    pub(crate) fn step(&mut self, tries: u64) -> Option<(u64, Digest)> {
        let first = self.next;
        self.next = first.saturating_add(tries);
        (first..self.next).find_map(|nonce| {
            let hash = self.head.clone().and(&nonce.to_string()).finish();
            self.difficulty.met_by(&hash).then_some((nonce, hash))
        })
    }
}
