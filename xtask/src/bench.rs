//! Homing beside the reference, in one run.

pub(crate) mod author;
pub(crate) mod batch;
pub(crate) mod caller;
pub(crate) mod client;
pub(crate) mod crowd;
pub(crate) mod floor;
pub(crate) mod instructions;
pub(crate) mod load;
pub(crate) mod lookups;
pub(crate) mod machine;
pub(crate) mod memory;
pub(crate) mod process;
pub(crate) mod question;
pub(crate) mod report;
pub(crate) mod routine;
pub(crate) mod seat;
pub(crate) mod snapshot;
pub(crate) mod stage;
pub(crate) mod stream_end;
pub(crate) mod streams;
pub(crate) mod throughput;
pub(crate) mod tooldb;

use std::process::{Command as Process, ExitCode};

use anyhow::{Result, ensure};

use crate::Command;
use question::Question;
use report::Report;

pub(crate) const COMMAND: Command = Command {
    name: "bench",
    summary: "measure Homing beside the reference",
    help: "dht|streams|tooldb [PART..]\n\nPrints our figures, the reference's (hyperdht under Node, installed by `npm ci` in\n\
           interop/), how many times as good ours are, and the floor of a server that only sends\n\
           datagrams back. Fails if a figure misses its target. Parts:\n\
           of dht      throughput, memory, lookups, instructions\n\
           of streams  loopback, shaped, idle, snapshot\n\
           of tooldb   puts, long, reads, pushes, idle",
    run,
};

/// Measures one thing and adds its rows.
type Part = fn(&mut Report) -> Result<()>;

/// Parts of the benchmark of nodes, in order.
const DHT: &[(&str, Part)] = &[
    ("throughput", throughput::run),
    ("memory", memory::run),
    ("lookups", lookups::run),
    ("instructions", instructions::run),
];

/// Parts of the benchmark of connections.
const STREAMS: &[(&str, Part)] = &[
    ("loopback", streams::loopback),
    ("shaped", streams::shaped),
    ("idle", streams::idle),
    ("snapshot", snapshot::run),
];

/// Parts of the benchmark of Tool Db servers.
const TOOLDB: &[(&str, Part)] = &[
    ("puts", tooldb::puts),
    ("long", tooldb::long),
    ("reads", tooldb::reads),
    ("pushes", tooldb::pushes),
    ("idle", tooldb::idle),
];

fn run(arguments: &[String]) -> Result<ExitCode> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *words {
        ["client", bootstrap, ref words @ ..] => client::run(bootstrap.parse()?, words),
        ["floor", address] => floor::serve(address.parse()?),
        ["machine", question, count] => machine::serve(Question::parse(question)?, count.parse()?),
        ["stream-end", ref words @ ..] => stream_end::run(words),
        [subject @ ("dht" | "streams" | "tooldb"), ref wanted @ ..] => {
            let parts = match subject {
                "dht" => DHT,
                "streams" => STREAMS,
                _ => TOOLDB,
            };
            if let Some(unknown) = wanted.iter().find(|word| parts.iter().all(|(name, _)| name != *word)) {
                return Ok(crate::refuse(&COMMAND, unknown));
            }
            if cfg!(debug_assertions) {
                return in_release(arguments);
            }
            println!("the reference is {}", process::reference(subject)?);
            let mut report = Report::default();
            for (name, measure) in parts {
                if wanted.is_empty() || wanted.contains(name) {
                    measure(&mut report)?;
                }
            }
            Ok(report.verdict())
        }
        _ => Ok(crate::refuse(&COMMAND, words.first().unwrap_or(&""))),
    }
}

/// Builds everything that is measured with optimisation, and goes on there.
fn in_release(arguments: &[String]) -> Result<ExitCode> {
    build(&["--release", "-p", "homing-cli", "-p", "xtask"])?;
    let xtask = crate::root().join("target/release/xtask");
    let ran = Process::new(xtask).arg(COMMAND.name).args(arguments).status()?;
    Ok(if ran.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Builds packages, with these options.
pub(crate) fn build(options: &[&str]) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built =
        Process::new(cargo).args(["build", "--quiet"]).args(options).current_dir(crate::root()).status()?;
    ensure!(built.success(), "the build failed");
    Ok(())
}
