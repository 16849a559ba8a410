//! How hole-punch messages are sealed, and how an address is proven (`hyperdht lib/holepuncher.js`,
//! `lib/secure-payload.js`).

use std::net::Ipv4Addr;

use wire::hyper::HolepunchPayload;

use crate::hash::keyed;
use crate::key::Secret;
use crate::secretbox::{self, Forged, NONCE_LEN};
use crate::session::Session;

/// Seals and opens the hole-punch payloads of one handshake.
///
/// The relays of the handshake can read and forge these payloads, since the key follows from what they
/// passed on. Addresses in them are hints, to be checked by probes; a lie costs a punch, not a secret.
///
/// ```text
/// | nonce 24 | tag 16 | sealed payload |
/// ```
#[derive(Debug)]
pub struct PunchSeal {
    key: Secret,
    hosts: Secret,
}

impl PunchSeal {
    /// Takes the key from a handshake; `hosts` is chance that address tokens are made with.
    #[must_use]
    pub fn new(session: &Session, hosts: Secret) -> Self {
        Self::with_key(session.punch_secret(), hosts)
    }

    /// Uses a key that was made elsewhere.
    #[must_use]
    pub const fn with_key(key: Secret, hosts: Secret) -> Self {
        Self { key, hosts }
    }

    /// Appends a sealed payload to `out`; the nonce is fresh chance.
    pub fn seal(&self, nonce: [u8; NONCE_LEN], payload: &HolepunchPayload<'_>, out: &mut Vec<u8>) {
        let mut plain = Vec::new();
        payload.encode(&mut plain);
        out.extend(nonce);
        secretbox::seal(&self.key, &nonce, &plain, out);
    }

    /// Opens a sealed payload; [`HolepunchPayload::decode`] reads the result.
    ///
    /// # Errors
    ///
    /// Fails where the bytes do not authenticate.
    pub fn open(&self, boxed: &[u8]) -> Result<Vec<u8>, Forged> {
        let (nonce, sealed) = boxed.split_first_chunk().ok_or(Forged)?;
        secretbox::open(&self.key, nonce, sealed)
    }

    /// Returns the token that whoever receives our messages at a host can echo.
    #[must_use]
    pub fn token(&self, host: Ipv4Addr) -> [u8; 32] {
        keyed(self.hosts.expose(), &[host.to_string().as_bytes()])
    }
}
