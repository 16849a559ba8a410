//! What members see of each other, and for how long.

use std::collections::BTreeSet;
use std::time::Duration;

use chart::{Bye, Change, Event, History, Reading, Role, Scope, WriteError};

use crate::world::{Place, World, author, says};

const OWNER: Place = Place(0);

#[test]
fn a_member_reads_the_record_and_what_it_writes_reaches_the_owner_while_connected() {
    let mut world = World::found();
    world.add(OWNER, "blood pressure 120/80");
    let doctor = world.member(Role::Contributor);
    world.connect(OWNER, doctor);
    world.settle();
    assert_eq!(world.texts(doctor), BTreeSet::from(["blood pressure 120/80".into()]));

    let note = world.add(doctor, "tension headache");
    world.settle();
    assert_eq!(world.text(OWNER, &note).as_deref(), Some("tension headache"));
    assert_eq!(world.chart(OWNER).header(&note).unwrap().author, author(doctor));
    assert!(world.chart(OWNER).people().all(|person| person.accepted));
    assert!(world.all_agree());
}

#[test]
fn an_amendment_keeps_what_was_there_and_two_at_once_are_both_kept() {
    let mut world = World::found();
    let laptop = world.device();
    world.connect(OWNER, laptop);
    let entry = world.add(OWNER, "ibuprofen 200 mg");
    world.settle();
    world.cut_all();
    world.at(OWNER, |chart, now| chart.change(now, entry, Change::Amendment, &says("400 mg"))).unwrap();
    world.at(laptop, |chart, now| chart.change(now, entry, Change::Amendment, &says("600 mg"))).unwrap();
    world.connect(OWNER, laptop);
    world.settle();
    for place in [OWNER, laptop] {
        assert_eq!(world.texts(place), BTreeSet::from(["400 mg".into(), "600 mg".into()]));
        assert_eq!(world.text(place, &entry).as_deref(), Some("ibuprofen 200 mg"));
    }
    world.at(OWNER, |chart, now| chart.change(now, entry, Change::Modification, &says("500 mg"))).unwrap();
    world.settle();
    assert_eq!(world.texts(laptop), BTreeSet::from(["500 mg".into()]));
}

#[test]
fn after_a_revocation_no_record_byte_reaches_the_member_and_later_entries_use_a_key_it_never_had() {
    let mut world = World::found();
    let doctor = world.member(Role::Contributor);
    let nurse = world.member(Role::Reader);
    world.connect_all();
    world.add(OWNER, "before");
    world.settle();
    let doctors_key = author(doctor);
    world.at(OWNER, |chart, now| chart.revoke(now, doctors_key)).unwrap();
    let after = world.add(OWNER, "after");
    let before = world.received[&doctor];
    world.cut(doctor, nurse);
    world.settle();
    assert_eq!(world.received[&doctor], before + 2, "goodbye is two bytes");
    let closed = Event::Closed { link: chart::LinkId(2), author: Some(author(OWNER)), why: Bye::Revoked };
    assert!(world.events.contains(&(doctor, closed)));
    assert_eq!(world.text(nurse, &after).as_deref(), Some("after"));

    // Even with every byte of the record, what the doctor has opens nothing of the new epoch.
    let frames = everything(&world, nurse);
    let record = world.chart(doctor).record();
    let disk = std::mem::take(&mut world.charts[doctor.0]).unwrap().into_store();
    world.start_from(doctor, record, disk);
    for (signed, content) in frames {
        world.feed(doctor, signed, content);
    }
    assert!(world.chart(doctor).header(&after).is_some());
    assert_eq!(world.chart(doctor).read(&after).unwrap(), Reading::NoKey);

    world.connect(OWNER, doctor);
    world.settle();
    assert!(!world.is_connected(OWNER, doctor), "a revoked member is not talked to");
}

fn everything(world: &World, place: Place) -> Vec<(chart::Signed, Option<Vec<u8>>)> {
    let chart = world.chart(place);
    let logs = chart.authors().flat_map(|author| chart.log(author)).cloned();
    logs.map(|signed| {
        let (author, height) = (signed.header().author, signed.header().height);
        let get = |slot| chart::Archive::get(chart.store(), &slot).unwrap();
        let key = get(chart::Slot::Key(author, height));
        let content = get(chart::Slot::Content(author, height));
        (signed, key.zip(content).map(|(key, content)| [key, content].concat()))
    })
    .collect()
}

#[test]
fn a_member_from_the_grant_on_reads_nothing_of_the_time_before() {
    let mut world = World::found();
    let before = world.add(OWNER, "before");
    let locum = world.newcomer();
    let mut draft = crate::world::draft(locum, Role::Reader);
    draft.history = History::FromGrant;
    world.at(OWNER, |chart, now| chart.grant(now, draft)).unwrap();
    let after = world.add(OWNER, "after");
    world.connect(OWNER, locum);
    world.settle();
    assert_eq!(world.text(locum, &after).as_deref(), Some("after"));
    assert_eq!(world.chart(locum).read(&before).unwrap(), Reading::Missing, "its bytes were not sent");
    for (signed, content) in everything(&world, OWNER) {
        world.feed(locum, signed, content);
    }
    assert_eq!(world.chart(locum).read(&before).unwrap(), Reading::NoKey, "and its key is not known");
}

