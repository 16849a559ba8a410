//! `cargo xtask bench dht`: Homing beside the reference, in one run.

pub(crate) mod author;
pub(crate) mod batch;
pub(crate) mod caller;
pub(crate) mod crowd;
pub(crate) mod floor;
pub(crate) mod load;
pub(crate) mod lookups;
pub(crate) mod memory;
pub(crate) mod process;
pub(crate) mod report;
pub(crate) mod routine;
pub(crate) mod seat;
pub(crate) mod stage;
pub(crate) mod throughput;

use std::process::Command;

use anyhow::{Result, bail, ensure};

use report::Report;

/// Rounds of each measurement, of which the median counts.
const ROUNDS: usize = 7;

/// Runs `bench` with its arguments.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match *args {
        ["dht", ref parts @ ..] => {
            if cfg!(debug_assertions) {
                return in_release("bench", &args);
            }
            dht(parts)
        }
        ["floor", address] => floor::serve(address.parse()?),
        _ => bail!("usage: cargo xtask bench dht [throughput] [memory] [lookups]"),
    }
}

fn dht(parts: &[&str]) -> Result<()> {
    let wanted = |part: &str| parts.is_empty() || parts.contains(&part);
    let mut report = Report::default();
    if wanted("throughput") {
        throughput::run(&mut report, ROUNDS)?;
    }
    if wanted("memory") {
        memory::run(&mut report)?;
    }
    if wanted("lookups") {
        lookups::run(&mut report)?;
    }
    report.finish()
}

/// Builds everything that is measured with optimisation, and goes on there.
pub(crate) fn in_release(command: &str, args: &[&str]) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--release", "--locked", "-p", "homing-cli", "-p", "xtask"])
        .current_dir(process::root())
        .status()?;
    ensure!(built.success(), "the release build failed");
    let run = Command::new(process::root().join("target/release/xtask")).arg(command).args(args).status()?;
    ensure!(run.success(), "{command} failed");
    Ok(())
}
