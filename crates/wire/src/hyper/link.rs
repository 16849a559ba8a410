use std::net::SocketAddrV4;

use crate::compact::{Addrs, DecodeError, Reader, Write};
use crate::rpc::{flags, optional};

/// Which leg of its way a relayed message is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// From the client to a node that may know the server.
    FromClient,
    /// From the server back to the relay.
    FromServer,
    /// From the relay to the server, or to a second relay.
    FromRelay,
    /// From the second relay to the server.
    FromSecondRelay,
    /// To the client, as a response.
    Reply,
    /// A number that newer peers may give a meaning; nothing is done with it.
    Unknown(u64),
}

impl Mode {
    const fn from_number(number: u64) -> Self {
        match number {
            0 => Self::FromClient,
            1 => Self::FromServer,
            2 => Self::FromRelay,
            3 => Self::FromSecondRelay,
            4 => Self::Reply,
            other => Self::Unknown(other),
        }
    }

    const fn number(self) -> u64 {
        match self {
            Self::FromClient => 0,
            Self::FromServer => 1,
            Self::FromRelay => 2,
            Self::FromSecondRelay => 3,
            Self::Reply => 4,
            Self::Unknown(number) => number,
        }
    }
}

/// The value of a `PEER_HANDSHAKE` request or response.
///
/// ```text
/// | flags uint: 1 peer, 2 relay | mode uint | noise bytes | [peer address 6] | [relay address 6] |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandshakeEnvelope<'a> {
    /// Which leg this is.
    pub mode: Mode,
    /// A Noise IK message.
    pub noise: &'a [u8],
    /// The other end, as a relay saw it.
    pub peer: Option<SocketAddrV4>,
    /// The relay to pass through, or the one passed.
    pub relay: Option<SocketAddrV4>,
}

impl<'a> HandshakeEnvelope<'a> {
    /// Reads an envelope.
    ///
    /// # Errors
    ///
    /// Fails on early end.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let flags = r.uint()?;
        Ok(Self {
            mode: Mode::from_number(r.uint()?),
            noise: r.bytes()?,
            peer: optional(flags & 1, || r.addr())?,
            relay: optional(flags & 2, || r.addr())?,
        })
    }

    /// Appends the envelope to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.uint(flags([(1, self.peer.is_some()), (2, self.relay.is_some())]));
        out.uint(self.mode.number());
        out.bytes(self.noise);
        self.peer.iter().for_each(|peer| out.addr(*peer));
        self.relay.iter().for_each(|relay| out.addr(*relay));
    }
}

/// The value of a `PEER_HOLEPUNCH` request or response.
///
/// ```text
/// | flags uint: 1 peer | mode uint | id uint | payload bytes | [peer address 6] |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HolepunchEnvelope<'a> {
    /// Which leg this is.
    pub mode: Mode,
    /// The server's number for this handshake.
    pub id: u64,
    /// An encrypted [`HolepunchPayload`](super::HolepunchPayload).
    pub payload: &'a [u8],
    /// The other end, as a relay saw it.
    pub peer: Option<SocketAddrV4>,
}

impl<'a> HolepunchEnvelope<'a> {
    /// Reads an envelope.
    ///
    /// # Errors
    ///
    /// Fails on early end.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let flags = r.uint()?;
        Ok(Self {
            mode: Mode::from_number(r.uint()?),
            id: r.uint()?,
            payload: r.bytes()?,
            peer: optional(flags & 1, || r.addr())?,
        })
    }

    /// Appends the envelope to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.uint(flags([(1, self.peer.is_some())]));
        out.uint(self.mode.number());
        out.uint(self.id);
        out.bytes(self.payload);
        self.peer.iter().for_each(|peer| out.addr(*peer));
    }
}

/// A key with nodes that know it, as applications pass it around (npm `hyperdht-address`).
///
/// ```text
/// | public key 32 | [flags uint: 1 nodes | [node addresses]] |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeAddress<'a> {
    /// Ed25519 public key.
    pub public_key: [u8; 32],
    /// Nodes to ask first.
    pub nodes: Addrs<'a>,
}

impl<'a> NodeAddress<'a> {
    /// Reads an address; a bare key is one.
    ///
    /// # Errors
    ///
    /// Fails on early end.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let public_key = r.array()?;
        let flags = if r.rest().is_empty() { 0 } else { r.uint()? };
        Ok(Self { public_key, nodes: optional(flags & 1, || r.addrs())?.unwrap_or_default() })
    }

    /// Appends the address to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.raw(&self.public_key);
        out.uint(flags([(1, !self.nodes.is_empty())]));
        if !self.nodes.is_empty() {
            out.addrs(self.nodes);
        }
    }
}

/// Asks a blind relay to join two streams that name the same token (npm `blind-relay` 1.6).
///
/// ```text
/// | flags uint: 1 initiator | token 32 | stream id uint | seq uint |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Which of the two sides this is.
    pub initiator: bool,
    /// Known to both sides only.
    pub token: [u8; 32],
    /// UDX stream id of the sender.
    pub stream: u32,
    /// First sequence number; always 0.
    pub seq: u32,
}

impl Pair {
    /// Reads the message.
    ///
    /// # Errors
    ///
    /// Fails on early end and on numbers above 32 bits.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let initiator = r.uint()? & 1 != 0;
        Ok(Self { initiator, token: r.array()?, stream: r.uint32()?, seq: r.uint32()? })
    }

    /// Appends the message to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.uint(flags([(1, self.initiator)]));
        out.raw(&self.token);
        out.uint(u64::from(self.stream));
        out.uint(u64::from(self.seq));
    }
}

/// Takes a [`Pair`] back: `| flags uint: 0 | token 32 |`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unpair {
    /// The token of the pair.
    pub token: [u8; 32],
}

impl Unpair {
    /// Reads the message.
    ///
    /// # Errors
    ///
    /// Fails on early end.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        r.uint()?;
        Ok(Self { token: r.array()? })
    }

    /// Appends the message to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.uint(0);
        out.raw(&self.token);
    }
}
