//! Using relays: connections with them, streams that are joined there, and the change to a direct path
//! (`hyperdht lib/connect.js`, `lib/server.js`, `lib/relay-connection.js`).

mod book;
mod ferry;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dht::Task;
use pace::Timers;
use peer::{BlindRelayEvent, PairRequest, PairToken, Side};
use udx::{Path, StreamId, Unacked};
use wire::PublicKey;

use crate::dial::{Again, Dial, DialOptions, DialStep};
use crate::event::{DialError, DialId, Event, LinkError, LinkId, Route};
use crate::ground::{Crossing, Errand, Holder, Want};
use crate::identity::Identity;
use crate::link::{Link, Relayed, Sign, Stage, Via};
use crate::server::Servers;
use crate::swarm::{Owner, Swarm};
pub(crate) use book::Book;
pub use book::RELAYS_TOPIC;
use ferry::Voyage;
pub(crate) use ferry::{Ferry, FerryId};

/// Connections with relays at one time.
const FERRIES_MAX: usize = 256;
/// Streams that are being joined because clients proposed a relay: each can make us dial a key of its choice.
const STRANGERS_MAX: usize = 32;
/// Streams that one connection with a relay carries; a relay serves sixteen of one client.
const CROSSINGS_MAX: usize = 16;
/// How long a connection with a relay stays that nothing goes through.
const IDLE: Duration = Duration::from_secs(10);
/// How long streams stay joined that are over, or go by another path: the reference gives up after 13 s to repeat
/// its last packets.
const LINGER: Duration = Duration::from_secs(15);
/// How long a direct path may take to be used by both sides before packets go through the relay again.
const TRIAL: Duration = Duration::from_secs(4);
/// Between attempts to have a connection with some relay at hand.
const TEND: Duration = Duration::from_secs(30);

/// What a node has to do with relays.
#[derive(Debug)]
pub(crate) struct Relays {
    /// Who we are to relays: a key that is made anew with each node, so that they recognize nobody.
    identity: Arc<Identity>,
    ferries: BTreeMap<FerryId, Ferry>,
    by_dial: BTreeMap<DialId, FerryId>,
    by_link: BTreeMap<LinkId, FerryId>,
    pairs: BTreeMap<PairToken, Pair>,
    by_stream: BTreeMap<StreamId, PairToken>,
    timers: Timers<Due>,
    serial: u64,
    parked: BTreeMap<DialId, (PublicKey, Again)>,
    search: Search,
}

/// A stream that is joined, or to be.
#[derive(Debug)]
struct Pair {
    ferry: FerryId,
    stream: StreamId,
    side: Side,
    joined: Sign,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Release(PairToken),
    Idle(FerryId),
    Trial(LinkId),
    Tend,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Search {
    Idle,
    Going,
}

impl Relays {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self {
            identity: Arc::new(Identity::from_seed(seed)),
            ferries: BTreeMap::new(),
            by_dial: BTreeMap::new(),
            by_link: BTreeMap::new(),
            pairs: BTreeMap::new(),
            by_stream: BTreeMap::new(),
            timers: Timers::new(),
            serial: 0,
            parked: BTreeMap::new(),
            search: Search::Idle,
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let ferries = self.ferries.values().filter_map(Ferry::poll_timeout).min();
        self.timers.next().into_iter().chain(ferries).min()
    }

    pub(crate) fn public_key(&self) -> PublicKey {
        self.identity.public_key()
    }

    /// Forgets a link that is over, if it was a connection with a relay.
    pub(crate) fn forget_link(&mut self, link: LinkId) -> Option<FerryId> {
        self.by_link.remove(&link)
    }

    pub(crate) fn ferry_of(&self, link: LinkId) -> Option<FerryId> {
        self.by_link.get(&link).copied()
    }

    fn insert(&mut self, relay: PublicKey) -> Option<FerryId> {
        if self.ferries.len() >= FERRIES_MAX {
            return None;
        }
        let ferry = Ferry::new(relay, self.identity.public_key())?;
        self.serial += 1;
        let id = FerryId(self.serial);
        self.ferries.insert(id, ferry);
        Some(id)
    }

