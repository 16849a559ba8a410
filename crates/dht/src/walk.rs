use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddrV4;
use std::time::Duration;

use wire::Id;

use crate::table::K;

/// Nodes that one walk may learn of; a liar can name nodes without end.
const SEEN_MAX: usize = 2048;
/// Nodes remembered to have named a node, to be told if it is down.
const REFERRERS_MAX: usize = 4;
/// Sendings without an answer after which a walk that has its result no longer waits for a node. With one,
/// each lost datagram would cost a node of the result.
const SENDINGS_AWAITED: u8 = 2;
/// Requests in flight while nodes that were given beforehand, and may be gone, are tried.
const CAUTIOUS: usize = 3;

/// An iterative walk towards a target, without messages: whom to ask next, and when it is over.
///
/// It differs from the reference (`dht-rpc lib/query.js`) in that the closest known node is asked first, not
/// the latest named, and that it does not wait for nodes too far to matter.
#[derive(Debug)]
pub(crate) struct Walk<const N: usize, T> {
    target: Id<N>,
    seen: BTreeMap<SocketAddrV4, Candidate<N>>,
    waiting: BTreeSet<(Id<N>, SocketAddrV4)>,
    asked: BTreeSet<(Id<N>, SocketAddrV4)>,
    /// Distance, answer; closest first.
    closest: Vec<(Id<N>, T)>,
    cautious: usize,
    hops: u32,
}

#[derive(Debug)]
struct Candidate<const N: usize> {
    distance: Id<N>,
    stage: Stage,
    referrers: Vec<SocketAddrV4>,
    /// How many answers led from our own table to this node.
    depth: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Waiting,
    Asked { sendings: u8 },
    Done,
    Down,
}

impl<const N: usize, T> Walk<N, T> {
    pub(crate) const fn new(target: Id<N>) -> Self {
        Self {
            target,
            seen: BTreeMap::new(),
            waiting: BTreeSet::new(),
            asked: BTreeSet::new(),
            closest: Vec::new(),
            cautious: 0,
            hops: 0,
        }
    }

    pub(crate) const fn target(&self) -> Id<N> {
        self.target
    }

    /// Counts the answers that led from our own table to the last node of the result.
    pub(crate) const fn hops(&self) -> u32 {
        self.hops
    }

    /// Starts carefully: the seeds come from an earlier walk and may all be gone.
    pub(crate) fn be_cautious(&mut self, answers: usize) {
        self.cautious = answers;
    }

    pub(crate) fn add_seed(&mut self, addr: SocketAddrV4, id: &Id<N>) {
        self.offer(addr, id, None, 0);
    }

    /// Takes the next node to ask, where fewer than `concurrency` are, not counting those that seem lost.
    pub(crate) fn next(&mut self, concurrency: usize) -> Option<SocketAddrV4> {
        let limit = if self.cautious > 0 { concurrency.min(CAUTIOUS) } else { concurrency };
        if self.brisk() >= limit {
            return None;
        }
        let next = *self.waiting.first()?;
        if !self.is_closer(&next.0) {
            // All that wait are at least as far; nothing will bring them back.
            self.waiting.clear();
            return None;
        }
        self.waiting.remove(&next);
        self.asked.insert(next);
        self.set_stage(next.1, Stage::Asked { sendings: 1 });
        Some(next.1)
    }

    /// Counts nodes in flight that have not missed a deadline.
    pub(crate) fn brisk(&self) -> usize {
        self.asked.iter().filter(|(_, addr)| self.sendings(*addr) <= 1).count()
    }

    /// Notes that a node was asked again, for it did not answer in time.
    pub(crate) fn repeat(&mut self, addr: SocketAddrV4) {
        let sendings = self.sendings(addr).saturating_add(1);
        self.set_stage(addr, Stage::Asked { sendings });
    }

    /// Takes an answer; `result` is kept if the node, whose id was checked, is among the closest.
    pub(crate) fn answer(&mut self, addr: SocketAddrV4, result: Option<(Id<N>, T)>) -> u32 {
        let depth = self.end(addr, Stage::Done);
        if let Some((id, result)) = result {
            let distance = id.distance(&self.target);
            if let Err(at) = self.closest.binary_search_by(|(known, _)| known.cmp(&distance))
                && at < K
            {
                self.closest.insert(at, (distance, result));
                self.closest.truncate(K);
                self.hops = self.hops.max(depth);
            }
        }
        depth
    }

