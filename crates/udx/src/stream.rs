use std::collections::VecDeque;
use std::time::{Duration, Instant};

use wire::udx::{Kinds, Packet, StreamId};
use wire::{Outbox, Transmit};

use crate::allowance::Allowance;
use crate::event::{CloseReason, Event, Path, Read, StreamError};
use crate::number::{narrow, widen};
use crate::receiver::{Kept, Receiver};
use crate::sender::{Due, Sender, Way};
use crate::stats::{Stats, StreamStats};

/// Paths beside its own that a stream takes packets from; admitting another forgets the oldest.
const ADMITTED_MAX: usize = 4;
/// Paths that are offered to the application; packets by further ones are dropped.
const OFFERED_MAX: usize = 4;
/// A writer that was cut short hears of room when there is this much, in bytes.
const ROOM_MIN: usize = 64 << 10;
/// Messages by unknown paths that wait for the application.
const STRANGE_MAX: usize = 8;
/// Bytes of one of them.
const STRANGE_LEN_MAX: usize = 64;
/// Bytes that one transmission holds at most: what an IP packet can.
const BATCH_LEN_MAX: usize = 65_000;

/// The other end of a stream, and the way to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) path: Path,
    pub(crate) stream: StreamId,
}

/// What streams have in common: where their packets and news go.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub(crate) outbox: Outbox,
    pub(crate) events: VecDeque<Event>,
    pub(crate) stats: Stats,
}

#[derive(Debug)]
pub(crate) struct Stream {
    id: StreamId,
    peer: Option<Peer>,
    /// Where packets went before the last change of path, while some are on their way there.
    former: Option<Peer>,
    admitted: VecDeque<Path>,
    offered: VecDeque<(Path, Offer)>,
    heard: Option<Path>,
    /// Messages by unknown paths, where the application wants them.
    strange: Option<VecDeque<(Path, Box<[u8]>)>>,
    /// The change of path is complete when everything below this is acknowledged.
    moving: Option<u64>,
    pub(crate) relay_to: Option<StreamId>,
    pub(crate) fed_by: Option<StreamId>,
    /// What this stream may pass on.
    pub(crate) allowance: Option<Allowance>,
    sender: Sender,
    receiver: Receiver,
    /// What this stream may take before the application reads.
    window: u32,
    ack: Owed,
    readable: News,
    end: News,
    writable: Wish,
    keepalive: Option<(Duration, Instant)>,
    closed: Option<CloseReason>,
    /// When the machine's timer for this stream fires; never later than the stream needs.
    pub(crate) timer: Option<Instant>,
    pub(crate) ready: Ready,
    packets_tx: u64,
    bytes_tx: u64,
    packets_rx: u64,
    bytes_rx: u64,
}

/// What the application said about a path that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offer {
    Open,
    Refused,
}

/// Whether the peer waits for an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owed {
    No,
    Yes,
}

/// Whether the application knows of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    Untold,
    Told,
}

/// Whether the application waits for room to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    None,
    Room,
}

/// Whether a stream stands in the queue of those that may have something to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    No,
    Queued,
}

/// What a stream is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Birth {
    pub(crate) id: StreamId,
    /// First packet numbers, ours and the peer's.
    pub(crate) numbers: (u64, u64),
    pub(crate) mtu_max: u16,
    /// Where the cycle of the congestion control begins.
    pub(crate) cycle: usize,
}

impl Stream {
    pub(crate) fn new(now: Instant, birth: Birth) -> Self {
        Self {
            id: birth.id,
            peer: None,
            former: None,
            admitted: VecDeque::new(),
            offered: VecDeque::new(),
            heard: None,
            strange: None,
            moving: None,
            relay_to: None,
            fed_by: None,
            allowance: None,
            sender: Sender::new(now, birth.numbers.0, birth.mtu_max, birth.cycle),
            receiver: Receiver::new(birth.numbers.1),
            window: 0,
            ack: Owed::No,
            readable: News::Untold,
            end: News::Untold,
            writable: Wish::None,
            keepalive: None,
            closed: None,
            timer: None,
            ready: Ready::No,
            packets_tx: 0,
            bytes_tx: 0,
            packets_rx: 0,
            bytes_rx: 0,
        }
    }

