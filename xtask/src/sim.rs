//! Worlds in virtual time, for questions that the tests have no time for.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use ::sim::{Defence, Lie, Millionths, Plan, Town, Trial, weather};
use anyhow::Context as _;

use crate::{Command, refuse};

pub(crate) const COMMAND: Command = Command {
    name: "sim",
    summary: "measures networks and tries seeds in virtual time",
    help: "quality [--nodes N] [--silent PERCENT] [--loss PERCENT] [--lookups N] [--seed S] [--rest SECONDS]
        grows a network, silences a part of it and compares its lookups with the truth
cargo xtask sim seeds [--from A] [--count N]
        runs small worlds in bad weather, prints the seeds that fail, to be added to crates/sim/seeds.txt
cargo xtask sim seed S
        runs one of them and prints what happened last if it fails
cargo xtask sim scale NODES
        grows a large network, makes 100 lookups, and prints time and memory
cargo xtask sim mainline [--nodes N] [--silent PERCENT] [--lookups N] [--seed S]
        the same for Mainline, with round trips of 20 to 120 ms
cargo xtask sim attack [--nodes N] [--trials N] [--seed S]
        lets a part of a Mainline network lie, and prints what each defence is worth",
    run,
};

fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let Some((name, rest)) = arguments.split_first() else { return Ok(refuse(&COMMAND, "")) };
    match name.as_str() {
        "quality" => quality(rest),
        "seeds" => seeds(rest),
        "seed" => seed(rest),
        "scale" => scale(rest),
        "mainline" => mainline(rest),
        "attack" => attack(rest),
        other => Ok(refuse(&COMMAND, other)),
    }
}

fn quality(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let mut plan = Plan::default();
    for (flag, value) in pairs(arguments)? {
        match flag {
            "--nodes" => plan.nodes = usize::try_from(value)?,
            "--silent" => plan.silent = Millionths::percent(u32::try_from(value)?),
            "--loss" => plan.loss = Millionths::percent(u32::try_from(value)?),
            "--lookups" => plan.lookups = usize::try_from(value)?,
            "--seed" => plan.seed = value,
            "--rest" => plan.rest = Duration::from_secs(value),
            other => return Ok(refuse(&COMMAND, other)),
        }
    }
    print_quality(&plan)
}

fn scale(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let [nodes] = arguments else { return Ok(refuse(&COMMAND, "scale")) };
    let plan = Plan {
        nodes: nodes.parse().context("NODES is a number")?,
        lookups: 100,
        interval: Duration::from_millis(10),
        rest: Duration::from_mins(1),
        ..Plan::default()
    };
    let code = print_quality(&plan)?;
    let status = std::fs::read_to_string("/proc/self/status").context("memory is only known on Linux")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    println!("peak memory      {}", peak.trim());
    Ok(code)
}

