//! Boxes with a nonce in front, keys from keys, and names that only the key's holder can compute.

use blake2::Blake2bMac;
use blake2::digest::consts::{U16, U32};
use blake2::digest::{KeyInit as _, Mac};
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use chart::Secret;
use zeroize::Zeroizing;

use crate::error::VaultError;

pub(crate) const NONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;

/// Bytes that a sealed value has more than its contents.
pub(crate) const SEALED_MORE: usize = NONCE_LEN + TAG_LEN;

/// Draws bytes from the operating system.
pub(crate) fn draw<const N: usize>() -> Result<[u8; N], VaultError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| VaultError::Entropy(error.into()))?;
    Ok(bytes)
}

/// Draws a key.
pub(crate) fn draw_secret() -> Result<Secret, VaultError> {
    Ok(Secret::new(*Zeroizing::new(draw()?)))
}

/// `nonce 24 | ciphertext | tag 16`; opens only where the same bytes are covered.
pub(crate) fn seal(key: &Secret, covered: &[u8], plain: &[u8]) -> Result<Vec<u8>, VaultError> {
    let nonce: [u8; NONCE_LEN] = draw()?;
    let mut out = Vec::with_capacity(plain.len() + SEALED_MORE);
    out.extend_from_slice(&nonce);
    out.extend_from_slice(plain);
    let tag = XChaCha20Poly1305::new(key.expose().into())
        .encrypt_inout_detached(&XNonce::from(nonce), covered, (&mut out[NONCE_LEN..]).into())
        .expect("contents in memory are shorter than 256 GiB");
    out.extend_from_slice(&tag);
    Ok(out)
}

/// Opens what [`seal`] made; `None` if key or covered bytes are others, or anything was changed.
pub(crate) fn open(key: &Secret, covered: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let (body, tag) = sealed.split_last_chunk::<TAG_LEN>()?;
    let mut out = Zeroizing::new(body.to_vec());
    XChaCha20Poly1305::new(key.expose().into())
        .decrypt_inout_detached(&XNonce::from(*nonce), covered, out.as_mut_slice().into(), &Tag::from(*tag))
        .ok()?;
    Some(out)
}

/// A key for one purpose: BLAKE2b-256 of the purpose, keyed with another key.
pub(crate) fn derive(key: &Secret, purpose: &str) -> Secret {
    let mac = Blake2bMac::<U32>::new_from_slice(key.expose()).expect("32 bytes are not too long for a key");
    Secret::new(mac.chain_update(purpose.as_bytes()).finalize().into_bytes().into())
}

/// A name that tells nothing to whoever lacks the key: BLAKE2b-128 of the joined parts.
pub(crate) fn name(key: &Secret, parts: &[&[u8]]) -> [u8; 16] {
    let mac = Blake2bMac::<U16>::new_from_slice(key.expose()).expect("32 bytes are not too long for a key");
    parts.iter().fold(mac, Mac::chain_update).finalize().into_bytes().into()
}

/// Sixteen bytes by which a torn file is told from a wrong key.
pub(crate) fn checksum(bytes: &[u8]) -> [u8; 16] {
    let mac = Blake2bMac::<U16>::new_from_slice(b"homing vault check").expect("the key is short");
    mac.chain_update(bytes).finalize().into_bytes().into()
}
