use maud::{Markup, html};

use super::{Panel, Request, mark, panel, short};
use crate::feed::View;
use crate::history::{Range, Series};
use crate::pictures::{figure, ring, spark};
use crate::words::{Show, Tone, company, counted, grouped, span, standing, way};

/// Rows of the list of people; the page of peers has all.
const PEOPLE_SHOWN: usize = 6;
/// Points of the lines in the table.
const SPARK_POINTS: usize = 60;

pub(super) fn panels(view: &View, _: &Request) -> Vec<Panel> {
    vec![alerts(view), answers(view), people(view), picture(view), figures(view)]
}

/// Five questions, answered in sentences.
fn answers(view: &View) -> Panel {
    let rows = [
        ("Am I on the network?", network(view)),
        ("Who am I connected to?", connected(view)),
        ("What is syncing?", syncing()),
        ("When did I last hear, and from whom?", heard(view)),
        ("What can others see of me?", seen(view)),
    ];
    panel(
        "answers",
        "In short",
        &html! {
            dl class="answers" {
                @for (question, (tone, word, sentence)) in rows {
                    div { dt { (question) } dd { (mark(tone, &word)) p { (sentence) } } }
                }
            }
        },
    )
}

type Answer = (Tone, String, Markup);

fn network(view: &View) -> Answer {
    let verdict = &view.verdict;
    let sentence = html! {
        (verdict.sentence) " So for " (span(view.since_ms)) "."
        @if let Some(cause) = verdict.cause { br; span class="soft" { (cause.advice()) " " code { (cause.code()) } } }
    };
    (verdict.tone, verdict.standing.word().into(), sentence)
}

fn connected(view: &View) -> Answer {
    let company = company(&view.snapshot);
    let sentence = html! {
        (company.sentence) " "
        a href="/peers" { "Who and how" }
        @if let Some(cause) = company.cause { br; span class="soft" { (cause.advice()) " " code { (cause.code()) } } }
    };
    (company.tone, company.word.into(), sentence)
}

fn syncing() -> Answer {
    (Tone::Unknown, "Nothing here".into(), html! { "No database runs in this node." })
}

fn heard(view: &View) -> Answer {
    let snapshot = &view.snapshot;
    let Some(answered) = snapshot.reachability.answered_ms_ago else {
        return (Tone::Unknown, "Never".into(), html! { "No node has answered yet." });
    };
    let (tone, word) = if answered < 60_000 { (Tone::Good, "Just now") } else { (Tone::Fair, "A while ago") };
    let latest = snapshot.nodes.table.first();
    let sentence = html! {
        "The last answer came " (span(answered)) " ago"
        @if let Some(node) = latest { ", latest from the node at " (Show::Masked.address(node.address)) }
        ". "
        @match snapshot.reachability.asked_ms_ago {
            Some(ago) => { "Another node last asked something " (span(ago)) " ago." }
            None => { "No other node has asked anything yet." }
        }
    };
    (tone, word.into(), sentence)
}

fn seen(view: &View) -> Answer {
    let snapshot = &view.snapshot;
    let topics = snapshot.peers.topics.iter().filter(|topic| topic.role.announces()).count();
    let keys = snapshot.peers.listening.len();
    let word = if topics + keys == 0 { "An address" } else { "An address and announcements" };
    let addresses = snapshot.contacted.addresses;
    let sentence = html! {
        (counted(addresses, "address")) " got something from this node, and so " @if addresses == 1 { "knows" } @else { "know" } " its own. "
        @if topics + keys == 0 { "Nothing is announced. " } @else {
            (counted(topics, "topic")) " and " (counted(keys, "key")) @if topics + keys == 1 { " is" } @else { " are" } " announced for all to see. "
        }
        a href="/privacy" { "Who sees what" }
    };
    (Tone::Fair, word.into(), sentence)
}

/// Takes no room while there is nothing to tell.
fn alerts(view: &View) -> Panel {
    let none = view.alerts.is_empty();
    let body = html! {
        section class="panel" id="alerts" aria-labelledby="alerts-title" hidden[none] {
            h2 id="alerts-title" { "Needs attention" }
            ul class="alerts" {
                @for alert in &view.alerts {
                    li { (mark(Tone::Bad, alert.code)) " " (alert.text) span class="soft" { " for " (span(alert.ms)) } }
                }
            }
        }
    };
    Panel { id: "alerts", body }
}

/// Who is there, at a glance.
fn people(view: &View) -> Panel {
    let peers = &view.snapshot.peers;
    let rows = &peers.list[..peers.list.len().min(PEOPLE_SHOWN)];
    panel(
        "people",
        "People and programs",
        &html! {
            @if rows.is_empty() { p class="soft" { "Nobody yet. Whoever connects appears here." } }
            ul class="people" { @for peer in rows { li {
                @let (tone, word) = standing(peer);
                code { (short(&peer.key.to_string())) } (mark(tone, word))
                span class="soft small" {
                    @if let Some(link) = &peer.link { (way(&link.path)) @if let Some(ms) = link.round_trip_ms { ", answers in " (if ms < 1.0 { "less than 1 ms".to_owned() } else { format!("{ms:.0} ms") }) } }
                    @else if let Some(failure) = &peer.failure { "failed while " (failure.step.phrase()) }
                    @else if let Some(ms) = peer.next_in_ms { "again in " (span(ms)) }
                }
            } } }
            @if rows.len() < peers.list.len() { p { a href="/peers" { "All " (peers.list.len()) } } }
        },
    )
}

fn picture(view: &View) -> Panel {
    let snapshot = &view.snapshot;
    panel(
        "picture",
        "Strangers that help to find them",
        &html! {
            (ring(snapshot))
            p class="soft small centre" {
                @match snapshot.nodes.network_estimate {
                    Some(size) => { "About " (grouped(size)) " nodes in the whole network." }
                    None => { "Too few nodes are known to estimate the network." }
                }
            }
        },
    )
}

fn figures(view: &View) -> Panel {
    let rows = [
        (Series::Peers, "Peers connected"),
        (Series::Nodes, "DHT nodes known"),
        (Series::RoundTrip, "Answer time, ms"),
        (Series::Unanswered, "Unanswered, %"),
        (Series::Requests, "Own requests / s"),
        (Series::Served, "Answered to others / s"),
        (Series::BytesIn, "Received, bytes / s"),
        (Series::BytesOut, "Sent, bytes / s"),
        (Series::Memory, "Memory, MiB"),
    ];
    panel(
        "figures",
        "The last minute",
        &html! {
            table class="figures" {
                thead { tr { th scope="col" { "What" } th scope="col" class="number" { "Now" } th scope="col" { "60 s" } } }
                tbody {
                    @for (series, name) in rows {
                        @let points = latest(view, series);
                        tr {
                            th scope="row" { (name) }
                            td class="number" {
                                @match view.history.latest(series) { Some(now) => (figure(now)), None => "–" }
                            }
                            td { (spark(&points, name)) }
                        }
                    }
                }
            }
        },
    )
}

fn latest(view: &View, series: Series) -> Vec<f32> {
    let mut points: Vec<f32> = view.history.points(series, Range::Minutes).rev().take(SPARK_POINTS).collect();
    points.reverse();
    points
}
