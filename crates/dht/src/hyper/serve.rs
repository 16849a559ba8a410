//! Commands of the application: what others ask of this node's store and router.

use std::time::{Duration, Instant};

use wire::hyper::{self, Announcement, MutablePut, error};
use wire::{Command, PublicKey, Reader, Token};

use super::knock::Knock;
use super::router::Router;
use super::store::{Announced, Outdated, Refresh, Relays, Route, Store};
use crate::config::UnixMillis;
use crate::engine::{Answer, Engine, Extras, Inbound};
use crate::key::{self, Place, Signed, hash, verify_mutable};

use super::event::Task;

/// Serves what others ask.
#[derive(Debug)]
pub(super) struct Server {
    /// Made when the node first becomes persistent.
    pub(super) store: Option<Store>,
    pub(super) router: Router,
    checks: Checks,
    /// The wall clock at an instant.
    pub(super) wall: (Instant, UnixMillis),
}

/// How many signatures may still be checked in this second.
#[derive(Debug)]
struct Checks {
    left: u32,
    per_second: u32,
    since: Instant,
}

impl Checks {
    fn take(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= Duration::from_secs(1) {
            (self.left, self.since) = (self.per_second, now);
        }
        let left = self.left > 0;
        self.left = self.left.saturating_sub(1);
        left
    }
}

impl Server {
    pub(super) const fn new(router: Router, checks_per_second: u32, now: Instant, wall: UnixMillis) -> Self {
        let checks = Checks { left: checks_per_second, per_second: checks_per_second, since: now };
        Self { store: None, router, checks, wall: (now, wall) }
    }

    /// Serves one request, or returns it where it is for a key that this node serves. Those that make no sense
    /// are met with silence, as by the reference.
    pub(super) fn handle(
        &mut self,
        now: Instant,
        engine: &mut Engine,
        inbound: &Inbound<'_>,
    ) -> Option<Knock> {
        let command = inbound.request.command;
        // Every node passes these on; the other commands need a place among the storing nodes.
        if command == hyper::PEER_HANDSHAKE {
            return self.router.handshake(now, engine, inbound);
        }
        if command == hyper::PEER_HOLEPUNCH {
            return self.router.holepunch(now, engine, inbound);
        }
        if engine.id().is_none() || self.store.is_none() {
            engine.refuse(now, inbound);
            return None;
        }
        match command {
            hyper::FIND_PEER => self.find_peer(now, engine, inbound),
            hyper::LOOKUP => self.lookup(now, engine, inbound),
            hyper::ANNOUNCE => self.announce(now, engine, inbound).unwrap_or_default(),
            hyper::UNANNOUNCE => self.unannounce(now, engine, inbound).unwrap_or_default(),
            hyper::MUTABLE_PUT => self.mutable_put(now, engine, inbound).unwrap_or_default(),
            hyper::MUTABLE_GET => self.mutable_get(now, engine, inbound).unwrap_or_default(),
            hyper::IMMUTABLE_PUT => self.immutable_put(now, engine, inbound).unwrap_or_default(),
            hyper::IMMUTABLE_GET => self.immutable_get(now, engine, inbound).unwrap_or_default(),
            Command::App(_) | Command::Internal(_) => engine.refuse(now, inbound),
        }
        None
    }

    fn wall(&self, now: Instant) -> u64 {
        let (then, UnixMillis(millis)) = self.wall;
        let passed = now.saturating_duration_since(then).as_millis();
        millis.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }

    fn find_peer(&mut self, now: Instant, engine: &mut Engine, inbound: &Inbound<'_>) {
        let Some(target) = inbound.request.target else { return };
        engine.stats.served.find_peer += 1;
        let value = self.router.encoded(now, &target);
        engine.reply(now, inbound, found(value));
    }

    fn lookup(&mut self, now: Instant, engine: &mut Engine, inbound: &Inbound<'_>) {
        let (Some(target), Some(store)) = (inbound.request.target, &mut self.store) else { return };
        engine.stats.served.lookup += 1;
        let route = self.router.record(now, &target);
        let value = store.lookup(now, target, route, engine.rng());
        engine.reply(now, inbound, found(value));
    }

    fn announce(&mut self, now: Instant, engine: &mut Engine, inbound: &Inbound<'_>) -> Option<()> {
        let (place, announcement) = placed(engine, inbound)?;
        let Some(peer) = announcement.peer else {
            return self.refresh(now, engine, inbound, announcement.refresh?);
        };
        if !self.checks.take(now) || !place.verify(Signed::Announce, &announcement) {
            return None;
        }
        let wall = self.wall(now);
        let store = self.store.as_mut()?;
        let relays = Relays::new(peer.relays);
        let kind = if hash(&peer.public_key) == place.target { Announced::Key } else { Announced::Topic };
        match kind {
            Announced::Key => {
                let route = Route { relay: inbound.from, public_key: peer.public_key, relays };
                self.router.announce(now, place.target, route);
                store.unannounce(place.target, peer.public_key);
            }
            Announced::Topic => {
                store.bump(now, wall, place.target, announcement.bump);
                store.announce(now, place.target, &peer);
            }
        }
        if let Some(key) = announcement.refresh {
            let refresh = Refresh { target: place.target, public_key: peer.public_key, relays, kind };
            store.remember_refresh(now, wire::Id(key), refresh);
        }
        engine.stats.served.announce += 1;
        engine.reply(now, inbound, Answer::default());
        Some(())
    }

