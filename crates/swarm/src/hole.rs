//! A hole punch with what it needs of the rest: sockets, answers of nodes, sealed messages.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Instant;

use dht::{Outcome, Task};
use peer::{LocalReach, PunchCommand, PunchConfig, PunchEvent, PunchSeal, Puncher, Session, Side, Strategy};
use rand::RngExt as _;
use wire::hyper::HolepunchPayload;
use wire::{Command, SocketId};

use crate::ground::{Errand, Ground, Holder};
use crate::survey::Way;

#[derive(Debug)]
pub(crate) struct Hole {
    holder: Holder,
    pub(crate) puncher: Puncher,
    seal: PunchSeal,
    asked: BTreeMap<SocketId, Asked>,
    turn: Turn,
    /// What probes were begun with, if they were.
    begun: Option<Strategy>,
}

/// The nodes that were asked how they see a socket.
#[derive(Debug, Default)]
struct Asked {
    nodes: BTreeSet<SocketAddrV4>,
    waiting: usize,
}

/// Whether the node's turn to punch at random is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    No,
    Ours,
}

/// A sealed message that was opened.
#[derive(Debug)]
pub(crate) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    pub(crate) fn payload(&self) -> Option<HolepunchPayload<'_>> {
        HolepunchPayload::decode(&self.bytes).ok()
    }
}

impl Hole {
    pub(crate) fn new(
        now: Instant,
        ground: &mut Ground,
        (holder, reach): (Holder, LocalReach),
        session: &Session,
    ) -> Self {
        let seal = PunchSeal::new(session, ground.secret());
        let seed = ground.rng.random();
        let side = match holder {
            Holder::Dial(_) => Side::Initiator,
            Holder::Slot(_) => Side::Responder,
        };
        let puncher = Puncher::new(now, side, reach, PunchConfig::default(), seed);
        Self { holder, puncher, seal, asked: BTreeMap::new(), turn: Turn::No, begun: None }
    }

    /// Does what the punch asks for, and returns what happened to it.
    pub(crate) fn drive(&mut self, now: Instant, ground: &mut Ground) -> Option<PunchEvent> {
        if self.begun.is_none() && self.puncher.is_punching() {
            self.begun = self.puncher.strategy().ok();
            if let Some(strategy) = self.begun {
                ground.punches.count(strategy);
            }
        }
        while let Some(command) = self.puncher.poll_command() {
            match command {
                PunchCommand::Open => {
                    if ground.open_socket(self.holder).is_none() {
                        self.puncher.handle_refused(now);
                    }
                }
                PunchCommand::Close(socket) => {
                    self.asked.remove(&socket);
                    ground.close_socket(socket);
                }
                PunchCommand::Sample { socket, count, skip_recent } => {
                    self.sample(now, ground, (socket, count, skip_recent));
                }
            }
        }
        while let Some(probe) = self.puncher.poll_transmit() {
            ground.probe(probe);
        }
        self.puncher.poll_event()
    }

    fn sample(&mut self, now: Instant, ground: &mut Ground, (socket, count, skip): (SocketId, usize, usize)) {
        /// Below this, leaving nodes out would leave too few.
        const PLENTY: usize = 8;
        let recent = ground.hyper.recent(2 * (count + skip) + PLENTY);
        let skip = if recent.len() >= PLENTY { skip } else { 0 };
        let asked = self.asked.entry(socket).or_default();
        let fresh = recent.into_iter().chain(ground.hyper.seeds().iter().copied()).skip(skip);
        let nodes: Vec<_> = fresh.filter(|node| asked.nodes.insert(*node)).take(count).collect();
        asked.waiting += nodes.len();
        if nodes.is_empty() {
            self.puncher.handle_sampling_ended(now, socket);
        }
        for to in nodes {
            let (command, target, value) = (Command::PING, None, None);
            let task = Task::Call { to, command, target, value, sending: Ground::once(socket) };
            ground.send(now, task, Errand::Sample(self.holder, socket));
        }
    }

    pub(crate) fn handle_sample(&mut self, now: Instant, socket: SocketId, outcome: &Outcome) {
        if let Outcome::Answered(answered) = outcome {
            self.puncher.handle_sample(now, socket, answered.from, answered.seen_as);
        }
        if let Some(asked) = self.asked.get_mut(&socket) {
            asked.waiting = asked.waiting.saturating_sub(1);
            if asked.waiting == 0 {
                self.puncher.handle_sampling_ended(now, socket);
            }
        }
    }

    pub(crate) fn seal(&self, ground: &mut Ground, payload: &HolepunchPayload<'_>) -> Vec<u8> {
        let mut sealed = Vec::new();
        self.seal.seal(ground.rng.random(), payload, &mut sealed);
        sealed
    }

    pub(crate) fn open(&self, sealed: &[u8]) -> Option<Message> {
        Some(Message { bytes: self.seal.open(sealed).ok()? })
    }

    /// What whoever receives messages at a host can echo.
    pub(crate) fn token(&self, host: Ipv4Addr) -> [u8; 32] {
        self.seal.token(host)
    }

    /// Takes the node's turn to punch at random.
    pub(crate) fn take_turn(&mut self, now: Instant, ground: &mut Ground) -> bool {
        if self.turn == Turn::No && ground.limiter.begin(now).is_ok() {
            self.turn = Turn::Ours;
        }
        self.turn == Turn::Ours
    }

    /// Ends the punch, and keeps the socket of the path that was found, if it is one of its own.
    pub(crate) fn end(&mut self, now: Instant, ground: &mut Ground, kept: Option<SocketId>) {
        match kept {
            Some(socket) => {
                self.puncher.settle_on(now, socket);
                ground.ways.insert(socket, Way::new(self.begun));
            }
            None => self.puncher.abandon(),
        }
        // What happens to a punch that is over is no news.
        let _news = self.drive(now, ground);
        if self.turn == Turn::Ours {
            self.turn = Turn::No;
            ground.limiter.end(now);
        }
        let holder = self.holder;
        ground.cancel_all(now, |errand| matches!(errand, Errand::Sample(of, _) if *of == holder));
    }
}
