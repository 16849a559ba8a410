use std::time::{Duration, Instant};

use pace::Rtt;

use crate::bbr::Phase;
use crate::best::Best;
use crate::flight::{Again, Sent};

/// Patience with a packet before anything is known of the path, and at least (libudx).
const RTO_MIN: Duration = Duration::from_secs(1);
const RTO_MAX: Duration = Duration::from_secs(30);
/// Patience with the tail of a flight before anything is known of the path (libudx).
const TAIL_INITIAL: Duration = Duration::from_secs(1);
/// Added for a receiver that might wait for a second packet (libudx).
const TAIL_SINGLE: Duration = Duration::from_millis(2);
/// A round trip above this that is also far beyond the estimate was spent asleep (libudx).
const OUTLIER: Duration = Duration::from_secs(5);
/// Reports beyond a gap after which it is no mere reordering, as in TCP.
const REORDER_MAX: u64 = 3;
/// How long the shortest round trip is remembered (libudx).
const MIN_RTT_SPAN: Duration = Duration::from_secs(300);

/// The latest sending that is known to have arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rack {
    pub(crate) sending: u64,
    pub(crate) rtt: Duration,
}

/// Decides when a packet is lost: RACK-TLP (RFC 8985) with a retransmission timer.
#[derive(Debug)]
pub(crate) struct Recovery {
    pub(crate) phase: Phase,
    /// A recovery ends when everything below this is acknowledged.
    pub(crate) high: u64,
    pub(crate) rack: Option<Rack>,
    /// The highest packet that arrived.
    highest: u64,
    reordered: Reordered,
    rtt: Rtt,
    min_rtt: Best<Duration>,
    born: Instant,
    pub(crate) rto_at: Option<Instant>,
    pub(crate) reo_at: Option<Instant>,
    pub(crate) tail_at: Option<Instant>,
    tail: Tail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reordered {
    Never,
    Seen,
}

/// Whether the tail of the flight may be probed: once for each round trip that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tail {
    Fresh,
    Probed,
}

impl Recovery {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Open,
            high: 0,
            rack: None,
            highest: 0,
            reordered: Reordered::Never,
            rtt: Rtt::default(),
            min_rtt: Best::new(MIN_RTT_SPAN.as_secs() * 1000),
            born: now,
            rto_at: None,
            reo_at: None,
            tail_at: None,
            tail: Tail::Fresh,
        }
    }

    /// Forgets what was learned of a path that is no longer used.
    pub(crate) fn forget_path(&mut self) {
        self.rtt = Rtt::default();
        self.min_rtt = Best::new(MIN_RTT_SPAN.as_secs() * 1000);
        self.rack = None;
        self.reordered = Reordered::Never;
    }

    pub(crate) fn srtt(&self) -> Option<Duration> {
        self.rtt.smoothed()
    }

    pub(crate) fn min_rtt(&self) -> Option<Duration> {
        self.min_rtt.get()
    }

    /// How long to wait for an answer.
    pub(crate) fn rto(&self) -> Duration {
        if self.srtt().is_none() { RTO_MIN } else { self.rtt.patience(RTO_MIN, RTO_MAX) }
    }

    /// Notes that a packet arrived.
    pub(crate) fn deliver(&mut self, now: Instant, number: u64, sent: &Sent) {
        let rtt = now.saturating_duration_since(sent.left_at);
        if sent.again == Again::Yes {
            // The answer may be to an earlier sending.
            if self.min_rtt().is_some_and(|min| rtt < min) {
                return;
            }
        } else if number < self.highest {
            self.reordered = Reordered::Seen;
        }
        self.highest = self.highest.max(number);
        if self.rack.is_none_or(|rack| sent.sending > rack.sending) {
            self.rack = Some(Rack { sending: sent.sending, rtt });
        }
    }

    /// Adds a measured round trip and returns what it counts for.
    pub(crate) fn measure(&mut self, now: Instant, rtt: Duration) -> Duration {
        let rtt = match self.srtt() {
            None => rtt.min(RTO_MAX),
            Some(srtt) => {
                let variations = self.rtt.patience(Duration::ZERO, Duration::MAX).saturating_sub(srtt);
                let believable = srtt + variations * 5 / 4;
                if rtt > OUTLIER && rtt > believable { believable.min(RTO_MAX) } else { rtt }
            }
        };
        self.rtt.add(rtt);
        let age = now.saturating_duration_since(self.born).as_millis();
        self.min_rtt.add(u64::try_from(age).unwrap_or(u64::MAX), rtt);
        self.tail = Tail::Fresh;
        rtt
    }

    /// How much later than others a packet may arrive before it is lost. `arrived` counts what the receiver
    /// reported beyond gaps.
    pub(crate) fn reorder_window(&self, arrived: u64) -> Duration {
        let sure = self.phase != Phase::Open || arrived >= REORDER_MAX;
        if self.reordered == Reordered::Never && sure {
            return Duration::ZERO;
        }
        self.min_rtt().map_or(Duration::ZERO, |min| (min / 4).min(self.srtt().unwrap_or(min)))
    }

    /// Starts patience anew.
    pub(crate) fn restart_rto(&mut self, now: Instant) {
        self.rto_at = Some(now + self.rto());
    }

    /// Sets the time to probe the tail of a flight, if that comes before patience ends.
    pub(crate) fn arm_tail(&mut self, now: Instant, flying: u64) {
        self.tail_at = None;
        if self.phase != Phase::Open || self.tail == Tail::Probed || flying == 0 {
            return;
        }
        let single = if flying == 1 { TAIL_SINGLE } else { Duration::ZERO };
        let patience = self.srtt().map_or(TAIL_INITIAL, |srtt| srtt * 2 + single);
        self.tail_at = Some(now + patience).filter(|at| self.rto_at.is_some_and(|rto_at| *at < rto_at));
    }

    /// Notes that the tail is probed now.
    pub(crate) fn probe_tail(&mut self, now: Instant) {
        self.tail_at = None;
        self.tail = Tail::Probed;
        self.restart_rto(now);
    }

    /// Stops all timers: nothing is on its way.
    pub(crate) fn rest(&mut self) {
        (self.rto_at, self.reo_at, self.tail_at) = (None, None, None);
    }
}
