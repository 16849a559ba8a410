//! Finding peers on the local network, and by every mechanism at once, as machines without I/O.
//!
//! [`Multicast`] speaks multicast DNS and [`Unicast`] and [`DnsServer`] the unicast form of npm `dns-discovery`.
//! [`Channel`] says what each mechanism is to do and when, is fed with what they find, and tells each peer once.

mod channel;
mod message;
mod multicast;
mod name;
mod peers;
mod server;
mod topic;
mod unicast;

pub use channel::{
    Act, Channel, ChannelStats, Command, Event, Found, Join, JoinError, Manner, Outcome, Own,
    ParseSourceError, Sighting, Source, Sources, Who,
};
pub use multicast::{DATAGRAM_MAX, Finding, GROUP, Multicast, MulticastStats, Seat};
pub use name::{Domain, Naming, UnixMillis};
pub use server::{DnsServer, DnsServerStats};
pub use topic::Topic;
pub use unicast::{DnsEvent, Errand, NameServer, Unicast, UnicastStats};
