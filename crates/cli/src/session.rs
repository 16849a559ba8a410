use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

use node::{Bootstrap, Config, Left, Node, Resident, Standing, Stopped};
use serde_json::json;

use crate::args::Global;
use crate::console::Console;
use crate::exit::Failed;
use crate::signals::Stop;

/// What every command is given.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) global: Global,
    pub(crate) console: Console,
    pub(crate) stop: Stop,
}

/// A node of a long-running command, with or without a directory.
#[derive(Debug)]
pub(crate) enum Home {
    Node(Node),
    Resident(Box<Resident>),
}

impl Home {
    pub(crate) fn node(&self) -> &Node {
        match self {
            Self::Node(node) => node,
            Self::Resident(resident) => resident.node(),
        }
    }

    /// Waits until the first bootstrap has ended.
    pub(crate) async fn ready(&self) -> Result<(), Stopped> {
        match self {
            Self::Node(node) => node.ready().await,
            Self::Resident(resident) => resident.ready().await,
        }
    }

    pub(crate) async fn shutdown(self) -> Result<Vec<Left>, Stopped> {
        match self {
            Self::Node(node) => node.shutdown().await,
            Self::Resident(resident) => resident.shutdown().await,
        }
    }
}

impl Session {
    /// The configuration that the options ask for, with nodes saved in a directory that was named.
    pub(crate) fn config(&self) -> Result<Config, Failed> {
        let mut config = Config::default();
        let bootstrap = self.global.bootstrap();
        if !bootstrap.is_empty() {
            config.bootstrap = bootstrap;
        }
        let local = |entry: &Bootstrap| match entry {
            Bootstrap::Address(address) => address.ip().is_loopback(),
            Bootstrap::Name { .. } => false,
        };
        if config.bootstrap.iter().all(local) {
            config.host = Ipv4Addr::LOCALHOST;
        }
        config.host = self.global.host()?.unwrap_or(config.host);
        config.port = self.global.port.unwrap_or(config.port);
        if let Some(dir) = self.global.data_dir() {
            config.nodes = node::load_nodes(dir)?;
        }
        Ok(config)
    }

    /// The configuration of a node that only asks, on any port unless one was named.
    pub(crate) fn asking(&self) -> Result<Config, Failed> {
        let port = self.global.port.unwrap_or_default();
        Ok(Config { port, standing: Standing::Ephemeral, ..self.config()? })
    }

    /// The directory that was named, or the one that belongs to the user.
    pub(crate) fn data_dir(&self) -> Result<PathBuf, Failed> {
        if let Some(dir) = self.global.data_dir() {
            return Ok(dir.to_owned());
        }
        let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        from("XDG_DATA_HOME")
            .or_else(|| from("HOME").map(|home| home.join(".local/share")))
            .map(|base| base.join("homing"))
            .ok_or_else(|| Failed::usage("no home directory; name one with --data-dir"))
    }

    /// Starts a node for a long-running command, in `dir` if there is one.
    pub(crate) async fn open(&self, config: Config, dir: Option<&Path>) -> Result<Home, Failed> {
        Ok(match dir {
            Some(dir) => Home::Resident(Box::new(Resident::spawn(config, dir).await?)),
            None => Home::Node(Node::spawn(config).await?),
        })
    }

    /// Runs `work` with a node of its own, which is shut down afterwards, also when we are interrupted.
    pub(crate) async fn with_node<T>(
        &self,
        config: Config,
        work: impl AsyncFnOnce(&Node) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        let node = Node::spawn(config).await?;
        let outcome = self.or_stop(work(&node)).await;
        node.shutdown().await?;
        outcome
    }

    /// Does `work` unless it is time to end first.
    pub(crate) async fn or_stop<T>(
        &self,
        work: impl Future<Output = Result<T, Failed>>,
    ) -> Result<T, Failed> {
        tokio::select! {
            biased;
            () = self.stop.told() => Err(Failed::interrupted()),
            outcome = work => outcome,
        }
    }

    /// Waits until the node has found the network; returns how many nodes it knows.
    pub(crate) async fn join(&self, node: &Node) -> Result<usize, Failed> {
        self.joined(node, node.ready()).await
    }

    /// Waits until `ready`, and checks that the node has found the network then.
    pub(crate) async fn joined(
        &self,
        node: &Node,
        ready: impl Future<Output = Result<(), Stopped>>,
    ) -> Result<usize, Failed> {
        self.console.progress("joining the network", ready).await?;
        match node.nodes().await?.len() {
            0 => Err(Failed::no_network("no bootstrap node answered; is --bootstrap right?")),
            known => Ok(known),
        }
    }

    /// Prints where a long-running node can be found.
    pub(crate) fn show_listening(&self, home: &Home) -> Result<(), Failed> {
        let (server, client) = (home.node().server_address(), home.node().client_address());
        let public_key = match home {
            Home::Node(_) => None,
            Home::Resident(resident) => Some(resident.key().public_key().to_string()),
        };
        let line =
            json!({"event": "listening", "server": server, "client": client, "public_key": public_key});
        self.console.line(&line, format_args!("listening on {server}, asking from {client}"))
    }

    /// Prints that a long-running node is part of the network.
    pub(crate) async fn show_ready(&self, node: &Node) -> Result<(), Failed> {
        let snapshot = node.snapshot().await?;
        let known = snapshot.nodes.known;
        let address =
            snapshot.state.host.zip(snapshot.state.port).map(|(host, port)| SocketAddrV4::new(host, port));
        let line = json!({"event": "ready", "nodes": known, "address": address, "id": snapshot.state.id});
        let seen = address.map_or_else(|| "with no known public address".into(), |a| format!("seen as {a}"));
        self.console.line(&line, format_args!("ready: {known} nodes known, {seen}"))
    }
}
