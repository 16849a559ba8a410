use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use crate::ranges::Ranges;
use crate::rate::Departure;

/// Packets that an idle stream keeps room for: a first flight.
const PACKETS_KEPT: usize = 16;

/// Where a packet is that was sent and not acknowledged by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Flying,
    Lost,
    /// Beyond a gap, at the receiver.
    Arrived,
}

/// A packet that was sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    /// Its bytes begin here in the stream.
    pub(crate) start: u64,
    pub(crate) len: u16,
    /// Nothing follows it.
    pub(crate) last: Last,
    /// Zeros that make it a probe of the path MTU.
    pub(crate) padding: u8,
    pub(crate) place: Place,
    /// Counts sendings of the stream: this packet's latest one.
    pub(crate) sending: u64,
    pub(crate) left_at: Instant,
    pub(crate) again: Again,
    /// Times that patience ended on this packet.
    pub(crate) timeouts: u8,
    pub(crate) departure: Departure,
}

/// Whether a packet ends its direction of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Last {
    No,
    Yes,
}

/// Whether a packet was sent more than once: then nobody knows which sending an answer is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    No,
    Yes,
}

/// Packets that were sent and not acknowledged by number, `first..next`.
#[derive(Debug)]
pub(crate) struct Flight {
    first: u64,
    sent: VecDeque<Sent>,
    flying: u64,
    lost: BTreeSet<u64>,
    arrived: Ranges,
    /// Sendings in their order, as packet and sending; stale where the packet is elsewhere or was sent again.
    log: VecDeque<(u64, u64)>,
    sendings: u64,
}

impl Flight {
    pub(crate) const fn new(first: u64) -> Self {
        Self {
            first,
            sent: VecDeque::new(),
            flying: 0,
            lost: BTreeSet::new(),
            arrived: Ranges::new(),
            log: VecDeque::new(),
            sendings: 0,
        }
    }

    /// The oldest packet that is not acknowledged by number.
    pub(crate) const fn first(&self) -> u64 {
        self.first
    }

    /// The number of the next packet.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.sent.len() as u64
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// Counts packets on their way.
    pub(crate) const fn flying(&self) -> u64 {
        self.flying
    }

    /// Tells whether the receiver reported a gap.
    pub(crate) fn has_gap(&self) -> bool {
        !self.arrived.is_empty()
    }

    /// Counts packets that arrived beyond a gap.
    pub(crate) fn arrived(&self) -> u64 {
        self.arrived.numbers()
    }

    /// The lost packet to send first.
    pub(crate) fn lost(&self) -> Option<u64> {
        self.lost.first().copied()
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Sent> {
        self.sent.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut Sent> {
        self.sent.get_mut(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// The latest packet that is on its way.
    pub(crate) fn latest_flying(&self) -> Option<u64> {
        let back = self.sent.iter().rev().position(|sent| sent.place == Place::Flying)?;
        Some(self.next() - 1 - back as u64)
    }

    /// Adds the packet that takes the next number, or takes a number that carries nothing.
    pub(crate) fn push(&mut self, sent: Sent) {
        self.log.push_back((self.next(), self.sendings));
        self.sent.push_back(Sent { sending: self.sendings, ..sent });
        self.sendings += 1;
        self.flying += 1;
    }

    /// Notes that a packet leaves once more.
    pub(crate) fn resend(&mut self, now: Instant, number: u64, departure: Departure) {
        let sending = self.sendings;
        let Some(sent) = self.get_mut(number) else { return };
        sent.sending = sending;
        sent.left_at = now;
        sent.again = Again::Yes;
        sent.departure = departure;
        let place = std::mem::replace(&mut sent.place, Place::Flying);
        if place == Place::Lost {
            self.lost.remove(&number);
            self.flying += 1;
        }
        self.log.push_back((number, sending));
        self.sendings += 1;
    }

    /// Notes that everything below `ack` arrived; calls `each` with what was not known to have.
    pub(crate) fn acknowledge(&mut self, ack: u64, mut each: impl FnMut(u64, &Sent)) {
        while self.first < ack {
            let Some(sent) = self.sent.pop_front() else { break };
            match sent.place {
                Place::Flying => self.flying -= 1,
                Place::Lost => drop(self.lost.remove(&self.first)),
                Place::Arrived => {}
            }
            if sent.place != Place::Arrived {
                each(self.first, &sent);
            }
            self.first += 1;
        }
        self.arrived.forget_below(self.first);
    }

    /// Notes that `start..end` arrived beyond a gap; calls `each` with what was not known to have.
    pub(crate) fn arrive(&mut self, start: u64, end: u64, mut each: impl FnMut(u64, &Sent)) {
        let (first, sent) = (self.first, &mut self.sent);
        let (flying, lost) = (&mut self.flying, &mut self.lost);
        self.arrived.insert(start, end, |from, to| {
            for number in from..to {
                let at = usize::try_from(number - first).unwrap_or(usize::MAX);
                let Some(sent) = sent.get_mut(at) else { continue };
                match std::mem::replace(&mut sent.place, Place::Arrived) {
                    Place::Flying => *flying -= 1,
                    Place::Lost => drop(lost.remove(&number)),
                    Place::Arrived => {}
                }
                each(number, sent);
            }
        });
    }

    /// Gives memory back while nothing is on its way.
    pub(crate) fn rest(&mut self) {
        debug_assert!(self.sent.is_empty(), "packets are on their way");
        self.log.clear();
        self.log.shrink_to(PACKETS_KEPT);
        self.sent.shrink_to(PACKETS_KEPT);
    }

    /// The earliest sending whose packet is still on its way.
    pub(crate) fn earliest(&mut self) -> Option<(u64, &Sent)> {
        while let Some((number, sending)) = self.log.front().copied() {
            let fresh =
                self.get(number).is_some_and(|sent| sent.place == Place::Flying && sent.sending == sending);
            if fresh {
                return self.get(number).map(|sent| (number, sent));
            }
            self.log.pop_front();
        }
        None
    }

    /// Notes that a packet is lost; tells whether it was on its way.
    pub(crate) fn lose(&mut self, number: u64) -> bool {
        let Some(sent) = self.get_mut(number).filter(|sent| sent.place == Place::Flying) else {
            return false;
        };
        sent.place = Place::Lost;
        self.flying -= 1;
        self.lost.insert(number);
        true
    }
}
