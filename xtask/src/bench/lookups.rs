use std::net::SocketAddrV4;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use wire::Id;

use crate::bench::author::{closest, hash};
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
#[derive(Clone, Copy, Debug)]
struct Lookup {
    ms: f64,
    first_ms: f64,
    /// How many of the true closest nodes it ended at.
    true_closest: u32,
}

/// Measures how long a look-up takes, each side with its own client: on a network of its own kind on loopback,
/// and on one that the harness plays, far away and partly dead.
pub(crate) fn run(report: &mut Report) -> Result<()> {
    let size = NEAR_NODES.to_string();
    let (mut ours, mut reference) = (homing()?, script("testnet.js"));
    ours.args(["testnet", &size, "--until-stdin-closes"]);
    reference.arg(size);
    let name = format!("look-up among {NEAR_NODES} nodes");
    add_rows(report, &name, &near(&mut ours, Client::Ours)?, &near(&mut reference, Client::Reference)?)?;

    let topics = topics("far", FAR_TOPICS);
    let stage = Stage::open(FAR)?;
    let (bootstrap, nodes) = (stage.bootstrap()?, stage.living());
    let ours = lookups(Client::Ours.command(bootstrap)?, &topics, &nodes)?;
    let theirs = lookups(Client::Reference.command(bootstrap)?, &topics, &nodes)?;
    let name = format!("look-up among {} nodes, {} dead, 50 ms away", FAR.nodes, FAR.dead);
    add_rows(report, &name, &ours, &theirs)
}

fn near(network: &mut Command, client: Client) -> Result<Vec<Lookup>> {
    let network = Program::start_on(Core::Measured, network)?;
    let ready = network.wait_for("ready")?;
    let bootstrap = address(&ready["bootstrap"][0])?;
    let nodes = addresses(&ready["nodes"])?;
    let topics = topics("near", NEAR_TOPICS);
    announce(client.command(bootstrap)?, &topics)?;
    lookups(client.command(bootstrap)?, &topics.repeat(NEAR_REPEATS), &nodes)
}

fn topics(what: &str, count: u64) -> Vec<Id<32>> {
    (0..count).map(|number| hash(&[what.as_bytes(), &number.to_le_bytes()])).collect()
}

/// Whose client looks up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    Ours,
    Reference,
}

impl Client {
    fn command(self, bootstrap: SocketAddrV4) -> Result<Command> {
        let mut command = match self {
            Self::Ours => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["bench", "client"]);
                command
            }
            Self::Reference => script("lookups.js"),
        };
        command.arg(bootstrap.to_string());
        Ok(command)
    }
}

fn announce(mut client: Command, topics: &[Id<32>]) -> Result<()> {
    client.arg("--announce").args(topics.iter().map(Id::to_string));
    Program::start_on(Core::Harness, &mut client)?.wait_for("announced")?;
    Ok(())
}

fn lookups(mut client: Command, topics: &[Id<32>], nodes: &[SocketAddrV4]) -> Result<Vec<Lookup>> {
    client.args(topics.iter().map(Id::to_string));
    let program = Program::start_on(Core::Harness, &mut client)?;
    let read = |topic: &Id<32>| Lookup::read(&program.line(LOOKUP_MAX)?, *topic, nodes);
    topics.iter().map(read).collect()
}

impl Lookup {
    fn read(line: &Value, topic: Id<32>, nodes: &[SocketAddrV4]) -> Result<Self> {
        let truth = closest(nodes.iter().copied(), topic);
        let found = addresses(&line["closest"])?;
        let hits = found.iter().filter(|address| truth.contains(address)).count();
        Ok(Self {
            ms: line["ms"].as_f64().context("a look-up without its time")?,
            first_ms: line["first_ms"].as_f64().context("a look-up found nobody")?,
            true_closest: u32::try_from(hits)?,
        })
    }
}

fn addresses(list: &Value) -> Result<Vec<SocketAddrV4>> {
    list.as_array().context("a list of nodes is missing")?.iter().map(address).collect()
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
    let closest = row("of 20 closest nodes", |lookup| f64::from(lookup.true_closest), Vec::new());
    report.add(&Row { better: Better::Higher, ..closest });
    Ok(())
}
