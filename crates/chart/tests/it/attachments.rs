//! Files: encrypted, checked by hash, resumed.

use std::collections::BTreeSet;

use chart::{Attachment, AttachmentError, CHUNK_LEN, Event, Reading, Role, Scope, Slot, Statement};

use crate::world::{Place, World, says};

const OWNER: Place = Place(0);

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at * 31 + at / 251) % 256).unwrap()).collect()
}

/// Attaches bytes at a replica, with the entry that tells of them.
fn attach(world: &mut World, place: Place, contents: &[u8]) -> (Attachment, chart::Digest) {
    let attachment = world.at(place, |chart, _| {
        let mut sealer = chart.attach();
        for piece in contents.chunks(100_000) {
            let parts = sealer.push(piece).unwrap();
            chart.store_parts(parts).unwrap();
        }
        let (attachment, parts) = sealer.finish("x-ray.jpg".into(), "image/jpeg".into());
        chart.store_parts(parts).unwrap();
        attachment
    });
    let statement = Statement { attachments: vec![attachment.clone()], ..says("an x-ray") };
    let entry = world.at(place, |chart, now| chart.add(now, Scope::GENERAL, &statement)).unwrap();
    (attachment, entry)
}

fn read(world: &World, place: Place, attachment: &Attachment) -> Result<Vec<u8>, AttachmentError> {
    let mut contents = Vec::new();
    for number in 0.. {
        match world.chart(place).read_chunk(attachment, number)? {
            Some(chunk) => contents.extend(chunk),
            None => break,
        }
    }
    Ok(contents)
}

#[test]
fn a_file_of_any_length_arrives_as_it_was() {
    for len in [0, 1, CHUNK_LEN - 1, CHUNK_LEN, CHUNK_LEN + 1, 3 * CHUNK_LEN + 5] {
        let mut world = World::found();
        let doctor = world.member(Role::Reader);
        let (attachment, entry) = attach(&mut world, OWNER, &bytes(len));
        world.connect(OWNER, doctor);
        world.settle();
        let Reading::Statement(told) = world.chart(doctor).read(&entry).unwrap() else {
            panic!("unreadable")
        };
        assert_eq!(told.attachments, std::slice::from_ref(&attachment));
        assert!(matches!(read(&world, doctor, &attachment), Err(AttachmentError::Missing)));
        world.at(doctor, |chart, _| chart.fetch(&attachment));
        world.settle();
        assert!(world.events.contains(&(doctor, Event::Fetched(attachment.root))));
        assert_eq!(read(&world, doctor, &attachment).unwrap(), bytes(len), "{len}");
    }
}

#[test]
fn a_file_of_more_than_one_page_that_is_cut_off_five_times_goes_on_where_it_was() {
    let mut world = World::found();
    let doctor = world.member(Role::Reader);
    // 1,030 chunks: more than one page names.
    let contents = bytes(1_029 * CHUNK_LEN + 77);
    let (attachment, _) = attach(&mut world, OWNER, &contents);
    world.connect(OWNER, doctor);
    world.settle();
    world.received.clear();
    world.at(doctor, |chart, _| chart.fetch(&attachment));
    for _ in 0..5 {
        world.carry(400);
        world.cut(OWNER, doctor);
        world.connect(OWNER, doctor);
    }
    world.settle();
    assert_eq!(read(&world, doctor, &attachment).unwrap(), contents);
    // Each time at most the parts on their way are lost, 8 of 64 KiB.
    let most = u64::try_from(contents.len() + 5 * 8 * CHUNK_LEN + 300_000).unwrap();
    assert!(world.received[&doctor] < most, "{} of {}", world.received[&doctor], contents.len());
}

#[test]
fn a_part_that_was_changed_on_its_way_or_on_disk_is_never_taken_for_the_true_one() {
    let mut world = World::found();
    let doctor = world.member(Role::Reader);
    let (attachment, _) = attach(&mut world, OWNER, &bytes(2 * CHUNK_LEN));
    world.connect(OWNER, doctor);
    world.settle();
    world.at(doctor, |chart, _| chart.fetch(&attachment));
    assert!(world.carry(1));
    let false_part = chart::Message::Blob { id: attachment.root, bytes: Some(vec![1; 32]) };
    world.inject(OWNER, doctor, false_part.encode());
    world.settle();
    assert!(!world.is_connected(OWNER, doctor));
    world.connect(OWNER, doctor);
    world.settle();
    assert_eq!(read(&world, doctor, &attachment).unwrap(), bytes(2 * CHUNK_LEN));

    let chunk = world
        .chart(doctor)
        .store()
        .values()
        .find(|(slot, value)| matches!(slot, Slot::Blob(_)) && value.len() == CHUNK_LEN + 16);
    let slot = *chunk.unwrap().0;
    let record = world.chart(doctor).record();
    let mut disk = world.charts[doctor.0].take().unwrap().into_store();
    disk.tamper(slot, |value| value[9] ^= 1);
    world.start_from(doctor, record, disk);
    assert!(matches!(read(&world, doctor, &attachment), Err(AttachmentError::Damaged)));
}

#[test]
fn erasing_an_entry_removes_its_files() {
    let mut world = World::found();
    let doctor = world.member(Role::Reader);
    let (attachment, entry) = attach(&mut world, OWNER, &bytes(3 * CHUNK_LEN));
    world.connect(OWNER, doctor);
    world.settle();
    world.at(doctor, |chart, _| chart.fetch(&attachment));
    world.settle();
    world.at(OWNER, |chart, now| chart.erase(now, &BTreeSet::from([entry]))).unwrap();
    world.settle();
    for place in [OWNER, doctor] {
        assert!(
            world.chart(place).store().values().all(|(slot, _)| !matches!(slot, Slot::Blob(_))),
            "{place:?}"
        );
    }
}

#[test]
fn nothing_of_a_file_is_stored_in_the_clear() {
    let mut world = World::found();
    let sentinel = b"sentinel sentinel sentinel";
    attach(&mut world, OWNER, &sentinel.repeat(5_000));
    world.add(OWNER, "sentinel sentinel sentinel");
    for (slot, value) in world.chart(OWNER).store().values() {
        assert!(value.windows(8).all(|window| window != b"sentinel"), "{slot:?}");
    }
}
