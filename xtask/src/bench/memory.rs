use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::bench::process::{Program, homing, script};
use crate::bench::report::{Better, Report, Row, Target};
use crate::bench::throughput::{our_node, reference_node};

/// How long a process is left alone before its memory is read: collectors and allocators calm down.
const CALM: Duration = Duration::from_secs(3);

/// Sizes of the two networks whose difference is the cost of a further node; the reference needs seconds for
/// each hundred nodes, so it gets the smaller pair.
const OURS: (u32, u32) = (100, 400);
const REFERENCE: (u32, u32) = (50, 150);

/// The promise about further nodes is in thousands of bytes.
const KB_PER_KIB: f64 = 1.024;

/// Measures resident memory: of one idle node, and of each further node in the same process.
pub(crate) fn run(report: &mut Report) -> Result<()> {
    report.add(&Row {
        name: "idle process, KiB".to_owned(),
        better: Better::Lower,
        ours: resident_kib(&mut our_node()?)?,
        reference: Some(resident_kib(&mut reference_node()?)?),
        floor: None,
        targets: vec![Target::TimesReference(6.0)],
    });
    report.add(&Row {
        name: "each further node in a process, kB".to_owned(),
        better: Better::Lower,
        ours: further_kb(OURS, |size| {
            let mut command = homing()?;
            command.args(["testnet", &size.to_string(), "--until-stdin-closes"]);
            Ok(command)
        })?,
        reference: Some(further_kb(REFERENCE, |size| {
            let mut command = script("testnet.js");
            command.arg(size.to_string());
            Ok(command)
        })?),
        floor: None,
        targets: vec![Target::AtMost(40.0)],
    });
    Ok(())
}

fn further_kb((few, many): (u32, u32), network: impl Fn(u32) -> Result<Command>) -> Result<f64> {
    let less = resident_kib(&mut network(few)?)?;
    let more = resident_kib(&mut network(many)?)?;
    Ok((more - less) * KB_PER_KIB / f64::from(many - few))
}

fn resident_kib(command: &mut Command) -> Result<f64> {
    let mut program = Program::start(command)?;
    program.wait_for("ready")?;
    program.settle(CALM)?;
    Ok(f64::from(u32::try_from(program.resident_kib()?)?))
}
