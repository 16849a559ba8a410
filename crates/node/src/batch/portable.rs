use std::io;

use tokio::net::UdpSocket;

use super::{Arrival, Batch, Slot};

/// Nothing is kept between calls where each moves one datagram.
#[derive(Default)]
pub(super) struct Headers;

pub(super) fn receive<const LEN: usize>(
    socket: &UdpSocket,
    _headers: &mut Headers,
    buffers: &mut [[u8; LEN]],
    received: &mut Vec<Arrival>,
) -> io::Result<Batch> {
    let mut batch = Batch::default();
    for (slot, buffer) in buffers.iter_mut().enumerate() {
        match socket.try_recv_from(buffer) {
            Ok((len, from)) => received.push(Arrival { from, len, slot }),
            Err(error) if batch.taken == 0 => return Err(error),
            Err(_) => break,
        }
        batch.taken += 1;
    }
    Ok(batch)
}

pub(super) fn send(socket: &UdpSocket, slots: &[Slot]) -> io::Result<usize> {
    let mut sent = 0;
    for slot in slots {
        match socket.try_send_to(&slot.bytes, slot.transmit.to) {
            Ok(_) => sent += 1,
            Err(error) if sent == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(sent)
}
