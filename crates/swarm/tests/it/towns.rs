//! Whatever happens, in the end every pair of peers has exactly one connection.

use std::time::Duration;

use rand::RngExt;
use swarm::roster::{Role, RosterConfig};
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
    assert!(
        done,
        "seed {seed}: {} of {wanted} pairs, {} held, {:#?}",
        town.pairs(),
        town.held(),
        town.describe()
    );
    let took = town.now - begin;
    town.run_for(Duration::from_mins(2));
    assert_eq!((town.pairs(), town.held()), (wanted, 2 * wanted), "seed {seed}: afterwards");
    took
}

fn join_all(town: &mut Town, spread: Duration) {
    for house in 0..town.houses.len() {
        let wait = town.rng.random_range(Duration::ZERO..=spread);
        town.run_for(wait);
        town.with(house, |roster, now| roster.join(now, TOPIC, Role::Both, None)).expect("there is room");
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

#[test]
fn peers_that_restart_die_in_silence_and_start_late_are_all_connected_again() {
    for seed in 0..100 {
        let houses = 3 + usize::try_from(seed % 5).unwrap();
        let mut town = town(seed, houses, if seed % 2 == 0 { &FAIR } else { &FOUL });
        let late = houses - 1;
        town.kill(late);
        for house in 0..late {
            town.with(house, |roster, now| roster.join(now, TOPIC, Role::Both, None)).expect("there is room");
        }
        // Away at the start, for up to an hour: by then the others know it only if it was announced before.
        let away = town.rng.random_range(Duration::ZERO..Duration::from_mins(60));
        town.run_for(away);
        restart(&mut town, late);
        town.run_for(Duration::from_mins(3));
        for _ in 0..4 {
            let house = town.rng.random_range(0..houses);
            town.kill(house);
            // Half of the time others have not yet noticed its silence when it comes back.
            let away = Duration::from_secs(if town.rng.random() { 3 } else { 120 });
            town.run_for(away);
            restart(&mut town, house);
            let calm = town.rng.random_range(Duration::ZERO..Duration::from_secs(60));
            town.run_for(calm);
        }
        town.weather = FAIR;
        settle(&mut town, seed, Duration::from_mins(2));
    }
}

#[test]
fn a_peer_that_nobody_can_reach_connects_to_everyone_itself() {
    for seed in 0..40 {
        let mut town = town(seed, 5, &FAIR);
        town.unreachable.insert(0);
        join_all(&mut town, Duration::from_secs(2));
        // Whoever came after its first walks is found with the next refresh.
        settle(&mut town, seed, Duration::from_mins(13));
    }
}

#[test]
fn hosts_that_sleep_are_connected_again_when_they_wake() {
    for seed in 0..60 {
        let houses = 2 + usize::try_from(seed % 5).unwrap();
        let mut town = town(seed, houses, &FAIR);
        join_all(&mut town, Duration::from_secs(1));
        town.run_for(Duration::from_secs(30));
        for house in 0..houses {
            let time = [Duration::from_secs(10), Duration::from_secs(100), Duration::from_hours(9)];
            let time = time[town.rng.random_range(0..3)];
            if town.rng.random() {
                town.doze(house, time);
            }
        }
        town.run_for(Duration::from_hours(9));
        settle(&mut town, seed, Duration::from_mins(3));
    }
}

#[test]
fn hosts_that_suspend_and_resume_are_connected_again_at_once() {
    for seed in 0..60 {
        let houses = 3 + usize::try_from(seed % 5).unwrap();
        let mut town = town(seed, houses, &FAIR);
        join_all(&mut town, Duration::from_secs(1));
        for _ in 0..3 {
            // Also before its first walk has ended, while attempts are under way, and with peers in the queue.
            let calm = town.rng.random_range(Duration::ZERO..Duration::from_secs(3));
            town.run_for(calm);
            let house = town.rng.random_range(0..houses);
            town.with(house, swarm::roster::Roster::suspend);
            let away = town.rng.random_range(Duration::ZERO..Duration::from_mins(2));
            town.run_for(away);
            assert_eq!(town.houses[house].connected.len(), 0, "seed {seed}");
            town.with(house, swarm::roster::Roster::resume);
        }
        settle(&mut town, seed, Duration::from_secs(60));
    }
}

fn restart(town: &mut Town, house: usize) {
    town.revive(house);
    town.with(house, |roster, now| roster.join(now, TOPIC, Role::Both, None)).expect("there is room");
}