    fn strangers(&self) -> usize {
        let waits = |pair: &&Pair| pair.side == Side::Responder && pair.joined == Sign::Awaited;
        self.pairs.values().filter(waits).count()
    }
}

impl Swarm {
    /// Goes through the connections that are no means of others.
    pub(crate) fn links_of_peers(&self) -> impl Iterator<Item = &Link> {
        let serves = |link: &Link| {
            self.relays.by_link.contains_key(&link.id)
                || self.hosts.get(&link.local).is_some_and(|host| host.has_client(link.id))
        };
        self.links.values().filter(move |link| !serves(link))
    }

    /// Goes through the dials that somebody waits for.
    pub(crate) fn dials_of_peers(&self) -> impl Iterator<Item = &Dial> {
        self.dials.values().filter(|dial| dial.link.is_none() && !self.relays.by_dial.contains_key(&dial.id))
    }

    pub(crate) fn relays_timeout(&mut self, now: Instant) {
        let due = |ferry: &Ferry| ferry.poll_timeout().is_some_and(|at| at <= now);
        let ids: Vec<_> =
            self.relays.ferries.iter().filter(|(_, ferry)| due(ferry)).map(|(id, _)| *id).collect();
        for id in ids {
            if let Some(ferry) = self.relays.ferries.get_mut(&id) {
                ferry.handle_timeout(now);
            }
            self.drive_ferry(now, id);
        }
        while let Some(due) = self.relays.timers.expire(now) {
            match due {
                Due::Release(token) => self.release(now, token),
                Due::Idle(id) => self.sink_if_idle(now, id),
                Due::Trial(link) => self.end_trial(now, link),
                Due::Tend => self.tend_relays(now),
            }
        }
    }

    /// Does what a dial or a handshake wants of a relay.
    pub(crate) fn fulfil(&mut self, now: Instant, want: Want) {
        match want {
            Want::Join(crossing) => {
                if !self.join_streams(now, crossing) {
                    self.tell_unpaired(now, crossing.stream);
                }
            }
            Want::Ready(relay) => {
                self.ferry_to(now, relay);
            }
            Want::Release(token) => self.release(now, token),
        }
    }

    fn join_streams(&mut self, now: Instant, crossing: Crossing) -> bool {
        let Crossing { relay, token, side, stream } = crossing;
        let is_crowded = side == Side::Responder
            && self.servers.awaits(stream)
            && self.relays.strangers() >= STRANGERS_MAX;
        if is_crowded || self.relays.pairs.contains_key(&token) {
            return false;
        }
        let Some(id) = self.ferry_to(now, relay) else { return false };
        let Some(ferry) = self.relays.ferries.get_mut(&id) else { return false };
        if !ferry.pair(now, PairRequest { side, token, stream: stream.0 }) {
            return false;
        }
        self.relays.timers.cancel(Due::Idle(id));
        self.relays.pairs.insert(token, Pair { ferry: id, stream, side, joined: Sign::Awaited });
        self.relays.by_stream.insert(stream, token);
        self.drive_ferry(now, id);
        true
    }

    /// Returns a connection with a relay that has room, and begins one where there is none.
    fn ferry_to(&mut self, now: Instant, relay: PublicKey) -> Option<FerryId> {
        let has_room = |ferry: &Ferry| ferry.relay == relay && ferry.crossings() < CROSSINGS_MAX;
        let found = self.relays.ferries.iter().find(|(_, ferry)| has_room(ferry)).map(|(id, _)| *id);
        if let Some(id) = found {
            return Some(id);
        }
        let id = self.relays.insert(relay)?;
        let identity = Arc::clone(&self.relays.identity);
        let options = DialOptions::of_relay(self.ground.book.nodes(&relay));
        self.begin_dial(now, (relay, &identity), options, |swarm, dial| {
            swarm.relays.by_dial.insert(dial, id);
        });
        self.relays.timers.set(Due::Idle(id), now + LINGER);
        self.relays.ferries.contains_key(&id).then_some(id)
    }

    /// Takes the connection with a relay, if this dial was for one.
    pub(crate) fn ferry_dialled(&mut self, now: Instant, dial: DialId, link: LinkId) -> bool {
        let Some(id) = self.relays.by_dial.remove(&dial) else { return false };
        let Some(ferry) = self.relays.ferries.get_mut(&id) else {
            self.remove_link(now, link, LinkError::Closed);
            return true;
        };
        ferry.voyage = Voyage::Open(link);
        self.relays.by_link.insert(link, id);
        self.drive_ferry(now, id);
        true
    }

