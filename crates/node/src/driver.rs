mod links;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::swarm::{LinkError, LinkId, RELAYS_TOPIC, RelayNews, Swarm};
use dht::{Command, OperationId, Outcome, PublicKey};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};
use tokio::time;
use wire::{Id, SocketId};

use crate::ask::{ASKS_MAX, Ask, Left, Reply, Tell, Ticket};
use crate::batch::{BATCH, Scratch};
use crate::clock::Clock;
use crate::events::{Event, Events};
use crate::interfaces::Interfaces;
use crate::snapshot::{Snapshot, Surroundings};
use crate::sockets::Sockets;
pub(crate) use links::BACKLOG_MAX;
use links::Links;

/// Batches read before the other tasks of the thread, and our own asks and timers, have a turn.
const BATCHES_PER_PASS: usize = 8;
/// A name that is not resolved within this counts as unresolvable.
const RESOLVE_MAX: Duration = Duration::from_secs(10);
/// How long a shutdown waits for the nodes that store our announcements.
const SHUTDOWN_MAX: Duration = Duration::from_millis(1500);
/// Between attempts to open a socket that could not be bound, after a sleep for instance.
const REOPEN: Duration = Duration::from_secs(1);
/// Peers counted as found; the set costs 32 bytes each.
const PEERS_FOUND_MAX: usize = 1024;

/// The one task that owns a node.
pub(crate) struct Driver {
    swarm: Swarm,
    clock: Clock,
    sockets: Sockets,
    /// Sockets that the machine wants and the system refused.
    unopened: Vec<(SocketId, dht::Ports)>,
    asks: mpsc::Receiver<Ask>,
    /// For the small tasks that answer the machine's commands.
    answers: mpsc::WeakSender<Ask>,
    operations: BTreeMap<OperationId, Waiter>,
    ready: Ready,
    events: Arc<Events>,
    interfaces: Interfaces,
    topics: BTreeSet<Id<32>>,
    keys: BTreeSet<PublicKey>,
    peers_found: BTreeSet<PublicKey>,
    links: Links,
    closing: Option<Closing>,
}

/// Who waits for an operation to end.
enum Waiter {
    Handle {
        ticket: Option<Ticket>,
        tell: Tell,
    },
    /// The shutdown, for a topic or a key to be gone.
    Shutdown(Option<Id<32>>),
}

enum Ready {
    Waiting(Vec<oneshot::Sender<()>>),
    Reached,
}

/// A shutdown that waits for unannouncements.
struct Closing {
    deadline: Instant,
    left: Vec<Left>,
    done: oneshot::Sender<Vec<Left>>,
}

/// What there is to do after a pass.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Idle,
    Busy,
}

/// Whether anybody still wants the node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Handles {
    Held,
    Gone,
}

impl Driver {
    pub(crate) fn new(
        swarm: Swarm,
        clock: Clock,
        asks: mpsc::Receiver<Ask>,
        answers: mpsc::WeakSender<Ask>,
        events: Arc<Events>,
    ) -> Self {
        Self {
            swarm,
            clock,
            sockets: Sockets::default(),
            unopened: Vec::new(),
            asks,
            answers,
            operations: BTreeMap::new(),
            ready: Ready::Waiting(Vec::new()),
            events,
            interfaces: Interfaces::default(),
            topics: BTreeSet::new(),
            keys: BTreeSet::new(),
            peers_found: BTreeSet::new(),
            links: Links::default(),
            closing: None,
        }
    }

    /// Opens the sockets that the machine asks for at its birth.
    pub(crate) fn open(&mut self) -> Result<(), (dht::Ports, std::io::Error)> {
        while let Some(command) = self.swarm.poll_command() {
            if let Command::Open { socket, ports } = &command
                && let Err(error) = self.open_one(*socket, ports)
            {
                return Err((ports.clone(), error));
            }
            if !matches!(command, Command::Open { .. }) {
                self.obey(command);
            }
        }
        Ok(())
    }

    pub(crate) fn sockets(&self) -> &Sockets {
        &self.sockets
    }

