//! Answering handshakes for the keys that this node serves (`hyperdht lib/server.js`).

mod punch;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dht::{Knock, Step, Way};
use pace::Timers;
use peer::{
    FirstMessages, Handshake, Mover, PairToken, Party, ReplayLimits, Role, Session, Side, Sight,
    hyperdht_prologue,
};
use udx::{Path, StreamId};
use wire::hyper::{self, Firewall, NoisePayload, PunchOffer, RelayPairs, RelayThrough};
use wire::{Addrs, Id, PublicKey, SocketId, pack_addrs};

use crate::event::{Direction, Route, SlotId};
use crate::ground::{Crossing, Ground, Holder, Want};
use crate::hole::Hole;
use crate::identity::Identity;
use crate::lan;
use crate::link::{Birth, Relayed, Stage as Passage, Via};
use crate::policy::{Paths, Permit, RelayPolicy, Resort};
use punch::{Patience, Punch, Show};

/// Handshakes that are answered at one time; further clients are met with silence and repeat themselves.
const SLOTS_MAX: usize = 4096;
/// First messages read in a second: each costs four multiplications on the curve, a quarter of a millisecond.
const READS_PER_SECOND: u32 = 1000;
/// How long a client may take to contact us, and an answer is kept for a client that repeats itself
/// (`hyperdht lib/server.js`, `handshakeClearWait`).
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a handshake lives once its hole punch has begun: two thousand probes at random ports take 35 s.
const PUNCH_PATIENCE: Duration = Duration::from_secs(45);
/// Announcements whose nodes count as relays of ours (`hyperdht lib/announcer.js`).
const GENERATIONS: usize = 3;
/// How long a handshake lives that waits for a relay: a little longer than the relay may take.
const RELAY_PATIENCE: Duration = Duration::from_secs(16);
/// Ways back that wait for a decision of the application: a client speaks through three nodes at most.
const WAYS_MAX: usize = 4;

const VERSION: u64 = 1;
const ABORTED: u64 = 1;
const VERSION_MISMATCH: u64 = 2;

/// Who may connect to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Whoever knows the key.
    Everyone,
    /// The owner is asked each time, by [`Event::Asked`](crate::Event::Asked).
    Ask,
}

/// How a key is served.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListenOptions {
    /// Who may connect.
    pub admission: Admission,
    /// Whether addresses of this host in its own networks are told to clients.
    pub lan: Permit,
    /// Whether NATs may be opened from both sides.
    pub punch: Permit,
    /// Which relays are proposed to clients.
    pub through: RelayPolicy,
    /// Which paths connections may take.
    pub paths: Paths,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            admission: Admission::Everyone,
            lan: Permit::Allowed,
            punch: Permit::Allowed,
            through: RelayPolicy::default(),
            paths: Paths::default(),
        }
    }
}

impl ListenOptions {
    fn may(&self, permit: Permit) -> bool {
        permit == Permit::Allowed && self.paths != Paths::RelayOnly
    }

    fn may_punch(&self) -> bool {
        self.may(self.punch) && self.paths != Paths::LanOnly
    }

    fn may_relay(&self) -> bool {
        self.through != RelayPolicy::Never && matches!(self.paths, Paths::Any | Paths::RelayOnly)
    }
}

/// The owner's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The client gets its connection.
    Admit,
    /// It gets no answer at all, as if nobody were here.
    Refuse,
}

/// A client of which nothing but its key is known, and that may be admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visitor {
    /// Names the question in [`Swarm::decide`](crate::Swarm::decide).
    pub slot: SlotId,
    /// The key of ours that is wanted.
    pub local: PublicKey,
    /// The client's key. Until its first frame a recording of it may be played.
    pub remote: PublicKey,
    /// The client's address as the node that it came through saw it.
    pub address: SocketAddrV4,
}

