//! An attempt to connect to a key: find it, shake hands through relays, find a path (`hyperdht lib/connect.js`).

mod punch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dht::{Answered, OperationId, Outcome, Task};
use peer::{Handshake, Mover, PairToken, Party, Role, Session, Side, hyperdht_prologue};
use udx::{Path, StreamId};
use wire::hyper::{Firewall, HandshakeEnvelope, Mode, NoisePayload, PEER_HANDSHAKE, RelayThrough};
use wire::{Addrs, Command as Request, Id, PublicKey, SocketId, hyper, pack_addrs};

use crate::event::{DialError, DialId, Direction, LinkId, Route};
use crate::ground::{Crossing, Errand, Ground, Holder, Want};
use crate::hole::Hole;
use crate::identity::Identity;
use crate::lan;
use crate::link::{Birth, Relayed, Stage, Via};
use crate::policy::{Paths, Permit, RelayPolicy, Resort};
use crate::survey::{DialState, Step};
use punch::{Offer, Punch, PunchStep};

/// Handshakes through different nodes at one time; one more where the application named nodes.
const HANDSHAKES: usize = 2;
/// Nodes that one dial tries; the reference has no limit, and finds at most twenty.
const ROUTES_MAX: usize = 32;
/// How long we wait for a peer that should contact us (`hyperdht lib/connect.js`).
const CONTACT: Duration = Duration::from_secs(10);
/// How long an address of our own network may answer before a hole punch is begun beside it; the reference
/// begins both at once.
const LAN_HEAD_START: Duration = Duration::from_millis(100);
/// Addresses of a peer that are looked at.
const ADDRESSES_MAX: usize = 16;
/// How often a dial that found no path is begun anew through a relay that was found: each time another.
const AGAIN_MAX: u8 = 3;

/// How a peer is dialled.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DialOptions {
    /// Nodes that may know the peer: those that its announcement named.
    pub relays: Vec<SocketAddrV4>,
    /// Whether addresses of the same network are told and tried.
    pub lan: Permit,
    /// Whether NATs may be opened from both sides.
    pub punch: Permit,
    /// Which relays are proposed to the peer.
    pub through: RelayPolicy,
    /// Which paths the connection may take.
    pub paths: Paths,
    pub(crate) resort: Resort,
}

impl Default for DialOptions {
    fn default() -> Self {
        Self {
            relays: Vec::new(),
            lan: Permit::Allowed,
            punch: Permit::Allowed,
            through: RelayPolicy::default(),
            paths: Paths::default(),
            resort: Resort::default(),
        }
    }
}

impl DialOptions {
    /// How a relay is dialled: not by way of another.
    pub(crate) fn of_relay(relays: Vec<SocketAddrV4>) -> Self {
        Self { relays, through: RelayPolicy::Never, ..Self::default() }
    }

    fn may_lan(&self) -> bool {
        self.lan == Permit::Allowed && self.paths != Paths::RelayOnly
    }

    fn may_punch(&self) -> bool {
        self.punch == Permit::Allowed && matches!(self.paths, Paths::Any | Paths::DirectOnly)
    }

    fn may_relay(&self) -> bool {
        self.through != RelayPolicy::Never && matches!(self.paths, Paths::Any | Paths::RelayOnly)
    }

    /// Tells whether the peer's packets may come by a path.
    fn admits(&self, path: Path) -> bool {
        matches!(path.remote, SocketAddr::V4(remote) if self.may_reach(remote))
    }

    /// Tells whether packets may be sent straight to an address.
    fn may_reach(&self, remote: SocketAddrV4) -> bool {
        match self.paths {
            Paths::Any | Paths::DirectOnly => true,
            Paths::RelayOnly => false,
            Paths::LanOnly => lan::is_private(*remote.ip()),
        }
    }
}

/// What became of a dial.
#[derive(Debug)]
pub(crate) enum DialStep {
    Going,
    Connected(Box<Birth>),
    /// Packets can go through a relay; the dial goes on to look for a direct path.
    Relayed(Box<Birth>),
    /// The relayed connection has a direct path.
    Found(Path, Route),
    Failed(DialError),
}

/// A dial that is to be begun anew, with the last resort.
#[derive(Debug)]
pub(crate) struct Again {
    pub(crate) identity: Arc<Identity>,
    pub(crate) options: DialOptions,
    pub(crate) begun: Instant,
    pub(crate) tries: u8,
    pub(crate) error: DialError,
}

