use std::num::NonZeroU16;
use std::time::Duration;

use dht::mainline::{Config, Event, Failure, Outcome, Port, Task};
use dht::{KeyPair, Standing};
use wire::Id;
use wire::krpc::Family;

use super::world::{World, address};

const TOPIC: Id<20> = Id([0x5a; 20]);

fn port(n: u16) -> Port {
    Port::Is(NonZeroU16::new(n).expect("ports of tests are not zero"))
}

#[test]
fn what_one_node_announces_another_finds_once() {
    let mut world = World::network(40);
    let announced = world.perform(address(7), Task::Announce { info_hash: TOPIC, port: port(9000) });
    let Outcome::Stored(stored) = announced else { unreachable!("{announced:?}") };
    assert_eq!((stored.nodes.len(), stored.refused), (20, 0));
    world.perform(address(8), Task::Announce { info_hash: TOPIC, port: Port::Implied });
    world.perform(address(30), Task::Lookup { info_hash: TOPIC });
    let mut found = world.peers(address(30));
    found.sort();
    assert_eq!(found, ["10.0.7.1:9000".parse().unwrap(), address(8)]);
}

#[test]
fn announcements_are_stored_at_the_nodes_closest_to_the_topic() {
    let mut world = World::network(60);
    let mut all: Vec<_> = (1..=60).filter(|n| *n != 7).map(address).collect();
    let announced = world.perform(address(7), Task::Announce { info_hash: TOPIC, port: port(9000) });
    let Outcome::Stored(stored) = announced else { unreachable!("{announced:?}") };
    all.sort_by_key(|at| world.node(*at).id(Family::V4).unwrap().distance(&TOPIC));
    let missing = |n: usize| all[..n].iter().filter(|at| !stored.nodes.contains(at)).count();
    // An answer names eight nodes, so that of those behind them some are never heard of.
    assert_eq!(missing(8), 0);
    assert!(missing(20) <= 8, "{} of the closest were not found", missing(20));
}

#[test]
fn a_topic_is_announced_again_before_others_forget_it_until_it_is_left() {
    let mut world = World::network(25);
    let now = world.now;
    world.node(address(3)).announce(now, TOPIC, port(9000));
    world.run(Duration::from_hours(2));
    let is_ours = |event: &&(_, Event)| matches!(event.1, Event::Announced { stored: 20, .. });
    let times = world.events.iter().filter(is_ours).count();
    assert!((8..=13).contains(&times), "{times} times in two hours");
    world.perform(address(9), Task::Lookup { info_hash: TOPIC });
    assert_eq!(world.peers(address(9)), ["10.0.3.1:9000".parse().unwrap()]);
    world.node(address(3)).leave(TOPIC);
    world.run(Duration::from_mins(46));
    world.perform(address(10), Task::Lookup { info_hash: TOPIC });
    assert_eq!(world.peers(address(10)), []);
}

#[test]
fn values_are_found_under_their_hash_and_under_their_key() {
    let mut world = World::network(30);
    let value = b"12:Hello World!".to_vec();
    let put = world.perform(address(2), Task::PutImmutable { value: value.clone() });
    assert!(matches!(put, Outcome::Stored(_)), "{put:?}");
    let target = dht::mainline::sha1(&value);
    let got = world.perform(address(20), Task::Get { target, salt: Vec::new() });
    let Outcome::Got(Some(found), _) = got else { unreachable!("{got:?}") };
    assert_eq!((found.value, found.signed), (value, None));

    let (key, salt) = (KeyPair::from_seed([7; 32]), b"name".to_vec());
    for (seq, value) in [(1, b"i1e"), (2, b"i2e")] {
        let (key, salt, value) = (Box::new(key.clone()), salt.clone(), value.to_vec());
        let put = world.perform(address(2), Task::PutMutable { key, salt, seq, cas: None, value });
        assert!(matches!(put, Outcome::Stored(_)), "{put:?}");
    }
    let target = Task::mutable_target(&key.public_key().0, &salt);
    let got = world.perform(address(21), Task::Get { target, salt: salt.clone() });
    let Outcome::Got(Some(found), _) = got else { unreachable!("{got:?}") };
    assert_eq!((found.value, found.signed), (b"i2e".to_vec(), Some((key.public_key().0, 2))));
    let stale = Task::PutMutable { key: Box::new(key), salt, seq: 3, cas: Some(1), value: b"i3e".to_vec() };
    let refused = world.perform(address(3), stale);
    let Outcome::Stored(refused) = refused else { unreachable!("{refused:?}") };
    // Only a node that has none takes it.
    assert!(refused.refused >= 18, "{refused:?}");
    let unfit = world.perform(address(3), Task::PutImmutable { value: b"no bencoding".to_vec() });
    assert!(matches!(unfit, Outcome::Failed(Failure::Unfit)), "{unfit:?}");
}

