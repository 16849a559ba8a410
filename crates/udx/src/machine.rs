use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use pace::Timers;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use wire::udx::{Kinds, Packet, Seq, StreamId, readdress, receiver};
use wire::{SocketId, Transmit};

use crate::allowance::Allowance;
use crate::config::Config;
use crate::event::{CloseReason, Event, Path, Read, StreamError, Taken, Unacked};
use crate::linger::{Answer, Closed, Farewell, Lingering};
use crate::number::ORIGIN;
use crate::stats::{Stats, StreamStats};
use crate::stream::{Birth, Output, Peer, Ready, Stream};

/// Packets kept for one stream until its application has decided about their path: a first flight.
const HELD_MAX: usize = 16;
/// Packets kept for all streams.
const HELD_TOTAL_MAX: usize = 1024;

/// All streams of a node: packets and time in, packets and events out.
#[derive(Debug)]
pub struct Udx {
    config: Config,
    rng: StdRng,
    streams: BTreeMap<StreamId, Stream>,
    /// Streams that may have something to send, each once; one batch a turn.
    ready: VecDeque<StreamId>,
    timers: Timers<StreamId>,
    lingering: Lingering,
    held: VecDeque<Held>,
    /// What all streams together may pass on.
    allowance: Option<Allowance>,
    output: Output,
}

/// A packet whose path, or whose way on, is not known yet.
#[derive(Debug)]
struct Held {
    stream: StreamId,
    path: Path,
    bytes: Box<[u8]>,
}

impl Udx {
    /// Creates a machine without streams.
    #[must_use]
    pub fn new(config: Config, seed: [u8; 32]) -> Self {
        Self {
            config,
            rng: StdRng::from_seed(seed),
            streams: BTreeMap::new(),
            ready: VecDeque::new(),
            timers: Timers::new(),
            lingering: Lingering::default(),
            held: VecDeque::new(),
            allowance: None,
            output: Output::default(),
        }
    }

    /// Creates a stream that has no peer yet, under an id that nobody can guess.
    ///
    /// # Errors
    ///
    /// Fails if [`Config::streams_max`] are open.
    pub fn open(&mut self, now: Instant) -> Result<StreamId, StreamError> {
        loop {
            let id = StreamId(self.rng.random());
            match self.open_as(now, id, Seq(0), Seq(0)) {
                Ok(()) => return Ok(id),
                Err(StreamError::Taken) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Creates a stream under a given id whose packets count from other numbers than 0, ours and the peer's; nobody
    /// in HyperDHT does.
    ///
    /// # Errors
    ///
    /// Fails if the id is in use, or [`Config::streams_max`] are open.
    pub fn open_as(&mut self, now: Instant, id: StreamId, ours: Seq, theirs: Seq) -> Result<(), StreamError> {
        if self.streams.len() >= self.config.streams_max {
            return Err(StreamError::TooMany);
        }
        if self.streams.contains_key(&id) || self.lingering.contains(id) {
            return Err(StreamError::Taken);
        }
        let numbers = (ORIGIN + u64::from(ours.0), ORIGIN + u64::from(theirs.0));
        let birth = Birth { id, numbers, mtu_max: self.config.mtu_max, cycle: self.cycle() };
        self.streams.insert(id, Stream::new(now, birth));
        Ok(())
    }

    /// Streams of one path must not look for bandwidth in the same moment.
    fn cycle(&mut self) -> usize {
        self.rng.random_range(0..8)
    }

    /// Gives a stream its peer: the way to it, and its name for the stream. Packets by this path that waited are
    /// taken, and acknowledged.
    ///
    /// # Errors
    ///
    /// Fails if there is no such stream, or it has a peer.
    pub fn connect(
        &mut self,
        now: Instant,
        id: StreamId,
        path: Path,
        remote: StreamId,
    ) -> Result<(), StreamError> {
        let cycle = self.cycle();
        let window = self.config.window_among(self.streams.len());
        let stream = self.streams.get_mut(&id).ok_or(StreamError::Unknown)?;
        if stream.peer().is_some() {
            return Err(StreamError::Connected);
        }
        stream.connect(now, Peer { path, stream: remote }, cycle);
        stream.set_window(window);
        self.release(now, id, path);
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.pay_ack(&mut self.output);
            if let Some(feeder) = stream.fed_by {
                self.release_all(now, feeder);
            }
        }
        self.settle(now, id);
        Ok(())
    }

    /// Takes packets for a stream by another path too, without sending there. Those that waited are taken now.
    pub fn admit(&mut self, now: Instant, id: StreamId, path: Path) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.admit(path);
            self.release(now, id, path);
            self.settle(now, id);
        }
    }

