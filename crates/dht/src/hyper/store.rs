//! What this node stores for others (`hyperdht lib/persistent.js`).

use std::net::SocketAddrV4;
use std::ops::Bound;
use std::time::Instant;

use pace::Generations;
use rand::{Rng, RngExt};
use wire::hyper::{MutablePut, MutableRecord, PeerRecord};
use wire::{ADDR_LEN, Addrs, Id, Write};

use crate::config::{Limits, Timing};
use crate::key::hash;

/// Relays kept with a record.
pub(crate) const RELAYS_MAX: usize = 3;
/// Records given in one answer.
const RECORDS_TOLD: usize = 20;
/// How far a bump may lie in the future, in milliseconds; clocks differ.
const BUMP_AHEAD_MAX: u64 = 60_000;

#[derive(Debug)]
pub(super) struct Store {
    records: Generations<(Id<32>, [u8; 32]), Relays>,
    bumps: Generations<Id<32>, u64>,
    refreshes: Generations<Id<32>, Refresh>,
    mutables: Values,
    immutables: Values,
    /// The value of the answer being made.
    scratch: Vec<u8>,
}

/// Up to three relay addresses, packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Relays {
    packed: [u8; RELAYS_MAX * ADDR_LEN],
    len: u8,
}

impl Relays {
    pub(super) fn new(addrs: Addrs<'_>) -> Self {
        let mut relays = Self::default();
        for (slot, addr) in relays.packed.chunks_exact_mut(ADDR_LEN).zip(addrs.iter()) {
            slot.copy_from_slice(&wire::pack_addr(addr));
            relays.len += 1;
        }
        relays
    }

    pub(super) fn addrs(&self) -> Addrs<'_> {
        Addrs::from_packed(&self.packed).truncated(usize::from(self.len))
    }
}

/// What the preimage of a refresh hash stores anew.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refresh {
    pub(super) target: Id<32>,
    pub(super) public_key: [u8; 32],
    pub(super) relays: Relays,
    pub(super) kind: Announced,
}

/// What an announcement is under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Announced {
    /// A topic: it is a record among others.
    Topic,
    /// Its own key: it is a route, and its sender is the way there.
    Key,
}

/// Why a mutable value was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outdated {
    SeqReused,
    SeqTooLow,
}

/// Values by target, bounded by their number and their bytes.
#[derive(Debug)]
struct Values {
    map: Generations<Id<32>, Box<[u8]>>,
    bytes: usize,
    bytes_max: usize,
}

impl Values {
    const fn new(limits: &Limits, timing: &Timing) -> Self {
        let span = two_thirds(timing.value_age);
        Self { map: Generations::new(limits.values, span), bytes: 0, bytes_max: limits.value_bytes }
    }

    fn insert(&mut self, now: Instant, target: Id<32>, value: Box<[u8]>) {
        if self.bytes + value.len() > self.bytes_max {
            self.map.advance(now);
            self.recount();
        }
        let before = self.map.len();
        self.bytes -= self.map.remove(&target).map_or(0, |old| old.len());
        self.bytes += value.len();
        self.map.insert(now, target, value);
        if self.map.len() < before {
            self.recount();
        }
    }

    fn tidy(&mut self, now: Instant) {
        let before = self.map.len();
        self.map.expire(now);
        if self.map.len() != before {
            self.recount();
        }
    }

    fn recount(&mut self) {
        self.bytes = self.map.iter().map(|(_, value)| value.len()).sum();
    }
}

impl Store {
    pub(super) fn new(limits: &Limits, timing: &Timing) -> Self {
        let span = two_thirds(timing.record_age);
        Self {
            // Each generation holds as many as the reference's does. With half of it, a flood of fewer records than
            // the limit would end both generations, and with them what was stored before.
            records: Generations::new(2 * limits.records, span),
            bumps: Generations::new(limits.records, span),
            refreshes: Generations::new(limits.records, span),
            mutables: Values::new(limits, timing),
            immutables: Values::new(limits, timing),
            scratch: Vec::new(),
        }
    }

    /// Stores a record; the latest relays replace earlier ones (the reference keeps the old while young).
    pub(super) fn announce(&mut self, now: Instant, target: Id<32>, peer: &PeerRecord<'_>) {
        self.records.insert(now, (target, peer.public_key), Relays::new(peer.relays));
    }

    pub(super) fn unannounce(&mut self, target: Id<32>, public_key: [u8; 32]) {
        self.records.remove(&(target, public_key));
    }

    /// Notes when a topic changed, if that is news and not from the future.
    pub(super) fn bump(&mut self, now: Instant, wall: u64, target: Id<32>, bump: u64) {
        let known = self.bumps.get(&target).copied().unwrap_or(0);
        if bump > known && bump <= wall.saturating_add(BUMP_AHEAD_MAX) {
            self.bumps.insert(now, target, bump);
        }
    }

    pub(super) fn remember_refresh(&mut self, now: Instant, key: Id<32>, refresh: Refresh) {
        self.refreshes.insert(now, key, refresh);
    }

