//! Crashes, damage, and stores that were set back.

use chart::{Event, Message, Reading, Role, Slot, WriteError};

use crate::disk::Disk;
use crate::world::{Place, World, author};

const OWNER: Place = Place(0);

#[test]
fn what_was_acknowledged_survives_every_crash_and_the_log_goes_on_without_a_fork() {
    let mut world = World::found();
    let doctor = world.member(Role::Contributor);
    let mut acknowledged = Vec::new();
    let mut state = 1_u64;
    let mut chance = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for round in 0..50 {
        let id = world.add(OWNER, &format!("safe {round}"));
        world.at(OWNER, |chart, _| chart.flush()).unwrap();
        acknowledged.push((id, format!("safe {round}")));
        for more in 0..chance(4) {
            world.add(OWNER, &format!("lost perhaps {round} {more}"));
        }
        world.crash(OWNER, &mut chance);
    }
    for (id, text) in &acknowledged {
        assert_eq!(world.text(OWNER, id).as_ref(), Some(text));
    }
    world.connect(OWNER, doctor);
    world.settle();
    assert!(world.all_agree());
    assert!(acknowledged.iter().all(|(id, text)| world.text(doctor, id).as_ref() == Some(text)));
}

#[test]
fn a_changed_byte_is_shown_as_damage_and_never_as_a_fact() {
    let mut world = World::found();
    let entry = world.add(OWNER, "allergic to penicillin");
    let author = author(OWNER);
    let height = world.chart(OWNER).header(&entry).unwrap().height;
    for text in ["later", "and later"] {
        world.at(OWNER, |chart, _| chart.flush()).unwrap();
        world.add(OWNER, text);
    }
    world.at(OWNER, |chart, _| chart.flush()).unwrap();
    for slot in [Slot::Content(author, height), Slot::Key(author, height)] {
        let len = world.chart(OWNER).store().values().find(|(at, _)| **at == slot).unwrap().1.len();
        for at in [0, len / 2, len - 1] {
            let record = world.chart(OWNER).record();
            let mut disk = world.charts[0].take().unwrap().into_store();
            let untouched = disk.clone();
            disk.tamper(slot, |value| value[at] ^= 1);
            world.start_from(OWNER, record, disk);
            assert!(matches!(world.chart(OWNER).read(&entry).unwrap(), Reading::Damaged), "{slot:?} {at}");
            assert_eq!(world.chart(OWNER).scrub().unwrap(), [(author, height)]);
            world.start_from(OWNER, record, untouched);
        }
    }
    assert_eq!(world.chart(OWNER).scrub().unwrap(), []);
}

#[test]
fn a_log_whose_end_was_cut_off_or_changed_is_noticed_at_the_start() {
    let mut world = World::found();
    for round in 0..4 {
        world.add(OWNER, &format!("entry {round}"));
        world.at(OWNER, |chart, _| chart.flush()).unwrap();
    }
    let (author, record) = (author(OWNER), world.chart(OWNER).record());
    let len = world.chart(OWNER).height(&author);
    let disk = world.charts[0].take().unwrap().into_store();

    let mut shortened = disk.clone();
    shortened.lose(|slot| matches!(slot, Slot::Header(_, height) if *height + 2 >= len));
    let found = world.start_from(OWNER, record, shortened);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].author, found[0].found), (author, len - 2));

    let mut changed = disk.clone();
    changed.tamper(Slot::Header(author, 2), |header| header[70] ^= 1);
    assert_eq!(world.start_from(OWNER, record, changed)[0].found, 2);
    assert!(world.start_from(OWNER, record, disk).is_empty());
}

/// A store as it was before the last entries, which a peer has.
fn set_back() -> (World, Place, chart::Digest) {
    let mut world = World::found();
    let doctor = world.member(Role::Contributor);
    world.connect(OWNER, doctor);
    world.settle();
    world.at(OWNER, |chart, _| chart.flush()).unwrap();
    let backup: Disk = world.chart(OWNER).store().clone();
    let later = world.add(OWNER, "after the backup");
    world.settle();
    world.cut_all();
    let record = world.chart(OWNER).record();
    world.start_from(OWNER, record, backup);
    assert!(world.chart(OWNER).header(&later).is_none());
    (world, doctor, later)
}

#[test]
fn a_store_that_was_set_back_fetches_its_own_log_before_it_writes() {
    let (mut world, doctor, later) = set_back();
    world.connect(OWNER, doctor);
    // Frame by frame, until the peer has said what it has and not yet sent it.
    let write = |world: &mut World| {
        world.at(OWNER, |chart, now| chart.add(now, chart::Scope::GENERAL, &crate::world::says("too early")))
    };
    while world.chart(OWNER).waiting(chart::LinkId(3)).is_none() {
        assert!(world.carry(1));
    }
    assert!(matches!(write(&mut world), Err(WriteError::Behind)));
    world.settle();
    assert!(world.events.contains(&(OWNER, Event::SetBack)));
    assert_eq!(world.text(OWNER, &later).as_deref(), Some("after the backup"));
    world.add(OWNER, "and on");
    world.settle();
    assert!(world.all_agree());
    assert!(!world.events.iter().any(|(_, event)| matches!(event, Event::Forked(_))));
}

#[test]
fn a_peer_that_claims_more_of_our_log_than_there_is_stops_our_writing_for_ten_seconds_at_most() {
    let mut world = World::found();
    let doctor = world.member(Role::Contributor);
    world.connect(OWNER, doctor);
    world.settle();
    let lie = chart::LogHead { author: author(OWNER), height: 1 << 40, head: chart::Digest([1; 32]) };
    world.inject(doctor, OWNER, Message::Heads(vec![lie]).encode());
    world.settle();
    let write = |world: &mut World| {
        world.at(OWNER, |chart, now| chart.add(now, chart::Scope::GENERAL, &crate::world::says("mine")))
    };
    assert!(matches!(write(&mut world), Err(WriteError::Behind)));
    world.pass(std::time::Duration::from_secs(10));
    write(&mut world).unwrap();
    world.inject(doctor, OWNER, Message::Heads(vec![lie]).encode());
    world.settle();
    write(&mut world).unwrap();
}
