//! The tables of the file.

use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use tooldb::{Address, Digest, Key, Span, State};

use super::batch::{Batch, Growth};
use super::entry::Entry;
use super::{OpenError, Seq};

/// Everything of a key; see [`Entry`].
const ENTRIES: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("entries");
/// For each key its latest change: the change feed.
const CHANGES: TableDefinition<'static, u64, &str> = TableDefinition::new("changes");
/// What each author has here; under the empty name, all of them together.
const AUTHORS: TableDefinition<'static, &str, (u64, u64)> = TableDefinition::new("authors");
/// The store's own name and its kind.
const ABOUT: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("about");
/// Authors and hosts that the operator banned.
const BANS: TableDefinition<'static, &str, ()> = TableDefinition::new("bans");
/// Hashes of this node's own records that no server has confirmed, with their keys.
const OUTBOX: TableDefinition<'static, [u8; 32], &str> = TableDefinition::new("outbox");

const KIND: &[u8] = b"homing tool-db store 1";
const EVERYBODY: &str = "";

/// How much there is of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// How many records.
    pub records: u64,
    /// Bytes of their texts.
    pub bytes: u64,
}

/// Makes the tables where they are missing; returns the store's name and its latest change.
pub(super) fn prepare(database: &Database, seed: [u8; 32]) -> Result<([u8; 16], Seq), OpenError> {
    let failed = |error: redb::Error| OpenError::Database(error);
    let known = about(database).map_err(failed)?;
    if let Some((kind, id)) = known {
        let id = id.as_slice().try_into().map_err(|_| OpenError::Foreign)?;
        if kind != KIND {
            return Err(OpenError::Foreign);
        }
        return Ok((id, last(database).map_err(failed)?));
    }
    let [id @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = seed;
    create(database, &id).map_err(failed)?;
    Ok((id, Seq(0)))
}

/// The store's kind and name.
type About = (Vec<u8>, Vec<u8>);

fn about(database: &Database) -> Result<Option<About>, redb::Error> {
    let transaction = database.begin_read()?;
    let table = match transaction.open_table(ABOUT) {
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
        table => table?,
    };
    let read = |name| Ok::<_, redb::Error>(table.get(name)?.map(|guard| guard.value().to_vec()));
    let (kind, id) = (read("kind")?.unwrap_or_default(), read("id")?.unwrap_or_default());
    Ok(Some((kind, id)))
}

fn last(database: &Database) -> Result<Seq, redb::Error> {
    let changes = database.begin_read()?.open_table(CHANGES)?;
    Ok(Seq(changes.last()?.map_or(0, |(seq, _)| seq.value())))
}

fn create(database: &Database, id: &[u8]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut about = transaction.open_table(ABOUT)?;
        about.insert("kind", KIND)?;
        about.insert("id", id)?;
        transaction.open_table(ENTRIES)?;
        transaction.open_table(CHANGES)?;
        transaction.open_table(AUTHORS)?;
        transaction.open_table(BANS)?;
        transaction.open_table(OUTBOX)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Takes a batch into a transaction.
pub(super) fn write(transaction: &WriteTransaction, batch: &Batch) -> Result<(), redb::Error> {
    if !batch.unconfirmed.is_empty() || !batch.confirmed.is_empty() {
        change_outbox(transaction, batch)?;
    }
    let mut entries = transaction.open_table(ENTRIES)?;
    let mut changes = transaction.open_table(CHANGES)?;
    let mut authors = transaction.open_table(AUTHORS)?;
    for seq in &batch.replaced {
        changes.remove(seq.0)?;
    }
    for (key, entry) in &batch.entries {
        entries.insert(key.as_str(), entry.encode().as_slice())?;
        changes.insert(entry.seq.0, key.as_str())?;
    }
    let mut all = Growth::default();
    for (author, growth) in &batch.authors {
        all.records += growth.records;
        all.bytes += growth.bytes;
        let author = author.to_string();
        grow(&mut authors, &author, *growth)?;
    }
    grow(&mut authors, EVERYBODY, all)
}

fn grow(
    authors: &mut redb::Table<'_, &'static str, (u64, u64)>,
    author: &str,
    growth: Growth,
) -> Result<(), redb::Error> {
    let before = authors.get(author)?.map(|guard| guard.value()).unwrap_or_default();
    let after = Usage { records: before.0, bytes: before.1 }.grown(growth);
    authors.insert(author, (after.records, after.bytes))?;
    Ok(())
}

/// Adds a name to the banned ones, or takes it off.
pub(super) fn set_ban(database: &Database, name: &str, ban: Ban) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut bans = transaction.open_table(BANS)?;
        match ban {
            Ban::Set => bans.insert(name, ())?.is_some(),
            Ban::Lifted => bans.remove(name)?.is_some(),
        };
    }
    Ok(transaction.commit()?)
}

/// What becomes of a ban.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ban {
    /// It holds from now on.
    Set,
    /// It holds no longer.
    Lifted,
}

pub(super) fn bans(database: &Database) -> Result<Vec<String>, redb::Error> {
    let bans = database.begin_read()?.open_table(BANS)?;
    bans.iter()?.map(|ban| Ok(ban?.0.value().to_owned())).collect()
}

