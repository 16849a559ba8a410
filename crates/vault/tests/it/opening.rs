//! Making, opening and closing.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use chart::Reading;
use vault::{OpenError, Passphrase, Vault, VaultError};

use crate::world::{CHEAP, Room, add, now, passphrase, root, text};

#[test]
fn what_was_written_is_there_after_closing_and_opening() {
    let room = Room::new();
    let mut vault = room.create();
    let mut chart = vault.found(now(), &root()).unwrap();
    let record = chart.record();
    let ids: Vec<_> = (0..50).map(|n| add(&mut chart, &format!("entry {n}"))).collect();
    let state = chart.state();
    drop((chart, vault));

    let vault = room.open();
    assert_eq!(vault.records().collect::<Vec<_>>(), [&record]);
    let (chart, cut_off) = vault.chart(&record).unwrap();
    assert_eq!((cut_off, chart.state()), (Vec::new(), state));
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(text(&chart, id), Some(format!("entry {n}")));
    }
    assert_eq!(chart.scrub().unwrap(), []);
    assert!(matches!(chart.read(&chart.state()), Ok(Reading::Missing)));
}

#[test]
fn a_wrong_passphrase_opens_nothing_and_a_changed_one_opens_alone() {
    let room = Room::new();
    let mut vault = room.create();
    let other = Passphrase::new("another".into());
    let wrong = vault.change_passphrase(&other, &other, CHEAP);
    assert!(matches!(wrong, Err(VaultError::WrongPassphrase)));
    vault.set_note("profile", Some(b"Martha")).unwrap();
    vault.change_passphrase(&passphrase(), &other, CHEAP).unwrap();
    drop(vault);
    assert!(matches!(Vault::open(&room.vault(), &passphrase()), Err(VaultError::WrongPassphrase)));
    let vault = Vault::open(&room.vault(), &other).unwrap();
    assert_eq!(vault.note("profile").unwrap().unwrap().as_slice(), b"Martha");
}

#[test]
fn only_the_owner_may_touch_any_file_and_a_vault_that_others_may_read_is_refused() {
    let room = Room::new();
    let mut vault = room.create();
    drop(vault.found(now(), &root()).unwrap());
    drop(vault);
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&room.vault()), 0o700);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(room.vault()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        names.push(path.file_name().unwrap().to_str().unwrap().to_owned());
    }
    names.sort();
    assert_eq!(names.len(), 4);
    assert_eq!(&names[1..], ["key", "lock", "store"]);
    for name in &names {
        let path = room.vault().join(name);
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let opened = Vault::open(&room.vault(), &passphrase())
            .map(|vault| vault.chart(&root_record(&vault)).map(drop));
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        if name != "lock" {
            let refused = match opened {
                Err(VaultError::Exposed { mode, .. })
                | Ok(Err(OpenError::Vault(VaultError::Exposed { mode, .. }))) => mode,
                other => panic!("{name}: {other:?}"),
            };
            assert_eq!(refused, 0o640);
        }
    }
    std::fs::set_permissions(room.vault(), Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(Vault::open(&room.vault(), &passphrase()), Err(VaultError::Exposed { .. })));
}

fn root_record(vault: &Vault) -> chart::RecordId {
    *vault.records().next().unwrap()
}

#[test]
fn a_second_opener_is_told_who_has_the_vault_and_a_record_is_opened_once() {
    let room = Room::new();
    let mut vault = room.create();
    let chart = vault.found(now(), &root()).unwrap();
    let record = chart.record();
    let refused = Vault::open(&room.vault(), &passphrase()).unwrap_err();
    let expected = format!("process {} has {} open", std::process::id(), room.vault().display());
    assert_eq!(refused.to_string(), expected);
    assert!(matches!(vault.chart(&record), Err(OpenError::Vault(VaultError::RecordInUse))));
    drop(chart);
    assert!(vault.chart(&record).is_ok());
    // What a shelf writes to is still held.
    let (chart, _) = vault.chart(&record).unwrap();
    drop(vault);
    assert!(matches!(Vault::open(&room.vault(), &passphrase()), Err(VaultError::InUse { .. })));
    drop(chart);
    room.open();
}

