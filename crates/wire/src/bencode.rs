//! Bencoding (BEP 3): integers, byte strings, lists and dictionaries.
//!
//! Reading is lenient in what costs nothing (leading zeros, keys in any order) and strict in what does: a length
//! is believed only as far as bytes remain, and nesting ends at [`DEPTH_MAX`]. Writing is canonical if keys are
//! written in order.

use crate::compact::DecodeError;

/// Containers inside each other; a KRPC message needs three, a stored value may add some.
pub const DEPTH_MAX: usize = 8;
/// Digits of a length; no datagram is longer than 65,535 bytes.
const LENGTH_DIGITS_MAX: usize = 5;
/// Digits of an integer; `i64` has 19.
const INT_DIGITS_MAX: usize = 19;

/// Reads bencoding from the front of a byte slice, without recursion and without copying.
///
/// ```text
/// integer     i -42 e            bytes  4:spam
/// list        l <values> e       dictionary  d <bytes> <value> .. e
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
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

    /// Takes an integer.
    ///
    /// # Errors
    ///
    /// Fails on anything else, and above 19 digits.
    pub fn int(&mut self) -> Result<i64, DecodeError> {
        self.expect(b'i')?;
        let negative = self.rest.first() == Some(&b'-');
        if negative {
            self.expect(b'-')?;
        }
        let value = self.digits(INT_DIGITS_MAX, b'e')?;
        Ok(if negative { -value } else { value })
    }

    /// Takes a byte string.
    ///
    /// # Errors
    ///
    /// Fails on anything else, and where fewer bytes remain than it claims.
    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.digits(LENGTH_DIGITS_MAX, b':')?;
        let len = usize::try_from(len).map_err(|_| DecodeError::OutOfRange)?;
        let (head, rest) = self.rest.split_at_checked(len).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    /// Takes one value of any kind, and returns its encoding.
    ///
    /// # Errors
    ///
    /// Fails where it is malformed, ends early or is nested too deep.
    pub fn value(&mut self) -> Result<&'a [u8], DecodeError> {
        let start = self.rest;
        // One bit for each open container: whether it is a dictionary, and whether a key comes next in it.
        let (mut depth, mut dicts, mut keys) = (0, 0_u16, 0_u16);
        loop {
            let here = 1 << depth;
            let first = *self.rest.first().ok_or(DecodeError::Truncated)?;
            let wants_value = dicts & here != 0 && keys & here == 0;
            match first {
                b'e' if depth > 0 && !wants_value => {
                    self.expect(b'e')?;
                    depth -= 1;
                }
                _ if dicts & keys & here != 0 => {
                    self.bytes()?;
                    keys &= !here;
                    continue;
                }
                b'l' | b'd' if depth == DEPTH_MAX => return Err(DecodeError::TooDeep),
                b'l' | b'd' => {
                    self.expect(first)?;
                    depth += 1;
                    let (here, dict) = (1 << depth, first == b'd');
                    dicts = if dict { dicts | here } else { dicts & !here };
                    keys |= here;
                    continue;
                }
                b'i' => drop(self.int()?),
                _ => drop(self.bytes()?),
            }
            if depth == 0 {
                let (value, _) = start.split_at(start.len() - self.rest.len());
                return Ok(value);
            }
            keys |= 1 << depth;
        }
    }

    /// Enters a dictionary, whose entries [`Cursor::key`] then goes through.
    ///
    /// # Errors
    ///
    /// Fails on anything else.
    pub fn dict(&mut self) -> Result<(), DecodeError> {
        self.expect(b'd')
    }

    /// Enters a list, whose items [`Cursor::item`] then goes through.
    ///
    /// # Errors
    ///
    /// Fails on anything else.
    pub fn list(&mut self) -> Result<(), DecodeError> {
        self.expect(b'l')
    }

    /// Takes the key of a dictionary's next entry, or its end.
    ///
    /// # Errors
    ///
    /// Fails where the key is no byte string.
    pub fn key(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        if self.rest.first() == Some(&b'e') {
            self.expect(b'e').map(|()| None)
        } else {
            self.bytes().map(Some)
        }
    }

    /// Takes a list's next item, or its end.
    ///
    /// # Errors
    ///
    /// Fails as [`Cursor::value`] does.
    pub fn item(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        if self.rest.first() == Some(&b'e') {
            self.expect(b'e').map(|()| None)
        } else {
            self.value().map(Some)
        }
    }

    fn expect(&mut self, wanted: u8) -> Result<(), DecodeError> {
        match self.rest.split_first() {
            Some((first, rest)) if *first == wanted => {
                self.rest = rest;
                Ok(())
            }
            Some(_) => Err(DecodeError::Malformed),
            None => Err(DecodeError::Truncated),
        }
    }

    fn digits(&mut self, digits_max: usize, end: u8) -> Result<i64, DecodeError> {
        let mut value: i64 = 0;
        for n in 0..=digits_max {
            let (first, rest) = self.rest.split_first().ok_or(DecodeError::Truncated)?;
            self.rest = rest;
            match first {
                b'0'..=b'9' if n < digits_max => {
                    let digit = i64::from(first - b'0');
                    value = value
                        .checked_mul(10)
                        .and_then(|v| v.checked_add(digit))
                        .ok_or(DecodeError::OutOfRange)?;
                }
                _ if *first == end && n > 0 => return Ok(value),
                b'0'..=b'9' => return Err(DecodeError::OutOfRange),
                _ => return Err(DecodeError::Malformed),
            }
        }
        Err(DecodeError::OutOfRange)
    }
}

