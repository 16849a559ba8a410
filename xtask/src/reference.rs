//! Runs the reference's own test files, from its checkout, on a network of Rust nodes.
//!
//! `interop/reference/hook.cjs`, loaded before a test file, replaces the module that makes the network and
//! leaves out the cases that need more of a node than its place in one. The files stay as they are.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result, ensure};

use crate::Command;

pub(crate) const COMMAND: Command = Command {
    name: "reference",
    summary: "run the reference's own test files on a network of Rust nodes",
    help: "DIRECTORY..\n\n\
           DIRECTORY is a checkout of hyperdht, hyperswarm or dht-rpc with its packages installed (`npm install` there).\n\
           The binary is that of HOMING if set, else a release build.",
    run,
};

/// A file that tells which project a folder is a checkout of, and its test files that need a network.
const PROJECTS: &[(&str, &[&str])] =
    &[("lib/announcer.js", HYPERDHT), ("lib/peer-discovery.js", HYPERSWARM), ("lib/query.js", &["test.js"])];

/// Left out: files that need no network, and those of benchmarks by hand.
const HYPERDHT: &[&str] = &[
    "test/announces.js",
    "test/connections.js",
    "test/storing.js",
    "test/relaying.js",
    "test/pool.js",
    "test/noncustodial.js",
    "test/cache.js",
    "test/lifecycle.js",
];

const HYPERSWARM: &[&str] = &[
    "test/chaos.js",
    "test/dups.js",
    "test/firewall.js",
    "test/peer-join.js",
    "test/stats.js",
    "test/suspend.js",
    "test/swarm.js",
    "test/update.js",
];

fn run(arguments: &[String]) -> Result<ExitCode> {
    if let Some(flag) = arguments.iter().find(|argument| argument.starts_with('-')) {
        return Ok(crate::refuse(&COMMAND, flag));
    }
    ensure!(!arguments.is_empty(), "which checkout? `cargo xtask reference --help` says more");
    let homing = homing()?;
    let mut total = Tally::default();
    for directory in arguments {
        let directory =
            PathBuf::from(directory).canonicalize().with_context(|| format!("no folder {directory}"))?;
        for file in test_files(&directory)? {
            println!("{}", directory.join(file).display());
            total.add(&run_file(&directory, file, &homing)?);
        }
    }
    println!("{} passed, {} failed, {} left out", total.passed, total.failed, total.left_out);
    Ok(if total.failed == 0 && total.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn test_files(directory: &Path) -> Result<&'static [&'static str]> {
    let of = PROJECTS.iter().find(|(mark, _)| directory.join(mark).is_file());
    let (_, files) = of.with_context(|| {
        format!("{} is no checkout of hyperdht, hyperswarm or dht-rpc", directory.display())
    })?;
    ensure!(directory.join("node_modules").is_dir(), "run `npm install` in {} first", directory.display());
    Ok(files)
}

fn homing() -> Result<PathBuf> {
    if let Some(path) = env::var_os("HOMING") {
        return Ok(path.into());
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let build = ["build", "--quiet", "--release", "--package", "homing-cli"];
    let built = std::process::Command::new(cargo).args(build).current_dir(crate::root()).status()?;
    ensure!(built.success(), "the binary does not build");
    Ok(crate::root().join("target/release/homing").canonicalize()?)
}

fn run_file(directory: &Path, file: &str, homing: &Path) -> Result<Tally> {
    let mut node = std::process::Command::new("node")
        .arg("--require")
        .arg(crate::root().join("interop/reference/hook.cjs").canonicalize()?)
        .arg(file)
        .current_dir(directory)
        .env("HOMING", homing)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run node")?;
    let mut tally = Tally::default();
    let output = node.stdout.take().context("its output is piped")?;
    for line in BufReader::new(output).lines() {
        let line = line?;
        if let Some(text) = tally.judge(Line::parse(&line)) {
            println!("{text}");
        }
    }
    let ended = node.wait()?;
    // A file that breaks off prints no failure.
    if !ended.success() && tally.failed == 0 {
        tally.failed += 1;
        println!("  FAIL  {file} ended with {ended}");
    }
    Ok(tally)
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u32,
    failed: u32,
    left_out: u32,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.left_out += other.left_out;
    }

    /// Counts a line, and says what of it to print.
    fn judge(&mut self, line: Line<'_>) -> Option<String> {
        match line {
            Line::Passed(case) => {
                self.passed += 1;
                Some(format!("  pass  {case}"))
            }
            Line::Failed(case) => {
                self.failed += 1;
                Some(format!("  FAIL  {case}"))
            }
            Line::LeftOut { why } => {
                self.left_out += 1;
                Some(format!("  left  {why}"))
            }
            Line::Detail(text) => Some(format!("        {text}")),
            Line::Other => None,
        }
    }
}

/// A line of the test runner's output (TAP), or one the hook adds to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line<'a> {
    Passed(&'a str),
    Failed(&'a str),
    LeftOut {
        why: &'a str,
    },
    /// An assertion of a case that failed.
    Detail(&'a str),
    Other,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Self {
        if let Some(why) = line.strip_prefix("# left out: ") {
            Self::LeftOut { why }
        } else if line.ends_with("# SKIP") {
            Self::Other
        } else if let Some(rest) = line.strip_prefix("ok ") {
            Self::Passed(case(rest))
        } else if let Some(rest) = line.strip_prefix("not ok ") {
            Self::Failed(case(rest))
        } else if line.trim_start().starts_with("not ok ") {
            Self::Detail(line.trim_start())
        } else {
            Self::Other
        }
    }
}

/// The name in `7 - name # time = 5ms`.
fn case(rest: &str) -> &str {
    let (_, named) = rest.split_once(" - ").unwrap_or(("", rest));
    named.split_once(" # ").map_or(named, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_counted_once_and_its_assertions_not() {
        let output = [
            "TAP version 13",
            "# timeouts",
            "    ok 1 - ignoring request",
            "ok 13 - timeouts # time = 6347.823427ms",
            "    not ok 2 - expected truthy value",
            "not ok 14 - server suspends - and resumes # time = 1427.61336ms",
            "ok 15 - close event # SKIP",
            "# left out: close event: needs more of a node than its place in a network",
            "# tests = 1/2 pass",
        ];
        let mut tally = Tally::default();
        let printed: Vec<String> = output.iter().filter_map(|line| tally.judge(Line::parse(line))).collect();
        assert_eq!(tally, Tally { passed: 1, failed: 1, left_out: 1 });
        assert_eq!(
            printed,
            [
                "  pass  timeouts",
                "        not ok 2 - expected truthy value",
                "  FAIL  server suspends - and resumes",
                "  left  close event: needs more of a node than its place in a network",
            ]
        );
    }
}