fn print_quality(plan: &Plan) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let quality = plan.run()?;
    println!("{quality}");
    println!("real time        {:.1} s", began.elapsed().as_secs_f64());
    let good = quality.share_missing_at_most(2) >= 0.99 && quality.slowest() <= Duration::from_secs(15);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn mainline(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let (mut nodes, mut silent, mut lookups, mut seed) = (1000, 20, 200, 1);
    for (flag, value) in pairs(arguments)? {
        match flag {
            "--nodes" => nodes = usize::try_from(value)?,
            "--silent" => silent = usize::try_from(value)?,
            "--lookups" => lookups = usize::try_from(value)?,
            "--seed" => seed = value,
            other => return Ok(refuse(&COMMAND, other)),
        }
    }
    let began = Instant::now();
    let mut town = Town::grow(seed, nodes);
    println!("nodes            {nodes}, of which {} know their address", town.secured());
    let askers: Vec<usize> = (0..lookups.min(50)).map(|_| town.join()).collect();
    town.run_for(Duration::from_secs(30));
    town.silence(nodes, nodes * silent / 100);
    let mut trials = town.try_pairs(&askers, lookups);
    let found = trials.iter().filter(|trial| trial.found).count();
    println!("found            {found} of {lookups}");
    let median = |trials: &mut [Trial], key: fn(&Trial) -> u64| {
        trials.sort_unstable_by_key(key);
        trials.get(trials.len() / 2).map_or(0, key)
    };
    println!("first peer, ms   {}", median(&mut trials, |t| t.first.map_or(u64::MAX, |(at, _)| millis(at))));
    println!("  after queries  {}", median(&mut trials, |t| t.first.map_or(u64::MAX, |(_, n)| n)));
    println!("complete, ms     {}", median(&mut trials, |t| millis(t.elapsed)));
    println!("  after queries  {}", median(&mut trials, |t| t.requests));
    println!("real time        {:.1} s", began.elapsed().as_secs_f64());
    Ok(if found == lookups { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Shares of liars, in percent, for which there is a column.
const LIARS: [(Lie, usize); 7] = [
    (Lie::Forge, 5),
    (Lie::Forge, 10),
    (Lie::Misroute, 10),
    (Lie::Forge, 20),
    (Lie::Misroute, 20),
    (Lie::Misroute, 30),
    (Lie::Misroute, 50),
];
/// Nodes that look up in each way.
const ASKERS: usize = 30;

fn attack(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let (mut nodes, mut trials, mut seed) = (10_000, 150, 1);
    for (flag, value) in pairs(arguments)? {
        match flag {
            "--nodes" => nodes = usize::try_from(value)?,
            "--trials" => trials = usize::try_from(value)?,
            "--seed" => seed = value,
            other => return Ok(refuse(&COMMAND, other)),
        }
    }
    let mut town = Town::grow(seed, nodes);
    let askers = Defence::ALL.map(|defence| (0..ASKERS).map(|_| town.ask_by(&defence)).collect::<Vec<_>>());
    town.run_for(Duration::from_mins(1));
    println!(
        "{nodes} nodes, {trials} trials a cell, seed {seed}: look-ups that find, in percent (queries each)\n"
    );
    print!("{:<26}", "");
    for (lie, share) in LIARS {
        print!("{:>14}", format!("{lie:?} {share} %"));
    }
    println!();
    let mut cells = vec![Vec::new(); Defence::ALL.len()];
    for (lie, share) in LIARS {
        town.corrupt(nodes, nodes * share / 100);
        town.set_lie(lie);
        for (row, askers) in cells.iter_mut().zip(&askers) {
            let outcome = town.try_pairs(askers, trials);
            let found = outcome.iter().filter(|trial| trial.found).count();
            let requests: u64 = outcome.iter().map(|trial| trial.requests).sum();
            row.push(format!("{} ({})", found * 100 / trials, requests / u64::try_from(trials)?));
        }
    }
    for (defence, row) in Defence::ALL.iter().zip(cells) {
        print!("{:<26}", defence.name);
        for cell in &row {
            print!("{cell:>14}");
        }
        println!();
    }
    println!("\nNothing helps against an attacker who has addresses without limit.");
    Ok(ExitCode::SUCCESS)
}

fn seeds(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let (mut from, mut count) = (0, 1000);
    for (flag, value) in pairs(arguments)? {
        match flag {
            "--from" => from = value,
            "--count" => count = value,
            other => return Ok(refuse(&COMMAND, other)),
        }
    }
    let threads = u64::try_from(std::thread::available_parallelism()?.get())?;
    let began = Instant::now();
    let failed: u32 = std::thread::scope(|scope| {
        let strides: Vec<_> = (0..threads)
            .map(|first| {
                scope.spawn(move || {
                    let mut failed = 0;
                    for seed in (from + first..from + count).step_by(usize::try_from(threads).unwrap_or(1)) {
                        if let Err(failure) = weather(seed) {
                            println!("{seed}  {:?} after {:?}", failure.why, failure.at);
                            failed += 1;
                        }
                    }
                    failed
                })
            })
            .collect();
        strides.into_iter().map(|stride| stride.join().expect("a world does not panic")).sum()
    });
    println!("{count} worlds in {:.1} s, {failed} failed", began.elapsed().as_secs_f64());
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn seed(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let [seed] = arguments else { return Ok(refuse(&COMMAND, "seed")) };
    match weather(seed.parse().context("S is a number")?) {
        Ok(report) => {
            println!("{report}");
            Ok(ExitCode::SUCCESS)
        }
        Err(failure) => {
            println!("{failure}");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Reads flags that each have a number.
fn pairs(arguments: &[String]) -> anyhow::Result<Vec<(&str, u64)>> {
    let pairs = arguments.chunks(2).map(|pair| match pair {
        [flag, value] => {
            Ok((flag.as_str(), value.parse().with_context(|| format!("{flag} takes a number"))?))
        }
        _ => anyhow::bail!("a flag is without its value"),
    });
    pairs.collect()
}
