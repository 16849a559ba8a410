use std::time::{Duration, Instant};

/// Bytes that may pass in a time. What is not used is kept for a quarter of a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    bytes_per_second: u64,
    left: u64,
    filled: Instant,
}

/// What may pass at once after a silence, as a part of what may pass in a second.
const BURST: Duration = Duration::from_millis(250);
/// Whatever the rate, a few packets pass: a handshake of both sides.
const BURST_MIN: u64 = 16 << 10;

impl Allowance {
    pub(crate) fn new(now: Instant, bytes_per_second: u64) -> Self {
        let mut allowance = Self { bytes_per_second, left: 0, filled: now };
        allowance.left = allowance.most();
        allowance
    }

    fn most(&self) -> u64 {
        self.share(BURST).max(BURST_MIN)
    }

    fn share(&self, time: Duration) -> u64 {
        let bytes = u128::from(self.bytes_per_second) * time.as_micros() / 1_000_000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// Tells whether so many bytes may pass now, and counts them if so.
    pub(crate) fn take(&mut self, now: Instant, bytes: usize) -> bool {
        let gained = self.share(now.saturating_duration_since(self.filled));
        if gained > 0 {
            self.left = self.left.saturating_add(gained).min(self.most());
            self.filled = now;
        }
        let fits = self.left.checked_sub(bytes as u64);
        self.left = fits.unwrap_or(self.left);
        fits.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test needs an origin to count from")]
    fn as_much_passes_in_a_second_as_was_allowed_after_a_first_quarter() {
        let begun = Instant::now();
        let mut allowance = Allowance::new(begun, 1_000_000);
        let passed: usize = (0..2_000_u64)
            .map(|step| begun + Duration::from_micros(500 * step))
            .filter(|now| allowance.take(*now, 1_000))
            .count();
        // 250 at once, and 1,000 in what is almost a second.
        assert!((1_245..=1_250).contains(&passed), "{passed} of 2,000 passed");
    }
}
