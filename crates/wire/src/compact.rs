//! Compact encoding, the primitives of every Holepunch message (npm `compact-encoding` 3.5).

use std::net::{Ipv4Addr, SocketAddrV4};

/// Largest variable-length integer that a JavaScript peer can read, 2^53 - 1.
pub const UINT_MAX: u64 = (1 << 53) - 1;

/// Bytes of one IPv4 address with its port.
pub const ADDR_LEN: usize = 6;

/// Why bytes were not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The input ended early, or a count claimed more items than bytes remain for.
    #[error("the input ended early")]
    Truncated,
    /// An integer is above [`UINT_MAX`] or above what its field can hold.
    #[error("an integer is out of range")]
    OutOfRange,
    /// No protocol starts with this byte.
    #[error("no protocol starts with byte {0:#04x}")]
    UnknownProtocol(u8),
    /// Text was not UTF-8.
    #[error("text is not utf-8")]
    NotText,
    /// The syntax allows no such byte here.
    #[error("the syntax allows no such byte here")]
    Malformed,
    /// Containers are nested deeper than [`bencode::DEPTH_MAX`](crate::bencode::DEPTH_MAX).
    #[error("nested too deep")]
    TooDeep,
    /// The message lacks a part that its kind needs.
    #[error("a required part is missing")]
    Incomplete,
}

/// Reads compact encoding from the front of a byte slice.
///
/// ```text
/// uint     value <= 252: | value |   else | fd | u16le |, | fe | u32le | or | ff | u64le |
/// bytes    | length uint | bytes |
/// address  | 4 bytes, dotted order | port u16le |
/// array    | count uint | items |
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Returns what was not read yet.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes the next `n` bytes.
    ///
    /// # Errors
    ///
    /// This and every other method fail with [`DecodeError::Truncated`] when too few bytes remain.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    /// Takes `N` bytes as an array.
    ///
    /// # Errors
    ///
    /// See [`Reader::take`].
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    /// Takes one byte.
    ///
    /// # Errors
    ///
    /// See [`Reader::take`].
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(|[byte]| byte)
    }

    /// Takes a little-endian `u16`.
    ///
    /// # Errors
    ///
    /// See [`Reader::take`].
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    /// Takes a little-endian `u32`.
    ///
    /// # Errors
    ///
    /// See [`Reader::take`].
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    /// Takes a variable-length integer in any of its forms.
    ///
    /// # Errors
    ///
    /// Fails on early end and above [`UINT_MAX`].
    pub fn uint(&mut self) -> Result<u64, DecodeError> {
        let value = match self.u8()? {
            0xfd => u64::from(self.u16()?),
            0xfe => u64::from(self.u32()?),
            0xff => self.array().map(u64::from_le_bytes)?,
            small => u64::from(small),
        };
        if value > UINT_MAX { Err(DecodeError::OutOfRange) } else { Ok(value) }
    }

    /// Takes a variable-length integer that must fit `u32`.
    ///
    /// # Errors
    ///
    /// Fails on early end and above `u32::MAX`.
    pub fn uint32(&mut self) -> Result<u32, DecodeError> {
        u32::try_from(self.uint()?).map_err(|_| DecodeError::OutOfRange)
    }

    /// Takes a length and as many bytes.
    ///
    /// # Errors
    ///
    /// See [`Reader::take`].
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = usize::try_from(self.uint()?).map_err(|_| DecodeError::Truncated)?;
        self.take(len)
    }

    /// Takes a length and as many bytes of UTF-8.
    ///
    /// # Errors
    ///
    /// Fails on early end and on bytes that are not UTF-8.
    pub fn text(&mut self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| DecodeError::NotText)
    }

    /// Takes an IPv4 address with its port.
    ///
    /// # Errors
    ///
    /// See [`Reader::take`].
    pub fn addr(&mut self) -> Result<SocketAddrV4, DecodeError> {
        let [a, b, c, d, low, high] = self.array()?;
        Ok(SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), u16::from_le_bytes([low, high])))
    }

    /// Takes an array of IPv4 addresses.
    ///
    /// # Errors
    ///
    /// See [`Reader::take`].
    pub fn addrs(&mut self) -> Result<Addrs<'a>, DecodeError> {
        let count = self.count(ADDR_LEN)?;
        Ok(Addrs { packed: self.take(count * ADDR_LEN)? })
    }

    /// Takes the count of an array whose items have at least `item_len_min` bytes each.
    ///
    /// # Errors
    ///
    /// Fails where fewer bytes remain than the count needs, so that a count never sizes an allocation.
    pub fn count(&mut self, item_len_min: usize) -> Result<usize, DecodeError> {
        let count = usize::try_from(self.uint()?).map_err(|_| DecodeError::Truncated)?;
        match count.checked_mul(item_len_min) {
            Some(needed) if needed <= self.rest.len() => Ok(count),
            _ => Err(DecodeError::Truncated),
        }
    }
}

