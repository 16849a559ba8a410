use std::num::NonZeroU16;

use node::channel::{
    Channel, Domain, Event, Events, Found, Join, Manner, NameServer, Naming, Outcome, Scope, Setup, Source,
};
use node::mainline::Mainline;
use node::{Config, KeyPair, Standing};
use serde_json::json;

use crate::args::{KeyArgs, OnArgs};
use crate::commands::announce::announced_key;
use crate::commands::mainline;
use crate::commands::serve::unless_interrupted;
use crate::exit::Failed;
use crate::session::Session;
use crate::topic::Topic;

/// Is found on the networks named until told to end, and tells who else is there.
pub(super) async fn announce(
    session: &Session,
    topic: Topic,
    how: (&KeyArgs, &OnArgs),
) -> Result<(), Failed> {
    let (key, on) = how;
    let port = session.global.port.and_then(NonZeroU16::new);
    let port = port.ok_or_else(|| Failed::usage("which port is to be announced? --port names it"))?;
    let config = Config { port: 0, ..session.config()? };
    meet(session, config, Meeting { join: Join::announce(topic.2, port), key: Some(key), on }).await
}

/// Tells who is there on the networks named, until told to end.
pub(super) async fn watch(session: &Session, topic: Topic, on: &OnArgs) -> Result<(), Failed> {
    meet(session, session.asking()?, Meeting { join: Join::look(topic.2), key: None, on }).await
}

/// What to join, as whom, and where.
struct Meeting<'a> {
    join: Join,
    key: Option<&'a KeyArgs>,
    on: &'a OnArgs,
}

async fn meet(session: &Session, config: Config, meeting: Meeting<'_>) -> Result<(), Failed> {
    let sources = &meeting.on.on;
    if sources.contains(&Source::Static) {
        return Err(Failed::usage("static is not a network; use hyper, mainline, mdns and dns"));
    }
    let scope = if config.host.is_loopback() { Scope::Loopback } else { Scope::Links };
    let server = |address: &std::net::SocketAddrV4| NameServer { address: *address, secondary: None };
    let manner = if meeting.join.port.is_some() { Manner::Active } else { Manner::Passive };
    let mut setup = Setup {
        manner,
        local: sources.contains(&Source::Mdns).then_some(scope),
        servers: meeting.on.dns_server.iter().map(server).collect(),
        ..Setup::default()
    };
    let mut home = None;
    if sources.contains(&Source::Hyper) {
        let opened = session.open(config, session.global.data_dir()).await?;
        let fresh = || Ok(KeyPair::from_seed(node::seed()?));
        let key = meeting.key.map_or_else(fresh, |key| announced_key(key, &opened))?;
        setup.hyper = Some((opened.node().clone(), key));
        home = Some(opened);
    }
    if sources.contains(&Source::Mainline) {
        let standing = if manner == Manner::Active { Standing::Adaptive } else { Standing::Ephemeral };
        setup.mainline = Some(Mainline::spawn(mainline::config(session, standing)?).await?);
    }
    let mainline = setup.mainline.clone();
    let outcome = run(session, setup, meeting).await;
    if let Some(mainline) = mainline {
        mainline.shutdown().await?;
    }
    if let Some(home) = home {
        home.shutdown().await?;
    }
    unless_interrupted(outcome)
}

async fn run(session: &Session, setup: Setup, meeting: Meeting<'_>) -> Result<(), Failed> {
    let (channel, mut events) = Channel::open(setup).await?;
    let naming = if meeting.on.compatible { Naming::Compatible(Domain::DnsDiscovery) } else { Naming::Keyed };
    channel.join(Join { naming, ..meeting.join }).await?;
    let outcome = session.or_stop(show_all(session, &mut events)).await;
    channel.close().await?;
    outcome
}

async fn show_all(session: &Session, events: &mut Events) -> Result<(), Failed> {
    while let Some(event) = events.next().await {
        show(session, event)?;
    }
    Err(node::Stopped.into())
}

fn show(session: &Session, event: Event) -> Result<(), Failed> {
    match event {
        Event::Found { found, .. } => show_peer(session, "peer", found),
        Event::Lost { found, .. } => show_peer(session, "lost", found),
        Event::Announced { source, port, outcome, .. } => {
            let answered = outcome == Outcome::Answered;
            let line =
                json!({"event": "announced", "source": source.as_str(), "port": port, "answered": answered});
            let how = if answered { "announced" } else { "not announced, nobody answered:" };
            session.console.line(&line, format_args!("{how} port {port} on {source}"))
        }
        Event::Looked { source, outcome: Outcome::Failed, .. } => {
            let line = json!({"event": "looked", "source": source.as_str(), "answered": false});
            session.console.line(&line, format_args!("nobody answered on {source}; trying on"))
        }
        Event::Looked { .. } | _ => Ok(()),
    }
}

fn show_peer(session: &Session, event: &str, found: Found) -> Result<(), Failed> {
    match found {
        Found::Address { address, source } => {
            let (host, port) = (address.ip(), address.port());
            let line =
                json!({"event": event, "source": source.as_str(), "host": host.to_string(), "port": port});
            session.console.line(&line, format_args!("{event} {address} by {source}"))
        }
        Found::Key { key, source } => {
            let key = key.to_string();
            let line = json!({"event": event, "source": source.as_str(), "public_key": key});
            session.console.line(&line, format_args!("{event} {key} by {source}"))
        }
    }
}