/// What became of a knock.
#[derive(Debug)]
pub(crate) enum ServerStep {
    Nothing,
    Ask(Visitor),
    Connected(Box<Birth>),
}

/// One key that is served.
#[derive(Debug)]
struct Server {
    identity: Arc<Identity>,
    options: ListenOptions,
    /// Nodes that the key was announced on, the last three times.
    relays: VecDeque<Vec<SocketAddrV4>>,
}

/// All keys that are served, and the handshakes that run.
#[derive(Debug)]
pub(crate) struct Servers {
    keys: BTreeMap<PublicKey, Server>,
    slots: BTreeMap<SlotId, Slot>,
    by_noise: BTreeMap<Id<32>, SlotId>,
    by_stream: BTreeMap<StreamId, SlotId>,
    timers: Timers<SlotId>,
    first: FirstMessages,
    serial: u64,
    reads: (Instant, u32),
}

/// One handshake.
#[derive(Debug)]
struct Slot {
    local: PublicKey,
    options: ListenOptions,
    noise: Id<32>,
    begun: Instant,
    client: Client,
    stage: Stage,
    punch: Option<Box<Punch>>,
    /// The stream is to be joined with the client's at a relay, under this.
    token: Option<PairToken>,
}

/// What the first message told of the client.
#[derive(Debug)]
struct Client {
    address: SocketAddrV4,
    firewall: Firewall,
    addresses: Vec<SocketAddrV4>,
    stream: Option<StreamId>,
    /// Whether its stream can follow ours, and be followed.
    moves: bool,
    error: u64,
    /// The relay that it proposes.
    through: Option<RelayThrough>,
}

#[derive(Debug)]
enum Stage {
    /// The application is asked.
    Asked { handshake: Box<Handshake>, knocks: VecDeque<Knock> },
    /// There is an answer, and it was sent, but for these ways: they wait for the socket that the client shall
    /// know. The client is to contact us.
    Answered { answer: Vec<u8>, unsent: Vec<Way>, waiting: Option<Box<Waiting>> },
    /// The application refused.
    Refused,
}

/// A stream of ours that waits for its client.
#[derive(Debug)]
struct Waiting {
    stream: StreamId,
    remote_stream: StreamId,
    session: Session,
}

impl Servers {
    pub(crate) const fn new(now: Instant, limits: ReplayLimits) -> Self {
        Self {
            keys: BTreeMap::new(),
            slots: BTreeMap::new(),
            by_noise: BTreeMap::new(),
            by_stream: BTreeMap::new(),
            timers: Timers::new(),
            first: FirstMessages::new(limits),
            serial: 0,
            reads: (now, 0),
        }
    }

    pub(crate) fn listen(&mut self, identity: Arc<Identity>, options: ListenOptions) {
        self.keys.insert(identity.public_key(), Server { identity, options, relays: VecDeque::new() });
    }

