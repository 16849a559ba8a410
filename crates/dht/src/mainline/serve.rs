use std::net::SocketAddr;
use std::time::Instant;

use rand::RngExt;
use wire::krpc::{self, Body, Family, Item, Message, Method, Nodes, Query, Response, Samples, Values};
use wire::{Id, Transmit};

use super::ask::Owner;
use super::config::{Rate, Sampling};
use super::items::FULL;
use super::peers::{Share, TOPICS_PER_MINUTE, Wanted};
use super::{Mainline, Stack};
use crate::block::is_nowhere;

/// Bytes of an answer to a host that has shown that it gets what is sent to it (BEP 32).
const ANSWER_MAX: usize = 1024;
/// What an answer to any other host may be, in tenths of the query's bytes.
const AMPLIFICATION_TENTHS: usize = 31;
/// Nodes named in an answer (BEP 5).
const NODES_MAX: usize = 8;
/// Nodes named besides peers where there is no room for both.
const NODES_BESIDE_PEERS: usize = 3;
/// Bytes of an answer without results, token and transaction, with an IPv4 address; the braces of each list.
const FRAME_LEN: usize = b"d2:ip6:......1:rd2:id20:e1:t2:1:y1:re".len() + 20;
const TOKEN_LEN: usize = b"5:token8:".len() + 8;
const NODES_LEN: usize = b"6:nodes6304:".len();
const VALUES_LEN: usize = b"6:valueslee".len();
/// Seconds between two samples that may differ (BEP 51 allows six hours).
const SAMPLE_INTERVAL: u16 = 21_600;
/// Nodes under test at one time.
const CHECKS_MAX: usize = 64;

/// A query that is to be answered.
struct Inbound<'a> {
    from: SocketAddr,
    family: Family,
    tid: &'a [u8],
    query: Query<'a>,
    /// Bytes that the answer may have.
    room: usize,
    proven: bool,
}

