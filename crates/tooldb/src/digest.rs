//! SHA-256, the one hash of the protocol.

use ring::digest;

use crate::encoding::hex;

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Hashes a text's UTF-8.
    pub fn of(text: &str) -> Self {
        Hasher::new().and(text).finish()
    }

    /// Lower-case hexadecimal, the form in which records carry and sign it.
    pub fn to_hex(self) -> String {
        hex(&self.0)
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_hex())
    }
}

/// A hash over several texts; a clone continues from the same point.
#[derive(Clone)]
pub(crate) struct Hasher(digest::Context);

impl Hasher {
    pub(crate) fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    pub(crate) fn and(mut self, text: &str) -> Self {
        self.0.update(text.as_bytes());
        self
    }

    pub(crate) fn finish(self) -> Digest {
        Digest(self.0.finish().as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}
