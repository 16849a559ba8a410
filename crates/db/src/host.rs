//! The task that owns the replica and its store, and does for both what they cannot do themselves.

mod drain;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use redb::Durability;
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc};
use tooldb::message::Role;
use tooldb::{Admitted, UnixMillis};
use tooldb::{CallId, ClientId, Draft, Identity, LinkId, Now, PutError, Record, Replica, Side, Source};

use crate::event::{Event, Over};
use crate::functions::{Functions, Outcome};
use crate::limits::{self, Hosts, LinkLimits};
use crate::link::{Inbox, Inspected, Outbox, outbox};
use crate::status::Server;
use crate::store::{Disk, Seq};
pub use drain::Origin;
use waiting::Waiting;
pub(crate) use waiting::tell;

/// Writes that make a flush begin before its time.
const FLUSH_WRITES: usize = 1_024;
/// How long after a failed flush the next is tried.
const FLUSH_AGAIN: Duration = Duration::from_secs(1);
/// Asks that are handled before what came of them is sent.
const TURN_MAX: usize = 64;
/// How far ahead of the clock the timestamps of quick writers may get.
const AHEAD_MAX: i64 = 1_000;

/// What a handle wants to know or do.
pub(crate) type Work = Box<dyn FnOnce(&mut Host, Now) + Send>;

/// What the host is asked to do.
pub(crate) enum Ask {
    Frames {
        link: LinkId,
        frames: Vec<Inspected>,
        budget: OwnedSemaphorePermit,
    },
    Closed {
        link: LinkId,
    },
    Flushed(Result<Seq, redb::Error>),
    Returned {
        call: CallId,
        outcome: Outcome,
    },
    /// Anything that a handle wants to know or do.
    Do(Work),
    Shutdown,
}

impl std::fmt::Debug for Ask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ask")
    }
}

/// Where a connection leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    /// From there to here.
    Accepted,
    /// From here to there.
    Dialled(Server),
    /// Over the swarm; the side that dialled there speaks first.
    Met(Side),
}

impl Way {
    fn side(&self) -> Side {
        match self {
            Self::Accepted => Side::Accepted,
            Self::Dialled(_) => Side::Dialled,
            Self::Met(side) => *side,
        }
    }

    fn over(&self) -> Over {
        match self {
            Self::Accepted | Self::Dialled(_) => Over::WebSocket,
            Self::Met(_) => Over::Swarm,
        }
    }
}

/// Why a connection ended that somebody keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It led back here.
    Ourselves,
    /// The node is connected already.
    Twin(ClientId),
    /// The other end is no node of this application, or lies.
    Unfit,
    /// A conversation over the swarm is over; with whom, if that was known.
    Parted(Option<ClientId>),
}

/// A connection as the host sees it.
#[derive(Debug)]
struct LinkState {
    outbox: Outbox,
    way: Way,
    remote: IpAddr,
    client: Option<(ClientId, Role)>,
}

/// Why a connection is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Banned,
    TooMany,
    Stopping,
}

/// The replica, its store, and everybody who waits for either.
pub(crate) struct Host {
    pub(crate) replica: Replica<Disk>,
    pub(crate) identity: Identity,
    links: BTreeMap<LinkId, LinkState>,
    /// Servers that were reached under the address that they have here, and are connected.
    verified: BTreeMap<ClientId, Server>,
    endings: BTreeMap<LinkId, Ended>,
    learned: mpsc::Sender<(Server, IpAddr)>,
    hosts: Hosts,
    limits: Arc<LinkLimits>,
    banned: BTreeSet<IpAddr>,
    next_link: u64,
    functions: Functions,
    pub(crate) waiting: Waiting,
    window: Duration,
    flush_at: Option<Instant>,
    stamp: UnixMillis,
    pub(crate) events: broadcast::Sender<Event>,
    asks: mpsc::WeakSender<Ask>,
    pub(crate) started: Instant,
    pub(crate) counts: Counts,
    stopping: bool,
}

/// What the host has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counts {
    /// Frames received.
    pub frames_in: u64,
    /// Frames handed to connections.
    pub frames_out: u64,
    /// Bytes received in frames.
    pub bytes_in: u64,
    /// Bytes handed to connections.
    pub bytes_out: u64,
    /// Groups of writes that reached the disk.
    pub flushes: u64,
    /// Groups that did not.
    pub flushes_failed: u64,
    /// Connections dropped because their other side read too slowly.
    pub slow: u64,
    /// Connections ended because of an introduction or a frame that does not fit.
    pub refused: u64,
    /// Connections refused because there were too many, or they were banned.
    pub turned_away: u64,
    /// Function calls.
    pub calls: u64,
    /// Times that the store failed the replica.
    pub store_failures: u64,
}

