//! What goes wrong with a vault.

use std::io;
use std::path::{Path, PathBuf};

/// Why a vault cannot be made, opened, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// Another process has it open.
    #[error("process {holder} has {} open", .path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// The number of the process, or a question mark if it has not said it.
        holder: Holder,
    },
    /// The record is open already, in this process.
    #[error("the record is open already")]
    RecordInUse,
    /// There is no such record here.
    #[error("no such record in the vault")]
    NoRecord,
    /// The record is here already.
    #[error("the record is in the vault already")]
    RecordExists,
    /// Others may read or change what is in it.
    #[error("{} is open to others (mode {mode:03o}); run: chmod go= {}", .path.display(), .path.display())]
    Exposed {
        /// The directory or file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// No vault is there.
    #[error("no vault in {}", .0.display())]
    Missing(PathBuf),
    /// A vault, or something else, is there already.
    #[error("{} is not empty", .0.display())]
    Occupied(PathBuf),
    /// The passphrase is another one.
    #[error("wrong passphrase")]
    WrongPassphrase,
    /// A file is not what was written: torn, changed, or of something else.
    #[error("{} is damaged or something else", .0.display())]
    Damaged(PathBuf),
    /// Written by a later version of this program, which alone knows what it means. Nothing was changed.
    #[error("{} has the format {version}, which this version does not know", .path.display())]
    UnknownVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u8,
    },
    /// The costs of a passphrase's derivation are beyond bounds.
    #[error("the cost of the passphrase's derivation is out of bounds")]
    Cost,
    /// A name or a value is longer than the store can hold.
    #[error("a name or a value is too long for the store")]
    TooLong,
    /// The machine asks for a kind of value that this store has no place for.
    #[error("the store has no place for a value of this kind")]
    UnknownSlot,
    /// Things are erased faster than a snapshot can be taken.
    #[error("the vault is too busy for a snapshot")]
    Busy,
    /// The system refused.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The store's file cannot be read or written.
    #[error("the store failed")]
    Store(#[source] Box<redb::Error>),
    /// The system has no randomness.
    #[error("no randomness")]
    Entropy(#[source] io::Error),
}

/// The process that has a vault open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder(pub Option<u32>);

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(process) => write!(f, "{process}"),
            None => f.write_str("?"),
        }
    }
}

pub(crate) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> VaultError {
    let path = path.to_owned();
    move |source| VaultError::Io { action, path, source }
}

pub(crate) fn store(error: impl Into<redb::Error>) -> VaultError {
    VaultError::Store(Box::new(error.into()))
}
