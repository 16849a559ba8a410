//! A Tool Db server beside that of the JavaScript library, under one raw load: frames that were signed before.

mod wire;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tooldb::Identity;

use crate::bench::process::{Program, homing, script};
use crate::bench::report::{Better, Report, Row, Target, median};
use wire::{Wire, fresh_id};

/// Runs whose median counts.
const RUNS: usize = 5;
/// Records of one run.
const RECORDS: usize = 10_000;
/// Records that a server has in the end, by which time nothing may have become slower.
const RECORDS_LONG: usize = 100_000;
/// Requests that wait for their answer at one time.
const OUTSTANDING: usize = 32;
/// Writes that are timed until a subscriber has them, and the time between them, which the library's pause of 100 ms
/// between pushes has to fit into.
const TICKS: usize = 20;
const TICK: Duration = Duration::from_millis(150);
const CLIENTS: u16 = 1_000;
/// How long a server is left alone before its memory is read.
const CALM: Duration = Duration::from_secs(2);

const KIB: f64 = 1024.0;
const MILLIS: f64 = 1e3;
const MICROS: f64 = 1e6;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Maker {
    Ours,
    Library,
}

const MAKERS: [Maker; 2] = [Maker::Ours, Maker::Library];

/// A server with its directory.
struct Server {
    program: Program,
    address: String,
    directory: Directory,
    started: Duration,
}

/// A directory that goes with its owner.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("homing-bench-{}-{name}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    fn bytes(&self) -> Result<u64> {
        bytes_below(&self.0)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left is in the directory for temporary files.
        fs::remove_dir_all(&self.0).unwrap_or_default();
    }
}

fn bytes_below(path: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        let (entry, data) = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?)))?;
        bytes += if data.is_dir() { bytes_below(&entry)? } else { data.len() };
    }
    Ok(bytes)
}

impl Server {
    fn start(maker: Maker) -> Result<Self> {
        let name = if maker == Maker::Ours { "ours" } else { "library" };
        Self::start_in(maker, Directory::new(name)?)
    }

    fn start_in(maker: Maker, directory: Directory) -> Result<Self> {
        let mut command = match maker {
            Maker::Ours => {
                let mut command = homing()?;
                command.arg("--data-dir").arg(&directory.0);
                command.args(["--port", "0", "db", "--topic", "bench", "serve", "--links-per-host", "4096"]);
                command
            }
            Maker::Library => {
                let mut command = script("tooldb-server.js");
                // It keeps its own key beside its store, wherever it is started.
                command.arg(&directory.0).current_dir(&directory.0);
                command
            }
        };
        let begun = Instant::now();
        let program = Program::start(&mut command)?;
        let line = program.wait_for("listening")?;
        let started = begun.elapsed();
        let address = line["address"].as_str().context("an address is missing")?.to_owned();
        Ok(Self { program, address, directory, started })
    }

    /// Ends it as a person would; its directory stays.
    fn stop(self) -> Result<Directory> {
        let Self { mut program, directory, .. } = self;
        kill(Pid::from_raw(i32::try_from(program.id())?), Signal::SIGINT)?;
        program.end();
        Ok(directory)
    }

    async fn wire(&self, number: u16) -> Result<Wire> {
        let mut seed = [9; 32];
        seed[..2].copy_from_slice(&number.to_le_bytes());
        Wire::open(&self.address, seed).await
    }
}

/// What one run cost.
#[derive(Clone, Copy)]
struct Cost {
    seconds: f64,
    processor: f64,
}

/// How a load is made.
struct Load<'a> {
    prefix: &'a str,
    count: usize,
    wires: usize,
}

/// Writes records over some connections at once, and waits until the server has them.
async fn write(server: &Server, load: &Load<'_>) -> Result<Cost> {
    let author = Identity::from_seed([1; 32]);
    let names: Vec<String> = (0..load.count).map(|number| format!("{}{number:06}", load.prefix)).collect();
    let frames = names.iter().map(|name| wire::put(name, &author)).collect::<Result<Vec<Utf8Bytes>>>()?;
    let mut watch = server.wire(0).await?;
    let mut wires = Vec::new();
    for number in 0..load.wires {
        wires.push(server.wire(u16::try_from(number + 1)?).await?);
    }
    let processor = server.program.processor_time()?;
    let begun = Instant::now();
    let share = load.count.div_ceil(load.wires);
    let sending = wires.iter_mut().zip(frames.chunks(share)).map(|(wire, frames)| async move {
        for frame in frames {
            wire.feed(frame.clone()).await?;
        }
        wire.flush().await
    });
    for sent in futures_util::future::join_all(sending).await {
        sent?;
    }
    for last in names.chunks(share).filter_map(<[String]>::last) {
        watch.await_key(last).await?;
    }
    let seconds = begun.elapsed().as_secs_f64();
    let processor = server.program.processor_time()?.saturating_sub(processor).as_secs_f64();
    Ok(Cost { seconds, processor })
}

fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

fn row(name: &str, better: Better, figures: [f64; 2], target: Option<Target>) -> Row {
    let [ours, reference] = figures;
    let targets = target.into_iter().collect();
    Row { name: name.to_owned(), better, ours, reference: Some(reference), floor: None, targets }
}

/// Measures both makers.
fn both(measure: impl Fn(Maker) -> Result<f64>) -> Result<[f64; 2]> {
    Ok([measure(Maker::Ours)?, measure(Maker::Library)?])
}

#[expect(clippy::cast_precision_loss, reason = "some thousands")]
fn count(number: usize) -> f64 {
    number as f64
}

/// Writes a second, by one connection and by eight, and what one costs.
pub(crate) fn puts(report: &mut Report) -> Result<()> {
    for (wires, least) in [(1, 4.0), (8, 7.0)] {
        let mut rates = [0.0; 2];
        let mut costs = [0.0; 2];
        for (maker, (rate, cost)) in MAKERS.into_iter().zip(rates.iter_mut().zip(&mut costs)) {
            let server = Server::start(maker)?;
            let mut runs = Vec::new();
            for run in 0..RUNS {
                let prefix = format!("puts{wires}-{run}-");
                runs.push(
                    runtime()?.block_on(write(&server, &Load { prefix: &prefix, count: RECORDS, wires }))?,
                );
            }
            *rate = median(runs.iter().map(|run| count(RECORDS) / run.seconds).collect());
            *cost = median(runs.iter().map(|run| run.processor / count(RECORDS) * MICROS).collect());
        }
        let name = format!("puts/s over {wires} connections");
        report.add(&row(&name, Better::Higher, rates, Some(Target::TimesReference(least))));
        report.add(&row("  processor time of one, us", Better::Lower, costs, None));
    }
    Ok(())
}

/// What becomes of a server that has taken a hundred thousand records: its pace, its start, its disk.
pub(crate) fn long(report: &mut Report) -> Result<()> {
    let (mut decay, mut starts, mut disks) = ([0.0; 2], [0.0; 2], [0.0; 2]);
    for (at, maker) in MAKERS.into_iter().enumerate() {
        let server = Server::start(maker)?;
        let mut costs = Vec::new();
        for part in 0..RECORDS_LONG / RECORDS {
            let prefix = format!("long-{part:02}-");
            let load = Load { prefix: &prefix, count: RECORDS, wires: 1 };
            costs.push(runtime()?.block_on(write(&server, &load))?.processor);
        }
        let (first, last) = costs.first().zip(costs.last()).context("no parts")?;
        decay[at] = last / first;
        let mut directory = server.stop()?;
        let mut times = Vec::new();
        for _ in 0..RUNS {
            let server = Server::start_in(maker, directory)?;
            times.push(server.started.as_secs_f64() * MILLIS);
            directory = server.stop()?;
        }
        starts[at] = median(times);
        #[expect(clippy::cast_precision_loss, reason = "some megabytes")]
        let bytes = directory.bytes()? as f64;
        disks[at] = bytes / KIB / KIB;
    }
    let name = "processor time of puts, last/first of 100,000";
    report.add(&row(name, Better::Lower, decay, Some(Target::AtMost(1.15))));
    let name = "start with 100,000 keys, ms";
    report.add(&row(name, Better::Lower, starts, Some(Target::TimesReference(1.0 / 1.3))));
    let name = "disk for 100,000 keys, MiB";
    report.add(&row(name, Better::Lower, disks, Some(Target::TimesReference(1.0 / 2.5))));
    Ok(())
}

/// Reads a second, and queries.
pub(crate) fn reads(report: &mut Report) -> Result<()> {
    let (mut rates, mut costs, mut queries) = ([0.0; 2], [0.0; 2], [0.0; 2]);
    for (at, maker) in MAKERS.into_iter().enumerate() {
        let server = Server::start(maker)?;
        let runtime = runtime()?;
        runtime.block_on(write(&server, &Load { prefix: "read-", count: RECORDS, wires: 1 }))?;
        let mut runs = Vec::new();
        for run in 0..RUNS {
            // The library answers one connection once with one record.
            let wire = runtime.block_on(server.wire(100 + u16::try_from(run)?))?;
            runs.push(runtime.block_on(read_all(&server, wire))?);
        }
        rates[at] = median(runs.iter().map(|run| count(RECORDS) / run.seconds).collect());
        costs[at] = median(runs.iter().map(|run| run.processor / count(RECORDS) * MICROS).collect());
        queries[at] = median(runtime.block_on(query_often(&server))?);
    }
    let name = format!("gets/s, {OUTSTANDING} outstanding");
    report.add(&row(&name, Better::Higher, rates, Some(Target::TimesReference(3.5))));
    report.add(&row("  processor time of one, us", Better::Lower, costs, None));
    let name = "query of 10,000 keys, ms";
    report.add(&row(name, Better::Lower, queries, Some(Target::TimesReference(4.0))));
    Ok(())
}

