//! The client's side of a hole punch (`hyperdht lib/connect.js`).

use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use dht::{Answered, Outcome, Task};
use peer::{Analysis, LocalReach, PunchEvent, RemoteNat, Reopening, Session, Stability, Unpunchable};
use udx::Path;
use wire::hyper::{Firewall, HolepunchEnvelope, HolepunchPayload, Mode, PEER_HOLEPUNCH};
use wire::{Addrs, Id, SocketId, pack_addrs};

use crate::event::{DialError, DialId};
use crate::ground::{Errand, Ground, Holder};
use crate::hole::Hole;

/// How long a server that does not know its NAT yet may take before it is asked again.
const SERVER_THINKS: Duration = Duration::from_secs(1);
/// Rounds of messages at most, whatever the server answers.
const ROUNDS_MAX: u64 = 8;

const TRY_LATER: u64 = 3;

/// How a server can be punched to.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) dial: DialId,
    pub(super) target: Id<32>,
    /// The server's number for the handshake.
    pub(super) id: u64,
    /// The node that the handshake went through.
    pub(super) via: SocketAddrV4,
    /// The server as that node saw it.
    pub(super) server: SocketAddrV4,
    /// The server's own relays, each with the server's address as it sees it.
    pub(super) relays: Vec<(SocketAddrV4, SocketAddrV4)>,
}

#[derive(Debug)]
pub(super) struct Punch {
    offer: Offer,
    pub(super) hole: Hole,
    phase: Phase,
    round: u64,
    /// What the server gave us to echo.
    token: Option<[u8; 32]>,
    repeats: u8,
    reopened: Reopened,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Waits for its socket.
    Opening,
    /// The server was asked who it is.
    Asking,
    /// The server does not know its NAT yet.
    ServerThinks(Instant),
    /// We do not know ours.
    Analyzing,
    /// The server was told to punch.
    Telling,
    Punching,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reopened {
    No,
    Yes,
}

/// What became of a punch.
#[derive(Debug)]
pub(super) enum PunchStep {
    Going,
    Opened(Path),
    Failed(DialError),
}

impl Punch {
    pub(super) fn new(now: Instant, ground: &mut Ground, session: &Session, offer: Offer) -> Self {
        let hole = Hole::new(now, ground, (Holder::Dial(offer.dial), LocalReach::Unknown), session);
        Self { offer, hole, phase: Phase::Opening, round: 0, token: None, repeats: 1, reopened: Reopened::No }
    }

    /// Goes on as far as it can.
    pub(super) fn advance(&mut self, now: Instant, ground: &mut Ground) -> PunchStep {
        loop {
            match self.hole.drive(now, ground) {
                Some(PunchEvent::Opened { socket, remote }) => {
                    return PunchStep::Opened(Path { socket, remote: remote.into() });
                }
                Some(PunchEvent::Failed(_)) => return PunchStep::Failed(DialError::PunchAborted),
                Some(PunchEvent::Analyzed) => {}
                None => break,
            }
        }
        match self.phase {
            Phase::Opening if self.hole.puncher.socket().is_some() => {
                self.hole.puncher.fast_open(now, self.offer.server);
                self.ask(now, ground);
                // The probe that opens our NAT leaves before the message that makes the server answer it.
                self.advance(now, ground)
            }
            Phase::ServerThinks(until) if until <= now => {
                self.phase = Phase::Analyzing;
                self.advance(now, ground)
            }
            Phase::Analyzing => self.decide(now, ground),
            Phase::Opening | Phase::Asking | Phase::ServerThinks(_) | Phase::Telling | Phase::Punching => {
                PunchStep::Going
            }
        }
    }

    /// Asks the server for its NAT, through the relay that it announced.
    fn ask(&mut self, now: Instant, ground: &mut Ground) {
        let own = self.offer.relays.iter().find(|(relay, _)| *relay == self.offer.via);
        let (to, peer) =
            own.or_else(|| self.offer.relays.first()).copied().unwrap_or((self.offer.via, self.offer.server));
        let payload = HolepunchPayload { remote_address: Some(self.offer.server), ..self.payload() };
        self.phase = Phase::Asking;
        self.send(now, ground, (to, peer), payload);
    }

    /// Tells the server to punch, through the node that the handshake went through; what the server gave us
    /// goes back another way than it came.
    fn tell(&mut self, now: Instant, ground: &mut Ground) {
        let token = self.hole.token(*self.offer.server.ip());
        let payload = HolepunchPayload {
            punching: true,
            token: Some(token),
            remote_token: self.token,
            ..self.payload()
        };
        self.phase = Phase::Telling;
        self.send(now, ground, (self.offer.via, self.offer.server), payload);
    }

    fn payload(&self) -> HolepunchPayload<'static> {
        HolepunchPayload {
            error: 0,
            firewall: self.hole.puncher.firewall(),
            round: self.round,
            connected: false,
            punching: false,
            addresses: None,
            remote_address: None,
            token: None,
            remote_token: None,
        }
    }

