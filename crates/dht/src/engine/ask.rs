use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use rand::RngExt;
use wire::{Command, Id, Request, Response, SocketId, Token, Transmit, hyper};

use super::upkeep::Sighting;
use super::walks::WalkId;
use super::{Engine, Reply, Signal};
use crate::config::Patience;
use crate::hyper::Purpose;
use crate::key::node_id;
use crate::table::Node;

/// Requests of our own at one time, sent or waiting for room in the window. One in eight transaction ids is
/// then taken, so a free one is soon found.
const ASKED_MAX: usize = 8192;

/// A request to make.
#[derive(Clone, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) to: SocketAddrV4,
    pub(crate) command: Command,
    pub(crate) target: Option<Id<32>>,
    pub(crate) token: Option<Token>,
    pub(crate) value: Option<&'a [u8]>,
    /// The active socket, where none is named.
    pub(crate) at: Option<SocketId>,
    pub(crate) retries: u8,
    /// The plain request's wait, where none is named.
    pub(crate) patience: Option<Patience>,
    pub(crate) urgency: Urgency,
}

impl Ask<'_> {
    pub(crate) const fn new(to: SocketAddrV4, command: Command) -> Self {
        let (target, token, value, at, patience) = (None, None, None, None, None);
        Self { to, command, target, token, value, at, retries: 3, patience, urgency: Urgency::Windowed }
    }
}

/// Whether a request waits for room in the congestion window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    Windowed,
    Forced,
}

/// Why a request of ours has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AskError {
    TimedOut,
    /// Too many requests of our own are under way.
    Full,
    Suspended,
    Canceled,
}

/// Who waits for an answer.
#[derive(Debug)]
pub(crate) enum Owner {
    Part(Purpose),
    Walk(WalkId),
    /// A walk asks about the surroundings of its target.
    Branch(WalkId),
    /// Upkeep pings a node of the table.
    Keepalive,
    /// Somebody said that a node of the table is down.
    Check,
    /// A node of the table is tried; the newcomer takes its place if it is gone.
    Swap {
        incumbent: Id<32>,
        newcomer: Box<Node<32>>,
    },
    /// A node that may enter the table once it answered.
    Newcomer,
    /// A host that has to prove its address.
    Challenge,
    /// Nobody: a down hint.
    Nobody,
}

/// A request of ours without an answer yet.
#[derive(Debug)]
pub(super) struct Asked {
    to: SocketAddrV4,
    at: SocketId,
    command: Command,
    packet: Box<[u8]>,
    pub(super) owner: Owner,
    created: Instant,
    sendings: u8,
    retries: u8,
    patience: Patience,
}

impl Engine {
    /// Makes a request; `owner` will hear what becomes of it.
    pub(crate) fn ask(&mut self, now: Instant, ask: &Ask<'_>, owner: Owner) {
        self.count_created(ask.command);
        if self.suspended || self.asked.len() >= ASKED_MAX {
            self.stats.requests.active -= 1;
            let error = if self.suspended { AskError::Suspended } else { AskError::Full };
            return self.fail(owner, ask.to, error);
        }
        let tid = self.free_tid();
        let at = ask.at.unwrap_or_else(|| self.active());
        let id = self.id().filter(|_| at == SocketId::SERVER);
        let (to, token, command, target, value) = (ask.to, ask.token, ask.command, ask.target, ask.value);
        let mut packet = Vec::with_capacity(96);
        Request { tid, to, id, token, command, target, value }.encode(&mut packet);
        let patience = ask.patience.unwrap_or(Patience::Fixed(self.timing.request));
        let packet = packet.into();
        let asked = Asked {
            to,
            at,
            command,
            packet,
            owner,
            created: now,
            sendings: 0,
            retries: ask.retries,
            patience,
        };
        self.asked.insert(tid, asked);
        self.window.catch_up(now);
        if ask.urgency == Urgency::Windowed && (self.window.is_full() || !self.waiting.is_empty()) {
            self.waiting.push_back(tid);
        } else {
            self.send(now, tid);
        }
    }

    /// Makes a request for one of the parts around the engine.
    pub(crate) fn ask_for(&mut self, now: Instant, ask: &Ask<'_>, purpose: Purpose) {
        self.ask(now, ask, Owner::Part(purpose));
    }