    pub(crate) const fn peer(&self) -> Option<Peer> {
        self.peer
    }

    pub(crate) const fn closed(&self) -> Option<CloseReason> {
        self.closed
    }

    /// Tells whether the application has nothing left to learn of a stream that is closed.
    pub(crate) fn is_spent(&self) -> bool {
        let end_is_told = self.end == News::Told || !self.receiver.is_ended();
        self.closed.is_some() && self.receiver.unread() == 0 && end_is_told
    }

    pub(crate) const fn sender(&self) -> &Sender {
        &self.sender
    }

    pub(crate) const fn receiver(&self) -> &Receiver {
        &self.receiver
    }

    /// Tells whether packets by this path are for the stream.
    pub(crate) fn knows(&self, path: Path) -> bool {
        let own = [self.peer, self.former].into_iter().flatten().any(|peer| peer.path == path);
        own || self.admitted.contains(&path)
    }

    /// Notes an unknown path; tells whether the application may still decide for it.
    pub(crate) fn offer(&mut self, path: Path, out: &mut Output) -> bool {
        if let Some((_, offer)) = self.offered.iter().find(|(offered, _)| *offered == path) {
            return *offer == Offer::Open;
        }
        if self.offered.len() >= OFFERED_MAX {
            // What was refused makes room: a peer that moves must not have to wait for a decision about others.
            let Some(at) = self.offered.iter().position(|(_, offer)| *offer == Offer::Refused) else {
                return false;
            };
            self.offered.remove(at);
        }
        self.offered.push_back((path, Offer::Open));
        out.events.push_back(Event::PathOffered { stream: self.id, path });
        true
    }

    pub(crate) fn hear_strangers(&mut self) {
        self.strange.get_or_insert_default();
    }

    /// Takes a packet by an unknown path, if it is a message and those are wanted; tells whether it did.
    pub(crate) fn overhear(&mut self, path: Path, packet: &Packet<'_>, out: &mut Output) -> bool {
        let Some(strange) = self.strange.as_mut().filter(|_| packet.kinds.has(Kinds::MESSAGE)) else {
            return false;
        };
        if strange.len() < STRANGE_MAX && packet.payload.len() <= STRANGE_LEN_MAX {
            strange.push_back((path, packet.payload.into()));
            out.events.push_back(Event::Overheard(self.id));
        }
        true
    }

    pub(crate) fn read_overheard(&mut self) -> Option<(Path, Box<[u8]>)> {
        self.strange.as_mut()?.pop_front()
    }

    pub(crate) const fn endure(&mut self, endurance: Duration) {
        self.sender.endure(endurance);
    }

    pub(crate) fn hurry(&mut self, now: Instant) {
        self.sender.hurry(now);
    }

    pub(crate) fn refuse(&mut self, path: Path) {
        for (_, offer) in self.offered.iter_mut().filter(|(offered, _)| *offered == path) {
            *offer = Offer::Refused;
        }
    }

    pub(crate) fn admit(&mut self, path: Path) {
        self.offered.retain(|(offered, _)| *offered != path);
        if !self.knows(path) {
            if self.admitted.len() >= ADMITTED_MAX {
                self.admitted.pop_front();
            }
            self.admitted.push_back(path);
        }
    }

    pub(crate) fn connect(&mut self, now: Instant, peer: Peer, cycle: usize) {
        self.peer = Some(peer);
        self.heard = Some(peer.path);
        self.offered.retain(|(offered, _)| *offered != peer.path);
        self.sender.set_path(now, peer.path.remote, cycle);
        self.touch(now);
    }

    /// Answers what came before there was a peer.
    pub(crate) fn pay_ack(&mut self, out: &mut Output) {
        if self.peer.is_some()
            && self.relay_to.is_none()
            && std::mem::replace(&mut self.ack, Owed::No) == Owed::Yes
        {
            self.acknowledge(out);
        }
    }

