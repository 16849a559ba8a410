use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::bench::question::Question;
use crate::bench::report::{Better, Report, Row};

/// Two runs that differ in nothing but the number of requests.
const FEW: u32 = 1_000;
const MANY: u32 = 11_000;

/// Counts instructions per answered request: unlike time, the same on every run.
pub(crate) fn run(report: &mut Report) -> Result<()> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("instructions per answer: not counted, as valgrind is not installed");
        return Ok(());
    }
    for question in Question::ALL {
        let extra = count(question, MANY)? - count(question, FEW)?;
        report.add(&Row {
            name: format!("{} instructions per answer", question.name()),
            better: Better::Lower,
            ours: extra / f64::from(MANY - FEW),
            reference: None,
            floor: None,
            targets: Vec::new(),
        });
    }
    Ok(())
}

fn count(question: Question, requests: u32) -> Result<f64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["bench", "machine", question.name(), &requests.to_string()])
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "valgrind failed: {text}");
    let counted = text.lines().find_map(|line| line.split_once("Collected : ")).context("no count")?.1;
    Ok(counted.trim().parse()?)
}
