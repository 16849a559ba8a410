//! A directory of records that a passphrase opens.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `lock` | the number of the process that has the vault open |
//! | `key` | the store's key in a box that the passphrase opens |
//! | `store` | everything else, sealed value by value |
//! | `NAME.keys` | the keys of one record |

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chart::{Chart, CutOff, Now, RecordId, Refusal, Root, Secret, WriteError};
use redb::backends::FileBackend;
use redb::{
    Database, DatabaseError, ReadTransaction, ReadableDatabase as _, ReadableTable as _, StorageError,
};
use zeroize::Zeroizing;

use crate::age::{BackupKey, BackupRecipient};
use crate::backup::VALUE_MAX;
use crate::directory::{create, is_vacant, lock, private, refuse_exposed};
use crate::error::{VaultError, failed, store};
use crate::keyfile::KeyFile;
use crate::passphrase::{Cost, Passphrase};
use crate::seal::{self, derive, draw_secret, name, open, seal};
use crate::shelf::Shelf;
use crate::strongbox::{RecordKeys, Standing, Strongbox};
use crate::tables::{Key, Place, Table, definition, read};

/// Bytes of the store's pages that are kept in memory.
pub const CACHE_BYTES: usize = 16 * 1024 * 1024;

/// What the endings of the files of records' keys are called.
const KEYS: &str = "keys";

/// What shelves share with their vault.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) database: Database,
    /// Held until the last shelf is gone.
    _lock: File,
}

/// An open vault.
///
/// It holds records, each on a [`Shelf`] that a [`Chart`] owns, and notes of its host. One process at a time has it open.
#[derive(Debug)]
pub struct Vault {
    path: PathBuf,
    pub(crate) ground: Arc<Ground>,
    key: Secret,
    records: BTreeSet<RecordId>,
}

impl Vault {
    /// Makes a vault in a directory that is empty or not there.
    ///
    /// # Errors
    ///
    /// If something is there, another process is making a vault there, or as the system does.
    pub fn create(directory: &Path, passphrase: &Passphrase, cost: Cost) -> Result<Self, VaultError> {
        create(directory)?;
        let lock = lock(directory)?;
        if !is_vacant(directory)? {
            return Err(VaultError::Occupied(directory.to_owned()));
        }
        let key = draw_secret()?;
        let it = Self::with(directory, lock, key)?;
        it.write_mark()?;
        // Last of all: without it there is no vault, whenever the power goes.
        KeyFile::new(&it.key, passphrase, cost)?.write(&key_path(directory))?;
        Ok(it)
    }

    /// Opens a vault.
    ///
    /// # Errors
    ///
    /// If there is none, the passphrase is another, another process has it open, it is damaged, of a later version or
    /// open to others, or as the system does.
    pub fn open(directory: &Path, passphrase: &Passphrase) -> Result<Self, VaultError> {
        let key_path = key_path(directory);
        if !key_path.exists() {
            return Err(VaultError::Missing(directory.to_owned()));
        }
        refuse_exposed(directory)?;
        let file = KeyFile::read(&key_path)?;
        let lock = lock(directory)?;
        let key = file.unlock(passphrase)?;
        refuse_exposed(&directory.join("store"))?;
        let mut it = Self::with(directory, lock, key)?;
        it.check_mark()?;
        it.records = it.find_records()?;
        Ok(it)
    }

    /// Whether a vault is in a directory.
    #[must_use]
    pub fn is_in(directory: &Path) -> bool {
        key_path(directory).exists()
    }

    fn with(directory: &Path, lock: File, key: Secret) -> Result<Self, VaultError> {
        let path = directory.join("store");
        let file = private().create(true).truncate(false).open(&path).map_err(failed("open", &path))?;
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        let backend = FileBackend::new(file).map_err(store)?;
        let database = builder.create_with_backend(backend).map_err(|error| match error {
            DatabaseError::Storage(StorageError::Corrupted(_)) => VaultError::Damaged(path),
            other => store(other),
        })?;
        let ground = Arc::new(Ground { database, _lock: lock });
        Ok(Self { path: directory.to_owned(), ground, key, records: BTreeSet::new() })
    }

