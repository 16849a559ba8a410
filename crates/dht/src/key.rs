//! Hashes, key pairs, and what their signatures cover.

use std::fmt;
use std::net::SocketAddrV4;

use blake2::Blake2b;
use blake2::digest::{Digest, consts::U32};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use wire::hyper::{MutableRecord, PeerRecord};
use wire::{Id, PublicKey, Token, Write, hyper, pack_addr};

/// Returns `BLAKE2b` with 32 bytes of output, the hash of ids, targets and signed messages.
#[must_use]
pub fn hash(bytes: &[u8]) -> Id<32> {
    Id(Blake2b::<U32>::digest(bytes).into())
}

/// Returns the id that a node has at an address (`dht-rpc lib/peer.js`): the hash of its six bytes.
#[must_use]
pub fn node_id(addr: SocketAddrV4) -> Id<32> {
    hash(&pack_addr(addr))
}

/// Returns where a key's own announcement and its mutable record are stored.
#[must_use]
pub fn target(key: PublicKey) -> Id<32> {
    hash(&key.0)
}

/// Checks a signature by the rules of libsodium: no small-order key, no non-canonical signature.
pub(crate) fn verify(key: PublicKey, message: &[u8], signature: &[u8; 64]) -> bool {
    VerifyingKey::from_bytes(&key.0)
        .and_then(|key| key.verify_strict(message, &Signature::from_bytes(signature)))
        .is_ok()
}

/// An Ed25519 key pair; its `Debug` shows the public half only.
#[derive(Clone)]
pub struct KeyPair {
    signing: SigningKey,
}

impl KeyPair {
    /// Expands a seed (RFC 8032), as libsodium's `crypto_sign_seed_keypair` does.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self { signing: SigningKey::from_bytes(&seed) }
    }

    /// Returns the public half.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.signing.verifying_key().to_bytes())
    }

    /// Signs a message (RFC 8032).
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.signing.sign(message).to_bytes()
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyPair").field(&self.public_key()).finish()
    }
}

/// What a signature is for; each kind signs under a namespace of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signed {
    Announce,
    Unannounce,
    MutablePut,
}

impl Signed {
    /// The hash of the protocol's name and one byte (`hyperdht lib/constants.js`).
    fn namespace(self) -> Id<32> {
        let command = match self {
            Self::Announce => hyper::ANNOUNCE,
            Self::Unannounce => hyper::UNANNOUNCE,
            Self::MutablePut => hyper::MUTABLE_PUT,
        };
        let (wire::Command::App(number) | wire::Command::Internal(number)) = command;
        let mut name = hash(b"hyperswarm/dht").0.to_vec();
        name.uint(number);
        hash(&name)
    }

    fn message(self, covered: &[u8]) -> [u8; 64] {
        let mut message = [0; 64];
        let (namespace, digest) = message.split_at_mut(32);
        namespace.copy_from_slice(&self.namespace().0);
        digest.copy_from_slice(&hash(covered).0);
        message
    }
}

/// Everything that the signature of an announcement covers besides the record itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// The topic, or the hash of the key.
    pub(crate) target: Id<32>,
    /// The storing node.
    pub(crate) node: Id<32>,
    /// The token that the storing node gave.
    pub(crate) token: Token,
}

impl Place {
    /// Returns the 64 bytes to sign (`hyperdht lib/persistent.js`).
    pub(crate) fn message(
        &self,
        signed: Signed,
        peer: &PeerRecord<'_>,
        refresh: Option<&[u8; 32]>,
    ) -> [u8; 64] {
        let mut covered = Vec::with_capacity(192);
        covered.raw(&self.target.0);
        covered.raw(&self.node.0);
        covered.raw(&self.token.0);
        peer.encode(&mut covered);
        if let Some(refresh) = refresh {
            covered.raw(refresh);
        }
        signed.message(&covered)
    }

    /// Checks an announcement's signature with the key in its peer record.
    pub(crate) fn verify(&self, signed: Signed, announcement: &hyper::Announcement<'_>) -> bool {
        let (Some(peer), Some(signature)) = (announcement.peer, announcement.signature) else {
            return false;
        };
        let message = self.message(signed, &peer, announcement.refresh.as_ref());
        verify(PublicKey(peer.public_key), &message, &signature)
    }
}

