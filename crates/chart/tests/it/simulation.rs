//! Two to six devices, some of them hostile, on links and disks that fail: a world for each seed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chart::{
    Act, Audit, Change, Cut, Digest, Header, Hlc, Message, Operation, Piece, Reading, Revocation, Role, Root,
    Scope, Secret, UnixMillis,
};

use crate::forge::{next, version};
use crate::world::{Place, World, author, identity, says};

/// Seeds that run with every change. `HOMING_CHART_SEEDS` asks for more.
const SEEDS: u64 = 200;

const STEPS: usize = 60;

/// A small generator, so that a seed means the same for ever.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        // SplitMix64 (Steele, Lea, Flood 2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    fn place(&mut self, among: &[Place]) -> Place {
        among[usize::try_from(self.roll(among.len() as u64)).unwrap()]
    }
}

/// An entry whose author was told that it is safe.
struct Acknowledged {
    author: Place,
    id: Digest,
    text: String,
    /// Members of whose end the author knew.
    knew: BTreeSet<Place>,
}

struct Storm {
    world: World,
    dice: Dice,
    owners: Vec<Place>,
    members: Vec<Place>,
    hostile: BTreeSet<Place>,
    revoked: BTreeSet<Place>,
    acknowledged: Vec<Acknowledged>,
    /// What each hostile member has signed beside its own chart's log.
    branches: BTreeMap<Place, Vec<Digest>>,
    said: u64,
}

