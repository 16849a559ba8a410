use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use data_encoding::BASE64_NOPAD;
use pace::Timers;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use wire::{Outbox, SocketId, Transmit};

use crate::message::{Draft, Form, Kind, Message, Record, Texts, is_dialable};
use crate::multicast::{DATAGRAM_MAX, Flood};
use crate::name::Domain;
use crate::peers::{PEERS_MAX, pack};

/// Topics kept; further ones are refused until some expire.
const TOPICS_MAX: usize = 4096;
/// Peers kept of one topic.
const PEERS_KEPT_MAX: usize = 128;
/// Ports that one host may announce under one topic: a host that fills an answer hides all others.
const PORTS_PER_HOST_MAX: usize = 4;
/// Announcements kept of one host.
const PER_HOST_MAX: usize = 256;
/// Announcements kept in all.
const ANNOUNCEMENTS_MAX: usize = 65_536;
/// Who wants to be told of new peers of one topic.
const SUBSCRIBERS_MAX: usize = 64;
/// Subscribers told of a new peer (`dns-discovery` 6.2.3).
const PUSHES_MAX: usize = 16;
/// Pushes that were not acknowledged.
const PENDING_MAX: usize = 256;
/// Between the first and the last sending of a push.
const PUSH_GAP: Duration = Duration::from_secs(1);
/// How long an announcement holds; peers announce again after 60 to 70 seconds.
const PEER_SPAN: Duration = Duration::from_secs(180);
/// How long a subscription holds; each look-up renews it.
const SUBSCRIBER_SPAN: Duration = Duration::from_secs(90);
/// Between two changes of the secret that tokens are made by; those of the last two are accepted.
const SECRET_SPAN: Duration = Duration::from_mins(5);
/// Between two sweepings.
const SWEEP_GAP: Duration = Duration::from_secs(30);
/// Bytes of a label that is kept: DNS has no longer ones.
const LABEL_MAX: usize = 63;
/// Bytes of a token: enough that it is not guessed, few so that answers stay short.
const TOKEN_LEN: usize = 12;

/// Counts of a discovery server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DnsServerStats {
    /// Questions answered.
    pub answered: u64,
    /// Announcements taken, repeated ones included.
    pub announced: u64,
    /// Subscribers told of a new peer.
    pub pushed: u64,
    /// Datagrams that are no questions, or of hosts that send too many.
    pub rejected: u64,
    /// Announcements that found a table full.
    pub refused: u64,
}

/// A server as npm `dns-discovery` 6.2 has it: tells who asks how it sees them, keeps who announced what, and tells
/// subscribers of new peers.
///
/// Unlike the reference it forgets, keeps at most so much of one host, answers nothing but a token to whoever has
/// not shown one, and does not answer with more peers than a DNS text can hold.
#[derive(Debug)]
pub struct DnsServer {
    socket: SocketId,
    topics: BTreeMap<String, Topic>,
    /// Announcements of each host.
    hosts: BTreeMap<Ipv4Addr, usize>,
    kept: usize,
    pushes: BTreeMap<u16, Push>,
    secrets: [[u8; 32]; 2],
    flood: Flood,
    timers: Timers<Deadline>,
    outbox: Outbox,
    rng: StdRng,
    stats: DnsServerStats,
}

/// Who is there under one name, and who wants to know.
#[derive(Debug, Default)]
struct Topic {
    peers: BTreeMap<SocketAddrV4, Instant>,
    subscribers: BTreeMap<SocketAddrV4, Instant>,
}

#[derive(Debug)]
struct Push {
    to: SocketAddrV4,
    bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deadline {
    Secret,
    Sweep,
    Push(u16),
}

impl DnsServer {
    /// Starts with nothing announced, behind one socket.
    #[must_use]
    pub fn new(socket: SocketId, seed: [u8; 32], now: Instant) -> Self {
        let mut rng = StdRng::from_seed(seed);
        let mut timers = Timers::new();
        timers.set(Deadline::Secret, now + SECRET_SPAN);
        timers.set(Deadline::Sweep, now + SWEEP_GAP);
        Self {
            socket,
            topics: BTreeMap::new(),
            hosts: BTreeMap::new(),
            kept: 0,
            pushes: BTreeMap::new(),
            secrets: [rng.random(), rng.random()],
            flood: Flood::new(),
            timers,
            outbox: Outbox::default(),
            rng,
            stats: DnsServerStats::default(),
        }
    }

