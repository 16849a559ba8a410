use std::time::Duration;

use rand::{Rng, RngExt};

use super::census::{Proven, Wanted};
use super::config::Backoffs;

/// A peer's turn in the queue (hyperswarm `lib/peer-info.js`): a peer that failed once comes before new ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Failed more than three times. The reference dials it no more until a refresh finds it again.
    VeryLow,
    /// Failed three times.
    Low,
    /// Not tried yet.
    Normal,
    /// Failed twice.
    High,
    /// Failed once.
    VeryHigh,
}

/// Failures after which the reference gives a peer up.
pub(super) const ATTEMPTS: u32 = 3;

/// The wait of each timer is between these parts of its base: the reference's batches tick every 0.66 of it,
/// and a peer waits for the second tick.
const SPREAD: [f64; 2] = [0.66, 1.32];

impl Priority {
    /// Returns the turn of a peer after so many attempts and short connections.
    #[must_use]
    pub(super) const fn of(attempts: u32, wanted: Wanted) -> Self {
        match (attempts, wanted) {
            (0, _) => Self::Normal,
            (1, _) => Self::VeryHigh,
            (2, _) => Self::High,
            (ATTEMPTS, _) | (_, Wanted::ByKey) => Self::Low,
            _ => Self::VeryLow,
        }
    }
}

impl Backoffs {
    /// Returns the base wait after so many attempts and short connections.
    ///
    /// Above three the reference waits ten minutes for explicit peers and gives others up, so that a peer which was away
    /// for a minute is missed for ten. Doubling makes the wait follow the absence, at a dozen dials for the
    /// first hour.
    #[must_use]
    pub(super) fn base(&self, attempts: u32, proven: Proven) -> Duration {
        match (attempts, proven) {
            (0, _) | (1, Proven::Yes) => self.short,
            (1, Proven::No) | (2, Proven::Yes) => self.medium,
            (2..=ATTEMPTS, _) => self.long,
            _ => {
                let doublings = (attempts - ATTEMPTS - 1).min(16);
                self.long.saturating_mul(1 << doublings).min(self.extra.max(self.long))
            }
        }
    }

    pub(super) fn draw(&self, attempts: u32, proven: Proven, rng: &mut impl Rng) -> Duration {
        self.base(attempts, proven).mul_f64(rng.random_range(SPREAD[0]..=SPREAD[1]))
    }
}
