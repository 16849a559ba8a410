//! Secrets between two, and keys for groups.
//!
//! These are the library's primitives; what an application stores where is its own affair. There is no
//! rotation: who once had a group's key reads what was encrypted under it.

use std::fmt;

use p256::elliptic_curve::ecdh::diffie_hellman;

use crate::encoding::{hex, hex_exact};
use crate::json::{Object, Value};
use crate::keys::{Address, Identity, KeyError};
use crate::seal::{Iv, Sealed, SealingKey};

/// A key of AES-256-GCM that several people hold.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedKey([u8; 32]);

impl SharedKey {
    /// A group's key from 32 bytes of the system's entropy.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key that two key pairs agree on: the raw x coordinate of ECDH over P-256, as the library takes it.
    ///
    /// # Errors
    ///
    /// If the other's address is no point of the curve.
    pub fn between(mine: &Identity, other: &Address) -> Result<Self, KeyError> {
        let public = other.public_key()?;
        let shared = diffie_hellman(mine.scalar(), public.as_affine());
        Ok(Self((*shared.raw_secret_bytes()).into()))
    }

    /// Reads 64 digits of lower-case hexadecimal.
    pub fn parse(text: &str) -> Option<Self> {
        hex_exact(text).map(Self)
    }

    /// Lower-case hexadecimal. Keep it secret.
    pub fn to_hex(&self) -> String {
        hex(&self.0)
    }

    fn sealing(&self) -> SealingKey {
        SealingKey::aes_256(&self.0)
    }

    /// Encrypts a group's key for whoever holds this one, as `{"iv":base64,"key":hex}`.
    pub fn wrap(&self, group: &Self, iv: Iv) -> Value {
        Value::Object(Object::from_members(self.sealing().seal(&group.0, iv).members("key")))
    }

    /// Decrypts what [`SharedKey::wrap`] made; `None` if this is not the key or the value not its work.
    pub fn unwrap_key(&self, wrapped: &Value) -> Option<Self> {
        let sealed = Sealed::from_members(wrapped.as_object()?, "key")?;
        self.sealing().open(&sealed)?.try_into().ok().map(Self)
    }

    /// Encrypts a text as `{"iv":base64,"ct":hex}`.
    pub fn encrypt(&self, text: &str, iv: Iv) -> Value {
        Value::Object(Object::from_members(self.sealing().seal(text.as_bytes(), iv).members("ct")))
    }

    /// Decrypts what [`SharedKey::encrypt`] made; `None` if this is not the key or the value not its work.
    pub fn decrypt(&self, message: &Value) -> Option<String> {
        let sealed = Sealed::from_members(message.as_object()?, "ct")?;
        String::from_utf8(self.sealing().open(&sealed)?).ok()
    }
}

impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedKey(…)")
    }
}
