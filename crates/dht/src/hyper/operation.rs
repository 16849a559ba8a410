//! Things done once: walks, and what is sent to the nodes that a walk found (`hyperdht index.js`).

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::time::Instant;

use wire::hyper::{self, Announcement, LookupReply, MutablePut, MutableRecord, PeerRecord, error};
use wire::{Addrs, Command, Id, PublicKey, Write, pack_addrs};

use super::Purpose;
use super::event::{Answered, Event, Failure, OperationId, Outcome, Peer, Sending, Task, Walked};
use super::store::RELAYS_MAX;
use crate::engine::{Ask, AskError, Engine, Reply, Urgency, WalkEnd, WalkId, WalkSpec};
use crate::key::{KeyPair, Place, Signed, hash, mutable_message, target, verify_mutable};

/// Operations at one time.
const OPERATIONS_MAX: usize = 1024;
/// A node that tells this many peers of a topic may know more, ours among them.
const MANY_PEERS: usize = 20;

#[derive(Debug, Default)]
pub(super) struct Operations {
    running: BTreeMap<OperationId, Operation>,
    serial: u64,
}

#[derive(Debug)]
struct Operation {
    goal: Goal,
    stage: Stage,
    /// Requests to the nodes found that are not answered yet.
    outstanding: usize,
    tally: Tally,
    found: Option<(u64, Vec<u8>)>,
}

#[derive(Debug)]
enum Stage {
    Walking(WalkId),
    Committing(Walked),
    Calling,
}

/// What became of the requests to the nodes found.
#[derive(Clone, Debug, Default)]
struct Tally {
    holders: Vec<SocketAddrV4>,
    seq_reused: usize,
    seq_too_low: usize,
}

#[derive(Debug)]
enum Goal {
    Call,
    Nodes,
    Peers { target: Id<32>, kind: Peers },
    Announce { topic: Id<32>, key: KeyPair, relays: Vec<u8>, bump: u64 },
    Unannounce { topic: Id<32>, key: KeyPair },
    ImmutablePut { target: Id<32>, value: Vec<u8> },
    ImmutableGet { target: Id<32> },
    MutablePut { key: PublicKey, value: Vec<u8> },
    MutableGet { key: PublicKey, seq: u64 },
}

/// What an answer of the walk holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peers {
    One,
    List,
}

impl Operations {
    pub(super) fn start(&mut self, now: Instant, engine: &mut Engine, task: Task) -> Begun {
        self.serial += 1;
        let id = OperationId(self.serial);
        let purpose = Purpose::Operation(id);
        let refused = |failure| Begun {
            id,
            failed: Some(Event::Finished { operation: id, outcome: Outcome::Failed(failure) }),
        };
        if self.running.len() >= OPERATIONS_MAX {
            return refused(Failure::TooBusy);
        }
        if engine.is_suspended() {
            return refused(Failure::Suspended);
        }
        if let Task::ImmutablePut { value } | Task::MutablePut { value, .. } = &task
            && value.len() > Task::VALUE_MAX
        {
            return refused(Failure::TooLong);
        }
        let (goal, start) = plan(task);
        let stage = match start {
            Start::Walk(spec) => Stage::Walking(engine.walk(now, spec, purpose)),
            Start::Call { to, command, target, value, sending } => {
                let value = value.as_deref();
                let Sending { from: at, retries, patience } = sending;
                engine.ask_for(
                    now,
                    &Ask { target, value, at, retries, patience, ..Ask::new(to, command) },
                    purpose,
                );
                Stage::Calling
            }
        };
        let outstanding = usize::from(matches!(stage, Stage::Calling));
        self.running.insert(id, Operation { goal, stage, outstanding, tally: Tally::default(), found: None });
        Begun { id, failed: None }
    }

    /// Stops an operation whose outcome nobody wants any more.
    pub(super) fn cancel(&mut self, engine: &mut Engine, id: OperationId) {
        if let Some(operation) = self.running.remove(&id) {
            if let Stage::Walking(walk) = operation.stage {
                engine.cancel_walk(walk);
            }
            engine.abandon_for(|purpose| *purpose == Purpose::Operation(id));
        }
    }

