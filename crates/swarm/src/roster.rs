//! Whom to dial, and when: topics, peers, priorities and back-off (hyperswarm 4.17).

mod backoff;
mod census;
mod config;
mod dialling;
mod event;
mod flush;
mod links;
mod pause;
mod peers;
mod topics;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use pace::Timers;
use rand::SeedableRng;
use rand::rngs::StdRng;
use wire::{Id, PublicKey};

pub use crate::event::{Direction, LinkId};
pub use backoff::Priority;
pub use census::{Census, PeerState, Proven, Standing, TopicState, Wanted};
pub use config::{Backoffs, Relays, RosterConfig, RosterLimits};
pub use event::{
    Action, Admission, Ban, CloseReason, DialFailure, DialId, Dialled, Farewell, FlushId, FlushOutcome,
    Incoming, JoinError, JoinId, Reconnect, RefreshKind, RefreshOutcome, RelayUse, Role, RosterEvent, Vitals,
};

use flush::{Flushes, WaitForPeers};
use links::Links;
use pause::Mode;
use peers::{Bans, Claim, Peers, Phase};
use topics::{Join, Running, Topics, Waits};

/// A deadline missed by more than this means that the host slept.
const SLEEP: Duration = Duration::from_secs(30);

/// Decides whom a node is connected with.
///
/// It touches no network: it says what to do ([`poll_action`](Self::poll_action)) and is told what happened.
/// The owner names connections, and uses no name twice. After every call, drain [`poll_action`](Self::poll_action) and [`poll_event`](Self::poll_event), then read
/// [`poll_timeout`](Self::poll_timeout).
///
/// Peers come from three sides: walks find them in topics, the application names them, and they connect by
/// themselves. With one peer there is at most one connection that the application knows of. A peer that is
/// wanted and not connected is queued, being dialled, or waiting for its next attempt, until the topics that
/// it was found in are left or no longer name it.
#[derive(Debug)]
pub struct Roster {
    local: PublicKey,
    config: RosterConfig,
    rng: StdRng,
    mode: Mode,
    serving: Serving,
    topics: Topics,
    peers: Peers,
    bans: Bans,
    links: Links,
    dials: BTreeMap<DialId, Dial>,
    /// When attempts that count against [`RosterConfig::parallel_max`] do so no longer.
    quick: Timers<DialId>,
    quick_len: usize,
    flushes: Flushes,
    /// Some topic with a limit may have room for a peer that was held back.
    room: Room,
    counts: Census,
    next_id: u64,
    actions: VecDeque<Action>,
    events: VecDeque<RosterEvent>,
}

#[derive(Clone, Copy, Debug)]
struct Dial {
    key: PublicKey,
    pace: Pace,
}

/// Whether an attempt takes longer than most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    Quick,
    Slow,
}

/// Whether incoming connections are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Serving {
    No,
    Yes,
}

/// Whether peers that were held back have to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    Same,
    Grown,
}

