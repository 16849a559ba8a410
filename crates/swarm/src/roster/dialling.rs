//! From found peers to attempts, and what comes after them.

use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use rand::RngExt;
use wire::{Id, PublicKey};

use super::backoff::{ATTEMPTS, Priority};
use super::census::{Proven, Wanted};
use super::config::Relays;
use super::event::{
    Action, CloseReason, DialFailure, DialId, Dialled, Reconnect, RefreshOutcome, RelayUse, RosterEvent,
};
use super::peers::{Claim, Peer, Phase, Turn};
use super::topics::{Topic, Waits};
use super::{Dial, Pace, Room, Roster};
use crate::event::{Direction, LinkId};

/// A peer that no walk told of for this long has no record any more: nodes keep records for 27 minutes at most.
const RECORD_AGE: Duration = Duration::from_mins(30);
/// A peer that failed often and is found again is tried afresh, but not more often than this, since records of
/// the dead are found too.
const REVIVE: Duration = Duration::from_mins(10);
/// The same for a peer found with relays it did not have: only it can have announced these.
const REVIVE_MOVED: Duration = Duration::from_mins(1);

impl Roster {
    /// Takes a peer that a walk told of, with the nodes that pass handshakes on to it.
    pub fn handle_found(&mut self, now: Instant, topic: Id<32>, key: PublicKey, relays: &[SocketAddrV4]) {
        self.begin(now);
        let finds = self.topics.get(&topic).is_some_and(Topic::finds);
        if !self.mode.is_running() || key == self.local || self.bans.contains(&key) || !finds {
            return;
        }
        if self.peers.get(&key).is_none() && !self.make_place(now) {
            return;
        }
        self.peers.insert(now, key);
        self.add_topic(now, key, topic);
        let limits = self.config.limits;
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.found = now;
        let moved = peer.learn_relays(relays, limits.relays_each);
        match peer.phase() {
            Phase::Idle => self.reconsider(now, key),
            Phase::Waiting(until) => {
                let revival = peer.revival(moved);
                if revival <= now {
                    peer.attempts = 0;
                    peer.proven = Proven::No;
                    peer.revived = now;
                    self.enqueue(now, key);
                } else if moved == Moved::Yes && revival < until {
                    self.enter(now, key, Phase::Waiting(revival));
                }
            }
            // A peer found in another topic may have room in it.
            Phase::Held => self.enqueue(now, key),
            Phase::Queued(_) | Phase::Dialling(_) | Phase::Linked(..) => {}
        }
        self.pump(now);
    }

    /// Takes the end of the walk that [`Action::Refresh`] asked for.
    pub fn handle_refreshed(&mut self, now: Instant, topic: Id<32>, outcome: RefreshOutcome) {
        self.begin(now);
        let mut waits = Waits { config: &self.config, rng: &mut self.rng };
        self.topics.ended(now, topic, outcome, &mut waits);
        self.end_pause(now);
        self.pump(now);
    }

    /// Takes the end of an attempt. Of one that was cancelled it closes the connection, if there is one.
    pub fn handle_dialled(&mut self, now: Instant, dial: DialId, result: Dialled) {
        self.begin(now);
        let Some(key) = self.end_dial(dial) else {
            if let Dialled::Opened(link) = result {
                self.close(link, CloseReason::Cancelled);
            }
            return;
        };
        match result {
            Dialled::Opened(link) => self.opened(now, link, key),
            Dialled::Failed(failure) => self.failed(now, key, failure),
        }
        self.pump(now);
    }

