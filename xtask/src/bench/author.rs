use std::net::SocketAddrV4;

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest as _};
use ed25519_dalek::{Signer as _, SigningKey};
use wire::hyper::{Announcement, MutablePut, MutableRecord, PeerRecord};
use wire::{Addrs, Id, Token, Write as _};

/// BLAKE2b-256 of the parts, one after the other.
pub(crate) fn hash(parts: &[&[u8]]) -> Id<32> {
    let mut state = Blake2b::<U32>::new();
    for part in parts {
        state.update(part);
    }
    Id(state.finalize().into())
}

/// The id that a node at this address must have.
pub(crate) fn id_of(address: SocketAddrV4) -> Id<32> {
    let mut packed = Vec::new();
    packed.addr(address);
    hash(&[&packed])
}

/// Nodes named in an answer, and nodes that keep what is announced.
const CLOSEST: usize = 20;

/// The nodes closest to a target, as a perfect look-up finds them.
pub(crate) fn closest(nodes: impl IntoIterator<Item = SocketAddrV4>, target: Id<32>) -> Vec<SocketAddrV4> {
    let by_distance = nodes.into_iter().map(|address| (id_of(address).distance(&target), address));
    let mut by_distance: Vec<_> = by_distance.collect();
    by_distance.sort_unstable();
    by_distance.truncate(CLOSEST);
    by_distance.into_iter().map(|(_, address)| address).collect()
}

/// The constant that separates signatures of one command from those of another: hyperdht `lib/constants.js`.
fn namespace(command: u8) -> Id<32> {
    hash(&[&hash(&[b"hyperswarm/dht"]).0, &[command]])
}

/// Someone who announces topics and stores mutable values.
pub(crate) struct Author {
    key: SigningKey,
    public_key: [u8; 32],
    relays: Vec<u8>,
}

/// Where something is to be stored: what the storing node said in its last reply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shelf {
    pub(crate) id: Id<32>,
    pub(crate) token: Token,
}

impl Author {
    /// The `number`-th author, always with the same key.
    pub(crate) fn new(number: u64) -> Self {
        let key = SigningKey::from_bytes(&hash(&[b"homing bench author", &number.to_le_bytes()]).0);
        let relays = wire::pack_addrs((1..=3).map(|n| SocketAddrV4::new([127, 0, 0, n].into(), 40_000)));
        Self { public_key: key.verifying_key().to_bytes(), key, relays }
    }

    /// Where the author's mutable value lives.
    pub(crate) fn target(&self) -> Id<32> {
        hash(&[&self.public_key])
    }

    /// The value of an ANNOUNCE of three relays.
    pub(crate) fn announcement(&self, topic: Id<32>, shelf: Shelf) -> Vec<u8> {
        let peer = PeerRecord { public_key: self.public_key, relays: Addrs::from_packed(&self.relays) };
        let mut record = Vec::new();
        peer.encode(&mut record);
        let what = hash(&[&topic.0, &shelf.id.0, &shelf.token.0, &record]);
        let mut value = Vec::new();
        let signature = Some(self.sign(4, what));
        Announcement { peer: Some(peer), refresh: None, signature, bump: 0 }.encode(&mut value);
        value
    }

    /// The value of a `MUTABLE_PUT`.
    pub(crate) fn put(&self, seq: u64, value: &[u8]) -> Vec<u8> {
        let mut record = MutableRecord { seq, value, signature: [0; 64] };
        let mut unsigned = Vec::new();
        record.encode_unsigned(&mut unsigned);
        record.signature = self.sign(6, hash(&[&unsigned]));
        let mut out = Vec::new();
        MutablePut { public_key: self.public_key, record }.encode(&mut out);
        out
    }

    fn sign(&self, command: u8, what: Id<32>) -> [u8; 64] {
        let message = [namespace(command).0, what.0].concat();
        self.key.sign(&message).to_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_those_of_the_reference() {
        let announce = "36386adddf9f6fd60db83a6f42fc159d1146aa8644037664230aaa1f0179d497";
        let put = "668e823edd5ce7f5338d68bf1161f4a3c28ce437ee2ab49efd30d99366039b1e";
        assert_eq!(namespace(4).to_string(), announce);
        assert_eq!(namespace(6).to_string(), put);
    }
}
