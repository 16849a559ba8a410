//! BBR version 1: a model of the path, its bandwidth and its shortest round trip, decides how fast and how much to
//! send (Cardwell et al. 2016; draft-cardwell-iccrg-bbr-congestion-control-00). Loss does not slow it down by
//! itself, which is what paths over radio need.

use std::cmp::{Ordering, Reverse};
use std::time::{Duration, Instant};

use crate::best::Best;
use crate::rate::{Limit, Rate, Sample};

/// Packets in flight at first (libudx).
const CWND_INITIAL: u64 = 10;
/// Packets in flight at least, so that acknowledgements keep coming (libudx).
const CWND_MIN: u64 = 4;
/// Packets that may fly beyond the model, for acknowledgements that come in pairs.
const CWND_SPARE: u64 = 3;
/// Gains are counted in 256ths: 2/ln 2 fills a path in the least number of rounds, its inverse drains it again.
const UNIT: u64 = 256;
const HIGH_GAIN: u64 = 739;
const DRAIN_GAIN: u64 = 88;
const CRUISE_CWND_GAIN: u64 = 512;
const CYCLE: [u64; 8] = [320, 192, 256, 256, 256, 256, 256, 256];
/// Share of the bandwidth that is used, in hundredths: queues drain slowly instead of growing.
const MARGIN: u64 = 99;
/// Rounds that a bandwidth is believed.
const BANDWIDTH_ROUNDS: u64 = 10;
/// A path is full when its bandwidth grew by less than a quarter in three rounds.
const FULL_ROUNDS: u8 = 3;
/// A queue overflows where a round loses a quarter of what arrives, and more than a few packets. Then a path is full,
/// without waiting for three rounds: at 2.9 times the bandwidth they would cost a thousand packets. And only then one
/// packet is sent for each that arrives; the reference does so after any loss, which leaves a tenth of a lossy path
/// unused.
const OVERFLOW_SHARE: u64 = 4;
const OVERFLOW_MIN: u64 = 16;
const MIN_RTT_SPAN: Duration = Duration::from_secs(10);
const PROBE_RTT_SPAN: Duration = Duration::from_millis(200);
/// Rounds that an aggregation of acknowledgements is remembered, once to twice.
const EXTRA_ROUNDS: u8 = 5;
/// An aggregation counts for as much as the path carries in this time.
const EXTRA_SPAN: Duration = Duration::from_millis(100);

/// What the sender is doing about loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Open,
    /// Packets were lost, and others sent before have not all arrived.
    Recovery,
    /// Nothing was acknowledged for as long as patience lasts.
    Loss,
}

/// How the path is being explored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BbrMode {
    /// Looks for the bandwidth, doubling each round.
    Startup,
    /// Empties the queue that this made.
    Drain,
    /// Cruises, and tries a quarter more in one of eight round trips.
    ProbeBandwidth,
    /// Sends next to nothing for a moment, to see the round trip without a queue.
    ProbeRtt,
}

/// What one acknowledgement brought.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ack {
    pub(crate) now: Instant,
    /// Packets delivered since the path is in use.
    pub(crate) delivered: u64,
    pub(crate) sample: Option<Sample>,
    pub(crate) rtt: Option<Duration>,
    pub(crate) acked: u64,
    pub(crate) lost: u64,
    /// Packets on their way before, and now.
    pub(crate) flying_before: u64,
    pub(crate) flying: u64,
    pub(crate) phase: Phase,
}

#[derive(Debug)]
pub(crate) struct Bbr {
    mode: BbrMode,
    cwnd: u64,
    /// To return to after recovery or a probe of the round trip.
    cwnd_saved: u64,
    bandwidth: Best<Reverse<Rate>>,
    min_rtt: Option<Duration>,
    min_rtt_at: Instant,
    round: Round,
    full: FullPipe,
    cycle: usize,
    cycle_at: Instant,
    probe: Option<ProbeRtt>,
    phase: Phase,
    /// Sends one packet for each that arrives, for a round after an overflow.
    conserving: bool,
    restarted: bool,
    extra: Extra,
    /// Bytes a second.
    pacing: u64,
    paced_by_rtt: bool,
}

