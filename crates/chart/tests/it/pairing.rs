//! From an invitation to the first entry that its guest reads.

use std::collections::BTreeSet;
use std::time::Duration;

use chart::{
    Day, Declined, History, Invitation, InvitationState, Invited, PairingState, Private, Reception, Role,
    Scope, SixWords, UnixMillis, Visit,
};

use crate::world::{Place, World, author, identity, secret};

const OWNER: Place = Place(0);

pub(crate) fn invited(name: &str) -> Invited {
    Invited {
        name: Private(name.into()),
        role: Role::Contributor,
        history: History::Whole,
        scopes: BTreeSet::from([Scope::GENERAL]),
        membership_expires: None,
        quota: 1 << 30,
    }
}

fn invite(world: &mut World) -> Invitation {
    world.at(OWNER, |chart, now| chart.invite(now, invited("Dr Smith"), 60)).unwrap()
}

fn visit(place: Place, invitation: &Invitation, binding: u8) -> Visit {
    let chance = secret(40, place.0);
    Visit::new(invitation.clone(), [binding; 32], identity(place), "Dr Smith".into(), &chance)
}

fn reception(binding: u8) -> Reception {
    Reception::new([binding; 32], &secret(50, usize::from(binding)))
}

/// Carries frames between both until neither has one.
fn carry(world: &mut World, visit: &mut Visit, reception: &mut Reception) {
    loop {
        let (to, back) = (visit.poll_transmit(), reception.poll_transmit());
        if to.is_none() && back.is_none() {
            return;
        }
        if let Some(frame) = to {
            world.at(OWNER, |chart, now| reception.handle_frame(now, chart, &frame)).unwrap();
        }
        if let Some(frame) = back {
            visit.handle_frame(&frame);
        }
    }
}

fn words(state: PairingState) -> SixWords {
    match state {
        PairingState::Compare(words) => words,
        other => panic!("{other:?}"),
    }
}

#[test]
fn both_see_the_same_words_and_the_guest_reads_once_both_people_have_said_yes() {
    let mut world = World::found();
    let said = world.add(OWNER, "allergic to penicillin");
    let guest = world.newcomer();
    let invitation = invite(&mut world);
    let read = Invitation::parse(&invitation.text()).unwrap();
    let (mut visit, mut reception) = (visit(guest, &read, 1), reception(1));
    carry(&mut world, &mut visit, &mut reception);
    assert_eq!(words(visit.state()), words(reception.state()));
    assert_eq!(reception.visitor().unwrap().name, Private("Dr Smith".into()));

    world.at(OWNER, |chart, now| reception.accept(now, chart)).unwrap();
    carry(&mut world, &mut visit, &mut reception);
    assert!(matches!(visit.state(), PairingState::Compare(_)), "the guest's person has not compared yet");
    assert_eq!(world.chart(OWNER).people().count(), 0);
    visit.confirm();
    carry(&mut world, &mut visit, &mut reception);
    assert_eq!(visit.state(), PairingState::Welcomed(world.chart(OWNER).record()));
    assert_eq!(world.chart(OWNER).invitations().next().unwrap().state, InvitationState::Used);

    world.connect(OWNER, guest);
    world.settle();
    assert_eq!(world.text(guest, &said).as_deref(), Some("allergic to penicillin"));
    let person = world.chart(OWNER).people().next().unwrap();
    assert!(person.accepted);
    assert_eq!(world.text(OWNER, &person.id).as_deref(), Some("Dr Smith"));
}

#[test]
fn before_the_owner_accepts_nothing_of_the_record_is_said_not_even_its_name() {
    let mut world = World::found();
    let guest = world.newcomer();
    let invitation = invite(&mut world);
    let (mut visit, mut reception) = (visit(guest, &invitation, 1), reception(1));
    let record = world.chart(OWNER).record().0;
    let mut heard = Vec::new();
    for round in 0..6 {
        if let Some(frame) = visit.poll_transmit() {
            world.at(OWNER, |chart, now| reception.handle_frame(now, chart, &frame)).unwrap();
        }
        if let Some(frame) = reception.poll_transmit() {
            heard.extend_from_slice(&frame);
            visit.handle_frame(&frame);
        }
        if round == 3 {
            visit.confirm();
        }
    }
    assert!(!heard.is_empty());
    assert!(heard.windows(32).all(|window| window != record));
    assert_eq!(world.chart(OWNER).people().count(), 0);
}

