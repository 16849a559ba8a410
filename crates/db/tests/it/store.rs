use std::collections::BTreeMap;

use db::{Disk, FeedError, Seq};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use redb::Durability;
use tooldb::json::Value;
use tooldb::{
    Claim, Draft, Identity, Key, Kind, Receipt, Record, Rules, Source, Store, UnixMillis, Verified, Write,
};

use crate::temporary::Temporary;
use crate::torn::TornDisk;

const NOW: UnixMillis = UnixMillis(1_795_199_054_474);

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn author() -> Identity {
    Identity::from_seed([1; 32])
}

fn signed(key_text: &str, value: &str, time: i64) -> Record {
    let draft = Draft::plain(key(key_text), Value::parse(value).unwrap());
    draft.sign(UnixMillis(NOW.0 + time), &author())
}

fn verified(record: Record) -> Verified<Record> {
    let now = UnixMillis(NOW.0 + 1_000_000);
    record.verify(&Rules::default(), &Receipt { now, source: Source::Stranger, claim: None }).unwrap()
}

fn put(disk: &mut Disk, key: &str, value: &str, time: i64) -> Record {
    let record = signed(key, value, time);
    disk.write(Write::Plain { record: verified(record.clone()), claim: None, displaced: None }).unwrap();
    record
}

fn value(disk: &Disk, name: &str) -> Option<String> {
    disk.plain(&key(name)).unwrap().map(|record| record.value().to_owned())
}

fn names(keys: &[Key]) -> Vec<&str> {
    keys.iter().map(Key::as_str).collect()
}

#[test]
fn what_was_synced_survives_any_power_cut_and_the_rest_is_there_whole_or_not_at_all() {
    for seed in 0..120 {
        let mut chance = StdRng::seed_from_u64(seed);
        let torn = TornDisk::default();
        let mut disk = Disk::open_backend(torn.clone(), [9; 32]).unwrap();
        let mut written: BTreeMap<String, Vec<(Seq, String)>> = BTreeMap::new();
        for time in 0..chance.random_range(1..60) {
            let name = format!("key {}", chance.random_range(0..8));
            let content = format!("\"{}\"", "x".repeat(chance.random_range(0..3_000)));
            put(&mut disk, &name, &content, time);
            written.entry(name).or_default().push((disk.last(), content));
            if chance.random_bool(0.2) {
                disk.sync().unwrap();
            }
        }
        let durable = disk.durable();
        // A flush that the power cut falls into.
        if let Some(flush) = disk.flush().filter(|_| chance.random_bool(0.5)) {
            drop(flush.run(Durability::None));
        }
        let found = Disk::open_backend(torn.after_power_cut(seed), [8; 32]).unwrap();
        assert!(found.last() >= durable, "seed {seed}");
        for (name, versions) in &written {
            let possible = versions.iter().filter(|(seq, _)| *seq >= durable).map(|(_, text)| text.clone());
            let latest = versions.iter().rev().find(|(seq, _)| *seq <= durable).map(|(_, text)| text.clone());
            let is = value(&found, name);
            assert!(is == latest || possible.map(Some).any(|text| text == is), "seed {seed}: {name}");
        }
    }
}

#[test]
fn reads_see_writes_that_wait_and_writes_that_are_on_their_way() {
    let mut disk = Disk::in_memory().unwrap();
    put(&mut disk, "a", "1", 0);
    let flush = disk.flush().unwrap();
    put(&mut disk, "b", "2", 1);
    put(&mut disk, "a", "3", 2);
    assert_eq!((value(&disk, "a"), value(&disk, "b")), (Some("3".into()), Some("2".into())));
    assert_eq!(names(&disk.keys(&key(""), 9).unwrap()), ["a", "b"]);
    assert_eq!((disk.durable(), disk.last()), (Seq(0), Seq(3)));
    let outcome = flush.run(Durability::Immediate);
    disk.flushed(outcome).unwrap();
    assert_eq!(disk.durable(), Seq(1));
    disk.sync().unwrap();
    assert_eq!((value(&disk, "a"), value(&disk, "b")), (Some("3".into()), Some("2".into())));
    assert_eq!(disk.durable(), Seq(3));
}

#[test]
fn a_failed_flush_loses_nothing_and_later_writes_stay_on_top() {
    let mut disk = Disk::in_memory().unwrap();
    put(&mut disk, "a", "1", 0);
    put(&mut disk, "b", "1", 1);
    drop(disk.flush().unwrap());
    put(&mut disk, "a", "2", 2);
    disk.flushed(Err(redb::Error::Corrupted("the cable".into()))).unwrap_err();
    assert_eq!((value(&disk, "a"), value(&disk, "b")), (Some("2".into()), Some("1".into())));
    disk.sync().unwrap();
    assert_eq!((value(&disk, "a"), value(&disk, "b")), (Some("2".into()), Some("1".into())));
    assert_eq!(disk.author_bytes(&author().address()).unwrap(), disk.size().unwrap().bytes);
    assert_eq!(disk.size().unwrap().records, 2);
}

