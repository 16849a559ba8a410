//! A node's side of the conversation.

mod admit;
mod ask;
mod backfill;
mod call;
mod client;
mod greet;
mod guard;
mod sync;
mod watch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use admit::{Admitted, PutError};
pub use backfill::Backfill;
pub use call::{CallId, Return};
pub use guard::Screen;

use crate::crdt::{Document, Shape};
use crate::digest::Digest;
use crate::key::Key;
use crate::keys::{ClientId, Identity};
use crate::message::{Body, Carrier, Code, Frame, Manner, MessageId, Role, Verdict, Visited};
use crate::peer::{Endpoint, Peer, Topic};
use crate::record::{Draft, Kind, Record, UnixMillis};
use crate::store::{Store, StoreError};
use crate::verify::{Rejected, Rules, Source};

/// The two clocks that a replica is given.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For timers: never goes back.
    pub instant: Instant,
    /// For records: what others compare with theirs.
    pub wall: UnixMillis,
}

/// A connection, named by whoever holds it. Names are not used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// Who opened a connection; that side speaks first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// This node did.
    Dialled,
    /// The other did.
    Accepted,
}

/// How much a replica holds and gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a frame; a longer one ends its connection. The library itself would take 100 MiB.
    pub frame_bytes_max: usize,
    /// Keys that one connection may subscribe to.
    pub watches_max: usize,
    /// Departed clients whose subscriptions are remembered.
    pub parked_max: usize,
    /// Questions passed on and not yet answered.
    pub asked_max: usize,
    /// Clients that are asked for a record that this node lacks; servers are always asked.
    pub asked_clients_max: usize,
    /// Keys in an answer to a query.
    pub keys_max: usize,
    /// Signed parts of one document.
    pub envelopes_max: usize,
    /// Bytes of a document's operations together.
    pub document_bytes_max: usize,
    /// Bytes of one author's records together.
    pub author_bytes_max: u64,
}

impl Default for Limits {
    /// Some megabytes for everything but the store; a gigabyte there for each author.
    fn default() -> Self {
        Self {
            frame_bytes_max: 1024 * 1024,
            watches_max: 10_000,
            parked_max: 1_024,
            asked_max: 4_096,
            asked_clients_max: 8,
            keys_max: 50_000,
            envelopes_max: 64,
            document_bytes_max: 900 * 1024,
            author_bytes_max: 1 << 30,
        }
    }
}

/// What a node does when nobody has what it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misses {
    /// It is silent, as the library is, so that the asker waits a second: another of its servers may have it.
    Silent,
    /// It says so at once, if it is the only one that could know.
    Answered,
}

/// Whether a server does more with other servers than the library does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upkeep {
    /// It passes writes on, and that is all.
    Never,
    /// It compares what it has with them, and asks them again for the servers that they know.
    Regular,
}

/// What a replica is told about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The application it serves.
    pub topic: Topic,
    /// Where it says it listens.
    pub endpoint: Endpoint,
    /// Whether others send it their writes.
    pub role: Role,
    /// Which records it believes.
    pub rules: Rules,
    /// What it holds at most.
    pub limits: Limits,
    /// What it does about records it lacks.
    pub misses: Misses,
    /// Whether it asks those who connect for what they wrote meanwhile.
    pub backfill: Backfill,
    /// What it does with other servers.
    pub upkeep: Upkeep,
}

impl Config {
    /// A server with the default rules and limits.
    pub fn server(topic: Topic, endpoint: Endpoint) -> Self {
        Self {
            topic,
            endpoint,
            role: Role::Server,
            rules: Rules::default(),
            limits: Limits::default(),
            misses: Misses::Silent,
            backfill: Backfill::Asked,
            upkeep: Upkeep::Regular,
        }
    }
}

/// Why a connection is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// A frame was longer than [`Limits::frame_bytes_max`].
    #[error("frame too large")]
    FrameTooLarge,
    /// The introduction's signature does not fit it, or the name it goes by does not fit the address.
    #[error("forged introduction")]
    Forged,
    /// The introduction is of another time than ours.
    #[error("stale introduction")]
    Stale,
    /// The node belongs to another application.
    #[error("other topic")]
    OtherTopic,
}

