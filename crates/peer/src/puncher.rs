//! One hole punch: its sockets, what is known of both NATs, its probes (`hyperdht lib/holepuncher.js`).

mod limiter;
mod plan;

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use thiserror::Error;
use wire::SocketId;
use wire::hyper::Firewall;

use crate::nat::{ADDRESSES_MAX, LocalReach, Nat, SAMPLES_WANTED, Sequence};
use crate::session::Side;
pub use limiter::{PunchLimiter, TooSoon};
use plan::{Plan, Range};

/// Hops of a probe that shall open our own NAT and end before the other: a NAT that gets a packet it does not
/// expect may give that packet's port to itself.
const OPENING_TTL: u8 = 5;
/// Nodes that have just answered something are left out: they may be the relays, and would tell nothing new.
const SKIP_RECENT: usize = 5;
/// How often nodes are asked: once, and once more for the samples that are missing.
const SWEEPS: u8 = 2;
/// When to ask more nodes although some have not answered: a lost ping costs its timeout otherwise.
const SAMPLE_PATIENCE: Duration = Duration::from_millis(250);
/// Fresh sockets taken to get a steadier view.
const REOPENS_MAX: u8 = 3;
/// How long a probe from a host that nobody named waits for one from a host that somebody did. A carrier may
/// send from an address that it showed to no node; anybody else may send at any time.
const STRANGER_PATIENCE: Duration = Duration::from_millis(300);
/// Probes that wait to be sent: answers to a flood beyond these are left out.
const PROBES_MAX: usize = 1024;

/// How fast a punch goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// More probes in the first seconds, in an order that does not harm a slower side.
    #[default]
    Brisk,
    /// As the reference: a probe a second, or one every 20 ms at random ports.
    Reference,
}

/// Whether ports of NATs that number their mappings are guessed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prediction {
    /// They are; the other side is told ours.
    #[default]
    On,
    /// As the reference.
    Off,
}

/// How to punch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PunchConfig {
    /// How fast.
    pub pace: Pace,
    /// Whether to guess.
    pub prediction: Prediction,
    /// Sockets at once where our NAT is random (`BIRTHDAY_SOCKETS`); fewer make luck rarer.
    pub sockets_max: u16,
}

impl Default for PunchConfig {
    fn default() -> Self {
        Self { pace: Pace::default(), prediction: Prediction::default(), sockets_max: 256 }
    }
}

/// What the other side says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteNat<'a> {
    /// Its reachability.
    pub firewall: Firewall,
    /// Its addresses; those after the eighth are left out.
    pub addresses: &'a [SocketAddrV4],
    /// Whether it probes, or is about to.
    pub punching: bool,
    /// A host at which it has just proven to receive.
    pub verified: Option<Ipv4Addr>,
}

/// What is known of our own NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Analysis {
    /// Answers are missing.
    Pending,
    /// As much as there will be.
    Done {
        /// The view.
        firewall: Firewall,
        /// Whether a fresh socket may be seen in a way that helps more: the view is unknown, or no strategy
        /// fits it and the other side's.
        stability: Stability,
    },
}

/// Whether to build on an analysis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stability {
    /// Punch with it.
    Stable,
    /// Try a fresh socket.
    Unstable,
}

/// The answer to [`Puncher::reopen`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reopening {
    /// A fresh socket was asked for; [`PunchEvent::Analyzed`] follows.
    Started,
    /// It was tried often enough, or the punch has begun.
    Exhausted,
}

/// A one-byte datagram to send; the byte is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Probe {
    /// Socket to send from.
    pub from: SocketId,
    /// Destination.
    pub to: SocketAddrV4,
    /// Time to live, in hops; `None` is the system's.
    pub ttl: Option<u8>,
}

/// What only the owner of the sockets can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PunchCommand {
    /// Open a socket on any port; [`Puncher::handle_opened`] or [`Puncher::handle_refused`] answers.
    Open,
    /// Close a socket.
    Close(SocketId),
    /// Ping DHT nodes from a socket, once each, without repetition; [`Puncher::handle_sample`] takes each answer,
    /// and [`Puncher::handle_sampling_ended`] the end of all. It may come again before that.
    Sample {
        /// Where from.
        socket: SocketId,
        /// How many nodes, none of them twice for one socket.
        count: usize,
        /// How many of the nodes heard last to leave out, if eight or more are known.
        skip_recent: usize,
    },
}

