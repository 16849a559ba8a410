use std::time::Duration;

use dht::mainline::{Config, Sampling};
use wire::Id;
use wire::krpc::{Body, Item, Message, Method, Query, Response, Want};

use super::world::{World, address, encode, stranger};

const TOPIC: Id<20> = Id([0x5a; 20]);
const ME: Id<20> = Id([0x77; 20]);

fn response(bytes: &[u8]) -> Response<'_> {
    match Message::decode(bytes).expect("a message").body {
        Body::Response(response) => response,
        other => unreachable!("no response: {other:?}"),
    }
}

fn error(bytes: &[u8]) -> i64 {
    match Message::decode(bytes).expect("a message").body {
        Body::Error(code, _) => code,
        other => unreachable!("no error: {other:?}"),
    }
}

fn about(method: Method<'static>) -> Query<'static> {
    Query { target: Some(TOPIC), ..Query::new(method, ME) }
}

fn announce(world: &mut World, n: u8, port: u16, token: &[u8]) -> Vec<u8> {
    let query = Query { port: Some(port), token: Some(token), ..about(Method::AnnouncePeer) };
    world.ask(stranger(n), address(1), &query).expect("an answer")
}

fn token(world: &mut World, n: u8) -> Vec<u8> {
    let answer = world.ask(stranger(n), address(1), &about(Method::GetPeers)).expect("an answer");
    response(&answer).token.expect("a token").to_vec()
}

#[test]
fn the_transaction_is_echoed_byte_for_byte_up_to_32_bytes() {
    let mut world = World::network(1);
    for len in 1..=33 {
        let tid: Vec<u8> = (0..len).map(|n| 200 + n).collect();
        let mut bytes = Vec::new();
        let body = Body::Query(Query::new(Method::Ping, ME));
        Message { tid: &tid, client: None, ip: None, body }.encode(&mut bytes);
        let answers = world.send(stranger(1), address(1), &bytes);
        let echoed = answers.iter().filter(|b| Message::decode(b).is_ok_and(|m| m.tid == tid)).count();
        assert_eq!(echoed, usize::from(len <= 32), "{len} bytes");
    }
}

#[test]
fn every_answer_tells_the_asker_its_address() {
    let mut world = World::network(1);
    let answer = world.ask(stranger(1), address(1), &Query::new(Method::Ping, ME)).unwrap();
    assert_eq!(Message::decode(&answer).unwrap().ip, Some(stranger(1)));
}

#[test]
fn an_announcement_needs_the_token_of_its_own_address_and_topic() {
    let mut world = World::network(1);
    let token = token(&mut world, 1);
    let other = Query { port: Some(9), token: Some(&token), ..about(Method::AnnouncePeer) };
    let elsewhere = Query { target: Some(Id([1; 20])), ..other };
    assert_eq!(error(&world.ask(stranger(2), address(1), &other).unwrap()), 203);
    assert_eq!(error(&world.ask(stranger(1), address(1), &elsewhere).unwrap()), 203);
    assert_eq!(error(&announce(&mut world, 1, 9, b"")), 203);
    assert_eq!(error(&announce(&mut world, 1, 0, &token)), 203);
    response(&announce(&mut world, 1, 9, &token));
    let found = world.ask(stranger(3), address(1), &about(Method::GetPeers)).unwrap();
    let values: Vec<_> = response(&found).values.iter().collect();
    assert_eq!(values, ["10.9.9.1:9".parse().unwrap()]);
    world.run(Duration::from_mins(11));
    assert_eq!(error(&announce(&mut world, 1, 9, &token)), 203);
}

#[test]
fn methods_of_the_future_are_answered_as_find_node_or_refused() {
    let mut world = World::network(12);
    let answer = world.ask(stranger(1), address(1), &about(Method::Other(b"nope"))).unwrap();
    assert!(response(&answer).nodes.unwrap().iter().count() >= 7);
    let answer = world.ask(stranger(1), address(1), &Query::new(Method::Other(b"nope"), ME)).unwrap();
    assert_eq!(error(&answer), 204);
    assert_eq!(world.send(stranger(1), address(1), b"d1:ad2:id20:").len(), 0);
    let answer = world.ask(stranger(1), address(1), &Query::new(Method::FindNode, ME)).unwrap();
    assert_eq!(error(&answer), 203);
}

#[test]
fn an_unproven_host_gets_little_more_than_three_times_what_it_sent() {
    let mut world = World::network(40);
    for n in 10..=60 {
        let token = token(&mut world, n);
        announce(&mut world, n, 9000, &token);
    }
    let value = [b"900:".to_vec(), vec![b'x'; 900]].concat();
    let put_token = {
        let target = Some(dht::mainline::sha1(&value));
        let answer = world.ask(stranger(1), address(1), &Query { target, ..about(Method::Get) }).unwrap();
        response(&answer).token.unwrap().to_vec()
    };
    let item = Item { value: Some(&value), ..Item::default() };
    let put = Query { item, token: Some(&put_token), ..Query::new(Method::Put, ME) };
    response(&world.ask(stranger(1), address(1), &put).unwrap());
    let both = Some(Want { v4: true, v6: true });
    for (n, query) in [
        about(Method::FindNode),
        about(Method::GetPeers),
        Query { want: both, ..about(Method::FindNode) },
        Query { scrape: true, ..about(Method::GetPeers) },
        Query { target: Some(dht::mainline::sha1(&value)), ..about(Method::Get) },
        about(Method::SampleInfohashes),
    ]
    .into_iter()
    .enumerate()
    {
        let query = Query { read_only: true, ..query };
        let sent = encode(&query).len();
        let from = stranger(200 + u8::try_from(n).unwrap());
        let back: usize = world.send(from, address(1), &encode(&query)).iter().map(Vec::len).sum();
        // A value that is held back costs a ping besides, which has to be answered only once.
        let ping = if query.method == Method::Get { 65 } else { 0 };
        assert!(back > 0 && back <= sent * 31 / 10 + ping, "{query:?}: {back} for {sent}");
    }
}

#[test]
fn a_proven_host_gets_whole_values_many_peers_and_filters() {
    let mut world = World::network(20);
    for n in 10..=90 {
        let token = token(&mut world, n);
        announce(&mut world, n, 9000, &token);
    }
    let token = token(&mut world, 1);
    let query = Query { token: Some(&token), ..about(Method::GetPeers) };
    let answer = world.ask(stranger(1), address(1), &query).unwrap();
    assert!(answer.len() <= 1024);
    let peers = response(&answer);
    assert!(peers.values.iter().count() > 60, "{}", peers.values.iter().count());
    assert_eq!(peers.nodes.unwrap().iter().count(), 8);
    let answer = world.ask(stranger(1), address(1), &Query { scrape: true, ..query }).unwrap();
    assert!(response(&answer).blooms.is_some());
}

#[test]
fn samples_are_given_only_where_the_owner_allows_it() {
    let mut world = World::network(3);
    world.add(address(50), Config { sampling: Sampling::On, ..Config::testnet(vec![address(1)]) });
    let answer = world.ask(stranger(1), address(50), &about(Method::GetPeers)).unwrap();
    let token = response(&answer).token.unwrap().to_vec();
    let query = Query { port: Some(9), token: Some(&token), ..about(Method::AnnouncePeer) };
    world.ask(stranger(1), address(50), &query).unwrap();
    let answer = world.ask(stranger(1), address(50), &about(Method::SampleInfohashes)).unwrap();
    let samples = response(&answer).samples.unwrap();
    assert_eq!((samples.num, samples.packed), (1, &TOPIC.0[..]));
    let answer = world.ask(stranger(1), address(1), &about(Method::SampleInfohashes)).unwrap();
    assert!(response(&answer).samples.is_none() && response(&answer).nodes.is_some());
}