impl Roster {
    /// Starts without a topic. `local` is the node's own key.
    #[must_use]
    pub fn new(local: PublicKey, config: RosterConfig, seed: [u8; 32]) -> Self {
        Self {
            local,
            config,
            rng: StdRng::from_seed(seed),
            mode: Mode::running(),
            serving: Serving::No,
            topics: Topics::default(),
            peers: Peers::default(),
            bans: Bans::default(),
            links: Links::default(),
            dials: BTreeMap::new(),
            quick: Timers::new(),
            quick_len: 0,
            flushes: Flushes::default(),
            room: Room::Same,
            counts: Census::default(),
            next_id: 0,
            actions: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Joins a topic, once more where it is joined already: it is announced while one join announces, and peers
    /// are looked for while one finds.
    ///
    /// No more than `limit` of the peers found in it are connected at one time; of many joins the highest
    /// limit counts. A peer found in several topics needs room in one.
    ///
    /// # Errors
    ///
    /// Says which limit is reached.
    pub fn join(
        &mut self,
        now: Instant,
        topic: Id<32>,
        role: Role,
        limit: Option<usize>,
    ) -> Result<JoinId, JoinError> {
        self.begin(now);
        if self.mode.is_final() {
            return Err(JoinError::ShutDown);
        }
        if self.topics.joins() >= self.config.limits.joins {
            return Err(JoinError::TooManyJoins);
        }
        if self.topics.get(&topic).is_none() && self.topics.len() >= self.config.limits.topics {
            return Err(JoinError::TooManyTopics);
        }
        let id = JoinId(self.number());
        self.topics.set_join(now, id, Join { topic, role, limit });
        self.settle_topic(now, topic);
        self.topics.nudge(now, topic);
        self.pump(now);
        Ok(id)
    }

    /// Changes a join and refreshes its topic.
    pub fn change(&mut self, now: Instant, join: JoinId, role: Role, limit: Option<usize>) {
        self.begin(now);
        if let Some(Join { topic, .. }) = self.topics.join(join) {
            self.topics.set_join(now, join, Join { topic, role, limit });
            self.settle_topic(now, topic);
            self.topics.nudge(now, topic);
            self.pump(now);
        }
    }

    /// Takes a join back. With the last one the topic's records are removed, and peers that were found in it
    /// alone are dialled no more; connections stay.
    pub fn leave(&mut self, now: Instant, join: JoinId) {
        self.begin(now);
        if let Some(Join { topic, .. }) = self.topics.remove_join(join) {
            self.settle_topic(now, topic);
            self.pump(now);
        }
    }

    /// Serves connections, as the first announcing join does.
    pub fn listen(&mut self, now: Instant) {
        self.begin(now);
        if !self.mode.is_final() {
            self.mode.listen();
        }
        self.pump(now);
    }

    /// Connects to a peer and keeps connecting until [`leave_peer`](Self::leave_peer). The node's own key
    /// changes nothing.
    ///
    /// # Errors
    ///
    /// Says which limit is reached.
    pub fn join_peer(&mut self, now: Instant, key: PublicKey) -> Result<(), JoinError> {
        self.begin(now);
        if self.mode.is_final() {
            return Err(JoinError::ShutDown);
        }
        if key == self.local {
            return Ok(());
        }
        let known = self.peers.get(&key).is_some_and(|peer| peer.claim == Claim::Explicit);
        if !known && self.peers.explicit() >= self.config.limits.explicit {
            return Err(JoinError::TooManyPeers);
        }
        self.peers.insert(now, key);
        self.peers.claim(key, Claim::Explicit);
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.reconnect = Reconnect::Wanted;
            if !known {
                peer.attempts = 0;
            }
        }
        self.reconsider(now, key);
        if matches!(self.phase(&key), Phase::Waiting(_)) {
            self.enqueue(now, key);
        }
        self.pump(now);
        Ok(())
    }

    /// Takes [`join_peer`](Self::join_peer) back; an open connection stays.
    pub fn leave_peer(&mut self, now: Instant, key: PublicKey) {
        self.begin(now);
        self.peers.claim(key, Claim::None);
        self.reconsider(now, key);
        self.pump(now);
    }

    /// Keeps a peer away, or no longer.
    pub fn ban(&mut self, now: Instant, key: PublicKey, ban: Ban) {
        self.begin(now);
        match ban {
            Ban::Imposed => {
                self.bans.insert(key, self.config.limits.bans);
            }
            Ban::Lifted => self.bans.remove(&key),
        }
        self.reconsider(now, key);
        self.pump(now);
    }

    /// Bans a peer that the application's firewall rejected, when it connected or when it was to be dialled.
    pub fn handle_rejected(&mut self, now: Instant, key: PublicKey) {
        self.begin(now);
        if self.bans.insert(key, self.config.limits.bans) {
            self.counts.firewalled += 1;
            self.events.push_back(RosterEvent::Banned { key });
        }
        self.reconsider(now, key);
        self.pump(now);
    }

    /// Says whether a peer is dialled again; without effect on one that is not remembered.
    pub fn reconnect(&mut self, now: Instant, key: PublicKey, reconnect: Reconnect) {
        self.begin(now);
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.reconnect = reconnect;
        }
        self.reconsider(now, key);
        self.pump(now);
    }

    /// Begins a wait until walks that go on have ended and each peer known then was connected or tried once;
    /// it ends at once where no attempt may begin. It waits neither for second attempts nor for others to connect.
    pub fn flush(&mut self, now: Instant) -> FlushId {
        self.begin(now);
        let flush = FlushId(self.number());
        if self.mode.is_running() && self.flushes.len() < self.config.limits.flushes {
            let topics: BTreeSet<_> = self.topics.unsettled(now).collect();
            self.flushes.insert(flush, topics);
        } else {
            self.events.push_back(RosterEvent::Flushed { flush, outcome: FlushOutcome::Abandoned });
        }
        self.pump(now);
        flush
    }

