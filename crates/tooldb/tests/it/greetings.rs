//! Who may speak, and as whom.

use tooldb::{
    Backfill, CloseReason, Endpoint, Event, Identity, LinkId, Peer, Side, Source, Topic, UnixMillis,
};

use crate::sim::{Clock, Node, server, topic};
use crate::vectors::identity;

const LINK: LinkId = LinkId(1);

/// A ping as the library's clients send it.
pub(crate) fn ping(client: &Identity, wall: UnixMillis, is_server: &str) -> String {
    let peer = Peer::sign(topic(), Endpoint::new("127.0.0.1", 8080).unwrap(), wall, client);
    frame(&client.address().client_id().to_string(), is_server, &peer.to_json())
}

fn frame(name: &str, is_server: &str, peer: &str) -> String {
    format!(
        "{{\"type\":\"ping\",\"clientId\":\"{name}\",\"to\":[\"{name}\"],\"isServer\":{is_server},\
         \"id\":\"ping000001\",\"peer\":{peer}}}"
    )
}

fn node() -> Node {
    let mut node = Node::new(server(9401), &identity("server1"), Clock::new());
    node.open(LINK, Side::Accepted, Source::Stranger);
    node
}

fn closed(node: &Node) -> Vec<CloseReason> {
    let reason = |event: &Event| if let Event::Close { why, .. } = event { Some(*why) } else { None };
    node.events.iter().filter_map(reason).collect()
}

#[test]
fn nothing_is_heard_before_the_introduction() {
    let mut node = node();
    node.hear(LINK, "{\"type\":\"query\",\"to\":[],\"key\":\"\",\"id\":\"x\"}");
    assert_eq!(node.take(LINK), [""; 0]);
    assert_eq!(node.replica.stats().unintroduced, 1);
}

#[test]
fn introductions_that_do_not_fit_end_the_connection() {
    let (alice, bob) = (identity("alicepeer"), identity("bobpeer"));
    let wall = Clock::new().now().wall;
    let sign = |text: &str, time: UnixMillis, who: &Identity| {
        let endpoint = Endpoint::new("127.0.0.1", 8080).unwrap();
        Peer::sign(Topic::new(text).unwrap(), endpoint, time, who).to_json()
    };
    let name = alice.address().client_id().to_string();
    let shift = |millis: i64| UnixMillis(wall.0 + millis);
    let genuine = sign("test-topic", wall, &alice);
    let cases = [
        (sign("test-topic", wall, &bob), CloseReason::Forged),
        (genuine.replace("8080", "8081"), CloseReason::Forged),
        (sign("other-topic", wall, &alice), CloseReason::OtherTopic),
        (sign("test-topic", shift(-120_001), &alice), CloseReason::Stale),
        (sign("test-topic", shift(120_001), &alice), CloseReason::Stale),
    ];
    for (peer, expected) in cases {
        let mut node = node();
        node.hear(LINK, frame(&name, "false", &peer));
        assert_eq!(closed(&node), [expected]);
        assert_eq!(node.take(LINK), [""; 0]);
        node.hear(LINK, "{\"type\":\"query\",\"to\":[],\"key\":\"\",\"id\":\"x\"}");
        assert_eq!(node.take(LINK), [""; 0]);
    }
    let mut node = node();
    node.hear(LINK, frame(&name, "false", &genuine));
    assert_eq!(closed(&node), []);
    assert!(node.take(LINK)[0].contains("\"type\":\"pong\""));
}

#[test]
fn the_name_of_another_diverts_nothing() {
    let mut node = node();
    let (alice, eve) = (identity("alicepeer"), identity("bobpeer"));
    node.close(LINK);
    node.welcome(LINK, &alice);
    node.take(LINK);
    let other = LinkId(2);
    node.open(other, Side::Accepted, Source::Stranger);
    let forged = ping(&eve, node.clock.now().wall, "false")
        .replace(eve.address().client_id().as_str(), alice.address().client_id().as_str());
    node.hear(other, forged);
    assert_eq!(closed(&node), [CloseReason::Forged]);
    node.hear(LINK, "{\"type\":\"query\",\"to\":[],\"key\":\"k\",\"id\":\"q\"}");
    assert!(node.take(LINK)[0].contains("\"queryAck\""));
    assert_eq!(node.take(other), [""; 0]);
}

