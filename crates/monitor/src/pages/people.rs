use maud::html;
use node::snapshot::{Listening, NodeEntry, Topic};

use super::{Panel, Request, Sort, ago, panel};
use crate::feed::View;
use crate::words::{Show, span};

/// Rows of the table of nodes; the routing table has some hundred.
const NODES_SHOWN: usize = 300;
/// Rows of the tables of topics and keys.
const ANNOUNCEMENTS_SHOWN: usize = 200;
/// Milliseconds of one tick of upkeep.
const TICK_MS: u64 = 5_000;

pub(super) fn nodes(view: &View, request: &Request) -> Panel {
    let mut rows: Vec<&NodeEntry> = view.snapshot.nodes.table.iter().collect();
    match request.sort {
        Sort::Heard => {}
        Sort::Known => rows.sort_by_key(|node| std::cmp::Reverse(node.known_ticks)),
        Sort::Id => rows.sort_by_key(|node| node.id),
        Sort::Address => rows.sort_by_key(|node| node.address),
    }
    let known = rows.len();
    rows.truncate(NODES_SHOWN);
    panel(
        "nodes",
        "DHT nodes",
        &html! {
            p class="soft" { "Strangers that this program routes by. They see the address of this computer and what it asks, and are no peers." }
            p class="choices" { "Order: " @for (sort, _, name) in Sort::ALL {
                @let here = (sort == request.sort).then_some("true");
                a href=(request.link(|request| request.sort = sort)) aria-current=[here] { (name) } " "
            } }
            div class="wide" tabindex="0" role="region" aria-label="DHT nodes" { table {
                caption { (rows.len()) " of " (known) " nodes in the routing table" }
                thead { tr {
                    th scope="col" { "Id" } th scope="col" { "Address" } th scope="col" class="number" { "Heard" }
                    th scope="col" class="number" { "Known for" } th scope="col" { "State" }
                } }
                tbody { @for node in rows { tr {
                    th scope="row" { code { (short(&node.id.to_string())) } }
                    td { (request.show.address(node.address)) }
                    td class="number" { (ticks(node.seen_ticks_ago)) } td class="number" { (ticks(node.known_ticks)) }
                    td { @if node.down_hints > 0 { "suspected dead" } @else if node.seen_ticks_ago > 12 { "quiet" } @else { "fresh" } }
                } } }
            } }
        },
    )
}

pub(super) fn peers(view: &View, request: &Request) -> Vec<Panel> {
    let peers = &view.snapshot.peers;
    vec![connections(view), topics(&peers.topics, request.show), keys(&peers.listening, request.show)]
}

fn connections(view: &View) -> Panel {
    panel(
        "connections",
        "Peers",
        &html! {
            p { "The snapshot does not tell of connections yet, so how many there are is unknown here, not zero." }
            p class="soft" { (view.snapshot.peers.found) " distinct keys were found by look-ups since the start; finding is not connecting." }
        },
    )
}

fn topics(topics: &[Topic], show: Show) -> Panel {
    panel(
        "topics",
        "Topics announced",
        &html! {
            @if topics.is_empty() { p class="soft" { "None: nobody can find this node by a topic." } } @else {
                div class="wide" tabindex="0" role="region" aria-label="Topics" { table {
                    thead { tr {
                        th scope="col" { "Topic" } th scope="col" { "As key" } th scope="col" class="number" { "Stored on" }
                        th scope="col" { "Announced" } th scope="col" { "Again in" } th scope="col" { "Held by" }
                    } }
                    tbody { @for topic in topics.iter().take(ANNOUNCEMENTS_SHOWN) { tr {
                        th scope="row" { code { (short(&topic.topic.to_string())) } } td { code { (short(&topic.public_key.to_string())) } }
                        td class="number" { (topic.stored) } td { (ago(topic.announced_ms_ago)) }
                        td { @match topic.next_in_ms { Some(ms) => (span(ms)), None => "now" } }
                        td { details { summary { (topic.holders.len()) " nodes" } ul { @for holder in &topic.holders { li { (show.address(*holder)) } } } } }
                    } } }
                } }
            }
        },
    )
}

fn keys(keys: &[Listening], show: Show) -> Panel {
    panel(
        "keys",
        "Keys reachable through this node",
        &html! {
            @if keys.is_empty() { p class="soft" { "None." } } @else { table {
                thead { tr { th scope="col" { "Key" } th scope="col" { "Relays that pass handshakes on" } } }
                tbody { @for key in keys.iter().take(ANNOUNCEMENTS_SHOWN) { tr {
                    th scope="row" { code { (short(&key.public_key.to_string())) } }
                    td { @if key.relays.is_empty() { "none: nobody can reach it now" }
                        @for (n, relay) in key.relays.iter().enumerate() { @if n > 0 { ", " } (show.address(*relay)) } }
                } } }
            } }
        },
    )
}

fn short(text: &str) -> String {
    let head: String = text.chars().take(8).collect();
    format!("{head}…")
}

fn ticks(ticks: u32) -> String {
    span(u64::from(ticks) * TICK_MS)
}
