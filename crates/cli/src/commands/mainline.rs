use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use node::mainline::{Config, Event, Mainline, OperationError, Port, Task};
use node::{Bootstrap, Id, Standing};
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::time;

use crate::args::KeyArgs;
use crate::commands::record::read_value;
use crate::commands::serve::unless_interrupted;
use crate::console::millis;
use crate::exit::{Exit, Failed};
use crate::session::Session;
use crate::topic::Topic;

/// Between two look-ups of a watch, at first; each wait is half as long again, up to the longest.
const WATCH_FIRST: Duration = Duration::from_secs(2);
const WATCH_LONGEST: Duration = Duration::from_mins(5);
/// Look-ups in a row that do not find a peer before it counts as gone.
const MISSES_MAX: u32 = 2;

/// How long a command goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    Done,
    Stopped,
}

impl From<OperationError> for Failed {
    fn from(error: OperationError) -> Self {
        let exit = match error {
            OperationError::Failed(node::mainline::Failure::NoAnswer) => Exit::NoNetwork,
            OperationError::Failed(node::mainline::Failure::Unfit) => Exit::Usage,
            _ => Exit::Failed,
        };
        Self { exit, ..Self::new("failed", error) }
    }
}

/// Runs nodes that others enter a network by, until told to end.
pub(super) async fn bootstrap(session: &Session) -> Result<(), Failed> {
    testnet(session, 1).await
}

/// Runs a private network until told to end.
pub(super) async fn testnet(session: &Session, count: u16) -> Result<(), Failed> {
    let start = session.console.progress("starting nodes", start(session, count));
    let nodes = match session.or_stop(start).await {
        Ok(nodes) => nodes,
        Err(failed) => return unless_interrupted(Err(failed)),
    };
    let addresses: Vec<_> = nodes.iter().filter_map(|node| node.local()[0]).collect();
    let entry = addresses.first().map(ToString::to_string).unwrap_or_default();
    let line = json!({"event": "ready", "bootstrap": [&entry], "nodes": addresses});
    let count = nodes.len();
    session
        .console
        .line(&line, format_args!("{count} nodes; join with: --bootstrap {entry} --on mainline"))?;
    let outcome = session.or_stop(std::future::pending()).await;
    for node in nodes {
        node.shutdown().await?;
    }
    unless_interrupted(outcome)
}

async fn start(session: &Session, count: u16) -> Result<Vec<Mainline>, Failed> {
    let mut config = config(session, Standing::Persistent)?;
    let host = session.global.host()?.unwrap_or(Ipv4Addr::LOCALHOST);
    let first = session.global.port.unwrap_or_default();
    if session.global.bootstrap().is_empty() {
        config.machine = Config::testnet(Vec::new()).machine;
    }
    let mut nodes: Vec<Mainline> = Vec::with_capacity(count.into());
    for n in 0..count {
        let port =
            if first == 0 { 0 } else { first.checked_add(n).ok_or_else(|| Failed::usage("no such port"))? };
        let node = Mainline::spawn(Config { v4: Some(host), v6: None, port, ..config.clone() }).await?;
        node.ready().await?;
        if config.machine.nodes.is_empty() {
            config.machine.nodes.extend(node.local()[0]);
        }
        nodes.push(node);
    }
    Ok(nodes)
}

/// Announces a port under a topic, once or until told to end.
pub(super) async fn announce(session: &Session, topic: Topic, until: Until) -> Result<(), Failed> {
    let port = session.global.port.and_then(NonZeroU16::new).map_or(Port::Implied, Port::Is);
    let node = join(session, Standing::Adaptive).await?;
    let outcome = session.or_stop(keep_announcing(session, &node, (topic.1, port), until)).await;
    node.shutdown().await?;
    if until == Until::Done { outcome } else { unless_interrupted(outcome) }
}

