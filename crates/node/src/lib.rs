//! The one door to the world: runs the machines on tokio, with sockets, clock, entropy and files.
//!
//! [`Node`] is a full HyperDHT node. [`Resident`] is one that lives in a directory: it keeps its routing table
//! and answers other processes over a [`control`] socket.

mod ask;
mod batch;
pub mod channel;
mod clock;
mod connection;
mod contacts;
pub mod control;
mod datadir;
mod driver;
mod entropy;
mod events;
mod interfaces;
mod local;
pub mod mainline;
mod node;
mod pipe;
mod relay;
mod resident;
pub mod snapshot;
mod socket;
mod sockets;
mod swarm;
mod visit;

pub use ::swarm::roster;
pub use ::swarm::{
    Admission, Course, DialError, DialOptions, Direction, Identity, LinkError, LinkId, ListenOptions, Opened,
    Paths, Permit, RELAYS_TOPIC, RelayCensus, RelayLimits, RelayNews, RelayOptions, RelayPolicy, Route,
    SendError, SeparationReason,
};
pub use ask::Left;
pub use batch::{BATCH, Batch, DATAGRAM_MAX, Inbox, Outbox, Scratch, Slot};
pub use clock::Clock;
pub use connection::{Connection, Moves, Sender};
pub use contacts::Contact;
pub use datadir::{DataDir, DataDirError, create_key, load_nodes, read_key};
pub use dht::{
    Answered, AnyPort, AssumedFirewall, Bootstrap, Config, KeyPair, ParseBootstrapError, Peer, PublicKey,
    Standing, Walked, hash,
};
pub use entropy::seed;
pub use events::Event;
pub use node::{
    AskError, Call, ConnectError, Found, Listener, Lookup, Node, PutError, Record, SpawnError, Stopped,
    Stored, WalkError,
};
pub use relay::Relay;
pub use resident::{Resident, ResidentError};
pub use snapshot::Snapshot;
pub use socket::{Sent, Socket, Traffic};
pub use swarm::{Meeting, Swarm, SwarmError, SwarmOptions};
pub use visit::{Visit, Visits};
pub use wire::{Command, Id};