impl Storm {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let mut world = World::found();
        let mut owners = vec![Place(0)];
        if dice.roll(2) == 0 {
            owners.push(world.device());
        }
        let mut members = Vec::new();
        for _ in 0..=dice.roll(3) {
            let role = [Role::Contributor, Role::Contributor, Role::Reader, Role::Helper];
            members.push(world.member(role[usize::try_from(dice.roll(4)).unwrap()]));
        }
        let hostile = members.iter().copied().filter(|_| dice.roll(3) == 0).collect();
        world.connect_all();
        world.settle();
        Self {
            world,
            dice,
            owners,
            members,
            hostile,
            revoked: BTreeSet::new(),
            acknowledged: Vec::new(),
            branches: BTreeMap::new(),
            said: 0,
        }
    }

    fn everyone(&self) -> Vec<Place> {
        (0..self.world.charts.len()).map(Place).collect()
    }

    fn step(&mut self) {
        let everyone = self.everyone();
        let (a, b) = (self.dice.place(&everyone), self.dice.place(&everyone));
        match self.dice.roll(20) {
            0..=5 => self.write(a),
            6 | 7 => self.amend(a),
            8 => self.world.cut(a, b),
            9 if a != b => self.world.connect(a, b),
            10 => {
                self.flush(a);
                let dice = &mut self.dice;
                self.world.crash(a, |below| dice.roll(below));
            }
            11 => {
                let dice = &mut self.dice;
                self.world.crash(a, |below| dice.roll(below));
                self.forget_unsafe();
            }
            12 => self.revoke(),
            13 => self.world.pass(Duration::from_secs(self.dice.roll(40))),
            14..=16 if !self.hostile.is_empty() => self.attack(),
            17 => self.world.connect_all(),
            _ => {
                let frames = usize::try_from(self.dice.roll(60)).unwrap();
                self.world.carry(frames);
            }
        }
    }

    fn write(&mut self, place: Place) {
        self.said += 1;
        let text = format!("{} said {}", place.0, self.said);
        let written = self.world.at(place, |chart, now| chart.add(now, Scope::GENERAL, &says(&text)));
        if let Ok(id) = written {
            self.acknowledge(place, id, text);
        }
    }

    fn amend(&mut self, place: Place) {
        let entries: Vec<Digest> = self.world.chart(place).entries().map(|(id, _)| *id).collect();
        if entries.is_empty() {
            return;
        }
        let entry = entries[usize::try_from(self.dice.roll(entries.len() as u64)).unwrap()];
        let change = [Change::Amendment, Change::Modification, Change::Retraction, Change::Attestation];
        let change = change[usize::try_from(self.dice.roll(4)).unwrap()];
        self.said += 1;
        let text = format!("{} changed {}", place.0, self.said);
        if let Ok(id) = self.world.at(place, |chart, now| chart.change(now, entry, change, &says(&text))) {
            self.acknowledge(place, id, text);
        }
    }

    /// Half of what is written is acknowledged at once; the rest is lost if a crash comes first.
    fn acknowledge(&mut self, by: Place, id: Digest, text: String) {
        if self.dice.roll(2) == 0 {
            self.flush(by);
            let chart = self.world.chart(by);
            let ended: BTreeSet<_> =
                chart.people().filter(|person| person.ended.is_some()).map(|person| person.author).collect();
            let members = self.members.iter().copied();
            let knew = members.filter(|member| ended.contains(&author(*member))).collect();
            self.acknowledged.push(Acknowledged { author: by, id, text, knew });
        }
    }

    fn flush(&mut self, place: Place) {
        self.world.at(place, |chart, _| chart.flush()).unwrap();
    }

    /// Revocations that a crash undid were never told to anybody.
    fn forget_unsafe(&mut self) {
        let owners = self.owners.clone();
        let world = &self.world;
        self.revoked.retain(|member| {
            let key = author(*member);
            owners.iter().any(|owner| {
                world.chart(*owner).people().any(|person| person.author == key && person.ended.is_some())
            })
        });
    }

    fn revoke(&mut self) {
        if self.dice.roll(3) > 0 {
            return;
        }
        let (owner, member) = (self.dice.place(&self.owners), self.dice.place(&self.members));
        let key = author(member);
        if self.world.at(owner, |chart, now| chart.revoke(now, key)).is_ok() {
            self.flush(owner);
            self.revoked.insert(member);
        }
    }

    fn attack(&mut self) {
        let hostile: Vec<Place> = self.hostile.iter().copied().collect();
        let from = self.dice.place(&hostile);
        let targets: Vec<Place> =
            self.everyone().into_iter().filter(|to| self.world.is_connected(from, *to)).collect();
        if targets.is_empty() {
            return;
        }
        let to = self.dice.place(&targets);
        let frame = self.hostile_frame(from, to);
        self.world.inject(from, to, frame);
    }

    fn hostile_frame(&mut self, from: Place, to: Place) -> Vec<u8> {
        let patient = author(Place(0));
        let roll = self.dice.roll(11);
        let operation = match roll {
            0 => {
                Operation::Revoke(Revocation { author: patient, cut: Cut { height: 0, head: Digest::ZERO } })
            }
            1 => {
                let root = Root::from_bytes(Secret::new([66; 32]));
                let cut = Cut { height: 0, head: Digest::ZERO };
                Operation::Remove(root.remove(self.world.chart(to).record(), patient, cut))
            }
            2 => {
                let entry = self.world.chart(to).entries().next().map_or(Digest::ZERO, |(id, _)| *id);
                version(Change::Retraction, Some(entry), vec![entry])
            }
            3 => Operation::Erase(self.world.chart(to).entries().take(3).map(|(id, _)| *id).collect()),
            4 => {
                return (0..self.dice.roll(300))
                    .map(|_| u8::try_from(self.dice.roll(256)).unwrap())
                    .collect();
            }
            5 => return vec![4; chart::FRAME_MAX + 1],
            6 => {
                let log: Vec<_> = self.world.chart(to).log(&patient).cloned().collect();
                let pieces = log.into_iter().map(|signed| Piece { signed, content: None }).collect();
                return Message::Batch(pieces).encode();
            }
            _ => Operation::Audit(Audit { act: Act::Read, about: Some(Digest([7; 32])) }),
        };
        let mut header = next(&self.world, from, to, operation);
        match roll {
            // Another branch of its own log.
            7 if header.height > 1 => {
                let at = 1 + self.dice.roll(header.height - 1);
                let key = author(from);
                let log: Vec<Header> =
                    self.world.chart(to).log(&key).map(|signed| signed.header().clone()).collect();
                let old = &log[usize::try_from(at).unwrap()];
                header = Header { height: at, previous: old.previous, hlc: old.hlc, ..header };
            }
            8 => header.hlc = Hlc(1),
            9 => header.wall = UnixMillis(0),
            10 => header.author = patient,
            _ => {}
        }
        let signed = header.sign(&identity(from));
        self.branches.entry(from).or_default().push(signed.id());
        Message::Batch(vec![Piece { signed, content: None }]).encode()
    }

    /// Ends the storm: everything is connected until everybody knows everything.
    fn heal(&mut self) {
        for _ in 0..4 {
            self.world.connect_all();
            self.world.settle();
            self.world.pass(Duration::from_secs(31));
            self.world.settle();
        }
    }

    /// Replicas that follow the rules and are members still.
    fn honest(&self) -> Vec<Place> {
        let mut places = self.everyone();
        places.retain(|place| !self.hostile.contains(place) && !self.is_over(*place));
        places
    }

    fn is_over(&self, place: Place) -> bool {
        let key = author(place);
        self.world.chart(Place(0)).people().any(|person| person.author == key && person.ended.is_some())
    }

    fn check(&mut self) {
        let honest = self.honest();
        let first = self.world.chart(Place(0));
        for place in &honest {
            let other = self.world.chart(*place);
            assert_eq!(
                other.state(),
                first.state(),
                "{place:?} has another state\n{}",
                self.differences(*place)
            );
            let refused = |chart: &chart::Chart<crate::disk::Disk>| {
                chart.refused().map(|refused| (refused.id, refused.why)).collect::<BTreeSet<_>>()
            };
            assert_eq!(refused(other), refused(first), "{place:?} refuses other things");
            assert!(other.is_owner() || !self.owners.contains(place), "an owner was evicted");
        }
        for entry in &self.acknowledged {
            if self.hostile.contains(&entry.author) || self.is_over(entry.author) {
                continue;
            }
            for owner in &self.owners {
                let read = self.world.text(*owner, &entry.id);
                assert_eq!(
                    read.as_ref(),
                    Some(&entry.text),
                    "lost at {owner:?}: {}",
                    self.place_of(*owner, &entry.id)
                );
            }
            let header = self.world.chart(Place(0)).header(&entry.id).unwrap();
            assert!(first.refused().all(|refused| refused.id != entry.id), "{header:?} was refused");
        }
        self.check_revoked_cannot_read();
    }

    /// Gives a revoked member every byte there is: of what was written after its end by those who knew, nothing opens.
    fn check_revoked_cannot_read(&mut self) {
        let gone: Vec<Place> = self.revoked.iter().copied().filter(|place| self.is_over(*place)).collect();
        for place in gone {
            let all: Vec<chart::Signed> = {
                let chart = self.world.chart(Place(0));
                chart.authors().flat_map(|author| chart.log(author)).cloned().collect()
            };
            for signed in all {
                let (author, height) = (signed.header().author, signed.header().height);
                let chart = self.world.chart(Place(0));
                let get = |slot| chart::Archive::get(chart.store(), &slot).unwrap();
                let content =
                    get(chart::Slot::Key(author, height)).zip(get(chart::Slot::Content(author, height)));
                let content = content.map(|(key, content)| [key, content].concat());
                self.world.feed(place, signed, content);
            }
            for entry in self.acknowledged.iter().filter(|entry| entry.knew.contains(&place)) {
                let reading = self.world.chart(place).read(&entry.id).unwrap();
                assert!(!matches!(reading, Reading::Statement(_)), "{place:?} reads {:?}", entry.text);
            }
        }
    }

    /// Where an entry is, for people who look for a mistake.
    fn place_of(&self, at: Place, id: &Digest) -> String {
        let chart = self.world.chart(at);
        let header = chart.header(id);
        let epoch = header.and_then(|header| chart.header(&header.content?.epoch));
        format!("{:?}\n{header:?}\n{epoch:?}\nhostile {:?}", chart.read(id), self.hostile)
    }

    fn differences(&self, place: Place) -> String {
        let mut lines = Vec::new();
        let (a, b) = (self.world.chart(Place(0)), self.world.chart(place));
        for author in a.authors() {
            lines.push(format!("{author}: {} and {}", a.height(author), b.height(author)));
        }
        let tail = self.world.events.len().saturating_sub(30);
        lines.extend(self.world.events[tail..].iter().map(|event| format!("{event:?}")));
        lines.push(format!("{:?} {:?}", self.hostile, self.owners));
        lines.join("\n")
    }
}

fn run(seed: u64) {
    let mut storm = Storm::new(seed);
    for _ in 0..STEPS {
        storm.step();
    }
    storm.heal();
    storm.check();
}

#[test]
fn replicas_agree_after_any_storm_and_lose_nothing_that_was_acknowledged() {
    let seeds =
        std::env::var("HOMING_CHART_SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(SEEDS);
    let first = std::env::var("HOMING_CHART_FIRST").ok().and_then(|first| first.parse().ok()).unwrap_or(0);
    for seed in first..first + seeds {
        let failed = std::panic::catch_unwind(|| run(seed)).is_err();
        assert!(!failed, "seed {seed}");
    }
}
