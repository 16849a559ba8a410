mod host;
mod queue;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use dht::{AnyPort, Command, Config, Event, Hyper, Ports, UnixMillis};
use rand::RngExt as _;
use rand::rngs::StdRng;

use crate::chance::{Branch, Chance};
use crate::net::{Cable, Flight, HostId, Lost, Net, Path, Realm};
use crate::report::{Failure, Report, Traffic, Why};
use crate::trace::{Record, Sample, Step, Trace};

pub use host::{Heard, Said, Script};
use host::{Host, Resident};
use queue::{Due, Queue};

/// How often [`World::run_until`] looks at its condition when no machine raises an event.
const LOOK: Duration = Duration::from_millis(100);
/// Events kept for [`World::take_events`]; above it the oldest are forgotten.
const EVENTS_MAX: usize = 1 << 20;
/// A machine may ask this often in a row for a deadline that has passed.
const SPINS_MAX: u8 = 16;
/// What a name lookup takes.
const RESOLVE: Duration = Duration::from_millis(30);
/// The wall clock when a world begins: 1 January 2026.
const BIRTH_MS: u64 = 1_767_225_600_000;

/// Hosts, the network between them, and the time.
pub struct World {
    seed: u64,
    epoch: Instant,
    now: Duration,
    net: Net,
    hosts: Vec<Host>,
    queue: Queue,
    names: BTreeMap<String, Vec<Ipv4Addr>>,
    trace: Trace,
    traffic: Traffic,
    steps: u64,
    events: VecDeque<Raised>,
    raised: u64,
    rule: Option<Rule>,
    why: Option<Why>,
    chance: Chance,
    ports: StdRng,
    born: u32,
    buf: Vec<u8>,
}

/// An event that a machine raised.
#[derive(Clone, Debug)]
pub struct Raised {
    /// When.
    pub at: Duration,
    /// By whom.
    pub host: HostId,
    /// What.
    pub event: Event,
}

/// A safety property: looked at after each step, for the host that the step was about.
///
/// # Errors
///
/// Says what is wrong.
// tidy-expect(string-error): a broken rule is told to a person and never handled.
pub type Rule = Box<dyn FnMut(&World, HostId) -> Result<(), &'static str>>;

impl World {
    /// Creates an empty world.
    #[must_use]
    pub fn new(seed: u64, path: Path) -> Self {
        let chance = Chance(seed);
        Self {
            seed,
            epoch: Instant::now(),
            now: Duration::ZERO,
            net: Net::new(seed, path),
            hosts: Vec::new(),
            queue: Queue::default(),
            names: BTreeMap::new(),
            trace: Trace::default(),
            traffic: Traffic::default(),
            steps: 0,
            events: VecDeque::new(),
            raised: 0,
            rule: None,
            why: None,
            chance,
            ports: chance.generator(Branch::Ports),
            born: 0,
            buf: Vec::new(),
        }
    }

    /// Returns the virtual time since the world began.
    #[must_use]
    pub const fn now(&self) -> Duration {
        self.now
    }

    /// Returns the virtual time as the machines are told it.
    #[must_use]
    pub fn instant(&self) -> Instant {
        self.epoch + self.now
    }

    /// Returns the network.
    #[must_use]
    pub const fn net(&self) -> &Net {
        &self.net
    }

    /// Returns the network, to change it.
    pub const fn net_mut(&mut self) -> &mut Net {
        &mut self.net
    }

    /// Returns a generator for what a test does at random.
    #[must_use]
    pub fn workload(&self) -> StdRng {
        self.chance.generator(Branch::Workload)
    }

    /// Lets every host resolve `name`.
    pub fn name(&mut self, name: &str, addresses: Vec<Ipv4Addr>) {
        self.names.insert(name.into(), addresses);
    }

    /// Looks at `rule` after each step.
    pub fn set_rule(&mut self, rule: Rule) {
        self.rule = Some(rule);
    }

    /// Adds a host on which nothing runs yet.
    pub fn add_host(&mut self, realm: Realm) -> HostId {
        let id = self.net.add_host(realm);
        self.hosts.push(Host::default());
        id
    }

    /// Adds a host and starts a node on it.
    pub fn add_node(&mut self, realm: Realm, config: Config) -> HostId {
        let host = self.add_host(realm);
        self.start(host, config);
        host
    }

    /// Adds a host on which `script` answers whatever arrives, at every port.
    pub fn add_script(&mut self, realm: Realm, script: Script) -> HostId {
        let host = self.add_host(realm);
        self.hosts[host.0 as usize].resident = Resident::Script(script);
        host
    }

