use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// Deadlines by key, one each; the earliest is at hand.
#[derive(Debug, Clone)]
pub struct Timers<K> {
    by_time: BTreeSet<(Instant, K)>,
    by_key: BTreeMap<K, Instant>,
}

impl<K: Copy + Ord> Timers<K> {
    /// Starts without a deadline.
    #[must_use]
    pub const fn new() -> Self {
        Self { by_time: BTreeSet::new(), by_key: BTreeMap::new() }
    }

    /// Sets the deadline of `key`, replacing an earlier one.
    pub fn set(&mut self, key: K, at: Instant) {
        self.cancel(key);
        self.by_key.insert(key, at);
        self.by_time.insert((at, key));
    }

    /// Forgets the deadline of `key`.
    pub fn cancel(&mut self, key: K) {
        if let Some(at) = self.by_key.remove(&key) {
            self.by_time.remove(&(at, key));
        }
    }

    /// Returns the earliest deadline.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes one key whose deadline is `now` or before, the most overdue first.
    pub fn expire(&mut self, now: Instant) -> Option<K> {
        let (at, key) = *self.by_time.first()?;
        if at > now {
            return None;
        }
        self.cancel(key);
        Some(key)
    }
}

impl<K: Copy + Ord> Default for Timers<K> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs an origin to count from")]
    use super::*;
    use std::time::Duration;

    #[test]
    fn keys_expire_in_order_of_their_latest_deadline() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut timers = Timers::new();
        for (key, s) in [(1, 5), (2, 3), (3, 4), (1, 2)] {
            timers.set(key, at(s));
        }
        timers.cancel(3);
        assert_eq!(timers.next(), Some(at(2)));
        assert_eq!(timers.expire(at(1)), None);
        assert_eq!(
            [timers.expire(at(9)), timers.expire(at(9)), timers.expire(at(9))],
            [Some(1), Some(2), None]
        );
    }
}
