//! Connections and peers beside the truth of a scripted network, and the doctor's word about them.

use std::sync::Arc;

use monitor::doctor::{Plan, Wanted, examine, examine_running};
use monitor::words::{Cause, company};
use monitor::{Source, top};
use node::roster::Role;
use node::snapshot::{DialStep, PeerState, Reason, TopicRole};
use node::{
    AssumedFirewall, Config, Connection, DialOptions, Event, Id, Identity, ListenOptions, Listener, Node,
    Permit, Snapshot, Standing, SwarmOptions,
};

use crate::world::{Watched, network, sample, soon};

fn identity(n: u8) -> Arc<Identity> {
    Arc::new(Identity::from_seed([n; 32]))
}

/// A node that nobody stores; firewalled ones are reached through others only.
async fn visitor(nodes: &[Node], firewall: AssumedFirewall) -> Node {
    let config = Config::testnet(vec![nodes[0].server_address()]);
    let node = Node::spawn(Config { firewall, standing: Standing::Ephemeral, ..config }).await.unwrap();
    soon(node.ready()).await.unwrap();
    node
}

async fn serve(node: &Node, key: &Arc<Identity>, options: ListenOptions) -> Listener {
    let mut events = node.events();
    let listener = node.serve(key, options).await.unwrap();
    soon(async {
        while !matches!(events.recv().await.unwrap(), Event::Reachable { relays, .. } if !relays.is_empty()) {
        }
    })
    .await;
    listener
}

async fn dial(node: &Node, to: &Arc<Identity>, from: u8, options: DialOptions) -> Connection {
    soon(node.connect(to.public_key(), &identity(from), options)).await.unwrap()
}

/// What the snapshot says stands on the pages, on the terminal and in the metrics.
async fn assert_shown(watched: &Watched, snapshot: Snapshot) {
    let (_, metrics) = watched.get("/metrics").await;
    let figures = [
        ("dht_nodes{net=\"hyperdht\"}", 8.0),
        ("peers_connected", 3.0),
        ("peers_known", 3.0),
        ("conn_incoming", 4.0),
        ("conn_opened_total", 4.0),
        ("conn_closed_total", 0.0),
    ];
    for (name, value) in figures {
        assert_eq!(sample(&metrics, name), Some(value), "{name}");
    }
    for (path, count) in snapshot.connections.paths.named() {
        let count = f64::from(u32::try_from(count).unwrap());
        assert_eq!(sample(&metrics, &format!("conn_active{{path=\"{path}\"}}")), Some(count), "{path}");
    }
    let (_, page) = watched.get("/").await;
    assert!(
        page.contains("<strong>8</strong> DHT nodes") && page.contains("<strong>3</strong> peers connected"),
        "{page}"
    );
    let (_, page) = watched.get("/peers").await;
    assert!(page.contains("3 connected, 3 known"), "{page}");
    let screen = top::Screen::new(snapshot).text(120, 40).unwrap();
    assert!(screen.contains("DHT nodes 8   peers connected 3 of 3 known"), "{screen}");
    let source = Source::monitor(watched.monitor.address(), &watched.token_file()).unwrap();
    assert_eq!(soon(source.snapshot()).await.unwrap().connections.open, 4);
}

