use std::ops::RangeInclusive;

/// A Rust file, cut into lines of code and comment.
#[derive(Debug)]
pub(crate) struct Source {
    /// Relative to the repository, with `/`.
    pub(crate) path: String,
    pub(crate) lines: Vec<Line>,
    pub(crate) functions: Vec<Function>,
    tests_at: usize,
}

/// A line of a file.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// The code, trimmed, without comments and without what literals hold: `"` and `'` stay.
    pub(crate) code: String,
    /// The comment with its slashes, or nothing.
    pub(crate) comment: String,
    /// What the texts of the line hold.
    pub(crate) literal: String,
}

/// A function with a body.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// Line of the name.
    pub(crate) at: usize,
    /// Line of the closing brace.
    pub(crate) end: usize,
    /// Attributes above it, joined.
    pub(crate) attributes: String,
}

/// A comment that excuses what a rule finds in the lines below.
#[derive(Debug)]
pub(crate) struct Excuse<'a> {
    pub(crate) rule: &'a str,
    pub(crate) reason: &'a str,
    /// From the comment to the first line of code that is not an attribute.
    pub(crate) lines: RangeInclusive<usize>,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let lines = Lexer::new(text).lines();
        let tests_at = if is_test_file(path) { 0 } else { tests_start(&lines) };
        let functions = functions(&lines);
        Self { path: path.to_owned(), lines, functions, tests_at }
    }

    /// The crate's folder below `crates`, where the file lies in one.
    pub(crate) fn krate(&self) -> Option<&str> {
        let mut parts = self.path.split('/');
        parts.next().filter(|top| *top == "crates")?;
        parts.next()
    }

    /// The first line of the tests, or the number of lines where there are none.
    pub(crate) const fn tests_at(&self) -> usize {
        self.tests_at
    }

    /// Lines before the tests, with their number from 0.
    pub(crate) fn production(&self) -> impl Iterator<Item = (usize, &Line)> {
        self.lines.iter().enumerate().take(self.tests_at)
    }

    /// Lines of the tests, with their number from 0.
    pub(crate) fn tests(&self) -> impl Iterator<Item = (usize, &Line)> {
        self.lines.iter().enumerate().skip(self.tests_at)
    }

    /// The lines of a function's body that hold code.
    pub(crate) fn body(&self, function: &Function) -> Vec<&str> {
        let inner = self.lines.get(function.at + 1..function.end).unwrap_or_default();
        inner.iter().map(|line| line.code.as_str()).filter(|code| !code.is_empty()).collect()
    }

    pub(crate) fn excuses(&self) -> impl Iterator<Item = Excuse<'_>> {
        self.lines.iter().enumerate().filter_map(|(at, line)| {
            let (_, rest) = line.comment.split_once("tidy-expect(")?;
            let (rule, reason) = rest.split_once(')')?;
            // A documentation comment speaks of excuses; a plain one makes them.
            if line.comment.starts_with("///") || line.comment.starts_with("//!") {
                return None;
            }
            let is_code = |line: &Line| !line.code.is_empty() && !line.code.starts_with("#[");
            let below = self.lines.iter().skip(at).position(is_code).unwrap_or(0);
            Some(Excuse { rule, reason: reason.trim_matches([':', ' ']), lines: at..=at + below })
        })
    }
}

fn is_test_file(path: &str) -> bool {
    ["/tests/", "/benches/", "/examples/"].iter().any(|folder| path.contains(folder))
        || path.starts_with("fuzz/")
        || path.ends_with("/tests.rs")
}

/// The line of the `#[cfg(test)]` that opens a module, or the number of lines.
fn tests_start(lines: &[Line]) -> usize {
    let opens = |pair: &[Line]| {
        pair[0].code == "#[cfg(test)]"
            && declared(&pair[1].code, "mod").is_some()
            && pair[1].code.ends_with('{')
    };
    lines.windows(2).position(opens).unwrap_or(lines.len())
}

