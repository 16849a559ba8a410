use std::collections::BTreeSet;
use std::fmt;

use crate::tidy::source::Source;

pub(crate) const RULES: &[Rule] = &[STALE_EXPECT];

const STALE_EXPECT: Rule =
    Rule { name: "stale-expect", why: "an excuse names a rule that would fire here, and gives a reason" };

/// A habit to look for.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: &'static str,
    /// What to do instead; the message of a finding that says no more.
    pub(crate) why: &'static str,
}

/// A place where a rule fired.
#[derive(Debug)]
pub(crate) struct Finding {
    path: String,
    /// Counted from 0; printed from 1.
    line: usize,
    pub(crate) rule: &'static Rule,
    detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line + 1, self.rule.name, self.rule.why)?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, " ({})", self.detail) }
    }
}

/// What the rules found, before excuses are taken into account.
#[derive(Default)]
pub(crate) struct Findings {
    all: Vec<Finding>,
}

impl Findings {
    pub(crate) fn add(&mut self, path: &str, line: usize, rule: &'static Rule, detail: impl Into<String>) {
        self.all.push(Finding { path: path.to_owned(), line, rule, detail: detail.into() });
    }

    /// Takes away what the sources excuse, adds the excuses that excuse nothing, and sorts by place.
    pub(crate) fn settle(mut self, sources: &[Source]) -> Vec<Finding> {
        for source in sources {
            for excuse in source.excuses() {
                let covers = |finding: &Finding| {
                    finding.path == source.path
                        && finding.rule.name == excuse.rule
                        && excuse.lines.contains(&finding.line)
                };
                let before = self.all.len();
                self.all.retain(|finding| !covers(finding));
                if excuse.reason.is_empty() || self.all.len() == before {
                    self.add(&source.path, *excuse.lines.start(), &STALE_EXPECT, excuse.rule);
                }
            }
        }
        let mut seen = BTreeSet::new();
        self.all.retain(|finding| seen.insert((finding.path.clone(), finding.line, finding.rule.name)));
        self.all.sort_by(|a, b| (&a.path, a.line, a.rule.name).cmp(&(&b.path, b.line, b.rule.name)));
        self.all
    }
}

#[cfg(test)]
mod tests {
    use crate::tidy::fired;

    const QUEUE: &str = "crates/node/src/queue.rs";

    #[test]
    fn an_excuse_with_a_reason_covers_the_next_line_of_code_only() {
        let text = "// tidy-expect(unbounded): the driver drains it\n#[inline]\nlet a = unbounded();\n";
        assert_eq!(fired(&[(QUEUE, text)]), [""; 0]);
        let twice = format!("{text}let b = unbounded();\n");
        assert_eq!(fired(&[(QUEUE, &twice)]), ["unbounded"]);
    }

    #[test]
    fn an_excuse_without_a_reason_or_without_a_finding_is_one_itself() {
        assert_eq!(fired(&[(QUEUE, "// tidy-expect(unbounded):\nlet a = unbounded();\n")]), ["stale-expect"]);
        assert_eq!(fired(&[(QUEUE, "// tidy-expect(unbounded): old\nlet a = 1;\n")]), ["stale-expect"]);
    }
}
