use std::time::{Duration, Instant};

/// Hosts read their clock once for a batch, so that an interval may seem to have no length.
const INTERVAL_MIN: Duration = Duration::from_micros(1);

/// Packets in a thousand seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rate(pub(crate) u64);

impl Rate {
    pub(crate) fn of(packets: u64, time: Duration) -> Self {
        let nanos = time.as_nanos().max(1);
        Self(u64::try_from(u128::from(packets) * 1_000_000_000_000 / nanos).unwrap_or(u64::MAX))
    }

    /// Packets that this rate carries in `time`, in thousandths.
    pub(crate) fn carries(self, time: Duration) -> u64 {
        u64::try_from(u128::from(self.0) * time.as_nanos() / 1_000_000_000).unwrap_or(u64::MAX)
    }
}

/// What a packet remembers of the moment it left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Departure {
    sent_at: Instant,
    /// When the first packet of the sample left.
    first_sent_at: Instant,
    delivered: u64,
    delivered_at: Instant,
    limit: Limit,
    /// Counts the paths of the stream: what happened on another one says nothing about this.
    pub(crate) epoch: u32,
}

/// What held the sender back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// The path.
    Network,
    /// The application had no more to send, so a sample may be less than the path carries.
    Application,
}

/// The delivery rate seen at one acknowledgement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) rate: Rate,
    /// Packets delivered before the newest delivered one left.
    pub(crate) prior_delivered: u64,
    pub(crate) limit: Limit,
}

/// Measures how fast packets are delivered (draft-cheng-iccrg-delivery-rate-estimation).
#[derive(Debug)]
pub(crate) struct Delivery {
    delivered: u64,
    delivered_at: Instant,
    first_sent_at: Instant,
    /// Samples are limited by the application until as many packets were delivered.
    limited_until: u64,
    epoch: u32,
    newest: Option<Departure>,
}

impl Delivery {
    pub(crate) const fn new(now: Instant, epoch: u32) -> Self {
        Self { delivered: 0, delivered_at: now, first_sent_at: now, limited_until: 0, epoch, newest: None }
    }

    pub(crate) const fn epoch(&self) -> u32 {
        self.epoch
    }

    pub(crate) const fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Notes a packet that leaves while `flying` others are on their way.
    pub(crate) fn depart(&mut self, now: Instant, flying: u64) -> Departure {
        if flying == 0 {
            (self.first_sent_at, self.delivered_at) = (now, now);
        }
        Departure {
            sent_at: now,
            first_sent_at: self.first_sent_at,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            limit: if self.limited_until > 0 { Limit::Application } else { Limit::Network },
            epoch: self.epoch,
        }
    }

    /// Notes a packet that arrived, if it came by this path.
    pub(crate) fn deliver(&mut self, now: Instant, packet: &Departure) {
        if packet.epoch != self.epoch {
            return;
        }
        self.delivered += 1;
        self.delivered_at = now;
        if self.newest.is_none_or(|newest| packet.delivered >= newest.delivered) {
            self.newest = Some(*packet);
            self.first_sent_at = packet.sent_at;
        }
    }

    /// Notes that the application has nothing to send while `flying` packets are on their way.
    pub(crate) fn starve(&mut self, flying: u64) {
        self.limited_until = (self.delivered + flying).max(1);
    }

    /// Ends an acknowledgement: what do its packets say about the path? One that seems faster than light says
    /// nothing.
    pub(crate) fn sample(&mut self, now: Instant, min_rtt: Duration) -> Option<Sample> {
        if self.delivered > self.limited_until {
            self.limited_until = 0;
        }
        let newest = self.newest.take()?;
        let send = newest.sent_at.saturating_duration_since(newest.first_sent_at);
        let interval = send.max(now.saturating_duration_since(newest.delivered_at));
        (interval >= min_rtt).then(|| Sample {
            rate: Rate::of(self.delivered - newest.delivered, interval.max(INTERVAL_MIN)),
            prior_delivered: newest.delivered,
            limit: newest.limit,
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs an origin to count from")]
    use super::*;

    #[test]
    fn ten_packets_in_a_round_trip_of_40_ms_are_250_a_second() {
        let start = Instant::now();
        let mut delivery = Delivery::new(start, 0);
        let first = delivery.depart(start, 0);
        let others: Vec<_> = (1..10).map(|n| delivery.depart(start, n)).collect();
        let later = start + Duration::from_millis(40);
        for packet in std::iter::once(&first).chain(&others) {
            delivery.deliver(later, packet);
        }
        let sample = delivery.sample(later, Duration::from_millis(40)).unwrap();
        assert_eq!((sample.rate, sample.prior_delivered), (Rate(250_000), 0));
        assert_eq!(sample.rate.carries(Duration::from_millis(40)), 10_000);
    }

    #[test]
    fn an_acknowledgement_faster_than_the_round_trip_is_no_sample() {
        let start = Instant::now();
        let mut delivery = Delivery::new(start, 0);
        let packet = delivery.depart(start, 0);
        let later = start + Duration::from_millis(1);
        delivery.deliver(later, &packet);
        assert!(delivery.sample(later, Duration::from_millis(40)).is_none());
    }

    #[test]
    fn packets_sent_while_the_application_is_idle_are_marked() {
        let start = Instant::now();
        let mut delivery = Delivery::new(start, 0);
        delivery.starve(0);
        let marked = delivery.depart(start, 0);
        let later = start + Duration::from_millis(10);
        delivery.deliver(later, &marked);
        assert_eq!(delivery.sample(later, Duration::ZERO).unwrap().limit, Limit::Application);
        let plain = delivery.depart(later, 0);
        assert_eq!(plain.limit, Limit::Application, "the marked one was the first delivered");
        delivery.deliver(later + Duration::from_millis(10), &plain);
        assert!(delivery.sample(later + Duration::from_millis(10), Duration::ZERO).is_some());
        assert_eq!(delivery.depart(later, 0).limit, Limit::Network);
    }
}
