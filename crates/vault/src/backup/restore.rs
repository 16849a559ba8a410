//! A vault from a backup.

use std::fs;
use std::io::{self, BufReader, Read};
use std::path::Path;

use chart::{Archive as _, Secret, StoreError, Write};

use super::Progress;
use super::item::{BackupItem, NotABackup};
use crate::age::{AgeError, Opening, open_from};
use crate::directory::{beside, sync};
use crate::error::{VaultError, failed};
use crate::passphrase::{Cost, Passphrase};
use crate::seal::draw_secret;
use crate::shelf::Shelf;
use crate::strongbox::Standing;
use crate::vault::Vault;

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The file does not open.
    #[error("the backup does not open")]
    Age(#[from] AgeError),
    /// What is in it is no backup, or torn.
    #[error("the backup cannot be used")]
    Contents(#[from] NotABackup),
    /// The vault cannot be written.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// Its store cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where a backup goes.
#[derive(Clone, Copy, Debug)]
pub struct Restoring<'a> {
    /// A directory that is empty or not there.
    pub directory: &'a Path,
    /// The passphrase of the vault to be.
    pub passphrase: &'a Passphrase,
    /// What a guess of it costs.
    pub cost: Cost,
}

/// Makes a vault of a backup. It appears whole or not at all.
///
/// Records of which this is an owner's vault cannot be written to until [`Vault::renew`] has made it a new device.
///
/// # Errors
///
/// If something is in the directory, the backup does not open, is torn or of a later version, or as the system does.
pub fn restore(
    from: impl Read,
    opening: &Opening,
    to: Restoring<'_>,
    progress: impl FnMut(Progress),
) -> Result<Vault, RestoreError> {
    refuse_occupied(to.directory)?;
    let mut contents = open_from(opening, BufReader::new(from))?;
    let building = beside(to.directory, ".restoring");
    remove(&building)?;
    let built = Vault::create(&building, to.passphrase, to.cost)
        .map_err(RestoreError::from)
        .and_then(|vault| fill(vault, &mut contents, progress));
    if let Err(error) = built {
        remove(&building)?;
        return Err(error);
    }
    // A directory takes the place of an empty one, and of no other.
    fs::rename(&building, to.directory).map_err(failed("create", to.directory))?;
    let parent = to.directory.parent().filter(|parent| !parent.as_os_str().is_empty());
    sync(parent.unwrap_or_else(|| Path::new(".")))?;
    Ok(Vault::open(to.directory, to.passphrase)?)
}

fn refuse_occupied(directory: &Path) -> Result<(), VaultError> {
    let occupied = match fs::read_dir(directory) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(failed("read", directory)(error)),
    };
    if occupied { Err(VaultError::Occupied(directory.to_owned())) } else { Ok(()) }
}

fn remove(directory: &Path) -> Result<(), VaultError> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", directory)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn fill(
    mut vault: Vault,
    contents: &mut impl Read,
    mut progress: impl FnMut(Progress),
) -> Result<(), RestoreError> {
    BackupItem::read_front(contents)?;
    let mut state = Progress { done: 0, of: 0 };
    let mut shelf: Option<Shelf> = None;
    loop {
        match BackupItem::read(contents)? {
            BackupItem::Note { name, value } => vault.set_note(&name, Some(&value))?,
            BackupItem::Record { record, standing, identity } => {
                if let Some(mut full) = shelf.take() {
                    full.sync()?;
                }
                let identity = identity_of(standing, identity)?;
                shelf = Some(vault.shelf(record, identity, standing)?);
            }
            BackupItem::Value { slot, value } => {
                let shelf = shelf.as_mut().ok_or(NotABackup::Damaged)?;
                shelf.write(vec![Write { slot, value: Some(value) }])?;
            }
            BackupItem::End { count } if count == state.done => break,
            BackupItem::End { .. } => return Err(NotABackup::Damaged.into()),
        }
        state.done += 1;
        progress(state);
    }
    // Reading to the end also finds whether the file was cut off right here.
    let mut rest = [0];
    if contents.read(&mut rest).map_err(NotABackup::from)? != 0 {
        return Err(NotABackup::Damaged.into());
    }
    if let Some(mut full) = shelf.take() {
        full.sync()?;
    }
    Ok(())
}

fn identity_of(standing: Standing, identity: Option<Secret>) -> Result<Secret, RestoreError> {
    match (standing, identity) {
        (Standing::Member, Some(identity)) => Ok(identity),
        (Standing::Member, None) => Err(NotABackup::Damaged.into()),
        (Standing::Owner, _) => Ok(draw_secret()?),
    }
}
