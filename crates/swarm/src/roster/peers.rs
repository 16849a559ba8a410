//! What is remembered of peers, and in which order they are dialled.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddrV4;
use std::time::Instant;

use pace::Timers;
use wire::{Id, PublicKey};

use super::backoff::Priority;
use super::census::{Proven, Wanted};
use super::event::{DialFailure, DialId, Reconnect, RelayUse};
use crate::event::{Direction, LinkId};

/// A place in the queue: explicit peers first, then by priority, then by chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    class: Class,
    priority: Reverse<Priority>,
    lot: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Explicit,
    Found,
}

impl Turn {
    pub(super) const fn new(wanted: Wanted, priority: Priority, lot: u64) -> Self {
        let class = if matches!(wanted, Wanted::ByKey) { Class::Explicit } else { Class::Found };
        Self { class, priority: Reverse(priority), lot }
    }

    pub(super) const fn is_explicit(&self) -> bool {
        matches!(self.class, Class::Explicit)
    }
}

/// What goes on with a peer: always exactly one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Idle,
    Queued(Turn),
    /// Each of its topics has as many peers as it may.
    Held,
    Dialling(DialId),
    Waiting(Instant),
    Linked(LinkId, Direction),
}

impl Phase {
    /// Tells whether an attempt is to come or under way, which is what a flush waits for.
    pub(super) const fn is_pending(&self) -> bool {
        matches!(self, Self::Queued(_) | Self::Dialling(_))
    }
}

/// How a peer is wanted, apart from its topics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    None,
    Explicit,
}

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) relays: Vec<SocketAddrV4>,
    /// Topics that are joined to find peers, and where this one was found; no other.
    pub(super) topics: Vec<Id<32>>,
    pub(super) claim: Claim,
    pub(super) reconnect: Reconnect,
    pub(super) relay: RelayUse,
    pub(super) attempts: u32,
    pub(super) priority: Priority,
    pub(super) proven: Proven,
    pub(super) last_error: Option<DialFailure>,
    /// When a walk last told of it.
    pub(super) found: Instant,
    /// When a walk last made us try it afresh.
    pub(super) revived: Instant,
    since: Instant,
    phase: Phase,
    /// Its place among those that can be forgotten.
    filed: Option<u32>,
}

