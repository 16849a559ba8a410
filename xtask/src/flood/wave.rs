use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use wire::hyper::{
    ANNOUNCE, FIND_PEER, IMMUTABLE_GET, LOOKUP, MUTABLE_GET, MUTABLE_PUT, PEER_HANDSHAKE, PEER_HOLEPUNCH,
};
use wire::{Command, Id, Request, Token};

use crate::bench::author::{Author, Shelf, hash, id_of};
use crate::bench::caller::Caller;

/// Authors, each with a topic of its own and a mutable value.
const AUTHORS: usize = 20_000;

/// Length of a mutable value, about as much as fits a datagram beside its signature.
const VALUE_LEN: usize = 1000;

/// Networks that get far more requests than others, as the target of a reflection attack does.
pub(crate) const HOT_NETWORKS: u8 = 16;

/// Requests with long answers that come from other networks: so many that each only just uses up its burst.
const SPREAD: f64 = 0.5;

/// Peers under the topic that reflections ask for: as many as one answer names.
const REFLECTED_PEERS: u64 = 20;

/// The topic with the longest answer.
fn reflected_topic() -> Id<32> {
    hash(&[b"reflected topic"])
}

/// Makes the answers to reflected requests as long as can be.
pub(crate) fn stretch_answers(caller: &mut Caller) -> Result<()> {
    (0..REFLECTED_PEERS).try_for_each(|number| caller.announce(&Author::new(number), reflected_topic()))
}

/// A network that reflections are aimed at.
pub(crate) const fn hot_network(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 10, number, 0)
}

/// One kind of datagram in the mixture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wave {
    /// From addresses that prove nothing.
    Spoofed(Spoofed),
    /// With a token, so from an address that receives.
    Signed(Signed),
}

/// What anyone can send under any address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoofed {
    /// Requests with long answers, from a few networks.
    Reflection,
    /// Every kind of request, from anywhere.
    Valid,
    /// Those with bytes changed, cut or added.
    Mutated,
    /// Bytes that nobody meant.
    Noise,
    /// Datagrams longer than any node reads.
    Oversized,
}

/// What is really signed and really stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signed {
    /// Announcements on one topic.
    OneTopic,
    /// Announcements, each on its own topic.
    ManyTopics,
    /// Mutable values.
    Puts,
}

/// A hundred datagrams: what goes out in one tick.
pub(crate) const MIXTURE: [(Wave, usize); 12] = [
    (Wave::Spoofed(Spoofed::Reflection), 12),
    (Wave::Spoofed(Spoofed::Valid), 10),
    (Wave::Spoofed(Spoofed::Mutated), 16),
    (Wave::Signed(Signed::OneTopic), 4),
    (Wave::Spoofed(Spoofed::Reflection), 12),
    (Wave::Spoofed(Spoofed::Valid), 10),
    (Wave::Spoofed(Spoofed::Noise), 8),
    (Wave::Signed(Signed::ManyTopics), 4),
    (Wave::Spoofed(Spoofed::Mutated), 14),
    (Wave::Spoofed(Spoofed::Oversized), 4),
    (Wave::Signed(Signed::Puts), 4),
    (Wave::Spoofed(Spoofed::Noise), 2),
];

/// Writes the datagrams of the flood.
pub(crate) struct Writer {
    rng: StdRng,
    to: SocketAddrV4,
    port: u16,
    authors: Vec<Author>,
    next: [usize; 3],
    scratch: Vec<u8>,
}

impl Writer {
    /// A flood at a node, from this port of ours.
    pub(crate) fn new(to: SocketAddrV4, port: u16) -> Self {
        Self {
            rng: StdRng::from_seed([7; 32]),
            to,
            port,
            authors: (0..).take(AUTHORS).map(Author::new).collect(),
            next: [0; 3],
            scratch: Vec::new(),
        }
    }

    /// Draws an address to send from; 127.0.0.0/16 is for honest hosts, 127.9.0.0/16 for those with tokens.
    pub(crate) fn source(&mut self, kind: Spoofed) -> Ipv4Addr {
        let [a, b, c] = self.rng.random::<[u8; 3]>();
        match kind {
            Spoofed::Reflection if self.rng.random_bool(SPREAD) => Ipv4Addr::new(127, 11 + a % 4, b, c),
            Spoofed::Reflection => {
                Ipv4Addr::from_bits(hot_network(a % HOT_NETWORKS).to_bits() | u32::from(b))
            }
            Spoofed::Valid | Spoofed::Mutated | Spoofed::Noise | Spoofed::Oversized => {
                Ipv4Addr::new(127, 20 + a % 200, b, c)
            }
        }
    }

    /// Appends one datagram that claims to come from `source`.
    pub(crate) fn write(&mut self, kind: Spoofed, source: Ipv4Addr, out: &mut Vec<u8>) {
        match kind {
            Spoofed::Reflection => self.write_reflection(out),
            Spoofed::Valid => self.write_valid(source, out),
            Spoofed::Mutated => self.write_mutated(source, out),
            Spoofed::Noise => self.write_noise(out),
            Spoofed::Oversized => self.write_oversized(out),
        }
    }

