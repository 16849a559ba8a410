use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use pace::Timers;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use wire::Id;

use crate::name::Naming;
use crate::topic::Topic;

mod event;
mod join;
mod pace_of;
mod sightings;
mod source;

pub use event::{Act, ChannelStats, Command, Event, Found, Outcome, Sighting, Who};
pub use join::{Join, JoinError};
use pace_of::Pace;
use sightings::{Seen, Sightings};
pub use source::{ParseSourceError, Source, Sources};

/// Topics joined at once.
const TOPICS_MAX: usize = 1024;
/// Ports announced under one topic; what fits into one answer on the local network.
const PORTS_MAX: usize = 31;
/// Look-ups that one mechanism does at once, so that a thousand topics are not asked for in one moment.
const LOOKS_MAX: usize = 32;
/// How long a look-up that found no turn waits for the next.
const TURN_WAIT: Duration = Duration::from_millis(250);
/// How long an order may take before it counts as failed; a walk takes seconds.
const ORDER_MAX: Duration = Duration::from_mins(2);
/// Between two looks for peers that were not seen again.
const FADE_GAP: Duration = Duration::from_secs(10);
/// Events that wait to be read, beyond which sightings are not taken in; they come again.
const EVENTS_MAX: usize = 4096;

/// Whether a channel may tell others of this computer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// Ports can be announced.
    #[default]
    Active,
    /// Nothing is announced, and the host stores nothing for others: its nodes are read-only.
    Passive,
}

/// What this computer is known by, so that it is never found by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// Its addresses, public ones too; loopback is understood.
    pub hosts: BTreeSet<IpAddr>,
    /// Its keys on HyperDHT.
    pub keys: BTreeSet<Id<32>>,
}

/// One channel to find peers by, over every mechanism (npm `discovery-channel` 5.5, without its defects).
///
/// It sends nothing itself: it says what each mechanism is to do and when, by [`Channel::poll_command`], and is told
/// what came of it by [`Channel::handle_sighting`] and [`Channel::handle_outcome`]. Peers are told once for each
/// mechanism, and again when they come back after they were lost.
///
/// The contract of the verbs: mutate once, then drain [`Channel::poll_command`] and [`Channel::poll_event`], then read
/// [`Channel::poll_timeout`]. Late and spurious timeouts are harmless.
#[derive(Debug)]
pub struct Channel {
    manner: Manner,
    available: Sources,
    own: Own,
    topics: BTreeMap<Topic, Joined>,
    /// Look-ups under way.
    looking: BTreeSet<(Source, Topic)>,
    timers: Timers<Deadline>,
    commands: VecDeque<Command>,
    events: VecDeque<Event>,
    rng: StdRng,
    stats: ChannelStats,
}

#[derive(Debug)]
struct Joined {
    naming: Naming,
    on: Sources,
    ports: BTreeSet<NonZeroU16>,
    looks: BTreeMap<Source, Looks>,
    failures: BTreeMap<(Source, NonZeroU16), u32>,
    sightings: Sightings,
}

/// How far the look-ups of one mechanism have come.
#[derive(Clone, Copy, Debug, Default)]
struct Looks {
    begun: u32,
    answered: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Deadline {
    Look(Source, Topic),
    /// A look-up that was ordered has to have ended.
    LookEnd(Source, Topic),
    Announce(Source, Topic, NonZeroU16),
    Fade(Topic),
}

impl Channel {
    /// Starts without a topic, with the mechanisms that the host runs.
    #[must_use]
    pub fn new(manner: Manner, available: Sources, seed: [u8; 32]) -> Self {
        Self {
            manner,
            available,
            own: Own::default(),
            topics: BTreeMap::new(),
            looking: BTreeSet::new(),
            timers: Timers::new(),
            commands: VecDeque::new(),
            events: VecDeque::new(),
            rng: StdRng::from_seed(seed),
            stats: ChannelStats::default(),
        }
    }

