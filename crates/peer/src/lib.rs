//! One secured connection as a machine: bytes, time and chance in, bytes and events out.

mod hash;
mod key;
mod noise;
mod punch;
mod relay_readable;
mod secretbox;
mod session;

pub use key::{PublicKey, Secret, StaticKey, UnusablePoint};
pub use noise::{Handshake, HandshakeError, Party, Role, hyperdht_prologue};
pub use punch::PunchSeal;
pub use relay_readable::{Exhausted, RelayReadable};
pub use secretbox::Forged;
pub use session::{Session, Side};
