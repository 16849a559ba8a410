use std::net::SocketAddr;
use std::num::NonZeroU16;

use super::{Source, Sources};
use crate::name::Naming;
use crate::topic::Topic;

/// Addresses given for one topic.
pub(super) const FIXED_MAX: usize = 64;

/// What to join, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Join {
    /// What to meet under.
    pub topic: Topic,
    /// Where this computer can be reached; without one it only looks.
    pub port: Option<NonZeroU16>,
    /// The mechanisms to use, of those that the channel has.
    pub on: Sources,
    /// How the topic is named on the local network.
    pub naming: Naming,
    /// Peers that are known already, 64 at most.
    pub fixed: Vec<SocketAddr>,
}

impl Join {
    /// Looks for others and is not found.
    pub const fn look(topic: Topic) -> Self {
        Self { topic, port: None, on: Sources::ALL, naming: Naming::Keyed, fixed: Vec::new() }
    }

    /// Is found at a port, and looks for others.
    pub fn announce(topic: Topic, port: NonZeroU16) -> Self {
        Self { port: Some(port), ..Self::look(topic) }
    }

    /// Stays off the local network and its servers: for health records, where that somebody is there is a secret too.
    pub const fn health(mut self) -> Self {
        self.on = self.on.without(Source::Mdns).without(Source::Dns);
        self
    }
}

/// Why a topic was not joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The channel is passive and announces nothing.
    #[error("a passive channel announces nothing")]
    Passive,
    /// No mechanism of the channel knows topics of this kind, among those that were asked for.
    #[error("no mechanism has this topic")]
    NoSource,
    /// As many topics, ports or addresses are there as there may be.
    #[error("too many topics, ports or addresses")]
    Full,
}
