//! Pictures drawn here, so that a page needs no script to show them. Colours come from the style sheet's classes.

use std::fmt::Write as _;

use maud::{Markup, html};
use node::Snapshot;

/// Height of a full bucket's bar.
const BAR: usize = 60;
/// Nodes of a full bucket (Kademlia's k).
const BUCKET: u8 = 20;
/// Buckets drawn: a network of a million nodes fills sixteen.
const BUCKETS_SHOWN: usize = 32;
/// Nodes drawn on the ring.
const DOTS_MAX: usize = 1_000;

/// A line without axes for a table row; gaps where nothing was measured.
pub(crate) fn spark(points: &[f32], title: &str) -> Markup {
    let path = line(points, 120.0, 28.0);
    html! {
        svg class="spark" viewBox="-1 -1 122 30" preserveAspectRatio="none" role="img" aria-label=(title) {
            path d=(path) class="line" {}
        }
    }
}

/// A chart of one series with its highest value.
pub(crate) fn chart(points: &[f32], title: &str, span: &str) -> Markup {
    let measured = || points.iter().copied().filter(|value| !value.is_nan());
    let max = measured().reduce(f32::max).map_or_else(|| "unknown".into(), figure);
    let last = measured().next_back();
    let path = line(points, 600.0, 90.0);
    html! {
        figure class="chart" {
            figcaption {
                span { (title) }
                span class="now" { @match last { Some(last) => (figure(last)), None => "–" } }
            }
            svg viewBox="0 -2 600 94" preserveAspectRatio="none" role="img"
                aria-label={ (title) ", " (span) ", highest " (max) } {
                path d="M0 90H600" class="axis" {}
                path d=(path) class="line" {}
            }
            p class="small soft" { (span) " · highest " (max) }
        }
    }
}

/// Writes a figure with as many digits as help.
pub(crate) fn figure(value: f32) -> String {
    match value {
        ..10.0 if value.fract() != 0.0 => format!("{value:.1}"),
        ..10_000.0 => format!("{value:.0}"),
        ..10_000_000.0 => format!("{:.1} k", value / 1e3),
        _ => format!("{:.1} M", value / 1e6),
    }
}

/// The points as a path; a point that is no number breaks the line, and one between two such is a dot.
#[expect(clippy::cast_precision_loss, reason = "there are at most some thousand points")]
fn line(points: &[f32], width: f32, height: f32) -> String {
    let max =
        points.iter().copied().filter(|value| !value.is_nan()).fold(0.0_f32, f32::max).max(f32::MIN_POSITIVE);
    let step = width / (points.len().max(2) - 1) as f32;
    let mut path = String::new();
    let mut pen = 'M';
    for (n, value) in points.iter().enumerate() {
        if value.is_nan() {
            pen = 'M';
            continue;
        }
        let (x, y) = (n as f32 * step, height - value / max * height);
        write!(path, "{pen}{x:.1} {y:.1}").expect("a string takes everything");
        if pen == 'M' && points.get(n + 1).is_none_or(|next| next.is_nan()) {
            path.push_str("h1.5");
        }
        pen = 'L';
    }
    path
}

/// How many nodes share so many leading bits with ours, as bars.
pub(crate) fn buckets(snapshot: &Snapshot) -> Markup {
    let rows = &snapshot.nodes.rows;
    let shown = rows.len().clamp(24, BUCKETS_SHOWN);
    let bars = (0..shown).map(|n| (n, rows.get(n).copied().unwrap_or_default()));
    let summary = rows.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    html! {
        svg class="buckets" viewBox={ "0 -4 " (shown * 14) " 84" } role="img"
            aria-label={ "Nodes in each bucket, from those that share no bit with us: " (summary) } {
            @for (n, count) in bars {
                @let height = usize::from(count.min(BUCKET)) * BAR / usize::from(BUCKET);
                rect x=(n * 14 + 1) y="0" width="11" height=(BAR) rx="2" class="slot" {}
                rect x=(n * 14 + 1) y=(BAR - height) width="11" height=(height) rx="2" class="fill" {}
                @if n % 4 == 0 { text x=(n * 14 + 6) y="74" class="tick" { (n) } }
            }
        }
    }
}

/// The key space as a ring: an id's leading bits are its angle, ours is marked.
pub(crate) fn ring(snapshot: &Snapshot) -> Markup {
    let nodes = snapshot.nodes.table.iter().take(DOTS_MAX);
    let own = snapshot.state.id.map(|id| place(&id.0.0, 46.0));
    let topics = snapshot.peers.topics.iter().map(|topic| place(&topic.topic.0.0, 34.0));
    html! {
        svg class="ring" viewBox="-60 -60 120 120" role="img"
            aria-label={ (snapshot.nodes.known) " nodes by their id around the key space; the triangle is this node" } {
            circle r="46" class="slot" {}
            @for node in nodes {
                @let (x, y) = place(&node.id.0.0, 46.0);
                @let class = if node.down_hints > 0 { "dot suspect" } else if node.seen_ticks_ago > 12 { "dot stale" } else { "dot" };
                circle cx=(fixed(x)) cy=(fixed(y)) r="1.5" class=(class) {}
            }
            @for (x, y) in topics {
                rect x=(fixed(x - 2.0)) y=(fixed(y - 2.0)) width="4" height="4" class="topic" {}
            }
            @if let Some((x, y)) = own {
                path d={ "M" (fixed(x)) " " (fixed(y - 5.0)) "l4.3 7.5h-8.600z" } class="own" {}
            }
            text y="-2" class="big" { (snapshot.nodes.known) }
            text y="10" class="tick" { "DHT nodes" }
        }
    }
}

fn fixed(value: f32) -> String {
    format!("{value:.1}")
}

/// Where an id lies on a ring, clockwise from the top.
fn place(id: &[u8; 32], radius: f32) -> (f32, f32) {
    let [a, b, ..] = *id;
    let turn = f32::from(u16::from_be_bytes([a, b])) / 65_536.0 * std::f32::consts::TAU;
    (radius * turn.sin(), -radius * turn.cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_broken_where_nothing_was_measured() {
        assert_eq!(line(&[0.0, 2.0, f32::NAN, 1.0], 30.0, 10.0), "M0.0 10.0L10.0 0.0M30.0 5.0h1.5");
        assert_eq!(line(&[], 30.0, 10.0), "");
    }

    #[test]
    fn ids_go_round_the_ring_clockwise() {
        let id = |first| [&[first][..], &[0; 31]].concat().try_into().unwrap();
        let (x, y) = place(&id(0x40), 10.0);
        assert!((x - 10.0).abs() < 0.01 && y.abs() < 0.01, "{x} {y}");
        assert_eq!(figure(3.25), "3.2");
        assert_eq!(figure(1234.5), "1234");
    }
}
