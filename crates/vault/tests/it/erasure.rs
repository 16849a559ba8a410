//! What was erased is gone: every byte of every file is tried with every key that is left.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use chart::{AuthorKey, Reading};
use vault::{BackupItem, BackupKey, Opening, Sealing, open_from};

use crate::reader::{Key, derive, keys, scan, table};
use crate::world::{Room, add, now, root, text};

const PASSPHRASE: &[u8] = b"correct horse battery staple";
/// `nonce 24 | box of a key 32 + 16`: what the machine keeps of a key of contents.
const WRAPPED_LEN: usize = 72;

/// Where a key of contents lies in its table, with the table's number before.
fn covered(place: [u8; 16]) -> [u8; 17] {
    let mut covered = [2; 17];
    covered[1..].copy_from_slice(&place);
    covered
}

/// Keys of contents that lie anywhere in a file and open with one of these keys.
fn found(file: &Path, with: &[Key], covered: &[u8]) -> usize {
    let bytes = fs::read(file).unwrap();
    with.iter().map(|key| scan(&bytes, (key, covered), WRAPPED_LEN).len()).sum()
}

/// Every key that a directory's passphrase leads to.
fn all_keys(directory: &Path) -> Vec<Key> {
    let keys = keys(directory, PASSPHRASE);
    let mut all = vec![keys.store];
    all.extend(
        ["note names", "note values", "record keys", "record names"].map(|of| derive(&keys.store, of)),
    );
    for record in &keys.records {
        all.extend([record.content, record.erasure, record.identity, record.values()]);
        all.push(derive(&record.content, "names"));
    }
    all
}

#[test]
fn no_key_that_is_left_opens_the_key_of_erased_contents_anywhere_in_the_vault_or_a_later_backup() {
    let room = Room::new();
    let mut vault = room.create();
    let mut chart = vault.found(now(), &root()).unwrap();
    let (record, author) = (chart.record(), chart.author());
    let erased = add(&mut chart, "depressive episode");
    let kept = add(&mut chart, "allergic to penicillin");
    let height = chart.header(&erased).unwrap().height;
    drop((chart, vault));

    let directory = room.vault();
    let before = keys(&directory, PASSPHRASE);
    let covered = covered(before.records[0].place(&author, height));
    let store = directory.join("store");
    assert!(found(&store, &all_keys(&directory), &covered) > 0, "the scan finds what is there");
    let old = before.records[0].erasure;

    let vault = room.open();
    let (mut chart, _) = vault.chart(&record).unwrap();
    chart.erase(now(), &BTreeSet::from([erased])).unwrap();
    chart.flush().unwrap();
    assert!(matches!(chart.read(&erased).unwrap(), Reading::Erased));
    let backup = room.path().join("backup.age");
    let to = Sealing::To(vault.recipient().unwrap().unwrap());
    vault.snapshot().unwrap().write_file(&backup, &to, |_| {}).unwrap();
    drop((chart, vault));

    // The page that held it is still in the file: only the key is gone.
    assert!(found(&store, &[old], &covered) > 0, "the test proves nothing if the page was overwritten");
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(found(&path, &all_keys(&directory), &covered), 0, "{}", path.display());
        let bytes = fs::read(&path).unwrap();
        assert!(bytes.windows(32).all(|window| window != old), "{}", path.display());
    }
    let after = keys(&directory, PASSPHRASE);
    assert_eq!(after.records.len(), 1);
    assert_eq!((after.records[0].record, after.records[0].standing), (record.0, 1));
    assert_eq!(after.records[0].generation, before.records[0].generation + 1);
    no_old_slot_opens(&after.records[0].path, &after.store);
    assert_eq!(keys_in(&backup, &author, height), 0);

    let vault = room.open();
    let (chart, _) = vault.chart(&record).unwrap();
    assert_eq!(text(&chart, &kept).as_deref(), Some("allergic to penicillin"));
    assert!(matches!(chart.read(&erased).unwrap(), Reading::Erased));
}

/// One slot of the file of keys opens, and nothing else in it does.
fn no_old_slot_opens(path: &Path, store: &Key) {
    let bytes = fs::read(path).unwrap();
    let key = derive(store, "record keys");
    let generations = (0..=u8::MAX).map(|generation| [1, generation, 0, 0, 0]);
    let opened: usize = generations.map(|front| scan(&bytes[..200], (&key, &front), 129).len()).sum();
    let other: usize =
        (0..4).map(|generation| scan(&bytes[200..], (&key, &[1, generation, 0, 0, 0]), 129).len()).sum();
    assert_eq!(opened + other, 1);
}

