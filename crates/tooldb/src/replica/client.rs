//! What a node asks of others on its own behalf.

use std::collections::BTreeSet;

use super::{Due, Event, LinkId, Now, Replica};
use crate::key::Key;
use crate::message::{Body, Carrier, Code, Frame, Manner, MessageId, Role, Visited};
use crate::record::{Kind, Record};
use crate::store::{Store, StoreError};

/// Keys that a node may be interested in.
const INTERESTS_MAX: usize = 10_000;

impl<S: Store> Replica<S> {
    /// Subscribes to a key at all servers, now and at each that is met later. What changes is told as
    /// [`Event::Changed`]. Returns whether there was room for it.
    #[must_use]
    pub fn subscribe(&mut self, key: Key) -> bool {
        if self.interests.len() >= INTERESTS_MAX && !self.interests.contains(&key) {
            return false;
        }
        for link in self.servers_met() {
            self.send_interest(link, key.clone());
        }
        self.interests.insert(key);
        true
    }

    pub(super) fn send_interests(&mut self, link: LinkId) {
        let interests: Vec<Key> = self.interests.iter().cloned().collect();
        for key in interests {
            self.send_interest(link, key);
        }
    }

    fn send_interest(&mut self, link: LinkId, key: Key) {
        let id = self.ids.next();
        self.send(link, id, Body::Subscribe { key });
    }

    /// Connections to servers that introduced themselves.
    pub fn servers_met(&self) -> Vec<LinkId> {
        self.guests().filter(|(_, guest)| guest.role == Role::Server).map(|(link, _)| link).collect()
    }

    /// Sends a record to one node, which says what became of it if it is one of ours.
    pub fn deliver(&mut self, link: LinkId, record: &Record) {
        let carrier = match record.kind() {
            Kind::Plain => Carrier::Plain,
            Kind::Map | Kind::List | Kind::Custom(_) => Carrier::Document,
        };
        let id = self.ids.next();
        self.send(link, id, Body::Put { carrier, manner: Manner::Confirmed, record: record.raw() });
    }

    /// Asks all servers for a function's result; each answer is told as [`Event::Returned`]. `None` if no server
    /// was met.
    pub fn call(&mut self, name: Key, args: &str) -> Option<MessageId> {
        let servers = self.servers_met();
        if servers.is_empty() {
            return None;
        }
        let (id, visited) = (self.ids.next(), Visited::only(self.client_id()));
        self.send_all(servers, &Frame { id: id.clone(), visited, body: Body::Function { name, args } });
        Some(id)
    }

    pub(super) fn handle_return(&mut self, id: MessageId, (code, value): (Code, Option<&str>)) {
        self.events.push_back(Event::Returned { id, code, value: value.map(Into::into) });
    }

    /// Asks all servers for their keys; what they say within 600 ms is told as [`Event::Listed`].
    ///
    /// # Errors
    ///
    /// If the store failed.
    pub fn list(&mut self, now: Now, prefix: Key) -> Result<MessageId, StoreError> {
        let id = self.ids.next();
        let keys: BTreeSet<Key> =
            self.store.keys(&prefix, self.config.limits.keys_max)?.into_iter().collect();
        let servers = self.servers_met();
        if servers.is_empty() || self.gathering.len() >= self.config.limits.asked_max {
            self.events.push_back(Event::Listed { id: id.clone(), keys: keys.into_iter().collect() });
            return Ok(id);
        }
        let until = self.later(now, super::ask::QUERY_SPAN, Due::Query(id.clone()));
        let waiting = servers.iter().copied().collect();
        let visited = Visited::only(self.client_id());
        self.send_all(servers, &Frame { id: id.clone(), visited, body: Body::Query { prefix } });
        self.gathering.insert(id.clone(), super::ask::Gathering { asker: None, keys, waiting, until });
        Ok(id)
    }
}