    /// Drops the packets that wait for a decision about a path, and those that come by it from now on. It is not
    /// offered again soon.
    pub fn refuse(&mut self, id: StreamId, path: Path) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.refuse(path);
        }
        self.held.retain(|held| held.stream != id || held.path != path);
    }

    /// Sends to another address from now on, where the peer may have another name for the stream.
    /// [`Event::PathChanged`] tells when everything sent before has arrived. Where nothing answers on the former
    /// path any more, packets move to the new one by themselves after a timeout, if not told to at once.
    ///
    /// # Errors
    ///
    /// Fails if there is no such stream, or it has no peer.
    pub fn change_path(
        &mut self,
        now: Instant,
        id: StreamId,
        to: (Path, StreamId),
        unacked: Unacked,
    ) -> Result<(), StreamError> {
        let cycle = self.cycle();
        let stream = self.streams.get_mut(&id).ok_or(StreamError::Unknown)?;
        let before = stream.peer().ok_or(StreamError::NotConnected)?;
        let peer = Peer { path: to.0, stream: to.1 };
        if before != peer {
            stream.change_path(now, peer, cycle, &mut self.output);
        }
        if unacked == Unacked::Move {
            stream.leave_former();
        }
        self.release(now, id, peer.path);
        self.settle(now, id);
        Ok(())
    }

    /// Makes a stream of packets that are passed on to the peer of `to` as they come. The stream itself neither
    /// acknowledges nor delivers anything; packets wait until both have a peer.
    ///
    /// # Errors
    ///
    /// Fails if one of the streams does not exist.
    pub fn relay(&mut self, now: Instant, from: StreamId, to: StreamId) -> Result<(), StreamError> {
        self.streams.get_mut(&to).ok_or(StreamError::Unknown)?.fed_by = Some(from);
        self.streams.get_mut(&from).ok_or(StreamError::Unknown)?.relay_to = Some(to);
        self.release_all(now, from);
        Ok(())
    }

    /// Drops packets that a stream would pass on beyond a rate; `None` is no limit.
    pub fn set_relay_rate(&mut self, now: Instant, from: StreamId, bytes_per_second: Option<u64>) {
        if let Some(stream) = self.streams.get_mut(&from) {
            stream.allowance = bytes_per_second.map(|rate| Allowance::new(now, rate));
        }
    }

    /// Drops packets that all streams together would pass on beyond a rate; `None` is no limit.
    pub fn set_relay_rate_total(&mut self, now: Instant, bytes_per_second: Option<u64>) {
        self.allowance = bytes_per_second.map(|rate| Allowance::new(now, rate));
    }

    /// Sends a heartbeat by a path beside the stream's own, where the peer has the name `to` for it: a relay
    /// there learns where to pass packets on to. Nothing else is sent there.
    pub fn knock(&mut self, id: StreamId, path: Path, to: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id).filter(|stream| stream.peer().is_some()) {
            stream.knock(Peer { path, stream: to }, &mut self.output);
        }
    }

    /// Sends a heartbeat whenever a stream was idle for `interval`, or no longer.
    pub fn set_keepalive(&mut self, now: Instant, id: StreamId, interval: Option<Duration>) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.set_keepalive(now, interval);
            self.settle(now, id);
        }
    }

    /// Takes as many bytes to send as there is room for, and returns how many; after less than all,
    /// [`Event::Writable`] tells of room. Bytes are kept for a stream that has no peer yet.
    ///
    /// # Errors
    ///
    /// Fails if there is no such stream, or it was finished.
    pub fn write(&mut self, now: Instant, id: StreamId, bytes: &[u8]) -> Result<usize, StreamError> {
        let taken = self.streams.get_mut(&id).ok_or(StreamError::Unknown)?.write(bytes)?;
        self.settle(now, id);
        Ok(taken)
    }

    /// Says that nothing more will be written. Reading goes on until the peer says so too.
    pub fn finish(&mut self, now: Instant, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.finish();
            self.settle(now, id);
        }
    }

    /// Reads bytes in their order. What is not read narrows the window of the peer.
    pub fn read(&mut self, id: StreamId, buf: &mut [u8]) -> Read {
        let Some(stream) = self.streams.get_mut(&id) else { return Read::Gone };
        let read = stream.read(buf, &mut self.output);
        if stream.is_spent() && !matches!(read, Read::Bytes(_)) {
            self.streams.remove(&id);
        }
        read
    }

    /// Sends a message outside of the stream: it may be lost, and is not in order. At most a packet's payload.
    ///
    /// # Errors
    ///
    /// Fails if there is no such stream, it has no peer, or the message is too long.
    pub fn send_message(&mut self, id: StreamId, message: &[u8]) -> Result<(), StreamError> {
        self.streams.get_mut(&id).ok_or(StreamError::Unknown)?.send_message(message, &mut self.output)
    }

    /// Takes the oldest message that came.
    pub fn read_message(&mut self, id: StreamId) -> Option<Box<[u8]>> {
        self.streams.get_mut(&id)?.read_message()
    }

    /// Wants messages by paths that the stream does not know, eight at most that wait;
    /// [`Event::Overheard`] tells of them.
    pub fn hear_strangers(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.hear_strangers();
        }
    }

    /// Takes the oldest message that came by an unknown path.
    pub fn read_overheard(&mut self, id: StreamId) -> Option<(Path, Box<[u8]>)> {
        self.streams.get_mut(&id)?.read_overheard()
    }

    /// Sends a message of at most 64 bytes by another path than the stream's.
    pub fn answer_stranger(&mut self, id: StreamId, path: Path, message: &[u8]) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.answer_stranger(path, message, &mut self.output);
        }
    }

    /// Keeps a peer that acknowledges nothing for so long, instead of the reference's 13 s.
    pub fn endure(&mut self, id: StreamId, endurance: Duration) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.endure(endurance);
        }
    }

    /// Sends what an unanswered stream has on its way once more, at once.
    pub fn hurry(&mut self, now: Instant, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.hurry(now);
            self.settle(now, id);
        }
    }

    /// Ends a stream at once, in both directions; the peer is told. There is no event.
    pub fn destroy(&mut self, now: Instant, id: StreamId) {
        let Some(mut stream) = self.streams.remove(&id) else { return };
        self.forget(id);
        if stream.closed().is_none() && stream.relay_to.is_none() {
            stream.send_destroy(&mut self.output);
            self.linger(now, id, &stream, Farewell::Destroy);
        }
    }

    /// Takes a datagram that arrived at socket `at`.
    pub fn handle_packet(&mut self, now: Instant, from: SocketAddr, at: SocketId, bytes: &[u8]) -> Taken {
        let Some(id) = receiver(bytes) else { return Taken::No };
        let path = Path { socket: at, remote: from };
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| stream.closed().is_none()) else {
            return self.answer_late(now, path, bytes);
        };
        self.output.stats.packets_rx += 1;
        self.output.stats.bytes_rx += bytes.len() as u64;
        let Ok(packet) = Packet::decode(bytes) else {
            self.output.stats.rejected += 1;
            return Taken::Yes;
        };
        if stream.knows(path) {
            self.take(now, path, &packet, bytes);
        } else {
            self.consider(path, &packet, bytes);
        }
        Taken::Yes
    }

    fn answer_late(&mut self, now: Instant, path: Path, bytes: &[u8]) -> Taken {
        let Ok(packet) = Packet::decode(bytes) else { return Taken::No };
        match self.lingering.answer(now, path, &packet) {
            Answer::Unknown => return Taken::No,
            Answer::Silence => {}
            Answer::Packet(packet) => {
                let transmit = Transmit::new(path.socket, path.remote);
                self.output.outbox.push(transmit, |out| packet.encode(out));
                self.output.stats.lingered += 1;
            }
        }
        Taken::Yes
    }

    /// Takes a packet by a path of its stream.
    fn take(&mut self, now: Instant, path: Path, packet: &Packet<'_>, bytes: &[u8]) {
        let id = packet.stream;
        let window = self.config.window_among(self.streams.len());
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.count(bytes.len());
        if let Some(to) = stream.relay_to {
            return self.pass_on(now, path, (id, to), (packet, bytes));
        }
        stream.set_window(window);
        stream.handle_packet(now, path, packet, &mut self.output);
        self.settle(now, id);
    }

    fn pass_on(
        &mut self,
        now: Instant,
        path: Path,
        (from, to): (StreamId, StreamId),
        (packet, bytes): (&Packet<'_>, &[u8]),
    ) {
        let Some(target) = self.streams.get(&to) else { return };
        let Some(peer) = target.peer() else { return self.hold(from, path, bytes) };
        let own = self.streams.get_mut(&from).and_then(|stream| stream.allowance.as_mut());
        let is_within = own.is_none_or(|allowance| allowance.take(now, bytes.len()))
            && self.allowance.as_mut().is_none_or(|allowance| allowance.take(now, bytes.len()));
        if !is_within {
            self.output.stats.relay_dropped += 1;
            return;
        }
        let transmit = Transmit::new(peer.path.socket, peer.path.remote);
        self.output.outbox.push(transmit, |out| {
            readdress(bytes, peer.stream, out).expect("a decoded packet has a header");
        });
        self.output.stats.relayed += 1;
        if packet.kinds.has(Kinds::DESTROY) {
            self.streams.remove(&from);
            self.forget(from);
            self.output.events.push_back(Event::Closed { stream: from, why: CloseReason::Reset });
        }
    }

    /// Offers an unknown path to the application, and keeps the packet until it has decided.
    fn consider(&mut self, path: Path, packet: &Packet<'_>, bytes: &[u8]) {
        self.output.stats.off_path += 1;
        let Some(stream) = self.streams.get_mut(&packet.stream) else { return };
        if stream.overhear(path, packet, &mut self.output) {
            return;
        }
        let asks = !packet.kinds.has(Kinds::DESTROY) && stream.closed().is_none();
        if asks && stream.offer(path, &mut self.output) {
            self.hold(packet.stream, path, bytes);
        }
    }

    fn hold(&mut self, stream: StreamId, path: Path, bytes: &[u8]) {
        let own = self.held.iter().filter(|held| held.stream == stream).count();
        if own < HELD_MAX && self.held.len() < HELD_TOTAL_MAX {
            self.held.push_back(Held { stream, path, bytes: bytes.into() });
        }
    }

    /// Takes the packets that waited for a decision about this path.
    fn release(&mut self, now: Instant, id: StreamId, path: Path) {
        self.release_if(now, |held| held.stream == id && held.path == path);
    }

    /// Takes the packets of a stream by the paths that it knows.
    fn release_all(&mut self, now: Instant, id: StreamId) {
        let Some(stream) = self.streams.get(&id) else { return };
        let known: Vec<Path> =
            self.held.iter().map(|held| held.path).filter(|path| stream.knows(*path)).collect();
        self.release_if(now, |held| held.stream == id && known.contains(&held.path));
    }

    fn release_if(&mut self, now: Instant, is_wanted: impl Fn(&Held) -> bool) {
        let (released, kept) = std::mem::take(&mut self.held).into_iter().partition(is_wanted);
        self.held = kept;
        let released: VecDeque<Held> = released;
        for held in released {
            if let Ok(packet) = Packet::decode(&held.bytes) {
                self.take(now, held.path, &packet, &held.bytes);
            }
        }
    }

    /// Forgets what belongs to a stream that is gone.
    fn forget(&mut self, id: StreamId) {
        self.timers.cancel(id);
        self.held.retain(|held| held.stream != id);
    }

    /// Does what follows from a change to a stream: it may have something to send, to wait for, or have closed.
    fn settle(&mut self, now: Instant, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let Some(why) = stream.closed() else {
            if stream.ready == Ready::No {
                stream.ready = Ready::Queued;
                self.ready.push_back(id);
            }
            return self.schedule(now, id);
        };
        self.forget(id);
        let Some(stream) = self.streams.get(&id) else { return };
        let is_spent = stream.is_spent();
        if why == CloseReason::Finished && !self.lingering.contains(id) {
            let (peer, sender, receiver) = (stream.peer(), stream.sender().next(), stream.receiver().next());
            self.remember(now, id, peer, (Farewell::Acknowledge, sender, receiver));
        }
        if is_spent {
            self.streams.remove(&id);
        }
    }

    fn linger(&mut self, now: Instant, id: StreamId, stream: &Stream, farewell: Farewell) {
        let (seq, ack) = (stream.sender().next(), stream.receiver().next());
        self.remember(now, id, stream.peer(), (farewell, seq, ack));
    }

    fn remember(&mut self, now: Instant, id: StreamId, peer: Option<Peer>, state: (Farewell, u64, u64)) {
        let (farewell, seq, ack) = state;
        if let Some(peer) = peer {
            let closed = Closed { peer, farewell, seq, ack, answers: 0 };
            self.lingering.add(now, self.config.linger, id, closed);
        }
    }

    /// Makes the timer of a stream fire in time. One that fires early does no harm and is set again.
    fn schedule(&mut self, now: Instant, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let Some(deadline) = stream.deadline(now) else { return };
        if stream.timer.is_none_or(|timer| deadline < timer) {
            stream.timer = Some(deadline);
            self.timers.set(id, deadline);
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(id) = self.timers.expire(now) {
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            stream.timer = None;
            if stream.deadline(now).is_some_and(|deadline| deadline <= now) {
                stream.handle_timeout(now, &mut self.output);
                self.settle(now, id);
            } else {
                self.schedule(now, id);
            }
        }
    }

    /// Replaces the content of `buf` by what is to be sent next. Streams take turns.
    pub fn poll_transmit(&mut self, now: Instant, buf: &mut Vec<u8>) -> Option<Transmit> {
        if let Some(transmit) = self.output.outbox.pop(buf) {
            self.count_tx(1, buf.len());
            return Some(transmit);
        }
        buf.clear();
        while let Some(id) = self.ready.pop_front() {
            let Some(stream) = self.streams.get_mut(&id) else { continue };
            let Some(transmit) = stream.fill(now, self.config.segments_max, buf) else {
                stream.ready = Ready::No;
                self.schedule(now, id);
                continue;
            };
            self.ready.push_back(id);
            let packets = transmit.segment.map_or(1, |segment| buf.len().div_ceil(usize::from(segment)));
            self.count_tx(packets, buf.len());
            return Some(transmit);
        }
        None
    }

    const fn count_tx(&mut self, packets: usize, bytes: usize) {
        self.output.stats.packets_tx += packets as u64;
        self.output.stats.bytes_tx += bytes as u64;
    }

    /// Returns what happened next.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.output.events.pop_front()
    }

    /// Returns when [`Udx::handle_timeout`] should be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Returns the counters of all streams.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.output.stats
    }

    /// Returns the counters of a stream.
    #[must_use]
    pub fn stream_stats(&self, id: StreamId) -> Option<StreamStats> {
        self.streams.get(&id).map(Stream::stats)
    }

    /// Counts the streams that are open, or have bytes to read.
    #[must_use]
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// Tells whether there is no stream.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }
}
