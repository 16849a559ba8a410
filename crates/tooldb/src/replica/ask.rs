//! Questions: answered from the store, or passed on, with the answer routed back under its own id.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{Due, Event, LinkId, Misses, Now, Origin, Replica, admit};
use crate::crdt::{Document, Shape};
use crate::key::{Key, Space};
use crate::message::{Body, Carrier, Frame, Manner, MessageId, Role, Visited};
use crate::pow::Difficulty;
use crate::record::{Draft, Record, UnixMillis};
use crate::store::{Store, StoreError};

/// How long a question that was passed on may be answered. The library's clients wait for one second by
/// default, and for two when they sign in.
const QUESTION_SPAN: Duration = Duration::from_secs(5);
/// How long other servers' keys are waited for: well within the client's second.
pub(super) const QUERY_SPAN: Duration = Duration::from_millis(600);
/// How much less each server on the way waits, so that the inner answers are in time for the outer.
const QUERY_SPAN_STEP: Duration = Duration::from_millis(150);

/// Bytes of an answer to a query without its keys, and some to spare.
const KEYS_FRAME: usize = 256;

/// A question for a record that was passed on.
#[derive(Debug)]
pub(super) struct Asked {
    /// `None` if the question is this node's own.
    asker: Option<LinkId>,
    carrier: Carrier,
    key: Key,
    links: BTreeSet<LinkId>,
    until: Instant,
}

/// A query whose answers from other servers are being gathered into one.
#[derive(Debug)]
pub(super) struct Gathering {
    /// `None` if the query is this node's own.
    pub(super) asker: Option<LinkId>,
    pub(super) keys: BTreeSet<Key>,
    pub(super) waiting: BTreeSet<LinkId>,
    pub(super) until: Instant,
}

impl<S: Store> Replica<S> {
    pub(super) fn handle_get(
        &mut self,
        now: Now,
        link: LinkId,
        (origin, carrier, key): (Origin, Carrier, Key),
    ) -> Result<(), StoreError> {
        if let Some(record) = self.view(&key, carrier)? {
            let body = Body::Put { carrier, manner: Manner::Answer, record: record.raw() };
            self.send(link, origin.id, body);
            return Ok(());
        }
        if self.asked.contains_key(&origin.id) {
            // It came by another way as well, and is being asked for.
            return Ok(());
        }
        let links = self.knowing(link, &origin.visited);
        if links.is_empty() {
            self.miss(link, origin.id, (carrier, &key));
            return Ok(());
        }
        if self.asked.len() >= self.config.limits.asked_max {
            self.stats.limited += 1;
            return Ok(());
        }
        let until = self.later(now, QUESTION_SPAN, Due::Question(origin.id.clone()));
        let visited = self.via(Some(link), &origin.visited);
        let body = Body::Get { carrier, key: key.clone() };
        self.send_all(links.iter().copied().collect(), &Frame { id: origin.id.clone(), visited, body });
        self.asked.insert(origin.id, Asked { asker: Some(link), carrier, key, links, until });
        Ok(())
    }

    /// Asks all servers for a key. The first answer is told as [`Event::Fetched`]; later ones are taken, too.
    /// `None` if there is nobody to ask, or too much is being asked already.
    pub fn fetch(&mut self, now: Now, key: &Key) -> Option<MessageId> {
        let servers = self.guests().filter(|(_, guest)| guest.role == Role::Server);
        let links: BTreeSet<LinkId> = servers.map(|(link, _)| link).collect();
        if links.is_empty() || self.asked.len() >= self.config.limits.asked_max {
            return None;
        }
        let id = self.ids.next();
        let until = self.later(now, QUESTION_SPAN, Due::Question(id.clone()));
        let visited = Visited::only(self.client_id());
        let body = Body::Get { carrier: Carrier::Plain, key: key.clone() };
        self.send_all(links.iter().copied().collect(), &Frame { id: id.clone(), visited, body });
        let asked = Asked { asker: None, carrier: Carrier::Plain, key: key.clone(), links, until };
        self.asked.insert(id.clone(), asked);
        Some(id)
    }

    pub(super) fn forget_question(&mut self, id: &MessageId) {
        self.asked.remove(id);
    }

