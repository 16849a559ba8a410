//! A small private network to test in.

use std::net::{SocketAddrV4, UdpSocket};
use std::time::Duration;

use node::{AnyPort, Config, Node};

/// Nothing on loopback takes this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Waits for what must come.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it takes too long")
}

/// A node with nobody above it, on a port of its own.
pub(crate) async fn bootstrapper() -> Node {
    loop {
        // Another test may take the port that was free; then try another.
        if let Ok(node) = Node::spawn(Config::bootstrapper(free_address())).await {
            soon(node.ready()).await.unwrap();
            return node;
        }
    }
}

pub(crate) async fn join(first: &Node) -> Node {
    let node = Node::spawn(Config::testnet(vec![first.server_address()])).await.unwrap();
    soon(node.ready()).await.unwrap();
    node
}

/// A node that knows nobody.
pub(crate) async fn hermit() -> Node {
    let config = Config { any_port: AnyPort::Allowed, ..Config::testnet(Vec::new()) };
    Node::spawn(config).await.unwrap()
}

pub(crate) fn free_address() -> SocketAddrV4 {
    address(&UdpSocket::bind("127.0.0.1:0").unwrap())
}

pub(crate) fn address(socket: &UdpSocket) -> SocketAddrV4 {
    socket.local_addr().unwrap().to_string().parse().unwrap()
}
