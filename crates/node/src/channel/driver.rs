use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use dht::KeyPair;
use discovery::{
    Act, Command, Errand, Event, Outcome, Own, Sighting, Source, Sources, Topic, Unicast, UnixMillis, Who,
};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time;
use wire::{Id, SocketId};

use super::{Ask, OpenError, Setup, hyper, mainline};
use crate::clock::Clock;
use crate::entropy;
use crate::interfaces::{self, Interfaces};
use crate::local::Local;
use crate::mainline::Mainline;
use crate::node::Node;
use crate::snapshot::unix_millis;

/// How long farewells may take, as for a node.
const FAREWELL_MAX: Duration = Duration::from_millis(1500);
/// Reports of mechanisms that wait; their tasks wait then.
const REPORTS_MAX: usize = 256;
/// Datagrams of servers read before others have a turn.
const READ_MAX: usize = 64;
/// Bytes of a datagram of a server.
const DATAGRAM_MAX: usize = discovery::DATAGRAM_MAX;

/// The family of an address.
type IsV4 = bool;

/// What a mechanism's task tells.
#[derive(Clone, Copy, Debug)]
pub(super) enum Report {
    Sighting(Sighting),
    Outcome(Command, Outcome),
    /// The address that others see this computer by, as a mechanism has it.
    Public(Source, IpAddr),
}

/// The task that owns the channel's machine, and the machines and sockets of its mechanisms.
pub(super) struct Driver {
    channel: discovery::Channel,
    clock: Clock,
    local: Option<Local>,
    servers: Option<(Unicast, UdpSocket)>,
    hyper: Option<(Node, KeyPair)>,
    mainline: Option<Mainline>,
    /// Announcers of HyperDHT by topic.
    announcers: BTreeMap<Topic, JoinHandle<()>>,
    farewells: Vec<JoinHandle<()>>,
    own: Own,
    /// Public addresses, the last of each mechanism and family.
    public: BTreeMap<(Source, IsV4), IpAddr>,
    reports: (mpsc::Sender<Report>, mpsc::Receiver<Report>),
    events: mpsc::Sender<Event>,
    /// What the reader of the events has had no room for.
    unread: Option<Event>,
}

/// What the task has to do next.
enum Woken {
    Asked(Option<Ask>),
    Told(Report),
    Readable,
    Room,
    Due,
    Around,
}

impl Driver {
    pub(super) async fn open(setup: Setup, events: mpsc::Sender<Event>) -> Result<Self, OpenError> {
        let Setup { manner, hyper, mainline, local, servers } = setup;
        let clock = Clock::start();
        let seed = || entropy::seed().map_err(OpenError::Entropy);
        let local =
            local.map(|scope| Ok::<_, OpenError>(Local::open(scope, seed()?, clock.now()))).transpose()?;
        let servers = if servers.is_empty() {
            None
        } else {
            let host = if servers.iter().all(|server| server.address.ip().is_loopback()) {
                Ipv4Addr::LOCALHOST
            } else {
                Ipv4Addr::UNSPECIFIED
            };
            let socket = UdpSocket::bind((host, 0)).await.map_err(OpenError::Socket)?;
            let wall = (clock.now(), UnixMillis(unix_millis()));
            Some((Unicast::new(SocketId(0), &servers, seed()?, wall), socket))
        };
        let has = [
            (Source::Mdns, local.is_some()),
            (Source::Dns, servers.is_some()),
            (Source::Mainline, mainline.is_some()),
            (Source::Hyper, hyper.is_some()),
        ];
        let available = has.into_iter().filter(|(_, has)| *has).map(|(source, _)| source);
        let available = available.collect::<Sources>().with(Source::Static);
        let keys = hyper.iter().map(|(_, key)| Id(key.public_key().0)).collect();
        let mut driver = Self {
            channel: discovery::Channel::new(manner, available, seed()?),
            clock,
            local,
            servers,
            hyper,
            mainline,
            announcers: BTreeMap::new(),
            farewells: Vec::new(),
            own: Own { keys, ..Own::default() },
            public: BTreeMap::new(),
            reports: mpsc::channel(REPORTS_MAX),
            events,
            unread: None,
        };
        driver.look_around();
        Ok(driver)
    }