/// A list of IPv4 addresses, six bytes each, still in its datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Addrs<'a> {
    packed: &'a [u8],
}

impl<'a> Addrs<'a> {
    /// No address.
    pub const EMPTY: Self = Self { packed: &[] };

    /// Wraps addresses that [`pack_addrs`] made; a last incomplete one is left out.
    #[must_use]
    pub fn from_packed(packed: &'a [u8]) -> Self {
        let whole = packed.len() - packed.len() % ADDR_LEN;
        Self { packed: packed.get(..whole).unwrap_or_default() }
    }

    /// Counts the addresses.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.packed.len() / ADDR_LEN
    }

    /// Tells whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.packed.is_empty()
    }

    /// Keeps the first `n` at most.
    #[must_use]
    pub fn truncated(&self, n: usize) -> Self {
        let len = self.packed.len().min(n.saturating_mul(ADDR_LEN));
        Self { packed: self.packed.get(..len).unwrap_or_default() }
    }

    /// Goes through the addresses in order.
    pub fn iter(&self) -> impl Iterator<Item = SocketAddrV4> + use<'a> {
        self.packed.chunks_exact(ADDR_LEN).filter_map(|six| Reader::new(six).addr().ok())
    }
}

/// Returns the six bytes of an address.
#[must_use]
pub fn pack_addr(addr: SocketAddrV4) -> [u8; ADDR_LEN] {
    let [a, b, c, d] = addr.ip().octets();
    let [low, high] = addr.port().to_le_bytes();
    [a, b, c, d, low, high]
}

/// Packs addresses as they stand in an array, without its count.
#[must_use]
pub fn pack_addrs(addrs: impl IntoIterator<Item = SocketAddrV4>) -> Vec<u8> {
    let mut packed = Vec::new();
    addrs.into_iter().for_each(|addr| packed.addr(addr));
    packed
}

/// Appends compact encoding to a buffer; integers take their shortest form.
// tidy-expect(lone-trait): methods on a foreign type need a trait.
pub trait Write {
    /// Appends raw bytes.
    fn raw(&mut self, bytes: &[u8]);

    /// Appends a variable-length integer.
    fn uint(&mut self, value: u64) {
        let le = value.to_le_bytes();
        let [a, b, c, d, ..] = le;
        match value {
            0..=0xfc => self.raw(&[a]),
            0xfd..=0xffff => self.raw(&[0xfd, a, b]),
            0x1_0000..=0xffff_ffff => self.raw(&[0xfe, a, b, c, d]),
            _ => {
                self.raw(&[0xff]);
                self.raw(&le);
            }
        }
    }

    /// Appends a length as a variable-length integer.
    fn count(&mut self, count: usize) {
        self.uint(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// Appends a length and the bytes.
    fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.raw(bytes);
    }

    /// Appends an IPv4 address with its port.
    fn addr(&mut self, addr: SocketAddrV4) {
        self.raw(&pack_addr(addr));
    }

    /// Appends an array of IPv4 addresses.
    fn addrs(&mut self, addrs: Addrs<'_>) {
        self.count(addrs.len());
        self.raw(addrs.packed);
    }
}

impl Write for Vec<u8> {
    fn raw(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}
