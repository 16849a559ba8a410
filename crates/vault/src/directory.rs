//! The directory of a vault: its permissions, its lock, files that appear whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::{Holder, VaultError, failed};

/// Bits of a file's mode that let anyone but its owner touch it.
const NOT_OWNER: u32 = 0o077;

const LOCK: &str = "lock";

/// Creates a directory that only its owner may enter, where there is none.
pub(crate) fn create(path: &Path) -> Result<(), VaultError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("create", path))?;
    refuse_exposed(path)
}

/// Takes the lock of a directory; it is held until the file is closed, or the process ends however it ends.
pub(crate) fn lock(directory: &Path) -> Result<File, VaultError> {
    let path = directory.join(LOCK);
    let mut file = private().create(true).truncate(false).open(&path).map_err(failed("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let holder = match file.take(32).read_to_string(&mut text) {
                Ok(_) => Holder(text.trim().parse().ok()),
                Err(_) => Holder(None),
            };
            return Err(VaultError::InUse { path: directory.to_owned(), holder });
        }
        Err(TryLockError::Error(source)) => return Err(failed("lock", &path)(source)),
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(failed("write", &path))?;
    Ok(file)
}

/// Whether nothing but perhaps a lock is in a directory, or there is no such directory.
pub(crate) fn is_vacant(directory: &Path) -> Result<bool, VaultError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(failed("read", directory)(error)),
    };
    for entry in entries {
        if entry.map_err(failed("read", directory))?.file_name() != LOCK {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Refuses what others may read or change.
pub(crate) fn refuse_exposed(path: &Path) -> Result<(), VaultError> {
    let mode = fs::metadata(path).map_err(failed("read", path))?.mode() & 0o777;
    if mode & NOT_OWNER == 0 { Ok(()) } else { Err(VaultError::Exposed { path: path.to_owned(), mode }) }
}

/// How files of a vault are opened: for reading and writing, by their owner alone.
pub(crate) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

/// Puts a file in the place of another, whole or not at all, whenever the power goes; what was there before is then
/// overwritten, as far as the file system writes in place.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), VaultError> {
    let old = match private().open(path) {
        Ok(file) => Some(file),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(failed("open", path)(error)),
    };
    let temporary = beside(path, ".new");
    let mut file = fresh(&temporary)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed("write", &temporary))?;
    fs::rename(&temporary, path).map_err(failed("replace", path))?;
    sync(path.parent().unwrap_or(path))?;
    if let Some(old) = old {
        wipe(&old).map_err(failed("overwrite", path))?;
    }
    Ok(())
}

/// Creates a file that only its owner may touch, in the place of one that was left behind.
pub(crate) fn fresh(path: &Path) -> Result<File, VaultError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed("remove", path)(error)),
        Ok(()) | Err(_) => {}
    }
    private().create_new(true).open(path).map_err(failed("create", path))
}

/// Overwrites all of a file with zeros.
pub(crate) fn wipe(mut file: &File) -> std::io::Result<()> {
    let len = usize::try_from(file.metadata()?.len()).unwrap_or(0);
    file.rewind()?;
    file.write_all(&vec![0; len])?;
    file.sync_all()
}

/// Makes names of a directory last.
pub(crate) fn sync(directory: &Path) -> Result<(), VaultError> {
    File::open(directory).and_then(|file| file.sync_all()).map_err(failed("sync", directory))
}

/// The path with something after its name.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    path.with_file_name(name)
}