    pub(super) async fn run(mut self, mut asks: mpsc::Receiver<Ask>) {
        let mut around = time::interval(interfaces::INTERVAL);
        let ended = loop {
            self.settle();
            let wake = self.wake();
            let woken = tokio::select! {
                ask = asks.recv() => Woken::Asked(ask),
                Some(report) = self.reports.1.recv() => Woken::Told(report),
                () = readable(self.local.as_ref(), self.servers.as_ref()) => Woken::Readable,
                // That there is room, or nobody who reads, is seen by sending.
                room = self.events.reserve(), if self.unread.is_some() => {
                    drop(room);
                    Woken::Room
                }
                () = time::sleep(wake) => Woken::Due,
                _ = around.tick() => Woken::Around,
            };
            match woken {
                Woken::Asked(Some(Ask::Close(done))) => break Some(done),
                Woken::Asked(Some(ask)) => self.take(ask),
                Woken::Asked(None) => break None,
                Woken::Told(report) => self.hear(report),
                Woken::Readable => self.read(),
                Woken::Room => {}
                Woken::Due => self.wake_machines(),
                Woken::Around => self.look_around(),
            }
        };
        self.end(ended).await;
    }

    /// Takes everything back if somebody waits for that.
    async fn end(mut self, ended: Option<oneshot::Sender<()>>) {
        if ended.is_some() {
            self.channel.leave_all();
            self.settle();
        }
        for announcer in self.announcers.values() {
            announcer.abort();
        }
        if let Some(done) = ended {
            let all = async {
                for farewell in self.farewells {
                    // One that panicked has said what it could.
                    drop(farewell.await);
                }
            };
            drop(time::timeout(FAREWELL_MAX, all).await);
            // Whoever closed it may have stopped waiting.
            done.send(()).unwrap_or_default();
        }
    }

    fn take(&mut self, ask: Ask) {
        match ask {
            // Who asked may have stopped waiting.
            Ask::Join(join, done) => {
                done.send(self.channel.join(self.clock.now(), *join)).unwrap_or_default();
            }
            Ask::Leave(topic, None) => self.channel.leave(topic),
            Ask::Leave(topic, Some(port)) => self.channel.leave_port(topic, port),
            // The loop has ended with it.
            Ask::Close(_) => {}
        }
    }

    fn hear(&mut self, report: Report) {
        let now = self.clock.now();
        match report {
            Report::Sighting(sighting) => self.channel.handle_sighting(now, sighting),
            Report::Outcome(command, outcome) => self.channel.handle_outcome(now, command, outcome),
            Report::Public(source, host) => {
                if self.public.insert((source, host.is_ipv4()), host) != Some(host) {
                    self.own.hosts.insert(host);
                    self.channel.handle_own(self.own.clone());
                }
            }
        }
    }

