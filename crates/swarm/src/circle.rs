//! One identity's peers: what its roster decides, done by the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dht::{OperationId, Outcome, Task};
use peer::Evidence;
use wire::{Id, PublicKey};

use crate::dial::DialOptions;
use crate::event::{DialError, DialId, Event, LinkError, LinkId, Opened};
use crate::ground::Errand;
use crate::identity::Identity;
use crate::policy::Resort;
use crate::roster::{
    self, Action, CloseReason, DialFailure, Dialled, Farewell, FlushId, Incoming, JoinError, JoinId,
    RefreshKind, RefreshOutcome, RelayUse, Role, Roster, RosterEvent, TopicState, Vitals,
};
use crate::server::ListenOptions;
use crate::survey::{CircleState, RecordsByTopic, Told};
use crate::swarm::Swarm;

/// How often a challenged connection is looked at for the acknowledgement of its keep-alive.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(crate) struct Circle {
    identity: Arc<Identity>,
    options: CircleOptions,
    pub(crate) roster: Roster,
    walks: BTreeMap<Id<32>, OperationId>,
    records: RecordsByTopic,
    dials: BTreeMap<DialId, roster::DialId>,
    /// Connections that the roster was told of.
    links: BTreeMap<LinkId, Opened>,
    /// Connections whose keep-alive has to be acknowledged.
    challenged: BTreeSet<LinkId>,
    look_at: Option<Instant>,
}

/// How the peers of one identity are dialled and served.
#[derive(Clone, Debug, Default)]
pub struct CircleOptions {
    /// How they are dialled; the roster adds each peer's relays.
    pub dial: DialOptions,
    /// How they are served.
    pub listen: ListenOptions,
    /// How many, and how often.
    pub roster: roster::RosterConfig,
}

impl Circle {
    pub(crate) fn new(identity: Arc<Identity>, options: CircleOptions, seed: [u8; 32]) -> Self {
        let roster = Roster::new(identity.public_key(), options.roster.clone(), seed);
        Self {
            identity,
            options,
            roster,
            walks: BTreeMap::new(),
            records: RecordsByTopic::new(),
            dials: BTreeMap::new(),
            links: BTreeMap::new(),
            challenged: BTreeSet::new(),
            look_at: None,
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.roster.poll_timeout().into_iter().chain(self.look_at).min()
    }

    /// Tells how its topics and peers stand.
    pub(crate) fn state(&self) -> CircleState {
        let with_records = |topic: TopicState| {
            let records = self.records.get(&topic.topic).cloned().unwrap_or_default();
            (topic, records)
        };
        CircleState {
            local: self.identity.public_key(),
            census: self.roster.census(),
            topics: self.roster.topics().map(with_records).collect(),
            peers: self.roster.peers().collect(),
        }
    }

    /// Remembers what a walk for a topic came to, and forgets topics that are left.
    fn note_walk(&mut self, now: Instant, topic: Id<32>, outcome: &Outcome) {
        let told = match self.roster.refreshing(&topic) {
            Some(RefreshKind::Announce) => Told::Announced,
            Some(RefreshKind::Unannounce) => Told::Removed,
            Some(RefreshKind::Lookup) | None => Told::Looked,
        };
        let holders = if let Outcome::Stored { holders, .. } = outcome { &**holders } else { &[] };
        self.records.entry(topic).or_default().note(now, told, holders);
        let roster = &self.roster;
        self.records.retain(|topic, _| roster.is_joined(topic));
    }

    /// Tells whether an incoming connection of this key is the roster's to judge.
    fn serves(&self) -> bool {
        self.roster.is_serving()
    }
}

impl Swarm {
    /// Begins to keep the peers of an identity; a second call for one changes nothing.
    pub fn gather(&mut self, identity: &Arc<Identity>, options: CircleOptions) {
        let seed = self.fresh_seed();
        self.circles
            .entry(identity.public_key())
            .or_insert_with(|| Circle::new(Arc::clone(identity), options, seed));
    }

