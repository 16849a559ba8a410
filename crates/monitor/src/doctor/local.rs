//! Checks that need no network.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::resource::{Resource, getrlimit};

use super::Finding;
use crate::words::Cause;

/// 1 January 2026, in seconds since 1970: this program is younger, so a clock before that is wrong.
const EARLIEST: u64 = 1_767_225_600;
/// Open files that a node with a monitor may need.
const FILES_MIN: u64 = 128;

pub(super) fn clock() -> Finding {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if now < EARLIEST {
        Finding::fault("clock", Cause::ClockSkew, "The clock shows a time before this program was made.")
    } else {
        Finding::fine("clock", "The clock is not behind this program; peers' clocks were not asked.")
    }
}

pub(super) fn files() -> Finding {
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((soft, _)) if soft < FILES_MIN => Finding::fault(
            "files",
            Cause::FdLimit,
            format!("This process may open {soft} files, and needs {FILES_MIN}."),
        ),
        Ok((soft, _)) => Finding::fine("files", format!("This process may open {soft} files.")),
        Err(_) => Finding::skipped("files", "The limit of open files cannot be read."),
    }
}

/// Looks at the data directory without taking its lock.
pub(super) fn directory(dir: &Path) -> Finding {
    let fault = |sentence: &str| Finding::fault("directory", Cause::StoreUnusable, sentence);
    let meta = match std::fs::metadata(dir) {
        Ok(meta) => meta,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Finding::fine("directory", "The data directory does not exist yet, and will be made.");
        }
        Err(_) => return fault("The data directory cannot be read."),
    };
    if !meta.is_dir() {
        return fault("The data directory is no directory.");
    }
    if meta.uid() != nix::unistd::geteuid().as_raw() {
        return fault("The data directory belongs to another user.");
    }
    if meta.mode() & 0o700 != 0o700 {
        return fault("The data directory cannot be read and written by its owner.");
    }
    if meta.mode() & 0o022 != 0 {
        return fault("Others can write to the data directory.");
    }
    Finding::fine("directory", "The data directory can be used.")
}
