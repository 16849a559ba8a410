//! Connections from the command line.

use std::fmt;
use std::io::{self, Write as _};
use std::sync::Arc;

use node::roster::Role;
use node::{
    AssumedFirewall, Connection, DialOptions, Event, Identity, ListenOptions, Listener, Meeting, Moves, Node,
    PublicKey, Swarm, SwarmOptions,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::args::{ConnectArgs, KeyArgs, ListenArgs};
use crate::commands::serve::unless_interrupted;
use crate::console::{Format, millis};
use crate::exit::Failed;
use crate::session::Session;
use crate::topic::Topic;

/// Bytes read from standard input at once; each reading is one frame.
const CHUNK: usize = 64 << 10;

/// Whether standard output carries what the peer sends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Output {
    Taken,
    Free,
}

/// Where connections arrive.
#[derive(Debug)]
enum Door {
    Key(Listener),
    Topic(Swarm),
}

impl Door {
    async fn open(
        node: &Node,
        identity: &Arc<Identity>,
        topic: Option<Topic>,
        options: ListenOptions,
    ) -> Result<Self, Failed> {
        let Some(topic) = topic else {
            return Ok(Self::Key(node.serve(identity, options).await?));
        };
        let options = SwarmOptions { listen: options, ..SwarmOptions::default() };
        let swarm = node.swarm(identity, options).await?;
        swarm.join(topic.0, Role::Announce).await?;
        Ok(Self::Topic(swarm))
    }

    async fn accept(&mut self) -> Option<Connection> {
        match self {
            Self::Key(listener) => listener.accept().await,
            Self::Topic(swarm) => swarm.next().await.map(|Meeting { connection, .. }| connection),
        }
    }

    /// Waits until the key can be dialled, and found on its topic.
    async fn announced(&self, events: &mut broadcast::Receiver<Event>, key: PublicKey) -> Result<(), Failed> {
        reachable(events, key).await?;
        if let Self::Topic(swarm) = self {
            swarm.flush().await?;
        }
        Ok(())
    }
}

/// Serves a key until told to end, or until its one connection is over.
pub(super) async fn listen(session: &Session, args: &ListenArgs) -> Result<(), Failed> {
    let mut config = session.config()?;
    config.port = session.global.port.unwrap_or_default();
    if args.paths.firewalled {
        config.firewall = AssumedFirewall::ClosedUntested;
    }
    let identity = identity(&args.key)?;
    let node = Node::spawn(config).await?;
    let outcome = session.or_stop(serve(session, &node, &identity, args)).await;
    node.shutdown().await?;
    unless_interrupted(outcome)
}

async fn serve(
    session: &Session,
    node: &Node,
    identity: &Arc<Identity>,
    args: &ListenArgs,
) -> Result<(), Failed> {
    session.join(node).await?;
    let mut events = node.events();
    let mut options = ListenOptions::default();
    options.lan = args.paths.lan();
    options.through = args.paths.through();
    options.paths = args.paths.paths();
    let mut door = Door::open(node, identity, args.topic, options).await?;
    session
        .console
        .progress("announcing the key", door.announced(&mut events, identity.public_key()))
        .await?;
    let key = identity.public_key().to_string();
    let output = if args.echo || args.sink { Output::Free } else { Output::Taken };
    tell(session, output, &json!({"event": "listening", "key": key}), format_args!("listening for {key}"))?;
    while let Some(connection) = door.accept().await {
        show_connection(session, output, &connection)?;
        if output == Output::Taken {
            return pipe(session, output, connection).await;
        }
        tokio::spawn(show_moves(session.clone(), output, connection.moves()));
        let (session, args) = (session.clone(), args.clone());
        tokio::spawn(async move {
            let outcome = if args.echo { echo(connection).await } else { sink(connection).await };
            outcome.and_then(|line| tell(&session, Output::Free, &line, &line)).unwrap_or_else(|failed| {
                tracing::info!(error = %failed.error, "a connection failed");
            });
        });
    }
    Ok(())
}

/// Waits until nodes of the network pass handshakes on to a key.
pub(super) async fn reachable(events: &mut broadcast::Receiver<Event>, key: PublicKey) -> Result<(), Failed> {
    loop {
        match events.recv().await {
            Ok(Event::Reachable { public_key, relays }) if public_key == key && !relays.is_empty() => {
                return Ok(());
            }
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return Err(node::Stopped.into()),
        }
    }
}

/// Sends every frame back; ends when the peer does.
async fn echo(mut connection: Connection) -> Result<Value, Failed> {
    while let Some(frame) = connection.recv().await {
        connection.send(&frame).await?;
    }
    connection.finish();
    let why = connection.closed().await;
    Ok(json!({"event": "closed", "key": connection.remote().to_string(), "why": why.to_string()}))
}