    /// Carries out what the machines want, until none wants anything.
    fn settle(&mut self) {
        let now = self.clock.now();
        loop {
            let mut idle = true;
            while let Some(command) = self.channel.poll_command() {
                idle = false;
                self.carry_out(command);
            }
            while let Some(finding) = self.local.as_mut().and_then(|local| local.multicast.poll_event()) {
                idle = false;
                self.channel.handle_sighting(now, sighting(Source::Mdns, &finding));
            }
            while let Some(event) = self.servers.as_mut().and_then(|(unicast, _)| unicast.poll_event()) {
                idle = false;
                self.hear_servers(&event);
            }
            if idle {
                break;
            }
        }
        if let Some(local) = &mut self.local {
            local.write();
        }
        if let Some((unicast, socket)) = &mut self.servers {
            let mut buf = Vec::new();
            while let Some(transmit) = unicast.poll_transmit(&mut buf) {
                if let Err(error) = socket2::SockRef::from(&*socket).send_to(&buf, &transmit.to.into()) {
                    tracing::debug!(%error, to = %transmit.to, "not sent");
                }
            }
        }
        while let Some(event) = self.unread.take().or_else(|| self.channel.poll_event()) {
            if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
                self.unread = Some(event);
                break;
            }
        }
    }

    fn carry_out(&mut self, command: Command) {
        let now = self.clock.now();
        match command.source {
            Source::Mdns => self.carry_out_locally(command),
            Source::Dns => self.carry_out_by_servers(command),
            Source::Hyper => self.carry_out_on_hyper(command),
            // Addresses were given, and are there.
            Source::Static => self.channel.handle_outcome(now, command, Outcome::Answered),
            Source::Mainline => self.carry_out_on_mainline(command),
        }
    }

    fn carry_out_locally(&mut self, command: Command) {
        let now = self.clock.now();
        let Some(Local { multicast, .. }) = &mut self.local else { return };
        match command.act {
            Act::Join(naming) => multicast.join(now, command.topic, naming),
            Act::Look => multicast.ask(now, command.topic),
            Act::Announce(port) => multicast.announce(command.topic, port),
            Act::Unannounce(port) => multicast.unannounce(command.topic, port),
            Act::Leave => multicast.leave(now, command.topic),
        }
        // Nobody on a link says that there is nobody: to have asked is all there is.
        self.channel.handle_outcome(now, command, Outcome::Answered);
    }

    fn carry_out_by_servers(&mut self, command: Command) {
        let now = self.clock.now();
        let Some((unicast, _)) = &mut self.servers else { return };
        match command.act {
            Act::Join(naming) => unicast.join(now, command.topic, naming),
            Act::Look => unicast.run(now, command.topic, Errand::Look),
            Act::Announce(port) => unicast.run(now, command.topic, Errand::Announce(port)),
            Act::Unannounce(port) => unicast.run(now, command.topic, Errand::Unannounce(port)),
            Act::Leave => unicast.leave(now, command.topic),
        }
    }

    fn hear_servers(&mut self, event: &discovery::DnsEvent) {
        let now = self.clock.now();
        match event {
            discovery::DnsEvent::Found(finding) => {
                self.channel.handle_sighting(now, sighting(Source::Dns, finding));
            }
            discovery::DnsEvent::Ended { topic, errand, outcome } => {
                let act = match errand {
                    Errand::Look => Act::Look,
                    Errand::Announce(port) => Act::Announce(*port),
                    Errand::Unannounce(port) => Act::Unannounce(*port),
                };
                let command = Command { source: Source::Dns, topic: *topic, act };
                self.channel.handle_outcome(now, command, *outcome);
            }
            discovery::DnsEvent::Seen { host, .. } => self.hear(Report::Public(Source::Dns, (*host).into())),
            _ => {}
        }
    }

    fn carry_out_on_hyper(&mut self, command: Command) {
        let (Some((node, key)), Some(id)) = (&self.hyper, command.topic.hyper()) else { return };
        let (node, reports) = (node.clone(), self.reports.0.clone());
        match command.act {
            Act::Look => drop(tokio::spawn(hyper::look(node, command, id, reports))),
            Act::Announce(_) => {
                let is_announced =
                    self.announcers.get(&command.topic).is_some_and(|task| !task.is_finished());
                if !is_announced {
                    let announcer = hyper::announce(node, key.clone(), (command, id), reports);
                    self.announcers.insert(command.topic, tokio::spawn(announcer));
                }
            }
            Act::Unannounce(_) => {
                if let Some(announcer) = self.announcers.remove(&command.topic) {
                    announcer.abort();
                }
                self.farewells.retain(|farewell| !farewell.is_finished());
                // What cannot be taken back expires.
                self.farewells.push(tokio::spawn(async move { drop(node.leave(id).await) }));
            }
            Act::Join(_) | Act::Leave => {}
        }
    }

    fn carry_out_on_mainline(&self, command: Command) {
        let (Some(node), Some(id)) = (&self.mainline, command.topic.mainline()) else { return };
        let (node, reports) = (node.clone(), self.reports.0.clone());
        match command.act {
            Act::Look => drop(tokio::spawn(mainline::look(node, command, id, reports))),
            Act::Announce(port) => {
                drop(tokio::spawn(mainline::announce(node, command, (id, port), reports)));
            }
            // The network knows no unannouncement: others forget within 45 minutes.
            Act::Join(_) | Act::Unannounce(_) | Act::Leave => {}
        }
    }

    fn read(&mut self) {
        let now = self.clock.now();
        if let Some(local) = &mut self.local {
            local.read(now);
        }
        if let Some((unicast, socket)) = &mut self.servers {
            let mut buf = [0; DATAGRAM_MAX];
            for _ in 0..READ_MAX {
                match socket.try_recv_from(&mut buf) {
                    Ok((len, from)) => unicast.handle_datagram(now, from, buf.get(..len).unwrap_or_default()),
                    Err(_) => break,
                }
            }
        }
    }

    fn wake(&self) -> Duration {
        let local = self.local.as_ref().and_then(|local| local.multicast.poll_timeout());
        let servers = self.servers.as_ref().and_then(|(unicast, _)| unicast.poll_timeout());
        let next = [self.channel.poll_timeout(), local, servers].into_iter().flatten().min();
        next.map_or(interfaces::INTERVAL, |next| self.clock.until(next))
    }

    fn wake_machines(&mut self) {
        let now = self.clock.now();
        self.channel.handle_timeout(now);
        if let Some(local) = &mut self.local {
            local.multicast.handle_timeout(now);
        }
        if let Some((unicast, _)) = &mut self.servers {
            unicast.handle_timeout(now);
        }
    }

    /// Looks at the interfaces and clocks of the computer, and asks the node what its public address is.
    fn look_around(&mut self) {
        let now = self.clock.now();
        if let Some(local) = &mut self.local {
            local.refresh(now);
        }
        if let Some((unicast, _)) = &mut self.servers {
            unicast.handle_clock(now, UnixMillis(unix_millis()));
        }
        if let Ok(interfaces) = Interfaces::read() {
            let hosts =
                interfaces.addresses().map(IpAddr::from).chain(self.public.values().copied()).collect();
            if self.own.hosts != hosts {
                self.own.hosts = hosts;
                self.channel.handle_own(self.own.clone());
            }
        }
        if let Some((node, _)) = &self.hyper {
            let (node, reports) = (node.clone(), self.reports.0.clone());
            tokio::spawn(async move {
                let public = node.snapshot().await.ok().and_then(|snapshot| snapshot.state.host);
                if let Some(host) = public {
                    // A channel that has ended wants no reports.
                    reports.send(Report::Public(Source::Hyper, host.into())).await.unwrap_or_default();
                }
            });
        }
        if let Some(node) = &self.mainline {
            let (node, reports) = (node.clone(), self.reports.0.clone());
            tokio::spawn(async move {
                let Ok(snapshot) = node.snapshot().await else { return };
                for host in snapshot.stacks.iter().filter_map(|stack| stack.address) {
                    // As above.
                    reports.send(Report::Public(Source::Mainline, host)).await.unwrap_or_default();
                }
            });
        }
    }
}

fn sighting(source: Source, finding: &discovery::Finding) -> Sighting {
    let (topic, who) = (finding.topic, Who::Address(SocketAddr::V4(finding.address)));
    Sighting { source, topic, who, informant: Some(finding.informant.into()) }
}

/// Waits until a socket may have received something. Cancellation-safe.
async fn readable(local: Option<&Local>, servers: Option<&(Unicast, UdpSocket)>) {
    let local = async {
        match local {
            Some(local) => local.readable().await,
            None => std::future::pending().await,
        }
    };
    let servers = async {
        match servers {
            // An error is found, and dropped, by reading.
            Some((_, socket)) => drop(socket.readable().await),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = local => {}
        () = servers => {}
    }
}