#[derive(Debug)]
pub(crate) struct Dial {
    pub(crate) id: DialId,
    pub(crate) remote: PublicKey,
    target: Id<32>,
    identity: Arc<Identity>,
    options: DialOptions,
    /// The relay of the first message.
    proposal: Option<RelayThrough>,
    crossing: Meet,
    /// What kept us from a direct path, while a relay may still serve.
    error: Option<DialError>,
    /// The connection that is open, through a relay.
    pub(crate) link: Option<LinkId>,
    /// How often it was begun anew.
    pub(crate) tries: u8,
    pub(crate) stream: StreamId,
    /// What the first message said of our reachability. Both sides go by it, whatever is learned meanwhile.
    told: Firewall,
    begun: Instant,
    /// Until it succeeds.
    handshake: Option<Handshake>,
    noise: Vec<u8>,
    finding: Option<OperationId>,
    routes: VecDeque<SocketAddrV4>,
    tried: BTreeSet<SocketAddrV4>,
    shaking: BTreeMap<OperationId, SocketAddrV4>,
    meeting: Option<Meeting>,
    /// A path by which packets for our stream came before we knew of the handshake's success.
    offered: Option<Path>,
    deadline: Option<Instant>,
}

/// Whether the peer is to be met at a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meet {
    No,
    Asked(PairToken),
    Done,
}

/// What a handshake told.
#[derive(Debug)]
struct Meeting {
    /// Until the connection is open.
    session: Option<Session>,
    mover: Option<Mover>,
    remote_stream: StreamId,
    /// The node that the handshake went through; the peer itself where it was asked directly.
    via: SocketAddrV4,
    /// The peer as that node sees it.
    server: SocketAddrV4,
    is_relayed: bool,
    firewall: Firewall,
    addresses: Vec<SocketAddrV4>,
    /// The relay that the peer proposes.
    through: Option<RelayThrough>,
    /// How the peer can be punched to, if it can.
    offer: Option<Offer>,
    punch: Option<Box<Punch>>,
    /// When to punch although an address of our network has not answered yet.
    punch_at: Option<Instant>,
    lan: Lan,
}

/// Whether the peer may be in our network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lan {
    No,
    Asked,
}

impl Dial {
    pub(crate) fn new(
        now: Instant,
        ground: &mut Ground,
        (id, remote): (DialId, PublicKey),
        identity: &Arc<Identity>,
        options: DialOptions,
    ) -> Result<Self, DialError> {
        let stream = ground.udx.open(now).map_err(|_| DialError::TooBusy)?;
        let prologue = hyperdht_prologue();
        let party = Party { key: identity.agreement(), prologue: &prologue, ephemeral: ground.secret() };
        let mut handshake = Handshake::new(Role::IkInitiator { remote }, party);
        let mut noise = Vec::new();
        let is_open = ground.open_address().is_some() && options.paths != Paths::RelayOnly;
        let told = if is_open { Firewall::Open } else { Firewall::Unknown };
        let may_propose = options.may_relay() && !is_open;
        let proposal = may_propose.then(|| ground.propose(&options.through, options.resort)).flatten();
        let payload = first_payload(ground, stream, (told, &options, proposal));
        if handshake.write(&payload, &mut noise).is_err() {
            ground.udx.destroy(now, stream);
            // A key that is no point of the curve is nobody's.
            return Err(DialError::NotFound);
        }
        let target = dht::target(remote);
        // The relay is dialled while the peer is looked for.
        ground.wants.extend(proposal.map(|through| Want::Ready(PublicKey(through.public_key))));
        let mut dial = Self {
            id,
            remote,
            target,
            identity: Arc::clone(identity),
            proposal,
            crossing: Meet::No,
            error: None,
            link: None,
            tries: 0,
            stream,
            told,
            begun: now,
            handshake: Some(handshake),
            noise,
            finding: None,
            routes: VecDeque::new(),
            tried: BTreeSet::new(),
            shaking: BTreeMap::new(),
            meeting: None,
            offered: None,
            deadline: None,
            options,
        };
        let hints = dial.options.relays.clone();
        hints.into_iter().chain(ground.hyper.route(&target)).for_each(|node| dial.add_route(node));
        dial.finding = Some(ground.send(now, Task::FindPeer { target }, Errand::Find(id)));
        dial.shake(now, ground);
        Ok(dial)
    }

