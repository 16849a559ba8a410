//! The server's side of a hole punch (`hyperdht lib/server.js`).

use std::collections::VecDeque;
use std::net::SocketAddrV4;
use std::time::Instant;

use dht::{Knock, Step, Way};
use peer::{Analysis, LocalReach, RemoteNat, Reopening, Session, Stability};
use wire::hyper::{Firewall, HolepunchPayload};
use wire::{Addrs, SocketId, pack_addrs};

use crate::event::SlotId;
use crate::ground::{Ground, Holder};
use crate::hole::Hole;

/// Messages that wait until our NAT is known; a client sends one after the other.
const MESSAGES_MAX: usize = 4;

const ABORTED: u64 = 1;
const TRY_LATER: u64 = 3;

/// Which socket the client is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Show {
    /// The punch's own.
    Own,
    /// The server socket, as the client seems to be in our network.
    Server,
}

/// How long to wait for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    Same,
    /// Probes are under way.
    Longer,
}

#[derive(Debug)]
pub(super) struct Punch {
    pub(super) hole: Hole,
    show: Show,
    round: u64,
    messages: VecDeque<Message>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Going,
    Over,
}

/// What a client asked, without what was taken over from it at once.
#[derive(Debug)]
struct Message {
    way: Way,
    client: SocketAddrV4,
    round: u64,
    punching: bool,
    remote_address: Option<SocketAddrV4>,
    /// To be given back.
    token: Option<[u8; 32]>,
    /// It came through a relay that we announced.
    through_own_relay: bool,
}

impl Punch {
    pub(super) fn new(
        now: Instant,
        ground: &mut Ground,
        (id, session): (SlotId, &Session),
        show: Show,
    ) -> Self {
        let hole = Hole::new(now, ground, (Holder::Slot(id), LocalReach::Unknown), session);
        Self { hole, show, round: 0, messages: VecDeque::new(), state: State::Going }
    }

    /// The socket that answers leave from, so that the client learns its address; none while it is not open.
    pub(super) const fn socket_to_show(&self) -> Option<SocketId> {
        match self.show {
            Show::Own => self.hole.puncher.socket(),
            Show::Server => None,
        }
    }

    /// Takes a message of the client.
    pub(super) fn handle_message(
        &mut self,
        now: Instant,
        ground: &mut Ground,
        (knock, through_own_relay): (Knock, bool),
    ) -> Patience {
        let Step::Holepunch { payload, .. } = &knock.step else { return Patience::Same };
        let Some(message) = self.hole.open(payload) else { return Patience::Same };
        let Some(payload) = message.payload() else { return Patience::Same };
        if self.state == State::Over || self.messages.len() >= MESSAGES_MAX {
            return Patience::Same;
        }
        if payload.error != 0 {
            self.stop(now, ground);
            return Patience::Same;
        }
        if let (Some(relay), Some(socket)) = (knock.relay, self.hole.puncher.socket())
            && knock.at == socket
        {
            self.hole.puncher.handle_sample(now, socket, relay, knock.seen_as);
        }
        if payload.round >= self.round {
            self.round = payload.round;
            let host = *knock.client.ip();
            let echoed = through_own_relay && payload.remote_token == Some(self.hole.token(host));
            let addresses: Vec<_> = payload.addresses.iter().flat_map(Addrs::iter).take(8).collect();
            self.hole.puncher.update_remote(
                now,
                RemoteNat {
                    firewall: payload.firewall,
                    addresses: &addresses,
                    punching: payload.punching,
                    verified: echoed.then_some(host),
                },
            );
        }
        self.messages.push_back(Message {
            way: knock.way,
            client: knock.client,
            round: payload.round,
            punching: payload.punching,
            remote_address: payload.remote_address,
            token: payload.token,
            through_own_relay,
        });
        self.advance(now, ground)
    }

    /// Goes on as far as it can: a message is answered once our NAT is known.
    pub(super) fn advance(&mut self, now: Instant, ground: &mut Ground) -> Patience {
        let mut patience = Patience::Same;
        // A server learns of its path by the packets that arrive; that its probes are used up changes nothing.
        while self.hole.drive(now, ground).is_some() {}
        while let Some(message) = self.messages.front() {
            let Analysis::Done { stability, .. } = self.hole.puncher.analyzed() else { break };
            if stability == Stability::Unstable
                && !message.punching
                && self.hole.puncher.reopen(now) == Reopening::Started
            {
                while self.hole.drive(now, ground).is_some() {}
                continue;
            }
            let Some(message) = self.messages.pop_front() else { break };
            if self.answer(now, ground, &message) == Patience::Longer {
                patience = Patience::Longer;
            }
            while self.hole.drive(now, ground).is_some() {}
        }
        patience
    }

    fn answer(&mut self, now: Instant, ground: &mut Ground, message: &Message) -> Patience {
        let Analysis::Done { firewall, stability } = self.hole.puncher.analyzed() else {
            return Patience::Same;
        };
        let puncher = &mut self.hole.puncher;
        if let Some(own) = message.remote_address {
            puncher.answer_opening(now, message.client, own);
        }
        let mut patience = Patience::Same;
        if message.punching {
            let randoms =
                [firewall, puncher.remote_firewall()].into_iter().filter(|side| *side >= Firewall::Random);
            let lucky = randoms.count() == 1;
            if lucky && !self.hole.take_turn(now, ground) {
                ground.punches.try_later += 1;
                self.refuse(now, ground, (message, TRY_LATER));
                return patience;
            }
            if self.hole.puncher.punch(now).is_err() {
                self.refuse(now, ground, (message, ABORTED));
                return patience;
            }
            patience = Patience::Longer;
        } else if stability == Stability::Unstable && firewall == Firewall::Unknown {
            self.refuse(now, ground, (message, ABORTED));
            return patience;
        }
        if firewall != Firewall::Unknown {
            self.hole.puncher.freeze();
        }
        let packed = pack_addrs(self.hole.puncher.addresses().iter().copied());
        let addresses = Some(Addrs::from_packed(&packed)).filter(|addresses| !addresses.is_empty());
        let token = message.through_own_relay.then(|| self.hole.token(*message.client.ip()));
        let payload = HolepunchPayload {
            error: 0,
            firewall,
            round: message.round,
            connected: false,
            punching: self.hole.puncher.is_punching(),
            addresses,
            remote_address: None,
            token,
            remote_token: message.token,
        };
        // The probe that the client waits for leaves before the answer.
        while self.hole.drive(now, ground).is_some() {}
        let sealed = self.hole.seal(ground, &payload);
        ground.hyper.answer(now, &message.way, self.hole.puncher.socket(), &sealed);
        patience
    }

    /// Says that there will be no punch, and why.
    fn refuse(&mut self, now: Instant, ground: &mut Ground, (message, error): (&Message, u64)) {
        let payload = HolepunchPayload {
            error,
            firewall: Firewall::Unknown,
            round: message.round,
            connected: false,
            punching: false,
            addresses: None,
            remote_address: None,
            token: None,
            remote_token: None,
        };
        let sealed = self.hole.seal(ground, &payload);
        let active = ground.hyper.active();
        ground.hyper.answer(now, &message.way, Some(active), &sealed);
        self.stop(now, ground);
    }

    fn stop(&mut self, now: Instant, ground: &mut Ground) {
        self.state = State::Over;
        self.hole.end(now, ground, None);
    }
}
