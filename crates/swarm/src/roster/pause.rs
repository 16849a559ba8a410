//! Suspension, the end, and changes of the network.

use std::time::{Duration, Instant};

use super::event::{Action, CloseReason, DialId, Farewell, RelayUse, RosterEvent};
use super::peers::Phase;
use super::topics::{Topic, Topics};
use super::{Roster, Serving};

/// Records that are not removed by then are left to expire: a phone gives an application a few seconds.
const REMOVAL_MAX: Duration = Duration::from_secs(3);

/// What the roster as a whole does.
#[derive(Debug)]
pub(super) struct Mode {
    stage: Stage,
    listens: Serving,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    /// Records are being removed, until then at the latest.
    Suspending(Instant),
    Suspended,
    Ending(Instant),
    Ended,
}

impl Mode {
    pub(super) const fn running() -> Self {
        Self { stage: Stage::Running, listens: Serving::No }
    }

    pub(super) const fn is_running(&self) -> bool {
        matches!(self.stage, Stage::Running)
    }

    pub(super) const fn is_final(&self) -> bool {
        matches!(self.stage, Stage::Ending(_) | Stage::Ended)
    }

    pub(super) const fn deadline(&self) -> Option<Instant> {
        match self.stage {
            Stage::Suspending(at) | Stage::Ending(at) => Some(at),
            Stage::Running | Stage::Suspended | Stage::Ended => None,
        }
    }

    /// Serves even where no topic asks for it.
    pub(super) const fn listen(&mut self) {
        self.listens = Serving::Yes;
    }

    pub(super) const fn listens(&self) -> bool {
        matches!(self.listens, Serving::Yes)
    }
}

impl Roster {
    /// Goes quiet: removes records, closes connections, gives attempts up, and remembers everyone. Sockets have
    /// to stay open until [`RosterEvent::Suspended`].
    pub fn suspend(&mut self, now: Instant) {
        self.begin(now);
        if self.mode.is_running() {
            self.mode.stage = Stage::Suspending(now + REMOVAL_MAX);
            self.abandon_flushes();
            self.remove_records(now);
            self.part(now);
            self.end_pause(now);
        }
    }

    /// Goes on after [`suspend`](Self::suspend): serves, refreshes every topic, and dials whoever was connected,
    /// queued or waiting.
    pub fn resume(&mut self, now: Instant) {
        if matches!(self.mode.stage, Stage::Suspending(_) | Stage::Suspended) {
            self.mode.stage = Stage::Running;
            self.start_over(now);
        }
    }

    /// Ends for good. Sockets have to stay open until [`RosterEvent::ShutDown`].
    pub fn shut_down(&mut self, now: Instant, farewell: Farewell) {
        if self.mode.is_final() {
            return;
        }
        self.mode.stage = match farewell {
            Farewell::Unannounce => Stage::Ending(now + REMOVAL_MAX),
            Farewell::Silent => Stage::Ending(now),
        };
        self.abandon_flushes();
        if farewell == Farewell::Unannounce {
            self.remove_records(now);
        }
        self.part(now);
        for key in self.peers.keys() {
            self.remove(now, key);
        }
        self.end_pause(now);
    }

    /// Takes a change of the host's network, or its return: connections prove that they live, topics are
    /// refreshed, and peers that wait are dialled, for what kept them away may be gone.
    pub fn handle_network_change(&mut self, now: Instant) {
        if !self.mode.is_running() {
            return;
        }
        self.probe_links();
        self.start_over(now);
    }

    /// Announces topics anew, because the records that nodes have are wrong by now: other relays pass
    /// handshakes on to this node, say.
    pub fn renew_records(&mut self, now: Instant) {
        self.begin(now);
        for id in self.topics.ids() {
            let Some(topic) = self.topics.get(&id) else { continue };
            if topic.announces() {
                if topic.is_announcing() {
                    self.stop_walk(now, id);
                }
                self.topics.renew(now, id);
            }
        }
        self.pump(now);
    }

    /// Refreshes every topic and dials whoever waits, as if nobody had ever failed: the network is another.
    fn start_over(&mut self, now: Instant) {
        self.topics.hurry(now);
        for key in self.peers.keys() {
            let phase = self.phase(&key);
            let Some(peer) = self.peers.get_mut(&key) else { continue };
            peer.relay = RelayUse::AsNeeded;
            peer.attempts = 0;
            if matches!(phase, Phase::Waiting(_) | Phase::Queued(_)) {
                self.enqueue(now, key);
            }
        }
        self.pump(now);
    }

    pub(super) fn probe_links(&mut self) {
        let links = self.links.iter().map(Action::KeepAlive);
        self.actions.extend(links);
    }

    /// Ends a pause's beginning, once records are removed or it took too long.
    pub(super) fn end_pause(&mut self, now: Instant) {
        let Some(deadline) = self.mode.deadline() else { return };
        if self.topics.running() > 0 && now < deadline {
            return;
        }
        for topic in self.topics.ids() {
            self.stop_walk(now, topic);
        }
        let ended = self.mode.is_final();
        if ended {
            self.topics = Topics::default();
        } else {
            self.topics.rest();
        }
        self.mode.stage = if ended { Stage::Ended } else { Stage::Suspended };
        self.events.push_back(if ended { RosterEvent::ShutDown } else { RosterEvent::Suspended });
    }

    fn remove_records(&mut self, now: Instant) {
        for topic in self.topics.ids() {
            if !self.topics.get(&topic).is_some_and(Topic::is_removing) {
                self.stop_walk(now, topic);
            }
            if let Some(kind) = self.topics.begin_removal(topic) {
                self.actions.push_back(Action::Refresh { topic, kind });
            }
        }
        if self.serving == Serving::Yes {
            self.serving = Serving::No;
            self.actions.push_back(Action::Unlisten);
        }
    }

    /// Closes every connection and attempt, without blame: whoever is wanted is queued.
    fn part(&mut self, now: Instant) {
        for link in self.links.clear_trials() {
            self.actions.push_back(Action::Close { link, why: CloseReason::Suspended });
        }
        for link in self.links.ids() {
            self.actions.push_back(Action::Close { link, why: CloseReason::Suspended });
            self.unlink(link);
        }
        let dials: Vec<DialId> = self.dials.keys().copied().collect();
        for dial in dials {
            self.cancel_dial(dial);
        }
        for key in self.peers.keys() {
            match self.phase(&key) {
                Phase::Idle | Phase::Queued(_) | Phase::Held => {}
                Phase::Dialling(_) | Phase::Waiting(_) | Phase::Linked(..) => {
                    self.enqueue_or_forget(now, key);
                }
            }
        }
    }
}
