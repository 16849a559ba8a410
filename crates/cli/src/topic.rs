use std::convert::Infallible;
use std::str::FromStr;

use node::mainline::sha1;
use node::{Id, channel};
use sha2::{Digest, Sha256};

/// What peers meet under: on HyperDHT, on Mainline, and on every network of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Topic(pub(crate) Id<32>, pub(crate) Id<20>, pub(crate) channel::Topic);

impl FromStr for Topic {
    type Err = Infallible;

    /// Reads 64 hexadecimal digits, or 40 on Mainline, or hashes any other text as applications of that network
    /// do: with SHA-256 on HyperDHT, with SHA-1 on Mainline, where the first 20 bytes of longer digits count.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        let hyper = text.parse().unwrap_or_else(|_| Id(Sha256::digest(text).into()));
        let digits = |text: &str| text.parse::<Id<20>>().ok();
        let long = text.parse::<Id<32>>().ok().and_then(|_| digits(text.get(..40)?));
        let mainline = digits(text).or(long).unwrap_or_else(|| sha1(text.as_bytes()));
        Ok(Self(hyper, mainline, text.parse()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_taken_as_they_are_and_text_is_hashed() {
        let Ok(long) = "ab".repeat(32).parse::<Topic>();
        assert_eq!((long.0, long.1), (Id([0xab; 32]), Id([0xab; 20])));
        assert_eq!("ab".repeat(20).parse::<Topic>().map(|topic| topic.1), Ok(Id([0xab; 20])));
        // FIPS 180-2, appendices B.1 and A.1.
        let Ok(abc) = "abc".parse::<Topic>();
        assert_eq!(abc.0.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(abc.1.to_string(), "a9993e364706816aba3e25717850c26c9cd0d89d");
    }
}
