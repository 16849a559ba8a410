use std::time::Instant;

use maud::{Markup, html};
use node::Contact;

use super::{Panel, Request, ago, facts, mark, panel, short};
use crate::doctor::Grade;
use crate::feed::View;
use crate::words::{Show, Tone, counted, span};

/// Rows of the list of addresses that know ours.
const CONTACTS_SHOWN: usize = 300;

pub(super) fn privacy(view: &View, request: &Request) -> Vec<Panel> {
    vec![
        summary(view),
        never(),
        announced(view, request.show),
        met(view, request.show),
        contacts(view, request),
    ]
}

fn summary(view: &View) -> Panel {
    let snapshot = &view.snapshot;
    panel(
        "exposure",
        "What others can see",
        &html! {
            (facts([
                ("Know this computer's address", html! {
                    strong { (snapshot.contacted.addresses) } " addresses that were sent to"
                    @if snapshot.contacted.beyond > 0 { ", and " (snapshot.contacted.beyond) " datagrams went to more" }
                }),
                ("Can see what is looked up", html! { "every node asked on the way: the topic's hash, never its name" }),
                ("Can link topics", html! { "whoever sees two announcements with one key, or two requests from one address" }),
                ("On this local network", html! { "that this computer talks to many addresses by UDP; where local discovery runs, also the hash of what it announces" }),
                ("Stays after leaving", html! { "an announcement is kept by the nodes that hold it for 13 to 27 minutes" }),
            ]))
        },
    )
}

fn announced(view: &View, show: Show) -> Panel {
    let topics = &view.snapshot.peers.topics;
    panel(
        "announced",
        "What is announced, to whom",
        &html! {
            @if topics.is_empty() { p class="soft" { "No topic is announced or looked up." } }
            ul class="plain" { @for topic in topics.iter().take(CONTACTS_SHOWN) {
                @let head: String = topic.topic.to_string().chars().take(8).collect();
                li {
                    "The hash " code { (head) "…" }
                    @if topic.role.announces() {
                        " and one public key, last " (ago(topic.announced_ms_ago))
                        @if let Some(ms) = topic.first_ms_ago { ", first " (span(ms)) " ago" } ", stored by:"
                    } @else { " is looked up and not announced; every node asked on the way saw it" }
                    @if !topic.holders.is_empty() { details { summary { (counted(topic.holders.len(), "node")) }
                        @for (n, holder) in topic.holders.iter().enumerate() { @if n > 0 { ", " } (show.address(*holder)) } } }
                }
            } }
        },
    )
}

fn met(view: &View, show: Show) -> Panel {
    let links: Vec<_> =
        view.snapshot.peers.list.iter().filter_map(|peer| Some((peer, peer.link.as_ref()?))).collect();
    panel(
        "met",
        "What connected peers see",
        &html! {
            @if links.is_empty() { p class="soft" { "Nobody is connected, so nobody sees anything this way." } } @else {
                p class="soft" { "Each of them sees this computer's address and one key of ours. Whoever carries packets in between sees sizes and times, and no content." }
                ul class="plain" { @for (peer, link) in links.iter().take(CONTACTS_SHOWN) { li {
                    code { (short(&peer.key.to_string())) } ", for " (span(link.open_ms)) ": "
                    @if link.path == "relayed" { "a relay sees both addresses; the peer sees the relay's, and" } @else { "this computer's address, from " (show.socket(link.address)) ", and" }
                    @if let Some(local) = &peer.local { " the key " code { (short(&local.to_string())) } }
                    @if !peer.topics.is_empty() { "; met in " (counted(peer.topics.len(), "topic")) }
                } } }
            }
        },
    )
}

fn contacts(view: &View, request: &Request) -> Panel {
    let now = Instant::now();
    let mut rows: Vec<&Contact> = request.contacts.iter().collect();
    rows.sort_by_key(|contact| std::cmp::Reverse(contact.last));
    let known = rows.len();
    rows.truncate(CONTACTS_SHOWN);
    let role = |contact: &Contact| {
        let snapshot = &view.snapshot;
        let holds = snapshot.peers.topics.iter().any(|topic| topic.holders.contains(&contact.address));
        let relays = snapshot.peers.listening.iter().any(|key| key.relays.contains(&contact.address));
        let mut links = snapshot.peers.list.iter().filter_map(|peer| peer.link.as_ref());
        if links.any(|link| link.address == contact.address.into()) {
            return "a peer, or its relay";
        }
        match (holds, relays) {
            (true, true) => "holds a topic, relays",
            (true, false) => "holds a topic",
            (false, true) => "relays handshakes",
            (false, false) => "asked or answered",
        }
    };
    let when =
        |at: Instant| span(u64::try_from(now.saturating_duration_since(at).as_millis()).unwrap_or(u64::MAX));
    panel(
        "contacts",
        "Who knows this address",
        &html! {
            div class="wide" tabindex="0" role="region" aria-label="Addresses" { table {
                caption { (rows.len()) " of " (known) " addresses, the latest first" }
                thead { tr { th scope="col" { "Address" } th scope="col" { "Why" } th scope="col" class="number" { "Datagrams" }
                    th scope="col" class="number" { "Since" } th scope="col" class="number" { "Last" } } }
                tbody { @for contact in rows { tr {
                    th scope="row" { (request.show.address(contact.address)) } td { (role(contact)) } td class="number" { (contact.packets) }
                    td class="number" { (when(contact.first)) } td class="number" { (when(contact.last)) }
                } } }
            } }
        },
    )
}

fn never() -> Panel {
    panel(
        "never",
        "What never leaves this computer",
        &html! { ul { li { "Secret keys" } li { "Names of topics; only their hashes do" } li { "What this page shows" } li { "Files of the data directory" } } },
    )
}

/// The form that starts a self-test.
pub(super) fn button(csrf: &str) -> Markup {
    html! {
        form class="run" method="post" action="/self-test" {
            input type="hidden" name="csrf" value=(csrf);
            button class="primary" { "Run the self-test" }
            span class="soft" { " takes at most eight seconds, and asks only nodes that this node knows already" }
        }
    }
}

pub(super) fn report(request: &Request) -> Panel {
    let Some(report) = &request.report else {
        return panel(
            "report",
            "Self-test",
            &html! { p class="soft" { "None has run since this program was started." } },
        );
    };
    panel(
        "report",
        "Self-test",
        &html! {
            p class="verdict" { (report.verdict()) }
            p class="small soft" { "Exit code " (report.exit_code()) " · " a href="/api/report" { "Save the report" } " (without addresses, keys and topics)" }
            ol class="checks" { @for finding in &report.findings { li {
                @let tone = match finding.grade { Grade::Fine => Tone::Good, Grade::Note | Grade::Relayed => Tone::Fair, Grade::Fault => Tone::Bad, Grade::Skipped => Tone::Unknown };
                (mark(tone, finding.check)) p {
                    (finding.sentence)
                    @if let Some(cause) = finding.cause { " " span class="soft" { (cause.advice()) } " " code { (cause.code()) } }
                }
            } } }
        },
    )
}
