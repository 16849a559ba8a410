use crate::compact::{Addrs, DecodeError, Reader, Write};
use crate::rpc::{flags, optional};

/// A peer that can be reached by its key, through the nodes named.
///
/// ```text
/// | public key 32 | relay addresses |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerRecord<'a> {
    /// Ed25519 public key.
    pub public_key: [u8; 32],
    /// DHT nodes that pass handshakes on to the peer.
    pub relays: Addrs<'a>,
}

impl<'a> PeerRecord<'a> {
    /// A key and the count of no relay.
    const LEN_MIN: usize = 33;

    /// Reads a record.
    ///
    /// # Errors
    ///
    /// Fails on early end.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        Self::read(&mut Reader::new(bytes))
    }

    fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self { public_key: r.array()?, relays: r.addrs()? })
    }

    /// Appends the record to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.raw(&self.public_key);
        out.addrs(self.relays);
    }
}

/// The value of an ANNOUNCE or UNANNOUNCE request.
///
/// ```text
/// | flags uint | [peer] | [refresh 32] | [signature 64] | [bump uint] |
/// flags: 1 peer, 2 refresh, 4 signature, 8 bump
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announcement<'a> {
    /// Who announces itself.
    pub peer: Option<PeerRecord<'a>>,
    /// With a peer: the hash that a later refresh shows the preimage of. Without: that preimage.
    pub refresh: Option<[u8; 32]>,
    /// Ed25519 signature by the peer's key.
    pub signature: Option<[u8; 64]>,
    /// When the topic last changed, in milliseconds since 1970; 0 is never. Not signed.
    pub bump: u64,
}

impl<'a> Announcement<'a> {
    /// Reads an announcement.
    ///
    /// # Errors
    ///
    /// Fails on early end.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let flags = r.uint()?;
        Ok(Self {
            peer: optional(flags & 1, || PeerRecord::read(&mut r))?,
            refresh: optional(flags & 2, || r.array())?,
            signature: optional(flags & 4, || r.array())?,
            bump: optional(flags & 8, || r.uint())?.unwrap_or(0),
        })
    }

    /// Appends the announcement to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.uint(flags([
            (1, self.peer.is_some()),
            (2, self.refresh.is_some()),
            (4, self.signature.is_some()),
            (8, self.bump != 0),
        ]));
        self.peer.iter().for_each(|peer| peer.encode(out));
        self.refresh.iter().for_each(|refresh| out.raw(refresh));
        self.signature.iter().for_each(|signature| out.raw(signature));
        if self.bump != 0 {
            out.uint(self.bump);
        }
    }
}

/// The value of a response to LOOKUP.
///
/// ```text
/// | count uint | peer records | [bump uint] |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LookupReply<'a> {
    /// Who announced the topic.
    pub peers: PeerRecords<'a>,
    /// When the topic last changed, in milliseconds since 1970; 0 where never or told by an old node.
    pub bump: u64,
}

impl<'a> LookupReply<'a> {
    /// Reads a reply whose records are all complete.
    ///
    /// # Errors
    ///
    /// Fails on early end, and where the count claims more records than bytes remain for.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let count = r.count(PeerRecord::LEN_MIN)?;
        let start = r.rest();
        for _ in 0..count {
            PeerRecord::read(&mut r)?;
        }
        let len = start.len() - r.rest().len();
        let bytes = start.get(..len).unwrap_or_default();
        let bump = if r.rest().is_empty() { 0 } else { r.uint()? };
        Ok(Self { peers: PeerRecords { count, bytes }, bump })
    }

    /// Appends the reply to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.count(self.peers.count);
        out.raw(self.peers.bytes);
        out.uint(self.bump);
    }
}

/// Appends a lookup reply made of records that are encoded already.
pub fn encode_lookup_reply<'a>(
    records: impl ExactSizeIterator<Item = &'a [u8]>,
    bump: u64,
    out: &mut Vec<u8>,
) {
    out.count(records.len());
    records.for_each(|record| out.raw(record));
    out.uint(bump);
}

/// Peer records side by side, checked to be complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerRecords<'a> {
    count: usize,
    bytes: &'a [u8],
}

impl<'a> PeerRecords<'a> {
    /// Counts the records.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Tells whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Goes through the records in order.
    pub fn iter(&self) -> impl Iterator<Item = PeerRecord<'a>> + use<'a> {
        let mut r = Reader::new(self.bytes);
        std::iter::from_fn(move || PeerRecord::read(&mut r).ok())
    }
}

/// A signed value with its sequence number, as a response to `MUTABLE_GET` carries it.
///
/// ```text
/// | seq uint | value bytes | signature 64 |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MutableRecord<'a> {
    /// Grows with every change.
    pub seq: u64,
    /// The application's bytes.
    pub value: &'a [u8],
    /// Ed25519 signature of the two.
    pub signature: [u8; 64],
}

impl<'a> MutableRecord<'a> {
    /// Reads a record.
    ///
    /// # Errors
    ///
    /// Fails on early end.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        Self::read(&mut Reader::new(bytes))
    }

    fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self { seq: r.uint()?, value: r.bytes()?, signature: r.array()? })
    }

    /// Appends the record to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.encode_unsigned(out);
        out.raw(&self.signature);
    }

    /// Appends what the signature covers: `| seq uint | value bytes |`.
    pub fn encode_unsigned(&self, out: &mut Vec<u8>) {
        out.uint(self.seq);
        out.bytes(self.value);
    }
}

/// The value of a `MUTABLE_PUT` request: the key, then the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MutablePut<'a> {
    /// Ed25519 public key; the target is its hash.
    pub public_key: [u8; 32],
    /// What to store.
    pub record: MutableRecord<'a>,
}

impl<'a> MutablePut<'a> {
    /// Reads a put.
    ///
    /// # Errors
    ///
    /// Fails on early end.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        Ok(Self { public_key: r.array()?, record: MutableRecord::read(&mut r)? })
    }

    /// Appends the put to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.raw(&self.public_key);
        self.record.encode(out);
    }
}
