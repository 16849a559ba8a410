//! What the replica wants sent, told or done.

use std::cmp::Ordering;

use tooldb::message::{Role, Verdict};
use tooldb::{ClientId, Digest, Endpoint, LinkId, Side};

use super::waiting::tell;
use super::{Ended, Host, Way};
use crate::event::Event;
use crate::status::Server;

/// Own records that are sent to a server again when it is met.
const DELIVERED_MAX: usize = 4_096;

impl Host {
    pub(super) fn drain(&mut self) {
        while let Some(event) = self.replica.poll_event() {
            self.handle_event(event);
        }
        self.send_waiting();
    }

    fn send_waiting(&mut self) {
        while let Some((link, text)) = self.replica.poll_send() {
            let Some(state) = self.links.get(&link) else { continue };
            self.counts.frames_out += 1;
            self.counts.bytes_out += u64::try_from(text.len()).unwrap_or(u64::MAX);
            if state.outbox.send(text).is_err() {
                self.counts.slow += 1;
                self.closed(link);
            }
        }
    }

    fn handle_event(&mut self, event: tooldb::Event) {
        match event {
            tooldb::Event::Introduced { link, client, role } => self.introduced(link, (client, role)),
            tooldb::Event::Learned { link, server } => self.learn(link, server.endpoint()),
            tooldb::Event::Changed { key, from } => {
                let origin = if from.is_some() { Origin::Other } else { Origin::Here };
                self.tell(Event::Changed { key, origin });
            }
            tooldb::Event::Called { call, name, args } => {
                self.counts.calls += 1;
                if let Some(asks) = self.asks.upgrade() {
                    self.functions.call((call, &name), args, asks);
                }
            }
            tooldb::Event::Confirm { link, id, hash, verdict } => match verdict {
                Verdict::Refused | Verdict::Full => self.replica.confirm(link, id, (hash, verdict)),
                Verdict::Kept | Verdict::Known => {
                    let store = self.replica.store();
                    let (last, settled) = (store.last(), store.durable() >= store.last());
                    if settled {
                        self.replica.confirm(link, id, (hash, verdict));
                    } else {
                        self.waiting.confirm_after(last, (link, id, (hash, verdict)));
                    }
                }
            },
            tooldb::Event::Confirmed { hash, verdict, .. } => self.confirmed(hash, verdict),
            tooldb::Event::Fetched { id, .. } => {
                if let Some(waiter) = self.waiting.fetches.remove(&id) {
                    tell(waiter, ());
                }
            }
            tooldb::Event::Listed { id, keys } => {
                if let Some(waiter) = self.waiting.lists.remove(&id) {
                    tell(waiter, keys);
                }
            }
            tooldb::Event::Returned { id, code, value } => {
                if let Some(waiter) = self.waiting.calls.remove(&id) {
                    tell(waiter, (code, value));
                }
            }
            tooldb::Event::Close { link, why } => {
                self.counts.refused += 1;
                if let Some(state) = self.links.remove(&link) {
                    tracing::debug!(?link, %why, "connection refused");
                    if matches!(state.way, Way::Met(_)) {
                        self.endings.insert(link, Ended::Unfit);
                    }
                    state.outbox.close(why.to_string());
                }
            }
            tooldb::Event::StoreFailed { error } => {
                self.counts.store_failures += 1;
                tracing::error!(error = ?error, "the store failed");
            }
            _ => {}
        }
    }