/// Counts and hashes what the peer sends, and tells it when it has finished.
async fn sink(mut connection: Connection) -> Result<Value, Failed> {
    let (mut bytes, mut hash) = (0, Sha256::new());
    while let Some(frame) = connection.recv().await {
        bytes += frame.len();
        hash.update(&frame);
    }
    let hash = node::Id::<32>(hash.finalize().into()).to_string();
    let key = connection.remote().to_string();
    let line = json!({"event": "received", "key": key, "bytes": bytes, "sha256": hash});
    connection.send(line.to_string().as_bytes()).await?;
    connection.finish();
    connection.closed().await;
    Ok(line)
}

/// Connects standard input and output to a peer.
pub(super) async fn connect(session: &Session, args: &ConnectArgs) -> Result<(), Failed> {
    let mut config = session.asking()?;
    if args.paths.firewalled {
        config.firewall = AssumedFirewall::ClosedUntested;
    }
    session
        .with_node(config, async |node| {
            session.join(node).await?;
            let identity = identity(&args.key)?;
            let mut options = DialOptions::default();
            options.lan = args.paths.lan();
            options.through = args.paths.through();
            options.paths = args.paths.paths();
            match (args.peer, args.topic) {
                (Some(peer), _) => {
                    let dialled = node.connect(peer, &identity, options);
                    let connection = session.console.progress("connecting", dialled).await?;
                    show_connection(session, Output::Taken, &connection)?;
                    pipe(session, Output::Taken, connection).await
                }
                (None, Some(topic)) => {
                    // It closes its connections when it is dropped.
                    let mut swarm = search(node, &identity, topic, options).await?;
                    let met = session.console.progress("waiting for somebody on the topic", async {
                        swarm.next().await.ok_or_else(|| Failed::from(node::Stopped))
                    });
                    let Meeting { connection, .. } = met.await?;
                    show_connection(session, Output::Taken, &connection)?;
                    pipe(session, Output::Taken, connection).await
                }
                (None, None) => Err(Failed::usage("name a key, or a topic with --topic")),
            }
        })
        .await
}

/// Looks for peers of a topic, to connect with one at a time.
async fn search(
    node: &Node,
    identity: &Arc<Identity>,
    topic: Topic,
    dial: DialOptions,
) -> Result<Swarm, Failed> {
    let mut options = SwarmOptions { dial, ..SwarmOptions::default() };
    options.roster.outgoing_max = 1;
    let swarm = node.swarm(identity, options).await?;
    swarm.join(topic.0, Role::Find).await?;
    Ok(swarm)
}

/// Standard input to the peer, the peer to standard output, until both have ended.
async fn pipe(session: &Session, output: Output, connection: Connection) -> Result<(), Failed> {
    tokio::spawn(show_moves(session.clone(), output, connection.moves()));
    let (mut reader, mut writer) = tokio::io::split(connection);
    let incoming = async {
        let mut out = tokio::io::stdout();
        let mut buf = vec![0; CHUNK];
        loop {
            let len = reader.read(&mut buf).await?;
            if len == 0 {
                return Ok::<_, Failed>(());
            }
            out.write_all(&buf[..len]).await?;
            out.flush().await?;
        }
    };
    let outgoing = async {
        let mut input = tokio::io::stdin();
        let mut buf = vec![0; CHUNK];
        loop {
            let len = input.read(&mut buf).await?;
            if len == 0 {
                writer.shutdown().await?;
                return Ok::<_, Failed>(());
            }
            writer.write_all(&buf[..len]).await?;
        }
    };
    tokio::try_join!(incoming, outgoing)?;
    let connection = reader.unsplit(writer);
    connection.closed().await;
    Ok(())
}

fn show_connection(session: &Session, output: Output, connection: &Connection) -> Result<(), Failed> {
    let (key, path, remote) =
        (connection.remote().to_string(), connection.route().word(), connection.address());
    let ms = millis(connection.took());
    let line = json!({
        "event": "connection", "key": key, "path": path, "remote": remote, "ms": ms,
        "relay": connection.relay().map(|relay| relay.to_string()),
    });
    tell(session, output, &line, format_args!("connected with {key}, {path}, at {remote}, in {ms:.0} ms"))
}

/// Tells of the ways that a connection's packets take later, until it is over.
async fn show_moves(session: Session, output: Output, moves: Moves) {
    while let Some(way) = moves.next().await {
        let (path, remote) = (way.route.word(), way.address);
        let line = json!({"event": "rerouted", "path": path, "remote": remote});
        // Whoever reads our output may have gone; the connection goes on.
        let told = tell(&session, output, &line, format_args!("{path} from now on, at {remote}"));
        told.unwrap_or_default();
    }
}

/// Says what happens: on standard output, or on standard error where that belongs to the peer.
fn tell(session: &Session, output: Output, line: &Value, text: impl fmt::Display) -> Result<(), Failed> {
    if output == Output::Free {
        return session.console.line(line, text);
    }
    let mut out = io::stderr().lock();
    Ok(match session.console.format() {
        Format::Json => writeln!(out, "{line}"),
        Format::Text => writeln!(out, "{text}"),
    }?)
}

pub(super) fn identity(key: &KeyArgs) -> Result<Arc<Identity>, Failed> {
    let seed = key.seed()?.map_or_else(node::seed, Ok)?;
    Ok(Arc::new(Identity::from_seed(seed)))
}
