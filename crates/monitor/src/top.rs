//! The same figures on a terminal.

use std::io;
use std::time::Duration;

use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use node::Snapshot;
use ratatui::backend::TestBackend;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Sparkline, Table, Wrap};
use ratatui::{Frame, Terminal};
use tokio::time::{Instant, sleep};

use crate::history::{History, Range, Series};
use crate::source::{Source, SourceError};
use crate::words::{self, Show, Tone, bytes, grouped, span};

/// Between two readings of the node.
const INTERVAL: Duration = Duration::from_secs(1);
/// Between two looks at the keyboard.
const KEYS: Duration = Duration::from_millis(50);

/// What a terminal shows.
#[derive(Debug)]
pub struct Screen {
    snapshot: Snapshot,
    history: History,
    tab: Tab,
    show: Show,
    /// Why what is shown is old.
    trouble: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tab {
    Overview,
    Peers,
    Nodes,
    Walks,
}

impl Screen {
    /// Begins with one reading.
    pub fn new(snapshot: Snapshot) -> Self {
        let mut history = History::default();
        history.add(&snapshot);
        Self { snapshot, history, tab: Tab::Overview, show: Show::Masked, trouble: None }
    }

    fn update(&mut self, snapshot: Result<Snapshot, SourceError>) {
        match snapshot {
            Ok(snapshot) => {
                self.history.add(&snapshot);
                self.snapshot = snapshot;
                self.trouble = None;
            }
            Err(error) => self.trouble = Some(error.to_string()),
        }
    }