    /// Joins a topic: looks for others from now on, and is found where a port is given. Joining again adds ports,
    /// mechanisms and addresses; a compatible naming stays.
    ///
    /// # Errors
    ///
    /// Fails where a passive channel is to announce, where no mechanism knows the topic, or where a limit is reached.
    pub fn join(&mut self, now: Instant, join: Join) -> Result<(), JoinError> {
        if join.port.is_some() && self.manner == Manner::Passive {
            return Err(JoinError::Passive);
        }
        let topic = join.topic;
        let on = join.on.within(self.available).within(sources_of(&topic));
        if on == Sources::NONE {
            return Err(JoinError::NoSource);
        }
        let known = self.topics.get(&topic);
        let ports = known.map_or(0, |joined| joined.ports.len());
        let is_full = known.is_none() && self.topics.len() >= TOPICS_MAX;
        if is_full || join.fixed.len() > join::FIXED_MAX || join.port.is_some() && ports >= PORTS_MAX {
            return Err(JoinError::Full);
        }
        self.begin(now, &join, on);
        if let Some(port) = join.port {
            self.add_port(now, topic, port);
        }
        for address in join.fixed {
            let (source, who) = (Source::Static, Who::Address(address));
            self.handle_sighting(now, Sighting { source, topic, who, informant: None });
        }
        Ok(())
    }

    /// Leaves a topic with all its ports, and tells no more of it.
    pub fn leave(&mut self, topic: Topic) {
        let Some(mut joined) = self.topics.remove(&topic) else { return };
        for port in std::mem::take(&mut joined.ports) {
            self.withdraw(topic, port, &joined);
        }
        for source in joined.on.iter() {
            self.timers.cancel(Deadline::Look(source, topic));
            self.timers.cancel(Deadline::LookEnd(source, topic));
            self.looking.remove(&(source, topic));
            self.command(source, topic, Act::Leave);
        }
        self.timers.cancel(Deadline::Fade(topic));
    }

    /// Leaves every topic.
    pub fn leave_all(&mut self) {
        for topic in self.topics.keys().copied().collect::<Vec<_>>() {
            self.leave(topic);
        }
    }

    /// Announces one port of a topic no more; looks on.
    pub fn leave_port(&mut self, topic: Topic, port: NonZeroU16) {
        let Some(mut joined) = self.topics.remove(&topic) else { return };
        if joined.ports.remove(&port) {
            self.withdraw(topic, port, &joined);
        }
        self.topics.insert(topic, joined);
    }

    /// Tells what this computer is known by. What it found of itself before is lost.
    pub fn handle_own(&mut self, own: Own) {
        self.own = own;
        let mut gone = Vec::new();
        for (topic, joined) in &mut self.topics {
            let (own, ports) = (&self.own, &joined.ports);
            let selves = joined.sightings.forget(|_, who| own.is(who, ports));
            gone.extend(selves.into_iter().map(|(source, who)| (*topic, source, who)));
        }
        for (topic, source, who) in gone {
            self.lose(topic, source, who);
        }
    }

    /// Takes in what a mechanism saw, however often.
    pub fn handle_sighting(&mut self, now: Instant, sighting: Sighting) {
        let Sighting { source, topic, who, .. } = sighting;
        let Some(joined) =
            self.topics.get_mut(&topic).filter(|joined| joined.on.has(source) || source == Source::Static)
        else {
            return;
        };
        if self.own.is(&who, &joined.ports) {
            self.stats.own += 1;
            return;
        }
        if !can_be(&who) || self.events.len() >= EVENTS_MAX {
            self.stats.refused += 1;
            return;
        }
        let looks = joined.looks.get(&source).map_or(0, |looks| looks.answered);
        let was_empty = joined.sightings.is_empty();
        match joined.sightings.see(&sighting, Seen { at: now, looks }) {
            sightings::News::New => {
                if was_empty {
                    self.timers.set(Deadline::Fade(topic), now + FADE_GAP);
                }
                self.stats.found += 1;
                self.events.push_back(Event::Found { topic, found: Found::new(who, source) });
            }
            sightings::News::Known => {}
            sightings::News::Refused => self.stats.refused += 1,
        }
    }