    /// Tells how far it is.
    pub(crate) fn state(&self) -> DialState {
        let step = match &self.meeting {
            None if self.tried.is_empty() => Step::Find,
            None => Step::Handshake,
            Some(meeting) if meeting.punch.is_some() => Step::Punch,
            Some(meeting) if meeting.lan == Lan::Asked => Step::Lan,
            Some(_) if matches!(self.crossing, Meet::Asked(_)) => Step::Relay,
            Some(_) => Step::Contact,
        };
        DialState { dial: self.id, remote: self.remote, begun: self.begun, step }
    }

    fn add_route(&mut self, node: SocketAddrV4) {
        if self.tried.len() < ROUTES_MAX && self.tried.insert(node) {
            self.routes.push_back(node);
        }
    }

    /// Sends the first message through nodes that were not asked yet.
    fn shake(&mut self, now: Instant, ground: &mut Ground) {
        while self.meeting.is_none()
            && self.shaking.len() < HANDSHAKES
            && let Some(node) = self.routes.pop_front()
        {
            let mut value = Vec::with_capacity(self.noise.len() + 8);
            HandshakeEnvelope { mode: Mode::FromClient, noise: &self.noise, peer: None, relay: None }
                .encode(&mut value);
            let sending = Ground::hurried(None);
            let (command, target) = (PEER_HANDSHAKE, Some(self.target));
            let task = Task::Call { to: node, command, target, value: Some(value), sending };
            let operation = ground.send(now, task, Errand::Shake(self.id, node));
            self.shaking.insert(operation, node);
        }
    }

    /// Takes a node that knows the peer.
    pub(crate) fn handle_found(&mut self, now: Instant, ground: &mut Ground, from: SocketAddrV4) {
        if self.meeting.is_none() {
            self.add_route(from);
            self.shake(now, ground);
        }
    }

    /// Takes the end of the search.
    pub(crate) fn handle_search_end(&mut self, outcome: &Outcome) -> DialStep {
        self.finding = None;
        if matches!(outcome, Outcome::Failed(dht::Failure::Suspended)) {
            return DialStep::Failed(DialError::Suspended);
        }
        self.judge()
    }

    fn judge(&self) -> DialStep {
        let waits = self.finding.is_some() || !self.shaking.is_empty() || !self.routes.is_empty();
        if waits || self.meeting.is_some() {
            DialStep::Going
        } else if self.tried.is_empty() {
            DialStep::Failed(DialError::NotFound)
        } else {
            DialStep::Failed(DialError::NoAnswer)
        }
    }

    /// Takes what became of a first message.
    pub(crate) fn handle_shaken(
        &mut self,
        now: Instant,
        ground: &mut Ground,
        (operation, via): (OperationId, SocketAddrV4),
        outcome: Outcome,
    ) -> DialStep {
        self.shaking.remove(&operation);
        if self.meeting.is_some() {
            return DialStep::Going;
        }
        let Outcome::Answered(answered) = outcome else {
            self.shake(now, ground);
            return self.judge();
        };
        match self.read_answer(via, &answered) {
            Some(Ok(meeting)) => {
                self.meeting = Some(meeting);
                self.stop_search(now, ground);
                self.meet(now, ground, &answered)
            }
            Some(Err(error)) => DialStep::Failed(error),
            None => {
                self.shake(now, ground);
                self.judge()
            }
        }
    }

    /// Reads the second message of the handshake; nothing where this is none.
    fn read_answer(&mut self, via: SocketAddrV4, answered: &Answered) -> Option<Result<Meeting, DialError>> {
        let envelope = HandshakeEnvelope::decode(answered.value.as_deref()?).ok()?;
        if answered.from != via || answered.error != 0 || envelope.mode != Mode::Reply {
            return None;
        }
        let handshake = self.handshake.as_mut()?;
        let bytes = handshake.read(envelope.noise).ok()?;
        let session = self.handshake.take()?.finish().ok()?;
        let Ok(payload) = NoisePayload::decode(&bytes) else { return Some(Err(DialError::Incompatible)) };
        if payload.version != 1 {
            return Some(Err(DialError::Incompatible));
        }
        if payload.error != 0 {
            return Some(Err(DialError::Refused(payload.error)));
        }
        let Some(udx) = payload.udx else { return Some(Err(DialError::Refused(0))) };
        Some(Ok(Meeting {
            mover: udx.moves().then(|| Mover::new(&session)),
            session: Some(session),
            remote_stream: StreamId(udx.id),
            through: payload.relay_through,
            via,
            server: envelope.peer.unwrap_or(via),
            is_relayed: envelope.peer.is_some(),
            firewall: payload.firewall,
            addresses: payload.addresses4.iter().take(ADDRESSES_MAX).collect(),
            offer: payload.punch.map(|punch| Offer {
                dial: self.id,
                target: self.target,
                id: punch.id,
                via,
                server: envelope.peer.unwrap_or(via),
                relays: punch.relays.iter().take(ADDRESSES_MAX).collect(),
            }),
            punch: None,
            punch_at: None,
            lan: Lan::No,
        }))
    }

