use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use wire::hyper::{self, FIND_PEER, LOOKUP, PeerRecord, encode_lookup_reply};
use wire::{Addrs, Command, Id, Reader, Request, Response, Token, pack_addrs};

use crate::bench::author::closest;
use crate::bench::routine::Routine;
use crate::bench::seat::{self, Seat};

/// Longest wait for a request before looking whether the play is over.
const LOOK: Duration = Duration::from_millis(100);

/// A far-away network, played by one thread, so that both clients meet the very same: every node knows all
/// others, answers after one round trip, and some never answer.
pub(crate) struct Stage {
    cast: Cast,
    seats: Arc<[Seat]>,
    _play: Routine<()>,
}

/// How many nodes there are, and how they behave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cast {
    pub(crate) nodes: usize,
    /// The last ones of them; they are named in answers and never give one.
    pub(crate) dead: usize,
    pub(crate) round_trip: Duration,
}

impl Cast {
    fn living(self, seats: &[Seat]) -> &[Seat] {
        seats.get(..self.nodes - self.dead).unwrap_or_default()
    }
}

impl Stage {
    pub(crate) fn open(cast: Cast) -> Result<Self> {
        let seats: Result<Vec<Seat>> = (0..cast.nodes).map(|_| Seat::take(Ipv4Addr::LOCALHOST, 0)).collect();
        let seats: Arc<[Seat]> = seats?.into();
        let mut play = Play { cast, seats: Arc::clone(&seats), replies: VecDeque::new() };
        Ok(Self { cast, seats, _play: Routine::repeat(move || play.step()) })
    }

    /// A node that lives.
    pub(crate) fn bootstrap(&self) -> Result<SocketAddrV4> {
        Ok(self.seats.first().context("the stage is empty")?.address)
    }

    /// The nodes that live.
    pub(crate) fn living(&self) -> Vec<SocketAddrV4> {
        addresses(self.cast.living(&self.seats)).collect()
    }
}

fn addresses(seats: &[Seat]) -> impl Iterator<Item = SocketAddrV4> {
    seats.iter().map(|seat| seat.address)
}

/// A reply on its way.
struct Reply {
    due: Instant,
    from: usize,
    to: SocketAddrV4,
    bytes: Vec<u8>,
}

struct Play {
    cast: Cast,
    seats: Arc<[Seat]>,
    /// In order of time, as every reply takes equally long.
    replies: VecDeque<Reply>,
}

impl Play {
    /// Waits for requests or the time of a reply, and deals with what there is.
    fn step(&mut self) -> Result<()> {
        let mut buf = [0; 2048];
        let until_due = self.replies.front().map(|reply| reply.due.saturating_duration_since(Instant::now()));
        for index in seat::wait(&self.seats, until_due.unwrap_or(LOOK))? {
            let seat = &self.seats[index];
            while let Some((from, bytes)) = seat.receive(&mut buf)? {
                let Some((to, bytes)) = self.reply(index, from, bytes) else { continue };
                let due = Instant::now() + self.cast.round_trip;
                self.replies.push_back(Reply { due, from: index, to, bytes });
            }
        }
        while self.replies.front().is_some_and(|reply| reply.due <= Instant::now()) {
            let Some(reply) = self.replies.pop_front() else { break };
            self.seats[reply.from].socket.send_to(&reply.bytes, reply.to)?;
        }
        Ok(())
    }

    fn reply(&self, index: usize, from: SocketAddrV4, bytes: &[u8]) -> Option<(SocketAddrV4, Vec<u8>)> {
        let seat = self.cast.living(&self.seats).get(index)?;
        let request = Request::decode(bytes).ok()?;
        let to = match (request.command, request.value) {
            (Command::PING_NAT, Some(value)) => SocketAddrV4::new(*from.ip(), Reader::new(value).u16().ok()?),
            _ => from,
        };
        let closer = request
            .target
            .map(|target| pack_addrs(closest(addresses(&self.seats), target)))
            .unwrap_or_default();
        let record = request.target.and_then(|target| self.record(seat, target));
        let known = matches!(request.command, Command::Internal(_) | LOOKUP | FIND_PEER);
        let mut out = Vec::new();
        Response {
            tid: request.tid,
            to,
            id: Some(seat.id),
            token: matches!(request.command, LOOKUP | FIND_PEER).then_some(Token([7; 32])),
            closer: Addrs::from_packed(&closer),
            error: if known { 0 } else { hyper::error::UNKNOWN_COMMAND },
            value: if request.command == LOOKUP { record.as_deref() } else { None },
        }
        .encode(&mut out);
        Some((to, out))
    }

    /// One peer, kept by the living nodes closest to every topic.
    fn record(&self, seat: &Seat, target: Id<32>) -> Option<Vec<u8>> {
        let keepers = closest(addresses(self.cast.living(&self.seats)), target);
        keepers.contains(&seat.address).then(|| {
            let (mut record, mut value) = (Vec::new(), Vec::new());
            PeerRecord { public_key: [9; 32], relays: Addrs::EMPTY }.encode(&mut record);
            encode_lookup_reply([record.as_slice()].into_iter(), 0, &mut value);
            value
        })
    }
}
