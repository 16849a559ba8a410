use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use wire::Id;

use super::Source;
use crate::name::Naming;
use crate::topic::Topic;

/// What a mechanism is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// Which one.
    pub source: Source,
    /// About which topic.
    pub topic: Topic,
    /// What.
    pub act: Act,
}

/// What there is to do for a mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Begin with a topic, or name it otherwise; ordered before anything else about it.
    Join(Naming),
    /// Look once for who is there, and tell [`super::Channel::handle_outcome`] when that has ended.
    Look,
    /// Announce a port, and tell [`super::Channel::handle_outcome`]; ordered again before it expires.
    Announce(NonZeroU16),
    /// Take an announcement back.
    Unannounce(NonZeroU16),
    /// Have done with a topic.
    Leave,
}

/// How an order went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Somebody answered.
    Answered,
    /// Nobody did.
    Failed,
}

/// Who a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Who {
    /// Somebody at an address.
    Address(SocketAddr),
    /// Who has a key.
    Key(Id<32>),
}

/// What a mechanism saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// The mechanism.
    pub source: Source,
    /// Under which topic.
    pub topic: Topic,
    /// The peer.
    pub who: Who,
    /// Who told of it, where that is somebody else: a node, a server.
    pub informant: Option<IpAddr>,
}

/// A peer, as found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Found {
    /// An address to connect to.
    Address {
        /// Host and port.
        address: SocketAddr,
        /// How it was found.
        source: Source,
    },
    /// A key to connect to; HyperDHT's records carry no port.
    Key {
        /// The public key.
        key: Id<32>,
        /// How it was found.
        source: Source,
    },
}

impl Found {
    pub(super) const fn new(who: Who, source: Source) -> Self {
        match who {
            Who::Address(address) => Self::Address { address, source },
            Who::Key(key) => Self::Key { key, source },
        }
    }
}

/// What happened on a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A peer is there, for the first time or again after it was lost.
    Found {
        /// What it was found under.
        topic: Topic,
        /// The peer.
        found: Found,
    },
    /// A peer was not seen again.
    Lost {
        /// What it was found under.
        topic: Topic,
        /// The peer.
        found: Found,
    },
    /// A look-up has ended.
    Looked {
        /// What was looked for.
        topic: Topic,
        /// The mechanism.
        source: Source,
        /// How it went.
        outcome: Outcome,
    },
    /// An announcement was made, for the first time or again.
    Announced {
        /// Under what.
        topic: Topic,
        /// The mechanism.
        source: Source,
        /// The port announced.
        port: NonZeroU16,
        /// How it went.
        outcome: Outcome,
    },
}

/// Counts of a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelStats {
    /// Peers told of.
    pub found: u64,
    /// Peers told to be lost.
    pub lost: u64,
    /// Sightings of this computer itself.
    pub own: u64,
    /// Sightings that had no room.
    pub refused: u64,
}
