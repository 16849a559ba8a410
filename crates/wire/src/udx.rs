//! Packets of UDX, reliable streams over datagrams (libudx, npm `udx-native` 1.21).

use std::fmt;

use crate::compact::{DecodeError, Reader, Write};

/// Bytes of the fixed header.
pub const HEADER_LEN: usize = 20;

/// Most bytes between header and payload that a packet with a payload can have: their count is one byte.
pub const BETWEEN_LEN_MAX: usize = 255;

/// Bytes of one selective acknowledgement.
pub const SACK_LEN: usize = 8;

const MAGIC: u8 = 0xff;
const VERSION: u8 = 1;
/// Where the receiver's stream id stands.
const STREAM_AT: usize = 4;

/// Names a stream at the end that chose the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u32);

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// Numbers a packet; the number after the greatest is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seq(pub u32);

/// What a packet is, one bit each. A packet of no kind acknowledges and nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds(pub u8);

impl Kinds {
    /// Acknowledges and nothing else.
    pub const ACK: Self = Self(0);
    /// Carries bytes of the stream.
    pub const DATA: Self = Self(1);
    /// Nothing follows in this direction.
    pub const END: Self = Self(2);
    /// Lists what arrived beyond a gap.
    pub const SACK: Self = Self(4);
    /// Carries a message outside of the stream.
    pub const MESSAGE: Self = Self(8);
    /// The sender forgets the stream.
    pub const DESTROY: Self = Self(16);
    /// Asks for an acknowledgement.
    pub const HEARTBEAT: Self = Self(32);

    /// Tells whether the packet is of this kind, among others.
    #[must_use]
    pub const fn has(self, kind: Self) -> bool {
        self.0 & kind.0 != 0
    }

    /// Adds a kind.
    #[must_use]
    pub const fn and(self, kind: Self) -> Self {
        Self(self.0 | kind.0)
    }
}

/// One datagram of a stream. All integers are little-endian.
///
/// ```text
/// | ff | version 1 | kinds | between u8 | stream u32 | window u32 | seq u32 | ack u32 | between | payload |
/// ```
///
/// Between header and payload stand the zeros of a path MTU probe, or selective acknowledgements. A packet
/// that has these and no payload leaves their length out: they are all that remains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What the packet is.
    pub kinds: Kinds,
    /// The receiver's name for the stream.
    pub stream: StreamId,
    /// Bytes that the sender of this packet will take.
    pub window: u32,
    /// Number of this packet; one that cannot be lost for good takes the number of the next.
    pub seq: Seq,
    /// Number of the packet that the sender expects next.
    pub ack: Seq,
    /// Selective acknowledgements, if the packet is of that kind; else padding. At most [`BETWEEN_LEN_MAX`]
    /// bytes where a payload follows, and some where both kinds are in one packet.
    pub between: &'a [u8],
    /// Bytes of the stream, or a message.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads a packet.
    ///
    /// # Errors
    ///
    /// Fails on early end, another protocol, another version and a payload that would begin behind its end.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let [magic, version, kinds, between] = r.array()?;
        if magic != MAGIC {
            return Err(DecodeError::UnknownProtocol(magic));
        }
        if version != VERSION {
            return Err(DecodeError::OutOfRange);
        }
        let kinds = Kinds(kinds);
        let stream = StreamId(r.u32()?);
        let window = r.u32()?;
        let (seq, ack) = (Seq(r.u32()?), Seq(r.u32()?));
        let between = match between {
            0 if kinds.has(Kinds::SACK) => r.take(r.rest().len())?,
            len => r.take(usize::from(len))?,
        };
        Ok(Self { kinds, stream, window, seq, ack, between, payload: r.rest() })
    }

    /// Appends the packet to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let list_alone = self.kinds.has(Kinds::SACK) && self.payload.is_empty();
        debug_assert!(list_alone || self.between.len() <= BETWEEN_LEN_MAX, "the count is one byte");
        let between = if list_alone { 0 } else { u8::try_from(self.between.len()).unwrap_or(u8::MAX) };
        out.raw(&[MAGIC, VERSION, self.kinds.0, between]);
        for field in [self.stream.0, self.window, self.seq.0, self.ack.0] {
            out.raw(&field.to_le_bytes());
        }
        out.raw(self.between);
        out.raw(self.payload);
    }

    /// Returns the selective acknowledgements; there are none if the packet is not of that kind.
    #[must_use]
    pub const fn sacks(&self) -> Sacks<'a> {
        Sacks { packed: if self.kinds.has(Kinds::SACK) { self.between } else { &[] } }
    }
}

/// Ranges of packets that arrived beyond a gap, still in their datagram.
///
/// ```text
/// | first u32 | after the last u32 | ..
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sacks<'a> {
    packed: &'a [u8],
}

impl<'a> Sacks<'a> {
    /// Goes through the ranges, each its first number and the one after its last. What they say is as the sender
    /// wrote it; an incomplete range at the end is left out.
    pub fn iter(&self) -> impl Iterator<Item = (Seq, Seq)> + use<'a> {
        self.packed.chunks_exact(SACK_LEN).filter_map(|pair| {
            let mut r = Reader::new(pair);
            Some((Seq(r.u32().ok()?), Seq(r.u32().ok()?)))
        })
    }

    /// Appends a range as it stands in a packet.
    pub fn pack(start: Seq, end: Seq, out: &mut Vec<u8>) {
        out.raw(&start.0.to_le_bytes());
        out.raw(&end.0.to_le_bytes());
    }
}

/// Reads whom a packet is for, without decoding the rest; `None` where there is no whole header.
#[must_use]
pub fn receiver(bytes: &[u8]) -> Option<StreamId> {
    let ([MAGIC, VERSION], true) = (bytes.first_chunk()?, bytes.len() >= HEADER_LEN) else { return None };
    Reader::new(bytes.get(STREAM_AT..)?).u32().ok().map(StreamId)
}

/// Appends a packet as it is to `out`, for another receiver, as a relay does.
///
/// # Errors
///
/// Fails where the bytes have no whole header; nothing is appended then.
pub fn readdress(bytes: &[u8], to: StreamId, out: &mut Vec<u8>) -> Result<(), DecodeError> {
    receiver(bytes).ok_or(DecodeError::Truncated)?;
    let mut r = Reader::new(bytes);
    let kept = r.take(STREAM_AT)?;
    r.u32()?;
    out.raw(kept);
    out.raw(&to.0.to_le_bytes());
    out.raw(r.rest());
    Ok(())
}
