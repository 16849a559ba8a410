use maud::{Markup, html};
use node::snapshot::{Listening, NodeEntry, Peer, Topic};

use super::{Panel, Request, Sort, ago, facts, mark, panel, short};
use crate::feed::View;
use crate::words::{self, Cause, Show, bytes, counted, grouped, span};

/// Rows of the table of nodes; the routing table has some hundred.
const NODES_SHOWN: usize = 300;
/// Rows of the table of peers; more would make the page heavier than it may be.
const PEERS_SHOWN: usize = 200;
/// Rows of the list of dials.
const ATTEMPTS_SHOWN: usize = 16;
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
    vec![
        company(view),
        connections(view, request.show),
        attempts(view),
        topics(&peers.topics, request.show),
        keys(&peers.listening, request.show),
        counts(view),
        swarms(view),
    ]
}

fn company(view: &View) -> Panel {
    let company = words::company(&view.snapshot);
    panel(
        "company",
        "In short",
        &html! {
            p { (mark(company.tone, company.word)) } p { (company.sentence) }
            @if let Some(cause) = company.cause { p class="soft" { (cause.advice()) " " code { (cause.code()) } } }
            p class="soft small" { "Peers are people and programs. The strangers that this program routes by are on the page " a href="/nodes" { "Nodes" } "." }
        },
    )
}

fn connections(view: &View, show: Show) -> Panel {
    let peers = &view.snapshot.peers;
    let rows = &peers.list[..peers.list.len().min(PEERS_SHOWN)];
    panel(
        "connections",
        "Peers",
        &html! {
            @if rows.is_empty() { p class="soft" { "None is known." } } @else {
                div class="wide" tabindex="0" role="region" aria-label="Peers" { table class="peers" {
                    caption { (peers.connected) " connected, " (peers.known) " known" @if rows.len() < peers.list.len() { ", " (rows.len()) " shown" } }
                    thead { tr {
                        th scope="col" { "Peer" } th scope="col" { "State" } th scope="col" { "Way" }
                        th scope="col" class="number" { "Round trip" } th scope="col" class="number" { "Received" } th scope="col" class="number" { "Sent" }
                        th scope="col" class="number" { "Since" } th scope="col" { "Remarks" }
                    } }
                    tbody { @for peer in rows { tr {
                        @let (tone, word) = words::standing(peer);
                        th scope="row" { code { (short(&peer.key.to_string())) } }
                        td { (mark(tone, word)) }
                        td { @if let Some(link) = &peer.link { (words::made(link)) br; span class="soft small" { (show.socket(link.address)) @if link.incoming { ", it called" } @else { ", we called" } } } @else { "–" } }
                        td class="number" { @match peer.link.as_ref().and_then(|link| link.round_trip_ms) { Some(ms) => (format!("{ms:.1} ms")), None => "–" } }
                        @match &peer.link {
                            Some(link) => { td class="number" { (bytes(link.traffic.bytes_in)) } td class="number" { (bytes(link.traffic.bytes_out)) } }
                            None => { td class="number" { "–" } td class="number" { "–" } }
                        }
                        td class="number" { (span(peer.link.as_ref().map_or(peer.state_ms, |link| link.open_ms))) }
                        td { (remarks(peer)) }
                    } } }
                } }
            }
        },
    )
}

fn remarks(peer: &Peer) -> Markup {
    html! {
        @if let Some(ms) = peer.next_in_ms { "next attempt in " (span(ms)) ". " }
        @if let Some(attempts) = peer.attempts.filter(|attempts| *attempts > 0) { (attempts) " failed or short attempts. " }
        @if let Some(failure) = &peer.failure {
            "Failed " (span(failure.ms_ago)) " ago while " (failure.step.phrase()) ": " (failure.text) ". "
            @if let Some(cause) = Cause::of(failure.reason) { code { (cause.code()) } }
        }
        @if let Some(link) = &peer.link {
            @if !link.incoming { "Opened in " (span(link.took_ms)) ". " }
            @if link.retransmits > 0 { (counted(usize::try_from(link.retransmits).unwrap_or(usize::MAX), "packet")) " sent again." }
        }
    }
}

/// Takes no room while there are none.
fn attempts(view: &View) -> Panel {
    let connections = &view.snapshot.connections;
    let rows = &connections.attempts[..connections.attempts.len().min(ATTEMPTS_SHOWN)];
    let body = html! {
        section class="panel" id="attempts" aria-labelledby="attempts-title" hidden[rows.is_empty()] {
            h2 id="attempts-title" { "Being dialled" }
            p class="soft" { (connections.dialling) " dials are under way." }
            ul class="plain" { @for attempt in rows { li {
                code { (short(&attempt.key.to_string())) } ": " (attempt.step.phrase()) ", " (span(attempt.ms)) " since it began"
            } } }
        }
    };
    Panel { id: "attempts", body }
}

