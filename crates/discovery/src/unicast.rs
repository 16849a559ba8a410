use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use pace::Timers;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use wire::{Outbox, SocketId, Transmit};

use crate::channel::Outcome;
use crate::message::{Draft, Form, Kind, Message, Record, Texts, is_dialable};
use crate::multicast::{DATAGRAM_MAX, Finding, Flood};
use crate::name::{Domain, Naming, UnixMillis, Wall, compatible_name, keyed_label};
use crate::peers::unpack;
use crate::topic::Topic;

/// Waits before a question is sent again and, after the last, given up (`dns-socket` 3.0: 7.5 seconds).
const WAITS_MS: [u64; 5] = [500, 1000, 2000, 4000, 1000];
/// Questions under way.
const ASKS_MAX: usize = 1024;
/// Servers asked.
const SERVERS_MAX: usize = 8;
/// Topics joined at once.
const TOPICS_MAX: usize = 1024;
/// Errands that wait for a token of one server.
const WAITING_MAX: usize = 2048;
/// Findings that wait to be read; later ones are dropped, and come again.
const EVENTS_MAX: usize = 1024;
/// Bytes of a token that are kept; the reference's have 44.
const TOKEN_MAX: usize = 128;
/// Announcements are made under two labels this near to the turn of an hour, as clocks differ.
const CLOCK_SKEW: Duration = Duration::from_mins(10);

/// A server of npm `dns-discovery`, or of [`crate::DnsServer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameServer {
    /// Where it is.
    pub address: SocketAddrV4,
    /// Another port, tried where the first does not answer; the reference's are 5300 and then 53.
    pub secondary: Option<u16>,
}

/// What a server told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DnsEvent {
    /// A peer.
    Found(Finding),
    /// An errand has ended at all servers.
    Ended {
        /// Its topic.
        topic: Topic,
        /// What was to be done.
        errand: Errand,
        /// Whether a server answered.
        outcome: Outcome,
    },
    /// How the servers see this computer, and from which port where two on different hosts agree on it.
    Seen {
        /// The address.
        host: Ipv4Addr,
        /// The port of the socket that asks.
        port: Option<u16>,
    },
}

/// What a server is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Errand {
    /// Tell who is there.
    Look,
    /// Tell others that this computer is there, at a port.
    Announce(NonZeroU16),
    /// Tell them no more.
    Unannounce(NonZeroU16),
}

/// Counts of a client of discovery servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnicastStats {
    /// Datagrams sent.
    pub sent: u64,
    /// Questions that no answer came to.
    pub unanswered: u64,
    /// Datagrams that are of no server, answer nothing, or are no DNS messages.
    pub rejected: u64,
    /// What found a table full.
    pub refused: u64,
}

/// Finding peers through servers of npm `dns-discovery`: asks for a token, then announces and looks.
///
/// Keyed names are used as on the local network (see [`Naming`]): a server learns an hourly label, and cannot tell
/// which topic it belongs to.
#[derive(Debug)]
pub struct Unicast {
    socket: SocketId,
    servers: Vec<Server>,
    topics: BTreeMap<Topic, Naming>,
    names: BTreeMap<String, Topic>,
    asks: BTreeMap<u16, Ask>,
    runs: BTreeMap<(Topic, Errand), Run>,
    seen: Option<(Ipv4Addr, Option<u16>)>,
    flood: Flood,
    wall: Wall,
    epoch: u64,
    timers: Timers<u16>,
    outbox: Outbox,
    events: VecDeque<DnsEvent>,
    rng: StdRng,
    stats: UnicastStats,
}

