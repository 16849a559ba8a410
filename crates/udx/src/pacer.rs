use std::time::{Duration, Instant};

/// What may leave at once before anything is known of the path (libudx).
const INITIAL: i64 = 25_000;
/// What may leave at once on a slow path: a few packets, so that a timer need not fire for each.
const BURST_MIN: i64 = 6_000;
/// Timers are as fine as this; what they miss is made up for by a burst of twice as long.
const TICK: Duration = Duration::from_millis(1);

/// Spreads packets over time: a bucket of bytes that fills at the pacing rate.
#[derive(Debug)]
pub(crate) struct Pacer {
    credit: i64,
    at: Instant,
}

impl Pacer {
    pub(crate) const fn new(now: Instant) -> Self {
        Self { credit: INITIAL, at: now }
    }

    /// Returns when the next packet may leave, `None` where it may at once. `rate` is in bytes a second.
    pub(crate) fn wait(&mut self, now: Instant, rate: u64) -> Option<Instant> {
        let elapsed = now.saturating_duration_since(self.at);
        let burst = (bytes(rate, TICK) * 2).max(BURST_MIN);
        let gained = bytes(rate, elapsed);
        // Time that is worth less than a byte stays on the account.
        if gained > 0 {
            self.at = now;
            self.credit = (self.credit + gained).min(burst.max(self.credit));
        }
        if self.credit > 0 {
            return None;
        }
        let missing = u64::try_from(1 - self.credit).unwrap_or(0);
        let time = Duration::from_nanos(missing.saturating_mul(1_000_000_000) / rate.max(1));
        Some((self.at + time).max(now + TICK))
    }

    /// Takes a packet's bytes from the bucket.
    pub(crate) fn spend(&mut self, len: usize) {
        self.credit -= i64::try_from(len).unwrap_or(i64::MAX);
    }
}

fn bytes(rate: u64, time: Duration) -> i64 {
    let nanos = u128::from(rate) * time.as_nanos() / 1_000_000_000;
    i64::try_from(nanos).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs an origin to count from")]
    use super::*;

    #[test]
    fn packets_leave_at_the_rate() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start);
        let (mut now, mut sent) = (start, 0);
        while now < start + Duration::from_secs(1) {
            match pacer.wait(now, 1_000_000) {
                None => {
                    pacer.spend(1000);
                    sent += 1000;
                }
                Some(at) => now = at,
            }
        }
        // The initial bucket comes on top of a second's worth.
        assert!((1_020_000..=1_030_000).contains(&sent), "{sent}");
    }

    #[test]
    fn an_idle_path_gathers_two_ticks_and_no_more() {
        let start = Instant::now();
        let mut pacer = Pacer::new(start);
        pacer.spend(25_000);
        let later = start + Duration::from_secs(60);
        let mut burst = 0;
        while pacer.wait(later, 10_000_000).is_none() {
            pacer.spend(1000);
            burst += 1;
        }
        assert_eq!(burst, 20);
    }
}
