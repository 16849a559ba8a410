use std::time::Duration;

use dht::{Event, KeyPair, Outcome, Peer, Task, hash, node_id};
use wire::hyper::error;
use wire::{Command, Id, Request, Token, hyper};

use crate::harness::{World, address, request, stranger};

const TOPIC: Id<32> = Id([0x42; 32]);

fn key(n: u8) -> KeyPair {
    KeyPair::from_seed([n; 32])
}

fn peers(world: &World, topic: Id<32>) -> Vec<Peer> {
    let mut found: Vec<Peer> = Vec::new();
    for (_, event) in &world.events {
        if let Event::Peers { topic: of, peers, .. } = event
            && *of == topic
        {
            found.extend(peers.iter().filter(|peer| !found.contains(peer)).cloned().collect::<Vec<_>>());
        }
    }
    found
}

fn announce(n: u8, relays: &[u8]) -> Task {
    Task::Announce {
        topic: TOPIC,
        key: key(n),
        relays: relays.iter().map(|n| stranger(*n)).collect(),
        bump: 0,
    }
}

#[test]
fn what_is_announced_is_found_until_it_is_unannounced() {
    let mut world = World::network(30);
    let Outcome::Stored { stored: 20, .. } = world.perform(address(3), announce(1, &[1, 2, 3, 4])) else {
        panic!("stored on the twenty closest nodes");
    };
    world.events.clear();
    world.perform(address(7), Task::Lookup { topic: TOPIC });
    let relays = vec![stranger(1), stranger(2), stranger(3)];
    assert_eq!(peers(&world, TOPIC), [Peer { public_key: key(1).public_key(), relays }]);
    world.perform(address(3), announce(1, &[9]));
    world.events.clear();
    world.perform(address(7), Task::Lookup { topic: TOPIC });
    assert_eq!(peers(&world, TOPIC), [Peer { public_key: key(1).public_key(), relays: vec![stranger(9)] }]);
    let removed = world.perform(address(3), Task::Unannounce { topic: TOPIC, key: key(1) });
    assert!(matches!(removed, Outcome::Stored { stored: 20, .. }));
    world.events.clear();
    world.perform(address(7), Task::Lookup { topic: TOPIC });
    assert_eq!(peers(&world, TOPIC), []);
}

#[test]
fn announcements_expire_between_two_and_four_thirds_of_their_age() {
    let mut world = World::network(3);
    world.perform(address(3), announce(1, &[]));
    world.run(Duration::from_mins(13));
    world.events.clear();
    world.perform(address(2), Task::Lookup { topic: TOPIC });
    assert_eq!(peers(&world, TOPIC).len(), 1);
    world.run(Duration::from_mins(14));
    world.events.clear();
    world.perform(address(2), Task::Lookup { topic: TOPIC });
    assert_eq!(peers(&world, TOPIC).len(), 0);
}

#[test]
fn a_topic_is_kept_announced_and_left() {
    let mut world = World::network(3);
    let now = world.now;
    world.node(address(3)).announce(now, TOPIC, key(1));
    world.run(Duration::from_mins(61));
    let announced =
        world.events.iter().filter(|(_, e)| matches!(e, Event::Announced { stored: 2, .. })).count();
    // At once, then every ten to twelve minutes.
    assert!((6..=7).contains(&announced), "{announced}");
    world.perform(address(2), Task::Lookup { topic: TOPIC });
    assert_eq!(peers(&world, TOPIC).len(), 1);
    let now = world.now;
    world.node(address(3)).leave(now, TOPIC).unwrap();
    world.run(Duration::from_secs(1));
    world.events.clear();
    world.perform(address(2), Task::Lookup { topic: TOPIC });
    assert_eq!(peers(&world, TOPIC).len(), 0);
}

#[test]
fn a_key_that_listens_is_found_through_three_relays_that_pass_handshakes_on() {
    let mut world = World::network(30);
    let (now, target) = (world.now, dht::target(key(5).public_key()));
    world.node(address(3)).listen(now, key(5));
    world.run(Duration::from_secs(2));
    let snapshot = {
        let now = world.now;
        world.node(address(3)).snapshot(now)
    };
    let relays = snapshot.listening[0].1.clone();
    assert_eq!(relays.len(), 3);
    world.perform(address(8), Task::FindPeer { target });
    assert_eq!(peers(&world, target)[0].public_key, key(5).public_key());
    let mut value = Vec::new();
    let (mode, peer, relay) = (hyper::Mode::FromClient, None, None);
    hyper::HandshakeEnvelope { mode, noise: b"noise", peer, relay }.encode(&mut value);
    let shake =
        Request { target: Some(target), value: Some(&value), ..request(relays[0], hyper::PEER_HANDSHAKE) };
    let before = world.node(relays[0]).snapshot(now).stats.served.handshake;
    assert_eq!(world.ask(stranger(1), &shake), None);
    assert_eq!(world.node(relays[0]).snapshot(now).stats.served.handshake, before + 1);
    let now = world.now;
    world.node(address(3)).unlisten(now, key(5).public_key()).unwrap();
    world.run(Duration::from_secs(2));
    let nobody = world.ask(stranger(1), &shake).unwrap();
    assert_eq!((nobody.value, nobody.token, nobody.closer.len()), (None, None, 20));
}

