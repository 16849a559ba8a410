//! Noise handshakes over Ed25519 points (npm `noise-handshake` 4.2), run by the crate `snow`.

mod primitives;

use std::fmt;

use snow::params::{BaseChoice, CipherChoice, DHChoice, HandshakeChoice, HandshakePattern, HashChoice};
use snow::params::{HandshakeModifierList, NoiseParams};

use crate::hash::namespace;
use crate::key::{Secret, StaticKey};
use crate::session::{Session, Side};
use primitives::Primitives;
use wire::PublicKey;

/// Bytes that a message of any pattern adds to its payload at most: ephemeral key, sealed static key, tag.
const OVERHEAD_MAX: usize = 32 + 48 + 16;

/// What both sides of a HyperDHT handshake hash first (`hyperdht lib/noise-wrap.js`).
#[must_use]
pub fn hyperdht_prologue() -> [u8; 32] {
    namespace("hyperswarm/dht", 0)
}

/// Which handshake is run, and from which side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Speaks first to a peer whose key is known; two messages, the first carries data (HyperDHT).
    IkInitiator {
        /// The key that the peer must prove.
        remote: PublicKey,
    },
    /// Answers whoever knows our key.
    IkResponder,
    /// Speaks first to a peer whose key is learned on the way; three messages (bare secret streams).
    XxInitiator,
    /// Answers whoever speaks.
    XxResponder,
}

impl Role {
    const fn side(self) -> Side {
        match self {
            Self::IkInitiator { .. } | Self::XxInitiator => Side::Initiator,
            Self::IkResponder | Self::XxResponder => Side::Responder,
        }
    }

    fn params(self) -> NoiseParams {
        let (name, pattern) = match self {
            Self::IkInitiator { .. } | Self::IkResponder => {
                ("Noise_IK_Ed25519_ChaChaPoly_BLAKE2b", HandshakePattern::IK)
            }
            Self::XxInitiator | Self::XxResponder => {
                ("Noise_XX_Ed25519_ChaChaPoly_BLAKE2b", HandshakePattern::XX)
            }
        };
        let modifiers = HandshakeModifierList { list: Vec::new() };
        NoiseParams::new(
            name.to_owned(),
            BaseChoice::Noise,
            HandshakeChoice { pattern, modifiers },
            // A label that picks nothing: our primitives know one curve, and the name says which.
            DHChoice::Curve25519,
            CipherChoice::ChaChaPoly,
            HashChoice::Blake2b,
        )
    }
}

/// What one side brings to a handshake.
#[derive(Debug)]
pub struct Party<'a> {
    /// The key to prove.
    pub key: &'a StaticKey,
    /// Bytes that both sides must agree on.
    pub prologue: &'a [u8],
    /// Seed of the ephemeral key: fresh chance for every handshake.
    pub ephemeral: Secret,
}

/// Why a handshake does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The message has not the length that this step needs.
    #[error("the message has a wrong length")]
    Malformed,
    /// The peer's key is not usable.
    #[error("the peer's key is not a usable point")]
    UnusablePoint,
    /// The message was made for another key or another handshake, or was changed on its way.
    #[error("the message does not authenticate")]
    Forged,
    /// It is the other side's turn, or the handshake has ended, or has not ended yet.
    #[error("the handshake is at another step")]
    OutOfTurn,
}

impl From<snow::Error> for HandshakeError {
    fn from(error: snow::Error) -> Self {
        match error {
            snow::Error::Dh => Self::UnusablePoint,
            snow::Error::Decrypt => Self::Forged,
            snow::Error::State(_) => Self::OutOfTurn,
            _ => Self::Malformed,
        }
    }
}

/// A handshake that runs.
///
/// A message that cannot be read leaves the handshake where it was, so a forgery that arrives first does not
/// keep the true answer out.
///
/// ```text
/// IK  1: | e 32 | static 32 + 16 | payload + 16 |    2: | e 32 | payload + 16 |
/// XX  1: | e 32 | payload |    2: | e 32 | static 32 + 16 | payload + 16 |    3: | static 32 + 16 | payload + 16 |
/// ```
pub struct Handshake {
    state: snow::HandshakeState,
    side: Side,
    local: PublicKey,
}

impl Handshake {
    /// Starts; an initiator writes first.
    #[must_use]
    pub fn new(role: Role, party: Party<'_>) -> Self {
        Self { side: role.side(), local: party.key.public(), state: start(role, party) }
    }

    /// Appends our next message to `out`.
    ///
    /// # Errors
    ///
    /// Fails with [`HandshakeError::OutOfTurn`], with [`HandshakeError::Malformed`] where the payload is too
    /// long for a message of 65,535 bytes, and with [`HandshakeError::UnusablePoint`].
    pub fn write(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), HandshakeError> {
        let start = out.len();
        out.resize(start + payload.len() + OVERHEAD_MAX, 0);
        let written = self.state.write_message(payload, &mut out[start..]);
        out.truncate(start + written.as_ref().copied().unwrap_or(0));
        written?;
        Ok(())
    }

    /// Reads the peer's next message and returns its payload.
    ///
    /// # Errors
    ///
    /// Fails with any [`HandshakeError`]; the handshake can still read the true message afterwards.
    pub fn read(&mut self, message: &[u8]) -> Result<Vec<u8>, HandshakeError> {
        let mut payload = vec![0; message.len()];
        let len = self.state.read_message(message, &mut payload)?;
        payload.truncate(len);
        Ok(payload)
    }

    /// Returns the peer's key, once known; of an initiator only its first frame tells that it is there now.
    #[must_use]
    pub fn remote(&self) -> Option<PublicKey> {
        let key = self.state.get_remote_static()?;
        key.try_into().map(PublicKey).ok()
    }

    /// Turns a complete handshake into the secrets that it agreed on.
    ///
    /// # Errors
    ///
    /// Fails with [`HandshakeError::OutOfTurn`] while messages are missing.
    pub fn finish(mut self) -> Result<Session, HandshakeError> {
        if !self.state.is_handshake_finished() {
            return Err(HandshakeError::OutOfTurn);
        }
        let remote = self.remote().ok_or(HandshakeError::OutOfTurn)?;
        let (first, second) = self.state.dangerously_get_raw_split();
        let mut hash = [0; 64];
        hash.copy_from_slice(self.state.get_handshake_hash());
        let (send, receive) = match self.side {
            Side::Initiator => (first, second),
            Side::Responder => (second, first),
        };
        Ok(Session {
            side: self.side,
            local: self.local,
            remote,
            hash,
            send: Secret::new(send),
            receive: Secret::new(receive),
        })
    }
}

fn start(role: Role, party: Party<'_>) -> snow::HandshakeState {
    let mut builder = snow::Builder::with_resolver(role.params(), Box::new(Primitives::new(party.ephemeral)))
        .local_private_key(party.key.scalar())
        .and_then(|builder| builder.prologue(party.prologue))
        .expect("each is set once");
    if let Role::IkInitiator { remote } = &role {
        builder = builder.remote_public_key(&remote.0).expect("it is set once");
    }
    let state = match role.side() {
        Side::Initiator => builder.build_initiator(),
        Side::Responder => builder.build_responder(),
    };
    state.expect("all that the patterns need was given")
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handshake")
            .field("side", &self.side)
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}