    /// Starts a new node on a host, in place of what ran there.
    pub fn start(&mut self, host: HostId, config: Config) {
        let wall_clock = BIRTH_MS + u64::try_from(self.now.as_millis()).unwrap_or(u64::MAX - BIRTH_MS);
        let config = Config { wall_clock: UnixMillis(wall_clock), ..config };
        let mut seed = [0; 32];
        self.chance.generator(Branch::Machine(self.born)).fill(&mut seed);
        self.born += 1;
        let machine = Hyper::new(config, seed, self.instant());
        self.hosts[host.0 as usize] = Host { resident: Resident::Node(Box::new(machine)), ..Host::default() };
        self.note(host, Step::Started);
        self.settle(host);
    }

    /// Ends what runs on a host, without a word to others.
    pub fn kill(&mut self, host: HostId) {
        self.hosts[host.0 as usize] = Host::default();
        self.note(host, Step::Killed);
    }

    /// Suspends a host: it gets nothing, and its machine is not told that time passes.
    pub fn sleep(&mut self, host: HostId) {
        self.net.set_cable(host, Cable::Down);
        self.hosts[host.0 as usize].asleep = true;
        self.note(host, Step::Slept);
    }

    /// Lets a suspended host go on; its clock jumps.
    pub fn wake(&mut self, host: HostId) {
        self.net.set_cable(host, Cable::Up);
        self.hosts[host.0 as usize].asleep = false;
        self.note(host, Step::Woke);
        self.time_out(host);
    }

    /// Tells a host's machine that its interfaces changed.
    pub fn change_network(&mut self, host: HostId) {
        self.note(host, Step::NetworkChanged);
        self.call(host, Hyper::handle_network_change);
    }

    /// Returns a host's machine, if one runs there.
    #[must_use]
    pub fn node(&self, host: HostId) -> Option<&Hyper> {
        match &self.hosts[host.0 as usize].resident {
            Resident::Node(node) => Some(node),
            Resident::Script(_) | Resident::Nobody => None,
        }
    }

    /// Tells whether a host is suspended.
    #[must_use]
    pub fn is_asleep(&self, host: HostId) -> bool {
        self.hosts[host.0 as usize].asleep
    }

    /// Returns the hosts on which a machine runs, awake.
    pub fn nodes(&self) -> impl Iterator<Item = (HostId, &Hyper)> {
        (0..).map(HostId).zip(&self.hosts).filter_map(|(id, host)| match &host.resident {
            Resident::Node(node) if !host.asleep => Some((id, &**node)),
            Resident::Node(_) | Resident::Script(_) | Resident::Nobody => None,
        })
    }

    /// Calls a host's machine and drains it.
    ///
    /// # Panics
    ///
    /// If no machine runs on that host.
    pub fn call<T>(&mut self, host: HostId, verb: impl FnOnce(&mut Hyper, Instant) -> T) -> T {
        let now = self.instant();
        let result = verb(self.node_mut(host).expect("the caller started a node on that host"), now);
        self.note(host, Step::Called);
        self.settle(host);
        result
    }

    /// Sends a datagram from a host's port, under a false source if one is given.
    pub fn send(&mut self, host: HostId, said: Said) {
        self.transmit(host, said, None);
    }

    /// Returns the events that machines raised since it was last asked.
    pub fn take_events(&mut self) -> VecDeque<Raised> {
        std::mem::take(&mut self.events)
    }

    /// Returns the events that nobody took yet.
    #[must_use]
    pub const fn events(&self) -> &VecDeque<Raised> {
        &self.events
    }

    /// Returns what happened so far.
    #[must_use]
    pub fn report(&self) -> Report {
        Report {
            now: self.now,
            steps: self.steps,
            traffic: self.traffic.clone(),
            digest: self.trace.digest(),
        }
    }

    /// Counts the things that happened so far.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// Lets time pass until `done`, which is looked at whenever a machine raises an event and every 100 ms.
    ///
    /// # Errors
    ///
    /// Fails when that did not happen within `limit`, and when a rule is broken.
    pub fn run_until(
        &mut self,
        limit: Duration,
        mut done: impl FnMut(&Self) -> bool,
    ) -> Result<Report, Failure> {
        let end = self.now + limit;
        loop {
            if done(self) {
                return Ok(self.report());
            }
            if self.now >= end {
                return Err(self.failure(Why::Limit));
            }
            self.advance(end.min(self.now + LOOK), Pause::AtEvents)?;
        }
    }

    /// Lets `span` pass.
    ///
    /// # Errors
    ///
    /// Fails when a rule is broken.
    pub fn run_for(&mut self, span: Duration) -> Result<Report, Failure> {
        self.advance(self.now + span, Pause::Never)?;
        Ok(self.report())
    }

    /// Makes a failure of this run.
    #[must_use]
    pub fn failure(&self, why: Why) -> Failure {
        Failure { seed: self.seed, at: self.now, why, tail: self.trace.tail() }
    }

