//! Databases that have nothing in common but the topic, on private networks of loopback.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use db::{Db, Discovery, Event, Networks, Over};
use node::mainline::{self, Mainline};
use node::{Config, Identity, Node};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tooldb::message::{Role, Verdict};

use crate::home::{Home, arrived, draft, key, listen, met};
use crate::temporary::Temporary;
use crate::tls::{authority, certificate};

/// Nothing here takes this long.
const PATIENCE: Duration = Duration::from_secs(30);
/// This computer by an address that nobody listens on.
const NOWHERE: &str = "127.0.0.2";
const DOOR: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it takes too long")
}

/// Nodes of HyperDHT that pass handshakes on.
async fn hyper() -> Vec<Node> {
    let first = loop {
        let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let SocketAddr::V4(free) = free else { panic!("IPv4 was asked for") };
        // Another test may take the port that was free; then try another.
        if let Ok(node) = Node::spawn(Config::bootstrapper(free)).await {
            break node;
        }
    };
    let mut nodes = vec![first];
    for _ in 0..3 {
        let node = member(&nodes).await;
        nodes.push(node);
    }
    nodes
}

async fn member(nodes: &[Node]) -> Node {
    let node = Node::spawn(Config::testnet(vec![nodes[0].server_address()])).await.unwrap();
    soon(node.ready()).await.unwrap();
    node
}

/// A database that looks for others on HyperDHT only.
struct Peer {
    home: Home,
    node: Node,
    _discovery: Discovery,
}

impl Peer {
    async fn open(home: Home, seed: u8, nodes: &[Node]) -> Self {
        let node = member(nodes).await;
        let identity = Arc::new(Identity::from_seed([seed; 32]));
        let networks = Networks { hyper: Some((node.clone(), identity)), ..Networks::default() };
        let discovery = Discovery::open(&home.db, networks).await.unwrap();
        Self { home, node, _discovery: discovery }
    }

    /// A server whose address leads nowhere.
    async fn hidden(directory: Temporary, seed: u8, nodes: &[Node]) -> Self {
        Self::open(announced(directory, NOWHERE).await, seed, nodes).await
    }

    async fn close(self) -> Temporary {
        self.node.shutdown().await.unwrap();
        self.home.close().await
    }
}

async fn announced(directory: Temporary, host: &str) -> Home {
    Home::open(directory, |config| {
        config.listen = Some(db::Listen { announced: Some(host.into()), ..listen(0) });
    })
    .await
}

/// Waits until a server is talked to in a way.
async fn talks(events: &mut tokio::sync::broadcast::Receiver<Event>, way: Over) {
    let connected = async {
        loop {
            if let Event::Connected { role: Role::Server, over, .. } = events.recv().await.unwrap()
                && over == way
            {
                return;
            }
        }
    };
    soon(connected).await;
}

async fn write(db: &Db, name: &str) {
    let author = tooldb::Identity::from_seed([1; 32]);
    let kept = db.put(draft(name, "1"), &author).await.unwrap();
    assert!(matches!(soon(db.confirmed(kept.hash)).await.unwrap(), Verdict::Kept | Verdict::Known));
}

#[tokio::test]
async fn servers_that_share_a_topic_alone_meet_over_the_swarm_and_one_that_was_away_catches_up() {
    let nodes = hyper().await;
    let author = tooldb::Identity::from_seed([1; 32]);
    let one = Peer::hidden(Temporary::new(), 1, &nodes).await;
    one.home.db.put(draft("before", "1"), &author).await.unwrap();
    let two = Peer::hidden(Temporary::new(), 2, &nodes).await;
    let mut events = two.home.db.events();
    soon(met(&two.home.db, 1)).await;
    soon(met(&one.home.db, 1)).await;
    assert_eq!(soon(arrived(&two.home.db, "before")).await, "1");
    two.home.db.put(draft("after", "2"), &author).await.unwrap();
    assert_eq!(soon(arrived(&one.home.db, "after")).await, "2");
    let status = two.home.db.status().await.unwrap();
    assert_eq!((status.peers, status.servers.len()), (1, 1), "nobody reaches the other by address");

    let directory = one.close().await;
    let gone = async {
        while !matches!(events.recv().await.unwrap(), Event::Disconnected { over: Over::Swarm, .. }) {}
    };
    soon(gone).await;
    two.home.db.put(draft("meanwhile", "3"), &author).await.unwrap();
    let back = Peer::hidden(directory, 1, &nodes).await;
    assert_eq!(soon(arrived(&back.home.db, "meanwhile")).await, "3");
    assert_eq!(soon(arrived(&back.home.db, "after")).await, "2");
}