    fn send(
        &mut self,
        now: Instant,
        ground: &mut Ground,
        (to, peer): (SocketAddrV4, SocketAddrV4),
        payload: HolepunchPayload<'_>,
    ) {
        let packed = pack_addrs(self.hole.puncher.addresses().iter().copied());
        let addresses = Some(Addrs::from_packed(&packed)).filter(|addresses| !addresses.is_empty());
        let sealed = self.hole.seal(ground, &HolepunchPayload { addresses, ..payload });
        self.round += 1;
        let mut value = Vec::new();
        let (mode, id) = (Mode::FromClient, self.offer.id);
        HolepunchEnvelope { mode, id, payload: &sealed, peer: Some(peer) }.encode(&mut value);
        let from = self.hole.puncher.socket();
        let is_lucky = payload.punching && self.randoms() == 1;
        let sending = if is_lucky { Ground::unhurried(from) } else { Ground::hurried(from) };
        let (command, target, value) = (PEER_HOLEPUNCH, Some(self.offer.target), Some(value));
        let task = Task::Call { to, command, target, value, sending };
        ground.send(now, task, Errand::Punch(self.offer.dial, to));
    }

    /// Takes the server's answer, or its silence.
    pub(super) fn handle_answer(
        &mut self,
        now: Instant,
        ground: &mut Ground,
        to: SocketAddrV4,
        outcome: &Outcome,
    ) -> PunchStep {
        let Outcome::Answered(answered) = outcome else { return PunchStep::Failed(DialError::PunchAborted) };
        match self.read(now, to, answered) {
            Ok(()) => self.advance(now, ground),
            Err(error) => PunchStep::Failed(error),
        }
    }

    fn read(&mut self, now: Instant, to: SocketAddrV4, answered: &Answered) -> Result<(), DialError> {
        let aborted = DialError::PunchAborted;
        let value = answered.value.as_deref().filter(|_| answered.from == to).ok_or(aborted)?;
        let envelope = HolepunchEnvelope::decode(value).map_err(|_| aborted)?;
        let peer = envelope.peer.filter(|_| envelope.mode == Mode::Reply).ok_or(aborted)?;
        let message = self.hole.open(envelope.payload).ok_or(aborted)?;
        let payload = message.payload().ok_or(aborted)?;
        if let Some(socket) = self.hole.puncher.socket() {
            self.hole.puncher.handle_sample(now, socket, to, answered.seen_as);
        }
        if payload.error != 0 {
            return Err(if payload.error == TRY_LATER { DialError::NotPunching } else { aborted });
        }
        let server = *self.offer.server.ip();
        let verified = payload.remote_token.filter(|token| *token == self.hole.token(server)).map(|_| server);
        let addresses: Vec<_> = payload.addresses.iter().flat_map(Addrs::iter).take(8).collect();
        let (firewall, punching) = (payload.firewall, payload.punching);
        self.hole
            .puncher
            .update_remote(now, RemoteNat { firewall, addresses: &addresses, punching, verified });
        self.token = payload.token.or(self.token);
        if to == self.offer.via && peer != self.offer.server {
            // The server moved to another socket.
            self.offer.server = peer;
            self.hole.puncher.fast_open(now, peer);
        }
        match self.phase {
            Phase::Asking if firewall == Firewall::Unknown => {
                self.phase = Phase::ServerThinks(now + SERVER_THINKS);
                Ok(())
            }
            Phase::Asking => {
                self.phase = Phase::Analyzing;
                Ok(())
            }
            Phase::Telling if !punching => Err(DialError::NotPunching),
            Phase::Telling => {
                self.phase = Phase::Punching;
                self.hole.puncher.punch(now).map_err(|error| match error {
                    Unpunchable::BothRandom => DialError::DoubleRandom,
                    _ => DialError::NotPunchable,
                })
            }
            Phase::Opening | Phase::ServerThinks(_) | Phase::Analyzing | Phase::Punching => Ok(()),
        }
    }

    /// Both sides are known as far as they will be.
    fn decide(&mut self, now: Instant, ground: &mut Ground) -> PunchStep {
        let Analysis::Done { firewall, stability } = self.hole.puncher.analyzed() else {
            return PunchStep::Going;
        };
        if stability == Stability::Unstable && self.hole.puncher.reopen(now) == Reopening::Started {
            self.reopened = Reopened::Yes;
            return self.advance(now, ground);
        }
        let remote = self.hole.puncher.remote_firewall();
        let moved = self.reopened == Reopened::Yes && stability == Stability::Stable;
        if (moved || remote == Firewall::Unknown || self.token.is_none())
            && self.repeats > 0
            && self.round < ROUNDS_MAX
        {
            self.repeats -= 1;
            self.reopened = Reopened::No;
            self.phase = Phase::Opening;
            return self.advance(now, ground);
        }
        if firewall == Firewall::Unknown || remote == Firewall::Unknown {
            return PunchStep::Failed(DialError::NatUnknown);
        }
        if stability == Stability::Unstable {
            return PunchStep::Failed(DialError::DoubleRandom);
        }
        if self.randoms() == 1 && !self.hole.take_turn(now, ground) {
            return PunchStep::Failed(DialError::PunchAborted);
        }
        self.hole.puncher.freeze();
        self.tell(now, ground);
        self.advance(now, ground)
    }

    /// Counts the sides that show each destination another port.
    fn randoms(&self) -> usize {
        let sides = [self.hole.puncher.firewall(), self.hole.puncher.remote_firewall()];
        sides.into_iter().filter(|side| *side >= Firewall::Random).count()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let thinks = match self.phase {
            Phase::ServerThinks(until) => Some(until),
            Phase::Opening | Phase::Asking | Phase::Analyzing | Phase::Telling | Phase::Punching => None,
        };
        self.hole.puncher.poll_timeout().into_iter().chain(thinks).min()
    }

    /// Ends the punch; the socket of a path that it found stays.
    pub(super) fn end(&mut self, now: Instant, ground: &mut Ground, kept: Option<SocketId>) {
        self.hole.end(now, ground, kept);
    }
}
