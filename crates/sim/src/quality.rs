use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddrV4;
use std::time::Duration;

use dht::{Event, OperationId, Outcome, Task, Walked};

use crate::net::{HostId, Millionths, Path};
use crate::population::Population;
use crate::report::{Failure, Report};

/// A network to measure, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Gives the same run again.
    pub seed: u64,
    /// Nodes in the network.
    pub nodes: usize,
    /// How many of them fall silent just before the lookups, so that tables are full of dead nodes.
    pub silent: Millionths,
    /// Datagrams lost on every path.
    pub loss: Millionths,
    /// Lookups to make, each from a random node to a random point.
    pub lookups: usize,
    /// Between two nodes that come, and between two lookups that begin.
    pub interval: Duration,
    /// How long the network is left alone between its growth and the silence.
    pub rest: Duration,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            seed: 1,
            nodes: 1000,
            silent: Millionths::percent(20),
            loss: Millionths::percent(2),
            lookups: 200,
            interval: Duration::from_millis(100),
            rest: Duration::from_mins(5),
        }
    }
}

/// What a network's lookups are worth.
#[derive(Clone, Debug)]
pub struct Quality {
    /// Each lookup that ended.
    pub lookups: Vec<Figures>,
    /// Lookups that did not end.
    pub unfinished: usize,
    /// Nodes that answered while the lookups were made.
    pub answering: usize,
    /// The whole run.
    pub report: Report,
}

/// One lookup, against the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// The closest nodes that it should have found; 20 unless the network is smaller.
    pub wanted: u64,
    /// Those of them that it found.
    pub found: u64,
    /// Answers that led to the last of them.
    pub hops: u64,
    /// Requests made, without repetitions.
    pub requests: u64,
    /// Requests that were never answered.
    pub timeouts: u64,
    /// Virtual time.
    pub elapsed: Duration,
}

impl Figures {
    /// Counts the nodes that it should have found and did not.
    #[must_use]
    pub const fn missing(&self) -> u64 {
        self.wanted - self.found
    }
}

/// Longest that a lookup may take before the measurement gives it up.
const LOOKUP_MAX: Duration = Duration::from_mins(1);

impl Plan {
    /// Grows the network and measures it.
    ///
    /// # Errors
    ///
    /// Fails when the network does not come about.
    pub fn run(&self) -> Result<Quality, Failure> {
        let path = Path::INTERNET.with_loss(self.loss);
        let mut population = Population::grow(self.seed, path, self.nodes, self.interval)?;
        population.world.run_for(self.rest)?;
        population.silence(self.silent.of(self.nodes));
        let truth = population.roster();
        let mut running = BTreeMap::new();
        let mut lookups = Vec::new();
        for _ in 0..self.lookups {
            let (host, target) = (population.any_host(), population.any_target());
            let task = Task::FindNode { target };
            let operation = population.world.call(host, |node, now| node.start(now, task));
            let asker = SocketAddrV4::new(population.world.net().address(host), dht::Config::PORT);
            running.insert((host, operation), truth.closest(&target, Some(asker)));
            population.world.run_for(self.interval)?;
            gather(&mut population, &mut running, &mut lookups);
        }
        for _ in 0..LOOKUP_MAX.as_secs() {
            population.world.run_for(Duration::from_secs(1))?;
            gather(&mut population, &mut running, &mut lookups);
        }
        let report = population.world.report();
        Ok(Quality { lookups, unfinished: running.len(), answering: truth.len(), report })
    }
}

fn gather(
    population: &mut Population,
    running: &mut BTreeMap<(HostId, OperationId), Vec<SocketAddrV4>>,
    lookups: &mut Vec<Figures>,
) {
    for raised in population.world.take_events() {
        let Event::Finished { operation, outcome } = raised.event else { continue };
        let Some(wanted) = running.remove(&(raised.host, operation)) else { continue };
        let walked = if let Outcome::Walked(walked) = outcome { walked } else { Walked::default() };
        let found = wanted.iter().filter(|address| walked.closest.contains(address)).count();
        let walk = walked.figures;
        lookups.push(Figures {
            wanted: count(wanted.len()),
            found: count(found),
            hops: walk.hops.into(),
            requests: walk.requests,
            timeouts: walk.timeouts,
            elapsed: walk.elapsed,
        });
    }
}

impl Quality {
    /// Returns the share of all lookups that miss at most `missing` of the true closest nodes, from 0 to 1.
    #[must_use]
    pub fn share_missing_at_most(&self, missing: u64) -> f64 {
        let good = self.lookups.iter().filter(|lookup| lookup.missing() <= missing).count();
        share(good, self.lookups.len() + self.unfinished)
    }

    /// Returns the longest lookup's duration.
    #[must_use]
    pub fn slowest(&self) -> Duration {
        self.lookups.iter().map(|lookup| lookup.elapsed).max().unwrap_or_default()
    }

    fn column(&self, figure: impl Fn(&Figures) -> u64) -> Spread {
        let mut values: Vec<u64> = self.lookups.iter().map(figure).collect();
        values.sort_unstable();
        Spread(values)
    }
}

/// Values in ascending order.
struct Spread(Vec<u64>);

impl Spread {
    /// Returns the least value that `percent` of all do not exceed.
    fn percentile(&self, percent: usize) -> u64 {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }
}

impl fmt::Display for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ended = self.lookups.len();
        writeln!(f, "nodes answering  {}", self.answering)?;
        writeln!(f, "lookups          {ended} ended, {} did not", self.unfinished)?;
        for (missing, name) in [(0, "all of 20 found"), (1, "at most 1 missing"), (2, "at most 2 missing")] {
            writeln!(f, "{name:<16} {:.1} %", 100.0 * self.share_missing_at_most(missing))?;
        }
        writeln!(f, "\n{:<12}{:>8}{:>8}{:>8}{:>8}{:>8}", "per lookup", "min", "p50", "p90", "p99", "max")?;
        let columns = [
            ("found", self.column(|lookup| lookup.found)),
            ("hops", self.column(|lookup| lookup.hops)),
            ("requests", self.column(|lookup| lookup.requests)),
            ("timeouts", self.column(|lookup| lookup.timeouts)),
            ("time, ms", self.column(|lookup| u64::try_from(lookup.elapsed.as_millis()).unwrap_or(u64::MAX))),
        ];
        for (name, spread) in columns {
            let [min, p50, p90, p99, max] = [0, 50, 90, 99, 100].map(|percent| spread.percentile(percent));
            writeln!(f, "{name:<12}{min:>8}{p50:>8}{p90:>8}{p99:>8}{max:>8}")?;
        }
        write!(f, "\n{}", self.report)
    }
}

fn share(part: usize, whole: usize) -> f64 {
    let number = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    if whole == 0 { 0.0 } else { number(part) / number(whole) }
}

fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let spread = Spread((1..=200).collect());
        assert_eq!([0, 50, 90, 99, 100].map(|percent| spread.percentile(percent)), [1, 100, 180, 198, 200]);
        assert_eq!(Spread(vec![]).percentile(50), 0);
        assert_eq!(Spread(vec![7]).percentile(1), 7);
    }
}
