//! Time as people's devices claim it, and an order that survives wrong clocks.

use std::time::Instant;

use crate::bytes::{DecodeError, Reader, Writer};

/// Milliseconds since 1970 by some device's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// Milliseconds of a day, for topics that change daily.
    pub const DAY: u64 = 86_400_000;

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        r.u64().map(Self)
    }

    pub(crate) fn write(self, w: &mut Writer) {
        w.u64(self.0);
    }
}

/// The two clocks that a machine is given.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For timers: never goes back.
    pub instant: Instant,
    /// For what is signed: what others compare with theirs.
    pub wall: UnixMillis,
}

/// A hybrid time: milliseconds in the upper 48 bits, a count in the lower 16.
///
/// Whoever writes after having seen something writes a later time, whatever the clocks say. It orders what people
/// see; it never decides what is valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hlc(pub u64);

impl Hlc {
    /// The milliseconds.
    #[must_use]
    pub const fn millis(self) -> UnixMillis {
        UnixMillis(self.0 >> 16)
    }
}

/// How far ahead of ours a claimed time may be before it is shown as doubtful and moves no clock of ours.
const AHEAD_MAX_MS: u64 = UnixMillis::DAY;

/// Makes hybrid times.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    last: Hlc,
}

impl Clock {
    /// The next time, after all that was seen.
    pub(crate) fn tick(&mut self, now: UnixMillis) -> Hlc {
        let physical = Hlc(now.0.min((1 << 48) - 1) << 16);
        self.last = physical.max(Hlc(self.last.0.saturating_add(1)));
        self.last
    }

    /// Takes note of a time that others claim.
    pub(crate) fn see(&mut self, now: UnixMillis, claimed: Hlc) {
        if !is_doubtful(now, claimed) {
            self.last = self.last.max(claimed);
        }
    }

    /// Takes note of a time of our own, which the next must follow even if the clock went back since.
    pub(crate) fn resume(&mut self, own: Hlc) {
        self.last = self.last.max(own);
    }
}

/// Whether a claimed time is more than a day ahead.
pub(crate) fn is_doubtful(now: UnixMillis, claimed: Hlc) -> bool {
    claimed.millis().0 > now.0.saturating_add(AHEAD_MAX_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_after_something_seen_is_later_though_the_clock_is_behind() {
        let mut clock = Clock::default();
        let seen = Hlc(5_000 << 16 | 7);
        clock.see(UnixMillis(1_000), seen);
        assert_eq!(clock.tick(UnixMillis(1_000)), Hlc(5_000 << 16 | 8));
        assert_eq!(clock.tick(UnixMillis(6_000)), Hlc(6_000 << 16));
        assert_eq!(clock.tick(UnixMillis(5_999)), Hlc(6_000 << 16 | 1));
    }

    #[test]
    fn a_time_from_a_far_future_moves_no_clock() {
        let mut clock = Clock::default();
        clock.see(UnixMillis(1_000), Hlc(u64::MAX));
        assert_eq!(clock.tick(UnixMillis(1_000)), Hlc(1_000 << 16));
    }
}
