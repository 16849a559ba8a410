//! Shapes of code that grow without bound, hide their owner, or are never used.

use std::collections::BTreeMap;

use crate::tidy::finding::{Findings, Rule};
use crate::tidy::house;
use crate::tidy::source::{Source, declared};

pub(crate) const RULES: &[Rule] = &[IMPURE, SHARED_LOCK, UNBOUNDED, LONE_TRAIT, DEAD_COUNTER];

const IMPURE: Rule = Rule { name: "impure", why: "a machine has no clock, entropy, socket, thread or file" };
const SHARED_LOCK: Rule = Rule { name: "shared-lock", why: "one owner, messages in, events out" };
const UNBOUNDED: Rule = Rule { name: "unbounded", why: "every queue has a limit" };
const LONE_TRAIT: Rule =
    Rule { name: "lone-trait", why: "write the function: a trait needs two implementations" };
const DEAD_COUNTER: Rule = Rule { name: "dead-counter", why: "nothing ever changes this number" };

/// Words that reach the world; they have no place in a machine.
const WORLD: &[&str] = &[
    "Instant::now",
    "SystemTime::now",
    ".elapsed()",
    "thread_rng",
    "rand::rng(",
    "rand::random",
    "OsRng",
    "SysRng",
    "getrandom",
    "from_entropy",
    "from_os_rng",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "thread::spawn",
    "tokio::",
    "std::env::",
    "std::fs::",
    "std::process::",
];

pub(crate) fn check(source: &Source, found: &mut Findings) {
    let is_machine = source.krate().is_some_and(house::is_machine);
    for (at, line) in source.production() {
        let code = line.code.as_str();
        if is_machine {
            for word in WORLD.iter().filter(|word| code.contains(**word)) {
                found.add(&source.path, at, &IMPURE, format!("`{word}`"));
            }
        }
        if shares_lock(code) {
            found.add(&source.path, at, &SHARED_LOCK, "");
        }
        if code.contains("unbounded") || code.contains("mpsc::channel()") {
            found.add(&source.path, at, &UNBOUNDED, "");
        }
    }
}

/// Whether a lock lies directly in an `Arc`, under whatever path it is named.
fn shares_lock(code: &str) -> bool {
    code.split("Arc<").skip(1).any(|inner| {
        let name = inner.split('<').next().unwrap_or_default();
        matches!(name.rsplit("::").next(), Some("Mutex" | "RwLock"))
    })
}

/// Looks for traits of production code that fewer than two types implement anywhere.
pub(crate) fn check_traits(sources: &[Source], found: &mut Findings) {
    let mut implementations = BTreeMap::<&str, usize>::new();
    for line in sources.iter().flat_map(|source| &source.lines) {
        if let Some(name) = implemented(&line.code) {
            *implementations.entry(name).or_default() += 1;
        }
    }
    for source in sources {
        for (at, line) in source.production() {
            let Some(name) = declared(&line.code, "trait") else { continue };
            let count = implementations.get(name).copied().unwrap_or(0);
            if count < 2 {
                found.add(&source.path, at, &LONE_TRAIT, format!("`{name}` has {count}"));
            }
        }
    }
}

/// The trait that an `impl` line implements.
fn implemented(code: &str) -> Option<&str> {
    let (left, _) = code.strip_prefix("impl")?.split_once(" for ")?;
    let path = left.rsplit("> ").next()?.trim();
    path.split('<').next()?.rsplit("::").next()
}

/// Looks for numbers in structures of counters that no line changes.
pub(crate) fn check_counters(sources: &[Source], found: &mut Findings) {
    let code: Vec<&str> =
        sources.iter().flat_map(|source| source.production().map(|(_, line)| line.code.as_str())).collect();
    for source in sources {
        for (at, field) in counters(source) {
            if !code.iter().any(|line| changes(line, field)) {
                found.add(&source.path, at, &DEAD_COUNTER, format!("`{field}`"));
            }
        }
    }
}

/// Fields of a number's type in structures that are called counters.
fn counters(source: &Source) -> Vec<(usize, &str)> {
    let mut fields = Vec::new();
    let mut inside = false;
    for (at, line) in source.production() {
        if let Some(name) = declared(&line.code, "struct") {
            inside = line.code.ends_with('{')
                && ["Stats", "Counters", "Counts"].iter().any(|end| name.ends_with(end));
        } else if line.code == "}" {
            inside = false;
        } else if inside && let Some((field, "u64,")) = line.code.split_once(": ") {
            fields.push((at, field.rsplit(' ').next().unwrap_or(field)));
        }
    }
    fields
}