fn topics(topics: &[Topic], show: Show) -> Panel {
    panel(
        "topics",
        "Topics",
        &html! {
            @if topics.is_empty() { p class="soft" { "None: nobody can find this node by a topic, and it looks for nobody." } } @else {
                div class="wide" tabindex="0" role="region" aria-label="Topics" { table {
                    thead { tr {
                        th scope="col" { "Topic" } th scope="col" { "As key" } th scope="col" { "Role" } th scope="col" class="number" { "Stored on" }
                        th scope="col" class="number" { "Peers" } th scope="col" { "Announced" } th scope="col" { "Looked" } th scope="col" { "Again in" } th scope="col" { "Held by" }
                    } }
                    tbody { @for topic in topics.iter().take(ANNOUNCEMENTS_SHOWN) { tr {
                        th scope="row" { code { (short(&topic.topic.to_string())) } } td { code { (short(&topic.public_key.to_string())) } }
                        td { (topic.role.word()) } td class="number" { (topic.stored) }
                        td class="number" { @match (topic.connected, topic.found) { (Some(connected), Some(found)) => { (connected) " of " (found) } _ => "–" } }
                        td { @if topic.role.announces() { (ago(topic.announced_ms_ago)) } @else { "–" } }
                        td { @if topic.found.is_some() { (ago(topic.looked_ms_ago)) } @else { "–" } }
                        td { @match topic.next_in_ms { Some(ms) => (span(ms)), None => "now" } }
                        td { details { summary { (topic.holders.len()) " nodes" } ul { @for holder in &topic.holders { li { (show.address(*holder)) } } } } }
                    } } }
                } }
            }
        },
    )
}

fn counts(view: &View) -> Panel {
    let connections = &view.snapshot.connections;
    let (punches, streams) = (&connections.punches, &connections.streams);
    panel(
        "counts",
        "Since the start",
        &html! {
            (facts([
                ("Connections", html! { (grouped(connections.opened)) " opened, " (grouped(connections.closed)) " over, " (connections.open) " open now, " (connections.on_trial) " being checked" }),
                ("Dials", html! { (grouped(connections.attempted)) " begun, " (grouped(connections.failed)) " came to nothing, " (connections.dialling) " under way" }),
                ("Handshakes of others", html! { (grouped(connections.handshakes_total)) " read, " (connections.handshakes) " under way" }),
                ("Routers opened", html! { (grouped(punches.consistent)) " with steady ports, " (grouped(punches.random)) " with changing ports, " (grouped(punches.predicted)) " by guessing; " (grouped(punches.open)) " needed none; " (grouped(punches.try_later)) " put off" }),
                ("Received, sent", html! { (bytes(streams.bytes_in)) ", " (bytes(streams.bytes_out)) " in " (grouped(streams.packets_in)) ", " (grouped(streams.packets_out)) " datagrams" }),
                ("Found by look-ups", html! { (view.snapshot.peers.found) " distinct keys; finding is not connecting" }),
            ]))
        },
    )
}

/// Takes no room while no identity keeps peers.
fn swarms(view: &View) -> Panel {
    let swarms = &view.snapshot.peers.swarms;
    let body = html! {
        section class="panel" id="swarms" aria-labelledby="swarms-title" hidden[swarms.is_empty()] {
            h2 id="swarms-title" { "Identities that keep peers" }
            div class="wide" tabindex="0" role="region" aria-label="Identities" { table {
                thead { tr {
                    th scope="col" { "Key" } th scope="col" class="number" { "Topics" } th scope="col" class="number" { "Known" } th scope="col" class="number" { "Open" }
                    th scope="col" { "Outgoing: tried, opened, ended" } th scope="col" { "Incoming: opened, ended" } th scope="col" { "Waiting" } th scope="col" class="number" { "Banned" }
                } }
                tbody { @for swarm in swarms.iter().take(ANNOUNCEMENTS_SHOWN) { tr {
                    th scope="row" { code { (short(&swarm.public_key.to_string())) } } td class="number" { (swarm.topics) } td class="number" { (swarm.known) } td class="number" { (swarm.open) }
                    td { (swarm.client_attempted) ", " (swarm.client_opened) ", " (swarm.client_closed) } td { (swarm.server_opened) ", " (swarm.server_closed) }
                    td { (swarm.connecting) " connecting, " (swarm.queued) " in the queue, " (swarm.waiting) " later" } td class="number" { (swarm.banned) }
                } } }
            } }
        }
    };
    Panel { id: "swarms", body }
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

fn ticks(ticks: u32) -> String {
    if ticks == 0 {
        return format!("< {}", span(TICK_MS));
    }
    span(u64::from(ticks) * TICK_MS)
}
