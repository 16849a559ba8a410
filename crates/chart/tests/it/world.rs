//! Replicas and the links between them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use chart::{
    AuthorKey, Channel, Chart, Digest, Event, GrantDraft, History, Identity, LinkId, Now, Private, Reading,
    Role, Root, Scope, SealKey, Secret, Side, Statement, UnixMillis,
};

use crate::disk::Disk;

/// 2026-11-25T00:00:00Z.
pub(crate) const EPOCH_MS: u64 = 1_795_564_800_000;

/// Who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place(pub(crate) usize);

/// One end of a link.
struct End {
    place: Place,
    id: LinkId,
    inbox: VecDeque<Vec<u8>>,
}

struct Wire {
    ends: [End; 2],
}

/// Replicas, links, and a clock that they share.
pub(crate) struct World {
    pub(crate) root: Root,
    pub(crate) charts: Vec<Option<Chart<Disk>>>,
    seeds: Vec<[u8; 32]>,
    wires: BTreeMap<(Place, Place), Wire>,
    links: u64,
    restarts: u8,
    start: Instant,
    pub(crate) elapsed: Duration,
    pub(crate) events: Vec<(Place, Event)>,
    /// Bytes of frames by receiver.
    pub(crate) received: BTreeMap<Place, u64>,
    closed: BTreeSet<LinkId>,
}

pub(crate) fn secret(kind: u8, number: usize) -> Secret {
    let mut bytes = [kind; 32];
    bytes[0] = u8::try_from(number).unwrap();
    Secret::new(bytes)
}

/// The keys of whoever is at a place.
pub(crate) fn identity(place: Place) -> Identity {
    Identity::from_seed(&secret(1, place.0 + 1))
}

/// The key of whoever is at a place.
pub(crate) fn author(place: Place) -> AuthorKey {
    identity(place).author()
}

/// What is sealed to whoever is at a place.
pub(crate) fn seal(place: Place) -> SealKey {
    identity(place).seal_key()
}

/// What a member is usually granted.
pub(crate) fn draft(place: Place, role: Role) -> GrantDraft {
    GrantDraft {
        grantee: author(place),
        seal: seal(place),
        name: Private(format!("Member {}", place.0)),
        role,
        history: History::Whole,
        scopes: BTreeSet::from([Scope::GENERAL]),
        expires: None,
        quota: 1 << 30,
        invitation: None,
    }
}

pub(crate) fn says(text: &str) -> Statement {
    Statement {
        media_type: "text/plain".into(),
        reason: Private("a test".into()),
        body: Private(text.as_bytes().to_vec()),
        ..Statement::default()
    }
}

impl World {
    /// A record with its first device, at place 0.
    pub(crate) fn found() -> Self {
        Self::found_with(0)
    }

    #[expect(clippy::disallowed_methods, reason = "an arbitrary start, from which only virtual time passes")]
    pub(crate) fn found_with(seed: u8) -> Self {
        let root = Root::from_bytes(secret(seed, 200));
        let mut it = Self {
            root,
            charts: Vec::new(),
            seeds: Vec::new(),
            wires: BTreeMap::new(),
            links: 0,
            restarts: 0,
            start: Instant::now(),
            elapsed: Duration::ZERO,
            events: Vec::new(),
            received: BTreeMap::new(),
            closed: BTreeSet::new(),
        };
        it.seeds.push([1; 32]);
        let chart =
            Chart::found(it.now(), Disk::default(), identity(Place(0)), secret(9, 0), &it.root).unwrap();
        it.charts.push(Some(chart));
        it
    }

    pub(crate) fn now(&self) -> Now {
        let millis = u64::try_from(self.elapsed.as_millis()).unwrap();
        Now { instant: self.start + self.elapsed, wall: UnixMillis(EPOCH_MS + millis) }
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.elapsed += time;
        let now = self.now();
        for chart in self.charts.iter_mut().flatten() {
            chart.handle_timeout(now).unwrap();
        }
    }

    /// A replica that waits for a grant or a certificate.
    pub(crate) fn newcomer(&mut self) -> Place {
        let place = Place(self.charts.len());
        let record = self.chart(Place(0)).record();
        let chart = Chart::new(Disk::default(), record, identity(place), secret(9, place.0));
        self.charts.push(Some(chart));
        self.seeds.push([0; 32]);
        place
    }

