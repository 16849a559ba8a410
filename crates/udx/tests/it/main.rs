//! Streams between hosts in virtual time, against the reference's captures, bad links and bad peers.
#![expect(clippy::disallowed_methods, reason = "the tests need an origin to count time from")]
#![expect(clippy::unwrap_used, reason = "whatever fails fails the test")]

mod captures;
mod closing;
mod congestion;
mod hostile;
mod net;
mod paths;
mod transfer;
mod window;