/// Keys of one entry's contents in a backup.
fn keys_in(backup: &Path, author: &AuthorKey, height: u64) -> usize {
    let opening = Opening::With(BackupKey::of(&root()));
    let file = std::io::BufReader::new(fs::File::open(backup).unwrap());
    let mut contents = open_from(&opening, file).unwrap();
    std::io::Read::read_exact(&mut contents, &mut [0; 20]).unwrap();
    let (mut count, mut all) = (0, 0);
    loop {
        match BackupItem::read(&mut contents).unwrap() {
            BackupItem::Value { slot: chart::Slot::Key(of, at), .. } => {
                all += 1;
                count += usize::from((of, at) == (*author, height));
            }
            BackupItem::End { .. } => break,
            _ => {}
        }
    }
    assert_eq!(all, 1, "the other entry is there");
    count
}

#[test]
fn an_erasure_that_stops_anywhere_is_whole_or_not_there_and_loses_nothing_else() {
    let room = Room::new();
    let mut vault = room.create();
    let mut chart = vault.found(now(), &root()).unwrap();
    let record = chart.record();
    let erased = add(&mut chart, "erased");
    let kept = add(&mut chart, "kept");
    drop((chart, vault));
    let path = keys(&room.vault(), PASSPHRASE).records[0].path.clone();
    let store = room.vault().join("store");
    let before = (fs::read(&path).unwrap(), fs::read(&store).unwrap());
    let vault = room.open();
    let (mut chart, _) = vault.chart(&record).unwrap();
    chart.erase(now(), &BTreeSet::from([erased])).unwrap();
    chart.flush().unwrap();
    drop((chart, vault));
    let after = (fs::read(&path).unwrap(), fs::read(&store).unwrap());
    assert_eq!(before.0[4_096..], [0; 4_096]);
    assert_eq!(after.0[..4_096], [0; 4_096]);

    let opens = |keys: &[u8], store_bytes: &[u8], is_erased: Option<Erased>| {
        fs::write(&path, keys).unwrap();
        fs::write(&store, store_bytes).unwrap();
        let vault = room.open();
        let (chart, cut_off) = vault.chart(&record).unwrap();
        assert_eq!(cut_off, []);
        assert_eq!(text(&chart, &kept).as_deref(), Some("kept"));
        match is_erased {
            Some(Erased) => assert!(matches!(chart.read(&erased).unwrap(), Reading::Erased)),
            None => assert_eq!(text(&chart, &erased).as_deref(), Some("erased")),
        }
        drop((chart, vault));
        // The reader refuses a slot that is neither empty nor whole.
        assert_eq!(crate::reader::keys(&room.vault(), PASSPHRASE).records.len(), 1);
    };
    for len in (0..180).step_by(11).chain((180..4_096).step_by(611)) {
        // While the new key is written.
        let torn = [&before.0[..4_096], &after.0[4_096..4_096 + len], &vec![0; 4_096 - len]].concat();
        opens(&torn, &before.1, None);
    }
    let both = [&before.0[..4_096], &after.0[4_096..]].concat();
    opens(&both, &before.1, None);
    opens(&both, &after.1, Some(Erased));
    for len in [1, 4, 5, 29, 100, 173, 174, 4_095] {
        // While the old key is overwritten.
        let torn = [&vec![0; len], &before.0[len..4_096], &after.0[4_096..]].concat();
        opens(&torn, &after.1, Some(Erased));
    }
    opens(&after.0, &after.1, Some(Erased));
}

/// Whether the entry is expected to be gone.
#[derive(Clone, Copy)]
struct Erased;

#[test]
fn a_record_that_is_forgotten_leaves_no_key() {
    let room = Room::new();
    let mut vault = room.create();
    let mut chart = vault.found(now(), &root()).unwrap();
    let record = chart.record();
    add(&mut chart, "forgotten");
    let values = keys(&room.vault(), PASSPHRASE).records[0].values();
    let authors = {
        drop(chart);
        drop(vault);
        let keys = keys(&room.vault(), PASSPHRASE);
        table(&room.vault(), &keys.records[0], 7)
    };
    let mut vault = room.open();
    let (chart, _) = vault.chart(&record).unwrap();
    assert!(vault.forget(&record).is_err(), "it is open");
    drop(chart);
    vault.forget(&record).unwrap();
    assert_eq!(vault.records().count(), 0);
    assert!(vault.chart(&record).is_err());
    drop(vault);
    let mut covered = [7; 17];
    covered[1..].copy_from_slice(&authors[0].0);
    let store = fs::read(room.vault().join("store")).unwrap();
    assert!(!scan(&store, (&values, &covered), 32).is_empty(), "pages stay; what opens them is gone");
    assert!(all_keys(&room.vault()).iter().all(|key| scan(&store, (key, &covered), 32).is_empty()));
    assert!(room.open().records().next().is_none());
}
