//! JSON as V8 reads and prints it, because records are signed over that text.
//!
//! The signed text of a value is what `JSON.stringify(JSON.parse(text))` gives: numbers by ECMAScript's rule,
//! index-like names first, the last of equal names at the place of the first, and few escapes. General JSON
//! libraries differ in each of these, refuse half surrogate pairs, or fail on `1e400`.

mod number;
mod scan;
mod text;

use std::collections::HashMap;

pub use scan::DEPTH_MAX;
pub(crate) use scan::Scanner;
pub use text::Text;

/// Why a text is not JSON that this crate reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The text breaks the grammar.
    #[error("not JSON")]
    Syntax,
    /// Arrays and objects nest more than [`DEPTH_MAX`] deep.
    #[error("nested too deep")]
    TooDeep,
}

/// A JSON value with V8's idea of order and equality.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number; one too large for a double is infinite and prints as `null`.
    Number(f64),
    /// A string
    Text(Text),
    /// An array
    Array(Vec<Self>),
    /// An object
    Object(Object),
}

/// An object's members in the order in which V8 lists them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Object(Vec<(Text, Value)>);

/// Above this many members names are looked up in a map: a scan would make a hostile frame cost its square.
const SCAN_MEMBERS_MAX: usize = 16;

impl Object {
    /// Orders members as V8 does: array indices ascending, then the rest by first appearance; the last of
    /// equal names counts.
    pub fn from_members(members: impl IntoIterator<Item = (Text, Value)>) -> Self {
        let mut ordered: Vec<(Text, Value)> = Vec::new();
        let mut places: HashMap<Text, usize> = HashMap::new();
        for (name, value) in members {
            let place = if ordered.len() < SCAN_MEMBERS_MAX {
                ordered.iter().position(|(known, _)| *known == name)
            } else {
                if places.is_empty() {
                    places.extend(ordered.iter().enumerate().map(|(place, (name, _))| (name.clone(), place)));
                }
                places.get(&name).copied()
            };
            if let Some(member) = place.and_then(|place| ordered.get_mut(place)) {
                member.1 = value;
                continue;
            }
            if !places.is_empty() {
                places.insert(name.clone(), ordered.len());
            }
            ordered.push((name, value));
        }
        ordered.sort_by_key(|(name, _)| array_index(name.escaped()).map_or(u64::MAX, u64::from));
        Self(ordered)
    }

    /// The value of a member.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| known.escaped() == name).map(|(_, value)| value)
    }

    /// All members, in order.
    pub fn members(&self) -> &[(Text, Value)] {
        &self.0
    }
}

/// V8 lists names that are array indices (0 to 2³²−2, no leading zeros) before all others.
fn array_index(name: &str) -> Option<u32> {
    let canonical = name == "0" || name.starts_with(|first: char| ('1'..='9').contains(&first));
    if !canonical || !name.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    name.parse().ok().filter(|index| *index != u32::MAX)
}

impl Value {
    /// Reads one JSON value.
    ///
    /// # Errors
    ///
    /// If the text is not JSON or nests deeper than [`DEPTH_MAX`].
    pub fn parse(text: &str) -> Result<Self, JsonError> {
        let mut scanner = Scanner::new(text);
        let value = Self::read(&mut scanner)?;
        scanner.finish()?;
        Ok(value)
    }

    fn read(scanner: &mut Scanner<'_>) -> Result<Self, JsonError> {
        Ok(match scanner.ahead()? {
            b'{' => {
                let mut members = Vec::new();
                scanner.object(|scanner, name| {
                    members.push((Text::from_literal(name), Self::read(scanner)?));
                    Ok(())
                })?;
                Self::Object(Object::from_members(members))
            }
            b'[' => {
                let mut items = Vec::new();
                scanner.array(|scanner| {
                    items.push(Self::read(scanner)?);
                    Ok(())
                })?;
                Self::Array(items)
            }
            b'"' => Self::Text(Text::from_literal(scanner.string()?)),
            b'n' => scanner.word("null").map(|()| Self::Null)?,
            b't' => scanner.word("true").map(|()| Self::Bool(true))?,
            b'f' => scanner.word("false").map(|()| Self::Bool(false))?,
            _ => Self::Number(scanner.number()?.parse().map_err(|_| JsonError::Syntax)?),
        })
    }

    /// Appends what `JSON.stringify` prints.
    pub fn print(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(true) => out.push_str("true"),
            Self::Bool(false) => out.push_str("false"),
            Self::Number(value) => number::print(*value, out),
            Self::Text(text) => print_text(text, out),
            Self::Array(items) => {
                out.push('[');
                for (place, item) in items.iter().enumerate() {
                    if place > 0 {
                        out.push(',');
                    }
                    item.print(out);
                }
                out.push(']');
            }
            Self::Object(object) => {
                out.push('{');
                for (place, (name, value)) in object.0.iter().enumerate() {
                    if place > 0 {
                        out.push(',');
                    }
                    print_text(name, out);
                    out.push(':');
                    value.print(out);
                }
                out.push('}');
            }
        }
    }

    /// What `JSON.stringify` prints.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        self.print(&mut out);
        out
    }

    /// The number, if this is one.
    pub fn as_number(&self) -> Option<f64> {
        if let Self::Number(value) = self { Some(*value) } else { None }
    }

    /// The string, if this is one.
    pub fn as_text(&self) -> Option<&Text> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The object, if this is one.
    pub fn as_object(&self) -> Option<&Object> {
        if let Self::Object(object) = self { Some(object) } else { None }
    }

    /// The items, if this is an array.
    pub fn as_array(&self) -> Option<&[Self]> {
        if let Self::Array(items) = self { Some(items) } else { None }
    }
}

/// What V8 prints after reading `text`: the form that hashes and signatures cover.
///
/// # Errors
///
/// If the text is not JSON or nests deeper than [`DEPTH_MAX`].
pub fn canonical(text: &str) -> Result<String, JsonError> {
    Value::parse(text).map(|value| value.to_json())
}

/// Appends a string as a JSON literal.
pub(crate) fn print_text(text: &Text, out: &mut String) {
    out.push('"');
    out.push_str(text.escaped());
    out.push('"');
}

/// Calls `each` with the name and the raw text of every member of an object, in the order written.
///
/// # Errors
///
/// If the text is not one JSON object.
pub(crate) fn members<'a>(text: &'a str, mut each: impl FnMut(&Text, &'a str)) -> Result<(), JsonError> {
    let mut scanner = Scanner::new(text);
    scanner.object(|scanner, name| {
        let value = scanner.skip()?;
        each(&Text::from_literal(name), value);
        Ok(())
    })?;
    scanner.finish()
}

/// Calls `each` with the raw text of every item of an array.
///
/// # Errors
///
/// If the text is not one JSON array.
pub(crate) fn items<'a>(text: &'a str, mut each: impl FnMut(&'a str)) -> Result<(), JsonError> {
    let mut scanner = Scanner::new(text);
    scanner.array(|scanner| {
        each(scanner.skip()?);
        Ok(())
    })?;
    scanner.finish()
}

/// A string literal without escapes, as hashes, addresses and ids are.
pub(crate) fn bare(raw: &str) -> Option<&str> {
    raw.strip_prefix('"')?.strip_suffix('"').filter(|inside| !inside.contains('\\'))
}
