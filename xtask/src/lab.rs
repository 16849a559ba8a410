//! A laboratory of NATs in network namespaces, for our binaries and for the reference.

pub(crate) mod endpoint;
pub(crate) mod namespace;
pub(crate) mod nat;
pub(crate) mod network;
pub(crate) mod probe;
pub(crate) mod promise;
pub(crate) mod scene;
pub(crate) mod shaper;
pub(crate) mod site;
pub(crate) mod survey;
pub(crate) mod table;
pub(crate) mod trials;

use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};

use crate::Command;
use endpoint::Side;
use nat::Kind;
use network::Network;
use promise::Links;
use scene::{Class, Scene};
use table::{Cell, Summary};
use trials::{Cast, Town};

pub(crate) const COMMAND: Command = Command {
    name: "lab",
    summary: "connect through every pair of NAT kinds, beside the reference",
    help: "[OPTION..] [CAST..] [CLASS..] [SERVER:CLIENT..]\n\n\
           Needs root, and `iproute2 nftables conntrack`; no traffic leaves its namespaces. Measures itself\n\
           first. CAST is who serves and who dials: rust-rust, js-js, rust-js, js-rust. CLASS is steady,\n\
           admitting, birthday, sequential, unpunchable, neighbours, together or blocked; SERVER and CLIENT are\n\
           open, fw, eim-eif, eim-adf, eim-apdf, eim-apdf-rp, cgnat, apdm-seq, apdm-apdf. Without them, all.\n\n\
           --survey           only measures the laboratory\n\
           --trials N         of each scene [default: enough for 100 a class between Rust peers, else 3]\n\
           --loss PERCENT     of packets on each host's link, each way [default: 0]\n\
           --network SIDE     whose nodes the DHT is made of, rust or js [default: rust]\n\
           --without-relay    runs no relay that peers may find\n\
           --seed N           of the shaper [default: 1]",
    run,
};

/// Trials of a scene in which the reference has a part.
const TRIALS_WITH_REFERENCE: usize = 3;

/// What the arguments were understood as.
enum Read {
    Plan(Plan),
    Unknown { argument: String },
}

/// What is to be played, and how.
#[derive(Debug)]
struct Plan {
    casts: Vec<Cast>,
    scenes: Vec<Scene>,
    trials: Option<usize>,
    loss: f64,
    network: Side,
    seed: u64,
    survey_only: bool,
    /// Whether a node of the network relays for whoever asks.
    relay: bool,
}

