//! Arrows between crates, read from their manifests and from the lock file.

use std::collections::{BTreeMap, BTreeSet};

use crate::tidy::finding::{Findings, Rule};
use crate::tidy::house::{self, ROOMS};
use crate::tidy::tree::File;

pub(crate) const RULES: &[Rule] = &[ARROW, RUNTIME, LOOSE_ERROR];

const ARROW: Rule = Rule { name: "arrow", why: "the map has no arrow between these crates" };
const RUNTIME: Rule = Rule { name: "runtime", why: "a machine compiles without a runtime in its tree" };
const LOOSE_ERROR: Rule = Rule { name: "loose-error", why: "below the binaries a failure has a type" };

const RUNTIMES: &[&str] = &["tokio", "mio", "socket2", "async-io", "async-std", "smol"];

/// A line of a manifest that lets the crate's code use another.
#[derive(Debug, PartialEq, Eq)]
struct Dependency {
    line: usize,
    /// The package, without the workspace's prefix.
    name: String,
}

pub(crate) fn check(files: &[File], found: &mut Findings) {
    let lock = files
        .iter()
        .find(|file| file.path == "Cargo.lock")
        .map(|file| locked(&file.text))
        .unwrap_or_default();
    let manifests: BTreeMap<&str, (&File, Vec<Dependency>)> = files
        .iter()
        .filter_map(|file| {
            let krate = file.path.strip_prefix("crates/")?.strip_suffix("/Cargo.toml")?;
            (!krate.contains('/')).then(|| (krate, (file, dependencies(&file.text))))
        })
        .collect();
    for (krate, (file, dependencies)) in &manifests {
        let Some(room) = ROOMS.iter().find(|room| room.name == *krate) else {
            found.add(&file.path, 0, &ARROW, format!("`{krate}` is not on the map"));
            continue;
        };
        for Dependency { line, name } in dependencies {
            if manifests.contains_key(name.as_str()) && !room.knows.contains(&name.as_str()) {
                found.add(&file.path, *line, &ARROW, format!("`{krate}` must not know `{name}`"));
            }
            let runtime = RUNTIMES.iter().find(|runtime| reaches(name, runtime, &lock));
            if let Some(runtime) = runtime.filter(|_| house::is_machine(krate)) {
                found.add(&file.path, *line, &RUNTIME, format!("`{name}` brings `{runtime}`"));
            }
            if name == "anyhow" && *krate != "cli" {
                found.add(&file.path, *line, &LOOSE_ERROR, "");
            }
        }
    }
}

/// What the code of a package may use, for every target; not what its tests may use.
fn dependencies(manifest: &str) -> Vec<Dependency> {
    let mut found = Vec::new();
    let mut section = "";
    for (line, text) in manifest.lines().enumerate() {
        if let Some(header) = text.trim().strip_prefix('[') {
            section = header.trim_end_matches(']');
            if let Some(("dependencies", name)) =
                section.rsplit_once('.').map(|(left, name)| (last(left), name))
            {
                found.push(Dependency { line, name: package(name) });
            }
        } else if last(section) == "dependencies"
            && let Some((key, value)) = text.split_once('=')
        {
            let renamed = value.split_once("package").and_then(|(_, rest)| rest.split('"').nth(1));
            let name = renamed.unwrap_or_else(|| key.split('.').next().unwrap_or(key));
            found.push(Dependency { line, name: package(name) });
        }
    }
    found
}

fn last(section: &str) -> &str {
    section.rsplit('.').next().unwrap_or(section)
}

fn package(name: &str) -> String {
    let name = name.trim().trim_matches('"');
    name.strip_prefix("homing-").unwrap_or(name).to_owned()
}

/// What each package of a lock file depends on. The workspace's own are left out: theirs include tests'.
fn locked(lock: &str) -> BTreeMap<&str, Vec<&str>> {
    let packages = lock.split("[[package]]").skip(1).filter(|package| package.contains("\nsource = "));
    packages
        .filter_map(|package| {
            let name = package.split("name = \"").nth(1)?.split('"').next()?;
            let list = package.split("dependencies = [").nth(1).unwrap_or_default();
            let names = list.split('"').skip(1).step_by(2).filter_map(|entry| entry.split(' ').next());
            Some((name, names.collect()))
        })
        .collect()
}

