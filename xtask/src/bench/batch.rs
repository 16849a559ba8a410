use std::array;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg, sendmsg,
};

/// Datagrams moved by one system call.
pub(crate) const BATCH: usize = 64;

/// Room for one datagram; nothing that a DHT node sends is longer.
const DATAGRAM_MAX: usize = 2048;

/// Whether a receive call may wait for the first datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Return at once where nothing is there.
    Never,
    /// Wait for one datagram, or for the socket's read timeout.
    ForOne,
}

/// A datagram in an [`Inbox`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Received {
    /// Who sent it.
    pub(crate) from: SocketAddrV4,
    /// Which of our addresses it was sent to, on sockets that ask for it.
    pub(crate) at: Ipv4Addr,
    len: usize,
}

/// What one `recvmmsg` brought.
pub(crate) struct Inbox {
    headers: MultiHeaders<SockaddrIn>,
    buffers: Vec<[u8; DATAGRAM_MAX]>,
    received: Vec<Received>,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self {
            headers: MultiHeaders::preallocate(BATCH, None),
            buffers: vec![[0; DATAGRAM_MAX]; BATCH],
            received: Vec::with_capacity(BATCH),
        }
    }

    /// An inbox for a socket with `IP_PKTINFO`, which fills [`Received::at`].
    pub(crate) fn with_destinations() -> Self {
        let space = nix::cmsg_space!(libc::in_pktinfo);
        Self { headers: MultiHeaders::preallocate(BATCH, Some(space)), ..Self::new() }
    }

    /// Replaces the content by what waits at the socket, up to [`BATCH`] datagrams; none on a timeout.
    pub(crate) fn receive(&mut self, socket: &UdpSocket, wait: Wait) -> io::Result<usize> {
        let flags = match wait {
            Wait::Never => MsgFlags::MSG_DONTWAIT,
            Wait::ForOne => MsgFlags::MSG_WAITFORONE,
        };
        self.received.clear();
        let mut buffers = self.buffers.iter_mut();
        let mut slices: [_; BATCH] = array::from_fn(|_| {
            let buffer = buffers.next().map_or(&mut [][..], |b| &mut b[..]);
            [IoSliceMut::new(buffer)]
        });
        match recvmmsg(socket.as_raw_fd(), &mut self.headers, slices.iter_mut(), flags, None) {
            Ok(results) => self.received.extend(results.map(|message| Received {
                from: message.address.map_or(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0), SocketAddrV4::from),
                at: destination(message.cmsgs().ok().into_iter().flatten()),
                len: message.bytes,
            })),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(self.received.len())
    }

    /// Goes through the datagrams in order of arrival.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Received, &[u8])> {
        self.received.iter().zip(&self.buffers).map(|(meta, buffer)| (*meta, &buffer[..meta.len]))
    }
}

fn destination(mut messages: impl Iterator<Item = ControlMessageOwned>) -> Ipv4Addr {
    let found = messages.find_map(|message| {
        if let ControlMessageOwned::Ipv4PacketInfo(to) = message { Some(to.ipi_addr.s_addr) } else { None }
    });
    found.map_or(Ipv4Addr::UNSPECIFIED, |addr| Ipv4Addr::from(addr.to_ne_bytes()))
}

/// Datagrams that leave with one `sendmmsg`.
pub(crate) struct Outbound {
    headers: MultiHeaders<SockaddrIn>,
    bytes: Vec<u8>,
    ends: Vec<usize>,
    to: Vec<Option<SockaddrIn>>,
}

impl Outbound {
    pub(crate) fn new() -> Self {
        Self::with_control(None)
    }

    /// A batch whose source address is chosen by [`Outbound::flush_from`].
    pub(crate) fn with_sources() -> Self {
        Self::with_control(Some(nix::cmsg_space!(libc::in_pktinfo)))
    }

    fn with_control(space: Option<Vec<u8>>) -> Self {
        Self {
            headers: MultiHeaders::preallocate(BATCH, space),
            bytes: Vec::with_capacity(BATCH * 256),
            ends: Vec::with_capacity(BATCH),
            to: Vec::with_capacity(BATCH),
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.ends.len() >= BATCH
    }

    /// Adds a datagram whose bytes `write` appends.
    pub(crate) fn push(&mut self, to: SocketAddrV4, write: impl FnOnce(&mut Vec<u8>)) {
        debug_assert!(!self.is_full(), "flush before pushing more");
        write(&mut self.bytes);
        self.ends.push(self.bytes.len());
        self.to.push(Some(SockaddrIn::from(to)));
    }

    /// Sends everything; the socket must be a blocking one.
    pub(crate) fn flush(&mut self, socket: &UdpSocket) -> io::Result<()> {
        self.send(socket, &[])
    }

    /// Sends everything from one of our addresses, on a socket bound to any address.
    pub(crate) fn flush_from(&mut self, socket: &UdpSocket, source: Ipv4Addr) -> io::Result<()> {
        let source = libc::in_addr { s_addr: u32::from_ne_bytes(source.octets()) };
        let info = libc::in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: source, ipi_addr: source };
        self.send(socket, &[ControlMessage::Ipv4PacketInfo(&info)])
    }

    fn send(&mut self, socket: &UdpSocket, control: &[ControlMessage<'_>]) -> io::Result<()> {
        let mut sent = 0;
        while sent < self.ends.len() {
            let mut start = if sent == 0 { 0 } else { self.ends[sent - 1] };
            let mut ends = self.ends[sent..].iter();
            let slices: [_; BATCH] = array::from_fn(|_| {
                let end = ends.next().copied().unwrap_or(start);
                let slice = &self.bytes[start..end];
                start = end;
                [IoSlice::new(slice)]
            });
            let waiting = self.ends.len() - sent;
            let (fd, to) = (socket.as_raw_fd(), &self.to[sent..]);
            let slices = slices[..waiting].iter();
            match sendmmsg(fd, &mut self.headers, slices, to, control, MsgFlags::empty()) {
                Ok(results) => sent += results.count().max(1),
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.bytes.clear();
        self.ends.clear();
        self.to.clear();
        Ok(())
    }
}

/// Sends several datagrams of the same length in one piece, which the kernel cuts.
pub(crate) fn send_segments(
    socket: &UdpSocket,
    to: SocketAddrV4,
    bytes: &[u8],
    len: usize,
) -> io::Result<()> {
    let len = u16::try_from(len).map_err(io::Error::other)?;
    let (slices, control) = ([IoSlice::new(bytes)], [ControlMessage::UdpGsoSegments(&len)]);
    sendmsg(socket.as_raw_fd(), &slices, &control, MsgFlags::empty(), Some(&SockaddrIn::from(to)))?;
    Ok(())
}
