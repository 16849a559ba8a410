//! Failures that a caller cannot tell apart.

use crate::tidy::finding::{Findings, Rule};
use crate::tidy::source::Source;

pub(crate) const RULES: &[Rule] = &[STRING_ERROR];

const STRING_ERROR: Rule = Rule { name: "string-error", why: "give the failure a variant of an enum" };

const BAGS: &[&str] = &["Other(", "Message(", "Internal(", "Custom(", "Generic(", "Unknown("];
const LOOSE: &[&str] = &["String)", "&'static str)", "anyhow::Error)", "dyn Error", "dyn std::error::Error"];

pub(crate) fn check(source: &Source, found: &mut Findings) {
    for (at, line) in source.production() {
        let code = line.code.as_str();
        let in_result = code.contains("Result<")
            && [", String>", ", &'static str>", ", &str>"].iter().any(|e| code.contains(e));
        let boxed = code.contains("Box<dyn Error") || code.contains("Box<dyn std::error::Error");
        let in_bag =
            BAGS.iter().any(|bag| code.starts_with(bag)) && LOOSE.iter().any(|loose| code.contains(loose));
        if in_result || boxed || in_bag {
            found.add(&source.path, at, &STRING_ERROR, "");
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::tidy::fired;

    #[test]
    fn errors_that_are_texts_have_no_variants() {
        let on = |text| fired(&[("crates/node/src/lib.rs", text)]);
        assert_eq!(on("fn a() -> Result<u8, String> {\n}\n"), ["string-error"]);
        assert_eq!(on("fn a() -> Result<u8, Box<dyn Error + Send>> {\n}\n"), ["string-error"]);
        assert_eq!(on("    Other(String),\n"), ["string-error"]);
        assert_eq!(on("fn a() -> Result<String, BindError> {\n}\n    Unknown(u64),\n"), [""; 0]);
    }
}
