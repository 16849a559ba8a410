//! Keys, and Diffie-Hellman on the Edwards curve itself (npm `noise-curve-ed` 2.1).

use std::fmt;

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::traits::IsIdentity;
use sha2::{Digest, Sha512};
use subtle::ConstantTimeEq;
use wire::PublicKey;
use zeroize::Zeroize;

/// Thirty-two secret bytes: never shown, compared in constant time, overwritten when dropped.
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

/// The key pair that a handshake proves; its `Debug` shows the public half only.
pub struct StaticKey {
    scalar: Secret,
    public: PublicKey,
}

impl StaticKey {
    /// Expands a seed (RFC 8032); the public half is that of the Ed25519 signing key of the same seed.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let scalar = expand(seed);
        Self { public: PublicKey(public(scalar.expose())), scalar }
    }

    /// Returns the public half.
    #[must_use]
    pub const fn public(&self) -> PublicKey {
        self.public
    }

    /// Lends the first half of the seed's hash; whoever multiplies with it clamps it.
    pub(crate) const fn scalar(&self) -> &[u8; 32] {
        self.scalar.expose()
    }
}

impl fmt::Debug for StaticKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StaticKey").field(&self.public).finish()
    }
}

/// A point that no honest peer has as its key: not canonical, not on the curve, or outside the subgroup of
/// prime order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the point is not usable as a key")]
pub struct UnusablePoint;

/// Returns the private half that belongs to a seed, not yet clamped.
pub(crate) fn expand(seed: &[u8; 32]) -> Secret {
    let mut wide: [u8; 64] = Sha512::digest(seed).into();
    let mut half = [0; 32];
    half.copy_from_slice(&wide[..32]);
    wide.zeroize();
    Secret::new(half)
}

/// Returns the compressed public point of a private half.
pub(crate) fn public(scalar: &[u8; 32]) -> [u8; 32] {
    EdwardsPoint::mul_base_clamped(*scalar).compress().0
}

/// Multiplies a peer's point with our private half, and returns the compressed product.
///
/// Accepts what libsodium's `crypto_scalarmult_ed25519_noclamp` accepts, so that every peer draws the line
/// at the same place.
pub(crate) fn shared(scalar: &[u8; 32], point: &[u8; 32]) -> Result<[u8; 32], UnusablePoint> {
    let point = CompressedEdwardsY(*point).decompress().ok_or(UnusablePoint)?;
    // Decompression takes second encodings too, but no point that has one is in the subgroup of prime order,
    // apart from the identity.
    if point.is_identity() || !point.is_torsion_free() {
        return Err(UnusablePoint);
    }
    Ok(point.mul_clamped(*scalar).compress().0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use curve25519_dalek::scalar::clamp_integer;
    use serde_json::Value;

    fn vector() -> Value {
        serde_json::from_str(include_str!("../../../vectors/hyperdht/noise-secretstream.json")).unwrap()
    }

    fn bytes(value: &Value) -> [u8; 32] {
        let digits = value.as_str().unwrap().as_bytes();
        std::array::from_fn(|at| {
            let pair = std::str::from_utf8(&digits[2 * at..2 * at + 2]).unwrap();
            u8::from_str_radix(pair, 16).unwrap()
        })
    }

    #[test]
    fn shared_points_are_those_of_the_reference() {
        let row = &vector()["dh"];
        let (a, b) = (expand(&bytes(&row["aSeed"])), expand(&bytes(&row["bSeed"])));
        assert_eq!(clamp_integer(*a.expose()), bytes(&row["aScalarClamped"]));
        assert_eq!(public(a.expose()), bytes(&row["aPublic"]));
        assert_eq!(public(b.expose()), bytes(&row["bPublic"]));
        assert_eq!(shared(a.expose(), &bytes(&row["bPublic"])), Ok(bytes(&row["shared"])));
        assert_eq!(shared(b.expose(), &bytes(&row["aPublic"])), Ok(bytes(&row["sharedOtherWay"])));
    }

    #[test]
    fn points_that_the_reference_refuses_are_refused() {
        let vectors = vector();
        let rows = vectors["dhRejects"].as_array().unwrap();
        assert_eq!(rows.len(), 4);
        for row in rows {
            assert_eq!(shared(&[7; 32], &bytes(&row["point"])), Err(UnusablePoint), "{}", row["name"]);
        }
    }

    #[test]
    fn a_key_with_a_part_of_small_order_is_refused() {
        // A true key and the point of order 8 of the vectors: their sum is on the curve, canonical, and wrong.
        let vectors = vector();
        let small = CompressedEdwardsY(bytes(&vectors["dhRejects"][2]["point"])).decompress().unwrap();
        let key = CompressedEdwardsY(bytes(&vectors["dh"]["aPublic"])).decompress().unwrap();
        assert_eq!(shared(&[7; 32], &(key + small).compress().0), Err(UnusablePoint));
        assert!(shared(&[7; 32], &key.compress().0).is_ok());
    }

    #[test]
    fn no_key_has_a_second_encoding() {
        // y and y + p name the same point, and the latter fits 255 bits where y is below 19. Where x is 0, its
        // sign is free as well: that is the identity and the point of order 2, y = p - 1.
        let order_2 = [&[0xec][..], &[0xff; 30], &[0x7f]].concat();
        let small = (0..19_u8).flat_map(|y| {
            let first = [&[y][..], &[0; 31]].concat();
            let second = [&[0xed + y][..], &[0xff; 30], &[0x7f]].concat();
            [first, second]
        });
        for encoding in small.chain([order_2]) {
            let mut point: [u8; 32] = encoding.try_into().unwrap();
            for sign in [0, 0x80] {
                point[31] = point[31] & 0x7f | sign;
                assert_eq!(shared(&[7; 32], &point), Err(UnusablePoint), "{point:02x?}");
            }
        }
    }
}
