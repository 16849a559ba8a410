//! How often a node may aim at random ports (`hyperdht index.js`, `randomPunchInterval`).

use std::time::{Duration, Instant};

use thiserror::Error;

/// Allows one random punch at a time, and the next some time after: each fills a NAT's table with hundreds of
/// mappings.
#[derive(Debug)]
pub struct PunchLimiter {
    interval: Duration,
    running: bool,
    ended: Option<Instant>,
}

/// Another random punch runs, or ended a moment ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("another random punch runs or has just ended")]
pub struct TooSoon {
    /// When to ask again at the earliest; not known while one runs.
    pub again: Option<Instant>,
}

impl PunchLimiter {
    /// Between the end of one and the begin of the next in the reference.
    pub const INTERVAL: Duration = Duration::from_secs(20);

    /// Allows the first one at once.
    #[must_use]
    pub const fn new(interval: Duration) -> Self {
        Self { interval, running: false, ended: None }
    }

    /// Makes the next one wait as if one ended now (`deferRandomPunch`).
    pub const fn defer(&mut self, now: Instant) {
        self.ended = Some(now);
    }

    /// Takes the turn; [`end`](Self::end) or [`cancel`](Self::cancel) gives it back.
    ///
    /// # Errors
    ///
    /// Says when to try again.
    pub fn begin(&mut self, now: Instant) -> Result<(), TooSoon> {
        self.check(now)?;
        self.running = true;
        Ok(())
    }

    /// Tells whether [`begin`](Self::begin) would succeed.
    ///
    /// # Errors
    ///
    /// As [`begin`](Self::begin).
    pub fn check(&self, now: Instant) -> Result<(), TooSoon> {
        if self.running {
            return Err(TooSoon { again: None });
        }
        let again = self.ended.map(|ended| ended + self.interval).filter(|again| *again > now);
        again.map_or(Ok(()), |again| Err(TooSoon { again: Some(again) }))
    }

    /// Gives back a turn in which no probe was sent.
    pub const fn cancel(&mut self) {
        self.running = false;
    }

    /// Ends a turn, well or not.
    pub const fn end(&mut self, now: Instant) {
        if self.running {
            self.running = false;
            self.ended = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs an origin to count from")]
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn one_random_punch_runs_at_a_time_and_the_next_begins_twenty_seconds_after_it_ended() {
        let start = Instant::now();
        let mut limiter = PunchLimiter::new(PunchLimiter::INTERVAL);
        assert_eq!(limiter.begin(start), Ok(()));
        assert_eq!(limiter.begin(start + 30 * SECOND), Err(TooSoon { again: None }));
        limiter.end(start + 31 * SECOND);
        let again = start + 51 * SECOND;
        assert_eq!(limiter.begin(start + 50 * SECOND), Err(TooSoon { again: Some(again) }));
        assert_eq!(limiter.begin(again), Ok(()));
    }

    #[test]
    fn a_turn_without_a_probe_costs_no_wait_and_a_deferred_one_does() {
        let start = Instant::now();
        let mut limiter = PunchLimiter::new(PunchLimiter::INTERVAL);
        assert_eq!(limiter.begin(start), Ok(()));
        limiter.cancel();
        assert_eq!(limiter.check(start), Ok(()));
        limiter.end(start);
        assert_eq!(limiter.check(start), Ok(()));
        limiter.defer(start);
        assert_eq!(limiter.check(start), Err(TooSoon { again: Some(start + 20 * SECOND) }));
    }
}
