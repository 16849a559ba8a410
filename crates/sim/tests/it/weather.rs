use sim::{Failure, weather};

/// Worlds run by every pull request: about twenty nodes each, two minutes of faults, six of recovery.
const SEEDS: u64 = 200;

/// Runs worlds on two threads and returns the failures.
fn run(seeds: &[u64]) -> Vec<Failure> {
    let half = seeds.len().div_ceil(2);
    std::thread::scope(|scope| {
        let threads: Vec<_> = seeds
            .chunks(half.max(1))
            .map(|part| {
                scope.spawn(|| part.iter().filter_map(|seed| weather(*seed).err()).collect::<Vec<_>>())
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a world does not panic")).collect()
    })
}

fn expect_none(failures: &[Failure]) {
    let seeds: Vec<u64> = failures.iter().map(|failure| failure.seed).collect();
    assert!(failures.is_empty(), "add these to seeds.txt: {seeds:?}; the first:\n{}", failures[0]);
}

#[test]
fn two_hundred_worlds_survive_bad_weather() {
    expect_none(&run(&(0..SEEDS).collect::<Vec<_>>()));
}

#[test]
fn worlds_that_failed_once_do_not_fail_again() {
    let seeds = include_str!("../../seeds.txt");
    let seeds: Vec<u64> =
        seeds.lines().filter(|line| !line.starts_with('#')).map(|line| line.parse().unwrap()).collect();
    expect_none(&run(&seeds));
}
