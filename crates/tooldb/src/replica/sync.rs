//! Servers of ours compare what they have, range by range, and fetch what they lack.
//!
//! ```text
//! {"type":"ranges","id","to","list":[[from, until|null, count, sum]..]}   what I have in these ranges
//! {"type":"items","id","to","reply":bool,"cut":bool,"list":[[from, until|null, [[key, state]..]]..]}
//! {"type":"need","id","to","keys":[key..]}      answered by puts, and then
//! {"type":"given","id","to"}
//! ```
//!
//! A range whose sums agree is done with. One that differs is answered with its items where they are few, else
//! with the sums of its parts. JavaScript nodes ignore all four. (Range-based set reconciliation, A. Meyer 2022.)

use std::collections::VecDeque;
use std::time::Duration;

use super::{Due, LinkId, Now, Replica, Side, Upkeep};
use crate::key::Key;
use crate::message::{Body, Carrier, Items, Manner, MessageId, Range, Reply, Role, Sum};
use crate::record::Kind;
use crate::store::{Span, State, Store, StoreError};

/// How often servers compare what they have, while they are connected.
const SYNC_SPAN: Duration = Duration::from_secs(20);
/// A range with more keys is split.
const LEAF: usize = 64;
/// Into how many parts.
const PARTS: usize = 16;
/// Ranges in one message.
const RANGES_MAX: usize = 256;
/// Items in one message.
const ITEMS_MAX: usize = 1_000;
/// Keys that are asked for at a time.
const NEED_MAX: usize = 32;
/// Keys that wait to be asked for; beyond it the comparison is repeated once these are here.
const TODO_MAX: usize = 4_096;
/// Bytes of records in answer to one request. What is left out is found missing again.
const GIVEN_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Messages that make this node read its store, of one connection within [`SYNC_SPAN`].
const TURNS: u32 = 512;

/// A connection's comparison.
#[derive(Debug)]
pub(super) struct Syncing {
    todo: VecDeque<Key>,
    waiting: Option<MessageId>,
    again: Again,
    /// Records that were new when the comparison began.
    admitted: u64,
    turns: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    Needless,
    Needed,
}

impl Default for Syncing {
    fn default() -> Self {
        Self { todo: VecDeque::new(), waiting: None, again: Again::Needless, admitted: 0, turns: TURNS }
    }
}

impl<S: Store> Replica<S> {
    /// Begins to compare with a server that introduced itself; the side that dialled speaks first.
    pub(super) fn start_sync(&mut self, now: Now, link: LinkId) -> Result<(), StoreError> {
        let server = self.config.role == Role::Server && self.config.upkeep == Upkeep::Regular;
        let Some(state) = self.links.get_mut(&link) else { return Ok(()) };
        if !server || state.guest.as_ref().is_none_or(|guest| guest.role == Role::Client) {
            return Ok(());
        }
        let side = state.side;
        state.sync.get_or_insert_default().turns = TURNS;
        self.later(now, SYNC_SPAN, Due::Sync(link));
        if side == Side::Dialled { self.compare(link) } else { Ok(()) }
    }

    fn compare(&mut self, link: LinkId) -> Result<(), StoreError> {
        let whole = Span { from: Key::first(), until: None };
        let sum = self.sum(&whole)?;
        let admitted = self.stats.admitted;
        if let Some(sync) = self.links.get_mut(&link).and_then(|link| link.sync.as_mut()) {
            sync.again = Again::Needless;
            sync.admitted = admitted;
        }
        let id = self.ids.next();
        self.send(link, id, Body::Ranges { list: vec![Range { span: whole, sum }] });
        Ok(())
    }

    fn sum(&self, span: &Span) -> Result<Sum, StoreError> {
        let mut sum = Sum::default();
        let mut rest = span.clone();
        loop {
            let states = self.store.states(&rest, ITEMS_MAX)?;
            for state in &states {
                sum.add(state);
            }
            match states.last() {
                Some(last) if states.len() == ITEMS_MAX => rest.from = last.key.after(),
                _ => return Ok(sum),
            }
        }
    }

    /// Whether a connection may make this node read its store once more.
    fn turn(&mut self, link: LinkId) -> bool {
        let Some(state) = self.links.get_mut(&link) else { return false };
        let server = state.guest.as_ref().is_some_and(|guest| guest.role == Role::Server);
        let Some(sync) = state.sync.as_mut().filter(|sync| server && sync.turns > 0) else {
            self.stats.limited += 1;
            return false;
        };
        sync.turns -= 1;
        true
    }

    pub(super) fn handle_ranges(
        &mut self,
        link: LinkId,
        (id, list): (MessageId, Vec<Range>),
    ) -> Result<(), StoreError> {
        let ascending = list
            .is_sorted_by(|one, next| one.span.until.as_ref().is_some_and(|until| *until <= next.span.from));
        if !ascending || list.len() > RANGES_MAX || !self.turn(link) {
            return Ok(());
        }
        let (mut parts, mut leaves) = (Vec::new(), Vec::new());
        for range in list {
            let own = self.sum(&range.span)?;
            if own == range.sum {
                continue;
            }
            if own.count <= LEAF as u64 || parts.len() + PARTS > RANGES_MAX {
                leaves.push(range.span);
            } else {
                self.split(&range.span, own.count, &mut parts)?;
            }
        }
        if !parts.is_empty() {
            let id = self.ids.next();
            self.send(link, id, Body::Ranges { list: parts });
        }
        if !leaves.is_empty() {
            let items = self.items(leaves)?;
            self.send(link, id, Body::Items { reply: Reply::Wanted, items });
        }
        Ok(())
    }

