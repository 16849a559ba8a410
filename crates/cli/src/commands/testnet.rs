use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use node::{Bootstrap, Config, Node};
use serde_json::json;

use crate::commands::serve::unless_interrupted;
use crate::exit::Failed;
use crate::session::Session;

/// Files a process needs besides two sockets for each node.
const OTHER_FILES: u64 = 64;
/// Attempts to take a port that was free a moment ago.
const PORT_ATTEMPTS: usize = 5;

/// A private network within this process.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) nodes: Vec<Node>,
    pub(crate) bootstrap: Vec<Bootstrap>,
}

/// Where the nodes of a private network listen, and what they join.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) host: Ipv4Addr,
    /// Port of the first node, the others follow; 0 is any.
    pub(crate) port: u16,
    /// The network to join; empty makes a new one.
    pub(crate) bootstrap: Vec<Bootstrap>,
}

impl Place {
    /// A new network on any ports of the loopback interface.
    pub(crate) const LOOPBACK: Self = Self { host: Ipv4Addr::LOCALHOST, port: 0, bootstrap: Vec::new() };
}

impl Network {
    /// Starts nodes one after the other, each knowing the network before the next asks it.
    pub(crate) async fn start(count: u16, place: Place) -> Result<Self, Failed> {
        allow_files(u64::from(count) * 2 + OTHER_FILES);
        let Place { host, port, mut bootstrap } = place;
        let mut nodes = Vec::with_capacity(count.into());
        if bootstrap.is_empty() {
            let first = first_node(host, port).await?;
            bootstrap.push(Bootstrap::Address(first.server_address()));
            first.ready().await?;
            nodes.push(first);
        }
        for n in nodes.len()..count.into() {
            let port = match port {
                0 => 0,
                base => u16::try_from(usize::from(base) + n)
                    .map_err(|_| Failed::usage("not enough ports above --port"))?,
            };
            let config = Config { host, port, bootstrap: bootstrap.clone(), ..Config::testnet(Vec::new()) };
            let node = Node::spawn(config).await?;
            node.ready().await?;
            nodes.push(node);
        }
        Ok(Self { nodes, bootstrap })
    }

    /// Ends all nodes; they have nothing to unannounce.
    pub(crate) async fn shutdown(self) -> Result<(), Failed> {
        for node in self.nodes {
            node.shutdown().await?;
        }
        Ok(())
    }
}

/// Runs a private network until told to end.
pub(super) async fn testnet(session: &Session, count: u16) -> Result<(), Failed> {
    let place = Place {
        host: session.global.host()?.unwrap_or(Ipv4Addr::LOCALHOST),
        port: session.global.port.unwrap_or_default(),
        bootstrap: session.global.bootstrap(),
    };
    let start = session.console.progress("starting nodes", Network::start(count, place));
    let network = match session.or_stop(start).await {
        Ok(network) => network,
        Err(failed) => return unless_interrupted(Err(failed)),
    };
    let outcome = match show(session, &network) {
        Ok(()) => session.or_stop(std::future::pending()).await,
        Err(failed) => Err(failed),
    };
    network.shutdown().await?;
    unless_interrupted(outcome)
}

fn show(session: &Session, network: &Network) -> Result<(), Failed> {
    let nodes: Vec<_> = network.nodes.iter().map(Node::server_address).collect();
    let entry = |entry: &Bootstrap| match entry {
        Bootstrap::Address(address) => address.to_string(),
        Bootstrap::Name { host, port, .. } => format!("{host}:{port}"),
    };
    let bootstrap: Vec<_> = network.bootstrap.iter().map(entry).collect();
    let line = json!({"event": "ready", "bootstrap": bootstrap, "nodes": nodes});
    let bootstrap = bootstrap.join(",");
    session.console.line(&line, format_args!("{} nodes; join with: --bootstrap {bootstrap}", nodes.len()))
}

/// A bootstrap node must know its own port before it is started, so a free one is looked for.
async fn first_node(host: Ipv4Addr, port: u16) -> Result<Node, Failed> {
    let mut attempts = PORT_ATTEMPTS;
    loop {
        let wanted = if port == 0 { free_port(host)? } else { port };
        attempts -= 1;
        match Node::spawn(Config::bootstrapper(SocketAddrV4::new(host, wanted))).await {
            Err(error) if port != 0 || attempts == 0 => return Err(error.into()),
            Err(_) => {}
            Ok(node) => return Ok(node),
        }
    }
}

fn free_port(host: Ipv4Addr) -> io::Result<u16> {
    Ok(UdpSocket::bind((host, 0))?.local_addr()?.port())
}

/// Raises the soft limit of open files. Where that fails, opening a socket will tell.
fn allow_files(wanted: u64) {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < wanted
    {
        setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard).unwrap_or_default();
    }
}