impl Mainline {
    pub(super) fn handle_query(
        &mut self,
        now: Instant,
        from: SocketAddr,
        message: &Message<'_>,
        (query, len): (Query<'_>, usize),
    ) {
        if !self.gate.admit(now, from.ip()) {
            self.stats.limited += 1;
            return;
        }
        let family = Family::of(&from);
        let named = query.target.or_else(|| query.item.value.map(|_| super::items::target(&query.item)));
        let valid = match (query.token, named) {
            (Some(token), Some(target)) => self.tokens.accepts(now, from.ip(), &target, token),
            _ => false,
        };
        if valid {
            self.gate.prove(now, from.ip());
        }
        self.note_unsolicited(now, from.ip());
        if !query.read_only {
            self.consider(now, from, &query.id);
        }
        if self.is_read_only() && query.method != Method::Ping {
            self.stats.unserved += 1;
            return;
        }
        let proven = self.gate.is_proven(from.ip());
        let room = if proven { ANSWER_MAX } else { len * AMPLIFICATION_TENTHS / 10 };
        let to = Inbound { from, family, tid: message.tid, query, room, proven };
        self.stats.served.count(query.method);
        match query.method {
            Method::Ping => self.respond(&to, &|response| response),
            Method::GetPeers => self.answer_peers(now, &to),
            Method::AnnouncePeer if valid => self.store_peer(now, &to),
            Method::Put if valid => self.store_item(now, &to),
            Method::AnnouncePeer | Method::Put => {
                self.stats.bad_tokens += 1;
                self.refuse(&to, krpc::ERROR_PROTOCOL, b"Bad token");
            }
            Method::Get => self.answer_item(now, &to),
            Method::SampleInfohashes if self.config.sampling == Sampling::On => self.answer_samples(&to),
            // A method of the future is taken for its oldest relative, as libtorrent does.
            Method::FindNode | Method::SampleInfohashes | Method::Other(_) if query.target.is_some() => {
                self.answer_nodes(&to);
            }
            Method::FindNode | Method::SampleInfohashes => {
                self.refuse(&to, krpc::ERROR_PROTOCOL, b"No target");
            }
            Method::Other(_) => self.refuse(&to, krpc::ERROR_METHOD, b"Method unknown"),
        }
    }

    fn answer_nodes(&mut self, to: &Inbound<'_>) {
        let Some(target) = to.query.target else { return };
        let mut packed = Packed::new();
        packed.add_nodes(self, to, &target, (NODES_MAX, to.room.saturating_sub(FRAME_LEN + to.tid.len())));
        self.respond(to, &|response| packed.with_nodes(&response));
    }

    fn answer_peers(&mut self, now: Instant, to: &Inbound<'_>) {
        let Some(target) = to.query.target else {
            return self.refuse(to, krpc::ERROR_PROTOCOL, b"No info_hash");
        };
        let token = self.tokens.issue(now, to.from.ip(), &target);
        let Some(stack) = self.stack(to.family) else { return };
        let distance = target.distance(&stack.contacts.table().id());
        if to.query.scrape && to.proven {
            let [seeds, downloaders] = stack.peers.blooms(&distance);
            return self.respond(to, &|response| Response {
                blooms: Some((&seeds, &downloaders)),
                token: Some(&token),
                ..response
            });
        }
        let mut room = to.room.saturating_sub(FRAME_LEN + TOKEN_LEN + to.tid.len());
        let known = stack.peers.has(&distance);
        let nodes = if known && !to.proven { NODES_BESIDE_PEERS } else { NODES_MAX };
        let mut packed = Packed::new();
        packed.add_nodes(self, to, &target, (nodes, room));
        room = room.saturating_sub(packed.len() + VALUES_LEN);
        if known {
            let wanted = if to.query.noseed { Wanted::NoSeeds } else { Wanted::Anybody };
            let (stacks, rng) = (&self.stacks, &mut self.rng);
            if let Some(stack) = &stacks[to.family as usize] {
                let peers = stack.peers.sample(&distance, to.family, wanted, rng);
                packed.add_values(room, peers, to.family);
            }
        }
        self.respond(to, &|response| Response {
            token: Some(&token),
            values: Values::from_items(packed.values()),
            ..packed.with_nodes(&response)
        });
    }

    fn store_peer(&mut self, now: Instant, to: &Inbound<'_>) {
        let query = &to.query;
        let port = if query.implied_port { Some(to.from.port()) } else { query.port };
        let (Some(target), Some(port)) = (query.target, port.filter(|port| *port != 0)) else {
            return self.refuse(to, krpc::ERROR_PROTOCOL, b"No port");
        };
        let Some(stack) = self.stacks[to.family as usize].as_mut() else { return };
        let distance = target.distance(&stack.contacts.table().id());
        if !stack.peers.has(&distance) {
            self.topic_rate.expire(now);
            let begun = self.topic_rate.get(&to.from.ip()).copied().unwrap_or(0);
            let unlimited = self.config.limits.host == Rate::UNLIMITED;
            if begun >= TOPICS_PER_MINUTE && !unlimited {
                self.stats.limited += 1;
                return self.refuse(to, FULL, b"Too many topics");
            }
            if !unlimited {
                self.topic_rate.insert(now, to.from.ip(), begun + 1);
            }
        }
        let share = if query.seed { Share::All } else { Share::Some };
        let addr = SocketAddr::new(to.from.ip(), port);
        if stack.peers.insert(now, distance, addr, share) {
            self.respond(to, &|response| response);
        } else {
            self.refuse(to, FULL, b"Full");
        }
    }

    fn answer_item(&mut self, now: Instant, to: &Inbound<'_>) {
        let Some(target) = to.query.target else {
            return self.refuse(to, krpc::ERROR_PROTOCOL, b"No target");
        };
        let token = self.tokens.issue(now, to.from.ip(), &target);
        let Some(stack) = self.stack(to.family) else { return };
        let distance = target.distance(&stack.contacts.table().id());
        let mut packed = Packed::new();
        let frame = FRAME_LEN + TOKEN_LEN + to.tid.len();
        let item = stack.items.get(&distance).unwrap_or_default();
        let older = item.seq.is_some() && to.query.item.seq.is_some_and(|wanted| item.seq <= Some(wanted));
        let bare: Option<Item<'static>> = older.then(|| Item { seq: item.seq, ..Item::default() });
        let len = item_len(&bare.unwrap_or(item));
        let fits = frame + len <= if to.proven { usize::MAX } else { to.room };
        let room = to.room.saturating_sub(frame + if fits { len } else { 0 });
        packed.add_nodes(self, to, &target, (NODES_MAX, room));
        if fits {
            let Some(stack) = self.stacks[to.family as usize].as_ref() else { return };
            let item = bare.unwrap_or_else(|| stack.items.get(&distance).unwrap_or_default());
            let (outbox, id) = (&mut self.outbox, stack.contacts.table().id());
            let body = Response { token: Some(&token), item, ..packed.with_nodes(&Response::new(id)) };
            return push(outbox, to, &Body::Response(body));
        }
        // A value of some size goes to nobody who may not have asked for it; the next question will be answered.
        self.stats.withheld += 1;
        self.challenge(now, to.from);
        self.respond(to, &|response| Response { token: Some(&token), ..packed.with_nodes(&response) });
    }

    fn store_item(&mut self, now: Instant, to: &Inbound<'_>) {
        if to.query.item.key.is_some() && !self.may_check_signature(now) {
            self.stats.limited += 1;
            return;
        }
        let Some(stack) = self.stacks[to.family as usize].as_mut() else { return };
        let own = stack.contacts.table().id();
        match stack.items.put(now, &own, &to.query.item, to.query.cas) {
            Ok(()) => self.respond(to, &|response| response),
            Err((code, text)) => self.refuse(to, code, text),
        }
    }

    fn answer_samples(&mut self, to: &Inbound<'_>) {
        let Some(target) = to.query.target else {
            return self.refuse(to, krpc::ERROR_PROTOCOL, b"No target");
        };
        let start = Id(self.rng.random());
        let Some(stack) = self.stack(to.family) else { return };
        let mut packed = Packed::new();
        let mut room = to.room.saturating_sub(FRAME_LEN + to.tid.len() + 64);
        packed.add_nodes(self, to, &target, (NODES_BESIDE_PEERS, room));
        room = room.saturating_sub(packed.len());
        let own = stack.contacts.table().id();
        let mut samples = Vec::new();
        for distance in stack.peers.distances(&start).take(room / 20) {
            samples.extend_from_slice(&distance.distance(&own).0);
        }
        let num = u32::try_from(stack.peers.len().0).unwrap_or(u32::MAX);
        let samples = Samples { interval: SAMPLE_INTERVAL, num, packed: &samples };
        self.respond(to, &|response| Response { samples: Some(samples), ..packed.with_nodes(&response) });
    }

    fn respond<'r>(&mut self, to: &Inbound<'_>, fill: &dyn Fn(Response<'r>) -> Response<'r>) {
        let Some(stack) = &self.stacks[to.family as usize] else { return };
        let response = fill(Response::new(stack.contacts.table().id()));
        push(&mut self.outbox, to, &Body::Response(response));
    }

    fn refuse(&mut self, to: &Inbound<'_>, code: i64, text: &[u8]) {
        self.stats.refused += 1;
        push(&mut self.outbox, to, &Body::Error(code, text));
    }

    /// Looks at a node that asked us: it enters the table only after it answered us, from that address.
    fn consider(&mut self, now: Instant, from: SocketAddr, id: &Id<20>) {
        let Some(stack) = self.stack(Family::of(&from)) else { return };
        if !is_nowhere(from.ip()) && stack.contacts.has_room(id, &from) {
            self.challenge(now, from);
        }
    }

    /// Asks a host to show that it gets what is sent to it.
    pub(super) fn challenge(&mut self, now: Instant, to: SocketAddr) {
        if self.checks >= CHECKS_MAX || !self.gate.may_challenge(now, to) {
            return;
        }
        let query = self.query(Family::of(&to), Method::Ping);
        self.ask(now, to, &query, Owner::Check);
    }
}

fn push(outbox: &mut wire::Outbox, to: &Inbound<'_>, body: &Body<'_>) {
    let body = *body;
    let message = Message { tid: to.tid, client: None, ip: Some(to.from), body };
    outbox.push(Transmit::new(super::socket(&to.from), to.from), |out| message.encode(out));
}

/// Bytes of an item's fields in an answer.
fn item_len(item: &Item<'_>) -> usize {
    let fixed = |present: bool, len: usize| if present { len } else { 0 };
    item.value.map_or(0, |value| value.len() + 3)
        + fixed(item.key.is_some(), 38)
        + fixed(item.signature.is_some(), 72)
        + fixed(item.seq.is_some(), 27)
}

/// Nodes and peers of an answer, packed on the stack.
struct Packed {
    nodes: [[u8; NODES_MAX * 38]; 2],
    lens: [Option<usize>; 2],
    values: [u8; ANSWER_MAX],
    values_len: usize,
}

impl Packed {
    const fn new() -> Self {
        Self { nodes: [[0; NODES_MAX * 38]; 2], lens: [None; 2], values: [0; ANSWER_MAX], values_len: 0 }
    }

