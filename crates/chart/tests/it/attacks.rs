//! What an invited provider could do to the patient in the original, row by row, and what comes of it here: nothing,
//! and a refusal that names the key. `pairing.rs` has the rows about invitations.

use std::collections::BTreeSet;

use chart::{
    AuthorKey, Bye, Change, Cut, Digest, Event, Grant, Header, History, Hlc, Intake, Message, Operation,
    Piece, Refusal, Revocation, Role, Root, Scope, Secret,
};

use crate::forge::{act, next, send, version};
use crate::world::{Place, World, author, identity, says, seal};

const OWNER: Place = Place(0);

struct Scene {
    world: World,
    doctor: Place,
    /// The patient's own entry.
    entry: Digest,
}

fn scene() -> Scene {
    let mut world = World::found();
    let doctor = world.member(Role::Contributor);
    world.connect(OWNER, doctor);
    let entry = world.add(OWNER, "allergic to penicillin");
    world.settle();
    world.events.clear();
    Scene { world, doctor, entry }
}

impl Scene {
    fn refused(&self, why: Refusal) -> bool {
        let doctor = author(self.doctor);
        let listed =
            self.world.chart(OWNER).refused().any(|refused| (refused.author, refused.why) == (doctor, why));
        let told = self.world.events.iter().any(|(at, event)| {
            *at == OWNER
                && matches!(event, Event::Refused(refused) if (refused.author, refused.why) == (doctor, why))
        });
        listed && told
    }

    fn is_untouched(&self) -> bool {
        self.world.text(OWNER, &self.entry).as_deref() == Some("allergic to penicillin")
            && self.world.chart(OWNER).entry(&self.entry).unwrap().heads().collect::<Vec<_>>() == [self.entry]
            && self.world.chart(OWNER).is_owner()
    }
}

#[test]
fn a_provider_cannot_overwrite_the_patients_entry() {
    let mut it = scene();
    let amendment = version(Change::Amendment, Some(it.entry), vec![it.entry]);
    act(&mut it.world, it.doctor, OWNER, amendment);
    assert!(it.refused(Refusal::NotYours) && it.is_untouched());
    let own =
        it.world.at(it.doctor, |chart, now| chart.change(now, it.entry, Change::Amendment, &says("none")));
    assert!(matches!(own, Err(chart::WriteError::Refused(Refusal::NotYours))), "{own:?}");
}

#[test]
fn a_provider_cannot_retract_the_patients_entry() {
    let mut it = scene();
    act(&mut it.world, it.doctor, OWNER, version(Change::Retraction, Some(it.entry), vec![it.entry]));
    assert!(it.refused(Refusal::NotYours) && it.is_untouched());
}

#[test]
fn a_provider_cannot_erase_the_patients_entry() {
    let mut it = scene();
    act(&mut it.world, it.doctor, OWNER, Operation::Erase(vec![it.entry]));
    assert!(it.refused(Refusal::NotOwner) && it.is_untouched());
}

#[test]
fn a_provider_cannot_write_as_the_patient() {
    let mut it = scene();
    let patient = author(OWNER);
    let forged =
        Header { author: patient, ..next(&it.world, OWNER, OWNER, version(Change::Creation, None, vec![])) };
    let before = it.world.chart(OWNER).height(&patient);
    let signed = forged.sign(&identity(it.doctor));
    send(&mut it.world, it.doctor, OWNER, signed);
    assert_eq!(it.world.chart(OWNER).height(&patient), before);
    let doctor = author(it.doctor);
    let told = Event::TurnedAway { via: doctor, author: patient, why: Intake::BadSignature };
    assert!(it.world.events.contains(&(OWNER, told)) && it.is_untouched());
    assert!(!it.world.is_connected(OWNER, it.doctor), "who forges is not talked to");
}

#[test]
fn a_provider_cannot_evict_the_patient() {
    let mut it = scene();
    let revocation = Revocation { author: author(OWNER), cut: Cut { height: 0, head: Digest::ZERO } };
    act(&mut it.world, it.doctor, OWNER, Operation::Revoke(revocation));
    assert!(it.refused(Refusal::OwnerStays) && it.is_untouched());
    it.world.add(OWNER, "still writing");
}

#[test]
fn a_provider_cannot_remove_the_patients_device_without_the_root_key() {
    let mut it = scene();
    let false_root = Root::from_bytes(Secret::new([66; 32]));
    let record = it.world.chart(OWNER).record();
    let cut = Cut { height: 0, head: Digest::ZERO };
    let removal = false_root.remove(record, author(OWNER), cut);
    act(&mut it.world, it.doctor, OWNER, Operation::Remove(removal));
    assert!(it.refused(Refusal::NotRoot) && it.is_untouched());
}