    fn introduced(&mut self, link: LinkId, (client, role): (ClientId, Role)) {
        if client == self.replica.client_id() {
            return self.end(link, Ended::Ourselves);
        }
        let Some(state) = self.links.get_mut(&link) else { return };
        match &state.way {
            Way::Dialled(server) => {
                self.verified.insert(client, server.clone());
            }
            Way::Accepted | Way::Met(_) if role == Role::Server && !self.verified.contains_key(&client) => {
                let servers = self.replica.servers();
                let server = servers.iter().find(|server| server.address().client_id() == client);
                if let Some(server) = server {
                    self.learn(link, server.endpoint());
                }
            }
            Way::Accepted | Way::Met(_) => {}
        }
        let twin = self.links.iter().find(|(other, state)| {
            **other != link && state.client == Some((client, role)) && role == Role::Server
        });
        // Both ends keep a WebSocket before the swarm, which stands by then; of two of a kind, the one that the lesser
        // name dialled; of two that the same side dialled, the later one: the other is a remnant.
        if let Some((twin, other)) = twin {
            let ours = |way: &Way| way.side() == Side::Dialled;
            let of_twin = (other.way.over(), ours(&other.way));
            let of_new = self.links.get(&link).map_or(of_twin, |state| (state.way.over(), ours(&state.way)));
            let keep_new = match of_new.0.cmp(&of_twin.0) {
                Ordering::Less => true,
                Ordering::Greater => false,
                Ordering::Equal => of_new == of_twin || of_new.1 == (self.replica.client_id() < client),
            };
            let loser = if keep_new { *twin } else { link };
            self.end(loser, Ended::Twin(client));
            if loser == link {
                return;
            }
        }
        if let Some(state) = self.links.get_mut(&link) {
            state.client = Some((client, role));
            let over = state.way.over();
            self.tell(Event::Connected { client, role, over });
        }
        if role == Role::Server {
            self.deliver_outbox(link);
        }
    }

    fn end(&mut self, link: LinkId, why: Ended) {
        // The other end needs our introduction to know whose connection this was.
        self.send_waiting();
        let Some(state) = self.links.remove(&link) else { return };
        self.replica.closed(super::now(), link);
        if matches!(state.way, Way::Dialled(_) | Way::Met(_)) {
            self.endings.insert(link, why);
        }
        if let Some((client, role)) = state.client {
            self.tell(Event::Disconnected { client, role, over: state.way.over() });
        }
        state.outbox.close(match why {
            Ended::Ourselves => "this is the same node".into(),
            Ended::Twin(_) | Ended::Unfit | Ended::Parted(_) => "connected twice".into(),
        });
    }

    /// Hears of a server from whoever is at the other end of a connection.
    fn learn(&self, link: LinkId, endpoint: &Endpoint) {
        let Some(state) = self.links.get(&link) else { return };
        self.tell(Event::Learned { endpoint: endpoint.clone() });
        // When many are told of at once, the rest is told again later.
        self.learned.try_send((Server::new(endpoint.clone()), state.remote)).unwrap_or_default();
    }

    /// Sends a server the own records that none has confirmed.
    fn deliver_outbox(&mut self, link: LinkId) {
        let waiting: Vec<(Digest, tooldb::Key)> = self
            .waiting
            .unconfirmed
            .iter()
            .take(DELIVERED_MAX)
            .map(|(hash, key)| (*hash, key.clone()))
            .collect();
        for (hash, key) in waiting {
            match self.replica.store().record(&key, hash) {
                Ok(Some(record)) => self.replica.deliver(link, &record),
                // A later record of this node took its place.
                Ok(None) => self.confirmed(hash, Verdict::Known),
                Err(error) => tracing::error!(error = ?error, "an unsent record cannot be read"),
            }
        }
    }

    /// A server has a record, or will never take it.
    fn confirmed(&mut self, hash: Digest, verdict: Verdict) {
        if verdict != Verdict::Full && self.waiting.unconfirmed.remove(&hash).is_some() {
            self.replica.store_mut().note_confirmed(hash);
            self.waiting.outbox_changed = true;
        }
        self.waiting.remember(hash, verdict);
        for waiter in self.waiting.verdicts.remove(&hash).unwrap_or_default() {
            tell(waiter, verdict);
        }
    }
}

/// Where a change was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// By this node.
    Here,
    /// By another.
    Other,
}
