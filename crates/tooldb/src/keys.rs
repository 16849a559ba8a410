//! Who signs: P-256 key pairs, the addresses made of them, and the forms in which they are kept.

use std::fmt;

use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature as EcdsaSignature, SigningKey};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

use crate::digest::Digest;
use crate::encoding::{base64url, from_base64url, hex_lax};

/// Characters of one coordinate in an address: 32 bytes in unpadded base64url.
const COORDINATE_CHARS: usize = 43;
/// Bytes of an uncompressed point: `04 ‖ x ‖ y` (SEC 1, section 2.3.3).
const POINT_LEN: usize = 65;
/// DER before the point in a `SubjectPublicKeyInfo` of P-256 (RFC 5480).
const SPKI_HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// DER before the scalar in a PKCS#8 key of P-256 with its public key (RFC 5958, RFC 5915).
const PKCS8_HEAD: [u8; 36] = [
    0x30, 0x81, 0x87, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
    0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04, 0x6d, 0x30, 0x6b, 0x02, 0x01, 0x01,
    0x04, 0x20,
];
/// DER between the scalar and the point.
const PKCS8_MIDDLE: [u8; 5] = [0xa1, 0x44, 0x03, 0x42, 0x00];

/// Why a key cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not the encoding that WebCrypto exports for P-256.
    #[error("not a P-256 key in the expected encoding")]
    Encoding,
    /// The point is not on the curve, or the scalar is zero or too large.
    #[error("not a valid P-256 key")]
    Invalid,
    /// The public key in the file does not belong to the private one.
    #[error("public and private key do not match")]
    Mismatch,
}

/// An author: both coordinates of a P-256 point, which need not be on the curve until a signature is checked.
///
/// ```text
/// text: base64url(x) ‖ base64url(y), 43 + 43 characters
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address([u8; 64]);

impl Address {
    /// Reads an address; `None` unless it is exactly the text that [`Display`](fmt::Display) writes.
    pub fn parse(text: &str) -> Option<Self> {
        let (x, y) = text.split_at_checked(COORDINATE_CHARS)?;
        let mut bytes = from_base64url(x)?;
        bytes.extend(from_base64url(y)?);
        bytes.try_into().ok().map(Self)
    }

    /// The name under which this key's node takes part in the conversation.
    #[expect(clippy::missing_panics_doc, reason = "an address has 86 characters of base64url")]
    pub fn client_id(&self) -> ClientId {
        let text = self.to_string();
        let tail = text.len() - ClientId::LEN;
        ClientId::parse(text.get(tail..).expect("an address is ASCII")).expect("20 characters of base64url")
    }

    fn point(&self) -> [u8; POINT_LEN] {
        let mut point = [4; POINT_LEN];
        point[1..].copy_from_slice(&self.0);
        point
    }

    /// The public key as a hexadecimal `SubjectPublicKeyInfo`.
    pub fn to_spki(&self) -> Vec<u8> {
        [SPKI_HEAD.as_slice(), &self.point()].concat()
    }

    /// Reads a `SubjectPublicKeyInfo` as WebCrypto exports it.
    ///
    /// # Errors
    ///
    /// If it is anything else, or the point is not on the curve.
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        let point = der.strip_prefix(&SPKI_HEAD).ok_or(KeyError::Encoding)?;
        let [4, coordinates @ ..] = point else { return Err(KeyError::Encoding) };
        let address = Self(coordinates.try_into().map_err(|_| KeyError::Encoding)?);
        address.public_key().map(|_| address)
    }

    pub(crate) fn public_key(&self) -> Result<p256::PublicKey, KeyError> {
        p256::PublicKey::from_sec1_bytes(&self.point()).map_err(|_| KeyError::Invalid)
    }

    /// Tells whether this key signed the text. High `s` values are accepted, as WebCrypto does.
    pub fn signed(&self, text: &str, signature: &Signature) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.point())
            .verify(text.as_bytes(), &signature.0)
            .is_ok()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (x, y) = self.0.split_at(32);
        f.write_str(&base64url(x))?;
        f.write_str(&base64url(y))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A node in the conversation: the last 20 characters of its peer account's address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId([u8; Self::LEN]);

impl ClientId {
    /// Characters of an id.
    pub const LEN: usize = 20;

    /// Reads an id; `None` unless it is 20 characters of base64url.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        text.as_bytes().try_into().ok().filter(|_| fits).map(Self)
    }

    /// The id as text.
    #[expect(clippy::missing_panics_doc, reason = "only ASCII gets in")]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("an id is ASCII")
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// An ECDSA signature, `r ‖ s` (IEEE P1363), not yet checked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 64]);

impl Signature {
    /// Reads a signature as the library does; `None` unless the hexadecimal pairs make 64 bytes.
    pub fn parse(text: &str) -> Option<Self> {
        hex_lax(text).try_into().ok().map(Self)
    }

    /// Lower-case hexadecimal.
    pub fn to_hex(&self) -> String {
        crate::encoding::hex(&self.0)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

/// A key pair that signs. Signatures are deterministic (RFC 6979), so signing needs no entropy.
#[derive(Clone)]
pub struct Identity {
    secret: SigningKey,
    address: Address,
}

impl Identity {
    fn from_secret(secret: SigningKey) -> Self {
        let point = secret.verifying_key().to_sec1_point(false);
        let coordinates = point.as_bytes().get(1..).and_then(|bytes| bytes.try_into().ok());
        let address = Address(coordinates.expect("an uncompressed point of P-256 has 65 bytes"));
        Self { secret, address }
    }

    /// Makes a key pair from 32 bytes that nobody else knows: equal seeds make equal keys.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let mut scalar = Digest(seed);
        loop {
            // About one hash in 2³² is not below the group's order; its own hash is as good a start.
            scalar = Digest::of(&scalar.to_hex());
            if let Ok(secret) = SigningKey::from_slice(&scalar.0) {
                return Self::from_secret(secret);
            }
        }
    }

    /// Reads a PKCS#8 private key as WebCrypto exports it, with the public key inside.
    ///
    /// # Errors
    ///
    /// If it is anything else, the key is invalid, or its halves do not match.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let rest = der.strip_prefix(&PKCS8_HEAD).ok_or(KeyError::Encoding)?;
        let (scalar, rest) = rest.split_at_checked(32).ok_or(KeyError::Encoding)?;
        let point = rest.strip_prefix(&PKCS8_MIDDLE).ok_or(KeyError::Encoding)?;
        if point.len() != POINT_LEN {
            return Err(KeyError::Encoding);
        }
        let identity =
            SigningKey::from_slice(scalar).map(Self::from_secret).map_err(|_| KeyError::Invalid)?;
        if identity.address.point() == point { Ok(identity) } else { Err(KeyError::Mismatch) }
    }

    /// The private key in PKCS#8 as WebCrypto exports it. Keep it secret.
    pub fn to_pkcs8(&self) -> Vec<u8> {
        [PKCS8_HEAD.as_slice(), &self.secret.to_bytes(), &PKCS8_MIDDLE, &self.address.point()].concat()
    }

    /// The address that others know this key pair by.
    pub fn address(&self) -> Address {
        self.address
    }

    pub(crate) fn scalar(&self) -> &p256::NonZeroScalar {
        self.secret.as_nonzero_scalar()
    }

    /// Signs a text.
    pub fn sign(&self, text: &str) -> Signature {
        let signature: EcdsaSignature = self.secret.sign(text.as_bytes());
        Signature(signature.to_bytes().into())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.address)
    }
}
