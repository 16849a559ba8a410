use std::net::SocketAddr;

use crate::compact::DecodeError;
use crate::rpc::is_rpc;

/// Names one UDP socket of the host; punching through a random NAT opens up to 256 of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u16);

impl SocketId {
    /// The socket that others can reach if the host is open; HyperDHT's default port is 49737.
    pub const SERVER: Self = Self(0);
    /// The socket that requests leave from while the host believes it is firewalled.
    pub const CLIENT: Self = Self(1);
}

/// A datagram to send; its bytes are in the buffer that was given to `poll_transmit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Transmit {
    /// Socket to send from.
    pub from: SocketId,
    /// Destination.
    pub to: SocketAddr,
    /// IP time to live, in hops; `None` is the system default.
    pub ttl: Option<u8>,
    /// Length in bytes of each datagram where the buffer holds several for one system call, the last may be
    /// shorter; `None` where it holds one.
    pub segment: Option<u16>,
}

impl Transmit {
    /// A single datagram with the default time to live.
    pub const fn new(from: SocketId, to: SocketAddr) -> Self {
        Self { from, to, ttl: None, segment: None }
    }
}

/// What kind of datagram arrived on one of HyperDHT's sockets, told by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datagram<'a> {
    /// A `dht-rpc` request or response.
    Rpc(&'a [u8]),
    /// A UDX stream packet, if its stream exists.
    Stream(&'a [u8]),
    /// A hole-punch probe, at most one byte.
    Probe,
}

const STREAM_HEADER_LEN: usize = 20;

impl<'a> Datagram<'a> {
    /// Classifies a datagram without decoding it.
    ///
    /// # Errors
    ///
    /// Fails on a first byte that no protocol uses.
    pub fn classify(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        match *bytes {
            [] | [_] => Ok(Self::Probe),
            [0xff, 0x01, ..] if bytes.len() >= STREAM_HEADER_LEN => Ok(Self::Stream(bytes)),
            [first, ..] if is_rpc(first) => Ok(Self::Rpc(bytes)),
            [other, ..] => Err(DecodeError::UnknownProtocol(other)),
        }
    }
}