    /// Takes the failure of a dial, if it was for a relay.
    pub(crate) fn ferry_failed(&mut self, now: Instant, dial: DialId) -> bool {
        let Some(id) = self.relays.by_dial.remove(&dial) else { return false };
        if let Some(relay) = self.relays.ferries.get(&id).map(|ferry| ferry.relay) {
            self.ground.book.strike(&relay);
        }
        self.lose_ferry(now, id);
        true
    }

    /// Forgets a connection with a relay that is over, with all that went through it.
    pub(crate) fn lose_ferry(&mut self, now: Instant, id: FerryId) {
        let Some(ferry) = self.relays.ferries.remove(&id) else { return };
        self.relays.timers.cancel(Due::Idle(id));
        self.ground.book.close(&ferry.relay);
        let lost: Vec<_> =
            self.relays.pairs.iter().filter(|(_, pair)| pair.ferry == id).map(|(token, _)| *token).collect();
        for token in lost {
            let Some(pair) = self.relays.pairs.remove(&token) else { continue };
            self.relays.timers.cancel(Due::Release(token));
            self.relays.by_stream.remove(&pair.stream);
            match pair.joined {
                Sign::Awaited => self.tell_unpaired(now, pair.stream),
                Sign::Seen => self.end_through(now, pair.stream),
            }
        }
        self.relays.timers.set(Due::Tend, now + TEND);
    }

    /// Ends a link whose relay is gone, if packets go nowhere else.
    fn end_through(&mut self, now: Instant, stream: StreamId) {
        let Some(Owner::Link(id)) = self.streams.get(&stream).copied() else { return };
        let Some(relayed) = self.links.get(&id).and_then(|link| link.relayed.as_ref()) else { return };
        if relayed.stage == Stage::Through {
            self.remove_link(now, id, LinkError::RelayGone);
        }
    }

    /// Reads what a relay says.
    pub(crate) fn read_ferry(&mut self, now: Instant, id: FerryId) {
        let Some(link) = self.relays.ferries.get(&id).and_then(Ferry::link) else { return };
        if !self.read_mux(now, link, |swarm, frame| {
            swarm.relays.ferries.get_mut(&id).is_some_and(|ferry| ferry.handle_frame(frame))
        }) {
            return self.remove_link(now, link, LinkError::Closed);
        }
        if self.relays.ferries.get(&id).is_some_and(|ferry| ferry.is_open()) {
            let relay = self.relays.ferries[&id].relay;
            self.ground.book.open(relay);
        }
        self.drive_ferry(now, id);
    }

    /// Hands the frames of a link to whoever speaks on its channels; tells whether it goes on.
    pub(crate) fn read_mux(
        &mut self,
        now: Instant,
        link: LinkId,
        mut handle: impl FnMut(&mut Self, &[u8]) -> bool,
    ) -> bool {
        loop {
            match self.take(now, link) {
                crate::Taken::Frame(frame) => {
                    if !handle(self, &frame) {
                        return false;
                    }
                }
                crate::Taken::Nothing => return true,
                crate::Taken::End => return false,
            }
        }
    }

    fn drive_ferry(&mut self, now: Instant, id: FerryId) {
        while let Some(event) = self.relays.ferries.get_mut(&id).and_then(Ferry::poll_event) {
            match event {
                BlindRelayEvent::Paired { token, stream } => self.cross(now, token, StreamId(stream)),
                BlindRelayEvent::Failed { token, .. } => {
                    if let Some(pair) = self.relays.pairs.remove(&token) {
                        self.relays.by_stream.remove(&pair.stream);
                        self.rest_ferry(now, id);
                        self.tell_unpaired(now, pair.stream);
                    }
                }
                BlindRelayEvent::Closed => {
                    match self.relays.ferries.get(&id).and_then(Ferry::link) {
                        Some(link) => self.remove_link(now, link, LinkError::Closed),
                        None => self.lose_ferry(now, id),
                    }
                    return;
                }
                _ => {}
            }
        }
        let Some(ferry) = self.relays.ferries.get_mut(&id) else { return };
        let Some(link) = ferry.link() else { return };
        let mut frame = Vec::new();
        while self.relays.ferries.get_mut(&id).is_some_and(|ferry| ferry.poll_frame(&mut frame)) {
            if self.send(now, link, &frame).is_err() {
                return self.remove_link(now, link, LinkError::Closed);
            }
        }
    }

