use std::time::{Duration, Instant};

/// The time that machines are given: monotonic, and it goes on while the computer sleeps.
///
/// `Instant` stops during a suspend on Linux, so a laptop that slept for an hour would believe its peers were
/// asked a moment ago. Instants of this clock are made from a start and the time since boot; two clocks of
/// one process agree to the microsecond until the computer sleeps, so a machine is always given the same one.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    boot: Duration,
}

impl Clock {
    /// Starts a clock at the present moment.
    pub fn start() -> Self {
        let start = Instant::now();
        Self { start, boot: since_boot().unwrap_or_default() }
    }

    /// Returns the present moment.
    pub fn now(&self) -> Instant {
        since_boot().map_or_else(Instant::now, |boot| self.start + boot.saturating_sub(self.boot))
    }

    /// Returns how long from now until `deadline`, zero where it has passed.
    pub fn until(&self, deadline: Instant) -> Duration {
        deadline.saturating_duration_since(self.now())
    }

    /// Returns the time since the clock was started, sleep included.
    pub fn elapsed(&self) -> Duration {
        self.now().saturating_duration_since(self.start)
    }
}

#[cfg(target_os = "linux")]
fn since_boot() -> Option<Duration> {
    nix::time::ClockId::CLOCK_BOOTTIME.now().ok().map(Duration::from)
}

/// Other systems' `Instant` counts sleep, or has no counterpart that does.
#[cfg(not(target_os = "linux"))]
fn since_boot() -> Option<Duration> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_agrees_with_instant_while_awake_and_never_runs_backwards() {
        let clock = Clock::start();
        let before = Instant::now();
        let mut last = clock.now();
        for _ in 0..1000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
        let difference = last.saturating_duration_since(before);
        assert!(difference < Duration::from_secs(5), "{difference:?}");
        assert_eq!(clock.until(before), Duration::ZERO);
    }
}
