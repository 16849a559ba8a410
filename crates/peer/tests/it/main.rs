//! The machine from outside: bytes in, bytes out.
#![expect(clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod handshake;
mod json;
mod mux;
mod punch;
mod stream;
