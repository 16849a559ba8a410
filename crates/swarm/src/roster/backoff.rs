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

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn rows() -> Vec<Value> {
        let vectors = include_str!("../../../../vectors/hyperdht/misc.json");
        let vectors: Value = serde_json::from_str(vectors).unwrap();
        let rows = vectors["peerInfo"]["rows"].as_array().unwrap().clone();
        // Nothing in the reference ever sets this mark.
        rows.into_iter().filter(|row| row["tried"] == false).collect()
    }

    fn attempts(row: &Value) -> u32 {
        u32::try_from(row["attempts"].as_u64().unwrap()).unwrap()
    }

    #[test]
    fn the_turn_of_a_peer_is_the_reference_s() {
        for row in rows() {
            let wanted = if row["explicit"] == true { Wanted::ByKey } else { Wanted::ByTopic };
            let priority = Priority::of(attempts(&row), wanted) as u64;
            // Peers given up there have the lowest turn here.
            let expected = if row["updatePriorityReturns"] == true {
                &row["priorityAfter"]
            } else {
                &row["getPriority"]
            };
            assert_eq!(Some(priority), expected.as_u64(), "{row}");
        }
    }

    #[test]
    fn waits_are_the_reference_s_for_as_long_as_it_retries_and_double_afterwards() {
        let waits = Backoffs::default();
        for row in rows() {
            let proven = if row["proven"] == true { Proven::Yes } else { Proven::No };
            let base = waits.base(attempts(&row), proven);
            match row["retryTimer"].as_str() {
                Some("S") => assert_eq!(base, waits.short),
                Some("M") => assert_eq!(base, waits.medium),
                Some("L") => assert_eq!(base, waits.long),
                _ => assert!(attempts(&row) > ATTEMPTS && base >= waits.long && base < waits.extra, "{row}"),
            }
        }
        let later =
            [4, 5, 6, 7, 8, 9, 10, 1000, u32::MAX].map(|attempts| waits.base(attempts, Proven::No).as_secs());
        assert_eq!(later, [15, 30, 60, 120, 240, 480, 600, 600, 600]);
    }
}
