//! One secured connection as a machine: bytes, time and chance in, bytes and events out.
//!
//! From the first message to the application, a connection passes through these parts:
//!
//! 1. [`FirstMessages`] tells whether a first message was seen before.
//! 2. [`Handshake`] proves keys (Noise IK in HyperDHT, XX for bare streams) and ends in a [`Session`].
//! 3. [`PunchSeal`] seals what both sides tell each other through relays while they look for a path, and
//!    [`Puncher`] looks for it.
//! 4. [`SecretStream`] carries frames over an ordered byte stream; [`RelayReadable`] carries messages beside
//!    it, which relays of the handshake can read.
//! 5. [`judge_duplicate`] and [`Challenge`] choose between two connections with one peer.
//! 6. [`Mux`] carries channels over frames; [`BlindRelayClient`] and [`BlindRelay`] speak on one of them.
//!
//! None of them reads a clock or makes chance: `now` and random bytes are arguments, and random bytes must be
//! fresh at each call that takes them. Each writes into buffers of the caller or into queues that the caller
//! drains after each call.

mod blind_relay;
mod duplicate;
mod first_messages;
mod hash;
mod key;
mod moving;
mod mux;
mod nat;
mod noise;
mod punch;
mod puncher;
mod relay_readable;
mod secretbox;
mod secretstream;
mod session;
mod stream;

pub use blind_relay::{
    BlindRelay, BlindRelayAction, BlindRelayCensus, BlindRelayClient, BlindRelayEvent, BlindRelayLimits,
    BlindRelayStats, Full, LinkId, PairError, PairFailure, PairRequest, PairToken, RelayEnd, RelaySessionId,
    blind_relay_channel,
};
pub use duplicate::{Challenge, Evidence, Existing, Verdict, Winner, judge_duplicate};
pub use first_messages::{FirstMessages, ReplayLimits, Sight};
pub use key::{Secret, StaticKey, UnusablePoint};
pub use moving::{CHALLENGE_LEN, Mover, Note};
pub use mux::{
    ChannelError, ChannelId, ChannelName, Mux, MuxError, MuxEvent, MuxLimits, Outgoing, Refused, RequestId,
};
pub use nat::{LocalReach, Nat};
pub use noise::{Handshake, HandshakeError, Party, Role, hyperdht_prologue};
pub use punch::PunchSeal;
pub use puncher::{
    Analysis, Pace, Prediction, Probe, PunchCommand, PunchConfig, PunchEvent, PunchFailure, PunchLimiter,
    Puncher, RemoteNat, Reopening, Stability, Strategy, TooSoon, Unpunchable,
};
pub use relay_readable::{Exhausted, RelayReadable};
pub use secretbox::Forged;
pub use session::{Session, Side};
pub use stream::{EmptyFrames, FrameTooLong, SecretStream, StreamConfig, StreamError, StreamStats};
pub use wire::PublicKey;
