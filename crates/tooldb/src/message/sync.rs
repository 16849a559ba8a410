//! What servers of ours say to each other when they compare what they have.

use std::fmt::Write as _;

use crate::digest::Digest;
use crate::encoding::{hex, hex_exact};
use crate::json::Value;
use crate::key::Key;
use crate::store::{Span, State};

/// What a node has in a range of keys: how many, and a sum over keys and states that does not depend on order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum {
    /// How many keys.
    pub count: u64,
    /// The sum, least significant byte first.
    pub sum: [u8; 32],
}

/// A range of keys and what the sender has in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The range.
    pub span: Span,
    /// What is in it.
    pub sum: Sum,
}

/// What a node has in some ranges, key by key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Items {
    /// The ranges.
    pub list: Vec<(Span, Vec<State>)>,
    /// There was more than fits a message.
    pub cut: bool,
}

/// Whether a message wants its like in return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// It does.
    Wanted,
    /// It is the return.
    Needless,
}

impl Reply {
    pub(super) fn of(raw: Option<&str>) -> Self {
        if raw == Some("true") { Self::Wanted } else { Self::Needless }
    }
}

fn key(value: &Value) -> Option<Key> {
    Key::new(&value.as_text()?.plain()?)
}

fn span(from: &Value, until: &Value) -> Option<Span> {
    let until = if *until == Value::Null { None } else { Some(key(until)?) };
    Some(Span { from: key(from)?, until })
}

/// Reads a list; every item of it must be right.
fn list<T>(raw: &str, read: impl Fn(&[Value]) -> Option<T>) -> Option<Vec<T>> {
    let Value::Array(items) = Value::parse(raw).ok()? else { return None };
    items.iter().map(|item| read(item.as_array()?)).collect()
}

pub(super) fn ranges(raw: &str) -> Option<Vec<Range>> {
    list(raw, |item| {
        let [from, until, count, sum] = item else { return None };
        let count = count.to_json().parse().ok()?;
        let sum = hex_exact(sum.as_text()?.escaped())?;
        Some(Range { span: span(from, until)?, sum: Sum { count, sum } })
    })
}

pub(super) fn items(raw: &str) -> Option<Vec<(Span, Vec<State>)>> {
    list(raw, |item| {
        let [from, until, states] = item else { return None };
        let states = states.as_array()?.iter().map(|state| {
            let [name, digest] = state.as_array()? else { return None };
            Some(State { key: key(name)?, digest: Digest(hex_exact(digest.as_text()?.escaped())?) })
        });
        Some((span(from, until)?, states.collect::<Option<_>>()?))
    })
}

fn print_span(span: &Span, out: &mut String) {
    out.push('[');
    span.from.print(out);
    out.push(',');
    match &span.until {
        Some(until) => until.print(out),
        None => out.push_str("null"),
    }
}

pub(super) fn print_range(range: &Range, out: &mut String) {
    print_span(&range.span, out);
    write!(out, ",{},\"{}\"]", range.sum.count, hex(&range.sum.sum))
        .expect("writing to a String cannot fail");
}

pub(super) fn print_items((span, states): &(Span, Vec<State>), out: &mut String) {
    print_span(span, out);
    out.push_str(",[");
    for (place, state) in states.iter().enumerate() {
        out.push_str(if place == 0 { "[" } else { ",[" });
        state.key.print(out);
        write!(out, ",\"{}\"]", state.digest.to_hex()).expect("writing to a String cannot fail");
    }
    out.push_str("]]");
}
