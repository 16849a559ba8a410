//! One record's part of the store: what a `chart` reads and writes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chart::{Archive, AuthorKey, Identity, RecordId, Secret, Slot, StoreError, Write};
use redb::{ReadableDatabase as _, ReadableTable as _, WriteTransaction};

use crate::error::{VaultError, store};
use crate::strongbox::{Standing, Strongbox};
use crate::tables::{BLOB_PAGE, Key, Place, Seals, Table, definition, read, stored};
use crate::vault::Ground;

/// Bytes of values that wait for the disk; above it they are written without being asked for, so that an attachment
/// of any length takes no more memory.
pub const PENDING_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Keys of contents that are sealed anew at a time.
const RENEWED_AT_ONCE: usize = 4_096;

/// The part of a vault's store that belongs to one record, held by one holder at a time.
///
/// Writes lie in memory until [`Archive::sync`] takes all of them to the disk in one transaction. Where one of them
/// destroys a key of contents, the sync ends after the erasure key that sealed it was overwritten too.
#[derive(Debug)]
pub struct Shelf {
    ground: Arc<Ground>,
    strongbox: Strongbox,
    stem: String,
    seals: Seals,
    pending: BTreeMap<Place, Option<Vec<u8>>>,
    pending_bytes: usize,
    authors: BTreeSet<AuthorKey>,
}

impl Shelf {
    pub(crate) fn new(ground: Arc<Ground>, stem: String, strongbox: Strongbox) -> Result<Self, VaultError> {
        let seals = Seals::of(&strongbox.keys().content);
        let mut it = Self {
            ground,
            strongbox,
            stem,
            seals,
            pending: BTreeMap::new(),
            pending_bytes: 0,
            authors: BTreeSet::new(),
        };
        it.complete()?;
        it.authors = it.known_authors()?;
        Ok(it)
    }

    /// The record.
    pub fn record(&self) -> RecordId {
        self.strongbox.keys().record
    }

    /// What this vault is in the record.
    pub fn standing(&self) -> Standing {
        self.strongbox.keys().standing
    }

    /// The keys that this vault writes with.
    pub fn identity(&self) -> Identity {
        Identity::from_seed(&self.strongbox.keys().identity)
    }

    /// Takes another identity; the one before is overwritten.
    pub(crate) fn reidentify(&mut self, identity: Secret) -> Result<(), VaultError> {
        self.commit()?;
        self.strongbox.reidentify(identity)?;
        self.complete()
    }

    fn read(&self, place: &Place) -> Result<Option<Vec<u8>>, VaultError> {
        match self.pending.get(place) {
            Some(value) => Ok(value.clone()),
            None => self.stored(place),
        }
    }

    fn stored(&self, place: &Place) -> Result<Option<Vec<u8>>, VaultError> {
        let transaction = self.ground.database.begin_read().map_err(store)?;
        let Some(sealed) = stored(&transaction, &self.stem, place)? else { return Ok(None) };
        // What does not open is damaged, and treated as what is not here: it is asked for again.
        Ok(self.unseal(place, &sealed))
    }

    fn has_stored(&self, place: &Place) -> Result<bool, VaultError> {
        let transaction = self.ground.database.begin_read().map_err(store)?;
        let Some(table) = read(&transaction, place.table, &self.stem)? else { return Ok(false) };
        Ok(table.get(place.key).map_err(store)?.is_some())
    }

    fn unseal(&self, place: &Place, sealed: &[u8]) -> Option<Vec<u8>> {
        self.seals.open(place, sealed, |generation| self.strongbox.erasure(generation))
    }

    fn seal(&self, place: &Place, plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        self.seals.seal(place, plain, (self.strongbox.generation(), &self.strongbox.keys().erasure))
    }

    /// Takes everything that waits to the disk.
    fn commit(&mut self) -> Result<(), VaultError> {
        self.complete()?;
        if self.pending.is_empty() {
            return Ok(());
        }
        let destroyed = self.pending.iter().filter(|(_, value)| value.is_none());
        let mut erases = false;
        for (place, _) in destroyed.filter(|(place, _)| place.table == Table::Keys) {
            erases = erases || self.has_stored(place)?;
        }
        if erases {
            self.strongbox.renew()?;
        }
        let transaction = self.ground.database.begin_write().map_err(store)?;
        self.apply(&transaction)?;
        if erases {
            self.reseal(&transaction)?;
        }
        transaction.commit().map_err(store)?;
        self.strongbox.forget()?;
        self.pending.clear();
        self.pending_bytes = 0;
        Ok(())
    }

    /// Ends a change of the erasure key that a crash or a failure left half done.
    fn complete(&mut self) -> Result<(), VaultError> {
        if !self.strongbox.is_changing() {
            return Ok(());
        }
        let transaction = self.ground.database.begin_write().map_err(store)?;
        self.reseal(&transaction)?;
        transaction.commit().map_err(store)?;
        self.strongbox.forget()
    }