    /// The relay has joined a stream of ours: packets to the relay's stream arrive at the peer.
    fn cross(&mut self, now: Instant, token: PairToken, at_relay: StreamId) {
        let Some(pair) = self.relays.pairs.get_mut(&token) else { return };
        pair.joined = Sign::Seen;
        let (stream, ferry) = (pair.stream, pair.ferry);
        let Some(relay) = self.relays.ferries.get(&ferry) else { return };
        let Some(link) = relay.link().and_then(|link| self.links.get(&link)) else { return };
        let via = Via { relay: relay.relay, token, path: link.path, stream: at_relay };
        match self.streams.get(&stream).copied() {
            Some(Owner::Dial(id)) => {
                self.step_dial(now, id, |dial, ground| dial.handle_paired(now, ground, via));
            }
            // The peer may have begun through the relay before it heard of our direct path: what it sent there
            // shall arrive.
            Some(Owner::Link(_)) => {
                self.ground.udx.admit(now, stream, via.path);
                self.ground.udx.knock(stream, via.path, via.stream);
                self.relays.timers.set(Due::Release(token), now + LINGER);
            }
            Some(Owner::Relay(..)) => {}
            None => match self.servers.handle_paired(now, stream, via) {
                Some(birth) => self.accept(now, birth),
                None => self.release(now, token),
            },
        }
    }

    fn tell_unpaired(&mut self, now: Instant, stream: StreamId) {
        if let Some(Owner::Dial(id)) = self.streams.get(&stream).copied() {
            self.step_dial(now, id, |dial, _| dial.handle_unpaired());
        }
    }

    /// Gives up a stream's way through a relay that was not asked yet; one that was may have joined it.
    pub(crate) fn spare_crossing(&mut self, now: Instant, stream: StreamId) {
        let Some(token) = self.relays.by_stream.get(&stream).copied() else { return };
        let Some(pair) = self.relays.pairs.get(&token) else { return };
        if self.relays.ferries.get(&pair.ferry).is_none_or(|ferry| ferry.link().is_none()) {
            self.release(now, token);
        }
    }

    /// Gives up a stream's way through a relay.
    pub(crate) fn release_crossing(&mut self, now: Instant, stream: StreamId) {
        if let Some(token) = self.relays.by_stream.get(&stream).copied() {
            self.release(now, token);
        }
    }

    /// Keeps a stream that is over joined for as long as its peer may repeat its last packets.
    pub(crate) fn release_later(&mut self, now: Instant, stream: StreamId) {
        if let Some(token) = self.relays.by_stream.get(&stream).copied() {
            self.relays.timers.set(Due::Release(token), now + LINGER);
        }
    }

    fn release(&mut self, now: Instant, token: PairToken) {
        let Some(pair) = self.relays.pairs.remove(&token) else { return };
        self.relays.timers.cancel(Due::Release(token));
        self.relays.by_stream.remove(&pair.stream);
        if let Some(ferry) = self.relays.ferries.get_mut(&pair.ferry) {
            ferry.unpair(token);
        }
        self.rest_ferry(now, pair.ferry);
        self.drive_ferry(now, pair.ferry);
    }

    fn rest_ferry(&mut self, now: Instant, id: FerryId) {
        if self.relays.ferries.get(&id).is_some_and(|ferry| ferry.crossings() == 0) {
            self.relays.timers.set(Due::Idle(id), now + IDLE);
        }
    }

    fn sink_if_idle(&mut self, now: Instant, id: FerryId) {
        let Some(ferry) = self.relays.ferries.get(&id).filter(|ferry| ferry.crossings() == 0) else { return };
        if self.wants_relay_at_hand() && self.is_only_ferry(id) {
            return self.relays.timers.set(Due::Idle(id), now + TEND);
        }
        match ferry.link() {
            Some(link) => self.remove_link(now, link, LinkError::Closed),
            None => {
                let dial = self.relays.by_dial.iter().find(|(_, of)| **of == id).map(|(dial, _)| *dial);
                if let Some(dial) = dial {
                    self.relays.by_dial.remove(&dial);
                    self.drop_dial(now, dial);
                }
                self.lose_ferry(now, id);
            }
        }
    }

