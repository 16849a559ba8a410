//! What a node's operator and its application ask of records beyond their being genuine.

use std::collections::BTreeSet;
use std::fmt;

use super::Replica;
use super::admit::PutError;
use crate::key::Key;
use crate::keys::Address;
use crate::record::Record;
use crate::store::Store;
use crate::verify::{Rejected, Verified};

/// A rule of the application: is given a record that is genuine, and the one it would replace.
///
/// In the library such a rule takes the place of the signature check; here it comes after it.
pub type Screen = Box<dyn Fn(&Verified<Record>, Option<&Record>) -> Result<(), Rejected> + Send>;

#[derive(Default)]
pub(super) struct Guard {
    screens: Vec<(Key, Screen)>,
    banned: BTreeSet<Address>,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("banned", &self.banned).finish_non_exhaustive()
    }
}

impl<S: Store> Replica<S> {
    /// Adds a rule for all keys that start with a text; every rule that concerns a key must agree.
    pub fn screen(&mut self, prefix: Key, screen: Screen) {
        self.guard.screens.push((prefix, screen));
    }

    /// Takes no records of an author from now on. Those that are here stay.
    pub fn ban(&mut self, author: Address) {
        self.guard.banned.insert(author);
    }

    /// Takes an author's records again.
    pub fn unban(&mut self, author: &Address) {
        self.guard.banned.remove(author);
    }

    /// What costs no signature check: is the author welcome, and is there room for the record?
    pub(super) fn welcome(&self, record: &Record) -> Result<(), PutError> {
        let author = record.author();
        if self.guard.banned.contains(&author) {
            return Err(Rejected::Banned.into());
        }
        let bytes = u64::try_from(record.raw().len()).unwrap_or(u64::MAX);
        let kept = self.store.author_bytes(&author)?;
        if kept.saturating_add(bytes) > self.config.limits.author_bytes_max {
            Err(PutError::Full)
        } else {
            Ok(())
        }
    }

    pub(super) fn agreed(
        &self,
        record: Verified<Record>,
        before: Option<&Record>,
    ) -> Result<Verified<Record>, PutError> {
        let concerned = self
            .guard
            .screens
            .iter()
            .filter(|(prefix, _)| record.key().as_str().starts_with(prefix.as_str()));
        for (_, screen) in concerned {
            screen(&record, before)?;
        }
        Ok(record)
    }
}
