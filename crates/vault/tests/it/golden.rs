//! A vault and backups made once and kept for ever: what was written opens, whatever the program learns since.
//!
//! `docs/format/vault.md` opens the key file by hand. To add files for a later version of the format, run this test with
//! `HOMING_GOLDEN=write` once; files that exist are never written again.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use chart::{Digest, RecordId};
use vault::{BackupKey, Opening, Passphrase, Restoring, Sealing, Vault, Work, restore};

use crate::reader::{keys, open, store_key, table};
use crate::world::{CHEAP, Room, add, now, passphrase, root, text};

const ENTRIES: [&str; 2] = ["allergic to penicillin", "{\"resourceType\":\"Patient\"}"];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn backup_passphrase() -> Passphrase {
    Passphrase::new("for the safe".into())
}

/// Makes the files, if that was asked for and they are not there.
fn make() {
    let is_asked = std::env::var("HOMING_GOLDEN").is_ok_and(|how| how == "write");
    if golden("vault-1").exists() || !is_asked {
        return;
    }
    let mut vault = Vault::create(&golden("vault-1"), &passphrase(), CHEAP).unwrap();
    let mut chart = vault.found(now(), &root()).unwrap();
    let ids = ENTRIES.map(|text| add(&mut chart, text).to_string());
    vault.set_note("profile", Some(b"Martha")).unwrap();
    fs::write(golden("entries-1.txt"), format!("{}\n{}\n", chart.record(), ids.join("\n"))).unwrap();
    let snapshot = vault.snapshot().unwrap();
    let to = Sealing::To(vault.recipient().unwrap().unwrap());
    snapshot.write_file(&golden("backup-1.age"), &to, |_| {}).unwrap();
    let under = Sealing::Under(backup_passphrase(), Work(10));
    snapshot.write_file(&golden("backup-passphrase-1.age"), &under, |_| {}).unwrap();
    fs::write(golden("key-1.txt"), format!("{}\n", *BackupKey::of(&root()).text())).unwrap();
}

/// The record and its entries.
fn names() -> (RecordId, Vec<Digest>) {
    let lines = fs::read_to_string(golden("entries-1.txt")).unwrap();
    let mut lines = lines.lines().map(crate::world::digest);
    (RecordId(lines.next().unwrap().0), lines.collect())
}

/// A copy of the golden vault that only its owner may touch.
fn copied(room: &Room) {
    fs::create_dir(room.vault()).unwrap();
    fs::set_permissions(room.vault(), Permissions::from_mode(0o700)).unwrap();
    for entry in fs::read_dir(golden("vault-1")).unwrap() {
        let path = entry.unwrap().path();
        let to = room.vault().join(path.file_name().unwrap());
        fs::copy(&path, &to).unwrap();
        fs::set_permissions(&to, Permissions::from_mode(0o600)).unwrap();
    }
}

fn says_what_it_said(vault: &Vault) {
    let (record, ids) = names();
    let (chart, cut_off) = vault.chart(&record).unwrap();
    assert_eq!(cut_off, []);
    let texts: Vec<_> = ids.iter().map(|id| text(&chart, id).unwrap()).collect();
    assert_eq!(texts, ENTRIES);
    assert_eq!(chart.scrub().unwrap(), []);
    assert_eq!(vault.note("profile").unwrap().unwrap().as_slice(), b"Martha");
}

#[test]
fn the_golden_vault_opens() {
    make();
    let room = Room::new();
    copied(&room);
    says_what_it_said(&room.open());
}

#[test]
fn the_golden_vault_opens_by_the_format_document_alone() {
    make();
    let room = Room::new();
    copied(&room);
    let file = fs::read(golden("vault-1/key")).unwrap();
    assert_eq!(store_key(&file, b"correct horse"), None);
    let keys = keys(&room.vault(), b"correct horse battery staple");
    let [record] = keys.records.as_slice() else { panic!("one record") };
    assert_eq!(record.record, names().0.0);
    assert_eq!(record.standing, 1);
    // The second entry's header, by its name in `docs/format/chart.md`.
    let headers = table(&room.vault(), record, 1);
    let opened = headers.iter().map(|(place, sealed)| {
        let covered = [&[1][..], place].concat();
        open(&record.values(), &covered, sealed).unwrap()
    });
    let names: Vec<Digest> = opened.map(|header| name_of(&header)).collect();
    for id in names_of_entries() {
        assert!(names.contains(&id));
    }
}

fn names_of_entries() -> Vec<Digest> {
    names().1
}

fn name_of(header: &[u8]) -> Digest {
    use blake2::digest::{KeyInit, Mac};
    let mac =
        <blake2::Blake2bMac<blake2::digest::consts::U32> as KeyInit>::new_from_slice(b"homing chart header");
    Digest(mac.unwrap().chain_update(&header[..header.len() - 64]).finalize().into_bytes().into())
}

#[test]
fn the_golden_backups_are_restored() {
    make();
    let (record, ids) = names();
    let key = fs::read_to_string(golden("key-1.txt")).unwrap();
    let openings = [
        ("backup-1.age", Opening::With(BackupKey::from_text(key.trim()).unwrap())),
        ("backup-1.age", Opening::With(BackupKey::of(&root()))),
        ("backup-passphrase-1.age", Opening::Under(backup_passphrase())),
    ];
    for (name, opening) in openings {
        let room = Room::new();
        let to = Restoring { directory: &room.vault(), passphrase: &passphrase(), cost: CHEAP };
        let vault = restore(fs::File::open(golden(name)).unwrap(), &opening, to, |_| {}).unwrap();
        let chart = vault.renew(now(), &record, &root()).unwrap();
        assert_eq!(text(&chart, &ids[1]).as_deref(), Some(ENTRIES[1]), "{name}");
        drop(chart);
    }
}