    fn node_mut(&mut self, host: HostId) -> Option<&mut Hyper> {
        match &mut self.hosts[host.0 as usize].resident {
            Resident::Node(node) => Some(node),
            Resident::Script(_) | Resident::Nobody => None,
        }
    }

    fn advance(&mut self, end: Duration, pause: Pause) -> Result<(), Failure> {
        let raised = self.raised;
        while let Some((at, due)) = self.queue.pop_until(end) {
            debug_assert!(at >= self.now, "time only goes forward");
            self.now = at;
            self.steps += 1;
            if let Some(host) = self.step(due) {
                self.look(host)?;
            }
            if self.raised > raised && pause == Pause::AtEvents {
                return Ok(());
            }
        }
        self.now = end;
        Ok(())
    }

    fn step(&mut self, due: Due) -> Option<HostId> {
        match due {
            Due::Arrival(flight, bytes) => self.arrive(&flight, &bytes),
            Due::Speech(host, said) => {
                self.transmit(host, *said, None);
                Some(host)
            }
            Due::Resolution(host, name) => {
                let answer = self.names.get(&*name).filter(|_| self.net.cable(host) == Cable::Up);
                let addresses = answer.cloned().unwrap_or_default();
                self.note(host, Step::Resolved(addresses.len()));
                self.node(host)?;
                self.call(host, |node, now| node.handle_resolved(now, &name, &addresses));
                Some(host)
            }
            Due::Deadline(host) => {
                let here = &mut self.hosts[host.0 as usize];
                if here.wake != Some(self.now) {
                    return None;
                }
                here.wake = None;
                if here.asleep {
                    return None;
                }
                self.time_out(host);
                Some(host)
            }
        }
    }

    fn look(&mut self, host: HostId) -> Result<(), Failure> {
        if let Some(mut rule) = self.rule.take() {
            if let Err(what) = rule(self, host) {
                self.why = Some(Why::Broken(host, what));
            }
            self.rule = Some(rule);
        }
        self.why.take().map_or(Ok(()), |why| Err(self.failure(why)))
    }

    fn arrive(&mut self, flight: &Flight, bytes: &[u8]) -> Option<HostId> {
        let arrival = match self.net.arrive(self.now, flight) {
            Ok(arrival) => arrival,
            Err(why) => {
                self.lose(why);
                return None;
            }
        };
        let host = arrival.host;
        let here = &mut self.hosts[host.0 as usize];
        let socket = here.sockets.iter().find(|(_, port)| *port == arrival.port).map(|(socket, _)| *socket);
        let step = |lost| {
            let bytes = Sample::new(bytes);
            let what = Step::Received { from: arrival.from, port: arrival.port, bytes, lost };
            Record { at: self.now, host, what }
        };
        match (&mut here.resident, socket) {
            (Resident::Node(node), Some(socket)) => {
                self.trace.record(step(None), bytes);
                self.traffic.delivered += 1;
                node.handle_datagram(self.epoch + self.now, SocketAddr::V4(arrival.from), socket, bytes);
                self.settle(host);
            }
            (Resident::Script(script), _) => {
                self.trace.record(step(None), bytes);
                self.traffic.delivered += 1;
                let at = SocketAddrV4::new(self.net.address(host), arrival.port);
                for said in script(&Heard { now: self.now, at, from: arrival.from, bytes }) {
                    self.queue.push(self.now + said.after, Due::Speech(host, Box::new(said)));
                }
            }
            (Resident::Node(_), None) | (Resident::Nobody, _) => {
                self.trace.record(step(Some(Lost::Unreachable)), bytes);
                self.lose(Lost::Unreachable);
            }
        }
        Some(host)
    }

    fn time_out(&mut self, host: HostId) {
        let now = self.instant();
        let Some(node) = self.node_mut(host) else { return };
        if node.poll_timeout().is_some_and(|deadline| deadline <= now) {
            node.handle_timeout(now);
            self.note(host, Step::TimedOut);
        }
        self.settle(host);
        let due = self.node(host).and_then(Hyper::poll_timeout).is_some_and(|deadline| deadline <= now);
        let here = &mut self.hosts[host.0 as usize];
        here.spins = if due { here.spins.saturating_add(1) } else { 0 };
        if here.spins > SPINS_MAX {
            self.why = Some(Why::Spinning(host));
        }
    }

    /// Does what a machine wants after it was called: the verbs' contract.
    fn settle(&mut self, host: HostId) {
        let mut commands = VecDeque::new();
        let mut buf = std::mem::take(&mut self.buf);
        while let Some(node) = self.node_mut(host) {
            commands.extend(std::iter::from_fn(|| node.poll_command()));
            if let Some(transmit) = node.poll_transmit(&mut buf) {
                self.dispatch(host, transmit, &buf);
            } else if let Some(event) = node.poll_event() {
                self.raise(host, event);
            } else if let Some(command) = commands.pop_front() {
                self.obey(host, command);
            } else {
                break;
            }
        }
        self.buf = buf;
        self.set_alarm(host);
    }

