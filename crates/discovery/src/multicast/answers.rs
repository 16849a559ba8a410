use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use wire::SocketId;

use super::{Alias, Nonce};
use crate::topic::Topic;

/// Between two answers about one name on one link (RFC 6762, 6): one answer serves all who asked.
const ANSWER_GAP: Duration = Duration::from_secs(1);
/// Answers under way or just given, of all topics.
const SLOTS_MAX: usize = 1024;
/// The same of one topic: links times names, and some ports that JavaScript peers ask from.
const TOPIC_SLOTS_MAX: usize = 32;
/// Questions that one answer proves; of more the last ones.
const NONCES_MAX: usize = 12;

/// Where an answer goes, and about what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot {
    pub(super) topic: Topic,
    pub(super) alias: Alias,
    pub(super) seat: SocketId,
    /// Port that was asked from, which the reference answers to.
    pub(super) port: u16,
}

/// Answers that are due, or were given less than a second ago.
#[derive(Debug, Default)]
pub(super) struct Answers(BTreeMap<Slot, Answer>);

#[derive(Debug, Default)]
struct Answer {
    /// Somebody asked since the last answer.
    asked: Option<Asked>,
}

/// Whom an answer must satisfy.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) nonces: VecDeque<Nonce>,
}

/// What to do about a slot now.
#[derive(Debug)]
pub(super) enum Turn {
    /// Answer, and look again at this time.
    Answer(Asked, Instant),
    /// Nothing: nobody asked again.
    Rest,
}

impl Answers {
    /// Notes a question. Returns whether a timer is needed for it: an answer that is under way will include it.
    pub(super) fn ask(&mut self, slot: Slot, nonce: Option<Nonce>) -> Noted {
        let is_new = !self.0.contains_key(&slot);
        if is_new && (self.0.len() >= SLOTS_MAX || self.of(&slot.topic) >= TOPIC_SLOTS_MAX) {
            return Noted::Refused;
        }
        let asked = self.0.entry(slot).or_default().asked.get_or_insert_default();
        if let Some(nonce) = nonce
            && !asked.nonces.contains(&nonce)
        {
            if asked.nonces.len() >= NONCES_MAX {
                asked.nonces.pop_front();
            }
            asked.nonces.push_back(nonce);
        }
        if is_new { Noted::First } else { Noted::Joined }
    }

    /// Takes what is due about a slot whose time has come.
    pub(super) fn turn(&mut self, now: Instant, slot: &Slot) -> Turn {
        let asked = self.0.get_mut(slot).and_then(|answer| answer.asked.take());
        if let Some(asked) = asked {
            Turn::Answer(asked, now + ANSWER_GAP)
        } else {
            self.0.remove(slot);
            Turn::Rest
        }
    }

    fn of(&self, topic: &Topic) -> usize {
        self.0.keys().filter(|slot| slot.topic == *topic).count()
    }
}

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    /// It needs a time to be answered at.
    First,
    /// It is answered with another.
    Joined,
    /// There are too many.
    Refused,
}