#[derive(Debug, Default)]
struct Round {
    count: u64,
    /// The round ends when a packet arrives that left after as many had been delivered.
    end: u64,
    started: bool,
}

#[derive(Debug, Default)]
struct FullPipe {
    rate: Rate,
    rounds: u8,
    reached: bool,
    /// Packets of this round.
    acked: u64,
    lost: u64,
}

impl FullPipe {
    const fn overflows(&self) -> bool {
        self.lost >= OVERFLOW_MIN && self.lost * OVERFLOW_SHARE > self.acked
    }
}

#[derive(Debug, Default)]
struct ProbeRtt {
    ends_at: Option<Instant>,
    round_done: bool,
}

/// Acknowledgements that came in bunches: how many packets more than the bandwidth explains.
#[derive(Debug)]
struct Extra {
    since: Instant,
    acked: u64,
    rounds: u8,
    most: [u64; 2],
}

impl Bbr {
    /// Starts with an open mind; `cycle` says where of its eight phases cruising begins.
    pub(crate) const fn new(now: Instant, cycle: usize) -> Self {
        Self {
            mode: BbrMode::Startup,
            cwnd: CWND_INITIAL,
            cwnd_saved: 0,
            bandwidth: Best::new(BANDWIDTH_ROUNDS),
            min_rtt: None,
            min_rtt_at: now,
            round: Round { count: 0, end: 0, started: false },
            full: FullPipe { rate: Rate(0), rounds: 0, reached: false, acked: 0, lost: 0 },
            // Never where the path is drained: there was no queue made yet.
            cycle: if cycle % CYCLE.len() == 1 { 2 } else { cycle % CYCLE.len() },
            cycle_at: now,
            probe: None,
            phase: Phase::Open,
            conserving: false,
            restarted: false,
            extra: Extra { since: now, acked: 0, rounds: 0, most: [0; 2] },
            pacing: 0,
            paced_by_rtt: false,
        }
    }

    pub(crate) const fn mode(&self) -> BbrMode {
        self.mode
    }

    /// Packets that may be on their way.
    pub(crate) const fn cwnd(&self) -> u64 {
        self.cwnd
    }

    pub(crate) fn bandwidth(&self) -> Rate {
        self.bandwidth.get().map_or(Rate(0), |Reverse(rate)| rate)
    }

    /// Bytes a second.
    pub(crate) fn pacing(&self, payload: usize) -> u64 {
        if self.pacing == 0 { self.initial_pacing(Duration::from_millis(1), payload) } else { self.pacing }
    }

    /// Notes that sending goes on after a pause.
    pub(crate) fn restart(&mut self) {
        self.restarted = true;
        self.extra.acked = 0;
    }

    /// Notes that packets were lost.
    pub(crate) fn enter_recovery(&mut self) {
        self.save_cwnd();
    }

    /// Notes that nothing arrived for too long.
    pub(crate) fn give_up(&mut self, flying: u64) {
        self.save_cwnd();
        self.phase = Phase::Loss;
        self.full = FullPipe { reached: self.full.reached, ..FullPipe::default() };
        self.conserving = false;
        self.cwnd = flying + 1;
    }

    /// Takes an acknowledgement; `payload` is what a full packet carries, in bytes.
    pub(crate) fn on_ack(&mut self, ack: &Ack, payload: usize) {
        self.update_round(ack);
        self.update_extra(ack);
        self.update_cycle(ack);
        self.update_full(ack);
        self.update_drain(ack);
        self.update_min_rtt(ack);
        self.update_pacing(ack, payload);
        self.update_cwnd(ack);
    }

    fn save_cwnd(&mut self) {
        let fresh = self.phase == Phase::Open && self.mode != BbrMode::ProbeRtt;
        self.cwnd_saved = if fresh { self.cwnd } else { self.cwnd_saved.max(self.cwnd) };
    }