/// Returns the 64 bytes that the signature of a mutable record covers.
pub(crate) fn mutable_message(record: &MutableRecord<'_>) -> [u8; 64] {
    let mut covered = Vec::with_capacity(record.value.len() + 12);
    record.encode_unsigned(&mut covered);
    Signed::MutablePut.message(&covered)
}

/// Checks the signature of a mutable record.
pub(crate) fn verify_mutable(key: &PublicKey, record: &MutableRecord<'_>) -> bool {
    verify(*key, &mutable_message(record), &record.signature)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::Value;

    /// Reads a file of golden vectors, made by the reference implementation (versions inside).
    pub(crate) fn vector(name: &str) -> Value {
        let path = format!("{}/../../vectors/hyperdht/{name}.json", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    pub(crate) fn hex(value: &Value) -> Vec<u8> {
        let digits = value.as_str().unwrap().as_bytes().chunks_exact(2);
        digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    fn bytes<const N: usize>(value: &Value) -> [u8; N] {
        hex(value).try_into().unwrap()
    }

    #[test]
    fn ids_are_those_of_the_reference() {
        for row in vector("dht-rpc")["ids"].as_array().unwrap() {
            let addr = format!("{}:{}", row["host"].as_str().unwrap(), row["port"]).parse().unwrap();
            assert_eq!(node_id(addr), Id(bytes(&row["id"])));
        }
    }

    #[test]
    fn keys_and_targets_are_those_of_the_reference() {
        let vectors = vector("hyperdht-messages");
        for row in vectors["keyPairs"].as_array().unwrap() {
            let key = KeyPair::from_seed(bytes(&row["seed"])).public_key();
            assert_eq!(key.0, bytes(&row["publicKey"]));
            assert_eq!(target(key), Id(bytes(&row["target"])));
        }
        for row in vectors["immutable"].as_array().unwrap() {
            assert_eq!(hash(&hex(&row["value"])), Id(bytes(&row["target"])));
        }
        for (signed, name) in [
            (Signed::Announce, "ANNOUNCE"),
            (Signed::Unannounce, "UNANNOUNCE"),
            (Signed::MutablePut, "MUTABLE_PUT"),
        ] {
            assert_eq!(signed.namespace(), Id(bytes(&vectors["namespaces"][name])));
        }
    }

    #[test]
    fn announcements_are_signed_as_the_reference_signs_them() {
        let vectors = vector("hyperdht-messages");
        let key = KeyPair::from_seed([1; 32]);
        for (signed, rows) in [(Signed::Announce, "announce"), (Signed::Unannounce, "unannounce")] {
            for row in vectors[rows].as_array().unwrap() {
                let value = hex(&row["value"]);
                let announcement = hyper::Announcement::decode(&value).unwrap();
                let place = Place {
                    target: Id(bytes(&row["target"])),
                    node: Id(bytes(&row["nodeId"])),
                    token: Token(bytes(&row["token"])),
                };
                let peer = announcement.peer.unwrap();
                let message = place.message(signed, &peer, announcement.refresh.as_ref());
                assert_eq!(message.to_vec(), hex(&row["signable"]));
                assert_eq!(key.sign(&message), bytes::<64>(&row["signature"]));
                assert!(place.verify(signed, &announcement));
                let elsewhere = Place { node: Id([0; 32]), ..place };
                assert!(!elsewhere.verify(signed, &announcement));
            }
        }
    }

    #[test]
    fn mutable_records_are_signed_as_the_reference_signs_them() {
        for row in vector("hyperdht-messages")["mutable"].as_array().unwrap() {
            let value = hex(&row["getReplyValue"]);
            let record = MutableRecord::decode(&value).unwrap();
            let key = PublicKey(bytes(&row["publicKey"]));
            assert_eq!(mutable_message(&record).to_vec(), hex(&row["signable"]));
            assert!(verify_mutable(&key, &record));
            assert!(!verify_mutable(&key, &MutableRecord { seq: record.seq + 1, ..record }));
        }
    }
}
