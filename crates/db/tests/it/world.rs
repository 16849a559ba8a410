//! Servers in virtual time on disks that tear: whatever is cut, killed and healed, they end with the same, and
//! nothing that was confirmed is lost.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use db::{Disk, Seq};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tooldb::json::Value;
use tooldb::{
    Backfill, Config, Digest, Document, Draft, Endpoint, Identity, Key, Kind, LinkId, Now, Record, Replica,
    Shape, Side, Source, Span, Store, Topic, UnixMillis,
};

use crate::torn::TornDisk;

const SERVERS: usize = 3;
const SEEDS: u64 = 150;
const EPOCH: i64 = 1_795_198_888_771;
/// Within this time of healing, servers agree.
const HEALED: i64 = 10_000;

struct Server {
    replica: Option<Replica<Disk>>,
    disk: TornDisk,
    identity: Identity,
    /// Writes that nobody was told of yet, with their place in the store.
    unconfirmed: Vec<(Seq, Record)>,
}

struct World {
    chance: StdRng,
    start: Instant,
    millis: i64,
    servers: Vec<Server>,
    /// Open connections: number, and both ends.
    links: BTreeMap<u64, (usize, usize)>,
    next_link: u64,
    /// Frames on their way, in order for each connection and end.
    travelling: BTreeMap<(u64, usize), VecDeque<String>>,
    confirmed: Vec<Record>,
}

fn config(place: usize) -> Config {
    let port = 9_000 + u16::try_from(place).unwrap();
    let endpoint = Endpoint::new("127.0.0.1", port).unwrap();
    Config { backfill: Backfill::Never, ..Config::server(Topic::new("world").unwrap(), endpoint) }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            chance: StdRng::seed_from_u64(seed),
            start: Instant::now(),
            millis: 0,
            servers: Vec::new(),
            links: BTreeMap::new(),
            next_link: 0,
            travelling: BTreeMap::new(),
            confirmed: Vec::new(),
        };
        for place in 0..SERVERS {
            let identity = Identity::from_seed([u8::try_from(place).unwrap() + 100; 32]);
            let disk = TornDisk::default();
            world.servers.push(Server { replica: None, disk, identity, unconfirmed: Vec::new() });
            world.start(place);
        }
        world.connect_all();
        world
    }

    fn now(&self) -> Now {
        let passed = Duration::from_millis(u64::try_from(self.millis).unwrap());
        Now { instant: self.start + passed, wall: UnixMillis(EPOCH + self.millis) }
    }

    fn start(&mut self, place: usize) {
        let (seed, now): ([u8; 32], _) = (self.chance.random(), self.now());
        let server = &mut self.servers[place];
        let disk = Disk::open_backend(server.disk.clone(), seed).unwrap();
        server.replica = Some(Replica::new(config(place), server.identity.clone(), disk, (seed, now)));
    }

    /// Cuts the power: what was not synced may be there or not, sector by sector.
    fn kill(&mut self, place: usize) {
        let ends: Vec<u64> = self
            .links
            .iter()
            .filter(|(_, (a, b))| [*a, *b].contains(&place))
            .map(|(link, _)| *link)
            .collect();
        for link in ends {
            self.cut(link);
        }
        let seed = self.chance.random();
        let server = &mut self.servers[place];
        // Taken before the process ends: an orderly end would sync.
        let found = server.disk.after_power_cut(seed);
        server.replica = None;
        server.unconfirmed.clear();
        server.disk = found;
    }

    fn cut(&mut self, link: u64) {
        let Some((one, two)) = self.links.remove(&link) else { return };
        let now = self.now();
        for end in [one, two] {
            self.travelling.remove(&(link, end));
            if let Some(replica) = &mut self.servers[end].replica {
                replica.closed(now, LinkId(link));
            }
        }
        self.collect();
    }

    fn connect_all(&mut self) {
        for one in 0..SERVERS {
            for two in one + 1..SERVERS {
                let up = self.servers[one].replica.is_some() && self.servers[two].replica.is_some();
                if up && !self.links.values().any(|ends| *ends == (one, two)) {
                    let (link, now) = (self.next_link, self.now());
                    self.next_link += 1;
                    self.links.insert(link, (one, two));
                    for (end, side) in [(two, Side::Accepted), (one, Side::Dialled)] {
                        let replica = self.servers[end].replica.as_mut().unwrap();
                        replica.open(now, LinkId(link), (side, Source::Trusted));
                    }
                }
            }
        }
        self.collect();
    }

    fn collect(&mut self) {
        for place in 0..SERVERS {
            let Some(replica) = &mut self.servers[place].replica else { continue };
            while replica.poll_event().is_some() {}
            while let Some((LinkId(link), text)) = replica.poll_send() {
                if let Some((one, two)) = self.links.get(&link) {
                    let to = if *one == place { *two } else { *one };
                    self.travelling.entry((link, to)).or_default().push_back(text.to_string());
                }
            }
        }
    }

    /// Delivers one frame of some connection.
    fn deliver(&mut self) -> bool {
        let ways: Vec<(u64, usize)> =
            self.travelling.iter().filter(|(_, frames)| !frames.is_empty()).map(|(way, _)| *way).collect();
        if ways.is_empty() {
            return false;
        }
        let (link, to) = ways[self.chance.random_range(0..ways.len())];
        let text = self.travelling.get_mut(&(link, to)).and_then(VecDeque::pop_front).unwrap();
        let now = self.now();
        if let Some(replica) = &mut self.servers[to].replica {
            replica.handle_message(now, LinkId(link), text.as_bytes());
        }
        self.collect();
        true
    }

    fn pass(&mut self, millis: i64) {
        self.millis += millis;
        let now = self.now();
        for server in &mut self.servers {
            if let Some(replica) = &mut server.replica {
                replica.handle_timeout(now);
            }
        }
        self.collect();
    }

    /// Takes a server's writes to its disk, and confirms them.
    fn sync(&mut self, place: usize) {
        let server = &mut self.servers[place];
        let Some(replica) = &mut server.replica else { return };
        replica.store_mut().sync().unwrap();
        let durable = replica.store().durable();
        let (done, rest) =
            std::mem::take(&mut server.unconfirmed).into_iter().partition(|(seq, _)| *seq <= durable);
        server.unconfirmed = rest;
        let done: Vec<(Seq, Record)> = done;
        self.confirmed.extend(done.into_iter().map(|(_, record)| record));
    }

    fn put(&mut self, place: usize) {
        let author = Identity::from_seed([self.chance.random_range(0..4); 32]);
        let number = self.chance.random_range(0..12);
        let draft = match self.chance.random_range(0..4) {
            0 => {
                let mut document = Document::new(Shape::List);
                let key = Key::new(&format!("visits {}", number % 2)).unwrap();
                if let Some(known) =
                    self.servers[place].replica.as_ref().and_then(|r| r.document(&key).unwrap())
                {
                    document.merge(&known);
                }
                document.count(&author.address().to_string(), 1.0);
                Draft { key, value: document.to_value(), kind: Kind::List }
            }
            1 => Draft::plain(Key::frozen(&format!("name {}", number % 3)).unwrap(), self.value()),
            _ => Draft::plain(Key::new(&format!("key {number}")).unwrap(), self.value()),
        };
        let now = self.now();
        let server = &mut self.servers[place];
        let Some(replica) = &mut server.replica else { return };
        let record = draft.sign(now.wall, &author);
        // A name may be another's.
        if replica.put_signed(now, &record).is_ok() {
            server.unconfirmed.push((replica.store().last(), record));
        }
        self.collect();
    }

    fn value(&mut self) -> Value {
        Value::Text("x".repeat(self.chance.random_range(0..900)).as_str().into())
    }

    fn step(&mut self) {
        let place = self.chance.random_range(0..SERVERS);
        match self.chance.random_range(0..100) {
            0..40 => self.put(place),
            40..75 => drop(self.deliver()),
            75..85 => self.sync(place),
            85..90 => {
                let links: Vec<u64> = self.links.keys().copied().collect();
                if !links.is_empty() {
                    let chosen = self.chance.random_range(0..links.len());
                    self.cut(links[chosen]);
                }
            }
            90..93 => self.kill(place),
            93..97 => {
                if self.servers[place].replica.is_none() {
                    self.start(place);
                }
            }
            _ => self.connect_all(),
        }
        let millis = self.chance.random_range(0..50);
        self.pass(millis);
    }

    fn heal(&mut self) {
        for place in 0..SERVERS {
            if self.servers[place].replica.is_none() {
                self.start(place);
            }
        }
        self.connect_all();
        let end = self.millis + HEALED;
        while self.millis < end {
            while self.deliver() {}
            self.pass(100);
        }
        (0..SERVERS).for_each(|place| self.sync(place));
    }

    fn states(&self, place: usize) -> Vec<(String, Digest)> {
        let whole = Span { from: Key::first(), until: None };
        let states = self.servers[place].replica.as_ref().unwrap().store().states(&whole, 1_000).unwrap();
        states.into_iter().map(|state| (state.key.to_string(), state.digest)).collect()
    }

    /// Whether a server has a record, or one that the documented order puts before it.
    fn has(&self, record: &Record) -> bool {
        let replica = self.servers[0].replica.as_ref().unwrap();
        if let Some(shape) = Shape::of(record.kind()) {
            let value = Value::parse(record.value()).unwrap();
            let part = Document::from_value(shape, &value).unwrap();
            return replica.document(record.key()).unwrap().is_some_and(|whole| whole.covers(&part));
        }
        let claim = replica.store().claim(record.key()).unwrap();
        // A name goes to the older claim, and with it what another wrote there.
        if claim.is_some_and(|claim| claim.owner() != record.author()) {
            return true;
        }
        replica.store().plain(record.key()).unwrap().is_some_and(|kept| kept.order() >= record.order())
    }
}