/// The name that a line declares with `keyword`, whatever its visibility.
pub(crate) fn declared<'a>(code: &'a str, keyword: &str) -> Option<&'a str> {
    const MODIFIERS: [&str; 6] = ["pub", "pub(crate)", "pub(super)", "const", "async", "unsafe"];
    let mut words = code.split_whitespace().skip_while(|word| MODIFIERS.contains(word));
    words.next().filter(|word| *word == keyword)?;
    let name = words.next()?;
    name.split(|c: char| !c.is_alphanumeric() && c != '_').next().filter(|name| !name.is_empty())
}

fn functions(lines: &[Line]) -> Vec<Function> {
    let declarations =
        lines.iter().enumerate().filter_map(|(at, line)| Some((at, declared(&line.code, "fn")?)));
    declarations
        .filter_map(|(at, name)| {
            let end = at + body_end(&lines[at..])?;
            let above = lines[..at].iter().rev().take_while(|line| {
                line.code.starts_with("#[") || (line.code.is_empty() && !line.comment.is_empty())
            });
            let attributes = above.map(|line| line.code.as_str()).collect();
            Some(Function { name: name.to_owned(), at, end, attributes })
        })
        .collect()
}

/// The line of the brace that closes what is declared on the first line; nothing for a mere signature.
fn body_end(lines: &[Line]) -> Option<usize> {
    let (mut round, mut curly) = (0u32, 0u32);
    for (at, line) in lines.iter().enumerate() {
        for c in line.code.chars() {
            match c {
                '(' | '[' => round += 1,
                ')' | ']' => round = round.saturating_sub(1),
                '{' if curly > 0 || round == 0 => curly += 1,
                '}' if curly > 0 => {
                    curly -= 1;
                    if curly == 0 {
                        return Some(at);
                    }
                }
                ';' if curly == 0 && round == 0 => return None,
                _ => {}
            }
        }
    }
    None
}

/// Tells code from comments and literals, so that rules do not read what is only spoken of.
struct Lexer {
    chars: Vec<char>,
    at: usize,
    lines: Vec<Line>,
    line: Line,
}

impl Lexer {
    fn new(text: &str) -> Self {
        Self { chars: text.chars().collect(), at: 0, lines: Vec::new(), line: Line::default() }
    }