    /// Takes an answer of a walk.
    pub(super) fn walked(
        &mut self,
        now: Instant,
        engine: &mut Engine,
        id: OperationId,
        reply: &Reply,
    ) -> Option<Event> {
        let operation = self.running.get_mut(&id)?;
        let value = reply.value.as_deref();
        match &operation.goal {
            Goal::Peers { target, kind } => {
                let (peers, bump) = decode_peers(*kind, value?)?;
                Some(Event::Peers { operation: id, topic: *target, from: reply.from, peers, bump })
            }
            Goal::Announce { topic, .. } => {
                let (peers, bump) = decode_peers(Peers::List, value?)?;
                Some(Event::Peers { operation: id, topic: *topic, from: reply.from, peers, bump })
            }
            Goal::Unannounce { topic, key } => {
                let (peers, _) = decode_peers(Peers::List, value?)?;
                let ours = key.public_key();
                if peers.len() >= MANY_PEERS || peers.iter().any(|peer| peer.public_key == ours) {
                    let sent =
                        send_announcement(now, engine, id, reply, &Intent::Remove { target: *topic, key });
                    operation.outstanding += usize::from(sent);
                }
                None
            }
            Goal::ImmutableGet { target } => {
                let value = value.filter(|value| hash(value) == *target)?;
                operation.found = Some((0, value.to_vec()));
                let Stage::Walking(walk) = operation.stage else { return None };
                let walked = Walked { closest: Vec::new(), figures: engine.walk_figures(now, walk)? };
                engine.cancel_walk(walk);
                self.finish(id, walked)
            }
            Goal::MutableGet { key, seq } => {
                let record = MutableRecord::decode(value?).ok()?;
                let newer = operation.found.as_ref().is_none_or(|(known, _)| record.seq > *known);
                if newer && record.seq >= *seq && verify_mutable(key, &record) {
                    operation.found = Some((record.seq, record.value.to_vec()));
                }
                None
            }
            Goal::Call | Goal::Nodes | Goal::ImmutablePut { .. } | Goal::MutablePut { .. } => None,
        }
    }

    /// Takes the end of a walk, and goes on to the nodes that it found.
    pub(super) fn walk_ended(
        &mut self,
        now: Instant,
        engine: &mut Engine,
        id: OperationId,
        end: &WalkEnd,
    ) -> Option<Event> {
        let operation = self.running.get_mut(&id)?;
        let walked =
            Walked { closest: end.closest.iter().map(|reply| reply.from).collect(), figures: end.figures };
        if walked.figures.responses == 0 {
            self.running.remove(&id);
            return Some(Event::Finished { operation: id, outcome: Outcome::Failed(Failure::NoNodes) });
        }
        for reply in &end.closest {
            operation.outstanding += usize::from(commit(now, engine, id, &operation.goal, reply));
        }
        if operation.outstanding == 0 {
            return self.finish(id, walked);
        }
        operation.stage = Stage::Committing(walked);
        None
    }

    /// Takes the answer, or the failure, of a request to one node.
    pub(super) fn answered(&mut self, id: OperationId, result: Result<Reply, AskError>) -> Option<Event> {
        let operation = self.running.get_mut(&id)?;
        operation.outstanding = operation.outstanding.saturating_sub(1);
        if let Stage::Calling = operation.stage {
            self.running.remove(&id);
            let outcome = match result {
                Ok(reply) => Outcome::Answered(reply.into()),
                Err(AskError::TimedOut) => Outcome::Failed(Failure::NoAnswer),
                Err(AskError::Full | AskError::Canceled) => Outcome::Failed(Failure::TooBusy),
                Err(AskError::Suspended) => Outcome::Failed(Failure::Suspended),
            };
            return Some(Event::Finished { operation: id, outcome });
        }
        let tally = &mut operation.tally;
        match result {
            Ok(Reply { error: 0, from, .. }) => tally.holders.push(from),
            Ok(Reply { error: error::SEQ_REUSED, .. }) => tally.seq_reused += 1,
            Ok(Reply { error: error::SEQ_TOO_LOW, .. }) => tally.seq_too_low += 1,
            Ok(_) | Err(_) => {}
        }
        let Stage::Committing(walked) = &mut operation.stage else { return None };
        if operation.outstanding > 0 {
            return None;
        }
        let walked = std::mem::take(walked);
        self.finish(id, walked)
    }