    /// Stops serving a key; connections that are open stay.
    pub(crate) fn unlisten(&mut self, now: Instant, ground: &mut Ground, key: PublicKey) {
        self.keys.remove(&key);
        let of_key = |(id, slot): (&SlotId, &Slot)| (slot.local == key).then_some(*id);
        let slots: Vec<SlotId> = self.slots.iter().filter_map(of_key).collect();
        for slot in slots {
            self.remove(now, ground, slot);
        }
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = PublicKey> {
        self.keys.keys().copied()
    }

    /// Counts the handshakes that go on, and all that were begun.
    pub(crate) fn handshakes(&self) -> (usize, u64) {
        (self.slots.len(), self.serial)
    }

    /// Takes a step of somebody's connection.
    pub(crate) fn handle_knock(&mut self, now: Instant, ground: &mut Ground, knock: Knock) -> ServerStep {
        let through = knock.relay.is_some_and(|relay| {
            self.keys
                .get(&knock.key)
                .is_some_and(|server| server.relays.iter().flatten().any(|own| *own == relay))
        });
        match &knock.step {
            Step::Handshake { noise } => {
                let name = dht::hash(noise);
                match self.first.judge(now, noise) {
                    Sight::New => self.begin(now, ground, name, knock),
                    Sight::Again => {
                        self.repeat(now, ground, name, knock);
                        ServerStep::Nothing
                    }
                    Sight::Replay => ServerStep::Nothing,
                }
            }
            Step::Holepunch { id, .. } => {
                let id = SlotId(*id);
                let of_key = self.slots.get(&id).is_some_and(|slot| slot.local == knock.key);
                if of_key {
                    self.with_punch(now, ground, id, |punch, ground| {
                        punch.handle_message(now, ground, (knock, through))
                    });
                }
                ServerStep::Nothing
            }
        }
    }

    /// Reads a first message, and answers it where the key is open to everyone.
    fn begin(&mut self, now: Instant, ground: &mut Ground, name: Id<32>, knock: Knock) -> ServerStep {
        let Step::Handshake { noise } = &knock.step else { return ServerStep::Nothing };
        if self.slots.len() >= SLOTS_MAX || !self.may_read(now) {
            return ServerStep::Nothing;
        }
        let Some(server) = self.keys.get(&knock.key) else { return ServerStep::Nothing };
        let prologue = hyperdht_prologue();
        let party =
            Party { key: server.identity.agreement(), prologue: &prologue, ephemeral: ground.secret() };
        let mut handshake = Handshake::new(Role::IkResponder, party);
        let Ok(payload) = handshake.read(noise) else { return ServerStep::Nothing };
        self.first.remember(now, noise);
        let (Some(remote), Ok(payload)) = (handshake.remote(), NoisePayload::decode(&payload)) else {
            return ServerStep::Nothing;
        };
        self.serial += 1;
        let id = SlotId(self.serial);
        let visitor = Visitor { slot: id, local: knock.key, remote, address: knock.client };
        let options = server.options.clone();
        let admission = options.admission;
        let slot = Slot {
            local: knock.key,
            options,
            noise: name,
            begun: now,
            client: Client::new(knock.client, &payload),
            stage: Stage::Asked { handshake: Box::new(handshake), knocks: [knock].into() },
            punch: None,
            token: None,
        };
        self.slots.insert(id, slot);
        self.timers.set(id, now + PATIENCE);
        self.by_noise.insert(name, id);
        match admission {
            Admission::Everyone => self.decide(now, ground, id, Verdict::Admit),
            Admission::Ask => ServerStep::Ask(visitor),
        }
    }

    fn may_read(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.reads.0) >= Duration::from_secs(1) {
            self.reads = (now, 0);
        }
        self.reads.1 += 1;
        self.reads.1 <= READS_PER_SECOND
    }

    /// Gives a client that repeats itself the same answer.
    fn repeat(&mut self, now: Instant, ground: &mut Ground, name: Id<32>, knock: Knock) {
        let Some(slot) = self.by_noise.get(&name).and_then(|id| self.slots.get_mut(id)) else { return };
        match &mut slot.stage {
            Stage::Asked { knocks, .. } if knocks.len() < WAYS_MAX => knocks.push_back(knock),
            Stage::Answered { unsent, .. } if !unsent.is_empty() => {
                if unsent.len() < WAYS_MAX {
                    unsent.push(knock.way);
                }
            }
            Stage::Answered { answer, .. } => {
                let from = slot.punch.as_ref().and_then(|punch| punch.socket_to_show());
                ground.hyper.answer(now, &knock.way, from, answer);
            }
            Stage::Asked { .. } | Stage::Refused => {}
        }
    }