/// What a host is made of.
pub(crate) struct Parts {
    pub(crate) replica: Replica<Disk>,
    pub(crate) identity: Identity,
    pub(crate) limits: Arc<LinkLimits>,
    pub(crate) functions: Functions,
    pub(crate) window: Duration,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) asks: mpsc::WeakSender<Ask>,
    pub(crate) learned: mpsc::Sender<(Server, IpAddr)>,
}

/// Both clocks.
pub(crate) fn now() -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { instant: Instant::now(), wall: UnixMillis(i64::try_from(wall.as_millis()).unwrap_or(i64::MAX)) }
}

impl Host {
    pub(crate) fn new(parts: Parts) -> Result<Self, redb::Error> {
        let mut replica = parts.replica;
        for name in parts.functions.names() {
            replica.offer(name);
        }
        let waiting = Waiting::new(replica.store().outbox()?);
        let mut host = Self {
            replica,
            identity: parts.identity,
            links: BTreeMap::new(),
            verified: BTreeMap::new(),
            endings: BTreeMap::new(),
            learned: parts.learned,
            hosts: Hosts::default(),
            limits: parts.limits,
            banned: BTreeSet::new(),
            next_link: 0,
            functions: parts.functions,
            waiting,
            window: parts.window,
            flush_at: None,
            stamp: UnixMillis(0),
            events: parts.events,
            asks: parts.asks,
            started: Instant::now(),
            counts: Counts::default(),
            stopping: false,
        };
        for ban in host.replica.store().bans()? {
            host.enforce(&ban);
        }
        Ok(host)
    }

    /// Serves until told to stop, and then until everything is on disk.
    pub(crate) async fn run(mut self, mut asks: mpsc::Receiver<Ask>) {
        while !(self.stopping && self.is_settled()) {
            let deadline = self.deadline();
            tokio::select! {
                ask = asks.recv() => {
                    let Some(ask) = ask else { break };
                    self.handle(ask);
                    for _ in 1..TURN_MAX {
                        let Ok(ask) = asks.try_recv() else { break };
                        self.handle(ask);
                    }
                }
                () = sleep_until(deadline) => {}
            }
            self.replica.handle_timeout(now());
            self.drain();
            self.flush_when_due();
        }
        if let Err(error) = self.replica.store_mut().sync() {
            tracing::error!(error = ?error, "the last writes did not reach the disk");
        }
    }

    fn is_settled(&self) -> bool {
        let store = self.replica.store();
        !store.is_flushing() && store.waiting() == 0
    }

    fn deadline(&self) -> Option<Instant> {
        let flush = self.flush_at.filter(|_| !self.replica.store().is_flushing());
        [self.replica.poll_timeout(), flush].into_iter().flatten().min()
    }

    fn handle(&mut self, ask: Ask) {
        match ask {
            Ask::Frames { link, frames, budget } => {
                let now = now();
                for Inspected { text, record } in frames {
                    self.counts.frames_in += 1;
                    self.counts.bytes_in += u64::try_from(text.len()).unwrap_or(u64::MAX);
                    self.replica.handle_inspected(now, link, (&text, record));
                }
                drop(budget);
            }
            Ask::Closed { link } => self.closed(link),
            Ask::Flushed(outcome) => self.flushed(outcome),
            Ask::Returned { call, outcome } => self.replica.answer(call, outcome.as_return()),
            Ask::Do(work) => work(self, now()),
            Ask::Shutdown => {
                self.stopping = true;
                self.flush_at = Some(Instant::now());
                for (_, state) in std::mem::take(&mut self.links) {
                    state.outbox.close("the server ends".into());
                }
            }
        }
    }

    /// Takes a new connection.
    pub(crate) fn open(
        &mut self,
        (way, remote): (Way, IpAddr),
        source: Source,
    ) -> Result<(LinkId, Inbox), Refused> {
        if self.stopping {
            return Err(Refused::Stopping);
        }
        if self.links.len() >= self.limits.links_max {
            self.counts.turned_away += 1;
            return Err(Refused::TooMany);
        }
        let link = LinkId(self.next_link);
        self.next_link += 1;
        let (outbox, inbox) = outbox(&self.limits);
        let side = way.side();
        self.links.insert(link, LinkState { outbox, way, remote: remote.to_canonical(), client: None });
        self.replica.open(now(), link, (side, source));
        Ok((link, inbox))
    }

    /// Admits one more connection of a host, before anything is known of it.
    pub(crate) fn admit(&mut self, now: Now, address: IpAddr) -> Result<Arc<limits::Host>, Refused> {
        if self.banned.contains(&address.to_canonical()) {
            return Err(Refused::Banned);
        }
        self.hosts.admit(address, &self.limits, now.instant).ok_or_else(|| {
            self.counts.turned_away += 1;
            Refused::TooMany
        })
    }

    fn closed(&mut self, link: LinkId) {
        let Some(state) = self.links.remove(&link) else { return };
        self.replica.closed(now(), link);
        if matches!(state.way, Way::Met(_)) {
            self.endings.insert(link, Ended::Parted(state.client.map(|(client, _)| client)));
        }
        if let Some((client, role)) = state.client {
            self.verified.remove(&client);
            self.tell(Event::Disconnected { client, role, over: state.way.over() });
        }
    }