    fn is_only_ferry(&self, id: FerryId) -> bool {
        self.relays.ferries.iter().all(|(other, ferry)| *other == id || ferry.link().is_none())
    }

    /// Changes a link to a direct path that was found.
    pub(crate) fn try_path(&mut self, now: Instant, id: LinkId, (path, route): (Path, Route)) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let Some(relayed) = &mut link.relayed else { return };
        if relayed.stage != Stage::Through || relayed.tries == 0 || path == relayed.via.path {
            return;
        }
        let to = (path, relayed.peer_stream);
        if self.ground.udx.change_path(now, link.stream, to, Unacked::Stay).is_err() {
            return;
        }
        relayed.tries -= 1;
        let until = now + TRIAL;
        relayed.stage = Stage::Trying { until, arrived: Sign::Awaited, shared: Sign::Awaited };
        (link.path, link.route, link.remote_stream) = (path, route, to.1);
        self.ground.keep_socket(path.socket);
        // The peer learns of the path by what comes there.
        link.keep_alive(now, &mut self.ground.udx);
        self.relays.timers.set(Due::Trial(id), until);
        self.set_timer(id);
    }

    /// Takes a sign that a direct path serves.
    pub(crate) fn note_sign(
        &mut self,
        now: Instant,
        stream: StreamId,
        note: impl FnOnce(&mut Sign, &mut Sign),
    ) {
        let Some(Owner::Link(id)) = self.streams.get(&stream).copied() else { return };
        let Some(link) = self.links.get_mut(&id) else { return };
        let Some(Relayed { stage, .. }) = &mut link.relayed else { return };
        let Stage::Trying { arrived, shared, .. } = stage else { return };
        let before = *arrived;
        note(arrived, shared);
        let (arrived, shared) = (*arrived, *shared);
        if before == Sign::Awaited && arrived == Sign::Seen {
            // By this the reference knows that the direct path serves, and leaves the relay. It may be lost; a
            // keep-alive does the same.
            self.ground.udx.send_message(stream, &[]).unwrap_or_default();
        }
        if (arrived, shared) != (Sign::Seen, Sign::Seen) {
            return;
        }
        *stage = Stage::Left;
        if link.moving.is_some() {
            self.ground.udx.hear_strangers(stream);
        }
        let course = link.course();
        self.relays.timers.cancel(Due::Trial(id));
        self.release_later(now, stream);
        self.events.push_back(Event::Rerouted { link: id, course });
    }

    /// Goes back to the relay where a direct path came to nothing.
    fn end_trial(&mut self, now: Instant, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let Some(relayed) = &mut link.relayed else { return };
        let Stage::Trying { shared, .. } = relayed.stage else { return };
        if shared == Sign::Seen {
            // What is on its way takes its time; the path serves.
            return self.relays.timers.set(Due::Trial(id), now + TRIAL);
        }
        relayed.stage = Stage::Through;
        let via = relayed.via;
        let direct = std::mem::replace(&mut link.path, via.path);
        (link.route, link.remote_stream) = (Route::Relayed, via.stream);
        let to = (via.path, via.stream);
        self.ground.udx.change_path(now, link.stream, to, Unacked::Move).unwrap_or_default();
        self.ground.close_later(now, direct.socket);
        if !self.relays.by_stream.contains_key(&link.stream) {
            self.remove_link(now, id, LinkError::RelayGone);
        }
    }

