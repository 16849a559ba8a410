//! Messages of HyperDHT 6.34 (`lib/messages.js`, `lib/constants.js`), carried as values of `dht-rpc` requests.

mod handshake;
mod link;
mod plugin;
mod record;

pub use handshake::{Firewall, HolepunchPayload, NoisePayload, PunchOffer, RelayPairs, RelayThrough, Udx};
pub use link::{HandshakeEnvelope, HolepunchEnvelope, Mode, NodeAddress, Pair, Unpair};
pub use plugin::PluginRequest;
pub use record::{
    Announcement, LookupReply, MutablePut, MutableRecord, PeerRecord, PeerRecords, encode_lookup_reply,
};

use crate::rpc::Command;

/// Passes a Noise handshake to the server of a key; every node serves it.
pub const PEER_HANDSHAKE: Command = Command::App(0);
/// Passes hole-punch instructions to the server of a key; every node serves it.
pub const PEER_HOLEPUNCH: Command = Command::App(1);
/// Who serves the key whose hash is the target?
pub const FIND_PEER: Command = Command::App(2);
/// Who announced the topic?
pub const LOOKUP: Command = Command::App(3);
/// Stores a peer under a topic, or under the hash of its own key.
pub const ANNOUNCE: Command = Command::App(4);
/// Removes what [`ANNOUNCE`] stored.
pub const UNANNOUNCE: Command = Command::App(5);
/// Stores a signed value under the hash of its key.
pub const MUTABLE_PUT: Command = Command::App(6);
/// Reads a signed value.
pub const MUTABLE_GET: Command = Command::App(7);
/// Stores a value under its hash.
pub const IMMUTABLE_PUT: Command = Command::App(8);
/// Reads a value by its hash.
pub const IMMUTABLE_GET: Command = Command::App(9);
/// Reaches a named extension.
pub const PLUGIN: Command = Command::App(10);

/// Errors in DHT responses.
pub mod error {
    /// The node does not serve this command.
    pub const UNKNOWN_COMMAND: u64 = 1;
    /// The token is old or was given to another host.
    pub const INVALID_TOKEN: u64 = 2;
    /// The stored value has the same sequence number and other bytes.
    pub const SEQ_REUSED: u64 = 16;
    /// The stored value has a higher sequence number.
    pub const SEQ_TOO_LOW: u64 = 17;
}
