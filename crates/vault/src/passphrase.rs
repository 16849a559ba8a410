//! What a person types, and what it costs to try one.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use chart::Secret;
use zeroize::Zeroizing;

use crate::error::VaultError;

/// A passphrase, never shown, overwritten when dropped. Its bytes count as they are: nothing is normalised.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Takes charge of a passphrase.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

/// What one guess costs: the parameters of Argon2id (RFC 9106), stored beside what they protect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// KiB of memory.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes; computed one after the other here.
    pub lanes: u32,
}

impl Cost {
    /// 64 MiB and three passes, the second choice of RFC 9106, with one lane as only one is computed at a time.
    pub const STANDARD: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 1 };

    /// What a key file may ask for; more would be somebody's attempt to exhaust whoever opens it.
    const MOST: Self = Self { memory_kib: 4 * 1024 * 1024, passes: 64, lanes: 16 };

    pub(crate) fn derive(self, passphrase: &Passphrase, salt: &[u8; 16]) -> Result<Secret, VaultError> {
        let most = Self::MOST;
        if self.memory_kib > most.memory_kib || self.passes > most.passes || self.lanes > most.lanes {
            return Err(VaultError::Cost);
        }
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32));
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.map_err(|_| VaultError::Cost)?);
        let mut key = Zeroizing::new([0; 32]);
        argon2.hash_password_into(passphrase.bytes(), salt, &mut *key).map_err(|_| VaultError::Cost)?;
        Ok(Secret::new(*key))
    }
}