/// Passes connections on to a server, as a router would whose door can be shut.
async fn door(to: SocketAddr) -> JoinHandle<()> {
    let listener = TcpListener::bind((DOOR, to.port())).await.unwrap();
    tokio::spawn(async move {
        let mut passing = tokio::task::JoinSet::new();
        while let Ok((mut outside, _)) = listener.accept().await {
            passing.spawn(async move {
                let mut inside = TcpStream::connect(to).await?;
                tokio::io::copy_bidirectional(&mut outside, &mut inside).await
            });
        }
    })
}

#[tokio::test]
async fn a_websocket_goes_before_the_swarm_which_goes_on_where_it_breaks() {
    let nodes = hyper().await;
    let one = Peer::open(announced(Temporary::new(), &DOOR.to_string()).await, 1, &nodes).await;
    let door = door(one.home.db.address().unwrap()).await;
    let two = Peer::hidden(Temporary::new(), 2, &nodes).await;
    let mut events = two.home.db.events();
    talks(&mut events, Over::WebSocket).await;
    let status = two.home.db.status().await.unwrap();
    assert_eq!(status.peers, 1, "one server is one peer, however many ways lead there");
    let servers: BTreeSet<_> =
        status.servers.iter().map(|server| server.endpoint.host().to_owned()).collect();
    assert_eq!(servers, [NOWHERE.to_owned(), DOOR.to_string()].into());

    door.abort();
    talks(&mut events, Over::Swarm).await;
    let author = tooldb::Identity::from_seed([1; 32]);
    one.home.db.put(draft("the other way", "1"), &author).await.unwrap();
    assert_eq!(soon(arrived(&two.home.db, "the other way")).await, "1");
}

#[tokio::test]
async fn a_client_finds_a_server_by_key_and_talks_to_it_once() {
    let nodes = hyper().await;
    let server = Peer::open(Home::server(|_| {}).await, 1, &nodes).await;
    let client = Peer::open(Home::open(Temporary::new(), |_| {}).await, 2, &nodes).await;
    let mut events = client.home.db.events();
    talks(&mut events, Over::WebSocket).await;
    write(&client.home.db, "greeting").await;
    assert!(server.home.db.local(key("greeting")).await.unwrap().is_some());
    // The server's side of the swarm was told to stand by.
    let once = async {
        while server.home.db.status().await.unwrap().clients != 1 {
            tokio::task::yield_now().await;
        }
    };
    soon(once).await;
}

#[tokio::test]
async fn servers_and_a_client_meet_on_mainline_and_one_that_comes_back_is_noticed() {
    let entry = Mainline::spawn(mainline::Config::testnet(Vec::new())).await.unwrap();
    let entries: Vec<SocketAddr> = entry.local().into_iter().flatten().collect();
    let on_mainline = async |home: &Home| {
        let mainline = Mainline::spawn(mainline::Config::testnet(entries.clone())).await.unwrap();
        let networks = Networks { mainline: Some(mainline), ..Networks::default() };
        Discovery::open(&home.db, networks).await.unwrap()
    };
    let one = Home::server(|_| {}).await;
    let first = on_mainline(&one).await;
    let two = Home::server(|_| {}).await;
    let second = on_mainline(&two).await;
    soon(met(&one.db, 1)).await;
    let client = Home::open(Temporary::new(), |_| {}).await;
    let third = on_mainline(&client).await;
    soon(met(&client.db, 2)).await;
    write(&client.db, "greeting").await;

    let port = one.db.address().unwrap().port();
    first.close().await;
    let directory = one.close().await;
    write(&client.db, "meanwhile").await;
    // It announces nothing this time: its address is remembered.
    let back = Home::open(directory, |config| config.listen = Some(listen(port))).await;
    assert_eq!(soon(arrived(&back.db, "meanwhile")).await, "1");
    soon(met(&client.db, 2)).await;
    let servers = client.db.status().await.unwrap().servers;
    assert_eq!(servers.len(), 2, "each of them once: {servers:?}");
    second.close().await;
    third.close().await;
}

#[tokio::test]
async fn a_server_that_is_found_by_its_address_may_speak_tls() {
    let entry = Mainline::spawn(mainline::Config::testnet(Vec::new())).await.unwrap();
    let entries: Vec<SocketAddr> = entry.local().into_iter().flatten().collect();
    let server = Home::server(|config| {
        config.listen = Some(db::Listen { certificate: Some(certificate(1)), ..listen(0) });
    })
    .await;
    let client = Home::open(Temporary::new(), |config| config.roots = Some(authority(1))).await;
    let mut discoveries = Vec::new();
    for home in [&server, &client] {
        let mainline = Mainline::spawn(mainline::Config::testnet(entries.clone())).await.unwrap();
        let networks = Networks { mainline: Some(mainline), ..Networks::default() };
        discoveries.push(Discovery::open(&home.db, networks).await.unwrap());
    }
    soon(met(&client.db, 1)).await;
    let status = client.db.status().await.unwrap();
    assert_eq!(status.servers, [server.db.announced().unwrap().clone()], "with the flag for TLS");
}
