use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use blake2::Blake2b;
use blake2::digest::{Digest, consts::U32};
use sha1::Sha1;
use sha2::Sha256;
use wire::Id;

/// What peers meet under, on every network at once.
///
/// A text is hashed for each network as its JavaScript applications do it. An identifier that is a network's
/// own goes to that network as it is, and to no other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic {
    secret: [u8; 32],
    mainline: Option<Id<20>>,
    hyper: Option<Id<32>>,
}

impl Topic {
    /// Makes a topic of a text: SHA-1 on Mainline (npm `discovery-channel`), SHA-256 on HyperDHT (applications
    /// of npm `hyperswarm`).
    #[must_use]
    pub fn text(text: &str) -> Self {
        let (short, long) = (Id(Sha1::digest(text).into()), Id(Sha256::digest(text).into()));
        Self { secret: secret("text", text.as_bytes()), mainline: Some(short), hyper: Some(long) }
    }

    /// Makes a topic of an info-hash of Mainline.
    #[must_use]
    pub fn short(id: Id<20>) -> Self {
        Self { secret: secret("short", &id.0), mainline: Some(id), hyper: None }
    }

    /// Makes a topic of a topic of HyperDHT.
    #[must_use]
    pub fn long(id: Id<32>) -> Self {
        Self { secret: secret("long", &id.0), mainline: None, hyper: Some(id) }
    }

    /// Returns the info-hash on Mainline, where it has one.
    #[must_use]
    pub const fn mainline(&self) -> Option<Id<20>> {
        self.mainline
    }

    /// Returns the topic on HyperDHT, where it has one.
    #[must_use]
    pub const fn hyper(&self) -> Option<Id<32>> {
        self.hyper
    }

    /// Returns the 20 bytes that npm `dns-discovery` names the topic by; a longer identifier is cut to its first
    /// 20 (npm `discovery-channel`, 5.5.1).
    #[must_use]
    pub fn compatible(&self) -> [u8; 20] {
        let cut = |id: Id<32>| std::array::from_fn(|at| id.0.get(at).copied().unwrap_or_default());
        self.mainline.map(|id| id.0).or_else(|| self.hyper.map(cut)).unwrap_or_default()
    }

    /// What only those know who know the topic: keys its labels on the local network.
    pub(crate) const fn secret(&self) -> &[u8; 32] {
        &self.secret
    }
}

/// Made of the topic itself and not of what the networks see, so that the label of a text cannot be computed by who
/// only saw its hash there.
fn secret(kind: &str, topic: &[u8]) -> [u8; 32] {
    Blake2b::<U32>::new()
        .chain_update("homing local topic ")
        .chain_update(kind)
        .chain_update(topic)
        .finalize()
        .into()
}

impl FromStr for Topic {
    type Err = Infallible;

    /// Reads 40 hexadecimal digits as an info-hash of Mainline, 64 as a topic of HyperDHT, anything else as text.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        let long = || text.parse().map(Self::long).ok();
        Ok(text.parse().map(Self::short).ok().or_else(long).unwrap_or_else(|| Self::text(text)))
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topic")
            .field("mainline", &self.mainline)
            .field("hyper", &self.hyper)
            .finish_non_exhaustive()
    }
}
