//! The snapshot in the text format of Prometheus. Labels are names of ours, never a key, an address or a topic.

use std::fmt::{Display, Write as _};

use node::Snapshot;

use crate::feed::View;
use crate::words::{self, Standing};

mod hyperdht;
mod links;

pub use hyperdht::encode as encode_hyperdht;

/// Every alert that can be active, so that each is a series from the start.
const ALERTS: [&str; 6] =
    ["OFFLINE", "DEGRADED", "SUBNET_SKEW", "ANNOUNCE_LOST", "SEND_REFUSED", "PEERS_UNREACHABLE"];

/// Text in the exposition format, built family by family.
#[derive(Default)]
struct Exposition(String);

impl Exposition {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.put(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (n, (key, value)) in labels.iter().enumerate() {
            self.0.push(if n == 0 { '{' } else { ',' });
            self.put(format_args!("{key}=\"{value}\""));
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        self.put(format_args!(" {value}\n"));
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "counter", help);
        self.sample(name, &[], value);
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        self.0.write_fmt(text).expect("a string takes everything");
    }
}

/// Writes the catalogue's metrics as far as the snapshot has their data; what is unknown is left out.
pub fn encode(view: &View) -> String {
    let mut out = Exposition(String::with_capacity(16 << 10));
    let snapshot = &view.snapshot;
    process(&mut out, snapshot);
    state(&mut out, view);
    table(&mut out, snapshot);
    requests(&mut out, snapshot);
    walks(&mut out, snapshot);
    records(&mut out, snapshot);
    links::encode(&mut out, snapshot);
    sockets(&mut out, snapshot);
    out.0
}

fn process(out: &mut Exposition, snapshot: &Snapshot) {
    out.family("p2p_build_info", "gauge", "What runs.");
    out.sample("p2p_build_info", &[("version", &snapshot.process.version)], 1);
    out.gauge("p2p_uptime_seconds", "Time since the node was started.", seconds(snapshot.process.uptime_ms));
    if let Some(bytes) = snapshot.process.resident_bytes {
        out.gauge("process_resident_memory_bytes", "Resident memory of the process.", bytes);
    }
    out.counter(
        "p2p_events_missed_total",
        "Events that slow readers missed.",
        snapshot.process.events_missed,
    );
}

fn state(out: &mut Exposition, view: &View) {
    out.family("p2p_state", "gauge", "1 for the state that holds.");
    for standing in Standing::ALL {
        let holds = u8::from(standing == view.verdict.standing);
        out.sample("p2p_state", &[("state", standing.label())], holds);
    }
    out.family("p2p_alert_active", "gauge", "1 while an alert is active.");
    for code in ALERTS {
        let active = u8::from(view.alerts.iter().any(|alert| alert.code == code));
        out.sample("p2p_alert_active", &[("code", code)], active);
    }
    let state = &view.snapshot.state;
    let flags = [
        ("dht_bootstrapped", "The first bootstrap ended.", state.bootstrapped),
        ("dht_online", "The network answers.", state.online),
        ("dht_degraded", "It answers badly.", state.degraded),
        ("dht_firewalled", "Nobody proved that the server socket can be reached.", state.firewalled),
        ("dht_ephemeral", "Others do not store this node.", state.ephemeral),
        ("dht_suspended", "The sockets are closed.", state.suspended),
    ];
    for (name, help, flag) in flags {
        out.family(name, "gauge", help);
        out.sample(name, NET, u8::from(flag));
    }
    let nat = words::nat(&view.snapshot);
    let mapping = match nat.mapping {
        words::Mapping::Unknown => "unknown",
        words::Mapping::None => "none",
        words::Mapping::Consistent => "consistent",
        words::Mapping::Random => "random",
    };
    out.family("nat_mapping_info", "gauge", "How the router maps this node.");
    out.sample("nat_mapping_info", &[("mapping", mapping)], 1);
    out.gauge("nat_observers", "Observers whose word that is.", nat.observers);
}

const NET: &[(&str, &str)] = &[("net", "hyperdht")];