    /// Takes in how an order to look or to announce ended.
    pub fn handle_outcome(&mut self, now: Instant, command: Command, outcome: Outcome) {
        let Command { source, topic, act } = command;
        match act {
            Act::Look => self.end_look(now, source, topic, outcome),
            Act::Announce(port) => self.end_announce(now, (source, topic, port), outcome),
            Act::Join(_) | Act::Unannounce(_) | Act::Leave => {}
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(deadline) = self.timers.expire(now) {
            match deadline {
                Deadline::Look(source, topic) => self.look(now, source, topic),
                Deadline::LookEnd(source, topic) => self.end_look(now, source, topic, Outcome::Failed),
                Deadline::Announce(source, topic, port) => self.announce(now, source, topic, port),
                Deadline::Fade(topic) => self.fade(now, topic),
            }
        }
    }

    /// Returns the next order for a mechanism.
    #[must_use]
    pub fn poll_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// Returns what happened next.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns when to call [`Channel::handle_timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Returns what was counted.
    #[must_use]
    pub const fn stats(&self) -> ChannelStats {
        self.stats
    }

    fn begin(&mut self, now: Instant, join: &Join, on: Sources) {
        let topic = join.topic;
        let joined = self.topics.entry(topic).or_insert_with(Joined::new);
        let added: Vec<_> = on.iter().filter(|source| !joined.on.has(*source)).collect();
        let renames = join.naming > joined.naming;
        joined.naming = joined.naming.max(join.naming);
        joined.on = joined.on.and(on);
        let (naming, ports) = (joined.naming, joined.ports.clone());
        let told: Vec<_> = joined.on.iter().filter(|source| renames || added.contains(source)).collect();
        for source in told {
            self.command(source, topic, Act::Join(naming));
        }
        for source in added {
            for port in &ports {
                self.timers.set(Deadline::Announce(source, topic, *port), now);
            }
            self.timers.set(Deadline::Look(source, topic), now);
        }
        self.handle_timeout(now);
    }

    fn add_port(&mut self, now: Instant, topic: Topic, port: NonZeroU16) {
        let Some(joined) = self.topics.get_mut(&topic) else { return };
        if joined.ports.insert(port) {
            for source in joined.on.iter() {
                self.timers.set(Deadline::Announce(source, topic, port), now);
            }
            let (own, ports) = (&self.own, &joined.ports);
            let selves = joined.sightings.forget(|_, who| own.is(who, ports));
            for (source, who) in selves {
                self.lose(topic, source, who);
            }
        }
        self.handle_timeout(now);
    }

    fn withdraw(&mut self, topic: Topic, port: NonZeroU16, joined: &Joined) {
        for source in joined.on.iter() {
            self.timers.cancel(Deadline::Announce(source, topic, port));
            // HyperDHT's record is of the key, whatever the ports.
            let is_kept = source == Source::Hyper && !joined.ports.is_empty();
            if source != Source::Static && !is_kept {
                self.command(source, topic, Act::Unannounce(port));
            }
        }
    }

    fn look(&mut self, now: Instant, source: Source, topic: Topic) {
        let busy = self.looking.iter().filter(|(other, _)| *other == source).count();
        if busy >= LOOKS_MAX {
            self.timers.set(Deadline::Look(source, topic), now + TURN_WAIT);
            return;
        }
        let Some(joined) = self.topics.get_mut(&topic) else { return };
        let looks = joined.looks.entry(source).or_default();
        looks.begun = looks.begun.saturating_add(1);
        self.looking.insert((source, topic));
        self.timers.set(Deadline::LookEnd(source, topic), now + ORDER_MAX);
        self.command(source, topic, Act::Look);
    }

    fn end_look(&mut self, now: Instant, source: Source, topic: Topic, outcome: Outcome) {
        if !self.looking.remove(&(source, topic)) {
            return;
        }
        self.timers.cancel(Deadline::LookEnd(source, topic));
        let Some(joined) = self.topics.get_mut(&topic) else { return };
        let looks = joined.looks.entry(source).or_default();
        looks.answered += u64::from(outcome == Outcome::Answered);
        let wait = Pace::of(source).after(looks.begun, self.rng.random());
        self.timers.set(Deadline::Look(source, topic), now + wait);
        self.events.push_back(Event::Looked { topic, source, outcome });
    }

    fn announce(&mut self, now: Instant, source: Source, topic: Topic, port: NonZeroU16) {
        let is_joined = self.topics.get(&topic).is_some_and(|joined| joined.ports.contains(&port));
        if is_joined && source != Source::Static {
            self.command(source, topic, Act::Announce(port));
            // Again after a while, should nobody tell how it went.
            self.timers.set(Deadline::Announce(source, topic, port), now + ORDER_MAX);
        }
    }

    fn end_announce(&mut self, now: Instant, what: (Source, Topic, NonZeroU16), outcome: Outcome) {
        let (source, topic, port) = what;
        let deadline = Deadline::Announce(source, topic, port);
        let Some(joined) = self.topics.get_mut(&topic).filter(|joined| joined.ports.contains(&port)) else {
            return;
        };
        let failures = joined.failures.entry((source, port)).or_default();
        self.timers.cancel(deadline);
        match outcome {
            Outcome::Answered => {
                *failures = 0;
                if let Some(wait) = Pace::of(source).renew(self.rng.random()) {
                    self.timers.set(deadline, now + wait);
                }
            }
            Outcome::Failed => {
                self.timers.set(deadline, now + Pace::of(source).retry(*failures));
                *failures = failures.saturating_add(1);
            }
        }
        self.events.push_back(Event::Announced { topic, source, port, outcome });
    }

    fn fade(&mut self, now: Instant, topic: Topic) {
        let Some(joined) = self.topics.get_mut(&topic) else { return };
        let looks = &joined.looks;
        let limit = |source| sightings::Limit {
            span: Pace::of(source).lost,
            looks: looks.get(&source).map_or(0, |looks| looks.answered),
        };
        let lost = joined.sightings.fade(now, limit);
        for source in joined.on.iter() {
            let doubted = Pace::of(source).doubted;
            if joined.sightings.oldest(source).is_some_and(|at| now.saturating_duration_since(at) > doubted)
                && !self.looking.contains(&(source, topic))
            {
                self.timers.set(Deadline::Look(source, topic), now);
            }
        }
        if !joined.sightings.is_empty() {
            self.timers.set(Deadline::Fade(topic), now + FADE_GAP);
        }
        for (source, who) in lost {
            self.lose(topic, source, who);
        }
    }

    fn lose(&mut self, topic: Topic, source: Source, who: Who) {
        self.stats.lost += 1;
        self.events.push_back(Event::Lost { topic, found: Found::new(who, source) });
    }

    fn command(&mut self, source: Source, topic: Topic, act: Act) {
        self.commands.push_back(Command { source, topic, act });
    }
}

impl Joined {
    fn new() -> Self {
        Self {
            naming: Naming::default(),
            on: Sources::NONE,
            ports: BTreeSet::new(),
            looks: BTreeMap::new(),
            failures: BTreeMap::new(),
            sightings: Sightings::default(),
        }
    }
}

impl Own {
    fn is(&self, who: &Who, ports: &BTreeSet<NonZeroU16>) -> bool {
        match who {
            Who::Key(key) => self.keys.contains(key),
            Who::Address(address) => {
                let host = address.ip().to_canonical();
                let is_host = host.is_loopback() || self.hosts.contains(&host);
                is_host && NonZeroU16::new(address.port()).is_some_and(|port| ports.contains(&port))
            }
        }
    }
}

/// The mechanisms that can carry a topic: an identifier that is one network's goes to no other.
fn sources_of(topic: &Topic) -> Sources {
    let local = Sources::NONE.with(Source::Static).with(Source::Mdns).with(Source::Dns);
    let mainline = topic.mainline().map_or(local, |_| local.with(Source::Mainline));
    topic.hyper().map_or(mainline, |_| mainline.with(Source::Hyper))
}

/// Tells whether anybody could be reached so.
fn can_be(who: &Who) -> bool {
    match who {
        Who::Key(_) => true,
        Who::Address(address) => {
            address.port() != 0 && !address.ip().is_unspecified() && !address.ip().is_multicast()
        }
    }
}