/// What a replica tells its host.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// The other side of a connection introduced itself.
    Introduced {
        /// Which connection.
        link: LinkId,
        /// The name it goes by.
        client: ClientId,
        /// What it says it is.
        role: Role,
    },
    /// A server was heard of: its own signed word, but perhaps an old one.
    Learned {
        /// The connection that told of it.
        link: LinkId,
        /// The server.
        server: Peer,
    },
    /// A key's record is another one now.
    Changed {
        /// Which.
        key: Key,
        /// The connection it came over; `None` if it was written here.
        from: Option<LinkId>,
    },
    /// Somebody asks for a function; answer with [`Replica::answer`].
    Called {
        /// For the answer.
        call: CallId,
        /// The function's name.
        name: Key,
        /// Its argument, as JSON.
        args: Box<str>,
    },
    /// The sender of a record wants to hear once it is kept: [`Replica::confirm`] it then.
    Confirm {
        /// Over which connection it came.
        link: LinkId,
        /// The message that brought it.
        id: MessageId,
        /// The record's hash.
        hash: Digest,
        /// What became of it, provided that the store lives.
        verdict: Verdict,
    },
    /// A server says what became of a record of ours.
    Confirmed {
        /// Over which connection.
        link: LinkId,
        /// The record's hash.
        hash: Digest,
        /// What became of it.
        verdict: Verdict,
    },
    /// A server answered [`Replica::fetch`], and what it said was taken like any record.
    Fetched {
        /// The question.
        id: MessageId,
        /// The key that was asked for.
        key: Key,
    },
    /// All servers answered [`Replica::list`], or had time to.
    Listed {
        /// The question.
        id: MessageId,
        /// Their keys and ours.
        keys: Vec<Key>,
    },
    /// A server answered [`Replica::call`]. Several may answer the same call.
    Returned {
        /// The question.
        id: MessageId,
        /// How it ended.
        code: Code,
        /// What it returned, as JSON.
        value: Option<Box<str>>,
    },
    /// The connection is to be closed; the replica has forgotten it.
    Close {
        /// Which.
        link: LinkId,
        /// Why.
        why: CloseReason,
    },
    /// The store failed, and what was asked of it was not done.
    StoreFailed {
        /// How.
        error: StoreError,
    },
}

/// What a replica has counted since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Frames that could not be read.
    pub malformed: u64,
    /// Frames that came before their sender had introduced itself.
    pub unintroduced: u64,
    /// Records that were new.
    pub admitted: u64,
    /// Records that were known or beaten.
    pub known: u64,
    /// Records that were not believed.
    pub rejected: u64,
    /// Records and requests that met a limit.
    pub limited: u64,
    /// Records sent to subscribers.
    pub pushed: u64,
}

/// Who is at the other end.
#[derive(Debug, Clone)]
struct Guest {
    client: ClientId,
    role: Role,
    /// Its introduction, if it is a server.
    server: Option<Peer>,
}

#[derive(Debug)]
struct Link {
    side: Side,
    source: Source,
    /// The id of our ping, as long as it is unanswered.
    greeting: Option<MessageId>,
    guest: Option<Guest>,
    watches: BTreeMap<Key, watch::Watch>,
    backfill: Option<backfill::Backfilling>,
    sync: Option<sync::Syncing>,
}

/// What is to be done when a time comes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Push(LinkId, Key),
    Question(MessageId),
    Query(MessageId),
    Backfill(LinkId),
    Greeting(LinkId),
    Sync(LinkId),
}

/// A node's side of the conversation, over any number of connections.
///
/// Mutate once, then drain [`poll_send`](Self::poll_send) and [`poll_event`](Self::poll_event), then read
/// [`poll_timeout`](Self::poll_timeout). Late and spurious timeouts are harmless.
pub struct Replica<S> {
    config: Config,
    identity: Identity,
    introduction: Peer,
    store: S,
    links: BTreeMap<LinkId, Link>,
    watchers: BTreeMap<Key, BTreeSet<LinkId>>,
    parked: BTreeMap<ClientId, watch::Parked>,
    asked: BTreeMap<MessageId, ask::Asked>,
    gathering: BTreeMap<MessageId, ask::Gathering>,
    functions: BTreeSet<Key>,
    calls: call::Calls,
    guard: guard::Guard,
    interests: BTreeSet<Key>,
    due: BTreeSet<(Instant, Due)>,
    ids: Ids,
    sends: VecDeque<(LinkId, Arc<str>)>,
    events: VecDeque<Event>,
    stats: Stats,
}

