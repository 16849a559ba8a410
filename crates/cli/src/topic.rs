use std::convert::Infallible;
use std::str::FromStr;

use node::{Id, channel};
use sha2::{Digest, Sha256};

/// What peers meet under: on HyperDHT, and on every network of a channel, where 40 digits are Mainline's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Topic(pub(crate) Id<32>, pub(crate) channel::Topic);

impl FromStr for Topic {
    type Err = Infallible;

    /// Reads 64 hexadecimal digits, or hashes any other text as Hyperswarm applications do.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        let everywhere = text.parse()?;
        let hashed = || Self(Id(Sha256::digest(text).into()), everywhere);
        Ok(text.parse().map_or_else(|_| hashed(), |id| Self(id, everywhere)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_taken_as_they_are_and_text_is_hashed() {
        let id = |text: &str| text.parse::<Topic>().map(|topic| topic.0);
        assert_eq!(id(&"ab".repeat(32)), Ok(Id([0xab; 32])));
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(id("abc"), id(abc));
    }
}
