use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use data_encoding::{BASE64, BASE64_NOPAD};
use pace::{Generations, Timers};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use wire::{Outbox, SocketId, Transmit};

use crate::message::{Draft, Form, Kind, Message, Record, Texts, is_dialable};
use crate::name::{Claim, Domain, Naming, PROOF_LEN, Said, UnixMillis, Wall, compatible_name, keyed_name};
use crate::peers::{PEERS_MAX, decode_base64, pack, unpack};
use crate::topic::Topic;

mod answers;
mod flood;
mod seat;

use answers::{Answers, Noted, Slot, Turn};
pub(crate) use flood::Flood;
pub use seat::Seat;

/// Where everybody on the link listens (RFC 6762, 3).
pub const GROUP: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 251), 5353);
/// Bytes of a datagram; multicast DNS has no longer ones (RFC 6762, 17).
pub const DATAGRAM_MAX: usize = 9000;

/// Topics joined at once.
const TOPICS_MAX: usize = 1024;
/// Interfaces listened on.
const SEATS_MAX: usize = 32;
/// Findings that wait to be read; later ones are dropped, and come again with the next answer.
const EVENTS_MAX: usize = 1024;
/// Questions of ours per topic whose answers are believed.
const NONCES_MAX: usize = 4;
/// How long an answer to a question is believed.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Between two questions about a topic that somebody else's question leads to.
const ASK_GAP: Duration = Duration::from_secs(2);
/// Askers remembered, to tell a new one.
const ASKERS_MAX: usize = 4096;
/// How long a silent asker is remembered: JavaScript peers ask every 60 to 70 seconds.
const ASKER_SPAN: Duration = Duration::from_mins(5);

type Nonce = [u8; 8];

/// Finding peers on the local network by multicast DNS, as npm `dns-discovery` 6.2 does it, and more privately.
///
/// By default a topic is asked for by a label that changes every hour, and both questions and answers carry a proof
/// that their sender knows the topic and sends from its own address; so who does not know it learns nothing of it,
/// and can neither be found under it nor make others be. A name of `dns-discovery` proves nothing.
///
/// The contract of the verbs: mutate once, then drain [`Multicast::poll_transmit`] and [`Multicast::poll_event`], then
/// read [`Multicast::poll_timeout`]. When to ask is the caller's to say ([`Multicast::ask`]); a question of somebody
/// new is followed by one of ours without being told.
#[derive(Debug)]
pub struct Multicast {
    /// What tells our own messages from others', new every hour.
    instance: String,
    /// The same for messages of `dns-discovery`, where others compute theirs from our address.
    token: String,
    seats: BTreeMap<SocketId, Seat>,
    topics: BTreeMap<Topic, Joined>,
    names: BTreeMap<String, (Topic, Alias)>,
    answers: Answers,
    askers: Generations<(Topic, Asker), ()>,
    flood: Flood,
    wall: Wall,
    timers: Timers<Deadline>,
    outbox: Outbox,
    events: VecDeque<Finding>,
    rng: StdRng,
    stats: MulticastStats,
}

/// A peer that was found, and not whether it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it was found under.
    pub topic: Topic,
    /// Where it says that it can be reached.
    pub address: SocketAddrV4,
    /// Who said so.
    pub informant: Ipv4Addr,
}

/// What a node did on the local network, counted since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MulticastStats {
    /// Questions sent, one per link and name.
    pub asked: u64,
    /// Answers sent.
    pub answered: u64,
    /// Peers heard of, each time counted.
    pub found: u64,
    /// Datagrams from outside the link, or not from IPv4.
    pub off_link: u64,
    /// Datagrams of addresses that sent too many.
    pub flooded: u64,
    /// Datagrams that are no DNS messages.
    pub malformed: u64,
    /// Questions and answers under a keyed name without a proof that holds.
    pub unproven: u64,
    /// Peers that cannot be, or that their sender may not speak for.
    pub disbelieved: u64,
    /// What found a table full.
    pub refused: u64,
}