    const fn gains(&self) -> (u64, u64) {
        match self.mode {
            BbrMode::Startup => (HIGH_GAIN, HIGH_GAIN),
            BbrMode::Drain => (DRAIN_GAIN, HIGH_GAIN),
            BbrMode::ProbeBandwidth => (CYCLE[self.cycle], CRUISE_CWND_GAIN),
            BbrMode::ProbeRtt => (UNIT, UNIT),
        }
    }

    /// Packets on their way when the path is filled `gain` times.
    fn filled(&self, gain: u64) -> u64 {
        let Some(min_rtt) = self.min_rtt else { return CWND_INITIAL };
        let carried = self.bandwidth().carries(min_rtt.max(Duration::from_millis(1)));
        carried.saturating_mul(gain).div_ceil(UNIT * 1000).max(1) + CWND_SPARE
    }

    fn update_round(&mut self, ack: &Ack) {
        self.round.started = false;
        let Some(sample) = ack.sample else { return };
        if sample.prior_delivered >= self.round.end {
            self.round.end = ack.delivered;
            self.round.count += 1;
            self.round.started = true;
            self.conserving = false;
        }
        if sample.limit == Limit::Network || sample.rate >= self.bandwidth() {
            self.bandwidth.add(self.round.count, Reverse(sample.rate));
        }
    }

    fn update_extra(&mut self, ack: &Ack) {
        if self.round.started {
            self.extra.rounds += 1;
            if self.extra.rounds >= EXTRA_ROUNDS {
                self.extra.rounds = 0;
                self.extra.most = [0, self.extra.most[0]];
            }
        }
        let bandwidth = self.bandwidth();
        let mut expected = bandwidth.carries(ack.now.saturating_duration_since(self.extra.since)) / 1000;
        if self.extra.acked <= expected {
            (self.extra.acked, self.extra.since, expected) = (0, ack.now, 0);
        }
        self.extra.acked += ack.acked;
        let extra = (self.extra.acked - expected).min(self.cwnd);
        self.extra.most[0] = self.extra.most[0].max(extra);
    }

    fn update_cycle(&mut self, ack: &Ack) {
        if self.mode != BbrMode::ProbeBandwidth {
            return;
        }
        let lasted = ack.now.saturating_duration_since(self.cycle_at) > self.min_rtt.unwrap_or_default();
        let gain = CYCLE[self.cycle];
        let over = match gain.cmp(&UNIT) {
            Ordering::Greater => lasted && (ack.lost > 0 || ack.flying_before >= self.filled(gain)),
            Ordering::Less => lasted || ack.flying_before <= self.filled(UNIT),
            Ordering::Equal => lasted,
        };
        if over {
            self.cycle = (self.cycle + 1) % CYCLE.len();
            self.cycle_at = ack.now;
        }
    }

    fn update_full(&mut self, ack: &Ack) {
        if self.round.started {
            (self.full.acked, self.full.lost) = (0, 0);
        }
        self.full.acked += ack.acked;
        self.full.lost += ack.lost;
        self.full.reached |= self.full.overflows();
        let limited = ack.sample.is_none_or(|sample| sample.limit == Limit::Application);
        if self.full.reached || !self.round.started || limited {
            return;
        }
        let bandwidth = self.bandwidth();
        if bandwidth.0 >= self.full.rate.0 + self.full.rate.0 / 4 {
            (self.full.rate, self.full.rounds) = (bandwidth, 0);
            return;
        }
        self.full.rounds += 1;
        self.full.reached = self.full.rounds >= FULL_ROUNDS;
    }

    fn update_drain(&mut self, ack: &Ack) {
        if self.mode == BbrMode::Startup && self.full.reached {
            self.mode = BbrMode::Drain;
        }
        if self.mode == BbrMode::Drain && ack.flying <= self.filled(UNIT) {
            self.cruise(ack.now);
        }
    }