    /// Another device of the owner.
    pub(crate) fn device(&mut self) -> Place {
        let place = self.newcomer();
        let (now, genesis) = (self.now(), *self.chart(Place(0)).genesis().unwrap());
        let chart = self.charts[place.0].as_mut().unwrap();
        chart.enrol(now, &genesis, &self.root).unwrap();
        place
    }

    /// A member, granted by the device at place 0.
    pub(crate) fn member(&mut self, role: Role) -> Place {
        let place = self.newcomer();
        let draft = draft(place, role);
        self.at(Place(0), |chart, now| chart.grant(now, draft)).unwrap();
        place
    }

    pub(crate) fn chart(&self, place: Place) -> &Chart<Disk> {
        self.charts[place.0].as_ref().expect("a replica that runs")
    }

    /// Does something at a replica.
    pub(crate) fn at<T>(&mut self, place: Place, act: impl FnOnce(&mut Chart<Disk>, Now) -> T) -> T {
        let now = self.now();
        act(self.charts[place.0].as_mut().expect("a replica that runs"), now)
    }

    pub(crate) fn add(&mut self, place: Place, text: &str) -> Digest {
        self.at(place, |chart, now| chart.add(now, Scope::GENERAL, &says(text))).unwrap()
    }

    /// Connects two replicas, if they are not.
    pub(crate) fn connect(&mut self, a: Place, b: Place) {
        let key = (a.min(b), a.max(b));
        if self.wires.contains_key(&key) {
            return;
        }
        self.links += 2;
        let (one, other) = (LinkId(self.links - 1), LinkId(self.links));
        let mut binding = [7; 32];
        binding[..8].copy_from_slice(&self.links.to_le_bytes());
        let channel = |side| Channel { binding, side };
        self.at(key.0, |chart, now| chart.open_link(now, one, channel(Side::Dialer))).unwrap();
        self.at(key.1, |chart, now| chart.open_link(now, other, channel(Side::Listener))).unwrap();
        let end = |place, id| End { place, id, inbox: VecDeque::new() };
        self.wires.insert(key, Wire { ends: [end(key.0, one), end(key.1, other)] });
    }

    pub(crate) fn connect_all(&mut self) {
        for a in 0..self.charts.len() {
            for b in a + 1..self.charts.len() {
                self.connect(Place(a), Place(b));
            }
        }
    }

    /// Breaks a link; what is on its way is lost.
    pub(crate) fn cut(&mut self, a: Place, b: Place) {
        if let Some(wire) = self.wires.remove(&(a.min(b), a.max(b))) {
            for end in wire.ends {
                if let Some(chart) = &mut self.charts[end.place.0] {
                    chart.close_link(end.id);
                }
            }
        }
    }

    pub(crate) fn cut_all(&mut self) {
        for (a, b) in self.wires.keys().copied().collect::<Vec<_>>() {
            self.cut(a, b);
        }
    }

    pub(crate) fn is_connected(&self, a: Place, b: Place) -> bool {
        self.wires.contains_key(&(a.min(b), a.max(b)))
    }

    /// Puts a frame on a link as if the end at `from` had said it.
    pub(crate) fn inject(&mut self, from: Place, to: Place, frame: Vec<u8>) {
        let wire = self.wires.get_mut(&(from.min(to), from.max(to))).expect("a link");
        let end = wire.ends.iter_mut().find(|end| end.place == to).expect("an end");
        end.inbox.push_back(frame);
    }

    /// Carries at most so many frames, and says whether any moved.
    pub(crate) fn carry(&mut self, frames: usize) -> bool {
        let now = self.now();
        let mut left = frames;
        for key in self.wires.keys().copied().collect::<Vec<_>>() {
            let Some(mut wire) = self.wires.remove(&key) else { continue };
            for at in 0..2 {
                let chart = self.charts[wire.ends[at].place.0].as_mut().expect("a replica that runs");
                while left > 0 {
                    let Some(frame) = wire.ends[at].inbox.pop_front() else { break };
                    *self.received.entry(wire.ends[at].place).or_default() += frame.len() as u64;
                    chart.handle_frame(now, wire.ends[at].id, &frame).unwrap();
                    left -= 1;
                }
                while left > 0 {
                    let Some(frame) = chart.poll_transmit(now, wire.ends[at].id).unwrap() else { break };
                    assert!(frame.len() <= chart::FRAME_MAX, "a frame of {} bytes", frame.len());
                    wire.ends[1 - at].inbox.push_back(frame);
                    left -= 1;
                }
            }
            self.wires.insert(key, wire);
        }
        self.drain();
        left < frames
    }

