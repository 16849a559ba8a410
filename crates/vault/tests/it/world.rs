//! Directories that go away, and clocks that stand still.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use chart::{Chart, Digest, Now, Private, Reading, Root, Scope, Secret, Statement, UnixMillis};
use vault::{Cost, Passphrase, Shelf, Vault};

/// A cost that no vault of a person should have: a millisecond.
pub(crate) const CHEAP: Cost = Cost { memory_kib: 64, passes: 1, lanes: 1 };

/// A directory that is removed when it is dropped.
pub(crate) struct Room(PathBuf);

impl Room {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("homing-vault-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Where the vault goes.
    pub(crate) fn vault(&self) -> PathBuf {
        self.0.join("vault")
    }

    pub(crate) fn create(&self) -> Vault {
        Vault::create(&self.vault(), &passphrase(), CHEAP).unwrap()
    }

    pub(crate) fn open(&self) -> Vault {
        Vault::open(&self.vault(), &passphrase()).unwrap()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

pub(crate) fn passphrase() -> Passphrase {
    Passphrase::new("correct horse battery staple".into())
}

pub(crate) fn root() -> Root {
    Root::from_bytes(Secret::new([7; 32]))
}

/// 2026-11-25T00:00:00Z.
pub(crate) fn now() -> Now {
    Now { instant: Instant::now(), wall: UnixMillis(1_795_564_800_000) }
}

pub(crate) fn says(text: &str) -> Statement {
    Statement {
        media_type: "text/plain".into(),
        body: Private(text.as_bytes().to_vec()),
        ..Statement::default()
    }
}

/// Adds an entry and takes it to the disk.
pub(crate) fn add(chart: &mut Chart<Shelf>, text: &str) -> Digest {
    let id = chart.add(now(), Scope::GENERAL, &says(text)).unwrap();
    chart.flush().unwrap();
    id
}

/// What an entry says; `None` if it cannot be read.
pub(crate) fn text(chart: &Chart<Shelf>, id: &Digest) -> Option<String> {
    match chart.read(id).unwrap() {
        Reading::Statement(statement) => Some(String::from_utf8(statement.body.0.clone()).unwrap()),
        _ => None,
    }
}

/// Reads a name's hexadecimal digits.
pub(crate) fn digest(digits: &str) -> Digest {
    let (pairs, _) = digits.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    Digest(pairs.iter().map(byte).collect::<Vec<_>>().try_into().unwrap())
}
