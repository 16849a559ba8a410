//! Small worlds in bad weather: everything that can go wrong does for a while, then must come right again.

mod truth;
mod weather;

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::time::Duration;

use dht::{AssumedFirewall, Bootstrap, Config, Event, OperationId, Outcome, Standing, Task, Timing, hash};
use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use wire::Id;

use crate::net::{
    Allocation, CutId, Dependence, Hairpin, HostId, Millionths, NatConfig, NatId, Path, Realm, Refresh,
};
use crate::report::{Failure, Report, Why};
use crate::world::World;

use truth::Truth;

/// How long things go wrong.
const STORM: Duration = Duration::from_mins(2);
/// How long the network has to recover: a background refresh of the tables, every five minutes, passes.
const CALM: Duration = Duration::from_mins(6);
/// Every operation has ended by then: a walk of six sendings a node, and what is stored at its end.
const OPERATION_MAX: Duration = Duration::from_secs(40);

/// Runs the world of one seed: two minutes of faults, six to recover, then everything must work.
///
/// Safety is looked at after each step; liveness at the end.
///
/// # Errors
///
/// Fails with what went wrong, and with the seed, which gives the same run again.
pub fn weather(seed: u64) -> Result<Report, Failure> {
    let mut storm = Storm::new(seed);
    storm.grow()?;
    storm.rage()?;
    storm.calm()?;
    storm.expect_recovery()?;
    Ok(storm.world.report())
}

#[derive(Debug)]
struct Storm {
    world: World,
    rng: StdRng,
    bootstrap: Vec<Bootstrap>,
    /// Open, persistent nodes; the first few are bootstrap nodes and keep their address.
    open: Vec<HostId>,
    /// Nodes behind a NAT.
    hidden: Vec<HostId>,
    nats: Vec<NatId>,
    cuts: Vec<CutId>,
    truth: Truth,
    running: BTreeMap<(HostId, OperationId), Duration>,
}

const BOOTSTRAPPERS: usize = 2;

impl Storm {
    fn new(seed: u64) -> Self {
        let world = World::new(seed, Path::INTERNET);
        let rng = world.workload();
        Self {
            world,
            rng,
            bootstrap: Vec::new(),
            open: Vec::new(),
            hidden: Vec::new(),
            nats: Vec::new(),
            cuts: Vec::new(),
            truth: Truth::default(),
            running: BTreeMap::new(),
        }
    }

    fn grow(&mut self) -> Result<(), Failure> {
        for _ in 0..BOOTSTRAPPERS {
            let host = self.world.add_host(Realm::Internet);
            let address = SocketAddrV4::new(self.world.net().address(host), Config::PORT);
            self.bootstrap.push(Bootstrap::Address(address));
            self.open.push(host);
        }
        for _ in 0..self.rng.random_range(6..=14) {
            let host = self.world.add_host(Realm::Internet);
            self.open.push(host);
        }
        for _ in 0..self.rng.random_range(1..=3) {
            let config = self.any_nat();
            let nat = self.world.net_mut().add_nat(Realm::Internet, config);
            self.nats.push(nat);
            for _ in 0..self.rng.random_range(1..=2) {
                self.hidden.push(self.world.add_host(Realm::Behind(nat)));
            }
        }
        self.add_liar();
        for host in self.open.clone().into_iter().chain(self.hidden.clone()) {
            self.start(host);
            self.world.run_for(Duration::from_millis(200))?;
        }
        truth::watch(&mut self.world);
        self.world.run_for(Duration::from_secs(10))?;
        Ok(())
    }

    fn rage(&mut self) -> Result<(), Failure> {
        let end = self.world.now() + STORM;
        while self.world.now() < end {
            let pause = Duration::from_millis(self.rng.random_range(100..2000));
            self.world.run_for(pause)?;
            self.gather()?;
            if self.rng.random_bool(0.5) {
                self.strike();
            } else {
                self.begin_something();
            }
        }
        Ok(())
    }

    fn calm(&mut self) -> Result<(), Failure> {
        self.world.net_mut().set_path(Path::INTERNET.with_loss(Millionths::percent(1)));
        for cut in std::mem::take(&mut self.cuts) {
            self.world.net_mut().heal(cut);
        }
        for host in self.everybody() {
            self.revive(host);
        }
        self.world.run_for(CALM)?;
        self.gather()
    }

