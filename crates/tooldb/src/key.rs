//! Names of records, and who may write them.

use std::fmt;

use crate::json::{Text, Value};
use crate::keys::Address;
use crate::verify::Rejected;

/// The name of a record: any text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Box<str>);

/// Who may write a key, read off its first characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space<'a> {
    /// Anyone; the newest record wins.
    Public,
    /// `:owner.name` or `:owner`: only that address. The owner may be empty or nonsense, and then nobody can.
    Owned {
        /// What stands between the colon and the first dot.
        owner: &'a str,
    },
    /// `==name`: whoever claimed it first; only they may write it again.
    Frozen,
}

impl Key {
    /// Bytes that a key may have: an address, and a name longer than any seen.
    pub const LEN_MAX: usize = 2048;

    /// Makes a key; `None` if it is longer than [`Key::LEN_MAX`].
    pub fn new(text: &str) -> Option<Self> {
        (text.len() <= Self::LEN_MAX).then(|| Self(text.into()))
    }

    /// The key before all others.
    pub fn first() -> Self {
        Self("".into())
    }

    /// The key right after this one. It may be too long to be stored, but not to be compared with.
    #[must_use]
    pub fn after(&self) -> Self {
        Self(format!("{}\0", self.0).into())
    }

    /// The key of `name` in an author's own space, `:address.name`.
    pub fn owned(owner: &Address, name: &str) -> Option<Self> {
        Self::new(&format!(":{owner}.{name}"))
    }

    /// The key of a name that belongs to whoever claims it first, `==name`. Accounts live there.
    pub fn frozen(name: &str) -> Option<Self> {
        Self::new(&format!("=={name}"))
    }

    /// Reads a key from JSON.
    ///
    /// # Errors
    ///
    /// [`Rejected::InvalidData`] for anything but a string that Rust can hold, [`Rejected::TooLarge`] if it is
    /// longer than [`Key::LEN_MAX`].
    pub(crate) fn from_json(raw: &str) -> Result<Self, Rejected> {
        let Ok(Value::Text(text)) = Value::parse(raw) else { return Err(Rejected::InvalidData) };
        Self::new(&text.plain().ok_or(Rejected::InvalidData)?).ok_or(Rejected::TooLarge)
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Who may write it.
    pub fn space(&self) -> Space<'_> {
        if let Some(rest) = self.0.strip_prefix(':') {
            let owner = rest.split_once('.').map_or(rest, |(owner, _)| owner);
            return Space::Owned { owner };
        }
        if self.0.starts_with("==") { Space::Frozen } else { Space::Public }
    }

    /// Bytes of the key as a JSON string.
    pub(crate) fn printed_len(&self) -> usize {
        Text::from(&*self.0).escaped().len() + 2
    }

    /// Appends the key as a JSON string.
    pub(crate) fn print(&self, out: &mut String) {
        crate::json::print_text(&Text::from(&*self.0), out);
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}
