use std::net::SocketAddrV4;
use std::time::Duration;

use dht::{AssumedFirewall, Bootstrap, Config, Standing, node_id};
use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use wire::Id;

use crate::net::{Cable, HostId, Path, Realm};
use crate::report::{Failure, Why};
use crate::world::World;

/// Nodes in an answer of HyperDHT.
const K: usize = 20;
const BOOTSTRAPPERS: usize = 3;

/// A world with a grown network of open, persistent nodes.
#[derive(Debug)]
pub struct Population {
    /// The world.
    pub world: World,
    /// Where to enter the network.
    pub bootstrap: Vec<Bootstrap>,
    /// All hosts, bootstrap nodes first.
    pub hosts: Vec<HostId>,
    rng: StdRng,
}

impl Population {
    /// Lets a network of `nodes` grow by one node each `interval`.
    ///
    /// # Errors
    ///
    /// Fails when a node is not persistent a minute after the last one came.
    pub fn grow(seed: u64, path: Path, nodes: usize, interval: Duration) -> Result<Self, Failure> {
        let mut world = World::new(seed, path);
        let mut hosts = Vec::with_capacity(nodes);
        let mut bootstrap = Vec::new();
        for _ in 0..BOOTSTRAPPERS.min(nodes) {
            let host = world.add_host(Realm::Internet);
            let address = SocketAddrV4::new(world.net().address(host), Config::PORT);
            world.start(host, Config::bootstrapper(address));
            bootstrap.push(Bootstrap::Address(address));
            hosts.push(host);
        }
        let rng = world.workload();
        let mut population = Self { world, bootstrap, hosts, rng };
        while population.hosts.len() < nodes {
            let host = population.world.add_node(Realm::Internet, population.open_node());
            population.hosts.push(host);
            population.world.run_for(interval)?;
            drop(population.world.take_events());
        }
        population.world.run_for(Duration::from_mins(1))?;
        if population.roster().len() < nodes {
            return Err(population.world.failure(Why::Unmet("every node becomes persistent")));
        }
        Ok(population)
    }

    /// Returns how a node is set up that everybody may reach and store at once.
    #[must_use]
    pub fn open_node(&self) -> Config {
        Config {
            bootstrap: self.bootstrap.clone(),
            standing: Standing::Persistent,
            firewall: AssumedFirewall::Open,
            ..Config::default()
        }
    }

    /// Silences `count` random nodes that are no bootstrap nodes, for good.
    pub fn silence(&mut self, count: usize) {
        let mut others = self.hosts.split_off(self.bootstrap.len());
        others.shuffle(&mut self.rng);
        for host in others.drain(..count.min(others.len())) {
            self.world.kill(host);
        }
        self.hosts.append(&mut others);
    }

    /// Returns a random host of those that still live.
    pub fn any_host(&mut self) -> HostId {
        self.hosts[self.rng.random_range(0..self.hosts.len())]
    }

    /// Returns a random point of the key space.
    pub fn any_target(&mut self) -> Id<32> {
        Id(self.rng.random())
    }

    /// Lists everybody who should be found: persistent, awake, and not silent.
    #[must_use]
    pub fn roster(&self) -> Roster {
        let world = &self.world;
        let answering = world.nodes().filter(|(host, _)| world.net().cable(*host) == Cable::Up);
        let entries = answering.filter_map(|(_, node)| {
            let snapshot = node.snapshot(world.instant());
            let (id, host, port) = (snapshot.id?, snapshot.host?, snapshot.port?);
            let address = SocketAddrV4::new(host, port);
            debug_assert_eq!(id, node_id(address), "an id is the hash of its address");
            Some((id, address))
        });
        Roster(entries.collect())
    }
}

/// Everybody who should be found: the truth that a lookup is measured against.
#[derive(Clone, Debug)]
pub struct Roster(Vec<(Id<32>, SocketAddrV4)>);

impl Roster {
    /// Adds a host that is found though no machine runs on it: a script under its true id.
    pub fn add(&mut self, address: SocketAddrV4) {
        self.0.push((node_id(address), address));
    }

    /// Counts the nodes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether nobody should be found.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sorts all by distance and returns the 20 closest to `target` that are not `asker`, which does not look
    /// for itself.
    #[must_use]
    pub fn closest(&self, target: &Id<32>, asker: Option<SocketAddrV4>) -> Vec<SocketAddrV4> {
        let mut others: Vec<_> = self.0.iter().filter(|(_, address)| Some(*address) != asker).collect();
        others.sort_unstable_by_key(|(id, _)| id.distance(target));
        others.into_iter().take(K).map(|(_, address)| *address).collect()
    }
}
