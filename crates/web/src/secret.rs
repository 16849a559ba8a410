use std::fmt::{self, Write as _};

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// A text that opens a door; it is never printed by accident, and comparing it takes the same time for every
/// guess.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Takes a text that is secret from now on.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Derives 128 bits, as hexadecimal digits, that say nothing of the seed nor of other derivations.
    #[must_use]
    pub fn derive(seed: &[u8; 32], purpose: &str, serial: u64) -> Self {
        let mut hash = Sha256::new();
        hash.update(seed);
        hash.update(serial.to_le_bytes());
        hash.update(purpose);
        let digest = hash.finalize();
        let mut text = String::with_capacity(32);
        for byte in digest.iter().take(16) {
            write!(text, "{byte:02x}").expect("a string takes everything");
        }
        Self(text)
    }

    /// Tells whether a guess is right.
    #[must_use]
    pub fn is(&self, guess: &str) -> bool {
        self.0.as_bytes().ct_eq(guess.as_bytes()).into()
    }

    /// Returns the text, for the one who may have it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivations_differ_by_purpose_serial_and_seed_and_are_not_printed() {
        let made = Secret::derive(&[7; 32], "code", 0);
        assert!(made.is(Secret::derive(&[7; 32], "code", 0).reveal()));
        for other in [
            Secret::derive(&[8; 32], "code", 0),
            Secret::derive(&[7; 32], "session", 0),
            Secret::derive(&[7; 32], "code", 1),
        ] {
            assert!(!made.is(other.reveal()));
        }
        assert_eq!(made.reveal().len(), 32);
        assert!(!made.is(""));
        assert_eq!(format!("{made:?}"), "…");
    }
}