#[test]
fn immutable_values_are_stored_under_their_hash_only() {
    let mut world = World::network(25);
    let stored = world.perform(address(2), Task::ImmutablePut { value: b"hello".to_vec() });
    assert!(matches!(stored, Outcome::Stored { stored: 20, .. }));
    let Outcome::Value { found, .. } =
        world.perform(address(9), Task::ImmutableGet { target: hash(b"hello") })
    else {
        panic!("a value");
    };
    assert_eq!(found, Some((0, b"hello".to_vec())));
    let token = token(&mut world, 1);
    let put = |target, value| Request {
        target: Some(target),
        token: Some(token),
        value: Some(value),
        ..request(address(1), hyper::IMMUTABLE_PUT)
    };
    assert!(
        world.ask(stranger(1), &put(hash(b"x"), b"x")).is_some_and(|a| a.token.is_some() && a.error == 0)
    );
    assert_eq!(world.ask(stranger(1), &put(hash(b"x"), b"y")), None);
    let long = vec![7; Task::VALUE_MAX + 1];
    assert_eq!(world.ask(stranger(1), &put(hash(&long), &long)), None);
    assert!(world.ask(stranger(1), &put(hash(&long[1..]), &long[1..])).is_some());
}

#[test]
fn mutable_values_are_replaced_by_higher_sequence_numbers_only() {
    let mut world = World::network(25);
    let put = |seq, value: &[u8]| Task::MutablePut { key: key(1), seq, value: value.to_vec() };
    let mut tally = |seq, value: &[u8]| match world.perform(address(2), put(seq, value)) {
        Outcome::Stored { stored, seq_reused, seq_too_low, .. } => [stored, seq_reused, seq_too_low],
        other => panic!("{other:?}"),
    };
    assert_eq!(tally(1, b"one"), [20, 0, 0]);
    assert_eq!(tally(1, b"one"), [20, 0, 0]);
    assert_eq!(tally(1, b"two"), [0, 20, 0]);
    assert_eq!(tally(5, b"five"), [20, 0, 0]);
    assert_eq!(tally(4, b"four"), [0, 0, 20]);
    let mut get = |seq| match world.perform(address(7), Task::MutableGet { key: key(1).public_key(), seq }) {
        Outcome::Value { found, .. } => found,
        other => panic!("{other:?}"),
    };
    assert_eq!(get(0), Some((5, b"five".to_vec())));
    assert_eq!(get(5), Some((5, b"five".to_vec())));
    assert_eq!(get(6), None);
}

#[test]
fn an_ephemeral_node_refuses_to_store() {
    let mut world = World::network(3);
    let ephemeral = address(9);
    let config = dht::Config {
        standing: dht::Standing::Ephemeral,
        host: *ephemeral.ip(),
        ..dht::Config::testnet(vec![address(1)])
    };
    world.add(ephemeral, config);
    world.run(Duration::from_secs(2));
    for number in 2..=9 {
        let ask = Request { target: Some(TOPIC), ..request(ephemeral, Command::App(number)) };
        let refused = world.ask(stranger(1), &ask).unwrap();
        assert_eq!((refused.error, refused.id, refused.closer.len()), (error::UNKNOWN_COMMAND, None, 3));
    }
}

#[test]
fn an_old_token_is_refused_with_a_new_one() {
    let mut world = World::network(3);
    let old = token(&mut world, 1);
    let put = |token| Request {
        target: Some(hash(b"x")),
        token: Some(token),
        value: Some(&b"x"[..]),
        ..request(address(1), hyper::IMMUTABLE_PUT)
    };
    assert_eq!(world.ask(stranger(1), &put(old)).unwrap().error, 0);
    assert_eq!(world.ask(stranger(2), &put(old)).unwrap().error, error::INVALID_TOKEN);
    world.run(Duration::from_secs(15));
    let refused = world.ask(stranger(1), &put(old)).unwrap();
    assert_eq!((refused.error, refused.closer.len()), (error::INVALID_TOKEN, 2));
    assert_eq!(world.ask(stranger(1), &put(refused.token.unwrap())).unwrap().error, 0);
}

