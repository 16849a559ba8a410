use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;

/// A probability in millionths, so that a run does not hang on how a machine rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millionths(u32);

impl Millionths {
    /// Never.
    pub const NEVER: Self = Self(0);
    /// Every time.
    pub const ALWAYS: Self = Self(1_000_000);

    /// Returns so many per cent, at most 100.
    #[must_use]
    pub const fn percent(percent: u32) -> Self {
        if percent > 100 { Self::ALWAYS } else { Self(percent * 10_000) }
    }

    /// Returns the share of `count`, rounded down.
    #[must_use]
    pub fn of(self, count: usize) -> usize {
        let share = u64::try_from(count).unwrap_or(u64::MAX).saturating_mul(self.0.into()) / 1_000_000;
        usize::try_from(share).unwrap_or(usize::MAX)
    }

    pub(crate) fn happens(self, rng: &mut StdRng) -> bool {
        self.0 > 0 && rng.random_ratio(self.0, Self::ALWAYS.0)
    }
}

/// How long a datagram takes one way, before jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latency {
    /// The same between all.
    Fixed(Duration),
    /// By distance on a map on which every network has a random place: `near` for neighbours, `far` for
    /// opposite corners.
    Map {
        /// The least.
        near: Duration,
        /// The most.
        far: Duration,
    },
}

/// One direction between two networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// The least time one way.
    pub latency: Latency,
    /// Most additional time, uniformly distributed; datagrams closer together than that change order.
    pub jitter: Duration,
    /// How often a datagram is lost.
    pub loss: Millionths,
    /// How often a datagram arrives twice.
    pub duplication: Millionths,
    /// How often a datagram is held back by `hold`, behind those sent after it.
    pub reordering: Millionths,
    /// How long such a datagram is held back.
    pub hold: Duration,
}

impl Path {
    /// A faultless internet with round trips of 20 to 120 ms.
    pub const INTERNET: Self = Self {
        latency: Latency::Map { near: Duration::from_millis(10), far: Duration::from_millis(60) },
        jitter: Duration::from_millis(2),
        loss: Millionths::NEVER,
        duplication: Millionths::NEVER,
        reordering: Millionths::NEVER,
        hold: Duration::from_millis(100),
    };
    /// A local network.
    pub const LAN: Self = Self {
        latency: Latency::Fixed(Duration::from_micros(300)),
        jitter: Duration::from_micros(200),
        ..Self::INTERNET
    };

    /// Returns the same path with another loss.
    #[must_use]
    pub const fn with_loss(self, loss: Millionths) -> Self {
        Self { loss, ..self }
    }

    pub(crate) fn delay(&self, distance: f64, rng: &mut StdRng) -> Duration {
        let least = match self.latency {
            Latency::Fixed(latency) => latency,
            Latency::Map { near, far } => near + far.saturating_sub(near).mul_f64(distance),
        };
        let held = if self.reordering.happens(rng) { self.hold } else { Duration::ZERO };
        least + held + rng.random_range(Duration::ZERO..=self.jitter)
    }
}

/// A place on the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    x: u16,
    y: u16,
}

impl Place {
    pub(crate) const CENTRE: Self = Self { x: u16::MAX / 2, y: u16::MAX / 2 };

    pub(crate) fn random(rng: &mut StdRng) -> Self {
        Self { x: rng.random(), y: rng.random() }
    }

    /// Returns the distance as a share of the map's diagonal.
    pub(crate) fn distance(self, other: Self) -> f64 {
        let side = |a: u16, b: u16| f64::from(a.abs_diff(b)) / f64::from(u16::MAX);
        let (x, y) = (side(self.x, other.x), side(self.y, other.y));
        f64::midpoint(x * x, y * y).sqrt()
    }
}
