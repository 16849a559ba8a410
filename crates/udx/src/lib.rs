//! UDX, reliable streams over datagrams, as a machine without I/O.
//!
//! [`Udx`] holds all streams of a node, whatever sockets their packets use. The host hands it packets and the
//! time, sends what it asks for, and reads and writes streams by their ids.
//!
//! The contract of the verbs: mutate once, then drain [`Udx::poll_transmit`] and [`Udx::poll_event`], then read
//! [`Udx::poll_timeout`]. Late and spurious timeouts are harmless.

mod allowance;
mod bbr;
mod best;
mod config;
mod event;
mod flight;
mod linger;
mod machine;
mod mtu;
mod number;
mod pacer;
mod ranges;
mod rate;
mod receiver;
mod recovery;
mod sender;
mod stats;
mod stream;

pub use bbr::BbrMode;
pub use config::Config;
pub use event::{CloseReason, Event, Path, Read, StreamError, Taken, Unacked};
pub use machine::Udx;
pub use stats::{Stats, StreamStats};
pub use wire::udx::StreamId;
