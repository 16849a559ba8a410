use std::collections::VecDeque;
use std::sync::Arc;

use node::Snapshot;

/// What is remembered over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "`Series::title` says what each is")]
pub enum Series {
    Nodes,
    Peers,
    BytesIn,
    BytesOut,
    Requests,
    Served,
    Unanswered,
    RoundTrip,
    Walks,
    Memory,
}

impl Series {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Nodes,
        Self::Peers,
        Self::BytesIn,
        Self::BytesOut,
        Self::Requests,
        Self::Served,
        Self::Unanswered,
        Self::RoundTrip,
        Self::Walks,
        Self::Memory,
    ];

    /// Says what it is, with its unit.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Nodes => "DHT nodes in the table",
            Self::Peers => "peers connected",
            Self::BytesIn => "received, bytes a second",
            Self::BytesOut => "sent, bytes a second",
            Self::Requests => "own requests a second",
            Self::Served => "requests of others answered a second",
            Self::Unanswered => "own requests given up, percent",
            Self::RoundTrip => "mean answer time, ms",
            Self::Walks => "walks under way",
            Self::Memory => "memory of the process, MiB",
        }
    }
}

/// How far back a chart looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// Ten minutes, a point a second.
    Minutes,
    /// Six hours, a point every ten seconds.
    Hours,
    /// Seven days, a point a minute.
    Days,
}

impl Range {
    /// Points kept, and how many of the next finer range make one.
    const fn shape(self) -> (usize, usize) {
        match self {
            Self::Minutes => (600, 1),
            Self::Hours => (2_160, 10),
            Self::Days => (10_080, 6),
        }
    }
}

type Ring = Arc<VecDeque<f32>>;

/// What was, at three resolutions; a clone shares the points. A point that was not measured is not a number.
#[derive(Clone, Debug, Default)]
pub struct History {
    rings: [[Ring; 3]; Series::ALL.len()],
    last: Option<Totals>,
    samples: usize,
}

/// Counters that only grow.
#[derive(Clone, Copy, Debug)]
struct Totals {
    taken_ms: u64,
    bytes_in: u64,
    bytes_out: u64,
    requests: u64,
    served: u64,
    responses: u64,
    timeouts: u64,
    sum_us: u64,
}

impl Totals {
    fn of(snapshot: &Snapshot) -> Self {
        Self {
            taken_ms: snapshot.process.uptime_ms,
            bytes_in: snapshot.sockets.iter().map(|socket| socket.bytes_in).sum(),
            bytes_out: snapshot.sockets.iter().map(|socket| socket.bytes_out).sum(),
            requests: snapshot.requests.total,
            served: snapshot.served.named().iter().map(|(_, n)| n).sum(),
            responses: snapshot.requests.responses,
            timeouts: snapshot.requests.timeouts,
            sum_us: snapshot.round_trips.sum_us,
        }
    }
}

impl History {
    /// Takes a snapshot, once a second.
    pub fn add(&mut self, snapshot: &Snapshot) {
        let totals = Totals::of(snapshot);
        let points = self.last.replace(totals).map(|before| points(snapshot, before, totals));
        self.samples += 1;
        for (rings, value) in self.rings.iter_mut().zip(points.unwrap_or([f32::NAN; Series::ALL.len()])) {
            push(&mut rings[0], value, Range::Minutes);
            if self.samples.is_multiple_of(10) {
                let mean = mean(rings[0].iter().rev().take(Range::Hours.shape().1));
                push(&mut rings[1], mean, Range::Hours);
            }
            if self.samples.is_multiple_of(60) {
                let mean = mean(rings[1].iter().rev().take(Range::Days.shape().1));
                push(&mut rings[2], mean, Range::Days);
            }
        }
    }

    /// Returns the points of one series, oldest first.
    pub fn points(&self, series: Series, range: Range) -> impl DoubleEndedIterator<Item = f32> + '_ {
        self.rings[series as usize][range as usize].iter().copied()
    }

    /// Returns the latest point, if it was measured.
    pub fn latest(&self, series: Series) -> Option<f32> {
        self.points(series, Range::Minutes).next_back().filter(|value| !value.is_nan())
    }
}

fn push(ring: &mut Ring, value: f32, range: Range) {
    let ring = Arc::make_mut(ring);
    if ring.len() == range.shape().0 {
        ring.pop_front();
    }
    ring.push_back(value);
}

fn mean<'a>(values: impl Iterator<Item = &'a f32>) -> f32 {
    let (sum, count) = values
        .filter(|value| !value.is_nan())
        .fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    sum / count
}

#[expect(clippy::cast_precision_loss, reason = "charts show three digits of what was measured")]
fn points(snapshot: &Snapshot, before: Totals, now: Totals) -> [f32; Series::ALL.len()] {
    let seconds = now.taken_ms.saturating_sub(before.taken_ms).max(1) as f32 / 1e3;
    let rate = |of: fn(&Totals) -> u64| of(&now).saturating_sub(of(&before)) as f32 / seconds;
    let answered = now.responses.saturating_sub(before.responses) as f32;
    let given_up = now.timeouts.saturating_sub(before.timeouts) as f32;
    let waited_ms = now.sum_us.saturating_sub(before.sum_us) as f32 / 1e3;
    [
        snapshot.nodes.known as f32,
        snapshot.peers.connected as f32,
        rate(|totals| totals.bytes_in),
        rate(|totals| totals.bytes_out),
        rate(|totals| totals.requests),
        rate(|totals| totals.served),
        // Without requests there is no share, which is not zero.
        100.0 * given_up / (answered + given_up),
        waited_ms / answered,
        snapshot.queries.active as f32,
        snapshot.process.resident_bytes.map_or(f32::NAN, |bytes| bytes as f32 / 1_048_576.0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_are_bounded_and_coarser_points_are_means_of_finer_ones() {
        let mut ring = Ring::default();
        for n in 0..700_u16 {
            push(&mut ring, n.into(), Range::Minutes);
        }
        assert_eq!((ring.len(), ring.front(), ring.back()), (600, Some(&100.0), Some(&699.0)));
        assert!((mean([1.0, f32::NAN, 3.0].iter()) - 2.0).abs() < 1e-6);
        assert!(mean([f32::NAN].iter()).is_nan());
    }
}
