//! Who is dialled, when, and who is remembered.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use swarm::roster::{
    Action, Admission, Ban, CloseReason, DialFailure, FlushOutcome, JoinError, LinkId, Reconnect, RelayUse,
    Relays, Role, RosterConfig, RosterEvent, RosterLimits, Standing,
};

use crate::desk::{Desk, LOCAL, TOPIC, greater_key, key};

const SECOND: Duration = Duration::from_secs(1);

fn relay(number: u8) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, number), 49737)
}

#[test]
fn a_peer_is_told_of_once_and_the_node_itself_never() {
    let mut desk = Desk::finding(RosterConfig::default());
    for _ in 0..3 {
        desk.found(key(1));
        desk.found(LOCAL);
    }
    let found = |event: &RosterEvent| matches!(event, RosterEvent::PeerFound { .. });
    let told: Vec<_> = desk.told().into_iter().filter(found).collect();
    assert_eq!(told, [RosterEvent::PeerFound { topic: TOPIC, key: key(1) }]);
}

#[test]
fn explicit_peers_come_first_then_peers_that_failed_once_then_new_ones() {
    let config = RosterConfig { parallel_max: 1, slow: 60 * SECOND, ..RosterConfig::default() };
    let mut desk = Desk::finding(config);
    let now = desk.now;
    desk.found(key(1));
    let (first, _) = desk.dial();
    desk.failed(first, DialFailure::NoAnswer);
    desk.found(key(2));
    let (mut busy, _) = desk.dial();
    (3..9).for_each(|number| desk.found(key(number)));
    desk.with(|roster| roster.join_peer(now, key(20))).unwrap();
    // The first one's wait ends meanwhile.
    desk.pass(Duration::from_millis(6_600));
    let mut order = Vec::new();
    for _ in 0..8 {
        desk.opened(busy);
        let (dial, dialled) = desk.dial();
        (busy, order) = (dial, [order, vec![dialled]].concat());
    }
    assert_eq!(order[..2], [key(20), key(1)]);
    let mut others = order[2..].to_vec();
    others.sort();
    assert_eq!(others, (3..9).map(key).collect::<Vec<_>>());
    assert_ne!(others, order[2..], "those of one priority come in any order");
}

#[test]
fn three_attempts_run_at_once_and_slow_ones_let_others_begin_up_to_a_limit() {
    let mut desk = Desk::finding(RosterConfig::default());
    (0..100).for_each(|number| desk.found(key(number)));
    assert_eq!(desk.dials().len(), 3);
    for expected in [3, 6, 9, 12, 15] {
        assert_eq!(desk.roster.census().connecting, expected);
        desk.pass(3 * SECOND);
    }
    assert_eq!(desk.roster.census().connecting, 16);
    desk.pass(60 * SECOND);
    assert_eq!(desk.roster.census().connecting, 16);
}

#[test]
fn the_ceiling_for_attempts_counts_those_under_way() {
    let config = RosterConfig { peers_max: 4, parallel_max: 10, ..RosterConfig::default() };
    let mut desk = Desk::finding(config);
    (0..10).for_each(|number| desk.found(key(number)));
    assert_eq!(desk.dials().len(), 4);
    let mut desk = Desk::finding(RosterConfig { outgoing_max: 2, ..RosterConfig::default() });
    (0..10).for_each(|number| desk.found(key(number)));
    assert_eq!(desk.dials().len(), 2);
    // Incoming connections are not refused by it.
    desk.incoming(key(50), None);
    assert_eq!(desk.roster.census().links_incoming, 1);
}

#[test]
fn incoming_connections_have_a_limit_that_limits_except_for_explicit_peers() {
    let mut desk = Desk::new(RosterConfig { incoming_max: 2, ..RosterConfig::default() });
    desk.join(Role::Announce, None);
    for number in 0..2 {
        assert_eq!(desk.roster.admission(&key(number)), Admission::Open);
        desk.incoming(key(number), None);
    }
    assert_eq!(desk.roster.admission(&key(2)), Admission::Refused(CloseReason::Full));
    let link = desk.incoming(key(2), None);
    assert_eq!(desk.closes(), [(link, CloseReason::Full)]);
    let now = desk.now;
    desk.with(|roster| roster.join_peer(now, greater_key(3))).unwrap();
    desk.incoming(greater_key(3), None);
    assert_eq!(desk.roster.census().links_open, 3);
}

