use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use node::{Node, Snapshot, Stopped};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};
use tokio::time::{self, Instant, MissedTickBehavior};

use crate::history::{History, Series};
use crate::log::{Entry, Log, describe};
use crate::words::{self, Cause, Standing, Verdict};

/// Between two readings of the counters.
const TICK: Duration = Duration::from_millis(500);
/// Between two readings because of events.
const EVENT_GAP: Duration = Duration::from_millis(100);
/// Events that wait for a slow reader; it is told how many it missed.
const ENTRIES_WAITING: usize = 256;

/// All that is shown, at one moment.
#[derive(Clone, Debug)]
pub struct View {
    /// The state of the node.
    pub snapshot: Snapshot,
    /// What it means.
    pub verdict: Verdict,
    /// How long it has meant that, in milliseconds.
    pub since_ms: u64,
    /// What is wrong for longer than a moment, the root first.
    pub alerts: Vec<Alert>,
    /// What was before.
    pub history: History,
    /// What happened.
    pub log: Log,
}

/// Something that is wrong for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Its name in metrics.
    pub code: &'static str,
    /// What it means.
    pub text: String,
    /// For how long it has been so, in milliseconds.
    pub ms: u64,
}

/// Where the page and the metrics read from.
#[derive(Clone, Debug)]
pub struct Feed {
    views: watch::Receiver<Arc<View>>,
    entries: broadcast::Sender<Arc<Entry>>,
}

impl Feed {
    /// Starts to watch a node, until it is shut down.
    ///
    /// # Errors
    ///
    /// Fails if the node was shut down already.
    pub async fn watch(node: Node) -> Result<Self, Stopped> {
        let events = node.events();
        let snapshot = node.snapshot().await?;
        let mut recorder = Recorder::new(node, &snapshot);
        let (sender, views) = watch::channel(Arc::new(recorder.view(snapshot)));
        let entries = recorder.entries.clone();
        tokio::spawn(async move {
            // The end of the node is the end of the feed; readers see its last state.
            recorder.run(events, sender).await.unwrap_or_default();
        });
        Ok(Self { views, entries })
    }

    /// Returns the present view.
    pub fn now(&self) -> Arc<View> {
        Arc::clone(&self.views.borrow())
    }

    /// Returns a reader of views to come: twice a second, and at each event.
    pub fn views(&self) -> watch::Receiver<Arc<View>> {
        self.views.clone()
    }

    /// Returns a reader of events to come.
    pub fn entries(&self) -> broadcast::Receiver<Arc<Entry>> {
        self.entries.subscribe()
    }
}

/// The one task that reads a node.
struct Recorder {
    node: Node,
    history: History,
    log: Log,
    entries: broadcast::Sender<Arc<Entry>>,
    seq: u64,
    standing: Standing,
    since: Instant,
    wrong: BTreeMap<&'static str, Instant>,
    ticks: u64,
    /// What events are dated by, so that a burst of them costs no snapshot each.
    read: Reading,
}

/// When a snapshot was read, by three clocks.
#[derive(Clone, Copy)]
struct Reading {
    at: Instant,
    unix_ms: u64,
    uptime_ms: u64,
}

impl Reading {
    fn new(snapshot: &Snapshot) -> Self {
        Self { at: Instant::now(), unix_ms: snapshot.taken_unix_ms, uptime_ms: snapshot.process.uptime_ms }
    }
}

impl Recorder {
    fn new(node: Node, first: &Snapshot) -> Self {
        Self {
            node,
            history: History::default(),
            log: Log::default(),
            entries: broadcast::Sender::new(ENTRIES_WAITING),
            seq: 0,
            standing: words::judge(first).standing,
            since: Instant::now(),
            wrong: BTreeMap::new(),
            ticks: 0,
            read: Reading::new(first),
        }
    }

    async fn run(
        &mut self,
        mut events: broadcast::Receiver<node::Event>,
        views: watch::Sender<Arc<View>>,
    ) -> Result<(), Stopped> {
        let mut tick = time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut due = None;
        loop {
            let snapshot = tokio::select! {
                _ = tick.tick() => self.tick().await?,
                () = until(due) => self.node.snapshot().await?,
                event = events.recv() => {
                    self.record(event)?;
                    due.get_or_insert_with(|| Instant::now() + EVENT_GAP);
                    continue;
                }
            };
            due = None;
            let view = self.view(snapshot);
            if views.send(Arc::new(view)).is_err() {
                return Ok(());
            }
        }
    }