    fn len(&self) -> usize {
        self.lens.iter().flatten().map(|len| len + NODES_LEN).sum()
    }

    fn values(&self) -> &[u8] {
        &self.values[..self.values_len]
    }

    /// Adds the nodes closest to a target, of the families that are wanted and as far as there is room.
    fn add_nodes(&mut self, node: &Mainline, to: &Inbound<'_>, target: &Id<20>, (max, room): (usize, usize)) {
        let want =
            to.query.want.unwrap_or(krpc::Want { v4: to.family == Family::V4, v6: to.family == Family::V6 });
        let wanted = [want.v4, want.v6].into_iter().filter(|wanted| *wanted).count().max(1);
        for (family, wants) in [(Family::V4, want.v4), (Family::V6, want.v6)] {
            let (Some(stack), true) = (node.stack(family), wants) else { continue };
            let max = max.min((room / wanted).saturating_sub(NODES_LEN) / family.node_len());
            let len = pack_nodes(stack, target, max, &mut self.nodes[family as usize]);
            self.lens[family as usize] = Some(len);
        }
    }

    fn add_values(&mut self, room: usize, peers: impl Iterator<Item = SocketAddr>, family: Family) {
        let prefix: &[u8] = if family == Family::V4 { b"6:" } else { b"18:" };
        let len = prefix.len() + family.addr_len();
        for (slot, addr) in self.values.chunks_exact_mut(len).take(room / len).zip(peers) {
            let (head, rest) = slot.split_at_mut(prefix.len());
            head.copy_from_slice(prefix);
            pack_addr(rest, &addr);
            self.values_len += len;
        }
    }

