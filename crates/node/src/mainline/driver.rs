use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use dht::OperationId;
use dht::mainline::{Event, Mainline, Outcome, Port, Snapshot, Task};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time;
use wire::Id;
use wire::krpc::Family;

use super::{ASKS_MAX, Config, Found};
use crate::ask::Ticket;
use crate::batch::{BATCH, Scratch, Slot};
use crate::clock::Clock;
use crate::socket::{Sent, Socket};

/// Bytes kept of one datagram; there are nodes that answer with their whole table.
const DATAGRAM_MAX: usize = 16 << 10;
/// Batches read before the other tasks of the thread, and our own asks and timers, have a turn.
const BATCHES_PER_PASS: usize = 8;
/// A name that is not resolved within this counts as unresolvable.
const RESOLVE_MAX: Duration = Duration::from_secs(10);

thread_local! {
    static SCRATCH: RefCell<Scratch<DATAGRAM_MAX>> = RefCell::default();
}

/// What handles ask of the task that owns the node.
pub(super) enum Ask {
    Start {
        ticket: Ticket,
        task: Box<Task>,
        found: Option<mpsc::Sender<Found>>,
        done: oneshot::Sender<Outcome>,
    },
    Cancel(Ticket),
    Announce(Id<20>, Port),
    Leave(Id<20>),
    WhenReady(oneshot::Sender<()>),
    Snapshot(oneshot::Sender<Box<Snapshot>>),
    Nodes(oneshot::Sender<Vec<SocketAddr>>),
    Shutdown(oneshot::Sender<()>),
    /// The name service answered.
    Resolved(String, Vec<IpAddr>),
}

/// The sockets, one for each internet.
#[derive(Debug, Default)]
pub(super) struct Seats {
    seats: [Option<Seat>; 2],
}

#[derive(Debug)]
struct Seat {
    socket: Socket,
    /// The rest of a batch that the system had no room for.
    unsent: Vec<Slot>,
}

impl Seats {
    /// Binds both sockets; one of IPv6 that cannot be had is done without, if there is one of IPv4.
    pub(super) fn open(config: &Config) -> io::Result<Self> {
        let v4 = config.v4.map(|host| Socket::bind(host, config.port)).transpose()?;
        // Both have the same port, so that an announcement with an implied port means the same in both.
        let port = v4.as_ref().map_or(config.port, |socket| socket.local().port());
        let v6 = match config.v6.map(|host| Socket::bind_v6(host, port)).transpose() {
            Err(error) if v4.is_some() => {
                tracing::info!(%error, "there is no IPv6 here");
                None
            }
            bound => bound?,
        };
        Ok(Self { seats: [v4, v6].map(|socket| socket.map(|socket| Seat { socket, unsent: Vec::new() })) })
    }

    pub(super) fn families(&self) -> impl Iterator<Item = Family> {
        [Family::V4, Family::V6]
            .into_iter()
            .zip(&self.seats)
            .filter_map(|(family, seat)| seat.as_ref().map(|_| family))
    }

    pub(super) fn local(&self) -> [Option<SocketAddr>; 2] {
        [0, 1].map(|at: usize| self.seats[at].as_ref().map(|seat| seat.socket.local()))
    }

    fn is_blocked(&self) -> bool {
        self.seats.iter().flatten().any(|seat| !seat.unsent.is_empty())
    }

    fn send(&mut self, slots: &[Slot]) {
        for run in slots.chunk_by(|a, b| a.transmit.from == b.transmit.from) {
            let at = run.first().map_or(0, |slot| usize::from(slot.transmit.from.0));
            let Some(seat) = self.seats.get_mut(at).and_then(Option::as_mut) else { continue };
            if let Sent::Blocked(done) = seat.socket.send(run) {
                let copy = |slot: &Slot| Slot { transmit: slot.transmit, bytes: slot.bytes.clone() };
                seat.unsent.extend(run.iter().skip(done).map(copy));
            }
        }
    }

    fn send_kept(&mut self) {
        for seat in self.seats.iter_mut().flatten() {
            match seat.socket.send(&seat.unsent) {
                Sent::All => seat.unsent = Vec::new(),
                Sent::Blocked(done) => drop(seat.unsent.drain(..done)),
            }
        }
    }

