//! Introductions: who may speak, and as whom.
//!
//! The library registers whatever name a ping claims before it checks anything, and then checks nothing. Here a
//! name is bound to the address that it is the end of, and an introduction that does not fit ends the
//! connection.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{CloseReason, Due, Event, Guest, Link, LinkId, Now, Replica, Side, Upkeep};
use crate::keys::ClientId;
use crate::message::{Body, MessageId, Role};
use crate::peer::Peer;
use crate::store::{Store, StoreError};
use crate::verify::Source;

/// When a node that dialled introduces itself again: soon, for whoever was just connecting, and then at times.
const GREETING_SPAN_MIN: Duration = Duration::from_secs(2);
const GREETING_SPAN: Duration = Duration::from_mins(1);
/// Servers that a pong lists. Anybody can say that they are one.
const SERVERS_MAX: usize = 64;

impl<S: Store> Replica<S> {
    /// Takes a new connection; `source` says whether its other end is of the operator's own federation.
    pub fn open(&mut self, now: Now, link: LinkId, (side, source): (Side, Source)) {
        let greeting = (side == Side::Dialled).then(|| self.ids.next());
        if let Some(id) = greeting.clone() {
            let peer =
                Peer::sign(self.config.topic.clone(), self.config.endpoint.clone(), now.wall, &self.identity);
            let body = Body::Ping { client: self.client_id(), role: self.config.role, peer };
            self.send(link, id, body);
            if self.config.upkeep == Upkeep::Regular {
                self.later(now, GREETING_SPAN_MIN, Due::Greeting(link));
            }
        }
        let state = Link {
            side,
            source,
            greeting,
            guest: None,
            watches: BTreeMap::new(),
            backfill: None,
            sync: None,
        };
        self.links.insert(link, state);
    }

    /// Introduces this node again, for the list of servers in the answer: who connected to the other side since
    /// the last time is on it.
    pub(super) fn greet_again(&mut self, now: Now, link: LinkId) {
        let Some(guest) = self.links.get(&link).map(|link| link.guest.as_ref().map(|guest| guest.role))
        else {
            return;
        };
        self.later(now, GREETING_SPAN, Due::Greeting(link));
        if guest != Some(Role::Server) {
            return;
        }
        let id = self.ids.next();
        let (topic, endpoint) = (self.config.topic.clone(), self.config.endpoint.clone());
        let peer = Peer::sign(topic, endpoint, now.wall, &self.identity);
        let body = Body::Ping { client: self.client_id(), role: self.config.role, peer };
        if let Some(state) = self.links.get_mut(&link) {
            state.greeting = Some(id.clone());
        }
        self.send(link, id, body);
    }

    /// Forgets a connection that is closed. What its client had subscribed to is remembered for a while.
    pub fn closed(&mut self, now: Now, link: LinkId) {
        self.park_watches(now, link);
        self.forget(link);
    }

    pub(super) fn forget(&mut self, link: LinkId) {
        let Some(state) = self.links.remove(&link) else { return };
        for (key, watch) in state.watches {
            self.unwatch(link, key, &watch);
        }
        if let Some(until) = state.backfill.and_then(|backfill| backfill.until()) {
            self.due.remove(&(until, Due::Backfill(link)));
        }
        self.calls.forget(link);
        self.forget_questions(link);
    }

    pub(super) fn handle_ping(
        &mut self,
        now: Now,
        (link, id): (LinkId, MessageId),
        (client, role, peer): (ClientId, Role, Peer),
    ) -> Result<(), StoreError> {
        if let Err(why) = self.check_introduction(now, client, &peer) {
            self.close(link, why);
            return Ok(());
        }
        let Some(state) = self.links.get_mut(&link) else { return Ok(()) };
        let first = state.guest.is_none();
        let server = (role == Role::Server).then_some(peer);
        state.guest = Some(Guest { client, role, server });
        let body = Body::Pong { client: self.client_id(), role: self.config.role, servers: self.servers() };
        self.send(link, id, body);
        if first {
            self.events.push_back(Event::Introduced { link, client, role });
            if role == Role::Server {
                self.send_interests(link);
            }
            self.resume_watches(now, link)?;
            self.start_backfill(link);
            self.start_sync(now, link)?;
        }
        Ok(())
    }

    fn check_introduction(&self, now: Now, client: ClientId, peer: &Peer) -> Result<(), CloseReason> {
        if client != peer.address().client_id() {
            return Err(CloseReason::Forged);
        }
        if *peer.topic() != self.config.topic {
            return Err(CloseReason::OtherTopic);
        }
        if !peer.is_fresh(now.wall) {
            return Err(CloseReason::Stale);
        }
        if peer.is_genuine() { Ok(()) } else { Err(CloseReason::Forged) }
    }

    /// This node and the servers that it is connected to, in the order in which they came.
    pub fn servers(&self) -> Vec<Peer> {
        let own = (self.config.role == Role::Server).then(|| self.introduction.clone());
        let mut servers: Vec<Peer> = own.into_iter().collect();
        for (_, guest) in self.guests() {
            if let Some(server) = &guest.server
                && servers.len() < SERVERS_MAX
                && servers.iter().all(|known| known.address() != server.address())
            {
                servers.push(server.clone());
            }
        }
        servers
    }

    pub(super) fn handle_pong(
        &mut self,
        now: Now,
        (link, id): (LinkId, MessageId),
        (client, role, servers): (ClientId, Role, Vec<Peer>),
    ) -> Result<(), StoreError> {
        let Some(state) = self.links.get_mut(&link) else { return Ok(()) };
        if state.side != Side::Dialled || state.greeting.as_ref() != Some(&id) {
            self.stats.malformed += 1;
            return Ok(());
        }
        state.greeting = None;
        let genuine = |peer: &Peer| *peer.topic() == self.config.topic && peer.is_genuine();
        let named = |peer: &&Peer| peer.address().client_id() == client;
        let Some(server) = servers.iter().find(named).filter(|peer| genuine(peer)) else {
            self.close(link, CloseReason::Forged);
            return Ok(());
        };
        let first = state.guest.is_none();
        state.guest = Some(Guest { client, role, server: Some(server.clone()) });
        let own = self.identity.address();
        let others = servers.iter().filter(|peer| peer.address() != own && !named(peer) && genuine(peer));
        if first {
            self.events.push_back(Event::Introduced { link, client, role });
        }
        self.events.extend(others.map(|server| Event::Learned { link, server: server.clone() }));
        if first && role == Role::Server {
            self.send_interests(link);
        }
        if first {
            self.start_backfill(link);
            self.start_sync(now, link)?;
        }
        Ok(())
    }
}