    fn finish(&mut self, id: OperationId, walked: Walked) -> Option<Event> {
        let operation = self.running.remove(&id)?;
        let Tally { holders, seq_reused, seq_too_low } = operation.tally;
        let stored = holders.len();
        let outcome = match operation.goal {
            Goal::ImmutableGet { .. } | Goal::MutableGet { .. } => {
                Outcome::Value { walked, found: operation.found }
            }
            Goal::Call | Goal::Nodes | Goal::Peers { .. } => Outcome::Walked(walked),
            Goal::Announce { .. }
            | Goal::Unannounce { .. }
            | Goal::ImmutablePut { .. }
            | Goal::MutablePut { .. } => Outcome::Stored { walked, stored, holders, seq_reused, seq_too_low },
        };
        Some(Event::Finished { operation: id, outcome })
    }
}

/// An operation that began, or failed at once.
#[derive(Debug)]
pub(super) struct Begun {
    pub(super) id: OperationId,
    pub(super) failed: Option<Event>,
}

/// How an operation begins.
enum Start {
    Walk(WalkSpec),
    Call {
        to: SocketAddrV4,
        command: Command,
        target: Option<Id<32>>,
        value: Option<Vec<u8>>,
        sending: Sending,
    },
}

fn plan(task: Task) -> (Goal, Start) {
    let walk = |target, command| Start::Walk(WalkSpec::new(target, command));
    match task {
        Task::Ping { to } => {
            let sending = Sending::default();
            (Goal::Call, Start::Call { to, command: Command::PING, target: None, value: None, sending })
        }
        Task::Call { to, command, target, value, sending } => {
            (Goal::Call, Start::Call { to, command, target, value, sending })
        }
        Task::FindNode { target } => (Goal::Nodes, walk(target, Command::FIND_NODE)),
        Task::FindPeer { target } => {
            (Goal::Peers { target, kind: Peers::One }, walk(target, hyper::FIND_PEER))
        }
        Task::Lookup { topic } => {
            (Goal::Peers { target: topic, kind: Peers::List }, walk(topic, hyper::LOOKUP))
        }
        Task::Announce { topic, key, relays, bump } => {
            let relays = pack_addrs(relays.into_iter().take(RELAYS_MAX));
            (Goal::Announce { topic, key, relays, bump }, walk(topic, hyper::LOOKUP))
        }
        Task::Unannounce { topic, key } => (Goal::Unannounce { topic, key }, walk(topic, hyper::LOOKUP)),
        Task::ImmutablePut { value } => {
            let target = hash(&value);
            (Goal::ImmutablePut { target, value }, walk(target, hyper::IMMUTABLE_GET))
        }
        Task::ImmutableGet { target } => (Goal::ImmutableGet { target }, walk(target, hyper::IMMUTABLE_GET)),
        Task::MutablePut { key, seq, value } => {
            let public_key = key.public_key();
            let unsigned = MutableRecord { seq, value: &value, signature: [0; 64] };
            let record = MutableRecord { signature: key.sign(&mutable_message(&unsigned)), ..unsigned };
            let mut put = Vec::with_capacity(value.len() + 108);
            MutablePut { public_key: public_key.0, record }.encode(&mut put);
            let start = mutable_get(public_key, 0);
            (Goal::MutablePut { key: public_key, value: put }, start)
        }
        Task::MutableGet { key, seq } => (Goal::MutableGet { key, seq }, mutable_get(key, seq)),
    }
}

fn mutable_get(key: PublicKey, seq: u64) -> Start {
    let mut value = Vec::new();
    value.uint(seq);
    Start::Walk(WalkSpec { value: Some(value.into()), ..WalkSpec::new(target(key), hyper::MUTABLE_GET) })
}

