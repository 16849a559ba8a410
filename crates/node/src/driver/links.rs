//! The driver's part for connections: frames between handles and the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use ::swarm::roster::{FlushId, FlushOutcome};
use ::swarm::{
    Course, DialError, DialId, LinkError, LinkId, Opened, RelayNews, SendError, Swarm, Taken, Verdict,
    Visitor,
};
use dht::PublicKey;
use tokio::sync::{mpsc, oneshot};
use wire::Id;

use super::tell;
use crate::connection::Connection;
use crate::pipe::{Doorbell, Outbound, Pipe};
use crate::swarm::Meeting;

/// Frames moved for one connection before others have a turn.
const FRAMES_PER_TURN: usize = 64;
/// Connections that wait for an application to accept them; further ones are closed.
pub(crate) const BACKLOG_MAX: usize = 128;

/// All handles of connections, and who waits for one.
#[derive(Debug, Default)]
pub(super) struct Links {
    pipes: BTreeMap<LinkId, Arc<Pipe>>,
    pub(super) bell: Arc<Doorbell>,
    dials: BTreeMap<DialId, oneshot::Sender<Result<Connection, DialError>>>,
    listeners: BTreeMap<PublicKey, mpsc::Sender<Connection>>,
    judges: BTreeMap<PublicKey, mpsc::Sender<Visitor>>,
    swarms: BTreeMap<PublicKey, mpsc::Sender<Meeting>>,
    flushes: BTreeMap<FlushId, oneshot::Sender<FlushOutcome>>,
    ends: BTreeMap<PublicKey, oneshot::Sender<()>>,
    relays: BTreeMap<PublicKey, mpsc::Sender<RelayNews>>,
}

impl Links {
    pub(super) fn wait(&mut self, dial: DialId, done: oneshot::Sender<Result<Connection, DialError>>) {
        self.dials.insert(dial, done);
    }

    pub(super) fn listen(&mut self, key: PublicKey, accepted: mpsc::Sender<Connection>) {
        self.listeners.insert(key, accepted);
    }

    pub(super) fn unlisten(&mut self, key: &PublicKey) {
        self.listeners.remove(key);
    }

    pub(super) fn host_relay(&mut self, key: PublicKey, news: mpsc::Sender<RelayNews>) {
        self.relays.insert(key, news);
    }

    /// Tells the owner of a relay of something, unless it does not read.
    pub(super) fn tell_relay(&self, key: &PublicKey, news: RelayNews) {
        if let Some(relay) = self.relays.get(key) {
            relay.try_send(news).unwrap_or_default();
        }
    }

    pub(super) fn rerouted(&self, link: LinkId, course: Course) {
        if let Some(pipe) = self.pipes.get(&link) {
            pipe.reroute(course);
        }
    }

    pub(super) fn judge(&mut self, key: PublicKey, asked: mpsc::Sender<Visitor>) {
        // Whoever takes questions no more needs no place.
        self.judges.retain(|_, asked| !asked.is_closed());
        self.judges.insert(key, asked);
    }

    /// Asks whoever judges the visitors of a key; refuses where nobody does, or too many wait.
    pub(super) fn asked(&self, now: Instant, swarm: &mut Swarm, visitor: Visitor) {
        let asked = self.judges.get(&visitor.local).map(|judge| judge.try_send(visitor));
        if !matches!(asked, Some(Ok(()))) {
            swarm.decide(now, visitor.slot, Verdict::Refuse);
        }
    }

    pub(super) fn gather(&mut self, local: PublicKey, meetings: mpsc::Sender<Meeting>) {
        self.swarms.insert(local, meetings);
    }

    /// Hands a connection to its identity's swarm. One that finds no room is dropped, and so closed.
    pub(super) fn met(&mut self, opened: Opened, topics: Vec<Id<32>>) {
        let connection = self.open(opened);
        if let Some(meetings) = self.swarms.get(&opened.local) {
            meetings.try_send(Meeting { connection, topics }).unwrap_or_else(|refused| {
                tracing::debug!(remote = %opened.remote, "nobody takes a connection");
                drop(refused);
            });
        }
    }

    pub(super) fn wait_for_flush(&mut self, flush: Option<FlushId>, done: oneshot::Sender<FlushOutcome>) {
        match flush {
            Some(flush) => drop(self.flushes.insert(flush, done)),
            None => tell(done, FlushOutcome::Abandoned),
        }
    }

