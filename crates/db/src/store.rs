//! The store on disk: one file, written in groups.
//!
//! A write is seen at once by every read of this process, and lies in memory until the next flush takes all of
//! them to the disk in one transaction. Whoever must not lose a write waits until [`Disk::durable`] has
//! reached the number that the write got.

mod backup;
mod batch;
mod entry;
mod feed;
mod tables;

use std::path::Path;
use std::sync::Arc;

use redb::{Database, Durability, StorageBackend};
use tooldb::{Address, Claim, Digest, Key, Record, Span, State, Store, StoreError, Write};

pub use backup::{BackupError, Snapshot, restore};
pub use batch::Flush;
pub use feed::{Changes, FeedError, NotAToken, Token};
pub use tables::{Ban, Usage};

use crate::store::batch::Batch;
use crate::store::entry::Entry;
use crate::store::tables::Tables;

/// A write's place among all writes of a store. Numbers only grow, also over restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(pub u64);

/// Bytes of pages that the file's reader keeps in memory; redb's own default is a gigabyte.
pub const CACHE_BYTES: usize = 24 * 1024 * 1024;

/// Bytes of records that may wait for the disk. Above it writes fail until a flush has ended.
const WAITING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file cannot be created or read, or another process has it.
    #[error("cannot open the store")]
    Database(#[source] redb::Error),
    /// Something in it is not what this program writes.
    #[error("the store is damaged or of another kind")]
    Foreign,
    /// The system has no randomness for the name of a new store.
    #[error("no randomness")]
    Entropy(#[source] std::io::Error),
}

/// Too many writes wait for the disk.
#[derive(Debug, thiserror::Error)]
#[error("the disk does not keep up")]
struct Congested;

/// A store on disk.
#[derive(Debug)]
pub struct Disk {
    database: Arc<Database>,
    /// The store as of the last flush.
    tables: Tables,
    /// Writes since the last flush began.
    active: Batch,
    /// Writes that a flush is taking to the disk.
    flushing: Option<Arc<Batch>>,
    last: Seq,
    durable: Seq,
    id: [u8; 16],
}

impl Disk {
    /// Opens the store of a file, which is created where it is missing.
    ///
    /// # Errors
    ///
    /// If another process has it open, it is something else, or as the system does.
    pub fn open(path: &Path, cache_bytes: usize) -> Result<Self, OpenError> {
        let mut builder = Database::builder();
        builder.set_cache_size(cache_bytes);
        let database = builder.create(path).map_err(|error| OpenError::Database(error.into()))?;
        Self::of(database, node::seed().map_err(OpenError::Entropy)?)
    }

    /// Opens a store that lies wherever the backend says: the simulation's disks tear.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_backend(backend: impl StorageBackend, seed: [u8; 32]) -> Result<Self, OpenError> {
        let mut builder = Database::builder();
        builder.set_cache_size(1024 * 1024);
        let database =
            builder.create_with_backend(backend).map_err(|error| OpenError::Database(error.into()))?;
        Self::of(database, seed)
    }

    /// Opens a store that is gone when it is closed.
    ///
    /// # Errors
    ///
    /// Without randomness.
    pub fn in_memory() -> Result<Self, OpenError> {
        Self::open_backend(redb::backends::InMemoryBackend::new(), node::seed().map_err(OpenError::Entropy)?)
    }

    fn of(database: Database, seed: [u8; 32]) -> Result<Self, OpenError> {
        let (id, last) = tables::prepare(&database, seed)?;
        let tables = Tables::read(&database).map_err(OpenError::Database)?;
        let database = Arc::new(database);
        Ok(Self { database, tables, active: Batch::default(), flushing: None, last, durable: last, id })
    }

    /// The number of the latest write.
    pub fn last(&self) -> Seq {
        self.last
    }

    /// The latest write that survives whatever befalls this process and its computer.
    pub fn durable(&self) -> Seq {
        self.durable
    }

    /// How many writes wait for a flush to begin.
    pub fn waiting(&self) -> usize {
        self.active.writes
    }

    /// Whether a flush is under way.
    pub fn is_flushing(&self) -> bool {
        self.flushing.is_some()
    }

    /// Begins a flush of everything that waits; `None` if nothing does, or the flush before has not ended. It is
    /// to be [run](Flush::run) on whatever thread may wait for the disk, and then [ended](Self::flushed).
    pub fn flush(&mut self) -> Option<Flush> {
        if self.flushing.is_some() || self.active.is_empty() {
            return None;
        }
        let batch = Arc::new(std::mem::take(&mut self.active));
        self.flushing = Some(Arc::clone(&batch));
        Some(Flush { database: Arc::clone(&self.database), batch, upto: self.last })
    }

    /// Takes note of how a flush ended. After a failure its writes wait again.
    ///
    /// # Errors
    ///
    /// What the disk said.
    pub fn flushed(&mut self, outcome: Result<Seq, redb::Error>) -> Result<(), StoreError> {
        let Some(batch) = self.flushing.take() else { return Ok(()) };
        let ended = outcome.and_then(|seq| Ok((seq, Tables::read(&self.database)?)));
        match ended {
            Ok((seq, tables)) => {
                self.durable = self.durable.max(seq);
                self.tables = tables;
                Ok(())
            }
            Err(error) => {
                self.active.put_back(&batch);
                Err(StoreError(error.into()))
            }
        }
    }

    /// Flushes now, and waits for it.
    ///
    /// # Errors
    ///
    /// What the disk said.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        while let Some(flush) = self.flush() {
            let outcome = flush.run(Durability::Immediate);
            self.flushed(outcome)?;
        }
        Ok(())
    }

    /// How many keys there are, and bytes of records.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn size(&self) -> Result<Usage, StoreError> {
        self.tables.total().map_err(failed)
    }

    fn entry(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        let waiting = self.active.entries.get(key);
        let waiting = waiting.or_else(|| self.flushing.as_ref()?.entries.get(key));
        match waiting {
            Some(entry) => Ok(Some(entry.clone())),
            None => self.tables.entry(key).map_err(failed),
        }
    }
}

