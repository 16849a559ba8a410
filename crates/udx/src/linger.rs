use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use wire::udx::{Kinds, Packet, StreamId};

use crate::event::Path;
use crate::number::{narrow, widen};
use crate::stream::Peer;

/// Closed streams remembered; beyond them the oldest are forgotten, and their peers run into their own timeouts.
const CLOSED_MAX: usize = 4096;
/// Answers that one closed stream gives: a peer sends a packet eight times before it gives up.
const ANSWERS_MAX: u8 = 32;

/// What a closed stream tells a peer that did not hear of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// Everything arrived: the last acknowledgement may have been lost.
    Acknowledge,
    /// The stream was destroyed.
    Destroy,
}

/// The state of a stream that outlives it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closed {
    pub(crate) peer: Peer,
    pub(crate) farewell: Farewell,
    /// The number that our next packet would have, and the one expected of the peer.
    pub(crate) seq: u64,
    pub(crate) ack: u64,
    pub(crate) answers: u8,
}

/// Streams that closed a while ago. The reference keeps nothing: when its last acknowledgement is lost, the peer
/// fails after 13 s.
#[derive(Debug, Default)]
pub(crate) struct Lingering {
    closed: BTreeMap<StreamId, Closed>,
    order: VecDeque<(Instant, StreamId)>,
}

impl Lingering {
    pub(crate) fn contains(&self, stream: StreamId) -> bool {
        self.closed.contains_key(&stream)
    }

    /// Remembers a stream until `until`, which is later each time.
    pub(crate) fn add(&mut self, now: Instant, span: Duration, stream: StreamId, closed: Closed) {
        self.expire(now);
        if self.order.len() >= CLOSED_MAX
            && let Some((_, oldest)) = self.order.pop_front()
        {
            self.closed.remove(&oldest);
        }
        self.closed.insert(stream, closed);
        self.order.push_back((now + span, stream));
    }

    fn expire(&mut self, now: Instant) {
        while let Some((_, stream)) = self.order.front().filter(|(until, _)| *until <= now).copied() {
            self.order.pop_front();
            self.closed.remove(&stream);
        }
    }

    /// Finds the answer to a packet for a closed stream.
    pub(crate) fn answer(&mut self, now: Instant, path: Path, packet: &Packet<'_>) -> Answer {
        self.expire(now);
        let Some(closed) = self.closed.get_mut(&packet.stream) else { return Answer::Unknown };
        let asks = packet.kinds.has(Kinds::DATA.and(Kinds::END).and(Kinds::HEARTBEAT));
        let is_old = widen(packet.seq, closed.ack) < closed.ack || packet.kinds.has(Kinds::HEARTBEAT);
        let wanted = closed.farewell == Farewell::Destroy || is_old;
        if !asks || !wanted || path != closed.peer.path || closed.answers >= ANSWERS_MAX {
            return Answer::Silence;
        }
        closed.answers += 1;
        let kinds = match closed.farewell {
            Farewell::Acknowledge => Kinds::ACK,
            Farewell::Destroy => Kinds::DESTROY,
        };
        let packet = Packet {
            kinds,
            stream: closed.peer.stream,
            window: 0,
            seq: narrow(closed.seq),
            ack: narrow(closed.ack),
            between: &[],
            payload: &[],
        };
        Answer::Packet(packet)
    }
}

/// What becomes of a packet for a closed stream.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// No such stream is remembered.
    Unknown,
    Silence,
    /// This goes back the way that the packet came.
    Packet(Packet<'static>),
}
