use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Instant;

use wire::Id;
use wire::bencode::Cursor;
use wire::krpc::{Family, Item, Method, Query, Response};

use super::Mainline;
use super::ask::{Answered, Owner};
use super::bloom::Bloom;
use super::event::{Event, Failure, Outcome, Pong, Port, Scraped, Stored, Task, Value, Walked};
use super::items::{SALT_MAX, VALUE_MAX, is_genuine, signable, target};
use super::lookup::{LookupId, Purpose, Question, Responder};
use crate::hyper::OperationId;

/// Operations at one time.
const OPERATIONS_MAX: usize = 1024;
/// Peers that one look-up tells of; liars can name peers without end.
const PEERS_MAX: usize = 4096;

/// Something under way that its caller waits for.
#[derive(Debug)]
pub(super) struct Operation {
    kind: Kind,
    /// Walks that run.
    lookups: Vec<LookupId>,
    /// Nodes that were given something, or asked once more, and have not answered.
    pending: usize,
    walked: Walked,
    peers: BTreeSet<SocketAddr>,
    stored: Vec<SocketAddr>,
    refused: usize,
    refusal: Option<i64>,
    found: Option<Value>,
    blooms: [Bloom; 2],
}

#[derive(Debug)]
enum Kind {
    Ping,
    FindNode,
    Lookup,
    Announce(Id<20>, Port),
    Scrape(Id<20>),
    Put(Box<Given>),
    Get(Id<20>, Vec<u8>),
}

/// A value to be stored.
#[derive(Debug)]
struct Given {
    value: Vec<u8>,
    salt: Vec<u8>,
    signed: Option<([u8; 32], [u8; 64], i64)>,
    cas: Option<i64>,
}

impl Given {
    fn item(&self) -> Item<'_> {
        Item {
            value: Some(&self.value),
            key: self.signed.map(|(key, ..)| key),
            signature: self.signed.map(|(_, signature, _)| signature),
            seq: self.signed.map(|(.., seq)| seq),
            salt: (!self.salt.is_empty()).then_some(&self.salt),
        }
    }

    fn is_fit(&self) -> bool {
        let whole = Cursor::new(&self.value).value() == Ok(&self.value[..]);
        whole && self.value.len() <= VALUE_MAX && self.salt.len() <= SALT_MAX
    }
}

impl Mainline {
    /// Starts something to do once; [`Event::Finished`] tells of its end.
    pub fn start(&mut self, now: Instant, task: Task) -> OperationId {
        self.serial += 1;
        let id = OperationId(self.serial);
        if self.operations.len() >= OPERATIONS_MAX {
            self.finish(id, Outcome::Failed(Failure::Busy));
            return id;
        }
        let (kind, walk) = match task {
            Task::Ping { to } => {
                self.operations.insert(id, Operation::new(Kind::Ping));
                let query = self.query(Family::of(&to), Method::Ping);
                self.give(now, id, to, &query);
                self.finish_if_done(id);
                return id;
            }
            Task::FindNode { target } => (Kind::FindNode, (target, Question::Nodes)),
            Task::Lookup { info_hash } => (Kind::Lookup, (info_hash, Question::Peers)),
            Task::Announce { info_hash, port } => {
                (Kind::Announce(info_hash, port), (info_hash, Question::Peers))
            }
            Task::Scrape { info_hash } => (Kind::Scrape(info_hash), (info_hash, Question::Peers)),
            Task::Get { target, salt } => (Kind::Get(target, salt), (target, Question::Value)),
            Task::PutImmutable { value } => {
                let given = Given { value, salt: Vec::new(), signed: None, cas: None };
                put(given)
            }
            Task::PutMutable { key, salt, seq, cas, value } => {
                let signature = key.sign(&signable(&salt, seq, &value));
                let signed = Some((key.public_key().0, signature, seq));
                put(Given { value, salt, signed, cas })
            }
        };
        let fit = if let Kind::Put(given) = &kind { given.is_fit() } else { true };
        if !fit {
            self.finish(id, Outcome::Failed(Failure::Unfit));
            return id;
        }
        self.operations.insert(id, Operation::new(kind));
        self.walk_for(now, id, walk);
        id
    }