/// One of the names that a topic goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Alias {
    /// The keyed label of this hour since 1970.
    Keyed(u64),
    Compatible(Domain),
}

/// Who asked, as far as one can be told from another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Asker {
    Instance(Vec<u8>),
    Address(SocketAddrV4),
}

#[derive(Debug, Default)]
struct Joined {
    naming: Naming,
    ports: BTreeSet<NonZeroU16>,
    asked: Option<Instant>,
    nonces: VecDeque<(Nonce, Instant)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deadline {
    Answer(Slot),
    Ask(Topic),
    Epoch,
}

impl Multicast {
    /// Starts without an interface and without a topic.
    #[must_use]
    pub fn new(seed: [u8; 32], now: Instant, wall: UnixMillis) -> Self {
        let mut rng = StdRng::from_seed(seed);
        let token = BASE64.encode(&rng.random::<[u8; 32]>());
        let mut multicast = Self {
            instance: String::new(),
            token,
            seats: BTreeMap::new(),
            topics: BTreeMap::new(),
            names: BTreeMap::new(),
            answers: Answers::default(),
            askers: Generations::new(ASKERS_MAX, ASKER_SPAN),
            flood: Flood::new(),
            wall: Wall::new(now, wall),
            timers: Timers::new(),
            outbox: Outbox::default(),
            events: VecDeque::new(),
            rng,
            stats: MulticastStats::default(),
        };
        multicast.begin_epoch(now);
        multicast
    }

    /// Tells the interfaces there are now, all of them; further ones than 32 are left out. New ones are asked soon.
    pub fn handle_seats(&mut self, now: Instant, seats: impl IntoIterator<Item = Seat>) {
        let seats: BTreeMap<_, _> =
            seats.into_iter().take(SEATS_MAX).map(|seat| (seat.socket, seat)).collect();
        let is_new = |(socket, seat): (&SocketId, &Seat)| self.seats.get(socket) != Some(seat);
        let has_new = seats.iter().any(is_new);
        self.seats = seats;
        if has_new {
            for topic in self.topics.keys().copied().collect::<Vec<_>>() {
                self.ask_soon(now, topic);
            }
        }
    }

    /// Tells the wall time, which may have stepped; the labels of the hour follow it.
    pub fn handle_clock(&mut self, now: Instant, wall: UnixMillis) {
        let before = self.wall.epoch(now);
        self.wall = Wall::new(now, wall);
        if self.wall.epoch(now) == before {
            self.timers.set(Deadline::Epoch, now + self.wall.remaining(now));
        } else {
            self.begin_epoch(now);
        }
    }

    /// Begins to take part in a topic; again with another naming changes that. Does nothing where 1,024 are joined.
    pub fn join(&mut self, now: Instant, topic: Topic, naming: Naming) {
        if self.topics.len() >= TOPICS_MAX && !self.topics.contains_key(&topic) {
            self.stats.refused += 1;
            return;
        }
        self.topics.entry(topic).or_default().naming = naming;
        self.rename(now);
    }

    /// Answers others that this computer is there, at a port; at most 31 of one topic. Does nothing for a topic that
    /// is not joined.
    pub fn announce(&mut self, topic: Topic, port: NonZeroU16) {
        if let Some(joined) = self.topics.get_mut(&topic)
            && joined.ports.len() < PEERS_MAX
        {
            joined.ports.insert(port);
        }
    }

    /// Answers no longer for a port. There is no farewell: who heard of it forgets.
    pub fn unannounce(&mut self, topic: Topic, port: NonZeroU16) {
        if let Some(joined) = self.topics.get_mut(&topic) {
            joined.ports.remove(&port);
        }
    }

    /// Takes no more part in a topic.
    pub fn leave(&mut self, now: Instant, topic: Topic) {
        self.topics.remove(&topic);
        self.timers.cancel(Deadline::Ask(topic));
        self.rename(now);
    }