    /// Sends new packets to another address from now on.
    pub(crate) fn change_path(&mut self, now: Instant, peer: Peer, cycle: usize, out: &mut Output) {
        let before = self.peer.replace(peer);
        if let Some(before) = before.filter(|before| before.path != peer.path) {
            self.admit(before.path);
        }
        self.offered.retain(|(offered, _)| *offered != peer.path);
        self.former = before;
        self.moving = Some(self.sender.next());
        self.sender.set_path(now, peer.path.remote, cycle);
        self.watch_move(out);
    }

    /// Gives the former path up.
    pub(crate) fn leave_former(&mut self) {
        self.sender.leave_former();
        self.former = None;
    }

    fn watch_move(&mut self, out: &mut Output) {
        if self.moving.is_some_and(|below| self.sender.first() >= below) {
            self.moving = None;
            self.leave_former();
            out.events.push_back(Event::PathChanged(self.id));
        }
    }

    pub(crate) const fn set_window(&mut self, window: u32) {
        self.window = window;
    }

    pub(crate) fn set_keepalive(&mut self, now: Instant, interval: Option<Duration>) {
        self.keepalive = interval.map(|interval| (interval, now + interval));
    }

    fn touch(&mut self, now: Instant) {
        if let Some((interval, at)) = &mut self.keepalive {
            *at = now + *interval;
        }
    }

    /// Counts a datagram for this stream.
    pub(crate) const fn count(&mut self, len: usize) {
        self.packets_rx += 1;
        self.bytes_rx += len as u64;
    }

    /// Takes a packet that came by a path of ours.
    pub(crate) fn handle_packet(&mut self, now: Instant, path: Path, packet: &Packet<'_>, out: &mut Output) {
        let kinds = packet.kinds;
        let seq = widen(packet.seq, self.receiver.next());
        if kinds.has(Kinds::DESTROY) {
            // A destroyer counts on from what it sent: an older number is a copy, or a guess.
            if self.receiver.is_near(seq) {
                self.close(CloseReason::Reset, out);
            } else {
                out.stats.rejected += 1;
            }
            return;
        }
        if widen(packet.ack, self.sender.first()) > self.sender.next() {
            out.stats.rejected += 1;
            return;
        }
        self.hear(path, out);
        if kinds.has(Kinds::MESSAGE) && self.receiver.take_message(packet.payload) {
            out.events.push_back(Event::Message(self.id));
        }
        let mut owed = if kinds.has(Kinds::HEARTBEAT) { Owed::Yes } else { Owed::No };
        if kinds.has(Kinds::DATA.and(Kinds::END)) && !kinds.has(Kinds::MESSAGE) {
            match self.receiver.take(seq, kinds, packet.payload) {
                Kept::No => {}
                Kept::Next | Kept::Early | Kept::Old => owed = Owed::Yes,
            }
        }
        let was_finished = self.sender.is_finished();
        let was_first = self.sender.first();
        let was_silent = self.sender.unanswered().is_some();
        self.sender.on_packet(now, packet, seq);
        if was_silent && self.sender.unanswered().is_none() {
            out.events.push_back(Event::Answered(self.id));
        }
        if self.sender.first() > was_first {
            self.touch(now);
            self.watch_move(out);
        }
        if self.sender.is_finished() && !was_finished && !self.receiver.is_ended() {
            // The reference tells its final state once its end has arrived.
            owed = Owed::Yes;
        }
        if owed == Owed::Yes {
            if self.peer.is_some() { self.acknowledge(out) } else { self.ack = Owed::Yes }
        }
        self.tell(out);
        if self.sender.is_finished() && self.receiver.is_ended() {
            self.close(CloseReason::Finished, out);
        }
    }

    fn hear(&mut self, path: Path, out: &mut Output) {
        if self.heard != Some(path) {
            let was_heard = self.heard.replace(path).is_some();
            let is_ours = self.peer.is_some_and(|peer| peer.path == path);
            if was_heard && is_ours {
                out.events.push_back(Event::PathShared(self.id));
            } else if was_heard && self.peer.is_some() && self.admitted.contains(&path) {
                let event = Event::PathHeard { stream: self.id, path };
                if out.events.back() != Some(&event) {
                    out.events.push_back(event);
                }
            }
        }
    }