#[test]
fn a_second_person_with_the_same_invitation_is_told_that_it_was_used() {
    let mut world = World::found();
    let (guest, thief) = (world.newcomer(), world.newcomer());
    let invitation = invite(&mut world);
    let (mut first, mut host) = (visit(guest, &invitation, 1), reception(1));
    carry(&mut world, &mut first, &mut host);
    world.at(OWNER, |chart, _| chart.flush()).unwrap();
    world.crash(OWNER, |_| 0);
    let (mut second, mut other_host) = (visit(thief, &invitation, 2), reception(2));
    carry(&mut world, &mut second, &mut other_host);
    assert_eq!(second.state(), PairingState::Declined(Declined::AlreadyUsed));
}

#[test]
fn two_invitations_differ_in_everything_that_can_be_seen() {
    let mut world = World::found();
    let (one, other) = (invite(&mut world), invite(&mut world));
    assert_ne!(one.text(), other.text());
    assert_ne!(one.id(), other.id());
    assert_ne!(one.topic(), other.topic());
    assert_ne!(one.waiting_seed(), other.waiting_seed());
}

#[test]
fn an_invitation_that_has_expired_or_was_cancelled_is_refused() {
    let mut world = World::found();
    let guest = world.newcomer();
    let cancelled = invite(&mut world);
    assert!(world.at(OWNER, |chart, _| chart.cancel(&cancelled.id())).unwrap());
    let (mut guest_side, mut host) = (visit(guest, &cancelled, 1), reception(1));
    carry(&mut world, &mut guest_side, &mut host);
    assert_eq!(guest_side.state(), PairingState::Declined(Declined::Cancelled));

    let expired = invite(&mut world);
    world.pass(Duration::from_secs(3_600));
    let (mut guest_side, mut host) = (visit(guest, &expired, 2), reception(2));
    carry(&mut world, &mut guest_side, &mut host);
    assert_eq!(guest_side.state(), PairingState::Declined(Declined::Expired));
}

#[test]
fn an_invitation_of_another_device_is_unknown() {
    let mut world = World::found();
    let guest = world.newcomer();
    let elsewhere = invite(&mut World::found_with(5));
    let (mut guest_side, mut host) = (visit(guest, &elsewhere, 1), reception(1));
    carry(&mut world, &mut guest_side, &mut host);
    assert_eq!(guest_side.state(), PairingState::Declined(Declined::Unknown));
}

#[test]
fn an_owner_who_declines_or_cancels_while_words_are_compared_makes_no_member() {
    let mut world = World::found();
    let guest = world.newcomer();
    for binding in [1, 2] {
        let invitation = invite(&mut world);
        let (mut guest_side, mut host) = (visit(guest, &invitation, binding), reception(binding));
        carry(&mut world, &mut guest_side, &mut host);
        guest_side.confirm();
        if binding == 1 {
            host.refuse();
        } else {
            world.at(OWNER, |chart, _| chart.cancel(&invitation.id())).unwrap();
            carry(&mut world, &mut guest_side, &mut host);
            world.at(OWNER, |chart, now| host.accept(now, chart)).unwrap();
        }
        carry(&mut world, &mut guest_side, &mut host);
        let why = if binding == 1 { Declined::ByPerson } else { Declined::Cancelled };
        assert_eq!(guest_side.state(), PairingState::Declined(why));
        assert_eq!(world.chart(OWNER).people().count(), 0);
    }
}