fn table(out: &mut Exposition, snapshot: &Snapshot) {
    let nodes = &snapshot.nodes;
    out.family("dht_nodes", "gauge", "DHT nodes in the routing table; peers are not among them.");
    out.sample("dht_nodes", NET, nodes.known);
    out.family("dht_nodes_unique_ips", "gauge", "Distinct hosts among them.");
    let mut hosts: Vec<_> = nodes.table.iter().map(|node| *node.address.ip()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    out.sample("dht_nodes_unique_ips", NET, hosts.len());
    out.family("dht_bucket_nodes", "gauge", "Nodes that share so many leading bits with this node.");
    for (row, count) in nodes.rows.iter().enumerate() {
        out.sample("dht_bucket_nodes", &[("net", "hyperdht"), ("bucket", &row.to_string())], count);
    }
    if let Some(size) = nodes.network_estimate {
        out.family("dht_network_size_estimate", "gauge", "Estimated nodes of the network.");
        out.sample("dht_network_size_estimate", NET, size);
    }
    out.family("dht_table_changes_total", "counter", "Nodes that entered and left the table.");
    out.sample("dht_table_changes_total", &[("op", "added")], snapshot.table_changes.added);
    out.sample("dht_table_changes_total", &[("op", "removed")], snapshot.table_changes.removed);
    out.gauge(
        "dht_contacted_addresses",
        "Addresses that datagrams were sent to.",
        snapshot.contacted.addresses,
    );
}

fn requests(out: &mut Exposition, snapshot: &Snapshot) {
    let requests = &snapshot.requests;
    out.family("dht_requests_total", "counter", "Own requests by result.");
    out.sample("dht_requests_total", &[("result", "ok")], requests.responses);
    out.sample("dht_requests_total", &[("result", "timeout")], requests.timeouts);
    out.counter("dht_requests_made_total", "Own requests made.", requests.total);
    out.counter("dht_request_retries_total", "Own requests sent again.", requests.retries);
    out.gauge("dht_inflight_requests", "Own requests without an answer yet.", requests.active);
    out.gauge("dht_requests_waiting", "Own requests that wait for room.", snapshot.nodes.waiting);
    out.family("dht_commands_total", "counter", "Internal requests made, and answers to them.");
    let commands = &snapshot.commands;
    let kinds = [
        ("ping", commands.ping),
        ("ping_nat", commands.ping_nat),
        ("find_node", commands.find_node),
        ("down_hint", commands.down_hint),
    ];
    for (command, exchanged) in kinds {
        out.sample("dht_commands_total", &[("command", command), ("dir", "tx")], exchanged.tx);
        out.sample("dht_commands_total", &[("command", command), ("dir", "rx")], exchanged.rx);
    }
    out.family("dht_served_total", "counter", "Requests of others answered or passed on.");
    for (command, count) in snapshot.served.named() {
        out.sample("dht_served_total", &[("command", command)], count);
    }
    out.counter(
        "dht_malformed_total",
        "Datagrams that were no valid message or an unwanted answer.",
        snapshot.rejected,
    );
    out.counter("dht_replies_withheld_total", "Replies withheld from unproven addresses.", snapshot.withheld);
    round_trips(out, snapshot);
}

fn round_trips(out: &mut Exposition, snapshot: &Snapshot) {
    let trips = &snapshot.round_trips;
    out.family("dht_request_seconds", "histogram", "Time from the first sending to the answer.");
    let mut total = 0;
    for (count, bound) in trips.counts.iter().zip(trips.bounds_ms) {
        total += count;
        out.sample("dht_request_seconds_bucket", &[("le", &seconds(bound).to_string())], total);
    }
    total += trips.counts.last().copied().unwrap_or_default();
    out.sample("dht_request_seconds_bucket", &[("le", "+Inf")], total);
    out.sample("dht_request_seconds_sum", &[], seconds(trips.sum_us) / 1e3);
    out.sample("dht_request_seconds_count", &[], total);
}

fn walks(out: &mut Exposition, snapshot: &Snapshot) {
    out.family("dht_queries_total", "counter", "Walks begun.");
    out.sample("dht_queries_total", NET, snapshot.queries.total);
    out.family("dht_queries_active", "gauge", "Walks under way.");
    out.sample("dht_queries_active", NET, snapshot.queries.active);
    if let Some(ms) = snapshot.entering.took_ms {
        out.gauge("dht_bootstrap_seconds", "Duration of the first bootstrap.", seconds(ms));
    }
    let announced = snapshot.peers.topics.iter().filter(|topic| topic.role.announces());
    out.gauge("dht_topics_announced", "Topics that this node announces.", announced.clone().count());
    out.gauge("dht_keys_announced", "Keys that this node announces.", snapshot.peers.listening.len());
    out.gauge("dht_peers_found", "Distinct keys that look-ups found; no connections.", snapshot.peers.found);
    let holders = announced.filter(|topic| topic.announced_ms_ago.is_some()).map(|topic| topic.stored).min();
    if let Some(holders) = holders {
        out.gauge("dht_announce_holders_min", "Nodes that store the topic stored least.", holders);
    }
}

fn records(out: &mut Exposition, snapshot: &Snapshot) {
    let stored = &snapshot.stored;
    out.family("dht_records", "gauge", "Records kept for others.");
    let kinds = [
        ("topic", stored.topics),
        ("key", stored.keys),
        ("mutable", stored.mutable),
        ("immutable", stored.immutable),
    ];
    for (kind, count) in kinds {
        out.sample("dht_records", &[("net", "hyperdht"), ("kind", kind)], count);
    }
    out.gauge("dht_records_bytes", "Bytes of the values kept for others.", stored.value_bytes);
}

fn sockets(out: &mut Exposition, snapshot: &Snapshot) {
    type Figure = fn(&node::snapshot::SocketState) -> [u64; 2];
    let families: [(&str, &str, Figure); 3] = [
        ("udp_packets_total", "Datagrams by socket and direction.", |s| [s.packets_in, s.packets_out]),
        ("udp_bytes_total", "Bytes without IP and UDP headers.", |s| [s.bytes_in, s.bytes_out]),
        ("udp_dropped_total", "Datagrams too long, or refused by the system.", |s| {
            [s.dropped_in, s.dropped_out]
        }),
    ];
    for (name, help, figure) in families {
        out.family(name, "counter", help);
        for socket in &snapshot.sockets {
            for (dir, value) in ["in", "out"].into_iter().zip(figure(socket)) {
                out.sample(name, &[("socket", &socket.name), ("dir", dir)], value);
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a time of days in milliseconds fits a double")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1e3
}
