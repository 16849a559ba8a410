//! One open connection: frames on one side, a stream of packets on the other.

use std::collections::VecDeque;
use std::mem;
use std::net::SocketAddr;
use std::time::Instant;

use peer::{Mover, PairToken, SecretStream, Session, StreamConfig, StreamError, StreamStats};
use rand::RngExt as _;
use udx::{Path, Read, StreamId, Udx};
use wire::PublicKey;

use crate::event::{Course, Direction, LinkError, LinkId, Opened, Route, SendError};
use crate::ground::{Ground, Holder};
use crate::moving::Moving;
use crate::survey::Pulse;

/// Sealed bytes that wait for the stream before frames are refused: what keeps a fast path busy for a turn.
const BACKLOG_MAX: usize = 256 << 10;
/// A drained buffer above this is given back.
const KEPT_MAX: usize = 4 << 10;
/// Bytes read from a stream at once.
const READ_LEN: usize = 64 << 10;

/// What [`Swarm::take`](crate::Swarm::take) gives.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Taken {
    /// The oldest frame.
    Frame(Vec<u8>),
    /// None now; [`Event::Readable`](crate::Event::Readable) tells of more.
    Nothing,
    /// The peer finished, and every frame was taken.
    End,
}

/// What a link is made of.
#[derive(Debug)]
pub(crate) struct Birth {
    pub(crate) stream: StreamId,
    /// The name that the peer gave the stream.
    pub(crate) remote_stream: StreamId,
    pub(crate) session: Session,
    pub(crate) direction: Direction,
    pub(crate) route: Route,
    pub(crate) path: Path,
    /// When the first message of its handshake was made or arrived.
    pub(crate) begun: Instant,
    /// Where both sides follow each other to other paths.
    pub(crate) mover: Option<Mover>,
    pub(crate) relayed: Option<Relayed>,
}

/// What is known of a link that goes, or went, through a relay.
#[derive(Clone, Debug)]
pub(crate) struct Relayed {
    pub(crate) via: Via,
    /// The peer's own name for the stream, by which a direct path goes.
    pub(crate) peer_stream: StreamId,
    /// Who looks for a direct path.
    pub(crate) holder: Holder,
    pub(crate) stage: Stage,
    /// Direct paths that may still be tried.
    pub(crate) tries: u8,
}

impl Relayed {
    /// Direct paths that are tried: whoever can send packets of the relay can name one.
    pub(crate) const TRIES: u8 = 4;
}

/// The way through a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Via {
    pub(crate) relay: PublicKey,
    pub(crate) token: PairToken,
    pub(crate) path: Path,
    /// The relay's name for its end of our stream.
    pub(crate) stream: StreamId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Packets go through the relay.
    Through,
    /// They go by a direct path, and nothing is certain: everything sent before has arrived, the peer uses
    /// the path too, or neither.
    Trying { until: Instant, arrived: Sign, shared: Sign },
    /// They go by the direct path, for good.
    Left,
}

/// Whether something was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    Awaited,
    Seen,
}

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: LinkId,
    pub(crate) stream: StreamId,
    pub(crate) remote_stream: StreamId,
    pub(crate) remote: PublicKey,
    pub(crate) local: PublicKey,
    binding: [u8; 32],
    pub(crate) direction: Direction,
    pub(crate) route: Route,
    pub(crate) path: Path,
    pub(crate) begun: Instant,
    pub(crate) since: Instant,
    pub(crate) relayed: Option<Relayed>,
    pub(crate) moving: Option<Moving>,
    secret: SecretStream,
    out: Vec<u8>,
    out_sent: usize,
    /// The application was refused a frame and waits for room.
    refused: Wish,
    ours: End,
    inbox: VecDeque<Vec<u8>>,
    theirs: End,
    /// The stream is over; what is unread can still be taken.
    pub(crate) closed: Option<LinkError>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    None,
    Room,
}

/// How far one direction is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    /// After what waits.
    Wanted,
    Reached,
}

impl Link {
    /// Opens a link over a stream that has its peer, and sends our header.
    pub(crate) fn new(
        now: Instant,
        ground: &mut Ground,
        id: LinkId,
        birth: Birth,
        config: StreamConfig,
    ) -> Self {
        let (remote, local) = (birth.session.remote(), birth.session.local());
        let binding = birth.session.binding();
        let mut out = Vec::new();
        let secret = SecretStream::start(now, birth.session, ground.rng.random(), config, &mut out);
        let mut link = Self {
            id,
            stream: birth.stream,
            remote_stream: birth.remote_stream,
            remote,
            local,
            binding,
            direction: birth.direction,
            route: birth.route,
            path: birth.path,
            begun: birth.begun,
            since: now,
            relayed: birth.relayed,
            moving: birth.mover.map(Moving::new),
            secret,
            out,
            out_sent: 0,
            refused: Wish::None,
            ours: End::Open,
            inbox: VecDeque::new(),
            theirs: End::Open,
            closed: None,
        };
        link.flush(now, &mut ground.udx);
        link
    }

    pub(crate) fn opened(&self) -> Opened {
        Opened {
            link: self.id,
            remote: self.remote,
            local: self.local,
            binding: self.binding,
            direction: self.direction,
            route: self.route,
            address: self.address(),
            took: self.since.saturating_duration_since(self.begun),
            relay: self.relay(),
        }
    }

    pub(crate) fn course(&self) -> Course {
        Course { route: self.route, address: self.address(), relay: self.relay() }
    }

