use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::bench::process::{self, FIRST_OUTPUT, Program, Voice};
use crate::lab::namespace::Namespace;

/// After this a connection will not come: the reference gives up on a birthday punch after half a minute.
const PATIENCE: Duration = Duration::from_secs(60);

/// Longest wait for an echo once a connection is open.
const ECHO_PATIENCE: Duration = Duration::from_secs(10);

/// Whose code runs on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Rust,
    JavaScript,
}

impl Side {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::JavaScript => "js",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Rust, Self::JavaScript].into_iter().find(|side| side.name() == name)
    }
}

/// A relay that both sides may be told of.
pub(crate) type RelayKey<'a> = Option<&'a str>;

/// How a dial ended.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    Open(Opened),
    /// After so many milliseconds, where a dial was begun.
    Failed {
        reason: String,
        ms: Option<f64>,
    },
}

/// An open connection's times since the dial began, in milliseconds.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    pub(crate) ms: f64,
    /// Absent where no echo came.
    pub(crate) first_byte_ms: Option<f64>,
    /// As the dialling side names it; the reference does not.
    pub(crate) path: Option<String>,
}

/// A host with a side's code, ready to serve or to dial.
#[derive(Debug)]
pub(crate) struct Endpoint<'a> {
    host: &'a Namespace,
    bootstrap: &'a [String],
    runs: Runs,
}

#[derive(Debug)]
enum Runs {
    /// Each command is a process.
    Rust(Option<Program>),
    /// One process, as its start takes long, with a node for each command.
    JavaScript(Program),
}

impl<'a> Endpoint<'a> {
    pub(crate) fn start(side: Side, host: &'a Namespace, bootstrap: &'a [String]) -> Result<Self> {
        let runs = match side {
            Side::Rust => Runs::Rust(None),
            Side::JavaScript => {
                let mut script = process::script("endpoint.js");
                let program = Program::start(&mut host.inside(script.args(bootstrap)))?;
                program.wait_for("ready")?;
                Runs::JavaScript(program)
            }
        };
        Ok(Self { host, bootstrap, runs })
    }

    /// Serves a new key, and tells it.
    pub(crate) fn serve(&mut self) -> Result<String> {
        let program = match &mut self.runs {
            Runs::JavaScript(program) => {
                program.say(&json!({ "do": "serve" }))?;
                program
            }
            Runs::Rust(running) => {
                let command = homing(self.bootstrap, &["listen", "--echo"])?;
                running.insert(Program::start(&mut self.host.inside(&command))?)
            }
        };
        let key = program.wait_for("listening")?["key"].as_str().map(str::to_owned);
        key.context("the server names no key")
    }

    /// Dials a key and waits for an echo.
    pub(crate) fn dial(&mut self, key: &str, relay: RelayKey<'_>) -> Result<Outcome> {
        let program = match &mut self.runs {
            Runs::JavaScript(program) => {
                program.say(&json!({ "do": "dial", "key": key, "relay": relay }))?;
                program
            }
            Runs::Rust(running) => {
                let mut command = homing(self.bootstrap, &["connect", key])?;
                command.args(relay.into_iter().flat_map(|relay| ["--relay", relay]));
                let mut program = Program::start_hearing(Voice::Complaints, &mut self.host.inside(&command))?;
                program.say(&json!("x"))?;
                running.insert(program)
            }
        };
        await_echo(program)
    }

    /// Ends what it serves or dials.
    pub(crate) fn end(&mut self) -> Result<()> {
        match &mut self.runs {
            Runs::Rust(running) => *running = None,
            Runs::JavaScript(program) => {
                program.say(&json!({ "do": "end" }))?;
                program.wait_for("ended")?;
            }
        }
        Ok(())
    }
}

/// Whether an echo came before the news of its connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Echo {
    Awaited,
    Early,
}

fn homing(bootstrap: &[String], words: &[&str]) -> Result<Command> {
    let mut command = process::homing()?;
    command.args(bootstrap.iter().flat_map(|entry| ["--bootstrap", entry])).args(words);
    command.env_remove("HOMING_DATA_DIR").env("HOMING_LOG", "off");
    Ok(command)
}

fn await_echo(program: &Program) -> Result<Outcome> {
    let mut opened: Option<Opened> = None;
    let begun = Instant::now();
    let mut heard = begun;
    // News of the connection and the echo come by two pipes, and may overtake each other.
    let mut echo = Echo::Awaited;
    let mut last = Value::Null;
    loop {
        let patience = if opened.is_some() { ECHO_PATIENCE } else { PATIENCE };
        let Ok(line) = program.line(patience) else {
            let silent = || Outcome::Failed {
                reason: format!("no end; its last word: {last}"),
                ms: Some(begun.elapsed().as_secs_f64() * 1000.0),
            };
            return Ok(opened.map_or_else(silent, Outcome::Open));
        };
        let ms = line["ms"].as_f64();
        match line["event"].as_str() {
            Some("connected" | "connection") => {
                let ms = ms.context("a connection without its time")?;
                let path = line["path"].as_str().map(str::to_owned);
                heard = Instant::now();
                if echo == Echo::Early {
                    return Ok(Outcome::Open(Opened { ms, first_byte_ms: Some(ms), path }));
                }
                opened = Some(Opened { ms, first_byte_ms: None, path });
            }
            Some("first-byte" | FIRST_OUTPUT) => {
                if let Some(mut opened) = opened {
                    opened.first_byte_ms = Some(opened.ms + heard.elapsed().as_secs_f64() * 1000.0);
                    return Ok(Outcome::Open(opened));
                }
                echo = Echo::Early;
            }
            Some("failed" | "error" | "closed") => {
                let reason = line["reason"]
                    .as_str()
                    .or_else(|| line["code"].as_str())
                    .unwrap_or("no reason")
                    .to_owned();
                let ms = ms.unwrap_or_else(|| begun.elapsed().as_secs_f64() * 1000.0);
                return Ok(opened.map_or(Outcome::Failed { reason, ms: Some(ms) }, Outcome::Open));
            }
            _ => last = line,
        }
    }
}