    const fn cruise(&mut self, now: Instant) {
        self.mode = BbrMode::ProbeBandwidth;
        self.cycle_at = now;
    }

    fn update_min_rtt(&mut self, ack: &Ack) {
        let expired = ack.now > self.min_rtt_at + MIN_RTT_SPAN;
        if let Some(rtt) = ack.rtt.filter(|rtt| expired || self.min_rtt.is_none_or(|min| *rtt <= min)) {
            (self.min_rtt, self.min_rtt_at) = (Some(rtt), ack.now);
        }
        if expired && !self.restarted && self.probe.is_none() {
            self.save_cwnd();
            self.mode = BbrMode::ProbeRtt;
            self.probe = Some(ProbeRtt::default());
        }
        if ack.sample.is_some() {
            self.restarted = false;
        }
        let Some(probe) = &mut self.probe else { return };
        match probe.ends_at {
            None if ack.flying <= CWND_MIN => {
                probe.ends_at = Some(ack.now + PROBE_RTT_SPAN);
                self.round.end = ack.delivered;
            }
            None => {}
            Some(ends_at) => {
                probe.round_done |= self.round.started;
                if probe.round_done && ack.now >= ends_at {
                    self.probe = None;
                    self.min_rtt_at = ack.now;
                    self.cwnd = self.cwnd.max(self.cwnd_saved);
                    if self.full.reached { self.cruise(ack.now) } else { self.mode = BbrMode::Startup }
                }
            }
        }
    }

    fn initial_pacing(&self, rtt: Duration, payload: usize) -> u64 {
        let micros = u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX).max(1);
        self.cwnd * payload as u64 * 1_000_000 / micros * HIGH_GAIN / UNIT
    }

    fn update_pacing(&mut self, ack: &Ack, payload: usize) {
        if let Some(rtt) = ack.rtt.filter(|_| !self.paced_by_rtt) {
            self.paced_by_rtt = true;
            self.pacing = self.initial_pacing(rtt.max(Duration::from_millis(1)), payload);
        }
        let bytes = u128::from(self.bandwidth().0) * payload as u128;
        let rate = bytes * u128::from(self.gains().0 * MARGIN) / u128::from(UNIT * 100 * 1000);
        let rate = u64::try_from(rate).unwrap_or(u64::MAX).max(1);
        if self.full.reached || rate > self.pacing {
            self.pacing = rate;
        }
    }

    fn update_cwnd(&mut self, ack: &Ack) {
        let before = std::mem::replace(&mut self.phase, ack.phase);
        if ack.lost > 0 && ack.phase == Phase::Recovery && self.full.overflows() {
            self.cwnd = self.cwnd.saturating_sub(ack.lost).max(1);
            if !self.conserving {
                self.conserving = true;
                self.round.end = ack.delivered;
                self.cwnd = ack.flying + ack.acked;
            }
        } else if before != Phase::Open && ack.phase == Phase::Open {
            self.conserving = false;
            self.cwnd = self.cwnd.max(self.cwnd_saved);
        }
        if self.conserving {
            self.cwnd = self.cwnd.max(ack.flying + ack.acked);
        } else if ack.acked > 0 {
            self.grow(ack);
        }
        if self.mode == BbrMode::ProbeRtt {
            self.cwnd = self.cwnd.min(CWND_MIN);
        }
    }

    fn grow(&mut self, ack: &Ack) {
        let [recent, older] = self.extra.most;
        let allowance = if self.full.reached {
            recent.max(older).min(self.bandwidth().carries(EXTRA_SPAN) / 1000)
        } else {
            0
        };
        let target = self.filled(self.gains().1) + allowance;
        if self.full.reached {
            self.cwnd = (self.cwnd + ack.acked).min(target);
        } else if self.cwnd < target || ack.delivered < CWND_INITIAL {
            self.cwnd += ack.acked;
        }
        self.cwnd = self.cwnd.max(CWND_MIN);
    }
}
