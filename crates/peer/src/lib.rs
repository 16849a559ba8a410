//! One secured connection as a machine: bytes, time and chance in, bytes and events out.

mod blind_relay;
mod duplicate;
mod first_messages;
mod hash;
mod key;
mod mux;
mod noise;
mod punch;
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
pub use key::{PublicKey, Secret, StaticKey, UnusablePoint};
pub use mux::{
    ChannelError, ChannelId, ChannelName, Mux, MuxError, MuxEvent, MuxLimits, Outgoing, Refused, RequestId,
};
pub use noise::{Handshake, HandshakeError, Party, Role, hyperdht_prologue};
pub use punch::PunchSeal;
pub use relay_readable::{Exhausted, RelayReadable};
pub use secretbox::Forged;
pub use session::{Session, Side};
pub use stream::{EmptyFrames, FrameTooLong, SecretStream, StreamConfig, StreamError, StreamStats};