async fn read_all(server: &Server, mut wire: Wire) -> Result<Cost> {
    let processor = server.program.processor_time()?;
    let begun = Instant::now();
    let ask = |number: usize| {
        let key = format!("read-{number:06}");
        Utf8Bytes::from(json!({"type": "get", "id": fresh_id(), "to": [], "key": key}).to_string())
    };
    for number in 0..OUTSTANDING {
        wire.send(ask(number)).await?;
    }
    for number in OUTSTANDING..RECORDS + OUTSTANDING {
        wire.hear_raw("put").await?;
        if number < RECORDS {
            wire.send(ask(number)).await?;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    let processor = server.program.processor_time()?.saturating_sub(processor).as_secs_f64();
    Ok(Cost { seconds, processor })
}

async fn query_often(server: &Server) -> Result<Vec<f64>> {
    let mut wire = server.wire(200).await?;
    let mut times = Vec::new();
    for _ in 0..TICKS {
        let begun = Instant::now();
        wire.send(json!({"type": "query", "id": fresh_id(), "to": [], "key": "read-"}).to_string().into())
            .await?;
        let answer = wire.hear_raw("queryAck").await?;
        times.push(begun.elapsed().as_secs_f64() * MILLIS);
        ensure!(answer.len() > RECORDS * "read-000000".len(), "keys are missing");
    }
    Ok(times)
}

/// From a write to its subscribers.
pub(crate) fn pushes(report: &mut Report) -> Result<()> {
    for subscribers in [1, 10] {
        let figures = both(|maker| {
            let server = Server::start(maker)?;
            Ok(median(runtime()?.block_on(tick(&server, subscribers))?))
        })?;
        let name = format!("write to {subscribers} subscribers, ms");
        report.add(&row(&name, Better::Lower, figures, Some(Target::TimesReference(30.0))));
    }
    Ok(())
}

async fn tick(server: &Server, subscribers: u16) -> Result<Vec<f64>> {
    let author = Identity::from_seed([1; 32]);
    let mut writer = server.wire(1).await?;
    let mut times = Vec::new();
    for round in 0..TICKS {
        // The library sends a subscriber one update only, so each round has subscribers of its own.
        let key = format!("tick-{round}");
        let mut listening = Vec::new();
        for number in 0..subscribers {
            let mut wire = server.wire(1_000 + u16::try_from(round)? * subscribers + number).await?;
            wire.send(
                json!({"type": "subscribe", "id": fresh_id(), "to": [], "key": key}).to_string().into(),
            )
            .await?;
            // Its answer comes after the subscription is made.
            wire.query("nothing").await?;
            listening.push(wire);
        }
        tokio::time::sleep(TICK).await;
        let begun = Instant::now();
        writer.send(wire::put(&key, &author)?).await?;
        for wire in &mut listening {
            wire.hear_raw("put").await?;
            times.push(begun.elapsed().as_secs_f64() * MILLIS);
        }
    }
    Ok(times)
}

/// What a server takes, alone and for each client that idles.
pub(crate) fn idle(report: &mut Report) -> Result<()> {
    let (mut alone, mut each) = ([0.0; 2], [0.0; 2]);
    for (at, maker) in MAKERS.into_iter().enumerate() {
        let mut server = Server::start(maker)?;
        server.program.settle(CALM)?;
        let before = server.program.resident_kib()?;
        let runtime = runtime()?;
        let wires = runtime.block_on(async {
            let mut wires = Vec::new();
            for number in 0..CLIENTS {
                wires.push(server.wire(number).await?);
            }
            Ok::<_, anyhow::Error>(wires)
        })?;
        server.program.settle(CALM)?;
        let grown = server.program.resident_kib()?.saturating_sub(before);
        drop(wires);
        alone[at] = f64::from(u32::try_from(before)?) / KIB;
        each[at] = f64::from(u32::try_from(grown)?) / f64::from(CLIENTS);
    }
    report.add(&row("resident when idle, MiB", Better::Lower, alone, Some(Target::AtMost(12.0))));
    report.add(&row(
        "resident for each idle client, KiB",
        Better::Lower,
        each,
        Some(Target::TimesReference(1.0)),
    ));
    Ok(())
}