    /// Appends one datagram with the token of its sender.
    pub(crate) fn sign(&mut self, kind: Signed, shelf: Shelf, out: &mut Vec<u8>) {
        match kind {
            Signed::OneTopic => {
                let author = self.next_author(0);
                self.write_announcement(author, hash(&[b"flooded topic"]), shelf, out);
            }
            Signed::ManyTopics => {
                let author = self.next_author(1);
                let topic = hash(&[b"flooded topics", &author.to_le_bytes()]);
                self.write_announcement(author, topic, shelf, out);
            }
            Signed::Puts => self.write_put(shelf, out),
        }
    }

    fn request(&mut self, command: Command) -> Request<'static> {
        let tid = self.rng.random();
        Request { tid, to: self.to, id: None, token: None, command, target: None, value: None }
    }

    fn write_reflection(&mut self, out: &mut Vec<u8>) {
        let target = Some(reflected_topic());
        let command = if self.rng.random_ratio(3, 4) { LOOKUP } else { Command::FIND_NODE };
        Request { target, ..self.request(command) }.encode(out);
    }

    fn write_valid(&mut self, source: Ipv4Addr, out: &mut Vec<u8>) {
        let target = Some(Id(self.rng.random()));
        let port = self.port.to_le_bytes();
        let address: [u8; 6] = self.rng.random();
        let garbage: [u8; 80] = self.rng.random();
        let (command, value): (_, Option<&[u8]>) = match self.rng.random_range(0..14) {
            0 => (Command::PING, None),
            1 => (Command::PING_NAT, Some(&port)),
            2 => (Command::DOWN_HINT, Some(&address)),
            3 => (Command::DELAYED_PING, Some(&[0x10, 0x27, 0, 0])),
            4 => (Command::FIND_NODE, None),
            5 => (FIND_PEER, None),
            6 => (LOOKUP, None),
            7 => (MUTABLE_GET, Some(&[0])),
            8 => (IMMUTABLE_GET, None),
            9 => (PEER_HANDSHAKE, Some(&garbage)),
            10 => (PEER_HOLEPUNCH, Some(&garbage)),
            11 => (Command::App(99), None),
            12 => (ANNOUNCE, Some(&garbage)),
            _ => (MUTABLE_PUT, Some(&garbage)),
        };
        let id = self.rng.random_ratio(1, 3).then(|| id_of(SocketAddrV4::new(source, self.port)));
        let token = self.rng.random_ratio(1, 8).then(|| Token(self.rng.random()));
        Request { id, token, target, value, ..self.request(command) }.encode(out);
    }

    fn write_mutated(&mut self, source: Ipv4Addr, out: &mut Vec<u8>) {
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.clear();
        self.write_valid(source, &mut bytes);
        match self.rng.random_range(0..4) {
            0 => bytes.truncate(self.rng.random_range(0..bytes.len())),
            1 => bytes.extend(self.rng.random::<[u8; 32]>()),
            _ => {}
        }
        for _ in 0..self.rng.random_range(1..4) {
            let at = self.rng.random_range(0..bytes.len().max(1));
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= self.rng.random_range(1..=255);
            }
        }
        out.extend_from_slice(&bytes);
        self.scratch = bytes;
    }

    fn write_noise(&mut self, out: &mut Vec<u8>) {
        let mut bytes: [u8; 64] = self.rng.random();
        // Most noise passes the first check, as a response, a stream packet or a probe.
        bytes[0] = *[0x13, 0x13, 0xff, 0x03, bytes[0]].get(usize::from(bytes[1] % 5)).unwrap_or(&0);
        let len = self.rng.random_range(0..=bytes.len());
        out.extend_from_slice(&bytes[..len]);
    }

    fn write_oversized(&mut self, out: &mut Vec<u8>) {
        let start = out.len();
        let command = if self.rng.random() { Command::PING } else { ANNOUNCE };
        let len = if self.rng.random_ratio(1, 20) { 60_000 } else { self.rng.random_range(2000..9000) };
        self.scratch.clear();
        self.scratch.resize(len, 0xaa);
        self.rng.fill_bytes(&mut self.scratch[..200]);
        let request = self.request(command);
        Request { target: Some(reflected_topic()), value: Some(&self.scratch), ..request }.encode(out);
        debug_assert!(out.len() > start + len, "the value is part of the datagram");
    }

    /// Goes round the authors, separately for each kind of record.
    fn next_author(&mut self, kind: usize) -> usize {
        let author = self.next[kind] % AUTHORS;
        self.next[kind] += 1;
        author
    }

    fn write_announcement(&mut self, author: usize, topic: Id<32>, shelf: Shelf, out: &mut Vec<u8>) {
        let value = self.authors[author].announcement(topic, shelf);
        let request = self.request(ANNOUNCE);
        Request { token: Some(shelf.token), target: Some(topic), value: Some(&value), ..request }.encode(out);
    }

    fn write_put(&mut self, shelf: Shelf, out: &mut Vec<u8>) {
        let round = u64::try_from(self.next[2] / AUTHORS).unwrap_or(u64::MAX);
        let author = self.next_author(2);
        let (fill, author) = (author.to_le_bytes()[0], &self.authors[author]);
        let (target, value) = (author.target(), author.put(round + 1, &[fill; VALUE_LEN]));
        let request = self.request(MUTABLE_PUT);
        Request { token: Some(shelf.token), target: Some(target), value: Some(&value), ..request }
            .encode(out);
    }
}
