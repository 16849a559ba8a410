use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use wire::{Addrs, Command, Id, Request, Response};

use crate::bench::author::id_of;
use crate::bench::caller::Caller;
use crate::bench::routine::Routine;
use crate::bench::seat::{self, Seat};

/// Nodes that a row of a routing table holds.
const ROW: usize = 20;

/// Rows that the crowd fills.
const ROWS: usize = 6;

/// Longest that it takes until the node knows them all.
const INTRODUCTION_MAX: Duration = Duration::from_secs(20);

/// How often the answering thread can be told to end.
const LOOK: Duration = Duration::from_millis(200);

/// Nodes on loopback that fill the routing table of one node and answer when it asks whether they are there.
pub(crate) struct Crowd {
    _answers: Routine<()>,
}

impl Crowd {
    /// Introduces as many nodes as fill six rows of a table, 120, and returns when the node names them all.
    pub(crate) fn introduce(caller: &mut Caller, id: Id<32>) -> Result<Self> {
        let seat = |address: SocketAddrV4| Seat::take(*address.ip(), address.port()).ok();
        let seats: Arc<[Seat]> = around(id, seat).into();
        ensure!(seats.len() == ROWS * ROW, "only {} ports are free for the crowd", seats.len());
        let answering = Arc::clone(&seats);
        let answers = Routine::repeat(move || answer(&answering, LOOK));
        let deadline = Instant::now() + INTRODUCTION_MAX;
        let mut strangers: Vec<&Seat> = seats.iter().collect();
        while !strangers.is_empty() {
            ensure!(Instant::now() < deadline, "{} nodes are not taken into the table", strangers.len());
            for seat in &strangers {
                seat.socket.send_to(&hello(caller.to(), seat.id), caller.to())?;
            }
            // A node takes only those in that answer it, and tries a few at a time.
            let mut unknown = Vec::new();
            for seat in strangers {
                let closer = caller.ask(Command::FIND_NODE, Some(seat.id))?.closer;
                if !closer.iter().any(|address| address == seat.address) {
                    unknown.push(seat);
                }
            }
            strangers = unknown;
        }
        Ok(Self { _answers: answers })
    }
}

/// A ping of a node that wants a place in the table.
pub(crate) fn hello(to: SocketAddrV4, id: Id<32>) -> Vec<u8> {
    let (id, command) = (Some(id), Command::PING);
    let mut out = Vec::new();
    Request { tid: 1, to, id, token: None, command, target: None, value: None }.encode(&mut out);
    out
}

/// Chooses addresses on loopback whose ids fill the first rows of the table of `id`, as far as they can be taken.
pub(crate) fn around<T>(id: Id<32>, take: impl Fn(SocketAddrV4) -> Option<T>) -> Vec<T> {
    let mut rows = [0; ROWS];
    let mut taken = Vec::new();
    for port in 20_000..60_000 {
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        let shared = id_of(address).shared_bits(&id);
        let Some(row) = rows.get_mut(shared).filter(|row| **row < ROW) else { continue };
        if let Some(seat) = take(address) {
            taken.push(seat);
            *row += 1;
        }
    }
    taken
}

/// Writes the answer to a node that asks whether we are there; false where it does not ask.
pub(crate) fn pong(bytes: &[u8], from: SocketAddrV4, id: Option<Id<32>>, out: &mut Vec<u8>) -> bool {
    let Ok(request) = Request::decode(bytes) else { return false };
    let closer = Addrs::EMPTY;
    Response { tid: request.tid, to: from, id, token: None, closer, error: 0, value: None }.encode(out);
    true
}

/// Answers those who ask the seats whether they are there.
pub(crate) fn answer(seats: &[Seat], longest: Duration) -> Result<()> {
    let (mut buf, mut out) = ([0; 2048], Vec::new());
    for index in seat::wait(seats, longest)? {
        let Some((from, bytes)) = seats[index].receive(&mut buf)? else { continue };
        out.clear();
        if pong(bytes, from, Some(seats[index].id), &mut out) {
            seats[index].socket.send_to(&out, from)?;
        }
    }
    Ok(())
}