    /// Whom to ask on behalf of a connection: all servers and some clients that the question did not visit.
    fn knowing(&self, asker: LinkId, visited: &Visited) -> BTreeSet<LinkId> {
        let others: Vec<_> = self
            .guests()
            .filter(|(link, guest)| *link != asker && !visited.contains(guest.client))
            .map(|(link, guest)| (link, guest.role))
            .collect();
        let with = |role| others.iter().filter(move |(_, is)| *is == role).map(|(link, _)| *link);
        with(Role::Server).chain(with(Role::Client).take(self.config.limits.asked_clients_max)).collect()
    }

    /// Asks all servers for what they have of a key. Their answers are taken like any record.
    pub(super) fn ask_servers(&mut self, key: &Key) {
        let servers = self.guests().filter(|(_, guest)| guest.role == Role::Server);
        let servers: Vec<LinkId> = servers.map(|(link, _)| link).collect();
        for link in servers {
            let id = self.ids.next();
            self.send(link, id, Body::Get { carrier: Carrier::Plain, key: key.clone() });
        }
    }

    /// Says that nobody has a key, in words that the library's clients take for an answer and do not store.
    /// Not for names: a client that signs up would take it for somebody else's claim.
    fn miss(&mut self, link: LinkId, id: MessageId, (carrier, key): (Carrier, &Key)) {
        if self.config.misses == Misses::Silent || key.space() == Space::Frozen {
            return;
        }
        let record = match carrier {
            Carrier::Plain => "{\"v\":null}",
            Carrier::Document => "{\"v\":[]}",
        };
        self.send(link, id, Body::Put { carrier, manner: Manner::Answer, record });
    }

    /// Routes an answer back to who asked, once the record in it was checked.
    pub(super) fn settle_question(
        &mut self,
        link: LinkId,
        (id, key): (&MessageId, &Key),
    ) -> Result<(), StoreError> {
        let Some(asked) = self.asked.get(id).filter(|asked| asked.key == *key && asked.links.contains(&link))
        else {
            return Ok(());
        };
        let (asker, carrier) = (asked.asker, asked.carrier);
        if asker.is_none() {
            self.events.push_back(Event::Fetched { id: id.clone(), key: key.clone() });
        }
        let Some(record) = self.view(key, carrier)? else { return Ok(()) };
        if let Some(asked) = self.asked.remove(id) {
            self.due.remove(&(asked.until, Due::Question(id.clone())));
        }
        if let Some(asker) = asker {
            let body = Body::Put { carrier, manner: Manner::Answer, record: record.raw() };
            self.send(asker, id.clone(), body);
        }
        Ok(())
    }

    pub(super) fn forget_questions(&mut self, link: LinkId) {
        for (id, asked) in self.asked.extract_if(.., |_, asked| asked.asker == Some(link)) {
            self.due.remove(&(asked.until, Due::Question(id)));
        }
        for (id, gathering) in self.gathering.extract_if(.., |_, gathering| gathering.asker == Some(link)) {
            self.due.remove(&(gathering.until, Due::Query(id)));
        }
        let ids: Vec<MessageId> = self.gathering.keys().cloned().collect();
        for id in ids {
            self.gathered(link, &id, Vec::new());
        }
    }

    /// What this node gives for a key: the newest plain record, or the document whole.
    pub(super) fn view(&self, key: &Key, carrier: Carrier) -> Result<Option<Record>, StoreError> {
        let owner = match key.space() {
            Space::Frozen => self.store.claim(key)?.map(|claim| claim.owner()),
            Space::Public | Space::Owned { .. } => None,
        };
        let counts = |record: &Record| owner.is_none_or(|owner| owner == record.author());
        let mut envelopes = self.store.envelopes(key)?;
        envelopes.retain(counts);
        let document = self.document_view(envelopes);
        if carrier == Carrier::Document {
            return Ok(document);
        }
        let plain = self.store.plain(key)?.filter(counts);
        Ok(plain.into_iter().chain(document).max_by_key(Record::order))
    }