    /// Takes in what the socket received.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        let SocketAddr::V4(from) = from else {
            self.stats.rejected += 1;
            return;
        };
        let is_readable = self.flood.admits(now, *from.ip()) && bytes.len() <= DATAGRAM_MAX;
        match is_readable.then(|| Message::decode(bytes)).flatten() {
            Some(message) if message.kind == Kind::Query => self.take_query(now, from, &message),
            Some(message) => self.acknowledge(from, message.id),
            None => self.stats.rejected += 1,
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(deadline) = self.timers.expire(now) {
            match deadline {
                Deadline::Secret => {
                    self.secrets = [self.secrets[1], self.rng.random()];
                    self.timers.set(Deadline::Secret, now + SECRET_SPAN);
                }
                Deadline::Sweep => {
                    self.sweep(now);
                    self.timers.set(Deadline::Sweep, now + SWEEP_GAP);
                }
                Deadline::Push(id) => {
                    if let Some(push) = self.pushes.remove(&id) {
                        self.send(push.to, &push.bytes);
                    }
                }
            }
        }
    }

    /// Returns the next datagram to send, its bytes in `buf`.
    pub fn poll_transmit(&mut self, buf: &mut Vec<u8>) -> Option<Transmit> {
        self.outbox.pop(buf)
    }

    /// Returns when to call [`DnsServer::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Returns what was counted.
    #[must_use]
    pub const fn stats(&self) -> DnsServerStats {
        self.stats
    }

    /// Counts the topics and peers kept.
    #[must_use]
    pub fn kept(&self) -> (usize, usize) {
        (self.topics.len(), self.kept)
    }

    fn take_query(&mut self, now: Instant, from: SocketAddrV4, message: &Message) {
        let Some(name) = message.questions.first() else {
            self.stats.rejected += 1;
            return;
        };
        let texts = message.texts.iter().find(|texts| texts.name == *name);
        let has_token = texts.is_some_and(|texts| self.accepts(*from.ip(), texts));
        let token = format!("token={}", self.token(*from.ip(), 1));
        let answer = match label(name) {
            Some(label) => {
                if let Some(texts) = texts.filter(|_| has_token) {
                    self.take_errand(now, from, label, texts);
                }
                // Peers only for who has shown a token: others may have written somebody else's address.
                let peers = has_token.then(|| self.peers(now, label)).filter(|peers| !peers.is_empty());
                let peers = peers.map(|peers| format!("peers={}", pack(peers)));
                [Some(token), peers].into_iter().flatten().collect()
            }
            None if name == Domain::DnsDiscovery.as_str() => {
                vec![token, format!("host={}", from.ip()), format!("port={}", from.port())]
            }
            None => {
                self.stats.rejected += 1;
                return;
            }
        };
        let record = Some(Record::Texts { name, texts: &answer });
        let draft = Draft { id: message.id, form: Form::Response, question: Some(name), record };
        if let Some(bytes) = draft.encode() {
            self.stats.answered += 1;
            self.send(from, &bytes);
        }
    }

    fn take_errand(&mut self, now: Instant, from: SocketAddrV4, label: &str, texts: &Texts) {
        if let Some(port) = texts.get("announce").and_then(number) {
            // Port 0 says: the one that this comes from.
            let port = if port == 0 { from.port() } else { port };
            self.announce(now, label, SocketAddrV4::new(*from.ip(), port));
        }
        if let Some(port) = texts.get("unannounce").and_then(number)
            && let Some(topic) = self.topics.get_mut(label)
        {
            let port = if port == 0 { from.port() } else { port };
            if topic.peers.remove(&SocketAddrV4::new(*from.ip(), port)).is_some() {
                self.hosts.entry(*from.ip()).and_modify(|count| *count = count.saturating_sub(1));
                self.kept = self.kept.saturating_sub(1);
            }
        }
        let subscribes = texts.get("subscribe").is_some();
        if subscribes && !self.topics.contains_key(label) && self.topics.len() < TOPICS_MAX {
            self.topics.insert(label.into(), Topic::default());
        }
        if let Some(topic) = self.topics.get_mut(label) {
            if !subscribes {
                topic.subscribers.remove(&from);
            } else if topic.subscribers.len() < SUBSCRIBERS_MAX || topic.subscribers.contains_key(&from) {
                topic.subscribers.insert(from, now + SUBSCRIBER_SPAN);
            }
        }
    }

    fn announce(&mut self, now: Instant, label: &str, peer: SocketAddrV4) {
        if !is_dialable(peer) || !self.has_room(label, peer) {
            self.stats.refused += 1;
            return;
        }
        self.stats.announced += 1;
        let topic = self.topics.entry(label.into()).or_default();
        if topic.peers.insert(peer, now + PEER_SPAN).is_none() {
            *self.hosts.entry(*peer.ip()).or_default() += 1;
            self.kept += 1;
            self.push(now, label, peer);
        }
    }

