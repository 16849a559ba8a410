//! What comments should not say.

use crate::tidy::finding::{Findings, Rule};
use crate::tidy::source::Source;

pub(crate) const RULES: &[Rule] = &[BANNER, NARRATION, TODO, ECHO];

const BANNER: Rule = Rule { name: "banner", why: "split the file instead of drawing lines" };
const NARRATION: Rule = Rule { name: "narration", why: "describe the code, not how it came about" };
const TODO: Rule = Rule { name: "todo", why: "name the issue, `TODO(#12)`, or do it" };
const ECHO: Rule = Rule { name: "echo", why: "the line below says this already" };

/// How a comment sounds that tells of the edit instead of the code.
const PHRASES: &[&str] = &[
    "used to be",
    "we now",
    "now we",
    "instead of the old",
    "refactored",
    "as requested",
    "renamed from",
    "for now",
    "in a real",
    "in production we",
    "simplified version",
    "let's",
    "here we",
    "backwards compat",
    "backward compat",
];

/// Words that carry no meaning of their own when a comment is compared with code.
const STOP_WORDS: &[&str] =
    &["the", "a", "an", "to", "of", "in", "is", "and", "for", "if", "we", "it", "on", "with"];

pub(crate) fn check(source: &Source, found: &mut Findings) {
    for (at, line) in source.lines.iter().enumerate().filter(|(_, line)| !line.comment.is_empty()) {
        let text = line.comment.trim_start_matches(['/', '!', '*']).trim();
        let lower = text.to_lowercase();
        if is_banner(text) {
            found.add(&source.path, at, &BANNER, "");
        } else if let Some(phrase) = PHRASES.iter().find(|phrase| says(&lower, phrase)) {
            found.add(&source.path, at, &NARRATION, format!("`{phrase}`"));
        } else if ["todo", "fixme", "xxx"].iter().any(|word| lower.starts_with(word)) && !text.contains('#') {
            found.add(&source.path, at, &TODO, "");
        } else if is_plain(&line.comment) && line.code.is_empty() {
            let next = source.lines.get(at + 1).map_or("", |line| line.code.as_str());
            if echoes(&lower, next) {
                found.add(&source.path, at, &ECHO, "");
            }
        }
    }
}

fn is_plain(comment: &str) -> bool {
    !comment.starts_with("///") && !comment.starts_with("//!")
}

/// Seven drawing characters in a row; tables in documentation have cells between them.
fn is_banner(text: &str) -> bool {
    let mut run = 0;
    let longest = text.chars().map(|c| {
        run = if "─═━=-*#~_".contains(c) { run + 1 } else { 0 };
        run
    });
    longest.max().unwrap_or(0) >= 7 && !text.contains('|')
}

/// Whether whole words say the phrase.
fn says(text: &str, phrase: &str) -> bool {
    text.match_indices(phrase).any(|(at, _)| {
        let (before, from) = text.split_at(at);
        let after = from.chars().nth(phrase.chars().count());
        !before.ends_with(char::is_alphanumeric) && !after.is_some_and(char::is_alphanumeric)
    })
}

/// Whether a short comment only repeats words of the line of code below it.
fn echoes(comment: &str, next: &str) -> bool {
    let words: Vec<&str> = comment
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.len() > 1 && !STOP_WORDS.contains(word))
        .collect();
    let code = next.to_lowercase();
    (2..=6).contains(&words.len()) && words.iter().all(|word| code.contains(word.trim_end_matches('s')))
}

#[cfg(test)]
mod tests {
    use crate::tidy::fired;

    fn on(text: &str) -> Vec<&'static str> {
        fired(&[("crates/node/src/lib.rs", text)])
    }

    #[test]
    fn banners_are_lines_that_are_drawn() {
        assert_eq!(on("// ---------- Types ----------\n"), ["banner"]);
        assert_eq!(on("// ═══════════\n"), ["banner"]);
        assert_eq!(on("/// | --- | -------- |\n"), [""; 0]);
        assert_eq!(on("// Bytes a - b - c - d - e - f - g - h.\n"), [""; 0]);
    }

    #[test]
    fn narration_tells_of_the_edit() {
        assert_eq!(on("// We now send two.\n"), ["narration"]);
        assert_eq!(on("/// Kept for now.\n"), ["narration"]);
        assert_eq!(on("// A peer waits for nowhere in particular.\n"), [""; 0]);
        assert_eq!(on("let a = \"for now\";\n"), [""; 0]);
    }

    #[test]
    fn a_todo_names_its_issue() {
        assert_eq!(on("// TODO: limits\n"), ["todo"]);
        assert_eq!(on("// TODO(#12): limits\n"), [""; 0]);
    }

    #[test]
    fn an_echo_repeats_the_code() {
        assert_eq!(on("// Send the packet.\nself.send_packet(packet);\n"), ["echo"]);
        assert_eq!(on("// Routers drop what is larger.\nself.send_packet(packet);\n"), [""; 0]);
        assert_eq!(on("/// Sends the packet.\nfn send_packet();\n"), [""; 0]);
    }
}