/// Appends an integer.
pub fn write_int(out: &mut Vec<u8>, value: i64) {
    out.push(b'i');
    if value < 0 {
        out.push(b'-');
    }
    write_decimal(out, value.unsigned_abs());
    out.push(b'e');
}

/// Appends a byte string.
pub fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_decimal(out, bytes.len() as u64);
    out.push(b':');
    out.extend_from_slice(bytes);
}

fn write_decimal(out: &mut Vec<u8>, value: u64) {
    let mut power = 1;
    while value / power >= 10 {
        power *= 10;
    }
    while power > 0 {
        out.push(b'0' + u8::try_from(value / power % 10).unwrap_or_default());
        power /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_kind_are_taken_whole() {
        for text in [
            "i0e",
            "i-42e",
            "0:",
            "4:spam",
            "le",
            "de",
            "l4:spami7ee",
            "d3:cow3:moo4:spaml1:aee",
            "d1:ad1:bleee",
        ] {
            let with_rest = [text.as_bytes(), b"xyz"].concat();
            let mut cursor = Cursor::new(&with_rest);
            assert_eq!(cursor.value(), Ok(text.as_bytes()));
            assert_eq!(cursor.rest(), b"xyz");
        }
    }

    #[test]
    fn what_is_malformed_is_refused_by_its_fault() {
        use DecodeError::{Malformed, OutOfRange, Truncated};
        for (text, fault) in [
            ("", Truncated),
            ("e", Malformed),
            ("i", Truncated),
            ("ie", Malformed),
            ("i-e", Malformed),
            ("i1x", Malformed),
            ("i99999999999999999999e", OutOfRange),
            ("-1:a", Malformed),
            ("4:spa", Truncated),
            ("999999:a", OutOfRange),
            ("l4:spam", Truncated),
            ("di1e1:ae", Malformed),
            ("d1:ae", Malformed),
            ("x", Malformed),
        ] {
            assert_eq!(Cursor::new(text.as_bytes()).value(), Err(fault), "{text}");
        }
    }

    #[test]
    fn nesting_ends_at_its_limit() {
        let nested = |depth: usize| [vec![b'l'; depth], vec![b'e'; depth]].concat();
        let deepest = nested(DEPTH_MAX);
        assert_eq!(Cursor::new(&deepest).value(), Ok(&deepest[..]));
        assert_eq!(Cursor::new(&nested(DEPTH_MAX + 1)).value(), Err(DecodeError::TooDeep));
        assert_eq!(Cursor::new(&vec![b'l'; 1 << 20]).value(), Err(DecodeError::TooDeep));
    }

    #[test]
    fn numbers_are_written_as_decimals() {
        let mut out = Vec::new();
        for value in [0, 7, 10, -1, 1_000_000, i64::MAX, i64::MIN] {
            out.clear();
            write_int(&mut out, value);
            assert_eq!(out, format!("i{value}e").into_bytes());
        }
        out.clear();
        write_bytes(&mut out, &[b'x'; 120]);
        assert!(out.starts_with(b"120:xxx"));
    }
}