    /// Stops an operation; nothing more is told of it.
    pub fn cancel(&mut self, operation: OperationId) {
        let Some(operation) = self.operations.remove(&operation) else { return };
        for lookup in operation.lookups {
            self.cancel_lookup(lookup);
        }
    }

    fn walk_for(&mut self, now: Instant, id: OperationId, (target, question): (Id<20>, Question)) {
        let families = [Family::V4, Family::V6].into_iter().filter(|family| self.stack(*family).is_some());
        let families: Vec<Family> = families.collect();
        // Counted before they run: one without anybody to ask ends within the call that starts it.
        if let Some(operation) = self.operations.get_mut(&id) {
            operation.pending += families.len();
        }
        for family in families {
            let lookup = self.look_up(now, (family, target), question, Purpose::Operation(id));
            if let Some(operation) = self.operations.get_mut(&id) {
                operation.lookups.extend(lookup);
            }
        }
    }

    /// A node answered a walk of an operation.
    pub(super) fn operation_heard(&mut self, id: OperationId, from: SocketAddr, response: &Response<'_>) {
        let Some(operation) = self.operations.get_mut(&id) else { return };
        if let Kind::Get(target, salt) = &operation.kind {
            let salt = (!salt.is_empty()).then_some(&salt[..]);
            let item = Item { salt, ..response.item };
            if is_genuine(&item, target) {
                let value = item.value.unwrap_or_default().to_vec();
                let signed = item.key.zip(item.seq);
                let newer = operation.found.as_ref().is_none_or(|known| known.signed < signed);
                if newer {
                    operation.found = Some(Value { value, signed });
                }
            }
        }
        let room = PEERS_MAX - operation.peers.len();
        let told = &mut operation.peers;
        let fresh: Vec<_> = response.values.iter().take(room).filter(|peer| told.insert(*peer)).collect();
        if !fresh.is_empty() {
            self.events.push_back(Event::Peers { operation: id, from, peers: fresh });
        }
    }

    /// A walk of an operation ended: what it is for is done at the nodes that it found.
    pub(super) fn operation_walked(
        &mut self,
        now: Instant,
        id: OperationId,
        lookup: LookupId,
        (closest, walked): (Vec<Responder>, Walked),
    ) {
        let Some(operation) = self.operations.get_mut(&id) else { return };
        operation.lookups.retain(|running| *running != lookup);
        operation.walked.add(walked);
        let kind = std::mem::replace(&mut operation.kind, Kind::Ping);
        for Responder { addr, token, .. } in &closest {
            let Some(token) = token.as_deref() else { continue };
            let family = Family::of(addr);
            let query = match &kind {
                Kind::Announce(info_hash, port) => {
                    let (port, implied_port) = match port {
                        Port::Is(port) => (port.get(), false),
                        Port::Implied => (0, true),
                    };
                    let query = self.query(family, Method::AnnouncePeer);
                    Query { target: Some(*info_hash), port: Some(port), implied_port, ..query }
                }
                Kind::Scrape(info_hash) => {
                    let query = self.query(family, Method::GetPeers);
                    Query { target: Some(*info_hash), scrape: true, ..query }
                }
                Kind::Put(given) => {
                    Query { item: given.item(), cas: given.cas, ..self.query(family, Method::Put) }
                }
                Kind::Ping | Kind::FindNode | Kind::Lookup | Kind::Get(..) => break,
            };
            self.give(now, id, *addr, &Query { token: Some(token), ..query });
        }
        if let Some(operation) = self.operations.get_mut(&id) {
            operation.kind = kind;
            operation.pending -= 1;
        }
        self.finish_if_done(id);
    }

