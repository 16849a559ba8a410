//! Where in the store's file a value lies, under names that tell nothing without the record's keys.

use std::collections::BTreeSet;

use chart::{AuthorKey, Secret, Slot};
use redb::{ReadOnlyTable, ReadTransaction, ReadableTable as _, TableDefinition, TableError};

use crate::error::{VaultError, store};
use crate::seal::{derive, name, open, seal};

/// Bytes of a blob that fill a page of the store, which has a power of two: 64 KiB of a chunk and what sealing adds would
/// take twice the place.
pub(crate) const BLOB_PAGE: usize = 65_000;

/// Bytes of a value's place within its table.
pub(crate) type Key = [u8; 16];

/// What a table holds. Its number is part of what covers each value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Table {
    Headers = 1,
    /// Keys of contents, sealed under the erasure key.
    Keys = 2,
    Contents = 3,
    Blobs = 4,
    /// What of a blob goes beyond the page that it fills.
    BlobEnds = 5,
    Others = 6,
    /// The keys of authors whose logs are here.
    Authors = 7,
    /// What the host keeps.
    Notes = 8,
}

impl Table {
    /// Every table of a record.
    pub(crate) const OF_A_RECORD: [Self; 7] =
        [Self::Headers, Self::Keys, Self::Contents, Self::Blobs, Self::BlobEnds, Self::Others, Self::Authors];

    const fn number(self) -> u8 {
        self as u8
    }

    /// The table's name in the file.
    pub(crate) fn name(self, stem: &str) -> String {
        format!("{stem}.{}", self.number())
    }
}

pub(crate) fn definition(name: &str) -> TableDefinition<'_, Key, &'static [u8]> {
    TableDefinition::new(name)
}

/// Where a value lies in the tables of its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) table: Table,
    pub(crate) key: Key,
}

impl Place {
    /// What covers the value, so that it opens nowhere else.
    pub(crate) fn covered(&self) -> [u8; 17] {
        let mut covered = [self.table.number(); 17];
        covered[1..].copy_from_slice(&self.key);
        covered
    }

    /// The height of a value in its log.
    pub(crate) fn height(&self) -> u64 {
        let [_, _, _, _, _, _, _, _, height @ ..] = self.key;
        u64::from_be_bytes(height)
    }
}

/// How a record's values are named and sealed.
#[derive(Debug)]
pub(crate) struct Seals {
    names: Secret,
    values: Secret,
}

impl Seals {
    pub(crate) fn of(content: &Secret) -> Self {
        Self { names: derive(content, "names"), values: derive(content, "values") }
    }

    pub(crate) fn place(&self, slot: &Slot) -> Result<Place, VaultError> {
        let other = |parts: &[&[u8]]| Place { table: Table::Others, key: name(&self.names, parts) };
        Ok(match slot {
            Slot::Header(author, height) => self.in_log(Table::Headers, author, *height),
            Slot::Key(author, height) => self.in_log(Table::Keys, author, *height),
            Slot::Content(author, height) => self.in_log(Table::Contents, author, *height),
            Slot::Blob(id) => Place { table: Table::Blobs, key: name(&self.names, &[b"blob", &id.0]) },
            Slot::Head(author) => other(&[b"head", &author.0]),
            Slot::Fork(author) => other(&[b"fork", &author.0]),
            Slot::Invitations => other(&[b"invitations"]),
            _ => return Err(VaultError::UnknownSlot),
        })
    }

    /// Values of one log lie side by side in the order of their heights, which keeps the store small: somebody with
    /// the file and without the keys can see how many logs there are and how long they are, not whose.
    pub(crate) fn in_log(&self, table: Table, author: &AuthorKey, height: u64) -> Place {
        let mut key = name(&self.names, &[b"author", &author.0]);
        key[8..].copy_from_slice(&height.to_be_bytes());
        Place { table, key }
    }

    /// Where it is noted whose log is here.
    pub(crate) fn author_place(&self, author: &AuthorKey) -> Place {
        self.in_log(Table::Authors, author, 0)
    }

    pub(crate) fn seal(
        &self,
        place: &Place,
        plain: &[u8],
        (generation, erasure): (u32, &Secret),
    ) -> Result<Vec<u8>, VaultError> {
        if place.table != Table::Keys {
            return seal(&self.values, &place.covered(), plain);
        }
        let sealed = seal(erasure, &place.covered(), plain)?;
        Ok([&generation.to_le_bytes()[..], &sealed].concat())
    }

    pub(crate) fn open<'a>(
        &self,
        place: &Place,
        sealed: &[u8],
        erasure: impl Fn(u32) -> Option<&'a Secret>,
    ) -> Option<Vec<u8>> {
        let plain = if place.table == Table::Keys {
            let (generation, sealed) = sealed.split_first_chunk()?;
            open(erasure(u32::from_le_bytes(*generation))?, &place.covered(), sealed)
        } else {
            open(&self.values, &place.covered(), sealed)
        };
        plain.map(|plain| plain.to_vec())
    }

    pub(crate) fn authors(
        &self,
        transaction: &ReadTransaction,
        stem: &str,
    ) -> Result<BTreeSet<AuthorKey>, VaultError> {
        let Some(table) = read(transaction, Table::Authors, stem)? else { return Ok(BTreeSet::new()) };
        let mut authors = BTreeSet::new();
        for item in table.iter().map_err(store)? {
            let (key, value) = item.map_err(store)?;
            let author = open(
                &self.values,
                &Place { table: Table::Authors, key: key.value() }.covered(),
                value.value(),
            );
            authors.extend(author.and_then(|author| author.as_slice().try_into().ok()).map(AuthorKey));
        }
        Ok(authors)
    }
}

/// The table of a record as a transaction sees it; `None` if nothing was ever in it.
pub(crate) fn read(
    transaction: &ReadTransaction,
    table: Table,
    stem: &str,
) -> Result<Option<ReadOnlyTable<Key, &'static [u8]>>, VaultError> {
    match transaction.open_table(definition(&table.name(stem))) {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(store(error)),
    }
}

/// What lies at a place, sealed as it is.
pub(crate) fn stored(
    transaction: &ReadTransaction,
    stem: &str,
    place: &Place,
) -> Result<Option<Vec<u8>>, VaultError> {
    let raw = |table: Table| -> Result<Option<Vec<u8>>, VaultError> {
        let Some(table) = read(transaction, table, stem)? else { return Ok(None) };
        Ok(table.get(place.key).map_err(store)?.map(|guard| guard.value().to_vec()))
    };
    let Some(mut sealed) = raw(place.table)? else { return Ok(None) };
    if place.table == Table::Blobs && sealed.len() == BLOB_PAGE {
        sealed.extend(raw(Table::BlobEnds)?.unwrap_or_default());
    }
    Ok(Some(sealed))
}
