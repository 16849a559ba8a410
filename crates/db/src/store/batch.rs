//! Writes that wait for the disk, and their way there.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use redb::{Database, Durability};
use tooldb::{Address, Digest, Key, Record, Span, Write};

use super::Seq;
use super::entry::Entry;
use super::tables::{self, Usage};

/// What changed since a flush: for each key all that there is of it now.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) entries: BTreeMap<Key, Entry>,
    /// Places in the change feed that are no longer any key's latest.
    pub(super) replaced: Vec<Seq>,
    /// What each author has more, or less.
    pub(super) authors: BTreeMap<Address, Growth>,
    /// Own records that no server has confirmed.
    pub(super) unconfirmed: Vec<(Digest, Key)>,
    /// Own records that one has.
    pub(super) confirmed: Vec<Digest>,
    pub(super) writes: usize,
    pub(super) bytes: usize,
}

/// By how much something grew, or shrank.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Growth {
    pub(super) records: i64,
    pub(super) bytes: i64,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.unconfirmed.is_empty() && self.confirmed.is_empty()
    }

    /// Notes whose records come and go with a write.
    pub(super) fn account(&mut self, before: &Entry, write: &Write) {
        for record in before.leaving(write) {
            self.grow(record, -1);
        }
        if let Write::Plain { record, .. } | Write::Envelope { record, .. } = write {
            self.grow(record, 1);
            self.bytes += record.raw().len();
        }
    }

    fn grow(&mut self, record: &Record, sign: i64) {
        let growth = self.authors.entry(record.author()).or_default();
        growth.records += sign;
        growth.bytes += sign * i64::try_from(record.raw().len()).unwrap_or(i64::MAX);
    }

    pub(super) fn insert(&mut self, key: Key, (entry, replaced): (Entry, Option<Seq>)) {
        self.replaced.extend(replaced);
        self.entries.insert(key, entry);
        self.writes += 1;
    }

    /// Takes an entry whose records nobody has accounted for.
    pub(super) fn adopt(&mut self, key: Key, entry: Entry) {
        for record in entry.plain.iter().chain(&entry.envelopes) {
            self.grow(record, 1);
            self.bytes += record.raw().len();
        }
        self.insert(key, (entry, None));
    }

    /// Bytes by which an author's records grew.
    pub(super) fn grown(&self, author: &Address) -> i64 {
        self.authors.get(author).map_or(0, |growth| growth.bytes)
    }

    /// Keys that start with a text, in order.
    pub(super) fn keys<'a>(&'a self, prefix: &'a Key) -> impl Iterator<Item = &'a Key> {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let keys = self.entries.range::<Key, _>(from).map(|(key, _)| key);
        keys.take_while(|key| key.as_str().starts_with(prefix.as_str()))
    }

    /// Entries of a range of keys, in order.
    pub(super) fn within<'a>(&'a self, span: &Span) -> impl Iterator<Item = (&'a Key, &'a Entry)> {
        let until = span.until.clone();
        let from = (Bound::Included(span.from.clone()), Bound::Unbounded);
        let entries = self.entries.range::<Key, _>(from);
        entries.take_while(move |(key, _)| until.as_ref().is_none_or(|until| *key < until))
    }

    /// Takes the writes of a flush that failed back in, under those that came later.
    pub(super) fn put_back(&mut self, failed: &Self) {
        for (key, entry) in &failed.entries {
            self.entries.entry(key.clone()).or_insert_with(|| entry.clone());
        }
        self.replaced.extend(&failed.replaced);
        for (author, growth) in &failed.authors {
            let own = self.authors.entry(*author).or_default();
            own.records += growth.records;
            own.bytes += growth.bytes;
        }
        let later = std::mem::replace(&mut self.unconfirmed, failed.unconfirmed.clone());
        self.unconfirmed.extend(later);
        self.confirmed.extend(&failed.confirmed);
        self.writes += failed.writes;
        self.bytes += failed.bytes;
    }
}

/// A group of writes on its way to the disk.
#[derive(Debug)]
pub struct Flush {
    pub(super) database: Arc<Database>,
    pub(super) batch: Arc<Batch>,
    pub(super) upto: Seq,
}

impl Flush {
    /// Writes and waits for the disk; returns the latest write that is there then. Give the outcome to
    /// [`Disk::flushed`](super::Disk::flushed).
    ///
    /// # Errors
    ///
    /// What the disk said. Then nothing was written.
    pub fn run(self, durability: Durability) -> Result<Seq, redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(durability)?;
        tables::write(&transaction, &self.batch)?;
        transaction.commit()?;
        Ok(self.upto)
    }
}

impl Usage {
    pub(super) fn grown(self, growth: Growth) -> Self {
        Self {
            records: self.records.saturating_add_signed(growth.records),
            bytes: self.bytes.saturating_add_signed(growth.bytes),
        }
    }
}
