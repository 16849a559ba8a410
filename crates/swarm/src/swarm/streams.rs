//! What happens to streams, told to whoever owns them.

use std::time::Instant;

use udx::{CloseReason, Path, StreamId, Unacked};

use super::{Owner, Swarm};
use crate::event::{Event, LinkError, LinkId};
use crate::link::{Link, Relayed, Sign, Stage};

impl Swarm {
    pub(super) fn handle_udx(&mut self, now: Instant, event: udx::Event) {
        match event {
            udx::Event::PathOffered { stream, path } => self.handle_offered(now, stream, path),
            udx::Event::Readable(stream) => {
                if let Some(Owner::Link(link)) = self.streams.get(&stream).copied() {
                    self.handle_readable(now, link);
                }
            }
            udx::Event::Writable(stream) => {
                if let Some(Owner::Link(id)) = self.streams.get(&stream)
                    && let Some(link) = self.links.get_mut(id)
                    && link.flush(now, &mut self.ground.udx)
                {
                    self.events.push_back(Event::Writable(*id));
                }
            }
            udx::Event::PathHeard { stream, path } => self.follow(now, (stream, path), Unacked::Stay),
            udx::Event::PathChanged(stream) => {
                self.note_sign(now, stream, |arrived, _| *arrived = Sign::Seen);
            }
            udx::Event::PathShared(stream) => {
                self.note_sign(now, stream, |_, shared| *shared = Sign::Seen);
            }
            udx::Event::Closed { stream, why } => self.handle_closed(now, stream, why),
            udx::Event::Message(stream) => self.read_notes(now, stream),
            udx::Event::Overheard(stream) => self.read_overheard(now, stream),
            udx::Event::Unanswered(stream) => self.handle_unanswered(now, stream),
            udx::Event::Answered(stream) => self.handle_answered(stream),
            _ => {}
        }
    }

    fn handle_readable(&mut self, now: Instant, link: LinkId) {
        if let Some(ferry) = self.relays.ferry_of(link) {
            return self.read_ferry(now, ferry);
        }
        let Some(local) = self.links.get(&link).map(|link| link.local) else { return };
        if self.hosts.get(&local).is_some_and(|host| host.has_client(link)) {
            return self.read_client(now, local, link);
        }
        self.read_first(now, link);
        self.events.push_back(Event::Readable(link));
    }

    fn handle_offered(&mut self, now: Instant, stream: StreamId, path: Path) {
        match self.streams.get(&stream) {
            Some(Owner::Dial(id)) => {
                let id = *id;
                self.step_dial(now, id, |dial, ground| dial.handle_offered(now, ground, path));
            }
            Some(Owner::Link(id)) => self.consider_path(now, *id, path),
            Some(Owner::Relay(key, link)) => self.bridge_offered(now, (*key, *link), stream, path),
            None => {
                if let Some(birth) = self.servers.handle_offered(now, &mut self.ground, (stream, path)) {
                    self.accept(now, birth);
                }
            }
        }
    }

    /// Takes packets of a link by another path too, where that is likely the peer's: until a frame was authentic,
    /// as both sides may have begun by paths of their own, and afterwards from the host that it has.
    fn consider_path(&mut self, now: Instant, id: LinkId, path: Path) {
        let Some(link) = self.links.get(&id) else { return };
        let is_left = |relayed: &Relayed| relayed.stage == Stage::Left;
        if link.relayed.as_ref().is_some_and(|relayed| !is_left(relayed)) {
            return self.consider_direct(now, id, path);
        }
        if !link.is_confirmed() || link.path.remote.ip() == path.remote.ip() {
            self.ground.udx.admit(now, link.stream, path);
        } else {
            self.ground.udx.refuse(link.stream, path);
        }
    }

    /// Sends where the peer sends from: its NAT gave it another port, or its way to us is the better one.
    pub(crate) fn follow(&mut self, now: Instant, (stream, path): (StreamId, Path), unacked: Unacked) {
        let Some(Owner::Link(id)) = self.streams.get(&stream) else { return };
        let Some(link) = self.links.get_mut(id).filter(|link| link.path != path) else { return };
        // What comes through the relay, after the change to a direct path, was sent before.
        if link.relayed.as_ref().is_some_and(|relayed| relayed.via.path == path) {
            return;
        }
        let to = (path, link.remote_stream);
        if self.ground.udx.change_path(now, stream, to, unacked).is_ok() {
            if link.path.socket != path.socket {
                self.ground.close_later(now, link.path.socket);
                self.ground.keep_socket(path.socket);
            }
            link.path = path;
        }
    }

    fn handle_closed(&mut self, now: Instant, stream: StreamId, why: CloseReason) {
        let id = match self.streams.get(&stream).copied() {
            Some(Owner::Link(id)) => id,
            Some(Owner::Relay(key, link)) => return self.bridge_closed(now, key, link),
            Some(Owner::Dial(_)) | None => return,
        };
        match why {
            // What is unread can still be taken; the end follows it.
            CloseReason::Finished => {
                if let Some(link) = self.links.get_mut(&id) {
                    link.closed = Some(LinkError::Finished);
                    self.handle_readable(now, id);
                }
            }
            CloseReason::TimedOut => self.remove_link(now, id, LinkError::TimedOut),
            _ => self.remove_link(now, id, LinkError::Reset),
        }
    }

    /// Reads until a frame of the peer was authentic: only then is it certain that it is there.
    fn read_first(&mut self, now: Instant, id: LinkId) {
        let Some(link) = self.links.get_mut(&id).filter(|link| !link.is_confirmed()) else { return };
        let (local, outcome) = (link.local, link.prefetch(now, &mut self.ground.udx, &mut self.scratch));
        match outcome {
            Ok(()) if self.links.get(&id).is_some_and(Link::is_confirmed) => {
                self.circle_confirmed(now, local, id);
            }
            Ok(()) => {}
            Err(error) => self.remove_link(now, id, error.into()),
        }
    }
}