    fn with_nodes<'a>(&'a self, response: &Response<'a>) -> Response<'a> {
        let nodes = |family: Family| {
            let len = self.lens[family as usize]?;
            Some(Nodes::from_packed(family, &self.nodes[family as usize][..len]))
        };
        Response { nodes: nodes(Family::V4), nodes6: nodes(Family::V6), ..*response }
    }
}

fn pack_nodes(stack: &Stack, target: &Id<20>, max: usize, out: &mut [u8]) -> usize {
    let node_len = stack.family.node_len();
    let mut len = 0;
    for (slot, contact) in out.chunks_exact_mut(node_len).take(max).zip(stack.contacts.closest(target)) {
        let (id, addr) = slot.split_at_mut(20);
        id.copy_from_slice(&contact.id.0);
        pack_addr(addr, &contact.addr);
        len += node_len;
    }
    len
}

fn pack_addr(out: &mut [u8], addr: &SocketAddr) {
    let (ip, port) = out.split_at_mut(out.len() - 2);
    match addr.ip() {
        std::net::IpAddr::V4(addr) => ip.copy_from_slice(&addr.octets()),
        std::net::IpAddr::V6(addr) => ip.copy_from_slice(&addr.octets()),
    }
    port.copy_from_slice(&addr.port().to_be_bytes());
}
