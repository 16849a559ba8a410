//! Backups and what comes of them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use chart::{Archive as _, Chart, Digest, Root, Scope, Secret, Statement, WriteError};
use vault::{
    AgeError, BackupError, BackupKey, OpenError, Opening, Passphrase, Progress, RestoreError, Restoring,
    Sealing, Shelf, Standing, Vault, VaultError, Work, restore,
};

use crate::world::{CHEAP, Room, add, now, passphrase, root, says, text};

/// A record with entries, an attachment and a note.
struct Patient {
    room: Room,
    vault: Vault,
    chart: Chart<Shelf>,
    entries: Vec<Digest>,
    attachment: chart::Attachment,
}

fn patient() -> Patient {
    let room = Room::new();
    let mut vault = room.create();
    let mut chart = vault.found(now(), &root()).unwrap();
    let entries = (0..20).map(|n| add(&mut chart, &format!("entry {n}"))).collect();
    let mut sealer = chart.attach();
    let parts = sealer.push(&bytes(200_000)).unwrap();
    chart.store_parts(parts).unwrap();
    let (attachment, parts) = sealer.finish("scan".into(), "image/jpeg".into());
    chart.store_parts(parts).unwrap();
    let statement = Statement { attachments: vec![attachment.clone()], ..says("a scan") };
    chart.add(now(), Scope::GENERAL, &statement).unwrap();
    chart.flush().unwrap();
    vault.set_note("profile", Some(b"Martha")).unwrap();
    Patient { room, vault, chart, entries, attachment }
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at * 31 + at / 251) % 256).unwrap()).collect()
}

fn back_up(vault: &Vault, path: &Path, sealing: &Sealing) {
    vault.snapshot().unwrap().write_file(path, sealing, |_| {}).unwrap();
}

fn put_back(room: &Room, path: &Path, opening: &Opening) -> Result<Vault, RestoreError> {
    let directory = room.path().join("restored");
    let to = Restoring { directory: &directory, passphrase: &passphrase(), cost: CHEAP };
    restore(fs::File::open(path).unwrap(), opening, to, |_| {})
}

#[test]
fn a_phrase_and_a_backup_bring_everything_back_under_a_new_device_key() {
    let Patient { room, vault, mut chart, entries, attachment } = patient();
    let path = room.path().join("backup.age");
    let recipient = vault.recipient().unwrap().unwrap();
    // The vault is open and goes on: what comes after the moment of the snapshot is not in it.
    let snapshot = vault.snapshot().unwrap();
    let late = add(&mut chart, "late");
    let mut steps = Vec::new();
    snapshot.write_file(&path, &Sealing::To(recipient), |step| steps.push(step)).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(steps.last(), Some(&Progress { done: steps.len() as u64, of: steps.len() as u64 }));
    let (record, device) = (chart.record(), chart.author());
    drop((chart, snapshot, vault));
    fs::remove_dir_all(room.vault()).unwrap();

    let words = root().phrase();
    let phrase = Root::from_phrase(&words).unwrap();
    let vault = put_back(&room, &path, &Opening::With(BackupKey::of(&phrase))).unwrap();
    assert_eq!(vault.note("profile").unwrap().unwrap().as_slice(), b"Martha");
    assert_eq!(vault.notes().unwrap(), ["profile"]);
    let (mut unrenewed, _) = vault.chart(&record).unwrap();
    assert!(matches!(unrenewed.add(now(), Scope::GENERAL, &says("no")), Err(WriteError::NotYet)));
    drop(unrenewed);

    let stranger = Root::from_bytes(Secret::new([8; 32]));
    assert!(matches!(vault.renew(now(), &record, &stranger), Err(OpenError::Record(WriteError::Refused(_)))));
    let mut chart = vault.renew(now(), &record, &phrase).unwrap();
    assert_ne!(chart.author(), device);
    assert!(chart.is_owner());
    for (n, id) in entries.iter().enumerate() {
        assert_eq!(text(&chart, id), Some(format!("entry {n}")));
    }
    assert_eq!(text(&chart, &late), None);
    let mut contents = Vec::new();
    while let Some(chunk) = chart.read_chunk(&attachment, contents.len() as u64 / 65_536).unwrap() {
        contents.extend(chunk);
        if contents.len() == 200_000 {
            break;
        }
    }
    assert_eq!(contents, bytes(200_000));
    let id = add(&mut chart, "written by the new device");
    drop((chart, vault));
    let vault = Vault::open(&room.path().join("restored"), &passphrase()).unwrap();
    let (chart, _) = vault.chart(&record).unwrap();
    assert_eq!(text(&chart, &id).as_deref(), Some("written by the new device"));
    assert_eq!(text(&chart, &entries[3]).as_deref(), Some("entry 3"));
    assert_eq!(chart.scrub().unwrap(), []);
}

