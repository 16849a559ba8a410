//! Connections, and which of two with one peer stays.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pace::Timers;
use peer::{Challenge, Evidence, Existing, Verdict, Winner, judge_duplicate};
use wire::PublicKey;

use super::Roster;
use super::census::Proven;
use super::event::{Action, CloseReason, Incoming, RosterEvent, Vitals};
use super::peers::{Claim, Phase};
use crate::event::{Direction, LinkId};

/// A connection that lasts this long forgives earlier failures (hyperswarm `lib/peer-info.js`).
const LASTING: Duration = Duration::from_secs(15);

#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) key: PublicKey,
    pub(super) direction: Direction,
    pub(super) since: Instant,
}

/// A connection in use and a newer one, until one of them shows that its peer lives.
#[derive(Clone, Copy, Debug)]
struct Trial {
    newcomer: LinkId,
    challenge: Challenge,
    evidence: Evidence,
}

/// At most one connection and one trial for each peer.
#[derive(Debug, Default)]
pub(super) struct Links {
    open: BTreeMap<LinkId, Link>,
    incoming: usize,
    trials: BTreeMap<PublicKey, Trial>,
    newcomers: BTreeMap<LinkId, PublicKey>,
    deadlines: Timers<PublicKey>,
}

impl Links {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) const fn incoming(&self) -> usize {
        self.incoming
    }

    pub(super) fn outgoing(&self) -> usize {
        self.open.len() - self.incoming
    }

    pub(super) fn on_trial(&self) -> usize {
        self.trials.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = LinkId> {
        self.open.keys().copied()
    }

    pub(super) fn ids(&self) -> Vec<LinkId> {
        self.open.keys().copied().collect()
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    pub(super) fn insert(&mut self, id: LinkId, link: Link) {
        self.open.insert(id, link);
        self.incoming += usize::from(link.direction == Direction::Incoming);
    }

    fn remove(&mut self, id: LinkId) -> Option<Link> {
        let link = self.open.remove(&id)?;
        self.incoming -= usize::from(link.direction == Direction::Incoming);
        Some(link)
    }

    /// Returns the key of a connection, whether it is open or on trial.
    fn key(&self, id: LinkId) -> Option<PublicKey> {
        self.open.get(&id).map(|link| link.key).or_else(|| self.newcomers.get(&id).copied())
    }

    fn try_newcomer(&mut self, key: PublicKey, trial: Trial) {
        self.newcomers.insert(trial.newcomer, key);
        self.deadlines.set(key, trial.challenge.deadline());
        self.trials.insert(key, trial);
    }

    fn take_trial(&mut self, key: PublicKey) -> Option<Trial> {
        let trial = self.trials.remove(&key)?;
        self.newcomers.remove(&trial.newcomer);
        self.deadlines.cancel(key);
        Some(trial)
    }

    pub(super) fn clear_trials(&mut self) -> Vec<LinkId> {
        self.trials.clear();
        self.deadlines = Timers::new();
        std::mem::take(&mut self.newcomers).into_keys().collect()
    }
}

impl Roster {
    /// Takes a connection that a peer opened. Until [`Action::Accept`], it is not one of ours.
    ///
    /// Of two with one peer, one stays: where both sides dialled, that of the greater key. A connection in use is
    /// replaced by a newer one only when that shows an authentic frame, or when it falls silent itself.
    pub fn handle_incoming(&mut self, now: Instant, incoming: Incoming) {
        self.begin(now);
        let Incoming { link, key, begun, existing } = incoming;
        if let Some(why) = self.refusal(&key) {
            self.actions.push_back(Action::Close { link, why });
            return;
        }
        let vitals = existing.unwrap_or_default();
        match self.phase(&key) {
            // What arrived is worth more than an attempt that takes too long, whatever the keys say: where
            // only one side can reach the other, it must not be refused for the attempts of the other.
            Phase::Dialling(dial) if self.is_quick(dial) && keeps_own_dial(self.local, key, begun) => {
                self.close(link, CloseReason::Duplicate);
            }
            Phase::Dialling(dial) => {
                self.cancel_dial(dial);
                self.count_attempt(key);
                self.accept(now, link, key);
            }
            Phase::Linked(old, _) => self.judge(now, incoming, old, vitals),
            Phase::Idle | Phase::Queued(_) | Phase::Held | Phase::Waiting(_) => self.accept(now, link, key),
        }
        self.pump(now);
    }

    /// Takes what is known of a connection while a challenge runs: of the existing one whether the keep-alive was
    /// acknowledged, of the newcomer whether a frame of it was authentic. Anything else is ignored.
    pub fn handle_evidence(&mut self, now: Instant, link: LinkId, evidence: Evidence) {
        self.begin(now);
        let Some(key) = self.links.key(link) else { return };
        let Some(trial) = self.links.trials.get_mut(&key) else { return };
        if trial.newcomer == link {
            trial.evidence.newcomer_confirmed |= evidence.newcomer_confirmed;
        } else {
            trial.evidence.existing_acknowledged |= evidence.existing_acknowledged;
        }
        self.decide(now, key);
        self.pump(now);
    }

    /// Takes the end of a connection.
    pub fn handle_closed(&mut self, now: Instant, link: LinkId) {
        self.begin(now);
        let Some(key) = self.links.key(link) else { return };
        let trial = self.links.take_trial(key);
        match trial {
            Some(trial) if trial.newcomer == link => {}
            _ => {
                let Some(closed) = self.unlink(link) else { return };
                self.judge_length(now, &closed);
                if let Some(trial) = trial {
                    self.accept(now, trial.newcomer, key);
                } else {
                    self.rest(now, key, Some(closed.direction));
                }
            }
        }
        self.pump(now);
    }

    /// Says why a peer is not admitted, if it is not.
    pub(super) fn refusal(&self, key: &PublicKey) -> Option<CloseReason> {
        let explicit = self.peers.get(key).is_some_and(|peer| peer.claim == Claim::Explicit);
        if *key == self.local {
            Some(CloseReason::Own)
        } else if self.bans.contains(key) {
            Some(CloseReason::Banned)
        } else if !self.mode.is_running() {
            Some(CloseReason::Suspended)
        } else if self.links.incoming() >= self.config.incoming_max
            && !explicit
            && self.link_with(key).is_none()
        {
            Some(CloseReason::Full)
        } else {
            None
        }
    }

    /// Decides trials that have lasted long enough.
    pub(super) fn end_trials(&mut self, now: Instant) {
        while let Some(key) = self.links.deadlines.expire(now) {
            self.decide(now, key);
        }
    }

    /// Records a connection; the peer must be known.
    pub(super) fn open(&mut self, now: Instant, link: LinkId, key: PublicKey, direction: Direction) {
        self.links.insert(link, Link { key, direction, since: now });
        self.enter(now, key, Phase::Linked(link, direction));
        let topics = self.peers.get(&key).map(|peer| peer.topics.clone()).unwrap_or_default();
        self.events.push_back(RosterEvent::Connected { link, key, topics, direction });
        self.updated();
    }

    /// Removes a connection from the books and tells the application; the peer's phase is the caller's.
    pub(super) fn unlink(&mut self, link: LinkId) -> Option<Link> {
        let closed = self.links.remove(link)?;
        match closed.direction {
            Direction::Incoming => self.counts.incoming_closed += 1,
            Direction::Outgoing => self.counts.outgoing_closed += 1,
        }
        self.events.push_back(RosterEvent::Disconnected { link, key: closed.key });
        self.updated();
        Some(closed)
    }

    pub(super) fn close(&mut self, link: LinkId, why: CloseReason) {
        self.actions.push_back(Action::Close { link, why });
    }

    fn judge(&mut self, now: Instant, incoming: Incoming, old: LinkId, vitals: Vitals) {
        let Incoming { link, key, begun, .. } = incoming;
        let Some(since) = self.links.open.get(&old).map(|link| link.since) else { return };
        let existing = Existing::Open { since, stats: vitals.stats };
        match judge_duplicate(self.local, key, existing, begun) {
            Verdict::KeepExisting => {
                self.actions.push_back(Action::KeepAlive(old));
                self.close(link, CloseReason::Duplicate);
            }
            Verdict::KeepNew => {
                if let Some(trial) = self.links.take_trial(key) {
                    self.close(trial.newcomer, CloseReason::Duplicate);
                }
                self.replace(now, old, link, CloseReason::Duplicate);
            }
            Verdict::Challenge => {
                // Of two newcomers the later one is the peer's latest wish.
                if let Some(trial) = self.links.take_trial(key) {
                    self.close(trial.newcomer, CloseReason::Duplicate);
                }
                let challenge = Challenge::new(now, vitals.round_trip);
                self.links
                    .try_newcomer(key, Trial { newcomer: link, challenge, evidence: Evidence::default() });
                self.actions.push_back(Action::KeepAlive(old));
            }
        }
    }

    fn decide(&mut self, now: Instant, key: PublicKey) {
        let Some(trial) = self.links.trials.get(&key).copied() else { return };
        match trial.challenge.winner(now, trial.evidence) {
            None => {}
            Some(Winner::Existing) => {
                self.links.take_trial(key);
                self.close(trial.newcomer, CloseReason::Duplicate);
            }
            Some(Winner::Newcomer) => {
                self.links.take_trial(key);
                if let Some(old) = self.link_with(&key) {
                    self.replace(now, old, trial.newcomer, CloseReason::Outdated);
                }
            }
        }
    }

    fn replace(&mut self, now: Instant, old: LinkId, new: LinkId, why: CloseReason) {
        self.close(old, why);
        if let Some(closed) = self.unlink(old) {
            self.judge_length(now, &closed);
            self.accept(now, new, closed.key);
        }
    }

    fn accept(&mut self, now: Instant, link: LinkId, key: PublicKey) {
        self.peers.insert(now, key);
        self.counts.incoming_opened += 1;
        self.actions.push_back(Action::Accept(link));
        self.open(now, link, key, Direction::Incoming);
    }

    /// Forgives earlier failures after a connection that lasted; blames the peer for one that did not.
    fn judge_length(&mut self, now: Instant, closed: &Link) {
        let Some(peer) = self.peers.get_mut(&closed.key) else { return };
        if now.saturating_duration_since(closed.since) >= LASTING {
            peer.attempts = 0;
            peer.proven = Proven::Yes;
        }
        peer.attempts = peer.attempts.saturating_add(1);
    }
}

fn keeps_own_dial(local: PublicKey, remote: PublicKey, begun: Instant) -> bool {
    judge_duplicate(local, remote, Existing::Connecting, begun) == Verdict::KeepExisting
}
