use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg};
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, SocketAddrAny, sendmmsg};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::{Arrival, BATCH, Batch, Slot};

/// What the kernel fills beside the datagrams.
pub(super) struct Headers(MultiHeaders<SockaddrStorage>);

impl Default for Headers {
    fn default() -> Self {
        Self(MultiHeaders::preallocate(BATCH, None))
    }
}

pub(super) fn receive<const LEN: usize>(
    socket: &UdpSocket,
    headers: &mut Headers,
    buffers: &mut [[u8; LEN]],
    received: &mut Vec<Arrival>,
) -> io::Result<Batch> {
    let mut batch = Batch::default();
    let outcome = socket.try_io(Interest::READABLE, || {
        batch = receive_once(socket, headers, buffers, received)?;
        // A batch that is not full has emptied the socket. Saying so lets tokio wait for the next edge
        // instead of calling once more in vain.
        if batch.taken < BATCH { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    match outcome {
        Err(error) if batch.taken == 0 => Err(error),
        Ok(()) | Err(_) => Ok(batch),
    }
}

fn receive_once<const LEN: usize>(
    socket: &UdpSocket,
    headers: &mut Headers,
    buffers: &mut [[u8; LEN]],
    received: &mut Vec<Arrival>,
) -> io::Result<Batch> {
    let mut buffers = buffers.iter_mut();
    let mut slices: [[IoSliceMut<'_>; 1]; BATCH] =
        std::array::from_fn(|_| [IoSliceMut::new(buffers.next().map_or(&mut [], |buffer| buffer))]);
    let messages = recvmmsg(socket.as_raw_fd(), &mut headers.0, &mut slices, MsgFlags::MSG_DONTWAIT, None)?;
    let mut batch = Batch::default();
    for (slot, message) in messages.enumerate() {
        batch.taken += 1;
        let Some(from) = message.address.as_ref().and_then(source) else { continue };
        if message.flags.contains(MsgFlags::MSG_TRUNC) {
            batch.oversized += 1;
            continue;
        }
        received.push(Arrival { from, len: message.bytes, slot });
    }
    Ok(batch)
}

fn source(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|address| SocketAddrV4::from(*address).into());
    v4.or_else(|| address.as_sockaddr_in6().map(|address| SocketAddrV6::from(*address).into()))
}

/// Most sends are small; their headers are not worth preparing 64 of.
const FEW: usize = 8;

pub(super) fn send(socket: &UdpSocket, slots: &[Slot]) -> io::Result<usize> {
    socket.try_io(Interest::WRITABLE, || {
        if slots.len() <= FEW { send_once::<FEW>(socket, slots) } else { send_once::<BATCH>(socket, slots) }
    })
}

// nix has `sendmmsg` too, but tells how many were sent only by reading addresses that nobody wrote.
fn send_once<const N: usize>(socket: &UdpSocket, slots: &[Slot]) -> io::Result<usize> {
    let slots = &slots[..slots.len().min(N)];
    let Some(last) = slots.len().checked_sub(1) else { return Ok(0) };
    let addresses: [SocketAddrAny; N] = std::array::from_fn(|i| slots[i.min(last)].transmit.to.into());
    let bytes: [IoSlice<'_>; N] = std::array::from_fn(|i| IoSlice::new(&slots[i.min(last)].bytes));
    let mut controls: [_; N] = std::array::from_fn(|_| SendAncillaryBuffer::default());
    let mut control = controls.iter_mut();
    let mut messages: [MMsgHdr<'_>; N] = std::array::from_fn(|i| {
        let control = control.next().expect("there are N of both");
        MMsgHdr::new_with_addr(&addresses[i], std::slice::from_ref(&bytes[i]), control)
    });
    Ok(sendmmsg(socket, &mut messages[..=last], SendFlags::DONTWAIT)?)
}