    /// Joins a topic as an identity whose peers are kept; see [`Roster::join`].
    ///
    /// # Errors
    ///
    /// Fails where too many topics are joined, or the identity's peers are not kept.
    pub fn join(
        &mut self,
        now: Instant,
        (local, topic): (PublicKey, Id<32>),
        role: Role,
        limit: Option<usize>,
    ) -> Result<JoinId, JoinError> {
        let circle = self.circles.get_mut(&local).ok_or(JoinError::ShutDown)?;
        let joined = circle.roster.join(now, topic, role, limit);
        self.settle(now);
        joined
    }

    /// Takes a join back.
    pub fn leave(&mut self, now: Instant, local: PublicKey, join: JoinId) {
        self.with_roster(now, local, |roster| roster.leave(now, join));
    }

    /// Begins a wait that ends with [`Event::Flushed`]; see [`Roster::flush`].
    pub fn flush(&mut self, now: Instant, local: PublicKey) -> Option<FlushId> {
        self.with_roster(now, local, |roster| roster.flush(now))
    }

    /// Lets the roster of an identity have a change that it offers.
    pub fn with_roster<T>(
        &mut self,
        now: Instant,
        local: PublicKey,
        change: impl FnOnce(&mut Roster) -> T,
    ) -> Option<T> {
        let result = self.circles.get_mut(&local).map(|circle| change(&mut circle.roster));
        self.settle(now);
        result
    }

    /// Lends the roster of an identity, to read.
    #[must_use]
    pub fn roster(&self, local: &PublicKey) -> Option<&Roster> {
        self.circles.get(local).map(|circle| &circle.roster)
    }

    /// Goes through the identities whose peers are kept.
    pub fn circles(&self) -> impl Iterator<Item = (PublicKey, &Roster)> {
        self.circles.iter().map(|(key, circle)| (*key, &circle.roster))
    }

    /// Stops keeping an identity's peers: removes its records and closes its connections.
    /// [`Event::Dispersed`] tells when that is done.
    pub fn disperse(&mut self, now: Instant, local: PublicKey) {
        self.with_roster(now, local, |roster| roster.shut_down(now, Farewell::Unannounce));
    }

    /// Takes what a walk for a topic found.
    pub(crate) fn circle_found(
        &mut self,
        now: Instant,
        (local, topic): (PublicKey, Id<32>),
        peers: &[dht::Peer],
    ) {
        let Some(circle) = self.circles.get_mut(&local) else { return };
        for peer in peers {
            circle.roster.handle_found(now, topic, peer.public_key, &peer.relays);
        }
    }

    /// Takes the end of a walk for a topic.
    pub(crate) fn circle_refreshed(
        &mut self,
        now: Instant,
        (local, topic): (PublicKey, Id<32>),
        outcome: &Outcome,
    ) {
        let Some(circle) = self.circles.get_mut(&local) else { return };
        circle.walks.remove(&topic);
        let succeeded = match outcome {
            Outcome::Walked(walked) => !walked.closest.is_empty(),
            Outcome::Stored { stored, walked, .. } => *stored > 0 || !walked.closest.is_empty(),
            _ => false,
        };
        let refreshed = if succeeded { RefreshOutcome::Succeeded } else { RefreshOutcome::Failed };
        circle.note_walk(now, topic, outcome);
        circle.roster.handle_refreshed(now, topic, refreshed);
    }

    /// Takes a dial's success, if a roster asked for it.
    pub(crate) fn circle_dialled(&mut self, now: Instant, dial: DialId, opened: Opened) -> bool {
        let Some(circle) = self.circles.get_mut(&opened.local) else { return false };
        let Some(wanted) = circle.dials.remove(&dial) else { return false };
        circle.links.insert(opened.link, opened);
        circle.roster.handle_dialled(now, wanted, Dialled::Opened(opened.link));
        true
    }

    /// Takes a dial's failure, if a roster asked for it.
    pub(crate) fn circle_failed(&mut self, now: Instant, dial: DialId, error: DialError) {
        let asked = self.circles.values_mut().find_map(|circle| Some((circle.dials.remove(&dial)?, circle)));
        if let Some((wanted, circle)) = asked {
            circle.roster.handle_dialled(now, wanted, Dialled::Failed(failure(error)));
        }
    }

