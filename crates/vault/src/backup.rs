//! Backups: everything in a vault as it was at one moment, in one encrypted file.

mod item;
mod restore;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use chart::{AuthorKey, Digest, RecordId, Secret, Slot};
use redb::{ReadTransaction, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _};

use crate::age::{AgeError, Sealing, seal_to};
use crate::directory::{beside, fresh, sync};
use crate::error::{VaultError, failed, store};
use crate::strongbox::{RecordKeys, Standing, Strongbox};
use crate::tables::{Place, Seals, Table, read, stored};
use crate::vault::{Ground, Note, Vault};

pub(crate) use item::VALUE_MAX;
pub use item::{BackupItem, NotABackup};
pub use restore::{RestoreError, Restoring, restore};

/// Times that keys and store are looked at until they fit: each time they do not, something was erased in between.
const LOOKS: usize = 8;

/// Why a backup was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The vault cannot be read.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The file cannot be written.
    #[error("cannot write the backup")]
    Write(#[source] AgeError),
    /// A file is there already.
    #[error("the file of the backup exists already")]
    Exists,
}

impl From<io::Error> for BackupError {
    fn from(error: io::Error) -> Self {
        Self::Write(error.into())
    }
}

/// How far a backup or a restore has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Values that are done.
    pub done: u64,
    /// Values in all; 0 where that is not known.
    pub of: u64,
}

/// A record as it is backed up.
#[derive(Debug)]
struct Sheet {
    keys: RecordKeys,
    /// Every erasure key that a value may be sealed under.
    erasures: Vec<(u32, Secret)>,
    seals: Seals,
    stem: String,
}

/// A vault as it was at one moment: it can be written to a file while the vault goes on, from another thread.
///
/// While it exists, what is erased meanwhile stays in it.
pub struct Snapshot {
    _ground: Arc<Ground>,
    transaction: ReadTransaction,
    sheets: Vec<Sheet>,
    notes: Vec<Note>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot").field("records", &self.sheets.len()).finish_non_exhaustive()
    }
}

impl Vault {
    /// Holds on to everything that was synced.
    ///
    /// # Errors
    ///
    /// If the vault cannot be read.
    pub fn snapshot(&self) -> Result<Snapshot, VaultError> {
        for _ in 0..LOOKS {
            let before = self.looks()?;
            let transaction = self.ground.database.begin_read().map_err(store)?;
            let sheets = before.into_iter().zip(self.looks()?).map(|(mut sheet, after)| {
                sheet.erasures.extend(after.erasures);
                sheet
            });
            let sheets: Vec<Sheet> = sheets.collect();
            if fit(&transaction, &sheets)? {
                let notes = self.all_notes(&transaction)?;
                return Ok(Snapshot { _ground: Arc::clone(&self.ground), transaction, sheets, notes });
            }
        }
        Err(VaultError::Busy)
    }

    fn looks(&self) -> Result<Vec<Sheet>, VaultError> {
        let sheet = |record: &RecordId| {
            let stem = self.stem(record);
            let found = Strongbox::peek(&self.keys_path(&stem), &self.record_key())?;
            let erasures =
                found.iter().map(|(generation, keys)| (*generation, keys.erasure.clone())).collect();
            let (_, keys) = found.into_iter().next_back().ok_or(VaultError::NoRecord)?;
            Ok(Sheet { seals: Seals::of(&keys.content), keys, erasures, stem })
        };
        self.records().map(sheet).collect()
    }
}

