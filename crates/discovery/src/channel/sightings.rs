use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::event::{Sighting, Who};
use super::source::Source;

/// Peers remembered of one topic and mechanism.
const PEERS_MAX: usize = 512;
/// Look-ups that must have been answered without a peer before it is lost: a network that is away loses nobody.
const MISSED_MIN: u64 = 2;

/// The peers of one topic that are believed to be there.
#[derive(Debug, Default)]
pub(super) struct Sightings(BTreeMap<(Source, Who), Last>);

#[derive(Clone, Copy, Debug)]
struct Last {
    at: Instant,
    /// Look-ups answered by then.
    looks: u64,
    informant: Option<IpAddr>,
}

/// When a peer was seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) at: Instant,
    /// Look-ups of its mechanism that had been answered.
    pub(super) looks: u64,
}

/// What a sighting was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    New,
    Known,
    Refused,
}

impl Sightings {
    /// Takes a sighting in. Where a mechanism's room is used up, the informant that told of most peers gives one up; so
    /// one that invents peers pushes out its own.
    pub(super) fn see(&mut self, sighting: &Sighting, seen: Seen) -> News {
        let last = Last { at: seen.at, looks: seen.looks, informant: sighting.informant };
        let key = (sighting.source, sighting.who);
        if let Some(known) = self.0.get_mut(&key) {
            // Whoever told first stays answerable, unless the peer speaks for itself.
            *known = Last { informant: known.informant, ..last };
            return News::Known;
        }
        if self.of(sighting.source).count() >= PEERS_MAX && !self.make_room(sighting) {
            return News::Refused;
        }
        self.0.insert(key, last);
        News::New
    }

    /// Forgets what was not seen for too long, and returns it.
    pub(super) fn fade(&mut self, now: Instant, limits: impl Fn(Source) -> Limit) -> Vec<(Source, Who)> {
        let is_lost = |source: Source, last: &Last| {
            let Limit { span, looks } = limits(source);
            now.saturating_duration_since(last.at) >= span && looks >= last.looks + MISSED_MIN
        };
        let lost: Vec<_> =
            self.0.iter().filter(|((source, _), last)| is_lost(*source, last)).map(|(key, _)| *key).collect();
        for key in &lost {
            self.0.remove(key);
        }
        lost
    }

    /// Forgets those that a rule names, and returns them.
    pub(super) fn forget(&mut self, rule: impl Fn(Source, &Who) -> bool) -> Vec<(Source, Who)> {
        let gone: Vec<_> = self.0.keys().filter(|(source, who)| rule(*source, who)).copied().collect();
        for key in &gone {
            self.0.remove(key);
        }
        gone
    }

    /// When the peer was last seen that was not for the longest.
    pub(super) fn oldest(&self, source: Source) -> Option<Instant> {
        self.of(source).map(|(_, last)| last.at).min()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn of(&self, source: Source) -> impl Iterator<Item = (&(Source, Who), &Last)> {
        self.0.iter().filter(move |((from, _), _)| *from == source)
    }

    fn make_room(&mut self, sighting: &Sighting) -> bool {
        let mut counts = BTreeMap::new();
        for (_, last) in self.of(sighting.source) {
            *counts.entry(last.informant).or_insert(0_usize) += 1;
        }
        let Some((&worst, &most)) = counts.iter().max_by_key(|(_, count)| **count) else { return false };
        let ours = counts.get(&sighting.informant).copied().unwrap_or_default();
        if sighting.informant == worst || ours + 1 >= most {
            return false;
        }
        let oldest = self.of(sighting.source).filter(|(_, last)| last.informant == worst);
        let oldest = oldest.min_by_key(|(_, last)| last.at).map(|(key, _)| *key);
        oldest.is_some_and(|key| self.0.remove(&key).is_some())
    }
}

/// When a mechanism's peers are lost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    /// How long without being seen.
    pub(super) span: Duration,
    /// Look-ups answered so far.
    pub(super) looks: u64,
}
