use maud::html;
use node::Snapshot;
use node::snapshot::{Belief, Walk};

use super::{Panel, Request, ago, facts, mark, panel, unknown};
use crate::feed::View;
use crate::pictures::{buckets, ring};
use crate::words::{Show, Tone, bytes, grouped, nat, prospects, skew, span};

/// Walks listed.
const WALKS_SHOWN: usize = 12;

pub(super) fn panels(view: &View, request: &Request) -> Vec<Panel> {
    let snapshot = &view.snapshot;
    vec![
        reachability(snapshot, request.show),
        health(snapshot),
        key_space(snapshot),
        requests(snapshot),
        held(snapshot),
        walks(snapshot),
        traffic(snapshot),
        defence(snapshot, request.show),
    ]
}

fn reachability(snapshot: &Snapshot, show: Show) -> Panel {
    let (state, reach) = (&snapshot.state, &snapshot.reachability);
    let nat = nat(snapshot);
    let open = match reach.openness {
        Belief::Proven => {
            html! { (mark(Tone::Good, "open")) " nodes called back " (ago(reach.proven_ms_ago)) }
        }
        Belief::Assumed => html! { (mark(Tone::Fair, "set up as open")) " nobody outside has tested it" },
        Belief::Closed => html! { (mark(Tone::Fair, "closed")) " nobody has called back" },
    };
    let address = html! { @match (state.host, state.port) {
        (Some(host), Some(port)) => (show.address(std::net::SocketAddrV4::new(host, port))),
        (Some(host), None) => { (show.host(host)) ", another port for every observer" }
        (None, _) => (unknown("observers do not agree yet")),
    } };
    panel(
        "reachability",
        "Reachability",
        &html! {
            (facts([
                ("Server socket", open),
                ("Last test", html! { @match reach.test {
                    Some(test) => { (test.calls) " of " (test.asked) " nodes asked to call reached it, " (ago(Some(test.ms_ago))) }
                    None => "none has ended yet",
                } }),
                ("Public address", address),
                ("Address translation", html! { (nat.word()) }),
                ("Known from", html! { (nat.sentence()) }),
                ("So peers connect", html! { ul class="plain" { @for (kind, prospect) in prospects(snapshot) {
                    li { (kind) ": " span class="soft" { (prospect) } }
                } } }),
                ("Filtering, hairpin, mapping lifetime", unknown("not probed in this build")),
                ("Stored by others", html! { @if state.ephemeral { "no, ephemeral" } @else { "yes, persistent" } }),
                ("Own interfaces", html! { @if state.interfaces.is_empty() { "none but loopback" } @else {
                    @for (n, host) in state.interfaces.iter().enumerate() { @if n > 0 { ", " } (show.host(*host)) } } }),
            ]))
        },
    )
}

fn health(snapshot: &Snapshot) -> Panel {
    let (nodes, entering) = (&snapshot.nodes, &snapshot.entering);
    let fresh = nodes.table.iter().filter(|node| node.seen_ticks_ago <= 12).count();
    let suspect = nodes.table.iter().filter(|node| node.down_hints > 0).count();
    panel(
        "health",
        "DHT health",
        &html! {
            (facts([
                ("Way in", html! {
                    (entering.answered) " of " (entering.named) " bootstrap nodes answered"
                    @if entering.unresolved > 0 { ", " (entering.unresolved) " not resolved" }
                    @match entering.took_ms { Some(ms) => { ", done in " (span(ms)) } None => ", not done yet" }
                }),
                ("Nodes in the table", html! { (nodes.known) " (" (fresh) " heard within a minute, " (suspect) " suspected dead)" }),
                ("Network, estimated", html! { @match nodes.network_estimate {
                    Some(size) => { "about " (grouped(size)) " nodes" } None => (unknown("fewer than 20 nodes known")) } }),
                ("Came and went", html! { (snapshot.table_changes.added) " entered, " (snapshot.table_changes.removed) " left" }),
                ("Answer time, smoothed", html! { @match nodes.round_trip_ms {
                    Some(ms) => (format!("{ms:.1} ms")), None => (unknown("nobody has answered")) } }),
                ("Answer time, half and 95 %", html! { @match quantiles(snapshot) {
                    Some((half, most)) => { "up to " (half) " and " (most) }
                    None => (unknown("nobody has answered")) } }),
                ("Last answer", ago(snapshot.reachability.answered_ms_ago)),
                ("Last request of others", ago(snapshot.reachability.asked_ms_ago)),
            ]))
        },
    )
}

/// The bounds that half and 95 of 100 answers kept within.
fn quantiles(snapshot: &Snapshot) -> Option<(String, String)> {
    let trips = &snapshot.round_trips;
    let total: u64 = trips.counts.iter().sum();
    let at = |percent: u64| {
        let mut sum = 0;
        let place = trips.counts.iter().position(|count| {
            sum += count;
            sum * 100 >= total * percent
        });
        place
            .and_then(|place| trips.bounds_ms.get(place))
            .map_or_else(|| "more than 5 s".into(), |ms| span(*ms))
    };
    (total > 0).then(|| (at(50), at(95)))
}

fn key_space(snapshot: &Snapshot) -> Panel {
    panel(
        "space",
        "Key space and buckets",
        &html! {
            div class="pair" {
                div { (ring(snapshot)) p class="small soft centre" {
                    "Dots: nodes. Triangle: this node" @if snapshot.state.id.is_none() { " (has no place while ephemeral)" } ". Squares: topics announced."
                } }
                div { (buckets(snapshot)) p class="small soft" {
                    "Nodes by how many leading bits they share with us, 20 a bucket at most. Full on the left and empty on the right is healthy."
                } }
            }
        },
    )
}