#[test]
fn a_scrape_counts_who_announced() {
    let mut world = World::network(40);
    for n in 1..=30 {
        world.perform(address(n), Task::Announce { info_hash: TOPIC, port: port(9000) });
    }
    let scraped = world.perform(address(35), Task::Scrape { info_hash: TOPIC });
    let Outcome::Scraped(scraped) = scraped else { unreachable!("{scraped:?}") };
    assert!(scraped.nodes >= 18, "{scraped:?}");
    assert!((27.0..33.0).contains(&scraped.downloaders) && scraped.seeds < 0.5, "{scraped:?}");
}

#[test]
fn a_read_only_node_is_in_no_table_and_answers_pings_only() {
    let mut world = World::network(20);
    let config = Config { standing: Standing::Ephemeral, ..Config::testnet(vec![address(1)]) };
    world.add(address(99), config);
    world.run(Duration::from_mins(20));
    world.perform(address(5), Task::Announce { info_hash: TOPIC, port: port(9000) });
    world.perform(address(99), Task::Lookup { info_hash: TOPIC });
    assert_eq!(world.peers(address(99)), ["10.0.5.1:9000".parse().unwrap()]);
    for n in 1..=20 {
        assert!(world.node(address(n)).nodes().all(|node| node != address(99)), "node {n} knows it");
    }
    assert!(matches!(world.perform(address(5), Task::Ping { to: address(99) }), Outcome::Pong(_)));
}

#[test]
fn dead_nodes_leave_the_tables_and_lookups_go_around_them() {
    let mut world = World::network(50);
    world.perform(address(7), Task::Announce { info_hash: TOPIC, port: port(9000) });
    (40..=50).for_each(|n| world.remove(address(n)));
    world.perform(address(9), Task::Lookup { info_hash: TOPIC });
    assert_eq!(world.peers(address(9)), ["10.0.7.1:9000".parse().unwrap()]);
    world.run(Duration::from_hours(1));
    for n in 1..40 {
        let gone = world.node(address(n)).nodes().filter(|node| (40..=50).map(address).any(|d| d == *node));
        assert_eq!(gone.count(), 0, "node {n} still names the dead");
    }
}

#[test]
fn the_ipv6_network_works_as_the_ipv4_one_does() {
    let mut world = World::new();
    let at = |n: u16| std::net::SocketAddr::from(([0xfd00, n, 0, 0, 0, 0, 0, 1], 6881));
    for n in 1..=30 {
        world.add(at(n), Config::testnet(if n == 1 { Vec::new() } else { vec![at(1)] }));
    }
    world.run(Duration::from_secs(5));
    world.perform(at(4), Task::Announce { info_hash: TOPIC, port: port(9000) });
    world.perform(at(20), Task::Lookup { info_hash: TOPIC });
    assert_eq!(world.peers(at(20)), ["[fd00:4::1]:9000".parse().unwrap()]);
}