    async fn tick(&mut self) -> Result<Snapshot, Stopped> {
        let snapshot = self.node.snapshot().await?;
        self.ticks += 1;
        if self.ticks.is_multiple_of(2) {
            self.history.add(&snapshot);
        }
        Ok(snapshot)
    }

    fn record(&mut self, event: Result<node::Event, RecvError>) -> Result<(), Stopped> {
        let (kind, text, cause) = match event {
            Ok(event) => describe(&event),
            Err(RecvError::Lagged(missed)) => ("gap", format!("{missed} events were missed."), None),
            Err(RecvError::Closed) => return Err(Stopped),
        };
        self.push(kind, text, cause);
        Ok(())
    }

    fn push(&mut self, kind: &'static str, text: String, cause: Option<Cause>) {
        self.seq += 1;
        let passed = millis(self.read.at.elapsed());
        let (unix_ms, uptime_ms) = (self.read.unix_ms + passed, self.read.uptime_ms + passed);
        let cause = cause.map(Cause::code);
        let entry = Arc::new(Entry { seq: self.seq, unix_ms, uptime_ms, kind, text, cause });
        self.log.push(Arc::clone(&entry));
        // Without a reader there is nobody to tell.
        self.entries.send(entry).unwrap_or_default();
    }

    fn view(&mut self, snapshot: Snapshot) -> View {
        let verdict = words::judge(&snapshot);
        let now = Instant::now();
        self.read = Reading::new(&snapshot);
        if verdict.standing != self.standing {
            self.standing = verdict.standing;
            self.since = now;
            let text = format!("{}: {}", verdict.standing.word(), verdict.sentence);
            self.push("state.changed", text, verdict.cause);
        }
        let alerts = self.alerts(&snapshot, &verdict, now);
        View {
            since_ms: millis(now - self.since),
            verdict,
            alerts,
            history: self.history.clone(),
            log: self.log.clone(),
            snapshot,
        }
    }

    /// What has been wrong for long enough; while the network is away, nothing else is said.
    fn alerts(&mut self, snapshot: &Snapshot, verdict: &Verdict, now: Instant) -> Vec<Alert> {
        let mut alerts = Vec::new();
        for (code, patience, text) in wrongs(snapshot, verdict, &self.history) {
            let Some(text) = text else {
                self.wrong.remove(code);
                continue;
            };
            let ms = millis(now - *self.wrong.entry(code).or_insert(now));
            if ms >= millis(patience) {
                alerts.push(Alert { code, text, ms });
            }
        }
        if alerts.first().is_some_and(|alert| alert.code == "OFFLINE") {
            alerts.truncate(1);
        }
        alerts
    }
}

/// Every condition with how long it must hold, and its sentence where it holds now.
fn wrongs(
    snapshot: &Snapshot,
    verdict: &Verdict,
    history: &History,
) -> [(&'static str, Duration, Option<String>); 6] {
    let seconds = Duration::from_secs;
    let offline = (verdict.standing == Standing::Offline).then(|| verdict.sentence.clone());
    let failing = history.latest(Series::Unanswered).filter(|share| *share > 30.0);
    let failing = failing.map(|share| format!("{share:.0} % of our requests go unanswered."));
    let skew = words::skew(snapshot)
        .map(|(block, most, all)| format!("{most} of {all} nodes are in the block {block}/24."));
    let lost =
        snapshot.peers.topics.iter().filter(|topic| topic.announced_ms_ago.is_some() && topic.stored < 10);
    let lost = lost.count();
    let lost = (lost > 0 && snapshot.nodes.known >= 20)
        .then(|| format!("{lost} topics are stored on fewer than half of the nodes they should be."));
    let company = words::company(snapshot);
    let unreached = (company.tone == words::Tone::Bad).then_some(company.sentence);
    let dropped: u64 = snapshot.sockets.iter().map(|socket| socket.dropped_out).sum();
    let sent: u64 = snapshot.sockets.iter().map(|socket| socket.packets_out).sum();
    let dropping = (dropped * 1000 > sent && sent > 0)
        .then(|| format!("The system refused to send {dropped} of {sent} datagrams."));
    [
        ("OFFLINE", seconds(15), offline),
        ("DEGRADED", seconds(30), failing),
        ("SUBNET_SKEW", seconds(60), skew),
        ("ANNOUNCE_LOST", seconds(30), lost),
        ("SEND_REFUSED", seconds(5), dropping),
        ("PEERS_UNREACHABLE", seconds(60), unreached),
    ]
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
