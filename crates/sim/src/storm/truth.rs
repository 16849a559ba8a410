use std::collections::{BTreeMap, BTreeSet};

use dht::{Event, Hyper, KeyPair, Outcome, PublicKey, hash, node_id};
use rand::RngExt as _;
use rand::rngs::StdRng;
use wire::Id;

use crate::net::HostId;
use crate::storm::weather::NOWHERE;
use crate::world::World;

/// Keys in use: few, so that they meet.
const KEYS: u8 = 3;
/// Begins the seeds of hosts' own keys.
const OWN: u8 = 0xee;
/// Nodes in one row of the table.
const K: u8 = 20;

/// What really was said and stored, against which the machines' claims are held.
#[derive(Debug, Default)]
pub(super) struct Truth {
    /// The last sequence number written under each key.
    written: BTreeMap<PublicKey, u64>,
    /// Topic and key of every peer that was found.
    pub(super) found: BTreeSet<(Id<32>, PublicKey)>,
    /// The keys that hosts announce and listen with.
    pub(super) own_keys: BTreeSet<PublicKey>,
}

impl Truth {
    /// Returns the next sequence number of a key, and the only value that is ever written under it.
    pub(super) fn next_value(&mut self, key: PublicKey) -> (u64, Vec<u8>) {
        let seq = self.written.entry(key).or_default();
        *seq += 1;
        (*seq, value(key, *seq))
    }

    /// Takes what a machine told; says what is wrong with it.
    pub(super) fn learn(&mut self, event: &Event) -> Option<&'static str> {
        if let Event::Peers { topic, peers, .. } = event {
            let known = |key| {
                self.own_keys.contains(&key)
                    || (0..KEYS).any(|n| KeyPair::from_seed([n; 32]).public_key() == key)
            };
            if !peers.iter().all(|peer| known(peer.public_key)) {
                return Some("a peer was found that never was announced");
            }
            self.found.extend(peers.iter().map(|peer| (*topic, peer.public_key)));
        }
        let Event::Finished { outcome: Outcome::Value { found: Some((seq, bytes)), .. }, .. } = event else {
            return None;
        };
        let immutable = *seq == 0 && (0..4).any(|n| hash(bytes) == hash(&[n; 100]));
        let written = self.written.iter().any(|(key, last)| seq <= last && *bytes == value(*key, *seq));
        if immutable || written { None } else { Some("a value was read that never was written") }
    }
}

/// Returns the key that a host announces and listens with for as long as it runs.
pub(super) fn own_key(host: HostId) -> KeyPair {
    let [low, high, ..] = host.0.to_le_bytes();
    KeyPair::from_seed([OWN, low, high].repeat(11)[..32].try_into().expect("32 of 33 bytes"))
}

/// Looks at every host after each of its steps.
pub(super) fn watch(world: &mut World) {
    world
        .set_rule(Box::new(|world, host| world.node(host).map_or(Ok(()), |node| inspect(world, host, node))));
}

pub(super) fn any_key(rng: &mut StdRng) -> KeyPair {
    KeyPair::from_seed([rng.random_range(0..KEYS); 32])
}

fn value(key: PublicKey, seq: u64) -> Vec<u8> {
    format!("{key} {seq}").into()
}

/// What must hold of a machine at any time.
// tidy-expect(string-error): a broken rule is told to a person and never handled.
fn inspect(world: &World, host: HostId, node: &Hyper) -> Result<(), &'static str> {
    let own = world.net().address(host);
    for address in node.nodes() {
        if address.ip().octets()[0] == NOWHERE {
            return Err("a node that never answered is in the table");
        }
        if *address.ip() == own {
            return Err("the node itself is in its table");
        }
    }
    // The full look is dear; one step in sixteen is enough to see what does not go away by itself.
    if !world.steps().is_multiple_of(16) {
        return Ok(());
    }
    let snapshot = node.snapshot(world.instant());
    if snapshot.rows.iter().any(|row| *row > K) {
        return Err("a row of the table is over its bound");
    }
    if snapshot.nodes.iter().any(|entry| entry.id != node_id(entry.addr)) {
        return Err("a node is in the table under an id that is not its address's");
    }
    match (snapshot.id, snapshot.ephemeral) {
        (Some(_), true) | (None, false) => Err("has an id and is ephemeral, or neither"),
        (Some(_), false) if own.is_private() => Err("is persistent behind a NAT that lets nobody in"),
        (Some(_) | None, _) => Ok(()),
    }
}