    fn set_alarm(&mut self, host: HostId) {
        let (epoch, now) = (self.epoch, self.now);
        let here = &mut self.hosts[host.0 as usize];
        let Resident::Node(node) = &here.resident else { return };
        if here.asleep {
            return;
        }
        let Some(deadline) = node.poll_timeout() else { return };
        let deadline = deadline.saturating_duration_since(epoch);
        let deadline = deadline.max(now);
        if here.wake.is_none_or(|wake| deadline < wake) {
            here.wake = Some(deadline);
            self.queue.push(deadline, Due::Deadline(host));
        }
    }

    fn obey(&mut self, host: HostId, command: Command) {
        match command {
            Command::Open { socket, ports } => {
                let Some(port) = self.bind(host, &ports) else {
                    self.why = Some(Why::NoPort(host));
                    return;
                };
                self.hosts[host.0 as usize].sockets.push((socket, port));
                self.note(host, Step::Opened(port));
                let now = self.instant();
                if let Some(node) = self.node_mut(host) {
                    node.handle_opened(now, socket, SocketAddrV4::new(ports.host, port));
                }
            }
            Command::Close(socket) => {
                self.hosts[host.0 as usize].sockets.retain(|(open, _)| *open != socket);
            }
            Command::Resolve { host: name } => {
                self.queue.push(self.now + RESOLVE, Due::Resolution(host, name.into()));
            }
            _ => self.why = Some(Why::Broken(host, "has a command that the world does not know")),
        }
    }

    fn bind(&mut self, host: HostId, ports: &Ports) -> Option<u16> {
        let here = &self.hosts[host.0 as usize];
        let free = |port: &u16| *port != 0 && here.sockets.iter().all(|(_, taken)| taken != port);
        let wanted = ports.candidates.iter().copied().find(free);
        let any = ports.any == AnyPort::Allowed || ports.candidates.iter().all(|port| *port == 0);
        let rng = &mut self.ports;
        wanted.or_else(|| {
            let mut random = std::iter::repeat_with(|| rng.random_range(32_768..=60_999));
            if any { random.find(free) } else { None }
        })
    }

    fn dispatch(&mut self, host: HostId, transmit: wire::Transmit, bytes: &[u8]) {
        let sockets = &self.hosts[host.0 as usize].sockets;
        let port = sockets.iter().find(|(socket, _)| *socket == transmit.from).map(|(_, port)| *port);
        let (Some(port), IpAddr::V4(ip)) = (port, transmit.to.ip()) else {
            self.why =
                Some(Why::Broken(host, "sends from a socket that is not open, or not to an IPv4 address"));
            return;
        };
        let to = SocketAddrV4::new(ip, transmit.to.port());
        let segment = transmit.segment.map_or_else(|| bytes.len().max(1), usize::from);
        if bytes.is_empty() {
            self.transmit(host, Said::new(port, to, Vec::new()), transmit.ttl);
        }
        for datagram in bytes.chunks(segment) {
            self.transmit(host, Said::new(port, to, datagram.into()), transmit.ttl);
        }
    }

    fn transmit(&mut self, host: HostId, said: Said, ttl: Option<u8>) {
        let Said { port, to, spoof, bytes, .. } = said;
        self.traffic.sent += 1;
        self.traffic.sent_bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let sent = match spoof {
            Some(from) => self.net.spoof(self.now, host, from, to),
            None => self.net.send(self.now, (host, port), to, ttl),
        };
        let what = Step::Sent { port, to, bytes: Sample::new(&bytes), lost: sent.err() };
        self.trace.record(Record { at: self.now, host, what }, &bytes);
        match sent {
            Ok(sent) => {
                if let Some(arrives) = sent.copy_arrives {
                    self.traffic.copied += 1;
                    self.queue.push(arrives, Due::Arrival(sent.flight, bytes.clone().into()));
                }
                self.queue.push(sent.flight.arrives, Due::Arrival(sent.flight, bytes.into()));
            }
            Err(why) => self.lose(why),
        }
    }

    fn lose(&mut self, why: Lost) {
        *self.traffic.lost.entry(why).or_default() += 1;
    }

    fn raise(&mut self, host: HostId, event: Event) {
        self.note(host, Step::Raised(format!("{event:?}")));
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
        }
        self.raised += 1;
        self.events.push_back(Raised { at: self.now, host, event });
    }

    fn note(&mut self, host: HostId, what: Step) {
        self.trace.record(Record { at: self.now, host, what }, &[]);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Pause {
    AtEvents,
    Never,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("seed", &self.seed).field("now", &self.now).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