    fn apply(&self, transaction: &WriteTransaction) -> Result<(), VaultError> {
        for table in Table::OF_A_RECORD {
            let first = Place { table, key: [0; 16] };
            let last = Place { table, key: [0xff; 16] };
            let mut changes = self.pending.range(first..=last).peekable();
            if changes.peek().is_none() {
                continue;
            }
            let name = table.name(&self.stem);
            let mut values = transaction.open_table(definition(&name)).map_err(store)?;
            let ends = Table::BlobEnds.name(&self.stem);
            let mut ends = (table == Table::Blobs)
                .then(|| transaction.open_table(definition(&ends)).map_err(store))
                .transpose()?;
            for (place, value) in changes {
                let sealed = value.as_ref().map(|value| self.seal(place, value)).transpose()?;
                let sealed = sealed.as_deref();
                match &mut ends {
                    None => put(&mut values, place.key, sealed)?,
                    Some(ends) => {
                        let parts = sealed.map(|sealed| sealed.split_at(sealed.len().min(BLOB_PAGE)));
                        put(&mut values, place.key, parts.map(|(page, _)| page))?;
                        let end = parts.map(|(_, end)| end).filter(|end| !end.is_empty());
                        put(ends, place.key, end)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Seals every key of contents under the erasure key that holds from now on.
    fn reseal(&self, transaction: &WriteTransaction) -> Result<(), VaultError> {
        let name = Table::Keys.name(&self.stem);
        let mut keys = transaction.open_table(definition(&name)).map_err(store)?;
        let current = self.strongbox.generation().to_le_bytes();
        let mut from: Key = [0; 16];
        loop {
            let mut renewed = Vec::new();
            for item in keys.range(from..).map_err(store)?.take(RENEWED_AT_ONCE) {
                let (key, value) = item.map_err(store)?;
                renewed.push((key.value(), value.value().to_vec()));
            }
            let Some((last, _)) = renewed.last() else { return Ok(()) };
            from = next(*last);
            for (key, sealed) in renewed.into_iter().filter(|(_, sealed)| !sealed.starts_with(&current)) {
                let place = Place { table: Table::Keys, key };
                let plain = self.unseal(&place, &sealed);
                // A value that no key opens is damaged and stays so; keeping it would only keep its bytes.
                let sealed = plain.map(|plain| self.seal(&place, &plain)).transpose()?;
                put(&mut keys, key, sealed.as_deref())?;
            }
            if from == [0; 16] {
                return Ok(());
            }
        }
    }

    fn known_authors(&self) -> Result<BTreeSet<AuthorKey>, VaultError> {
        let transaction = self.ground.database.begin_read().map_err(store)?;
        self.seals.authors(&transaction, &self.stem)
    }

    fn stage(&mut self, place: Place, value: Option<Vec<u8>>) {
        let bytes = |value: &Option<Vec<u8>>| value.as_ref().map_or(0, Vec::len);
        self.pending_bytes += bytes(&value);
        let before = self.pending.insert(place, value);
        self.pending_bytes = self.pending_bytes.saturating_sub(before.as_ref().map_or(0, bytes));
    }

    /// Whether a log, its head or its fork is here.
    fn is_present(&self, author: &AuthorKey) -> Result<bool, VaultError> {
        for slot in [Slot::Head(*author), Slot::Header(*author, 0), Slot::Fork(*author)] {
            if self.is_there(&slot)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_there(&self, slot: &Slot) -> Result<bool, VaultError> {
        let place = self.seals.place(slot)?;
        match self.pending.get(&place) {
            Some(value) => Ok(value.is_some()),
            None => self.has_stored(&place),
        }
    }
}

/// A blob lies with its name, since its place does not tell it.
fn named(slot: &Slot, value: Vec<u8>) -> Vec<u8> {
    match slot {
        Slot::Blob(id) => [&id.0[..], &value].concat(),
        _ => value,
    }
}

fn unnamed(slot: &Slot, mut value: Vec<u8>) -> Option<Vec<u8>> {
    match slot {
        Slot::Blob(id) if !value.starts_with(&id.0) => None,
        Slot::Blob(id) => Some(value.split_off(id.0.len())),
        _ => Some(value),
    }
}

fn next(key: Key) -> Key {
    u128::from_be_bytes(key).wrapping_add(1).to_be_bytes()
}

fn put(
    table: &mut redb::Table<'_, Key, &'static [u8]>,
    key: Key,
    value: Option<&[u8]>,
) -> Result<(), VaultError> {
    match value {
        Some(value) => drop(table.insert(key, value).map_err(store)?),
        None => drop(table.remove(key).map_err(store)?),
    }
    Ok(())
}

fn failed(error: VaultError) -> StoreError {
    StoreError(error.into())
}

impl Archive for Shelf {
    fn get(&self, slot: &Slot) -> Result<Option<Vec<u8>>, StoreError> {
        let place = self.seals.place(slot).map_err(failed)?;
        let value = self.read(&place).map_err(failed)?;
        Ok(value.and_then(|value| unnamed(slot, value)))
    }

    fn has(&self, slot: &Slot) -> Result<bool, StoreError> {
        self.is_there(slot).map_err(failed)
    }

    fn authors(&self) -> Result<Vec<AuthorKey>, StoreError> {
        let mut present = Vec::new();
        for author in &self.authors {
            if self.is_present(author).map_err(failed)? {
                present.push(*author);
            }
        }
        Ok(present)
    }

    fn write(&mut self, writes: Vec<Write>) -> Result<(), StoreError> {
        for Write { slot, value } in writes {
            if let (Slot::Header(author, _) | Slot::Head(author) | Slot::Fork(author), Some(_)) =
                (&slot, &value)
                && self.authors.insert(*author)
            {
                self.stage(self.seals.author_place(author), Some(author.0.to_vec()));
            }
            let place = self.seals.place(&slot).map_err(failed)?;
            self.stage(place, value.map(|value| named(&slot, value)));
        }
        if self.pending_bytes > PENDING_BYTES_MAX {
            self.commit().map_err(failed)?;
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.commit().map_err(failed)
    }
}
