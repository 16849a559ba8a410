use std::net::UdpSocket;
use std::path::PathBuf;

use node::{
    AnyPort, AskError, Bootstrap, Config, Event, Id, KeyPair, Left, Node, Resident, SpawnError, Standing,
    Stopped, WalkError, control,
};

use crate::network::{address, bootstrapper, hermit, join, soon};

#[tokio::test]
async fn what_one_node_announces_another_finds_until_it_is_left() {
    let first = bootstrapper().await;
    let (announcer, seeker) = (join(&first).await, join(&first).await);
    let (topic, key) = (Id([7; 32]), KeyPair::from_seed([8; 32]));
    let mut events = announcer.events();
    announcer.announce(topic, key.clone()).await.unwrap();
    assert_eq!(soon(events.recv()).await.unwrap(), Event::Announced { topic, stored: 2 });

    let mut lookup = seeker.lookup(topic).await.unwrap();
    let found = soon(lookup.next()).await.unwrap();
    assert_eq!(found.peer.public_key, key.public_key());
    // The announcer does not store on itself, and the seeker does not ask itself.
    assert!(soon(lookup.next()).await.is_none());
    assert_eq!(soon(lookup.finish()).await.unwrap().figures.responses, 2);
    let snapshot = seeker.snapshot().await.unwrap();
    assert_eq!((snapshot.nodes.known, snapshot.peers.found), (2, 1));

    assert_eq!(announcer.leave(topic).await.unwrap().unwrap().stored, 2);
    let mut lookup = seeker.lookup(topic).await.unwrap();
    assert!(soon(lookup.next()).await.is_none());
}

#[tokio::test]
async fn shutting_down_unannounces_and_other_handles_find_the_node_stopped() {
    let first = bootstrapper().await;
    let (announcer, seeker) = (join(&first).await, join(&first).await);
    let topic = Id([9; 32]);
    let mut events = announcer.events();
    announcer.announce(topic, KeyPair::from_seed([8; 32])).await.unwrap();
    soon(events.recv()).await.unwrap();
    let other = announcer.clone();
    let left = soon(announcer.shutdown()).await.unwrap();
    assert_eq!(left, [Left { topic, removed: Some(2) }]);
    assert!(soon(seeker.lookup(topic).await.unwrap().next()).await.is_none());
    assert_eq!(other.ready().await, Err(Stopped));
    assert!(matches!(other.ping(first.server_address()).await, Err(AskError::Stopped(Stopped))));
}

#[tokio::test]
async fn dropping_what_waits_for_an_operation_cancels_it() {
    let node = hermit().await;
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = address(&silent);
    {
        let mut ping = std::pin::pin!(node.ping(to));
        // Polled once, so that the question is asked; the snapshot is taken after it.
        let polled = tokio::time::timeout(std::time::Duration::ZERO, &mut ping).await;
        assert!(polled.is_err());
        assert_eq!(node.snapshot().await.unwrap().requests.active, 1);
    }
    assert_eq!(soon(node.snapshot()).await.unwrap().requests.active, 0);
}

#[tokio::test]
async fn a_suspended_node_is_silent_and_comes_back_on_its_port() {
    let first = bootstrapper().await;
    let node = join(&first).await;
    let before = node.snapshot().await.unwrap();
    let mut events = node.events();
    node.suspend().await.unwrap();
    assert_eq!(soon(events.recv()).await.unwrap(), Event::Suspended);
    let asleep = node.snapshot().await.unwrap();
    assert!(asleep.state.suspended);
    assert!(asleep.sockets.iter().all(|socket| socket.local.is_none()));
    assert!(matches!(node.find_node(Id([0; 32])).await, Err(WalkError::Suspended)));

    node.resume().await.unwrap();
    while soon(events.recv()).await.unwrap() != Event::Resumed {}
    let after = node.snapshot().await.unwrap();
    assert_eq!(after.sockets[0].local.unwrap().ip(), before.sockets[0].local.unwrap().ip());
    assert!(after.sockets[0].packets_out >= before.sockets[0].packets_out, "counters go on");
    let seen_as = soon(node.ping(first.server_address())).await.unwrap().seen_as;
    let locals: Vec<_> = after.sockets.iter().filter_map(|socket| socket.local).collect();
    assert!(locals.contains(&seen_as));
}

#[tokio::test]
async fn a_node_that_nobody_holds_gives_its_port_back() {
    let node = bootstrapper().await;
    let address = node.server_address();
    drop(node);
    let free = async {
        while UdpSocket::bind(address).is_err() {
            tokio::task::yield_now().await;
        }
    };
    soon(free).await;
}

#[tokio::test]
async fn a_bootstrap_node_may_be_named() {
    let first = bootstrapper().await;
    let named = format!("localhost:{}", first.server_address().port()).parse().unwrap();
    assert!(matches!(named, Bootstrap::Name { .. }));
    let config = Config { bootstrap: vec![named], ..Config::testnet(Vec::new()) };
    let node = Node::spawn(config).await.unwrap();
    soon(node.ready()).await.unwrap();
    assert_eq!(node.nodes().await.unwrap(), [first.server_address()]);
}

#[tokio::test]
async fn a_taken_port_is_refused_or_the_next_one_taken_as_configured() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = address(&taken).port();
    let config = Config { port, any_port: AnyPort::Refused, ..Config::testnet(Vec::new()) };
    let Err(SpawnError::Bind(at, _)) = Node::spawn(config.clone()).await else { panic!("it took the port") };
    assert_eq!(at.port(), port);
    let node = Node::spawn(Config { any_port: AnyPort::Allowed, ..config }).await.unwrap();
    assert_ne!(node.server_address().port(), port);
}

#[tokio::test]
async fn a_resident_remembers_the_network_and_answers_others() {
    let first = bootstrapper().await;
    let path = Scratch::new();
    // Ephemeral, so that the other does not remember it and name it to its successor.
    let config = Config { standing: Standing::Ephemeral, ..Config::testnet(vec![first.server_address()]) };
    let resident = Resident::spawn(config, &path.0).await.unwrap();
    soon(resident.ready()).await.unwrap();
    let key = resident.key().public_key();
    let answer = soon(control::ask(&path.0, &control::Request::Snapshot)).await.unwrap();
    let control::Answer::Snapshot(snapshot) = answer else { panic!("{answer:?}") };
    assert_eq!(snapshot.nodes.table[0].address, first.server_address());
    soon(resident.shutdown()).await.unwrap();
    let gone = control::ask(&path.0, &control::Request::Snapshot).await.unwrap_err();
    assert_eq!(gone.to_string(), format!("no node is running with {}", path.0.display()));

    let again = Resident::spawn(Config::testnet(Vec::new()), &path.0).await.unwrap();
    soon(again.ready()).await.unwrap();
    assert_eq!(again.node().nodes().await.unwrap(), [first.server_address()]);
    assert_eq!(again.key().public_key(), key);
}

/// The name of a directory that goes away with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        Self(std::env::temp_dir().join(format!("homing-node-{}", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}