    /// Hands a peer's connection to the roster of its key, if that serves it.
    pub(crate) fn circle_accepted(&mut self, now: Instant, opened: Opened, begun: Instant) -> bool {
        let Some(circle) = self.circles.get_mut(&opened.local).filter(|circle| circle.serves()) else {
            return false;
        };
        let existing = circle.roster.link_with(&opened.remote).and_then(|link| {
            let link = self.links.get(&link)?;
            let round_trip =
                self.ground.udx.stream_stats(link.stream).and_then(|stats| stats.rtt).unwrap_or_default();
            Some(Vitals { stats: link.stats(), round_trip })
        });
        circle.links.insert(opened.link, opened);
        let incoming = Incoming { link: opened.link, key: opened.remote, begun, existing };
        circle.roster.handle_incoming(now, incoming);
        true
    }

    /// Takes the end of a connection.
    pub(crate) fn circle_closed(&mut self, now: Instant, local: PublicKey, link: LinkId) {
        let Some(circle) = self.circles.get_mut(&local) else { return };
        circle.challenged.remove(&link);
        if circle.links.remove(&link).is_some() {
            circle.roster.handle_closed(now, link);
        }
    }

    /// Takes a frame's arrival on a connection that its roster may not have accepted yet.
    pub(crate) fn circle_confirmed(&mut self, now: Instant, local: PublicKey, link: LinkId) {
        let Some(circle) = self.circles.get_mut(&local) else { return };
        let evidence = Evidence { newcomer_confirmed: true, existing_acknowledged: false };
        circle.roster.handle_evidence(now, link, evidence);
    }

    pub(crate) fn circles_timeout(&mut self, now: Instant) {
        for circle in self.circles.values_mut() {
            if circle.roster.poll_timeout().is_some_and(|at| at <= now) {
                circle.roster.handle_timeout(now);
            }
        }
        let due = |circle: &Circle| circle.look_at.is_some_and(|at| at <= now);
        let keys: Vec<_> =
            self.circles.iter().filter(|(_, circle)| due(circle)).map(|(key, _)| *key).collect();
        for key in keys {
            self.look_at_challenged(now, key);
        }
    }

    /// Looks whether connections have acknowledged what they were sent.
    fn look_at_challenged(&mut self, now: Instant, local: PublicKey) {
        let Some(circle) = self.circles.get_mut(&local) else { return };
        for id in circle.challenged.clone() {
            let link = self.links.get(&id);
            let stats = link.and_then(|link| self.ground.udx.stream_stats(link.stream));
            let answered = stats.is_some_and(|stats| stats.queued == 0 && stats.in_flight == 0);
            if answered || stats.is_none() {
                circle.challenged.remove(&id);
            }
            if answered {
                let evidence = Evidence { existing_acknowledged: true, newcomer_confirmed: false };
                circle.roster.handle_evidence(now, id, evidence);
            }
        }
        circle.look_at = (!circle.challenged.is_empty()).then_some(now + LOOK);
    }

    /// Does what rosters ask for, until none asks; tells whether one did.
    pub(crate) fn drive_circles(&mut self, now: Instant) -> bool {
        let mut active = false;
        let keys: Vec<PublicKey> = self.circles.keys().copied().collect();
        for key in keys {
            while let Some(action) = self.circles.get_mut(&key).and_then(|circle| circle.roster.poll_action())
            {
                active = true;
                self.act(now, key, action);
            }
            while let Some(event) = self.circles.get_mut(&key).and_then(|circle| circle.roster.poll_event()) {
                active = true;
                self.tell_roster(key, event);
            }
        }
        active
    }

