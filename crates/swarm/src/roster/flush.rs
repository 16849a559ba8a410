//! Waiting until what is known now has been tried.

use std::collections::{BTreeMap, BTreeSet};

use wire::{Id, PublicKey};

use super::event::FlushId;

/// What a flush waits for: first walks, then the peers that were to be tried when the last of these ended.
#[derive(Debug)]
enum Stage {
    Topics(BTreeSet<Id<32>>),
    Peers(BTreeSet<PublicKey>),
}

#[derive(Debug, Default)]
pub(super) struct Flushes {
    waiting: BTreeMap<FlushId, Stage>,
}

impl Flushes {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn insert(&mut self, flush: FlushId, topics: BTreeSet<Id<32>>) {
        self.waiting.insert(flush, Stage::Topics(topics));
    }

    pub(super) fn retain_topics(&mut self, unsettled: impl Fn(&Id<32>) -> bool) {
        for stage in self.waiting.values_mut() {
            if let Stage::Topics(topics) = stage {
                topics.retain(&unsettled);
            }
        }
    }

    pub(super) fn peer_ended(&mut self, key: &PublicKey) {
        for stage in self.waiting.values_mut() {
            if let Stage::Peers(peers) = stage {
                peers.remove(key);
            }
        }
    }

    /// Tells whether a flush waits for no walk any more and has yet to be told which peers to wait for.
    pub(super) fn wants_peers(&self) -> bool {
        self.waiting.values().any(|stage| matches!(stage, Stage::Topics(topics) if topics.is_empty()))
    }

    pub(super) fn set_peers(&mut self, pending: &BTreeSet<PublicKey>) {
        for stage in self.waiting.values_mut() {
            if matches!(stage, Stage::Topics(topics) if topics.is_empty()) {
                *stage = Stage::Peers(pending.clone());
            }
        }
    }

    /// Takes a flush that waits for nothing any more, or that need not wait for peers.
    pub(super) fn take_ended(&mut self, peers: WaitForPeers) -> Option<FlushId> {
        let ended = |stage: &Stage| match stage {
            Stage::Topics(_) => false,
            Stage::Peers(keys) => keys.is_empty() || peers == WaitForPeers::No,
        };
        let flush = self.waiting.iter().find(|(_, stage)| ended(stage)).map(|(flush, _)| *flush)?;
        self.waiting.remove(&flush);
        Some(flush)
    }

    pub(super) fn take_any(&mut self) -> Option<FlushId> {
        self.waiting.pop_first().map(|(flush, _)| flush)
    }
}

/// Whether an attempt can still begin or end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitForPeers {
    Yes,
    No,
}
