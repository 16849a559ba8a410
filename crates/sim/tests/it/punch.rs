//! Two punchers behind every pair of NAT kinds, against the times that they shall have (specification of the
//! monitor, B2): hosts 20 ms from each node, 40 ms from each other.

#![expect(clippy::print_stderr, reason = "the figures are half of the result")]

mod lab;

use std::time::Duration;

use peer::{Pace, Prediction, PunchConfig, Strategy};
use sim::{Allocation, Dependence, NatConfig};

use lab::{Chain, Opened, Stopped, Trial, Why};

const FULL_CONE: Chain = &[NatConfig::OPEN];
const ADDRESS_RESTRICTED: Chain = &[NatConfig { filtering: Dependence::Address, ..NatConfig::HOME }];
const HOME: Chain = &[NatConfig::HOME];
const REMAPPED: NatConfig = NatConfig { allocation: Allocation::Random, ..NatConfig::HOME };
const PORT_REMAPPED: Chain = &[REMAPPED];
/// A home router behind a carrier's.
const CARRIER: Chain = &[NatConfig::HOME, REMAPPED];
const SYMMETRIC: Chain = &[NatConfig::SYMMETRIC];
const BY_ADDRESS: Chain = &[NatConfig { mapping: Dependence::Address, ..NatConfig::SYMMETRIC }];
const BEHIND_SYMMETRIC: Chain = &[NatConfig::HOME, NatConfig::SYMMETRIC];
const NUMBERED: NatConfig = NatConfig { allocation: Allocation::Sequential, ..NatConfig::SYMMETRIC };
const SEQUENTIAL: Chain = &[NUMBERED];
const BEHIND_SEQUENTIAL: Chain = &[NatConfig::HOME, NUMBERED];

const EASY: [Chain; 5] = [FULL_CONE, ADDRESS_RESTRICTED, HOME, PORT_REMAPPED, CARRIER];
const OPENING: [Chain; 2] = [FULL_CONE, ADDRESS_RESTRICTED];
const RESTRICTED: [Chain; 3] = [HOME, PORT_REMAPPED, CARRIER];
const DRAWN: [Chain; 3] = [SYMMETRIC, BY_ADDRESS, BEHIND_SYMMETRIC];
const COUNTED: [Chain; 2] = [SEQUENTIAL, BEHIND_SEQUENTIAL];
const HARD: [Chain; 5] = [SYMMETRIC, BY_ADDRESS, BEHIND_SYMMETRIC, SEQUENTIAL, BEHIND_SEQUENTIAL];

/// All trials of a class.
struct Class {
    times: Vec<Duration>,
    failures: Vec<Stopped>,
    by: Vec<Option<Strategy>>,
}

impl Class {
    fn run(
        name: &str,
        pairs: impl IntoIterator<Item = (Chain, Chain)>,
        seeds: u64,
        set: fn(&mut Trial),
    ) -> Self {
        let mut class = Self { times: Vec::new(), failures: Vec::new(), by: Vec::new() };
        for (pair, (server, client)) in (0..).zip(pairs) {
            for seed in 0..seeds {
                let mut trial = Trial::new(server, client);
                set(&mut trial);
                match trial.run(1000 * pair + seed) {
                    Ok(Opened { at, by }) => {
                        class.times.push(at);
                        class.by.push(by);
                    }
                    Err(stopped) => class.failures.push(stopped),
                }
            }
        }
        class.times.sort_unstable();
        let total = class.times.len() + class.failures.len();
        let [p50, p90, p99, max] = [50, 90, 99, 100].map(|percent| class.milliseconds(percent));
        eprintln!(
            "{name}: {}/{total} open; ms p50 {p50}, p90 {p90}, p99 {p99}, max {max}; first failure {:?}",
            class.times.len(),
            class.failures.first()
        );
        class
    }

    /// Counts failures as longer than anything.
    fn percentile(&self, percent: usize) -> Duration {
        let total = self.times.len() + self.failures.len();
        let place = (total * percent).div_ceil(100).saturating_sub(1);
        self.times.get(place).copied().unwrap_or(Duration::MAX)
    }

    fn milliseconds(&self, percent: usize) -> String {
        let time = Some(self.percentile(percent)).filter(|time| *time < Duration::MAX);
        time.map_or_else(|| "never".into(), |time| time.as_millis().to_string())
    }

