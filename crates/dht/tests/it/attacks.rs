//! Single packets that killed or captured other implementations.

use std::net::SocketAddrV4;
use std::time::Duration;

use dht::{Config, Event, KeyPair, Outcome, Standing, Task, node_id};
use wire::{Addrs, Command, Id, Request, Response, hyper, pack_addrs};

use crate::harness::{World, address, pong, request, stranger};
use crate::storage::{Plan, announce_raw};

#[test]
fn a_short_lookup_value_that_claims_many_peers_finds_nobody() {
    let mut world = World::network(1);
    join(&mut world, 1);
    let topic = node_id(stranger(1));
    let now = world.now;
    world.outside.clear();
    let operation = world.node(address(1)).start(now, Task::Lookup { topic });
    world.run(Duration::ZERO);
    world.answer_as(stranger(1), |asked| {
        let value = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0x00];
        Some(reply(asked, 1, Some(&value)))
    });
    world.run(Duration::from_secs(10));
    assert!(matches!(world.outcome(address(1), operation), Some(Outcome::Walked(_))));
    assert!(!world.events.iter().any(|(_, event)| matches!(event, Event::Peers { .. })));
}

#[test]
fn an_announcement_under_the_hash_of_anothers_key_routes_nothing() {
    let mut world = World::network(2);
    let (victim, thief) = (KeyPair::from_seed([1; 32]), KeyPair::from_seed([2; 32]));
    let target = dht::target(victim.public_key());
    assert!(announce_raw(&mut world, &thief, target, &Plan::default()));
    let find = Request { target: Some(target), ..request(address(1), hyper::FIND_PEER) };
    assert_eq!(world.ask(stranger(3), &find).unwrap().value, None);
    let mut value = Vec::new();
    let (mode, peer, relay) = (hyper::Mode::FromClient, None, None);
    hyper::HandshakeEnvelope { mode, noise: b"noise", peer, relay }.encode(&mut value);
    let shake =
        Request { target: Some(target), value: Some(&value), ..request(address(1), hyper::PEER_HANDSHAKE) };
    let answer = world.ask(stranger(3), &shake).unwrap();
    assert_eq!((answer.value, world.outside.len()), (None, 1));
    assert!(announce_raw(&mut world, &victim, target, &Plan::default()));
    assert!(world.ask(stranger(3), &find).unwrap().value.is_some());
}

#[test]
fn an_answer_to_ping_nat_at_the_wrong_port_opens_nothing() {
    let mut world = World::network(6);
    let node = address(9);
    let config = Config {
        bootstrap: vec![dht::Bootstrap::Address(stranger(1))],
        standing: Standing::Persistent,
        ..Config::default()
    };
    world.add(node, config);
    // The stranger answers everything, PING_NAT too, at the socket that asked.
    for _ in 0..40 {
        world.answer_as(stranger(1), |asked| Some(reply(asked, 1, None)));
        world.run(Duration::from_secs(1));
    }
    let now = world.now;
    let snapshot = world.node(node).snapshot(now);
    assert!(snapshot.stats.commands.ping_nat.rx > 0, "the answers were understood");
    assert!(snapshot.firewalled && snapshot.ephemeral && snapshot.bootstrapped);
}

#[test]
fn a_mutable_get_returns_the_newest_of_all_answers() {
    let mut world = World::network(25);
    let key = KeyPair::from_seed([1; 32]);
    let put = |seq| Task::MutablePut { key: key.clone(), seq, value: vec![seq.to_le_bytes()[0]] };
    world.perform(address(2), put(1));
    // A node that is close to the target, and stopped hearing of news, answers first.
    let target = dht::target(key.public_key());
    let mut nodes: Vec<_> = (1..=25).map(address).collect();
    nodes.sort_by_key(|addr| node_id(*addr).distance(&target));
    let old = {
        let now = world.now;
        world.node(nodes[0]).suspend(now);
        nodes[0]
    };
    let reader = nodes[24];
    let Outcome::Stored { stored: 20, .. } = world.perform(nodes[23], put(7)) else {
        panic!("stored on twenty")
    };
    let now = world.now;
    world.node(old).resume(now);
    world.run(Duration::from_secs(10));
    let get = Task::MutableGet { key: key.public_key(), seq: 0 };
    let Outcome::Value { found, .. } = world.perform(reader, get) else { panic!("a value") };
    assert_eq!(found, Some((7, vec![7])));
    let stale = Request { target: Some(target), value: Some(&[0]), ..request(old, hyper::MUTABLE_GET) };
    let value = world.ask(stranger(1), &stale).unwrap().value.unwrap();
    assert_eq!(hyper::MutableRecord::decode(&value).unwrap().seq, 1, "the old node was asked as well");
}

