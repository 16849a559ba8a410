//! The sealed frames of a stream: libsodium's `secretstream_xchacha20poly1305`.
//!
//! ```text
//! | sealed tag 1 | sealed text | authenticator 16 |
//! ```
//!
//! Frames are numbered, and each authenticator is mixed into the next nonce, so none can be left out,
//! repeated or moved. When the number overflows, both sides derive a new key.

use chacha20::cipher::{KeyIvInit, StreamCipher};
use chacha20::{ChaCha20, R20, hchacha};
use poly1305::universal_hash::{KeyInit, UniversalHash};
use poly1305::{Block, Poly1305};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::key::Secret;
use crate::secretbox::Forged;

/// Bytes of the header that each direction starts with.
pub(crate) const HEADER_LEN: usize = 24;

/// Bytes that sealing adds to a text.
pub(crate) const OVERHEAD: usize = 1 + AUTHENTICATOR_LEN;

const AUTHENTICATOR_LEN: usize = 16;

/// Bytes of key stream that one block yields.
const BLOCK_LEN: usize = 64;

/// An ordinary frame; peers of this protocol send no other kind.
const MESSAGE: u8 = 0;

/// Bit of a frame's kind that asks for a new key at once.
const REKEY: u8 = 2;

/// One direction's state: the next frame's key and nonce.
pub(crate) struct Chain {
    key: [u8; 32],
    counter: u32,
    inner: [u8; 8],
}

impl Chain {
    /// Starts at a header, which is public chance of the sender.
    pub(crate) fn new(key: &Secret, header: &[u8; HEADER_LEN]) -> Self {
        let (salt, inner) = header.split_at(16);
        let salt: &[u8; 16] = salt.first_chunk().expect("the header is split after 16 bytes");
        let mut start = Self { key: [0; 32], counter: 1, inner: [0; 8] };
        start.key.copy_from_slice(&hchacha::<R20>(key.expose().into(), salt.into()));
        start.inner.copy_from_slice(inner);
        start
    }

