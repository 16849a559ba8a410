use std::net::SocketAddrV4;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use wire::Id;

use crate::bench::author::hash;
use crate::bench::process::{Core, Program, address, homing, script};
use crate::bench::report::{Better, Report, Row, Target, median};
use crate::bench::stage::{Cast, Stage};

/// Nodes of the network on loopback.
const NEAR_NODES: usize = 100;

/// Topics announced there, and how often each is looked up.
const NEAR_TOPICS: u64 = 20;
const NEAR_REPEATS: usize = 10;

/// The network that is far away and partly dead.
const FAR: Cast = Cast { nodes: 40, dead: 8, round_trip: Duration::from_millis(50) };

/// Topics looked up there.
const FAR_TOPICS: u64 = 30;

/// Longest that one look-up may take.
const LOOKUP_MAX: Duration = Duration::from_secs(30);

/// One finished look-up.
#[derive(Clone, Debug)]
struct Lookup {
    ms: f64,
    first_ms: f64,
    closest: Vec<SocketAddrV4>,
}

/// Measures how long a look-up takes, each side with its own client: on a network of its own kind on loopback,
/// and on one that the harness plays, far away and partly dead.
pub(crate) fn run(report: &mut Report) -> Result<()> {
    let near = topics("near", NEAR_TOPICS);
    let repeated: Vec<_> = near.iter().copied().cycle().take(near.len() * NEAR_REPEATS).collect();
    let name = format!("look-up among {NEAR_NODES} nodes");
    let network = |mut command: Command, client: fn(SocketAddrV4) -> Result<Command>| {
        let network = Program::start_on(Core::Measured, &mut command)?;
        let bootstrap = address(&network.wait_for("ready")?["bootstrap"][0])?;
        announce(client(bootstrap)?, &near)?;
        lookups(client(bootstrap)?, &repeated)
    };
    let mut testnet = homing();
    testnet.args(["testnet", &NEAR_NODES.to_string(), "--until-stdin-closes"]);
    let mut reference = script("testnet.js")?;
    reference.arg(NEAR_NODES.to_string());
    add_rows(report, &name, &network(testnet, our_client)?, &network(reference, reference_client)?)?;

    let far = topics("far", FAR_TOPICS);
    let name = format!("look-up among {} nodes, {} dead, 50 ms away", FAR.nodes, FAR.dead);
    let stage = Stage::open(FAR)?;
    let ours = lookups(our_client(stage.bootstrap()?)?, &far)?;
    let theirs = lookups(reference_client(stage.bootstrap()?)?, &far)?;
    add_rows(report, &name, &ours, &theirs)?;
    let found = |lookups: &[Lookup]| overlap(&stage, &far, lookups);
    println!("    true closest 20 found: ours {:.1}, reference {:.1}", found(&ours), found(&theirs));
    Ok(())
}

fn topics(what: &str, count: u64) -> Vec<Id<32>> {
    (0..count).map(|number| hash(&[what.as_bytes(), &number.to_le_bytes()])).collect()
}

fn our_client(bootstrap: SocketAddrV4) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bench", "client", &bootstrap.to_string()]);
    Ok(command)
}

fn reference_client(bootstrap: SocketAddrV4) -> Result<Command> {
    let mut command = script("lookups.js")?;
    command.arg(bootstrap.to_string());
    Ok(command)
}

fn announce(mut client: Command, topics: &[Id<32>]) -> Result<()> {
    client.arg("--announce").args(topics.iter().map(Id::to_string));
    Program::start_on(Core::Harness, &mut client)?.wait_for("announced")?;
    Ok(())
}

fn lookups(mut client: Command, topics: &[Id<32>]) -> Result<Vec<Lookup>> {
    client.args(topics.iter().map(Id::to_string));
    let program = Program::start_on(Core::Harness, &mut client)?;
    topics.iter().map(|_| Lookup::read(&program.line(LOOKUP_MAX)?)).collect()
}

impl Lookup {
    fn read(line: &Value) -> Result<Self> {
        let closest = line["closest"].as_array().context("a look-up named no closest nodes")?;
        Ok(Self {
            ms: line["ms"].as_f64().context("a look-up without its time")?,
            first_ms: line["first_ms"].as_f64().context("a look-up found nobody")?,
            closest: closest.iter().map(address).collect::<Result<_>>()?,
        })
    }
}

fn add_rows(report: &mut Report, name: &str, ours: &[Lookup], theirs: &[Lookup]) -> Result<()> {
    ensure!(ours.len() == theirs.len(), "the sides looked up different numbers of topics");
    let middle =
        |lookups: &[Lookup], figure: fn(&Lookup) -> f64| median(lookups.iter().map(figure).collect());
    let row = |what: &str, figure: fn(&Lookup) -> f64, targets: Vec<Target>| Row {
        name: format!("{name}, {what}"),
        better: Better::Lower,
        ours: middle(ours, figure),
        reference: Some(middle(theirs, figure)),
        floor: None,
        targets,
    };
    report.add(&row("ms", |lookup| lookup.ms, vec![Target::TimesReference(1.0)]));
    report.add(&row("ms to the first peer", |lookup| lookup.first_ms, Vec::new()));
    Ok(())
}

/// How many of the true closest nodes the look-ups ended at, on average.
fn overlap(stage: &Stage, topics: &[Id<32>], lookups: &[Lookup]) -> f64 {
    let hits = topics.iter().zip(lookups).map(|(topic, lookup)| {
        let truth = stage.truth(*topic);
        let hits = lookup.closest.iter().filter(|address| truth.contains(address)).count();
        f64::from(u32::try_from(hits).unwrap_or(u32::MAX))
    });
    hits.sum::<f64>() / f64::from(u32::try_from(lookups.len().max(1)).unwrap_or(u32::MAX))
}
