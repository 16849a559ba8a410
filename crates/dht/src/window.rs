use std::time::{Duration, Instant};

const SLOTS: usize = 4;

/// The congestion window of `dht-rpc` (`lib/io.js`): how many requests may leave in one slot of time, and
/// twice that over the last four slots.
#[derive(Debug)]
pub(crate) struct Window {
    slots: [usize; SLOTS],
    at: usize,
    total: usize,
    max: usize,
    span: Duration,
    turn: Instant,
}

impl Window {
    pub(crate) fn new(max: usize, span: Duration, now: Instant) -> Self {
        Self { slots: [0; SLOTS], at: 0, total: 0, max, span, turn: now + span }
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.slots[self.at] >= self.max || self.total >= 2 * self.max
    }

    pub(crate) const fn send(&mut self) {
        self.slots[self.at] += 1;
        self.total += 1;
    }

    /// Gives a place back when an exchange ended in the slot that it began in.
    pub(crate) const fn end(&mut self) {
        if self.slots[self.at] > 0 {
            self.slots[self.at] -= 1;
            self.total -= 1;
        }
    }

    /// Passes to the slot that `now` is in.
    pub(crate) fn catch_up(&mut self, now: Instant) {
        if now.saturating_duration_since(self.turn) >= self.span * 4 {
            (self.slots, self.total) = ([0; SLOTS], 0);
            self.turn = now + self.span;
        }
        while self.turn <= now {
            self.advance();
            self.turn += self.span;
        }
    }

    /// Returns when the next slot begins.
    pub(crate) const fn turn(&self) -> Instant {
        self.turn
    }

    const fn advance(&mut self) {
        self.at = (self.at + 1) % SLOTS;
        self.total -= self.slots[self.at];
        self.slots[self.at] = 0;
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs an origin to count from")]
    use super::*;
    use crate::key::tests::vector;

    #[test]
    fn the_window_fills_and_drains_as_the_reference_does() {
        let vectors = vector("state-machines");
        let rows = vectors["congestionWindow"]["log"].as_array().unwrap();
        assert!(rows.len() > 10);
        let span = Duration::from_millis(750);
        let mut now = Instant::now();
        let mut window = Window::new(3, span, now);
        for row in rows {
            match row["op"].as_str().unwrap() {
                "send" => window.send(),
                "recv" => window.end(),
                _ => {
                    now += span;
                    window.catch_up(now);
                }
            }
            let slots: Vec<usize> = serde_json::from_value(row["window"].clone()).unwrap();
            assert_eq!(
                (window.total, window.slots.to_vec()),
                (usize::try_from(row["total"].as_u64().unwrap()).unwrap(), slots)
            );
            assert_eq!(window.is_full(), row["full"].as_bool().unwrap());
        }
    }
}