/// Whether a package is the wanted one or brings it along.
fn reaches(package: &str, wanted: &str, lock: &BTreeMap<&str, Vec<&str>>) -> bool {
    let (mut queue, mut seen) = (vec![package], BTreeSet::new());
    while let Some(name) = queue.pop() {
        if name == wanted {
            return true;
        }
        if seen.insert(name) {
            queue.extend(lock.get(name).into_iter().flatten());
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fired(files: &[(&str, &str)]) -> Vec<&'static str> {
        let files: Vec<File> =
            files.iter().map(|(path, text)| File { path: (*path).into(), text: (*text).into() }).collect();
        let mut found = Findings::default();
        check(&files, &mut found);
        found.settle(&[]).iter().map(|finding| finding.rule.name).collect()
    }

    const WIRE: (&str, &str) = ("crates/wire/Cargo.toml", "[dependencies]\nthiserror.workspace = true\n");

    #[test]
    fn an_arrow_that_the_map_lacks_is_found_however_it_is_written() {
        let dht = ("crates/dht/Cargo.toml", "[dependencies]\nwire.workspace = true\n");
        assert_eq!(fired(&[WIRE, dht]), [""; 0]);
        for line in [
            "[dependencies]\ndht.workspace = true\n",
            "[dependencies]\nhoming-dht = { path = \"../dht\" }\n",
            "[dependencies]\ntable = { package = \"homing-dht\", path = \"../dht\" }\n",
            "[dependencies.dht]\nworkspace = true\n",
            "[target.'cfg(unix)'.dependencies]\ndht.workspace = true\n",
            "[build-dependencies]\nanything = \"1\"\n\n[dependencies]\ndht = { workspace = true }\n",
        ] {
            assert_eq!(fired(&[("crates/wire/Cargo.toml", line), dht]), ["arrow"], "{line}");
        }
    }

    #[test]
    fn tests_may_know_any_crate() {
        let wire = ("crates/wire/Cargo.toml", "[dependencies]\n\n[dev-dependencies]\ndht.workspace = true\n");
        assert_eq!(fired(&[wire, ("crates/dht/Cargo.toml", "")]), [""; 0]);
    }

    #[test]
    fn a_crate_that_is_not_on_the_map_is_found() {
        assert_eq!(fired(&[("crates/attic/Cargo.toml", "[dependencies]\n")]), ["arrow"]);
    }

    #[test]
    fn a_runtime_is_found_behind_other_packages() {
        let lock = "[[package]]\nname = \"nice\"\nsource = \"registry\"\ndependencies = [\n \"mid 1.0.0\",\n]\n\n\
                    [[package]]\nname = \"mid\"\nsource = \"registry\"\ndependencies = [\n \"tokio\",\n]\n";
        let dht = ("crates/dht/Cargo.toml", "[dependencies]\nnice = \"1\"\n");
        assert_eq!(fired(&[dht, ("Cargo.lock", lock)]), ["runtime"]);
        assert_eq!(fired(&[dht, ("Cargo.lock", &lock.replace("tokio", "itoa"))]), [""; 0]);
        let node = ("crates/node/Cargo.toml", "[dependencies]\nnice = \"1\"\n");
        assert_eq!(fired(&[node, ("Cargo.lock", lock)]), [""; 0]);
        assert_eq!(fired(&[("crates/pace/Cargo.toml", "[dependencies]\ntokio = \"1\"\n")]), ["runtime"]);
    }

    #[test]
    fn an_error_without_a_type_stays_in_the_binary() {
        let anyhow = "[dependencies]\nanyhow.workspace = true\n";
        assert_eq!(fired(&[("crates/node/Cargo.toml", anyhow)]), ["loose-error"]);
        assert_eq!(fired(&[("crates/cli/Cargo.toml", anyhow)]), [""; 0]);
    }
}
