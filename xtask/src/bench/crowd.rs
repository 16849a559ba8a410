use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use anyhow::{Result, ensure};
use wire::{Addrs, Command, Id, Request, Response};

use crate::bench::author::id_of;
use crate::bench::routine::Routine;
use crate::bench::seat::{self, Seat};

/// Nodes that a row of a routing table holds.
const ROW: usize = 20;

/// Rows that the crowd fills.
const ROWS: usize = 6;

/// How often the answering thread can be told to end.
const LOOK: Duration = Duration::from_millis(200);

/// Nodes on loopback that fill the routing table of one node and answer when it asks whether they are there.
pub(crate) struct Crowd {
    _answers: Routine<()>,
}

impl Crowd {
    /// Introduces as many nodes as fill six rows of a table, 120.
    pub(crate) fn introduce(to: SocketAddrV4, id: Id<32>) -> Result<Self> {
        let seats = seats_around(id)?;
        for seat in &seats {
            let hello = Request {
                tid: 1,
                to,
                id: Some(seat.id),
                token: None,
                command: Command::PING,
                target: None,
                value: None,
            };
            let mut out = Vec::new();
            hello.encode(&mut out);
            seat.socket.send_to(&out, to)?;
        }
        Ok(Self { _answers: Routine::repeat(move || answer(&seats, LOOK)) })
    }
}

/// Writes the answer to a node that asks whether we are there; false where it does not ask.
pub(crate) fn pong(bytes: &[u8], from: SocketAddrV4, id: Option<Id<32>>, out: &mut Vec<u8>) -> bool {
    let Ok(request) = Request::decode(bytes) else { return false };
    let closer = Addrs::EMPTY;
    Response { tid: request.tid, to: from, id, token: None, closer, error: 0, value: None }.encode(out);
    true
}

fn seats_around(id: Id<32>) -> Result<Vec<Seat>> {
    let mut rows = [0; ROWS];
    let mut seats = Vec::new();
    for port in 20_000..60_000 {
        let shared = id_of(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).shared_bits(&id);
        let Some(row) = rows.get_mut(shared).filter(|row| **row < ROW) else { continue };
        if let Ok(seat) = Seat::take(Ipv4Addr::LOCALHOST, port) {
            seats.push(seat);
            *row += 1;
        }
    }
    ensure!(seats.len() == ROWS * ROW, "only {} ports are free for the crowd", seats.len());
    Ok(seats)
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
