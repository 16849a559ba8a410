use std::net::SocketAddr;
use std::time::Instant;

use rand::RngExt;
use wire::krpc::{Body, Family, Message, Query, Response};
use wire::{Id, Transmit};

use super::lookup::LookupId;
use super::{CLIENT, Mainline};
use crate::hyper::OperationId;

/// Queries of our own at one time, sent or waiting for room in the window. One in eight transaction ids is
/// then taken, so a free one is soon found.
const ASKED_MAX: usize = 8192;

/// Who waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Lookup(LookupId),
    /// An operation gives a node something to store, or asks it once more.
    Operation(OperationId),
    /// A node that may enter the table once it answered, or that has to show that it is still there.
    Check,
}

/// A query of ours without an answer yet.
#[derive(Debug)]
pub(super) struct Asked {
    to: SocketAddr,
    packet: Box<[u8]>,
    owner: Owner,
    created: Instant,
    sendings: u8,
}

/// An answer, with what is known of the exchange.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered<'a> {
    pub(super) from: SocketAddr,
    pub(super) seen: Option<SocketAddr>,
    pub(super) elapsed: std::time::Duration,
    pub(super) result: Result<&'a Response<'a>, i64>,
}

/// A packet ends with the transaction, the client's name and the kind; the first of these is two bytes long,
/// and four when it is sent again: there are servers that answer none shorter.
const TAIL_LEN: usize = b"1:t2:..1:v4:....1:y1:qe".len();
const AFTER_TID_LEN: usize = b"1:v4:....1:y1:qe".len();

impl Mainline {
    /// Makes a query; its owner will hear what becomes of it. Tells whether there was room for it.
    pub(super) fn ask(&mut self, now: Instant, to: SocketAddr, query: &Query<'_>, owner: Owner) -> bool {
        let reachable = self.stack(Family::of(&to)).is_some();
        if !reachable || self.asked.len() >= ASKED_MAX || !self.gate.may_ask(now, to.ip()) {
            self.stats.unasked += 1;
            return false;
        }
        let mut tid: u16 = self.rng.random();
        while self.asked.contains_key(&tid) {
            tid = tid.wrapping_add(1);
        }
        let mut packet = Vec::with_capacity(160);
        let query = Query { read_only: self.is_read_only(), ..*query };
        let bytes = tid.to_be_bytes();
        Message { tid: &bytes, client: Some(CLIENT), ip: None, body: Body::Query(query) }.encode(&mut packet);
        let packet = packet.into();
        self.asked.insert(tid, Asked { to, packet, owner, created: now, sendings: 0 });
        self.stats.requests += 1;
        self.checks += usize::from(owner == Owner::Check);
        self.window.catch_up(now);
        if self.window.is_full() || !self.waiting.is_empty() {
            self.waiting.push_back(tid);
        } else {
            self.send(now, tid);
        }
        true
    }

