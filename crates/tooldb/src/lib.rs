//! Tool Db as a machine: signed records, accounts, mergeable documents and the conversation of a replica,
//! without I/O, clock or entropy.
//!
//! What goes over the wire is what the JavaScript library `tool-db` 2.6.6 sends and understands; where that
//! library loses data, forgets or lets anyone write, this crate does not. `docs/tooldb-differences.md` lists
//! where, with the test that shows each.
//!
//! A [`Record`] is what somebody sent; only [`Record::verify`] makes it a [`Verified`] one, and only verified
//! ones are stored. [`Document`]s are sets of operations in the values of records. A [`Replica`] holds the
//! conversation over any number of connections and keeps what it believes in a [`Store`].
//!
//! ```
//! use tooldb::json::Value;
//! use tooldb::{Draft, Identity, Key, Receipt, Record, Rejected, Rules, Source, UnixMillis};
//!
//! let author = Identity::from_seed([7; 32]);
//! let now = UnixMillis(1_795_199_054_474);
//! let draft = Draft::plain(Key::new("greeting").unwrap(), Value::parse("{\"text\":\"hi\"}").unwrap());
//! let sent = draft.sign(now, &author).raw().to_owned();
//!
//! let receipt = Receipt { now, source: Source::Stranger, claim: None };
//! let believed = Record::parse(&sent)?.verify(&Rules::default(), &receipt)?;
//! assert_eq!(believed.author(), author.address());
//!
//! let changed = sent.replace("hi", "ho");
//! let verdict = Record::parse(&changed)?.verify(&Rules::default(), &receipt);
//! assert_eq!(verdict.unwrap_err(), Rejected::InvalidHashNonce);
//! # Ok::<(), Rejected>(())
//! ```

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
mod replica;
mod seal;
mod store;
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
pub use replica::{
    Admitted, Backfill, CallId, CloseReason, Config, Event, Limits, LinkId, Misses, Now, PutError, Replica,
    Return, Screen, Side, Stats, Upkeep, inspect,
};
pub use seal::{Iv, Sealed};
pub use store::{Span, State, Store, StoreError, Write, digest_of};
pub use verify::{Claim, Receipt, Rejected, Rules, Source, Verified};