/// Whether a line adds to the field, sets it, fills it in, or lends it to be changed.
fn changes(code: &str, field: &str) -> bool {
    code.match_indices(field).any(|(at, _)| {
        let (before, from) = code.split_at(at);
        let after = from.strip_prefix(field).unwrap_or_default();
        if before.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            return false;
        }
        let filled = after.starts_with(": ") && after != ": u64,";
        let set = [" += ", " = ", ".fetch_add("].iter().any(|change| after.starts_with(change));
        let lent = before.contains("&mut ") && !after.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        filled || set || lent
    })
}

#[cfg(test)]
mod tests {
    use crate::tidy::fired;

    const NODE: &str = "crates/node/src/lib.rs";

    #[test]
    fn every_machine_is_pure() {
        for krate in ["wire", "pace", "dht"] {
            let path = format!("crates/{krate}/src/lib.rs");
            assert_eq!(fired(&[(&path, "let now = Instant::now();\n")]), ["impure"], "{krate}");
            assert_eq!(fired(&[(&path, "let late = since.elapsed();\n")]), ["impure"], "{krate}");
            assert_eq!(fired(&[(&path, "use tokio::net::Other;\n")]), ["impure"], "{krate}");
            assert_eq!(
                fired(&[(&path, "// Unlike Instant::now().\nlet a = \"tokio::\";\n")]),
                [""; 0],
                "{krate}"
            );
        }
    }

    #[test]
    fn the_door_and_the_workshop_reach_the_world() {
        for path in [NODE, "crates/sim/src/lib.rs", "xtask/src/main.rs", "crates/dht/tests/it/main.rs"] {
            assert_eq!(fired(&[(path, "let now = Instant::now();\n")]), [""; 0], "{path}");
        }
    }

    #[test]
    fn a_shared_lock_has_no_owner() {
        assert_eq!(fired(&[(NODE, "state: Arc<Mutex<State>>,\n")]), ["shared-lock"]);
        assert_eq!(fired(&[(NODE, "state: Arc<tokio::sync::RwLock<State>>,\n")]), ["shared-lock"]);
        assert_eq!(
            fired(&[(NODE, "state: Arc<State>,\nlock: Mutex<u8>,\nmap: Arc<Held<Mutex<u8>>>,\n")]),
            [""; 0]
        );
    }

    #[test]
    fn an_unbounded_queue_has_no_limit() {
        assert_eq!(fired(&[(NODE, "let (a, b) = mpsc::unbounded_channel();\n")]), ["unbounded"]);
        assert_eq!(fired(&[(NODE, "let (a, b) = mpsc::channel();\n")]), ["unbounded"]);
        assert_eq!(fired(&[(NODE, "let (a, b) = mpsc::channel(LIMIT);\n")]), [""; 0]);
    }

    #[test]
    fn a_trait_has_two_implementations() {
        let lone = "pub trait Store {\n}\nimpl Store for Disk {\n}\n";
        assert_eq!(fired(&[(NODE, lone)]), ["lone-trait"]);
        let twin = "impl<'a> node::Store for Torn<'a> {\n}\n";
        assert_eq!(fired(&[(NODE, lone), ("crates/sim/src/disk.rs", twin)]), [""; 0]);
        let generic = "trait Read<T> {\n}\nimpl<T> Read<T> for A<T> {\n}\nimpl Read<u8> for B {\n}\n";
        assert_eq!(fired(&[(NODE, generic)]), [""; 0]);
    }

    #[test]
    fn a_counter_that_nothing_changes_is_dead() {
        let stats = "pub struct Stats {\n    pub sent: u64,\n    pub(crate) lost: u64,\n}\n";
        assert_eq!(fired(&[(NODE, stats)]), ["dead-counter", "dead-counter"]);
        let one = format!("{stats}fn a() {{\n    self.stats.sent += 1;\n    let b = stats.lost;\n}}\n");
        assert_eq!(fired(&[(NODE, &one)]), ["dead-counter"]);
        let both =
            format!("{stats}fn a() {{\n    self.stats.sent += 1;\n    Stats {{ lost: b, ..c }};\n}}\n");
        assert_eq!(fired(&[(NODE, &both)]), [""; 0]);
    }
}
