//! KRPC, the messages of the BitTorrent Mainline DHT (BEP 5, with 32, 33, 42, 43, 44 and 51).
//!
//! A message is a bencoded dictionary; the names of its fields here are those of the BEPs where they are words.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::bencode::Cursor;
use crate::id::Id;

/// Bytes of a transaction id that are echoed; whoever sends more wants something reflected.
pub const TID_MAX: usize = 32;
/// Bytes of a bloom filter (BEP 33).
pub const BLOOM_LEN: usize = 256;
/// Invalid arguments or a bad token (BEP 5).
pub const ERROR_PROTOCOL: i64 = 203;
/// A method that nobody serves here (BEP 5).
pub const ERROR_METHOD: i64 = 204;
/// A value above 1,000 bytes (BEP 44).
pub const ERROR_TOO_BIG: i64 = 205;
/// A signature that does not verify (BEP 44).
pub const ERROR_SIGNATURE: i64 = 206;
/// A salt above 64 bytes (BEP 44).
pub const ERROR_SALT: i64 = 207;
/// Another value was stored meanwhile (BEP 44).
pub const ERROR_CAS: i64 = 301;
/// A newer value is stored (BEP 44).
pub const ERROR_SEQ: i64 = 302;

/// One of the two internets, each with a DHT of its own (BEP 32).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Tells the family of an address.
    #[must_use]
    pub const fn of(addr: &SocketAddr) -> Self {
        if addr.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// Bytes of a compact address: the IP address and two of the port, most significant first.
    #[must_use]
    pub const fn addr_len(self) -> usize {
        match self {
            Self::V4 => 6,
            Self::V6 => 18,
        }
    }

    /// Bytes of a compact node: its id and its address.
    #[must_use]
    pub const fn node_len(self) -> usize {
        20 + self.addr_len()
    }
}

/// Reads a compact address of either length; a port of zero leads nowhere and is none.
#[must_use]
pub fn read_addr(bytes: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = bytes.split_last_chunk::<2>()?;
    let ip = match ip.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(ip).ok()?),
        16 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(ip).ok()?)),
        _ => return None,
    };
    let port = u16::from_be_bytes(*port);
    (port != 0).then_some(SocketAddr::new(ip, port))
}

/// Appends a compact address.
pub fn write_addr(out: &mut Vec<u8>, addr: &SocketAddr) {
    match addr.ip() {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
    out.extend_from_slice(&addr.port().to_be_bytes());
}

/// Nodes side by side: `| id 20 | IP 4 or 16 | port u16be |` each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nodes<'a> {
    packed: &'a [u8],
    family: Family,
}

impl<'a> Nodes<'a> {
    /// Takes nodes that are packed already; what is left over at the end is ignored.
    #[must_use]
    pub const fn from_packed(family: Family, packed: &'a [u8]) -> Self {
        Self { packed, family }
    }

    /// Goes through the nodes, leaving out those without a port.
    pub fn iter(&self) -> impl Iterator<Item = (Id<20>, SocketAddr)> + use<'a> {
        self.packed.chunks_exact(self.family.node_len()).filter_map(|node| {
            let (id, addr) = node.split_first_chunk()?;
            Some((Id(*id), read_addr(addr)?))
        })
    }
}

/// Peers in a response: the items of a list, each a compact address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Values<'a> {
    items: &'a [u8],
}

impl<'a> Values<'a> {
    /// Takes items that are encoded already, by [`Values::write`].
    #[must_use]
    pub const fn from_items(items: &'a [u8]) -> Self {
        Self { items }
    }

    /// Appends one item.
    pub fn write(items: &mut Vec<u8>, addr: &SocketAddr) {
        items.extend_from_slice(if addr.is_ipv4() { b"6:" } else { b"18:" });
        write_addr(items, addr);
    }

    /// Goes through the peers, leaving out items that are no address.
    pub fn iter(&self) -> impl Iterator<Item = SocketAddr> + use<'a> {
        let mut cursor = Cursor::new(self.items);
        std::iter::from_fn(move || cursor.item().ok().flatten())
            .filter_map(|item| read_addr(Cursor::new(item).bytes().ok()?))
    }

    /// Tells whether there is no item.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