    /// Takes the application's answer, and goes on with the handshake.
    pub(crate) fn decide(
        &mut self,
        now: Instant,
        ground: &mut Ground,
        id: SlotId,
        verdict: Verdict,
    ) -> ServerStep {
        let Some(slot) = self.slots.get_mut(&id) else { return ServerStep::Nothing };
        if !matches!(slot.stage, Stage::Asked { .. }) {
            return ServerStep::Nothing;
        }
        let Stage::Asked { mut handshake, knocks } = std::mem::replace(&mut slot.stage, Stage::Refused)
        else {
            return ServerStep::Nothing;
        };
        let Some(knock) = knocks.front().filter(|_| verdict == Verdict::Admit) else {
            return ServerStep::Nothing;
        };
        self.timers.set(id, now + PATIENCE);
        let (error, remote_stream) = match slot.client.stream {
            Some(stream) if slot.client.error == 0 => (0, Some(stream)),
            _ => (slot.client.error.max(ABORTED), None),
        };
        let stream = remote_stream.and_then(|_| ground.udx.open(now).ok());
        let is_direct = knock.relay.is_none();
        let at_once = (is_direct || slot.client.firewall == Firewall::Open) && slot.may_reach_client();
        let proposal = if at_once { None } else { slot.propose(ground, stream) };
        let payload = second_payload(ground, id, slot, (error, stream, proposal));
        let mut answer = Vec::new();
        if handshake.write(&payload, &mut answer).is_err() {
            if let Some(stream) = stream {
                ground.udx.destroy(now, stream);
            }
            return ServerStep::Nothing;
        }
        let ways: Vec<Way> = knocks.iter().map(|knock| knock.way).collect();
        let session = handshake.finish().ok();
        let Some(((session, stream), remote_stream)) = session.zip(stream).zip(remote_stream) else {
            send(now, ground, &ways, (None, &answer));
            slot.stage = Stage::Answered { answer, unsent: Vec::new(), waiting: None };
            return ServerStep::Nothing;
        };
        if at_once {
            ground.punches.open += 1;
            send(now, ground, &ways, (None, &answer));
            let socket = if is_direct { knock.at } else { ground.hyper.active() };
            let path = Path { socket, remote: slot.client.address.into() };
            slot.stage = Stage::Answered { answer, unsent: Vec::new(), waiting: None };
            let waiting = Waiting { stream, remote_stream, session };
            return ServerStep::Connected(Box::new(slot.birth(waiting, path, Route::Direct)));
        }
        if slot.cross(ground, proposal, stream) {
            self.timers.set(id, now + RELAY_PATIENCE);
        }
        let is_neighbour = slot.is_neighbour(ground, knock);
        let show = if is_neighbour { Show::Server } else { Show::Own };
        if ground.open_address().is_none() && slot.options.may_punch() {
            slot.punch = Some(Box::new(Punch::new(now, ground, (id, &session), show)));
        }
        // The client shall know the address of the socket that it will be punched from, and of no other.
        let waits =
            slot.punch.as_ref().is_some_and(|punch| punch.socket_to_show().is_none()) && !is_neighbour;
        if !waits {
            send(now, ground, &ways, (None, &answer));
        }
        let unsent = if waits { ways } else { Vec::new() };
        let waiting = Some(Box::new(Waiting { stream, remote_stream, session }));
        slot.stage = Stage::Answered { answer, unsent, waiting };
        self.by_stream.insert(stream, id);
        self.with_punch(now, ground, id, |punch, ground| punch.advance(now, ground));
        ServerStep::Nothing
    }

