//! Health records on a disk: the store that a `chart` writes to, encrypted, with its keys and its backups.
//!
//! A vault is a directory that a passphrase opens. `docs/format/vault.md` has the bytes of everything in it, and why
//! what was erased cannot be read again with any key that is left.

mod age;
mod backup;
mod directory;
mod error;
mod keyfile;
mod passphrase;
mod seal;
mod shelf;
mod strongbox;
mod tables;
mod vault;

pub use age::{
    AgeError, AgeHeader, BackupKey, BackupRecipient, ChunkReader, ChunkWriter, NotABackupKey, NotAnAgeFile,
    Opening, Sealing, Work, open_from, seal_to,
};
pub use backup::{BackupError, BackupItem, NotABackup, Progress, RestoreError, Restoring, Snapshot, restore};
pub use error::{Holder, VaultError};
pub use keyfile::{KeyFile, NotAKeyFile};
pub use passphrase::{Cost, Passphrase};
pub use shelf::{PENDING_BYTES_MAX, Shelf};
pub use strongbox::Standing;
pub use vault::{CACHE_BYTES, OpenError, Vault, draw};
