//! Whatever happens, in the end every pair of peers has exactly one connection.

use std::time::Duration;

use rand::RngExt;
use swarm::{Role, RosterConfig};
use wire::Id;

use crate::town::{FAIR, FOUL, Town, Weather};

const TOPIC: Id<32> = Id([7; 32]);

fn pairs(houses: usize) -> usize {
    houses * (houses - 1) / 2
}

fn town(seed: u64, houses: usize, weather: &Weather) -> Town {
    Town::new(seed, houses, &RosterConfig::default(), weather.clone())
}

/// Waits until all pairs are connected, then makes sure that they stay so and hold nothing else.
fn settle(town: &mut Town, seed: u64, within: Duration) -> Duration {
    let (begin, wanted) = (town.now, pairs(town.houses.len()));
    let done = town.run_until(begin + within, |town| town.pairs() == wanted && town.held() == 2 * wanted);
    assert!(done, "seed {seed}: {} of {wanted} pairs, {} held", town.pairs(), town.held());
    let took = town.now - begin;
    town.run_for(Duration::from_mins(2));
    assert_eq!((town.pairs(), town.held()), (wanted, 2 * wanted), "seed {seed}: afterwards");
    took
}

fn join_all(town: &mut Town, spread: Duration) {
    for house in 0..town.houses.len() {
        let wait = town.rng.random_range(Duration::ZERO..=spread);
        town.run_for(wait);
        town.with(house, |roster, now| roster.join(now, TOPIC, Role::Both, None)).unwrap();
    }
}

#[test]
fn two_to_forty_peers_that_join_at_once_are_all_connected_within_seconds() {
    for seed in 0..60 {
        let houses = [2, 3, 5, 8, 20, 40][usize::try_from(seed % 6).unwrap()];
        let mut town = town(seed, houses, &FAIR);
        join_all(&mut town, Duration::ZERO);
        settle(&mut town, seed, Duration::from_secs(30));
    }
}

#[test]
fn lost_attempts_and_lost_walks_delay_a_connection_and_never_prevent_it() {
    for seed in 0..100 {
        let mut town = town(seed, 2 + usize::try_from(seed % 7).unwrap(), &FOUL);
        join_all(&mut town, Duration::from_secs(5));
        settle(&mut town, seed, Duration::from_mins(25));
    }
}
