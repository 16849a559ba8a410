//! What a database tells whoever listens.

use tooldb::message::Role;
use tooldb::{ClientId, Endpoint, Key};

pub use crate::host::Origin;

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
    },
    /// A node that had introduced itself is gone.
    Disconnected {
        /// The name it went by.
        client: ClientId,
        /// What it said it was.
        role: Role,
    },
    /// Another server told of a server.
    Learned {
        /// Where it says it listens.
        endpoint: Endpoint,
    },
}