    /// Gives the vault another passphrase. The store's key stays, so that whoever has a copy of the old key file and knows
    /// the old passphrase can open what the store holds later.
    ///
    /// # Errors
    ///
    /// If the old passphrase is another, or as the system does; one of the two then opens the vault.
    pub fn change_passphrase(
        &mut self,
        old: &Passphrase,
        new: &Passphrase,
        cost: Cost,
    ) -> Result<(), VaultError> {
        let path = key_path(&self.path);
        KeyFile::read(&path)?.unlock(old)?;
        KeyFile::new(&self.key, new, cost)?.write(&path)
    }

    /// Whether this is the passphrase: asked again before what somebody at an unlocked machine must not do.
    ///
    /// # Errors
    ///
    /// If it is another, or as the system does.
    pub fn check_passphrase(&self, passphrase: &Passphrase) -> Result<(), VaultError> {
        KeyFile::read(&key_path(&self.path))?.unlock(passphrase).map(drop)
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Records in the vault.
    pub fn records(&self) -> impl Iterator<Item = &RecordId> {
        self.records.iter()
    }

    /// Founds a record, and makes this vault its first device.
    ///
    /// # Errors
    ///
    /// As the system does.
    pub fn found(&mut self, now: Now, root: &Root) -> Result<Chart<Shelf>, OpenError> {
        let genesis = root.found(now.wall, seal::draw()?);
        self.note_recipient(root)?;
        let shelf = self.shelf(genesis.record(), draw_secret()?, Standing::Owner)?;
        let me = shelf.identity();
        let mut chart = Chart::new(shelf, genesis.record(), me, draw_secret()?);
        chart.enrol(now, &genesis, root)?;
        chart.flush().map_err(WriteError::from)?;
        Ok(chart)
    }

    /// Begins a replica of a record of which nothing is here yet, with the identity that was made for it.
    ///
    /// # Errors
    ///
    /// If the record is here, or as the system does.
    pub fn join(
        &mut self,
        record: RecordId,
        identity: Secret,
        standing: Standing,
    ) -> Result<Chart<Shelf>, OpenError> {
        let shelf = self.shelf(record, identity, standing)?;
        let me = shelf.identity();
        Ok(Chart::new(shelf, record, me, draw_secret()?))
    }

    /// Opens a record, and says which logs have lost their end.
    ///
    /// # Errors
    ///
    /// If it is not here, is open already, or as the system does.
    pub fn chart(&self, record: &RecordId) -> Result<(Chart<Shelf>, Vec<CutOff>), OpenError> {
        let shelf = self.open_shelf(record)?;
        let me = shelf.identity();
        Ok(Chart::open(shelf, *record, me, draw_secret()?).map_err(WriteError::from)?)
    }

    /// Makes this vault a new device of a record's owner, with the recovery phrase at hand: after a restore, so that no log
    /// is written in two places. What the phrase opens is sealed to the new device.
    ///
    /// # Errors
    ///
    /// If the record's root is another, it is not here, is open, or as the system does.
    pub fn renew(&self, now: Now, record: &RecordId, root: &Root) -> Result<Chart<Shelf>, OpenError> {
        let (chart, _) = self.chart(record)?;
        let genesis = *chart.genesis().ok_or(WriteError::NotYet)?;
        if genesis.root != root.public() {
            return Err(WriteError::Refused(Refusal::NotRoot).into());
        }
        let mut shelf = chart.into_store();
        shelf.reidentify(draw_secret()?)?;
        let me = shelf.identity();
        let (mut chart, _) = Chart::open(shelf, *record, me, draw_secret()?).map_err(WriteError::from)?;
        chart.enrol(now, &genesis, root)?;
        chart.recover(now, root)?;
        self.note_recipient(root)?;
        chart.flush().map_err(WriteError::from)?;
        Ok(chart)
    }

    /// Destroys the keys of a record and everything in it.
    ///
    /// # Errors
    ///
    /// If it is not here, is open, or as the system does.
    pub fn forget(&mut self, record: &RecordId) -> Result<(), VaultError> {
        let stem = self.stem(record);
        Strongbox::open(&self.keys_path(&stem), self.record_key())?.destroy()?;
        self.records.remove(record);
        let transaction = self.ground.database.begin_write().map_err(store)?;
        for table in Table::OF_A_RECORD {
            transaction.delete_table(definition(&table.name(&stem))).map_err(store)?;
        }
        transaction.commit().map_err(store)
    }

    /// What the host noted under a name.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn note(&self, of: &str) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        let transaction = self.ground.database.begin_read().map_err(store)?;
        let Some(table) = read(&transaction, Table::Notes, "")? else { return Ok(None) };
        let place = self.note_place(of);
        let Some(sealed) = table.get(place.key).map_err(store)? else { return Ok(None) };
        self.open_note(&place, sealed.value()).map(|(_, value)| Some(value))
    }

