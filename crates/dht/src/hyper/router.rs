//! Passing handshakes and hole punches on to announced keys (`hyperdht lib/router.js`).

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Instant;

use pace::Generations;
use wire::hyper::{HandshakeEnvelope, HolepunchEnvelope, Mode, PeerRecord};
use wire::{Addrs, Id, PublicKey};

use super::knock::{self, Knock};
use super::store::{Route, two_thirds};
use crate::config::{Limits, Timing};
use crate::engine::{Answer, Engine, Extras, Inbound};
use crate::key::target;

/// Routes to keys that announced themselves here.
#[derive(Debug)]
pub(super) struct Router {
    routes: Generations<Id<32>, Route>,
    /// Keys that this node serves itself, by their targets.
    own: BTreeMap<Id<32>, PublicKey>,
    scratch: Vec<u8>,
}

impl Router {
    pub(super) const fn new(limits: &Limits, timing: &Timing) -> Self {
        let span = two_thirds(timing.record_age);
        Self { routes: Generations::new(limits.records, span), own: BTreeMap::new(), scratch: Vec::new() }
    }

    /// Hands what comes for a key to this node from now on.
    pub(super) fn serve(&mut self, key: PublicKey) {
        self.own.insert(target(key), key);
    }

    pub(super) fn unserve(&mut self, key: PublicKey) {
        self.own.remove(&target(key));
    }

    /// Remembers the way to a key.
    pub(super) fn announce(&mut self, now: Instant, target: Id<32>, route: Route) {
        self.routes.insert(now, target, route);
    }

    pub(super) fn unannounce(&mut self, target: &Id<32>, public_key: &[u8; 32]) {
        if self.routes.get(target).is_some_and(|route| route.public_key == *public_key) {
            self.routes.remove(target);
        }
    }

