//! Names, keys and hashes.

use std::fmt;

use blake2::Blake2bMac;
use blake2::digest::{KeyInit, Mac, consts::U32};
use curve25519_dalek::montgomery::MontgomeryPoint;
use ed25519_dalek::{Signer, SigningKey, VerifyingKey};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::bytes::{DecodeError, Reader, Writer};

/// Defines public bytes with a meaning of their own, shown as hexadecimal.
macro_rules! public_bytes {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
                r.array().map(Self)
            }

            pub(crate) fn write(&self, w: &mut Writer) {
                w.raw(&self.0);
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

public_bytes!(
    /// An Ed25519 public key: the name of the author of a log.
    AuthorKey, 32
);
public_bytes!(
    /// An X25519 public key, to which keys are sealed.
    SealKey, 32
);
public_bytes!(
    /// A hash that names a header, an epoch, a blob or an invitation.
    Digest, 32
);
public_bytes!(
    /// The name of a record: the hash of its [`Genesis`](crate::Genesis).
    RecordId, 32
);
public_bytes!(
    /// An Ed25519 signature.
    Signature, 64
);

impl Digest {
    /// What stands where nothing came before.
    pub const ZERO: Self = Self([0; 32]);
}

impl AuthorKey {
    /// Checks a signature strictly (RFC 8032, no points of small order), so that all replicas agree.
    pub(crate) fn verify(
        &self,
        domain: &Domain,
        parts: &[&[u8]],
        signature: &Signature,
    ) -> Result<(), DecodeError> {
        let key = VerifyingKey::from_bytes(&self.0).map_err(|_| DecodeError::Unsigned)?;
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        key.verify_strict(&hash(domain, parts), &signature).map_err(|_| DecodeError::Unsigned)
    }
}

/// What a hash is for; no hash of one use is a hash of another.
pub(crate) struct Domain(pub(crate) &'static str);

/// Returns 32 bytes of `BLAKE2b` over the joined parts, keyed with the domain's name.
pub(crate) fn hash(domain: &Domain, parts: &[&[u8]]) -> [u8; 32] {
    keyed(domain.0.as_bytes(), parts)
}

/// Derives a secret from another for one purpose.
pub(crate) fn derive(secret: &Secret, domain: &Domain, parts: &[&[u8]]) -> Secret {
    let name = hash(domain, &[]);
    let all: Vec<&[u8]> = std::iter::once(&name[..]).chain(parts.iter().copied()).collect();
    Secret(keyed(&secret.0, &all))
}

fn keyed(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mac = Blake2bMac::<U32>::new_from_slice(key).expect("no key here is longer than 64 bytes");
    parts.iter().fold(mac, Mac::chain_update).finalize().into_bytes().into()
}

/// Thirty-two secret bytes: never shown, compared in constant time, overwritten when dropped.
#[derive(Clone)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Takes charge of secret bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Lends the bytes.
    #[must_use]
    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The X25519 secret that opens what was sealed to its [`SealKey`].
pub(crate) struct SealSecret(Secret);

impl SealSecret {
    pub(crate) const fn new(secret: Secret) -> Self {
        Self(secret)
    }

    pub(crate) fn public(&self) -> SealKey {
        SealKey(MontgomeryPoint::mul_base_clamped(*self.0.expose()).0)
    }

    /// Returns the common secret, or `None` for a point that makes it known to all.
    pub(crate) fn agree(&self, other: &SealKey) -> Option<Secret> {
        let shared = MontgomeryPoint(other.0).mul_clamped(*self.0.expose()).0;
        let known_to_all: bool = shared.ct_eq(&[0; 32]).into();
        (!known_to_all).then_some(Secret(shared))
    }
}

/// The keys of one author in one record: one signs a log, the other opens what is sealed to it.
///
/// A person has another identity in each record and on each device, so that no key links two records.
pub struct Identity {
    sign: SigningKey,
    seal: SealSecret,
}

impl Identity {
    /// Derives both keys.
    #[must_use]
    pub fn from_seed(seed: &Secret) -> Self {
        let sign = derive(seed, &Domain("homing chart identity sign"), &[]);
        let seal = derive(seed, &Domain("homing chart identity seal"), &[]);
        Self { sign: SigningKey::from_bytes(sign.expose()), seal: SealSecret(seal) }
    }

    /// The key that names the log.
    #[must_use]
    pub fn author(&self) -> AuthorKey {
        AuthorKey(self.sign.verifying_key().to_bytes())
    }

    /// The key that others seal to.
    #[must_use]
    pub fn seal_key(&self) -> SealKey {
        self.seal.public()
    }

    pub(crate) const fn seal_secret(&self) -> &SealSecret {
        &self.seal
    }

    pub(crate) fn sign(&self, domain: &Domain, parts: &[&[u8]]) -> Signature {
        sign(&self.sign, domain, parts)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Identity").field(&self.author()).finish()
    }
}

pub(crate) fn sign(key: &SigningKey, domain: &Domain, parts: &[&[u8]]) -> Signature {
    Signature(key.sign(&hash(domain, parts)).to_bytes())
}

/// Chance from a seed: each draw is a hash of a state that is then hashed forward, so that what was drawn
/// before cannot be computed from what is in memory later.
#[derive(Debug)]
pub(crate) struct Chance(Secret);

impl Chance {
    pub(crate) const fn new(seed: Secret) -> Self {
        Self(seed)
    }

    pub(crate) fn draw(&mut self) -> Secret {
        let drawn = derive(&self.0, &Domain("homing chart chance draw"), &[]);
        self.0 = derive(&self.0, &Domain("homing chart chance next"), &[]);
        drawn
    }

    pub(crate) fn nonce(&mut self) -> [u8; 24] {
        let drawn = self.draw();
        let mut nonce = [0; 24];
        nonce.copy_from_slice(&drawn.expose()[..24]);
        nonce
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_agree_on_a_secret_and_a_point_of_small_order_gives_none() {
        let (a, b) = (SealSecret::new(Secret([1; 32])), SealSecret::new(Secret([2; 32])));
        assert_eq!(a.agree(&b.public()), b.agree(&a.public()));
        assert!(a.agree(&b.public()).is_some());
        assert_eq!(a.agree(&SealKey([0; 32])), None);
        let mut one = [0; 32];
        one[0] = 1;
        assert_eq!(a.agree(&SealKey(one)), None);
    }

    #[test]
    fn a_signature_holds_for_one_use_only() {
        let identity = Identity::from_seed(&Secret([3; 32]));
        let signature = identity.sign(&Domain("one use"), &[b"words"]);
        let verify = |domain, words: &[u8]| identity.author().verify(&domain, &[words], &signature);
        assert_eq!(verify(Domain("one use"), b"words"), Ok(()));
        assert_eq!(verify(Domain("another"), b"words"), Err(DecodeError::Unsigned));
        assert_eq!(verify(Domain("one use"), b"other"), Err(DecodeError::Unsigned));
    }
}