#[test]
fn somebody_in_the_middle_with_the_code_makes_the_words_differ_or_is_found_out() {
    let mut world = World::found();
    let (guest, middle) = (world.newcomer(), world.newcomer());
    let invitation = invite(&mut world);
    // The one in the middle visits the host in its own name over its own connection: the host sees its words.
    let (mut to_host, mut host) = (visit(middle, &invitation, 1), reception(1));
    carry(&mut world, &mut to_host, &mut host);
    let hosts_words = words(host.state());

    // The guest, connected to the middle, gets its messages passed on: its knock is bound to another connection.
    let mut relayed = visit(guest, &invitation, 2);
    let mut other_host = reception(1);
    let knock = relayed.poll_transmit().unwrap();
    world.at(OWNER, |chart, now| other_host.handle_frame(now, chart, &knock)).unwrap();
    assert_eq!(other_host.state(), PairingState::Declined(Declined::Unknown));

    // The middle plays the host itself: it lacks the issuing device's key.
    let mut false_world = World::found_with(5);
    let mut guest_side = visit(guest, &invitation, 3);
    let mut false_host = reception(3);
    for _ in 0..4 {
        if let Some(frame) = guest_side.poll_transmit() {
            false_world.at(OWNER, |chart, now| false_host.handle_frame(now, chart, &frame)).unwrap();
        }
        if let Some(frame) = false_host.poll_transmit() {
            guest_side.handle_frame(&frame);
        }
    }
    assert!(matches!(guest_side.state(), PairingState::Declined(_)), "{:?}", guest_side.state());
    let honest = words(to_host.state());
    assert_eq!(
        honest, hosts_words,
        "the words are bound to the middle's own key, which the guest does not have"
    );
}

#[test]
fn words_depend_on_the_connection_and_on_who_is_there() {
    let mut seen = BTreeSet::new();
    for (binding, place) in [(1, 1), (2, 1), (1, 2)] {
        let mut world = World::found();
        let guests = [world.newcomer(), world.newcomer()];
        let invitation = invite(&mut world);
        let (mut guest_side, mut host) = (visit(guests[place - 1], &invitation, binding), reception(binding));
        carry(&mut world, &mut guest_side, &mut host);
        seen.insert(words(host.state()).to_string());
    }
    assert_eq!(seen.len(), 3);
}

#[test]
fn topics_and_announce_keys_are_the_pairs_own_and_change_every_day() {
    let mut world = World::found();
    let (doctor, nurse) = (world.member(Role::Contributor), world.member(Role::Reader));
    world.connect_all();
    world.settle();
    let now = world.now();
    let today = Day::around(now.wall)[1];
    let of = |place: Place| world.chart(place).relations(now);
    let (owners, doctors, nurses) = (of(OWNER), of(doctor), of(nurse));
    assert_eq!((owners.len(), doctors.len(), nurses.len()), (2, 1, 1));
    let with_doctor = owners.iter().find(|relation| relation.peer == author(doctor)).unwrap();
    let with_nurse = owners.iter().find(|relation| relation.peer == author(nurse)).unwrap();
    assert_eq!(with_doctor.topic(today), doctors[0].topic(today));
    assert_eq!(with_doctor.own_seed(today), doctors[0].peer_seed(today));
    assert_eq!(doctors[0].own_seed(today), with_doctor.peer_seed(today));
    assert_ne!(with_doctor.topic(today), with_nurse.topic(today));
    assert_ne!(with_doctor.own_seed(today), with_nurse.own_seed(today));
    let tomorrow = Day(today.0 + 1);
    assert_ne!(with_doctor.topic(today), with_doctor.topic(tomorrow));
    assert_ne!(with_doctor.own_seed(today), with_doctor.own_seed(tomorrow));
    assert_eq!(Day::around(UnixMillis(0)), [Day(0), Day(0), Day(1)]);

    let doctors_key = author(doctor);
    world.at(OWNER, |chart, now| chart.revoke(now, doctors_key)).unwrap();
    assert_eq!(world.chart(OWNER).relations(now).len(), 1, "nothing is announced for somebody who is gone");
}
