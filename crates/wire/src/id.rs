use std::fmt;
use std::str::FromStr;

/// An identifier of `N` bytes in a Kademlia key space: 32 for HyperDHT, 20 for Mainline.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id<const N: usize>(pub [u8; N]);

impl<const N: usize> Id<N> {
    /// Returns the XOR distance to `other`; smaller is closer.
    #[must_use]
    pub fn distance(&self, other: &Self) -> Self {
        let mut out = self.0;
        for (byte, theirs) in out.iter_mut().zip(other.0) {
            *byte ^= theirs;
        }
        Self(out)
    }

    /// Counts the leading bits that both identifiers share, 0 to `8 * N`.
    #[must_use]
    pub fn shared_bits(&self, other: &Self) -> usize {
        let mut bits = 0;
        for (ours, theirs) in self.0.iter().zip(other.0) {
            let differing = ours ^ theirs;
            bits += differing.leading_zeros() as usize;
            if differing != 0 {
                break;
            }
        }
        bits
    }

    /// Returns the first eight bytes as a number, enough to order identifiers that differ early.
    #[must_use]
    pub fn prefix(&self) -> u64 {
        self.0.iter().take(8).fold(0, |all, byte| all << 8 | u64::from(*byte))
    }
}

impl<const N: usize> fmt::Display for Id<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl<const N: usize> fmt::Debug for Id<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not an identifier in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} hexadecimal digits")]
pub struct ParseIdError {
    /// How many digits an identifier of this length has.
    pub expected: usize,
}

impl<const N: usize> FromStr for Id<N> {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let wrong = ParseIdError { expected: 2 * N };
        if text.len() != 2 * N {
            return Err(wrong);
        }
        let mut out = [0; N];
        for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digits = pair.iter().map(|c| char::from(*c).to_digit(16));
            for digit in digits {
                let digit = digit.and_then(|d| u8::try_from(d).ok()).ok_or(wrong)?;
                *byte = *byte << 4 | digit;
            }
        }
        Ok(Self(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_bits_counts_up_to_the_first_difference() {
        assert_eq!(Id([0b1010_0000, 0]).shared_bits(&Id([0b1011_0000, 0])), 3);
        assert_eq!(Id([0xff, 0x01]).shared_bits(&Id([0xff, 0x00])), 15);
        assert_eq!(Id([7; 4]).shared_bits(&Id([7; 4])), 32);
    }

    #[test]
    fn text_of_another_length_or_alphabet_is_refused() {
        let wrong = Err(ParseIdError { expected: 4 });
        assert_eq!("0aff".parse(), Ok(Id([0x0a, 0xff])));
        assert_eq!("0af".parse::<Id<2>>(), wrong);
        assert_eq!("0afg".parse::<Id<2>>(), wrong);
        assert_eq!("+a-1".parse::<Id<2>>(), wrong);
        assert_eq!("é\u{e9}".parse::<Id<2>>(), wrong);
    }
}