    /// Lets a hole punch go on, and sends what waited for its socket.
    fn with_punch(
        &mut self,
        now: Instant,
        ground: &mut Ground,
        id: SlotId,
        act: impl FnOnce(&mut Punch, &mut Ground) -> Patience,
    ) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let Some(punch) = &mut slot.punch else { return };
        if act(punch, ground) == Patience::Longer {
            self.timers.set(id, now + PUNCH_PATIENCE);
        }
        if let (Some(socket), Stage::Answered { answer, unsent, .. }) =
            (punch.socket_to_show(), &mut slot.stage)
        {
            send(now, ground, &std::mem::take(unsent), (Some(socket), answer));
        }
    }

    /// Lets a hole punch have news of its sockets.
    pub(crate) fn with_hole(
        &mut self,
        now: Instant,
        ground: &mut Ground,
        id: SlotId,
        act: impl FnOnce(&mut Hole),
    ) {
        self.with_punch(now, ground, id, |punch, ground| {
            act(&mut punch.hole);
            punch.advance(now, ground)
        });
    }

    /// Remembers the nodes that a key was announced on; tells whether they are others than before.
    pub(crate) fn handle_announced(&mut self, key: PublicKey, relays: &[SocketAddrV4]) -> bool {
        let Some(server) = self.keys.get_mut(&key).filter(|_| !relays.is_empty()) else { return false };
        let mut relays = relays.to_vec();
        relays.sort_unstable();
        let changed = server.relays.back() != Some(&relays);
        server.relays.push_back(relays);
        if server.relays.len() > GENERATIONS {
            server.relays.pop_front();
        }
        changed
    }

    /// Tells whether a stream waits for its client.
    pub(crate) fn awaits(&self, stream: StreamId) -> bool {
        self.by_stream.contains_key(&stream)
    }

    /// Tells whether a key is served whose clients may be met at relays that are found.
    pub(crate) fn use_found_relays(&self) -> bool {
        let finds = |options: &ListenOptions| options.may_relay() && options.through == RelayPolicy::Found;
        self.keys.values().any(|server| finds(&server.options))
    }

    /// Tells whether a client that is connected through a relay may use a path.
    pub(crate) fn may_use(&self, slot: SlotId, ground: &Ground, path: Path) -> bool {
        // Of a handshake that is forgotten nothing is known; only-relayed ones must not outlive that.
        self.slots.get(&slot).is_some_and(|slot| slot.admits(path, Self::route(ground, path)))
    }

    /// Takes the way through a relay; nothing where the client has found another meanwhile.
    pub(crate) fn handle_paired(&mut self, now: Instant, stream: StreamId, via: Via) -> Option<Box<Birth>> {
        let id = self.by_stream.remove(&stream)?;
        let slot = self.slots.get_mut(&id)?;
        let Stage::Answered { waiting, .. } = &mut slot.stage else { return None };
        let waiting = *waiting.take()?;
        if slot.punch.is_none() {
            self.timers.set(id, now + PATIENCE);
        }
        let relayed = Relayed {
            via,
            peer_stream: waiting.remote_stream,
            holder: Holder::Slot(id),
            stage: Passage::Through,
            tries: Relayed::TRIES,
        };
        let waiting = Waiting { remote_stream: via.stream, ..waiting };
        let birth = slot.birth(waiting, via.path, Route::Relayed);
        Some(Box::new(Birth { relayed: Some(relayed), ..birth }))
    }

    /// Takes a direct path of a client that is connected through a relay.
    pub(crate) fn handle_found(&mut self, now: Instant, ground: &mut Ground, (id, path): (SlotId, Path)) {
        let punch = self.slots.get_mut(&id).and_then(|slot| slot.punch.take());
        if let Some(mut punch) = punch {
            punch.hole.end(now, ground, Some(path.socket).filter(|socket| *socket > SocketId::CLIENT));
            self.timers.set(id, now + PATIENCE);
        }
    }

    /// Tells how packets travel by a path that a client found.
    pub(crate) fn route(ground: &Ground, path: Path) -> Route {
        let is_private = matches!(path.remote.ip(), IpAddr::V4(ip) if lan::is_private(ip));
        if path.socket > SocketId::CLIENT {
            Route::Punched
        } else if is_private && !ground.hyper.address().is_some_and(|own| lan::is_private(*own.ip())) {
            Route::Lan
        } else {
            Route::Direct
        }
    }

    /// Takes a path by which a client's first packet came.
    pub(crate) fn handle_offered(
        &mut self,
        now: Instant,
        ground: &mut Ground,
        (stream, path): (StreamId, Path),
    ) -> Option<Box<Birth>> {
        let id = *self.by_stream.get(&stream)?;
        let slot = self.slots.get_mut(&id)?;
        let route = Self::route(ground, path);
        if !slot.admits(path, route) {
            ground.udx.refuse(stream, path);
            return None;
        }
        self.by_stream.remove(&stream);
        let Stage::Answered { waiting, .. } = &mut slot.stage else { return None };
        let waiting = waiting.take()?;
        let punched = path.socket > SocketId::CLIENT;
        if let Some(mut punch) = slot.punch.take() {
            punch.hole.end(now, ground, Some(path.socket).filter(|_| punched));
        }
        self.timers.set(id, now + PATIENCE);
        Some(Box::new(slot.birth(*waiting, path, route)))
    }

    /// Forgets handshakes whose time is over.
    pub(crate) fn handle_timeout(&mut self, now: Instant, ground: &mut Ground) {
        while let Some(id) = self.timers.expire(now) {
            self.remove(now, ground, id);
        }
        let is_due = |slot: &Slot| {
            slot.punch
                .as_ref()
                .is_some_and(|punch| punch.hole.puncher.poll_timeout().is_some_and(|at| at <= now))
        };
        let due: Vec<SlotId> =
            self.slots.iter().filter(|(_, slot)| is_due(slot)).map(|(id, _)| *id).collect();
        for id in due {
            self.with_hole(now, ground, id, |hole| hole.puncher.handle_timeout(now));
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let punches =
            self.slots.values().filter_map(|slot| slot.punch.as_ref()?.hole.puncher.poll_timeout()).min();
        self.timers.next().into_iter().chain(punches).min()
    }

    pub(crate) fn clear(&mut self, now: Instant, ground: &mut Ground) {
        while let Some(id) = self.slots.first_key_value().map(|(id, _)| *id) {
            self.remove(now, ground, id);
        }
    }

    fn remove(&mut self, now: Instant, ground: &mut Ground, id: SlotId) {
        let Some(slot) = self.slots.remove(&id) else { return };
        self.timers.cancel(id);
        self.by_noise.remove(&slot.noise);
        if let Some(mut punch) = slot.punch {
            punch.hole.end(now, ground, None);
        }
        if let Stage::Answered { waiting: Some(waiting), .. } = slot.stage {
            self.by_stream.remove(&waiting.stream);
            ground.udx.destroy(now, waiting.stream);
            ground.wants.extend(slot.token.map(Want::Release));
        }
    }
}

