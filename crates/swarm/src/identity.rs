use std::fmt;

use dht::KeyPair;
use peer::StaticKey;
use wire::PublicKey;

/// A key in both of its uses: it signs announcements, and proves itself in handshakes.
pub struct Identity {
    signing: KeyPair,
    agreement: StaticKey,
}

impl Identity {
    /// Expands a seed (RFC 8032).
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self { agreement: StaticKey::from_seed(&seed), signing: KeyPair::from_seed(seed) }
    }

    /// Returns the public half.
    #[must_use]
    pub const fn public_key(&self) -> PublicKey {
        self.agreement.public()
    }

    /// Lends the half that signs.
    #[must_use]
    pub const fn signing(&self) -> &KeyPair {
        &self.signing
    }

    /// Lends the half that handshakes prove.
    pub(crate) const fn agreement(&self) -> &StaticKey {
        &self.agreement
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.public_key()).finish()
    }
}