#[test]
fn a_provider_cannot_make_itself_an_owner() {
    let mut it = scene();
    let false_root = Root::from_bytes(Secret::new([66; 32]));
    let (record, genesis) = (it.world.chart(OWNER).record(), *it.world.chart(OWNER).genesis().unwrap());
    let certificate = false_root.certify(record, author(it.doctor), seal(it.doctor));
    act(&mut it.world, it.doctor, OWNER, Operation::Enrol(genesis, certificate));
    assert!(it.refused(Refusal::NotRoot) && it.is_untouched());
    assert_eq!(it.world.chart(OWNER).devices().count(), 1);
}

fn grant(to: AuthorKey, it: &Scene) -> Operation {
    Operation::Grant(Grant {
        grantee: to,
        seal: seal(it.doctor),
        role: Role::Contributor,
        history: History::Whole,
        scopes: vec![Scope::GENERAL],
        expires: None,
        quota: 1 << 40,
        invitation: None,
    })
}

#[test]
fn a_provider_cannot_invite_others() {
    let mut it = scene();
    let grant = grant(AuthorKey([9; 32]), &it);
    act(&mut it.world, it.doctor, OWNER, grant);
    assert!(it.refused(Refusal::NotOwner) && it.is_untouched());
    assert_eq!(it.world.chart(OWNER).people().count(), 1);
}

#[test]
fn the_patient_can_remove_a_provider_for_good() {
    let mut it = scene();
    let doctor = author(it.doctor);
    it.world.at(OWNER, |chart, now| chart.revoke(now, doctor)).unwrap();
    it.world.settle();
    assert!(!it.world.is_connected(OWNER, it.doctor));
    let again = crate::world::draft(it.doctor, Role::Contributor);
    let again = it.world.at(OWNER, |chart, now| chart.grant(now, again));
    assert!(matches!(again, Err(chart::WriteError::Ended)), "a key that was revoked stays so: {again:?}");
}

#[test]
fn a_reader_cannot_write() {
    let mut it = scene();
    it.doctor = it.world.member(Role::Reader);
    it.world.connect(OWNER, it.doctor);
    it.world.settle();
    act(&mut it.world, it.doctor, OWNER, version(Change::Creation, None, vec![]));
    assert!(it.refused(Refusal::ReadOnly) && it.is_untouched());
}

#[test]
fn a_stranger_is_turned_away_before_anything_is_said() {
    let mut it = scene();
    let stranger = it.world.newcomer();
    it.world.connect(OWNER, stranger);
    it.world.settle();
    assert!(!it.world.is_connected(OWNER, stranger));
    let key = author(stranger);
    let told = it.world.events.iter().any(|(at, event)| {
        let Event::Closed { author, why, .. } = event else { return false };
        *at == OWNER && *author == Some(key) && *why == Bye::Stranger
    });
    assert!(told);
    assert_eq!(it.world.chart(stranger).authors().count(), 0, "not one header reached it");
}

#[test]
fn what_is_dated_back_behind_a_revocation_is_set_apart_on_every_replica() {
    let mut it = scene();
    let laptop = it.world.device();
    it.world.connect(OWNER, laptop);
    it.world.settle();
    it.world.connect(it.doctor, laptop);
    it.world.settle();
    it.world.cut(OWNER, laptop);
    let doctor = author(it.doctor);
    it.world.at(OWNER, |chart, now| chart.revoke(now, doctor)).unwrap();
    it.world.settle();
    // The laptop has not heard of it, and takes what the doctor dates a day back.
    let mut late = next(&it.world, it.doctor, laptop, version(Change::Creation, None, vec![]));
    late.wall = chart::UnixMillis(late.wall.0 - 86_400_000);
    let late = late.sign(&identity(it.doctor));
    let id = late.id();
    send(&mut it.world, it.doctor, laptop, late);
    assert!(it.world.chart(laptop).entry(&id).is_some());
    it.world.connect(OWNER, laptop);
    it.world.settle();
    for place in [OWNER, laptop] {
        assert!(it.world.chart(place).entry(&id).is_none());
        let apart = it
            .world
            .chart(place)
            .refused()
            .any(|refused| (refused.id, refused.why) == (id, Refusal::Revoked));
        assert!(apart, "{place:?} shows it as refused");
    }
    assert_eq!(it.world.chart(OWNER).state(), it.world.chart(laptop).state());
    assert!(!it.world.is_connected(it.doctor, laptop), "and the laptop ends the session when it hears");
}