#[test]
fn relays_are_replaced_by_newer_ones_and_not_by_none() {
    let mut desk = Desk::finding(RosterConfig { parallel_max: 1, ..RosterConfig::default() });
    let now = desk.now;
    desk.found(key(9));
    let (busy, _) = desk.dial();
    desk.with(|roster| roster.handle_found(now, TOPIC, key(1), &[relay(1)]));
    desk.with(|roster| roster.handle_found(now, TOPIC, key(1), &[relay(2), relay(3), relay(4), relay(5)]));
    desk.with(|roster| roster.handle_found(now, TOPIC, key(1), &[]));
    desk.with(|roster| roster.join_peer(now, key(1))).unwrap();
    desk.failed(busy, DialFailure::NotFound);
    let asked = desk.asked();
    let relays = asked
        .iter()
        .find_map(|action| if let Action::Dial { relays, .. } = action { Some(relays) } else { None });
    assert_eq!(relays.unwrap(), &[relay(2), relay(3), relay(4)]);
}

#[test]
fn an_attempt_without_a_path_is_repeated_at_once_through_a_relay_where_there_are_any() {
    for (relays, expected) in [(Relays::Available, Some(RelayUse::Forced)), (Relays::Absent, None)] {
        let mut desk = Desk::finding(RosterConfig { relays, ..RosterConfig::default() });
        desk.found(key(1));
        let (dial, _) = desk.dial();
        desk.failed(dial, DialFailure::NoPath);
        let again = desk.asked();
        let relay = again
            .iter()
            .find_map(|action| if let Action::Dial { relay, .. } = action { Some(*relay) } else { None });
        assert_eq!(relay, expected);
        if let [Action::Dial { dial, .. }] = again[..] {
            desk.failed(dial, DialFailure::NoPath);
            assert_eq!(desk.asked(), [], "the second time it has to wait like others");
        }
    }
}

#[test]
fn an_explicit_peer_that_was_away_for_half_a_minute_is_reached_within_twenty_seconds_of_its_return() {
    for seed in 0..50 {
        let mut desk = Desk::seeded(RosterConfig::default(), seed);
        let now = desk.now;
        desk.with(|roster| roster.join_peer(now, key(1))).unwrap();
        while desk.elapsed() < 30 * SECOND {
            for (dial, _) in desk.dials() {
                desk.failed(dial, DialFailure::NotFound);
            }
            desk.pass(SECOND / 10);
        }
        while desk.roster.census().connecting == 0 {
            desk.pass(SECOND / 10);
        }
        assert!(desk.elapsed() < 50 * SECOND, "seed {seed}: {:?}", desk.elapsed());
    }
}

#[test]
fn a_peer_is_dialled_for_as_long_as_its_topic_names_it_and_forgotten_afterwards() {
    let mut desk = Desk::finding(RosterConfig::default());
    desk.found(key(1));
    let mut attempts = 0;
    let hour = 3600 * SECOND;
    while desk.elapsed() < 2 * hour {
        for action in desk.asked() {
            match action {
                Action::Dial { dial, .. } => {
                    attempts += 1;
                    desk.failed(dial, DialFailure::NoAnswer);
                }
                Action::Refresh { .. } => {
                    if desk.elapsed() < hour {
                        desk.found(key(1));
                    }
                    desk.walked();
                }
                _ => {}
            }
        }
        desk.pass(SECOND);
    }
    assert!((15..60).contains(&attempts), "{attempts}");
    assert_eq!(desk.roster.census().peers_known, 0);
}

