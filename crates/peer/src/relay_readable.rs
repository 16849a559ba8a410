//! Unordered messages beside the stream (npm `@hyperswarm/secret-stream` 6.9, `send` and `message`).

use crate::key::Secret;
use crate::secretbox::{self, Forged, NONCE_LEN, TAG_LEN};
use crate::session::Session;

const COUNTER_LEN: usize = 8;

/// Every counter was used once; using one twice would reveal what was sent under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("every message number was used")]
pub struct Exhausted;

/// Seals and opens unordered messages, which are **not confidential**.
///
/// Their keys follow from the handshake's hash. Every DHT node that passed the handshake on, and knows the
/// server's key, can read and forge these messages, and anyone can repeat them. They suit hints that are
/// checked otherwise; secrets and commands belong into the stream.
///
/// ```text
/// | counter 8 | tag 16 | sealed text |
/// ```
#[derive(Debug)]
pub struct RelayReadable {
    send: Secret,
    receive: Secret,
    first: u64,
    next: Option<u64>,
}

impl RelayReadable {
    /// Bytes that sealing adds to a text.
    pub const OVERHEAD: usize = COUNTER_LEN + TAG_LEN;

    /// Takes the keys from a handshake; `first` is chance.
    #[must_use]
    pub fn new(session: &Session, first: [u8; COUNTER_LEN]) -> Self {
        let first = u64::from_le_bytes(first);
        Self {
            send: session.relay_readable_key(session.side()),
            receive: session.relay_readable_key(session.side().other()),
            first,
            next: Some(first),
        }
    }

    /// Appends a message that relays of the handshake can read to `out`.
    ///
    /// # Errors
    ///
    /// Fails once all 2^64 numbers are used.
    pub fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), Exhausted> {
        let counter = self.next.ok_or(Exhausted)?;
        self.next = Some(counter.wrapping_add(1)).filter(|next| *next != self.first);
        let counter = counter.to_le_bytes();
        out.extend(counter);
        secretbox::seal(&self.send, &nonce(counter), plain, out);
        Ok(())
    }

    /// Opens a message; a relay of the handshake may have made it, or anyone may have sent it before.
    ///
    /// # Errors
    ///
    /// Fails where the bytes do not authenticate.
    pub fn open(&self, message: &[u8]) -> Result<Vec<u8>, Forged> {
        let (counter, sealed) = message.split_first_chunk().ok_or(Forged)?;
        secretbox::open(&self.receive, &nonce(*counter), sealed)
    }
}

fn nonce(counter: [u8; COUNTER_LEN]) -> [u8; NONCE_LEN] {
    let mut nonce = [0; NONCE_LEN];
    nonce[..COUNTER_LEN].copy_from_slice(&counter);
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_number_is_used_twice() {
        let [send, receive] = [1, 2].map(|byte| Secret::new([byte; 32]));
        let mut sealer = RelayReadable { send, receive, first: 1, next: Some(u64::MAX) };
        for counter in [[0xff; 8], [0; 8]] {
            let mut out = Vec::new();
            sealer.seal(b"text", &mut out).unwrap();
            assert_eq!(out[..8], counter);
        }
        assert_eq!(sealer.seal(b"text", &mut Vec::new()), Err(Exhausted));
    }
}
