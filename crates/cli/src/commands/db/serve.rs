use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use db::{Certificate, Config, Db, Event, Function, Listen, Outcome};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::broadcast::error::RecvError;
use tooldb::message::Role;
use tooldb::{Backfill, Difficulty, Key, Misses};

use super::args::{NetworkArgs, PORT, ServeArgs};
use super::{SERVER, directory, join};
use crate::commands::serve::unless_interrupted;
use crate::exit::Failed;
use crate::session::Session;

/// Runs a server until told to end.
pub(super) async fn serve(
    session: &Session,
    (network, args): (&NetworkArgs, &ServeArgs),
) -> Result<(), Failed> {
    let directory = directory(session, SERVER)?;
    let config = config(session, (network, args), directory.clone())?;
    let (db, mut running) = Db::start(config).await?;
    let joined = join(session, network, (&db, swarm_seed(&directory)?)).await?;
    let control = db::control::serve(db.clone(), &directory)?;
    let outcome = session.or_stop(show(session, network, &db)).await;
    let broken = tokio::select! {
        biased;
        () = running.ended() => true,
        () = std::future::ready(()) => false,
    };
    drop(control);
    joined.leave().await?;
    if broken {
        return Err(Failed::new("stopped", "the database broke"));
    }
    db.shutdown(running).await?;
    unless_interrupted(outcome)
}

/// What the server's key on HyperDHT is made from; it is the same each time, so that others know who came back.
fn swarm_seed(directory: &Path) -> Result<[u8; 32], Failed> {
    let seed = node::read_key(&directory.join("key"))?;
    Ok(node::hash(&[b"homing db on the swarm".as_slice(), &seed].concat()).0)
}

fn config(
    session: &Session,
    (network, args): (&NetworkArgs, &ServeArgs),
    directory: std::path::PathBuf,
) -> Result<Config, Failed> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let announced = session.global.announced_host().map(str::to_owned).or_else(|| variable("HOST"));
    let port = match (session.global.port, variable("PORT")) {
        (Some(port), _) => port,
        (None, Some(port)) => port.parse().map_err(|_| Failed::usage("PORT is not a port"))?,
        (None, None) => PORT,
    };
    let named = announced.as_deref().and_then(|host| host.parse::<IpAddr>().ok());
    let local = match named {
        Some(address) if address.is_loopback() => address,
        None if announced.is_none() || announced.as_deref() == Some("localhost") => {
            Ipv4Addr::LOCALHOST.into()
        }
        Some(_) | None => Ipv4Addr::UNSPECIFIED.into(),
    };
    let certificate = args.tls_cert.clone().zip(args.tls_key.clone());
    let mut config = Config::new(network.topic.clone(), directory);
    config.listen = Some(Listen {
        address: SocketAddr::new(args.bind.unwrap_or(local), port),
        announced,
        certificate: certificate.map(|(chain, key)| Certificate { chain, key }),
    });
    config.peers.clone_from(&network.peers);
    config.roots.clone_from(&network.roots);
    config.rules.difficulty = Difficulty(args.pow);
    config.replica.author_bytes_max = args.author_bytes;
    config.links.links_per_host_max = args.links_per_host;
    config.sync_window = Duration::from_millis(args.sync_window);
    config.backfill = if args.no_backfill { Backfill::Never } else { Backfill::Asked };
    config.misses = if args.answer_misses { Misses::Answered } else { Misses::Silent };
    if args.echo {
        config.functions = echo();
    }
    Ok(config)
}

fn echo() -> BTreeMap<Key, Function> {
    let echo: Function = Arc::new(|args| Box::pin(async move { Outcome::Value(args.into()) }));
    Key::new("echo").into_iter().map(|name| (name, Arc::clone(&echo))).collect()
}

async fn show(session: &Session, network: &NetworkArgs, db: &Db) -> Result<(), Failed> {
    let mut events = db.events();
    let mut hangup = signal(SignalKind::hangup())?;
    let (address, topic) = (db.address(), network.topic.as_str());
    let announced = db.announced().map(|server| {
        let scheme = if server.is_tls() { "wss" } else { "ws" };
        format!("{scheme}://{}:{}", server.endpoint.host(), server.endpoint.port())
    });
    let author = db.identity().address().to_string();
    let line = json!({
        "event": "listening", "address": address, "announced": announced, "topic": topic, "author": author,
    });
    let shown = announced.unwrap_or_default();
    session.console.line(&line, format_args!("serving {topic} at {shown}"))?;
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            _ = hangup.recv() => {
                db.reload();
                continue;
            }
        };
        let (name, client, role, over) = match event {
            Ok(Event::Connected { client, role, over }) => ("connected", client, role, over),
            Ok(Event::Disconnected { client, role, over }) => ("disconnected", client, role, over),
            Ok(_) | Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return Ok(()),
        };
        let role = if role == Role::Server { "server" } else { "client" };
        let over = over.as_str();
        let line = json!({"event": name, "client": client.as_str(), "role": role, "over": over});
        session.console.line(&line, format_args!("{role} {client} {name} over {over}"))?;
    }
}
