//! Tests that prove nothing, wait, or are switched off.

use std::collections::BTreeSet;

use crate::tidy::finding::{Findings, Rule};
use crate::tidy::source::{Function, Source, declared};

pub(crate) const RULES: &[Rule] = &[EMPTY_TEST, MOCK, IGNORED_TEST, SLEEPING_TEST];

const EMPTY_TEST: Rule = Rule { name: "empty-test", why: "a test must be able to fail" };
const MOCK: Rule = Rule { name: "mock", why: "drive the real machine in the simulator" };
const IGNORED_TEST: Rule =
    Rule { name: "ignored-test", why: "name the issue, `#[ignore = \"#12: ..\"]`, or run it" };
const SLEEPING_TEST: Rule = Rule { name: "sleeping-test", why: "wait for an event, not for time" };

/// Code that fails a test where something is not as expected.
const CLAIMS: &[&str] = &["assert", "expect(", "unwrap(", "unwrap_err(", "panic!", "?;", "?)", "arbtest("];

pub(crate) fn check(source: &Source, found: &mut Findings) {
    for (at, line) in source.lines.iter().enumerate() {
        if ["struct", "enum", "mod"].iter().any(|kind| declared(&line.code, kind).is_some_and(is_mock)) {
            found.add(&source.path, at, &MOCK, "");
        }
        if line.code.starts_with("#[ignore") && !line.literal.contains('#') {
            found.add(&source.path, at, &IGNORED_TEST, "");
        }
    }
    for (at, _) in source.tests().filter(|(_, line)| sleeps(&line.code)) {
        found.add(&source.path, at, &SLEEPING_TEST, "");
    }
}

fn is_mock(name: &str) -> bool {
    name.starts_with("Mock") || name.starts_with("mock")
}

/// Whether a line waits on the clock; a method of that name belongs to something simulated.
fn sleeps(code: &str) -> bool {
    ["sleep(", "sleep_until("].iter().any(|call| {
        let mut calls = code.match_indices(call).map(|(at, _)| code.split_at(at).0);
        calls.any(|before| !before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '.'))
    })
}

/// Looks for tests that neither claim anything themselves nor call a function of the workspace that does.
pub(crate) fn check_tests(sources: &[Source], found: &mut Findings) {
    let mut claiming = BTreeSet::<&str>::new();
    loop {
        let known = claiming.len();
        for source in sources {
            let more = source.functions.iter().filter(|function| claims(source, function, &claiming));
            let names: Vec<&str> = more.map(|function| function.name.as_str()).collect();
            claiming.extend(names);
        }
        if claiming.len() == known {
            break;
        }
    }
    for source in sources {
        for function in source.functions.iter().filter(|function| is_test(function)) {
            if !claims(source, function, &claiming) {
                found.add(&source.path, function.at, &EMPTY_TEST, format!("`{}`", function.name));
            }
        }
    }
}

fn is_test(function: &Function) -> bool {
    function.attributes.contains("#[test]")
        || function.attributes.contains("::test]")
        || function.attributes.contains("::test(")
}

fn claims(source: &Source, function: &Function, claiming: &BTreeSet<&str>) -> bool {
    let code = source.lines[function.at..=function.end].iter().map(|line| line.code.as_str());
    function.attributes.contains("should_panic")
        || code.skip(1).any(|line| {
            CLAIMS.iter().any(|claim| line.contains(claim))
                || line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| claiming.contains(word))
        })
}

#[cfg(test)]
mod tests {
    use crate::tidy::fired;

    const TESTS: &str = "crates/node/tests/it/main.rs";

    #[test]
    fn a_test_that_claims_nothing_is_empty() {
        assert_eq!(fired(&[(TESTS, "#[test]\nfn a() {\n    run();\n}\n")]), ["empty-test"]);
        assert_eq!(
            fired(&[(TESTS, "#[tokio::test]\nasync fn a() {\n    run().await;\n}\n")]),
            ["empty-test"]
        );
        assert_eq!(fired(&[(TESTS, "#[test]\nfn a() {\n    assert!(run());\n}\n")]), [""; 0]);
        assert_eq!(fired(&[(TESTS, "#[test]\n#[should_panic]\nfn a() {\n    run();\n}\n")]), [""; 0]);
    }

    #[test]
    fn a_test_may_leave_its_claims_to_another_function() {
        let elsewhere = "fn deep() {\n    assert!(true);\n}\nfn shallow() {\n    deep();\n}\n";
        let test = "#[test]\nfn a() {\n    shallow();\n}\n";
        assert_eq!(fired(&[(TESTS, test), ("crates/node/tests/it/claims.rs", elsewhere)]), [""; 0]);
    }

    #[test]
    fn mocks_are_found_by_name() {
        assert_eq!(fired(&[(TESTS, "struct MockSocket;\n")]), ["mock"]);
        assert_eq!(fired(&[(TESTS, "struct Socket;\n")]), [""; 0]);
    }

    #[test]
    fn an_ignored_test_names_its_issue() {
        let text = "#[test]\n#[ignore]\nfn a() {\n    assert!(b());\n}\n";
        assert_eq!(fired(&[(TESTS, text)]), ["ignored-test"]);
        assert_eq!(fired(&[(TESTS, &text.replace("ignore", "ignore = \"slow\""))]), ["ignored-test"]);
        assert_eq!(fired(&[(TESTS, &text.replace("ignore", "ignore = \"#12: slow\""))]), [""; 0]);
    }

    #[test]
    fn tests_do_not_sleep() {
        assert_eq!(fired(&[(TESTS, "tokio::time::sleep(a).await;\n")]), ["sleeping-test"]);
        assert_eq!(fired(&[("crates/node/src/lib.rs", "tokio::time::sleep(a).await;\n")]), [""; 0]);
        assert_eq!(fired(&[(TESTS, "world.sleep(a);\nlet oversleep(a) = b;\n")]), [""; 0]);
    }
}