async fn keep_announcing(
    session: &Session,
    node: &Mainline,
    (topic, port): (Id<20>, Port),
    until: Until,
) -> Result<(), Failed> {
    if until == Until::Done {
        let started = Instant::now();
        let stored = session.console.progress("announcing", node.announce_once(topic, port)).await?;
        return show_announced(session, topic, stored.nodes.len(), Some(started.elapsed()));
    }
    let mut events = node.events();
    node.announce(topic, port).await?;
    loop {
        match events.recv().await {
            Ok(Event::Announced { info_hash, stored }) if info_hash == topic => {
                show_announced(session, topic, stored, None)?;
            }
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return Err(node::Stopped.into()),
        }
    }
}

fn show_announced(
    session: &Session,
    topic: Id<20>,
    stored: usize,
    took: Option<Duration>,
) -> Result<(), Failed> {
    let line =
        json!({"event": "announced", "topic": topic.to_string(), "stored": stored, "ms": took.map(millis)});
    session.console.line(&line, format_args!("announced on {stored} nodes"))
}

/// Prints who announced a topic, once or until told to end.
pub(super) async fn lookup(session: &Session, topic: Topic, until: Until) -> Result<(), Failed> {
    let node = join(session, Standing::Ephemeral).await?;
    let outcome = match until {
        Until::Done => session.or_stop(look_once(session, &node, topic.1)).await,
        Until::Stopped => unless_interrupted(session.or_stop(watch(session, &node, topic.1)).await),
    };
    node.shutdown().await?;
    outcome
}

async fn look_once(session: &Session, node: &Mainline, topic: Id<20>) -> Result<(), Failed> {
    let mut lookup = node.lookup(topic).await?;
    let mut peers = 0;
    while let Some(found) = lookup.next().await {
        peers += 1;
        show_peer(session, "peer", found.peer)?;
    }
    let walked = lookup.finish().await?;
    let figures = walked.figures;
    let (ms, first) = (millis(figures.elapsed), walked.first_peer.map(|(elapsed, _)| millis(elapsed)));
    let line = json!({
        "event": "done", "peers": peers, "requests": figures.requests, "responses": figures.responses,
        "timeouts": figures.timeouts, "ms": ms, "first_peer_ms": first,
    });
    let text = format!("{peers} found in {ms:.0} ms, {} nodes asked", figures.requests);
    session.console.line(&line, text)?;
    if peers == 0 { Err(Failed::new("not-found", "nobody found")) } else { Ok(()) }
}

/// Looks again and again; a peer that two look-ups in a row did not find is gone.
async fn watch(session: &Session, node: &Mainline, topic: Id<20>) -> Result<(), Failed> {
    let mut known: BTreeMap<SocketAddr, u32> = BTreeMap::new();
    let mut wait = WATCH_FIRST;
    loop {
        for misses in known.values_mut() {
            *misses += 1;
        }
        let mut lookup = node.lookup(topic).await?;
        while let Some(found) = lookup.next().await {
            if known.insert(found.peer, 0).is_none() {
                show_peer(session, "peer", found.peer)?;
            }
        }
        let gone: Vec<_> =
            known.iter().filter(|(_, misses)| **misses > MISSES_MAX).map(|(peer, _)| *peer).collect();
        for peer in gone {
            known.remove(&peer);
            show_peer(session, "gone", peer)?;
        }
        time::sleep(wait).await;
        wait = (wait * 3 / 2).min(WATCH_LONGEST);
    }
}

fn show_peer(session: &Session, event: &str, peer: SocketAddr) -> Result<(), Failed> {
    let line = json!({"event": event, "host": peer.ip(), "port": peer.port(), "source": "dht"});
    session.console.line(&line, format_args!("{event} {peer}"))
}

/// Prints how many share a topic.
pub(super) async fn scrape(session: &Session, topic: Topic) -> Result<(), Failed> {
    let node = join(session, Standing::Ephemeral).await?;
    let scraped = session.or_stop(async { Ok(node.scrape(topic.1).await?) }).await;
    node.shutdown().await?;
    let scraped = scraped?;
    let line = json!({
        "event": "scraped", "seeds": scraped.seeds.round(), "downloaders": scraped.downloaders.round(),
        "nodes": scraped.nodes,
    });
    let text = format!("about {:.0} seeds and {:.0} others", scraped.seeds, scraped.downloaders);
    session.console.line(&line, text)
}

