use std::fmt::Display;
use std::time::Duration;

use monitor::words;
use node::control::{self, Answer, ControlError, Request};
use node::snapshot::{Peer, Snapshot, SocketState};
use serde_json::json;

use crate::commands::serve::unless_interrupted;
use crate::console::table;
use crate::exit::Failed;
use crate::session::Session;

/// Prints the state of the running node, or of a new one if none runs.
pub(super) async fn snapshot(session: &Session) -> Result<(), Failed> {
    let snapshot = match session.or_stop(ask_running(session)).await? {
        Some(snapshot) => *snapshot,
        None => {
            session
                .with_node(session.asking()?, async |node| {
                    session.join(node).await?;
                    Ok(node.snapshot().await?)
                })
                .await?
        }
    };
    let line = serde_json::to_value(&snapshot).map_err(Failed::system)?;
    session.console.line(&line, describe(&snapshot).trim_end())
}

/// Prints the state of the running node once a second.
pub(super) async fn watch(session: &Session) -> Result<(), Failed> {
    let mut second = tokio::time::interval(Duration::from_secs(1));
    let print = async {
        loop {
            second.tick().await;
            let Some(snapshot) = ask_running(session).await? else {
                return Err(Failed::new("not-running", "no node is running with this directory"));
            };
            let line = serde_json::to_value(&snapshot).map_err(Failed::system)?;
            session.console.line(&line, describe(&snapshot))?;
        }
    };
    unless_interrupted(session.or_stop(print).await)
}