#[test]
fn an_author_that_signs_two_headers_of_one_height_is_revoked_and_the_owners_branch_stays() {
    let mut it = scene();
    let nurse = it.world.member(Role::Reader);
    let note = it.world.add(it.doctor, "what the doctor wrote");
    it.world.connect(OWNER, nurse);
    it.world.settle();
    it.world.add(it.doctor, "and went on");
    it.world.settle();
    let doctor = author(it.doctor);
    let first = it.world.chart(OWNER).log(&doctor).nth(1).unwrap().header().clone();
    assert_eq!(it.world.chart(OWNER).log(&doctor).nth(1).unwrap().id(), note);
    let other = Header { operation: version(Change::Creation, None, vec![]), content: None, ..first };
    let other = other.sign(&identity(it.doctor));
    send(&mut it.world, it.doctor, OWNER, other);
    for place in [OWNER, nurse] {
        assert!(it.world.texts(place).contains("what the doctor wrote"), "{place:?}");
        assert!(it.world.texts(place).contains("and went on"), "{place:?}");
    }
    assert!(it.world.events.iter().any(|(at, event)| *at == OWNER && *event == Event::Forked(doctor)));
    assert!(it.world.chart(OWNER).people().any(|person| person.author == doctor && person.ended.is_some()));
    assert!(!it.world.is_connected(OWNER, it.doctor));
    assert_eq!(it.world.chart(OWNER).state(), it.world.chart(nurse).state());
}

#[test]
fn a_replica_on_the_branch_that_no_owner_has_seen_moves_to_the_other() {
    let mut it = scene();
    let nurse = it.world.member(Role::Reader);
    it.world.connect(OWNER, nurse);
    it.world.settle();
    it.world.cut_all();
    let doctor = author(it.doctor);
    let theirs = next(&it.world, it.doctor, nurse, version(Change::Creation, None, vec![]));
    let theirs = theirs.sign(&identity(it.doctor));
    it.world.feed(nurse, theirs.clone(), None);
    let note = it.world.add(it.doctor, "told to the owner only");
    it.world.connect(OWNER, it.doctor);
    it.world.settle();
    assert_ne!(note, theirs.id());
    it.world.connect(OWNER, nurse);
    it.world.settle();
    assert_eq!(it.world.text(nurse, &note).as_deref(), Some("told to the owner only"));
    assert!(it.world.chart(nurse).entry(&theirs.id()).is_none());
    assert!(it.world.chart(OWNER).people().any(|person| person.author == doctor && person.ended.is_some()));
    assert_eq!(it.world.chart(OWNER).state(), it.world.chart(nurse).state());
}

#[test]
fn contents_beyond_the_quota_are_refused_the_same_way_everywhere() {
    let mut world = World::found();
    let doctor = world.newcomer();
    let mut draft = crate::world::draft(doctor, Role::Contributor);
    draft.quota = 2_000;
    world.at(OWNER, |chart, now| chart.grant(now, draft)).unwrap();
    let laptop = world.device();
    world.connect_all();
    world.settle();
    world.add(doctor, &"a".repeat(300));
    world.settle();
    let mut big = next(&world, doctor, doctor, version(Change::Creation, None, vec![]));
    let claimed = chart::ContentRef { epoch: Digest::ZERO, len: 200_000, digest: Digest::ZERO };
    big.content = Some(claimed);
    let big = big.sign(&identity(doctor));
    let id = big.id();
    send(&mut world, doctor, OWNER, big);
    for place in [OWNER, laptop] {
        let over =
            world.chart(place).refused().any(|refused| (refused.id, refused.why) == (id, Refusal::OverQuota));
        assert!(over, "{place:?}");
    }
    assert!(world.texts(laptop).contains(&"a".repeat(300)));
    let key = author(doctor);
    let before = world.chart(OWNER).height(&key);
    act(&mut world, doctor, OWNER, version(Change::Creation, None, vec![]));
    assert_eq!(world.chart(OWNER).height(&key), before, "what comes after is not even kept");
}