    /// Asks everybody on every link about a topic that was joined.
    pub fn ask(&mut self, now: Instant, topic: Topic) {
        let nonce: Nonce = self.rng.random();
        let Some(joined) = self.topics.get_mut(&topic) else { return };
        self.timers.cancel(Deadline::Ask(topic));
        joined.asked = Some(now);
        if joined.nonces.len() >= NONCES_MAX {
            joined.nonces.pop_front();
        }
        joined.nonces.push_back((nonce, now));
        let naming = joined.naming;
        let keyed = keyed_name(&topic, self.wall.epoch(now));
        for seat in self.seats.values().copied().collect::<Vec<_>>() {
            self.send_keyed_question(&topic, &keyed, nonce, seat);
            if let Naming::Compatible(domain) = naming {
                let (form, name) = (Form::MulticastQuery, compatible_name(&topic, domain));
                let draft = Draft { id: 0, form, question: Some(&name), record: None };
                self.stats.asked += 1;
                self.send(seat.socket, GROUP.port(), &draft);
            }
        }
    }

    /// Takes in what a socket received.
    pub fn handle_datagram(&mut self, now: Instant, at: SocketId, from: SocketAddr, bytes: &[u8]) {
        let (Some(&seat), SocketAddr::V4(from)) = (self.seats.get(&at), from) else {
            self.stats.off_link += 1;
            return;
        };
        if !seat.reaches(*from.ip()) {
            self.stats.off_link += 1;
            return;
        }
        if !self.flood.admits(now, *from.ip()) {
            self.stats.flooded += 1;
            return;
        }
        let message = if bytes.len() <= DATAGRAM_MAX { Message::decode(bytes) } else { None };
        let Some(message) = message else {
            self.stats.malformed += 1;
            return;
        };
        match message.kind {
            Kind::Query => self.take_questions(now, seat, from, &message),
            Kind::Response => self.take_answers(now, seat, *from.ip(), &message),
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(deadline) = self.timers.expire(now) {
            match deadline {
                Deadline::Answer(slot) => self.answer(now, slot),
                Deadline::Ask(topic) => self.ask(now, topic),
                Deadline::Epoch => self.begin_epoch(now),
            }
        }
    }

    /// Returns the next datagram to send, its bytes in `buf`.
    pub fn poll_transmit(&mut self, buf: &mut Vec<u8>) -> Option<Transmit> {
        self.outbox.pop(buf)
    }

    /// Returns the next peer that was heard of; the same one again with each answer.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Finding> {
        self.events.pop_front()
    }

    /// Returns when to call [`Multicast::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Returns what was counted.
    #[must_use]
    pub const fn stats(&self) -> MulticastStats {
        self.stats
    }

    fn take_questions(&mut self, now: Instant, seat: Seat, from: SocketAddrV4, message: &Message) {
        for name in &message.questions {
            let Some(&(topic, alias)) = self.names.get(name) else { continue };
            let (nonce, asker) = match alias {
                Alias::Compatible(_) => (None, Asker::Address(from)),
                Alias::Keyed(_) => {
                    let texts = message.texts.iter().find(|texts| texts.name == *name);
                    match texts.and_then(|texts| believe_question(&topic, *from.ip(), texts)) {
                        Some(Believed { instance, .. }) if instance == self.instance.as_bytes() => continue,
                        Some(Believed { instance, nonce }) => (Some(nonce), Asker::Instance(instance)),
                        None => {
                            self.stats.unproven += 1;
                            continue;
                        }
                    }
                }
            };
            let slot = Slot { topic, alias, seat: seat.socket, port: from.port() };
            self.note_question(now, slot, nonce);
            if self.askers.refresh(now, &(topic, asker.clone())).is_none() {
                self.askers.insert(now, (topic, asker), ());
                self.ask_soon(now, topic);
            }
        }
    }

    fn note_question(&mut self, now: Instant, slot: Slot, nonce: Option<Nonce>) {
        let announces = self.topics.get(&slot.topic).is_some_and(|joined| !joined.ports.is_empty());
        if !announces {
            return;
        }
        match self.answers.ask(slot, nonce) {
            Noted::First => {
                // So that not all who were asked answer in the same moment; less than the 20 to 120 ms of RFC 6762, 6,
                // as answers here are few.
                let delay = Duration::from_millis(self.rng.random_range(0..40));
                self.timers.set(Deadline::Answer(slot), now + delay);
            }
            Noted::Joined => {}
            Noted::Refused => self.stats.refused += 1,
        }
    }

