//! What a node and its neighbours go through while strangers send it everything they can.

mod honest;
mod ledger;
mod node;
mod prober;
mod strike;
mod wave;

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::{Command as Process, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, Result};
use wire::hyper::LOOKUP;

use crate::Command;
use crate::bench::author::id_of;
use crate::bench::caller::Caller;
use crate::bench::crowd::Crowd;
use crate::bench::process::{Core, Program, pin_this_thread, script};
use crate::bench::routine::Routine;
use crate::bench::seat::{Seat, free_address};
use crate::bench::{build, crowd};
use honest::{Lookups, Neighbourhood, look_up, topic_at};
use ledger::BURST_BYTES;
use prober::Pings;
use strike::Strike;
use wave::{HOT_NETWORKS, hot_network, stretch_answers};

/// How long the flood lasts where nothing else is said.
const TIME: Duration = Duration::from_mins(10);

/// What is promised.
const LOST_PERCENT_MAX: f64 = 1.0;
const P99_MS_MAX: f64 = 20.0;
const RESIDENT_KIB_MAX: u64 = 64 << 10;

/// How often somebody who answers pings can be told to end.
const LOOK: Duration = Duration::from_millis(200);

/// Which node is flooded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flooded {
    Ours,
    /// For comparison; it has no neighbours, and is not held to anything.
    Reference,
}

pub(crate) const COMMAND: Command = Command {
    name: "flood",
    summary: "flood a node and hold it to its promises",
    help: "[--seconds N] [--reference]\n\nSends 20,000 datagrams a second of every kind to one node, and prints how its pings,\n\
           its memory, look-ups of others and what it sends to strangers fare.\n\n  \
           --seconds N  how long, 600 if not said\n  \
           --reference  flood hyperdht under Node instead, which is held to nothing",
    run,
};

fn run(arguments: &[String]) -> Result<ExitCode> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match *words {
        ["node", at, pinged] => node::serve(at.parse()?, pinged.parse()?),
        [] => flood(Flooded::Ours, TIME),
        ["--seconds", seconds] => flood(Flooded::Ours, Duration::from_secs(seconds.parse()?)),
        ["--seconds", seconds, "--reference"] => {
            flood(Flooded::Reference, Duration::from_secs(seconds.parse()?))
        }
        _ => Ok(crate::refuse(&COMMAND, &words.join(" "))),
    }
}