/// What became of a punch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PunchEvent {
    /// Our own NAT is known as far as it will be: see [`Puncher::analyzed`].
    Analyzed,
    /// The initiator's path is open: stream packets go this way. All other sockets are closed. A responder
    /// sees its path by the stream packets that arrive.
    Opened {
        /// Our end.
        socket: SocketId,
        /// The other end.
        remote: SocketAddrV4,
    },
    /// It is over; all sockets are closed.
    Failed(PunchFailure),
}

/// Why a punch failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PunchFailure {
    /// No socket could be had.
    #[error("no socket could be opened")]
    NoSocket,
    /// All probes were sent, and none came.
    #[error("no probe got through")]
    Exhausted,
}

/// Why a punch cannot begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Unpunchable {
    /// The other side named no address.
    #[error("the other side named no address")]
    NoAddress,
    /// One side does not know its NAT.
    #[error("one side does not know its NAT")]
    Undecided,
    /// Random ports would be aimed at a host that did not prove that it wants them.
    #[error("the other side's host is not verified")]
    Unverified,
    /// Both sides show every destination another port, and at least one of them draws it.
    #[error("both NATs are random")]
    BothRandom,
    /// It is over.
    #[error("the punch is over")]
    Over,
}

/// Which strategy a punch runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Both sides show everybody one address each: a few probes between them.
    Consistent,
    /// We probe random ports of a random NAT.
    Spray,
    /// Our NAT is random: many sockets, so that one of their ports is found.
    Birthday,
    /// Both NATs number their mappings: their next ports are guessed.
    Predicted,
}

impl Strategy {
    /// Tells whether the node's [`PunchLimiter`] has a say: hundreds of random probes, or as many sockets.
    #[must_use]
    pub const fn is_random(self) -> bool {
        matches!(self, Self::Spray | Self::Birthday)
    }
}

/// One hole punch.
///
/// It asks for a socket and for samples at its birth. Its owner tells the other side what [`addresses`] and
/// [`firewall`] say, and tells it with [`update_remote`] what the other side says; [`punch`] begins. It never
/// probes more ports of a host than the few that the host itself named, unless the host is verified.
///
/// [`addresses`]: Self::addresses
/// [`firewall`]: Self::firewall
/// [`update_remote`]: Self::update_remote
/// [`punch`]: Self::punch
#[derive(Debug)]
pub struct Puncher {
    side: Side,
    reach: LocalReach,
    config: PunchConfig,
    nat: Nat,
    sampling: Sampling,
    remote: Remote,
    main: Option<SocketId>,
    /// Sockets beside the main one, in the order in which they came.
    spares: Vec<SocketId>,
    opens: Opens,
    reopened: u8,
    stage: Stage,
    stranger: Option<Stranger>,
    probes: VecDeque<Probe>,
    commands: VecDeque<PunchCommand>,
    events: VecDeque<PunchEvent>,
    rng: StdRng,
}

#[derive(Debug)]
enum Stage {
    Preparing,
    Punching(Plan),
    /// Opened, or settled by the owner: only answers probes.
    Done,
    Over,
}

#[derive(Clone, Copy, Debug, Default)]
struct Opens {
    to_ask: usize,
    awaited: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sampling {
    asked: u8,
    /// Pings are neither answered nor given up.
    waits: bool,
    hasten: Option<Instant>,
    told: bool,
}

#[derive(Clone, Copy, Debug)]
struct Stranger {
    socket: SocketId,
    from: SocketAddrV4,
    until: Instant,
}

#[derive(Debug)]
struct Remote {
    firewall: Firewall,
    addresses: Vec<RemoteAddress>,
    punching: bool,
    /// Destinations of [`Puncher::probe`] and [`Puncher::fast_open`]: the last of each.
    probed: Option<SocketAddrV4>,
    opened: Option<SocketAddrV4>,
}

/// An address of the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RemoteAddress {
    pub(crate) address: SocketAddrV4,
    pub(crate) verified: bool,
}