    /// The relay that packets go through.
    pub(crate) fn relay(&self) -> Option<PublicKey> {
        self.relayed.as_ref().filter(|_| self.route == Route::Relayed).map(|relayed| relayed.via.relay)
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.path.remote
    }

    pub(crate) const fn stats(&self) -> StreamStats {
        self.secret.stats()
    }

    pub(crate) fn pulse(&self) -> Pulse {
        let stalled = self.moving.as_ref().is_some_and(Moving::is_stalled);
        if stalled { Pulse::Stalled } else { Pulse::Heard }
    }

    pub(crate) const fn is_confirmed(&self) -> bool {
        self.secret.is_confirmed()
    }

    /// Bytes that the peer's frames take here, read and not taken, the unfinished one included.
    pub(crate) fn unread(&self) -> usize {
        self.secret.buffered() + self.inbox.iter().map(Vec::len).sum::<usize>()
    }

    pub(crate) fn send(&mut self, now: Instant, udx: &mut Udx, frame: &[u8]) -> Result<(), SendError> {
        if self.closed.is_some() {
            return Err(SendError::Closed);
        }
        if self.ours != End::Open {
            return Err(SendError::Finished);
        }
        if frame.len() > SecretStream::FRAME_MAX {
            return Err(SendError::TooLong);
        }
        if self.backlog() >= BACKLOG_MAX {
            self.refused = Wish::Room;
            return Err(SendError::Full);
        }
        self.secret.send(now, frame, &mut self.out).map_err(|_| SendError::TooLong)?;
        self.flush(now, udx);
        Ok(())
    }

    /// Sends an empty frame, which the peer has to acknowledge.
    pub(crate) fn keep_alive(&mut self, now: Instant, udx: &mut Udx) {
        if self.ours == End::Open && self.closed.is_none() {
            self.secret.send_keep_alive(now, &mut self.out);
            self.flush(now, udx);
        }
    }

    /// Says that no frame follows those sent.
    pub(crate) fn finish(&mut self, now: Instant, udx: &mut Udx) {
        if self.ours == End::Open {
            self.ours = End::Wanted;
            self.secret.finish();
            self.flush(now, udx);
        }
    }

    /// Hands sealed bytes to the stream as far as it has room; tells whether a refused application should hear.
    pub(crate) fn flush(&mut self, now: Instant, udx: &mut Udx) -> bool {
        if self.backlog() > 0 {
            // A stream that is gone takes nothing; its end is told by an event of its own.
            let taken = udx.write(now, self.stream, &self.out[self.out_sent..]).unwrap_or(0);
            self.out_sent += taken;
            if self.backlog() == 0 {
                self.out.clear();
                self.out_sent = 0;
                if self.out.capacity() > KEPT_MAX {
                    self.out = Vec::new();
                }
            }
        }
        if self.backlog() == 0 && self.ours == End::Wanted {
            self.ours = End::Reached;
            udx.finish(now, self.stream);
        }
        self.backlog() < BACKLOG_MAX && mem::replace(&mut self.refused, Wish::None) == Wish::Room
    }

    const fn backlog(&self) -> usize {
        self.out.len() - self.out_sent
    }

    /// Takes the oldest frame, reading more of the stream where none waits.
    pub(crate) fn take(
        &mut self,
        now: Instant,
        udx: &mut Udx,
        scratch: &mut Vec<u8>,
    ) -> Result<Taken, StreamError> {
        loop {
            if let Some(frame) = self.inbox.pop_front() {
                return Ok(Taken::Frame(frame));
            }
            if self.theirs == End::Reached {
                return Ok(Taken::End);
            }
            scratch.resize(READ_LEN, 0);
            match udx.read(self.stream, scratch) {
                Read::Bytes(len) => self.open_frames(now, &scratch[..len])?,
                Read::Empty => {
                    if self.inbox.capacity() > 64 {
                        self.inbox = VecDeque::new();
                    }
                    return Ok(Taken::Nothing);
                }
                Read::End | Read::Gone => self.theirs = End::Reached,
            }
        }
    }

    /// Reads what waits in the stream, to be taken later.
    pub(crate) fn prefetch(
        &mut self,
        now: Instant,
        udx: &mut Udx,
        scratch: &mut Vec<u8>,
    ) -> Result<(), StreamError> {
        if self.inbox.is_empty() && self.theirs == End::Open {
            scratch.resize(READ_LEN, 0);
            match udx.read(self.stream, scratch) {
                Read::Bytes(len) => self.open_frames(now, &scratch[..len])?,
                Read::Empty => {}
                Read::End | Read::Gone => self.theirs = End::Reached,
            }
        }
        Ok(())
    }

    fn open_frames(&mut self, now: Instant, mut bytes: &[u8]) -> Result<(), StreamError> {
        while let Some(text) = self.secret.read(now, &mut bytes)? {
            self.inbox.push_back(text.to_vec());
        }
        Ok(())
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, udx: &mut Udx) -> Result<(), StreamError> {
        if self.closed.is_some() {
            return Ok(());
        }
        self.secret.handle_timeout(now, &mut self.out)?;
        self.flush(now, udx);
        if let Some(moving) = &mut self.moving {
            moving.handle_timeout(now, udx, self.stream);
        }
        Ok(())
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let moving = self.moving.as_ref().and_then(Moving::poll_timeout);
        let all = self.secret.poll_timeout().into_iter().chain(moving);
        if self.closed.is_some() { None } else { all.min() }
    }
}
