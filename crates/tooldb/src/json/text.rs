//! JavaScript strings, which may hold halves of surrogate pairs, kept in the one form JSON prints them in.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt::{self, Write as _};

/// A JavaScript string, held as `JSON.stringify` writes it between the quotes.
///
/// Every JavaScript string has exactly one such form, so equality of forms is equality of strings. A string
/// without quotes, backslashes and control characters is its own form. The order is JavaScript's, by UTF-16
/// units.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Text(Box<str>);

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        let plain = |text: &Self| text.0.is_ascii() && !text.0.contains('\\');
        if plain(self) && plain(other) { self.0.cmp(&other.0) } else { self.utf16().cmp(other.utf16()) }
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Text {
    /// The string's JSON form without the quotes.
    pub fn escaped(&self) -> &str {
        &self.0
    }

    /// The string itself; `None` if it holds half a surrogate pair, which no Rust string can.
    pub fn plain(&self) -> Option<Cow<'_, str>> {
        if !self.0.contains('\\') {
            return Some(Cow::Borrowed(&self.0));
        }
        let mut plain = String::with_capacity(self.0.len());
        for unit in Units::of(&self.0) {
            match unit {
                Unit::Char(char) => plain.push(char),
                Unit::Lone(_) => return None,
            }
        }
        Some(Cow::Owned(plain))
    }

    fn utf16(&self) -> impl Iterator<Item = u16> {
        Units::of(&self.0).flat_map(|unit| {
            let mut units = [0; 2];
            let count = match unit {
                Unit::Char(char) => char.encode_utf16(&mut units).len(),
                Unit::Lone(code) => {
                    units[0] = code;
                    1
                }
            };
            units.into_iter().take(count)
        })
    }

    /// Makes the string that a JSON literal stands for; `raw` is the literal's inside, already checked.
    pub(super) fn from_literal(raw: &str) -> Self {
        if !raw.contains('\\') {
            return Self(raw.into());
        }
        let mut form = String::with_capacity(raw.len());
        for unit in Units::of(raw) {
            match unit {
                Unit::Char(char) => escape(char, &mut form),
                Unit::Lone(code) => escape_code(code, &mut form),
            }
        }
        Self(form.into())
    }
}

impl From<&str> for Text {
    fn from(plain: &str) -> Self {
        let mut form = String::with_capacity(plain.len());
        plain.chars().for_each(|char| escape(char, &mut form));
        Self(form.into())
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

fn escape(char: char, out: &mut String) {
    match char {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        other => match u16::try_from(u32::from(other)) {
            Ok(control @ ..0x20) => escape_code(control, out),
            _ => out.push(other),
        },
    }
}

fn escape_code(code: u16, out: &mut String) {
    write!(out, "\\u{code:04x}").expect("writing to a String cannot fail");
}

enum Unit {
    Char(char),
    /// Half of a surrogate pair without its other half.
    Lone(u16),
}

/// Reads the inside of a checked string literal unit by unit.
struct Units<'a> {
    rest: std::str::Chars<'a>,
}

impl<'a> Units<'a> {
    fn of(raw: &'a str) -> Self {
        Self { rest: raw.chars() }
    }

    fn code(&mut self) -> u16 {
        let (digits, rest) = self.rest.as_str().split_at(4);
        self.rest = rest.chars();
        u16::from_str_radix(digits, 16).expect("the scanner let only four digits follow \\u")
    }

    /// The low half that follows a high one, if it does.
    fn low_half(&mut self) -> Option<u16> {
        let rest = self.rest.as_str().strip_prefix("\\u")?;
        let low = u16::from_str_radix(rest.get(..4)?, 16).ok()?;
        if !(0xdc00..=0xdfff).contains(&low) {
            return None;
        }
        self.rest = rest.get(4..)?.chars();
        Some(low)
    }

    fn escaped_code(&mut self) -> Unit {
        let code = self.code();
        if (0xd800..=0xdbff).contains(&code)
            && let Some(low) = self.low_half()
        {
            let mut pair = char::decode_utf16([code, low]);
            if let Some(Ok(char)) = pair.next() {
                return Unit::Char(char);
            }
        }
        char::from_u32(u32::from(code)).map_or(Unit::Lone(code), Unit::Char)
    }
}

impl Iterator for Units<'_> {
    type Item = Unit;

    fn next(&mut self) -> Option<Unit> {
        let char = self.rest.next()?;
        if char != '\\' {
            return Some(Unit::Char(char));
        }
        Some(match self.rest.next()? {
            'b' => Unit::Char('\u{8}'),
            'f' => Unit::Char('\u{c}'),
            'n' => Unit::Char('\n'),
            'r' => Unit::Char('\r'),
            't' => Unit::Char('\t'),
            'u' => self.escaped_code(),
            same => Unit::Char(same),
        })
    }
}
