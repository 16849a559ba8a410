//! Requests and responses of `dht-rpc` 6.27 (`lib/io.js`).

use std::net::SocketAddrV4;

use crate::compact::{Addrs, DecodeError, Reader, Write};
use crate::id::Id;

const REQUEST: u8 = 0x03;
const RESPONSE: u8 = 0x13;

const HAS_ID: u64 = 1;
const HAS_TOKEN: u64 = 2;
const REQUEST_INTERNAL: u64 = 4;
const REQUEST_HAS_TARGET: u64 = 8;
const RESPONSE_HAS_CLOSER: u64 = 4;
const RESPONSE_HAS_ERROR: u64 = 8;
const HAS_VALUE: u64 = 16;

/// A round-trip token: proof that its holder receives what is sent to its address. Opaque to the holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token(pub [u8; 32]);

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Command {
    /// A command of `dht-rpc` itself.
    Internal(u64),
    /// A command of the application above it, HyperDHT.
    App(u64),
}

impl Command {
    /// Are you there? An optional value is padding.
    pub const PING: Self = Self::Internal(0);
    /// Answer to another port of mine: `| port u16le |`.
    pub const PING_NAT: Self = Self::Internal(1);
    /// Which nodes are close to the target?
    pub const FIND_NODE: Self = Self::Internal(2);
    /// A node that you named does not answer: `| address 6 |`.
    pub const DOWN_HINT: Self = Self::Internal(3);
    /// Answer after a delay: `| milliseconds u32le |`.
    pub const DELAYED_PING: Self = Self::Internal(4);
}

/// A request.
///
/// ```text
/// | 03 | flags uint | tid u16le | to 6 | [id 32] | [token 32] | command uint | [target 32] | [value bytes] |
/// flags: 1 id, 2 token, 4 internal command, 8 target, 16 value
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Names the exchange; the response carries the same.
    pub tid: u16,
    /// The address that the sender believes it is sending to.
    pub to: SocketAddrV4,
    /// The sender's id, where it wants a place in routing tables.
    pub id: Option<Id<32>>,
    /// A token that the receiver gave earlier.
    pub token: Option<Token>,
    /// What is asked.
    pub command: Command,
    /// The point in the key space that it is about.
    pub target: Option<Id<32>>,
    /// The command's argument; an empty one differs from none.
    pub value: Option<&'a [u8]>,
}

impl<'a> Request<'a> {
    /// Reads a request; flags and trailing bytes that it does not know are ignored, as peers may be newer.
    ///
    /// # Errors
    ///
    /// Fails on another first byte and on early end.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        match r.u8()? {
            REQUEST => {}
            other => return Err(DecodeError::UnknownProtocol(other)),
        }
        let flags = r.uint()?;
        Ok(Self {
            tid: r.u16()?,
            to: r.addr()?,
            id: optional(flags & HAS_ID, || r.array().map(Id))?,
            token: optional(flags & HAS_TOKEN, || r.array().map(Token))?,
            command: match (r.uint()?, flags & REQUEST_INTERNAL) {
                (number, 0) => Command::App(number),
                (number, _) => Command::Internal(number),
            },
            target: optional(flags & REQUEST_HAS_TARGET, || r.array().map(Id))?,
            value: optional(flags & HAS_VALUE, || r.bytes())?,
        })
    }

    /// Appends the request to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (internal, command) = match self.command {
            Command::Internal(number) => (REQUEST_INTERNAL, number),
            Command::App(number) => (0, number),
        };
        out.raw(&[REQUEST]);
        out.uint(
            flags([
                (HAS_ID, self.id.is_some()),
                (HAS_TOKEN, self.token.is_some()),
                (REQUEST_HAS_TARGET, self.target.is_some()),
                (HAS_VALUE, self.value.is_some()),
            ]) | internal,
        );
        out.raw(&self.tid.to_le_bytes());
        out.addr(self.to);
        self.id.iter().for_each(|id| out.raw(&id.0));
        self.token.iter().for_each(|token| out.raw(&token.0));
        out.uint(command);
        self.target.iter().for_each(|target| out.raw(&target.0));
        self.value.iter().for_each(|value| out.bytes(value));
    }
}

/// The answer to a [`Request`].
///
/// ```text
/// | 13 | flags uint | tid u16le | to 6 | [id 32] | [token 32] | [closer addresses] | [error uint] | [value bytes] |
/// flags: 1 id, 2 token, 4 closer nodes, 8 error, 16 value
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response<'a> {
    /// Copied from the request.
    pub tid: u16,
    /// The requester's address as the responder saw it: how a node learns its own.
    pub to: SocketAddrV4,
    /// The responder's id, where it wants a place in routing tables.
    pub id: Option<Id<32>>,
    /// Proof of address for a later request.
    pub token: Option<Token>,
    /// Nodes close to the target; empty where there is none.
    pub closer: Addrs<'a>,
    /// 0 is success; other numbers depend on the command.
    pub error: u64,
    /// The result; an empty one differs from none.
    pub value: Option<&'a [u8]>,
}

impl<'a> Response<'a> {
    /// Reads a response; flags and trailing bytes that it does not know are ignored.
    ///
    /// # Errors
    ///
    /// Fails on another first byte and on early end.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        match r.u8()? {
            RESPONSE => {}
            other => return Err(DecodeError::UnknownProtocol(other)),
        }
        let flags = r.uint()?;
        Ok(Self {
            tid: r.u16()?,
            to: r.addr()?,
            id: optional(flags & HAS_ID, || r.array().map(Id))?,
            token: optional(flags & HAS_TOKEN, || r.array().map(Token))?,
            closer: optional(flags & RESPONSE_HAS_CLOSER, || r.addrs())?.unwrap_or_default(),
            error: optional(flags & RESPONSE_HAS_ERROR, || r.uint())?.unwrap_or(0),
            value: optional(flags & HAS_VALUE, || r.bytes())?,
        })
    }

    /// Appends the response to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.raw(&[RESPONSE]);
        out.uint(flags([
            (HAS_ID, self.id.is_some()),
            (HAS_TOKEN, self.token.is_some()),
            (RESPONSE_HAS_CLOSER, !self.closer.is_empty()),
            (RESPONSE_HAS_ERROR, self.error != 0),
            (HAS_VALUE, self.value.is_some()),
        ]));
        out.raw(&self.tid.to_le_bytes());
        out.addr(self.to);
        self.id.iter().for_each(|id| out.raw(&id.0));
        self.token.iter().for_each(|token| out.raw(&token.0));
        if !self.closer.is_empty() {
            out.addrs(self.closer);
        }
        if self.error != 0 {
            out.uint(self.error);
        }
        self.value.iter().for_each(|value| out.bytes(value));
    }
}

/// Tells whether a datagram claims to be a request or a response.
#[must_use]
pub const fn is_rpc(first_byte: u8) -> bool {
    matches!(first_byte, REQUEST | RESPONSE)
}

/// Reads a field whose flag is set.
pub(crate) fn optional<T>(
    flag: u64,
    read: impl FnOnce() -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    if flag == 0 { Ok(None) } else { read().map(Some) }
}

/// Joins the bits of the fields that are present.
pub(crate) fn flags<const N: usize>(fields: [(u64, bool); N]) -> u64 {
    fields.iter().filter(|(_, present)| *present).map(|(bit, _)| bit).sum()
}