    /// Returns the record of a key that announced itself; being asked for keeps it.
    pub(super) fn record(&mut self, now: Instant, target: &Id<32>) -> Option<PeerRecord<'_>> {
        let route = self.routes.refresh(now, target)?;
        Some(PeerRecord { public_key: route.public_key, relays: route.relays.addrs() })
    }

    /// Returns the same as it goes into an answer.
    pub(super) fn encoded(&mut self, now: Instant, target: &Id<32>) -> Option<&[u8]> {
        self.scratch.clear();
        if let Some(PublicKey(public_key)) = self.own.get(target) {
            PeerRecord { public_key: *public_key, relays: Addrs::EMPTY }.encode(&mut self.scratch);
            return Some(&self.scratch);
        }
        let route = self.routes.refresh(now, target)?;
        PeerRecord { public_key: route.public_key, relays: route.relays.addrs() }.encode(&mut self.scratch);
        Some(&self.scratch)
    }

    /// Returns a node that passes handshakes on to a key.
    pub(super) fn route(&self, target: &Id<32>) -> Option<SocketAddrV4> {
        self.routes.get(target).map(|route| route.relay)
    }

    pub(super) fn len(&self) -> usize {
        self.routes.len()
    }

    pub(super) fn tidy(&mut self, now: Instant) {
        self.routes.expire(now);
    }

    /// Passes a handshake on, or returns it where it is for a key of ours.
    pub(super) fn handshake(
        &mut self,
        now: Instant,
        engine: &mut Engine,
        inbound: &Inbound<'_>,
    ) -> Option<Knock> {
        let (target, value) = inbound.request.target.zip(inbound.request.value)?;
        let envelope = HandshakeEnvelope::decode(value).ok()?;
        engine.stats.served.handshake += 1;
        if let Some(key) = self.own.get(&target)
            && envelope.mode != Mode::FromServer
        {
            return knock::handshake(*key, inbound, &envelope);
        }
        let route = self.routes.refresh(now, &target).map(|route| route.relay);
        let from = Some(inbound.from);
        let (hop, to, next) = match envelope.mode {
            Mode::FromClient => {
                let next = HandshakeEnvelope { mode: Mode::FromRelay, peer: from, relay: None, ..envelope };
                (Hop::Request, envelope.relay.or(route), next)
            }
            Mode::FromRelay => {
                let next = HandshakeEnvelope { mode: Mode::FromSecondRelay, relay: from, ..envelope };
                (Hop::Request, route, next)
            }
            Mode::FromServer => {
                let next = HandshakeEnvelope { mode: Mode::Reply, peer: from, relay: None, ..envelope };
                (Hop::Response, envelope.peer, next)
            }
            Mode::FromSecondRelay | Mode::Reply | Mode::Unknown(_) => return None,
        };
        if let Some(to) = to {
            self.scratch.clear();
            next.encode(&mut self.scratch);
            self.pass(now, engine, inbound, (hop, to));
        } else if envelope.mode == Mode::FromClient {
            // The client learns that this node knows no way, and who may.
            engine.reply(now, inbound, Answer { extras: Extras::Closer, ..Answer::default() });
        }
        None
    }

    /// Passes a hole punch on, or returns it where it is for a key of ours.
    pub(super) fn holepunch(
        &mut self,
        now: Instant,
        engine: &mut Engine,
        inbound: &Inbound<'_>,
    ) -> Option<Knock> {
        let (target, value) = inbound.request.target.zip(inbound.request.value)?;
        let envelope = HolepunchEnvelope::decode(value).ok()?;
        engine.stats.served.holepunch += 1;
        if envelope.mode == Mode::FromRelay {
            return knock::holepunch(*self.own.get(&target)?, inbound, &envelope);
        }
        let (hop, to, mode) = match envelope.mode {
            Mode::FromClient => {
                let route = self.routes.refresh(now, &target).map(|route| route.relay);
                (Hop::Request, envelope.peer.or(route), Mode::FromRelay)
            }
            Mode::FromServer => (Hop::Response, envelope.peer, Mode::Reply),
            Mode::FromRelay | Mode::FromSecondRelay | Mode::Reply | Mode::Unknown(_) => return None,
        };
        if let Some(to) = to {
            self.scratch.clear();
            HolepunchEnvelope { mode, peer: Some(inbound.from), ..envelope }.encode(&mut self.scratch);
            self.pass(now, engine, inbound, (hop, to));
        }
        None
    }

    fn pass(&self, now: Instant, engine: &mut Engine, via: &Inbound<'_>, (hop, to): (Hop, SocketAddrV4)) {
        if !may_pass(*via.from.ip(), to) || engine.is_own(to) {
            return;
        }
        match hop {
            Hop::Request => engine.relay_request(now, via, to, &self.scratch),
            Hop::Response => engine.relay_response(now, via, to, &self.scratch),
        }
    }
}

/// As what an envelope goes on.
#[derive(Clone, Copy, Debug)]
enum Hop {
    Request,
    Response,
}

/// Tells whether a stranger may have us send to an address that it names: not into a network of ours unless
/// it is there too, and not to what is no host. The reference sends anywhere.
pub(super) fn may_pass(from: Ipv4Addr, to: SocketAddrV4) -> bool {
    let inside = |ip: Ipv4Addr| ip.is_loopback() || ip.is_private() || ip.is_link_local();
    let ip = *to.ip();
    let is_host = !(ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast()) && to.port() != 0;
    is_host && (!inside(ip) || inside(from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_cannot_aim_at_the_networks_behind_us() {
        let pass = |from: &str, to: &str| may_pass(from.parse().unwrap(), to.parse().unwrap());
        assert!(pass("8.8.8.8", "9.9.9.9:1"));
        assert!(pass("127.0.0.1", "127.0.0.1:1"));
        assert!(pass("192.168.1.2", "10.0.0.1:1"));
        for refused in [
            "127.0.0.1:1",
            "10.0.0.1:1",
            "192.168.0.1:1",
            "169.254.0.1:1",
            "0.0.0.0:1",
            "9.9.9.9:0",
            "224.0.0.1:1",
        ] {
            assert!(!pass("8.8.8.8", refused), "{refused}");
        }
    }
}
