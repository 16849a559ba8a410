//! What a database tells whoever listens.

use tooldb::message::Role;
use tooldb::{ClientId, Endpoint, Key};

pub use crate::host::Origin;

/// What carries a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Over {
    /// A WebSocket.
    WebSocket,
    /// An encrypted connection of the swarm.
    Swarm,
}

impl Over {
    /// One word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Swarm => "swarm",
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A key has another value now.
    Changed {
        /// Which.
        key: Key,
        /// Where it was changed.
        origin: Origin,
    },
    /// A node introduced itself.
    Connected {
        /// The name it goes by.
        client: ClientId,
        /// What it says it is.
        role: Role,
        /// What carries the conversation.
        over: Over,
    },
    /// A node that had introduced itself is gone.
    Disconnected {
        /// The name it went by.
        client: ClientId,
        /// What it said it was.
        role: Role,
        /// What carried the conversation.
        over: Over,
    },
    /// Another server told of a server.
    Learned {
        /// Where it says it listens.
        endpoint: Endpoint,
    },
}