#[test]
fn a_forged_answer_from_another_address_is_not_taken() {
    let mut world = World::network(1);
    let now = world.now;
    world.outside.clear();
    let operation = world.node(address(1)).start(now, Task::Ping { to: stranger(1) });
    world.run(Duration::ZERO);
    let (_, _, asked) = world.outside[0].clone();
    let forged = pong(&Request::decode(&asked).unwrap(), stranger(2));
    world.send(stranger(2), address(1), &forged);
    assert!(world.outcome(address(1), operation).is_none());
    world.send(stranger(1), address(1), &forged);
    assert!(matches!(world.outcome(address(1), operation), Some(Outcome::Answered(_))));
}

#[test]
fn forged_sources_do_not_fill_the_table() {
    let mut world = World::network(2);
    for n in 1..=200 {
        let id = Some(node_id(stranger(n)));
        world.ask(stranger(n), &Request { id, ..request(address(1), Command::PING) });
    }
    world.run(Duration::from_secs(10));
    assert_eq!(world.node(address(1)).nodes().collect::<Vec<_>>(), [address(2)]);
}

#[test]
fn an_unproven_block_is_not_flooded_through_us_and_a_host_that_answers_is_served() {
    let mut world = World::network(30);
    let find = |n| Request { target: Some(Id([n; 32])), ..request(address(1), Command::FIND_NODE) };
    let (mut came, mut went) = (0, 0);
    for n in 0..10_000_u32 {
        let from = stranger(n.to_le_bytes()[0].max(1));
        world.ask(from, &find(n.to_le_bytes()[0]));
        came += 43;
        went += world.outside.iter().map(|(_, _, bytes)| bytes.len()).sum::<usize>();
    }
    assert!(went <= 65_536 + 3 * came, "{went} for {came}");
    world.run(Duration::from_secs(1));
    let mut answered = 0;
    for n in 0..1_000_u32 {
        answered += usize::from(world.ask(stranger(1), &find(n.to_le_bytes()[0])).is_some());
        world.answer_as(stranger(1), |asked| Some(pong(asked, stranger(1))));
    }
    assert!(answered > 990, "{answered}");
}

#[test]
fn a_walk_among_liars_ends() {
    let mut world = World::network(1);
    join(&mut world, 1);
    let now = world.now;
    let operation = world.node(address(1)).start(now, Task::FindNode { target: Id([5; 32]) });
    let mut asked_in_all = 0;
    for _ in 0..3_000 {
        for (from, to, bytes) in std::mem::take(&mut world.outside) {
            let Ok(request) = Request::decode(&bytes) else { continue };
            asked_in_all += 1;
            let host = *stranger(7).ip();
            let closer = pack_addrs((0..20).map(|n| SocketAddrV4::new(host, 1000 + 20 * asked_in_all + n)));
            let (tid, id, closer) = (request.tid, Some(node_id(to)), Addrs::from_packed(&closer));
            let mut out = Vec::new();
            Response { tid, to: from, id, token: None, closer, error: 0, value: None }.encode(&mut out);
            world.deliver(to, from, &out);
        }
        world.run(Duration::from_millis(10));
    }
    assert!(matches!(world.outcome(address(1), operation), Some(Outcome::Walked(_))));
    assert!(asked_in_all < 1000, "{asked_in_all}");
}

#[test]
fn garbage_of_any_kind_is_counted_and_forgotten() {
    let mut world = World::network(1);
    let now = world.now;
    let before = world.node(address(1)).snapshot(now).stats.rejected;
    let mut long = vec![0x03; 2048];
    long[1] = 0xff;
    let cut: [&[u8]; 9] = [
        b"",
        b"\x03",
        b"\x13",
        b"\x02\x04\x34\x12\x01\x02\x03\x04\x2e\x16\x00",
        b"\x23",
        b"\xff",
        b"d1:",
        &[0; 9],
        &long,
    ];
    for bytes in cut {
        assert_eq!(world.send(stranger(1), address(1), bytes), Vec::<Vec<u8>>::new());
    }
    let after = world.node(address(1)).snapshot(now).stats.rejected;
    assert_eq!(after - before, 9);
}

/// Puts stranger `n` into node 1's table.
fn join(world: &mut World, n: u8) {
    let id = Some(node_id(stranger(n)));
    world.ask(stranger(n), &Request { id, ..request(address(1), Command::PING) });
    world.answer_as(stranger(n), |asked| Some(pong(asked, stranger(n))));
    assert!(world.node(address(1)).nodes().any(|node| node == stranger(n)));
}

fn reply(asked: &Request<'_>, n: u8, value: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    let (tid, id, to) = (asked.tid, Some(node_id(stranger(n))), asked.to);
    Response { tid, to, id, token: None, closer: Addrs::EMPTY, error: 0, value }.encode(&mut out);
    out
}
