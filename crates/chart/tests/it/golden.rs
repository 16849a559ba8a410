//! Files made once and kept for ever: what was written reads back, byte for byte, whatever the program learns since.
//!
//! `docs/format/chart.md` decodes `headers-1.bin` by hand. To add files for a later version of the format, run this test
//! with `HOMING_GOLDEN=write` once; files that exist are never written again.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use chart::{
    Act, Audit, Change, DecodeError, Genesis, Identity, Invitation, Message, Piece, Role, Root, Scope,
    Secret, Signed, Statement,
};

use crate::world::{Place, World, author, says};

const OWNER: Place = Place(0);

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Reads a file, after writing it if it does not exist and that was asked for.
fn kept(name: &str, make: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
    let path = golden(name);
    if !path.exists() && std::env::var("HOMING_GOLDEN").is_ok_and(|how| how == "write") {
        fs::write(&path, make()).unwrap();
    }
    fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A record in which every operation stands at least once.
fn record() -> World {
    let mut world = World::found();
    let doctor = world.member(Role::Contributor);
    let laptop = world.device();
    world.connect(OWNER, doctor);
    world.connect(OWNER, laptop);
    let entry = world.add(OWNER, "{\"resourceType\":\"Patient\"}");
    world.settle();
    let note = world.add(doctor, "note");
    world
        .at(doctor, |chart, now| chart.change(now, note, Change::Amendment, &says("note, amended")))
        .unwrap();
    world.at(doctor, |chart, now| chart.change(now, entry, Change::Attestation, &says("seen"))).unwrap();
    world.at(OWNER, |chart, now| chart.note(now, Audit { act: Act::Export, about: None })).unwrap();
    world.settle();
    world.at(OWNER, |chart, now| chart.erase(now, &BTreeSet::from([note]))).unwrap();
    let (doctors, laptops, root) = (author(doctor), author(laptop), root());
    world.at(OWNER, |chart, now| chart.revoke(now, doctors)).unwrap();
    world.at(OWNER, |chart, now| chart.remove_device(now, &root, laptops)).unwrap();
    world.settle();
    world
}

fn root() -> Root {
    Root::from_bytes(crate::world::secret(0, 200))
}

/// Every header of the record, each after its length in two bytes, low byte first.
fn headers(world: &World) -> Vec<u8> {
    let chart = world.chart(OWNER);
    let headers = chart.authors().flat_map(|author| chart.log(author));
    let framed = headers.map(|signed| {
        let bytes = signed.encode();
        [&u16::try_from(bytes.len()).unwrap().to_le_bytes()[..], &bytes].concat()
    });
    framed.collect::<Vec<_>>().concat()
}

fn unframed(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk::<2>() {
        let (frame, rest) = rest.split_at(usize::from(u16::from_le_bytes(*len)));
        frames.push(frame);
        bytes = rest;
    }
    frames
}

#[test]
fn headers_of_the_first_version_read_back_and_verify() {
    let bytes = kept("headers-1.bin", || headers(&record()));
    let mut kinds = HashSet::new();
    for frame in unframed(&bytes) {
        let signed = Signed::decode(frame).unwrap();
        assert_eq!(signed.encode(), frame);
        assert_eq!(signed.verify(), Ok(()));
        kinds.insert(std::mem::discriminant(&signed.header().operation));
    }
    assert_eq!(kinds.len(), 10, "every kind of operation is kept");
}

#[test]
fn a_record_of_the_first_version_is_understood_as_it_was() {
    let bytes = kept("headers-1.bin", || headers(&record()));
    let signed: Vec<Signed> =
        unframed(&bytes).into_iter().map(|frame| Signed::decode(frame).unwrap()).collect();
    let genesis = signed.iter().find_map(|signed| match signed.header().operation {
        chart::Operation::Enrol(genesis, _) => Some(genesis),
        _ => None,
    });
    let genesis = genesis.unwrap();
    let name = kept("record-1.txt", || genesis.record().to_string().into_bytes());
    assert_eq!(genesis.record().to_string().as_bytes(), name);
    let mut world = World::found();
    assert_eq!(world.chart(OWNER).record(), genesis.record(), "the same seeds found the same record");
    let reader = (0..4).map(|_| world.newcomer()).last().unwrap();
    // Members' logs are taken in once the owner's say who they are.
    for signed in signed.iter().chain(&signed) {
        world.feed(reader, signed.clone(), None);
    }
    let chart = world.chart(reader);
    let member = chart.people().next().unwrap();
    assert!(member.accepted && member.ended.is_some());
    assert_eq!(chart.entries().count(), 2);
    assert_eq!(chart.devices().count(), 1);
    assert_eq!(chart.refused().count(), 0);
}

#[test]
fn every_other_format_of_the_first_version_reads_back() {
    let root = root();
    let genesis =
        kept("genesis-1.bin", || root.found(chart::UnixMillis(1_795_564_800_000), [7; 16]).encode());
    assert_eq!(Genesis::decode(&genesis).unwrap().encode(), genesis);

    let statement = kept("statement-1.bin", || {
        let mut world = World::found();
        let attached =
            world.at(OWNER, |chart, _| chart.attach().finish("x-ray.jpg".into(), "image/jpeg".into())).0;
        Statement { attachments: vec![attached], ..says("{\"resourceType\":\"Patient\"}") }.encode()
    });
    let read = Statement::decode(&statement).unwrap();
    assert_eq!(read.encode(), statement);
    assert_eq!(read.body.0, b"{\"resourceType\":\"Patient\"}");

    let batch = kept("batch-1.bin", || {
        let world = record();
        let chart = world.chart(OWNER);
        let author = chart.author();
        let signed = chart.log(&author).take(3).cloned();
        let pieces = signed.map(|signed| Piece { signed, content: Some(vec![1, 2, 3]) });
        Message::Batch(pieces.collect()).encode()
    });
    assert_eq!(Message::decode(&batch).unwrap().encode(), batch);

    let invitation = kept("invitation-1.txt", || {
        let mut world = World::found();
        let invited = crate::pairing::invited("Dr Smith");
        world.at(OWNER, |chart, now| chart.invite(now, invited, 60)).unwrap().text().into_bytes()
    });
    let invitation = String::from_utf8(invitation).unwrap();
    assert_eq!(Invitation::parse(&invitation).unwrap().text(), invitation);
}

#[test]
fn a_later_version_is_refused_and_not_guessed_at() {
    let bytes = kept("headers-1.bin", || headers(&record()));
    let mut later = unframed(&bytes)[0].to_vec();
    later[0] = 2;
    assert_eq!(Signed::decode(&later), Err(DecodeError::UnknownVersion(2)));
    let mut later = fs::read(golden("genesis-1.bin")).unwrap();
    later[0] = 9;
    assert_eq!(Genesis::decode(&later), Err(DecodeError::UnknownVersion(9)));
    let mut later = fs::read(golden("statement-1.bin")).unwrap();
    later[0] = 0;
    assert_eq!(Statement::decode(&later), Err(DecodeError::UnknownVersion(0)));
}

#[test]
fn keys_come_from_seeds_as_they_did() {
    let identity = Identity::from_seed(&Secret::new([1; 32]));
    let lines = format!("{}\n{}\n{}\n", identity.author(), identity.seal_key(), root().public());
    let golden = kept("keys-1.txt", || lines.clone().into_bytes());
    assert_eq!(String::from_utf8(golden).unwrap(), lines);
    assert_eq!(Scope::GENERAL.number(), 0);
}
