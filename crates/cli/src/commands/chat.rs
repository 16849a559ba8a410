//! A conversation of everybody on a topic: the smallest application of a swarm.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use node::roster::Role;
use node::{AssumedFirewall, Connection, Course, Meeting, Node, PublicKey, Swarm, SwarmOptions};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::sync::mpsc;

use crate::args::{KeyArgs, PathArgs};
use crate::commands::link::identity;
use crate::commands::serve::{serve_monitor, unless_interrupted};
use crate::console::millis;
use crate::exit::Failed;
use crate::session::Session;
use crate::topic::Topic;

/// Lines of one peer that wait to be sent; a peer that reads no more misses further ones.
const LINES_MAX: usize = 64;

/// What a connection tells the conversation.
enum Said {
    Line(PublicKey, Vec<u8>),
    Moved(PublicKey, Course),
    Left(PublicKey, String),
}

/// Joins a topic, sends each line of standard input to everybody there, and prints what they send.
pub(super) async fn chat(
    session: &Session,
    topic: Topic,
    (key, paths): (&KeyArgs, &PathArgs),
    monitor: Option<SocketAddr>,
) -> Result<(), Failed> {
    let mut config = session.config()?;
    config.port = session.global.port.unwrap_or_default();
    if paths.firewalled {
        config.firewall = AssumedFirewall::ClosedUntested;
    }
    let node = Node::spawn(config).await?;
    let outcome = match serve_monitor(session, &node, monitor, None).await {
        Ok(_monitor) => session.or_stop(talk(session, &node, topic, (key, paths))).await,
        Err(failed) => Err(failed),
    };
    node.shutdown().await?;
    unless_interrupted(outcome)
}

async fn talk(
    session: &Session,
    node: &Node,
    topic: Topic,
    (key, paths): (&KeyArgs, &PathArgs),
) -> Result<(), Failed> {
    session.join(node).await?;
    let identity = identity(key)?;
    let mut options = SwarmOptions::default();
    (options.dial.lan, options.listen.lan) = (paths.lan(), paths.lan());
    (options.dial.through, options.listen.through) = (paths.through(), paths.through());
    (options.dial.paths, options.listen.paths) = (paths.paths(), paths.paths());
    let mut swarm = node.swarm(&identity, options).await?;
    swarm.join(topic.0, Role::Both).await?;
    let me = identity.public_key().to_string();
    let line = json!({"event": "joined", "topic": topic.0.to_string(), "key": me});
    session
        .console
        .line(&line, format_args!("you are {}; whoever joins the topic appears here", short(&me)))?;
    let outcome = converse(session, &mut swarm).await;
    swarm.end().await?;
    outcome
}

async fn converse(session: &Session, swarm: &mut Swarm) -> Result<(), Failed> {
    let (tell, mut said) = mpsc::channel(LINES_MAX);
    let mut peers: BTreeMap<PublicKey, mpsc::Sender<Arc<[u8]>>> = BTreeMap::new();
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    loop {
        tokio::select! {
            meeting = swarm.next() => {
                let Some(Meeting { connection, .. }) = meeting else { return Ok(()) };
                show_meeting(session, &connection)?;
                let (sender, lines) = mpsc::channel(LINES_MAX);
                peers.insert(connection.remote(), sender);
                tokio::spawn(carry(connection, lines, tell.clone()));
            }
            said = said.recv() => match said {
                Some(Said::Line(from, line)) => show_line(session, from, &line)?,
                Some(Said::Moved(peer, way)) => {
                    let (key, path) = (peer.to_string(), way.route.word());
                    let line = json!({"event": "rerouted", "key": key, "path": path, "remote": way.address});
                    session.console.line(&line, format_args!("* {} is {path} now", short(&key)))?;
                }
                Some(Said::Left(peer, why)) => {
                    peers.remove(&peer);
                    let key = peer.to_string();
                    let line = json!({"event": "left", "key": key, "why": why});
                    session.console.line(&line, format_args!("* {} left: {why}", short(&key)))?;
                }
                None => return Ok(()),
            },
            line = input.next_line() => {
                let Some(line) = line? else { return Ok(()) };
                let line: Arc<[u8]> = line.into_bytes().into();
                for peer in peers.values() {
                    // A peer that does not read misses a line.
                    peer.try_send(Arc::clone(&line)).unwrap_or_default();
                }
            }
        }
    }
}

/// Carries lines between one peer and the conversation.
async fn carry(mut connection: Connection, mut lines: mpsc::Receiver<Arc<[u8]>>, tell: mpsc::Sender<Said>) {
    let (peer, moves) = (connection.remote(), connection.moves());
    loop {
        tokio::select! {
            frame = connection.recv() => match frame {
                Some(frame) => tell.send(Said::Line(peer, frame)).await.unwrap_or_default(),
                None => break,
            },
            Some(way) = moves.next() => tell.send(Said::Moved(peer, way)).await.unwrap_or_default(),
            line = lines.recv() => match line {
                Some(line) => connection.send(&line).await.unwrap_or_default(),
                None => break,
            },
        }
    }
    connection.finish();
    let why = connection.closed().await.to_string();
    tell.send(Said::Left(peer, why)).await.unwrap_or_default();
}

fn show_meeting(session: &Session, connection: &Connection) -> Result<(), Failed> {
    let (key, path, remote) =
        (connection.remote().to_string(), connection.route().word(), connection.address());
    let ms = millis(connection.took());
    let line = json!({
        "event": "connection", "key": key, "path": path, "remote": remote, "ms": ms,
        "relay": connection.relay().map(|relay| relay.to_string()),
    });
    session.console.line(&line, format_args!("* {} is here ({path}, {ms:.0} ms)", short(&key)))
}

/// Strangers may send anything: what is no text is shown as such, and control characters move no cursor.
fn show_line(session: &Session, from: PublicKey, line: &[u8]) -> Result<(), Failed> {
    let text: String =
        String::from_utf8_lossy(line).chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    let key = from.to_string();
    let json = json!({"event": "message", "key": key, "text": text});
    session.console.line(&json, format_args!("{}: {text}", short(&key)))
}

fn short(key: &str) -> &str {
    key.get(..8).unwrap_or(key)
}