    pub(super) fn handle_response(
        &mut self,
        now: Instant,
        from: SocketAddrV4,
        at: SocketId,
        response: &Response<'_>,
    ) {
        // Only relayed commands may be answered by another than the one asked; the reference lets any be.
        let expected = self.asked.get(&response.tid).is_some_and(|asked| {
            asked.sendings > 0
                && (asked.to == from
                    || matches!(asked.command, hyper::PEER_HANDSHAKE | hyper::PEER_HOLEPUNCH))
        });
        let Some(asked) = expected.then(|| self.asked.remove(&response.tid)).flatten() else {
            self.stats.rejected += 1;
            return;
        };
        self.timers.cancel(response.tid);
        self.window.end();
        self.count_answered(asked.command);
        self.guard.prove(now, *from.ip());
        self.answered = Some(now);
        let elapsed = now.saturating_duration_since(asked.created);
        self.stats.round_trips.add(elapsed);
        // Which of several sendings was answered, nobody knows. Where nothing else is known, the time since the
        // first is a safe guess; without it a path slower than our patience would never be measured.
        if asked.sendings == 1 || self.rtt.smoothed().is_none() {
            self.rtt.add(elapsed);
        }
        let id = response.id.filter(|id| *id == node_id(from));
        self.meet(now, Sighting { from, at, id, to: response.to });
        match asked.owner {
            Owner::Part(purpose) => {
                let reply = Reply::new(from, at, id, response, elapsed);
                self.signals.push_back(Signal::Answered { purpose, reply });
            }
            Owner::Walk(walk) => self.walk_answered(now, walk, Reply::new(from, at, id, response, elapsed)),
            Owner::Branch(walk) => {
                self.branch_answered(now, walk, &Reply::new(from, at, id, response, elapsed));
            }
            Owner::Swap { .. } => self.upkeep.swap_ended(),
            Owner::Check | Owner::Newcomer => self.upkeep.check_ended(),
            Owner::Keepalive | Owner::Challenge | Owner::Nobody => {}
        }
    }

    pub(super) fn expire_asks(&mut self, now: Instant) {
        while let Some(tid) = self.timers.expire(now) {
            let Some(asked) = self.asked.get(&tid) else { continue };
            if asked.sendings <= asked.retries {
                self.stats.requests.retries += 1;
                if let Owner::Walk(walk) = asked.owner {
                    let to = asked.to;
                    self.walk_repeated(walk, to);
                }
                self.send(now, tid);
                self.pump_walk_of(now, tid);
            } else {
                self.abandon_timed_out(now, tid);
            }
        }
    }

    /// Sends what waited for room in the congestion window.
    pub(super) fn send_waiting(&mut self, now: Instant) {
        self.window.catch_up(now);
        while !self.window.is_full()
            && let Some(tid) = self.waiting.pop_front()
        {
            if self.asked.get(&tid).is_some_and(|asked| asked.sendings == 0) {
                self.send(now, tid);
            }
        }
    }

    /// Ends a request without an answer, for another reason than time.
    pub(super) fn abandon(&mut self, tid: u16, error: AskError) {
        let Some(asked) = self.asked.remove(&tid) else { return };
        self.timers.cancel(tid);
        if asked.sendings > 0 {
            self.window.end();
        }
        self.stats.requests.active -= 1;
        self.fail(asked.owner, asked.to, error);
    }

    /// Ends all requests of a walk, which no longer wants their answers.
    pub(super) fn abandon_walk(&mut self, walk: WalkId) {
        let of_walk = |owner: &Owner| matches!(owner, Owner::Walk(id) | Owner::Branch(id) if *id == walk);
        let tids: Vec<u16> =
            self.asked.iter().filter(|(_, asked)| of_walk(&asked.owner)).map(|(tid, _)| *tid).collect();
        for tid in tids {
            self.abandon(tid, AskError::Canceled);
        }
    }

    /// Ends all requests made for a purpose that `unwanted` names.
    pub(crate) fn abandon_for(&mut self, unwanted: impl Fn(&Purpose) -> bool) {
        let matches = |owner: &Owner| matches!(owner, Owner::Part(purpose) if unwanted(purpose));
        let tids: Vec<u16> =
            self.asked.iter().filter(|(_, asked)| matches(&asked.owner)).map(|(tid, _)| *tid).collect();
        for tid in tids {
            if let Some(asked) = self.asked.get_mut(&tid) {
                asked.owner = Owner::Nobody;
            }
            self.abandon(tid, AskError::Canceled);
        }
    }