    /// Adds the sums of a range's parts, which have as many keys each.
    fn split(&self, span: &Span, count: u64, parts: &mut Vec<Range>) -> Result<(), StoreError> {
        let each = usize::try_from(count).unwrap_or(usize::MAX) / PARTS + 1;
        let mut from = span.from.clone();
        let mut sum = Sum::default();
        let mut rest = span.clone();
        loop {
            let states = self.store.states(&rest, ITEMS_MAX)?;
            for state in &states {
                if sum.count >= each as u64 {
                    let until = Some(state.key.clone());
                    let before = std::mem::replace(&mut from, state.key.clone());
                    parts.push(Range { span: Span { from: before, until }, sum: std::mem::take(&mut sum) });
                }
                sum.add(state);
            }
            match states.last() {
                Some(last) if states.len() == ITEMS_MAX => rest.from = last.key.after(),
                _ => break,
            }
        }
        parts.push(Range { span: Span { from, until: span.until.clone() }, sum });
        Ok(())
    }

    /// What this node has in some ranges, as much as fits a message.
    fn items(&self, spans: Vec<Span>) -> Result<Items, StoreError> {
        let mut items = Items::default();
        let mut room = ITEMS_MAX;
        for span in spans {
            let mut states = self.store.states(&span, room + 1)?;
            if states.len() > room {
                states.truncate(room);
                let until = states.last().map(|last| last.key.after());
                let until = until.unwrap_or_else(|| span.from.clone());
                items.list.push((Span { until: Some(until), ..span }, states));
                items.cut = true;
                return Ok(items);
            }
            room -= states.len();
            items.list.push((span, states));
        }
        Ok(items)
    }

    pub(super) fn handle_items(
        &mut self,
        link: LinkId,
        (id, reply, theirs): (MessageId, Reply, Items),
    ) -> Result<(), StoreError> {
        if theirs.list.len() > RANGES_MAX || !self.turn(link) {
            return Ok(());
        }
        let mut wanted = Vec::new();
        for state in theirs.list.iter().flat_map(|(_, states)| states) {
            if self.store.state(&state.key)? != Some(state.digest) {
                wanted.push(state.key.clone());
            }
        }
        let Some(sync) = self.links.get_mut(&link).and_then(|link| link.sync.as_mut()) else { return Ok(()) };
        let room = TODO_MAX.saturating_sub(sync.todo.len());
        if theirs.cut || wanted.len() > room {
            sync.again = Again::Needed;
        }
        wanted.truncate(room);
        sync.todo.extend(wanted);
        if reply == Reply::Wanted {
            let items = self.items(theirs.list.into_iter().map(|(span, _)| span).collect())?;
            self.send(link, id, Body::Items { reply: Reply::Needless, items });
        }
        self.continue_sync(link)
    }

    fn continue_sync(&mut self, link: LinkId) -> Result<(), StoreError> {
        let id = self.ids.next();
        let admitted = self.stats.admitted;
        let Some(state) = self.links.get_mut(&link) else { return Ok(()) };
        let Some(sync) = state.sync.as_mut().filter(|sync| sync.waiting.is_none()) else { return Ok(()) };
        if sync.todo.is_empty() {
            // Without progress it would go on for ever.
            let worthwhile = sync.again == Again::Needed && admitted > sync.admitted;
            return if worthwhile { self.compare(link) } else { Ok(()) };
        }
        let keys = sync.todo.drain(..sync.todo.len().min(NEED_MAX)).collect();
        sync.waiting = Some(id.clone());
        self.send(link, id, Body::Need { keys });
        Ok(())
    }

    pub(super) fn handle_need(
        &mut self,
        link: LinkId,
        (id, keys): (MessageId, Vec<Key>),
    ) -> Result<(), StoreError> {
        let server = self.guests().any(|(guest, who)| guest == link && who.role == Role::Server);
        if !server {
            return Ok(());
        }
        let mut room = GIVEN_BYTES_MAX;
        'keys: for key in keys.iter().take(NEED_MAX) {
            for record in self.store.records(key)? {
                let Some(left) = room.checked_sub(record.raw().len()) else { break 'keys };
                room = left;
                let carrier = match record.kind() {
                    Kind::Plain => Carrier::Plain,
                    Kind::Map | Kind::List | Kind::Custom(_) => Carrier::Document,
                };
                let body = Body::Put { carrier, manner: Manner::Write, record: record.raw() };
                let id = self.ids.next();
                self.send(link, id, body);
            }
        }
        self.send(link, id, Body::Given);
        Ok(())
    }

    pub(super) fn handle_given(&mut self, link: LinkId, id: &MessageId) -> Result<(), StoreError> {
        let sync = self.links.get_mut(&link).and_then(|link| link.sync.as_mut());
        let Some(sync) = sync.filter(|sync| sync.waiting.as_ref() == Some(id)) else { return Ok(()) };
        sync.waiting = None;
        self.continue_sync(link)
    }
}

impl State {
    /// What is summed: the key and its state under one hash.
    fn item(&self) -> [u8; 32] {
        crate::digest::Digest::of(&format!("{}\n{:?}", self.key, self.digest)).0
    }
}

impl Sum {
    /// Adds a key: sums are modulo 2²⁵⁶, so their order does not matter.
    fn add(&mut self, state: &State) {
        self.count += 1;
        let mut carry = 0;
        for (place, byte) in self.sum.iter_mut().zip(state.item()) {
            let total = u16::from(*place) + u16::from(byte) + carry;
            let [low, high] = total.to_le_bytes();
            *place = low;
            carry = u16::from(high);
        }
    }
}
