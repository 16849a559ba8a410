//! `BLAKE2b` as HyperDHT uses it.

use blake2::digest::{Digest, KeyInit, Mac, consts::U32};
use blake2::{Blake2b, Blake2bMac};

/// Returns 32 bytes of `BLAKE2b`.
pub(crate) fn hash(bytes: &[u8]) -> [u8; 32] {
    Blake2b::<U32>::digest(bytes).into()
}

/// Returns 32 bytes of `BLAKE2b` over the joined parts, under a key of at most 64 bytes.
pub(crate) fn keyed(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Blake2bMac::<U32>::new_from_slice(key).expect("BLAKE2b takes keys of up to 64 bytes");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Returns the constant that keeps one use of a hash or signature apart from others: the hash of a name's
/// hash and a number (`hypercore-crypto`, `namespace`).
pub(crate) fn namespace(name: &str, number: u8) -> [u8; 32] {
    let mut input = hash(name.as_bytes()).to_vec();
    input.push(number);
    hash(&input)
}
