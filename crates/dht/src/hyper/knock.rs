//! Requests that reach this node through the network for a key that it serves (`hyperdht lib/router.js`).

use std::net::SocketAddrV4;
use std::time::Instant;

use wire::hyper::{HandshakeEnvelope, HolepunchEnvelope, Mode};
use wire::{Command, Id, PublicKey, Request, SocketId};

use super::router::may_pass;
use crate::engine::{Answer, Engine, Inbound};

/// A step of somebody's connection to a key that this node serves. What it carries is opaque here;
/// [`Hyper::answer`](super::Hyper::answer) sends an answer back the way it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Knock {
    /// The key that is wanted.
    pub key: PublicKey,
    /// The step.
    pub step: Step,
    /// Where the client is, as the node that passed this on saw it; or as we do, where nobody did.
    pub client: SocketAddrV4,
    /// The node that passed it on; none where the client asked us itself.
    pub relay: Option<SocketAddrV4>,
    /// This host's address as the sender knew it.
    pub seen_as: SocketAddrV4,
    /// The socket that it arrived at.
    pub at: SocketId,
    /// The way back.
    pub way: Way,
}

/// What a [`Knock`] carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The first message of a handshake.
    Handshake {
        /// A Noise message.
        noise: Vec<u8>,
    },
    /// A message about hole punching.
    Holepunch {
        /// The number that the server gave the handshake.
        id: u64,
        /// A sealed message.
        payload: Vec<u8>,
    },
}

/// The way back to whoever knocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    tid: u16,
    command: Command,
    target: Id<32>,
    from: SocketAddrV4,
    at: SocketId,
    mode: Mode,
    peer: Option<SocketAddrV4>,
    relay: Option<SocketAddrV4>,
}

impl Way {
    /// Sends an answer. Where the client is behind a relay, it leaves from `from`: the address that the relay
    /// sees is the one that the client will use. The client itself hears from the socket that it asked.
    pub(super) fn answer(&self, now: Instant, engine: &mut Engine, from: Option<SocketId>, message: &[u8]) {
        let (tid, command, target) = (self.tid, self.command, Some(self.target));
        let request = Request { tid, to: self.from, id: None, token: None, command, target, value: None };
        let mut value = Vec::with_capacity(message.len() + 16);
        let is_handshake = matches!(self.step_kind(), Kind::Handshake);
        if is_handshake && self.mode == Mode::FromClient {
            HandshakeEnvelope { mode: Mode::Reply, noise: message, peer: None, relay: None }
                .encode(&mut value);
            let inbound = Inbound { from: self.from, at: self.at, request };
            return engine.reply(now, &inbound, Answer { value: Some(&value), ..Answer::default() });
        }
        if is_handshake {
            let envelope =
                HandshakeEnvelope { mode: Mode::FromServer, noise: message, peer: self.peer, relay: None };
            envelope.encode(&mut value);
        } else {
            let envelope =
                HolepunchEnvelope { mode: Mode::FromServer, id: 0, payload: message, peer: self.peer };
            envelope.encode(&mut value);
        }
        let to = self.relay.unwrap_or(self.from);
        if may_pass(*self.from.ip(), to) {
            let inbound = Inbound { from: self.from, at: from.unwrap_or(self.at), request };
            engine.relay_request(now, &inbound, to, &value);
        }
    }

    const fn step_kind(&self) -> Kind {
        match self.command {
            wire::hyper::PEER_HANDSHAKE => Kind::Handshake,
            _ => Kind::Holepunch,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Handshake,
    Holepunch,
}

/// Reads a handshake for a key of ours; what makes no sense is `None`.
pub(super) fn handshake(
    key: PublicKey,
    inbound: &Inbound<'_>,
    envelope: &HandshakeEnvelope<'_>,
) -> Option<Knock> {
    let (client, relay) = match envelope.mode {
        Mode::FromClient => (inbound.from, None),
        Mode::FromRelay | Mode::FromSecondRelay => (envelope.peer?, Some(inbound.from)),
        Mode::FromServer | Mode::Reply | Mode::Unknown(_) => return None,
    };
    let through = envelope.relay.filter(|_| envelope.mode == Mode::FromSecondRelay);
    let way = way(inbound, envelope.mode, envelope.peer, through)?;
    let step = Step::Handshake { noise: envelope.noise.to_vec() };
    Some(Knock { key, step, client, relay, seen_as: inbound.request.to, at: inbound.at, way })
}

/// Reads a hole-punch message for a key of ours.
pub(super) fn holepunch(
    key: PublicKey,
    inbound: &Inbound<'_>,
    envelope: &HolepunchEnvelope<'_>,
) -> Option<Knock> {
    if envelope.mode != Mode::FromRelay {
        return None;
    }
    let client = envelope.peer?;
    let way = way(inbound, envelope.mode, envelope.peer, None)?;
    let step = Step::Holepunch { id: envelope.id, payload: envelope.payload.to_vec() };
    let relay = Some(inbound.from);
    Some(Knock { key, step, client, relay, seen_as: inbound.request.to, at: inbound.at, way })
}

fn way(
    inbound: &Inbound<'_>,
    mode: Mode,
    peer: Option<SocketAddrV4>,
    relay: Option<SocketAddrV4>,
) -> Option<Way> {
    let (tid, command, target) = (inbound.request.tid, inbound.request.command, inbound.request.target?);
    Some(Way { tid, command, target, from: inbound.from, at: inbound.at, mode, peer, relay })
}
