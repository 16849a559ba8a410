//! Everybody who waits for the disk or for other nodes.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::oneshot;
use tooldb::message::{Code, MessageId, Verdict};
use tooldb::{Digest, Key, LinkId};

use crate::store::Seq;

/// What a sender is told of its record.
pub(crate) type Said = (Digest, Verdict);

/// Verdicts that are remembered for whoever asks after they came.
const SAID_MAX: usize = 1_024;

/// What a function returned.
pub(crate) type Returned = (Code, Option<Box<str>>);

#[derive(Debug)]
pub(crate) struct Waiting {
    /// Others' records, to be confirmed once the disk has everything up to there. In order.
    confirms: VecDeque<(Seq, LinkId, MessageId, Said)>,
    /// Handles that wait for the disk. In order.
    durable: VecDeque<(Seq, oneshot::Sender<()>)>,
    /// Handles that wait for a server to confirm a record.
    pub(crate) verdicts: BTreeMap<Digest, Vec<oneshot::Sender<Verdict>>>,
    /// What servers said of own records lately, oldest first.
    said: VecDeque<Said>,
    /// Own records that no server has confirmed.
    pub(crate) unconfirmed: BTreeMap<Digest, Key>,
    pub(crate) outbox_changed: bool,
    pub(crate) fetches: BTreeMap<MessageId, oneshot::Sender<()>>,
    pub(crate) lists: BTreeMap<MessageId, oneshot::Sender<Vec<Key>>>,
    pub(crate) calls: BTreeMap<MessageId, oneshot::Sender<Returned>>,
}

impl Waiting {
    pub(crate) fn new(unconfirmed: Vec<(Digest, Key)>) -> Self {
        Self {
            confirms: VecDeque::new(),
            durable: VecDeque::new(),
            verdicts: BTreeMap::new(),
            said: VecDeque::new(),
            unconfirmed: unconfirmed.into_iter().collect(),
            outbox_changed: false,
            fetches: BTreeMap::new(),
            lists: BTreeMap::new(),
            calls: BTreeMap::new(),
        }
    }

    pub(crate) fn remember(&mut self, hash: Digest, verdict: Verdict) {
        if self.said.len() >= SAID_MAX {
            self.said.pop_front();
        }
        self.said.push_back((hash, verdict));
    }

    /// What a server said of an own record: lately, or, if it is not waiting to be confirmed, once.
    pub(crate) fn said(&self, hash: Digest) -> Option<Verdict> {
        let said = self.said.iter().rev().find(|(of, _)| *of == hash).map(|(_, verdict)| *verdict);
        said.or_else(|| (!self.unconfirmed.contains_key(&hash)).then_some(Verdict::Known))
    }

    pub(crate) fn confirm_after(&mut self, seq: Seq, (link, id, said): (LinkId, MessageId, Said)) {
        self.confirms.push_back((seq, link, id, said));
    }

    pub(crate) fn tell_after(&mut self, seq: Seq, waiter: oneshot::Sender<()>) {
        self.durable.push_back((seq, waiter));
    }

    /// Tells handles, and returns whom else to tell, of what is on disk now.
    pub(crate) fn confirmable(&mut self, durable: Seq) -> Vec<(LinkId, MessageId, Said)> {
        while self.durable.front().is_some_and(|(seq, _)| *seq <= durable) {
            let Some((_, waiter)) = self.durable.pop_front() else { break };
            tell(waiter, ());
        }
        let count = self.confirms.iter().take_while(|(seq, ..)| *seq <= durable).count();
        self.confirms.drain(..count).map(|(_, link, id, said)| (link, id, said)).collect()
    }

    /// Forgets handles that wait no longer.
    pub(crate) fn sweep(&mut self) {
        self.fetches.retain(|_, waiter| !waiter.is_closed());
        self.lists.retain(|_, waiter| !waiter.is_closed());
        self.calls.retain(|_, waiter| !waiter.is_closed());
        self.verdicts.retain(|_, waiters| {
            waiters.retain(|waiter| !waiter.is_closed());
            !waiters.is_empty()
        });
    }
}

/// Tells a handle that may have stopped waiting.
pub(crate) fn tell<T>(waiter: oneshot::Sender<T>, value: T) {
    drop(waiter.send(value));
}
