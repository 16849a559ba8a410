//! A private network, and the monitor of one of its nodes as a program asks it.

use std::net::{SocketAddrV4, UdpSocket};
use std::path::PathBuf;
use std::time::Duration;

use monitor::{Monitor, Options};
use node::{Config, Node, Snapshot};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), work).await.expect("it takes too long")
}

/// The value of one sample of an exposition.
pub(crate) fn sample(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

/// Starts a network of so many persistent nodes; the first is its bootstrap node.
pub(crate) async fn network(count: usize) -> Vec<Node> {
    let first = loop {
        let free: SocketAddrV4 =
            UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string().parse().unwrap();
        // Another test may take the port that was free; then try another.
        if let Ok(node) = Node::spawn(Config::bootstrapper(free)).await {
            break node;
        }
    };
    soon(first.ready()).await.unwrap();
    let mut nodes = vec![first];
    while nodes.len() < count {
        nodes.push(join(&nodes[0]).await);
    }
    nodes
}

pub(crate) async fn join(first: &Node) -> Node {
    let node = Node::spawn(Config::testnet(vec![first.server_address()])).await.unwrap();
    soon(node.ready()).await.unwrap();
    node
}

/// A monitor, with the token in a directory that goes away with it.
pub(crate) struct Watched {
    pub(crate) monitor: Monitor,
    dir: PathBuf,
}

impl Watched {
    pub(crate) async fn new(node: &Node, name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("homing-monitor-{}-{name}", std::process::id()));
        std::fs::create_dir(&dir).unwrap();
        let options =
            Options { address: "127.0.0.1:0".parse().unwrap(), token_file: Some(dir.join("token")) };
        let monitor = Monitor::serve(node.clone(), &options).await.unwrap();
        Self { monitor, dir }
    }

    pub(crate) fn token_file(&self) -> PathBuf {
        self.dir.join("token")
    }

    /// Asks as a program does; returns the status and the body.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let token = std::fs::read_to_string(self.token_file()).unwrap();
        let address = self.monitor.address();
        let request =
            format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n");
        let exchange = async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let answer = soon(exchange).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// Waits until what is shown satisfies a condition.
    pub(crate) async fn until(&self, holds: impl Fn(&Snapshot) -> bool) {
        let mut views = self.monitor.feed().views();
        soon(async {
            while !holds(&views.borrow_and_update().snapshot) {
                views.changed().await.unwrap();
            }
        })
        .await;
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.dir).unwrap();
    }
}