fn run(arguments: &[String]) -> Result<ExitCode> {
    let plan = match Plan::parse(arguments)? {
        Read::Plan(plan) => plan,
        Read::Unknown { argument } => return Ok(crate::refuse(&COMMAND, &argument)),
    };
    survey::survey(plan.seed)?;
    if plan.survey_only {
        return Ok(ExitCode::SUCCESS);
    }
    if cfg!(debug_assertions) {
        crate::bench::build(&["-p", "homing-cli"])?;
    }
    let mut town = Town::new(plan.seed, plan.loss)?;
    let mut network = Network::start(plan.network, &town.internet)?;
    println!("24 {} nodes; {:.0} % loss on each link", plan.network.name(), plan.loss * 100.0);
    let relay_site = town.internet.site(Kind::Open, trials::weather(plan.loss))?;
    if plan.relay {
        network.add_relay(relay_site.host())?;
    }
    let mut broken = Vec::new();
    let mut medians: Vec<(Class, f64)> = Vec::new();
    for cast in &plan.casts {
        let cells = plan.play(&mut town, &network, *cast)?;
        println!("\n{}\n\n{}", table::matrix(&cells), table::classes(*cast, &cells));
        for class in Class::ALL {
            let of_class = cells.iter().filter(|cell| cell.scene.class() == class);
            let summary = Summary::of(of_class.flat_map(|cell| &cell.outcomes));
            if summary.trials > 0 {
                broken.extend(plan.judge(*cast, class, &summary, &mut medians));
            }
        }
    }
    println!();
    for promise in &broken {
        println!("MISSED {promise}");
    }
    println!("{} promises missed", broken.len());
    Ok(if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Plan {
    fn parse(arguments: &[String]) -> Result<Read> {
        let mut plan = Self {
            casts: Vec::new(),
            scenes: Vec::new(),
            trials: None,
            loss: 0.0,
            network: Side::Rust,
            seed: 1,
            survey_only: false,
            relay: true,
        };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value"));
            match word.as_str() {
                "--without-relay" => plan.relay = false,
                "--survey" => plan.survey_only = true,
                "--trials" => plan.trials = Some(value()?.parse()?),
                "--seed" => plan.seed = value()?.parse()?,
                "--loss" => {
                    plan.loss = value()?.parse::<f64>()? / 100.0;
                    ensure!((0.0..1.0).contains(&plan.loss), "a loss is between 0 and 100");
                }
                "--network" => plan.network = Side::parse(value()?).context("a network is rust or js")?,
                word => {
                    if let Some(cast) = Cast::parse(word) {
                        plan.casts.push(cast);
                    } else if let Some(class) = Class::parse(word) {
                        plan.scenes.extend(class.scenes());
                    } else if let Some(scene) = Scene::parse(word) {
                        plan.scenes.push(scene);
                    } else {
                        return Ok(Read::Unknown { argument: word.to_owned() });
                    }
                }
            }
        }
        if plan.casts.is_empty() {
            plan.casts.extend(Cast::ALL);
        }
        if plan.scenes.is_empty() {
            plan.scenes.extend(Class::ALL.into_iter().flat_map(Class::scenes));
        }
        Ok(Read::Plan(plan))
    }

    fn play(&self, town: &mut Town, network: &Network, cast: Cast) -> Result<Vec<Cell>> {
        let mut cells = Vec::new();
        for scene in &self.scenes {
            let trials = self.trials.unwrap_or_else(|| trials(cast, scene.class()));
            let outcomes = town
                .play(&network.bootstrap, *scene, cast, trials)
                .with_context(|| format!("{} in {scene}", cast.name()))?;
            eprintln!("{} {scene}: {}", cast.name(), Summary::of(&outcomes).line());
            cells.push(Cell { scene: *scene, outcomes });
        }
        Ok(cells)
    }

    /// Promises that this class of this cast breaks. Casts with the reference on one side must not be slower than
    /// the reference alone, whose medians are noted as they come.
    fn judge(
        &self,
        cast: Cast,
        class: Class,
        summary: &Summary,
        medians: &mut Vec<(Class, f64)>,
    ) -> Vec<String> {
        let links = if self.loss > 0.0 { Links::Lossy } else { Links::Lossless };
        let named = |text: String| format!("{} {}: {text}", cast.name(), class.name());
        let median = summary.open_ms(0.5);
        match (cast.server, cast.client) {
            (Side::Rust, Side::Rust) => {
                promise::broken(class, links, summary).into_iter().map(named).collect()
            }
            (Side::JavaScript, Side::JavaScript) => {
                medians.push((class, median));
                Vec::new()
            }
            _ => {
                let reference = medians.iter().find(|(other, _)| *other == class);
                let slower = reference.filter(|(_, reference)| median > reference * NOISE);
                let text = slower.map(|(_, reference)| format!("{median:.0} > {reference:.0} ms of js-js"));
                text.map(named).into_iter().collect()
            }
        }
    }
}

/// How much a median of few trials may exceed another that is the same in truth.
const NOISE: f64 = 1.1;

fn trials(cast: Cast, class: Class) -> usize {
    if cast.server == Side::Rust && cast.client == Side::Rust {
        class.trials().div_ceil(class.scenes().len())
    } else {
        TRIALS_WITH_REFERENCE
    }
}
