//! What a handshake agreed on.

use std::fmt;

use crate::hash::{keyed, namespace};
use crate::key::Secret;
use wire::PublicKey;

/// Which side of a handshake someone was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Spoke first.
    Initiator,
    /// Answered.
    Responder,
}

impl Side {
    /// Returns the opposite side.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Initiator => Self::Responder,
            Self::Responder => Self::Initiator,
        }
    }

    /// `@hyperswarm/secret-stream`, namespaces 0 and 1.
    fn namespace(self) -> [u8; 32] {
        namespace(
            "hyperswarm/secret-stream",
            match self {
                Self::Initiator => 0,
                Self::Responder => 1,
            },
        )
    }
}

/// The outcome of a complete handshake. It is no copy: each of its keys serves one stream.
///
/// Two kinds of keys come out of a handshake. Those of the ordered stream are secret. Those of unordered
/// messages and of hole-punch payloads are *not*: they follow from the handshake's hash alone, which every
/// node that passed the two messages on, and knows the server's key, computes as well.
pub struct Session {
    pub(crate) side: Side,
    pub(crate) local: PublicKey,
    pub(crate) remote: PublicKey,
    pub(crate) hash: [u8; 64],
    pub(crate) send: Secret,
    pub(crate) receive: Secret,
}

impl Session {
    /// Returns which side we were.
    #[must_use]
    pub const fn side(&self) -> Side {
        self.side
    }

    /// Returns our own key.
    #[must_use]
    pub const fn local(&self) -> PublicKey {
        self.local
    }

    /// Returns the peer's key. An initiator's is proven when the first frame authenticates, see
    /// [`SecretStream::is_confirmed`](crate::SecretStream::is_confirmed): until then the first message may be
    /// a recording.
    #[must_use]
    pub const fn remote(&self) -> PublicKey {
        self.remote
    }

    /// Returns the hash that both sides have in common and no other handshake has; public.
    #[must_use]
    pub const fn hash(&self) -> &[u8; 64] {
        &self.hash
    }

    /// Returns the key that ordered frames of ours are sealed with.
    #[must_use]
    pub const fn send_key(&self) -> &Secret {
        &self.send
    }

    /// Returns the key that ordered frames of the peer are sealed with.
    #[must_use]
    pub const fn receive_key(&self) -> &Secret {
        &self.receive
    }

    /// Returns what both ends of this connection know, and nobody else: a protocol inside it signs this to show that it
    /// speaks with whoever it shook hands with.
    #[must_use]
    pub fn binding(&self) -> [u8; 32] {
        let initiators = if self.side == Side::Initiator { &self.send } else { &self.receive };
        keyed(initiators.expose(), &[&namespace("homing/binding", 1), &self.hash])
    }

    /// Returns what a side's stream starts with; public.
    #[must_use]
    pub fn stream_id(&self, side: Side) -> [u8; 32] {
        keyed(&self.hash, &[&side.namespace()])
    }

    /// Returns the key of hole-punch payloads, known to relays of the handshake.
    #[must_use]
    pub fn punch_secret(&self) -> Secret {
        Secret::new(keyed(&self.hash, &[&namespace("hyperswarm/dht", 1)]))
    }

    /// Returns the key of a side's unordered messages, known to relays of the handshake.
    #[must_use]
    pub fn relay_readable_key(&self, side: Side) -> Secret {
        let send = namespace("hyperswarm/secret-stream", 2);
        Secret::new(keyed(&self.hash, &[&side.namespace(), &send]))
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("side", &self.side)
            .field("remote", &self.remote)
            .finish_non_exhaustive()
    }
}