    /// Everything works again: nothing hangs, everybody is online, finds everybody and finds a new record.
    fn expect_recovery(&mut self) -> Result<(), Failure> {
        if let Some((host, _)) = self.running.keys().next() {
            return Err(self.world.failure(Why::Broken(*host, "an operation never ended")));
        }
        let now = self.world.instant();
        for host in self.everybody() {
            let snapshot = self.world.node(host).map(|node| node.snapshot(now));
            let fine = snapshot.is_some_and(|snapshot| {
                snapshot.health.online == dht::Online::Yes && !snapshot.nodes.is_empty()
            });
            if !fine {
                return Err(self
                    .world
                    .failure(Why::Broken(host, "is offline, or knows nobody, in good weather")));
            }
        }
        self.expect_everybody_is_found()?;
        self.expect_a_record_is_found()?;
        self.expect_what_is_kept_is_found()
    }

    fn expect_everybody_is_found(&mut self) -> Result<(), Failure> {
        let seeker = self.anybody();
        let target = Id(self.rng.random());
        let outcome = self.finish(seeker, Task::FindNode { target })?;
        let Outcome::Walked(walked) = outcome else {
            return Err(self.world.failure(Why::Broken(seeker, "finds no node in good weather")));
        };
        let address = |host: &HostId| SocketAddrV4::new(self.world.net().address(*host), Config::PORT);
        let others = self.open.iter().filter(|host| **host != seeker).map(address);
        let missing = others.filter(|address| !walked.closest.contains(address)).count();
        if missing > 1 {
            return Err(self.world.failure(Why::Broken(seeker, "misses two nodes or more in good weather")));
        }
        Ok(())
    }

    fn expect_a_record_is_found(&mut self) -> Result<(), Failure> {
        let (announcer, seeker) = (self.anybody(), self.anybody());
        let topic = Id(self.rng.random());
        let key = truth::any_key(&mut self.rng);
        let public_key = key.public_key();
        let outcome = self.finish(announcer, Task::Announce { topic, key, relays: Vec::new(), bump: 0 })?;
        if !matches!(outcome, Outcome::Stored { stored: 1.., .. }) {
            return Err(self.world.failure(Why::Broken(announcer, "cannot announce in good weather")));
        }
        self.finish(seeker, Task::Lookup { topic })?;
        let found = self.truth.found.iter().any(|(of, key)| *of == topic && *key == public_key);
        if found {
            Ok(())
        } else {
            Err(self.world.failure(Why::Broken(seeker, "does not find what was announced")))
        }
    }

    fn expect_what_is_kept_is_found(&mut self) -> Result<(), Failure> {
        let seeker = self.anybody();
        let topic = hash(b"kept");
        self.truth.found.clear();
        self.finish(seeker, Task::Lookup { topic })?;
        for keeper in self.keepers() {
            let key = truth::own_key(keeper).public_key();
            if !self.truth.found.contains(&(topic, key)) {
                return Err(self
                    .world
                    .failure(Why::Broken(keeper, "its topic is not found in good weather")));
            }
            self.finish(seeker, Task::FindPeer { target: dht::target(key) })?;
            if !self.truth.found.contains(&(dht::target(key), key)) {
                return Err(self.world.failure(Why::Broken(keeper, "its key is not found in good weather")));
            }
        }
        Ok(())
    }

    /// Makes one operation and waits for its end.
    fn finish(&mut self, host: HostId, task: Task) -> Result<Outcome, Failure> {
        self.gather()?;
        let mine = self.world.call(host, |node, now| node.start(now, task));
        let is_mine =
            |event: &Event| matches!(event, Event::Finished { operation, .. } if *operation == mine);
        self.world.run_until(OPERATION_MAX, |world| {
            world.events().iter().any(|raised| raised.host == host && is_mine(&raised.event))
        })?;
        let mut outcome = None;
        for raised in self.world.take_events() {
            if raised.host == host && is_mine(&raised.event) {
                if let Event::Finished { outcome: how, .. } = raised.event {
                    outcome = Some(how);
                }
            } else {
                self.truth.learn(&raised.event);
            }
        }
        Ok(outcome.expect("it was seen among the events"))
    }

