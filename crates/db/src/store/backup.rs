//! Copies of a store, made while it is in use.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::Database;

use super::tables::{self, Tables};
use super::{Disk, OpenError};

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// There is something already where the copy was to go.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    /// One of the two cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A store cannot be read or written.
    #[error("the copy could not be made")]
    Database(#[from] redb::Error),
    /// The system refused.
    #[error("the copy could not be made")]
    Io(#[from] io::Error),
}

/// A store as it was at a moment, to be copied on whatever thread may take its time.
#[derive(Debug)]
pub struct Snapshot {
    tables: Tables,
    database: Arc<Database>,
}

impl Disk {
    /// The store as it is on disk now. Writes go on meanwhile, and are not in it.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn snapshot(&self) -> Result<Snapshot, redb::Error> {
        Ok(Snapshot { tables: Tables::read(&self.database)?, database: Arc::clone(&self.database) })
    }

    /// Names that are banned.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn bans(&self) -> Result<Vec<String>, redb::Error> {
        tables::bans(&self.database)
    }

    /// Bans a name, or lifts its ban; on disk when this returns.
    ///
    /// # Errors
    ///
    /// If the store cannot be written.
    pub fn set_ban(&self, name: &str, ban: tables::Ban) -> Result<(), redb::Error> {
        tables::set_ban(&self.database, name, ban)
    }

    /// Records of this node that no server has confirmed, with their keys.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn outbox(&self) -> Result<Vec<(tooldb::Digest, tooldb::Key)>, redb::Error> {
        tables::outbox(&self.database)
    }

    /// The record of a key that has this hash, if it is still kept.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn record(
        &self,
        key: &tooldb::Key,
        hash: tooldb::Digest,
    ) -> Result<Option<tooldb::Record>, tooldb::StoreError> {
        let entry = self.entry(key)?;
        Ok(entry.and_then(|entry| entry.records().find(|record| record.hash() == hash).cloned()))
    }

    /// Notes, with the next flush, that a record of this node waits to be confirmed.
    pub fn note_unconfirmed(&mut self, hash: tooldb::Digest, key: tooldb::Key) {
        self.active.unconfirmed.push((hash, key));
    }

    /// Notes, with the next flush, that a server has a record.
    pub fn note_confirmed(&mut self, hash: tooldb::Digest) {
        self.active.confirmed.push(hash);
    }
}

/// Records in one transaction of a copy.
const CHUNK: usize = 4_096;

impl Snapshot {
    /// Writes the copy to a file that does not exist yet; it appears whole or not at all.
    ///
    /// The copy is a store under a name of its own, so that readers of the change feed notice.
    ///
    /// # Errors
    ///
    /// If the file exists, or something cannot be read or written.
    pub fn write(&self, path: &Path) -> Result<u64, BackupError> {
        if path.try_exists()? {
            return Err(BackupError::Exists(path.into()));
        }
        let temporary = path.with_extension("partial");
        remove(&temporary)?;
        let copied = self.copy(&temporary)?;
        File::open(&temporary)?.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_directory(path)?;
        Ok(copied)
    }

    fn copy(&self, path: &Path) -> Result<u64, BackupError> {
        let mut copy = Disk::open(path, super::CACHE_BYTES)?;
        let mut copied = 0;
        let mut failed = None;
        self.tables.each(|key, bytes| {
            let Some(taken) = copy.take_entry(key, bytes) else { return Ok(()) };
            copied += 1;
            if taken >= CHUNK
                && let Err(error) = copy.sync()
            {
                failed = Some(error);
            }
            Ok(())
        })?;
        let synced = failed.map_or_else(|| copy.sync(), Err);
        synced.map_err(|error| io::Error::other(error.to_string()))?;
        for ban in tables::bans(&self.database)? {
            copy.set_ban(&ban, tables::Ban::Set)?;
        }
        Ok(copied)
    }
}

impl Disk {
    /// Takes an entry of another store as it is; returns how many wait for the disk.
    fn take_entry(&mut self, key: &str, bytes: &[u8]) -> Option<usize> {
        let (key, mut entry) = (tooldb::Key::new(key)?, super::entry::Entry::decode(bytes)?);
        self.last = super::Seq(self.last.0 + 1);
        entry.seq = self.last;
        self.active.adopt(key, entry);
        Some(self.active.writes)
    }
}

/// Puts a copy in a store's place. No process may have the store open; what was there is kept beside it, under
/// the name that is returned.
///
/// # Errors
///
/// If the copy is no store, or the system refuses.
pub fn restore(copy: &Path, store: &Path) -> Result<Option<PathBuf>, BackupError> {
    let kept = store.try_exists()?;
    if kept {
        // Fails if another process has it.
        drop(Disk::open(store, super::CACHE_BYTES)?);
    }
    let source = Disk::open(copy, super::CACHE_BYTES)?;
    let fresh = store.with_extension("restored");
    remove(&fresh)?;
    source.snapshot()?.write(&fresh)?;
    let before = store.with_extension("before-restore");
    if kept {
        fs::rename(store, &before)?;
    }
    fs::rename(&fresh, store)?;
    sync_directory(store)?;
    Ok(kept.then_some(before))
}

/// Removes what an attempt that failed may have left.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
}
