//! The machine from outside: bytes in, bytes out.

mod handshake;
mod json;
mod punch;
mod stream;