    fn open_of_thousand(&self) -> usize {
        1000 * self.times.len() / (self.times.len() + self.failures.len())
    }
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn square(kinds: &[Chain]) -> Vec<(Chain, Chain)> {
    kinds.iter().flat_map(|one| kinds.iter().map(|other| (*one, *other))).collect()
}

/// Both ways.
fn between(some: &[Chain], others: &[Chain]) -> Vec<(Chain, Chain)> {
    let pairs = some.iter().flat_map(|one| others.iter().map(|other| (*one, *other)));
    pairs.flat_map(|(one, other)| [(one, other), (other, one)]).collect()
}

#[test]
fn two_consistent_nats_open_in_the_probe_round() {
    let class = Class::run("consistent", square(&EASY), 40, |_| {});
    assert_eq!(class.open_of_thousand(), 1000);
    assert!(class.percentile(50) <= ms(210) && class.percentile(99) <= ms(300));
}

#[test]
fn two_consistent_nats_open_with_losses_too() {
    for (loss, p90) in [(1, 300), (5, 600)] {
        let set =
            if loss == 1 { |trial: &mut Trial| trial.loss = 1 } else { |trial: &mut Trial| trial.loss = 5 };
        let class = Class::run(&format!("consistent, loss {loss} %"), square(&EASY), 40, set);
        assert_eq!(class.open_of_thousand(), 1000);
        assert!(class.percentile(90) <= ms(p90));
    }
}

#[test]
fn a_random_nat_opens_at_once_with_one_that_lets_in_known_hosts() {
    let class = Class::run("random, address-restricted", between(&HARD, &OPENING), 20, |_| {});
    assert_eq!(class.open_of_thousand(), 1000);
    assert!(class.percentile(50) <= ms(260));
}

#[test]
fn a_random_nat_opens_with_a_port_restricted_one_by_luck_within_two_seconds_at_the_median() {
    let class = Class::run("random, port-restricted", between(&DRAWN, &RESTRICTED), 20, |_| {});
    assert!(class.open_of_thousand() >= 990);
    assert!(class.percentile(50) <= ms(2000) && class.percentile(90) <= ms(5000));
}

#[test]
fn a_random_nat_opens_with_a_port_restricted_one_with_losses_too() {
    let class = Class::run("random, port-restricted, loss 5 %", between(&DRAWN, &RESTRICTED), 10, |trial| {
        trial.loss = 5;
    });
    assert!(class.open_of_thousand() >= 980);
    assert!(class.percentile(50) <= ms(2500));
}

#[test]
fn the_next_ports_of_a_nat_that_numbers_its_mappings_are_guessed() {
    let class = Class::run("sequential, port-restricted", between(&COUNTED, &RESTRICTED), 20, |trial| {
        trial.noise = 20;
    });
    assert_eq!(class.open_of_thousand(), 1000);
    assert!(class.percentile(99) <= ms(1000));
}

#[test]
fn two_nats_that_number_their_mappings_meet() {
    for (name, set) in [
        ("sequential", (|_| {}) as fn(&mut Trial)),
        ("sequential, noise 20/s", |trial| trial.noise = 20),
        ("sequential, noise 50/s", |trial| trial.noise = 50),
        ("sequential, loss 5 %", |trial| trial.loss = 5),
    ] {
        let class = Class::run(name, square(&COUNTED), 50, set);
        assert!(class.open_of_thousand() >= 900);
        assert!(class.percentile(90) <= ms(3000));
        assert!(class.by.iter().all(|by| *by == Some(Strategy::Predicted)));
    }
}

#[test]
fn two_random_nats_are_known_as_hopeless_soon() {
    let mut pairs = square(&DRAWN);
    pairs.extend(between(&DRAWN, &COUNTED));
    let class = Class::run("random both", pairs, 5, |_| {});
    assert_eq!(class.times, []);
    for stopped in class.failures {
        assert_eq!(stopped.why, Why::Unstable);
        assert!(stopped.at <= ms(600));
    }
}

const REFERENCE: PunchConfig =
    PunchConfig { pace: Pace::Reference, prediction: Prediction::Off, sockets_max: 256 };

#[test]
fn a_side_as_slow_as_the_reference_is_never_worse_off_with_ours() {
    for (name, pairs, seeds) in [
        ("consistent", square(&EASY), 10),
        ("random, address-restricted", between(&HARD, &OPENING), 5),
        ("random, port-restricted", between(&HARD, &RESTRICTED), 10),
    ] {
        let both = Class::run(&format!("reference both, {name}"), pairs.clone(), seeds, |trial| {
            (trial.server_config, trial.client_config) = (REFERENCE, REFERENCE);
        });
        let server = Class::run(&format!("reference server, {name}"), pairs.clone(), seeds, |trial| {
            trial.server_config = REFERENCE;
        });
        let client = Class::run(&format!("reference client, {name}"), pairs, seeds, |trial| {
            trial.client_config = REFERENCE;
        });
        for mixed in [server, client] {
            assert!(mixed.times.len() >= both.times.len());
            assert!(mixed.percentile(50) <= both.percentile(50) + ms(1));
            assert!(mixed.percentile(90) <= both.percentile(90) + ms(1));
        }
    }
}
