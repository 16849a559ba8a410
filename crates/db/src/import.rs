//! Taking over the store of a JavaScript server.

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use tooldb::json::Value;
use tooldb::{Admitted, Draft, Identity, Kind, Now, PutError, Record, Rejected, Space};

use crate::leveldb;

/// What became of the records of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Imported {
    /// What the directory held.
    pub read: leveldb::Read,
    /// Records that were new here.
    pub taken: usize,
    /// Records that were known, or beaten by what is.
    pub known: usize,
    /// Documents that the JavaScript server had merged without signing them; this node signed them.
    pub signed: usize,
    /// Records that are not believed: changed, merged in somebody's own space, or no records.
    pub refused: usize,
}

/// The values of a directory on their way into a store.
#[derive(Debug)]
pub(crate) struct Importer {
    values: VecDeque<Box<str>>,
    imported: Imported,
}

impl Importer {
    /// Reads a directory. Its values are in memory then, which for the stores that the library bears is little.
    pub(crate) fn read(directory: &Path) -> io::Result<Self> {
        let (mut values, mut refused) = (VecDeque::new(), 0);
        let read = leveldb::read(directory, |value| match str::from_utf8(value) {
            Ok(text) => values.push_back(text.into()),
            Err(_) => refused += 1,
        })?;
        Ok(Self { values, imported: Imported { read, refused, ..Imported::default() } })
    }

    pub(crate) fn is_done(&self) -> bool {
        self.values.is_empty()
    }

    pub(crate) fn imported(&self) -> Imported {
        self.imported
    }

    /// Takes some values in.
    pub(crate) fn take(
        &mut self,
        count: usize,
        mut put: impl FnMut(&Record) -> Result<Admitted, PutError>,
        node: &Identity,
        now: Now,
    ) {
        for _ in 0..count {
            let Some(value) = self.values.pop_front() else { return };
            let Ok(record) = Record::parse(&value) else {
                self.imported.refused += 1;
                continue;
            };
            match put(&record) {
                Ok(Admitted::Known) => self.imported.known += 1,
                Ok(_) => self.imported.taken += 1,
                Err(PutError::Rejected(Rejected::InvalidHashNonce)) => {
                    match signed(&record, (node, now)).map(|record| put(&record)) {
                        Some(Ok(_)) => self.imported.signed += 1,
                        Some(Err(_)) | None => self.imported.refused += 1,
                    }
                }
                Err(_) => self.imported.refused += 1,
            }
        }
    }
}

/// A document of everybody's space, signed by this node: the JavaScript server's merging broke its signature.
fn signed(record: &Record, (node, now): (&Identity, Now)) -> Option<Record> {
    let document = matches!(record.kind(), Kind::Map | Kind::List) && record.key().space() == Space::Public;
    let value = Value::parse(record.value()).ok().filter(|_| document)?;
    Some(Draft { key: record.key().clone(), value, kind: record.kind().clone() }.sign(now.wall, node))
}

impl Imported {
    /// The counts as one object.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "files": self.read.files, "damaged": self.read.damaged, "values": self.read.values,
            "taken": self.taken, "known": self.known, "signed": self.signed, "refused": self.refused,
        })
    }
}
