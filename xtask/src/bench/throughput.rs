use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use wire::Id;

use crate::bench::caller::Caller;
use crate::bench::crowd::Crowd;
use crate::bench::load::{Generator, Server};
use crate::bench::process::{Core, Program, address, homing, pin_this_thread, script};
use crate::bench::question::{Question, prepare};
use crate::bench::report::{Better, Report, Row, Target, median};
use crate::bench::seat::free_address;

/// How long a server answers before it is measured: compilers in the reference need it.
const WARM_UP: Duration = Duration::from_millis(1500);

/// Rounds of each question, of which the median counts.
const ROUNDS: usize = 7;

/// How long one round lasts.
const ROUND: Duration = Duration::from_secs(1);

/// Whose server is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Ours,
    Reference,
    Floor,
}

/// One server with its table and store filled, on the core that is measured.
struct Subject {
    side: Side,
    program: Program,
    generator: Generator,
    _crowd: Option<Crowd>,
}

impl Subject {
    fn node(side: Side, command: &mut Command) -> Result<Self> {
        let program = Program::start_on(Core::Measured, command)?;
        let ready = program.wait_for("ready")?;
        let at = address(&ready["address"])?;
        let id: Id<32> = ready["id"].as_str().context("the node printed no id")?.parse()?;
        let mut caller = Caller::new(Ipv4Addr::LOCALHOST, at)?;
        let crowd = Crowd::introduce(&mut caller, id)?;
        prepare(&mut caller)?;
        Ok(Self { side, program, generator: Generator::new(at, Server::Node)?, _crowd: Some(crowd) })
    }

    fn floor(at: SocketAddrV4) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["bench", "floor", &at.to_string()]);
        let program = Program::start_on(Core::Measured, &mut command)?;
        program.wait_for("ready")?;
        Ok(Self { side: Side::Floor, program, generator: Generator::new(at, Server::Echo)?, _crowd: None })
    }

    /// Answers per second of wall time and per second of processor time.
    fn round(&mut self, question: Question, time: Duration) -> Result<Rates> {
        let before = self.program.processor_time()?;
        let answers = self.generator.run(question, time)?;
        let used = self.program.processor_time()?.saturating_sub(before);
        let answered = f64::from(u32::try_from(answers.answered)?);
        Ok(Rates {
            per_second: answered / answers.wall.as_secs_f64(),
            per_core_second: answered / used.as_secs_f64(),
            lost: answers.lost,
        })
    }
}

#[derive(Clone, Copy, Debug)]
struct Rates {
    per_second: f64,
    per_core_second: f64,
    lost: u64,
}

/// Measures all three servers in turns, so that what disturbs the machine disturbs all of them.
pub(crate) fn run(report: &mut Report) -> Result<()> {
    pin_this_thread(Core::Harness)?;
    let mut subjects = subjects()?;
    for subject in &mut subjects {
        for question in Question::ALL {
            subject.round(question, WARM_UP)?;
        }
    }
    for question in Question::ALL {
        let mut rates: Vec<(Side, Rates)> = Vec::new();
        for _ in 0..ROUNDS {
            for subject in &mut subjects {
                rates.push((subject.side, subject.round(question, ROUND)?));
            }
        }
        add_rows(report, question, &rates);
    }
    Ok(())
}

fn subjects() -> Result<Vec<Subject>> {
    Ok(vec![
        Subject::node(Side::Ours, &mut our_node()?)?,
        Subject::node(Side::Reference, &mut reference_node()?)?,
        Subject::floor(free_address()?)?,
    ])
}

/// A single node of ours.
pub(crate) fn our_node() -> Result<Command> {
    let (at, mut command) = (free_address()?, homing()?);
    let (host, port) = (at.ip().to_string(), at.port().to_string());
    command.args(["bootstrap", "--host", &host, "--port", &port, "--until-stdin-closes"]);
    Ok(command)
}

/// A single node of the reference.
pub(crate) fn reference_node() -> Result<Command> {
    let (at, mut command) = (free_address()?, script("server.js"));
    command.args([at.ip().to_string(), at.port().to_string()]);
    Ok(command)
}

fn add_rows(report: &mut Report, question: Question, rates: &[(Side, Rates)]) {
    let middle = |side: Side, figure: fn(&Rates) -> f64| {
        median(rates.iter().filter(|(of, _)| *of == side).map(|(_, rates)| figure(rates)).collect())
    };
    let row = |name: &str, figure: fn(&Rates) -> f64, targets: Vec<Target>| Row {
        name: format!("{} {name}", question.name()),
        better: Better::Higher,
        ours: middle(Side::Ours, figure),
        reference: Some(middle(Side::Reference, figure)),
        floor: Some(middle(Side::Floor, figure)),
        targets,
    };
    let mut targets = vec![Target::TimesReference(2.0)];
    if question == Question::Ping {
        targets.push(Target::ShareOfFloor(0.8));
    }
    report.add(&row("answers per core-second", |rates| rates.per_core_second, targets));
    report.add(&row("answers per second", |rates| rates.per_second, Vec::new()));
    for side in [Side::Ours, Side::Reference, Side::Floor] {
        let lost: u64 = rates.iter().filter(|(of, _)| *of == side).map(|(_, rates)| rates.lost).sum();
        if lost > 0 {
            println!("    {side:?} left {lost} requests unanswered");
        }
    }
}
