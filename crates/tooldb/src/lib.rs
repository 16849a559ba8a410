//! Tool Db as a machine: signed records, accounts, mergeable documents and the conversation of a replica,
//! without I/O, clock or entropy.
//!
//! What goes over the wire is what the JavaScript library `tool-db` 2.6.6 sends and understands; where that
//! library loses data, forgets or lets anyone write, this crate does not.

mod account;
mod crdt;
mod digest;
pub mod encoding;
mod group;
pub mod json;
mod key;
mod keys;
pub mod message;
mod peer;
mod pow;
mod record;
mod seal;
mod verify;

pub use account::{Account, Passphrase, SignInError, sign_in, sign_up};
pub use crdt::{Document, Shape};
pub use digest::Digest;
pub use group::SharedKey;
pub use key::{Key, Space};
pub use keys::{Address, ClientId, Identity, KeyError, Signature};
pub use peer::{Endpoint, INTRODUCTION_SPAN, Peer, Topic};
pub use pow::Difficulty;
pub use record::{Draft, Kind, Order, Record, UnixMillis, Work};
pub use seal::{Iv, Sealed};
pub use verify::{Claim, Receipt, Rejected, Rules, Source, Verified};