#[test]
fn a_vault_is_made_in_no_directory_that_holds_anything() {
    let room = Room::new();
    drop(room.create());
    let again = Vault::create(&room.vault(), &passphrase(), CHEAP);
    assert!(matches!(again, Err(VaultError::Occupied(_))));
    std::fs::write(room.path().join("letter"), "dear").unwrap();
    std::fs::set_permissions(room.path(), Permissions::from_mode(0o700)).unwrap();
    assert!(matches!(Vault::create(room.path(), &passphrase(), CHEAP), Err(VaultError::Occupied(_))));
    assert!(matches!(Vault::open(room.path(), &passphrase()), Err(VaultError::Missing(_))));
}

#[test]
fn a_key_file_that_was_torn_or_changed_is_told_from_a_wrong_passphrase_and_left_alone() {
    let room = Room::new();
    drop(room.create());
    let path = room.vault().join("key");
    let whole = std::fs::read(&path).unwrap();
    let opened = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let opened = Vault::open(&room.vault(), &passphrase());
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        opened
    };
    for len in 0..whole.len() {
        assert!(matches!(opened(&whole[..len]), Err(VaultError::Damaged(_))), "{len}");
    }
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        let refused = opened(&changed).unwrap_err();
        let is_version = at == 16 && matches!(refused, VaultError::UnknownVersion { version: 0, .. });
        assert!(is_version || matches!(refused, VaultError::Damaged(_)), "{at}: {refused}");
    }
    assert!(matches!(opened(&[&whole[..], b"x"].concat()), Err(VaultError::Damaged(_))));
    assert!(opened(&whole).is_ok());
}

#[test]
fn a_later_version_is_refused_and_nothing_is_touched() {
    let room = Room::new();
    let mut vault = room.create();
    let record = vault.found(now(), &root()).unwrap().record();
    drop(vault);
    let all = || {
        let entries = std::fs::read_dir(room.vault()).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect::<BTreeMap<_, _>>()
    };
    let key = room.vault().join("key");
    let before = std::fs::read(&key).unwrap();
    // A later version may be longer, and have another check.
    let later = [&before[..16], &[2], &before[17..], b"and something more that is unheard of"].concat();
    std::fs::write(&key, &later).unwrap();
    let files = all();
    let refused = Vault::open(&room.vault(), &passphrase()).unwrap_err();
    assert!(matches!(refused, VaultError::UnknownVersion { version: 2, .. }), "{refused}");
    assert!(matches!(Vault::create(&room.vault(), &passphrase(), CHEAP), Err(VaultError::Occupied(_))));
    assert_eq!(all().iter().filter(|(path, _)| !path.ends_with("lock")).count(), 3);
    assert!(all().iter().all(|(path, bytes)| path.ends_with("lock") || files[path] == *bytes));

    std::fs::write(&key, &before).unwrap();
    let keys = files.keys().find(|path| path.extension().is_some_and(|it| it == "keys")).unwrap();
    let mut later = std::fs::read(keys).unwrap();
    later[0] = 2;
    std::fs::write(keys, &later).unwrap();
    let opened = Vault::open(&room.vault(), &passphrase()).map(|vault| vault.chart(&record).map(drop));
    assert!(matches!(opened, Err(VaultError::UnknownVersion { version: 2, .. })));
    assert_eq!(std::fs::read(keys).unwrap(), later);
}

#[test]
fn a_change_of_the_passphrase_that_stops_anywhere_leaves_one_that_opens() {
    let room = Room::new();
    let mut vault = room.create();
    let other = Passphrase::new("another".into());
    let key = room.vault().join("key");
    let before = std::fs::read(&key).unwrap();
    vault.change_passphrase(&passphrase(), &other, CHEAP).unwrap();
    let after = std::fs::read(&key).unwrap();
    drop(vault);
    assert_eq!(std::fs::read_dir(room.vault()).unwrap().count(), 3);
    // Before the rename: the file beside has come to any length.
    for len in (0..=after.len()).step_by(7) {
        std::fs::write(&key, &before).unwrap();
        std::fs::write(room.vault().join("key.new"), &after[..len]).unwrap();
        let mut vault = room.open();
        vault.change_passphrase(&passphrase(), &other, CHEAP).unwrap();
        drop(vault);
        assert!(Vault::open(&room.vault(), &other).is_ok());
        assert!(!room.vault().join("key.new").exists());
    }
}

#[test]
fn a_vault_that_was_not_finished_is_none() {
    let room = Room::new();
    drop(room.create());
    std::fs::remove_file(room.vault().join("key")).unwrap();
    assert!(!Vault::is_in(&room.vault()));
    assert!(matches!(Vault::open(&room.vault(), &passphrase()), Err(VaultError::Missing(_))));
}