    fn give(&mut self, now: Instant, id: OperationId, to: SocketAddr, query: &Query<'_>) {
        let asked = self.ask(now, to, query, Owner::Operation(id));
        if let Some(operation) = self.operations.get_mut(&id) {
            operation.pending += usize::from(asked);
        }
    }

    pub(super) fn operation_answered(&mut self, id: OperationId, answered: &Answered<'_>) {
        let Some(operation) = self.operations.get_mut(&id) else { return };
        operation.pending -= 1;
        match (&operation.kind, answered.result) {
            (Kind::Ping, Ok(response)) => {
                self.operations.remove(&id);
                let pong = Pong { id: response.id, seen: answered.seen, elapsed: answered.elapsed };
                return self.finish(id, Outcome::Pong(pong));
            }
            (Kind::Scrape(_), Ok(response)) => {
                if let Some((seeds, downloaders)) = response.blooms {
                    operation.blooms[0].merge(seeds);
                    operation.blooms[1].merge(downloaders);
                    operation.stored.push(answered.from);
                }
            }
            (_, Ok(_)) => operation.stored.push(answered.from),
            (_, Err(code)) => {
                operation.refused += 1;
                operation.refusal = Some(code);
            }
        }
        self.finish_if_done(id);
    }

    pub(super) fn operation_missed(&mut self, id: OperationId) {
        if let Some(operation) = self.operations.get_mut(&id) {
            operation.pending -= 1;
            operation.refused += 1;
        }
        self.finish_if_done(id);
    }

    fn finish_if_done(&mut self, id: OperationId) {
        if self.operations.get(&id).is_some_and(|operation| operation.pending == 0)
            && let Some(operation) = self.operations.remove(&id)
        {
            let outcome = operation.into_outcome();
            self.finish(id, outcome);
        }
    }

    fn finish(&mut self, operation: OperationId, outcome: Outcome) {
        if !self.announcement_ended(operation, &outcome) {
            self.events.push_back(Event::Finished { operation, outcome });
        }
    }
}

fn put(given: Given) -> (Kind, (Id<20>, Question)) {
    let target = target(&given.item());
    (Kind::Put(Box::new(given)), (target, Question::Value))
}

impl Operation {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            lookups: Vec::new(),
            pending: 0,
            walked: Walked::default(),
            peers: BTreeSet::new(),
            stored: Vec::new(),
            refused: 0,
            refusal: None,
            found: None,
            blooms: [Bloom::default(); 2],
        }
    }

    fn into_outcome(self) -> Outcome {
        let nobody = self.walked.closest.is_empty();
        match self.kind {
            Kind::Get(..) if self.found.is_some() => Outcome::Got(self.found, self.walked),
            _ if nobody => Outcome::Failed(Failure::NoAnswer),
            Kind::Ping | Kind::FindNode | Kind::Lookup => Outcome::Walked(self.walked),
            Kind::Get(..) => Outcome::Got(None, self.walked),
            Kind::Scrape(_) => {
                let [seeds, downloaders] = self.blooms.map(|bloom| bloom.len());
                Outcome::Scraped(Scraped { seeds, downloaders, nodes: self.stored.len() })
            }
            Kind::Announce(..) | Kind::Put(_) if self.stored.is_empty() => {
                Outcome::Failed(self.refusal.map_or(Failure::NoAnswer, Failure::Refused))
            }
            Kind::Announce(..) | Kind::Put(_) => {
                Outcome::Stored(Stored { nodes: self.stored, refused: self.refused, walked: self.walked })
            }
        }
    }
}

impl Walked {
    /// Adds what a walk through the other internet found.
    fn add(&mut self, other: Self) {
        self.closest.extend(other.closest);
        self.figures.requests += other.figures.requests;
        self.figures.responses += other.figures.responses;
        self.figures.timeouts += other.figures.timeouts;
        self.figures.hops = self.figures.hops.max(other.figures.hops);
        self.figures.elapsed = self.figures.elapsed.max(other.figures.elapsed);
        self.first_peer = self.first_peer.into_iter().chain(other.first_peer).min();
    }
}