    /// Renders into text, for scripts and tests.
    ///
    /// # Errors
    ///
    /// Never fails in practice: the backend is memory.
    pub fn text(&self, width: u16, height: u16) -> io::Result<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).map_err(io::Error::other)?;
        terminal.draw(|frame| self.draw(frame)).map_err(io::Error::other)?;
        let buffer = terminal.backend().buffer();
        let rows = buffer.content().chunks(width.into());
        let line = |row: &[ratatui::buffer::Cell]| {
            row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>().trim_end().to_owned()
        };
        Ok(rows.map(line).collect::<Vec<_>>().join("\n"))
    }

    fn draw(&self, frame: &mut Frame<'_>) {
        let [head, body, foot] =
            Layout::vertical([Constraint::Length(4), Constraint::Min(8), Constraint::Length(1)])
                .areas(frame.area());
        self.draw_head(frame, head);
        match self.tab {
            Tab::Overview => self.draw_overview(frame, body),
            Tab::Peers => self.draw_peers(frame, body),
            Tab::Nodes => self.draw_nodes(frame, body),
            Tab::Walks => self.draw_walks(frame, body),
        }
        let keys = "1 overview  2 peers  3 nodes  4 walks  a addresses  q quit";
        let foot_line = self.trouble.as_ref().map_or_else(
            || Line::styled(keys, Style::new().add_modifier(Modifier::DIM)),
            |trouble| Line::styled(format!("not live: {trouble}"), Style::new().fg(Color::Red)),
        );
        frame.render_widget(foot_line, foot);
    }

    fn draw_head(&self, frame: &mut Frame<'_>, area: Rect) {
        let verdict = words::judge(&self.snapshot);
        let colour = match verdict.tone {
            Tone::Good => Color::Green,
            Tone::Fair => Color::Yellow,
            Tone::Bad => Color::Red,
            Tone::Unknown => Color::Gray,
        };
        let state = format!("{} {}", verdict.tone.mark(), verdict.standing.word());
        let lines = vec![
            Line::from(vec![
                Span::styled(state, Style::new().fg(colour).add_modifier(Modifier::BOLD)),
                Span::raw(format!(
                    "   DHT nodes {}   peers connected {} of {} known",
                    self.snapshot.nodes.known, self.snapshot.peers.connected, self.snapshot.peers.known
                )),
            ]),
            Line::raw(verdict.sentence),
        ];
        let paragraph = Paragraph::new(lines).wrap(Wrap { trim: true });
        frame.render_widget(paragraph.block(Block::new().borders(Borders::BOTTOM)), area);
    }

    fn draw_overview(&self, frame: &mut Frame<'_>, area: Rect) {
        let [left, right] = Layout::horizontal([Constraint::Percentage(58), Constraint::Min(20)]).areas(area);
        let rows = facts(&self.snapshot).into_iter().map(|(name, value)| Row::new([name.to_owned(), value]));
        let table = Table::new(rows, [Constraint::Length(20), Constraint::Min(10)]);
        frame.render_widget(table.block(titled("figures")), left);
        let series = [Series::Nodes, Series::RoundTrip, Series::BytesIn, Series::BytesOut];
        let areas = Layout::vertical([Constraint::Ratio(1, 4); 4]).split(right);
        for (series, area) in series.into_iter().zip(areas.iter()) {
            let now = self.history.latest(series).map_or_else(|| "–".into(), crate::pictures::figure);
            let points = self.points(series, area.width.into());
            let line = Sparkline::default().data(points).block(titled(&format!("{}  {now}", series.title())));
            frame.render_widget(line, *area);
        }
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "eight heights are drawn")]
    fn points(&self, series: Series, width: usize) -> Vec<Option<u64>> {
        let point = |value: f32| (!value.is_nan()).then(|| (value.max(0.0) * 10.0) as u64);
        let mut points: Vec<_> =
            self.history.points(series, Range::Minutes).rev().take(width).map(point).collect();
        points.reverse();
        points
    }

    fn draw_peers(&self, frame: &mut Frame<'_>, area: Rect) {
        let peers = &self.snapshot.peers;
        let rows = peers.list.iter().take(area.height.into()).map(|peer| {
            let key: String = peer.key.to_string().chars().take(8).collect();
            let link = peer.link.as_ref();
            let trip = link.and_then(|link| link.round_trip_ms);
            let traffic = link.map(|link| link.traffic);
            let remark = match (&peer.failure, peer.next_in_ms) {
                (Some(failure), None) => failure.text.clone(),
                (Some(failure), Some(ms)) => format!("again in {}; {}", span(ms), failure.text),
                (None, Some(ms)) => format!("again in {}", span(ms)),
                (None, None) => link.map(|link| self.show.socket(link.address)).unwrap_or_default(),
            };
            Row::new([
                key,
                words::standing(peer).1.to_owned(),
                link.map(|link| link.path.clone()).unwrap_or_default(),
                trip.map_or_else(|| "–".into(), |ms| format!("{ms:.1} ms")),
                traffic.map_or_else(|| "–".into(), |traffic| bytes(traffic.bytes_in)),
                traffic.map_or_else(|| "–".into(), |traffic| bytes(traffic.bytes_out)),
                span(link.map_or(peer.state_ms, |link| link.open_ms)),
                remark,
            ])
        });
        let widths = [9, 24, 8, 10, 9, 9, 8, 60].map(Constraint::Length);
        let head =
            Row::new(["peer", "state", "way", "trip", "in", "out", "since", "remarks"].map(Cell::from));
        let title = format!("{} peers connected, {} known", peers.connected, peers.known);
        frame.render_widget(Table::new(rows, widths).header(head).block(titled(&title)), area);
    }

    fn draw_nodes(&self, frame: &mut Frame<'_>, area: Rect) {
        let rows = self.snapshot.nodes.table.iter().take(area.height.into()).map(|node| {
            let id: String = node.id.to_string().chars().take(16).collect();
            let ticks = |ticks: u32| span(u64::from(ticks) * 5_000);
            Row::new([
                id,
                self.show.address(node.address),
                ticks(node.seen_ticks_ago),
                ticks(node.known_ticks),
            ])
        });
        let widths = [18, 24, 10, 10].map(Constraint::Length);
        let head = Row::new(["id", "address", "heard", "known for"].map(Cell::from));
        let title = format!("{} DHT nodes, last heard first", self.snapshot.nodes.known);
        frame.render_widget(Table::new(rows, widths).header(head).block(titled(&title)), area);
    }

    fn draw_walks(&self, frame: &mut Frame<'_>, area: Rect) {
        let all = self.snapshot.walks.iter().chain(&self.snapshot.walked);
        let rows = all.take(area.height.into()).map(|walk| {
            let target: String = walk.target.to_string().chars().take(8).collect();
            let ended =
                walk.ended_ms_ago.map_or_else(|| "under way".into(), |ms| format!("{} ago", span(ms)));
            let figures = format!("{}/{}", walk.responses, walk.requests);
            Row::new([
                walk.kind.clone(),
                target,
                figures,
                walk.hops.to_string(),
                span(walk.elapsed_ms),
                ended,
            ])
        });
        let widths = [16, 10, 10, 6, 10, 14].map(Constraint::Length);
        let head = Row::new(["walk", "towards", "answered", "hops", "took", "ended"].map(Cell::from));
        frame.render_widget(Table::new(rows, widths).header(head).block(titled("walks")), area);
    }
}