    fn opened(&mut self, now: Instant, link: LinkId, key: PublicKey) {
        self.counts.outgoing_opened += 1;
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.proven = Proven::Yes;
            peer.last_error = None;
        }
        self.open(now, link, key, Direction::Outgoing);
    }

    fn failed(&mut self, now: Instant, key: PublicKey, failure: DialFailure) {
        self.counts.outgoing_closed += 1;
        self.updated();
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.last_error = Some(failure);
        match failure {
            DialFailure::NoPath
                if self.config.relays == Relays::Available && peer.relay == RelayUse::AsNeeded =>
            {
                peer.relay = RelayUse::Forced;
                peer.attempts = 0;
                self.enqueue_or_forget(now, key);
            }
            // Not the peer's fault.
            DialFailure::Unable => self.rest(now, key, None),
            DialFailure::NoPath
            | DialFailure::NotFound
            | DialFailure::NoAnswer
            | DialFailure::Refused
            | DialFailure::Broken => {
                self.count_attempt(key);
                self.rest(now, key, None);
            }
        }
    }

    /// Begins attempts for as long as there is room.
    pub(super) fn dial_next(&mut self, now: Instant) {
        if self.room == Room::Grown {
            self.room = Room::Same;
            for key in self.peers.held() {
                self.enqueue(now, key);
            }
        }
        while self.quick_len < self.config.parallel_max && self.dials.len() < self.config.dials_max {
            let Some((turn, key)) = self.peers.first() else { break };
            if turn.is_explicit() || self.has_topic_room(&key) {
                if !turn.is_explicit() && !self.has_room() {
                    break;
                }
                self.dial(now, key);
            } else {
                self.enter(now, key, Phase::Held);
            }
        }
    }

    /// Notes which attempts take longer than most.
    pub(super) fn end_quick(&mut self, now: Instant) {
        while let Some(dial) = self.quick.expire(now) {
            if let Some(dial) = self.dials.get_mut(&dial) {
                dial.pace = Pace::Slow;
                self.quick_len -= 1;
            }
        }
    }

    pub(super) fn is_quick(&self, dial: DialId) -> bool {
        self.dials.get(&dial).is_some_and(|dial| dial.pace == Pace::Quick)
    }

    fn dial(&mut self, now: Instant, key: PublicKey) {
        let Some(peer) = self.peers.get(&key) else { return };
        let (relays, relay) = (peer.relays.clone(), peer.relay);
        let dial = DialId(self.number());
        self.enter(now, key, Phase::Dialling(dial));
        self.dials.insert(dial, Dial { key, pace: Pace::Quick });
        self.quick.set(dial, now + self.config.slow);
        self.quick_len += 1;
        self.counts.outgoing_attempted += 1;
        self.actions.push_back(Action::Dial { dial, key, relays, relay });
        self.updated();
    }

    /// Takes an attempt from the books; the peer's phase is the caller's.
    fn end_dial(&mut self, dial: DialId) -> Option<PublicKey> {
        let Dial { key, pace } = self.dials.remove(&dial)?;
        self.quick.cancel(dial);
        self.quick_len -= usize::from(pace == Pace::Quick);
        Some(key)
    }

    pub(super) fn cancel_dial(&mut self, dial: DialId) {
        if self.end_dial(dial).is_some() {
            self.counts.outgoing_closed += 1;
            self.actions.push_back(Action::CancelDial(dial));
            self.updated();
        }
    }

    pub(super) fn count_attempt(&mut self, key: PublicKey) {
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.attempts = peer.attempts.saturating_add(1);
        }
    }

    /// Tells whether found peers may be dialled (hyperswarm `_shouldConnectExplicit`, `_shouldConnect`).
    pub(super) fn has_room(&self) -> bool {
        let factor = match self.peers.explicit() {
            0 => 1,
            1 => 2,
            2 | 3 => 3,
            _ => 4,
        };
        let all = self.links.len() + self.dials.len();
        let outgoing = self.links.outgoing() + self.dials.len();
        all.saturating_mul(factor) < self.config.peers_max && outgoing < self.config.outgoing_max
    }

    fn has_topic_room(&self, key: &PublicKey) -> bool {
        let topics = self.peers.get(key).map_or(&[][..], |peer| &peer.topics);
        topics.iter().any(|topic| self.topics.get(topic).is_some_and(Topic::has_room))
    }

    pub(super) fn wanted(&self, key: &PublicKey) -> Wanted {
        match self.peers.get(key) {
            _ if self.bans.contains(key) => Wanted::No,
            None | Some(Peer { reconnect: Reconnect::Unwanted, .. }) => Wanted::No,
            Some(Peer { claim: Claim::Explicit, .. }) => Wanted::ByKey,
            Some(peer) if peer.topics.is_empty() => Wanted::No,
            Some(_) => Wanted::ByTopic,
        }
    }

    pub(super) fn phase(&self, key: &PublicKey) -> Phase {
        self.peers.get(key).map_or(Phase::Idle, Peer::phase)
    }

    /// Follows a change of what is wanted of a peer.
    pub(super) fn reconsider(&mut self, now: Instant, key: PublicKey) {
        let wanted = self.wanted(&key) != Wanted::No;
        match self.phase(&key) {
            Phase::Linked(..) => {}
            Phase::Dialling(_) if wanted => {}
            Phase::Dialling(dial) => {
                self.cancel_dial(dial);
                self.enqueue_or_forget(now, key);
            }
            Phase::Waiting(until) if wanted => self.enter(now, key, Phase::Waiting(until)),
            Phase::Idle | Phase::Queued(_) | Phase::Held | Phase::Waiting(_) => {
                self.enqueue_or_forget(now, key);
            }
        }
    }

    pub(super) fn enqueue(&mut self, now: Instant, key: PublicKey) {
        let wanted = self.wanted(&key);
        let lot = self.rng.random();
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.priority = Priority::of(peer.attempts, wanted);
        let turn = Turn::new(wanted, peer.priority, lot);
        self.enter(now, key, Phase::Queued(turn));
    }

    /// Puts a peer that has neither connection nor attempt into the queue, if it is wanted.
    pub(super) fn enqueue_or_forget(&mut self, now: Instant, key: PublicKey) {
        if self.is_worth_it(now, &key) { self.enqueue(now, key) } else { self.idle(now, key) }
    }

    /// Lets a peer wait for its next attempt, if it is wanted. A peer whose own connection ended dials again
    /// itself, and has the first turn.
    pub(super) fn rest(&mut self, now: Instant, key: PublicKey, closed: Option<Direction>) {
        if !self.is_worth_it(now, &key) {
            return self.idle(now, key);
        }
        let Some(peer) = self.peers.get(&key) else { return };
        let mut wait = self.config.backoff.draw(peer.attempts, peer.proven, &mut self.rng);
        if closed == Some(Direction::Incoming) {
            wait = wait.max(self.config.backoff.medium);
        }
        self.enter(now, key, Phase::Waiting(now + wait));
    }

    fn is_worth_it(&self, now: Instant, key: &PublicKey) -> bool {
        let Some(peer) = self.peers.get(key) else { return false };
        let gone = peer.attempts > ATTEMPTS && now.saturating_duration_since(peer.found) > RECORD_AGE;
        match self.wanted(key) {
            Wanted::No => false,
            Wanted::ByKey => true,
            Wanted::ByTopic => !gone,
        }
    }

    /// Does nothing about a peer any more; forgets it where nothing is to be remembered.
    fn idle(&mut self, now: Instant, key: PublicKey) {
        let Some(peer) = self.peers.get(&key) else { return };
        let unwelcome = peer.reconnect == Reconnect::Unwanted || self.bans.contains(&key);
        if peer.claim == Claim::Explicit || (unwelcome && !peer.topics.is_empty()) {
            self.enter(now, key, Phase::Idle);
        } else {
            self.remove(now, key);
        }
    }

    /// Makes place for a newcomer; fails while nobody deserves less.
    fn make_place(&mut self, now: Instant) -> bool {
        if self.peers.len() < self.config.limits.known {
            return true;
        }
        let Some(key) = self.peers.least_worthy() else { return false };
        self.remove(now, key);
        true
    }

    fn add_topic(&mut self, now: Instant, key: PublicKey, topic: Id<32>) {
        let topics_each = self.config.limits.topics_each;
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if peer.topics.contains(&topic) || peer.topics.len() >= topics_each {
            return;
        }
        peer.topics.push(topic);
        let phase = peer.phase();
        self.count(now, topic, Phase::Idle, phase);
        self.events.push_back(RosterEvent::PeerFound { topic, key });
    }

    /// Forgets that peers were found in a topic, which is no longer joined to find any.
    pub(super) fn forget_topic(&mut self, now: Instant, topic: Id<32>) {
        for key in self.peers.keys() {
            let Some(peer) = self.peers.get_mut(&key) else { continue };
            let Some(place) = peer.topics.iter().position(|known| *known == topic) else { continue };
            peer.topics.remove(place);
            let phase = peer.phase();
            self.count(now, topic, phase, Phase::Idle);
            if self.wanted(&key) == Wanted::No {
                self.reconsider(now, key);
            }
        }
    }

    /// Changes the phase of a peer, and whatever counts phases.
    pub(super) fn enter(&mut self, now: Instant, key: PublicKey, phase: Phase) {
        let Some(before) = self.peers.enter(now, key, phase) else { return };
        if before.is_pending() && !phase.is_pending() {
            self.flushes.peer_ended(&key);
        }
        let topics = self.peers.get(&key).map(|peer| peer.topics.clone()).unwrap_or_default();
        for topic in topics {
            self.count(now, topic, before, phase);
        }
    }

    pub(super) fn remove(&mut self, now: Instant, key: PublicKey) {
        self.enter(now, key, Phase::Idle);
        self.peers.remove(key);
    }

    fn count(&mut self, now: Instant, id: Id<32>, before: Phase, after: Phase) {
        let Some(topic) = self.topics.get_mut(&id) else { return };
        let busy = topic.linked + topic.dialling;
        let alone = topic.linked == 0;
        topic.linked -= usize::from(matches!(before, Phase::Linked(..)));
        topic.linked += usize::from(matches!(after, Phase::Linked(..)));
        topic.dialling -= usize::from(matches!(before, Phase::Dialling(_)));
        topic.dialling += usize::from(matches!(after, Phase::Dialling(_)));
        if topic.is_limited() && topic.linked + topic.dialling < busy {
            self.room = Room::Grown;
        }
        let is_alone = topic.linked == 0;
        let mut waits = Waits { config: &self.config, rng: &mut self.rng };
        if alone && !is_alone {
            self.topics.found_company(now, id, &mut waits);
        } else if !alone && is_alone {
            self.topics.lost_company(now, id, &mut waits);
        }
    }
}

/// Whether a peer was found with relays that were not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moved {
    No,
    Yes,
}

impl Peer {
    /// Takes the newest relays; none told is no news.
    fn learn_relays(&mut self, relays: &[SocketAddrV4], len_max: usize) -> Moved {
        if relays.is_empty() {
            return Moved::No;
        }
        let told = relays.get(..len_max).unwrap_or(relays);
        let moved = !self.relays.is_empty() && told.iter().any(|relay| !self.relays.contains(relay));
        self.relays = told.to_vec();
        if moved { Moved::Yes } else { Moved::No }
    }

    /// Returns from when on being found is a reason to try it afresh.
    fn revival(&self, moved: Moved) -> Instant {
        let regular = if self.priority < Priority::Normal { REVIVE } else { RECORD_AGE };
        let regular = self.revived + regular;
        match moved {
            Moved::Yes => regular.min(self.since().max(self.revived) + REVIVE_MOVED),
            Moved::No => regular,
        }
    }
}