    /// Ends a conversation over the swarm whose other end has not said who it is.
    pub(crate) fn give_up(&mut self, link: LinkId) -> Option<Ended> {
        if self.links.get(&link).is_some_and(|state| state.client.is_none()) {
            self.closed(link);
        }
        self.ended(link)
    }

    fn tell(&self, event: Event) {
        // Nobody may be listening.
        drop(self.events.send(event));
    }

    /// Whether a node is connected that goes by a name.
    pub(crate) fn knows(&self, client: ClientId) -> bool {
        self.links.values().any(|state| state.client.is_some_and(|(known, _)| known == client))
    }

    /// Who is connected: clients, and servers with where they are.
    pub(crate) fn connected(&self) -> (usize, usize) {
        let introduced = self.links.values().filter_map(|state| state.client);
        let servers = introduced.clone().filter(|(_, role)| *role == Role::Server).count();
        (introduced.count() - servers, servers)
    }

    /// Servers that were reached and are connected.
    pub(crate) fn servers(&self) -> Vec<Server> {
        self.verified.values().cloned().collect()
    }

    /// Why a connection ended, if somebody keeps it.
    pub(crate) fn ended(&mut self, link: LinkId) -> Option<Ended> {
        self.endings.remove(&link)
    }

    /// Signs a draft with a time that no earlier one of this node has, and keeps it.
    pub(crate) fn put(&mut self, now: Now, draft: &Draft, author: &Identity) -> Result<Put, PutError> {
        let ahead = UnixMillis(now.wall.0.saturating_add(AHEAD_MAX));
        self.stamp = UnixMillis(now.wall.0.max(self.stamp.0 + 1)).min(ahead);
        self.put_signed(now, &draft.sign(self.stamp, author))
    }

    /// Keeps a record that is signed already.
    pub(crate) fn put_signed(&mut self, now: Now, record: &Record) -> Result<Put, PutError> {
        let (hash, key) = (record.hash(), record.key().clone());
        let admitted = self.replica.put_signed(now, record)?;
        if self.replica.role() == Role::Client && admitted != Admitted::Known {
            self.replica.store_mut().note_unconfirmed(hash, key.clone());
            self.waiting.unconfirmed.insert(hash, key);
        }
        Ok(Put { admitted, hash, seq: self.replica.store().last() })
    }

    /// Bans an author's address or a network address, or lifts the ban.
    pub(crate) fn enforce(&mut self, name: &str) {
        if let Ok(address) = name.parse::<IpAddr>() {
            self.banned.insert(address.to_canonical());
            let there = |state: &LinkState| state.remote == address.to_canonical();
            let links: Vec<LinkId> =
                self.links.iter().filter(|(_, state)| there(state)).map(|(link, _)| *link).collect();
            for link in links {
                self.closed(link);
            }
        } else if let Some(author) = tooldb::Address::parse(name) {
            self.replica.ban(author);
        }
    }

    pub(crate) fn lift(&mut self, name: &str) {
        if let Ok(address) = name.parse::<IpAddr>() {
            self.banned.remove(&address.to_canonical());
        } else if let Some(author) = tooldb::Address::parse(name) {
            self.replica.unban(&author);
        }
    }

    fn flush_when_due(&mut self) {
        let store = self.replica.store();
        if store.is_flushing() {
            return;
        }
        if store.waiting() == 0 && !self.waiting.outbox_changed {
            self.flush_at = None;
            return;
        }
        let instant = Instant::now();
        let at = *self.flush_at.get_or_insert(instant + self.window);
        if at > instant && store.waiting() < FLUSH_WRITES {
            return;
        }
        self.flush_at = None;
        self.waiting.outbox_changed = false;
        let Some(flush) = self.replica.store_mut().flush() else { return };
        let Some(asks) = self.asks.upgrade() else { return };
        tokio::task::spawn_blocking(move || {
            let outcome = flush.run(Durability::Immediate);
            // The host waits for this before it ends.
            asks.blocking_send(Ask::Flushed(outcome)).unwrap_or_default();
        });
    }

    fn flushed(&mut self, outcome: Result<Seq, redb::Error>) {
        match self.replica.store_mut().flushed(outcome) {
            Ok(()) => self.counts.flushes += 1,
            Err(error) => {
                tracing::error!(error = ?error, "a group of writes did not reach the disk");
                self.counts.flushes_failed += 1;
                self.flush_at = Some(Instant::now() + FLUSH_AGAIN);
            }
        }
        let durable = self.replica.store().durable();
        for (link, id, said) in self.waiting.confirmable(durable) {
            self.replica.confirm(link, id, said);
        }
    }
}

/// A record of ours that was kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Put {
    pub(crate) admitted: Admitted,
    pub(crate) hash: tooldb::Digest,
    pub(crate) seq: Seq,
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