#[test]
fn keys_are_found_by_their_beginning_in_the_order_of_their_bytes() {
    let mut disk = Disk::in_memory().unwrap();
    for (time, name) in (0..).zip(["b", "a/2", "é", "a/10", "a"]) {
        put(&mut disk, name, "0", time);
        if time == 2 {
            disk.sync().unwrap();
        }
    }
    assert_eq!(names(&disk.keys(&key(""), 9).unwrap()), ["a", "a/10", "a/2", "b", "é"]);
    assert_eq!(names(&disk.keys(&key("a/"), 9).unwrap()), ["a/10", "a/2"]);
    assert_eq!(names(&disk.keys(&key(""), 2).unwrap()), ["a", "a/10"]);
}

#[test]
fn the_change_feed_names_each_key_once_and_a_token_goes_on_where_it_was() {
    let mut disk = Disk::in_memory().unwrap();
    for (time, name) in (0..).zip(["a", "b", "a", "c"]) {
        put(&mut disk, name, "0", time);
        disk.sync().unwrap();
    }
    let first = disk.changes(disk.beginning(), 2).unwrap();
    assert_eq!(names(&first.keys), ["b", "a"]);
    let rest = disk.changes(first.next, 9).unwrap();
    assert_eq!(names(&rest.keys), ["c"]);
    put(&mut disk, "b", "1", 9);
    assert_eq!(disk.changes(rest.next, 9).unwrap().keys, [], "it is not on disk yet");
    disk.sync().unwrap();
    assert_eq!(names(&disk.changes(rest.next, 9).unwrap().keys), ["b"]);
    let token: db::Token = rest.next.to_string().parse().unwrap();
    assert_eq!(token, rest.next);
    let other = Disk::in_memory().unwrap();
    assert!(matches!(other.changes(token, 9), Err(FeedError::Foreign)));
}

#[test]
fn names_keep_their_claims_and_documents_their_parts_over_a_restart() {
    let directory = Temporary::new();
    let path = directory.path().join("store.redb");
    let mut disk = Disk::open(&path, 1 << 20).unwrap();
    let (first, second) = (signed("==name", "1", 0), signed("==name", "2", 5));
    let claim = Claim { record: first.clone(), first_seen: NOW };
    for record in [first.clone(), second.clone()] {
        disk.write(Write::Plain { record: verified(record), claim: Some(claim.clone()), displaced: None })
            .unwrap();
    }
    let part = |text: &str, time| {
        let value = Value::parse(text).unwrap();
        Draft { key: key("map"), value, kind: Kind::Map }.sign(UnixMillis(NOW.0 + time), &author())
    };
    let parts = [part("[1]", 1), part("[2]", 2), part("[3]", 3)];
    for (place, record) in parts.iter().enumerate() {
        let superseded = if place == 2 { vec![parts[0].hash()] } else { Vec::new() };
        let record = verified(record.clone());
        disk.write(Write::Envelope { record, claim: None, superseded }).unwrap();
    }
    disk.sync().unwrap();
    drop(disk);
    let disk = Disk::open(&path, 1 << 20).unwrap();
    assert_eq!(disk.claim(&key("==name")).unwrap(), Some(claim));
    assert_eq!(disk.plain(&key("==name")).unwrap(), Some(second.clone()));
    assert_eq!(disk.envelopes(&key("map")).unwrap(), parts[1..]);
    assert_eq!(disk.records(&key("==name")).unwrap(), [first, second.clone()]);
    let kept = [second.raw(), parts[1].raw(), parts[2].raw()].iter().map(|raw| raw.len() as u64).sum::<u64>();
    assert_eq!(disk.author_bytes(&author().address()).unwrap(), kept);
}

#[test]
fn a_copy_made_in_use_can_be_put_in_the_stores_place() {
    let directory = Temporary::new();
    let (path, copy) = (directory.path().join("store.redb"), directory.path().join("copy.redb"));
    let mut disk = Disk::open(&path, 1 << 20).unwrap();
    put(&mut disk, "before", "1", 0);
    disk.sync().unwrap();
    disk.set_ban("203.0.113.7", db::Ban::Set).unwrap();
    let snapshot = disk.snapshot().unwrap();
    put(&mut disk, "after", "1", 1);
    disk.sync().unwrap();
    assert_eq!(snapshot.write(&copy).unwrap(), 1);
    assert!(matches!(snapshot.write(&copy), Err(db::BackupError::Exists(_))));
    let token = disk.present();
    assert!(db::restore(&copy, &path).is_err(), "the store is in use");
    drop((disk, snapshot));
    let kept = db::restore(&copy, &path).unwrap().unwrap();
    let restored = Disk::open(&path, 1 << 20).unwrap();
    assert_eq!(names(&restored.keys(&key(""), 9).unwrap()), ["before"]);
    assert_eq!(restored.bans().unwrap(), ["203.0.113.7"]);
    assert_eq!(restored.size().unwrap().records, 1);
    assert!(matches!(restored.changes(token, 9), Err(FeedError::Foreign)));
    let before = Disk::open(&kept, 1 << 20).unwrap();
    assert_eq!(names(&before.keys(&key(""), 9).unwrap()), ["after", "before"]);
}