    /// A query of this family in our name.
    pub(super) fn query<'a>(&self, family: Family, method: wire::krpc::Method<'a>) -> Query<'a> {
        let id = self.stack(family).map_or(Id([0; 20]), |stack| stack.contacts.table().id());
        Query::new(method, id)
    }

    pub(super) fn handle_answer(&mut self, now: Instant, from: SocketAddr, message: &Message<'_>) {
        let expected = ours(message.tid)
            .filter(|tid| self.asked.get(tid).is_some_and(|asked| asked.sendings > 0 && asked.to == from));
        let Some((tid, asked)) = expected.and_then(|tid| Some((tid, self.asked.remove(&tid)?))) else {
            self.stats.unexpected += 1;
            return;
        };
        self.timers.cancel(tid);
        self.window.end();
        self.stats.responses += 1;
        self.gate.prove(now, from.ip());
        let elapsed = now.saturating_duration_since(asked.created);
        if asked.sendings == 1 || self.rtt.smoothed().is_none() {
            self.rtt.add(elapsed);
        }
        let result = match &message.body {
            Body::Response(response) => Ok(response),
            Body::Error(code, _) => Err(*code),
            Body::Query(_) => return,
        };
        if let Ok(response) = result {
            self.meet(now, from, response.id, elapsed);
            if let Some(seen) = message.ip {
                self.hear_address(now, from, asked.owner, seen);
            }
        }
        let answered = Answered { from, seen: message.ip, elapsed, result };
        match asked.owner {
            Owner::Lookup(id) => self.lookup_answered(now, id, &answered),
            Owner::Operation(id) => self.operation_answered(id, &answered),
            Owner::Check => self.checks -= 1,
        }
    }

    /// Acts on answers that are late: the first time others are asked, the second time the query is given up.
    pub(super) fn expire_asks(&mut self, now: Instant) {
        while let Some(tid) = self.timers.expire(now) {
            let Some(asked) = self.asked.get(&tid) else { continue };
            let (owner, to) = (asked.owner, asked.to);
            if asked.sendings == 1 {
                let needed = match owner {
                    Owner::Lookup(id) => self.lookup_waits(id, to),
                    Owner::Operation(_) | Owner::Check => true,
                };
                self.wait_on(now, tid);
                if needed {
                    self.repeat(tid);
                }
                if let Owner::Lookup(id) = owner {
                    self.pump_lookup(now, id);
                }
                continue;
            }
            self.asked.remove(&tid);
            self.window.end();
            self.stats.timeouts += 1;
            if let Some(stack) = self.stack_mut(Family::of(&to)) {
                stack.contacts.failed(to);
            }
            match owner {
                Owner::Lookup(id) => self.lookup_missed(now, id, to),
                Owner::Operation(id) => self.operation_missed(id),
                Owner::Check => self.checks -= 1,
            }
        }
    }

    /// Sends what waited for room in the congestion window.
    pub(super) fn send_waiting(&mut self, now: Instant) {
        self.window.catch_up(now);
        while !self.window.is_full()
            && let Some(tid) = self.waiting.pop_front()
        {
            self.send(now, tid);
        }
    }

    /// Forgets queries for an owner who is gone, as far as they were not sent.
    pub(super) fn unask(&mut self, gone: impl Fn(Owner) -> bool) {
        let asked = &mut self.asked;
        self.waiting.retain(|tid| {
            let unwanted = asked.get(tid).is_none_or(|asked| gone(asked.owner));
            if unwanted {
                asked.remove(tid);
            }
            !unwanted
        });
    }

    fn send(&mut self, now: Instant, tid: u16) {
        let Some(asked) = self.asked.get_mut(&tid) else { return };
        (asked.created, asked.sendings) = (now, 1);
        self.outbox.push(Transmit::new(super::socket(&asked.to), asked.to), |out| {
            out.extend_from_slice(&asked.packet);
        });
        self.window.send();
        self.timers.set(tid, now + self.patience());
    }

    /// Lets a late answer come until the query is given up.
    fn wait_on(&mut self, now: Instant, tid: u16) {
        let patience = self.patience();
        let Some(asked) = self.asked.get_mut(&tid) else { return };
        asked.sendings = 2;
        let wait = (patience * 3).max(self.config.timing.deadline_min.saturating_sub(patience));
        self.timers.set(tid, now + wait);
    }

    fn repeat(&mut self, tid: u16) {
        let Some(asked) = self.asked.get(&tid) else { return };
        self.stats.repeated += 1;
        let packet = &asked.packet;
        self.outbox.push(Transmit::new(super::socket(&asked.to), asked.to), |out| {
            let (head, tail) = packet.split_at(packet.len() - TAIL_LEN);
            out.extend_from_slice(head);
            out.extend_from_slice(b"1:t4:");
            out.extend_from_slice(&tid.to_be_bytes());
            out.extend_from_slice(&tid.to_be_bytes());
            out.extend_from_slice(&tail[TAIL_LEN - AFTER_TID_LEN..]);
        });
    }

    fn patience(&self) -> std::time::Duration {
        let (min, max) = (self.config.timing.patience_min, self.config.timing.patience_max);
        // Late answers count as well, so that asking others too early costs queries and no results.
        self.rtt
            .smoothed()
            .map_or(min, |smoothed| self.rtt.patience(min, max).min((smoothed * 3 / 2).max(min)))
    }
}

/// Reads a transaction id of ours, as it was sent first or again.
fn ours(tid: &[u8]) -> Option<u16> {
    match *tid {
        [a, b] => Some(u16::from_be_bytes([a, b])),
        [a, b, c, d] if (a, b) == (c, d) => Some(u16::from_be_bytes([a, b])),
        _ => None,
    }
}