    fn refresh(
        &mut self,
        now: Instant,
        engine: &mut Engine,
        inbound: &Inbound<'_>,
        preimage: [u8; 32],
    ) -> Option<()> {
        let store = self.store.as_mut()?;
        let refresh = store.take_refresh(now, preimage)?;
        match refresh.kind {
            Announced::Key => {
                let (public_key, relays) = (refresh.public_key, refresh.relays);
                self.router.announce(now, refresh.target, Route { relay: inbound.from, public_key, relays });
            }
            Announced::Topic => store.restore(now, &refresh),
        }
        engine.stats.served.announce += 1;
        engine.reply(now, inbound, Answer::default());
        Some(())
    }

    fn unannounce(&mut self, now: Instant, engine: &mut Engine, inbound: &Inbound<'_>) -> Option<()> {
        let (place, announcement) = placed(engine, inbound)?;
        if !self.checks.take(now) || !place.verify(Signed::Unannounce, &announcement) {
            return None;
        }
        let public_key = announcement.peer?.public_key;
        self.store.as_mut()?.unannounce(place.target, public_key);
        self.router.unannounce(&place.target, &public_key);
        engine.stats.served.unannounce += 1;
        engine.reply(now, inbound, Answer::default());
        Some(())
    }

    fn mutable_put(&mut self, now: Instant, engine: &mut Engine, inbound: &Inbound<'_>) -> Option<()> {
        let (target, _) = inbound.request.target.zip(inbound.request.token)?;
        let put = MutablePut::decode(inbound.request.value?).ok()?;
        let key = PublicKey(put.public_key);
        if put.record.value.len() > Task::VALUE_MAX || key::target(key) != target {
            return None;
        }
        if !self.checks.take(now) || !verify_mutable(&key, &put.record) {
            return None;
        }
        engine.stats.served.mutable_put += 1;
        let answer = match self.store.as_mut()?.put_mutable(now, target, &put) {
            Ok(()) => found(None),
            Err(Outdated::SeqReused) => {
                Answer { error: error::SEQ_REUSED, value: None, extras: Extras::Closer }
            }
            Err(Outdated::SeqTooLow) => {
                Answer { error: error::SEQ_TOO_LOW, value: None, extras: Extras::Closer }
            }
        };
        engine.reply(now, inbound, answer);
        Some(())
    }

    fn mutable_get(&mut self, now: Instant, engine: &mut Engine, inbound: &Inbound<'_>) -> Option<()> {
        let target = inbound.request.target?;
        let seq = Reader::new(inbound.request.value?).uint().ok()?;
        engine.stats.served.mutable_get += 1;
        engine.reply(now, inbound, found(self.store.as_mut()?.mutable(now, target, seq)));
        Some(())
    }

    fn immutable_put(&mut self, now: Instant, engine: &mut Engine, inbound: &Inbound<'_>) -> Option<()> {
        let (target, _) = inbound.request.target.zip(inbound.request.token)?;
        let value = inbound.request.value.filter(|value| value.len() <= Task::VALUE_MAX)?;
        if hash(value) != target {
            return None;
        }
        self.store.as_mut()?.put_immutable(now, target, value);
        engine.stats.served.immutable_put += 1;
        engine.reply(now, inbound, found(None));
        Some(())
    }

    fn immutable_get(&mut self, now: Instant, engine: &mut Engine, inbound: &Inbound<'_>) -> Option<()> {
        let target = inbound.request.target?;
        engine.stats.served.immutable_get += 1;
        engine.reply(now, inbound, found(self.store.as_mut()?.immutable(now, target)));
        Some(())
    }
}

/// An answer with a value, closer nodes and a token.
const fn found(value: Option<&[u8]>) -> Answer<'_> {
    Answer { error: 0, value, extras: Extras::CloserAndToken }
}

/// Reads an announcement and what its signature is bound to; needs a token, which the engine has checked.
fn placed<'a>(engine: &Engine, inbound: &Inbound<'a>) -> Option<(Place, Announcement<'a>)> {
    let target = inbound.request.target?;
    let token: Token = inbound.request.token?;
    let announcement = Announcement::decode(inbound.request.value?).ok()?;
    Some((Place { target, node: engine.id()?, token }, announcement))
}
