//! The layer under every local page of Homing: who may ask, what every answer carries, how many at once.
//!
//! A page on loopback is not private by that: any site that the user visits can send requests to it, a name that
//! is rebound to 127.0.0.1 can read the answers, and every program of the computer can connect. [`Guard`] turns
//! those away before anything is routed; [`serve`] bounds what a connection may take.

mod entry;
mod guard;
mod headers;
mod secret;
mod serve;

pub use guard::{Guard, Identity, Settings};
pub use secret::Secret;
pub use serve::{BindError, CONNECTIONS_MAX, bind, serve};
