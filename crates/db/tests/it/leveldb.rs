//! A directory that `level` 7.0.0 wrote, from the entries of `vectors/tooldb/storage-leveldb-dump.json`: the
//! first half compacted into a table, the second still in the log.

use std::path::Path;

use db::{Config, Db};
use tooldb::{Key, Topic};

use crate::temporary::Temporary;

fn fixture() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/leveldb")
}

#[tokio::test]
async fn every_record_of_a_javascript_server_is_taken_or_accounted_for() {
    let home = Temporary::new();
    let config = Config::new(Topic::new("test").unwrap(), home.path().into());
    let (db, running) = Db::start(config).await.unwrap();
    let imported = db.import(&fixture()).await.unwrap();
    let dump = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/tooldb/storage-leveldb-dump.json");
    let dump: serde_json::Value = serde_json::from_slice(&std::fs::read(dump).unwrap()).unwrap();
    let entries = dump["entries"].as_object().unwrap();
    assert_eq!((imported.read.values, imported.read.damaged), (entries.len(), 0));
    let accounted = imported.taken + imported.known + imported.signed + imported.refused;
    assert_eq!(accounted, entries.len());
    let mut kept = 0;
    for (name, raw) in entries {
        let Some(record) = db.local(Key::new(name).unwrap()).await.unwrap() else { continue };
        let before: serde_json::Value = serde_json::from_str(raw.as_str().unwrap()).unwrap();
        let now: serde_json::Value = serde_json::from_str(record.raw()).unwrap();
        assert_eq!(now["v"], before["v"], "{name}");
        kept += 1;
    }
    assert_eq!(kept, imported.taken + imported.signed);
    // The documents that the JavaScript server had merged: their records' hashes no longer fit.
    assert!(imported.signed > 0, "{imported:?}");
    assert_eq!(imported.refused, 0, "{imported:?}");
    let again = db.import(&fixture()).await.unwrap();
    assert_eq!(again.taken, 0, "{again:?}");
    db.shutdown(running).await.unwrap();
}

#[tokio::test]
async fn a_directory_cut_short_gives_what_is_left_of_it() {
    let (home, copy) = (Temporary::new(), Temporary::new());
    for file in std::fs::read_dir(fixture()).unwrap() {
        let file = file.unwrap();
        let mut bytes = std::fs::read(file.path()).unwrap();
        if file.path().extension().is_some_and(|kind| kind == "log") {
            bytes.truncate(bytes.len() - 100);
        }
        std::fs::write(copy.path().join(file.file_name()), bytes).unwrap();
    }
    let config = Config::new(Topic::new("test").unwrap(), home.path().into());
    let (db, running) = Db::start(config).await.unwrap();
    let imported = db.import(copy.path()).await.unwrap();
    assert_eq!(imported.read.damaged, 1);
    assert!(imported.taken > 0);
    assert!(db.import(home.path()).await.is_err(), "no LevelDB there");
    db.shutdown(running).await.unwrap();
}