impl Remote {
    fn knows(&self, host: Ipv4Addr) -> bool {
        let named = self.addresses.iter().map(|remote| remote.address);
        named.chain(self.probed).chain(self.opened).any(|address| *address.ip() == host)
    }

    fn is_verified(&self, host: Ipv4Addr) -> bool {
        self.addresses.iter().any(|remote| remote.verified && *remote.address.ip() == host)
    }

    fn sequence(&self) -> Option<Sequence> {
        Sequence::read(self.addresses.iter().map(|remote| remote.address))
    }
}

impl Puncher {
    /// Begins, and asks for a socket at once.
    #[must_use]
    pub fn new(_now: Instant, side: Side, reach: LocalReach, config: PunchConfig, seed: [u8; 32]) -> Self {
        Self {
            side,
            reach,
            config,
            nat: Nat::new(reach),
            sampling: Sampling::default(),
            remote: Remote {
                firewall: Firewall::Unknown,
                addresses: Vec::new(),
                punching: false,
                probed: None,
                opened: None,
            },
            main: None,
            spares: Vec::new(),
            opens: Opens { to_ask: 1, awaited: 0 },
            reopened: 0,
            stage: Stage::Preparing,
            stranger: None,
            probes: VecDeque::new(),
            commands: VecDeque::new(),
            events: VecDeque::new(),
            rng: StdRng::from_seed(seed),
        }
    }

    /// Takes a socket that was asked for.
    pub fn handle_opened(&mut self, now: Instant, socket: SocketId) {
        self.opens.awaited = self.opens.awaited.saturating_sub(1);
        match &mut self.stage {
            Stage::Preparing if self.main.is_none() => {
                self.main = Some(socket);
                self.ask_for_samples(now, SKIP_RECENT);
                self.tell_analysis();
            }
            Stage::Punching(plan) => {
                self.spares.push(socket);
                self.probes.extend(plan.greet(socket));
            }
            Stage::Preparing | Stage::Done | Stage::Over => {
                self.commands.push_back(PunchCommand::Close(socket));
            }
        }
    }

    /// Learns that a socket that was asked for cannot be had. A punch that has one goes on with what it has.
    pub fn handle_refused(&mut self, _now: Instant) {
        self.opens.awaited = self.opens.awaited.saturating_sub(1);
        self.opens.to_ask = 0;
        if matches!(self.stage, Stage::Preparing) && self.main.is_none() && self.opens.awaited == 0 {
            self.fail(PunchFailure::NoSocket);
        }
    }

    /// Learns how a DHT node sees a socket: by its answer to a ping, or by what it carries of a message of
    /// the punch.
    pub fn handle_sample(
        &mut self,
        _now: Instant,
        socket: SocketId,
        observer: SocketAddrV4,
        seen_as: SocketAddrV4,
    ) {
        if Some(socket) == self.main {
            self.nat.add(observer, seen_as);
            self.tell_analysis();
        }
    }

    /// Learns that all pings that were asked for so far from a socket were answered or given up.
    pub fn handle_sampling_ended(&mut self, now: Instant, socket: SocketId) {
        if Some(socket) != self.main {
            return;
        }
        self.sampling.waits = false;
        self.ask_more(now);
        self.tell_analysis();
    }

    /// Takes a datagram of at most one byte. A responder answers it; an initiator takes the first as its path.
    pub fn handle_probe(&mut self, now: Instant, socket: SocketId, from: SocketAddrV4) {
        let ours = self.main == Some(socket) || self.spares.contains(&socket);
        if !ours || from.port() == 0 {
            return;
        }
        match (self.side, &self.stage) {
            (_, Stage::Over) | (Side::Initiator, Stage::Done) => {}
            (Side::Responder, _) => self.send(Probe { from: socket, to: from, ttl: None }),
            (Side::Initiator, _) if self.remote.knows(*from.ip()) => self.open(socket, from),
            (Side::Initiator, _) => {
                let until = now + STRANGER_PATIENCE;
                self.stranger.get_or_insert(Stranger { socket, from, until });
            }
        }
    }