/// Sends one of the closest nodes what is to be stored there; tells whether anything was sent.
fn commit(now: Instant, engine: &mut Engine, id: OperationId, goal: &Goal, reply: &Reply) -> bool {
    let (target, command, value) = match goal {
        Goal::Announce { topic, key, relays, bump } => {
            let intent = Intent::Add { target: *topic, key, relays, bump: *bump };
            return send_announcement(now, engine, id, reply, &intent);
        }
        Goal::ImmutablePut { target, value } => (*target, hyper::IMMUTABLE_PUT, value),
        Goal::MutablePut { key, value } => (target(*key), hyper::MUTABLE_PUT, value),
        Goal::Call
        | Goal::Nodes
        | Goal::Peers { .. }
        | Goal::Unannounce { .. }
        | Goal::ImmutableGet { .. }
        | Goal::MutableGet { .. } => return false,
    };
    let Some(token) = reply.token else { return false };
    let ask =
        Ask { target: Some(target), token: Some(token), value: Some(value), ..Ask::new(reply.from, command) };
    engine.ask_for(now, &ask, Purpose::Operation(id));
    true
}

/// What an announcement is to do at the node that gets it.
pub(super) enum Intent<'a> {
    Add { target: Id<32>, key: &'a KeyPair, relays: &'a [u8], bump: u64 },
    Remove { target: Id<32>, key: &'a KeyPair },
}

impl Intent<'_> {
    /// Signs the announcement for the node that gave `reply`, which needs to have an id and a token.
    pub(super) fn send(&self, now: Instant, engine: &mut Engine, reply: &Reply, purpose: Purpose) -> bool {
        let (Some(node), Some(token)) = (reply.id, reply.token) else { return false };
        let (signed, command, target, key, relays, bump) = match *self {
            Self::Add { target, key, relays, bump } => {
                (Signed::Announce, hyper::ANNOUNCE, target, key, relays, bump)
            }
            Self::Remove { target, key } => (Signed::Unannounce, hyper::UNANNOUNCE, target, key, &[][..], 0),
        };
        let peer = PeerRecord { public_key: key.public_key().0, relays: Addrs::from_packed(relays) };
        let signature = key.sign(&Place { target, node, token }.message(signed, &peer, None));
        let mut value = Vec::with_capacity(128);
        Announcement { peer: Some(peer), refresh: None, signature: Some(signature), bump }.encode(&mut value);
        let urgency = match self {
            Self::Add { .. } => Urgency::Windowed,
            // Comes often just before the end of the process.
            Self::Remove { .. } => Urgency::Forced,
        };
        let ask = Ask {
            target: Some(target),
            token: Some(token),
            value: Some(&value),
            urgency,
            ..Ask::new(reply.from, command)
        };
        engine.ask_for(now, &ask, purpose);
        true
    }
}

fn send_announcement(
    now: Instant,
    engine: &mut Engine,
    id: OperationId,
    reply: &Reply,
    intent: &Intent<'_>,
) -> bool {
    intent.send(now, engine, reply, Purpose::Operation(id))
}

fn decode_peers(kind: Peers, value: &[u8]) -> Option<(Vec<Peer>, u64)> {
    match kind {
        Peers::One => Some((vec![PeerRecord::decode(value).ok()?.into()], 0)),
        Peers::List => {
            let reply = LookupReply::decode(value).ok()?;
            Some((reply.peers.iter().map(Into::into).collect(), reply.bump))
        }
    }
}

impl From<PeerRecord<'_>> for Peer {
    fn from(record: PeerRecord<'_>) -> Self {
        let relays = record.relays.truncated(RELAYS_MAX).iter().collect();
        Self { public_key: PublicKey(record.public_key), relays }
    }
}

impl From<Reply> for Answered {
    fn from(reply: Reply) -> Self {
        Self {
            from: reply.from,
            id: reply.id,
            seen_as: reply.to,
            error: reply.error,
            value: reply.value.map(Into::into),
            closer: reply.closer,
            round_trip: reply.elapsed,
        }
    }
}
