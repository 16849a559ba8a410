//! The keys of one record, in a file of their own that is written in place: what makes erasing real.
//!
//! ```text
//! two slots of 4,096 bytes, one in use: | version u8 = 1 | generation u32le | nonce 24 | box | zeros |
//! box: | record 32 | content key 32 | erasure key 32 | identity seed 32 | standing u8 | + tag 16
//! ```
//!
//! A store writes new pages and leaves old ones behind, so what was sealed once can be found again. Keys of contents
//! are therefore sealed under the erasure key, which changes whenever one of them is destroyed: the new one is written
//! to the other slot, the store seals what stays anew, and the old slot is overwritten.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use chart::{RecordId, Secret};
use zeroize::Zeroizing;

use crate::directory::{private, refuse_exposed, sync, wipe};
use crate::error::{VaultError, failed};
use crate::seal::{SEALED_MORE, draw_secret, open, seal};

const VERSION: u8 = 1;
/// A sector of any disk, so that tearing one slot leaves the other.
const SLOT_LEN: usize = 4_096;
const FRONT_LEN: usize = 5;
const KEYS_LEN: usize = 4 * 32 + 1;
const BOX_LEN: usize = KEYS_LEN + SEALED_MORE;

/// What this vault is in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A device of its owner. A restored one gets a new identity.
    Owner,
    /// A member, or somebody about to become one, by the one identity that was granted something.
    Member,
}

/// The keys of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecordKeys {
    pub(crate) record: RecordId,
    /// Of everything but keys of contents.
    pub(crate) content: Secret,
    /// Of keys of contents.
    pub(crate) erasure: Secret,
    pub(crate) identity: Secret,
    pub(crate) standing: Standing,
}

/// Which half of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    First,
    Second,
}

impl Side {
    const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    const fn offset(self) -> u64 {
        match self {
            Self::First => 0,
            Self::Second => SLOT_LEN as u64,
        }
    }
}

/// The open file.
#[derive(Debug)]
pub(crate) struct Strongbox {
    file: File,
    path: PathBuf,
    key: Secret,
    side: Side,
    generation: u32,
    keys: RecordKeys,
    /// The generation before, while the store is sealed anew.
    older: Option<(u32, RecordKeys)>,
}

impl Strongbox {
    /// Makes the file of a record that is new here.
    pub(crate) fn create(path: &Path, key: Secret, keys: RecordKeys) -> Result<Self, VaultError> {
        let file = match private().create_new(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(VaultError::RecordExists),
            Err(error) => return Err(failed("create", path)(error)),
        };
        lock(&file, path)?;
        file.set_len(2 * SLOT_LEN as u64).map_err(failed("write", path))?;
        let it =
            Self { file, path: path.to_owned(), key, side: Side::First, generation: 1, keys, older: None };
        it.put(Side::First, it.generation, &it.keys)?;
        sync(path.parent().unwrap_or(path))?;
        Ok(it)
    }

