use std::time::Duration;

/// A smoothed round-trip time with its variation (RFC 6298: weights 1/8 and 1/4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rtt {
    estimate: Option<(Duration, Duration)>,
}

impl Rtt {
    /// Adds a measurement of an exchange that was sent once; of others nobody knows which sending was answered.
    pub fn add(&mut self, sample: Duration) {
        self.estimate = Some(match self.estimate {
            None => (sample, sample / 2),
            Some((smoothed, variation)) => {
                let deviation = smoothed.abs_diff(sample);
                ((smoothed * 7 + sample) / 8, (variation * 3 + deviation) / 4)
            }
        });
    }

    /// Returns the smoothed round trip, once there was a sample.
    #[must_use]
    pub fn smoothed(&self) -> Option<Duration> {
        self.estimate.map(|(smoothed, _)| smoothed)
    }

    /// Returns how long to wait before sending again: four variations above the smoothed time, within limits.
    #[must_use]
    pub fn patience(&self, min: Duration, max: Duration) -> Duration {
        self.estimate.map_or(max, |(smoothed, variation)| (smoothed + variation * 4).clamp(min, max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_follow_the_arithmetic_of_rfc_6298() {
        let ms = Duration::from_millis;
        let mut rtt = Rtt::default();
        assert_eq!(rtt.patience(ms(250), ms(1000)), ms(1000));
        rtt.add(ms(80));
        assert_eq!((rtt.smoothed(), rtt.patience(ms(0), ms(1000))), (Some(ms(80)), ms(80 + 4 * 40)));
        rtt.add(ms(160));
        // smoothed (7 * 80 + 160) / 8 = 90, variation (3 * 40 + 80) / 4 = 50
        assert_eq!((rtt.smoothed(), rtt.patience(ms(0), ms(1000))), (Some(ms(90)), ms(290)));
        assert_eq!(rtt.patience(ms(300), ms(1000)), ms(300));
        assert_eq!(rtt.patience(ms(0), ms(200)), ms(200));
    }
}
