//! Which of two connections with one peer stays.

use std::time::Duration;

use peer::{Evidence, StreamStats};
use swarm::roster::{Action, CloseReason, Direction, LinkId, Role, RosterConfig, RosterEvent, Vitals};

use crate::desk::{Desk, greater_key, key};

const NEWCOMER: Evidence = Evidence { newcomer_confirmed: true, existing_acknowledged: false };
const EXISTING: Evidence = Evidence { newcomer_confirmed: false, existing_acknowledged: true };

fn in_use() -> Vitals {
    let mut stats = StreamStats::default();
    (stats.frames_read, stats.frames_written) = (3, 4);
    Vitals { stats, round_trip: Duration::from_millis(80) }
}

/// A connection in use, and a newcomer on trial.
fn on_trial() -> (Desk, LinkId, LinkId) {
    let mut desk = Desk::new(RosterConfig::default());
    desk.join(Role::Announce, None);
    let old = desk.incoming(key(1), None);
    desk.pass(Duration::from_secs(1));
    desk.asked();
    desk.told();
    let new = desk.incoming(key(1), Some(in_use()));
    assert_eq!(desk.asked(), [Action::KeepAlive(old)]);
    assert_eq!(desk.told(), [], "the application learns of nothing yet");
    assert_eq!(desk.roster.census().links_on_trial, 1);
    (desk, old, new)
}

fn replaced(desk: &mut Desk, old: LinkId, new: LinkId) {
    let told = desk.told();
    let (lost, won) = (
        RosterEvent::Disconnected { link: old, key: key(1) },
        RosterEvent::Connected { link: new, key: key(1), topics: vec![], direction: Direction::Incoming },
    );
    let place = |event: &RosterEvent| told.iter().position(|told| told == event).expect("it is told");
    assert!(place(&lost) < place(&won));
    let census = desk.roster.census();
    assert_eq!((census.links_open, census.links_on_trial), (1, 0));
}

#[test]
fn a_replayed_first_message_does_not_displace_a_connection_that_lives() {
    let (mut desk, old, new) = on_trial();
    let now = desk.now;
    // Nothing that the newcomer's link claims about the other one counts.
    desk.with(|roster| roster.handle_evidence(now, new, EXISTING));
    desk.with(|roster| roster.handle_evidence(now, old, NEWCOMER));
    assert_eq!(desk.asked(), []);
    desk.with(|roster| roster.handle_evidence(now, old, EXISTING));
    assert_eq!(desk.closes(), [(new, CloseReason::Duplicate)]);
    assert_eq!(desk.told(), []);
    assert_eq!(desk.roster.link_with(&key(1)), Some(old));
}

#[test]
fn a_peer_that_started_again_wins_with_its_first_frame() {
    let (mut desk, old, new) = on_trial();
    let now = desk.now;
    desk.with(|roster| roster.handle_evidence(now, new, NEWCOMER));
    assert_eq!(desk.asked(), [Action::Close { link: old, why: CloseReason::Outdated }, Action::Accept(new)]);
    replaced(&mut desk, old, new);
    desk.closed(old);
    assert_eq!(desk.told(), [], "its end was told before");
}

#[test]
fn a_connection_that_is_silent_for_two_seconds_or_closes_gives_way() {
    let (mut desk, old, new) = on_trial();
    desk.pass(Duration::from_secs(2));
    assert_eq!(desk.asked(), [Action::Close { link: old, why: CloseReason::Outdated }, Action::Accept(new)]);
    replaced(&mut desk, old, new);
    let (mut desk, old, new) = on_trial();
    desk.closed(old);
    assert_eq!(desk.asked(), [Action::Accept(new)]);
    replaced(&mut desk, old, new);
}

#[test]
fn a_newcomer_that_closes_ends_its_trial_and_a_later_one_takes_its_place() {
    let (mut desk, old, new) = on_trial();
    let later = desk.incoming(key(1), Some(in_use()));
    assert_eq!(
        desk.asked(),
        [Action::Close { link: new, why: CloseReason::Duplicate }, Action::KeepAlive(old)]
    );
    desk.closed(later);
    desk.pass(Duration::from_secs(60));
    assert_eq!(desk.asked(), []);
    assert_eq!(desk.roster.link_with(&key(1)), Some(old));
    assert_eq!(desk.roster.census().links_on_trial, 0);
}

#[test]
fn a_connection_that_was_not_used_stays_with_the_greater_key() {
    let mut desk = Desk::new(RosterConfig::default());
    desk.join(Role::Announce, None);
    for (peer, stays) in [(key(1), true), (greater_key(1), false)] {
        let old = desk.incoming(peer, None);
        desk.asked();
        let new = desk.incoming(peer, Some(Vitals::default()));
        let expected = if stays {
            [Action::KeepAlive(old), Action::Close { link: new, why: CloseReason::Duplicate }]
        } else {
            [Action::Close { link: old, why: CloseReason::Duplicate }, Action::Accept(new)]
        };
        assert_eq!(desk.asked(), expected);
    }
}

#[test]
fn an_attempt_that_takes_too_long_gives_way_to_what_arrives() {
    let mut desk = Desk::finding(RosterConfig::default());
    desk.found(key(1));
    let (dial, _) = desk.dial();
    let early = desk.incoming(key(1), None);
    assert_eq!(desk.closes(), [(early, CloseReason::Duplicate)]);
    desk.pass(Duration::from_secs(3));
    let late = desk.incoming(key(1), None);
    assert_eq!(desk.asked(), [Action::CancelDial(dial), Action::Accept(late)]);
}

#[test]
fn a_stranger_s_flood_of_newcomers_keeps_one_on_trial() {
    let (mut desk, old, _) = on_trial();
    for _ in 0..1000 {
        desk.incoming(key(1), Some(in_use()));
        let census = desk.roster.census();
        assert_eq!((census.links_open, census.links_on_trial), (1, 1));
    }
    assert_eq!(desk.closes().len(), 1000);
    assert_eq!(desk.roster.link_with(&key(1)), Some(old));
}