    fn act(&mut self, now: Instant, local: PublicKey, action: Action) {
        let Some(circle) = self.circles.get_mut(&local) else { return };
        match action {
            Action::Listen => {
                let (identity, options) = (Arc::clone(&circle.identity), circle.options.listen.clone());
                self.begin_listening(now, identity, options);
            }
            Action::Unlisten => {
                self.end_listening(now, local);
            }
            Action::Refresh { topic, kind } => {
                let key = circle.identity.signing().clone();
                let task = match kind {
                    RefreshKind::Announce => {
                        let open = self.ground.open_address();
                        let relays =
                            open.into_iter().chain(self.ground.hyper.relays(local).map(|(relay, _)| relay));
                        Task::Announce { topic, key, relays: relays.take(3).collect(), bump: 0 }
                    }
                    RefreshKind::Lookup => Task::Lookup { topic },
                    RefreshKind::Unannounce => Task::Unannounce { topic, key },
                };
                let operation = self.ground.send(now, task, Errand::Refresh(local, topic));
                circle.walks.insert(topic, operation);
            }
            Action::Stop { topic } => {
                if let Some(walk) = circle.walks.remove(&topic) {
                    self.ground.cancel(now, walk);
                }
            }
            Action::Dial { dial, key, relays, relay } => {
                let resort = match relay {
                    RelayUse::AsNeeded => Resort::Sparing,
                    RelayUse::Forced => Resort::Last,
                };
                let options = DialOptions { relays, resort, ..circle.options.dial.clone() };
                let identity = Arc::clone(&circle.identity);
                let id = self.begin_dial(now, (key, &identity), options, |swarm, id| {
                    if let Some(circle) = swarm.circles.get_mut(&local) {
                        circle.dials.insert(id, dial);
                    }
                });
                tracing::trace!(?id, %key, "a roster dials");
            }
            Action::CancelDial(dial) => {
                let id = circle.dials.iter().find(|(_, wanted)| **wanted == dial).map(|(id, _)| *id);
                if let Some(id) = id {
                    circle.dials.remove(&id);
                    self.drop_dial(now, id);
                }
            }
            Action::Accept(_) => {}
            Action::KeepAlive(id) => {
                circle.challenged.insert(id);
                circle.look_at = Some(now + LOOK);
                self.send_keep_alive(now, id);
            }
            Action::Close { link, why } => {
                circle.links.remove(&link);
                let why = match why {
                    CloseReason::Duplicate | CloseReason::Outdated => LinkError::Duplicate,
                    _ => LinkError::Closed,
                };
                self.remove_link(now, link, why);
            }
        }
    }

    fn tell_roster(&mut self, local: PublicKey, event: RosterEvent) {
        let Some(circle) = self.circles.get_mut(&local) else { return };
        match event {
            RosterEvent::PeerFound { topic, key } => {
                self.events.push_back(Event::PeerFound { local, topic, remote: key });
            }
            RosterEvent::Connected { link, topics, .. } => {
                if let Some(opened) = circle.links.get(&link).copied() {
                    self.events.push_back(Event::Met { opened, topics });
                }
            }
            RosterEvent::Flushed { flush, outcome } => {
                self.events.push_back(Event::Flushed { local, flush, outcome });
            }
            RosterEvent::ShutDown => {
                self.circles.remove(&local);
                self.events.push_back(Event::Dispersed(local));
            }
            // The end of a link is told by the link; the rest is to be seen in the census.
            RosterEvent::Disconnected { .. }
            | RosterEvent::Updated
            | RosterEvent::Banned { .. }
            | RosterEvent::Suspended => {}
        }
    }
}

const fn failure(error: DialError) -> DialFailure {
    match error {
        DialError::NotFound => DialFailure::NotFound,
        DialError::NoAnswer | DialError::Unreachable => DialFailure::NoAnswer,
        DialError::Incompatible => DialFailure::Broken,
        DialError::Refused(_) => DialFailure::Refused,
        DialError::CannotPunch
        | DialError::PunchAborted
        | DialError::NatUnknown
        | DialError::DoubleRandom
        | DialError::NotPunching
        | DialError::NotPunchable
        | DialError::RelayAborted => DialFailure::NoPath,
        DialError::Suspended | DialError::TooBusy | DialError::Canceled => DialFailure::Unable,
    }
}
