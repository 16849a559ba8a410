//! The machine from outside: bytes in, bytes out.
#![expect(clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod blind_relay;
mod handshake;
mod json;
mod moving;
mod mux;
mod nat;
mod punch;
mod puncher;
mod stream;
