//! How a node becomes persistent, and what keeps it from it (`dht-rpc index.js`, specification 3.12).

use std::net::SocketAddrV4;
use std::time::Duration;

use dht::{Config, Event, Snapshot, node_id};
use sim::{Dependence, Failure, HostId, NatConfig, Path, Population, Realm, World};

const MINUTE: Duration = Duration::from_mins(1);

fn network(seed: u64) -> Population {
    Population::grow(seed, Path::INTERNET, 30, Duration::from_millis(100)).unwrap()
}

/// Adds an adaptive node at the default port, with the defaults of the reference.
fn add_adaptive(population: &mut Population, realm: Realm) -> HostId {
    let bootstrap = population.bootstrap.clone();
    population.world.add_node(realm, Config { bootstrap, ..Config::default() })
}

fn snapshot(world: &World, host: HostId) -> Snapshot {
    world.node(host).unwrap().snapshot(world.instant())
}

fn time_of(world: &mut World, host: HostId, wanted: fn(&Event) -> bool) -> Option<Duration> {
    let events = world.take_events();
    events.into_iter().find(|raised| raised.host == host && wanted(&raised.event)).map(|raised| raised.at)
}

#[test]
fn an_open_node_becomes_persistent_after_twenty_minutes_and_others_list_it() {
    let mut population = network(1);
    let born = population.world.now();
    let host = add_adaptive(&mut population, Realm::Internet);
    let world = &mut population.world;
    world.run_for(19 * MINUTE).unwrap();
    assert!(!snapshot(world, host).firewalled, "one reply to the quick test at the start, then five");
    assert!(snapshot(world, host).ephemeral);
    world.run_for(2 * MINUTE).unwrap();
    let at = time_of(world, host, |event| matches!(event, Event::Persistent)).unwrap().saturating_sub(born);
    // 240 ticks of five seconds, and a round trip or two for the test.
    assert!(at >= 20 * MINUTE && at < 20 * MINUTE + Duration::from_secs(6), "{at:?}");
    let address = SocketAddrV4::new(world.net().address(host), Config::PORT);
    let now = snapshot(world, host);
    assert_eq!(now.id, Some(node_id(address)));
    assert!(!now.firewalled && !now.ephemeral);
    let listed = world.nodes().filter(|(_, node)| node.nodes().any(|known| known == address)).count();
    assert!(listed >= 10, "{listed} of 30 know the newcomer");
}

#[test]
fn a_node_whose_port_is_forwarded_later_proves_it_with_five_calls_at_the_first_attempt() {
    let mut population = network(8);
    let nat = population.world.net_mut().add_nat(Realm::Internet, NatConfig::HOME);
    let host = add_adaptive(&mut population, Realm::Behind(nat));
    let world = &mut population.world;
    let inner = SocketAddrV4::new(world.net().address(host), Config::PORT);
    world.run_for(10 * MINUTE).unwrap();
    assert!(snapshot(world, host).firewalled);
    world.net_mut().forward(nat, Config::PORT, inner);
    world.run_for(Duration::from_secs(597)).unwrap();
    let before = snapshot(world, host);
    assert!(before.firewalled && before.port.is_some_and(|port| port != Config::PORT), "speaks as a client");
    world.run_for(Duration::from_secs(6)).unwrap();
    let now = snapshot(world, host);
    let sent = |snapshot: &Snapshot| snapshot.stats.commands.ping_nat.tx;
    assert_eq!((sent(&before), sent(&now)), (1, 6), "the quick test at the start, then five");
    assert_eq!(now.port, Some(Config::PORT), "speaks from the server socket");
    assert_eq!(now.id, Some(node_id(SocketAddrV4::new(world.net().outer_address(nat), Config::PORT))));
}

/// Runs a node behind a NAT past its first two attempts, an hour apart, and expects it to stay as it is.
fn expect_firewalled(population: &mut Population, host: HostId) -> Result<(), Failure> {
    let world = &mut population.world;
    world.run_for(85 * MINUTE)?;
    let now = snapshot(world, host);
    assert!(now.firewalled && now.ephemeral && now.id.is_none());
    assert!(now.host.is_some() && now.port.is_some(), "its address is known: only the test holds it back");
    assert!(now.stats.commands.ping_nat.tx >= 5);
    assert_eq!(time_of(world, host, |event| matches!(event, Event::Persistent)), None);
    assert_eq!(now.stored, [0; 4]);
    Ok(())
}