    /// Takes a node that `by`, itself `depth` answers from our table, named as closer.
    pub(crate) fn refer(&mut self, addr: SocketAddrV4, id: &Id<N>, by: SocketAddrV4, depth: u32) -> Referred {
        if let Some(known) = self.seen.get_mut(&addr) {
            match known.stage {
                Stage::Down => return Referred::IsDown,
                Stage::Waiting | Stage::Asked { .. } if known.referrers.len() < REFERRERS_MAX => {
                    known.referrers.push(by);
                }
                Stage::Waiting | Stage::Asked { .. } | Stage::Done => {}
            }
            return Referred::Known;
        }
        self.offer(addr, id, Some(by), depth + 1);
        Referred::New
    }

    /// Gives a node up; returns who named it.
    pub(crate) fn fail(&mut self, addr: SocketAddrV4) -> Vec<SocketAddrV4> {
        self.end(addr, Stage::Down);
        self.seen.get(&addr).map(|known| known.referrers.clone()).unwrap_or_default()
    }

    /// Tells whether no answer that may still come would change the result.
    pub(crate) fn is_done(&self) -> bool {
        let next_matters = self.waiting.first().is_some_and(|(distance, _)| self.is_closer(distance));
        !next_matters
            && self.asked.iter().all(|(distance, addr)| {
                self.closest.len() == K
                    && (!self.is_closer(distance) || self.sendings(*addr) > SENDINGS_AWAITED)
            })
    }

    /// Goes through the nodes that the walk ends without hearing from, with those that named them.
    pub(crate) fn silent(&self) -> impl Iterator<Item = (SocketAddrV4, &[SocketAddrV4])> {
        self.asked
            .iter()
            .filter(|(_, addr)| self.sendings(*addr) > SENDINGS_AWAITED)
            .filter_map(|(_, addr)| Some((*addr, self.seen.get(addr)?.referrers.as_slice())))
    }

    pub(crate) fn into_closest(self) -> Vec<T> {
        self.closest.into_iter().map(|(_, result)| result).collect()
    }

    fn offer(&mut self, addr: SocketAddrV4, id: &Id<N>, by: Option<SocketAddrV4>, depth: u32) {
        let distance = id.distance(&self.target);
        if self.seen.len() >= SEEN_MAX || self.seen.contains_key(&addr) || !self.is_closer(&distance) {
            return;
        }
        let referrers = by.into_iter().collect();
        self.seen.insert(addr, Candidate { distance, stage: Stage::Waiting, referrers, depth });
        self.waiting.insert((distance, addr));
    }

    fn is_closer(&self, distance: &Id<N>) -> bool {
        self.closest.len() < K || self.closest.last().is_some_and(|(worst, _)| distance < worst)
    }

    fn end(&mut self, addr: SocketAddrV4, stage: Stage) -> u32 {
        self.cautious = self.cautious.saturating_sub(1);
        self.set_stage(addr, stage);
        let Some(known) = self.seen.get(&addr) else { return 0 };
        self.asked.remove(&(known.distance, addr));
        known.depth
    }

    fn sendings(&self, addr: SocketAddrV4) -> u8 {
        match self.seen.get(&addr).map(|known| known.stage) {
            Some(Stage::Asked { sendings }) => sendings,
            _ => 0,
        }
    }

    fn set_stage(&mut self, addr: SocketAddrV4, stage: Stage) {
        if let Some(known) = self.seen.get_mut(&addr) {
            known.stage = stage;
        }
    }
}

/// What a walk knows of a node that was named to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Referred {
    New,
    Known,
    /// It did not answer us; whoever names it should hear so.
    IsDown,
}

/// What a walk through the network took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WalkFigures {
    /// Nodes asked; repetitions are not counted.
    pub requests: u64,
    /// Nodes that answered.
    pub responses: u64,
    /// Nodes given up after all repetitions. Those that the end of the walk made irrelevant are not counted.
    pub timeouts: u64,
    /// Answers that led from our own table to the last of the closest nodes.
    pub hops: u32,
    /// From start to end.
    pub elapsed: Duration,
}
