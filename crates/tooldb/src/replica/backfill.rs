//! Asking those who connect for what they wrote while they were away.
//!
//! The library's clients never send again what they could not send, but they answer questions like any node:
//! so they are asked for their keys, and then for the records.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::{Due, LinkId, Now, Replica};
use crate::key::Key;
use crate::message::{Body, Carrier, MessageId};
use crate::store::{Store, StoreError};

/// Whether those who connect are asked for their records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backfill {
    /// They are not: what was written offline stays where it was written.
    Never,
    /// They are, for the keys this node lacks first.
    Asked,
}

/// Records that one connection is asked for.
const KEYS_MAX: usize = 1_000;
/// Keys of a client's list that are looked up, at two reads each.
const LISTED_MAX: usize = 4 * KEYS_MAX;
/// Questions that wait for an answer at a time.
const WINDOW: usize = 32;
/// A client that sent a record already does not send it again over the same connection, whatever it is asked:
/// after this time its silence is taken for that.
const SILENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Backfilling {
    query: Option<MessageId>,
    todo: VecDeque<Key>,
    waiting: BTreeSet<MessageId>,
    until: Option<Instant>,
}

impl Backfilling {
    /// When the next question is due if none is answered.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }
}

impl<S: Store> Replica<S> {
    pub(super) fn start_backfill(&mut self, link: LinkId) {
        let (Backfill::Asked, Some(prefix)) = (self.config.backfill, Key::new("")) else { return };
        let id = self.ids.next();
        let Some(state) = self.links.get_mut(&link) else { return };
        state.backfill = Some(Backfilling {
            query: Some(id.clone()),
            todo: VecDeque::new(),
            waiting: BTreeSet::new(),
            until: None,
        });
        self.send(link, id, Body::Query { prefix });
    }

    pub(super) fn take_backfill_keys(
        &mut self,
        now: Now,
        link: LinkId,
        (id, keys): (&MessageId, Vec<Key>),
    ) -> Result<(), StoreError> {
        let state = self.links.get_mut(&link).and_then(|link| link.backfill.as_mut());
        let Some(state) = state.filter(|state| state.query.as_ref() == Some(id)) else { return Ok(()) };
        state.query = None;
        let (mut unknown, mut known) = (Vec::new(), Vec::new());
        for key in keys.into_iter().take(LISTED_MAX) {
            if unknown.len() >= KEYS_MAX {
                break;
            }
            let kept = self.store.plain(&key)?.is_some() || !self.store.envelopes(&key)?.is_empty();
            if kept { known.push(key) } else { unknown.push(key) }
        }
        if let Some(state) = self.links.get_mut(&link).and_then(|link| link.backfill.as_mut()) {
            state.todo = unknown.into_iter().chain(known).take(KEYS_MAX).collect();
        }
        self.continue_backfill(now, link);
        Ok(())
    }

    fn continue_backfill(&mut self, now: Now, link: LinkId) {
        loop {
            let id = self.ids.next();
            let state = self.links.get_mut(&link).and_then(|link| link.backfill.as_mut());
            let Some(state) = state.filter(|state| state.waiting.len() < WINDOW) else { return };
            let Some(key) = state.todo.pop_front() else { return };
            state.waiting.insert(id.clone());
            let until = now.instant + SILENCE;
            let before = state.until.replace(until);
            if let Some(before) = before {
                self.due.remove(&(before, Due::Backfill(link)));
            }
            self.due.insert((until, Due::Backfill(link)));
            self.send(link, id, Body::Get { carrier: Carrier::Plain, key });
        }
    }

    pub(super) fn settle_backfill(&mut self, now: Now, link: LinkId, id: &MessageId) {
        let state = self.links.get_mut(&link).and_then(|link| link.backfill.as_mut());
        if state.is_some_and(|state| state.waiting.remove(id)) {
            self.continue_backfill(now, link);
        }
    }

    pub(super) fn restart_backfill(&mut self, now: Now, link: LinkId) {
        let state = self.links.get_mut(&link).and_then(|link| link.backfill.as_mut());
        if let Some(state) = state {
            state.waiting.clear();
            self.continue_backfill(now, link);
        }
    }
}