    /// Opens the file of a record, for one holder at a time.
    pub(crate) fn open(path: &Path, key: Secret) -> Result<Self, VaultError> {
        let file = match private().open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(VaultError::NoRecord),
            Err(error) => return Err(failed("open", path)(error)),
        };
        refuse_exposed(path)?;
        lock(&file, path)?;
        let mut found = slots(&file, path, &key)?;
        let (side, generation, keys) = found.pop().ok_or_else(|| VaultError::Damaged(path.to_owned()))?;
        let older = found.pop().map(|(_, generation, keys)| (generation, keys));
        let it = Self { file, path: path.to_owned(), key, side, generation, keys, older };
        it.tidy_up()?;
        Ok(it)
    }

    /// Overwrites what a crash left of a slot that was being written or overwritten: without its first byte it does
    /// not open here, and with a guess of that byte it would.
    fn tidy_up(&self) -> Result<(), VaultError> {
        if self.is_changing() {
            return Ok(());
        }
        let mut slot = [0; SLOT_LEN];
        let read = self.file.read_exact_at(&mut slot, self.side.other().offset());
        read.map_err(failed("read", &self.path))?;
        if slot == [0; SLOT_LEN] { Ok(()) } else { self.fill(self.side.other(), &[]) }
    }

    /// Reads the keys of a record while somebody may have it open: of all generations that are there, the latest last.
    pub(crate) fn peek(path: &Path, key: &Secret) -> Result<Vec<(u32, RecordKeys)>, VaultError> {
        let file = File::open(path).map_err(failed("open", path))?;
        let found = slots(&file, path, key)?;
        if found.is_empty() {
            return Err(VaultError::Damaged(path.to_owned()));
        }
        Ok(found.into_iter().map(|(_, generation, keys)| (generation, keys)).collect())
    }

    pub(crate) const fn keys(&self) -> &RecordKeys {
        &self.keys
    }

    pub(crate) const fn generation(&self) -> u32 {
        self.generation
    }

    /// The erasure key of a generation, if it is still here.
    pub(crate) fn erasure(&self, generation: u32) -> Option<&Secret> {
        let older = self.older.as_ref().filter(|(of, _)| *of == generation).map(|(_, keys)| &keys.erasure);
        if generation == self.generation { Some(&self.keys.erasure) } else { older }
    }

    /// Whether what the store holds is still to be sealed anew.
    pub(crate) const fn is_changing(&self) -> bool {
        self.older.is_some()
    }

    /// Draws another erasure key, and keeps the one before until [`Strongbox::forget`]. A change that has begun is
    /// to be completed first.
    pub(crate) fn renew(&mut self) -> Result<(), VaultError> {
        self.change(RecordKeys { erasure: draw_secret()?, ..self.keys.clone() })
    }

    /// As [`Strongbox::renew`], with another identity.
    pub(crate) fn reidentify(&mut self, identity: Secret) -> Result<(), VaultError> {
        self.change(RecordKeys { erasure: draw_secret()?, identity, ..self.keys.clone() })
    }

    fn change(&mut self, keys: RecordKeys) -> Result<(), VaultError> {
        debug_assert!(!self.is_changing(), "the slot that is overwritten is needed");
        let (side, generation) = (self.side.other(), self.generation.saturating_add(1));
        self.put(side, generation, &keys)?;
        let older = std::mem::replace(&mut self.keys, keys);
        self.older = Some((self.generation, older));
        (self.side, self.generation) = (side, generation);
        Ok(())
    }

    /// Overwrites the slot of the generation before.
    pub(crate) fn forget(&mut self) -> Result<(), VaultError> {
        if self.is_changing() {
            self.fill(self.side.other(), &[])?;
            self.older = None;
        }
        Ok(())
    }

    /// Overwrites everything: nothing of the record can be read from then on.
    pub(crate) fn destroy(self) -> Result<(), VaultError> {
        wipe(&self.file).map_err(failed("overwrite", &self.path))?;
        std::fs::remove_file(&self.path).map_err(failed("remove", &self.path))?;
        sync(self.path.parent().unwrap_or(&self.path))
    }

    fn put(&self, side: Side, generation: u32, keys: &RecordKeys) -> Result<(), VaultError> {
        let front = front(generation);
        let sealed = seal(&self.key, &front, &encode(keys))?;
        self.fill(side, &[&front[..], &sealed].concat())
    }

    fn fill(&self, side: Side, bytes: &[u8]) -> Result<(), VaultError> {
        let mut slot = [0; SLOT_LEN];
        slot[..bytes.len()].copy_from_slice(bytes);
        let written = self.file.write_all_at(&slot, side.offset()).and_then(|()| self.file.sync_all());
        written.map_err(failed("write", &self.path))
    }
}

fn lock(file: &File, path: &Path) -> Result<(), VaultError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(VaultError::RecordInUse),
        Err(TryLockError::Error(source)) => Err(failed("lock", path)(source)),
    }
}

/// The slots that hold keys, the later generation last.
fn slots(file: &File, path: &Path, key: &Secret) -> Result<Vec<(Side, u32, RecordKeys)>, VaultError> {
    let mut found = Vec::new();
    for side in [Side::First, Side::Second] {
        let mut slot = Zeroizing::new([0; SLOT_LEN]);
        file.read_exact_at(&mut *slot, side.offset()).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => VaultError::Damaged(path.to_owned()),
            _ => failed("read", path)(error),
        })?;
        match slot[0] {
            0 => {}
            VERSION => {
                let generation = u32::from_le_bytes([slot[1], slot[2], slot[3], slot[4]]);
                let sealed = &slot[FRONT_LEN..FRONT_LEN + BOX_LEN];
                let keys = open(key, &front(generation), sealed).and_then(|keys| decode(&keys));
                // A slot that does not open was being written when the power went: the other one holds.
                found.extend(keys.map(|keys| (side, generation, keys)));
            }
            version => return Err(VaultError::UnknownVersion { path: path.to_owned(), version }),
        }
    }
    found.sort_by_key(|(_, generation, _)| *generation);
    Ok(found)
}

fn front(generation: u32) -> [u8; FRONT_LEN] {
    let [a, b, c, d] = generation.to_le_bytes();
    [VERSION, a, b, c, d]
}

fn encode(keys: &RecordKeys) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(KEYS_LEN));
    out.extend_from_slice(&keys.record.0);
    for key in [&keys.content, &keys.erasure, &keys.identity] {
        out.extend_from_slice(key.expose());
    }
    out.push(match keys.standing {
        Standing::Owner => 1,
        Standing::Member => 2,
    });
    out
}

fn decode(bytes: &[u8]) -> Option<RecordKeys> {
    let (record, rest) = bytes.split_first_chunk()?;
    let (content, rest) = rest.split_first_chunk()?;
    let (erasure, rest) = rest.split_first_chunk()?;
    let (identity, rest) = rest.split_first_chunk()?;
    let standing = match rest {
        [1] => Standing::Owner,
        [2] => Standing::Member,
        _ => return None,
    };
    let [content, erasure, identity] = [content, erasure, identity].map(|key| Secret::new(*key));
    Some(RecordKeys { record: RecordId(*record), content, erasure, identity, standing })
}
