//! Where in the store's file a value lies, under names that tell nothing without the record's keys.

use chart::{AuthorKey, Secret, Slot};
use redb::TableDefinition;

use crate::error::VaultError;
use crate::seal::name;

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
    pub(crate) fn of(names: &Secret, slot: &Slot) -> Result<Self, VaultError> {
        Ok(match slot {
            Slot::Header(author, height) => Self::in_log(names, Table::Headers, author, *height),
            Slot::Key(author, height) => Self::in_log(names, Table::Keys, author, *height),
            Slot::Content(author, height) => Self::in_log(names, Table::Contents, author, *height),
            Slot::Blob(id) => Self { table: Table::Blobs, key: name(names, &[b"blob", &id.0]) },
            Slot::Head(author) => Self { table: Table::Others, key: name(names, &[b"head", &author.0]) },
            Slot::Fork(author) => Self { table: Table::Others, key: name(names, &[b"fork", &author.0]) },
            Slot::Invitations => Self { table: Table::Others, key: name(names, &[b"invitations"]) },
            _ => return Err(VaultError::UnknownSlot),
        })
    }

    /// Values of one log lie side by side in the order of their heights, which keeps the store small: somebody with
    /// the file and without the keys can see how many logs there are and how long they are, not whose.
    fn in_log(names: &Secret, table: Table, author: &AuthorKey, height: u64) -> Self {
        let mut key = alias(names, author);
        key[8..].copy_from_slice(&height.to_be_bytes());
        Self { table, key }
    }

    /// What covers the value, so that it opens nowhere else.
    pub(crate) fn covered(&self) -> [u8; 17] {
        let mut covered = [self.table.number(); 17];
        covered[1..].copy_from_slice(&self.key);
        covered
    }
}

/// Where an author's log begins.
pub(crate) fn alias(names: &Secret, author: &AuthorKey) -> Key {
    let mut key = name(names, &[b"author", &author.0]);
    key[8..].fill(0);
    key
}
