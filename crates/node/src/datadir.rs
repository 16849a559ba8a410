use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddrV4;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use wire::Id;

/// Bits of a file's mode that let anyone but its owner touch it.
const NOT_OWNER: u32 = 0o077;
/// A key file is 64 digits and a line end; more than this is some other file.
const KEY_FILE_MAX: u64 = 1024;
/// Nodes read from a saved table, far above what a table holds.
const NODES_MAX: usize = 4096;

/// The directory of one node, locked for as long as this value lives.
///
/// It holds `lock`, `key` (the seed of the identity), `nodes` (the routing table as it was saved last) and
/// `control` (the socket for commands to the running node).
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataDirError {
    /// Another process runs a node there.
    #[error("another process uses {}", .0.display())]
    InUse(PathBuf),
    /// Others may read or change what is in it.
    #[error("{} is open to others (mode {mode:03o}); run: chmod go= {}", .path.display(), .path.display())]
    Exposed {
        /// The directory or file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key file does not hold 64 hexadecimal digits.
    #[error("{} is not a key file (64 hexadecimal digits)", .0.display())]
    NotAKey(PathBuf),
    /// A key file that was to be created is there already.
    #[error("{} exists already", .0.display())]
    KeyExists(PathBuf),
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
}

impl DataDir {
    /// Creates the directory where it is missing, with mode 0700, and locks it.
    ///
    /// # Errors
    ///
    /// Fails if another process holds the lock, if the directory is open to others, or as the system does.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(path).map_err(failed("create", path))?;
        refuse_exposed(path)?;
        let lock_path = path.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(failed("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::InUse(path.to_owned())),
            Err(TryLockError::Error(source)) => Err(failed("lock", &lock_path)(source)),
        }
    }

    /// Returns the path of the control socket.
    pub fn control_path(&self) -> PathBuf {
        control_path(&self.path)
    }

    /// Reads the seed of the node's identity, creating it from `fresh` where there is none.
    ///
    /// # Errors
    ///
    /// As [`read_key`] and [`create_key`].
    pub fn key(&self, fresh: [u8; 32]) -> Result<[u8; 32], DataDirError> {
        match self.create_key(fresh) {
            Ok(_) => Ok(fresh),
            Err(DataDirError::KeyExists(path)) => read_key(&path),
            Err(error) => Err(error),
        }
    }

    /// Creates the seed of the node's identity, and returns its path.
    ///
    /// # Errors
    ///
    /// As [`create_key`].
    pub fn create_key(&self, seed: [u8; 32]) -> Result<PathBuf, DataDirError> {
        let path = self.path.join("key");
        create_key(&path, seed)?;
        Ok(path)
    }

    /// Saves the routing table, so that the next start does not depend on the bootstrap nodes.
    ///
    /// # Errors
    ///
    /// Fails as the system does; the table saved before is then still there.
    pub fn save_nodes(&self, nodes: &[SocketAddrV4]) -> Result<(), DataDirError> {
        let mut text = String::new();
        for node in nodes {
            text.push_str(&node.to_string());
            text.push('\n');
        }
        let path = nodes_path(&self.path);
        let temporary = self.path.join("nodes.new");
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed("replace", &path)(error)),
            Ok(()) | Err(_) => {}
        }
        write_private(&temporary, text.as_bytes())
            .and_then(|()| fs::rename(&temporary, &path))
            .map_err(failed("write", &path))
    }
}

/// Reads the routing table saved in a directory, which may belong to a running node; a line that is not an
/// address is skipped, and a missing file is an empty table.
///
/// # Errors
///
/// Fails as the system does.
pub fn load_nodes(directory: &Path) -> Result<Vec<SocketAddrV4>, DataDirError> {
    let path = nodes_path(directory);
    match fs::read(&path) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            Ok(text.lines().filter_map(|line| line.trim().parse().ok()).take(NODES_MAX).collect())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(failed("read", &path)(error)),
    }
}

/// Reads a seed from a key file.
///
/// # Errors
///
/// Fails if others may read the file, or if it is not 64 hexadecimal digits.
pub fn read_key(path: &Path) -> Result<[u8; 32], DataDirError> {
    refuse_exposed(path)?;
    let mut text = String::new();
    let file = File::open(path).map_err(failed("read", path))?;
    match file.take(KEY_FILE_MAX).read_to_string(&mut text) {
        Err(error) if error.kind() != ErrorKind::InvalidData => return Err(failed("read", path)(error)),
        Ok(_) | Err(_) => {}
    }
    let seed: Id<32> = text.trim().parse().map_err(|_| DataDirError::NotAKey(path.to_owned()))?;
    Ok(seed.0)
}