fn requests(snapshot: &Snapshot) -> Panel {
    let (requests, commands) = (&snapshot.requests, &snapshot.commands);
    let ended = requests.responses + requests.timeouts;
    let share = (requests.responses * 1000)
        .checked_div(ended)
        .map(|mille| format!("{}.{} %", mille / 10, mille % 10));
    let kinds = [
        ("PING", "is anybody there?", commands.ping),
        ("PING_NAT", "call my other port", commands.ping_nat),
        ("FIND_NODE", "who is near this id?", commands.find_node),
        ("DOWN_HINT", "a node you named is dead", commands.down_hint),
    ];
    panel(
        "requests",
        "Requests",
        &html! {
            (facts([
                ("Made", html! { (grouped(requests.total)) " (" (requests.active) " under way, " (snapshot.nodes.waiting) " waiting for room)" }),
                ("Answered", html! { (grouped(requests.responses)) @if let Some(share) = share { ", " (share) " of those that ended" } }),
                ("Given up, sent again", html! { (grouped(requests.timeouts)) ", " (grouped(requests.retries)) }),
                ("Walks", html! { (snapshot.queries.active) " under way, " (grouped(snapshot.queries.total)) " in all" }),
            ]))
            table {
                thead { tr { th scope="col" { "Kind" } th scope="col" class="number" { "Asked" } th scope="col" class="number" { "Answered" } } }
                tbody { @for (name, what, count) in kinds { tr {
                    th scope="row" { code { (name) } " " span class="soft" { (what) } }
                    td class="number" { (grouped(count.tx)) } td class="number" { (grouped(count.rx)) }
                } } }
            }
        },
    )
}

fn walks(snapshot: &Snapshot) -> Panel {
    let all = snapshot.walks.iter().chain(&snapshot.walked).take(WALKS_SHOWN);
    panel(
        "walks",
        "Walks",
        &html! {
            @if snapshot.walks.is_empty() && snapshot.walked.is_empty() { p class="soft" { "None yet." } }
            div class="wide" tabindex="0" role="region" aria-label="Walks" { table {
                thead { tr {
                    th scope="col" { "What" } th scope="col" { "Towards" } th scope="col" class="number" { "Asked" }
                    th scope="col" class="number" { "Answered" } th scope="col" class="number" { "Lost" }
                    th scope="col" class="number" { "Hops" } th scope="col" class="number" { "Took" } th scope="col" { "Ended" }
                } }
                tbody { @for walk in all { (row(walk)) } }
            } }
        },
    )
}

fn row(walk: &Walk) -> maud::Markup {
    let target: String = walk.target.to_string().chars().take(8).collect();
    html! { tr {
        td { (walk.kind) @if walk.background { span class="soft" { " upkeep" } } }
        td { code { (target) "…" } }
        td class="number" { (walk.requests) } td class="number" { (walk.responses) } td class="number" { (walk.timeouts) }
        td class="number" { (walk.hops) } td class="number" { (span(walk.elapsed_ms)) }
        td { @match walk.ended_ms_ago { Some(ms) => (format!("{} ago", span(ms))), None => strong { "under way" } } }
    } }
}

fn traffic(snapshot: &Snapshot) -> Panel {
    panel(
        "traffic",
        "Sockets",
        &html! {
            div class="wide" tabindex="0" role="region" aria-label="Sockets" { table {
                thead { tr {
                    th scope="col" { "Socket" } th scope="col" { "Port" } th scope="col" class="number" { "In" } th scope="col" class="number" { "Bytes" }
                    th scope="col" class="number" { "Out" } th scope="col" class="number" { "Bytes" } th scope="col" class="number" { "Dropped" }
                } }
                tbody { @for socket in &snapshot.sockets { tr {
                    th scope="row" { (socket.name) }
                    td { @match socket.local { Some(local) => (local.port()), None => "closed" } }
                    td class="number" { (grouped(socket.packets_in)) } td class="number" { (bytes(socket.bytes_in)) }
                    td class="number" { (grouped(socket.packets_out)) } td class="number" { (bytes(socket.bytes_out)) }
                    td class="number" { (socket.dropped_in + socket.dropped_out) }
                } } }
            } }
        },
    )
}

fn held(snapshot: &Snapshot) -> Panel {
    let stored = &snapshot.stored;
    let served = snapshot.served.named();
    panel(
        "held",
        "For others",
        &html! {
            (facts([
                ("Topics, keys kept", html! { (stored.topics) ", " (stored.keys) }),
                ("Values kept", html! { (stored.mutable) " signed, " (stored.immutable) " by hash, " (bytes(stored.value_bytes as u64)) }),
                ("Relay sessions carried", unknown("not in the snapshot yet")),
            ]))
            @if served.iter().any(|(_, count)| *count > 0) { table {
                thead { tr { th scope="col" { "Answered or passed on" } th scope="col" class="number" { "Times" } } }
                tbody { @for (name, count) in served.iter().filter(|(_, count)| *count > 0) { tr {
                    th scope="row" { (name.replace('_', " ")) } td class="number" { (grouped(*count)) }
                } } }
            } }
        },
    )
}

fn defence(snapshot: &Snapshot, show: Show) -> Panel {
    panel(
        "defence",
        "Defence",
        &html! {
            (facts([
                ("Refused datagrams", html! { (grouped(snapshot.rejected)) span class="soft" { " no valid message, or an answer nobody asked for" } }),
                ("Replies withheld", html! { (grouped(snapshot.withheld)) span class="soft" { " to addresses that had not proven themselves" } }),
                ("Blocks of addresses", html! { @match skew(snapshot) {
                    Some((block, most, all)) => { (mark(Tone::Bad, "skewed")) " " (most) " of " (all) " nodes in " (show.host(block)) "/24" }
                    None => "no block stands out" } }),
            ]))
        },
    )
}
