//! What is inside a backup, once it is decrypted.
//!
//! ```text
//! | "homing vault backup" | version u8 = 1 | items |
//! note:   | 1 | name's length u16le | name | value's length u32le | value |
//! record: | 2 | record 32 | standing u8: 1 owner, 2 member | if member: identity seed 32 |
//! value:  | 3 | slot | value's length u32le | value |         of the record before it
//! end:    | 0 | count of items before it u64le |
//! slot:   | 1 header, 2 key, 3 content | author 32 | height u64le |  · | 4 | blob's hash 32 |
//!         | 5 head, 6 fork | author 32 |  · | 7 | the invitations
//! ```

use std::io::{self, Read};

use chart::{AuthorKey, Digest, RecordId, Secret, Slot};

use crate::strongbox::Standing;

/// How a backup begins, with its version.
pub(super) const FRONT: &[u8; 20] = b"homing vault backup\x01";
const NAME_MAX: usize = 1_024;
/// Bytes of a value: more than any that a record or a host keeps.
pub(crate) const VALUE_MAX: usize = 4 * 1024 * 1024;

/// Why bytes are no backup.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotABackup {
    /// Something else, or damaged.
    #[error("it is no backup of a vault, or damaged")]
    Damaged,
    /// Of a version that is not known here.
    #[error("its version is {0}, which this version does not know")]
    UnknownVersion(u8),
    /// It ends too early, or cannot be read.
    #[error("it is torn, or cannot be read")]
    Torn(#[from] io::Error),
}

/// One thing in a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupItem {
    /// What the host noted.
    Note {
        /// Under which name.
        name: String,
        /// What.
        value: Vec<u8>,
    },
    /// A record, whose values follow.
    Record {
        /// Which.
        record: RecordId,
        /// What the vault is in it.
        standing: Standing,
        /// The seed of a member's identity.
        identity: Option<Secret>,
    },
    /// A value of a record.
    Value {
        /// Where.
        slot: Slot,
        /// What.
        value: Vec<u8>,
    },
    /// Nothing follows.
    End {
        /// Items before this one.
        count: u64,
    },
}

impl BackupItem {
    /// Reads how a backup begins.
    pub(super) fn read_front(from: &mut impl Read) -> Result<(), NotABackup> {
        let mut front = [0; FRONT.len()];
        from.read_exact(&mut front)?;
        let ([.., version], [name @ .., known]) = (front, FRONT);
        match front.starts_with(name) {
            true if version == *known => Ok(()),
            true => Err(NotABackup::UnknownVersion(version)),
            false => Err(NotABackup::Damaged),
        }
    }

    /// Reads the next item.
    ///
    /// # Errors
    ///
    /// If it is none, or the bytes end before it does.
    pub fn read(from: &mut impl Read) -> Result<Self, NotABackup> {
        Ok(match array(from)? {
            [0] => Self::End { count: u64::from_le_bytes(array(from)?) },
            [1] => {
                let len = usize::from(u16::from_le_bytes(array(from)?));
                let name = bytes(from, len, NAME_MAX)?;
                let name = String::from_utf8(name).map_err(|_| NotABackup::Damaged)?;
                Self::Note { name, value: value(from)? }
            }
            [2] => {
                let record = RecordId(array(from)?);
                match array(from)? {
                    [1] => Self::Record { record, standing: Standing::Owner, identity: None },
                    [2] => {
                        let identity = Some(Secret::new(array(from)?));
                        Self::Record { record, standing: Standing::Member, identity }
                    }
                    _ => return Err(NotABackup::Damaged),
                }
            }
            [3] => Self::Value { slot: slot(from)?, value: value(from)? },
            _ => return Err(NotABackup::Damaged),
        })
    }

    /// Writes the item.
    ///
    /// # Panics
    ///
    /// If a name or a value is longer than any vault holds.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::End { count } => {
                out.push(0);
                out.extend_from_slice(&count.to_le_bytes());
            }
            Self::Note { name, value } => {
                out.push(1);
                let len = u16::try_from(name.len()).expect("names of notes are short");
                out.extend_from_slice(&len.to_le_bytes());
                out.extend_from_slice(name.as_bytes());
                put_value(out, value);
            }
            Self::Record { record, standing, identity } => {
                out.push(2);
                out.extend_from_slice(&record.0);
                match (standing, identity) {
                    (Standing::Member, Some(identity)) => {
                        out.push(2);
                        out.extend_from_slice(identity.expose());
                    }
                    _ => out.push(1),
                }
            }
            Self::Value { slot, value } => {
                out.push(3);
                put_slot(out, slot);
                put_value(out, value);
            }
        }
    }
}

fn put_value(out: &mut Vec<u8>, value: &[u8]) {
    let len = u32::try_from(value.len()).expect("values are far below 4 GiB");
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(value);
}

fn put_slot(out: &mut Vec<u8>, slot: &Slot) {
    let (tag, name, height) = match slot {
        Slot::Header(author, height) => (1, Some(author.0), Some(*height)),
        Slot::Key(author, height) => (2, Some(author.0), Some(*height)),
        Slot::Content(author, height) => (3, Some(author.0), Some(*height)),
        Slot::Blob(id) => (4, Some(id.0), None),
        Slot::Head(author) => (5, Some(author.0), None),
        Slot::Fork(author) => (6, Some(author.0), None),
        // No other kind of slot is kept in a vault.
        _ => (7, None, None),
    };
    out.push(tag);
    out.extend(name.into_iter().flatten());
    out.extend(height.into_iter().flat_map(u64::to_le_bytes));
}

fn slot(from: &mut impl Read) -> Result<Slot, NotABackup> {
    let [tag] = array(from)?;
    if tag == 7 {
        return Ok(Slot::Invitations);
    }
    let name: [u8; 32] = array(from)?;
    let author = AuthorKey(name);
    Ok(match tag {
        1 => Slot::Header(author, u64::from_le_bytes(array(from)?)),
        2 => Slot::Key(author, u64::from_le_bytes(array(from)?)),
        3 => Slot::Content(author, u64::from_le_bytes(array(from)?)),
        4 => Slot::Blob(Digest(name)),
        5 => Slot::Head(author),
        6 => Slot::Fork(author),
        _ => return Err(NotABackup::Damaged),
    })
}

fn value(from: &mut impl Read) -> Result<Vec<u8>, NotABackup> {
    let len = usize::try_from(u32::from_le_bytes(array(from)?)).map_err(|_| NotABackup::Damaged)?;
    bytes(from, len, VALUE_MAX)
}

/// Reads bytes; memory grows with what comes, not with what is claimed.
fn bytes(from: &mut impl Read, len: usize, max: usize) -> Result<Vec<u8>, NotABackup> {
    if len > max {
        return Err(NotABackup::Damaged);
    }
    let mut bytes = Vec::new();
    from.take(len as u64).read_to_end(&mut bytes)?;
    if bytes.len() == len { Ok(bytes) } else { Err(NotABackup::Torn(io::ErrorKind::UnexpectedEof.into())) }
}

fn array<const N: usize>(from: &mut impl Read) -> Result<[u8; N], NotABackup> {
    let mut array = [0; N];
    from.read_exact(&mut array)?;
    Ok(array)
}