impl Slot {
    fn birth(&self, waiting: Waiting, path: Path, route: Route) -> Birth {
        Birth {
            stream: waiting.stream,
            remote_stream: waiting.remote_stream,
            mover: self.client.moves.then(|| Mover::new(&waiting.session)),
            session: waiting.session,
            direction: Direction::Incoming,
            route,
            path,
            begun: self.begun,
            relayed: None,
        }
    }

    /// Tells whether the client may use a path.
    fn admits(&self, path: Path, route: Route) -> bool {
        match self.options.paths {
            Paths::Any | Paths::DirectOnly => true,
            Paths::RelayOnly => false,
            Paths::LanOnly => {
                route == Route::Lan || matches!(path.remote.ip(), IpAddr::V4(ip) if lan::is_private(ip))
            }
        }
    }

    /// Chooses a relay to propose: of no use to a client that can reach us, or that we cannot answer.
    fn propose(&self, ground: &mut Ground, stream: Option<StreamId>) -> Option<RelayThrough> {
        let is_open = ground.open_address().is_some() && self.options.paths != Paths::RelayOnly;
        if stream.is_none() || is_open || !self.options.may_relay() {
            return None;
        }
        ground.propose(&self.options.through, Resort::Usual)
    }

    /// Tells whether packets may be sent straight to the client.
    fn may_reach_client(&self) -> bool {
        match self.options.paths {
            Paths::Any | Paths::DirectOnly => true,
            Paths::RelayOnly => false,
            Paths::LanOnly => lan::is_private(*self.client.address.ip()),
        }
    }

