//! Meeting at a relay that sees no plaintext (npm `blind-relay` 1.6): two peers who know one token ask it to
//! join their streams.

mod client;
mod server;

use std::fmt;

use wire::DecodeError;
use wire::hyper::{Pair, Unpair};

use crate::mux::ChannelName;
use crate::session::Side;
use wire::PublicKey;

pub use client::{BlindRelayClient, BlindRelayEvent, PairError, PairFailure, PairRequest};
pub use server::{
    BlindRelay, BlindRelayAction, BlindRelayCensus, BlindRelayLimits, BlindRelayStats, Full, LinkId,
    RelayEnd, RelaySessionId,
};

const PAIR: u64 = 0;
const UNPAIR: u64 = 1;

/// Returns the channel that a client and a relay speak on. Its id is the client's key: to the relay, the key
/// that the other end of the connection proved.
#[must_use]
pub fn blind_relay_channel(client: PublicKey) -> ChannelName {
    ChannelName::new("blind-relay", &client.0)
}

/// What the two peers of a relayed connection have in common. Whoever knows it can take a peer's place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PairToken(pub [u8; 32]);

impl fmt::Debug for PairToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PairToken(…)")
    }
}

/// A message on the channel.
enum Message {
    Pair(Pair),
    Unpair(Unpair),
    /// Of a type that we do not know: the peer may be newer.
    Newer,
}

impl Message {
    fn decode(kind: u64, payload: &[u8]) -> Result<Self, DecodeError> {
        match kind {
            PAIR => Pair::decode(payload).map(Self::Pair),
            UNPAIR => Unpair::decode(payload).map(Self::Unpair),
            _ => Ok(Self::Newer),
        }
    }
}

fn encode_pair(side: Side, token: PairToken, stream: u32) -> Vec<u8> {
    let mut payload = Vec::with_capacity(40);
    Pair { initiator: side == Side::Initiator, token: token.0, stream, seq: 0 }.encode(&mut payload);
    payload
}

const fn side_of(pair: &Pair) -> Side {
    if pair.initiator { Side::Initiator } else { Side::Responder }
}
