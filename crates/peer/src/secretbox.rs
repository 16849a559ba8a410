//! `XSalsa20` with `Poly1305`, the tag first (libsodium `crypto_secretbox_easy`).

use poly1305::Poly1305;
use poly1305::universal_hash::KeyInit;
use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit, StreamCipher};
use subtle::ConstantTimeEq;

use crate::key::Secret;

/// Bytes of the tag before each sealed text.
pub(crate) const TAG_LEN: usize = 16;

/// Bytes of a nonce.
pub(crate) const NONCE_LEN: usize = 24;

/// A sealed text was not made with this key, or was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message does not authenticate")]
pub struct Forged;

/// Appends tag and sealed text to `out`.
pub(crate) fn seal(key: &Secret, nonce: &[u8; NONCE_LEN], plain: &[u8], out: &mut Vec<u8>) {
    let (mut cipher, poly) = start(key, nonce);
    let tag_at = out.len();
    out.extend([0; TAG_LEN]);
    out.extend(plain);
    let (_, sealed) = out.split_at_mut(tag_at + TAG_LEN);
    cipher.apply_keystream(sealed);
    let tag = poly.compute_unpadded(sealed);
    out[tag_at..tag_at + TAG_LEN].copy_from_slice(&tag);
}

/// Opens tag and sealed text.
pub(crate) fn open(key: &Secret, nonce: &[u8; NONCE_LEN], boxed: &[u8]) -> Result<Vec<u8>, Forged> {
    let (tag, sealed) = boxed.split_first_chunk::<TAG_LEN>().ok_or(Forged)?;
    let (mut cipher, poly) = start(key, nonce);
    if !bool::from(poly.compute_unpadded(sealed).as_slice().ct_eq(tag)) {
        return Err(Forged);
    }
    let mut plain = sealed.to_vec();
    cipher.apply_keystream(&mut plain);
    Ok(plain)
}

/// The first 32 bytes of key stream are the tag's key; the text uses what follows.
fn start(key: &Secret, nonce: &[u8; NONCE_LEN]) -> (XSalsa20, Poly1305) {
    let mut cipher = XSalsa20::new(key.expose().into(), nonce.into());
    let mut poly_key = poly1305::Key::default();
    cipher.apply_keystream(&mut poly_key);
    (cipher, Poly1305::new(&poly_key))
}