    fn tell(&mut self, out: &mut Output) {
        let something = self.receiver.unread() > 0 || self.receiver.is_ended();
        if something && self.readable == News::Untold {
            self.readable = News::Told;
            out.events.push_back(Event::Readable(self.id));
        }
        if self.writable == Wish::Room && self.sender.is_writable(ROOM_MIN) {
            self.writable = Wish::None;
            out.events.push_back(Event::Writable(self.id));
        }
    }

    pub(crate) fn close(&mut self, why: CloseReason, out: &mut Output) {
        if self.closed.is_none() {
            self.closed = Some(why);
            out.events.push_back(Event::Closed { stream: self.id, why });
        }
    }

    fn header(&mut self, kinds: Kinds, to: StreamId) -> Packet<'static> {
        Packet {
            kinds,
            stream: to,
            window: self.receiver.tell_window(self.window),
            seq: narrow(self.sender.next()),
            ack: narrow(self.receiver.next()),
            between: &[],
            payload: &[],
        }
    }

    fn acknowledge(&mut self, out: &mut Output) {
        let mut sacks = Vec::new();
        let kinds = if self.receiver.has_gap() {
            self.receiver.write_sacks(&mut sacks);
            Kinds::SACK
        } else {
            Kinds::ACK
        };
        self.send(kinds, &sacks, &[], out);
    }

    /// Sends a packet that is not kept.
    fn send(&mut self, kinds: Kinds, between: &[u8], payload: &[u8], out: &mut Output) {
        if let Some(peer) = self.peer {
            self.send_to(peer, (kinds, between, payload), out);
        }
    }

    fn send_to(&mut self, peer: Peer, (kinds, between, payload): (Kinds, &[u8], &[u8]), out: &mut Output) {
        let packet = Packet { between, payload, ..self.header(kinds, peer.stream) };
        let len = wire::udx::HEADER_LEN + between.len() + payload.len();
        out.outbox.push(Transmit::new(peer.path.socket, peer.path.remote), |bytes| packet.encode(bytes));
        self.packets_tx += 1;
        self.bytes_tx += len as u64;
    }

    /// Sends a heartbeat by a path that is not ours, so that whoever passes packets on there learns of us.
    pub(crate) fn knock(&mut self, by: Peer, out: &mut Output) {
        let packet = self.header(Kinds::HEARTBEAT, by.stream);
        out.outbox.push(Transmit::new(by.path.socket, by.path.remote), |bytes| packet.encode(bytes));
        self.packets_tx += 1;
        self.bytes_tx += wire::udx::HEADER_LEN as u64;
    }

    pub(crate) fn send_destroy(&mut self, out: &mut Output) {
        self.send(Kinds::DESTROY, &[], &[], out);
    }

    pub(crate) fn send_message(&mut self, message: &[u8], out: &mut Output) -> Result<(), StreamError> {
        if self.closed.is_some() {
            return Err(StreamError::Unknown);
        }
        if self.peer.is_none() {
            return Err(StreamError::NotConnected);
        }
        if message.len() > self.sender.payload() {
            return Err(StreamError::TooLong);
        }
        self.send(Kinds::MESSAGE, &[], message, out);
        Ok(())
    }

    /// Sends a message by another path than the stream's.
    pub(crate) fn answer_stranger(&mut self, path: Path, message: &[u8], out: &mut Output) {
        if let Some(peer) = self.peer.filter(|_| self.closed.is_none() && message.len() <= STRANGE_LEN_MAX) {
            self.send_to(Peer { path, ..peer }, (Kinds::MESSAGE, &[], message), out);
        }
    }

    pub(crate) fn read_message(&mut self) -> Option<Box<[u8]>> {
        self.receiver.read_message()
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<usize, StreamError> {
        if self.closed.is_some() {
            return Err(StreamError::Unknown);
        }
        if !self.sender.is_open() {
            return Err(StreamError::Finished);
        }
        let taken = self.sender.write(bytes);
        if taken < bytes.len() {
            self.writable = Wish::Room;
        }
        Ok(taken)
    }

    pub(crate) fn finish(&mut self) {
        self.sender.finish();
    }

    pub(crate) fn read(&mut self, buf: &mut [u8], out: &mut Output) -> Read {
        let len = self.receiver.read(buf);
        if len > 0 {
            let is_open = self.closed.is_none() && !self.receiver.is_ended();
            if is_open && self.receiver.has_reopened(self.window) {
                self.acknowledge(out);
            }
            return Read::Bytes(len);
        }
        match (self.receiver.is_ended(), self.closed) {
            (true, _) => {
                self.end = News::Told;
                Read::End
            }
            (false, Some(_)) => Read::Gone,
            (false, None) => {
                self.readable = News::Untold;
                Read::Empty
            }
        }
    }

    /// Appends what may be sent now, at least one datagram, or returns nothing.
    pub(crate) fn fill(&mut self, now: Instant, segments_max: usize, buf: &mut Vec<u8>) -> Option<Transmit> {
        if self.closed.is_some() || self.relay_to.is_some() {
            return None;
        }
        let current = self.peer?;
        let mut plan = self.sender.plan(now)?;
        let (len, way) = self.sender.shape(plan);
        let peer = match way {
            Way::Current => current,
            Way::Former => self.former.unwrap_or(current),
        };
        let header = self.header(Kinds::ACK, peer.stream);
        let mut count = 0;
        loop {
            let before = buf.len();
            self.sender.send(now, plan, header, buf);
            count += 1;
            let is_short = buf.len() - before < len;
            if is_short || count >= segments_max || buf.len() + len > BATCH_LEN_MAX {
                break;
            }
            let Some(next) = self.sender.plan(now) else { break };
            let (next_len, next_way) = self.sender.shape(next);
            if next_len > len || next_way != way {
                break;
            }
            plan = next;
        }
        self.packets_tx += count as u64;
        self.bytes_tx += buf.len() as u64;
        self.touch(now);
        let segment = if count > 1 { u16::try_from(len).ok() } else { None };
        Some(Transmit { segment, ..Transmit::new(peer.path.socket, peer.path.remote) })
    }

    /// Brings the timers in line with what was sent and received.
    pub(crate) fn deadline(&mut self, now: Instant) -> Option<Instant> {
        if self.closed.is_some() || self.peer.is_none() || self.relay_to.is_some() {
            return None;
        }
        self.sender.watch_window(now);
        let keepalive = self.keepalive.filter(|_| self.sender.is_idle()).map(|(_, at)| at);
        [self.sender.deadline(), keepalive].into_iter().flatten().min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, out: &mut Output) {
        if let Some((interval, at)) = self.keepalive
            && at <= now
        {
            self.keepalive = Some((interval, now + interval));
            if self.sender.is_idle() {
                self.send(Kinds::HEARTBEAT, &[], &[], out);
            }
        }
        let was_silent = self.sender.unanswered().is_some();
        let due = self.sender.handle_timeout(now);
        if !was_silent && self.sender.unanswered().is_some() {
            out.events.push_back(Event::Unanswered(self.id));
        }
        match due {
            Due::Nothing => {}
            Due::Heartbeat => self.send(Kinds::HEARTBEAT, &[], &[], out),
            Due::Dead => self.close(CloseReason::TimedOut, out),
        }
    }

    pub(crate) fn stats(&self) -> StreamStats {
        let (sender, recovery) = (&self.sender, self.sender.recovery());
        StreamStats {
            mtu: sender.mtu().size(),
            rtt: recovery.srtt(),
            min_rtt: recovery.min_rtt(),
            cwnd: sender.bbr().cwnd(),
            in_flight: sender.flying(),
            queued: sender.queued(),
            unread: self.receiver.unread(),
            timeouts: sender.stats.timeouts,
            retransmits: sender.stats.retransmits,
            fast_recoveries: sender.stats.fast_recoveries,
            bad_sacks: sender.stats.bad_sacks,
            refused: self.receiver.refused,
            packets_tx: self.packets_tx,
            bytes_tx: self.bytes_tx,
            packets_rx: self.packets_rx,
            bytes_rx: self.bytes_rx,
            mode: sender.bbr().mode(),
            bandwidth: sender.bbr().bandwidth().0 / 1000,
        }
    }
}
