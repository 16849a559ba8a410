//! Checks the tree for habits that the compiler and Clippy do not see.
//!
//! Rules look at lines, not at syntax trees: they are quick, need no parser, and are sometimes wrong. A place
//! where one is wrong says so with `// tidy-expect(RULE): REASON` above it, which must have a reason and must
//! not outlive what it excuses.

mod evidence;
mod failure;
mod finding;
mod habits;
mod house;
mod manifests;
mod names;
mod shape;
mod source;
mod tree;
mod words;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use crate::Command;
use finding::{Findings, Rule};
use source::Source;

pub(crate) const COMMAND: Command = Command {
    name: "tidy",
    summary: "look for habits that the compiler does not see",
    help: "[--rules]\n\nPrints `path:line: rule: what` for each finding and fails if there is one. Notices\n\
           (crates above their budget) do not fail. Excuse a place with a comment above it:\n\
           // tidy-expect(RULE): REASON\n\n  --rules  print the rules instead",
    run,
};

const RULES: &[&[Rule]] = &[
    words::RULES,
    names::RULES,
    shape::RULES,
    failure::RULES,
    habits::RULES,
    evidence::RULES,
    manifests::RULES,
    tree::RULES,
    finding::RULES,
];

fn run(arguments: &[String]) -> Result<ExitCode> {
    match arguments {
        [] => Ok(if report()? == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        [option] if option == "--rules" => {
            for rule in RULES.iter().copied().flatten() {
                println!("{:14} {}", rule.name, rule.why);
            }
            Ok(ExitCode::SUCCESS)
        }
        [argument, ..] => Ok(crate::refuse(&COMMAND, argument)),
    }
}

/// Inspects the repository, prints what it finds, and counts the findings.
pub(crate) fn report() -> Result<usize> {
    let root = crate::root();
    let (findings, notices) = inspect(&root)?;
    for notice in notices {
        println!("notice: {notice}");
    }
    let mut by_rule = BTreeMap::<&str, usize>::new();
    for finding in &findings {
        println!("{finding}");
        *by_rule.entry(finding.rule.name).or_default() += 1;
    }
    if !findings.is_empty() {
        let counts: Vec<String> = by_rule.iter().map(|(rule, count)| format!("{count} {rule}")).collect();
        println!("{} findings: {}", findings.len(), counts.join(", "));
    }
    Ok(findings.len())
}

/// Applies every rule to the tree below `root`; returns the findings and the notices.
fn inspect(root: &Path) -> Result<(Vec<finding::Finding>, Vec<String>)> {
    let files = tree::files(root)?;
    let mut found = Findings::default();
    tree::check(&files, &mut found);
    manifests::check(&files, &mut found);
    let sources: Vec<Source> = files
        .iter()
        .filter(|file| Path::new(&file.path).extension().is_some_and(|extension| extension == "rs"))
        .map(|file| Source::new(&file.path, &file.text))
        .collect();
    check_sources(&sources, &mut found);
    Ok((found.settle(&sources), shape::notices(&sources)))
}

fn check_sources(sources: &[Source], found: &mut Findings) {
    for source in sources {
        words::check(source, found);
        names::check(source, found);
        shape::check(source, found);
        failure::check(source, found);
        habits::check(source, found);
        evidence::check(source, found);
    }
    shape::check_duplicates(sources, found);
    habits::check_traits(sources, found);
    habits::check_counters(sources, found);
    evidence::check_tests(sources, found);
}

/// Names the rules that fire on files given as path and text, in the order of their places.
#[cfg(test)]
fn fired(files: &[(&str, &str)]) -> Vec<&'static str> {
    let sources: Vec<Source> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
    let mut found = Findings::default();
    check_sources(&sources, &mut found);
    found.settle(&sources).iter().map(|finding| finding.rule.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_have_names_of_their_own() {
        let mut names: Vec<&str> = RULES.iter().copied().flatten().map(|rule| rule.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn a_source_without_bad_habits_has_no_finding() {
        let text = "//! Counts.\n\n/// Adds one.\npub fn next(n: u64) -> u64 {\n    n + 1\n}\n";
        assert_eq!(fired(&[("crates/wire/src/lib.rs", text)]), [""; 0]);
    }
}