    /// Takes what a preimage stores anew; the preimage itself is the next key of the chain.
    pub(super) fn take_refresh(&mut self, now: Instant, preimage: [u8; 32]) -> Option<Refresh> {
        self.refreshes.expire(now);
        let refresh = self.refreshes.remove(&hash(&preimage))?;
        self.refreshes.insert(now, Id(preimage), refresh);
        Some(refresh)
    }

    pub(super) fn restore(&mut self, now: Instant, refresh: &Refresh) {
        self.records.insert(now, (refresh.target, refresh.public_key), refresh.relays);
    }

    /// Returns a look-up's value: up to 20 records from a random place on, and the route's if there is room.
    pub(super) fn lookup(
        &mut self,
        now: Instant,
        target: Id<32>,
        route: Option<PeerRecord<'_>>,
        rng: &mut impl Rng,
    ) -> Option<&[u8]> {
        self.records.expire(now);
        self.bumps.expire(now);
        let start: [u8; 32] = rng.random();
        let (first, last) = ((target, [0; 32]), (target, [0xff; 32]));
        let from = (Bound::Included((target, start)), Bound::Included(last));
        let wrapped = (Bound::Included(first), Bound::Excluded((target, start)));
        let records = self.records.range(from).chain(self.records.range(wrapped));
        let out = &mut self.scratch;
        out.clear();
        out.push(0);
        let mut count = 0;
        for ((_, public_key), relays) in records.take(RECORDS_TOLD) {
            PeerRecord { public_key: *public_key, relays: relays.addrs() }.encode(out);
            count += 1;
        }
        if let Some(route) = route.filter(|_| usize::from(count) < RECORDS_TOLD) {
            route.encode(out);
            count += 1;
        }
        if count == 0 {
            return None;
        }
        out[0] = count;
        out.uint(self.bumps.get(&target).copied().unwrap_or(0));
        Some(&self.scratch)
    }

    /// Returns a mutable value of at least sequence number `seq`, as it goes into the answer.
    pub(super) fn mutable(&mut self, now: Instant, target: Id<32>, seq: u64) -> Option<&[u8]> {
        self.mutables
            .map
            .refresh(now, &target)
            .map(AsRef::as_ref)
            .filter(|stored| seq_of(stored) >= Some(seq))
    }

    /// Stores a mutable value whose signature was checked.
    pub(super) fn put_mutable(
        &mut self,
        now: Instant,
        target: Id<32>,
        put: &MutablePut<'_>,
    ) -> Result<(), Outdated> {
        let stored = self.mutables.map.refresh(now, &target).map(AsRef::as_ref);
        if let Some(stored) = stored.and_then(|stored| MutableRecord::decode(stored).ok()) {
            if put.record.seq < stored.seq {
                return Err(Outdated::SeqTooLow);
            }
            if put.record.seq == stored.seq && put.record.value != stored.value {
                return Err(Outdated::SeqReused);
            }
        }
        let mut value = Vec::with_capacity(put.record.value.len() + 76);
        put.record.encode(&mut value);
        self.mutables.insert(now, target, value.into());
        Ok(())
    }

    pub(super) fn immutable(&mut self, now: Instant, target: Id<32>) -> Option<&[u8]> {
        self.immutables.map.refresh(now, &target).map(AsRef::as_ref)
    }

    /// Stores an immutable value whose hash was checked.
    pub(super) fn put_immutable(&mut self, now: Instant, target: Id<32>, value: &[u8]) {
        self.immutables.insert(now, target, value.into());
    }

    /// Drops what is too old.
    pub(super) fn tidy(&mut self, now: Instant) {
        self.records.expire(now);
        self.bumps.expire(now);
        self.refreshes.expire(now);
        self.mutables.tidy(now);
        self.immutables.tidy(now);
    }

    /// Counts records, mutable and immutable values.
    pub(super) fn len(&self) -> [usize; 3] {
        [self.records.len(), self.mutables.map.len(), self.immutables.map.len()]
    }

    pub(super) const fn bytes(&self) -> usize {
        self.mutables.bytes + self.immutables.bytes
    }
}

fn seq_of(stored: &[u8]) -> Option<u64> {
    wire::Reader::new(stored).uint().ok()
}

/// The span of a generation: its entries then live two thirds to four thirds of the age.
pub(super) const fn two_thirds(age: std::time::Duration) -> std::time::Duration {
    std::time::Duration::from_millis(age.as_secs() * 2000 / 3)
}

/// The way to a key, by the node that announced it last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    pub(super) relay: SocketAddrV4,
    pub(super) public_key: [u8; 32],
    pub(super) relays: Relays,
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs an origin to count from")]
    use super::*;

    #[test]
    fn announcements_that_fit_the_limit_push_out_nothing_however_often_they_come() {
        let now = Instant::now();
        let limits = Limits { records: 1000, ..Limits::default() };
        let mut store = Store::new(&limits, &Timing::default());
        let peer = |n: u16| {
            let mut public_key = [0; 32];
            public_key[..2].copy_from_slice(&n.to_le_bytes());
            PeerRecord { public_key, relays: Addrs::EMPTY }
        };
        store.announce(now, Id([1; 32]), &peer(0));
        for n in (1..1000).cycle().take(5000) {
            store.announce(now, Id([2; 32]), &peer(n));
        }
        assert_eq!(store.len()[0], 1000);
    }
}