fn flood(flooded: Flooded, time: Duration) -> Result<ExitCode> {
    build(if cfg!(debug_assertions) { &["-p", "homing-cli"] } else { &["--release", "-p", "homing-cli"] })?;
    pin_this_thread(Core::Harness)?;
    let at = free_address()?;
    let topic = topic_at(at);
    let responder = Seat::take(Ipv4Addr::LOCALHOST, 0)?;
    let mut node = Program::start_on(Core::Measured, &mut command(flooded, at, responder.address)?)?;
    node.wait_for("ready")?;
    let _responses = Routine::repeat(move || crowd::answer(std::slice::from_ref(&responder), LOOK));
    let mut caller = Caller::new(Ipv4Addr::LOCALHOST, at)?;
    let (neighbourhood, _crowd) = match flooded {
        Flooded::Ours => (Some(Neighbourhood::around(at, topic)?), None),
        Flooded::Reference => (None, Some(Crowd::introduce(&mut caller, id_of(at))?)),
    };
    stretch_answers(&mut caller)?;
    let lookups = neighbourhood.as_ref().map(|_| Routine::start(move |ending| look_up(at, topic, ending)));
    let probes = Routine::start(move |ending| prober::probe(at, ending));
    let mut strike = Strike::new(at)?;
    println!("flooding {at} for {} s", time.as_secs());
    strike.run(time)?;

    let mut outcome = Outcome {
        time,
        asked: probes.finish()?,
        lookups: lookups.map(Routine::finish).transpose()?,
        kept: caller.ask(LOOKUP, Some(topic))?.value.is_some(),
        dropped: dropped(at.port())?,
        resident_kib_max: node.resident_kib_max()?,
        processor_time: node.processor_time()?,
        own: Pings::read(&node.end())?,
        strike,
    };
    let broken = outcome.print();
    Ok(if broken == 0 || flooded == Flooded::Reference { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn command(flooded: Flooded, at: SocketAddrV4, pinged: SocketAddrV4) -> Result<Process> {
    let mut command = match flooded {
        Flooded::Ours => {
            let mut command = Process::new(std::env::current_exe()?);
            command.args(["flood", "node"]);
            command
        }
        Flooded::Reference => script("flooded.js"),
    };
    command.args([at.to_string(), pinged.to_string()]);
    Ok(command)
}

/// Tells how many datagrams the system dropped because the socket of a port was full.
fn dropped(port: u16) -> Result<u64> {
    let (table, port) = (fs::read_to_string("/proc/net/udp")?, format!(":{port:04X}"));
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = rows.into_iter().find(|row| row.get(1).is_some_and(|local| local.ends_with(&port)));
    Ok(row.and_then(|row| row.last().copied()).context("the node's socket is gone")?.parse()?)
}

/// What the flood did to the node.
struct Outcome {
    time: Duration,
    /// Pings that an honest host sent to the node.
    asked: Pings,
    /// Pings that the node itself sent to an honest host.
    own: Pings,
    lookups: Option<Lookups>,
    /// Whether the node still knows the honest peer.
    kept: bool,
    /// Datagrams that found no room in the node's socket.
    dropped: u64,
    resident_kib_max: u64,
    processor_time: Duration,
    strike: Strike,
}

impl Outcome {
    /// Prints every figure beside its limit and counts the limits that were broken.
    fn print(&mut self) -> u32 {
        let mut broken = 0;
        let mut say = |name: &str, figure: String, limit: &str, kept: bool| {
            broken += u32::from(!kept);
            println!("{name:<34} {figure:<34} {limit:<22} {}", if kept { "kept" } else { "BROKEN" });
        };
        for (name, pings) in [("pings of the node", &mut self.own), ("pings to the node", &mut self.asked)] {
            let (lost, p99) = (pings.lost_percent(), pings.p99_ms());
            let figure = format!("{}: {lost:.2} % lost, p99 {p99:.2} ms", pings.rtt_ms.len());
            let kept = lost <= LOST_PERCENT_MAX && p99 <= P99_MS_MAX;
            say(name, figure, &format!("{LOST_PERCENT_MAX} %, {P99_MS_MAX} ms"), kept);
        }
        if let Some(lookups) = self.lookups {
            let Lookups { made, found } = lookups;
            say("honest look-ups", format!("{found} of {made} found a peer"), "all", found == made);
            let kept = if self.kept { "still there" } else { "gone" };
            say("what an honest peer announced", kept.to_owned(), "still there", self.kept);
        }
        let resident = self.resident_kib_max;
        let limit = format!("{RESIDENT_KIB_MAX} KiB");
        say("most memory resident", format!("{resident} KiB"), &limit, resident <= RESIDENT_KIB_MAX);
        let (worst, excess) = self.strike.ledger.worst();
        let limit = format!("{BURST_BYTES} bytes");
        say(
            "beyond 3 x to one unproven /24",
            format!("{excess} bytes to {worst}"),
            &limit,
            excess <= BURST_BYTES,
        );
        self.print_flood();
        broken
    }

    fn print_flood(&mut self) {
        let hot = (0..HOT_NETWORKS).map(|number| self.strike.ledger.totals(hot_network(number)));
        let (sent, got) = hot.fold((0, 0), |(sent, got), (more, back)| (sent + more, got + back));
        let total = self.strike.sent;
        let (rate, dropped) = (total / self.time.as_secs().max(1), self.dropped);
        println!("{total} datagrams, {rate} a second; {dropped} found the node's socket full");
        let busy = self.processor_time.as_secs_f64() * 100.0 / self.time.as_secs_f64();
        println!("the node kept one core {busy:.0} % busy");
        println!("{HOT_NETWORKS} networks that only asked for long answers sent {sent} bytes and got {got}");
    }
}
