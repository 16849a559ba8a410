//! Connections beside the reference's: how fast one stream is, and what idle ones cost.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::unistd::Uid;
use serde_json::Value;

use crate::bench::process::{Program, homing, script};
use crate::bench::report::{Better, Report, Row, Target, median};
use crate::lab::endpoint::Side;
use crate::lab::nat::Kind;
use crate::lab::network::Network;
use crate::lab::shaper::{Rate, Weather};
use crate::lab::site::Internet;

/// Sent by one stream on loopback: a second or so of it.
const LOOPBACK_MIB: u32 = 400;

/// Sent by one stream over the shaped link: some four seconds at full rate.
const SHAPED_MIB: u32 = 40;

/// Runs of a stream; the median counts.
const RUNS: usize = 3;

/// The shaped link, of both hosts' halves: 40 ms there and back, 1 % lost each way, 100 Mbit/s.
const SHAPED: Weather = Weather {
    delay: Duration::from_millis(10),
    jitter: Duration::ZERO,
    loss: 0.005,
    rate: Some(Rate { bits_per_second: 1e8, queue: Duration::from_millis(50) }),
};

const IDLE_OURS: u32 = 1000;
/// The reference opens them one after the other too, but slower.
const IDLE_REFERENCE: u32 = 300;

/// How long both ends are left alone before memory is read.
const CALM: Duration = Duration::from_secs(3);

const MEGABYTE: f64 = 1e6;
const BITS: f64 = 8.0;

/// Network and hosts of a measurement.
struct Ground<'a> {
    bootstrap: &'a str,
    host: &'a str,
    /// Puts a program where the serving, or the dialling, end is.
    place: [&'a dyn Fn(&Command) -> Command; 2],
}

/// Bytes a second that one stream carries on loopback.
pub(crate) fn loopback(report: &mut Report) -> Result<()> {
    on_loopback(|ground| {
        let megabytes = |side| Ok::<_, anyhow::Error>(goodput(ground, side, LOOPBACK_MIB)? / MEGABYTE);
        report.add(&Row {
            name: "one stream on loopback, MB/s".to_owned(),
            better: Better::Higher,
            ours: megabytes(Side::Rust)?,
            reference: Some(megabytes(Side::JavaScript)?),
            floor: None,
            targets: vec![Target::TimesReference(2.0)],
        });
        Ok(())
    })
}

/// Bits a second that one stream carries over a link as phones have it. Needs root.
pub(crate) fn shaped(report: &mut Report) -> Result<()> {
    if !Uid::effective().is_root() {
        println!("the shaped link needs root: left out");
        return Ok(());
    }
    let mut internet = Internet::open(1)?;
    let network = Network::start(Side::Rust, &internet)?;
    let (server, client) = (internet.site(Kind::Open, SHAPED)?, internet.site(Kind::Open, SHAPED)?);
    let ground = Ground {
        bootstrap: &network.bootstrap[0],
        host: "0.0.0.0",
        place: [&|command| server.host().inside(command), &|command| client.host().inside(command)],
    };
    let megabits = |side| Ok::<_, anyhow::Error>(goodput(&ground, side, SHAPED_MIB)? * BITS / MEGABYTE);
    report.add(&Row {
        name: "one stream, 40 ms, 1 % lost, of 100 Mbit/s".to_owned(),
        better: Better::Higher,
        ours: megabits(Side::Rust)?,
        reference: Some(megabits(Side::JavaScript)?),
        floor: None,
        targets: vec![Target::TimesReference(1.0)],
    });
    Ok(())
}

/// Memory of a serving process for each connection on which nothing happens.
pub(crate) fn idle(report: &mut Report) -> Result<()> {
    on_loopback(|ground| {
        report.add(&Row {
            name: "each idle connection, KiB".to_owned(),
            better: Better::Lower,
            ours: idle_kib(ground, Side::Rust, IDLE_OURS)?,
            reference: Some(idle_kib(ground, Side::JavaScript, IDLE_REFERENCE)?),
            floor: None,
            targets: vec![Target::AtMost(20.0)],
        });
        Ok(())
    })
}

fn on_loopback(measure: impl FnOnce(&Ground<'_>) -> Result<()>) -> Result<()> {
    let network = Program::start(homing()?.args(["testnet", "8", "--until-stdin-closes"]))?;
    let ready = network.wait_for("ready")?;
    let bootstrap = ready["bootstrap"][0].as_str().context("the network names no bootstrap node")?;
    let here = |command: &Command| copy(command);
    measure(&Ground { bootstrap, host: "127.0.0.1", place: [&here, &here] })
}

/// The same program with the same arguments.
fn copy(command: &Command) -> Command {
    let mut same = Command::new(command.get_program());
    same.args(command.get_args());
    same
}

impl Ground<'_> {
    fn serve(&self, side: Side) -> Result<(Program, String)> {
        let server =
            Program::start(&mut (self.place[0])(&end(side, &["serve", self.host, self.bootstrap])?))?;
        let key = server.wait_for("listening")?["key"].as_str().context("no key")?.to_owned();
        Ok((server, key))
    }

    fn dial(&self, side: Side, role: &str, key: &str, amount: u32) -> Result<Program> {
        let words = [role, self.host, self.bootstrap, key, &amount.to_string()];
        Program::start(&mut (self.place[1])(&end(side, &words)?))
    }
}

fn end(side: Side, words: &[&str]) -> Result<Command> {
    let mut command = match side {
        Side::Rust => {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["bench", "stream-end"]);
            command
        }
        Side::JavaScript => script("stream-end.js"),
    };
    command.args(words);
    Ok(command)
}

/// Bytes a second, from the first to the last one that the serving side took.
fn goodput(ground: &Ground<'_>, side: Side, mib: u32) -> Result<f64> {
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let (server, key) = ground.serve(side)?;
        let _client = ground.dial(side, "pour", &key, mib)?;
        let received = server.wait_for("received")?;
        let figure =
            |field: &str| received[field].as_f64().with_context(|| format!("no {field}: {received}"));
        runs.push(figure("bytes")? / figure("seconds")?);
    }
    Ok(median(runs))
}

fn idle_kib(ground: &Ground<'_>, side: Side, count: u32) -> Result<f64> {
    let (mut server, key) = ground.serve(side)?;
    server.settle(CALM)?;
    let before = server.resident_kib()?;
    let client = ground.dial(side, "hold", &key, count)?;
    let held: Value = client.wait_for("held")?;
    server.settle(CALM)?;
    let grown = server.resident_kib()?.saturating_sub(before);
    drop((client, held));
    Ok(f64::from(u32::try_from(grown)?) / f64::from(count))
}