#[test]
fn servers_agree_within_ten_seconds_of_healing_and_keep_everything_that_was_confirmed() {
    let mut confirmed = 0;
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        for _ in 0..120 {
            world.step();
        }
        world.heal();
        for place in 1..SERVERS {
            assert_eq!(world.states(place), world.states(0), "seed {seed}, server {place}");
        }
        for record in &world.confirmed {
            assert!(world.has(record), "seed {seed}: {record:?} was confirmed and is lost");
        }
        confirmed += world.confirmed.len();
    }
    assert!(confirmed > 1_000, "{confirmed} confirmed writes are too few to show anything");
}

#[test]
fn a_server_that_missed_thousands_of_keys_has_them_all_within_ten_seconds() {
    let mut world = World::new(7);
    let links: Vec<u64> = world.links.keys().copied().collect();
    for link in links {
        world.cut(link);
    }
    let author = Identity::from_seed([1; 32]);
    for number in 0..3_000 {
        let draft = Draft::plain(Key::new(&format!("key {number}")).unwrap(), Value::parse("1").unwrap());
        let now = world.now();
        let replica = world.servers[number % 2].replica.as_mut().unwrap();
        replica.put_signed(now, &draft.sign(now.wall, &author)).unwrap();
        world.collect();
    }
    world.heal();
    assert_eq!(world.states(2).len(), 1_000, "as many as one look shows");
    for place in 0..SERVERS {
        assert_eq!(world.servers[place].replica.as_ref().unwrap().store().size().unwrap().records, 3_000);
    }
}