#[test]
fn frames_that_are_no_messages_end_the_connection_and_nothing_else() {
    let frames: [&[u8]; 6] = [&[], &[0], &[4, 0xff], &[3, 1], &[200; 40], &[1, 1]];
    for frame in frames {
        let mut it = scene();
        it.world.inject(it.doctor, OWNER, frame.to_vec());
        it.world.settle();
        assert!(!it.world.is_connected(OWNER, it.doctor), "{frame:?}");
        assert!(it.is_untouched());
    }
    let mut it = scene();
    it.world.inject(it.doctor, OWNER, vec![4; chart::FRAME_MAX + 1]);
    it.world.settle();
    assert!(!it.world.is_connected(OWNER, it.doctor) && it.is_untouched());
}

#[test]
fn a_later_version_of_the_conversation_is_refused_with_a_word() {
    let mut world = World::found();
    let doctor = world.member(Role::Contributor);
    world.connect(OWNER, doctor);
    world.inject(doctor, OWNER, vec![1, 2]);
    world.settle();
    let said = world
        .events
        .iter()
        .any(|(at, event)| *at == doctor && matches!(event, Event::Closed { why: Bye::Version, .. }));
    assert!(said);
}

#[test]
fn what_was_recorded_on_one_connection_proves_nothing_on_another() {
    let mut it = scene();
    let doctor = author(it.doctor);
    // The doctor's first headers, replayed: they are known, and change nothing.
    let log: Vec<_> = it.world.chart(OWNER).log(&doctor).cloned().collect();
    let before = it.world.chart(OWNER).state();
    for signed in log {
        it.world.feed(OWNER, signed, None);
    }
    assert_eq!(it.world.chart(OWNER).state(), before);
    // A header that lies in another record.
    let mut elsewhere = next(&it.world, it.doctor, OWNER, version(Change::Creation, None, vec![]));
    elsewhere.record = World::found_with(5).chart(OWNER).record();
    let elsewhere = elsewhere.sign(&identity(it.doctor));
    send(&mut it.world, it.doctor, OWNER, elsewhere);
    let told = Event::TurnedAway { via: doctor, author: doctor, why: Intake::OtherRecord };
    assert!(it.world.events.contains(&(OWNER, told)) && it.is_untouched());
}

#[test]
fn a_header_that_is_not_later_than_the_one_before_it_is_turned_away() {
    let mut it = scene();
    it.world.add(it.doctor, "note");
    it.world.settle();
    let mut early = next(&it.world, it.doctor, OWNER, version(Change::Creation, None, vec![]));
    early.hlc = Hlc(1);
    let early = early.sign(&identity(it.doctor));
    let id = early.id();
    send(&mut it.world, it.doctor, OWNER, early);
    let doctor = author(it.doctor);
    let told = Event::TurnedAway { via: doctor, author: doctor, why: Intake::BackDated };
    assert!(it.world.events.contains(&(OWNER, told)));
    assert!(it.world.chart(OWNER).header(&id).is_none());
}

#[test]
fn a_time_from_the_far_future_is_shown_as_doubtful_and_does_not_carry_ours_along() {
    let mut it = scene();
    let mut far = next(&it.world, it.doctor, OWNER, version(Change::Creation, None, vec![]));
    far.hlc = Hlc(u64::MAX - 5);
    let far = far.sign(&identity(it.doctor));
    let id = far.id();
    send(&mut it.world, it.doctor, OWNER, far);
    let now = it.world.now();
    let header = it.world.chart(OWNER).header(&id).unwrap().clone();
    assert!(it.world.chart(OWNER).is_doubtful(now, &header));
    let ours = it.world.add(OWNER, "in the present");
    assert!(!it.world.chart(OWNER).is_doubtful(now, it.world.chart(OWNER).header(&ours).unwrap()));
}

#[test]
fn a_peer_that_asks_without_end_is_left() {
    let mut it = scene();
    let doctor = author(it.doctor);
    for height in 0..4 {
        let places = (0..32).map(|more| (doctor, height * 32 + more)).collect();
        it.world.inject(it.doctor, OWNER, Message::Want(places).encode());
    }
    it.world.settle();
    assert!(!it.world.is_connected(OWNER, it.doctor) && it.is_untouched());
}

#[test]
fn a_batch_may_hold_what_the_receiver_has() {
    let mut it = scene();
    let all = it.world.chart(OWNER).authors().copied().collect::<BTreeSet<_>>();
    let pieces = all.iter().flat_map(|author| it.world.chart(OWNER).log(author).cloned().collect::<Vec<_>>());
    let pieces = pieces.map(|signed| Piece { signed, content: None }).collect();
    it.world.inject(it.doctor, OWNER, Message::Batch(pieces).encode());
    it.world.settle();
    assert!(it.world.is_connected(OWNER, it.doctor) && it.is_untouched());
}