#[test]
fn a_peer_whose_own_connection_ended_has_the_first_turn_and_is_dialled_afterwards() {
    let mut desk = Desk::finding(RosterConfig::default());
    let link = desk.incoming(key(1), None);
    desk.found(key(1));
    desk.closed(link);
    desk.pass(Duration::from_millis(4_999));
    assert_eq!(desk.dials(), []);
    desk.pass(5 * SECOND);
    assert_eq!(desk.dials().len(), 1);
}

#[test]
fn a_peer_that_failed_often_is_tried_afresh_when_it_announces_other_relays_or_after_ten_minutes() {
    let found = |desk: &mut Desk, number: u8| {
        let now = desk.now;
        desk.with(|roster| roster.handle_found(now, TOPIC, key(1), &[relay(number)]));
        desk.dials()
    };
    let mut desk = Desk::finding(RosterConfig::default());
    let mut dials = found(&mut desk, 1);
    // Seven failures within four minutes: from now on it waits for 79 s at least.
    for failures in 1..=7 {
        desk.failed(dials[0].0, DialFailure::NoAnswer);
        while failures < 7 && desk.roster.census().connecting == 0 {
            desk.pass(SECOND);
        }
        dials = desk.dials();
    }
    let mut other = found(&mut desk, 1);
    assert_eq!(other, []);
    assert_eq!(found(&mut desk, 2), [], "it was tried less than a minute ago");
    desk.pass(60 * SECOND);
    other.extend(desk.dials());
    assert_eq!(other.len(), 1, "other relays shorten its wait");
    for (dial, _) in other {
        desk.failed(dial, DialFailure::NoAnswer);
    }
    // Nobody names it for a while; then what is known of it is ten minutes old.
    desk.pass(600 * SECOND);
    for (dial, _) in desk.dials() {
        desk.failed(dial, DialFailure::NoAnswer);
    }
    let attempts = |desk: &Desk| desk.roster.peers().next().unwrap().attempts;
    assert!(attempts(&desk) > 3);
    assert_eq!(found(&mut desk, 2).len(), 1);
    assert_eq!(attempts(&desk), 0);
}

#[test]
fn peers_of_a_topic_that_is_left_are_dialled_no_more_and_connections_stay() {
    let mut desk = Desk::new(RosterConfig::default());
    let join = desk.join(Role::Find, None);
    (0..10).for_each(|number| desk.found(key(number)));
    let dials = desk.dials();
    desk.opened(dials[0].0);
    desk.dials();
    let now = desk.now;
    desk.with(|roster| roster.leave(now, join));
    let cancelled = desk.asked().iter().filter(|action| matches!(action, Action::CancelDial(_))).count();
    assert_eq!(cancelled, 3);
    let census = desk.roster.census();
    assert_eq!((census.links_open, census.peers_known, census.queued, census.connecting), (1, 1, 0, 0));
    let late = desk.opened(dials[1].0);
    assert_eq!(desk.closes(), [(late, CloseReason::Cancelled)]);
}

#[test]
fn banned_peers_are_neither_dialled_nor_admitted_until_the_ban_is_lifted() {
    let mut desk = Desk::finding(RosterConfig { parallel_max: 1, ..RosterConfig::default() });
    let now = desk.now;
    (0..2).for_each(|number| desk.found(key(number)));
    let (dial, dialled) = desk.dial();
    desk.with(|roster| roster.ban(now, dialled, Ban::Imposed));
    let asked = desk.asked();
    assert_eq!(asked[0], Action::CancelDial(dial));
    assert!(matches!(asked[1], Action::Dial { key, .. } if key != dialled));
    desk.found(dialled);
    let link = desk.incoming(dialled, None);
    assert_eq!(desk.closes(), [(link, CloseReason::Banned)]);
    desk.pass(60 * SECOND);
    assert_eq!(desk.roster.census().connecting, 1);
    let now = desk.now;
    desk.with(|roster| roster.ban(now, dialled, Ban::Lifted));
    assert_eq!(desk.dials().first().map(|(_, key)| *key), Some(dialled));
}