#[derive(Debug)]
struct Server {
    at: NameServer,
    token: Option<String>,
    /// How it sees us.
    sees: Option<SocketAddrV4>,
    waiting: VecDeque<Visit>,
    is_probed: Probed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probed {
    No,
    UnderWay,
}

/// An errand under one of a topic's names.
#[derive(Clone, Debug)]
struct Visit {
    topic: Topic,
    errand: Errand,
    name: String,
}

#[derive(Debug)]
struct Ask {
    server: usize,
    to: SocketAddrV4,
    /// `None` asks for a token.
    visit: Option<Visit>,
    bytes: Vec<u8>,
    tries: usize,
}

/// One errand at all servers.
#[derive(Debug, Default)]
struct Run {
    pending: usize,
    answered: usize,
}

impl Unicast {
    /// Starts with the servers to ask, of which eight count, from one socket.
    #[must_use]
    pub fn new(
        socket: SocketId,
        servers: &[NameServer],
        seed: [u8; 32],
        clock: (Instant, UnixMillis),
    ) -> Self {
        let server = |at: &NameServer| Server {
            at: *at,
            token: None,
            sees: None,
            waiting: VecDeque::new(),
            is_probed: Probed::No,
        };
        let (now, wall) = clock;
        let wall = Wall::new(now, wall);
        Self {
            socket,
            servers: servers.iter().take(SERVERS_MAX).map(server).collect(),
            topics: BTreeMap::new(),
            names: BTreeMap::new(),
            asks: BTreeMap::new(),
            runs: BTreeMap::new(),
            seen: None,
            flood: Flood::new(),
            wall,
            epoch: wall.epoch(now),
            timers: Timers::new(),
            outbox: Outbox::default(),
            events: VecDeque::new(),
            rng: StdRng::from_seed(seed),
            stats: UnicastStats::default(),
        }
    }

    /// Tells the wall time, which may have stepped.
    pub fn handle_clock(&mut self, now: Instant, wall: UnixMillis) {
        self.wall = Wall::new(now, wall);
        self.rename(now);
    }

    /// Begins to take part in a topic. Does nothing where 1,024 are joined.
    pub fn join(&mut self, now: Instant, topic: Topic, naming: Naming) {
        if self.topics.len() >= TOPICS_MAX && !self.topics.contains_key(&topic) {
            self.stats.refused += 1;
            return;
        }
        self.topics.insert(topic, naming);
        self.rename(now);
    }

    /// Takes no more part in a topic; what was announced has to be unannounced before.
    pub fn leave(&mut self, now: Instant, topic: Topic) {
        self.topics.remove(&topic);
        self.rename(now);
    }

    /// Has an errand done at all servers, for a topic that was joined; [`DnsEvent::Ended`] tells how it went.
    pub fn run(&mut self, now: Instant, topic: Topic, errand: Errand) {
        let Some(&naming) = self.topics.get(&topic) else { return };
        if self.runs.contains_key(&(topic, errand)) {
            return;
        }
        let names = self.names_of(now, topic, naming, errand);
        self.runs.insert((topic, errand), Run { pending: self.servers.len() * names.len(), answered: 0 });
        for server in 0..self.servers.len() {
            for name in &names {
                self.visit(now, server, Visit { topic, errand, name: name.clone() });
            }
        }
        if self.servers.is_empty() {
            self.end(topic, errand);
        }
    }

    /// Takes in what the socket received.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        let SocketAddr::V4(from) = from else {
            self.stats.rejected += 1;
            return;
        };
        let message = if self.flood.admits(now, *from.ip()) && bytes.len() <= DATAGRAM_MAX {
            Message::decode(bytes)
        } else {
            None
        };
        match message {
            Some(message) if message.kind == Kind::Response => self.take_answer(now, from, &message),
            Some(message) if self.servers.iter().any(|server| server.at.address == from) => {
                self.take_push(now, from, &message);
            }
            _ => self.stats.rejected += 1,
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(id) = self.timers.expire(now) {
            let Some(ask) = self.asks.get_mut(&id) else { continue };
            ask.tries += 1;
            if let Some(wait) = WAITS_MS.get(ask.tries) {
                self.timers.set(id, now + Duration::from_millis(*wait));
                self.transmit(id);
            } else if let Some(ask) = self.asks.remove(&id) {
                self.stats.unanswered += 1;
                self.give_up(now, ask);
            }
        }
    }

    /// Returns the next datagram to send, its bytes in `buf`.
    pub fn poll_transmit(&mut self, buf: &mut Vec<u8>) -> Option<Transmit> {
        self.outbox.pop(buf)
    }