    /// Lets time pass. Late and spurious calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.begin(now);
        self.end_trials(now);
        self.end_pause(now);
        if self.mode.is_running() {
            while let Some(key) = self.peers.expire(now) {
                self.enqueue_or_forget(now, key);
            }
        }
        self.pump(now);
    }

    /// Takes the next thing to do.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Takes the next thing that happened.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<RosterEvent> {
        self.events.pop_front()
    }

    /// Returns when [`handle_timeout`](Self::handle_timeout) is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let running = self.mode.is_running();
        let topics = self.topics.due(&self.config).filter(|_| running);
        let peers = self.peers.due().filter(|_| running);
        // Without anyone in the queue it does not matter which attempts are slow.
        let slow = self.quick.next().filter(|_| running && self.peers.queued() > 0);
        [topics, peers, slow, self.links.due(), self.mode.deadline()].into_iter().flatten().min()
    }

    /// Tells whether a peer would be admitted, so that one which is not costs no connection.
    pub fn admission(&self, key: &PublicKey) -> Admission {
        self.refusal(key).map_or(Admission::Open, Admission::Refused)
    }

    /// Names the connection with a peer that the application knows of.
    #[must_use]
    pub fn link_with(&self, key: &PublicKey) -> Option<LinkId> {
        if let Phase::Linked(link, _) = self.phase(key) { Some(link) } else { None }
    }

    /// Tells whether connections to the node's key are served.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.serving == Serving::Yes
    }

    /// Counts.
    #[must_use]
    pub fn census(&self) -> Census {
        Census {
            links_open: self.links.len(),
            links_incoming: self.links.incoming(),
            links_on_trial: self.links.on_trial(),
            connecting: self.dials.len(),
            queued: self.peers.queued(),
            waiting: self.peers.waiting(),
            peers_known: self.peers.len(),
            explicit: self.peers.explicit(),
            banned: self.bans.len(),
            topics: self.topics.len(),
            refreshing: self.topics.running(),
            ..self.counts
        }
    }

    /// Lists the topics, those that are being left included.
    pub fn topics(&self) -> impl Iterator<Item = TopicState> {
        self.topics.states()
    }

    /// Tells what walk goes on for a topic.
    pub(crate) fn refreshing(&self, topic: &Id<32>) -> Option<RefreshKind> {
        self.topics.get(topic)?.run()
    }

    /// Tells whether a topic is joined, or being left.
    pub(crate) fn is_joined(&self, topic: &Id<32>) -> bool {
        self.topics.get(topic).is_some()
    }

    /// Lists what is known of peers, by key.
    pub fn peers(&self) -> impl Iterator<Item = PeerState> {
        self.peers.iter().map(|(key, peer)| PeerState {
            key: *key,
            topics: peer.topics.clone(),
            attempts: peer.attempts,
            priority: peer.priority,
            proven: peer.proven,
            wanted: self.wanted(key),
            last_error: peer.last_error,
            standing: match peer.phase() {
                Phase::Idle | Phase::Held => Standing::Idle,
                Phase::Queued(_) => Standing::Queued,
                Phase::Dialling(_) => Standing::Connecting,
                Phase::Waiting(until) => Standing::Waiting(until),
                Phase::Linked(link, direction) => Standing::Connected(link, direction),
            },
            since: peer.since(),
        })
    }

    /// Notices a sleep of the host before anything acts upon overdue timers.
    fn begin(&mut self, now: Instant) {
        if self.poll_timeout().is_some_and(|due| now.saturating_duration_since(due) > SLEEP) {
            self.topics.wake(now, &mut Waits { config: &self.config, rng: &mut self.rng });
            self.probe_links();
        }
        self.end_quick(now);
    }

    /// Does what became possible: walks, attempts, flushes.
    fn pump(&mut self, now: Instant) {
        if self.mode.is_running() {
            self.serve();
            while let Some((topic, kind)) = self.topics.start(now, &self.config) {
                self.actions.push_back(Action::Refresh { topic, kind });
            }
            self.dial_next(now);
        }
        self.end_flushes(now);
    }

    fn serve(&mut self) {
        if self.serving == Serving::No && (self.mode.listens() || self.topics.announces()) {
            self.serving = Serving::Yes;
            self.actions.push_back(Action::Listen);
        }
    }

    /// Follows a change of a topic's joins: of its walk, and of the peers found in it.
    fn settle_topic(&mut self, now: Instant, id: Id<32>) {
        if self.topics.settle(now, id) == Running::Stop {
            self.stop_walk(now, id);
        }
        if self.topics.get(&id).is_some_and(|topic| !topic.finds()) {
            self.forget_topic(now, id);
        }
        self.room = Room::Grown;
    }

    fn stop_walk(&mut self, now: Instant, topic: Id<32>) {
        if self.topics.stop(now, topic) {
            self.actions.push_back(Action::Stop { topic });
        }
    }

    fn end_flushes(&mut self, now: Instant) {
        self.flushes
            .retain_topics(|topic| self.topics.get(topic).is_some_and(|topic| topic.is_unsettled(now)));
        if self.flushes.wants_peers() {
            let pending =
                self.peers.iter().filter(|(_, peer)| peer.phase().is_pending()).map(|(key, _)| *key);
            self.flushes.set_peers(&pending.collect());
        }
        let full = self.dials.is_empty() && !self.has_room();
        let wait = if full { WaitForPeers::No } else { WaitForPeers::Yes };
        while let Some(flush) = self.flushes.take_ended(wait) {
            self.events.push_back(RosterEvent::Flushed { flush, outcome: FlushOutcome::Settled });
        }
    }

    fn abandon_flushes(&mut self) {
        while let Some(flush) = self.flushes.take_any() {
            self.events.push_back(RosterEvent::Flushed { flush, outcome: FlushOutcome::Abandoned });
        }
    }

    fn updated(&mut self) {
        self.counts.updates += 1;
        if self.events.back() != Some(&RosterEvent::Updated) {
            self.events.push_back(RosterEvent::Updated);
        }
    }

    const fn number(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}
