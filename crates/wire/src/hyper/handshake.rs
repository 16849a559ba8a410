use std::net::SocketAddrV4;

use crate::compact::{ADDR_LEN, Addrs, DecodeError, Reader, Write};
use crate::rpc::{flags, optional};

const VERSION: u64 = 1;
const ADDR6_LEN: usize = 18;

/// What a node says of its reachability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Firewall {
    /// Not determined.
    Unknown,
    /// Anyone can reach it.
    Open,
    /// Behind a NAT that shows every destination the same port.
    Consistent,
    /// Behind a NAT that shows every destination another port.
    Random,
    /// A number above these; the reference treats it as random.
    Other(u64),
}

impl Firewall {
    const fn from_number(number: u64) -> Self {
        match number {
            0 => Self::Unknown,
            1 => Self::Open,
            2 => Self::Consistent,
            3 => Self::Random,
            other => Self::Other(other),
        }
    }

    const fn number(self) -> u64 {
        match self {
            Self::Unknown => 0,
            Self::Open => 1,
            Self::Consistent => 2,
            Self::Random => 3,
            Self::Other(number) => number,
        }
    }
}

/// The plaintext inside both Noise messages of a HyperDHT handshake.
///
/// ```text
/// | version uint = 1 | flags uint | error uint | firewall uint | [punch] | [addresses4] | [addresses6]
/// | [udx] | [secret stream version uint] | [relay through] | [relay addresses] |
/// flags: 1 punch, 2 addresses4, 4 addresses6, 8 udx, 16 secret stream, 32 relay through, 64 relay addresses
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoisePayload<'a> {
    /// Protocol version; with another one than 1 every other field is empty.
    pub version: u64,
    /// 0 none, 1 aborted, 2 version mismatch, 3 try later.
    pub error: u64,
    /// The sender's reachability.
    pub firewall: Firewall,
    /// How to punch through to the server.
    pub punch: Option<PunchOffer<'a>>,
    /// Where the sender may be reached.
    pub addresses4: Addrs<'a>,
    /// The same over IPv6, 18 bytes each (address, port u16le); the reference never fills it.
    pub addresses6: &'a [u8],
    /// The sender's stream.
    pub udx: Option<Udx>,
    /// Version of the secret stream.
    pub secret_stream: Option<u64>,
    /// A relay that the sender wants to meet at.
    pub relay_through: Option<RelayThrough>,
    /// Nodes that pass handshakes on to the sender, where told.
    pub relay_addresses: Option<Addrs<'a>>,
}

/// The server's number for a handshake and the relays that reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PunchOffer<'a> {
    /// Names the handshake in hole-punch messages.
    pub id: u64,
    /// Relays with the server's address as each sees it.
    pub relays: RelayPairs<'a>,
}

/// Pairs of a relay's address and the address that it sees the server at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RelayPairs<'a> {
    packed: &'a [u8],
}

impl<'a> RelayPairs<'a> {
    /// Wraps pairs that stand side by side, relay first; an incomplete last pair is left out.
    #[must_use]
    pub fn from_packed(packed: &'a [u8]) -> Self {
        let whole = packed.len() - packed.len() % (2 * ADDR_LEN);
        Self { packed: packed.get(..whole).unwrap_or_default() }
    }

    /// Goes through the pairs: relay, then server.
    pub fn iter(&self) -> impl Iterator<Item = (SocketAddrV4, SocketAddrV4)> + use<'a> {
        self.packed.chunks_exact(2 * ADDR_LEN).filter_map(|pair| {
            let mut r = Reader::new(pair);
            Some((r.addr().ok()?, r.addr().ok()?))
        })
    }
}

/// The stream that a side will use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Udx {
    /// Version of UDX; 1.
    pub version: u64,
    /// Bit 1: the socket may be used again for a later connection. Bit 2 is ours: [`Udx::MOVES`].
    pub features: u64,
    /// The sender's stream id.
    pub id: u32,
    /// First sequence number; always 0.
    pub seq: u32,
}

/// A blind relay to meet at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayThrough {
    /// Version of this field; 1.
    pub version: u64,
    /// The relay's Ed25519 public key.
    pub public_key: [u8; 32],
    /// The token that both sides name there.
    pub token: [u8; 32],
}

impl Udx {
    /// The feature of a stream whose sides follow each other to other paths (`docs/format/moving.md`). The
    /// reference reads bit 1 of the features and no other.
    pub const MOVES: u64 = 2;

    /// Tells whether its side can move.
    #[must_use]
    pub const fn moves(&self) -> bool {
        self.features & Self::MOVES != 0
    }
}

