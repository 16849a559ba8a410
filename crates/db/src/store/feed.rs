//! The change feed: which keys changed since a reader looked last.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use tooldb::{Key, StoreError};

use super::{Disk, Seq, failed};

/// A place in one store's change feed. Every key has one place, that of its latest change: a reader that was away
/// gets each changed key once, however often it changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    store: [u8; 16],
    seq: Seq,
}

/// Why a feed cannot be resumed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeedError {
    /// The token is another store's, or from before a restoration: everything is to be read again.
    #[error("the token is of another store")]
    Foreign,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A text that is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a token of a change feed")]
pub struct NotAToken;

/// A part of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// Keys in the order of their latest changes.
    pub keys: Vec<Key>,
    /// Where to go on.
    pub next: Token,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut store = String::new();
        for byte in self.store {
            write!(store, "{byte:02x}")?;
        }
        write!(f, "{store}-{}", self.seq.0)
    }
}

impl FromStr for Token {
    type Err = NotAToken;

    fn from_str(text: &str) -> Result<Self, NotAToken> {
        let (store, seq) = text.split_once('-').ok_or(NotAToken)?;
        let store: wire::Id<16> = store.parse().map_err(|_| NotAToken)?;
        Ok(Self { store: store.0, seq: Seq(seq.parse().map_err(|_| NotAToken)?) })
    }
}

impl Disk {
    /// The place before the first change.
    pub fn beginning(&self) -> Token {
        Token { store: self.id, seq: Seq(0) }
    }

    /// The place after the latest change that is on disk.
    pub fn present(&self) -> Token {
        Token { store: self.id, seq: self.durable }
    }

    /// Keys that changed after a place, as far as their changes are on disk.
    ///
    /// # Errors
    ///
    /// If the token is of another store, or the store failed.
    pub fn changes(&self, after: Token, limit: usize) -> Result<Changes, FeedError> {
        if after.store != self.id || after.seq > self.last {
            return Err(FeedError::Foreign);
        }
        let changes = self.tables.changes(after.seq, limit).map_err(failed)?;
        let seq = changes.last().map_or(after.seq, |(seq, _)| *seq);
        let keys = changes.into_iter().map(|(_, key)| key).collect();
        Ok(Changes { keys, next: Token { seq, ..after } })
    }
}
