use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::ops::AddAssign;
use std::os::fd::AsRawFd;
use std::task::{Context, Poll};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn6, bind, setsockopt, socket, sockopt};
use tokio::net::UdpSocket;

use crate::batch::{self, Batch, Inbox, Slot};

/// Receive buffer asked of the system, in bytes, as the reference does: half a second of a busy node.
const RECEIVE_BUFFER: usize = 1 << 20;

/// Errors read in a row before others have a turn: each is one ICMP answer, and there may be a flood of them.
const ERRORS_READ: usize = 64;

/// A UDP socket that counts what passes.
#[derive(Debug)]
pub struct Socket {
    io: UdpSocket,
    local: SocketAddr,
    traffic: Traffic,
}

/// What passed through one socket since it was first opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Datagrams received.
    pub packets_in: u64,
    /// Bytes received, without IP and UDP headers.
    pub bytes_in: u64,
    /// Datagrams sent.
    pub packets_out: u64,
    /// Bytes sent, without IP and UDP headers.
    pub bytes_out: u64,
    /// Datagrams dropped because they were too long to be anyone's.
    pub dropped_in: u64,
    /// Datagrams the system refused to send.
    pub dropped_out: u64,
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.packets_in += other.packets_in;
        self.bytes_in += other.bytes_in;
        self.packets_out += other.packets_out;
        self.bytes_out += other.bytes_out;
        self.dropped_in += other.dropped_in;
        self.dropped_out += other.dropped_out;
    }
}

/// How far a run of datagrams got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// All were sent or dropped.
    All,
    /// The socket is full; so many were sent or dropped before.
    Blocked(usize),
}

impl Socket {
    /// Opens a socket on one port, or on any where `port` is zero.
    ///
    /// # Errors
    ///
    /// Fails as `bind` does. Must be called inside a tokio runtime.
    pub fn bind(host: Ipv4Addr, port: u16) -> io::Result<Self> {
        Self::adopt(std::net::UdpSocket::bind((host, port))?)
    }

    /// Opens a socket of IPv6 alone, so that one of IPv4 may have the same port.
    ///
    /// # Errors
    ///
    /// Fails as `bind` does, and where the system has no IPv6. Must be called inside a tokio runtime.
    pub fn bind_v6(host: Ipv6Addr, port: u16) -> io::Result<Self> {
        let flags = SockFlag::empty();
        let fd = socket(AddressFamily::Inet6, SockType::Datagram, flags, None)?;
        setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
        bind(fd.as_raw_fd(), &SockaddrIn6::from(SocketAddrV6::new(host, port, 0, 0)))?;
        Self::adopt(fd.into())
    }

    fn adopt(socket: std::net::UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?;
        if setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER).is_err() {
            tracing::debug!(%local, "the system keeps its own receive buffer size");
        }
        Ok(Self { io: UdpSocket::from_std(socket)?, local, traffic: Traffic::default() })
    }

    /// Returns the address the socket is bound to; the host may be unspecified.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Returns the counters.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Continues the counters of a socket that this one replaces.
    pub fn count_from(&mut self, traffic: Traffic) {
        self.traffic = traffic;
    }

    /// Waits until something may be received. Cancellation-safe.
    pub async fn readable(&self) {
        // An error is reported again, with its cause, by the call that follows.
        self.io.readable().await.unwrap_or_default();
    }

    /// Waits until something may be sent. Cancellation-safe.
    pub async fn writable(&self) {
        self.io.writable().await.unwrap_or_default();
    }

    /// Tells whether something may be received; wakes the task that asked last.
    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.io.poll_recv_ready(context).map(Result::unwrap_or_default)
    }

    /// Tells whether something may be sent; wakes the task that asked last.
    pub fn poll_writable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.io.poll_send_ready(context).map(Result::unwrap_or_default)
    }

    /// Fills `inbox` with what waits; a batch of zero means that nothing does.
    pub fn receive<const LEN: usize>(&mut self, inbox: &mut Inbox<LEN>) -> Batch {
        for _ in 0..ERRORS_READ {
            match inbox.receive(&self.io) {
                Ok(batch) => {
                    self.traffic.dropped_in += batch.oversized as u64;
                    for (_, bytes) in inbox.datagrams() {
                        self.traffic.packets_in += 1;
                        self.traffic.bytes_in += bytes.len() as u64;
                    }
                    return batch;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // An ICMP answer to something sent earlier: reading it clears it.
                Err(error) => tracing::trace!(%error, local = %self.local, "receive"),
            }
        }
        Batch::default()
    }

    /// Sends datagrams in order; one that the system refuses is dropped and counted.
    pub fn send(&mut self, slots: &[Slot]) -> Sent {
        let mut done = 0;
        while let Some(first) = slots.get(done) {
            let rest = &slots[done..];
            let outcome = if let Some(ttl) = first.transmit.ttl {
                self.send_with_ttl(first, ttl).map(|()| 1)
            } else {
                let run = rest.iter().take_while(|slot| slot.transmit.ttl.is_none()).count();
                batch::send(&self.io, &rest[..run])
            };
            match outcome {
                Ok(sent) => {
                    self.traffic.packets_out += sent as u64;
                    self.traffic.bytes_out +=
                        rest[..sent].iter().map(|slot| slot.bytes.len() as u64).sum::<u64>();
                    done += sent.max(1);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Sent::Blocked(done),
                Err(error) => {
                    tracing::trace!(%error, to = %first.transmit.to, "send");
                    self.traffic.dropped_out += 1;
                    done += 1;
                }
            }
        }
        Sent::All
    }

    /// Probes that must die on the way leave between two changes of the socket's option.
    fn send_with_ttl(&self, slot: &Slot, ttl: u8) -> io::Result<()> {
        let usual = self.io.ttl()?;
        self.io.set_ttl(ttl.into())?;
        let outcome = self.io.try_send_to(&slot.bytes, slot.transmit.to);
        self.io.set_ttl(usual)?;
        outcome.map(|_| ())
    }
}
