use maud::html;

use super::{Panel, Request, panel};
use crate::feed::View;
use crate::history::{Range, Series};
use crate::pictures::chart;
use crate::words::span;

/// Points of one chart; finer ones could not be told apart.
const CHART_POINTS: usize = 600;
/// Rows of the table of events.
const EVENTS_SHOWN: usize = 200;
const KINDS: [(&str, &str); 9] = [
    ("", "all"),
    ("state", "state"),
    ("conn", "connections"),
    ("peer", "peers found"),
    ("dht", "DHT"),
    ("nat", "address"),
    ("net", "network"),
    ("sleep", "sleep"),
    ("gap", "gaps"),
];

pub(super) fn events(view: &View, request: &Request) -> Panel {
    let only = request.only.as_deref().unwrap_or_default();
    let rows = view.log.latest().filter(|entry| entry.kind.starts_with(only)).take(EVENTS_SHOWN);
    let rows: Vec<_> = rows.collect();
    let now = view.snapshot.process.uptime_ms;
    panel(
        "events",
        "Events",
        &html! {
            p class="choices" { "Show: " @for (kind, name) in KINDS {
                @let here = (kind == only).then_some("true");
                a href=(request.link(|request| request.only = (!kind.is_empty()).then(|| kind.into()))) aria-current=[here] { (name) } " "
            } }
            @if rows.is_empty() { p class="soft" { "Nothing of this kind since this page's program was started." } } @else {
                div class="wide" tabindex="0" role="region" aria-label="List of events" { table class="log" {
                    thead { tr { th scope="col" { "When" } th scope="col" { "Kind" } th scope="col" { "What" } } }
                    tbody { @for entry in rows { tr {
                        td class="when" { (span(now.saturating_sub(entry.uptime_ms))) " ago" }
                        td { code { (entry.kind) } }
                        td { (entry.text) @if let Some(cause) = entry.cause { " " code { (cause) } } }
                    } } }
                } }
            }
        },
    )
}

pub(super) fn history(view: &View, request: &Request) -> Panel {
    let ranges = [
        (Range::Minutes, "10 minutes", "the last ten minutes, a point a second"),
        (Range::Hours, "6 hours", "the last six hours, a point every ten seconds"),
        (Range::Days, "7 days", "the last seven days, a point a minute"),
    ];
    let span = ranges.iter().find(|(range, ..)| *range == request.range).map_or("", |range| range.2);
    panel(
        "history",
        "History",
        &html! {
            p class="choices" { "Look back: " @for (range, name, _) in ranges {
                @let here = (range == request.range).then_some("true");
                a href=(request.link(|request| request.range = range)) aria-current=[here] { (name) } " "
            } }
            div class="charts" { @for series in Series::ALL {
                (chart(&points(view, series, request.range), series.title(), span))
            } }
        },
    )
}

fn points(view: &View, series: Series, range: Range) -> Vec<f32> {
    let points: Vec<f32> = view.history.points(series, range).collect();
    let step = points.len().div_ceil(CHART_POINTS).max(1);
    // Of several points in one place the highest is drawn, so that no peak is lost.
    points.chunks(step).map(|chunk| chunk.iter().copied().fold(f32::NAN, f32::max)).collect()
}