    /// Returns what happened next.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<DnsEvent> {
        self.events.pop_front()
    }

    /// Returns when to call [`Unicast::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Returns what was counted.
    #[must_use]
    pub const fn stats(&self) -> UnicastStats {
        self.stats
    }

    fn visit(&mut self, now: Instant, at: usize, visit: Visit) {
        let Some(server) = self.servers.get_mut(at) else { return };
        if server.token.is_some() {
            self.ask(now, at, Some(visit));
        } else if server.waiting.len() < WAITING_MAX {
            server.waiting.push_back(visit);
            if server.is_probed == Probed::No {
                server.is_probed = Probed::UnderWay;
                self.ask(now, at, None);
            }
        } else {
            self.stats.refused += 1;
            self.count(&visit, Outcome::Failed);
        }
    }

    fn ask(&mut self, now: Instant, at: usize, visit: Option<Visit>) {
        let id = self.fresh_id();
        let (Some(server), Some(id)) = (self.servers.get(at), id) else {
            self.stats.refused += 1;
            if let Some(visit) = visit {
                self.count(&visit, Outcome::Failed);
            }
            return;
        };
        let to = server.at.address;
        let texts =
            visit.as_ref().map(|visit| texts_of(visit.errand, server.token.as_deref().unwrap_or_default()));
        let name = visit.as_ref().map_or(Domain::DnsDiscovery.as_str(), |visit| &visit.name);
        let record = texts.as_deref().map(|texts| Record::Texts { name, texts });
        let draft = Draft { id, form: Form::Query, question: Some(name), record };
        let Some(bytes) = draft.encode() else { return };
        self.asks.insert(id, Ask { server: at, to, visit, bytes, tries: 0 });
        self.timers.set(id, now + Duration::from_millis(WAITS_MS[0]));
        self.transmit(id);
    }

    /// An id that is not in use and that nobody can guess; answers are told by it.
    fn fresh_id(&mut self) -> Option<u16> {
        if self.asks.len() >= ASKS_MAX {
            return None;
        }
        // With 1,024 of 65,535 in use, 16 draws fail once in 10^28.
        (0..16).map(|_| self.rng.random_range(1..=u16::MAX)).find(|id| !self.asks.contains_key(id))
    }

    fn transmit(&mut self, id: u16) {
        if let Some(ask) = self.asks.get(&id) {
            self.stats.sent += 1;
            self.outbox.push(Transmit::new(self.socket, ask.to.into()), |out| out.extend(&ask.bytes));
        }
    }

    fn take_answer(&mut self, now: Instant, from: SocketAddrV4, message: &Message) {
        if self.asks.get(&message.id).is_none_or(|ask| ask.to != from) {
            self.stats.rejected += 1;
            return;
        }
        let Some(ask) = self.asks.remove(&message.id) else { return };
        self.timers.cancel(message.id);
        let texts = message.texts.first();
        if let Some(server) = self.servers.get_mut(ask.server) {
            server.at.address = from;
            let token = texts.and_then(|texts| texts.get("token")).filter(|token| token.len() <= TOKEN_MAX);
            if let Some(token) = token.and_then(|token| String::from_utf8(token.to_vec()).ok()) {
                server.token = Some(token);
            }
        }
        match ask.visit {
            Some(visit) => {
                if let Some(peers) = texts.and_then(|texts| texts.get("peers")) {
                    for address in unpack(peers, *from.ip()) {
                        self.find(Finding { topic: visit.topic, address, informant: *from.ip() });
                    }
                }
                self.count(&visit, Outcome::Answered);
            }
            None => self.take_probe(now, ask.server, texts),
        }
    }

    fn take_probe(&mut self, now: Instant, at: usize, texts: Option<&Texts>) {
        let Some(server) = self.servers.get_mut(at) else { return };
        server.is_probed = Probed::No;
        server.sees = texts.and_then(sees);
        let has_token = server.token.is_some();
        for visit in std::mem::take(&mut server.waiting) {
            if has_token {
                self.ask(now, at, Some(visit));
            } else {
                self.count(&visit, Outcome::Failed);
            }
        }
        self.compare();
    }

    /// Says how the servers see us: two hosts must agree, as one could say anything.
    fn compare(&mut self) {
        let mut seen: Vec<(Ipv4Addr, SocketAddrV4)> = Vec::new();
        for server in &self.servers {
            if let Some(sees) = server.sees
                && !seen.iter().any(|(host, _)| host == server.at.address.ip())
            {
                seen.push((*server.at.address.ip(), sees));
            }
        }
        let [(_, first), rest @ ..] = &*seen else { return };
        if rest.is_empty() || rest.iter().any(|(_, other)| other.ip() != first.ip()) {
            return;
        }
        let port = rest.iter().all(|(_, other)| other.port() == first.port()).then_some(first.port());
        let now = (*first.ip(), port);
        if self.seen != Some(now) {
            self.seen = Some(now);
            self.tell(DnsEvent::Seen { host: now.0, port });
        }
    }

    /// A server tells of a new peer without being asked; it wants to hear that it was heard.
    fn take_push(&mut self, now: Instant, from: SocketAddrV4, message: &Message) {
        if self.wall.epoch(now) != self.epoch {
            self.rename(now);
        }
        for service in &message.services {
            if let Some(&topic) = self.names.get(&service.name) {
                self.find(Finding { topic, address: service.address, informant: *from.ip() });
            }
        }
        let draft = Draft { id: message.id, form: Form::Response, question: None, record: None };
        if let Some(bytes) = draft.encode() {
            self.stats.sent += 1;
            self.outbox.push(Transmit::new(self.socket, from.into()), |out| out.extend(bytes));
        }
    }

    fn give_up(&mut self, now: Instant, ask: Ask) {
        let Some(server) = self.servers.get_mut(ask.server) else { return };
        // A server that fell silent may have lost what it gave the token by.
        server.token = None;
        if let Some(visit) = ask.visit {
            self.count(&visit, Outcome::Failed);
            return;
        }
        if let Some(port) = server.at.secondary.take() {
            server.at.secondary = Some(server.at.address.port());
            server.at.address.set_port(port);
        }
        self.take_probe(now, ask.server, None);
    }

    fn count(&mut self, visit: &Visit, outcome: Outcome) {
        let Some(run) = self.runs.get_mut(&(visit.topic, visit.errand)) else { return };
        run.pending = run.pending.saturating_sub(1);
        run.answered += usize::from(outcome == Outcome::Answered);
        if run.pending == 0 {
            self.end(visit.topic, visit.errand);
        }
    }

    fn end(&mut self, topic: Topic, errand: Errand) {
        if let Some(run) = self.runs.remove(&(topic, errand)) {
            let outcome = if run.answered > 0 { Outcome::Answered } else { Outcome::Failed };
            self.tell(DnsEvent::Ended { topic, errand, outcome });
        }
    }

    fn find(&mut self, finding: Finding) {
        if is_dialable(finding.address) {
            self.tell(DnsEvent::Found(finding));
        } else {
            self.stats.rejected += 1;
        }
    }

    fn tell(&mut self, event: DnsEvent) {
        // What an errand came to must not be lost, and is at most one event for each.
        if self.events.len() < EVENTS_MAX || !matches!(event, DnsEvent::Found(_)) {
            self.events.push_back(event);
        } else {
            self.stats.refused += 1;
        }
    }

    fn names_of(&self, now: Instant, topic: Topic, naming: Naming, errand: Errand) -> BTreeSet<String> {
        let epoch = self.wall.epoch(now);
        let remaining = self.wall.remaining(now);
        let mut epochs = BTreeSet::from([epoch]);
        if errand != Errand::Look {
            if remaining <= CLOCK_SKEW {
                epochs.insert(epoch + 1);
            } else if remaining + CLOCK_SKEW >= crate::name::EPOCH {
                epochs.insert(epoch.saturating_sub(1));
            }
        }
        let mut names: BTreeSet<_> = epochs.into_iter().map(|epoch| name(&topic, epoch)).collect();
        if let Naming::Compatible(domain) = naming {
            names.insert(compatible_name(&topic, domain));
        }
        names
    }

    fn rename(&mut self, now: Instant) {
        self.epoch = self.wall.epoch(now);
        self.names.clear();
        for (topic, naming) in &self.topics {
            for epoch in self.epoch.saturating_sub(1)..=self.epoch + 1 {
                self.names.insert(name(topic, epoch), *topic);
            }
            if let Naming::Compatible(domain) = naming {
                self.names.insert(compatible_name(topic, *domain), *topic);
            }
        }
    }
}

/// Servers of the reference answer only under their own domain, so that a keyed label has to be in it.
fn name(topic: &Topic, epoch: u64) -> String {
    format!("{}.{}", keyed_label(topic, epoch), Domain::DnsDiscovery.as_str())
}

fn texts_of(errand: Errand, token: &str) -> Vec<String> {
    match errand {
        Errand::Look => vec!["subscribe=true".into(), format!("token={token}")],
        Errand::Announce(port) => {
            vec!["subscribe=true".into(), format!("token={token}"), format!("announce={port}")]
        }
        Errand::Unannounce(port) => vec![format!("token={token}"), format!("unannounce={port}")],
    }
}

fn sees(texts: &Texts) -> Option<SocketAddrV4> {
    let text = |key| texts.get(key).and_then(|value| std::str::from_utf8(value).ok());
    Some(SocketAddrV4::new(text("host")?.parse().ok()?, text("port")?.parse().ok()?))
}
