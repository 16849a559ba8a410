//! How a peer proves that packets by a new path are its own (`docs/format/moving.md`).

use std::collections::VecDeque;
use std::net::SocketAddr;

use subtle::ConstantTimeEq as _;

use crate::hash::keyed;
use crate::key::Secret;
use crate::session::Session;

/// Bytes of a challenge: chance that a path has to bring back.
pub const CHALLENGE_LEN: usize = 8;

const TAG_LEN: usize = 16;

/// Bytes of a message.
const NOTE_LEN: usize = 1 + CHALLENGE_LEN + TAG_LEN;

/// Addresses under test at one time. Whoever repeats what it hears can fill them, and delay a move.
const TESTS_MAX: usize = 4;

const HERE: u8 = 1;
const PROVE: u8 = 2;
const PROOF: u8 = 3;

/// What a message about a path asks for or tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// The peer may send by another path from now on: it asks to be challenged there.
    Here,
    /// The peer asks for this challenge back, from the address at which it arrived.
    Prove([u8; CHALLENGE_LEN]),
    /// The peer brings a challenge back.
    Proof([u8; CHALLENGE_LEN]),
}

/// One side of a connection whose peers follow each other: it seals and reads notes, and knows the challenges
/// that are out.
///
/// ```text
/// | kind 1 | challenge 8, zeros in HERE | first 16 bytes of BLAKE2b(kind, challenge) under the sender's key |
/// ```
#[derive(Debug)]
pub struct Mover {
    send: Secret,
    receive: Secret,
    tests: VecDeque<(SocketAddr, [u8; CHALLENGE_LEN])>,
}

impl Mover {
    /// Takes the keys from a handshake. They follow from those of the frames, which no relay knows.
    #[must_use]
    pub fn new(session: &Session) -> Self {
        let derive = |key: &Secret| Secret::new(keyed(key.expose(), &[b"homing moving 1"]));
        let (send, receive) = (derive(session.send_key()), derive(session.receive_key()));
        Self { send, receive, tests: VecDeque::new() }
    }

    /// Returns a sealed note.
    #[must_use]
    pub fn seal(&self, note: Note) -> Vec<u8> {
        let (kind, challenge) = match note {
            Note::Here => (HERE, [0; CHALLENGE_LEN]),
            Note::Prove(challenge) => (PROVE, challenge),
            Note::Proof(challenge) => (PROOF, challenge),
        };
        let mut sealed = vec![kind];
        sealed.extend(challenge);
        let tag = keyed(self.send.expose(), &[&sealed]);
        sealed.extend(&tag[..TAG_LEN]);
        sealed
    }

    /// Reads a note of the peer; nothing where it is none, or forged.
    #[must_use]
    pub fn open(&self, sealed: &[u8]) -> Option<Note> {
        let sealed: &[u8; NOTE_LEN] = sealed.try_into().ok()?;
        let (text, tag) = sealed.split_at(NOTE_LEN - TAG_LEN);
        let ours = keyed(self.receive.expose(), &[text]);
        if !bool::from(ours[..TAG_LEN].ct_eq(tag)) {
            return None;
        }
        let (kind, challenge) = text.split_first()?;
        let challenge = challenge.try_into().ok()?;
        match *kind {
            HERE => Some(Note::Here),
            PROVE => Some(Note::Prove(challenge)),
            PROOF => Some(Note::Proof(challenge)),
            _ => None,
        }
    }

    /// Returns the challenge for an address: the one that is out, or a fresh one made of `chance`.
    pub fn test(&mut self, address: SocketAddr, chance: [u8; CHALLENGE_LEN]) -> [u8; CHALLENGE_LEN] {
        if let Some((_, challenge)) = self.tests.iter().find(|(tested, _)| *tested == address) {
            return *challenge;
        }
        if self.tests.len() >= TESTS_MAX {
            self.tests.pop_front();
        }
        self.tests.push_back((address, chance));
        chance
    }

    /// Tells whether a challenge came back from the address that it was sent to, and ends all tests if so.
    pub fn passes(&mut self, address: SocketAddr, challenge: [u8; CHALLENGE_LEN]) -> bool {
        let passes = self.tests.contains(&(address, challenge));
        if passes {
            self.tests.clear();
        }
        passes
    }
}
