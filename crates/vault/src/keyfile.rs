//! The key file: the store's key in a box that the passphrase opens.
//!
//! ```text
//! | "homing vault key" 16 | version u8 = 1 | KiB u32le | passes u32le | lanes u32le | salt 16 |
//! | nonce 24 | box of the store's key 32 + 16 | check 16 |
//! ```

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use chart::Secret;

use crate::directory::{refuse_exposed, replace};
use crate::error::{VaultError, failed};
use crate::passphrase::{Cost, Passphrase};
use crate::seal::{NONCE_LEN, SEALED_MORE, checksum, draw, open, seal};

const MAGIC: &[u8; 16] = b"homing vault key";
const VERSION: u8 = 1;
const FRONT_LEN: usize = 16 + 1 + 4 + 4 + 4 + 16;
const BOX_LEN: usize = 32 + SEALED_MORE;
const LEN: usize = FRONT_LEN + BOX_LEN + 16;

/// Why bytes are no key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotAKeyFile {
    /// Torn, changed, or something else.
    #[error("it is damaged or something else")]
    Damaged,
    /// Of a version that is not known here.
    #[error("its version is {0}")]
    UnknownVersion(u8),
}

/// What a key file holds: everything but the passphrase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    /// What a guess costs.
    pub cost: Cost,
    salt: [u8; 16],
    sealed: [u8; BOX_LEN],
}

impl KeyFile {
    /// Reads the bytes of a key file.
    ///
    /// # Errors
    ///
    /// On any bytes but those of a whole key file of version 1.
    pub fn decode(bytes: &[u8]) -> Result<Self, NotAKeyFile> {
        let rest = bytes.strip_prefix(MAGIC.as_slice()).ok_or(NotAKeyFile::Damaged)?;
        // A later version may be longer, and have its check elsewhere.
        let (version, _) = rest.split_first().ok_or(NotAKeyFile::Damaged)?;
        if *version != VERSION {
            return Err(NotAKeyFile::UnknownVersion(*version));
        }
        let (covered, check) = bytes.split_last_chunk::<16>().ok_or(NotAKeyFile::Damaged)?;
        if bytes.len() != LEN || checksum(covered) != *check {
            return Err(NotAKeyFile::Damaged);
        }
        let fields = || {
            let (memory_kib, rest) = rest.get(1..)?.split_first_chunk()?;
            let (passes, rest) = rest.split_first_chunk()?;
            let (lanes, rest) = rest.split_first_chunk()?;
            let (salt, rest) = rest.split_first_chunk()?;
            let (sealed, _) = rest.split_first_chunk()?;
            let [memory_kib, passes, lanes] = [memory_kib, passes, lanes].map(|it| u32::from_le_bytes(*it));
            Some(Self { cost: Cost { memory_kib, passes, lanes }, salt: *salt, sealed: *sealed })
        };
        fields().ok_or(NotAKeyFile::Damaged)
    }

    /// Writes the bytes of a key file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = front(self.cost, &self.salt);
        bytes.extend_from_slice(&self.sealed);
        bytes.extend_from_slice(&checksum(&bytes));
        bytes
    }

    /// Makes a key file for a store's key.
    pub(crate) fn new(key: &Secret, passphrase: &Passphrase, cost: Cost) -> Result<Self, VaultError> {
        let salt = draw()?;
        let wrapping = cost.derive(passphrase, &salt)?;
        let sealed = seal(&wrapping, &front(cost, &salt), key.expose())?;
        let sealed = sealed.try_into().expect("a box of 32 bytes has this length");
        Ok(Self { cost, salt, sealed })
    }

    /// Takes the store's key out.
    pub(crate) fn unlock(&self, passphrase: &Passphrase) -> Result<Secret, VaultError> {
        let wrapping = self.cost.derive(passphrase, &self.salt)?;
        let key = open(&wrapping, &front(self.cost, &self.salt), &self.sealed);
        let key = key.and_then(|key| key.as_slice().try_into().ok()).ok_or(VaultError::WrongPassphrase)?;
        Ok(Secret::new(key))
    }

    pub(crate) fn read(path: &Path) -> Result<Self, VaultError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(VaultError::Missing(path.parent().unwrap_or(path).to_owned()));
            }
            Err(error) => return Err(failed("open", path)(error)),
        };
        refuse_exposed(path)?;
        let mut bytes = Vec::new();
        file.take(LEN as u64 + 1).read_to_end(&mut bytes).map_err(failed("read", path))?;
        Self::decode(&bytes).map_err(|error| match error {
            NotAKeyFile::Damaged => VaultError::Damaged(path.to_owned()),
            NotAKeyFile::UnknownVersion(version) => {
                VaultError::UnknownVersion { path: path.to_owned(), version }
            }
        })
    }

    pub(crate) fn write(&self, path: &Path) -> Result<(), VaultError> {
        replace(path, &self.encode())
    }
}

const _: () = assert!(LEN == 16 + 1 + 12 + 16 + NONCE_LEN + 48 + 16);

fn front(cost: Cost, salt: &[u8; 16]) -> Vec<u8> {
    let numbers = [cost.memory_kib, cost.passes, cost.lanes].map(u32::to_le_bytes).concat();
    [MAGIC.as_slice(), &[VERSION], &numbers, salt].concat()
}
