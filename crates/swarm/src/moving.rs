//! Connections that follow their peer to another network, and outlast its silence (`docs/format/moving.md`).

use std::time::{Duration, Instant};

use peer::{CHALLENGE_LEN, Mover, Note};
use rand::RngExt as _;
use udx::{Path, StreamId, Udx, Unacked};

use crate::event::{Event, LinkId};
use crate::swarm::Swarm;

/// How long a silent peer is kept.
const ENDURANCE: Duration = Duration::from_secs(300);
/// How long a peer owes an answer before its connection counts as stalled. The last keep-alive left five seconds
/// before the first that is not answered, so that this is 18 s of silence at most.
const STALL: Duration = Duration::from_secs(13);
/// Between two calls to a peer that does not answer: what it sends is on its way again within half a second of
/// the link's return. A call is 45 bytes.
const CALL_EVERY: Duration = Duration::from_millis(400);
/// Calls after our network changed, if none is answered.
const CALLS: u8 = 10;

/// What a connection knows of its peer's moves and silence.
#[derive(Debug)]
pub(crate) struct Moving {
    mover: Mover,
    silent_since: Option<Instant>,
    call_at: Option<Instant>,
    /// To be made although the peer may not be silent.
    calls: u8,
    silence: Silence,
    news: Option<Silence>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Silence {
    /// The stream ends before it stalls.
    Ends,
    Outlasted,
    Stalled,
}

impl Moving {
    pub(crate) const fn new(mover: Mover) -> Self {
        let (silent_since, call_at, calls, news) = (None, None, 0, None);
        Self { mover, silent_since, call_at, calls, silence: Silence::Ends, news }
    }

    pub(crate) const fn is_stalled(&self) -> bool {
        matches!(self.silence, Silence::Stalled)
    }

    fn call(&mut self, now: Instant) {
        self.call_at = Some(now);
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, udx: &mut Udx, stream: StreamId) {
        if self.call_at.is_some_and(|at| at <= now) {
            // A stream that is gone says so by an event of its own.
            let _sent = udx.send_message(stream, &self.mover.seal(Note::Here));
            self.calls = self.calls.saturating_sub(1);
            let again = self.silent_since.is_some() || self.calls > 0;
            self.call_at = again.then_some(now + CALL_EVERY);
        }
        if self.silence == Silence::Outlasted && self.stall_at().is_some_and(|at| at <= now) {
            self.silence = Silence::Stalled;
            self.news = Some(Silence::Stalled);
        }
    }

    fn stall_at(&self) -> Option<Instant> {
        self.silent_since.filter(|_| self.silence == Silence::Outlasted).map(|since| since + STALL)
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.call_at.into_iter().chain(self.stall_at()).min()
    }

    fn answered(&mut self) {
        self.silent_since = None;
        if self.calls == 0 {
            self.call_at = None;
        }
        if self.silence == Silence::Stalled {
            self.silence = Silence::Outlasted;
            self.news = Some(Silence::Outlasted);
        }
    }
}

impl Swarm {
    /// Keeps a connection although its peer falls silent, if both sides can.
    pub(crate) fn outlast(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if let Some(moving) = &mut link.moving {
            moving.silence = Silence::Outlasted;
            self.ground.udx.endure(link.stream, ENDURANCE);
        }
    }

    /// Asks all peers to look where we are.
    pub(crate) fn call_all(&mut self, now: Instant) {
        for moving in self.links.values_mut().filter_map(|link| link.moving.as_mut()) {
            moving.calls = CALLS;
            moving.call(now);
        }
        for id in self.links.keys().copied().collect::<Vec<_>>() {
            self.call_if_due(now, id);
        }
    }

    pub(crate) fn handle_unanswered(&mut self, now: Instant, stream: StreamId) {
        let Some(id) = self.link_of(stream) else { return };
        if let Some(moving) = self.links.get_mut(&id).and_then(|link| link.moving.as_mut()) {
            moving.silent_since.get_or_insert(now);
            moving.call(now);
        }
        self.call_if_due(now, id);
    }

    pub(crate) fn handle_answered(&mut self, stream: StreamId) {
        let Some(id) = self.link_of(stream) else { return };
        if let Some(moving) = self.links.get_mut(&id).and_then(|link| link.moving.as_mut()) {
            moving.answered();
        }
        self.tell_silence(id);
        self.set_timer(id);
    }

    fn call_if_due(&mut self, now: Instant, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id)
            && let Some(moving) = &mut link.moving
        {
            moving.handle_timeout(now, &mut self.ground.udx, link.stream);
        }
        self.set_timer(id);
    }

    /// Tells the application that a connection stalled, or lives again.
    pub(crate) fn tell_silence(&mut self, id: LinkId) {
        let news = self.links.get_mut(&id).and_then(|link| link.moving.as_mut()?.news.take());
        match news {
            Some(Silence::Stalled) => self.events.push_back(Event::Stalled(id)),
            Some(_) => self.events.push_back(Event::Revived(id)),
            None => {}
        }
    }

    /// Reads messages that came by a path of the stream. Others than notes are nobody's: they are as readable to
    /// relays as to us.
    pub(crate) fn read_notes(&mut self, now: Instant, stream: StreamId) {
        while let Some(message) = self.ground.udx.read_message(stream) {
            let Some(id) = self.link_of(stream) else { continue };
            let Some(moving) = self.links.get_mut(&id).and_then(|link| link.moving.as_mut()) else {
                continue;
            };
            let answer = match moving.mover.open(&message) {
                Some(Note::Here) => Note::Prove([0; CHALLENGE_LEN]),
                Some(Note::Prove(challenge)) => {
                    moving.calls = 0;
                    Note::Proof(challenge)
                }
                Some(Note::Proof(_)) | None => continue,
            };
            let is_heard = matches!(answer, Note::Proof(_));
            // A stream that is gone says so by an event of its own.
            let _sent = self.ground.udx.send_message(stream, &moving.mover.seal(answer));
            if is_heard {
                self.ground.udx.hurry(now, stream);
            }
        }
    }

    /// Reads messages that came by other paths: whoever proves to be the peer, and to receive there, is followed.
    pub(crate) fn read_overheard(&mut self, now: Instant, stream: StreamId) {
        while let Some((path, message)) = self.ground.udx.read_overheard(stream) {
            let Some(id) = self.link_of(stream) else { continue };
            let Some(moving) = self.links.get_mut(&id).and_then(|link| link.moving.as_mut()) else {
                continue;
            };
            match moving.mover.open(&message) {
                Some(Note::Here) => {
                    let challenge = moving.mover.test(path.remote, self.ground.rng.random());
                    let note = moving.mover.seal(Note::Prove(challenge));
                    self.ground.udx.answer_stranger(stream, path, &note);
                }
                Some(Note::Proof(challenge)) if moving.mover.passes(path.remote, challenge) => {
                    self.move_to(now, (id, stream), path);
                }
                Some(Note::Prove(_) | Note::Proof(_)) | None => {}
            }
        }
    }

    fn move_to(&mut self, now: Instant, (id, stream): (LinkId, StreamId), path: Path) {
        self.ground.udx.admit(now, stream, path);
        self.follow(now, (stream, path), Unacked::Move);
        self.ground.udx.hurry(now, stream);
        if let Some(link) = self.links.get(&id) {
            self.events.push_back(Event::Rerouted { link: id, course: link.course() });
        }
    }
}