    /// Takes what the other side says of itself. A host once verified stays so as long as it is named.
    pub fn update_remote(&mut self, _now: Instant, remote: RemoteNat<'_>) {
        let verified = |host| remote.verified == Some(host) || self.remote.is_verified(host);
        let named = remote.addresses.iter().take(ADDRESSES_MAX);
        self.remote.addresses = named
            .map(|address| RemoteAddress { address: *address, verified: verified(*address.ip()) })
            .collect();
        self.remote.firewall = remote.firewall;
        self.remote.punching = remote.punching;
    }

    /// Sends one probe that opens our NAT towards an address, and does not arrive there.
    pub fn fast_open(&mut self, _now: Instant, to: SocketAddrV4) {
        self.remote.opened = Some(to);
        if let Some(from) = self.main {
            self.send(Probe { from, to, ttl: Some(OPENING_TTL) });
        }
        self.knock();
    }

    /// Answers a client that has opened its NAT for an address of ours, before anything else is agreed on: one probe,
    /// which ends the punch a round trip early (the server's fast mode).
    ///
    /// Where our NAT is random, the client expects another port than the probe comes from. It still gets through a
    /// NAT that asks for the host alone; the reference does not try.
    pub fn answer_opening(&mut self, now: Instant, client: SocketAddrV4, opened_for: SocketAddrV4) {
        let ours = self.nat.addresses();
        let expected = match self.nat.firewall() {
            Firewall::Unknown => false,
            Firewall::Open | Firewall::Consistent => ours.contains(&opened_for),
            Firewall::Random | Firewall::Other(_) => {
                self.config.pace == Pace::Brisk && ours.iter().any(|address| address.ip() == opened_for.ip())
            }
        };
        if expected {
            self.probe(now, client);
        }
    }

    /// Sends one probe.
    pub fn probe(&mut self, _now: Instant, to: SocketAddrV4) {
        self.remote.probed = Some(to);
        if let Some(from) = self.main {
            self.send(Probe { from, to, ttl: None });
        }
    }

    /// Returns what is known of our own NAT, and whether to build on it.
    #[must_use]
    pub fn analyzed(&self) -> Analysis {
        if !self.is_sampled() {
            return Analysis::Pending;
        }
        let firewall = self.nat.firewall();
        let both_random = is_random(firewall) && is_random(self.remote.firewall);
        let unstable = firewall == Firewall::Unknown || (both_random && self.sequences().is_none());
        Analysis::Done { firewall, stability: if unstable { Stability::Unstable } else { Stability::Stable } }
    }

    /// Returns what to say of our reachability.
    #[must_use]
    pub const fn firewall(&self) -> Firewall {
        self.nat.firewall()
    }

