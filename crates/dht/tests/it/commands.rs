use std::time::Duration;

use dht::{Event, Failure, Outcome, Task, node_id};
use wire::hyper::error;
use wire::{Command, Id, Request, hyper, pack_addr};

use crate::harness::{World, address, pong, request, stranger};

#[test]
fn a_ping_is_answered_with_the_id_and_the_address_seen() {
    let mut world = World::network(1);
    let answer = world.ask(stranger(1), &request(address(1), Command::PING)).unwrap();
    assert_eq!((answer.id, answer.to), (Some(node_id(address(1))), stranger(1)));
    assert_eq!((answer.token, answer.closer.len(), answer.error, answer.value), (None, 0, 0, None));
}

#[test]
fn ping_nat_is_answered_at_the_other_port_and_needs_one() {
    let mut world = World::network(1);
    let ask = |value| Request { value, ..request(address(1), Command::PING_NAT) };
    let answer = world.ask(stranger(1), &ask(Some(&[0x39, 0x30]))).unwrap();
    assert_eq!(answer.to.to_string(), "11.0.0.1:12345");
    assert_eq!(world.outside[0].1.to_string(), "11.0.0.1:12345");
    for silent in [None, Some(&[][..]), Some(&[1]), Some(&[0, 0])] {
        assert_eq!(world.ask(stranger(1), &ask(silent)), None);
    }
}

#[test]
fn find_node_names_the_twenty_closest_and_unknown_commands_are_refused() {
    let mut world = World::network(30);
    let target = Some(Id([0x77; 32]));
    let mut known: Vec<_> =
        (2..=30).map(address).filter(|a| world.node(address(1)).nodes().any(|n| n == *a)).collect();
    known.sort_by_key(|addr| node_id(*addr).distance(&Id([0x77; 32])));
    known.truncate(20);
    let found =
        world.ask(stranger(1), &Request { target, ..request(address(1), Command::FIND_NODE) }).unwrap();
    assert_eq!((found.closer, found.token), (known.clone(), None));
    assert_eq!(world.ask(stranger(1), &request(address(1), Command::FIND_NODE)), None);
    for command in [Command::Internal(200), Command::App(200), hyper::PLUGIN] {
        let refused = world.ask(stranger(1), &Request { target, ..request(address(1), command) }).unwrap();
        assert_eq!(
            (refused.error, refused.closer, refused.token),
            (error::UNKNOWN_COMMAND, known.clone(), None)
        );
    }
}

#[test]
fn a_delayed_ping_waits_and_refuses_more_than_ten_seconds() {
    let mut world = World::network(1);
    let ask = |millis: u32, value: &mut [u8; 4]| value.copy_from_slice(&millis.to_le_bytes());
    let mut value = [0; 4];
    ask(10_000, &mut value);
    let delayed = Request { value: Some(&value), ..request(address(1), Command::DELAYED_PING) };
    assert_eq!(world.ask(stranger(1), &delayed), None);
    world.run(Duration::from_millis(9_999));
    assert!(world.outside.is_empty());
    world.run(Duration::from_millis(1));
    assert_eq!(world.outside.len(), 1);
    ask(10_001, &mut value);
    world.ask(stranger(1), &Request { value: Some(&value), ..request(address(1), Command::DELAYED_PING) });
    world.run(Duration::from_secs(20));
    assert!(world.outside.is_empty());
}

#[test]
fn a_dead_node_leaves_the_table_after_a_hint_and_a_live_one_stays() {
    let mut world = World::network(4);
    world.remove(address(3));
    world.run(Duration::from_secs(5));
    for hinted in [3, 4] {
        let value = pack_addr(address(hinted));
        let hint = Request { value: Some(&value), ..request(address(1), Command::DOWN_HINT) };
        assert!(world.ask(stranger(1), &hint).is_some());
    }
    assert!(world.node(address(1)).nodes().any(|node| node == address(3)));
    world.run(Duration::from_millis(4_000));
    let nodes: Vec<_> = world.node(address(1)).nodes().collect();
    assert!(!nodes.contains(&address(3)) && nodes.contains(&address(4)));
}

#[test]
fn a_plain_request_is_sent_at_seconds_0_1_2_and_3_and_fails_at_4() {
    let mut world = World::network(1);
    let start = world.now;
    let operation = world.node(address(1)).start(start, Task::Ping { to: stranger(1) });
    let mut sent = Vec::new();
    for second in 0..4 {
        world.run(Duration::ZERO);
        sent.push((second, world.outside.len()));
        world.run(Duration::from_millis(999));
        assert!(world.outcome(address(1), operation).is_none());
        world.run(Duration::from_millis(1));
    }
    assert_eq!(sent, [(0, 1), (1, 2), (2, 3), (3, 4)]);
    assert!(matches!(world.outcome(address(1), operation), Some(Outcome::Failed(Failure::NoAnswer))));
}

#[test]
fn a_node_is_listed_once_it_answered_us_under_the_id_of_its_address() {
    let mut world = World::network(2);
    for (n, id) in [(1, node_id(stranger(1))), (2, Id([9; 32]))] {
        let ping = Request { id: Some(id), ..request(address(1), Command::PING) };
        assert!(world.ask(stranger(n), &ping).is_some());
        assert!(!world.node(address(1)).nodes().any(|node| node == stranger(n)));
        world.answer_as(stranger(n), |asked| Some(pong(asked, stranger(n))));
    }
    let nodes: Vec<_> = world.node(address(1)).nodes().collect();
    assert!(nodes.contains(&stranger(1)));
    assert!(!nodes.contains(&stranger(2)));
}

#[test]
fn suspension_fails_what_is_under_way_and_resumption_fills_the_table_again() {
    let mut world = World::network(5);
    let now = world.now;
    let operation = world.node(address(3)).start(now, Task::Ping { to: stranger(1) });
    world.node(address(3)).suspend(now);
    world.run(Duration::from_secs(60));
    assert!(matches!(world.outcome(address(3), operation), Some(Outcome::Failed(Failure::Suspended))));
    assert_eq!(world.ask(stranger(1), &request(address(3), Command::PING)), None);
    let now = world.now;
    world.node(address(3)).resume(now);
    world.run(Duration::from_secs(10));
    assert!(world.ask(stranger(1), &request(address(3), Command::PING)).is_some());
    assert!(world.events.iter().any(|(at, event)| *at == address(3) && matches!(event, Event::Resumed)));
    assert!(matches!(world.perform(address(3), Task::FindNode { target: Id([1; 32]) }), Outcome::Walked(_)));
}