/// Writes a seed into a new key file of mode 0600; the file appears whole or not at all.
///
/// # Errors
///
/// Fails if the file exists, or as the system does.
pub fn create_key(path: &Path, seed: [u8; 32]) -> Result<(), DataDirError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let temporary = path.with_file_name(name);
    let outcome = write_private(&temporary, format!("{}\n", Id(seed)).as_bytes())
        .and_then(|()| fs::hard_link(&temporary, path));
    let removed = fs::remove_file(&temporary);
    match outcome.and(removed) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Err(DataDirError::KeyExists(path.to_owned()))
        }
        Err(error) => Err(failed("create", path)(error)),
    }
}

pub(crate) fn control_path(directory: &Path) -> PathBuf {
    directory.join("control")
}

fn nodes_path(directory: &Path) -> PathBuf {
    directory.join("nodes")
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    // The process's umask may have taken bits away, never added them; set what the owner needs.
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn refuse_exposed(path: &Path) -> Result<(), DataDirError> {
    let mode = fs::metadata(path).map_err(failed("read", path))?.mode() & 0o777;
    if mode & NOT_OWNER == 0 { Ok(()) } else { Err(DataDirError::Exposed { path: path.to_owned(), mode }) }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DataDirError {
    let path = path.to_owned();
    move |source| DataDirError::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy;

    /// A fresh directory that goes away with the test.
    struct Temporary(PathBuf);

    impl Temporary {
        fn new() -> Self {
            let name = format!("homing-{}", Id(entropy::seed().unwrap()));
            let path = std::env::temp_dir().join(name);
            DirBuilder::new().mode(0o700).create(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Temporary {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn a_new_directory_and_its_key_are_the_owners_alone() {
        let top = Temporary::new();
        let path = top.0.join("a/b");
        let dir = DataDir::open(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        assert_eq!(dir.key([7; 32]).unwrap(), [7; 32]);
        assert_eq!(mode(&path.join("key")), 0o600);
        assert_eq!(dir.key([8; 32]).unwrap(), [7; 32], "the key that is there stays");
        assert_eq!(fs::read_to_string(path.join("key")).unwrap(), "07".repeat(32) + "\n");
        let mut names: Vec<_> =
            fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["key", "lock"]);
    }

    #[test]
    fn a_second_opening_is_refused_until_the_first_has_ended() {
        let top = Temporary::new();
        let first = DataDir::open(&top.0).unwrap();
        let refused = DataDir::open(&top.0).unwrap_err();
        assert_eq!(refused.to_string(), format!("another process uses {}", top.0.display()));
        drop(first);
        DataDir::open(&top.0).unwrap();
    }

    #[test]
    fn a_key_that_others_may_read_or_that_is_none_is_refused() {
        let top = Temporary::new();
        let path = top.0.join("k");
        create_key(&path, [1; 32]).unwrap();
        assert!(matches!(create_key(&path, [2; 32]), Err(DataDirError::KeyExists(_))));
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(read_key(&path), Err(DataDirError::Exposed { mode: 0o640, .. })));
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read_key(&path).unwrap(), [1; 32]);
        for broken in ["", "01", &"zz".repeat(32), &"01".repeat(33)] {
            fs::write(&path, broken).unwrap();
            assert!(matches!(read_key(&path), Err(DataDirError::NotAKey(_))), "{broken}");
        }
        fs::write(&path, [0xff; 64]).unwrap();
        assert!(matches!(read_key(&path), Err(DataDirError::NotAKey(_))));
        assert!(matches!(read_key(&top.0.join("none")), Err(DataDirError::Io { .. })));
    }

    #[test]
    fn a_directory_open_to_others_is_refused() {
        let top = Temporary::new();
        fs::set_permissions(&top.0, Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(DataDir::open(&top.0), Err(DataDirError::Exposed { mode: 0o755, .. })));
    }

    #[test]
    fn saved_nodes_come_back_and_malformed_lines_are_skipped() {
        let top = Temporary::new();
        let dir = DataDir::open(&top.0).unwrap();
        assert_eq!(load_nodes(&top.0).unwrap(), []);
        let nodes = ["10.0.0.1:1".parse().unwrap(), "10.0.0.2:65535".parse().unwrap()];
        for _ in 0..2 {
            dir.save_nodes(&nodes).unwrap();
            assert_eq!(load_nodes(&top.0).unwrap(), nodes);
        }
        assert_eq!(mode(&top.0.join("nodes")), 0o600);
        fs::write(top.0.join("nodes"), b"10.0.0.1:1\n\xff\n1.2.3\n\n 10.0.0.2:65535 \r\n10.0.0.3:99999")
            .unwrap();
        assert_eq!(load_nodes(&top.0).unwrap(), nodes);
    }
}
