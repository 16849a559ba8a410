//! Many peers as a machine: finding, dialling, serving and keeping connections.
//!
//! [`Swarm`] is a whole node without its sockets: it holds the DHT's part ([`dht::Hyper`]) and all streams
//! ([`udx::Udx`]), hands the steps of connections from one to the other, and makes encrypted connections of
//! both with what `peer` knows. [`roster::Roster`] decides whom to connect with, and knows nothing of how.

mod circle;
mod dial;
mod event;
mod ground;
mod hole;
mod identity;
mod lan;
mod link;
mod moving;
mod policy;
mod relay_host;
mod relays;
pub mod roster;
mod server;
mod survey;
mod swarm;

pub use circle::CircleOptions;
pub use dial::DialOptions;
pub use event::{
    Course, DialError, DialId, Direction, Event, LinkError, LinkId, Opened, Route, SendError, SlotId,
};
pub use identity::Identity;
pub use link::Taken;
pub use policy::{Paths, Permit, RelayPolicy};
pub use relay_host::{RelayCensus, RelayLimits, RelayNews, RelayOptions, SeparationReason};
pub use relays::RELAYS_TOPIC;
pub use server::{Admission, ListenOptions, Verdict, Visitor};
pub use survey::{CircleState, DialState, Failure, LinkState, Pulse, Punches, Records, Step, Survey, Way};
pub use swarm::{Config, Stats, Swarm};
