//! Authenticated encryption as the library uses it: AES-GCM with 12-byte vectors and the tag appended.

use std::fmt;

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::encoding::{base64_bytes, from_base64_bytes, hex, hex_lax};
use crate::json::{Object, Text, Value};

/// Bytes that must never be used twice with one key. Draw them from the system's entropy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Iv(pub [u8; 12]);

impl Iv {
    fn parse(text: &str) -> Option<Self> {
        from_base64_bytes(text)?.try_into().ok().map(Self)
    }
}

/// A ciphertext with its tag, and the vector it was made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    iv: Iv,
    bytes: Vec<u8>,
}

impl Sealed {
    /// Reads the two members of an object; `name` is that of the ciphertext.
    pub(crate) fn from_members(object: &Object, name: &str) -> Option<Self> {
        let text = |name| object.get(name)?.as_text().map(Text::escaped);
        Some(Self { iv: Iv::parse(text("iv")?)?, bytes: hex_lax(text(name)?) })
    }

    /// The two members in the order in which the library writes them.
    pub(crate) fn members(&self, name: &str) -> [(Text, Value); 2] {
        let (iv, bytes) = (base64_bytes(&self.iv.0), hex(&self.bytes));
        [("iv".into(), Value::Text(iv.as_str().into())), (name.into(), Value::Text(bytes.as_str().into()))]
    }
}

/// A key of 16 or 32 bytes.
pub(crate) struct SealingKey(LessSafeKey);

impl SealingKey {
    pub(crate) fn aes_128(key: &[u8; 16]) -> Self {
        Self(LessSafeKey::new(UnboundKey::new(&AES_128_GCM, key).expect("AES-128 takes 16 bytes")))
    }

    pub(crate) fn aes_256(key: &[u8; 32]) -> Self {
        Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("AES-256 takes 32 bytes")))
    }

    pub(crate) fn seal(&self, plain: &[u8], iv: Iv) -> Sealed {
        let mut bytes = plain.to_vec();
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(iv.0), Aad::empty(), &mut bytes)
            .expect("a text in memory is shorter than AES-GCM's 64 GiB");
        Sealed { iv, bytes }
    }

    /// Decrypts; `None` if the key is wrong or the ciphertext was changed.
    pub(crate) fn open(&self, sealed: &Sealed) -> Option<Vec<u8>> {
        let mut bytes = sealed.bytes.clone();
        let nonce = Nonce::assume_unique_for_key(sealed.iv.0);
        let plain = self.0.open_in_place(nonce, Aad::empty(), &mut bytes).ok()?.len();
        bytes.truncate(plain);
        Some(bytes)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(…)")
    }
}
