//! The same figures under the names of npm `hyperdht-stats`, so that dashboards made for it go on working.
//!
//! As there, all are gauges without labels. Names whose data this node does not have are left out, since 0
//! would be wrong.

use node::Snapshot;
use node::snapshot::{Link, SocketState, SwarmState};

use super::Exposition;

/// Writes the metrics that `hyperdht-stats` 1.11 and this node both have.
pub fn encode(snapshot: &Snapshot) -> String {
    let mut out = Exposition(String::with_capacity(4 << 10));
    let commands = &snapshot.commands;
    let requests = &snapshot.requests;
    let punches = &snapshot.connections.punches;
    let mut hosts: Vec<_> = snapshot.nodes.table.iter().map(|node| *node.address.ip()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let figures = [
        ("dht_nr_nodes", snapshot.nodes.known as u64),
        ("dht_nr_unique_node_ips", hosts.len() as u64),
        ("dht_active_queries", snapshot.queries.active),
        ("dht_total_queries", snapshot.queries.total),
        ("dht_active_requests", requests.active),
        ("dht_total_requests", requests.total),
        ("dht_request_responses", requests.responses),
        ("dht_request_timeouts", requests.timeouts),
        ("dht_request_retries", requests.retries),
        ("dht_ping_received", commands.ping.rx),
        ("dht_ping_transmitted", commands.ping.tx),
        ("dht_ping_nat_received", commands.ping_nat.rx),
        ("dht_ping_nat_transmitted", commands.ping_nat.tx),
        ("dht_find_node_received", commands.find_node.rx),
        ("dht_find_node_transmitted", commands.find_node.tx),
        ("dht_down_hint_received", commands.down_hint.rx),
        ("dht_down_hint_transmitted", commands.down_hint.tx),
        ("dht_consistent_punches", punches.consistent),
        ("dht_random_punches", punches.random),
        ("dht_open_punches", punches.open),
        ("dht_holepunch_try_later_total", punches.try_later),
        ("dht_nr_records", (snapshot.stored.topics + snapshot.stored.keys) as u64),
        ("dht_is_firewalled", u64::from(snapshot.state.firewalled)),
    ];
    for (name, value) in figures {
        out.gauge(name, "As hyperdht-stats.", value);
    }
    for socket in snapshot.sockets.iter().filter(|socket| matches!(&*socket.name, "client" | "server")) {
        let name = |what: &str| format!("dht_{}_socket_{what}", socket.name);
        out.gauge(&name("bytes_transmitted"), "As hyperdht-stats.", socket.bytes_out);
        out.gauge(&name("packets_transmitted"), "As hyperdht-stats.", socket.packets_out);
        out.gauge(&name("bytes_received"), "As hyperdht-stats.", socket.bytes_in);
        out.gauge(&name("packets_received"), "As hyperdht-stats.", socket.packets_in);
    }
    let sum = |of: fn(&SocketState) -> u64| snapshot.sockets.iter().map(of).sum::<u64>();
    out.gauge("udx_total_bytes_transmitted", "As hyperdht-stats.", sum(|socket| socket.bytes_out));
    out.gauge("udx_total_packets_transmitted", "As hyperdht-stats.", sum(|socket| socket.packets_out));
    out.gauge("udx_total_bytes_received", "As hyperdht-stats.", sum(|socket| socket.bytes_in));
    out.gauge("udx_total_packets_received", "As hyperdht-stats.", sum(|socket| socket.packets_in));
    swarm(&mut out, snapshot);
    out.0
}

/// The names of npm `hyperswarm-stats` 1.3.1, which has one swarm a process; several are added up here.
fn swarm(out: &mut Exposition, snapshot: &Snapshot) {
    let swarms = &snapshot.peers.swarms;
    let sum = |of: fn(&SwarmState) -> u64| swarms.iter().map(of).sum::<u64>();
    let streams = &snapshot.connections.streams;
    let figures = [
        ("nr_peers", sum(|swarm| (swarm.known + swarm.banned) as u64)),
        ("client_connections_opened", sum(|swarm| swarm.client_opened)),
        ("client_connections_closed", sum(|swarm| swarm.client_closed)),
        ("client_connections_attempted", sum(|swarm| swarm.client_attempted)),
        ("server_connections_opened", sum(|swarm| swarm.server_opened)),
        ("server_connections_closed", sum(|swarm| swarm.server_closed)),
        ("total_bytes_transmitted_over_swarm_streams", streams.bytes_out),
        ("total_bytes_received_over_swarm_streams", streams.bytes_in),
        ("total_packets_transmitted_over_swarm_streams", streams.packets_out),
        ("total_packets_received_over_swarm_streams", streams.packets_in),
    ];
    for (name, value) in figures {
        out.gauge(&format!("hyperswarm_{name}"), "As hyperswarm-stats.", value);
    }
    let links: Vec<_> = snapshot.peers.list.iter().filter_map(|peer| peer.link.as_ref()).collect();
    let average =
        |of: fn(&Link) -> u64| links.iter().map(|link| of(link)).sum::<u64>().checked_div(links.len() as u64);
    if let (Some(window), Some(mtu)) = (average(|link| link.window), average(|link| link.mtu.into())) {
        out.gauge("hyperswarm_avg_congestion_window", "As hyperswarm-stats.", window);
        out.gauge("hyperswarm_avg_mtu", "As hyperswarm-stats.", mtu);
    }
}