fn titled(title: &str) -> Block<'static> {
    let style = Style::new().add_modifier(Modifier::DIM);
    Block::new().borders(Borders::TOP).border_style(style).title(format!(" {title} "))
}

fn facts(snapshot: &Snapshot) -> Vec<(&'static str, String)> {
    let (requests, stored) = (&snapshot.requests, &snapshot.stored);
    let connections = &snapshot.connections;
    let punches = &connections.punches;
    let estimate = snapshot.nodes.network_estimate.map_or_else(|| "unknown".into(), grouped);
    let sum = |of: fn(&node::snapshot::SocketState) -> u64| snapshot.sockets.iter().map(of).sum::<u64>();
    vec![
        ("network, estimated", format!("{estimate} nodes")),
        ("address", words::nat(snapshot).word().into()),
        ("known from", words::nat(snapshot).sentence()),
        ("requests", format!("{} made, {} under way", requests.total, requests.active)),
        ("answered, given up", format!("{}, {}", requests.responses, requests.timeouts)),
        ("walks", format!("{} of {}", snapshot.queries.active, snapshot.queries.total)),
        ("topics, keys", format!("{}, {}", snapshot.peers.topics.len(), snapshot.peers.listening.len())),
        ("peers found", snapshot.peers.found.to_string()),
        ("connections", {
            let ways = connections.paths.named().map(|(path, count)| format!("{count} {path}"));
            format!("{} open: {}", connections.open, ways.join(", "))
        }),
        (
            "dials",
            format!(
                "{} begun, {} failed, {} now",
                connections.attempted, connections.failed, connections.dialling
            ),
        ),
        ("opened, closed", format!("{}, {}", connections.opened, connections.closed)),
        (
            "holes punched",
            format!("{} steady, {} random, {} not needed", punches.consistent, punches.random, punches.open),
        ),
        (
            "kept for others",
            format!(
                "{} announcements, {} values",
                stored.topics + stored.keys,
                stored.mutable + stored.immutable
            ),
        ),
        ("answered to others", snapshot.served.named().iter().map(|(_, n)| n).sum::<u64>().to_string()),
        ("received, sent", format!("{}, {}", bytes(sum(|s| s.bytes_in)), bytes(sum(|s| s.bytes_out)))),
        ("refused, withheld", format!("{}, {}", snapshot.rejected, snapshot.withheld)),
        ("running for", span(snapshot.process.uptime_ms)),
    ]
}

/// Shows a node until `q` is pressed.
///
/// # Errors
///
/// Fails if there is no terminal, or the node does not answer at first.
pub async fn run(source: &Source) -> Result<(), SourceError> {
    let mut screen = Screen::new(source.snapshot().await?);
    let mut terminal = ratatui::try_init()?;
    let outcome = show(&mut terminal, &mut screen, source).await;
    ratatui::restore();
    Ok(outcome?)
}

async fn show(
    terminal: &mut ratatui::DefaultTerminal,
    screen: &mut Screen,
    source: &Source,
) -> io::Result<()> {
    let mut due = Instant::now() + INTERVAL;
    terminal.draw(|frame| screen.draw(frame))?;
    loop {
        sleep(KEYS).await;
        let mut changed = false;
        while event::poll(Duration::ZERO)? {
            match event::read()? {
                Event::Key(key) if key.kind == KeyEventKind::Press => match key.code {
                    KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                    KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(()),
                    KeyCode::Char('1') => screen.tab = Tab::Overview,
                    KeyCode::Char('2') => screen.tab = Tab::Peers,
                    KeyCode::Char('3') => screen.tab = Tab::Nodes,
                    KeyCode::Char('4') => screen.tab = Tab::Walks,
                    KeyCode::Char('a') => {
                        screen.show =
                            if screen.show == Show::Masked { Show::Addresses } else { Show::Masked };
                    }
                    _ => {}
                },
                _ => {}
            }
            changed = true;
        }
        if Instant::now() >= due {
            due = Instant::now() + INTERVAL;
            let snapshot = source.snapshot().await;
            screen.update(snapshot);
            changed = true;
        }
        if changed {
            terminal.draw(|frame| screen.draw(frame))?;
        }
    }
}