    /// Runs the node until it is shut down, or nobody holds a handle to it any more.
    pub(crate) async fn run(mut self) {
        let mut timer = pin!(time::sleep(Duration::ZERO));
        let mut armed = None;
        loop {
            let handles = self.handle_waiting();
            let pass = self.pass();
            if handles == Handles::Gone || self.is_closed() {
                break;
            }
            if pass == Pass::Busy {
                tokio::task::yield_now().await;
                continue;
            }
            let deadline = self.deadline();
            if armed != deadline
                && let Some(at) = deadline
            {
                timer.as_mut().reset(time::Instant::now() + self.clock.until(at));
                armed = deadline;
            }
            tokio::select! {
                biased;
                ask = self.asks.recv() => match ask {
                    Some(ask) => self.handle(ask),
                    None => break,
                },
                () = &mut timer, if deadline.is_some() => armed = None,
                () = self.links.bell.heard() => {}
                () = self.sockets.ready() => {}
            }
        }
        self.close();
    }

    /// Does what was asked for while we were busy.
    fn handle_waiting(&mut self) -> Handles {
        for _ in 0..ASKS_MAX {
            match self.asks.try_recv() {
                Ok(ask) => self.handle(ask),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Handles::Gone,
            }
        }
        Handles::Held
    }

    /// Does what there is to do without waiting: our own timers and sends first, then what strangers sent.
    fn pass(&mut self) -> Pass {
        Scratch::with(|scratch| {
            let now = self.clock.now();
            if self.swarm.poll_timeout().is_some_and(|at| at <= now) {
                self.swarm.handle_timeout(now);
            }
            self.reopen();
            self.links.serve_ringing(now, &mut self.swarm);
            self.sockets.send_kept();
            self.flush(scratch);
            let mut batches = 0;
            let mut next = self.sockets.after(None);
            while let Some(id) = next {
                next = self.sockets.after(Some(id));
                loop {
                    let batch = self.sockets.receive(id, &mut scratch.inbox);
                    if batch.taken == 0 {
                        break;
                    }
                    let now = self.clock.now();
                    for (from, bytes) in scratch.inbox.datagrams() {
                        self.swarm.handle_datagram(now, from, id, bytes);
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

    fn flush(&mut self, scratch: &mut Scratch) {
        while let Some(command) = self.swarm.poll_command() {
            self.obey(command);
        }
        let now = self.clock.now();
        while let Some(event) = self.swarm.poll_event() {
            self.handle_event(now, event);
        }
        while !self.sockets.is_blocked() {
            let slots = scratch.outbox.fill(|buf| self.swarm.poll_transmit(now, buf));
            if slots.is_empty() {
                break;
            }
            self.sockets.send(slots);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let reopen = (!self.unopened.is_empty()).then(|| self.clock.now() + REOPEN);
        let closing = self.closing.as_ref().map(|closing| closing.deadline);
        [self.swarm.poll_timeout(), reopen, closing].into_iter().flatten().min()
    }

    fn is_closed(&self) -> bool {
        let waits = self.operations.values().any(|waiter| matches!(waiter, Waiter::Shutdown(_)))
            || self.swarm.circles().next().is_some();
        self.closing.as_ref().is_some_and(|closing| !waits || closing.deadline <= self.clock.now())
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Open { socket, ports } if socket > SocketId::CLIENT => {
                if let Err(error) = self.open_one(socket, &ports) {
                    tracing::debug!(%error, "cannot open a socket for a hole punch");
                    self.swarm.handle_refused(self.clock.now(), socket);
                }
            }
            Command::Open { socket, ports } => {
                if let Err(error) = self.open_one(socket, &ports) {
                    tracing::warn!(%error, host = %ports.host, "cannot open a socket; will try again");
                    self.unopened.push((socket, ports));
                }
            }
            Command::Close(socket) => {
                self.unopened.retain(|(id, _)| *id != socket);
                self.sockets.close(socket);
            }
            Command::Resolve { host } => self.resolve(host),
            other => unreachable!("a machine of this version does not ask for {other:?}"),
        }
    }

    fn open_one(&mut self, socket: SocketId, ports: &dht::Ports) -> std::io::Result<()> {
        let local = self.sockets.open(socket, ports)?;
        self.swarm.handle_opened(self.clock.now(), socket, local);
        Ok(())
    }

    fn reopen(&mut self) {
        for (socket, ports) in std::mem::take(&mut self.unopened) {
            if self.open_one(socket, &ports).is_err() {
                self.unopened.push((socket, ports));
            }
        }
    }

    fn resolve(&self, host: String) {
        let answers = self.answers.clone();
        tokio::spawn(async move {
            let addresses = ipv4_addresses(&host).await;
            if let Some(asks) = answers.upgrade() {
                // The node may have ended meanwhile.
                asks.send(Ask::Resolved { host, addresses }).await.unwrap_or_default();
            }
        });
    }

    fn handle(&mut self, ask: Ask) {
        let now = self.clock.now();
        match ask {
            Ask::Start { ticket, task, tell } => {
                let operation = self.swarm.start(now, *task);
                self.operations.insert(operation, Waiter::Handle { ticket: Some(ticket), tell });
            }
            Ask::CancelDials => {
                for dial in self.links.take_forsaken() {
                    self.swarm.cancel_dial(now, dial);
                }
            }
            Ask::Cancel(ticket) => self.cancel(now, ticket),
            Ask::Announce { topic, key } => {
                self.topics.insert(topic);
                self.swarm.with_hyper(now, |hyper| hyper.announce(now, topic, *key));
            }
            Ask::Leave { topic, done } => {
                self.topics.remove(&topic);
                let operation = self.swarm.with_hyper(now, |hyper| hyper.leave(now, topic));
                self.wait(operation, done);
            }
            Ask::Dial { key, identity, options, done } => {
                let dial = self.swarm.dial(now, key, &identity, *options);
                self.links.wait(dial, done);
            }
            Ask::Serve { identity, options, accepted } => {
                let key = identity.public_key();
                self.keys.insert(key);
                self.links.listen(key, accepted);
                self.swarm.listen(now, identity, options);
            }
            Ask::HostRelay { identity, options, news } => {
                let key = identity.public_key();
                self.keys.insert(key);
                self.links.host_relay(key, news);
                self.swarm.host_relay(now, identity, *options);
            }
            Ask::Visits { key, asked } => self.links.judge(key, asked),
            ask @ (Ask::Gather { .. } | Ask::Join { .. } | Ask::Flush { .. } | Ask::Disperse { .. }) => {
                self.handle_swarm(now, ask);
            }
            Ask::WithSwarm(act) => act(&mut self.swarm, now),
            Ask::Listen(key) => {
                self.keys.insert(key.public_key());
                self.swarm.with_hyper(now, |hyper| hyper.listen(now, *key));
            }
            Ask::Unlisten { key, done } => {
                self.keys.remove(&key);
                self.links.unlisten(&key);
                let operation = self.swarm.unlisten(now, key);
                self.wait(operation, done);
            }
            Ask::WhenReady(done) => match &mut self.ready {
                Ready::Waiting(waiting) => waiting.push(done),
                Ready::Reached => tell(done, ()),
            },
            Ask::Snapshot(done) => tell(done, Box::new(self.snapshot(now))),
            Ask::Nodes(done) => tell(done, self.swarm.hyper().nodes().collect()),
            Ask::Contacts(done) => tell(done, self.sockets.contacts().list()),
            Ask::Suspend => {
                self.swarm.part(now);
                // Peers learn of it by what leaves before the sockets close.
                Scratch::with(|scratch| self.flush(scratch));
                self.swarm.suspend(now);
            }
            Ask::Resume => self.swarm.resume(now),
            Ask::Shutdown(done) => self.shut_down(now, done),
            Ask::Interfaces(interfaces) => {
                self.interfaces = interfaces;
                self.swarm.handle_interfaces(self.interfaces.addresses().collect());
                self.swarm.handle_network_change(now);
                self.events.send(Event::NetworkChanged);
            }
            Ask::Resolved { host, addresses } => self.swarm.handle_resolved(now, &host, &addresses),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the caller sends no other")]
    fn handle_swarm(&mut self, now: Instant, ask: Ask) {
        match ask {
            Ask::Gather { identity, options, meetings } => {
                self.links.gather(identity.public_key(), meetings);
                self.swarm.gather(&identity, *options);
            }
            Ask::Join { local, topic, role, done } => {
                tell(done, self.swarm.join(now, (local, topic), role, None));
            }
            Ask::Flush { local, done } => self.links.wait_for_flush(self.swarm.flush(now, local), done),
            Ask::Disperse { local, done } => {
                self.links.wait_for_end(local, done);
                self.swarm.disperse(now, local);
            }
            _ => {}
        }
    }

    /// Remembers the addresses of the computer as they are at the start.
    pub(crate) fn note_interfaces(&mut self, interfaces: Interfaces) {
        self.swarm.handle_interfaces(interfaces.addresses().collect());
        self.interfaces = interfaces;
    }

    fn wait(&mut self, operation: Option<OperationId>, done: oneshot::Sender<Outcome>) {
        if let Some(operation) = operation {
            let tell = Tell { replies: None, done };
            self.operations.insert(operation, Waiter::Handle { ticket: None, tell });
        }
    }

    fn cancel(&mut self, now: Instant, ticket: Ticket) {
        let held = |waiter: &Waiter| matches!(waiter, Waiter::Handle { ticket: Some(t), .. } if *t == ticket);
        let found = self.operations.iter().find(|(_, waiter)| held(waiter)).map(|(operation, _)| *operation);
        if let Some(operation) = found {
            self.operations.remove(&operation);
            self.swarm.with_hyper(now, |hyper| hyper.cancel(now, operation));
        }
    }

    fn shut_down(&mut self, now: Instant, done: oneshot::Sender<Vec<Left>>) {
        for topic in std::mem::take(&mut self.topics) {
            if let Some(operation) = self.swarm.with_hyper(now, |hyper| hyper.leave(now, topic)) {
                self.operations.insert(operation, Waiter::Shutdown(Some(topic)));
            }
        }
        for key in std::mem::take(&mut self.keys) {
            if let Some(operation) = self.swarm.unlisten(now, key) {
                self.operations.insert(operation, Waiter::Shutdown(None));
            }
        }
        let circles: Vec<PublicKey> = self.swarm.circles().map(|(key, _)| key).collect();
        for key in circles {
            self.swarm.disperse(now, key);
        }
        self.swarm.close_links(now);
        self.closing = Some(Closing { deadline: now + SHUTDOWN_MAX, left: Vec::new(), done });
    }

    /// Reports to whoever shut the node down, with the topics for which time ran out.
    fn close(mut self) {
        self.links.close_all();
        let Some(mut closing) = self.closing else { return };
        for waiter in self.operations.into_values() {
            if let Waiter::Shutdown(Some(topic)) = waiter {
                closing.left.push(Left { topic, removed: None });
            }
        }
        tell(closing.done, closing.left);
    }

    fn handle_event(&mut self, now: Instant, event: ::swarm::Event) {
        match event {
            ::swarm::Event::Dht(event) => self.tell(event),
            ::swarm::Event::Dialled { dial, opened } => {
                self.events.send(Event::Connected(opened));
                self.links.dialled(dial, opened);
            }
            ::swarm::Event::DialFailed { dial, remote, error } => {
                self.links.dial_failed(dial, error);
                self.events.send(Event::DialFailed { remote, error });
            }
            ::swarm::Event::Asked(visitor) => self.links.asked(now, &mut self.swarm, visitor),
            ::swarm::Event::Accepted(opened) => {
                self.events.send(Event::Connected(opened));
                self.links.accepted(opened);
            }
            ::swarm::Event::Met { opened, topics } => {
                self.events.send(Event::Connected(opened));
                self.links.met(opened, topics);
                // It became readable before there was a handle to read into, and says so only once.
                self.links.read(now, &mut self.swarm, opened.link);
            }
            ::swarm::Event::Flushed { flush, outcome, .. } => self.links.flushed(flush, outcome),
            ::swarm::Event::Dispersed(local) => self.links.dispersed(&local),
            ::swarm::Event::Readable(link) => self.links.read(now, &mut self.swarm, link),
            ::swarm::Event::Writable(link) => self.links.write(now, &mut self.swarm, link),
            ::swarm::Event::Closed { link, remote, why } => self.handle_closed(link, remote, why),
            ::swarm::Event::PeerFound { topic, remote, .. } => {
                self.note_found(remote);
                self.events.send(Event::PeerFound { topic, remote });
            }
            ::swarm::Event::Stalled(link) => self.events.send(Event::Stalled(link)),
            ::swarm::Event::Revived(link) => self.events.send(Event::Revived(link)),
            ::swarm::Event::Rerouted { link, course } => {
                self.links.rerouted(link, course);
                self.events.send(Event::Rerouted { link, route: course.route });
            }
            ::swarm::Event::Relay { relay, news } => {
                if news == RelayNews::Announced {
                    self.topics.insert(RELAYS_TOPIC);
                }
                self.links.tell_relay(&relay, news);
            }
            _ => {}
        }
    }

    /// Of a connection that nobody was told of, nobody is told the end.
    fn handle_closed(&mut self, link: LinkId, remote: PublicKey, why: LinkError) {
        if self.links.closed(link, why) {
            self.events.send(Event::Disconnected { link, remote, why });
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "events that are nobody's operation concern everybody"
    )]
    fn tell(&mut self, event: dht::Event) {
        match event {
            dht::Event::Peers { operation, from, peers, .. } => self.tell_peers(operation, from, peers),
            dht::Event::Finished { operation, outcome } => {
                match (self.operations.remove(&operation), &mut self.closing, &outcome) {
                    (Some(Waiter::Handle { tell: waiting, .. }), _, _) => tell(waiting.done, outcome),
                    (Some(Waiter::Shutdown(Some(topic))), Some(closing), Outcome::Stored { stored, .. }) => {
                        closing.left.push(Left { topic, removed: Some(*stored) });
                    }
                    (Some(Waiter::Shutdown(_)) | None, _, _) => {}
                }
            }
            event => self.tell_everybody(&event),
        }
    }

    fn tell_everybody(&mut self, event: &dht::Event) {
        if matches!(event, dht::Event::Ready)
            && let Ready::Waiting(waiting) = std::mem::replace(&mut self.ready, Ready::Reached)
        {
            for done in waiting {
                tell(done, ());
            }
        }
        if let Some(event) = Event::new(event, &self.sockets) {
            self.events.send(event);
        }
    }

    fn note_found(&mut self, key: PublicKey) {
        if self.peers_found.len() < PEERS_FOUND_MAX {
            self.peers_found.insert(key);
        }
    }

    fn tell_peers(&mut self, operation: OperationId, from: std::net::SocketAddrV4, peers: Vec<dht::Peer>) {
        for peer in &peers {
            self.note_found(peer.public_key);
        }
        if let Some(Waiter::Handle { tell, .. }) = self.operations.get(&operation)
            && let Some(replies) = &tell.replies
            && replies.try_send(Reply { from, peers }).is_err()
        {
            self.events.count_missed();
        }
    }

    fn snapshot(&self, now: Instant) -> Snapshot {
        let around = Surroundings {
            clock: self.clock,
            sockets: self.sockets.states(),
            interfaces: self.interfaces.addresses().collect(),
            peers_found: self.peers_found.len(),
            events_missed: self.events.missed(),
            contacted: self.sockets.contacts().counts(),
            now,
            survey: self.swarm.survey(),
            held: self.links.held(),
        };
        Snapshot::new(&self.swarm.hyper().snapshot(now), around)
    }
}

/// Whoever asked may have stopped waiting, which is no error.
pub(crate) fn tell<T>(done: oneshot::Sender<T>, value: T) {
    drop(done.send(value));
}

/// Asks the name service; no answer is no address.
async fn ipv4_addresses(host: &str) -> Vec<Ipv4Addr> {
    match time::timeout(RESOLVE_MAX, tokio::net::lookup_host((host, 0))).await {
        Ok(Ok(found)) => found.filter_map(|address| ipv4(address.ip())).collect(),
        Ok(Err(error)) => {
            tracing::debug!(%error, host, "the name service failed");
            Vec::new()
        }
        Err(_) => {
            tracing::debug!(host, "the name service is slow");
            Vec::new()
        }
    }
}

fn ipv4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}