#[test]
fn oversized_frames_end_the_connection() {
    let mut node = node();
    node.hear(LINK, vec![b' '; 1024 * 1024]);
    assert_eq!((closed(&node).len(), node.replica.stats().malformed), (0, 1));
    node.hear(LINK, vec![b' '; 1024 * 1024 + 1]);
    assert_eq!(closed(&node), [CloseReason::FrameTooLarge]);
}

/// Lets two nodes talk over one connection until both are silent.
fn converse(one: &mut Node, two: &mut Node) {
    loop {
        let (from_one, from_two) = (one.take(LINK), two.take(LINK));
        if from_one.is_empty() && from_two.is_empty() {
            return;
        }
        for text in &from_one {
            two.hear(LINK, text);
        }
        for text in &from_two {
            one.hear(LINK, text);
        }
    }
}

#[test]
fn servers_introduce_themselves_to_each_other_and_name_those_they_know() {
    let clock = Clock::new();
    let config = |port| tooldb::Config { backfill: Backfill::Never, ..server(port) };
    let mut dialler = Node::new(config(9402), &identity("server2"), clock);
    let mut listener = Node::new(config(9401), &identity("server1"), clock);
    let third = LinkId(3);
    listener.open(third, Side::Accepted, Source::Stranger);
    let carol = identity("carol");
    listener.hear(third, ping(&carol, clock.now().wall, "true"));
    listener.take(third);

    dialler.open(LINK, Side::Dialled, Source::Stranger);
    listener.open(LINK, Side::Accepted, Source::Stranger);
    converse(&mut dialler, &mut listener);
    let met = |node: &Node| {
        node.events
            .iter()
            .map(|event| {
                if let Event::Learned { server, .. } = event {
                    return format!("heard of {}", server.address().client_id());
                }
                let Event::Introduced { client, .. } = event else { panic!("{event:?}") };
                client.to_string()
            })
            .collect::<Vec<_>>()
    };
    let name = |who: &str| identity(who).address().client_id().to_string();
    assert_eq!(met(&dialler), [name("server1"), format!("heard of {}", name("carol"))]);
    assert_eq!(met(&listener), [name("carol"), name("server2")]);
}

#[test]
fn a_pong_must_answer_our_ping_and_be_signed_by_who_it_names() {
    let clock = Clock::new();
    let (own, other) = (identity("server2"), identity("server1"));
    let pong = |id: &str, servers: &[Peer]| {
        let servers: Vec<String> = servers.iter().map(Peer::to_json).collect();
        let name = other.address().client_id();
        format!(
            "{{\"type\":\"pong\",\"isServer\":true,\"clientId\":\"{name}\",\"to\":[\"{name}\"],\
             \"servers\":[{}],\"id\":\"{id}\"}}",
            servers.join(",")
        )
    };
    let endpoint = Endpoint::new("127.0.0.1", 9401).unwrap();
    let genuine = Peer::sign(topic(), endpoint.clone(), UnixMillis(5), &other);
    let foreign = Peer::sign(Topic::new("t").unwrap(), endpoint, UnixMillis(5), &other);
    for (servers, expected) in [(vec![], 1), (vec![foreign], 1), (vec![genuine.clone()], 0)] {
        let mut node = Node::new(server(9402), &own, clock);
        node.open(LINK, Side::Dialled, Source::Stranger);
        let ping = node.take(LINK).remove(0);
        let (_, id) = ping.split_once("\"id\":\"").unwrap();
        node.hear(LINK, pong("elsewhere", std::slice::from_ref(&genuine)));
        assert_eq!((node.events.len(), node.replica.stats().malformed), (0, 1));
        node.hear(LINK, pong(id.get(..10).unwrap(), &servers));
        assert_eq!(closed(&node).len(), expected);
    }
}

#[test]
fn a_pong_lists_few_of_those_who_say_that_they_are_servers() {
    let mut node = Node::new(server(9401), &identity("server1"), Clock::new());
    for place in 0..100 {
        let link = LinkId(u64::from(place));
        node.open(link, Side::Accepted, Source::Stranger);
        node.hear(link, ping(&Identity::from_seed([place; 32]), node.clock.now().wall, "true"));
    }
    let (_, _, pong) = node.sent.iter().rfind(|(_, _, text)| text.contains("\"pong\"")).unwrap();
    assert_eq!(pong.matches("\"sig\"").count(), 64);
}