    /// Chooses how to get packets to the peer.
    fn meet(&mut self, now: Instant, ground: &mut Ground, answered: &Answered) -> DialStep {
        let Some(meeting) = &mut self.meeting else { return DialStep::Going };
        let active = ground.hyper.active();
        if meeting.firewall == Firewall::Open || (meeting.is_relayed && meeting.offer.is_none()) {
            ground.punches.open += 1;
        }
        let may_relay = self.options.may_relay();
        let agreed = meeting.through.or(self.proposal).filter(|_| may_relay);
        if !meeting.is_relayed && self.options.may_reach(meeting.via) {
            let path = Path { socket: active, remote: meeting.via.into() };
            return self.connect(now, ground, path, Route::Direct);
        }
        if let Some(path) = self.offered.take().filter(|path| self.options.admits(*path)) {
            return self.connect(now, ground, path, Route::Direct);
        }
        let is_open = meeting.firewall == Firewall::Open || meeting.offer.is_none() && agreed.is_none();
        if is_open && self.options.may_reach(meeting.server) {
            let public = meeting
                .addresses
                .iter()
                .find(|addr| !lan::is_reserved(*addr.ip()) && !lan::is_private(*addr.ip()));
            let remote = public.copied().unwrap_or(meeting.server);
            return self.connect(now, ground, Path { socket: active, remote: remote.into() }, Route::Direct);
        }
        if let Some(through) = agreed {
            let side = if meeting.through.is_some() { Side::Responder } else { Side::Initiator };
            let crossing = Crossing::new(&through, side, self.stream);
            self.crossing = Meet::Asked(crossing.token);
            ground.wants.push_back(Want::Join(crossing));
        }
        if self.options.paths == Paths::RelayOnly {
            return self.fail(DialError::RelayAborted);
        }
        if self.told == Firewall::Open {
            self.deadline = Some(now + CONTACT);
            return DialStep::Going;
        }
        if self.options.may_lan()
            && answered.seen_as.ip() == meeting.server.ip()
            && let Some(to) = lan_address(ground, &meeting.addresses)
        {
            meeting.lan = Lan::Asked;
            meeting.punch_at = self.options.may_punch().then_some(now + LAN_HEAD_START);
            let sending = Ground::hurried(Some(SocketId::SERVER));
            let (command, target, value) = (Request::PING, None, None);
            ground.send(now, Task::Call { to, command, target, value, sending }, Errand::Lan(self.id, to));
            return DialStep::Going;
        }
        self.punch(now, ground)
    }

    /// Begins to punch, unless it was begun.
    fn punch(&mut self, now: Instant, ground: &mut Ground) -> DialStep {
        let Some(meeting) = &mut self.meeting else { return DialStep::Going };
        meeting.punch_at = None;
        if meeting.punch.is_none() {
            let offer = meeting.offer.take().filter(|_| self.options.may_punch());
            let (Some(offer), Some(session)) = (offer, &meeting.session) else {
                return match meeting.lan {
                    Lan::Asked => DialStep::Going,
                    Lan::No => self.fail(DialError::CannotPunch),
                };
            };
            meeting.punch = Some(Box::new(Punch::new(now, ground, session, offer)));
        }
        self.advance(now, ground)
    }

    fn advance(&mut self, now: Instant, ground: &mut Ground) -> DialStep {
        self.with_punch(now, ground, |punch, ground| punch.advance(now, ground))
    }

    fn with_punch(
        &mut self,
        now: Instant,
        ground: &mut Ground,
        act: impl FnOnce(&mut Punch, &mut Ground) -> PunchStep,
    ) -> DialStep {
        let Some(meeting) = &mut self.meeting else { return DialStep::Going };
        let Some(punch) = &mut meeting.punch else { return DialStep::Going };
        match act(punch, ground) {
            PunchStep::Going => DialStep::Going,
            PunchStep::Opened(path) => self.connect(now, ground, path, Route::Punched),
            PunchStep::Failed(error) => {
                punch.end(now, ground, None);
                meeting.punch = None;
                // The address of our network may still answer.
                if meeting.lan == Lan::Asked { DialStep::Going } else { self.fail(error) }
            }
        }
    }

