//! Topics that are announced for as long as the application wants (`hyperswarm lib/peer-discovery.js`).

use std::collections::BTreeMap;
use std::time::Instant;

use rand::RngExt;
use rand::rngs::StdRng;
use wire::Id;

use super::event::{OperationId, Outcome};
use crate::config::Timing;
use crate::key::{KeyPair, PublicKey};
use crate::snapshot::TopicState;

/// Topics announced at one time.
pub(super) const TOPICS_MAX: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Topics {
    topics: BTreeMap<Id<32>, Topic>,
}

#[derive(Debug)]
struct Topic {
    key: KeyPair,
    running: Option<OperationId>,
    due: Instant,
    announced: Option<Instant>,
    stored: usize,
}

impl Topics {
    /// Adds a topic, to be announced now.
    pub(super) fn join(&mut self, now: Instant, topic: Id<32>, key: KeyPair) {
        if self.topics.len() < TOPICS_MAX || self.topics.contains_key(&topic) {
            let entry = Topic { key, running: None, due: now, announced: None, stored: 0 };
            self.topics.insert(topic, entry);
        }
    }

    /// Removes a topic; returns its key and what may still go on for it.
    pub(super) fn leave(&mut self, topic: &Id<32>) -> Option<(KeyPair, Option<OperationId>)> {
        self.topics.remove(topic).map(|entry| (entry.key, entry.running))
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.topics.values().filter(|topic| topic.running.is_none()).map(|topic| topic.due).min()
    }

    /// Takes a topic whose time has come.
    pub(super) fn next_due(&self, now: Instant) -> Option<(Id<32>, KeyPair)> {
        let due = |topic: &Topic| topic.running.is_none() && topic.due <= now;
        self.topics.iter().find(|(_, topic)| due(topic)).map(|(id, topic)| (*id, topic.key.clone()))
    }

    pub(super) fn started(&mut self, topic: &Id<32>, operation: OperationId) {
        if let Some(topic) = self.topics.get_mut(topic) {
            topic.running = Some(operation);
        }
    }

    /// Takes the end of an operation, if it was an announcement of a topic: which, and on how many nodes.
    pub(super) fn finished(
        &mut self,
        now: Instant,
        operation: OperationId,
        outcome: &Outcome,
        timing: &Timing,
        rng: &mut StdRng,
    ) -> Option<(Id<32>, usize)> {
        let (id, topic) = self.topics.iter_mut().find(|(_, topic)| topic.running == Some(operation))?;
        topic.running = None;
        topic.stored = match outcome {
            Outcome::Stored { stored, .. } => *stored,
            _ => 0,
        };
        // Without a network the next tick but one is soon enough; a jitter keeps nodes that started together
        // from announcing together for ever.
        topic.due = if topic.stored == 0 {
            now + timing.tick * 2
        } else {
            topic.announced = Some(now);
            now + timing.topic + timing.topic_jitter.mul_f64(rng.random())
        };
        Some((*id, topic.stored))
    }

    /// Has every topic announced anew, as after a change of address.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.topics.values_mut().for_each(|topic| topic.due = now);
    }

    pub(super) fn is_running(&self, operation: OperationId) -> bool {
        self.topics.values().any(|topic| topic.running == Some(operation))
    }

    pub(super) fn snapshot(&self, now: Instant) -> Vec<TopicState> {
        let ago = |at: Instant| now.saturating_duration_since(at);
        let state = |(topic, entry): (&Id<32>, &Topic)| TopicState {
            topic: *topic,
            public_key: entry.public_key(),
            stored: entry.stored,
            announced_ago: entry.announced.map(ago),
            next_in: entry.running.is_none().then(|| entry.due.saturating_duration_since(now)),
        };
        self.topics.iter().map(state).collect::<Vec<TopicState>>()
    }
}

impl Topic {
    fn public_key(&self) -> PublicKey {
        self.key.public_key()
    }
}