    fn has_room(&self, label: &str, peer: SocketAddrV4) -> bool {
        let topic = self.topics.get(label);
        if topic.is_some_and(|topic| topic.peers.contains_key(&peer)) {
            return true;
        }
        let of_host = self.hosts.get(peer.ip()).copied().unwrap_or_default();
        let has_topic = topic.map_or(self.topics.len() < TOPICS_MAX, |topic| {
            let ports = topic.peers.keys().filter(|other| other.ip() == peer.ip()).count();
            topic.peers.len() < PEERS_KEPT_MAX && ports < PORTS_PER_HOST_MAX
        });
        has_topic && of_host < PER_HOST_MAX && self.kept < ANNOUNCEMENTS_MAX
    }

    /// Tells subscribers of a new peer, each twice unless it says that it heard.
    fn push(&mut self, now: Instant, label: &str, peer: SocketAddrV4) {
        let Some(topic) = self.topics.get(label) else { return };
        let name = format!("{label}.{}", Domain::DnsDiscovery.as_str());
        let live = topic.subscribers.iter().filter(|(_, until)| **until > now).map(|(to, _)| *to);
        let subscribers = turned(live.collect(), self.rng.random(), PUSHES_MAX);
        for to in subscribers {
            let id = self.rng.random_range(1..=u16::MAX);
            if self.pushes.len() >= PENDING_MAX || self.pushes.contains_key(&id) {
                self.stats.refused += 1;
                continue;
            }
            let record = Some(Record::Service { name: &name, address: peer });
            let draft = Draft { id, form: Form::Query, question: None, record };
            if let Some(bytes) = draft.encode() {
                self.stats.pushed += 1;
                self.send(to, &bytes);
                self.pushes.insert(id, Push { to, bytes });
                self.timers.set(Deadline::Push(id), now + PUSH_GAP);
            }
        }
    }

    fn acknowledge(&mut self, from: SocketAddrV4, id: u16) {
        if self.pushes.get(&id).is_some_and(|push| push.to == from) {
            self.pushes.remove(&id);
            self.timers.cancel(Deadline::Push(id));
        } else {
            self.stats.rejected += 1;
        }
    }

    fn peers(&mut self, now: Instant, label: &str) -> Vec<SocketAddrV4> {
        let Some(topic) = self.topics.get(label) else { return Vec::new() };
        let live = topic.peers.iter().filter(|(_, until)| **until > now).map(|(peer, _)| *peer);
        turned(live.collect(), self.rng.random(), PEERS_MAX)
    }

    fn sweep(&mut self, now: Instant) {
        self.topics.retain(|_, topic| {
            topic.peers.retain(|_, until| *until > now);
            topic.subscribers.retain(|_, until| *until > now);
            !topic.peers.is_empty() || !topic.subscribers.is_empty()
        });
        self.hosts.clear();
        self.kept = 0;
        for peer in self.topics.values().flat_map(|topic| topic.peers.keys()) {
            *self.hosts.entry(*peer.ip()).or_default() += 1;
            self.kept += 1;
        }
    }

    fn accepts(&self, host: Ipv4Addr, texts: &Texts) -> bool {
        let Some(token) = texts.get("token") else { return false };
        (0..2).any(|secret| self.token(host, secret).as_bytes().ct_eq(token).into())
    }

    /// What a host proves its address by: a hash that only this server can compute. The reference's is longer.
    fn token(&self, host: Ipv4Addr, secret: usize) -> String {
        let secret = self.secrets.get(secret).copied().unwrap_or_default();
        let hash = Sha256::new().chain_update(secret).chain_update(host.octets()).finalize();
        BASE64_NOPAD.encode(hash.get(..TOKEN_LEN).unwrap_or_default())
    }

    fn send(&mut self, to: SocketAddrV4, bytes: &[u8]) {
        self.outbox.push(Transmit::new(self.socket, to.into()), |out| out.extend(bytes));
    }
}

/// Some of a list, beginning anywhere.
fn turned(mut list: Vec<SocketAddrV4>, chance: u32, len_max: usize) -> Vec<SocketAddrV4> {
    if let Some(start) = usize::try_from(chance).unwrap_or_default().checked_rem(list.len()) {
        list.rotate_left(start);
    }
    list.truncate(len_max);
    list
}

/// The label of a topic, which is all that is before the domain.
fn label(name: &str) -> Option<&str> {
    let label = name.strip_suffix(Domain::DnsDiscovery.as_str())?.strip_suffix('.')?;
    (!label.is_empty() && label.len() <= LABEL_MAX).then_some(label)
}

fn number(text: &[u8]) -> Option<u16> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