    fn begin_something(&mut self) {
        let host = self.anybody();
        if self.world.node(host).is_none() || self.world.is_asleep(host) {
            return;
        }
        let task = self.any_task();
        let operation = self.world.call(host, |node, now| node.start(now, task));
        self.running.insert((host, operation), self.world.now());
    }

    fn any_task(&mut self) -> Task {
        let topic = Id([self.rng.random_range(0..4); 32]);
        let key = truth::any_key(&mut self.rng);
        match self.rng.random_range(0..9) {
            0 => Task::Ping { to: SocketAddrV4::new([99, 9, 9, 9].into(), 9) },
            1 => Task::FindNode { target: Id(self.rng.random()) },
            2 => Task::Lookup { topic },
            3 => Task::Announce { topic, key, relays: Vec::new(), bump: 0 },
            4 => Task::Unannounce { topic, key },
            5 => {
                let value = vec![self.rng.random_range(0..4); 100];
                Task::ImmutablePut { value }
            }
            6 => Task::ImmutableGet { target: hash(&[self.rng.random_range(0..4); 100]) },
            7 => {
                let (seq, value) = self.truth.next_value(key.public_key());
                Task::MutablePut { key, seq, value }
            }
            _ => Task::MutableGet { key: key.public_key(), seq: 0 },
        }
    }

    /// Takes what the machines told and holds it against the truth.
    fn gather(&mut self) -> Result<(), Failure> {
        for raised in self.world.take_events() {
            if let Event::Finished { operation, .. } = &raised.event
                && let Some(began) = self.running.remove(&(raised.host, *operation))
                && raised.at > began + OPERATION_MAX
            {
                return Err(self.world.failure(Why::Broken(raised.host, "an operation took too long")));
            }
            if let Some(lie) = self.truth.learn(&raised.event) {
                return Err(self.world.failure(Why::Broken(raised.host, lie)));
            }
        }
        Ok(())
    }

    /// Starts a new node where one was killed, or for the first time.
    fn start(&mut self, host: HostId) {
        let place = self.open.iter().position(|open| *open == host);
        let address = SocketAddrV4::new(self.world.net().address(host), Config::PORT);
        // Shorter ticks, so that nodes try to become persistent while the storm lasts.
        let timing = Timing { stable_ticks: 6, unstable_ticks: 6, ..Timing::default() };
        let open = place.is_some();
        let config = Config {
            bootstrap: self.bootstrap.clone(),
            standing: if open { Standing::Persistent } else { Standing::Adaptive },
            firewall: if open { AssumedFirewall::Open } else { AssumedFirewall::Closed },
            known_address: place.filter(|place| *place < BOOTSTRAPPERS).map(|_| address),
            timing,
            ..Config::default()
        };
        self.running.retain(|(of, _), _| *of != host);
        self.world.start(host, config);
        if self.keepers().contains(&host) {
            let key = truth::own_key(host);
            self.truth.own_keys.insert(key.public_key());
            let topic = hash(b"kept");
            self.world.call(host, |node, now| {
                node.announce(now, topic, key.clone());
                node.listen(now, key);
            });
        }
    }

    /// Hosts that keep an announcement and a key alive, one of them behind a NAT.
    fn keepers(&self) -> [HostId; 2] {
        [self.open[BOOTSTRAPPERS], self.hidden[0]]
    }

    fn everybody(&self) -> Vec<HostId> {
        self.open.iter().chain(&self.hidden).copied().collect()
    }

    fn anybody(&mut self) -> HostId {
        *self.everybody().choose(&mut self.rng).expect("nodes were added")
    }

    fn any_nat(&mut self) -> NatConfig {
        let kinds = [Dependence::Independent, Dependence::Address, Dependence::AddressAndPort];
        let mut kind = || *kinds.choose(&mut self.rng).expect("there are three");
        let (mapping, filtering) = (kind(), kind());
        let allocations = [Allocation::Preserving, Allocation::Random, Allocation::Sequential];
        NatConfig {
            mapping,
            filtering,
            allocation: *allocations.choose(&mut self.rng).expect("there are three"),
            expiry: Duration::from_secs(self.rng.random_range(20..120)),
            refresh: if self.rng.random() { Refresh::Both } else { Refresh::Outbound },
            hairpin: if self.rng.random() { Hairpin::On } else { Hairpin::Off },
            mappings_max: 512,
        }
    }
}