#[test]
fn a_peer_that_is_not_to_be_reconnected_is_not_though_walks_find_it() {
    let mut desk = Desk::finding(RosterConfig::default());
    desk.found(key(1));
    let (dial, _) = desk.dial();
    let link = desk.opened(dial);
    let now = desk.now;
    desk.with(|roster| roster.reconnect(now, key(1), Reconnect::Unwanted));
    desk.closed(link);
    desk.found(key(1));
    desk.pass(600 * SECOND);
    assert_eq!(desk.dials(), []);
    assert_eq!(desk.roster.peers().next().unwrap().standing, Standing::Idle);
    let now = desk.now;
    desk.with(|roster| roster.reconnect(now, key(1), Reconnect::Wanted));
    assert_eq!(desk.dials().len(), 1);
}

#[test]
fn joining_oneself_changes_nothing_and_explicit_peers_have_a_limit() {
    let limits = RosterLimits { explicit: 3, ..RosterLimits::default() };
    let mut desk = Desk::new(RosterConfig { limits, ..RosterConfig::default() });
    let now = desk.now;
    desk.with(|roster| roster.join_peer(now, LOCAL)).unwrap();
    assert_eq!(desk.asked(), []);
    for number in 0..3 {
        desk.with(|roster| roster.join_peer(now, key(number))).unwrap();
    }
    assert_eq!(desk.with(|roster| roster.join_peer(now, key(3))), Err(JoinError::TooManyPeers));
    desk.with(|roster| roster.join_peer(now, key(2))).unwrap();
    desk.with(|roster| roster.leave_peer(now, key(2)));
    desk.with(|roster| roster.join_peer(now, key(3))).unwrap();
    assert_eq!(desk.roster.census().explicit, 3);
}

#[test]
fn a_flood_of_found_peers_is_bounded_and_its_dead_make_place_for_others() {
    let mut desk = Desk::finding(RosterConfig::default());
    for number in 0..100_000 {
        desk.found(key(number));
    }
    let census = desk.roster.census();
    assert_eq!(census.peers_known, RosterLimits::default().known);
    desk.told();
    for (dial, _) in desk.dials() {
        desk.failed(dial, DialFailure::NotFound);
    }
    for number in 200_000..200_010 {
        desk.found(key(number));
    }
    let known = |number| desk.roster.peers().any(|peer| peer.key == key(number));
    assert!((200_000..200_003).all(known), "three had failed");
    assert!(!known(200_003));
    assert_eq!(desk.roster.census().peers_known, RosterLimits::default().known);
}

#[test]
fn a_flood_of_bans_lifts_the_oldest() {
    let limits = RosterLimits { bans: 10, ..RosterLimits::default() };
    let mut desk = Desk::new(RosterConfig { limits, ..RosterConfig::default() });
    let now = desk.now;
    for number in 0..1000 {
        desk.with(|roster| roster.ban(now, key(number), Ban::Imposed));
    }
    assert_eq!(desk.roster.census().banned, 10);
    assert_eq!(desk.roster.admission(&key(999)), Admission::Refused(CloseReason::Banned));
    assert_eq!(desk.roster.admission(&key(989)), Admission::Open);
}

#[test]
fn a_flush_waits_for_walks_and_for_one_attempt_at_each_peer_known_then() {
    let mut desk = Desk::finding(RosterConfig::default());
    let now = desk.now;
    let flush = desk.with(|roster| roster.flush(now));
    let settled = RosterEvent::Flushed { flush, outcome: FlushOutcome::Settled };
    (0..5).for_each(|number| desk.found(key(number)));
    let mut dials = desk.dials();
    desk.walked();
    // Found after the walk: not waited for.
    desk.found(key(9));
    let mut ended = 0;
    while let Some((dial, dialled)) = dials.pop() {
        assert!(!desk.told().contains(&settled) || ended == 5);
        ended += usize::from(dialled != key(9));
        if ended % 2 == 0 {
            desk.opened(dial);
        } else {
            desk.failed(dial, DialFailure::NoAnswer);
        }
        dials.extend(desk.dials());
    }
    assert_eq!(ended, 5);
    assert!(desk.told().contains(&settled) || desk.roster.census().queued == 0);
    // With nothing to wait for it ends at once.
    let again = desk.with(|roster| roster.flush(now));
    assert!(desk.told().contains(&RosterEvent::Flushed { flush: again, outcome: FlushOutcome::Settled }));
}

