//! The demonstration.

use std::process::Command;

use serde_json::Value;

/// What is promised.
const MILLIS_MAX: u64 = 60_000;

#[test]
fn m26_the_demo_checks_every_step_within_a_minute() {
    let output = Command::new(env!("CARGO_BIN_EXE_pehr")).args(["demo", "--json"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(output.status.code(), Some(0), "{text}");
    let (done, steps) = lines.split_last().unwrap();
    assert!(steps.iter().all(|step| step["ok"] == true), "{text}");
    assert_eq!(done["steps"], steps.len());
    assert!(steps.len() > 20 && done["millis"].as_u64().unwrap() < MILLIS_MAX, "{done}");
}
