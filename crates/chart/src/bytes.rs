//! The encoding that every part of a record has: one form for each value, refused in any other.

/// Why bytes were not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The input ended early, or a count claimed more than the bytes that remain.
    #[error("the input ended early")]
    Truncated,
    /// Bytes remain after the last field.
    #[error("bytes remain after the end")]
    Trailing,
    /// A value has a shorter form, or a list is out of order.
    #[error("a value is not in its one form")]
    NotCanonical,
    /// A number, a length or a count is above its limit.
    #[error("a value is out of range")]
    OutOfRange,
    /// A tag that this version does not have.
    #[error("tag {0} is not known")]
    UnknownTag(u8),
    /// Written by a later version of the format.
    #[error("format version {0} is not known")]
    UnknownVersion(u8),
    /// Text was not UTF-8.
    #[error("text is not utf-8")]
    NotText,
    /// A public key is not a point of the curve, or its statement was not signed by it.
    #[error("a signature does not verify")]
    Unsigned,
}

/// Takes values from the front of a slice.
///
/// ```text
/// uint    value < fd: | value |   else | fd | u16le |, | fe | u32le | or | ff | u64le |, the shortest that fits
/// bytes   | length uint | bytes |
/// option  | 0 |   or   | 1 | value |
/// list    | count uint | items |
/// ```
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn take(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.0.split_at_checked(n).ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn uint(&mut self) -> Result<u64, DecodeError> {
        let (value, least) = match self.u8()? {
            0xfd => (u64::from(u16::from_le_bytes(self.array()?)), 0xfd),
            0xfe => (u64::from(u32::from_le_bytes(self.array()?)), 0x1_0000),
            0xff => (self.u64()?, 0x1_0000_0000),
            small => return Ok(u64::from(small)),
        };
        if value < least { Err(DecodeError::NotCanonical) } else { Ok(value) }
    }

    /// A length or a count of at most `max`.
    pub(crate) fn size(&mut self, max: usize) -> Result<usize, DecodeError> {
        let size = usize::try_from(self.uint()?).map_err(|_| DecodeError::OutOfRange)?;
        if size > max { Err(DecodeError::OutOfRange) } else { Ok(size) }
    }

    pub(crate) fn bytes(&mut self, max: usize) -> Result<&'a [u8], DecodeError> {
        let len = self.size(max)?;
        self.take(len)
    }

    pub(crate) fn text(&mut self, max: usize) -> Result<String, DecodeError> {
        let text = std::str::from_utf8(self.bytes(max)?).map_err(|_| DecodeError::NotText)?;
        Ok(text.to_owned())
    }

    pub(crate) fn option<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        match self.u8()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            tag => Err(DecodeError::UnknownTag(tag)),
        }
    }

    /// A list of at most `max` items; memory grows with the items that are there, not with the count.
    pub(crate) fn list<T>(
        &mut self,
        max: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = self.size(max)?;
        let mut items = Vec::with_capacity(count.min(16));
        for _ in 0..count {
            items.push(read(self)?);
        }
        Ok(items)
    }

    /// A list in strictly ascending order, so that a set has one form.
    pub(crate) fn set<T: Ord>(
        &mut self,
        max: usize,
        read: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let items = self.list(max, read)?;
        if items.is_sorted_by(|a, b| a < b) { Ok(items) } else { Err(DecodeError::NotCanonical) }
    }

    pub(crate) const fn end(&self) -> Result<(), DecodeError> {
        if self.0.is_empty() { Ok(()) } else { Err(DecodeError::Trailing) }
    }
}

/// Reads a value that must fill all bytes.
pub(crate) fn whole<'a, T>(
    bytes: &'a [u8],
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let mut r = Reader::new(bytes);
    let value = read(&mut r)?;
    r.end()?;
    Ok(value)
}

/// Appends values to a buffer in their one form.
#[derive(Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn u8(&mut self, value: u8) -> &mut Self {
        self.raw(&[value])
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    pub(crate) fn uint(&mut self, value: u64) -> &mut Self {
        let le = value.to_le_bytes();
        let [a, b, c, d, ..] = le;
        match value {
            0..=0xfc => self.raw(&[a]),
            0xfd..=0xffff => self.raw(&[0xfd, a, b]),
            0x1_0000..=0xffff_ffff => self.raw(&[0xfe, a, b, c, d]),
            _ => self.raw(&[0xff]).raw(&le),
        }
    }

    pub(crate) fn size(&mut self, size: usize) -> &mut Self {
        self.uint(u64::try_from(size).expect("no length in memory is above 2^64"))
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.size(bytes.len()).raw(bytes)
    }

    pub(crate) fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) -> &mut Self {
        match value {
            None => self.u8(0),
            Some(value) => {
                self.u8(1);
                write(self, value);
                self
            }
        }
    }

    pub(crate) fn list<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T)) -> &mut Self {
        self.size(items.len());
        for item in items {
            write(self, item);
        }
        self
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Appends what `write` appends to a new buffer.
pub(crate) fn written(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut w = Writer::default();
    write(&mut w);
    w.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_one_form_each() {
        let rows: [(u64, &[u8]); 6] = [
            (0, &[0]),
            (0xfc, &[0xfc]),
            (0xfd, &[0xfd, 0xfd, 0]),
            (0xffff, &[0xfd, 0xff, 0xff]),
            (0x1_0000, &[0xfe, 0, 0, 1, 0]),
            (0x1_0000_0000, &[0xff, 0, 0, 0, 0, 1, 0, 0, 0]),
        ];
        for (value, bytes) in rows {
            assert_eq!(
                written(|w| {
                    w.uint(value);
                }),
                bytes
            );
            assert_eq!(whole(bytes, Reader::uint), Ok(value));
        }
        for longer in [&[0xfd, 0xfc, 0][..], &[0xfe, 0xff, 0xff, 0, 0], &[0xff, 1, 0, 0, 0, 0, 0, 0, 0]] {
            assert_eq!(whole(longer, Reader::uint), Err(DecodeError::NotCanonical));
        }
    }

    #[test]
    fn a_count_is_believed_only_as_far_as_bytes_remain() {
        let claim = written(|w| {
            w.uint(1 << 40);
        });
        let read = |max| whole(&claim, |r| r.list(max, Reader::u64));
        assert_eq!(read(usize::MAX), Err(DecodeError::Truncated));
        assert_eq!(read(1000), Err(DecodeError::OutOfRange));
    }

    #[test]
    fn a_set_is_in_ascending_order_without_repetition() {
        assert_eq!(whole(&[2, 1, 3], |r| r.set(9, Reader::u8)), Ok(vec![1, 3]));
        for bad in [[2, 3, 1], [2, 3, 3]] {
            assert_eq!(whole(&bad, |r| r.set(9, Reader::u8)), Err(DecodeError::NotCanonical));
        }
    }
}