#[tokio::test]
async fn connections_peers_and_nodes_are_three_counts_and_the_same_in_every_form() {
    let mut nodes = network(8).await;
    // A node with nine strangers in its table and nobody it is connected with.
    let server = visitor(&nodes, AssumedFirewall::ClosedUntested).await;
    let watched = Watched::new(&server, "company").await;
    watched.until(|snapshot| snapshot.nodes.known == 8).await;
    let alone = server.snapshot().await.unwrap();
    assert_eq!((alone.nodes.known, alone.peers.known, alone.connections.open), (8, 0, 0));
    assert_eq!(company(&alone).word, "Nobody");

    let key = identity(1);
    let mut listener = serve(&server, &key, ListenOptions::default()).await;
    let mut held = Vec::new();
    for n in 2..5 {
        let client = visitor(&nodes, AssumedFirewall::ClosedUntested).await;
        let here = dial(&client, &key, n, DialOptions::default()).await;
        let mut there = soon(listener.accept()).await.unwrap();
        here.send(b"hello").await.unwrap();
        assert_eq!(soon(there.recv()).await.as_deref(), Some(&b"hello"[..]));
        held.push((here, there));
        nodes.push(client);
    }
    // Two connections with one key are two connections with one peer.
    let twice = dial(&nodes[8], &key, 2, DialOptions::default()).await;
    let mut again = soon(listener.accept()).await.unwrap();
    twice.send(b"me again").await.unwrap();
    soon(again.recv()).await.unwrap();
    watched.until(|snapshot| snapshot.connections.open == 4).await;

    let (_, json) = watched.get("/api/snapshot").await;
    let snapshot: Snapshot = serde_json::from_str(&json).unwrap();
    let connections = &snapshot.connections;
    assert_eq!((connections.open, connections.incoming, snapshot.peers.connected), (4, 4, 3));
    assert_eq!((snapshot.peers.known, snapshot.nodes.known), (3, 8));
    assert_eq!((connections.opened, connections.closed, connections.attempted), (4, 0, 0));
    assert_eq!(connections.paths.named().iter().map(|(_, count)| count).sum::<usize>(), 4);
    let mut told: Vec<_> = snapshot.peers.list.iter().map(|peer| peer.key.0).collect();
    told.dedup();
    let mut truth: Vec<_> = (2..5).map(|n| identity(n).public_key()).collect();
    truth.sort_unstable();
    assert_eq!(told, truth);
    for peer in &snapshot.peers.list {
        let link = peer.link.as_ref().unwrap();
        assert_eq!((peer.state, link.incoming, link.frames_in), (PeerState::Connected, true, 1));
        assert_eq!(peer.local.map(|key| key.0), Some(key.public_key()));
    }
    let streams: u64 =
        snapshot.peers.list.iter().map(|peer| peer.link.as_ref().unwrap().traffic.bytes_in).sum();
    assert_eq!(streams, connections.streams.bytes_in);
    assert_eq!(snapshot.peers.listening[0].public_key.0, key.public_key());

    assert_shown(&watched, snapshot).await;

    // One peer goes; the others stay, and no node is missed.
    drop(held.pop());
    watched.until(|snapshot| snapshot.connections.open == 3).await;
    let after = server.snapshot().await.unwrap();
    assert_eq!((after.connections.closed, after.peers.connected, after.nodes.known), (1, 2, 8));
    let (_, events) = watched.get("/events?only=conn").await;
    assert_eq!(events.matches("<code>conn.open</code>").count(), 4, "{events}");
    assert_eq!(events.matches("<code>conn.closed</code>").count(), 1, "{events}");
}

#[tokio::test]
async fn a_swarms_topic_its_peers_and_its_counts_are_shown_as_they_are() {
    let nodes = network(6).await;
    let topic = Id([8; 32]);
    let mut members = Vec::new();
    for n in 1..4 {
        let node = visitor(&nodes, AssumedFirewall::Open).await;
        let swarm = node.swarm(&identity(n), SwarmOptions::default()).await.unwrap();
        let role = if n == 1 { Role::Both } else { Role::Find };
        swarm.join(topic, role).await.unwrap();
        soon(swarm.flush()).await.unwrap();
        members.push((node, swarm));
    }
    let mut meetings = Vec::new();
    for (_, swarm) in &mut members[..1] {
        for _ in 0..2 {
            meetings.push(soon(swarm.next()).await.unwrap());
        }
    }
    meetings.push(soon(members[1].1.next()).await.unwrap());
    meetings.push(soon(members[2].1.next()).await.unwrap());
    let announcer = members[0].0.snapshot().await.unwrap();
    let finder = members[1].0.snapshot().await.unwrap();
    let (mine, theirs) = (&announcer.peers.topics[0], &finder.peers.topics[0]);
    assert_eq!((mine.role, theirs.role), (TopicRole::Both, TopicRole::Find));
    let mut stored = 0;
    for node in &nodes {
        stored += node.snapshot().await.unwrap().stored.topics;
    }
    assert_eq!((mine.stored, mine.holders.len(), theirs.stored), (stored, stored, 0));
    assert!(mine.announced_ms_ago.is_some() && theirs.announced_ms_ago.is_none());
    // Who only announces itself is found by none here, and finds none: they called.
    assert_eq!((theirs.found, theirs.connected), (Some(1), Some(1)));
    assert_eq!((announcer.peers.connected, finder.peers.connected), (2, 1));
    let census = members[0].1.census().await.unwrap();
    let told = announcer.peers.swarms[0];
    assert_eq!(
        (told.client_attempted, told.server_opened, told.open, told.known),
        (census.outgoing_attempted, census.incoming_opened, census.links_open, census.peers_known)
    );
    assert_eq!((told.server_opened, told.open), (2, 2));
    let row = finder.peers.list.iter().find(|peer| peer.key.0 == identity(1).public_key()).unwrap();
    assert_eq!(row.topics.iter().map(|topic| topic.0).collect::<Vec<_>>(), [topic]);
    let report = soon(examine_running(&members[0].0)).await;
    assert_eq!(report.cause(), None, "{}", report.text());
    assert!(report.text().contains("A fresh node finds this one under 1 topics"), "{}", report.text());
    assert!(!report.text().contains(&topic.to_string()));
}