/// A message.
///
/// ```text
/// query     d 1:a d <arguments> e 1:q <method> [2:ro i1e] 1:t <tid> [1:v <client>] 1:y 1:q e
/// response  d [2:ip <address>] 1:r d <results> e 1:t <tid> [1:v <client>] 1:y 1:r e
/// error     d 1:e l <code> <text> e [2:ip <address>] 1:t <tid> [1:v <client>] 1:y 1:e e
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Names the exchange; the answer carries the same. 1 to 32 bytes.
    pub tid: &'a [u8],
    /// The sender's program and its version.
    pub client: Option<&'a [u8]>,
    /// The receiver's address as the sender saw it (BEP 42).
    pub ip: Option<SocketAddr>,
    /// What is said.
    pub body: Body<'a>,
}

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// A question.
    Query(Query<'a>),
    /// An answer.
    Response(Response<'a>),
    /// A refusal: a code and, for people, a text.
    Error(i64, &'a [u8]),
}

/// What a query asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method<'a> {
    /// Are you there?
    Ping,
    /// Which nodes are close to `target`?
    FindNode,
    /// Who shares `info_hash`?
    GetPeers,
    /// I share `info_hash`.
    AnnouncePeer,
    /// What is stored under `target` (BEP 44)?
    Get,
    /// Store this value (BEP 44).
    Put,
    /// What do you know (BEP 51)?
    SampleInfohashes,
    /// A method of the future.
    Other(&'a [u8]),
}

impl<'a> Method<'a> {
    /// Returns the name on the wire.
    #[must_use]
    pub const fn name(self) -> &'a [u8] {
        match self {
            Self::Ping => b"ping",
            Self::FindNode => b"find_node",
            Self::GetPeers => b"get_peers",
            Self::AnnouncePeer => b"announce_peer",
            Self::Get => b"get",
            Self::Put => b"put",
            Self::SampleInfohashes => b"sample_infohashes",
            Self::Other(name) => name,
        }
    }

    fn from_name(name: &'a [u8]) -> Self {
        match name {
            b"ping" => Self::Ping,
            b"find_node" => Self::FindNode,
            b"get_peers" => Self::GetPeers,
            b"announce_peer" => Self::AnnouncePeer,
            b"get" => Self::Get,
            b"put" => Self::Put,
            b"sample_infohashes" => Self::SampleInfohashes,
            other => Self::Other(other),
        }
    }
}

/// The families whose nodes an answer should name (BEP 32).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Want {
    /// `n4`.
    pub v4: bool,
    /// `n6`.
    pub v6: bool,
}

/// A question with its arguments; which of them a method needs is the server's to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "they are the protocol's flags, each by its name")]
pub struct Query<'a> {
    /// What is asked.
    pub method: Method<'a>,
    /// The sender's id.
    pub id: Id<20>,
    /// The sender answers no queries and is to be put into no table (BEP 43).
    pub read_only: bool,
    /// The point in the key space that it is about; `info_hash` or `target` on the wire.
    pub target: Option<Id<20>>,
    /// Proof of address from an earlier answer.
    pub token: Option<&'a [u8]>,
    /// The announced port.
    pub port: Option<u16>,
    /// The port that the query came from is meant, not `port`.
    pub implied_port: bool,
    /// The announcer has everything (BEP 33).
    pub seed: bool,
    /// Peers that have everything are of no use (BEP 33).
    pub noseed: bool,
    /// Bloom filters are wanted (BEP 33).
    pub scrape: bool,
    /// Families wanted (BEP 32).
    pub want: Option<Want>,
    /// What is to be stored, or in a `get` the number from which a value is wanted.
    pub item: Item<'a>,
    /// The number that the stored value must have (BEP 44).
    pub cas: Option<i64>,
}

/// A stored value, or parts of it (BEP 44).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Item<'a> {
    /// Any bencoded value, as it was written.
    pub value: Option<&'a [u8]>,
    /// The Ed25519 key that signs a mutable value.
    pub key: Option<[u8; 32]>,
    /// Its signature.
    pub signature: Option<[u8; 64]>,
    /// Its number; a higher one replaces a lower.
    pub seq: Option<i64>,
    /// Tells several values of one key apart.
    pub salt: Option<&'a [u8]>,
}

/// An answer; which results there are depends on the method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response<'a> {
    /// The sender's id.
    pub id: Id<20>,
    /// IPv4 nodes close to the target.
    pub nodes: Option<Nodes<'a>>,
    /// IPv6 nodes close to the target.
    pub nodes6: Option<Nodes<'a>>,
    /// Proof of address for an announcement.
    pub token: Option<&'a [u8]>,
    /// Peers.
    pub values: Values<'a>,
    /// The stored value.
    pub item: Item<'a>,
    /// Those who have everything, and those who do not (BEP 33).
    pub blooms: Option<(&'a [u8; BLOOM_LEN], &'a [u8; BLOOM_LEN])>,
    /// Info-hashes that the sender knows (BEP 51).
    pub samples: Option<Samples<'a>>,
}

/// What a node knows (BEP 51).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Samples<'a> {
    /// Seconds after which another answer may differ.
    pub interval: u16,
    /// Info-hashes stored in all.
    pub num: u32,
    /// Some of them, 20 bytes each.
    pub packed: &'a [u8],
}

impl<'a> Query<'a> {
    /// A query without arguments.
    #[must_use]
    pub const fn new(method: Method<'a>, id: Id<20>) -> Self {
        Self {
            method,
            id,
            read_only: false,
            target: None,
            token: None,
            port: None,
            implied_port: false,
            seed: false,
            noseed: false,
            scrape: false,
            want: None,
            item: Item { value: None, key: None, signature: None, seq: None, salt: None },
            cas: None,
        }
    }
}

impl Response<'_> {
    /// An answer without results.
    #[must_use]
    pub const fn new(id: Id<20>) -> Self {
        Self {
            id,
            nodes: None,
            nodes6: None,
            token: None,
            values: Values { items: &[] },
            item: Item { value: None, key: None, signature: None, seq: None, salt: None },
            blooms: None,
            samples: None,
        }
    }
}

mod decode;
mod encode;