    /// Has the client met at a relay, if one is proposed: ours goes before its own. Tells whether so.
    fn cross(&mut self, ground: &mut Ground, ours: Option<RelayThrough>, stream: StreamId) -> bool {
        let theirs = self.client.through.filter(|_| self.options.may_relay());
        let crossing = ours
            .map(|through| Crossing::new(&through, Side::Initiator, stream))
            .or_else(|| theirs.map(|through| Crossing::new(&through, Side::Responder, stream)));
        self.token = crossing.map(|crossing| crossing.token);
        ground.wants.extend(crossing.map(Want::Join));
        crossing.is_some()
    }

    /// Tells whether the client seems to be in a network of ours.
    fn is_neighbour(&self, ground: &Ground, knock: &Knock) -> bool {
        let ours: Vec<_> = ground.local_addresses().iter().map(|addr| *addr.ip()).collect();
        let theirs: Vec<_> =
            self.client.addresses.iter().filter(|addr| lan::is_private(*addr.ip())).copied().collect();
        self.options.may(self.options.lan)
            && knock.client.ip() == knock.seen_as.ip()
            && lan::best_match(&ours, &theirs).is_some()
    }
}

fn send(now: Instant, ground: &mut Ground, ways: &[Way], (from, answer): (Option<SocketId>, &[u8])) {
    for way in ways {
        ground.hyper.answer(now, way, from, answer);
    }
}

impl Client {
    fn new(address: SocketAddrV4, payload: &NoisePayload<'_>) -> Self {
        Self {
            address,
            firewall: payload.firewall,
            addresses: payload.addresses4.iter().take(16).collect(),
            stream: payload.udx.map(|udx| StreamId(udx.id)),
            moves: payload.udx.is_some_and(|udx| udx.moves()),
            error: if payload.version == VERSION { 0 } else { VERSION_MISMATCH },
            through: payload.relay_through,
        }
    }
}

/// The server's half of a handshake.
fn second_payload(
    ground: &Ground,
    id: SlotId,
    slot: &Slot,
    (error, stream, relay_through): (u64, Option<StreamId>, Option<RelayThrough>),
) -> Vec<u8> {
    let options = &slot.options;
    let open = ground.open_address().filter(|_| options.paths != Paths::RelayOnly);
    let relays: Vec<(SocketAddrV4, SocketAddrV4)> = ground.hyper.relays(slot.local).collect();
    let pairs = pack_addrs(relays.iter().flat_map(|(relay, seen)| [*relay, *seen]));
    let names = pack_addrs(open.into_iter().chain(relays.iter().map(|(relay, _)| *relay)));
    let local = if options.may(options.lan) { ground.local_addresses() } else { Vec::new() };
    let addresses = pack_addrs(open.into_iter().chain(local));
    let mut payload = Vec::new();
    NoisePayload {
        error,
        firewall: if open.is_some() { Firewall::Open } else { Firewall::Unknown },
        // A client of the reference connects blindly where it reads of no punch.
        punch: (open.is_none() && (options.may_punch() || options.paths == Paths::RelayOnly))
            .then(|| PunchOffer { id: id.0, relays: RelayPairs::from_packed(&pairs) }),
        addresses4: Addrs::from_packed(&addresses),
        udx: stream.map(|stream| hyper::Udx {
            version: 1,
            features: hyper::Udx::MOVES,
            id: stream.0,
            seq: 0,
        }),
        secret_stream: stream.map(|_| 1),
        relay_through,
        relay_addresses: (!names.is_empty()).then(|| Addrs::from_packed(&names)),
        ..NoisePayload::empty()
    }
    .encode(&mut payload);
    payload
}