impl<S: Store> Replica<S> {
    /// Makes a replica; equal seeds make equal message ids.
    pub fn new(config: Config, identity: Identity, store: S, (seed, now): ([u8; 32], Now)) -> Self {
        let introduction = Peer::sign(config.topic.clone(), config.endpoint.clone(), now.wall, &identity);
        Self {
            config,
            identity,
            introduction,
            store,
            links: BTreeMap::new(),
            watchers: BTreeMap::new(),
            parked: BTreeMap::new(),
            asked: BTreeMap::new(),
            gathering: BTreeMap::new(),
            functions: BTreeSet::new(),
            calls: call::Calls::default(),
            guard: guard::Guard::default(),
            interests: BTreeSet::new(),
            due: BTreeSet::new(),
            ids: Ids { seed: Digest(seed), next: 0 },
            sends: VecDeque::new(),
            events: VecDeque::new(),
            stats: Stats::default(),
        }
    }

    /// The name this node goes by.
    pub fn client_id(&self) -> ClientId {
        self.identity.address().client_id()
    }

    /// What it says it is.
    pub fn role(&self) -> Role {
        self.config.role
    }

    /// What it keeps.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// What it keeps, for the host's own care: compaction, backup.
    pub fn store_mut(&mut self) -> &mut S {
        &mut self.store
    }

