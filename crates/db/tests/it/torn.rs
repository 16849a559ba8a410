//! A disk that forgets what was not synced, and tears what it was writing when the power went.

use std::io;
use std::sync::{Arc, Mutex};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use redb::StorageBackend;

/// Bytes that a disk writes as a whole.
const SECTOR: usize = 512;

#[derive(Debug, Default, Clone)]
struct State {
    /// What a reader sees.
    seen: Vec<u8>,
    /// What survives for certain.
    synced: Vec<u8>,
    /// What was written since, in order.
    unsynced: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Length(usize),
    Bytes(usize, Vec<u8>),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Length(length) => bytes.resize(*length, 0),
            Self::Bytes(offset, data) => {
                let end = offset + data.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset..end].copy_from_slice(data);
            }
        }
    }
}

/// Handles to one disk are clones of each other.
#[derive(Debug, Clone, Default)]
pub(crate) struct TornDisk(Arc<Mutex<State>>);

impl TornDisk {
    /// The disk as it is found after a power cut: of what was not synced, any part may be there, sector by
    /// sector.
    pub(crate) fn after_power_cut(&self, seed: u64) -> Self {
        let mut chance = StdRng::seed_from_u64(seed);
        let state = self.0.lock().unwrap();
        let mut found = state.synced.clone();
        for change in &state.unsynced {
            match change {
                Change::Length(_) => {
                    if chance.random_bool(0.5) {
                        change.apply(&mut found);
                    }
                }
                Change::Bytes(offset, data) => {
                    for (place, sector) in data.chunks(SECTOR).enumerate() {
                        if chance.random_bool(0.5) {
                            Change::Bytes(offset + place * SECTOR, sector.to_vec()).apply(&mut found);
                        }
                    }
                }
            }
        }
        Self(Arc::new(Mutex::new(State { seen: found.clone(), synced: found, unsynced: Vec::new() })))
    }
}

impl StorageBackend for TornDisk {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.0.lock().unwrap().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let state = self.0.lock().unwrap();
        let offset = usize::try_from(offset).unwrap();
        let bytes = state.seen.get(offset..offset + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        let mut state = self.0.lock().unwrap();
        let change = Change::Length(usize::try_from(len).unwrap());
        change.apply(&mut state.seen);
        state.unsynced.push(change);
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        let mut state = self.0.lock().unwrap();
        state.synced = state.seen.clone();
        state.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let mut state = self.0.lock().unwrap();
        let change = Change::Bytes(usize::try_from(offset).unwrap(), data.to_vec());
        change.apply(&mut state.seen);
        state.unsynced.push(change);
        Ok(())
    }
}
