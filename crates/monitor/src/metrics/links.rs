//! Connections and peers. No label holds a key or an address.

use std::collections::BTreeMap;

use node::Snapshot;
use node::snapshot::{Link, SwarmState};

use super::Exposition;
use crate::words::{self, Cause};

/// Upper bounds of round trips, in milliseconds.
const ROUND_TRIPS_MS: [u32; 8] = [1, 5, 20, 50, 100, 200, 500, 1000];

pub(super) fn encode(out: &mut Exposition, snapshot: &Snapshot) {
    let (connections, peers) = (&snapshot.connections, &snapshot.peers);
    out.gauge(
        "peers_connected",
        "Distinct keys connected now; DHT nodes are not among them.",
        peers.connected,
    );
    out.gauge(
        "peers_known",
        "Distinct keys connected, remembered, dialled, or not reached lately.",
        peers.known,
    );
    unreached(out, snapshot);
    out.family("conn_active", "gauge", "Connections open now, by path.");
    for (path, count) in connections.paths.named() {
        out.sample("conn_active", &[("path", path)], count);
    }
    out.gauge("conn_incoming", "Connections open now that the peer began.", connections.incoming);
    out.gauge("conn_on_trial", "Connections whose peer has proven nothing yet.", connections.on_trial);
    out.gauge("conn_dialling", "Dials under way.", connections.dialling);
    out.gauge("conn_handshakes", "Handshakes of others being answered.", connections.handshakes);
    out.counter("conn_attempts_total", "Dials begun.", connections.attempted);
    out.counter("conn_failed_total", "Dials that came to nothing.", connections.failed);
    out.counter("conn_opened_total", "Connections that opened.", connections.opened);
    out.counter("conn_closed_total", "Connections that are over.", connections.closed);
    out.counter("conn_handshakes_total", "First messages of handshakes read.", connections.handshakes_total);
    out.family("punch_total", "counter", "Hole punches begun; open needed none, later was put off.");
    let punches = &connections.punches;
    let kinds = [
        ("consistent", punches.consistent),
        ("random", punches.random),
        ("predicted", punches.predicted),
        ("open", punches.open),
        ("later", punches.try_later),
    ];
    for (kind, count) in kinds {
        out.sample("punch_total", &[("kind", kind)], count);
    }
    let streams = &connections.streams;
    out.family("udx_packets_total", "counter", "Datagrams of connections by direction.");
    out.sample("udx_packets_total", &[("dir", "in")], streams.packets_in);
    out.sample("udx_packets_total", &[("dir", "out")], streams.packets_out);
    out.family("udx_bytes_total", "counter", "Their bytes without IP and UDP headers.");
    out.sample("udx_bytes_total", &[("dir", "in")], streams.bytes_in);
    out.sample("udx_bytes_total", &[("dir", "out")], streams.bytes_out);
    round_trips(out, snapshot);
    swarms(out, &peers.swarms);
}

fn unreached(out: &mut Exposition, snapshot: &Snapshot) {
    let mut by_cause: BTreeMap<&str, usize> = BTreeMap::new();
    for failure in words::failures(snapshot) {
        *by_cause.entry(Cause::of(failure.reason).map_or("UNKNOWN", Cause::code)).or_default() += 1;
    }
    out.family("peers_unreached", "gauge", "Peers without a connection whose last dial failed, by cause.");
    for (cause, count) in by_cause {
        out.sample("peers_unreached", &[("cause", cause)], count);
    }
}

/// How many of the present connections have which round trip.
fn round_trips(out: &mut Exposition, snapshot: &Snapshot) {
    let links = snapshot.peers.list.iter().filter_map(|peer| peer.link.as_ref());
    let trips: Vec<f64> = links.filter_map(|link: &Link| link.round_trip_ms).collect();
    out.family(
        "udx_rtt_connections",
        "gauge",
        "Present connections whose round trip is no longer than this.",
    );
    for bound in ROUND_TRIPS_MS {
        let within = trips.iter().filter(|ms| **ms <= f64::from(bound)).count();
        let seconds = (f64::from(bound) / 1e3).to_string();
        out.sample("udx_rtt_connections", &[("within", &seconds)], within);
    }
    out.sample("udx_rtt_connections", &[("within", "any")], trips.len());
}

fn swarms(out: &mut Exposition, swarms: &[SwarmState]) {
    let sum = |of: fn(&SwarmState) -> u64| swarms.iter().map(of).sum::<u64>();
    out.family("swarm_connects_total", "counter", "Connections of swarms, counted as Hyperswarm counts.");
    let counts = [
        ("client", "attempted", sum(|swarm| swarm.client_attempted)),
        ("client", "opened", sum(|swarm| swarm.client_opened)),
        ("client", "closed", sum(|swarm| swarm.client_closed)),
        ("server", "opened", sum(|swarm| swarm.server_opened)),
        ("server", "closed", sum(|swarm| swarm.server_closed)),
    ];
    for (role, event, count) in counts {
        out.sample("swarm_connects_total", &[("role", role), ("event", event)], count);
    }
    out.counter("swarm_updates_total", "Changes.", sum(|swarm| swarm.updates));
    out.counter(
        "swarm_banned_peers_total",
        "Peers that the firewall rejected.",
        sum(|swarm| swarm.banned_peers),
    );
    out.gauge("swarm_peers_waiting", "Peers that are tried again later.", sum(|swarm| swarm.waiting as u64));
    out.gauge(
        "swarm_peers_remembered",
        "Peers remembered, connected or not.",
        sum(|swarm| swarm.known as u64),
    );
}
