//! Names that do not say what they name.

use std::path::Path;

use crate::tidy::finding::{Findings, Rule};
use crate::tidy::source::{Source, declared};

pub(crate) const RULES: &[Rule] = &[DRAWER, VAGUE_NAME];

const DRAWER: Rule = Rule { name: "drawer", why: "name the module after what it holds" };
const VAGUE_NAME: Rule = Rule { name: "vague-name", why: "name the thing by a noun of the domain" };

const DRAWERS: &[&str] = &["utils", "util", "helpers", "helper", "common", "misc", "types", "consts"];
const VAGUE: &[&str] = &["Manager", "Helper", "Util", "Utils", "Wrapper", "Data", "Info"];

pub(crate) fn check(source: &Source, found: &mut Findings) {
    let stem = Path::new(&source.path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    if DRAWERS.contains(&stem) {
        found.add(&source.path, 0, &DRAWER, "");
    }
    for (at, line) in source.lines.iter().enumerate() {
        let name = ["struct", "enum", "trait", "type"].iter().find_map(|kind| declared(&line.code, kind));
        if let Some(name) = name.filter(|name| VAGUE.iter().any(|vague| name.ends_with(vague))) {
            found.add(&source.path, at, &VAGUE_NAME, format!("`{name}`"));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::tidy::fired;

    #[test]
    fn drawers_hold_anything() {
        assert_eq!(fired(&[("crates/node/src/utils.rs", "")]), ["drawer"]);
        assert_eq!(fired(&[("crates/node/src/socket.rs", "")]), [""; 0]);
    }

    #[test]
    fn vague_names_end_in_words_that_fit_anything() {
        let on = |text| fired(&[("crates/node/src/lib.rs", text)]);
        assert_eq!(on("pub(crate) struct PeerInfo {\n"), ["vague-name"]);
        assert_eq!(on("enum Manager {\n"), ["vague-name"]);
        assert_eq!(on("pub struct Metadatum;\nstruct Puncher;\n"), [""; 0]);
    }
}
