//! Keeping a key that this node serves known to the network (`hyperdht lib/announcer.js`).

use std::net::SocketAddrV4;
use std::time::Instant;

use wire::{Command, hyper};

use super::Purpose;
use super::operation::Intent;
use crate::config::Timing;
use crate::engine::{Ask, Engine, Reply, WalkEnd, WalkId, WalkSpec};
use crate::key::{KeyPair, PublicKey};

/// Nodes that a key is announced on, and that pass handshakes on to it.
const RELAYS: usize = 3;

/// Announces one key on the three closest nodes, and pings them so that the way back to us stays open.
#[derive(Debug)]
pub(super) struct Announcer {
    key: KeyPair,
    stage: Stage,
    relays: Vec<SocketAddrV4>,
    /// Closest nodes of the last walk, to begin the next with.
    closest: Vec<SocketAddrV4>,
    due: Instant,
}

#[derive(Debug)]
enum Stage {
    Walking(WalkId),
    Announcing {
        outstanding: usize,
    },
    /// Relays are pinged; so many rounds so far, so many answers to the last.
    Warm {
        rounds: u32,
        answers: usize,
    },
}

impl Announcer {
    pub(super) fn new(now: Instant, key: KeyPair) -> Self {
        let stage = Stage::Warm { rounds: 0, answers: 0 };
        Self { key, stage, relays: Vec::new(), closest: Vec::new(), due: now }
    }

    pub(super) const fn relays(&self) -> &Vec<SocketAddrV4> {
        &self.relays
    }

    pub(super) const fn due(&self) -> Option<Instant> {
        match self.stage {
            Stage::Walking(_) | Stage::Announcing { .. } => None,
            Stage::Warm { .. } => Some(self.due),
        }
    }

    /// Pings the relays, or announces anew where that is due or too few of them answered.
    pub(super) fn handle_timeout(&mut self, now: Instant, engine: &mut Engine, timing: &Timing) {
        let Stage::Warm { rounds, answers } = &mut self.stage else { return };
        if self.due > now {
            return;
        }
        let silent = *rounds > 0 && *answers < self.relays.len().min(RELAYS);
        if self.relays.is_empty() || silent || *rounds >= timing.relay_pings {
            return self.update(now, engine);
        }
        (*rounds, *answers) = (*rounds + 1, 0);
        self.due = now + timing.relay_ping;
        for relay in &self.relays {
            engine.ask_for(now, &Ask::new(*relay, Command::PING), Purpose::RelayPing(self.key.public_key()));
        }
    }

    /// Looks for the closest nodes and announces the key on them.
    pub(super) fn update(&mut self, now: Instant, engine: &mut Engine) {
        if let Stage::Walking(walk) = self.stage {
            engine.cancel_walk(walk);
        }
        let spec = WalkSpec {
            seeds: self.closest.clone(),
            ..WalkSpec::new(self.key.public_key().target(), hyper::FIND_PEER)
        };
        let purpose = Purpose::AnnouncerWalk(self.key.public_key());
        self.stage = Stage::Walking(engine.walk(now, spec, purpose));
    }

    /// Announces the key on the nodes found; tells whether that is over already, for want of them.
    pub(super) fn walk_ended(
        &mut self,
        now: Instant,
        engine: &mut Engine,
        timing: &Timing,
        end: &WalkEnd,
    ) -> bool {
        let public_key = self.key.public_key();
        let intent = Intent::Add { target: public_key.target(), key: &self.key, relays: &[], bump: 0 };
        let purpose = Purpose::Announced(public_key);
        let outstanding =
            end.closest.iter().filter(|reply| intent.send(now, engine, reply, purpose)).take(RELAYS).count();
        self.closest = end.closest.iter().map(|reply| reply.from).collect();
        self.relays.clear();
        self.stage = Stage::Announcing { outstanding };
        self.settle(now, timing)
    }

    /// Takes the answer, or the silence, of a node that was to store the key; tells whether it was the last.
    pub(super) fn announced(&mut self, now: Instant, timing: &Timing, reply: Option<&Reply>) -> bool {
        let Stage::Announcing { outstanding } = &mut self.stage else { return false };
        *outstanding = outstanding.saturating_sub(1);
        self.relays.extend(reply.filter(|reply| reply.error == 0).map(|reply| reply.from));
        self.settle(now, timing)
    }

    pub(super) fn relay_answered(&mut self) {
        if let Stage::Warm { answers, .. } = &mut self.stage {
            *answers += 1;
        }
    }

    /// Gives up what goes on; the caller removes what was announced.
    pub(super) fn stop(&self, engine: &mut Engine) -> PublicKey {
        if let Stage::Walking(walk) = self.stage {
            engine.cancel_walk(walk);
        }
        self.key.public_key()
    }

    pub(super) const fn key(&self) -> &KeyPair {
        &self.key
    }

    fn settle(&mut self, now: Instant, timing: &Timing) -> bool {
        let Stage::Announcing { outstanding: 0 } = self.stage else { return false };
        self.stage = Stage::Warm { rounds: 0, answers: 0 };
        self.due = now + timing.relay_ping;
        true
    }
}