    /// Gives the direct path up; a relay may still serve.
    fn fail(&mut self, error: DialError) -> DialStep {
        if matches!(self.crossing, Meet::Asked(_)) {
            self.error.get_or_insert(error);
            return DialStep::Going;
        }
        DialStep::Failed(error)
    }

    /// Takes the way through a relay.
    pub(crate) fn handle_paired(&mut self, now: Instant, ground: &mut Ground, via: Via) -> DialStep {
        self.crossing = Meet::Done;
        // What needs the session is begun before the connection takes it.
        let early = match self.meeting.as_ref().is_some_and(|meeting| meeting.punch_at.is_some()) {
            true => self.punch(now, ground),
            false => DialStep::Going,
        };
        let Some(meeting) = &mut self.meeting else { return early };
        let Some(session) = meeting.session.take() else { return early };
        self.deadline = None;
        DialStep::Relayed(Box::new(Birth {
            stream: self.stream,
            remote_stream: via.stream,
            session,
            direction: Direction::Outgoing,
            route: Route::Relayed,
            path: via.path,
            begun: self.begun,
            mover: meeting.mover.take(),
            relayed: Some(Relayed {
                via,
                peer_stream: meeting.remote_stream,
                holder: Holder::Dial(self.id),
                stage: Stage::Through,
                tries: Relayed::TRIES,
            }),
        }))
    }

    /// Takes the news that no relay serves us.
    pub(crate) fn handle_unpaired(&mut self) -> DialStep {
        self.crossing = Meet::Done;
        let is_hopeless = self.options.paths == Paths::RelayOnly;
        match self.error.take() {
            Some(error) => DialStep::Failed(error),
            None if is_hopeless => DialStep::Failed(DialError::RelayAborted),
            None => DialStep::Going,
        }
    }

    /// Tells whether nothing more can come of a dial whose connection is open.
    pub(crate) fn is_spent(&self) -> bool {
        self.link.is_some()
            && self.meeting.as_ref().is_none_or(|meeting| meeting.punch.is_none() && meeting.lan == Lan::No)
    }

    /// How to begin anew where no direct path was found and none through a relay was tried, or not through others.
    pub(crate) fn again(&self, error: DialError) -> Option<Again> {
        let is_of_path = matches!(
            error,
            DialError::DoubleRandom
                | DialError::CannotPunch
                | DialError::NatUnknown
                | DialError::NotPunchable
                | DialError::NotPunching
                | DialError::PunchAborted
                | DialError::RelayAborted
                | DialError::Unreachable
        );
        let may = self.link.is_none()
            && self.tries < AGAIN_MAX
            && self.options.may_relay()
            && self.options.through == RelayPolicy::Found;
        (is_of_path && may).then(|| Again {
            identity: Arc::clone(&self.identity),
            options: DialOptions { resort: Resort::Last, ..self.options.clone() },
            begun: self.begun,
            tries: self.tries + 1,
            error,
        })
    }

    /// Counts as begun earlier, after so many tries.
    pub(crate) const fn resume(&mut self, begun: Instant, tries: u8) {
        self.begun = begun;
        self.tries = tries;
    }

    /// Takes the answer, or the silence, of an address in our network.
    pub(crate) fn handle_lan(
        &mut self,
        now: Instant,
        ground: &mut Ground,
        to: SocketAddrV4,
        outcome: &Outcome,
    ) -> DialStep {
        let Some(meeting) = &mut self.meeting else { return DialStep::Going };
        meeting.lan = Lan::No;
        if matches!(outcome, Outcome::Answered(answered) if answered.from == to) {
            let path = Path { socket: SocketId::SERVER, remote: to.into() };
            return self.connect(now, ground, path, Route::Lan);
        }
        self.punch(now, ground)
    }

    /// Takes the answer, or the silence, to a message about hole punching.
    pub(crate) fn handle_punch(
        &mut self,
        now: Instant,
        ground: &mut Ground,
        to: SocketAddrV4,
        outcome: &Outcome,
    ) -> DialStep {
        self.with_punch(now, ground, |punch, ground| punch.handle_answer(now, ground, to, outcome))
    }

    /// Lets the hole punch have news of its sockets.
    pub(crate) fn with_hole(
        &mut self,
        now: Instant,
        ground: &mut Ground,
        act: impl FnOnce(&mut Hole),
    ) -> DialStep {
        self.with_punch(now, ground, |punch, ground| {
            act(&mut punch.hole);
            punch.advance(now, ground)
        })
    }