#[tokio::test]
async fn a_dial_that_fails_leaves_its_step_its_cause_and_an_event() {
    let nodes = network(6).await;
    let client = visitor(&nodes, AssumedFirewall::ClosedUntested).await;
    let watched = Watched::new(&client, "failures").await;
    let nobody = identity(9).public_key();
    let refused = soon(client.connect(nobody, &identity(2), DialOptions::default())).await;
    assert!(refused.is_err());

    // The key is announced, and no way is allowed that would lead there.
    let server = visitor(&nodes, AssumedFirewall::ClosedUntested).await;
    let mut shy = ListenOptions::default();
    shy.lan = Permit::Forbidden;
    let _listener = serve(&server, &identity(1), shy).await;
    let mut options = DialOptions::default();
    (options.lan, options.punch) = (Permit::Forbidden, Permit::Forbidden);
    let near = identity(1).public_key();
    assert!(soon(client.connect(near, &identity(2), options)).await.is_err());

    let snapshot = client.snapshot().await.unwrap();
    let row = snapshot.peers.list.iter().find(|peer| peer.key.0 == nobody).unwrap();
    let failure = row.failure.as_ref().unwrap();
    assert_eq!((failure.step, failure.reason, row.state), (DialStep::Find, Reason::Unknown, PeerState::Idle));
    let row = snapshot.peers.list.iter().find(|peer| peer.key.0 == near).unwrap();
    let failure = row.failure.as_ref().unwrap();
    assert_eq!((failure.step, failure.reason), (DialStep::Punch, Reason::NoPath));
    assert_eq!(
        (snapshot.connections.attempted, snapshot.connections.failed, snapshot.peers.known),
        (2, 2, 2)
    );
    watched.until(|snapshot| snapshot.connections.failed == 2).await;
    let (_, metrics) = watched.get("/metrics").await;
    for cause in ["PEER_NOT_ANNOUNCED", "RELAY_NONE"] {
        assert_eq!(
            sample(&metrics, &format!("peers_unreached{{cause=\"{cause}\"}}")),
            Some(1.0),
            "{metrics}"
        );
    }
    let (_, events) = watched.get("/events?only=conn.failed").await;
    assert!(events.contains("<code>PEER_NOT_ANNOUNCED</code>"), "{events}");
    let (_, page) = watched.get("/peers").await;
    assert!(page.contains("asking the network for the key"), "{page}");
    let report = soon(examine_running(&client)).await;
    assert_eq!(
        (report.cause(), report.exit_code()),
        (Some(Cause::PeerNotAnnounced), 30),
        "{}",
        report.text()
    );
    assert!(!report.text().contains(&nobody.to_string()));
}

#[tokio::test]
async fn the_doctor_connects_to_a_key_and_tells_the_dead_and_the_refusing_apart() {
    let nodes = network(6).await;
    let examined = async |key: u8| {
        let config = Config::testnet(vec![nodes[0].server_address()]);
        let wanted = Some(Wanted::Key(identity(key).public_key()));
        let report = soon(examine(Plan { config, wanted, data_dir: None })).await;
        (report.cause(), report.exit_code(), report.text())
    };
    let server = visitor(&nodes, AssumedFirewall::Open).await;
    let _listener = serve(&server, &identity(1), ListenOptions::default()).await;
    let (cause, code, text) = examined(1).await;
    assert_eq!((cause, code), (None, 0), "{text}");
    assert!(text.contains("A connection opened"), "{text}");

    // It ends without taking its announcement back, as when it is killed.
    let gone = visitor(&nodes, AssumedFirewall::ClosedUntested).await;
    let _gone = serve(&gone, &identity(3), ListenOptions::default()).await;
    gone.suspend().await.unwrap();
    let (cause, code, text) = examined(3).await;
    assert_eq!((cause, code), (Some(Cause::PeerOffline), 30), "{text}");
}
