//! Rosters in virtual time, and between them the least network that can go wrong in the ways that matter.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use peer::{Evidence, PublicKey, StreamStats};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use swarm::roster::{
    Action, DialFailure, DialId, Dialled, Incoming, LinkId, PeerState, RefreshKind, RefreshOutcome, Roster,
    RosterConfig, RosterEvent, Standing, Vitals,
};
use wire::Id;

/// What an attempt costs when the peer is not there, and how long silence takes to be noticed
/// (hyperdht 6.34, measured: 8 s; 5 s of keep-alive and 13 s of acknowledgements that do not come).
const DEAD_DIAL: Duration = Duration::from_secs(8);
const SILENCE: Duration = Duration::from_secs(18);
const UNACKNOWLEDGED: Duration = Duration::from_secs(13);
const RECORD_AGE: Duration = Duration::from_mins(20);

/// How bad the weather is.
#[derive(Clone, Debug)]
pub(crate) struct Weather {
    /// One way, at least and at most.
    pub(crate) delay: [Duration; 2],
    /// Of a hundred attempts, so many fail.
    pub(crate) dials_lost: u32,
    /// Of a hundred walks, so many reach no node.
    pub(crate) walks_lost: u32,
}

pub(crate) const FAIR: Weather =
    Weather { delay: [Duration::from_millis(5), Duration::from_millis(80)], dials_lost: 0, walks_lost: 0 };
pub(crate) const FOUL: Weather =
    Weather { delay: [Duration::from_millis(5), Duration::from_millis(400)], dials_lost: 30, walks_lost: 20 };

#[derive(Debug)]
pub(crate) struct House {
    pub(crate) key: PublicKey,
    pub(crate) roster: Roster,
    pub(crate) up: bool,
    /// Changes when the house loses its memory: what was sent to the former one is lost.
    life: u32,
    asleep_until: Instant,
    listening: bool,
    /// Connections that the roster gave to the application, by peer.
    pub(crate) connected: BTreeMap<PublicKey, LinkId>,
    /// Attempts at a peer, by number of the connection that it would become.
    dials: BTreeMap<DialId, u64>,
    walks: BTreeMap<Id<32>, u64>,
    woken: Option<Instant>,
}

/// One connection: its ends know it by the same number, plus which end they are.
#[derive(Debug)]
struct Wire {
    ends: [(usize, u32); 2],
    /// Whether each end holds it open.
    open: [bool; 2],
    /// When both held it.
    whole: Option<Instant>,
}

#[derive(Debug)]
enum Happening {
    Wake(usize),
    Walked { house: usize, life: u32, topic: Id<32>, kind: RefreshKind, walk: u64 },
    Knock { wire: u64 },
    Answer { wire: u64, dial: DialId },
    NoAnswer { house: usize, life: u32, dial: DialId, failure: DialFailure },
    Closed { wire: u64, end: usize },
    Evidence { wire: u64, end: usize, evidence: Evidence },
}

#[derive(Debug)]
pub(crate) struct Town {
    pub(crate) now: Instant,
    pub(crate) rng: StdRng,
    pub(crate) weather: Weather,
    pub(crate) houses: Vec<House>,
    by_key: BTreeMap<PublicKey, usize>,
    records: BTreeMap<(Id<32>, PublicKey), Instant>,
    wires: BTreeMap<u64, Wire>,
    agenda: BTreeMap<(Instant, u64), Happening>,
    next: u64,
    config: RosterConfig,
    /// Houses that can be reached by nobody but can reach others.
    pub(crate) unreachable: BTreeSet<usize>,
    /// Walks and attempts begun.
    pub(crate) walks: u64,
    pub(crate) dials: u64,
}

impl Town {
    pub(crate) fn new(seed: u64, houses: usize, config: &RosterConfig, weather: Weather) -> Self {
        let now = Instant::now();
        let mut town = Self {
            now,
            rng: StdRng::seed_from_u64(seed),
            weather,
            houses: Vec::new(),
            by_key: BTreeMap::new(),
            records: BTreeMap::new(),
            wires: BTreeMap::new(),
            agenda: BTreeMap::new(),
            next: 0,
            config: config.clone(),
            unreachable: BTreeSet::new(),
            walks: 0,
            dials: 0,
        };
        for house in 0..houses {
            let key = PublicKey(town.rng.random());
            town.by_key.insert(key, house);
            let roster = town.roster(key);
            town.houses.push(House {
                key,
                roster,
                up: true,
                life: 0,
                asleep_until: now,
                listening: false,
                connected: BTreeMap::new(),
                dials: BTreeMap::new(),
                walks: BTreeMap::new(),
                woken: None,
            });
        }
        town
    }

    fn roster(&mut self, key: PublicKey) -> Roster {
        Roster::new(key, self.config.clone(), self.rng.random())
    }