    /// Waits until something may be received, or sent if something waits for that. Cancellation-safe.
    async fn ready(&self) {
        poll_fn(|context| {
            // Each has to be asked: a socket wakes us only after it was.
            let ready = self.seats.iter().flatten().filter(|seat| {
                seat.socket.poll_readable(context).is_ready()
                    || !seat.unsent.is_empty() && seat.socket.poll_writable(context).is_ready()
            });
            if ready.count() > 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

/// The one task that owns a node.
pub(super) struct Driver {
    machine: Mainline,
    clock: Clock,
    seats: Seats,
    asks: mpsc::Receiver<Ask>,
    /// For the small tasks that resolve names.
    answers: mpsc::WeakSender<Ask>,
    events: broadcast::Sender<Event>,
    operations: BTreeMap<OperationId, Waiter>,
    /// Those who wait for the first bootstrap; `None` once it has ended.
    waiting: Option<Vec<oneshot::Sender<()>>>,
    closing: Option<oneshot::Sender<()>>,
}

struct Waiter {
    ticket: Ticket,
    found: Option<mpsc::Sender<Found>>,
    done: oneshot::Sender<Outcome>,
}

/// What there is to do after a pass.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Idle,
    Busy,
}

impl Driver {
    pub(super) fn new(
        machine: Mainline,
        (clock, seats): (Clock, Seats),
        asks: mpsc::Receiver<Ask>,
        answers: mpsc::WeakSender<Ask>,
        events: broadcast::Sender<Event>,
    ) -> Self {
        let (operations, waiting, closing) = (BTreeMap::new(), Some(Vec::new()), None);
        Self { machine, clock, seats, asks, answers, events, operations, waiting, closing }
    }

    /// Runs the node until it is shut down, or nobody holds a handle to it any more.
    pub(super) async fn run(mut self) {
        let mut timer = pin!(time::sleep(Duration::ZERO));
        let mut armed = None;
        loop {
            for _ in 0..ASKS_MAX {
                match self.asks.try_recv() {
                    Ok(ask) => self.handle(ask),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            if let Some(closing) = self.closing.take() {
                return closing.send(()).unwrap_or_default();
            }
            if self.pass() == Pass::Busy {
                tokio::task::yield_now().await;
                continue;
            }
            let deadline = self.machine.poll_timeout();
            if armed != Some(deadline) {
                timer.as_mut().reset(time::Instant::now() + self.clock.until(deadline));
                armed = Some(deadline);
            }
            tokio::select! {
                biased;
                ask = self.asks.recv() => match ask {
                    Some(ask) => self.handle(ask),
                    None => return,
                },
                () = &mut timer => armed = None,
                () = self.seats.ready() => {}
            }
        }
    }

    /// Does what there is to do without waiting: our own timers and sends first, then what strangers sent.
    fn pass(&mut self) -> Pass {
        SCRATCH.with_borrow_mut(|scratch| {
            let now = self.clock.now();
            if self.machine.poll_timeout() <= now {
                self.machine.handle_timeout(now);
            }
            self.seats.send_kept();
            self.flush(scratch);
            let mut batches = 0;
            for at in 0..self.seats.seats.len() {
                while let Some(seat) = &mut self.seats.seats[at] {
                    let batch = seat.socket.receive(&mut scratch.inbox);
                    if batch.taken == 0 {
                        break;
                    }
                    let now = self.clock.now();
                    for (from, bytes) in scratch.inbox.datagrams() {
                        self.machine.handle_datagram(now, from, bytes);
                    }
                    self.flush(scratch);
                    batches += 1;
                    if batch.taken < BATCH {
                        break;
                    }
                    if batches >= BATCHES_PER_PASS {
                        return Pass::Busy;
                    }
                }
            }
            Pass::Idle
        })
    }

    fn flush(&mut self, scratch: &mut Scratch<DATAGRAM_MAX>) {
        while let Some(host) = self.machine.poll_resolve() {
            self.resolve(host);
        }
        while let Some(event) = self.machine.poll_event() {
            self.tell(event);
        }
        while !self.seats.is_blocked() {
            let slots = scratch.outbox.fill(|buf| self.machine.poll_transmit(buf));
            if slots.is_empty() {
                break;
            }
            self.seats.send(slots);
        }
    }

    fn resolve(&self, host: String) {
        let answers = self.answers.clone();
        tokio::spawn(async move {
            let found = time::timeout(RESOLVE_MAX, tokio::net::lookup_host((host.as_str(), 0))).await;
            let addresses =
                found.ok().and_then(Result::ok).into_iter().flatten().map(|addr| addr.ip()).collect();
            if let Some(asks) = answers.upgrade() {
                // The node may have ended meanwhile.
                asks.send(Ask::Resolved(host, addresses)).await.unwrap_or_default();
            }
        });
    }

    fn handle(&mut self, ask: Ask) {
        let now = self.clock.now();
        match ask {
            Ask::Start { ticket, task, found, done } => {
                let operation = self.machine.start(now, *task);
                self.operations.insert(operation, Waiter { ticket, found, done });
            }
            Ask::Cancel(ticket) => {
                let found = self.operations.iter().find(|(_, waiter)| waiter.ticket == ticket);
                if let Some(operation) = found.map(|(operation, _)| *operation) {
                    self.operations.remove(&operation);
                    self.machine.cancel(operation);
                }
            }
            Ask::Announce(info_hash, port) => self.machine.announce(now, info_hash, port),
            Ask::Leave(info_hash) => self.machine.leave(info_hash),
            Ask::WhenReady(done) => match &mut self.waiting {
                Some(waiting) => waiting.push(done),
                None => done.send(()).unwrap_or_default(),
            },
            Ask::Snapshot(done) => drop(done.send(Box::new(self.machine.snapshot(now)))),
            Ask::Nodes(done) => done.send(self.machine.nodes().collect()).unwrap_or_default(),
            Ask::Shutdown(done) => self.closing = Some(done),
            Ask::Resolved(host, addresses) => self.machine.handle_resolved(now, &host, &addresses),
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "events that are nobody's operation concern everybody"
    )]
    fn tell(&mut self, event: Event) {
        match event {
            Event::Peers { operation, from, peers } => {
                let found = self.operations.get(&operation).and_then(|waiter| waiter.found.as_ref());
                for peer in peers {
                    if found.is_some_and(|found| found.try_send(Found { peer, from }).is_err()) {
                        tracing::debug!(%peer, "nobody reads what a look-up finds");
                    }
                }
            }
            Event::Finished { operation, outcome } => {
                if let Some(waiter) = self.operations.remove(&operation) {
                    drop(waiter.done.send(outcome));
                }
            }
            other => {
                if matches!(other, Event::Bootstrapped) {
                    for waiting in self.waiting.take().into_iter().flatten() {
                        waiting.send(()).unwrap_or_default();
                    }
                }
                // There may be no reader.
                self.events.send(other).unwrap_or_default();
            }
        }
    }
}