fn failed(error: redb::Error) -> StoreError {
    StoreError(error.into())
}

impl Store for Disk {
    fn plain(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        Ok(self.entry(key)?.and_then(|entry| entry.plain))
    }

    fn envelopes(&self, key: &Key) -> Result<Vec<Record>, StoreError> {
        Ok(self.entry(key)?.map(|entry| entry.envelopes).unwrap_or_default())
    }

    fn claim(&self, key: &Key) -> Result<Option<Claim>, StoreError> {
        Ok(self.entry(key)?.and_then(|entry| entry.claim))
    }

    fn displaced(&self, key: &Key, author: &Address) -> Result<Option<Record>, StoreError> {
        let displaced = self.entry(key)?.map(|entry| entry.displaced).unwrap_or_default();
        Ok(displaced.into_iter().find(|record| record.author() == *author))
    }

    fn keys(&self, prefix: &Key, limit: usize) -> Result<Vec<Key>, StoreError> {
        let batches = self.flushing.iter().map(|batch| &**batch).chain([&self.active]);
        let mut waiting: Vec<&Key> = batches.flat_map(|batch| batch.keys(prefix)).collect();
        waiting.sort();
        waiting.dedup();
        self.tables.keys(prefix, (&waiting, limit)).map_err(failed)
    }

    fn records(&self, key: &Key) -> Result<Vec<Record>, StoreError> {
        Ok(self.entry(key)?.map(|entry| entry.records().cloned().collect()).unwrap_or_default())
    }

    fn states(&self, span: &Span, limit: usize) -> Result<Vec<State>, StoreError> {
        let mut states = self.tables.states(span, limit).map_err(failed)?;
        let batches = self.flushing.iter().map(|batch| &**batch).chain([&self.active]);
        for (key, entry) in batches.flat_map(|batch| batch.within(span)) {
            let state = State { key: key.clone(), digest: entry.digest() };
            match states.binary_search_by(|known| known.key.cmp(key)) {
                Ok(place) => states[place] = state,
                Err(place) => states.insert(place, state),
            }
        }
        states.truncate(limit);
        Ok(states)
    }

    fn state(&self, key: &Key) -> Result<Option<Digest>, StoreError> {
        Ok(self.entry(key)?.map(|entry| entry.digest()))
    }

    fn author_bytes(&self, author: &Address) -> Result<u64, StoreError> {
        let waiting =
            self.active.grown(author) + self.flushing.as_ref().map_or(0, |batch| batch.grown(author));
        let kept = self.tables.usage(author).map_err(failed)?.bytes;
        Ok(kept.saturating_add_signed(waiting))
    }

    fn write(&mut self, write: Write) -> Result<(), StoreError> {
        let key = match &write {
            Write::Plain { record, .. } | Write::Envelope { record, .. } => record.key().clone(),
            Write::Claim { claim } => claim.record.key().clone(),
        };
        let (before, mut entry) = (self.active.entries.get(&key).map(|entry| entry.seq), self.entry(&key)?);
        if self.active.bytes > WAITING_BYTES_MAX {
            return Err(StoreError(Congested.into()));
        }
        let replaced = entry.as_ref().filter(|_| before.is_none()).map(|entry| entry.seq);
        self.last = Seq(self.last.0 + 1);
        let mut changed = entry.take().unwrap_or_default();
        self.active.account(&changed, &write);
        changed.apply(write);
        changed.seq = self.last;
        self.active.insert(key, (changed, replaced));
        Ok(())
    }
}
