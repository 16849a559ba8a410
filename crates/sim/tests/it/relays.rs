//! The way to a key whose node is behind a NAT leads through the nodes that it is announced on.

use std::net::SocketAddrV4;
use std::time::Duration;

use dht::{Config, KeyPair, PublicKey};
use sim::{HostId, NatConfig, NatId, Path, Population, Realm, Said};
use wire::Request;
use wire::hyper::{HandshakeEnvelope, Mode, PEER_HANDSHAKE};

struct Scene {
    population: Population,
    nat: NatId,
    hidden: HostId,
    stranger: HostId,
    key: PublicKey,
}

impl Scene {
    /// A network of open nodes, and a node behind a NAT that listens.
    fn new(seed: u64, config: NatConfig) -> Self {
        let mut population = Population::grow(seed, Path::INTERNET, 30, Duration::from_millis(100)).unwrap();
        let nat = population.world.net_mut().add_nat(Realm::Internet, config);
        let bootstrap = population.bootstrap.clone();
        let hidden = population.world.add_node(Realm::Behind(nat), Config { bootstrap, ..Config::default() });
        let stranger = population.world.add_script(Realm::Internet, Box::new(|_| Vec::new()));
        let pair = KeyPair::from_seed([7; 32]);
        let key = pair.public_key();
        population.world.call(hidden, |node, now| node.listen(now, pair));
        population.world.run_for(Duration::from_secs(10)).unwrap();
        Self { population, nat, hidden, stranger, key }
    }

    /// Counts the relays that pass a stranger's handshake on to the hidden node.
    fn ways(&mut self) -> u64 {
        let world = &mut self.population.world;
        let of = |world: &sim::World| world.node(self.hidden).unwrap().snapshot(world.instant());
        let before = of(world);
        for relay in &before.listening[0].1 {
            let mut value = Vec::new();
            let (mode, noise, peer, over) = (Mode::FromClient, &[1; 100], None, None);
            HandshakeEnvelope { mode, noise, peer, relay: over }.encode(&mut value);
            let (tid, to, id, token, command) = (1, *relay, None, None, PEER_HANDSHAKE);
            let (target, value) = (Some(dht::target(self.key)), Some(&value[..]));
            let mut bytes = Vec::new();
            Request { tid, to, id, token, command, target, value }.encode(&mut bytes);
            world.send(self.stranger, Said::new(1, SocketAddrV4::new(*relay.ip(), relay.port()), bytes));
        }
        world.run_for(Duration::from_secs(1)).unwrap();
        of(world).stats.served.handshake - before.stats.served.handshake
    }
}

#[test]
fn three_ways_lead_to_a_listening_key_and_stay_open() {
    let mut scene = Scene::new(1, NatConfig { expiry: Duration::from_secs(20), ..NatConfig::HOME });
    assert_eq!(scene.ways(), 3);
    scene.population.world.run_for(Duration::from_hours(2)).unwrap();
    assert_eq!(scene.ways(), 3);
}

#[test]
fn the_ways_open_again_soon_after_the_router_got_another_address() {
    for config in [NatConfig::HOME, NatConfig::SYMMETRIC] {
        let mut scene = Scene::new(2, config);
        scene.population.world.run_for(Duration::from_secs(60)).unwrap();
        assert_eq!(scene.ways(), 3);
        let nat = scene.nat;
        scene.population.world.net_mut().rebind(nat);
        scene.population.world.run_for(Duration::from_secs(8)).unwrap();
        assert_eq!(scene.ways(), 3, "{config:?}");
    }
}