#[test]
fn a_member_gets_its_identity_back_from_a_backup_under_a_passphrase() {
    let room = Room::new();
    let mut vault = room.create();
    let patient = patient();
    let record = patient.chart.record();
    let mut chart = vault.join(record, Secret::new([3; 32]), Standing::Member).unwrap();
    chart.flush().unwrap();
    let author = chart.author();
    let path = room.path().join("backup.age");
    let under = Passphrase::new("for the safe".into());
    back_up(&vault, &path, &Sealing::Under(under.clone(), Work(4)));
    let wrong = put_back(&room, &path, &Opening::Under(passphrase()));
    assert!(matches!(wrong, Err(RestoreError::Age(AgeError::WrongKey))));
    let vault = put_back(&room, &path, &Opening::Under(under)).unwrap();
    assert_eq!(vault.chart(&record).unwrap().0.author(), author);
}

#[test]
fn a_backup_that_was_cut_off_or_changed_anywhere_restores_nothing() {
    let Patient { room, vault, .. } = patient();
    let path = room.path().join("backup.age");
    back_up(&vault, &path, &Sealing::To(BackupKey::of(&root()).recipient()));
    let whole = fs::read(&path).unwrap();
    let opening = Opening::With(BackupKey::of(&root()));
    let chunks = (1..4).flat_map(|n| [199 + n * 65_552 + 16, 200 + n * 65_552 + 16]);
    for len in [0, 1, 22, 100, 199, 200, 216, 1_000, whole.len() - 1].into_iter().chain(chunks) {
        fs::write(&path, &whole[..len]).unwrap();
        assert!(put_back(&room, &path, &opening).is_err(), "{len}");
    }
    for at in (0..whole.len()).step_by(9_973).chain([0, 30, 60, 120, 199, 205, whole.len() - 1]) {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(&path, &changed).unwrap();
        assert!(put_back(&room, &path, &opening).is_err(), "{at}");
    }
    fs::write(&path, [&whole[..], b"more"].concat()).unwrap();
    assert!(put_back(&room, &path, &opening).is_err());
    let left: BTreeSet<_> =
        fs::read_dir(room.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, BTreeSet::from(["backup.age".into(), "vault".into()]));
    fs::write(&path, &whole).unwrap();
    put_back(&room, &path, &opening).unwrap();
}

#[test]
fn nothing_is_restored_over_anything_and_no_file_is_overwritten_by_a_backup() {
    let Patient { room, vault, .. } = patient();
    let path = room.path().join("backup.age");
    let sealing = Sealing::To(vault.recipient().unwrap().unwrap());
    back_up(&vault, &path, &sealing);
    let again = vault.snapshot().unwrap().write_file(&path, &sealing, |_| {});
    assert!(matches!(again, Err(BackupError::Exists)));
    let directory = room.path().join("restored");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("letter"), "dear").unwrap();
    let opening = Opening::With(BackupKey::of(&root()));
    let refused = put_back(&room, &path, &opening);
    assert!(matches!(refused, Err(RestoreError::Vault(VaultError::Occupied(_)))));
    fs::remove_file(directory.join("letter")).unwrap();
    put_back(&room, &path, &opening).unwrap();
}

#[test]
fn a_snapshot_taken_while_things_are_erased_opens_with_the_keys_of_its_moment() {
    let Patient { room, vault, mut chart, entries, .. } = patient();
    let path = room.path().join("backup.age");
    let snapshot = vault.snapshot().unwrap();
    chart.erase(now(), &BTreeSet::from([entries[0]])).unwrap();
    chart.flush().unwrap();
    snapshot.write_file(&path, &Sealing::To(vault.recipient().unwrap().unwrap()), |_| {}).unwrap();
    let record = chart.record();
    let vault = put_back(&room, &path, &Opening::With(BackupKey::of(&root()))).unwrap();
    let chart = vault.renew(now(), &record, &root()).unwrap();
    assert_eq!(text(&chart, &entries[0]).as_deref(), Some("entry 0"));
    assert_eq!(text(&chart, &entries[1]).as_deref(), Some("entry 1"));
    assert_eq!(chart.store().authors().unwrap().len(), 2);
}