#[test]
fn a_flush_does_not_wait_for_peers_that_may_not_be_dialled() {
    let mut desk = Desk::finding(RosterConfig { peers_max: 1, ..RosterConfig::default() });
    (0..5).for_each(|number| desk.found(key(number)));
    let (dial, _) = desk.dial();
    desk.walked();
    let now = desk.now;
    let flush = desk.with(|roster| roster.flush(now));
    let settled = RosterEvent::Flushed { flush, outcome: FlushOutcome::Settled };
    assert!(!desk.told().contains(&settled));
    desk.opened(dial);
    assert!(desk.told().contains(&settled));
}

#[test]
fn whatever_happens_the_counts_add_up() {
    for seed in 0..200 {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut desk = Desk::new(RosterConfig { peers_max: 5, incoming_max: 3, ..RosterConfig::default() });
        let join = desk.join(Role::Both, Some(4));
        let (mut dials, mut links) = (Vec::new(), Vec::<LinkId>::new());
        for _ in 0..100 {
            let (peer, now) = (key(rng.random_range(0..8)), desk.now);
            match rng.random_range(0..14) {
                0 => desk.found(peer),
                1 => links.push(desk.incoming(peer, None)),
                2 if !links.is_empty() => desk.closed(links.swap_remove(rng.random_range(0..links.len()))),
                3 | 4 if !dials.is_empty() => {
                    links.push(desk.opened(dials.swap_remove(rng.random_range(0..dials.len()))));
                }
                5 if !dials.is_empty() => {
                    desk.failed(dials.swap_remove(rng.random_range(0..dials.len())), DialFailure::NoPath);
                }
                6 => desk.with(|roster| roster.join_peer(now, peer)).unwrap(),
                7 => desk.with(|roster| roster.leave_peer(now, peer)),
                8 => desk.with(|roster| {
                    roster.ban(now, peer, [Ban::Imposed, Ban::Lifted][usize::from(rng.random::<bool>())]);
                }),
                9 => desk.with(|roster| roster.change(now, join, Role::Both, Some(rng.random_range(0..5)))),
                10 => desk.with(|roster| roster.suspend(now)),
                11 | 12 => desk.with(|roster| roster.resume(now)),
                _ => desk.pass(Duration::from_millis(rng.random_range(0..20_000))),
            }
            dials.extend(desk.dials().into_iter().map(|(dial, _)| dial));
            let census = desk.roster.census();
            let outgoing = census.links_open - census.links_incoming;
            assert_eq!(
                census.outgoing_attempted - census.outgoing_closed,
                (outgoing + census.connecting) as u64
            );
            assert_eq!(census.incoming_opened - census.incoming_closed, census.links_incoming as u64);
            let standing = |wanted: fn(&Standing) -> bool| {
                desk.roster.peers().filter(|peer| wanted(&peer.standing)).count()
            };
            assert_eq!(standing(|standing| matches!(standing, Standing::Connected(..))), census.links_open);
            assert_eq!(standing(|standing| matches!(standing, Standing::Connecting)), census.connecting);
            assert_eq!(standing(|standing| matches!(standing, Standing::Queued)), census.queued);
            assert_eq!(standing(|standing| matches!(standing, Standing::Waiting(_))), census.waiting);
        }
        let now = desk.now;
        desk.with(|roster| roster.shut_down(now, swarm::roster::Farewell::Silent));
        let census = desk.roster.census();
        assert_eq!(
            (census.outgoing_attempted, census.incoming_opened),
            (census.outgoing_closed, census.incoming_closed)
        );
    }
}