    fn answer(&mut self, now: Instant, slot: Slot) {
        let Turn::Answer(asked, again) = self.answers.turn(now, &slot) else { return };
        self.timers.set(Deadline::Answer(slot), again);
        let Some(joined) = self.topics.get(&slot.topic).filter(|joined| !joined.ports.is_empty()) else {
            return;
        };
        let Some(&seat) = self.seats.get(&slot.seat) else { return };
        // An unspecified host: the address that the answer comes from.
        let peers =
            pack(joined.ports.iter().map(|port| SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port.get())));
        let (name, texts) = match slot.alias {
            Alias::Compatible(domain) => {
                let texts = vec![format!("token={}", self.token), format!("peers={peers}")];
                (compatible_name(&slot.topic, domain), texts)
            }
            Alias::Keyed(epoch) => {
                let name = keyed_name(&slot.topic, epoch);
                let claim =
                    |nonce| Claim { name: &name, nonce, sender: seat.address, said: Said::Peers(&peers) };
                let mut texts = vec![format!("id={}", self.instance), format!("peers={peers}")];
                texts.extend(asked.nonces.iter().map(|nonce| {
                    let proof = [&nonce[..], &claim(nonce).prove(&slot.topic)].concat();
                    format!("proof={}", BASE64_NOPAD.encode(&proof))
                }));
                (name, texts)
            }
        };
        // The reference repeats the question; a keyed answer's readers know what they asked.
        let question = matches!(slot.alias, Alias::Compatible(_)).then_some(&*name);
        let record = Some(Record::Texts { name: &name, texts: &texts });
        self.stats.answered += 1;
        self.send(slot.seat, slot.port, &Draft { id: 0, form: Form::MulticastResponse, question, record });
    }

    fn take_answers(&mut self, now: Instant, seat: Seat, sender: Ipv4Addr, message: &Message) {
        for texts in &message.texts {
            let Some(&(topic, alias)) = self.names.get(&texts.name) else { continue };
            let peers = match alias {
                Alias::Keyed(_) => self.believe_answer(now, &topic, sender, texts),
                Alias::Compatible(_) if texts.get("token") == Some(self.token.as_bytes()) => continue,
                Alias::Compatible(_) => texts.get("peers").map(|peers| unpack(peers, sender)),
            };
            for address in peers.into_iter().flatten() {
                self.find(seat, alias, Finding { topic, address, informant: sender });
            }
        }
        for service in &message.services {
            if let Some(&(topic, alias @ Alias::Compatible(_))) = self.names.get(&service.name) {
                let host = *service.address.ip();
                let host = if host.is_unspecified() { sender } else { host };
                let address = SocketAddrV4::new(host, service.address.port());
                self.find(seat, alias, Finding { topic, address, informant: sender });
            }
        }
    }

    /// The peers of an answer, if it proves to know the topic and to answer a recent question of ours.
    fn believe_answer(
        &mut self,
        now: Instant,
        topic: &Topic,
        sender: Ipv4Addr,
        texts: &Texts,
    ) -> Option<Vec<SocketAddrV4>> {
        let peers = texts.get("peers")?;
        if texts.get("id") == Some(self.instance.as_bytes()) {
            return None;
        }
        let said = Said::Peers(std::str::from_utf8(peers).ok()?);
        let joined = self.topics.get(topic)?;
        let recent = |nonce: &[u8]| {
            let asked = joined.nonces.iter().find(|(ours, _)| ours == nonce);
            asked.is_some_and(|(_, at)| now.saturating_duration_since(*at) <= ANSWER_MAX)
        };
        let holds = texts.all("proof").filter_map(decode_base64).any(|proof| {
            proof.split_last_chunk::<PROOF_LEN>().is_some_and(|(nonce, mac)| {
                let claim = Claim { name: &texts.name, nonce, sender, said };
                recent(nonce) && claim.is_proven_by(topic, mac)
            })
        });
        if !holds {
            // Most of these answer somebody else, who asked in the same second.
            self.stats.unproven += 1;
            return None;
        }
        Some(unpack(peers, sender))
    }

