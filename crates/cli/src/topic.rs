use std::convert::Infallible;
use std::str::FromStr;

use node::Id;
use sha2::{Digest, Sha256};

/// What peers meet under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Topic(pub(crate) Id<32>);

impl Topic {
    /// Hashes a text, also one that looks like digits.
    pub(crate) fn of_text(text: &str) -> Self {
        Self(Id(Sha256::digest(text).into()))
    }
}

impl FromStr for Topic {
    type Err = Infallible;

    /// Reads 64 hexadecimal digits, or hashes any other text as Hyperswarm applications do.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.parse().map_or_else(|_| Self::of_text(text), Self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_taken_as_they_are_and_text_is_hashed() {
        assert_eq!("ab".repeat(32).parse(), Ok(Topic(Id([0xab; 32]))));
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!("abc".parse::<Topic>(), abc.parse());
    }
}