impl Peer {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            relays: Vec::new(),
            topics: Vec::new(),
            claim: Claim::None,
            reconnect: Reconnect::Wanted,
            relay: RelayUse::AsNeeded,
            attempts: 0,
            priority: Priority::Normal,
            proven: Proven::No,
            last_error: None,
            found: now,
            revived: now,
            since: now,
            phase: Phase::Idle,
            filed: None,
        }
    }

    pub(super) const fn phase(&self) -> Phase {
        self.phase
    }

    /// Returns when it came into its phase.
    pub(super) const fn since(&self) -> Instant {
        self.since
    }

    /// Tells how much a newcomer deserves its place: the more, the more often it failed.
    const fn expendable(&self) -> Option<u32> {
        match (self.claim, self.phase) {
            (Claim::Explicit, _) => None,
            (_, Phase::Idle) => Some(u32::MAX),
            (_, Phase::Waiting(_)) if self.attempts > 0 => Some(self.attempts),
            _ => None,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Peers {
    by_key: BTreeMap<PublicKey, Peer>,
    queue: BTreeSet<(Turn, PublicKey)>,
    held: BTreeSet<PublicKey>,
    waits: Timers<PublicKey>,
    expendable: BTreeSet<(Reverse<u32>, PublicKey)>,
    waiting: usize,
    explicit: usize,
}

impl Peers {
    pub(super) fn get(&self, key: &PublicKey) -> Option<&Peer> {
        self.by_key.get(key)
    }

    /// Finds a peer to change anything but its phase and claim.
    pub(super) fn get_mut(&mut self, key: &PublicKey) -> Option<&mut Peer> {
        self.by_key.get_mut(key)
    }

    pub(super) fn insert(&mut self, now: Instant, key: PublicKey) {
        self.by_key.entry(key).or_insert_with(|| Peer::new(now));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&PublicKey, &Peer)> {
        self.by_key.iter()
    }

    pub(super) fn keys(&self) -> Vec<PublicKey> {
        self.by_key.keys().copied().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(super) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }

    pub(super) const fn explicit(&self) -> usize {
        self.explicit
    }

    pub(super) fn first(&self) -> Option<(Turn, PublicKey)> {
        self.queue.first().copied()
    }

    pub(super) fn held(&self) -> Vec<PublicKey> {
        self.held.iter().copied().collect()
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.waits.next()
    }

    /// Names a peer whose wait is over; it is still waiting until it enters another phase.
    pub(super) fn expire(&mut self, now: Instant) -> Option<PublicKey> {
        self.waits.expire(now)
    }

    /// Names the peer that failed most often, to be forgotten for a newcomer.
    pub(super) fn least_worthy(&self) -> Option<PublicKey> {
        self.expendable.first().map(|(_, key)| *key)
    }

    /// Changes the phase, which is all that queues and timers depend on; returns the one before.
    pub(super) fn enter(&mut self, now: Instant, key: PublicKey, phase: Phase) -> Option<Phase> {
        let before = self.unfile(key)?;
        let peer = self.by_key.get_mut(&key)?;
        peer.phase = phase;
        peer.since = now;
        self.file(key);
        Some(before)
    }

    pub(super) fn claim(&mut self, key: PublicKey, claim: Claim) {
        self.unfile(key);
        if let Some(peer) = self.by_key.get_mut(&key) {
            self.explicit -= usize::from(peer.claim == Claim::Explicit);
            self.explicit += usize::from(claim == Claim::Explicit);
            peer.claim = claim;
        }
        self.file(key);
    }

    pub(super) fn remove(&mut self, key: PublicKey) -> Option<Peer> {
        self.unfile(key);
        let peer = self.by_key.remove(&key)?;
        self.explicit -= usize::from(peer.claim == Claim::Explicit);
        Some(peer)
    }

    fn file(&mut self, key: PublicKey) {
        let Some(peer) = self.by_key.get_mut(&key) else { return };
        match peer.phase {
            Phase::Queued(turn) => {
                self.queue.insert((turn, key));
            }
            Phase::Held => {
                self.held.insert(key);
            }
            Phase::Waiting(until) => {
                self.waits.set(key, until);
                self.waiting += 1;
            }
            Phase::Idle | Phase::Dialling(_) | Phase::Linked(..) => {}
        }
        peer.filed = peer.expendable();
        if let Some(failures) = peer.filed {
            self.expendable.insert((Reverse(failures), key));
        }
    }

    fn unfile(&mut self, key: PublicKey) -> Option<Phase> {
        let peer = self.by_key.get_mut(&key)?;
        match peer.phase {
            Phase::Queued(turn) => {
                self.queue.remove(&(turn, key));
            }
            Phase::Held => {
                self.held.remove(&key);
            }
            Phase::Waiting(_) => {
                self.waits.cancel(key);
                self.waiting -= 1;
            }
            Phase::Idle | Phase::Dialling(_) | Phase::Linked(..) => {}
        }
        if let Some(failures) = peer.filed.take() {
            self.expendable.remove(&(Reverse(failures), key));
        }
        Some(peer.phase)
    }
}

/// Keys that are kept away; the oldest is let go where there are too many.
#[derive(Debug, Default)]
pub(super) struct Bans {
    by_key: BTreeMap<PublicKey, u64>,
    by_age: BTreeMap<u64, PublicKey>,
    next: u64,
}

impl Bans {
    pub(super) fn contains(&self, key: &PublicKey) -> bool {
        self.by_key.contains_key(key)
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Tells whether the key was not banned before.
    pub(super) fn insert(&mut self, key: PublicKey, len_max: usize) -> bool {
        if self.contains(&key) {
            return false;
        }
        self.by_key.insert(key, self.next);
        self.by_age.insert(self.next, key);
        self.next += 1;
        if self.by_key.len() > len_max
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.by_key.remove(&oldest);
        }
        true
    }

    pub(super) fn remove(&mut self, key: &PublicKey) {
        if let Some(age) = self.by_key.remove(key) {
            self.by_age.remove(&age);
        }
    }
}
