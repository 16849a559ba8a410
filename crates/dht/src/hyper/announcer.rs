//! Keeping a key that this node serves known to the network (`hyperdht lib/announcer.js`).

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::time::Instant;

use wire::{Command, hyper};

use super::Purpose;
use super::operation::Intent;
use crate::config::Timing;
use crate::engine::{Ask, Engine, Reply, WalkEnd, WalkId, WalkSpec};
use crate::key::KeyPair;
use wire::PublicKey;

/// Nodes that a key is announced on, and that pass handshakes on to it.
const RELAYS: usize = 3;
/// Relays that must see us at another address before that is believed; one of them may lie.
const WITNESSES: usize = 2;

/// Announces one key on the three closest nodes, and pings them so that the way back to us stays open.
#[derive(Debug)]
pub(super) struct Announcer {
    key: KeyPair,
    stage: Stage,
    relays: Vec<SocketAddrV4>,
    /// Where each of them sent what it passed on: our address as it saw it when it stored the key.
    seen: BTreeMap<SocketAddrV4, SocketAddrV4>,
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
    /// Relays are pinged; so many rounds so far, so many answers to the last, and so many of those from
    /// relays that see us elsewhere by now.
    Warm {
        rounds: u32,
        answers: usize,
        moved: usize,
    },
}

impl Announcer {
    pub(super) fn new(now: Instant, key: KeyPair) -> Self {
        let stage = Stage::Warm { rounds: 0, answers: 0, moved: 0 };
        Self { key, stage, relays: Vec::new(), seen: BTreeMap::new(), closest: Vec::new(), due: now }
    }

    pub(super) const fn relays(&self) -> &Vec<SocketAddrV4> {
        &self.relays
    }

    /// Goes through the relays, each with our address as it saw it.
    pub(super) fn seen(&self) -> impl Iterator<Item = (SocketAddrV4, SocketAddrV4)> {
        self.relays.iter().filter_map(|relay| Some((*relay, *self.seen.get(relay)?)))
    }

    pub(super) const fn due(&self) -> Option<Instant> {
        match self.stage {
            Stage::Walking(_) | Stage::Announcing { .. } => None,
            Stage::Warm { .. } => Some(self.due),
        }
    }

    /// Pings the relays, or announces anew where that is due or too few of them answered.
    pub(super) fn handle_timeout(&mut self, now: Instant, engine: &mut Engine, timing: &Timing) {
        let Stage::Warm { rounds, answers, moved } = &mut self.stage else { return };
        if self.due > now {
            return;
        }
        let silent = *rounds > 0 && *answers < self.relays.len().min(RELAYS);
        if self.relays.is_empty() || silent || *rounds >= timing.relay_pings {
            return self.update(now, engine);
        }
        (*rounds, *answers, *moved) = (*rounds + 1, 0, 0);
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
            ..WalkSpec::new(crate::key::target(self.key.public_key()), hyper::FIND_PEER)
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
        let intent =
            Intent::Add { target: crate::key::target(public_key), key: &self.key, relays: &[], bump: 0 };
        let purpose = Purpose::Announced(public_key);
        let outstanding =
            end.closest.iter().filter(|reply| intent.send(now, engine, reply, purpose)).take(RELAYS).count();
        self.closest = end.closest.iter().map(|reply| reply.from).collect();
        self.relays.clear();
        self.seen.clear();
        self.stage = Stage::Announcing { outstanding };
        self.settle(now, timing)
    }

    /// Takes the answer, or the silence, of a node that was to store the key; tells whether it was the last.
    pub(super) fn announced(&mut self, now: Instant, timing: &Timing, reply: Option<&Reply>) -> bool {
        let Stage::Announcing { outstanding } = &mut self.stage else { return false };
        *outstanding = outstanding.saturating_sub(1);
        if let Some(reply) = reply.filter(|reply| reply.error == 0) {
            self.relays.push(reply.from);
            self.seen.insert(reply.from, reply.to);
        }
        self.settle(now, timing)
    }

    /// Takes a relay's answer. Relays that see us elsewhere, as after a router's restart, pass handshakes on to
    /// where we no longer are, so the key is announced anew; the reference does so when it is due, up to five
    /// minutes later.
    pub(super) fn relay_answered(&mut self, now: Instant, engine: &mut Engine, reply: &Reply) {
        let Stage::Warm { answers, moved, .. } = &mut self.stage else { return };
        *answers += 1;
        *moved += usize::from(self.seen.get(&reply.from).is_some_and(|seen| *seen != reply.to));
        if *moved > 0 && *moved >= WITNESSES.min(self.relays.len()) {
            self.update(now, engine);
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
        self.stage = Stage::Warm { rounds: 0, answers: 0, moved: 0 };
        self.due = now + timing.relay_ping;
        true
    }
}
