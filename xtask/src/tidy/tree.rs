//! The files themselves: which are there, and what none of them should say.

use std::fs;
use std::io;
use std::path::Path;

use crate::tidy::finding::{Findings, Rule};

pub(crate) const RULES: &[Rule] = &[PLAN_FILE, PRIVATE_PATH];

const PLAN_FILE: Rule = Rule { name: "plan-file", why: "plans and progress belong in issues" };
const PRIVATE_PATH: Rule = Rule { name: "private-path", why: "this folder exists on one machine only" };

/// What is built, fetched or found, not written.
const SKIPPED: &[&str] = &["target", "node_modules", "corpus", "artifacts", "coverage", ".git"];

const PLANS: &[&str] = &["PLAN", "TODO", "PROGRESS", "NOTES", "STATUS", "SCRATCH", "WIP", "HANDOFF"];

/// Top folders whose insides differ from machine to machine.
const PRIVATE: &[&str] = &["home", "root", "Users", "work"];

/// A text of the repository.
#[derive(Debug)]
pub(crate) struct File {
    /// Relative to the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Reads every text below `root`, sorted by path; what is not UTF-8 has an empty text.
pub(crate) fn files(root: &Path) -> io::Result<Vec<File>> {
    let mut folders = vec![String::new()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            let kind = entry.file_type()?;
            if SKIPPED.contains(&name.as_str()) {
                continue;
            }
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                let text = String::from_utf8(fs::read(entry.path())?).unwrap_or_default();
                files.push(File { path, text });
            }
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

pub(crate) fn check(files: &[File], found: &mut Findings) {
    for file in files {
        if is_plan(&file.path) {
            found.add(&file.path, 0, &PLAN_FILE, "");
        }
        for (at, _) in file.text.lines().enumerate().filter(|(_, line)| names_private_folder(line)) {
            found.add(&file.path, at, &PRIVATE_PATH, "");
        }
    }
}

/// Whether a prose file's name ends in a word for work in progress.
fn is_plan(path: &str) -> bool {
    let path = Path::new(path);
    let is_prose = path.extension().is_none_or(|extension| extension == "md" || extension == "txt");
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().to_uppercase()).unwrap_or_default();
    is_prose && stem.rsplit(['_', '-']).next().is_some_and(|word| PLANS.contains(&word))
}

fn names_private_folder(line: &str) -> bool {
    PRIVATE.iter().any(|folder| {
        line.match_indices(&format!("/{folder}/")).any(|(at, _)| {
            // Inside a longer path or an address the folder is no top folder.
            let before = line.split_at(at).0;
            !before.ends_with(|c: char| c.is_alphanumeric() || "._-~}$*)".contains(c))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fired(path: &str, text: &str) -> Vec<&'static str> {
        let mut found = Findings::default();
        check(&[File { path: path.into(), text: text.into() }], &mut found);
        found.settle(&[]).iter().map(|finding| finding.rule.name).collect()
    }

    #[test]
    fn plans_are_found_by_name() {
        for path in ["TODO.md", "docs/dht_PLAN.md", "docs/wire-progress.md", "NOTES"] {
            assert_eq!(fired(path, ""), ["plan-file"], "{path}");
        }
        for path in ["README.md", "docs/adr/001-explanation.md", "crates/dht/src/plan.rs"] {
            assert_eq!(fired(path, ""), [""; 0], "{path}");
        }
    }

    #[test]
    fn folders_of_one_machine_are_found() {
        for folder in PRIVATE {
            let path = format!("/{folder}/someone/homing");
            assert_eq!(fired("a.md", &format!("cd {path}")), ["private-path"], "{folder}");
            assert_eq!(fired("a.sh", &format!("A=\"{path}\"")), ["private-path"], "{folder}");
            assert_eq!(fired("a.md", &format!("https://example.org{path}")), [""; 0], "{folder}");
            assert_eq!(fired("a.md", &format!("target{path} and ./{folder}/a")), [""; 0], "{folder}");
        }
    }
}