impl<'a> NoisePayload<'a> {
    /// Reads a payload; of another version it keeps the version only.
    ///
    /// # Errors
    ///
    /// Fails on early end and on numbers above their field.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let version = r.uint()?;
        if version != VERSION {
            return Ok(Self { version, ..Self::empty() });
        }
        let flags = r.uint()?;
        Ok(Self {
            version,
            error: r.uint()?,
            firewall: Firewall::from_number(r.uint()?),
            punch: optional(flags & 1, || PunchOffer::read(&mut r))?,
            addresses4: optional(flags & 2, || r.addrs())?.unwrap_or_default(),
            addresses6: optional(flags & 4, || read_addrs6(&mut r))?.unwrap_or_default(),
            udx: optional(flags & 8, || Udx::read(&mut r))?,
            secret_stream: optional(flags & 16, || r.uint())?,
            relay_through: optional(flags & 32, || RelayThrough::read(&mut r))?,
            relay_addresses: optional(flags & 64, || r.addrs())?,
        })
    }

    /// A payload that offers nothing.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            version: VERSION,
            error: 0,
            firewall: Firewall::Unknown,
            punch: None,
            addresses4: Addrs::EMPTY,
            addresses6: &[],
            udx: None,
            secret_stream: None,
            relay_through: None,
            relay_addresses: None,
        }
    }

    /// Appends the payload to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.uint(self.version);
        out.uint(flags([
            (1, self.punch.is_some()),
            (2, !self.addresses4.is_empty()),
            (4, !self.addresses6.is_empty()),
            (8, self.udx.is_some()),
            (16, self.secret_stream.is_some()),
            (32, self.relay_through.is_some()),
            (64, self.relay_addresses.is_some()),
        ]));
        out.uint(self.error);
        out.uint(self.firewall.number());
        if let Some(punch) = self.punch {
            out.uint(punch.id);
            out.count(punch.relays.packed.len() / (2 * ADDR_LEN));
            out.raw(punch.relays.packed);
        }
        if !self.addresses4.is_empty() {
            out.addrs(self.addresses4);
        }
        if !self.addresses6.is_empty() {
            let whole = self.addresses6.chunks_exact(ADDR6_LEN);
            out.count(whole.len());
            whole.for_each(|addr| out.raw(addr));
        }
        if let Some(udx) = self.udx {
            for number in [udx.version, udx.features, u64::from(udx.id), u64::from(udx.seq)] {
                out.uint(number);
            }
        }
        self.secret_stream.iter().for_each(|version| out.uint(*version));
        if let Some(relay) = self.relay_through {
            out.uint(relay.version);
            out.uint(0);
            out.raw(&relay.public_key);
            out.raw(&relay.token);
        }
        self.relay_addresses.iter().for_each(|relays| out.addrs(*relays));
    }
}

fn read_addrs6<'a>(r: &mut Reader<'a>) -> Result<&'a [u8], DecodeError> {
    let count = r.count(ADDR6_LEN)?;
    r.take(count * ADDR6_LEN)
}

impl<'a> PunchOffer<'a> {
    fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let id = r.uint()?;
        let count = r.count(2 * ADDR_LEN)?;
        Ok(Self { id, relays: RelayPairs { packed: r.take(count * 2 * ADDR_LEN)? } })
    }
}

impl Udx {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { version: r.uint()?, features: r.uint()?, id: r.uint32()?, seq: r.uint32()? })
    }
}

impl RelayThrough {
    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let version = r.uint()?;
        r.uint()?;
        Ok(Self { version, public_key: r.array()?, token: r.array()? })
    }
}

/// The plaintext of a hole-punch message.
///
/// ```text
/// | flags uint | error uint | firewall uint | round uint | [addresses] | [remote address 6] | [token 32] | [remote token 32] |
/// flags: 1 connected, 2 punching, 4 addresses, 8 remote address, 16 token, 32 remote token
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HolepunchPayload<'a> {
    /// 0 none, 1 aborted, 2 version mismatch, 3 try later.
    pub error: u64,
    /// The sender's reachability.
    pub firewall: Firewall,
    /// Grows with every exchange.
    pub round: u64,
    /// The sender is connected already.
    pub connected: bool,
    /// The sender probes now.
    pub punching: bool,
    /// The sender's addresses; port 0 where it is random.
    pub addresses: Option<Addrs<'a>>,
    /// The receiver's address that the sender probes.
    pub remote_address: Option<SocketAddrV4>,
    /// To be echoed on another path, as proof of address.
    pub token: Option<[u8; 32]>,
    /// The receiver's token, echoed.
    pub remote_token: Option<[u8; 32]>,
}

impl<'a> HolepunchPayload<'a> {
    /// Reads a payload.
    ///
    /// # Errors
    ///
    /// Fails on early end.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let flags = r.uint()?;
        Ok(Self {
            error: r.uint()?,
            firewall: Firewall::from_number(r.uint()?),
            round: r.uint()?,
            connected: flags & 1 != 0,
            punching: flags & 2 != 0,
            addresses: optional(flags & 4, || r.addrs())?,
            remote_address: optional(flags & 8, || r.addr())?,
            token: optional(flags & 16, || r.array())?,
            remote_token: optional(flags & 32, || r.array())?,
        })
    }

    /// Appends the payload to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.uint(flags([
            (1, self.connected),
            (2, self.punching),
            (4, self.addresses.is_some()),
            (8, self.remote_address.is_some()),
            (16, self.token.is_some()),
            (32, self.remote_token.is_some()),
        ]));
        out.uint(self.error);
        out.uint(self.firewall.number());
        out.uint(self.round);
        self.addresses.iter().for_each(|addrs| out.addrs(*addrs));
        self.remote_address.iter().for_each(|addr| out.addr(*addr));
        self.token.iter().for_each(|token| out.raw(token));
        self.remote_token.iter().for_each(|token| out.raw(token));
    }
}
