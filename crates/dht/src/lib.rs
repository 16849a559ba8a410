//! The HyperDHT node as a machine: datagrams, time and chance in, datagrams and events out.
//!
//! [`Hyper`] is a full node without its sockets. Inside it the engine speaks `dht-rpc` (table, queries,
//! tokens, health); around the engine stand the parts that give application commands their meaning: the
//! router, the store, the announcers, the reachability test. They call the engine; it knows none of them.
//!
//! The contract of the verbs: mutate once, then drain [`Hyper::poll_command`], [`Hyper::poll_transmit`] and
//! [`Hyper::poll_event`], then read [`Hyper::poll_timeout`]. Late and spurious timeouts are harmless.

mod block;
mod config;
mod engine;
mod guard;
mod health;
mod hyper;
mod key;
pub mod mainline;
mod sampler;
mod snapshot;
mod stats;
mod table;
mod token;
mod walk;
mod window;

pub use config::{
    AnyPort, AssumedFirewall, Bootstrap, Config, Limits, ParseBootstrapError, Patience, Ports, Standing,
    Timing, UnixMillis,
};
pub use hyper::{
    Answered, Command, Event, Failure, Hyper, Knock, OperationId, Outcome, Peer, Sending, Step, Task, Walked,
    Way,
};
pub use key::{KeyPair, hash, node_id, target};
pub use snapshot::{
    BootstrapState, CallTest, Health, NodeEntry, Online, Openness, Snapshot, TopicState, WalkState,
};
pub use stats::{CommandStats, Exchanged, QueryStats, RequestStats, RoundTrips, Served, Stats, TableStats};
pub use walk::WalkFigures;
pub use wire::PublicKey;
