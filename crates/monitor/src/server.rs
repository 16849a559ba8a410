use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use futures_core::Stream;
use node::{Node, Stopped};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use web::{BindError, Guard, Identity, Secret, Settings};

use crate::doctor::{self, Report};
use crate::feed::{Feed, View};
use crate::log::Entry;
use crate::metrics;
use crate::pages::{self, Page, Request};

/// Pieces of a stream that wait for a slow reader; a live page skips what it has no room for.
const PIECES_WAITING: usize = 4;
/// A stream without news says so, or a proxy would close it.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Where and how the monitor is served.
#[derive(Clone, Debug)]
pub struct Options {
    /// An address of loopback; port 0 is any.
    pub address: SocketAddr,
    /// Where the bearer token of programs is kept, created with mode 0600; nowhere means that programs cannot
    /// come in.
    pub token_file: Option<PathBuf>,
}

/// Why the monitor cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MonitorError {
    /// The address cannot be used.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The token cannot be kept.
    #[error("cannot keep the token of programs in {}", .0.display())]
    Token(PathBuf, #[source] io::Error),
    /// The system has no randomness to give, or no address.
    #[error("the system refused")]
    System(#[from] io::Error),
    /// The node was shut down.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// A monitor that is served until it is dropped.
#[derive(Debug)]
pub struct Monitor {
    guard: Guard,
    address: SocketAddr,
    feed: Feed,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct Shared {
    node: Node,
    feed: Feed,
    guard: Guard,
    /// The report of the last self-test.
    report: Arc<tokio::sync::watch::Sender<Option<Report>>>,
}

impl Monitor {
    /// Serves the monitor of a node.
    ///
    /// # Errors
    ///
    /// Fails if the address is not of loopback or taken, or the token cannot be kept.
    pub async fn serve(node: Node, options: &Options) -> Result<Self, MonitorError> {
        let listener = web::bind(options.address).await?;
        let address = listener.local_addr()?;
        let seed = node::seed()?;
        let bearer = options.token_file.as_deref().map(|path| token(path, &seed)).transpose()?;
        let guard = Guard::new(Settings { app: "Homing", address, seed, bearer });
        let feed = Feed::watch(node.clone()).await?;
        let report = Arc::new(tokio::sync::watch::Sender::new(None));
        let shared = Shared { node, feed: feed.clone(), guard: guard.clone(), report };
        let task = tokio::spawn(web::serve(listener, guard.protect(router(shared))));
        Ok(Self { guard, address, feed, task })
    }

    /// Returns the address to open in a browser, which lets it in; it is not to be logged.
    pub fn url(&self) -> String {
        self.guard.url()
    }

    /// Returns the guard.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Returns the address that the monitor listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns what the pages are made from.
    pub fn feed(&self) -> &Feed {
        &self.feed
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads the token of programs, or makes one.
fn token(path: &Path, seed: &[u8; 32]) -> Result<Secret, MonitorError> {
    let failed = |error| MonitorError::Token(path.to_owned(), error);
    let fresh = Secret::derive(seed, "bearer", 0);
    match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(mut file) => {
            io::Write::write_all(&mut file, fresh.reveal().as_bytes()).map_err(failed)?;
            Ok(fresh)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read_token(path).map_err(failed),
        Err(error) => Err(failed(error)),
    }
}

/// Reads a token that only its owner can read.
pub(crate) fn read_token(path: &Path) -> io::Result<Secret> {
    use std::os::unix::fs::MetadataExt;
    if std::fs::metadata(path)?.mode() & 0o077 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "others can read it; its mode must be 0600",
        ));
    }
    let text = std::fs::read_to_string(path)?;
    let text = text.trim();
    // An empty token would let everybody in.
    if text.len() < 32 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too short to be a token"));
    }
    Ok(Secret::new(text))
}

fn router(shared: Shared) -> Router {
    let mut router = Router::new();
    for page in Page::ALL {
        router = router.route(page.path(), get(move |state, who, query| show(page, state, who, query)));
    }
    router
        .route("/live", get(live))
        .route("/self-test", post(self_test))
        .route("/lock", post(lock))
        .route("/api/snapshot", get(snapshot))
        .route("/api/status", get(status))
        .route("/api/events", get(events))
        .route("/api/report", get(report))
        .route("/metrics", get(exposition))
        .route("/monitor.css", get(async || asset("text/css; charset=utf-8", pages::STYLE)))
        .route("/monitor.js", get(async || asset("text/javascript; charset=utf-8", pages::SCRIPT)))
        .with_state(shared)
}

fn asset(kind: &'static str, body: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], body).into_response()
}

async fn request(page: Page, shared: &Shared, query: Option<&str>) -> Request {
    let contacts = match page {
        Page::Privacy => shared.node.contacts().await.unwrap_or_default(),
        _ => Vec::new(),
    };
    Request::new(page, query, contacts, shared.report.borrow().clone())
}

async fn show(
    page: Page,
    State(shared): State<Shared>,
    Extension(who): Extension<Identity>,
    RawQuery(query): RawQuery,
) -> Response {
    let csrf = match who {
        Identity::Browser { csrf } => csrf.reveal().to_owned(),
        _ => String::new(),
    };
    let request = request(page, &shared, query.as_deref()).await;
    Html(pages::whole(&shared.feed.now(), &request, &csrf).into_string()).into_response()
}

/// Sends the panels of one page that changed, at every event and twice a second.
async fn live(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Response {
    let Some(page) = Page::named(query.as_deref()) else { return StatusCode::NOT_FOUND.into_response() };
    let (sender, pieces) = mpsc::channel(PIECES_WAITING);
    tokio::spawn(async move {
        let mut views = shared.feed.views();
        let mut sent = std::collections::BTreeMap::new();
        loop {
            let request = request(page, &shared, query.as_deref()).await;
            let view = Arc::clone(&views.borrow_and_update());
            let changed = pages::changed(&view, &request, &mut sent);
            if let Some(event) = changed.and_then(|changed| Event::default().json_data(changed).ok())
                && let Err(mpsc::error::TrySendError::Full(_)) = sender.try_send(event)
            {
                // A reader that lags gets all panels once there is room again.
                sent.clear();
            }
            tokio::select! {
                () = sender.closed() => return,
                () = shared.guard.locked() => return,
                changed = views.changed() => if changed.is_err() { return },
            }
        }
    });
    stream(pieces)
}

/// Sends every event as JSON; a reader that comes back with `Last-Event-ID` gets what it missed.
async fn events(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let mut entries = shared.feed.entries();
    let (sender, pieces) = mpsc::channel(PIECES_WAITING);
    tokio::spawn(async move {
        let view = shared.feed.now();
        let mut seq: u64 = last.unwrap_or_else(|| view.log.latest().next().map_or(0, |entry| entry.seq));
        for entry in view.log.since(seq) {
            seq = entry.seq;
            if sender.send(piece(entry)).await.is_err() {
                return;
            }
        }
        loop {
            let event = tokio::select! {
                () = sender.closed() => return,
                () = shared.guard.locked() => return,
                entry = entries.recv() => match entry {
                    Ok(entry) if entry.seq <= seq => continue,
                    Ok(entry) => piece(&entry),
                    Err(RecvError::Lagged(missed)) => Event::default().event("gap").data(missed.to_string()),
                    Err(RecvError::Closed) => return,
                },
            };
            if sender.send(event).await.is_err() {
                return;
            }
        }
    });
    stream(pieces)
}

fn piece(entry: &Entry) -> Event {
    let event = Event::default().id(entry.seq.to_string()).event(entry.kind);
    let json = serde_json::to_string(entry).unwrap_or_default();
    event.data(json)
}

fn stream(pieces: mpsc::Receiver<Event>) -> Response {
    Sse::new(Pieces(pieces)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

struct Pieces(mpsc::Receiver<Event>);

impl Stream for Pieces {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|event| event.map(Ok))
    }
}

/// The state at this moment, not that of the last tick.
async fn snapshot(State(shared): State<Shared>) -> Response {
    match shared.node.snapshot().await {
        Ok(snapshot) => Json(&snapshot).into_response(),
        Err(stopped) => (StatusCode::SERVICE_UNAVAILABLE, stopped.to_string()).into_response(),
    }
}

async fn status(State(shared): State<Shared>) -> Response {
    let view = shared.feed.now();
    Json(status_of(&view)).into_response()
}

/// The verdict in a form for programs.
pub(crate) fn status_of(view: &View) -> serde_json::Value {
    serde_json::json!({
        "state": view.verdict.standing.label(),
        "tone": view.verdict.tone.word(),
        "sentence": view.verdict.sentence,
        "cause": view.verdict.cause.map(crate::words::Cause::code),
        "since_ms": view.since_ms,
        "nodes": view.snapshot.nodes.known,
        "peers": view.snapshot.peers.connected,
        "peers_known": view.snapshot.peers.known,
        "connections": view.snapshot.connections.open,
        "company": crate::words::company(&view.snapshot).sentence,
        "alerts": view.alerts.iter().map(|alert| alert.code).collect::<Vec<_>>(),
    })
}

async fn exposition(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Response {
    let view = shared.feed.now();
    let text = match query.as_deref() {
        Some("names=hyperdht") => metrics::encode_hyperdht(&view.snapshot),
        _ => metrics::encode(&view),
    };
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn self_test(State(shared): State<Shared>) -> Response {
    let report = doctor::examine_running(&shared.node).await;
    shared.report.send_replace(Some(report));
    Redirect::to("/doctor").into_response()
}

async fn report(State(shared): State<Shared>) -> Response {
    let report = shared.report.borrow().clone();
    match report {
        Some(report) => {
            let name = [(header::CONTENT_DISPOSITION, "attachment; filename=\"homing-report.txt\"")];
            (name, report.text()).into_response()
        }
        None => (StatusCode::NOT_FOUND, "No self-test has run yet.\n").into_response(),
    }
}

async fn lock(State(shared): State<Shared>) -> Response {
    shared.guard.lock();
    Redirect::to("/").into_response()
}
