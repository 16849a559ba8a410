//! Bytes to messages and back, without a clock, keys or I/O.
//!
//! Every decoder is total: any input yields a message or a [`DecodeError`], never a panic. Messages borrow
//! from the datagram they were read from, and a count is believed only as far as bytes remain to back it.
#![deny(clippy::indexing_slicing)]

pub mod bencode;
mod compact;
mod datagram;
pub mod hyper;
mod id;
mod key;
pub mod krpc;
mod outbox;
mod rpc;
pub mod udx;

pub use compact::{ADDR_LEN, Addrs, DecodeError, Reader, UINT_MAX, Write, pack_addr, pack_addrs};
pub use datagram::{Datagram, SocketId, Transmit};
pub use id::{Id, ParseIdError};
pub use key::PublicKey;
pub use outbox::Outbox;
pub use rpc::{Command, Request, Response, Token, is_rpc};