    /// Names of all notes of the host.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn notes(&self) -> Result<Vec<String>, VaultError> {
        let transaction = self.ground.database.begin_read().map_err(store)?;
        let notes = self.all_notes(&transaction)?.into_iter().map(|(name, _)| name);
        Ok(notes.filter(|name| name != MARK && name != RECIPIENT).collect())
    }

    pub(crate) fn all_notes(&self, transaction: &ReadTransaction) -> Result<Vec<Note>, VaultError> {
        let Some(table) = read(transaction, Table::Notes, "")? else { return Ok(Vec::new()) };
        let mut notes = Vec::new();
        for item in table.iter().map_err(store)? {
            let (key, value) = item.map_err(store)?;
            let place = Place { table: Table::Notes, key: key.value() };
            notes.push(self.open_note(&place, value.value())?);
        }
        notes.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Ok(notes)
    }

    /// Whom backups are for that the recovery phrase opens, once a record was founded or renewed with it.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    pub fn recipient(&self) -> Result<Option<BackupRecipient>, VaultError> {
        let bytes = self.note(RECIPIENT)?;
        Ok(bytes.and_then(|bytes| bytes.as_slice().try_into().ok()).map(BackupRecipient))
    }

    fn note_recipient(&self, root: &Root) -> Result<(), VaultError> {
        self.set_note(RECIPIENT, Some(&BackupKey::of(root).recipient().0))
    }

    /// Notes something under a name, or forgets it; it survives from then on.
    ///
    /// # Errors
    ///
    /// If the name is longer than 1,024 bytes, the value than 4 MiB, or the store cannot be written.
    pub fn set_note(&self, of: &str, value: Option<&[u8]>) -> Result<(), VaultError> {
        if of.len() > NOTE_NAME_MAX || value.is_some_and(|value| value.len() > VALUE_MAX) {
            return Err(VaultError::TooLong);
        }
        let place = self.note_place(of);
        let sealed = value.map(|value| self.seal_note(&place, of, value)).transpose()?;
        let transaction = self.ground.database.begin_write().map_err(store)?;
        {
            let name = Table::Notes.name("");
            let mut table = transaction.open_table(definition(&name)).map_err(store)?;
            match sealed {
                Some(sealed) => drop(table.insert(place.key, sealed.as_slice()).map_err(store)?),
                None => drop(table.remove(place.key).map_err(store)?),
            }
        }
        transaction.commit().map_err(store)
    }

    fn note_place(&self, of: &str) -> Place {
        let key: Key = name(&derive(&self.key, "note names"), &[of.as_bytes()]);
        Place { table: Table::Notes, key }
    }

    /// `| length of the name u32le | name | value |`, sealed.
    fn seal_note(&self, place: &Place, of: &str, value: &[u8]) -> Result<Vec<u8>, VaultError> {
        let len = u32::try_from(of.len()).map_err(|_| VaultError::TooLong)?;
        let plain = Zeroizing::new([&len.to_le_bytes(), of.as_bytes(), value].concat());
        seal(&derive(&self.key, "note values"), &place.covered(), &plain)
    }

    fn open_note(&self, place: &Place, sealed: &[u8]) -> Result<Note, VaultError> {
        let plain = open(&derive(&self.key, "note values"), &place.covered(), sealed);
        let parts = plain.as_ref().and_then(|plain| {
            let (len, rest) = plain.split_first_chunk()?;
            let (name, value) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
            Some((String::from_utf8(name.to_vec()).ok()?, Zeroizing::new(value.to_vec())))
        });
        parts.ok_or_else(|| VaultError::Damaged(self.path.join("store")))
    }

    pub(crate) fn shelf(
        &mut self,
        record: RecordId,
        identity: Secret,
        standing: Standing,
    ) -> Result<Shelf, VaultError> {
        let keys =
            RecordKeys { record, content: draw_secret()?, erasure: draw_secret()?, identity, standing };
        let stem = self.stem(&record);
        let strongbox = Strongbox::create(&self.keys_path(&stem), self.record_key(), keys)?;
        let shelf = Shelf::new(Arc::clone(&self.ground), stem, strongbox)?;
        self.records.insert(record);
        Ok(shelf)
    }

    fn open_shelf(&self, record: &RecordId) -> Result<Shelf, VaultError> {
        let stem = self.stem(record);
        let strongbox = Strongbox::open(&self.keys_path(&stem), self.record_key())?;
        Shelf::new(Arc::clone(&self.ground), stem, strongbox)
    }

    pub(crate) fn record_key(&self) -> Secret {
        derive(&self.key, "record keys")
    }

    /// The name of a record's files and tables.
    pub(crate) fn stem(&self, record: &RecordId) -> String {
        let name = name(&derive(&self.key, "record names"), &[&record.0]);
        name.iter().take(8).fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("text grows");
            text
        })
    }

    pub(crate) fn keys_path(&self, stem: &str) -> PathBuf {
        self.path.join(format!("{stem}.{KEYS}"))
    }

    fn find_records(&self) -> Result<BTreeSet<RecordId>, VaultError> {
        let mut records = BTreeSet::new();
        let key = self.record_key();
        for entry in fs::read_dir(&self.path).map_err(failed("read", &self.path))? {
            let path = entry.map_err(failed("read", &self.path))?.path();
            if path.extension().is_some_and(|extension| extension == KEYS) {
                records.extend(Strongbox::peek(&path, &key)?.into_iter().map(|(_, keys)| keys.record));
            }
        }
        Ok(records)
    }

    /// Leaves a note by which the store is known to belong to the key file.
    fn write_mark(&self) -> Result<(), VaultError> {
        self.set_note(MARK, Some(&[]))
    }

    fn check_mark(&self) -> Result<(), VaultError> {
        match self.note(MARK)? {
            Some(_) => Ok(()),
            None => Err(VaultError::Damaged(self.path.join("store"))),
        }
    }
}

/// What the host keeps: a name and bytes.
pub(crate) type Note = (String, Zeroizing<Vec<u8>>);

/// The name of a note that every store has.
const MARK: &str = "";

/// The name of the note that says whom backups are for.
const RECIPIENT: &str = "vault recipient";

/// Bytes of a note's name.
const NOTE_NAME_MAX: usize = 1_024;

/// Why a record cannot be opened or begun.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The record did.
    #[error(transparent)]
    Record(#[from] WriteError),
}

/// Draws a seed from the operating system, for identities and roots.
///
/// # Errors
///
/// If the system has no randomness.
pub fn draw() -> Result<Secret, VaultError> {
    draw_secret()
}

fn key_path(directory: &Path) -> PathBuf {
    directory.join("key")
}
