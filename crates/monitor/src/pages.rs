//! The pages: functions from what is known to markup. A panel that changed is sent again whole.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use maud::{DOCTYPE, Markup, html};
use node::Contact;

use crate::doctor::Report;
use crate::feed::View;
use crate::history::Range;
use crate::words::{Show, Tone, span};

mod activity;
mod health;
mod network;
mod overview;
mod people;

pub(crate) const STYLE: &str = include_str!("pages/monitor.css");
pub(crate) const SCRIPT: &str = include_str!("pages/monitor.js");

/// What is shown where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    Overview,
    Network,
    Nodes,
    Peers,
    Events,
    History,
    Privacy,
    Doctor,
}

impl Page {
    pub(crate) const ALL: [Self; 8] = [
        Self::Overview,
        Self::Network,
        Self::Nodes,
        Self::Peers,
        Self::Events,
        Self::History,
        Self::Privacy,
        Self::Doctor,
    ];

    /// Its path, and its title.
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Overview => ("/", "Overview"),
            Self::Network => ("/network", "Network"),
            Self::Nodes => ("/nodes", "Nodes"),
            Self::Peers => ("/peers", "Peers"),
            Self::Events => ("/events", "Events"),
            Self::History => ("/history", "History"),
            Self::Privacy => ("/privacy", "Privacy"),
            Self::Doctor => ("/doctor", "Doctor"),
        }
    }

    pub(crate) const fn path(self) -> &'static str {
        self.names().0
    }

    const fn title(self) -> &'static str {
        self.names().1
    }

    /// Finds the page that a live stream is for, by its title in the query.
    pub(crate) fn named(query: Option<&str>) -> Option<Self> {
        let name = value(query, "page")?;
        Self::ALL.into_iter().find(|page| page.title() == name)
    }
}

/// Which page, and how its reader wants it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) page: Page,
    pub(crate) show: Show,
    pub(crate) sort: Sort,
    pub(crate) range: Range,
    /// Only events whose kind begins so.
    pub(crate) only: Option<String>,
    pub(crate) contacts: Vec<Contact>,
    pub(crate) report: Option<Report>,
}

/// Order of the table of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Heard,
    Known,
    Id,
    Address,
}

impl Sort {
    const ALL: [(Self, &'static str, &'static str); 4] = [
        (Self::Heard, "heard", "last heard"),
        (Self::Known, "known", "known for"),
        (Self::Id, "id", "id"),
        (Self::Address, "address", "address"),
    ];
}

impl Request {
    pub(crate) fn new(
        page: Page,
        query: Option<&str>,
        contacts: Vec<Contact>,
        report: Option<Report>,
    ) -> Self {
        let sort = value(query, "sort").and_then(|name| Sort::ALL.into_iter().find(|sort| sort.1 == name));
        let range = match value(query, "range") {
            Some("hours") => Range::Hours,
            Some("days") => Range::Days,
            _ => Range::Minutes,
        };
        let plain =
            |text: &&str| text.len() <= 24 && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'.');
        Self {
            page,
            show: if value(query, "show") == Some("addresses") { Show::Addresses } else { Show::Masked },
            sort: sort.map_or(Sort::Heard, |(sort, ..)| sort),
            range,
            only: value(query, "only").filter(plain).filter(|text| !text.is_empty()).map(Into::into),
            contacts,
            report,
        }
    }

    /// The query that asks for the same, for links and the live stream.
    fn query(&self) -> String {
        let mut query = Vec::new();
        if self.show == Show::Addresses {
            query.push("show=addresses".to_owned());
        }
        if self.sort != Sort::Heard {
            let name = Sort::ALL.into_iter().find(|(sort, ..)| *sort == self.sort).map_or("", |sort| sort.1);
            query.push(format!("sort={name}"));
        }
        match self.range {
            Range::Minutes => {}
            Range::Hours => query.push("range=hours".into()),
            Range::Days => query.push("range=days".into()),
        }
        if let Some(only) = &self.only {
            query.push(format!("only={only}"));
        }
        query.join("&")
    }

    fn link(&self, change: impl FnOnce(&mut Self)) -> String {
        let mut request = Self { contacts: Vec::new(), report: None, ..self.clone() };
        change(&mut request);
        format!("{}?{}", request.page.path(), request.query())
    }
}

fn value<'a>(query: Option<&'a str>, name: &str) -> Option<&'a str> {
    let pairs = query?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next()
}

/// A piece of a page that is replaced by itself.
struct Panel {
    id: &'static str,
    body: Markup,
}

fn panel(id: &'static str, title: &str, body: &Markup) -> Panel {
    let heading = format!("{id}-title");
    let body = html! {
        section class="panel" id=(id) aria-labelledby=(heading) { h2 id=(heading) { (title) } (body) }
    };
    Panel { id, body }
}