    fn find(&mut self, seat: Seat, alias: Alias, finding: Finding) {
        // Who proved to know the topic speaks for itself; a server of `dns-discovery` for its whole link.
        let may_say = match alias {
            Alias::Keyed(_) => *finding.address.ip() == finding.informant,
            Alias::Compatible(_) => seat.reaches(*finding.address.ip()),
        };
        if !may_say || !is_dialable(finding.address) {
            self.stats.disbelieved += 1;
        } else if self.events.len() >= EVENTS_MAX {
            self.stats.refused += 1;
        } else {
            self.stats.found += 1;
            self.events.push_back(finding);
        }
    }

    fn send_keyed_question(&mut self, topic: &Topic, name: &str, nonce: Nonce, seat: Seat) {
        let claim = Claim { name, nonce: &nonce, sender: seat.address, said: Said::Question };
        let texts = [
            format!("id={}", self.instance),
            format!("nonce={}", BASE64_NOPAD.encode(&nonce)),
            format!("proof={}", BASE64_NOPAD.encode(&claim.prove(topic))),
        ];
        let record = Some(Record::Texts { name, texts: &texts });
        self.stats.asked += 1;
        let draft = Draft { id: 0, form: Form::MulticastQuery, question: Some(name), record };
        self.send(seat.socket, GROUP.port(), &draft);
    }

    /// Sends to the group, never to one address: what a stranger asks for reaches nobody outside the link.
    fn send(&mut self, from: SocketId, port: u16, draft: &Draft<'_>) {
        if let Some(bytes) = draft.encode() {
            let to = SocketAddr::from((*GROUP.ip(), port));
            self.outbox.push(Transmit::new(from, to), |out| out.extend(bytes));
        }
    }

    /// Asks a moment later, once however many reasons there are, and not twice within two seconds.
    fn ask_soon(&mut self, now: Instant, topic: Topic) {
        let delay = Duration::from_millis(self.rng.random_range(20..120));
        let asked = self.topics.get(&topic).and_then(|joined| joined.asked);
        let at = asked.map_or(now, |asked| (asked + ASK_GAP).max(now)) + delay;
        self.timers.set(Deadline::Ask(topic), at);
    }

    fn begin_epoch(&mut self, now: Instant) {
        self.instance = BASE64_NOPAD.encode(&self.rng.random::<Nonce>());
        self.rename(now);
        self.timers.set(Deadline::Epoch, now + self.wall.remaining(now));
    }

    /// Lists the names that the topics go by now: clocks may be an hour apart.
    fn rename(&mut self, now: Instant) {
        let epoch = self.wall.epoch(now);
        self.names.clear();
        for (topic, joined) in &self.topics {
            for epoch in epoch.saturating_sub(1)..=epoch + 1 {
                self.names.insert(keyed_name(topic, epoch), (*topic, Alias::Keyed(epoch)));
            }
            if let Naming::Compatible(domain) = joined.naming {
                self.names.insert(compatible_name(topic, domain), (*topic, Alias::Compatible(domain)));
            }
        }
    }
}

/// Who asked a question under a keyed name, if its proof holds.
fn believe_question(topic: &Topic, sender: Ipv4Addr, texts: &Texts) -> Option<Believed> {
    let instance = texts.get("id")?.to_vec();
    let nonce = Nonce::try_from(decode_base64(texts.get("nonce")?)?).ok()?;
    let proof = decode_base64(texts.get("proof")?)?;
    let claim = Claim { name: &texts.name, nonce: &nonce, sender, said: Said::Question };
    claim.is_proven_by(topic, &proof).then_some(Believed { instance, nonce })
}

/// A question under a keyed name whose proof holds.
struct Believed {
    instance: Vec<u8>,
    nonce: Nonce,
}