#[test]
fn a_scope_that_is_not_granted_stays_with_those_who_have_it() {
    let mut world = World::found();
    let doctor = world.member(Role::Contributor);
    let private = Scope::new(3).unwrap();
    let secret = world.at(OWNER, |chart, now| chart.add(now, private, &says("for nobody else"))).unwrap();
    world.connect(OWNER, doctor);
    world.settle();
    assert_eq!(world.chart(doctor).read(&secret).unwrap(), Reading::Missing);
    let refused = world.at(doctor, |chart, now| chart.add(now, private, &says("in the wrong place")));
    assert!(matches!(refused, Err(WriteError::Refused(chart::Refusal::OutOfScope))), "{refused:?}");
}

#[test]
fn two_revocations_at_once_leave_no_key_with_either_of_the_revoked() {
    let mut world = World::found();
    let laptop = world.device();
    let (one, other) = (world.member(Role::Contributor), world.member(Role::Contributor));
    world.connect_all();
    world.settle();
    world.cut_all();
    let keys = [author(one), author(other)];
    world.at(OWNER, |chart, now| chart.revoke(now, keys[0])).unwrap();
    world.at(laptop, |chart, now| chart.revoke(now, keys[1])).unwrap();
    world.connect(OWNER, laptop);
    world.settle();
    let after = world.add(OWNER, "after both");
    world.settle();
    assert_eq!(world.text(laptop, &after).as_deref(), Some("after both"));
    for place in [one, other] {
        for (signed, content) in everything(&world, OWNER) {
            world.feed(place, signed, content);
        }
        assert!(world.chart(place).header(&after).is_some());
        assert_eq!(world.chart(place).read(&after).unwrap(), Reading::NoKey);
    }
}

#[test]
fn a_grant_that_has_run_out_ends_sessions_and_then_the_membership() {
    let mut world = World::found();
    let doctor = world.newcomer();
    let mut draft = crate::world::draft(doctor, Role::Contributor);
    draft.expires = Some(chart::UnixMillis(world.now().wall.0 + 3_600_000));
    world.at(OWNER, |chart, now| chart.grant(now, draft)).unwrap();
    world.connect(OWNER, doctor);
    world.settle();
    let note = world.add(doctor, "in time");
    world.settle();
    world.pass(Duration::from_secs(3_601));
    world.settle();
    assert!(!world.is_connected(OWNER, doctor));
    assert!(world.chart(OWNER).people().all(|person| person.ended.is_some()));
    assert_eq!(world.text(OWNER, &note).as_deref(), Some("in time"));
}

#[test]
fn a_helper_passes_on_what_it_cannot_read() {
    let mut world = World::found();
    let (helper, doctor) = (world.member(Role::Helper), world.member(Role::Contributor));
    let said = world.add(OWNER, "through the helper");
    world.connect(OWNER, helper);
    world.settle();
    world.cut_all();
    assert_eq!(world.chart(helper).read(&said).unwrap(), Reading::NoKey);
    world.connect(helper, doctor);
    world.settle();
    // The doctor knows nobody yet: the owner introduces the helper with the record.
    assert!(!world.is_connected(helper, doctor));
    let helpers_key = author(helper);
    world.at(doctor, |chart, _| chart.introduce(helpers_key));
    world.connect(helper, doctor);
    world.settle();
    assert_eq!(world.text(doctor, &said).as_deref(), Some("through the helper"));
    world.connect_all();
    world.settle();
    assert!(world.all_agree());
}

#[test]
fn erased_contents_are_gone_everywhere_and_do_not_come_back() {
    let mut world = World::found();
    let (doctor, helper) = (world.member(Role::Contributor), world.member(Role::Helper));
    world.connect_all();
    let said = world.add(OWNER, "to be forgotten");
    world.settle();
    world.cut(OWNER, helper);
    world.cut(doctor, helper);
    let kept = everything(&world, helper);
    world.at(OWNER, |chart, now| chart.erase(now, &BTreeSet::from([said]))).unwrap();
    world.connect_all();
    world.settle();
    for (signed, content) in kept {
        world.feed(OWNER, signed, content);
    }
    let place = world.chart(OWNER).header(&said).map(|header| (header.author, header.height)).unwrap();
    for at in [OWNER, doctor, helper] {
        assert_eq!(world.chart(at).read(&said).unwrap(), Reading::Erased);
        let left = world.chart(at).store().values().any(|(slot, _)| {
            *slot == chart::Slot::Key(place.0, place.1) || *slot == chart::Slot::Content(place.0, place.1)
        });
        assert!(!left, "the key of the contents and the contents are destroyed");
    }
}

#[test]
fn a_device_restored_with_the_phrase_reads_everything_and_needs_the_phrase_once() {
    let mut world = World::found();
    let doctor = world.member(Role::Contributor);
    world.connect(OWNER, doctor);
    let said = world.add(OWNER, "before the fire");
    world.settle();
    world.cut_all();
    let restored = world.device();
    let doctors_key = author(doctor);
    world.at(restored, |chart, _| chart.introduce(doctors_key));
    world.connect(restored, doctor);
    world.settle();
    assert_eq!(world.chart(restored).read(&said).unwrap(), Reading::NoKey);
    let root = chart::Root::from_phrase(&world.root.phrase()).unwrap();
    world.at(restored, |chart, now| chart.recover(now, &root)).unwrap();
    assert_eq!(world.text(restored, &said).as_deref(), Some("before the fire"));
    world.at(restored, |chart, _| chart.flush()).unwrap();
    world.crash(restored, |_| 0);
    assert_eq!(world.text(restored, &said).as_deref(), Some("before the fire"));
    let lost = author(OWNER);
    world.at(restored, |chart, now| chart.remove_device(now, &root, lost)).unwrap();
    let after = world.add(restored, "after the fire");
    world.connect(restored, doctor);
    world.settle();
    assert_eq!(world.text(doctor, &after).as_deref(), Some("after the fire"));
}