    /// Appends a sealed frame to `out`.
    pub(crate) fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        let Pass { mut cipher, mac, tag_mask } = Pass::new(self);
        let start = out.len();
        out.reserve(plain.len() + OVERHEAD);
        out.push(MESSAGE);
        out.extend_from_slice(plain);
        let (tag, text) = out[start..].split_first_mut().expect("the tag was pushed");
        *tag ^= tag_mask;
        cipher.apply_keystream(text);
        let authenticator = mac.finish(*tag, text);
        out.extend(authenticator);
        self.step(&authenticator, MESSAGE);
    }

    /// Opens a sealed frame where it stands and returns its text.
    pub(crate) fn open<'a>(&mut self, frame: &'a mut [u8]) -> Result<&'a [u8], Forged> {
        let (rest, theirs) = frame.split_last_chunk_mut::<AUTHENTICATOR_LEN>().ok_or(Forged)?;
        let (tag, text) = rest.split_first_mut().ok_or(Forged)?;
        let Pass { mut cipher, mac, tag_mask } = Pass::new(self);
        let authenticator = mac.finish(*tag, text);
        if !bool::from(authenticator.ct_eq(&*theirs)) {
            return Err(Forged);
        }
        cipher.apply_keystream(text);
        self.step(&authenticator, *tag ^ tag_mask);
        Ok(text)
    }

    fn nonce(&self) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&self.counter.to_le_bytes());
        nonce[4..].copy_from_slice(&self.inner);
        nonce
    }

    fn cipher(&self) -> ChaCha20 {
        ChaCha20::new((&self.key).into(), (&self.nonce()).into())
    }

    fn step(&mut self, authenticator: &[u8; AUTHENTICATOR_LEN], tag: u8) {
        for (byte, theirs) in self.inner.iter_mut().zip(authenticator) {
            *byte ^= theirs;
        }
        self.counter = self.counter.wrapping_add(1);
        if self.counter == 0 || tag & REKEY != 0 {
            self.rekey();
        }
    }

    /// Replaces key and nonce by themselves under their own key stream, so that older frames stay sealed.
    fn rekey(&mut self) {
        let mut cipher = self.cipher();
        cipher.apply_keystream(&mut self.key);
        cipher.apply_keystream(&mut self.inner);
        self.counter = 1;
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// The key stream of one frame: the first block keys the authenticator, the second masks the tag, the text
/// uses what follows.
struct Pass {
    cipher: ChaCha20,
    mac: FrameMac,
    tag_mask: u8,
}

impl Pass {
    fn new(chain: &Chain) -> Self {
        let mut cipher = chain.cipher();
        let (mut first, mut tag_block) = ([0; BLOCK_LEN], [0; BLOCK_LEN]);
        cipher.apply_keystream(&mut first);
        cipher.apply_keystream(&mut tag_block);
        let (key, _) = first.split_first_chunk::<32>().expect("a block is longer than a key");
        let poly = Poly1305::new(key.into());
        first.zeroize();
        Self { cipher, tag_mask: tag_block[0], mac: FrameMac { poly, tag_block } }
    }
}

/// The authenticator over the whole tag block and the sealed text.
struct FrameMac {
    poly: Poly1305,
    tag_block: [u8; BLOCK_LEN],
}

impl FrameMac {
    fn finish(mut self, sealed_tag: u8, sealed: &[u8]) -> [u8; AUTHENTICATOR_LEN] {
        self.tag_block[0] = sealed_tag;
        self.poly.update(Block::slice_as_chunks(&self.tag_block).0);
        let (blocks, rest) = Block::slice_as_chunks(sealed);
        self.poly.update(blocks);
        // libsodium pads by the length of the last part, not up to a whole block, and everyone has to. Then
        // come the lengths of associated text, which this protocol does not have, and of what was covered.
        let mut tail = [0; 3 * AUTHENTICATOR_LEN];
        let covered_at = 2 * rest.len() + 8;
        let len = covered_at + 8;
        tail[..rest.len()].copy_from_slice(rest);
        tail[covered_at..len].copy_from_slice(&((BLOCK_LEN + sealed.len()) as u64).to_le_bytes());
        self.poly.compute_unpadded(&tail[..len]).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn vectors() -> Value {
        let text = include_str!("../../../vectors/hyperdht/secretstream-libsodium.json");
        serde_json::from_str(text).unwrap()
    }

    fn hex(value: &Value) -> Vec<u8> {
        let digits = value.as_str().unwrap().as_bytes().chunks_exact(2);
        digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    fn chain(vectors: &Value) -> Chain {
        let key = Secret::new(hex(&vectors["key"]).try_into().unwrap());
        Chain::new(&key, &hex(&vectors["header"]).try_into().unwrap())
    }

    /// Seals and opens one row, and compares with it.
    fn check(seal: &mut Chain, open: &mut Chain, row: &Value) {
        let (plain, sealed) = (hex(&row["plain"]), hex(&row["ciphertext"]));
        let mut out = vec![9];
        seal.seal(&plain, &mut out);
        assert_eq!(out[1..], sealed);
        assert_eq!(open.open(&mut out[1..]), Ok(&plain[..]));
    }

    #[test]
    fn frames_of_every_length_are_those_of_libsodium() {
        let vectors = vectors();
        let (mut seal, mut open) = (chain(&vectors), chain(&vectors));
        let rows = vectors["lengths"].as_array().unwrap();
        assert_eq!(rows.len(), 15);
        for row in rows {
            check(&mut seal, &mut open, row);
        }
    }

    #[test]
    fn the_key_changes_when_the_number_overflows_as_in_libsodium() {
        let vectors = vectors();
        let (mut seal, mut open) = (chain(&vectors), chain(&vectors));
        let overflow = &vectors["overflow"];
        for chain in [&mut seal, &mut open] {
            chain.counter = u32::try_from(overflow["counter"].as_u64().unwrap()).unwrap();
        }
        for row in overflow["messages"].as_array().unwrap() {
            check(&mut seal, &mut open, row);
            for chain in [&seal, &open] {
                let state = [&chain.key[..], &chain.counter.to_le_bytes(), &chain.inner].concat();
                assert_eq!(state, hex(&row["stateAfter"]));
            }
        }
    }

    #[test]
    fn frames_of_other_kinds_open_and_change_the_key_as_in_libsodium() {
        let vectors = vectors();
        let mut open = chain(&vectors);
        let rows = vectors["tags"].as_array().unwrap();
        assert!(rows.iter().any(|row| row["tag"] == 2));
        for row in rows {
            assert_eq!(open.open(&mut hex(&row["ciphertext"])), Ok(&hex(&row["plain"])[..]));
        }
    }

    #[test]
    fn a_changed_cut_or_repeated_frame_does_not_open() {
        let vectors = vectors();
        let sealed = hex(&vectors["lengths"][0]["ciphertext"]);
        let mut open = chain(&vectors);
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open.open(&mut changed), Err(Forged));
        }
        for len in 0..sealed.len() {
            assert_eq!(open.open(&mut sealed[..len].to_vec()), Err(Forged));
        }
        let mut again = sealed.clone();
        assert!(open.open(&mut again).is_ok());
        again.copy_from_slice(&sealed);
        assert_eq!(open.open(&mut again), Err(Forged));
    }
}
