use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsFd as _;
use std::time::Duration;

use anyhow::{Result, bail};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use wire::Id;

use crate::bench::author::id_of;

/// One address on loopback that the harness plays a node at.
pub(crate) struct Seat {
    pub(crate) address: SocketAddrV4,
    pub(crate) id: Id<32>,
    pub(crate) socket: UdpSocket,
}

impl Seat {
    /// Takes an address; port 0 takes any.
    pub(crate) fn take(host: Ipv4Addr, port: u16) -> Result<Self> {
        let socket = UdpSocket::bind((host, port))?;
        let SocketAddr::V4(address) = socket.local_addr()? else {
            bail!("an IPv4 socket has an IPv6 address")
        };
        socket.set_nonblocking(true)?;
        Ok(Self { address, id: id_of(address), socket })
    }

    /// Takes the next datagram, if one waits.
    pub(crate) fn receive<'a>(&self, buf: &'a mut [u8]) -> Result<Option<(SocketAddrV4, &'a [u8])>> {
        match self.socket.recv_from(buf) {
            Ok((len, SocketAddr::V4(from))) => Ok(buf.get(..len).map(|bytes| (from, bytes))),
            Ok((_, SocketAddr::V6(_))) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Finds an address on loopback that nobody has.
pub(crate) fn free_address() -> Result<SocketAddrV4> {
    Ok(Seat::take(Ipv4Addr::LOCALHOST, 0)?.address)
}

/// Waits until a datagram waits at one of the seats; returns which.
pub(crate) fn wait(seats: &[Seat], longest: Duration) -> Result<Vec<usize>> {
    let mut fds: Vec<_> = seats.iter().map(|s| PollFd::new(s.socket.as_fd(), PollFlags::POLLIN)).collect();
    ppoll(&mut fds, Some(TimeSpec::from_duration(longest)), None)?;
    let ready = fds.iter().enumerate().filter(|(_, fd)| fd.any().unwrap_or(false));
    Ok(ready.map(|(index, _)| index).collect())
}
