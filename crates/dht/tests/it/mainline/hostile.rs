use std::net::SocketAddr;
use std::time::Duration;

use dht::mainline::{Config, Event, Limits, Rate};
use wire::Id;
use wire::krpc::{Body, Family, Message, Method, Query, Response};

use super::world::{World, address, encode, stranger};

const ME: Id<20> = Id([0x77; 20]);

#[test]
fn a_query_opens_no_place_in_the_table_and_an_answer_does() {
    let mut world = World::network(1);
    let knows = |world: &mut World, who| world.node(address(1)).nodes().any(|node| node == who);
    world.send(stranger(1), address(1), &encode(&Query::new(Method::Ping, ME)));
    assert!(!knows(&mut world, stranger(1)));
    world.answer_pings(stranger(1), ME);
    assert!(knows(&mut world, stranger(1)));
    let read_only = Query { read_only: true, ..Query::new(Method::Ping, Id([1; 20])) };
    assert_eq!(world.send(stranger(2), address(1), &encode(&read_only)).len(), 1);
}

#[test]
fn an_answer_from_another_address_or_of_another_name_is_not_taken() {
    let mut world = World::network(1);
    world.send(stranger(1), address(1), &encode(&Query::new(Method::Ping, ME)));
    let ping = world.outside.iter().find(|(_, to, bytes)| {
        *to == stranger(1) && matches!(Message::decode(bytes).unwrap().body, Body::Query(_))
    });
    let tid = Message::decode(&ping.unwrap().2).unwrap().tid.to_vec();
    let answer = |tid: &[u8]| {
        let mut out = Vec::new();
        Message { tid, client: None, ip: None, body: Body::Response(Response::new(ME)) }.encode(&mut out);
        out
    };
    world.send(stranger(2), address(1), &answer(&tid));
    world.send(stranger(1), address(1), &answer(&[tid[0], !tid[1]]));
    assert_eq!(world.node(address(1)).nodes().count(), 0);
    assert_eq!(world.node(address(1)).stats().unexpected, 2);
    world.send(stranger(1), address(1), &answer(&tid));
    assert_eq!(world.node(address(1)).nodes().count(), 1);
}

#[test]
fn a_silent_node_is_asked_once_more_with_four_bytes_and_then_given_up() {
    let mut world = World::new();
    world.add(address(1), Config::testnet(vec![stranger(1)]));
    world.run(Duration::from_secs(4));
    let tids = world.outside.iter().map(|(_, _, bytes)| Message::decode(bytes).unwrap().tid.len());
    assert_eq!(tids.collect::<Vec<_>>(), [2, 4]);
    assert_eq!(world.node(address(1)).stats().timeouts, 1);
}

#[test]
fn a_host_that_asks_too_often_is_not_answered_and_others_are() {
    let mut world = World::new();
    let rates = Limits { host: Rate { per_second: 20, burst: 50 }, ..Limits::default() };
    world.add(address(1), Config { limits: rates, ..Config::testnet(Vec::new()) });
    let query = encode(&Query { read_only: true, ..Query::new(Method::Ping, ME) });
    let answered: usize = (0..500).map(|_| world.send(stranger(1), address(1), &query).len()).sum();
    assert_eq!(answered, 50);
    assert_eq!(world.send(stranger(2), address(1), &query).len(), 1);
    assert_eq!(world.node(address(1)).stats().limited, 450);
}

/// Lets liars who agree on our address answer whatever a node asks.
fn lie(world: &mut World, victim: SocketAddr, seen: SocketAddr, liars: &[(Id<20>, SocketAddr)]) {
    for _ in 0..50 {
        let sent = std::mem::take(&mut world.outside);
        if sent.is_empty() {
            return;
        }
        for (from, to, bytes) in sent {
            let Ok(message) = Message::decode(&bytes) else { continue };
            let Some((id, _)) = liars.iter().find(|(_, addr)| *addr == to) else { continue };
            if from != victim || !matches!(message.body, Body::Query(_)) {
                continue;
            }
            let mut packed = Vec::new();
            for (id, addr) in liars {
                packed.extend_from_slice(&id.0);
                wire::krpc::write_addr(&mut packed, addr);
            }
            let nodes = Some(wire::krpc::Nodes::from_packed(Family::V4, &packed));
            let body = Body::Response(Response { nodes, ..Response::new(*id) });
            let mut out = Vec::new();
            Message { tid: message.tid, client: None, ip: Some(seen), body }.encode(&mut out);
            let before = std::mem::take(&mut world.outside);
            world.send(to, from, &out);
            world.outside.splice(0..0, before);
        }
    }
}

#[test]
fn liars_of_one_network_do_not_change_our_id() {
    let mut world = World::new();
    let victim: SocketAddr = "44.99.0.1:6881".parse().unwrap();
    let liars: Vec<_> = (0..16u8).map(|n| (Id([n; 20]), SocketAddr::from(([45, 5, n, 1], 7000)))).collect();
    world.add(victim, Config::testnet(liars.iter().map(|(_, addr)| *addr).collect()));
    let id = world.node(victim).id(Family::V4);
    for _ in 0..20 {
        lie(&mut world, victim, "44.66.66.66:6666".parse().unwrap(), &liars);
        world.run(Duration::from_mins(3));
    }
    assert_eq!(world.node(victim).id(Family::V4), id);
    assert!(!world.events.iter().any(|(_, event)| matches!(event, Event::AddressChanged(_))));
}

#[test]
fn everything_random_is_survived() {
    let mut world = World::network(3);
    arbtest::arbtest(|u| {
        let from = stranger(u.arbitrary()?);
        let bytes: Vec<u8> = u.arbitrary()?;
        world.send(from, address(1), &bytes);
        Ok(())
    });
    assert!(world.node(address(1)).stats().rejected > 0);
}