#[test]
fn lookups_tell_twenty_of_many_and_not_always_the_same() {
    let mut world = World::network(1);
    for n in 1..=30 {
        announce_raw(&mut world, &key(n), TOPIC, &Plan::default());
    }
    let mut told = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let look = Request { target: Some(TOPIC), ..request(address(1), hyper::LOOKUP) };
        let answer = world.ask(stranger(1), &look).unwrap();
        let value = answer.value.unwrap();
        let reply = hyper::LookupReply::decode(&value).unwrap();
        assert_eq!(reply.peers.len(), 20);
        let keys: std::collections::BTreeSet<_> = reply.peers.iter().map(|peer| peer.public_key).collect();
        assert_eq!(keys.len(), 20);
        told.insert(keys);
    }
    assert!(told.len() > 5);
}

#[test]
fn a_bump_is_kept_if_it_is_newer_and_not_from_the_future() {
    let mut world = World::new();
    let wall = 1_700_000_000_000;
    let config = dht::Config::bootstrapper(address(1));
    world.add(address(1), dht::Config { wall_clock: dht::UnixMillis(wall), ..config });
    world.run(Duration::from_secs(1));
    let mut bumped = |bump| {
        announce_raw(&mut world, &key(1), TOPIC, &Plan { bump, ..Plan::default() });
        let look = Request { target: Some(TOPIC), ..request(address(1), hyper::LOOKUP) };
        let value = world.ask(stranger(1), &look).unwrap().value.unwrap();
        hyper::LookupReply::decode(&value).unwrap().bump
    };
    assert_eq!(bumped(wall - 5), wall - 5);
    assert_eq!(bumped(wall - 9), wall - 5);
    assert_eq!(bumped(wall + 62_000), wall - 5);
    assert_eq!(bumped(wall + 60_000), wall + 60_000);
}

#[test]
fn a_refresh_renews_without_a_signature_along_its_chain() {
    let mut world = World::network(1);
    let (last, middle) = ([3; 32], hash(&[3; 32]).0);
    announce_raw(&mut world, &key(1), TOPIC, &Plan { refresh: Some(hash(&middle).0), ..Plan::default() });
    let refresh = |world: &mut World, preimage| {
        let token = token(world, 1);
        let mut value = Vec::new();
        hyper::Announcement { peer: None, refresh: Some(preimage), signature: None, bump: 0 }
            .encode(&mut value);
        let ask = Request {
            target: Some(TOPIC),
            token: Some(token),
            value: Some(&value),
            ..request(address(1), hyper::ANNOUNCE)
        };
        world.ask(stranger(1), &ask).is_some()
    };
    assert!(!refresh(&mut world, [9; 32]));
    world.run(Duration::from_mins(12));
    assert!(refresh(&mut world, middle));
    world.run(Duration::from_mins(12));
    assert!(refresh(&mut world, last));
    assert!(!refresh(&mut world, middle));
    world.run(Duration::from_mins(12));
    let look = Request { target: Some(TOPIC), ..request(address(1), hyper::LOOKUP) };
    assert!(world.ask(stranger(1), &look).unwrap().value.is_some());
}

/// What an announcement carries besides its key.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) bump: u64,
    pub(crate) refresh: Option<[u8; 32]>,
}

/// Announces by hand at node 1, signed as the specification says; tells whether it was accepted.
pub(crate) fn announce_raw(world: &mut World, key: &KeyPair, target: Id<32>, plan: &Plan) -> bool {
    let token = token(world, 1);
    let node = node_id(address(1));
    let peer = hyper::PeerRecord { public_key: key.public_key().0, relays: wire::Addrs::EMPTY };
    let mut covered = [target.0, node.0, token.0].concat();
    peer.encode(&mut covered);
    covered.extend(plan.refresh.iter().flatten());
    // The namespace of ANNOUNCE, as the specification's table 1.3 has it.
    let mut message: Vec<u8> = "36386adddf9f6fd60db83a6f42fc159d1146aa8644037664230aaa1f0179d497"
        .parse::<Id<32>>()
        .expect("64 digits")
        .0
        .to_vec();
    message.extend(hash(&covered).0);
    let signature = Some(key.sign(&message));
    let mut value = Vec::new();
    hyper::Announcement { peer: Some(peer), refresh: plan.refresh, signature, bump: plan.bump }
        .encode(&mut value);
    let ask = Request {
        target: Some(target),
        token: Some(token),
        value: Some(&value),
        ..request(address(1), hyper::ANNOUNCE)
    };
    world.ask(stranger(1), &ask).is_some()
}

/// Gets a token for stranger `n` from node 1.
pub(crate) fn token(world: &mut World, n: u8) -> Token {
    let look = Request { target: Some(TOPIC), ..request(address(1), hyper::LOOKUP) };
    world.ask(stranger(n), &look).and_then(|answer| answer.token).expect("look-ups are answered with a token")
}
