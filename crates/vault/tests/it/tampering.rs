//! Values that were changed or moved behind the vault's back, and vaults that were set back.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use chart::{
    Channel, Chart, Event, GrantDraft, History, LinkId, Private, Reading, Role, Scope, Secret, Side,
};
use vault::{Shelf, Standing, Vault};

use crate::reader::{RecordKeys, keys};
use crate::world::{Room, add, now, passphrase, root, text};

const PASSPHRASE: &[u8] = b"correct horse battery staple";

/// Changes a table of a record.
fn tamper(
    directory: &Path,
    keys: &RecordKeys,
    number: u8,
    change: impl FnOnce(&mut Vec<([u8; 16], Vec<u8>)>),
) {
    let mut items = crate::reader::table(directory, keys, number);
    change(&mut items);
    let database = redb::Database::open(directory.join("store")).unwrap();
    let transaction = database.begin_write().unwrap();
    {
        let name = format!("{}.{number}", keys.stem());
        let mut table = transaction.open_table(redb::TableDefinition::<[u8; 16], &[u8]>::new(&name)).unwrap();
        for (key, value) in items {
            table.insert(key, value.as_slice()).unwrap();
        }
    }
    transaction.commit().unwrap();
}

#[test]
fn two_values_that_were_swapped_are_damage_and_never_facts() {
    let room = Room::new();
    let mut vault = room.create();
    let mut chart = vault.found(now(), &root()).unwrap();
    let record = chart.record();
    let ids = ["take one a day", "take ten a day"].map(|text| add(&mut chart, text));
    drop((chart, vault));
    let keys = keys(&room.vault(), PASSPHRASE);
    let untouched = fs::read(room.vault().join("store")).unwrap();
    // Keys of contents and contents together, as somebody would do who wants one entry to say what the other says.
    for numbers in [&[2_u8][..], &[3], &[2, 3]] {
        for number in numbers {
            tamper(&room.vault(), &keys.records[0], *number, |items| {
                assert_eq!(items.len(), 2);
                let (one, other) = items.split_at_mut(1);
                std::mem::swap(&mut one[0].1, &mut other[0].1);
            });
        }
        let vault = room.open();
        let (chart, _) = vault.chart(&record).unwrap();
        for id in &ids {
            assert!(matches!(chart.read(id).unwrap(), Reading::Missing), "{numbers:?}");
        }
        drop((chart, vault));
        fs::write(room.vault().join("store"), &untouched).unwrap();
    }
    let vault = room.open();
    let (chart, _) = vault.chart(&record).unwrap();
    assert_eq!(text(&chart, &ids[0]).as_deref(), Some("take one a day"));
}

#[test]
fn a_store_of_another_vault_is_refused() {
    let (room, other) = (Room::new(), Room::new());
    drop((room.create(), other.create()));
    fs::copy(other.vault().join("store"), room.vault().join("store")).unwrap();
    assert!(Vault::open(&room.vault(), &passphrase()).is_err());
}

#[test]
fn nothing_that_was_said_or_noted_lies_on_the_disk_in_the_clear() {
    let room = Room::new();
    let mut vault = room.create();
    let mut chart = vault.found(now(), &root()).unwrap();
    add(&mut chart, "sentinel sentinel sentinel");
    vault.set_note("sentinel", Some(b"sentinel sentinel")).unwrap();
    let (record, author) = (chart.record(), chart.author());
    let mut sealer = chart.attach();
    chart.store_parts(sealer.push(&b"sentinel".repeat(20_000)).unwrap()).unwrap();
    chart.store_parts(sealer.finish("sentinel.txt".into(), "text/sentinel".into()).1).unwrap();
    chart.flush().unwrap();
    for entry in fs::read_dir(room.vault()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        for secret in [&b"sentinel"[..], &record.0, &author.0, &root().public().0] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{}", path.display());
        }
    }
}

/// Carries frames between two replicas until neither has anything to say; what the first one tells.
fn talk(one: &mut Chart<Shelf>, other: &mut Chart<Shelf>, link: u8) -> Vec<Event> {
    let (id, binding) = (LinkId(link.into()), [link; 32]);
    one.open_link(now(), id, Channel { binding, side: Side::Dialer }).unwrap();
    other.open_link(now(), id, Channel { binding, side: Side::Listener }).unwrap();
    loop {
        let mut quiet = true;
        while let Some(frame) = one.poll_transmit(now(), id).unwrap() {
            quiet = false;
            other.handle_frame(now(), id, &frame).unwrap();
        }
        while let Some(frame) = other.poll_transmit(now(), id).unwrap() {
            quiet = false;
            one.handle_frame(now(), id, &frame).unwrap();
        }
        if quiet {
            break;
        }
    }
    one.close_link(id);
    other.close_link(id);
    std::iter::from_fn(|| one.poll_event()).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

#[test]
fn a_directory_that_was_set_back_notices_at_the_next_contact_and_its_log_goes_on_without_a_fork() {
    let (mine, theirs, aside) = (Room::new(), Room::new(), Room::new());
    let mut vault = mine.create();
    let mut chart = vault.found(now(), &root()).unwrap();
    let record = chart.record();
    let mut other_vault = theirs.create();
    let mut doctor = other_vault.join(record, Secret::new([5; 32]), Standing::Member).unwrap();
    let identity = chart::Identity::from_seed(&Secret::new([5; 32]));
    let draft = GrantDraft {
        grantee: identity.author(),
        seal: identity.seal_key(),
        name: Private("Dr Smith".into()),
        role: Role::Contributor,
        history: History::Whole,
        scopes: [Scope::GENERAL].into(),
        expires: None,
        quota: 1 << 30,
        invitation: None,
    };
    chart.grant(now(), draft).unwrap();
    talk(&mut chart, &mut doctor, 1);
    drop((chart, vault));
    copy(&mine.vault(), &aside.vault());

    let vault = mine.open();
    let (mut chart, _) = vault.chart(&record).unwrap();
    let later = add(&mut chart, "after the copy");
    assert!(!talk(&mut chart, &mut doctor, 2).contains(&Event::SetBack));
    drop((chart, vault));
    fs::remove_dir_all(mine.vault()).unwrap();
    copy(&aside.vault(), &mine.vault());
    fs::set_permissions(mine.vault(), fs::Permissions::from_mode(0o700)).unwrap();

    let vault = mine.open();
    let (mut chart, cut_off) = vault.chart(&record).unwrap();
    assert_eq!((cut_off, text(&chart, &later)), (Vec::new(), None), "alone it cannot know");
    assert!(talk(&mut chart, &mut doctor, 3).contains(&Event::SetBack));
    assert_eq!(text(&chart, &later).as_deref(), Some("after the copy"));
    let on = add(&mut chart, "and on");
    talk(&mut chart, &mut doctor, 4);
    assert_eq!(text(&doctor, &on).as_deref(), Some("and on"));
    assert_eq!((doctor.state(), doctor.forks().count()), (chart.state(), 0));
}
