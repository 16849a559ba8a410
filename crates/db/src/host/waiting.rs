//! Everybody who waits for the disk or for other nodes.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::oneshot;
use tooldb::message::{Code, MessageId, Verdict};
use tooldb::{Digest, Key, LinkId};

use crate::store::Seq;

/// What a sender is told of its record.
pub(crate) type Said = (Digest, Verdict);

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
            unconfirmed: unconfirmed.into_iter().collect(),
            outbox_changed: false,
            fetches: BTreeMap::new(),
            lists: BTreeMap::new(),
            calls: BTreeMap::new(),
        }
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