    fn abandon_timed_out(&mut self, now: Instant, tid: u16) {
        let Some(asked) = self.asked.remove(&tid) else { return };
        self.window.end();
        self.stats.requests.active -= 1;
        self.stats.requests.timeouts += 1;
        self.drop_node(&node_id(asked.to));
        if let Owner::Walk(walk) = asked.owner {
            self.walk_missed(now, walk, asked.to);
        } else if let Owner::Branch(walk) = asked.owner {
            self.branch_failed(walk);
            self.pump_walk(now, walk);
        } else {
            self.fail(asked.owner, asked.to, AskError::TimedOut);
        }
    }

    fn fail(&mut self, owner: Owner, to: SocketAddrV4, error: AskError) {
        match owner {
            Owner::Part(purpose) => self.signals.push_back(Signal::Failed { purpose, error }),
            Owner::Walk(walk) => self.walk_failed(walk, to),
            Owner::Branch(walk) => self.branch_failed(walk),
            Owner::Swap { incumbent, newcomer } => {
                self.upkeep.swap_ended();
                if error == AskError::TimedOut {
                    self.drop_node(&incumbent);
                    self.admit(*newcomer);
                }
            }
            Owner::Check | Owner::Newcomer => self.upkeep.check_ended(),
            Owner::Keepalive | Owner::Challenge | Owner::Nobody => {}
        }
    }

    fn send(&mut self, now: Instant, tid: u16) {
        let Some(asked) = self.asked.get_mut(&tid) else { return };
        if asked.sendings == 0 {
            asked.created = now;
        }
        let wait = match asked.patience {
            Patience::Fixed(wait) => wait,
            Patience::Adaptive { min, max } => {
                let first = if self.rtt.smoothed().is_some() { self.rtt.patience(min, max) } else { min };
                (first * (1 << asked.sendings.min(8))).min(max)
            }
        };
        asked.sendings = asked.sendings.saturating_add(1);
        self.outbox
            .push(Transmit::new(asked.at, asked.to.into()), |out| out.extend_from_slice(&asked.packet));
        self.window.send();
        self.timers.set(tid, now + wait);
    }

    fn pump_walk_of(&mut self, now: Instant, tid: u16) {
        if let Some(Owner::Walk(walk)) = self.asked.get(&tid).map(|asked| &asked.owner) {
            let walk = *walk;
            self.pump_walk(now, walk);
        }
    }

    /// Draws a transaction id that is not in use; chance makes it hard to guess for who cannot see it.
    fn free_tid(&mut self) -> u16 {
        let mut tid: u16 = self.rng.random();
        while self.asked.contains_key(&tid) {
            tid = tid.wrapping_add(1);
        }
        tid
    }

    fn count_created(&mut self, command: Command) {
        self.stats.requests.total += 1;
        self.stats.requests.active += 1;
        if let Some(exchanged) = self.exchanged(command) {
            exchanged.tx += 1;
        }
    }

    fn count_answered(&mut self, command: Command) {
        self.stats.requests.active -= 1;
        self.stats.requests.responses += 1;
        if let Some(exchanged) = self.exchanged(command) {
            exchanged.rx += 1;
        }
    }

    const fn exchanged(&mut self, command: Command) -> Option<&mut crate::stats::Exchanged> {
        let commands = &mut self.stats.commands;
        match command {
            Command::PING => Some(&mut commands.ping),
            Command::PING_NAT => Some(&mut commands.ping_nat),
            Command::FIND_NODE => Some(&mut commands.find_node),
            Command::DOWN_HINT => Some(&mut commands.down_hint),
            Command::Internal(_) | Command::App(_) => None,
        }
    }
}

impl Reply {
    fn new(
        from: SocketAddrV4,
        at: SocketId,
        id: Option<Id<32>>,
        response: &Response<'_>,
        elapsed: Duration,
    ) -> Self {
        Self {
            from,
            at,
            to: response.to,
            id,
            token: response.token,
            error: response.error,
            value: response.value.map(Into::into),
            closer: response.closer.iter().take(crate::table::K).collect(),
            elapsed,
        }
    }
}