    /// One record with all operations of a document: an author's own if one has them all, else one that this
    /// node signs where anybody may write, else the newest.
    fn document_view(&self, mut envelopes: Vec<Record>) -> Option<Record> {
        envelopes.sort_by_key(Record::order);
        let newest = envelopes.pop()?;
        let Some(shape) = Shape::of(newest.kind()).filter(|_| !envelopes.is_empty()) else {
            return Some(newest);
        };
        let mut parts = vec![(admit::document(shape, &newest)?, newest)];
        let others = envelopes.into_iter().rev().filter(|envelope| envelope.kind() == parts[0].1.kind());
        let others: Vec<_> =
            others.filter_map(|envelope| Some((admit::document(shape, &envelope)?, envelope))).collect();
        parts.extend(others);
        let mut whole = Document::new(shape);
        for (part, _) in &parts {
            whole.merge(part);
        }
        if let Some(place) = parts.iter().position(|(part, _)| part.covers(&whole)) {
            return Some(parts.swap_remove(place).1);
        }
        let newest = parts.swap_remove(0).1;
        let ours = newest.key().space() == Space::Public && self.config.rules.difficulty == Difficulty(0);
        if !ours {
            return Some(newest);
        }
        // One millisecond after the newest part: later than all of them, and the same however often it is asked.
        let UnixMillis(time) = newest.time();
        let draft = Draft { key: newest.key().clone(), value: whole.to_value(), kind: newest.kind().clone() };
        Some(draft.sign(UnixMillis(time + 1), &self.identity))
    }

    pub(super) fn handle_query(
        &mut self,
        now: Now,
        link: LinkId,
        (origin, prefix): (Origin, Key),
    ) -> Result<(), StoreError> {
        let keys = self.store.keys(&prefix, self.config.limits.keys_max)?;
        let visited = &origin.visited;
        let servers = self.guests().filter(|(other, guest)| {
            *other != link && guest.role == Role::Server && !visited.contains(guest.client)
        });
        let servers: BTreeSet<LinkId> = servers.map(|(link, _)| link).collect();
        let room = self.gathering.len() < self.config.limits.asked_max;
        // A query that came by another way as well is answered with what is here: the rest is being gathered.
        if servers.is_empty() || !room || self.gathering.contains_key(&origin.id) {
            self.send_keys(link, origin.id, keys);
            return Ok(());
        }
        let hops = u32::try_from(visited.len().saturating_sub(1)).unwrap_or(u32::MAX).min(3);
        let span = QUERY_SPAN.saturating_sub(QUERY_SPAN_STEP * hops);
        let until = self.later(now, span, Due::Query(origin.id.clone()));
        let frame = Frame {
            id: origin.id.clone(),
            visited: self.via(Some(link), visited),
            body: Body::Query { prefix },
        };
        self.send_all(servers.iter().copied().collect(), &frame);
        let keys = keys.into_iter().collect();
        self.gathering.insert(origin.id, Gathering { asker: Some(link), keys, waiting: servers, until });
        Ok(())
    }

    pub(super) fn handle_query_ack(
        &mut self,
        now: Now,
        link: LinkId,
        (id, keys): (&MessageId, Vec<Key>),
    ) -> Result<(), StoreError> {
        if self.gathering.contains_key(id) {
            self.gathered(link, id, keys);
            return Ok(());
        }
        self.take_backfill_keys(now, link, (id, keys))
    }

    fn gathered(&mut self, link: LinkId, id: &MessageId, keys: Vec<Key>) {
        let Some(gathering) = self.gathering.get_mut(id) else { return };
        if !gathering.waiting.remove(&link) {
            return;
        }
        let room = self.config.limits.keys_max.saturating_sub(gathering.keys.len());
        gathering.keys.extend(keys.into_iter().take(room));
        if gathering.waiting.is_empty() {
            self.finish_query(id);
        }
    }

    pub(super) fn finish_query(&mut self, id: &MessageId) {
        let Some(gathering) = self.gathering.remove(id) else { return };
        self.due.remove(&(gathering.until, Due::Query(id.clone())));
        let keys: Vec<Key> = gathering.keys.into_iter().collect();
        match gathering.asker {
            Some(asker) => self.send_keys(asker, id.clone(), keys),
            None => self.events.push_back(Event::Listed { id: id.clone(), keys }),
        }
    }

    /// Sends as many keys as nodes with our limits take in one frame.
    fn send_keys(&mut self, link: LinkId, id: MessageId, mut keys: Vec<Key>) {
        let mut room = self.config.limits.frame_bytes_max.saturating_sub(KEYS_FRAME);
        let fitting = keys.iter().take_while(|key| {
            let fits = room.checked_sub(key.printed_len() + 1);
            room = fits.unwrap_or(0);
            fits.is_some()
        });
        let count = fitting.count();
        if count < keys.len() {
            self.stats.limited += 1;
            keys.truncate(count);
        }
        self.send(link, id, Body::QueryAck { keys });
    }
}
