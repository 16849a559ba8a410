//! Subscriptions: every change is pushed at once, and then at most one in a while, ending with the latest.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Due, LinkId, Now, Replica};
use crate::digest::Digest;
use crate::key::Key;
use crate::message::{Body, Carrier, Manner, MessageId};
use crate::store::{Store, StoreError};

/// Time between two pushes of a key to a subscriber. The library's clients wait for 100 ms of quiet before they
/// tell their application, so faster pushes would keep it from hearing anything; 108 ms apart one in ten was
/// still lost in trials.
const PUSH_GAP: Duration = Duration::from_millis(120);
/// How long the subscriptions of a client that left are remembered.
const PARKED_SPAN: Duration = Duration::from_mins(10);

/// One subscription.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// Until when nothing is pushed.
    quiet_until: Option<Instant>,
    /// Something changed meanwhile.
    waiting: bool,
    /// What was pushed last.
    pushed: Option<Digest>,
}

/// What a client that left had subscribed to, and what it got last.
#[derive(Debug)]
pub(super) struct Parked {
    watches: BTreeMap<Key, Option<Digest>>,
    until: Instant,
}

impl<S: Store> Replica<S> {
    pub(super) fn handle_subscribe(
        &mut self,
        now: Now,
        link: LinkId,
        (id, key): (MessageId, Key),
    ) -> Result<(), StoreError> {
        let Some(state) = self.links.get_mut(&link) else { return Ok(()) };
        if state.watches.len() >= self.config.limits.watches_max && !state.watches.contains_key(&key) {
            self.stats.limited += 1;
            return Ok(());
        }
        state.watches.entry(key.clone()).or_default();
        self.watchers.entry(key.clone()).or_default().insert(link);
        // The first value carries the id of the subscription, which the client waits for once.
        self.push(now, (link, &key), id)
    }

    pub(super) fn notify_watchers(&mut self, now: Now, key: &Key) {
        let links: Vec<LinkId> = self.watchers.get(key).into_iter().flatten().copied().collect();
        for link in links {
            if let Err(error) = self.push_or_wait(now, link, key) {
                self.events.push_back(super::Event::StoreFailed { error });
            }
        }
    }

    fn push_or_wait(&mut self, now: Now, link: LinkId, key: &Key) -> Result<(), StoreError> {
        let watch = self.links.get_mut(&link).and_then(|link| link.watches.get_mut(key));
        let Some(watch) = watch else { return Ok(()) };
        if watch.quiet_until.is_some_and(|until| now.instant < until) {
            watch.waiting = true;
            return Ok(());
        }
        let id = self.ids.next();
        self.push(now, (link, key), id)
    }

    /// Pushes what the key has, if it has something.
    fn push(&mut self, now: Now, (link, key): (LinkId, &Key), id: MessageId) -> Result<(), StoreError> {
        let Some(record) = self.view(key, Carrier::Plain)? else { return Ok(()) };
        let until = self.later(now, PUSH_GAP, Due::Push(link, key.clone()));
        if let Some(watch) = self.links.get_mut(&link).and_then(|link| link.watches.get_mut(key)) {
            let before = watch.quiet_until.filter(|before| *before != until);
            *watch = Watch { quiet_until: Some(until), waiting: false, pushed: Some(record.hash()) };
            if let Some(before) = before {
                self.due.remove(&(before, Due::Push(link, key.clone())));
            }
        }
        self.stats.pushed += 1;
        let body = Body::Put { carrier: Carrier::Plain, manner: Manner::Push, record: record.raw() };
        self.send(link, id, body);
        Ok(())
    }

    pub(super) fn push_due(&mut self, now: Now, link: LinkId, key: &Key) -> Result<(), StoreError> {
        let watch = self.links.get_mut(&link).and_then(|link| link.watches.get_mut(key));
        let Some(watch) = watch.filter(|watch| watch.quiet_until.is_some_and(|until| until <= now.instant))
        else {
            return Ok(());
        };
        watch.quiet_until = None;
        if watch.waiting { self.push_or_wait(now, link, key) } else { Ok(()) }
    }

    pub(super) fn unwatch(&mut self, link: LinkId, key: Key, watch: &Watch) {
        if let Some(links) = self.watchers.get_mut(&key) {
            links.remove(&link);
            if links.is_empty() {
                self.watchers.remove(&key);
            }
        }
        if let Some(until) = watch.quiet_until {
            self.due.remove(&(until, Due::Push(link, key)));
        }
    }

    pub(super) fn park_watches(&mut self, now: Now, link: LinkId) {
        self.parked.retain(|_, parked| now.instant < parked.until);
        let Some(state) = self.links.get(&link) else { return };
        let Some(guest) = state.guest.as_ref().filter(|_| !state.watches.is_empty()) else { return };
        if self.parked.len() >= self.config.limits.parked_max && !self.parked.contains_key(&guest.client) {
            self.stats.limited += 1;
            return;
        }
        let watches = state.watches.iter().map(|(key, watch)| (key.clone(), watch.pushed)).collect();
        self.parked.insert(guest.client, Parked { watches, until: now.instant + PARKED_SPAN });
    }

    /// Gives a client that came back its subscriptions, and what changed while it was away. The library's
    /// clients never subscribe again, and take what they are sent.
    pub(super) fn resume_watches(&mut self, now: Now, link: LinkId) -> Result<(), StoreError> {
        let guest = self.links.get(&link).and_then(|link| link.guest.as_ref());
        let parked = guest.map(|guest| guest.client).and_then(|client| self.parked.remove(&client));
        let Some(parked) = parked.filter(|parked| now.instant < parked.until) else { return Ok(()) };
        for (key, pushed) in parked.watches {
            if let Some(state) = self.links.get_mut(&link) {
                state.watches.insert(key.clone(), Watch { pushed, ..Watch::default() });
            }
            self.watchers.entry(key.clone()).or_default().insert(link);
            if self.view(&key, Carrier::Plain)?.map(|record| record.hash()) != pushed {
                self.push_or_wait(now, link, &key)?;
            }
        }
        Ok(())
    }
}
