//! Everything that must hold before a change is taken, from the quickest to the slowest.

use std::io::{self, BufRead, BufReader};
use std::process::{Command as Process, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::{Command, tidy};

pub(crate) const COMMAND: Command = Command {
    name: "ci",
    summary: "run every check, the quickest first",
    help: "[STEP..]\n\nRuns every step, or the named ones, until one fails; prints the time of each and, as its\n\
           last line, how many tests passed and failed. Steps:\n\
           format, tidy, deny, clippy, doc, tests, doctests, fuzz, interop, demo, flood",
    run,
};

struct Step {
    name: &'static str,
    run: fn(&mut Tally) -> Result<Verdict>,
}

#[derive(PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed,
    /// Does not apply here, and why.
    Skipped(&'static str),
}

impl From<ExitStatus> for Verdict {
    fn from(status: ExitStatus) -> Self {
        if status.success() { Self::Passed } else { Self::Failed }
    }
}

const STEPS: &[Step] = &[
    Step { name: "format", run: format },
    Step { name: "tidy", run: habits },
    Step { name: "deny", run: deny },
    Step { name: "clippy", run: clippy },
    Step { name: "doc", run: doc },
    Step { name: "tests", run: tests },
    Step { name: "doctests", run: doctests },
    Step { name: "fuzz", run: fuzz },
    Step { name: "interop", run: interop },
    Step { name: "demo", run: demo },
    Step { name: "flood", run: flood },
];

fn run(arguments: &[String]) -> Result<ExitCode> {
    if let Some(unknown) = arguments.iter().find(|name| STEPS.iter().all(|step| step.name != **name)) {
        return Ok(crate::refuse(&COMMAND, unknown));
    }
    let begun = Instant::now();
    let mut tally = Tally::default();
    let mut times = Vec::new();
    let mut verdict = ExitCode::SUCCESS;
    let chosen =
        STEPS.iter().filter(|step| arguments.is_empty() || arguments.iter().any(|name| name == step.name));
    for step in chosen {
        println!("== {}", step.name);
        let begun = Instant::now();
        let failed_before = tally.failed;
        let failed = match (step.run)(&mut tally)? {
            Verdict::Passed => false,
            Verdict::Failed => true,
            Verdict::Skipped(why) => {
                println!("skipped: {why}");
                continue;
            }
        };
        times.push((step.name, begun.elapsed()));
        if failed {
            println!("{} failed", step.name);
            // A step that is no test counts as one.
            tally.failed += u64::from(tally.failed == failed_before);
            verdict = ExitCode::FAILURE;
            break;
        }
    }
    times.push(("total", begun.elapsed()));
    println!("\n{}\n{}", table(&times), tally.summary());
    Ok(verdict)
}

fn table(times: &[(&str, Duration)]) -> String {
    let rows = times.iter().map(|(name, time)| format!("{name:10}{:8.1} s", time.as_secs_f64()));
    rows.collect::<Vec<_>>().join("\n")
}

fn format(_: &mut Tally) -> Result<Verdict> {
    passes([
        cargo(["fmt", "--all", "--check"]),
        cargo(["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]),
    ])
}

fn habits(_: &mut Tally) -> Result<Verdict> {
    Ok(if tidy::report()? == 0 { Verdict::Passed } else { Verdict::Failed })
}

fn deny(_: &mut Tally) -> Result<Verdict> {
    if !has_subcommand("deny") {
        return Ok(Verdict::Skipped("cargo-deny is not installed"));
    }
    passes([cargo(["deny", "--log-level", "error", "check", "bans", "licenses", "sources"])])
}

fn clippy(_: &mut Tally) -> Result<Verdict> {
    passes([cargo(["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"])])
}

fn doc(_: &mut Tally) -> Result<Verdict> {
    let mut doc = cargo(["doc", "--quiet", "--workspace", "--no-deps"]);
    doc.env("RUSTDOCFLAGS", "-D warnings");
    passes([doc])
}

fn tests(tally: &mut Tally) -> Result<Verdict> {
    if has_subcommand("nextest") {
        let mut nextest = cargo(["nextest", "run", "--workspace", "--no-fail-fast", "--cargo-quiet"]);
        nextest.args(["--show-progress", "none", "--status-level", "fail", "--final-status-level", "fail"]);
        return tally.count(nextest);
    }
    let mut test = cargo(["test", "--quiet", "--workspace", "--no-fail-fast"]);
    test.args(["--lib", "--bins", "--tests", "--examples"]);
    tally.count(test)
}

fn doctests(tally: &mut Tally) -> Result<Verdict> {
    tally.count(cargo(["test", "--quiet", "--workspace", "--doc"]))
}

/// Checks the fuzz targets without libFuzzer; that their inputs pass is a test of `wire`.
fn fuzz(tally: &mut Tally) -> Result<Verdict> {
    let fuzz = ["--quiet", "--manifest-path", "fuzz/Cargo.toml", "--no-default-features"];
    let (mut clippy, mut test) = (cargo(["clippy"]), cargo(["test"]));
    clippy.args(fuzz).args(["--all-targets", "--", "-D", "warnings"]);
    test.args(fuzz).arg("--lib");
    let checked = passes([clippy])?;
    if checked == Verdict::Passed { tally.count(test) } else { Ok(checked) }
}

fn interop(tally: &mut Tally) -> Result<Verdict> {
    let root = crate::root();
    let folder = root.join("interop");
    if !folder.join("package.json").exists() {
        return Ok(Verdict::Skipped("there is no interop/package.json"));
    }
    let (mut install, mut node) = (Process::new("npm"), Process::new("node"));
    install.args(["ci", "--silent", "--no-audit", "--no-fund"]).current_dir(&folder);
    node.args(["--test", "--test-concurrency=2", "--test-reporter=spec"])
        .current_dir(&folder)
        .env("HOMING", root.join("target/debug/homing"));
    let ready = passes([cargo(["build", "--quiet", "--package", "homing-cli"]), install])?;
    if ready == Verdict::Passed { tally.count(node) } else { Ok(ready) }
}

fn demo(_: &mut Tally) -> Result<Verdict> {
    if !crate::root().join("crates/cli/src/main.rs").exists() {
        return Ok(Verdict::Skipped("there is no binary"));
    }
    passes([cargo(["run", "--quiet", "--package", "homing-cli", "--bin", "homing", "--", "demo"])])
}

fn flood(_: &mut Tally) -> Result<Verdict> {
    if !cfg!(target_os = "linux") {
        return Ok(Verdict::Skipped("it needs Linux"));
    }
    passes([cargo(["xtask", "flood", "--seconds", "30"])])
}

fn cargo<const N: usize>(arguments: [&str; N]) -> Process {
    let mut cargo = Process::new("cargo");
    // Without colours the summaries of test runners read the same everywhere.
    cargo.args(arguments).current_dir(crate::root()).env("CARGO_TERM_COLOR", "never");
    cargo
}

fn has_subcommand(name: &str) -> bool {
    let mut version = cargo([name, "--version"]);
    version.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Runs one after another, until one fails.
fn passes<const N: usize>(processes: [Process; N]) -> Result<Verdict> {
    for mut process in processes {
        let program = process.get_program().to_string_lossy().into_owned();
        let status = process.status().with_context(|| format!("cannot run {program}"))?;
        if !status.success() {
            return Ok(Verdict::Failed);
        }
    }
    Ok(Verdict::Passed)
}

/// Tests counted in what their runners print.
#[derive(Default)]
struct Tally {
    passed: u64,
    failed: u64,
}

impl Tally {
    /// Runs tests, passes their output on, and counts what it says.
    fn count(&mut self, mut process: Process) -> Result<Verdict> {
        let (output, writer) = io::pipe()?;
        process.env("NO_COLOR", "1").stdout(writer.try_clone()?).stderr(writer);
        let program = process.get_program().to_string_lossy().into_owned();
        let mut child = process.spawn().with_context(|| format!("cannot run {program}"))?;
        // The command keeps its ends of the pipe open, and the output would never end.
        drop(process);
        for line in BufReader::new(output).split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            self.read(&line);
        }
        Ok(child.wait()?.into())
    }

    /// Reads a summary of `cargo test`, `cargo nextest` or `node --test`; other lines count nothing.
    fn read(&mut self, line: &str) {
        let line = line.trim();
        if line.starts_with("test result:") || line.starts_with("Summary [") {
            self.passed += number_before(line, " passed");
            self.failed += number_before(line, " failed") + number_before(line, " timed out");
        } else if let Some(rest) = line.strip_prefix("# ").or_else(|| line.strip_prefix("ℹ ")) {
            match rest.split_once(' ') {
                Some(("pass", count)) => self.passed += count.parse().unwrap_or(0),
                Some(("fail" | "cancelled", count)) => self.failed += count.parse().unwrap_or(0),
                _ => {}
            }
        }
    }

    fn summary(&self) -> String {
        format!("{} passed, {} failed", self.passed, self.failed)
    }
}

/// The whole number that stands before a word, 0 where there is none.
fn number_before(line: &str, word: &str) -> u64 {
    let before = line.split(word).next().filter(|before| before.len() < line.len());
    before.and_then(|before| before.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(lines: &[&str]) -> String {
        let mut tally = Tally::default();
        for line in lines {
            tally.read(line);
        }
        tally.summary()
    }

    #[test]
    fn summaries_of_every_runner_are_added_up() {
        let lines = [
            "test result: ok. 34 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.72s",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out",
            "     Summary [   2.016s] 44/50 tests run: 40 passed (1 slow), 3 failed, 1 timed out, 6 skipped",
            "# tests 9",
            "# pass 7",
            "# fail 1",
            "# cancelled 1",
        ];
        assert_eq!(summary(&lines), "84 passed, 8 failed");
        assert_eq!(summary(&["ℹ pass 5", "ℹ fail 0", "ℹ duration_ms 77"]), "5 passed, 0 failed");
    }

    #[test]
    fn other_lines_count_nothing() {
        assert_eq!(summary(&["# passwords 5", "12 passed", "running 4 tests", ""]), "0 passed, 0 failed");
    }

    #[test]
    fn the_help_names_every_step() {
        for step in STEPS {
            assert!(COMMAND.help.contains(step.name), "{}", step.name);
        }
    }
}