/// Names of things and what they are, as a list of pairs.
fn facts<const N: usize>(rows: [(&str, Markup); N]) -> Markup {
    html! { dl class="facts" { @for (name, value) in rows { div { dt { (name) } dd { (value) } } } } }
}

/// The first characters of a key or an id; nobody reads more.
fn short(text: &str) -> String {
    let head: String = text.chars().take(8).collect();
    format!("{head}…")
}

/// A state as shape and word.
fn mark(tone: Tone, word: &str) -> Markup {
    html! { span class={ "mark " (tone.word()) } { span aria-hidden="true" { (tone.mark()) } " " (word) } }
}

fn ago(ms: Option<u64>) -> Markup {
    html! { @match ms { Some(ms) => (format!("{} ago", span(ms))), None => "never" } }
}

fn unknown(why: &str) -> Markup {
    html! { span class="soft" { "unknown: " (why) } }
}

fn panels(view: &View, request: &Request) -> Vec<Panel> {
    let body = match request.page {
        Page::Overview => overview::panels(view, request),
        Page::Network => network::panels(view, request),
        Page::Nodes => vec![people::nodes(view, request)],
        Page::Peers => people::peers(view, request),
        Page::Events => vec![activity::events(view, request)],
        Page::History => vec![activity::history(view, request)],
        Page::Privacy => health::privacy(view, request),
        Page::Doctor => vec![health::report(request)],
    };
    let mut panels = vec![strip(view)];
    panels.extend(body);
    panels
}

/// The line that every page begins with.
fn strip(view: &View) -> Panel {
    let verdict = &view.verdict;
    let body = html! {
        section class="strip" id="strip" aria-label="State" {
            p class="state" role="status" { (mark(verdict.tone, verdict.standing.word())) }
            p class="counts" {
                span { strong { (view.snapshot.nodes.known) } " DHT nodes" }
                span { strong { (view.snapshot.peers.connected) } " peers connected"
                    @if view.snapshot.peers.known > view.snapshot.peers.connected { span class="soft" { " of " (view.snapshot.peers.known) " known" } } }
                @for alert in &view.alerts { span class="mark bad" { "▲ " (alert.code) } }
            }
        }
    };
    Panel { id: "strip", body }
}

/// Renders a whole page.
pub(crate) fn whole(view: &View, request: &Request, csrf: &str) -> Markup {
    let page = request.page;
    let live = format!("/live?page={}&{}", page.title(), request.query());
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { (page.title()) " · Homing" }
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                link rel="icon" href="/icon.svg";
                link rel="stylesheet" href="/monitor.css";
                script src="/monitor.js" defer {}
            }
            body data-live=(live) {
                a class="skip" href="#main" { "Skip to the panels" }
                header {
                    p class="brand" { img src="/icon.svg" alt="" width="26" height="26"; "Homing" }
                    nav aria-label="Pages" {
                        ul { @for other in Page::ALL { li {
                            @let here = (other == page).then_some("page");
                            a href=(other.path()) aria-current=[here] { (other.title()) }
                        } } }
                    }
                    div class="tools" {
                        button type="button" id="pause" aria-pressed="false" hidden { "Pause" }
                        form method="post" action="/lock" {
                            input type="hidden" name="csrf" value=(csrf);
                            button { "Lock" }
                        }
                    }
                }
                main id="main" {
                    h1 class="hidden" { (page.title()) }
                    (tools(request, csrf))
                    @for panel in panels(view, request) { (panel.body) }
                }
                footer { p {
                    "Nodes are strangers that this program routes by; peers are people and programs you meet. "
                    "Nothing on this page leaves this computer."
                } }
            }
        }
    }
}

/// What a reader can change of a page.
fn tools(request: &Request, csrf: &str) -> Markup {
    html! {
        @match request.page {
            Page::Nodes | Page::Privacy | Page::Network | Page::Peers => {
                p class="choices" {
                    @if request.show == Show::Masked {
                        a href=(request.link(|request| request.show = Show::Addresses)) { "Show addresses" }
                    } @else {
                        a href=(request.link(|request| request.show = Show::Masked)) { "Mask addresses" }
                    }
                }
            }
            Page::Doctor => (health::button(csrf)),
            Page::Overview | Page::Events | Page::History => {}
        }
    }
}

/// Returns the panels that differ from those sent before, by their ids, if any does.
pub(crate) fn changed(
    view: &View,
    request: &Request,
    sent: &mut BTreeMap<&'static str, u64>,
) -> Option<BTreeMap<&'static str, String>> {
    let mut changed = BTreeMap::new();
    for panel in panels(view, request) {
        let body = panel.body.into_string();
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        let hash = hasher.finish();
        if sent.insert(panel.id, hash) != Some(hash) {
            changed.insert(panel.id, body);
        }
    }
    (!changed.is_empty()).then_some(changed)
}