/// Notes records that servers must still be told of, and forgets those that one has confirmed.
fn change_outbox(transaction: &WriteTransaction, batch: &Batch) -> Result<(), redb::Error> {
    let mut outbox = transaction.open_table(OUTBOX)?;
    for (hash, key) in &batch.unconfirmed {
        outbox.insert(hash.0, key.as_str())?;
    }
    for hash in &batch.confirmed {
        outbox.remove(hash.0)?;
    }
    Ok(())
}

pub(super) fn outbox(database: &Database) -> Result<Vec<(Digest, Key)>, redb::Error> {
    let outbox = database.begin_read()?.open_table(OUTBOX)?;
    let mut waiting = Vec::new();
    for item in outbox.iter()? {
        let (hash, key) = item?;
        waiting.extend(Key::new(key.value()).map(|key| (Digest(hash.value()), key)));
    }
    Ok(waiting)
}

/// The store as it was when a flush had ended.
pub(super) struct Tables {
    entries: ReadOnlyTable<&'static str, &'static [u8]>,
    changes: ReadOnlyTable<u64, &'static str>,
    authors: ReadOnlyTable<&'static str, (u64, u64)>,
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tables")
    }
}

impl Tables {
    pub(super) fn read(database: &Database) -> Result<Self, redb::Error> {
        let transaction = database.begin_read()?;
        Ok(Self {
            entries: transaction.open_table(ENTRIES)?,
            changes: transaction.open_table(CHANGES)?,
            authors: transaction.open_table(AUTHORS)?,
        })
    }

    pub(super) fn entry(&self, key: &Key) -> Result<Option<Entry>, redb::Error> {
        let Some(bytes) = self.entries.get(key.as_str())? else { return Ok(None) };
        Entry::decode(bytes.value()).map(Some).ok_or_else(|| corrupted(key.as_str()))
    }

    pub(super) fn usage(&self, author: &Address) -> Result<Usage, redb::Error> {
        self.used(&author.to_string())
    }

    pub(super) fn total(&self) -> Result<Usage, redb::Error> {
        self.used(EVERYBODY)
    }

    fn used(&self, author: &str) -> Result<Usage, redb::Error> {
        let usage = self.authors.get(author)?.map(|guard| guard.value()).unwrap_or_default();
        Ok(Usage { records: usage.0, bytes: usage.1 })
    }

    /// The first keys that start with a text, those among them that wait for the disk included.
    pub(super) fn keys(
        &self,
        prefix: &Key,
        (waiting, limit): (&[&Key], usize),
    ) -> Result<Vec<Key>, redb::Error> {
        let mut keys = Vec::new();
        let mut waiting = waiting.iter().copied().peekable();
        for item in self.entries.range(prefix.as_str()..)? {
            let (key, _) = item?;
            let Some(key) = starting_with(prefix, key.value()) else { break };
            while let Some(other) = waiting.next_if(|other| **other <= key) {
                if *other != key {
                    keys.push(other.clone());
                }
            }
            if keys.len() >= limit {
                break;
            }
            keys.push(key);
        }
        keys.extend(waiting.cloned());
        keys.truncate(limit);
        Ok(keys)
    }

    /// What there is of the first keys of a range.
    pub(super) fn states(&self, span: &Span, limit: usize) -> Result<Vec<State>, redb::Error> {
        let mut states = Vec::new();
        for item in self.entries.range(span.from.as_str()..)?.take(limit) {
            let (key, bytes) = item?;
            let name = key.value();
            if span.until.as_ref().is_some_and(|until| name >= until.as_str()) {
                break;
            }
            let state = Key::new(name).zip(Entry::digest_in(bytes.value()));
            let (key, digest) = state.ok_or_else(|| corrupted(name))?;
            states.push(State { key, digest });
        }
        Ok(states)
    }

    /// The latest changes of keys after a place in the feed, oldest first.
    pub(super) fn changes(&self, after: Seq, limit: usize) -> Result<Vec<(Seq, Key)>, redb::Error> {
        let from = after.0.saturating_add(1);
        let mut changes = Vec::new();
        for item in self.changes.range(from..)?.take(limit) {
            let (seq, key) = item?;
            let key = Key::new(key.value()).ok_or_else(|| corrupted(key.value()))?;
            changes.push((Seq(seq.value()), key));
        }
        Ok(changes)
    }

    /// Every entry, in the order of keys.
    pub(super) fn each(
        &self,
        mut take: impl FnMut(&str, &[u8]) -> Result<(), redb::Error>,
    ) -> Result<(), redb::Error> {
        for item in self.entries.iter()? {
            let (key, bytes) = item?;
            take(key.value(), bytes.value())?;
        }
        Ok(())
    }
}

fn starting_with(prefix: &Key, key: &str) -> Option<Key> {
    if key.starts_with(prefix.as_str()) { Key::new(key) } else { None }
}

fn corrupted(key: &str) -> redb::Error {
    redb::Error::Corrupted(format!("the entry of {key}"))
}
