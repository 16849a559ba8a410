//! Authenticated encryption: boxes that one key opens, and keys sealed to a person.

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, Tag, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::key::{Chance, Domain, SealKey, SealSecret, Secret, derive};

/// Bytes that a box has more than its contents.
pub(crate) const TAG_LEN: usize = 16;

/// Bytes of a key in a box with its nonce.
pub(crate) const WRAPPED_LEN: usize = 24 + 32 + TAG_LEN;

const SEALED: Domain = Domain("homing chart sealed");

/// Encrypts; a key must never see the same nonce with other contents.
pub(crate) fn encrypt(key: &Secret, nonce: [u8; 24], covered: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut out = plain.to_vec();
    let tag = XChaCha20Poly1305::new(key.expose().into())
        .encrypt_inout_detached(&XNonce::from(nonce), covered, out.as_mut_slice().into())
        .expect("contents in memory are shorter than 256 GiB");
    out.extend_from_slice(&tag);
    out
}

/// Decrypts; `None` if the key is another or anything was changed.
pub(crate) fn decrypt(
    key: &Secret,
    nonce: [u8; 24],
    covered: &[u8],
    sealed: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let (body, tag) = sealed.split_last_chunk::<TAG_LEN>()?;
    let mut out = Zeroizing::new(body.to_vec());
    XChaCha20Poly1305::new(key.expose().into())
        .decrypt_inout_detached(&XNonce::from(nonce), covered, out.as_mut_slice().into(), &Tag::from(*tag))
        .ok()?;
    Some(out)
}

/// Puts a key in a box of another: `nonce 24 | key 32 | tag 16`.
pub(crate) fn wrap(outer: &Secret, covered: &[u8], inner: &Secret, chance: &mut Chance) -> Vec<u8> {
    let nonce = chance.nonce();
    [&nonce[..], &encrypt(outer, nonce, covered, inner.expose())].concat()
}

/// Takes a key out of its box.
pub(crate) fn unwrap(outer: &Secret, covered: &[u8], wrapped: &[u8]) -> Option<Secret> {
    let (nonce, sealed) = wrapped.split_first_chunk()?;
    let plain = decrypt(outer, *nonce, covered, sealed)?;
    plain.as_slice().try_into().ok().map(Secret::new)
}

/// Seals to a key: `one-time X25519 key 32 | contents | tag 16`.
pub(crate) fn seal(to: &SealKey, covered: &[u8], plain: &[u8], chance: &mut Chance) -> Vec<u8> {
    let once = SealSecret::new(chance.draw());
    // A key whose common secret everybody knows can open nothing; what is sealed to it is for nobody.
    let shared = once.agree(to).unwrap_or_else(|| chance.draw());
    let key = derive(&shared, &SEALED, &[&once.public().0, &to.0]);
    [&once.public().0[..], &encrypt(&key, [0; 24], covered, plain)].concat()
}

/// Opens what was sealed to a key.
pub(crate) fn open(secret: &SealSecret, covered: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (once, body) = sealed.split_first_chunk()?;
    let shared = secret.agree(&SealKey(*once))?;
    let key = derive(&shared, &SEALED, &[once, &secret.public().0]);
    decrypt(&key, [0; 24], covered, body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_to_one_opens_for_nobody_else() {
        let mut chance = Chance::new(Secret::new([1; 32]));
        let (a, b) = (SealSecret::new(Secret::new([2; 32])), SealSecret::new(Secret::new([3; 32])));
        let sealed = seal(&a.public(), b"where", b"what", &mut chance);
        assert_eq!(open(&a, b"where", &sealed).unwrap().as_slice(), b"what");
        assert!(open(&a, b"elsewhere", &sealed).is_none());
        assert!(open(&b, b"where", &sealed).is_none());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(open(&a, b"where", &changed).is_none(), "{at}");
        }
    }

    #[test]
    fn sealing_to_a_point_of_small_order_is_sealing_to_nobody() {
        let mut chance = Chance::new(Secret::new([1; 32]));
        let sealed = seal(&SealKey([0; 32]), b"", b"what", &mut chance);
        let zero = Secret::new([0; 32]);
        let key = derive(&zero, &SEALED, &[&sealed[..32], &[0; 32]]);
        assert!(decrypt(&key, [0; 24], b"", &sealed[32..]).is_none());
    }
}