/// Stores a value under its hash, or with a key, a signed value under the key.
pub(super) async fn put(
    session: &Session,
    value: String,
    key: &KeyArgs,
    seq: Option<u64>,
) -> Result<(), Failed> {
    let text = session.or_stop(read_value(value)).await?;
    let value = [format!("{}:", text.len()).as_bytes(), &text].concat();
    let key = key.read()?;
    let node = join(session, Standing::Ephemeral).await?;
    let work = async {
        let (target, task) = match key {
            None => (node::mainline::sha1(&value), Task::PutImmutable { value }),
            Some(key) => {
                let target = Task::mutable_target(&key.public_key().0, b"");
                let seq = match seq {
                    Some(seq) => i64::try_from(seq).map_err(Failed::usage)?,
                    None => node
                        .get(target, Vec::new())
                        .await?
                        .and_then(|v| v.signed)
                        .map_or(1, |(_, seq)| seq + 1),
                };
                let (key, salt, cas) = (Box::new(key), Vec::new(), None);
                (target, Task::PutMutable { key, salt, seq, cas, value })
            }
        };
        let stored = session.console.progress("storing", node.put(task)).await?.nodes.len();
        let line = json!({"event": "stored", "target": target.to_string(), "stored": stored});
        session.console.line(&line, format_args!("{target} on {stored} nodes"))
    };
    let outcome = session.or_stop(work).await;
    node.shutdown().await?;
    outcome
}

/// Reads a value; a byte string is shown as text.
pub(super) async fn get(session: &Session, target: Id<20>, salt: String) -> Result<(), Failed> {
    let node = join(session, Standing::Ephemeral).await?;
    let found = session.or_stop(async { Ok(node.get(target, salt.into_bytes()).await?) }).await;
    node.shutdown().await?;
    let Some(found) = found? else { return Err(Failed::new("not-found", "nobody has it")) };
    let inner = node::mainline::bencode::Cursor::new(&found.value).bytes().unwrap_or(&found.value);
    let text = String::from_utf8_lossy(inner);
    let seq = found.signed.map(|(_, seq)| seq);
    session.console.line(&json!({"event": "value", "value": text, "seq": seq}), &text)
}

/// Starts a node that asks, and waits until it has found the network.
async fn join(session: &Session, standing: Standing) -> Result<Mainline, Failed> {
    let node = Mainline::spawn(config(session, standing)?).await?;
    session
        .or_stop(session.console.progress("joining the network", async { Ok(node.ready().await?) }))
        .await?;
    if node.nodes().await?.is_empty() {
        node.shutdown().await?;
        return Err(Failed::no_network("no node answered; is --bootstrap right?"));
    }
    Ok(node)
}

/// The configuration that the options ask for: on any port, since `--port` is what is announced.
pub(super) fn config(session: &Session, standing: Standing) -> Result<Config, Failed> {
    let mut config = Config { port: 0, ..Config::default() };
    let entries = session.global.bootstrap();
    if !entries.is_empty() {
        config.machine.routers.clear();
    }
    let mut local = !entries.is_empty();
    for entry in entries {
        match entry {
            Bootstrap::Address(address) => {
                local &= address.ip().is_loopback();
                config.machine.nodes.push(address.into());
            }
            Bootstrap::Name { hint, host, port } => {
                local = false;
                config.machine.nodes.extend(hint.map(|ip| SocketAddr::from((ip, port))));
                config.machine.routers.push((host, port));
            }
        }
    }
    if local {
        // All nodes of such a network have one address, for which no limit per address makes sense.
        config.machine = node::mainline::Machine { ..Config::testnet(config.machine.nodes).machine };
        (config.v4, config.v6) = (Some(Ipv4Addr::LOCALHOST), None);
    }
    config.v4 = session.global.host()?.or(config.v4);
    config.machine.standing = standing;
    Ok(config)
}