/// Whether every key of contents opens with an erasure key that is at hand.
fn fit(transaction: &ReadTransaction, sheets: &[Sheet]) -> Result<bool, VaultError> {
    for sheet in sheets {
        let Some(keys) = read(transaction, Table::Keys, &sheet.stem)? else { continue };
        for item in keys.iter().map_err(store)? {
            let (_, value) = item.map_err(store)?;
            let known = |of: &(u32, Secret)| value.value().starts_with(&of.0.to_le_bytes());
            if !sheet.erasures.iter().any(known) {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

impl Snapshot {
    /// Writes an encrypted file of mode 0600; it appears whole or not at all.
    ///
    /// # Errors
    ///
    /// If something is there already, the vault cannot be read, or as the system does.
    pub fn write_file(
        &self,
        path: &Path,
        sealing: &Sealing,
        progress: impl FnMut(Progress),
    ) -> Result<(), BackupError> {
        if path.try_exists().map_err(failed("look for", path))? {
            return Err(BackupError::Exists);
        }
        let temporary = beside(path, ".part");
        let file = fresh(&temporary)?;
        let written = self.write(BufWriter::new(file), sealing, progress).and_then(|out| {
            let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.sync_all()?;
            fs::hard_link(&temporary, path).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => BackupError::Exists,
                _ => failed("create", path)(error).into(),
            })
        });
        fs::remove_file(&temporary).map_err(failed("remove", &temporary))?;
        written?;
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        Ok(sync(directory.unwrap_or_else(|| Path::new(".")))?)
    }

    /// Writes the file to whatever takes bytes.
    ///
    /// # Errors
    ///
    /// If the vault cannot be read, or the writer fails.
    pub fn write<W: Write>(
        &self,
        out: W,
        sealing: &Sealing,
        mut progress: impl FnMut(Progress),
    ) -> Result<W, BackupError> {
        let mut out = seal_to(sealing, out).map_err(BackupError::Write)?;
        out.push(item::FRONT)?;
        let mut state = Progress { done: 0, of: self.len()? };
        let mut buffer = Vec::new();
        let mut put = |item: BackupItem| -> Result<(), BackupError> {
            buffer.clear();
            item.encode(&mut buffer);
            out.push(&buffer)?;
            state.done += 1;
            progress(state);
            Ok(())
        };
        for (name, value) in &self.notes {
            put(BackupItem::Note { name: name.clone(), value: value.to_vec() })?;
        }
        for sheet in &self.sheets {
            let RecordKeys { record, standing, identity, .. } = &sheet.keys;
            // An owner's device that is restored is another device: it must not write where the old one may.
            let identity = (*standing == Standing::Member).then(|| identity.clone());
            put(BackupItem::Record { record: *record, standing: *standing, identity })?;
            self.each(sheet, |slot, value| put(BackupItem::Value { slot, value }))?;
        }
        let count = state.done;
        buffer.clear();
        BackupItem::End { count }.encode(&mut buffer);
        out.push(&buffer)?;
        Ok(out.finish()?)
    }

    /// How many items there are; authors' names are not items, and heads and forks are few.
    fn len(&self) -> Result<u64, VaultError> {
        let mut len = self.notes.len() as u64;
        for sheet in &self.sheets {
            len += 1;
            for table in [Table::Headers, Table::Keys, Table::Contents, Table::Blobs, Table::Others] {
                if let Some(table) = read(&self.transaction, table, &sheet.stem)? {
                    len += table.len().map_err(store)?;
                }
            }
        }
        Ok(len)
    }

    /// Gives every value of a record that opens; damaged ones are left out, as peers are asked for them.
    fn each(
        &self,
        sheet: &Sheet,
        mut take: impl FnMut(Slot, Vec<u8>) -> Result<(), BackupError>,
    ) -> Result<(), BackupError> {
        let authors = sheet.seals.authors(&self.transaction, &sheet.stem)?;
        self.logs(sheet, &authors, &mut take)?;
        let others = authors.iter().flat_map(|author| [Slot::Head(*author), Slot::Fork(*author)]);
        for slot in others.chain([Slot::Invitations]) {
            let place = sheet.seals.place(&slot)?;
            if let Some(value) = self.value(sheet, &place)? {
                take(slot, value)?;
            }
        }
        let Some(blobs) = read(&self.transaction, Table::Blobs, &sheet.stem)? else { return Ok(()) };
        for item in blobs.iter().map_err(store)? {
            let (key, _) = item.map_err(store)?;
            let place = Place { table: Table::Blobs, key: key.value() };
            let value = self.value(sheet, &place)?;
            if let Some((id, bytes)) = value.as_ref().and_then(|value| value.split_first_chunk()) {
                take(Slot::Blob(Digest(*id)), bytes.to_vec())?;
            }
        }
        Ok(())
    }

    fn logs(
        &self,
        sheet: &Sheet,
        authors: &BTreeSet<AuthorKey>,
        take: &mut impl FnMut(Slot, Vec<u8>) -> Result<(), BackupError>,
    ) -> Result<(), BackupError> {
        for table in [Table::Headers, Table::Keys, Table::Contents] {
            let Some(values) = read(&self.transaction, table, &sheet.stem)? else { continue };
            for author in authors {
                let first = sheet.seals.in_log(table, author, 0).key;
                let last = sheet.seals.in_log(table, author, u64::MAX).key;
                for item in values.range(first..=last).map_err(store)? {
                    let (key, value) = item.map_err(store)?;
                    let place = Place { table, key: key.value() };
                    let Some(plain) = sheet.open(&place, value.value()) else { continue };
                    let slot = match table {
                        Table::Keys => Slot::Key(*author, place.height()),
                        Table::Contents => Slot::Content(*author, place.height()),
                        _ => Slot::Header(*author, place.height()),
                    };
                    take(slot, plain)?;
                }
            }
        }
        Ok(())
    }

    fn value(&self, sheet: &Sheet, place: &Place) -> Result<Option<Vec<u8>>, VaultError> {
        let sealed = stored(&self.transaction, &sheet.stem, place)?;
        Ok(sealed.and_then(|sealed| sheet.open(place, &sealed)))
    }
}

impl Sheet {
    fn open(&self, place: &Place, sealed: &[u8]) -> Option<Vec<u8>> {
        let erasure = |generation: u32| {
            self.erasures.iter().find(|(of, _)| *of == generation).map(|(_, erasure)| erasure)
        };
        self.seals.open(place, sealed, erasure)
    }
}