    fn drain(&mut self) {
        for (at, chart) in self.charts.iter_mut().enumerate() {
            let Some(chart) = chart else { continue };
            while let Some(event) = chart.poll_event() {
                if let Event::Closed { link, .. } = event {
                    self.closed.insert(link);
                }
                self.events.push((Place(at), event));
            }
        }
        // An end that said goodbye closes its connection once the other has read it.
        let over = self.wires.iter().filter(|(_, wire)| {
            let is_empty = wire.ends.iter().all(|end| end.inbox.is_empty());
            is_empty && wire.ends.iter().any(|end| self.closed.contains(&end.id))
        });
        for (a, b) in over.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.cut(a, b);
        }
    }

    /// Carries frames until nobody has anything to say.
    pub(crate) fn settle(&mut self) {
        for _ in 0..2_000 {
            if !self.carry(usize::MAX) {
                return;
            }
        }
        panic!("replicas never fall silent");
    }

    /// Stops a replica in the middle of whatever it does, and starts it again from its disk.
    pub(crate) fn crash(&mut self, place: Place, chance: impl FnMut(u64) -> u64) {
        for other in 0..self.charts.len() {
            self.cut(place, Place(other));
        }
        let chart = self.charts[place.0].take().expect("a replica that runs");
        let record = chart.record();
        let disk = chart.into_store().crash(chance);
        self.start_from(place, record, disk);
    }

    pub(crate) fn start_from(
        &mut self,
        place: Place,
        record: chart::RecordId,
        disk: Disk,
    ) -> Vec<chart::CutOff> {
        self.restarts += 1;
        let mut seed = [self.restarts; 32];
        seed[1] = u8::try_from(place.0).unwrap();
        seed[2] = 0xcc;
        let (chart, cut_off) = Chart::open(disk, record, identity(place), Secret::new(seed)).unwrap();
        self.charts[place.0] = Some(chart);
        cut_off
    }

    pub(crate) fn text(&self, place: Place, id: &Digest) -> Option<String> {
        match self.chart(place).read(id).unwrap() {
            Reading::Statement(statement) => Some(String::from_utf8(statement.body.0).unwrap()),
            _ => None,
        }
    }

    /// All texts that a replica shows, newest versions only.
    pub(crate) fn texts(&self, place: Place) -> BTreeSet<String> {
        let heads = self.chart(place).entries().flat_map(|(_, entry)| entry.heads().collect::<Vec<_>>());
        heads.filter_map(|id| self.text(place, &id)).collect()
    }

    pub(crate) fn all_agree(&self) -> bool {
        let mut states = self.charts.iter().flatten().map(Chart::state);
        let first = states.next();
        states.all(|state| Some(state) == first)
    }

    /// Gives a replica a header and contents by way of a peer that it would talk to.
    pub(crate) fn feed(&mut self, place: Place, signed: chart::Signed, content: Option<Vec<u8>>) {
        let frame = chart::Message::Batch(vec![chart::Piece { signed, content }]).encode();
        let courier = self.courier(place);
        self.at(place, |chart, now| {
            chart.handle_frame(now, courier, &frame).unwrap();
            chart.close_link(courier);
        });
    }

    /// A link to a peer whom the replica was told to trust, greeted and open.
    pub(crate) fn courier(&mut self, place: Place) -> LinkId {
        let identity = Identity::from_seed(&secret(77, 7));
        self.links += 1;
        let id = LinkId(self.links);
        let mut binding = [8; 32];
        binding[..8].copy_from_slice(&self.links.to_le_bytes());
        let record = self.chart(place).record();
        let now = self.now();
        let mut other = Chart::new(Disk::default(), record, identity, secret(78, 8));
        let own = author(place);
        other.introduce(own);
        other.open_link(now, LinkId(1), Channel { binding, side: Side::Dialer }).unwrap();
        let chart = self.charts[place.0].as_mut().unwrap();
        chart.introduce(other.author());
        chart.open_link(now, id, Channel { binding, side: Side::Listener }).unwrap();
        for _ in 0..2 {
            let to = other.poll_transmit(now, LinkId(1)).unwrap().unwrap();
            chart.handle_frame(now, id, &to).unwrap();
            let back = chart.poll_transmit(now, id).unwrap().unwrap();
            other.handle_frame(now, LinkId(1), &back).unwrap();
        }
        id
    }
}
