//! Connections between two nodes: frames, bytes, ends, swarms.

use std::sync::Arc;

use node::roster::Role;
use node::{
    Admission, AssumedFirewall, Config, ConnectError, Connection, DialError, DialOptions, Direction, Event,
    Id, Identity, LinkError, ListenOptions, Listener, Node, Permit, Route, SwarmOptions,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::network::{bootstrapper, join, soon};

fn identity(seed: u8) -> Arc<Identity> {
    Arc::new(Identity::from_seed([seed; 32]))
}

/// A network of a few nodes that pass handshakes on.
async fn network() -> Vec<Node> {
    let mut nodes = vec![bootstrapper().await];
    for _ in 0..3 {
        nodes.push(join(&nodes[0]).await);
    }
    nodes
}

/// A node that nobody stores; firewalled ones are reached through others only.
async fn visitor(nodes: &[Node], firewall: AssumedFirewall) -> Node {
    let config = Config::testnet(vec![nodes[0].server_address()]);
    let standing = node::Standing::Ephemeral;
    let node = Node::spawn(Config { firewall, standing, ..config }).await.unwrap();
    soon(node.ready()).await.unwrap();
    node
}

async fn serve(node: &Node, key: &Arc<Identity>, options: ListenOptions) -> Listener {
    let mut events = node.events();
    let listener = node.serve(key, options).await.unwrap();
    let announced = async {
        loop {
            if matches!(events.recv().await.unwrap(), Event::Reachable { relays, .. } if !relays.is_empty()) {
                return;
            }
        }
    };
    soon(announced).await;
    listener
}

/// Both ends of one connection between two nodes that believe to be behind firewalls.
async fn pair() -> (Vec<Node>, Connection, Connection) {
    let mut nodes = network().await;
    let server = visitor(&nodes, AssumedFirewall::ClosedUntested).await;
    let client = visitor(&nodes, AssumedFirewall::ClosedUntested).await;
    let mut listener = serve(&server, &identity(1), ListenOptions::default()).await;
    let own = identity(2);
    let dialled = client.connect(identity(1).public_key(), &own, DialOptions::default());
    let (there, here) = soon(async { tokio::join!(listener.accept(), dialled) }).await;
    nodes.extend([server, client]);
    (nodes, there.unwrap(), here.unwrap())
}

#[tokio::test]
async fn frames_arrive_whole_in_both_directions_and_each_side_knows_the_other() {
    let (_nodes, mut there, mut here) = pair().await;
    assert_eq!((here.remote(), there.remote()), (identity(1).public_key(), identity(2).public_key()));
    assert_eq!((here.direction(), there.direction()), (Direction::Outgoing, Direction::Incoming));
    let long = vec![7; 300_000];
    for frame in [&b"first"[..], b"second", &long] {
        here.send(frame).await.unwrap();
        assert_eq!(soon(there.recv()).await.as_deref(), Some(frame));
        there.send(frame).await.unwrap();
        assert_eq!(soon(here.recv()).await.as_deref(), Some(frame));
    }
}

#[tokio::test]
async fn megabytes_of_bytes_arrive_while_a_slow_reader_holds_the_writer_back() {
    const LEN: usize = 8 << 20;
    let (_nodes, there, here) = pair().await;
    let (mut there, mut here) = (there, here);
    let bytes: Vec<u8> = (0..LEN).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let sent = bytes.clone();
    let writer = tokio::spawn(async move {
        here.write_all(&sent).await.unwrap();
        here.shutdown().await.unwrap();
        let mut answer = Vec::new();
        here.read_to_end(&mut answer).await.unwrap();
        answer
    });
    let mut received = Vec::new();
    soon(there.read_to_end(&mut received)).await.unwrap();
    assert!(received == bytes, "what arrived is not what was sent");
    // The other direction is still open after the first has ended.
    there.write_all(b"all of it").await.unwrap();
    there.shutdown().await.unwrap();
    assert_eq!(soon(writer).await.unwrap(), b"all of it");
    assert_eq!(soon(there.closed()).await, LinkError::Finished);
}

#[tokio::test]
async fn dropping_one_end_closes_the_other() {
    let (_nodes, there, mut here) = pair().await;
    drop(there);
    assert_eq!(soon(here.recv()).await, None);
    assert_eq!(soon(here.closed()).await, LinkError::Reset);
    assert!(here.send(b"too late").await.is_err());
}

#[tokio::test]
async fn without_addresses_of_the_network_two_firewalled_nodes_punch() {
    let nodes = network().await;
    let server = visitor(&nodes, AssumedFirewall::ClosedUntested).await;
    let client = visitor(&nodes, AssumedFirewall::ClosedUntested).await;
    let mut options = ListenOptions::default();
    options.lan = Permit::Forbidden;
    let mut listener = serve(&server, &identity(3), options).await;
    let mut how = DialOptions::default();
    how.lan = Permit::Forbidden;
    let key = identity(3).public_key();
    let own = identity(4);
    let dialled = client.connect(key, &own, how.clone());
    let (there, here) = soon(async { tokio::join!(listener.accept(), dialled) }).await;
    assert_eq!((here.unwrap().route(), there.unwrap().route()), (Route::Punched, Route::Punched));
    // Where nothing is left to try, the dial says so.
    how.punch = Permit::Forbidden;
    let refused = soon(client.connect(key, &identity(5), how)).await;
    assert!(matches!(refused, Err(ConnectError::Dial(DialError::CannotPunch))), "{refused:?}");
}

#[tokio::test]
async fn a_key_that_nobody_serves_is_not_found() {
    let nodes = network().await;
    let refused =
        soon(nodes[1].connect(identity(9).public_key(), &identity(8), DialOptions::default())).await;
    assert!(matches!(refused, Err(ConnectError::Dial(DialError::NotFound))), "{refused:?}");
}

#[tokio::test]
async fn swarms_of_one_topic_meet_once_each_and_meet_again_after_a_close() {
    let nodes = network().await;
    let topic = Id([5; 32]);
    let mut swarms = Vec::new();
    for (seed, node) in (20..).zip(&nodes[1..4]) {
        let swarm = node.swarm(&identity(seed), SwarmOptions::default()).await.unwrap();
        swarm.join(topic, Role::Both).await.unwrap();
        swarms.push(swarm);
    }
    let mut met = Vec::new();
    for swarm in &mut swarms {
        for _ in 0..2 {
            met.push(soon(swarm.next()).await.unwrap().connection);
        }
        let census = swarm.census().await.unwrap();
        assert_eq!((census.links_open, census.peers_known), (2, 2));
    }
    // The side that did not dial cannot know where to look, so the one that did comes back.
    let outgoing = met.iter().position(|connection| connection.direction() == Direction::Incoming).unwrap();
    let closed = met.swap_remove(outgoing);
    let (one, other) = (closed.local(), closed.remote());
    drop(closed);
    let again = swarms.iter_mut().find(|swarm| swarm.public_key() == one).unwrap();
    assert_eq!(soon(again.next()).await.unwrap().connection.remote(), other);
}

#[tokio::test]
async fn a_node_that_is_shut_down_tells_its_peers_at_once() {
    let (mut nodes, _there, here) = pair().await;
    // The server's node is the last but one; its handle of the connection is still held.
    let server = nodes.remove(nodes.len() - 2);
    soon(server.shutdown()).await.unwrap();
    assert_eq!(soon(here.closed()).await, LinkError::Reset);
}

#[tokio::test]
async fn a_node_that_is_suspended_tells_its_peers_before_its_sockets_close() {
    let (nodes, _there, here) = pair().await;
    nodes[nodes.len() - 2].suspend().await.unwrap();
    assert_eq!(soon(here.closed()).await, LinkError::Reset);
}

#[tokio::test]
async fn whichever_side_of_a_meeting_speaks_first_is_heard() {
    let nodes = network().await;
    let topic = Id([6; 32]);
    let mut served = nodes[1].swarm(&identity(30), SwarmOptions::default()).await.unwrap();
    served.join(topic, Role::Announce).await.unwrap();
    soon(served.flush()).await.unwrap();
    let mut dialling = nodes[2].swarm(&identity(31), SwarmOptions::default()).await.unwrap();
    dialling.join(topic, Role::Find).await.unwrap();
    let mut there = soon(served.next()).await.unwrap().connection;
    let mut here = soon(dialling.next()).await.unwrap().connection;
    // The dialling side has taken the peer's first packet before it knew that it keeps the connection.
    there.send(b"from the side that was dialled").await.unwrap();
    assert_eq!(soon(here.recv()).await.unwrap(), b"from the side that was dialled");
    here.send(b"from the side that dialled").await.unwrap();
    assert_eq!(soon(there.recv()).await.unwrap(), b"from the side that dialled");
}

#[tokio::test]
async fn whoever_serves_a_key_may_ask_itself_who_comes_in() {
    let nodes = network().await;
    let mut options = ListenOptions::default();
    options.admission = Admission::Ask;
    let mut visits = nodes[1].visits(identity(40).public_key()).await.unwrap();
    let mut listener = serve(&nodes[1], &identity(40), options).await;
    let (welcome, stranger) = (identity(41), identity(42));
    let judged = async {
        for _ in 0..2 {
            let visit = visits.next().await.unwrap();
            if visit.remote() == welcome.public_key() {
                visit.admit().await.unwrap();
            } else {
                visit.refuse().await.unwrap();
            }
        }
    };
    let key = identity(40).public_key();
    let dialled = async {
        let refused = nodes[2].connect(key, &stranger, DialOptions::default()).await;
        let let_in = nodes[2].connect(key, &welcome, DialOptions::default()).await;
        (refused, let_in)
    };
    let ((), (refused, let_in), accepted) =
        soon(async { tokio::join!(judged, dialled, listener.accept()) }).await;
    assert!(matches!(refused, Err(ConnectError::Dial(_))), "{refused:?}");
    assert_eq!(let_in.unwrap().remote(), key);
    assert_eq!(accepted.unwrap().remote(), welcome.public_key());
}

#[tokio::test]
async fn nobody_comes_in_where_nobody_takes_the_question() {
    let nodes = network().await;
    let mut options = ListenOptions::default();
    options.admission = Admission::Ask;
    let _listener = serve(&nodes[1], &identity(43), options).await;
    let client = identity(44);
    let dialled = nodes[2].connect(identity(43).public_key(), &client, DialOptions::default());
    assert!(matches!(soon(dialled).await, Err(ConnectError::Dial(_))));
}