#[test]
fn a_node_whose_test_replies_are_dropped_stays_ephemeral() {
    let mut population = network(2);
    let nat = population.world.net_mut().add_nat(Realm::Internet, NatConfig::HOME);
    let host = add_adaptive(&mut population, Realm::Behind(nat));
    expect_firewalled(&mut population, host).unwrap();
}

#[test]
fn a_node_behind_a_forwarded_port_of_another_number_stays_firewalled() {
    let mut population = network(3);
    let nat = population.world.net_mut().add_nat(Realm::Internet, NatConfig::HOME);
    let host = add_adaptive(&mut population, Realm::Behind(nat));
    let inner = SocketAddrV4::new(population.world.net().address(host), Config::PORT);
    population.world.net_mut().forward(nat, 50_000, inner);
    expect_firewalled(&mut population, host).unwrap();
}

#[test]
fn a_node_behind_a_forwarded_port_of_the_same_number_becomes_persistent_under_the_nats_address() {
    let mut population = network(4);
    let config = NatConfig { filtering: Dependence::Address, ..NatConfig::HOME };
    let nat = population.world.net_mut().add_nat(Realm::Internet, config);
    let host = add_adaptive(&mut population, Realm::Behind(nat));
    let inner = SocketAddrV4::new(population.world.net().address(host), Config::PORT);
    population.world.net_mut().forward(nat, Config::PORT, inner);
    let world = &mut population.world;
    world.run_for(21 * MINUTE).unwrap();
    let address = SocketAddrV4::new(world.net().outer_address(nat), Config::PORT);
    assert_eq!(snapshot(world, host).id, Some(node_id(address)));
}

#[test]
fn a_node_behind_a_symmetric_nat_knows_its_host_and_that_its_port_is_random() {
    let mut population = network(5);
    let nat = population.world.net_mut().add_nat(Realm::Internet, NatConfig::SYMMETRIC);
    let host = add_adaptive(&mut population, Realm::Behind(nat));
    let world = &mut population.world;
    world.run_for(21 * MINUTE).unwrap();
    let now = snapshot(world, host);
    assert_eq!((now.host, now.port, now.randomized), (Some(world.net().outer_address(nat)), None, true));
    assert!(now.firewalled && now.ephemeral);
    assert_eq!(
        now.stats.commands.ping_nat.tx, 1,
        "the quick test at the start; no other without a consistent address"
    );
}

#[test]
fn an_open_node_that_moves_behind_a_nat_has_to_prove_itself_again() {
    let mut population = network(6);
    let host = add_adaptive(&mut population, Realm::Internet);
    population.world.run_for(21 * MINUTE).unwrap();
    assert!(!snapshot(&population.world, host).ephemeral);
    let nat = population.world.net_mut().add_nat(Realm::Internet, NatConfig::HOME);
    population.world.net_mut().roam(host, Realm::Behind(nat));
    population.world.change_network(host);
    population.world.take_events();
    assert!(snapshot(&population.world, host).ephemeral);
    expect_firewalled(&mut population, host).unwrap();
}

#[test]
fn a_node_that_is_told_to_be_persistent_gets_a_new_id_where_it_moves() {
    let mut population = network(7);
    let host = population.hosts[17];
    let world = &mut population.world;
    let before = snapshot(world, host).id;
    world.net_mut().roam(host, Realm::Internet);
    world.change_network(host);
    world.run_for(MINUTE).unwrap();
    let address = SocketAddrV4::new(world.net().address(host), Config::PORT);
    assert_ne!(before, Some(node_id(address)));
    assert_eq!(snapshot(world, host).id, Some(node_id(address)));
    let listed = world.nodes().filter(|(_, node)| node.nodes().any(|known| known == address)).count();
    assert!(listed >= 10, "{listed} of 30 know where it is");
}