    /// What it has counted.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// What this node has for a key: the newest plain record, or a document whole.
    ///
    /// # Errors
    ///
    /// If the store failed.
    pub fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        self.view(key, Carrier::Plain)
    }

    /// The document of a key, merged from all that this node has of it.
    ///
    /// # Errors
    ///
    /// If the store failed.
    pub fn document(&self, key: &Key) -> Result<Option<Document>, StoreError> {
        let record = self.view(key, Carrier::Document)?;
        let Some(shape) = record.as_ref().and_then(|record| Shape::of(record.kind())) else {
            return Ok(None);
        };
        let mut whole = Document::new(shape);
        for envelope in self.store.envelopes(key)? {
            if Shape::of(envelope.kind()) == Some(shape)
                && let Some(part) = admit::document(shape, &envelope)
            {
                whole.merge(&part);
            }
        }
        Ok(Some(whole))
    }

    /// Signs a draft, keeps it and sends it to whom it concerns: to servers, or from a client to everyone.
    ///
    /// # Errors
    ///
    /// If the record would not be believed, the document is full, or the store failed.
    pub fn put(&mut self, now: Now, draft: &Draft, author: &Identity) -> Result<Admitted, PutError> {
        self.put_signed(now, &draft.sign(now.wall, author))
    }

    /// Keeps a record that was signed elsewhere, with proof of work for instance, and sends it like
    /// [`put`](Self::put).
    ///
    /// # Errors
    ///
    /// As for [`put`](Self::put).
    pub fn put_signed(&mut self, now: Now, record: &Record) -> Result<Admitted, PutError> {
        let admitted = self.admit(now, record, Source::Stranger)?;
        let origin = Origin { id: self.ids.next(), visited: Visited::default() };
        match admitted {
            Admitted::New | Admitted::TakenOver => self.spread(now, record, (None, origin)),
            Admitted::Claimed => self.relay(record, (None, origin)),
            Admitted::Known => {}
        }
        Ok(admitted)
    }

    /// Reads a frame that a connection brought.
    pub fn handle_message(&mut self, now: Now, link: LinkId, bytes: &[u8]) {
        self.handle_inspected(now, link, (bytes, None));
    }

    /// Reads a frame whose record was [inspected](inspect) on the way here.
    pub fn handle_inspected(&mut self, now: Now, link: LinkId, (bytes, record): (&[u8], Option<Record>)) {
        let Some(guest) = self.links.get(&link).map(|link| link.guest.is_some()) else { return };
        if bytes.len() > self.config.limits.frame_bytes_max {
            return self.close(link, CloseReason::FrameTooLarge);
        }
        let Ok(frame) = Frame::decode(bytes) else {
            self.stats.malformed += 1;
            return;
        };
        let greeting = matches!(frame.body, Body::Ping { .. } | Body::Pong { .. });
        if !guest && !greeting {
            self.stats.unintroduced += 1;
            return;
        }
        if let Err(error) = self.handle_frame(now, link, (frame, record)) {
            self.events.push_back(Event::StoreFailed { error });
        }
    }

    fn handle_frame(
        &mut self,
        now: Now,
        link: LinkId,
        (frame, inspected): (Frame<'_>, Option<Record>),
    ) -> Result<(), StoreError> {
        let Frame { id, visited, body } = frame;
        match body {
            Body::Ping { client, role, peer } => self.handle_ping(now, (link, id), (client, role, peer)),
            Body::Pong { client, role, servers } => {
                self.handle_pong(now, (link, id), (client, role, servers))
            }
            Body::Put { manner, record, .. } => {
                let record = inspected.map_or_else(|| Record::parse(record), Ok);
                self.handle_put(now, link, (Origin { id, visited }, manner, record))
            }
            Body::Get { carrier, key } => self.handle_get(now, link, (Origin { id, visited }, carrier, key)),
            Body::Query { prefix } => self.handle_query(now, link, (Origin { id, visited }, prefix)),
            Body::QueryAck { keys } => self.handle_query_ack(now, link, (&id, keys)),
            Body::Subscribe { key } => self.handle_subscribe(now, link, (id, key)),
            Body::Function { name, args } => {
                self.handle_function(link, id, (name, args));
                Ok(())
            }
            Body::Ranges { list } => self.handle_ranges(link, (id, list)),
            Body::Items { reply, items } => self.handle_items(link, (id, reply, items)),
            Body::Need { keys } => self.handle_need(link, (id, keys)),
            Body::Given => self.handle_given(link, &id),
            Body::Confirm { hash, verdict } => {
                self.events.push_back(Event::Confirmed { link, hash, verdict });
                Ok(())
            }
            Body::FunctionReturn { code, value } => {
                self.handle_return(id, (code, value));
                Ok(())
            }
        }
    }

    fn handle_put(
        &mut self,
        now: Now,
        link: LinkId,
        (origin, manner, record): (Origin, Manner, Result<Record, Rejected>),
    ) -> Result<(), StoreError> {
        let Some(source) = self.links.get(&link).map(|link| link.source) else { return Ok(()) };
        let id = origin.id.clone();
        match record {
            Ok(record) => {
                let hash = record.hash();
                let verdict = self.take(now, (link, source), (origin, record))?;
                if manner == Manner::Confirmed {
                    self.events.push_back(Event::Confirm { link, id: id.clone(), hash, verdict });
                }
            }
            Err(_) => self.stats.rejected += 1,
        }
        self.settle_backfill(now, link, &id);
        Ok(())
    }

    /// Tells the sender of a record what became of it; to be called once the store has made it last.
    pub fn confirm(&mut self, link: LinkId, id: MessageId, (hash, verdict): (Digest, Verdict)) {
        if self.links.contains_key(&link) {
            self.send(link, id, Body::Confirm { hash, verdict });
        }
    }

    fn take(
        &mut self,
        now: Now,
        (link, source): (LinkId, Source),
        (origin, record): (Origin, Record),
    ) -> Result<Verdict, StoreError> {
        let id = origin.id.clone();
        let admitted = self.admit(now, &record, source);
        let verdict = match &admitted {
            Ok(Admitted::New | Admitted::TakenOver | Admitted::Claimed) => Verdict::Kept,
            Ok(Admitted::Known) => Verdict::Known,
            Err(PutError::Full) => Verdict::Full,
            Err(PutError::Rejected(_) | PutError::Store(_)) => Verdict::Refused,
        };
        match admitted {
            Ok(Admitted::New) => {
                self.stats.admitted += 1;
                self.spread(now, &record, (Some(link), origin));
            }
            Ok(Admitted::TakenOver) => {
                self.stats.admitted += 1;
                self.spread(now, &record, (Some(link), origin));
                self.ask_servers(record.key());
            }
            Ok(Admitted::Claimed) => {
                self.stats.known += 1;
                self.relay(&record, (Some(link), origin));
            }
            Ok(Admitted::Known) => self.stats.known += 1,
            Err(PutError::Full) => self.stats.limited += 1,
            Err(PutError::Store(error)) => return Err(error),
            Err(PutError::Rejected(_)) => {
                self.stats.rejected += 1;
                return Ok(verdict);
            }
        }
        self.settle_question(link, (&id, record.key()))?;
        Ok(verdict)
    }

    /// Tells the host, other servers and subscribers of a record that is new here.
    fn spread(&mut self, now: Now, record: &Record, (from, origin): (Option<LinkId>, Origin)) {
        self.events.push_back(Event::Changed { key: record.key().clone(), from });
        self.relay(record, (from, origin));
        self.notify_watchers(now, record.key());
    }

    fn relay(&mut self, record: &Record, (from, origin): (Option<LinkId>, Origin)) {
        let visited = self.via(from, &origin.visited);
        let everyone = from.is_none() && self.config.role == Role::Client;
        let carrier = match record.kind() {
            Kind::Plain => Carrier::Plain,
            Kind::Map | Kind::List | Kind::Custom(_) => Carrier::Document,
        };
        let targets = self.guests().filter(|(link, guest)| {
            Some(*link) != from
                && (everyone || guest.role == Role::Server)
                && !origin.visited.contains(guest.client)
        });
        let targets: Vec<LinkId> = targets.map(|(link, _)| link).collect();
        let manner = if self.config.role == Role::Client { Manner::Confirmed } else { Manner::Write };
        let body = Body::Put { carrier, manner, record: record.raw() };
        self.send_all(targets, &Frame { id: origin.id, visited, body });
    }

    /// The list that a frame leaves with: where it has been, where it came from, and this node.
    fn via(&self, from: Option<LinkId>, visited: &Visited) -> Visited {
        let guest = from.and_then(|link| self.links.get(&link)).and_then(|link| link.guest.as_ref());
        let visited = guest.map_or_else(|| visited.clone(), |guest| visited.clone().and(guest.client));
        visited.and(self.client_id())
    }

    /// Connections whose other side introduced itself.
    fn guests(&self) -> impl Iterator<Item = (LinkId, &Guest)> {
        self.links.iter().filter_map(|(link, state)| Some((*link, state.guest.as_ref()?)))
    }

    fn send(&mut self, link: LinkId, id: MessageId, body: Body<'_>) {
        let frame = Frame { id, visited: Visited::only(self.client_id()), body };
        self.sends.push_back((link, frame.encode().into()));
    }

    fn send_all(&mut self, links: Vec<LinkId>, frame: &Frame<'_>) {
        if links.is_empty() {
            return;
        }
        let text: Arc<str> = frame.encode().into();
        self.sends.extend(links.into_iter().map(|link| (link, Arc::clone(&text))));
    }

    fn close(&mut self, link: LinkId, why: CloseReason) {
        if self.links.contains_key(&link) {
            self.events.push_back(Event::Close { link, why });
        }
        self.forget(link);
    }

    /// Takes the next frame to send, with the connection to send it over. Sends to closed connections may
    /// be among them, and are to be dropped.
    #[must_use]
    pub fn poll_send(&mut self) -> Option<(LinkId, Arc<str>)> {
        self.sends.pop_front()
    }

    /// Takes the next event.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Does what has become due.
    pub fn handle_timeout(&mut self, now: Now) {
        while self.due.first().is_some_and(|(at, _)| *at <= now.instant) {
            let Some((_, due)) = self.due.pop_first() else { break };
            let done = match due {
                Due::Push(link, key) => self.push_due(now, link, &key),
                Due::Question(id) => {
                    self.forget_question(&id);
                    Ok(())
                }
                Due::Query(id) => {
                    self.finish_query(&id);
                    Ok(())
                }
                Due::Sync(link) => self.start_sync(now, link),
                Due::Greeting(link) => {
                    self.greet_again(now, link);
                    Ok(())
                }
                Due::Backfill(link) => {
                    self.restart_backfill(now, link);
                    Ok(())
                }
            };
            if let Err(error) = done {
                self.events.push_back(Event::StoreFailed { error });
            }
        }
    }

    fn later(&mut self, now: Now, span: Duration, due: Due) -> Instant {
        let at = now.instant + span;
        self.due.insert((at, due));
        at
    }
}