    /// Does something with a roster, and whatever it asks for then.
    pub(crate) fn with<T>(&mut self, house: usize, act: impl FnOnce(&mut Roster, Instant) -> T) -> T {
        let now = self.now;
        let out = act(&mut self.houses[house].roster, now);
        self.settle(house);
        out
    }

    /// Lets time pass until then, or until `done`; tells whether it was.
    pub(crate) fn run_until(&mut self, end: Instant, done: impl Fn(&Self) -> bool) -> bool {
        loop {
            if done(self) {
                return true;
            }
            let Some(entry) = self.agenda.first_entry() else { return false };
            if entry.key().0 > end {
                self.now = end;
                return false;
            }
            let ((at, _), happening) = entry.remove_entry();
            self.now = at;
            self.happen(happening);
        }
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time, |_| false);
    }

    /// Takes the house away without a word.
    pub(crate) fn kill(&mut self, house: usize) {
        self.houses[house].up = false;
        self.houses[house].life += 1;
        self.forget(house);
    }

    /// Brings it back with the same key and no memory.
    pub(crate) fn revive(&mut self, house: usize) {
        let roster = self.roster(self.houses[house].key);
        let house = &mut self.houses[house];
        house.roster = roster;
        house.up = true;
        house.listening = false;
        house.woken = None;
    }

    pub(crate) fn doze(&mut self, house: usize, time: Duration) {
        self.houses[house].asleep_until = self.now + time;
        // Others notice its silence; it notices nothing.
        let wires: Vec<(u64, usize)> = self.wires_of(house).collect();
        if time > SILENCE {
            for (wire, end) in wires {
                self.plan(SILENCE, Happening::Closed { wire, end: 1 - end });
            }
        }
    }

    /// Counts pairs whose two ends both hold the same, single connection.
    pub(crate) fn pairs(&self) -> usize {
        let whole = |(number, wire): (&u64, &Wire)| {
            let [(a, _), (b, _)] = wire.ends;
            let holds = |house: usize, other: usize, end| {
                let other = self.houses[other].key;
                self.houses[house].connected.get(&other) == Some(&link(*number, end))
            };
            wire.open == [true, true] && holds(a, b, 0) && holds(b, a, 1)
        };
        self.wires.iter().filter(|entry| whole(*entry)).count()
    }

    /// Counts connections that some application holds.
    pub(crate) fn held(&self) -> usize {
        self.houses.iter().map(|house| house.connected.len()).sum()
    }

    /// Says what rosters are about where someone is not connected.
    pub(crate) fn describe(&self) -> Vec<PeerState> {
        let unconnected = |peer: &PeerState| !matches!(peer.standing, Standing::Connected(..));
        self.houses.iter().flat_map(|house| house.roster.peers()).filter(unconnected).collect()
    }

    fn forget(&mut self, house: usize) {
        let wires: Vec<(u64, usize)> = self.wires_of(house).collect();
        for (number, end) in wires {
            if let Some(wire) = self.wires.get_mut(&number) {
                wire.open[end] = false;
                self.plan(SILENCE, Happening::Closed { wire: number, end: 1 - end });
            }
        }
        let house = &mut self.houses[house];
        house.connected.clear();
        house.dials.clear();
        house.walks.clear();
    }

    fn wires_of(&self, house: usize) -> impl Iterator<Item = (u64, usize)> {
        let end = move |wire: &Wire| wire.ends.iter().position(|(owner, _)| *owner == house);
        self.wires.iter().filter_map(move |(number, wire)| Some((*number, end(wire)?)))
    }

    fn delay(&mut self) -> Duration {
        self.rng.random_range(self.weather.delay[0]..=self.weather.delay[1])
    }

    fn plan(&mut self, after: Duration, happening: Happening) {
        self.next += 1;
        self.agenda.insert((self.now + after, self.next), happening);
    }

    /// Returns who is at an end, if it is the one that this connection was made with.
    fn owner(&self, wire: u64, end: usize) -> Option<usize> {
        let (house, life) = self.wires.get(&wire)?.ends[end];
        (self.houses[house].up && self.houses[house].life == life).then_some(house)
    }

    fn happen(&mut self, happening: Happening) {
        let house = match &happening {
            Happening::Wake(house) => Some(*house),
            Happening::Walked { house, life, .. } | Happening::NoAnswer { house, life, .. } => {
                (self.houses[*house].life == *life).then_some(*house)
            }
            Happening::Knock { wire } => self.wires.get(wire).map(|wire| wire.ends[1].0),
            Happening::Answer { wire, .. } => self.owner(*wire, 0),
            Happening::Closed { wire, end } | Happening::Evidence { wire, end, .. } => {
                self.owner(*wire, *end)
            }
        };
        let Some(house) = house else { return };
        let asleep_until = self.houses[house].asleep_until;
        if asleep_until > self.now {
            self.plan(asleep_until - self.now, happening);
            return;
        }
        match happening {
            Happening::Wake(_) => {
                let due = self.houses[house].woken.is_some_and(|at| at <= self.now);
                if self.houses[house].up && due {
                    self.houses[house].woken = None;
                    self.with(house, Roster::handle_timeout);
                }
            }
            Happening::Walked { topic, kind, walk, .. } => self.walked(house, topic, kind, walk),
            Happening::Knock { wire } => self.knock(house, wire),
            Happening::Answer { wire, dial } => self.answer(house, wire, dial),
            Happening::NoAnswer { dial, failure, .. } => {
                self.houses[house].dials.remove(&dial);
                self.with(house, |roster, now| roster.handle_dialled(now, dial, Dialled::Failed(failure)));
            }
            Happening::Closed { wire, end } => {
                if let Some(entry) = self.wires.get_mut(&wire)
                    && std::mem::take(&mut entry.open[end])
                {
                    self.with(house, |roster, now| roster.handle_closed(now, link(wire, end)));
                }
                self.sweep(wire);
            }
            Happening::Evidence { wire, end, evidence } => {
                self.with(house, |roster, now| roster.handle_evidence(now, link(wire, end), evidence));
            }
        }
    }

    fn walked(&mut self, house: usize, topic: Id<32>, kind: RefreshKind, walk: u64) {
        if self.houses[house].walks.get(&topic) != Some(&walk) {
            return;
        }
        self.houses[house].walks.remove(&topic);
        let key = self.houses[house].key;
        let lost = self.rng.random_range(0..100) < self.weather.walks_lost;
        if !lost {
            let now = self.now;
            self.records.retain(|_, stored| now < *stored + RECORD_AGE);
            match kind {
                RefreshKind::Announce => _ = self.records.insert((topic, key), now),
                RefreshKind::Unannounce => _ = self.records.remove(&(topic, key)),
                RefreshKind::Lookup => {}
            }
            let found: Vec<_> =
                self.records.keys().filter(|(t, _)| *t == topic).map(|(_, key)| *key).collect();
            for key in found {
                self.with(house, |roster, now| roster.handle_found(now, topic, key, &[]));
            }
        }
        let outcome = if lost { RefreshOutcome::Failed } else { RefreshOutcome::Succeeded };
        self.with(house, |roster, now| roster.handle_refreshed(now, topic, outcome));
    }

    /// A first message arrives: the server has a connection from then on.
    fn knock(&mut self, house: usize, number: u64) {
        let Some(wire) = self.wires.get_mut(&number) else { return };
        let (client, _) = wire.ends[0];
        let answers = self.houses[house].up && self.houses[house].listening;
        let dial = self.houses[client].dials.iter().find(|(_, wire)| **wire == number).map(|(dial, _)| *dial);
        let Some(dial) = dial else { return self.sweep(number) };
        let lost = self.rng.random_range(0..100) < self.weather.dials_lost;
        if !answers || lost || self.unreachable.contains(&house) {
            let life = self.houses[client].life;
            let failure = DialFailure::NoAnswer;
            self.wires.remove(&number);
            return self.plan(DEAD_DIAL, Happening::NoAnswer { house: client, life, dial, failure });
        }
        wire.ends[1] = (house, self.houses[house].life);
        wire.open[1] = true;
        let key = self.houses[client].key;
        let after = self.delay();
        self.plan(after, Happening::Answer { wire: number, dial });
        let existing = self.houses[house].roster.link_with(&key).map(|existing| self.vitals(existing));
        let link = link(number, 1);
        self.with(house, |roster, now| {
            roster.handle_incoming(now, Incoming { link, key, begun: now, existing });
        });
    }

    fn vitals(&self, link: LinkId) -> Vitals {
        let used = self.wires.get(&(link.0 / 2)).and_then(|wire| wire.whole).is_some_and(|at| at <= self.now);
        let frames = u64::from(used);
        let mut stats = StreamStats::default();
        (stats.frames_read, stats.frames_written) = (frames, frames);
        Vitals { stats, round_trip: self.weather.delay[1] * 2 }
    }

    /// The answer arrives, unless the client gave up; perhaps the server did meanwhile.
    fn answer(&mut self, house: usize, number: u64, dial: DialId) {
        if self.houses[house].dials.remove(&dial).is_none() {
            return self.sweep(number);
        }
        let (after, refused) = (self.delay(), self.rng.random());
        let Some(wire) = self.wires.get_mut(&number) else { return };
        if !wire.open[1] && refused {
            let failed = Dialled::Failed(DialFailure::Refused);
            self.with(house, |roster, now| roster.handle_dialled(now, dial, failed));
            return self.sweep(number);
        }
        wire.open[0] = true;
        wire.whole = Some(self.now + after);
        let gone = !wire.open[1];
        let confirmed = Evidence { newcomer_confirmed: true, existing_acknowledged: false };
        self.plan(after, Happening::Evidence { wire: number, end: 1, evidence: confirmed });
        let opened = Dialled::Opened(link(number, 0));
        self.with(house, |roster, now| roster.handle_dialled(now, dial, opened));
        if gone {
            self.plan(Duration::ZERO, Happening::Closed { wire: number, end: 0 });
        }
    }

    /// Forgets a connection that nobody holds, unless its client still waits for an answer.
    fn sweep(&mut self, number: u64) {
        let Some(wire) = self.wires.get(&number) else { return };
        let awaited = self.houses[wire.ends[0].0].dials.values().any(|wire| *wire == number);
        if wire.open == [false, false] && !awaited {
            self.wires.remove(&number);
        }
    }

    fn settle(&mut self, house: usize) {
        while let Some(action) = self.houses[house].roster.poll_action() {
            self.act(house, action);
        }
        while let Some(event) = self.houses[house].roster.poll_event() {
            let connected = &mut self.houses[house].connected;
            match event {
                RosterEvent::Connected { link, key, .. } => {
                    assert_eq!(connected.insert(key, link), None, "a peer is connected twice");
                }
                RosterEvent::Disconnected { link, key } => {
                    assert_eq!(connected.remove(&key), Some(link), "an end of what never began");
                }
                _ => {}
            }
        }
        let house_now = &mut self.houses[house];
        assert_eq!(house_now.roster.census().links_open, house_now.connected.len());
        if let Some(due) = house_now.roster.poll_timeout() {
            let at = due.max(self.now);
            if house_now.woken.is_none_or(|woken| at < woken) {
                house_now.woken = Some(at);
                self.plan(at - self.now, Happening::Wake(house));
            }
        }
    }

    fn act(&mut self, house: usize, action: Action) {
        let life = self.houses[house].life;
        match action {
            Action::Listen => self.houses[house].listening = true,
            Action::Unlisten => self.houses[house].listening = false,
            Action::Refresh { topic, kind } => {
                self.walks += 1;
                self.next += 1;
                let walk = self.next;
                assert_eq!(self.houses[house].walks.insert(topic, walk), None, "two walks for one topic");
                let after = self.delay() * 6;
                self.plan(after, Happening::Walked { house, life, topic, kind, walk });
            }
            Action::Stop { topic } => {
                assert!(self.houses[house].walks.remove(&topic).is_some(), "no walk to stop");
            }
            Action::Dial { dial, key, .. } => self.dial(house, dial, key),
            Action::CancelDial(dial) => {
                // Half of the time the cancellation comes too late, and the roster has to close what opens.
                if self.rng.random() {
                    let number = self.houses[house].dials.remove(&dial).expect("it is under way");
                    let after = self.delay();
                    self.plan(after, Happening::Closed { wire: number, end: 1 });
                }
            }
            Action::Accept(link) => assert_eq!(link.0 % 2, 1, "only what came in is accepted"),
            Action::KeepAlive(link) => self.keep_alive(link),
            Action::Close { link, .. } => {
                let (number, end) = (link.0 / 2, ends(link));
                if let Some(wire) = self.wires.get_mut(&number) {
                    wire.open[end] = false;
                    let after = self.delay();
                    self.plan(after, Happening::Closed { wire: number, end: 1 - end });
                }
            }
            other => unreachable!("nobody here can do {other:?}"),
        }
    }

    fn dial(&mut self, house: usize, dial: DialId, key: PublicKey) {
        self.dials += 1;
        let life = self.houses[house].life;
        let other = self.by_key[&key];
        self.next += 1;
        let number = self.next;
        let wire = Wire { ends: [(house, life), (other, 0)], open: [false, false], whole: None };
        self.wires.insert(number, wire);
        self.houses[house].dials.insert(dial, number);
        let after = self.delay();
        self.plan(after, Happening::Knock { wire: number });
    }

    fn keep_alive(&mut self, link: LinkId) {
        let (number, end) = (link.0 / 2, ends(link));
        if self.owner(number, 1 - end).is_some_and(|_| self.wires[&number].open[1 - end]) {
            let after = self.delay() + self.delay();
            let evidence = Evidence { existing_acknowledged: true, newcomer_confirmed: false };
            self.plan(after, Happening::Evidence { wire: number, end, evidence });
        } else {
            self.plan(UNACKNOWLEDGED, Happening::Closed { wire: number, end });
        }
    }
}

const fn link(wire: u64, end: usize) -> LinkId {
    LinkId(wire * 2 + end as u64)
}

const fn ends(link: LinkId) -> usize {
    if link.0.is_multiple_of(2) { 0 } else { 1 }
}
