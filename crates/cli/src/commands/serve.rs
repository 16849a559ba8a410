use std::net::{SocketAddr, SocketAddrV4};
use std::path::PathBuf;

use monitor::{Monitor, Options};
use node::{AssumedFirewall, Config, Event, Node, Standing};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;

use crate::args::NodeArgs;
use crate::exit::Failed;
use crate::session::{Home, Session};

/// Runs a node that others enter a network by, until told to end.
pub(super) async fn bootstrap(session: &Session) -> Result<(), Failed> {
    let host = session.global.host()?.filter(|host| !host.is_unspecified());
    let host = host.ok_or_else(|| Failed::usage("a bootstrap node needs --host, its public IPv4 address"))?;
    let port = session.global.port.unwrap_or(Config::PORT);
    if port == 0 {
        return Err(Failed::usage("a bootstrap node needs a port that others can be told"));
    }
    let mut config = Config::bootstrapper(SocketAddrV4::new(host, port));
    config.bootstrap = session.global.bootstrap();
    let home = session.open(config, session.global.data_dir()).await?;
    let outcome = session.or_stop(run_bootstrap(session, &home)).await;
    home.shutdown().await?;
    unless_interrupted(outcome)
}

async fn run_bootstrap(session: &Session, home: &Home) -> Result<(), Failed> {
    let node = home.node();
    let mut events = node.events();
    home.ready().await?;
    let address = node.server_address();
    let id = node.snapshot().await?.state.id;
    let shown = id.map_or_else(|| "none".into(), |id| id.to_string());
    let line = json!({"event": "ready", "address": address, "id": id});
    session.console.line(&line, format_args!("ready on {address}, id {shown}"))?;
    loop {
        show_event(session, node, events.recv().await).await?;
    }
}

/// Runs a node until told to end.
pub(super) async fn node(session: &Session, args: &NodeArgs) -> Result<(), Failed> {
    let mut config = session.config()?;
    if args.persistent {
        config.standing = Standing::Persistent;
    }
    if args.ephemeral {
        config.standing = Standing::Ephemeral;
    }
    if args.open {
        config.firewall = AssumedFirewall::Open;
    }
    let home = session.open(config, Some(&session.data_dir()?)).await?;
    let token_file = session.data_dir()?.join("monitor.token");
    let outcome = match serve_monitor(session, home.node(), args.monitor, Some(token_file)).await {
        Ok(_monitor) => session.or_stop(run_node(session, &home)).await,
        Err(failed) => Err(failed),
    };
    home.shutdown().await?;
    unless_interrupted(outcome)
}

/// Serves the monitor if it was asked for, and prints where. Without a file for their token, programs cannot ask it.
pub(super) async fn serve_monitor(
    session: &Session,
    node: &Node,
    address: Option<SocketAddr>,
    token_file: Option<PathBuf>,
) -> Result<Option<Monitor>, Failed> {
    let Some(address) = address else { return Ok(None) };
    let options = Options { address, token_file: token_file.clone() };
    let monitor = Monitor::serve(node.clone(), &options).await?;
    let line = json!({
        "event": "monitor", "address": monitor.address(), "url": monitor.url(),
        "code": monitor.guard().code().reveal(), "token_file": token_file,
    });
    session.console.line(&line, format_args!("monitor: {}", monitor.url()))?;
    Ok(Some(monitor))
}

async fn run_node(session: &Session, home: &Home) -> Result<(), Failed> {
    let node = home.node();
    let mut events = node.events();
    session.show_listening(home)?;
    session.console.progress("joining the network", home.ready()).await?;
    session.show_ready(node).await?;
    loop {
        show_event(session, node, events.recv().await).await?;
    }
}

/// Prints what happened to a long-running node.
pub(super) async fn show_event(
    session: &Session,
    node: &Node,
    event: Result<Event, RecvError>,
) -> Result<(), Failed> {
    let event = match event {
        Ok(event) => event,
        Err(RecvError::Lagged(missed)) => {
            let line = json!({"event": "missed", "events": missed});
            return session.console.line(&line, format_args!("missed {missed} events"));
        }
        Err(RecvError::Closed) => return Err(node::Stopped.into()),
    };
    let state = node.snapshot().await?.state;
    let name = match event {
        Event::Persistent => "persistent",
        Event::Ephemeral => "ephemeral",
        Event::AddressChanged => "address",
        Event::HealthChanged => "health",
        Event::NetworkChanged => "network",
        Event::Woke => "woke",
        // Shown by the command that asked for it, or not news to whoever reads this.
        Event::Listening { .. }
        | Event::Ready
        | Event::Suspended
        | Event::Resumed
        | Event::Announced { .. }
        | Event::Reachable { .. }
        | _ => return Ok(()),
    };
    let line: Value = json!({
        "event": name, "host": state.host, "port": state.port, "ephemeral": state.ephemeral,
        "firewalled": state.firewalled, "online": state.online, "degraded": state.degraded,
    });
    let online = if state.online { "online" } else { "offline" };
    let degraded = if state.degraded { ", degraded" } else { "" };
    session.console.line(&line, format_args!("{name}: {online}{degraded}"))
}

/// To be told to end is how these commands are meant to end.
pub(super) fn unless_interrupted(outcome: Result<(), Failed>) -> Result<(), Failed> {
    match outcome {
        Err(failed) if failed.exit == crate::exit::Exit::Interrupted => Ok(()),
        outcome => outcome,
    }
}