impl<S> fmt::Debug for Replica<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replica")
            .field("identity", &self.identity)
            .field("links", &self.links.len())
            .finish_non_exhaustive()
    }
}

/// Reads a frame's record and does the costly part of its verification, on whatever thread; `None` for frames
/// without a record. For [`Replica::handle_inspected`].
pub fn inspect(bytes: &[u8]) -> Option<Record> {
    let Ok(Frame { body: Body::Put { record, .. }, .. }) = Frame::decode(bytes) else { return None };
    Record::parse(record).ok().map(Record::inspect)
}

/// Where a message began, as far as it says.
#[derive(Debug, Clone)]
struct Origin {
    id: MessageId,
    visited: Visited,
}

/// Makes message ids of the library's form.
#[derive(Debug)]
struct Ids {
    seed: Digest,
    next: u64,
}

impl Ids {
    /// The library's symbols: no capital `Y`.
    const ALPHABET: &[u8; 61] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXZabcdefghijklmnopqrstuvwxyz";
    const CHARS: usize = 10;

    fn next(&mut self) -> MessageId {
        let Digest(bytes) = Digest::of(&format!("{:?}{}", self.seed, self.next));
        self.next += 1;
        let symbol = |byte: &u8| char::from(Self::ALPHABET[usize::from(*byte) % Self::ALPHABET.len()]);
        let text: String = bytes.iter().take(Self::CHARS).map(symbol).collect();
        MessageId::new(&text).expect("ten letters and digits")
    }
}