    /// Takes a path by which a packet for our stream came: who knows the stream's name is the peer.
    pub(crate) fn handle_offered(&mut self, now: Instant, ground: &mut Ground, path: Path) -> DialStep {
        if !self.options.admits(path) {
            ground.udx.refuse(self.stream, path);
            return DialStep::Going;
        }
        if self.meeting.is_some() {
            let route = if path.socket > SocketId::CLIENT { Route::Punched } else { Route::Direct };
            return self.connect(now, ground, path, route);
        }
        self.offered = Some(path);
        DialStep::Going
    }

    fn connect(&mut self, now: Instant, ground: &mut Ground, path: Path, route: Route) -> DialStep {
        let Some(mut meeting) = self.meeting.take() else { return DialStep::Going };
        if let Some(punch) = &mut meeting.punch {
            punch.end(now, ground, Some(path.socket).filter(|socket| *socket > SocketId::CLIENT));
        }
        let Some(session) = meeting.session else { return DialStep::Found(path, route) };
        DialStep::Connected(Box::new(Birth {
            stream: self.stream,
            remote_stream: meeting.remote_stream,
            session,
            direction: Direction::Outgoing,
            route,
            path,
            begun: self.begun,
            relayed: None,
            mover: meeting.mover,
        }))
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, ground: &mut Ground) -> DialStep {
        if self.deadline.is_some_and(|at| at <= now) {
            self.deadline = None;
            return self.fail(DialError::Unreachable);
        }
        if self.meeting.as_ref().is_some_and(|meeting| meeting.punch_at.is_some_and(|at| at <= now)) {
            return self.punch(now, ground);
        }
        self.with_hole(now, ground, |hole| hole.puncher.handle_timeout(now))
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let meeting = self.meeting.as_ref();
        let punch = meeting.and_then(|meeting| meeting.punch.as_ref()?.poll_timeout());
        [self.deadline, meeting.and_then(|meeting| meeting.punch_at), punch].into_iter().flatten().min()
    }

    fn stop_search(&mut self, now: Instant, ground: &mut Ground) {
        if let Some(operation) = self.finding.take() {
            ground.cancel(now, operation);
        }
        for operation in std::mem::take(&mut self.shaking).into_keys() {
            ground.cancel(now, operation);
        }
        self.routes.clear();
    }

    /// Ends everything that is under way; the stream is left to whoever goes on with it.
    pub(crate) fn end(&mut self, now: Instant, ground: &mut Ground) {
        if let Some(punch) = self.meeting.as_mut().and_then(|meeting| meeting.punch.as_mut()) {
            punch.end(now, ground, None);
        }
        let id = self.id;
        ground.cancel_all(now, |errand| match errand {
            Errand::Find(dial) | Errand::Shake(dial, _) | Errand::Punch(dial, _) | Errand::Lan(dial, _) => {
                *dial == id
            }
            Errand::Sample(..) | Errand::Refresh(..) | Errand::Relays => false,
        });
    }
}

/// The address of the peer that is likeliest to be in a network of ours.
fn lan_address(ground: &Ground, theirs: &[SocketAddrV4]) -> Option<SocketAddrV4> {
    let ours: Vec<_> = ground.local_addresses().iter().map(|addr| *addr.ip()).collect();
    let usable: Vec<_> = theirs.iter().filter(|addr| !lan::is_reserved(*addr.ip())).copied().collect();
    lan::best_match(&ours, &usable).or_else(|| usable.first().copied())
}

fn first_payload(
    ground: &Ground,
    stream: StreamId,
    (told, options, relay_through): (Firewall, &DialOptions, Option<RelayThrough>),
) -> Vec<u8> {
    let open = ground.open_address().filter(|_| options.paths != Paths::RelayOnly);
    let mut addresses: Vec<SocketAddrV4> = open.into_iter().collect();
    if options.may_lan() {
        addresses.extend(ground.local_addresses());
    }
    let packed = pack_addrs(addresses);
    let mut payload = Vec::new();
    NoisePayload {
        firewall: told,
        addresses4: Addrs::from_packed(&packed),
        udx: Some(hyper::Udx { version: 1, features: hyper::Udx::MOVES, id: stream.0, seq: 0 }),
        secret_stream: Some(1),
        relay_through,
        ..NoisePayload::empty()
    }
    .encode(&mut payload);
    payload
}
