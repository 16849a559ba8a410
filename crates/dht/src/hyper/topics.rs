//! Topics that are announced for as long as the application wants (`hyperswarm lib/peer-discovery.js`).

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use wire::Id;

use super::event::{OperationId, Outcome};
use crate::key::KeyPair;
use crate::snapshot::TopicState;

/// Topics announced at one time.
pub(super) const TOPICS_MAX: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Topics {
    topics: BTreeMap<Id<32>, Topic>,
}

/// How long to wait before a topic is announced again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waits {
    /// After an announcement that some node stored.
    pub(super) stored: Duration,
    /// After one that none did.
    pub(super) failed: Duration,
}

#[derive(Debug)]
struct Topic {
    key: KeyPair,
    running: Option<OperationId>,
    due: Instant,
    announced: Option<Instant>,
    stored: usize,
    holders: Vec<SocketAddrV4>,
}

impl Topics {
    /// Adds a topic, to be announced now.
    pub(super) fn join(&mut self, now: Instant, topic: Id<32>, key: KeyPair) {
        if self.topics.len() < TOPICS_MAX || self.topics.contains_key(&topic) {
            let entry =
                Topic { key, running: None, due: now, announced: None, stored: 0, holders: Vec::new() };
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
        waits: Waits,
    ) -> Option<(Id<32>, usize)> {
        let (id, topic) = self.topics.iter_mut().find(|(_, topic)| topic.running == Some(operation))?;
        topic.running = None;
        (topic.stored, topic.holders) = match outcome {
            Outcome::Stored { stored, holders, .. } => (*stored, holders.clone()),
            _ => (0, Vec::new()),
        };
        if topic.stored == 0 {
            topic.due = now + waits.failed;
        } else {
            topic.announced = Some(now);
            topic.due = now + waits.stored;
        }
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
            public_key: entry.key.public_key(),
            stored: entry.stored,
            holders: entry.holders.clone(),
            announced_ago: entry.announced.map(ago),
            next_in: entry.running.is_none().then(|| entry.due.saturating_duration_since(now)),
        };
        self.topics.iter().map(state).collect()
    }
}
