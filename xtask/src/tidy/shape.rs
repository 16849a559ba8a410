//! Sizes, and bodies that stand in two places.

use std::collections::BTreeMap;

use crate::tidy::finding::{Findings, Rule};
use crate::tidy::house;
use crate::tidy::source::Source;

pub(crate) const RULES: &[Rule] = &[LONG_FILE, LONG_FN, DUPLICATE];

const LONG_FILE: Rule = Rule { name: "long-file", why: "a file has 800 lines at most before its tests" };
const LONG_FN: Rule = Rule { name: "long-fn", why: "a function has 70 lines at most" };
const DUPLICATE: Rule = Rule { name: "duplicate", why: "this body stands elsewhere too" };

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;
/// Shorter bodies are alike by chance.
const DUPLICATE_LINES_MIN: usize = 5;

pub(crate) fn check(source: &Source, found: &mut Findings) {
    if source.tests_at() > FILE_LINES_MAX {
        found.add(&source.path, FILE_LINES_MAX, &LONG_FILE, source.tests_at().to_string());
    }
    for function in source.functions.iter().filter(|function| function.at < source.tests_at()) {
        let len = source.body(function).len();
        if len > FUNCTION_LINES_MAX {
            found.add(&source.path, function.at, &LONG_FN, format!("`{}` has {len}", function.name));
        }
    }
}

/// Looks for functions of production code with the same body, whatever their names.
pub(crate) fn check_duplicates(sources: &[Source], found: &mut Findings) {
    let mut bodies = BTreeMap::<String, (&Source, usize)>::new();
    for source in sources {
        for function in source.functions.iter().filter(|function| function.at < source.tests_at()) {
            let body = source.body(function);
            if body.len() < DUPLICATE_LINES_MIN {
                continue;
            }
            if let Some((first, at)) = bodies.get(&body.concat()) {
                found.add(&source.path, function.at, &DUPLICATE, format!("{}:{}", first.path, at + 1));
            } else {
                bodies.insert(body.concat(), (source, function.at));
            }
        }
    }
}

/// Tells which crates are above the lines of code that they were given; comments are free.
pub(crate) fn notices(sources: &[Source]) -> Vec<String> {
    let size = |krate| -> usize {
        let of_crate = sources.iter().filter(|source| source.krate() == Some(krate));
        of_crate.flat_map(Source::production).filter(|(_, line)| !line.code.is_empty()).count()
    };
    let rooms = house::ROOMS.iter().map(|room| (room, size(room.name)));
    rooms
        .filter(|(room, lines)| *lines > room.lines_max)
        .map(|(room, lines)| format!("crates/{} has {lines} lines of code, of {}", room.name, room.lines_max))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::fired;

    const NODE: &str = "crates/node/src/lib.rs";

    fn function(name: &str, lines: usize) -> String {
        format!("fn {name}() {{\n{}}}\n", "    go();\n".repeat(lines))
    }

    #[test]
    fn a_long_file_is_counted_up_to_its_tests() {
        assert_eq!(fired(&[(NODE, &"use a;\n".repeat(801))]), ["long-file"]);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "use a;\n".repeat(801));
        assert_eq!(fired(&[(NODE, &tests)]), [""; 0]);
    }

    #[test]
    fn a_long_function_is_counted_without_its_comments() {
        assert_eq!(fired(&[(NODE, &function("a", 71))]), ["long-fn"]);
        let commented = function("a", 70).replacen("go();", "// Why it goes.\n\n    go();", 1);
        assert_eq!(fired(&[(NODE, &commented)]), [""; 0]);
    }

    #[test]
    fn the_same_body_under_two_names_is_a_duplicate() {
        let two = function("a", 5) + &function("b", 5);
        assert_eq!(fired(&[(NODE, &two)]), ["duplicate"]);
        assert_eq!(fired(&[(NODE, &function("a", 5)), ("xtask/src/b.rs", &function("b", 5))]), ["duplicate"]);
        assert_eq!(fired(&[(NODE, &(function("a", 4) + &function("b", 4)))]), [""; 0]);
    }

    #[test]
    fn a_crate_above_its_lines_is_noticed() {
        let text = "use a;\n".repeat(900);
        let sources: Vec<Source> = ["a", "b", "c", "d"]
            .iter()
            .map(|name| Source::new(&format!("crates/wire/src/{name}.rs"), &text))
            .collect();
        assert_eq!(notices(&sources), ["crates/wire has 3600 lines of code, of 3200"]);
        assert!(notices(&sources[..3]).is_empty());
    }
}