    fn lines(mut self) -> Vec<Line> {
        while let Some(c) = self.peek(0) {
            match (c, self.peek(1)) {
                ('/', Some('/')) => self.comment(|lexer| lexer.peek(0) == Some('\n')),
                ('/', Some('*')) => {
                    self.comment(|lexer| lexer.peek(0) == Some('*') && lexer.peek(1) == Some('/'));
                    self.at = self.chars.len().min(self.at + 2);
                }
                ('r', Some('"' | '#')) => self.raw(),
                ('"', _) => self.text(),
                ('\'', _) => self.quote(),
                _ => self.code(),
            }
        }
        self.end_line();
        self.lines
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    /// Keeps one character as code.
    fn code(&mut self) {
        match self.peek(0) {
            Some('\n') => self.end_line(),
            Some(c) => self.line.code.push(c),
            None => {}
        }
        self.at += 1;
    }

    /// Keeps one character as part of a literal.
    fn literal(&mut self) {
        match self.peek(0) {
            Some('\n') => self.end_line(),
            Some(c) => self.line.literal.push(c),
            None => {}
        }
        self.at += 1;
    }

    fn comment(&mut self, ends: impl Fn(&Self) -> bool) {
        while let Some(c) = self.peek(0).filter(|_| !ends(self)) {
            if c == '\n' {
                self.end_line();
            } else {
                self.line.comment.push(c);
            }
            self.at += 1;
        }
    }

    fn text(&mut self) {
        self.code();
        while let Some(c) = self.peek(0).filter(|c| *c != '"') {
            if c == '\\' {
                self.literal();
            }
            self.literal();
        }
        self.code();
    }

    fn raw(&mut self) {
        let hashes = self.chars[self.at + 1..].iter().take_while(|c| **c == '#').count();
        self.code();
        // `r#name` is an identifier.
        if self.peek(hashes) != Some('"') {
            return;
        }
        (0..=hashes).for_each(|_| self.code());
        let closes = |lexer: &Self| {
            lexer.peek(0) == Some('"') && (1..=hashes).all(|ahead| lexer.peek(ahead) == Some('#'))
        };
        while self.peek(0).is_some() && !closes(self) {
            self.literal();
        }
        (0..=hashes).for_each(|_| self.code());
    }

    /// A character in quotes; a lifetime has no second quote.
    fn quote(&mut self) {
        self.code();
        let len = match (self.peek(0), self.peek(1)) {
            (Some('\\'), _) => {
                self.chars[self.at + 2..].iter().take(9).position(|c| *c == '\'').map(|n| n + 2)
            }
            (_, Some('\'')) => Some(1),
            _ => None,
        };
        if let Some(len) = len {
            self.at += len;
            self.code();
        }
    }

    fn end_line(&mut self) {
        let Line { code, comment, literal } = std::mem::take(&mut self.line);
        self.lines.push(Line { code: code.trim().to_owned(), comment, literal });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Vec<String> {
        Source::new("crates/wire/src/lib.rs", text).lines.into_iter().map(|line| line.code).collect()
    }

    #[test]
    fn literals_and_comments_are_not_code() {
        assert_eq!(code("let a = \"b // c\"; // d"), ["let a = \"\";"]);
        assert_eq!(code("let a = \"\\\"b\"; c"), ["let a = \"\"; c"]);
        assert_eq!(code("let a = r#\"b\"c\"#; d"), ["let a = r#\"\"#; d"]);
        assert_eq!(code("a /* b\nc */ d"), ["a", "d"]);
        assert_eq!(code("let a = \"b\nc\"; d"), ["let a = \"", "\"; d"]);
    }

    #[test]
    fn characters_are_told_from_lifetimes() {
        assert_eq!(code("fn a<'b>(c: &'b str) -> char { '{' }"), ["fn a<'b>(c: &'b str) -> char { '' }"]);
        assert_eq!(code("['\\'', '\"', '\\u{7f}']"), ["['', '', '']"]);
        assert_eq!(code("let r#type = 'x';"), ["let r#type = '';"]);
    }

    #[test]
    fn a_file_knows_its_crate() {
        let krate = |path| Source::new(path, "").krate().map(str::to_owned);
        assert_eq!(krate("crates/dht/src/table.rs").as_deref(), Some("dht"));
        assert_eq!(krate("xtask/src/main.rs"), None);
        assert_eq!(krate("fuzz/crates/dht.rs"), None);
    }

    #[test]
    fn tests_begin_at_their_module() {
        let at = |path, text| Source::new(path, text).tests_at();
        assert_eq!(at("crates/a/src/b.rs", "fn a() {}\n#[cfg(test)]\nmod tests {\n}"), 1);
        assert_eq!(at("crates/a/src/b.rs", "#[cfg(test)]\nfn a() {}\n"), 3);
        assert_eq!(at("crates/a/tests/it/b.rs", "fn a() {}\n"), 0);
    }

    #[test]
    fn functions_end_at_their_own_brace() {
        let text = "#[test]\n// Why.\nfn a(b: [u8; 2]) -> u8 {\n    if c {\n        '}'\n    }\n}\nfn d();\nfn e() {}";
        let source = Source::new("crates/a/src/b.rs", text);
        let found: Vec<_> = source.functions.iter().map(|f| (f.name.as_str(), f.at, f.end)).collect();
        assert_eq!(found, [("a", 2, 6), ("e", 8, 8)]);
        assert_eq!(source.functions[0].attributes, "#[test]");
        assert_eq!(source.body(&source.functions[0]), ["if c {", "''", "}"]);
    }

    #[test]
    fn declarations_are_found_behind_their_modifiers() {
        assert_eq!(declared("pub(crate) const fn a<T>(b: T)", "fn"), Some("a"));
        assert_eq!(declared("pub struct Lookup {", "struct"), Some("Lookup"));
        assert_eq!(declared("const LIMIT: usize = 1;", "fn"), None);
        assert_eq!(declared("let fn_like = 1;", "fn"), None);
    }
}