    pub(super) fn flushed(&mut self, flush: FlushId, outcome: FlushOutcome) {
        if let Some(done) = self.flushes.remove(&flush) {
            tell(done, outcome);
        }
    }

    pub(super) fn wait_for_end(&mut self, local: PublicKey, done: Option<oneshot::Sender<()>>) {
        if let Some(done) = done {
            self.ends.insert(local, done);
        }
    }

    pub(super) fn dispersed(&mut self, local: &PublicKey) {
        self.swarms.remove(local);
        if let Some(done) = self.ends.remove(local) {
            tell(done, ());
        }
    }

    /// Returns the dials for whose outcome nobody waits any more.
    pub(super) fn take_forsaken(&mut self) -> Vec<DialId> {
        let forsaken: Vec<_> =
            self.dials.iter().filter(|(_, done)| done.is_closed()).map(|(dial, _)| *dial).collect();
        for dial in &forsaken {
            self.dials.remove(dial);
        }
        forsaken
    }

    pub(super) fn dialled(&mut self, dial: DialId, opened: Opened) {
        let connection = self.open(opened);
        if let Some(done) = self.dials.remove(&dial) {
            tell(done, Ok(connection));
        }
    }

    pub(super) fn dial_failed(&mut self, dial: DialId, error: DialError) {
        if let Some(done) = self.dials.remove(&dial) {
            tell(done, Err(error));
        }
    }

    /// Hands a peer's connection to whoever serves the key. One that finds no room is dropped, and so closed.
    pub(super) fn accepted(&mut self, opened: Opened) {
        let connection = self.open(opened);
        if let Some(accepted) = self.listeners.get(&opened.local) {
            accepted.try_send(connection).unwrap_or_else(|refused| {
                tracing::debug!(remote = %opened.remote, "nobody accepts a connection");
                drop(refused);
            });
        }
    }

    fn open(&mut self, opened: Opened) -> Connection {
        let pipe = Arc::new(Pipe::new(opened.link, Arc::clone(&self.bell)));
        self.pipes.insert(opened.link, Arc::clone(&pipe));
        Connection::new(opened, pipe)
    }

    /// Ends a connection of the machine; what it delivered can still be read. Tells whether somebody had it.
    pub(super) fn closed(&mut self, link: LinkId, why: LinkError) -> bool {
        let Some(pipe) = self.pipes.remove(&link) else { return false };
        pipe.close(why);
        true
    }

    /// Names the connections that somebody has.
    pub(super) fn held(&self) -> BTreeSet<LinkId> {
        self.pipes.keys().copied().collect()
    }

    /// Moves what handles want to send, and what they have made room for.
    pub(super) fn serve_ringing(&self, now: Instant, swarm: &mut Swarm) {
        for link in self.bell.take() {
            self.write(now, swarm, link);
            self.read(now, swarm, link);
        }
    }

    /// Moves frames from a handle to the machine, as far as there is room.
    pub(super) fn write(&self, now: Instant, swarm: &mut Swarm, link: LinkId) {
        let Some(pipe) = self.pipes.get(&link) else { return };
        while let Some(frame) = pipe.next_outbound() {
            match swarm.send(now, link, &frame) {
                Ok(()) => {}
                // The machine tells when there is room.
                Err(SendError::Full) => return pipe.keep_outbound(frame),
                Err(_) => break,
            }
        }
        match pipe.outbound() {
            Outbound::Open => {}
            Outbound::Finish => swarm.finish(now, link),
            Outbound::Released => swarm.destroy(now, link, LinkError::Closed),
        }
    }

    /// Moves frames from the machine to a handle, as far as there is room.
    pub(super) fn read(&self, now: Instant, swarm: &mut Swarm, link: LinkId) {
        let Some(pipe) = self.pipes.get(&link) else { return };
        for _ in 0..FRAMES_PER_TURN {
            if !pipe.has_room() {
                return;
            }
            match swarm.take(now, link) {
                Taken::Frame(frame) => pipe.deliver(frame),
                Taken::Nothing => return,
                Taken::End => return pipe.end(),
            }
        }
        pipe.call_again();
    }

    pub(super) fn close_all(&mut self) {
        for pipe in std::mem::take(&mut self.pipes).into_values() {
            pipe.close(LinkError::Closed);
        }
    }
}