async fn ask_running(session: &Session) -> Result<Option<Box<Snapshot>>, Failed> {
    let dir = session.data_dir()?;
    match control::ask(&dir, &Request::Snapshot).await {
        Ok(Answer::Snapshot(snapshot)) => Ok(Some(snapshot)),
        Ok(Answer::Error(error)) => Err(Failed::new("refused", error)),
        Ok(_) => Err(Failed::new("refused", "the running node answered something else")),
        Err(ControlError::NotRunning(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn describe(snapshot: &Snapshot) -> String {
    let state = &snapshot.state;
    let known = |value: Option<String>| value.unwrap_or_else(|| "unknown".into());
    let address = state.host.map(|host| match state.port {
        Some(port) => format!("{host}:{port}"),
        None => format!("{host}, another port for every observer"),
    });
    let yes = |flag: bool| if flag { "yes" } else { "no" };
    let rows = [
        row("id", state.id.map_or_else(|| "none while ephemeral".into(), |id| id.to_string())),
        row("public address", known(address)),
        row("firewalled", yes(state.firewalled)),
        row("ephemeral", yes(state.ephemeral)),
        row("online", if state.degraded { "degraded" } else { yes(state.online) }),
        row("DHT nodes known", snapshot.nodes.known),
        row("DHT nodes estimated", known(snapshot.nodes.network_estimate.map(|size| size.to_string()))),
        row("round trip, ms", known(snapshot.nodes.round_trip_ms.map(|ms| format!("{ms:.1}")))),
        row("peers found", snapshot.peers.found),
        row("peers connected", snapshot.peers.connected),
        row("peers known", snapshot.peers.known),
        row("connections open", snapshot.connections.open),
        row("  direct, LAN, punched, relayed", {
            let paths = snapshot.connections.paths.named().map(|(_, count)| count.to_string());
            paths.join(", ")
        }),
        row(
            "dials, begun/failed",
            format_args!("{}/{}", snapshot.connections.attempted, snapshot.connections.failed),
        ),
        row("topics announced", snapshot.peers.topics.iter().filter(|topic| topic.role.announces()).count()),
        row("keys announced", snapshot.peers.listening.len()),
        row("queries, active/total", format_args!("{}/{}", snapshot.queries.active, snapshot.queries.total)),
        row("requests", snapshot.requests.total),
        row("  answered", snapshot.requests.responses),
        row("  given up", snapshot.requests.timeouts),
        row("  sent again", snapshot.requests.retries),
        row("stored announcements", snapshot.stored.topics + snapshot.stored.keys),
        row("stored values", snapshot.stored.mutable + snapshot.stored.immutable),
        row("datagrams rejected", snapshot.rejected),
        row("replies withheld", snapshot.withheld),
        row("uptime, s", snapshot.process.uptime_ms / 1000),
        row("memory, MiB", known(snapshot.process.resident_bytes.map(mebibytes))),
    ];
    let sockets: Vec<_> = snapshot.sockets.iter().map(socket_row).collect();
    let head = ["socket", "address", "in", "bytes in", "out", "bytes out", "dropped"];
    let peers: Vec<_> = snapshot.peers.list.iter().map(peer_row).collect();
    let served: Vec<_> =
        snapshot.served.named().iter().filter(|(_, n)| *n > 0).map(|(name, n)| row(name, n)).collect();
    let mut out = format!("{}\n{}", table(&["node", ""], &rows), table(&head, &sockets));
    if !peers.is_empty() {
        let head = ["peer", "state", "way", "round trip, ms", "bytes in", "bytes out", "last failure"];
        out.push('\n');
        out.push_str(&table(&head, &peers));
    }
    if !served.is_empty() {
        out.push('\n');
        out.push_str(&table(&["answered to others", ""], &served));
    }
    out
}

/// Lays out the nodes of a private network, one a line.
pub(crate) fn show_nodes(snapshots: &[Snapshot]) -> String {
    let head = ["node", "known", "in", "out", "answered", "announcements", "values", "rejected"];
    let sum = |snapshot: &Snapshot, of: fn(&SocketState) -> u64| snapshot.sockets.iter().map(of).sum::<u64>();
    let figures = |snapshot: &Snapshot| {
        [
            snapshot.nodes.known as u64,
            sum(snapshot, |socket| socket.packets_in),
            sum(snapshot, |socket| socket.packets_out),
            snapshot.served.named().iter().map(|(_, n)| n).sum(),
            (snapshot.stored.topics + snapshot.stored.keys) as u64,
            (snapshot.stored.mutable + snapshot.stored.immutable) as u64,
            snapshot.rejected,
        ]
    };
    let mut totals = [0; 7];
    let mut rows = Vec::new();
    for snapshot in snapshots {
        let figures = figures(snapshot);
        for (total, figure) in totals.iter_mut().zip(figures).skip(1) {
            *total += figure;
        }
        let address = snapshot.sockets.first().and_then(|socket| socket.local);
        let mut cells = row(&address.map_or_else(|| "closed".into(), |a| a.to_string()), figures[0]);
        cells.extend(figures.iter().skip(1).map(ToString::to_string));
        rows.push(cells);
    }
    let mut total = row(&format!("{} nodes", snapshots.len()), "");
    total.extend(totals.iter().skip(1).map(ToString::to_string));
    rows.push(total);
    table(&head, &rows)
}

/// The line of JSON that goes with [`show_nodes`].
pub(crate) fn nodes_line(snapshots: &[Snapshot]) -> Result<serde_json::Value, Failed> {
    let nodes = serde_json::to_value(snapshots).map_err(Failed::system)?;
    Ok(json!({"event": "snapshot", "nodes": nodes}))
}

fn socket_row(socket: &SocketState) -> Vec<String> {
    vec![
        socket.name.clone(),
        socket.local.map_or_else(|| "closed".into(), |local| local.to_string()),
        socket.packets_in.to_string(),
        socket.bytes_in.to_string(),
        socket.packets_out.to_string(),
        socket.bytes_out.to_string(),
        (socket.dropped_in + socket.dropped_out).to_string(),
    ]
}

fn peer_row(peer: &Peer) -> Vec<String> {
    let link = peer.link.as_ref();
    let shown = |value: Option<String>| value.unwrap_or_else(|| "–".into());
    vec![
        peer.key.to_string().chars().take(8).collect(),
        words::standing(peer).1.into(),
        shown(link.map(|link| link.path.clone())),
        shown(link.and_then(|link| link.round_trip_ms).map(|ms| format!("{ms:.1}"))),
        shown(link.map(|link| link.traffic.bytes_in.to_string())),
        shown(link.map(|link| link.traffic.bytes_out.to_string())),
        shown(peer.failure.as_ref().map(|failure| failure.text.clone())),
    ]
}

fn row(name: &str, value: impl Display) -> Vec<String> {
    vec![name.to_owned(), value.to_string()]
}

fn mebibytes(bytes: u64) -> String {
    let tenths = ((bytes >> 10) * 10) >> 10;
    format!("{}.{}", tenths / 10, tenths % 10)
}