    /// Takes a path that a relayed link's peer sends by.
    pub(crate) fn consider_direct(&mut self, now: Instant, id: LinkId, path: Path) {
        let Some(link) = self.links.get(&id) else { return };
        let Some(relayed) = &link.relayed else { return };
        let stream = link.stream;
        if path == relayed.via.path {
            return self.ground.udx.admit(now, stream, path);
        }
        if relayed.stage != Stage::Through || relayed.tries == 0 {
            return self.ground.udx.refuse(stream, path);
        }
        match relayed.holder {
            Holder::Dial(dial) if self.dials.contains_key(&dial) => {
                self.step_dial(now, dial, |dial, ground| dial.handle_offered(now, ground, path));
            }
            Holder::Dial(_) => {
                let route = Servers::route(&self.ground, path);
                self.try_path(now, id, (path, route));
            }
            Holder::Slot(slot) => {
                if !self.servers.may_use(slot, &self.ground, path) {
                    return self.ground.udx.refuse(stream, path);
                }
                self.servers.handle_found(now, &mut self.ground, (slot, path));
                let route = Servers::route(&self.ground, path);
                self.try_path(now, id, (path, route));
            }
        }
    }

    /// Tells whether a key of ours is served that a client behind a random NAT may dial.
    fn wants_relay_at_hand(&self) -> bool {
        self.ground.hyper.is_randomized() && self.servers.use_found_relays()
    }

    /// Sees to it that relays are known where they will be needed, and one is at hand where clients may come.
    pub(crate) fn tend_relays(&mut self, now: Instant) {
        if !self.ground.hyper.is_bootstrapped() || !self.ground.hyper.is_randomized() {
            return;
        }
        self.look_for_relays(now);
        if !self.wants_relay_at_hand() {
            return;
        }
        if self.relays.ferries.is_empty()
            && let Some(relay) = self.ground.book.choose(&mut self.ground.rng)
        {
            self.ferry_to(now, relay);
        }
        self.relays.timers.set(Due::Tend, now + TEND);
    }

    fn look_for_relays(&mut self, now: Instant) {
        if self.relays.search == Search::Idle && !self.ground.book.is_fresh(now) {
            self.relays.search = Search::Going;
            self.ground.send(now, Task::Lookup { topic: RELAYS_TOPIC }, Errand::Relays);
        }
    }

    /// Takes relays that a node knows of.
    pub(crate) fn relays_found(&mut self, peers: &[dht::Peer]) {
        for peer in peers {
            self.ground.book.add(peer.public_key, &peer.relays);
        }
    }

    /// Takes the end of a walk for relays.
    pub(crate) fn relays_walked(&mut self, now: Instant) {
        self.relays.search = Search::Idle;
        self.ground.book.walked(now);
        while let Some((id, (remote, again))) = self.relays.parked.pop_first() {
            self.begin_again(now, (id, remote), again);
        }
        self.tend_relays(now);
    }

    /// Begins a dial anew that found no path, as soon as relays were looked for.
    pub(crate) fn dial_again(&mut self, now: Instant, (id, remote): (DialId, PublicKey), again: Again) {
        if self.ground.book.is_fresh(now) {
            return self.begin_again(now, (id, remote), again);
        }
        self.relays.parked.insert(id, (remote, again));
        self.look_for_relays(now);
    }

    fn begin_again(&mut self, now: Instant, (id, remote): (DialId, PublicKey), again: Again) {
        let Again { identity, options, begun, tries, error } = again;
        if self.ground.book.choose(&mut self.ground.rng).is_none() {
            return self.tell_failed(now, (id, remote), error);
        }
        match Dial::new(now, &mut self.ground, (id, remote), &identity, options) {
            Ok(mut dial) => {
                dial.resume(begun, tries);
                self.insert_dial(dial);
            }
            Err(error) => self.tell_failed(now, (id, remote), error),
        }
    }

    /// Takes back a dial that waits for relays; tells whether it did.
    pub(crate) fn forget_parked(&mut self, id: DialId) -> Option<PublicKey> {
        self.relays.parked.remove(&id).map(|(remote, _)| remote)
    }

    /// Takes back all dials that wait for relays.
    pub(crate) fn forget_all_parked(&mut self, now: Instant, error: DialError) {
        while let Some((id, (remote, _))) = self.relays.parked.pop_first() {
            self.tell_failed(now, (id, remote), error);
        }
    }

    /// Goes on with a dial whose connection is open through a relay.
    pub(crate) fn link_through(&mut self, now: Instant, id: DialId, link: LinkId) {
        if let Some(dial) = self.dials.get_mut(&id) {
            dial.link = Some(link);
            if dial.is_spent() {
                self.step_dial(now, id, |_, _| DialStep::Failed(DialError::CannotPunch));
            }
        }
    }
}
