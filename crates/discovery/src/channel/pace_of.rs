use std::time::Duration;

use super::Source;

/// How often a mechanism is asked, and when what it said is old.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Between the first look-up and the second; each next wait is twice as long.
    pub(super) first: Duration,
    /// Between look-ups in the end, for ever; a sixth at most is added by chance.
    pub(super) steady: Duration,
    /// Between announcements, where they expire and nobody else renews them; a sixth at most is added by chance.
    pub(super) announce: Option<Duration>,
    /// How long a peer is believed to be there without being seen.
    pub(super) lost: Duration,
    /// After how long without being seen a peer is asked for out of turn, as the question may have been lost.
    pub(super) doubted: Duration,
}

impl Pace {
    /// The pace of one mechanism.
    pub(super) const fn of(source: Source) -> Self {
        let (secs, mins) = (Duration::from_secs, Duration::from_mins);
        match source {
            // Names may come to mean another host.
            Source::Static => Self {
                first: mins(5),
                steady: mins(10),
                announce: None,
                lost: Duration::MAX,
                doubted: Duration::MAX,
            },
            // `discovery-channel` asks every 60 to 70 s; nobody on the link keeps anything, so nothing is renewed.
            Source::Mdns => {
                Self { first: secs(1), steady: secs(60), announce: None, lost: secs(150), doubted: secs(75) }
            }
            // Announcements last three minutes on our servers, for ever on the reference's.
            Source::Dns => Self {
                first: secs(5),
                steady: secs(60),
                announce: Some(secs(60)),
                lost: secs(180),
                doubted: Duration::MAX,
            },
            // Nodes keep an announcement for 30 to 45 minutes; `discovery-channel` renews it after 10 to 15.
            Source::Mainline => Self {
                first: secs(15),
                steady: mins(10),
                announce: Some(mins(10)),
                lost: mins(30),
                doubted: Duration::MAX,
            },
            // The node renews what it announces by itself.
            Source::Hyper => Self {
                first: secs(15),
                steady: mins(10),
                announce: None,
                lost: mins(30),
                doubted: Duration::MAX,
            },
        }
    }

    /// The wait after the `begun`-th look-up, 1 for the first.
    pub(super) fn after(&self, begun: u32, chance: f64) -> Duration {
        let doubled = self.first.saturating_mul(1 << begun.saturating_sub(1).min(20));
        doubled.min(self.steady).mul_f64(1.0 + chance / 6.0)
    }

    /// The wait before an announcement is renewed.
    pub(super) fn renew(&self, chance: f64) -> Option<Duration> {
        self.announce.map(|wait| wait.mul_f64(1.0 + chance / 6.0))
    }

    /// The wait before an announcement that failed is tried again.
    pub(super) fn retry(&self, failures: u32) -> Duration {
        let wait = self.first.saturating_mul(1 << failures.min(20));
        wait.min(self.announce.unwrap_or(self.steady))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_ups_become_rarer_and_then_go_on_steadily() {
        let pace = Pace::of(Source::Mdns);
        let waits: Vec<_> = (1..=9).map(|begun| pace.after(begun, 0.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        // As the reference: 60 to 70 seconds.
        assert_eq!(pace.after(u32::MAX, 1.0).as_secs(), 70);
    }

    #[test]
    fn announcements_are_renewed_long_before_they_expire() {
        // Mainline nodes of other makers keep one for 30 minutes at least.
        let latest = Pace::of(Source::Mainline).renew(1.0).unwrap();
        assert!(latest * 2 < Duration::from_mins(30), "{latest:?}");
        assert!(Pace::of(Source::Dns).renew(1.0).unwrap() <= Duration::from_secs(70));
    }
}