    /// Returns the addresses to name; where our NAT numbers its mappings, the next ports too.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddrV4] {
        let all = self.nat.addresses();
        match self.config.prediction {
            Prediction::Off if is_random(self.nat.firewall()) => &all[..all.len().min(1)],
            Prediction::Off | Prediction::On => all,
        }
    }

    /// Returns what the other side said last of its reachability.
    #[must_use]
    pub const fn remote_firewall(&self) -> Firewall {
        self.remote.firewall
    }

    /// Tells whether the other side said that it probes.
    #[must_use]
    pub const fn is_remote_punching(&self) -> bool {
        self.remote.punching
    }

    /// Tells whether we probe.
    #[must_use]
    pub const fn is_punching(&self) -> bool {
        matches!(self.stage, Stage::Punching(_))
    }

    /// Takes a fresh socket and samples again, three times at most: some carriers are steadier on the next.
    pub fn reopen(&mut self, _now: Instant) -> Reopening {
        if self.reopened >= REOPENS_MAX || !matches!(self.stage, Stage::Preparing) {
            return Reopening::Exhausted;
        }
        if let Some(old) = self.main.take() {
            self.reopened += 1;
            self.commands.push_back(PunchCommand::Close(old));
            self.probes.retain(|probe| probe.from != old);
            self.nat = Nat::new(self.reach);
            self.sampling = Sampling::default();
            self.stranger = None;
            self.opens.to_ask = 1;
        }
        Reopening::Started
    }

    /// Stops changing the view of our NAT, since the other side acts on it.
    pub const fn freeze(&mut self) {
        self.nat.freeze();
    }

    /// Returns the strategy that runs, or that would run with what is known now.
    ///
    /// # Errors
    ///
    /// Says why none fits.
    pub fn strategy(&self) -> Result<Strategy, Unpunchable> {
        match &self.stage {
            Stage::Punching(plan) => return Ok(plan.strategy()),
            Stage::Done | Stage::Over => return Err(Unpunchable::Over),
            Stage::Preparing => {}
        }
        let (local, remote) = (self.nat.firewall(), self.remote.firewall);
        let strategy = match (is_random(local), is_random(remote)) {
            _ if self.remote.addresses.is_empty() => return Err(Unpunchable::NoAddress),
            _ if local == Firewall::Unknown || remote == Firewall::Unknown => {
                return Err(Unpunchable::Undecided);
            }
            (false, false) => return Ok(Strategy::Consistent),
            (false, true) => Strategy::Spray,
            (true, false) => Strategy::Birthday,
            (true, true) if self.sequences().is_some() => Strategy::Predicted,
            (true, true) => return Err(Unpunchable::BothRandom),
        };
        if self.verified().is_none() { Err(Unpunchable::Unverified) } else { Ok(strategy) }
    }

    /// Begins to probe, by the strategy that fits both sides; a second call changes nothing.
    ///
    /// # Errors
    ///
    /// Says why no strategy fits.
    pub fn punch(&mut self, now: Instant) -> Result<(), Unpunchable> {
        let strategy = self.strategy()?;
        if self.is_punching() {
            return Ok(());
        }
        self.nat.freeze();
        let plan = match (strategy, self.verified()) {
            (Strategy::Consistent, _) => Plan::consistent(now, self.side, self.config.pace),
            (_, None) => return Err(Unpunchable::Unverified),
            (Strategy::Spray, Some(to)) => {
                let sequence = self.remote.sequence().filter(|_| self.config.prediction == Prediction::On);
                Plan::spray(now, self.config.pace, *to.ip(), sequence)
            }
            (Strategy::Birthday, Some(to)) => Plan::birthday(now, self.config.pace, to),
            (Strategy::Predicted, Some(to)) => {
                let (_, remote) = self.sequences().ok_or(Unpunchable::BothRandom)?;
                Plan::predicted(now, self.side, *to.ip(), remote)
            }
        };
        self.opens.to_ask = plan.spares_wanted(usize::from(self.config.sockets_max));
        self.stage = Stage::Punching(plan);
        self.fire(now);
        Ok(())
    }

    /// Returns the socket that relays see, and that messages of the punch leave from.
    #[must_use]
    pub const fn socket(&self) -> Option<SocketId> {
        self.main
    }

    /// Returns the next probe to send.
    pub fn poll_transmit(&mut self) -> Option<Probe> {
        self.probes.pop_front()
    }

    /// Returns the next thing that the owner has to do.
    pub fn poll_command(&mut self) -> Option<PunchCommand> {
        self.commands.pop_front().or_else(|| {
            self.opens.to_ask = self.opens.to_ask.checked_sub(1)?;
            self.opens.awaited += 1;
            Some(PunchCommand::Open)
        })
    }

    /// Returns the next thing that happened.
    pub fn poll_event(&mut self) -> Option<PunchEvent> {
        self.events.pop_front()
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let plan = match &self.stage {
            Stage::Punching(plan) => Some(plan.next()),
            Stage::Preparing | Stage::Done | Stage::Over => None,
        };
        let stranger = self.stranger.map(|stranger| stranger.until);
        plan.into_iter().chain(stranger).chain(self.sampling.hasten).min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.sampling.hasten.is_some_and(|at| at <= now) {
            self.sampling.hasten = None;
            self.ask_more(now);
        }
        if let Some(stranger) = self.stranger.filter(|stranger| stranger.until <= now) {
            self.open(stranger.socket, stranger.from);
        }
        self.fire(now);
    }

    /// Ends the punch: closes all sockets but this one, which belongs to the owner from now on.
    pub fn settle_on(&mut self, _now: Instant, socket: SocketId) {
        self.close_all_but(Some(socket));
        self.stage = Stage::Done;
    }

    /// Ends the punch without a path: closes all sockets. One that was settled on, or opened, is the owner's.
    pub fn abandon(&mut self) {
        let kept = if matches!(self.stage, Stage::Done) { self.main } else { None };
        self.close_all_but(kept);
        self.stage = Stage::Over;
    }

    fn open(&mut self, socket: SocketId, remote: SocketAddrV4) {
        self.close_all_but(Some(socket));
        self.probes.clear();
        self.stage = Stage::Done;
        self.events.push_back(PunchEvent::Opened { socket, remote });
    }

    fn fail(&mut self, failure: PunchFailure) {
        if !matches!(self.stage, Stage::Over) {
            self.abandon();
            self.events.push_back(PunchEvent::Failed(failure));
        }
    }

    fn close_all_but(&mut self, kept: Option<SocketId>) {
        let all = self.main.take().into_iter().chain(self.spares.drain(..));
        for socket in all {
            if Some(socket) == kept {
                self.main = kept;
            } else {
                self.commands.push_back(PunchCommand::Close(socket));
            }
        }
        self.probes.retain(|probe| Some(probe.from) == kept);
        self.opens.to_ask = 0;
        self.stranger = None;
        self.sampling.hasten = None;
    }

    fn fire(&mut self, now: Instant) {
        let Stage::Punching(plan) = &mut self.stage else { return };
        let Some(main) = self.main else { return };
        let range = Range {
            main,
            spares: &self.spares,
            remote: &self.remote.addresses,
            met: self.remote.probed,
            rng: &mut self.rng,
        };
        let spent = plan.fire(now, range, &mut self.probes);
        self.probes.truncate(PROBES_MAX);
        if spent {
            self.fail(PunchFailure::Exhausted);
        }
    }

    fn send(&mut self, probe: Probe) {
        if self.probes.len() < PROBES_MAX {
            self.probes.push_back(probe);
        }
    }

    fn verified(&self) -> Option<SocketAddrV4> {
        self.remote.addresses.iter().find(|remote| remote.verified).map(|remote| remote.address)
    }

    /// Returns both NATs' sequences, if both have one and it may be used.
    fn sequences(&self) -> Option<(Sequence, Sequence)> {
        match self.config.prediction {
            Prediction::On => Some((self.nat.sequence()?, self.remote.sequence()?)),
            Prediction::Off => None,
        }
    }

    fn is_sampled(&self) -> bool {
        self.nat.is_decided() || (self.sampling.asked >= SWEEPS && !self.sampling.waits)
    }

    fn ask_more(&mut self, now: Instant) {
        if self.sampling.asked < SWEEPS {
            self.ask_for_samples(now, 0);
        }
    }

    fn ask_for_samples(&mut self, now: Instant, skip_recent: usize) {
        let Some(socket) = self.main else { return };
        if self.nat.is_decided() {
            return;
        }
        self.sampling.hasten =
            (self.sampling.asked == 0 && self.config.pace == Pace::Brisk).then_some(now + SAMPLE_PATIENCE);
        self.sampling.asked += 1;
        self.sampling.waits = true;
        let count = SAMPLES_WANTED - self.nat.samples();
        self.commands.push_back(PunchCommand::Sample { socket, count, skip_recent });
    }

    fn tell_analysis(&mut self) {
        if self.main.is_some() && self.is_sampled() && !self.sampling.told {
            self.sampling.told = true;
            self.sampling.hasten = None;
            self.events.push_back(PunchEvent::Analyzed);
            self.knock();
        }
    }

    /// Sends an ordinary probe to where we opened our NAT, if that is random: the other side answers openings about
    /// now, and if its NAT asks for our host alone, or for nothing, no other round is needed. A consistent NAT waits
    /// for that answer instead, since the other may take a packet amiss that comes before it.
    fn knock(&mut self) {
        let random = self.sampling.told && is_random(self.nat.firewall());
        if let (true, Pace::Brisk, Some(from), Some(to)) =
            (random, self.config.pace, self.main, self.remote.opened)
        {
            self.send(Probe { from, to, ttl: None });
        }
    }
}

fn is_random(firewall: Firewall) -> bool {
    firewall >= Firewall::Random
}
