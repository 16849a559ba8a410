//! What may befall a node: a dead bootstrap, no network, an outage, sleep.

use std::net::SocketAddrV4;
use std::time::Duration;

use dht::{Bootstrap, Config, Event, Online, Snapshot, Task};
use sim::{Cable, HostId, Path, Population, Realm, World};

const SECOND: Duration = Duration::from_secs(1);

fn network(seed: u64) -> Population {
    Population::grow(seed, Path::INTERNET, 30, Duration::from_millis(100)).unwrap()
}

fn snapshot(world: &World, host: HostId) -> Snapshot {
    world.node(host).unwrap().snapshot(world.instant())
}

fn raised(world: &World, host: HostId, wanted: fn(&Event) -> bool) -> bool {
    world.events().iter().any(|raised| raised.host == host && wanted(&raised.event))
}

fn is_ready(event: &Event) -> bool {
    matches!(event, Event::Ready)
}

fn changes_health(event: &Event) -> bool {
    matches!(event, Event::HealthChanged)
}

#[test]
fn a_node_with_a_dead_bootstrap_is_ready_after_two_seconds_and_works_once_a_node_comes() {
    let mut world = World::new(1, Path::INTERNET);
    let dead = world.add_host(Realm::Internet);
    let address = SocketAddrV4::new(world.net().address(dead), Config::PORT);
    let bootstrap = vec![Bootstrap::Address(address)];
    let host = world.add_node(Realm::Internet, Config { bootstrap, ..Config::default() });
    let report = world.run_until(10 * SECOND, |world| raised(world, host, is_ready)).unwrap();
    // Four sendings, the last after 1,050 ms, and 1,200 ms for its answer.
    assert!(report.now >= 2 * SECOND && report.now <= 3 * SECOND, "{report}");
    world.start(dead, Config::bootstrapper(address));
    world.run_until(30 * SECOND, |world| snapshot(world, host).nodes.len() == 1).unwrap();
}

#[test]
fn a_bootstrap_nodes_name_is_looked_up_when_its_old_address_is_dead() {
    let mut world = World::new(2, Path::INTERNET);
    let dead = world.add_host(Realm::Internet);
    let alive = world.add_host(Realm::Internet);
    let address = SocketAddrV4::new(world.net().address(alive), Config::PORT);
    world.start(alive, Config::bootstrapper(address));
    world.name("entrance.example", vec![*address.ip()]);
    let hint = Some(world.net().address(dead));
    let entry = Bootstrap::Name { hint, host: "entrance.example".into(), port: Config::PORT };
    let host = world.add_node(Realm::Internet, Config { bootstrap: vec![entry], ..Config::default() });
    let report = world.run_until(10 * SECOND, |world| raised(world, host, is_ready)).unwrap();
    // The old address is asked four times, a second apart.
    assert!(report.now >= 4 * SECOND && report.now <= 5 * SECOND, "{report}");
    assert_eq!(snapshot(&world, host).nodes.len(), 1);
}

#[test]
fn an_outage_of_thirty_seconds_is_seen_and_so_is_its_end() {
    let mut population = network(3);
    let host = population.hosts[17];
    let world = &mut population.world;
    let online = |world: &World| snapshot(world, host).health.online == Online::Yes;
    assert!(online(world));
    world.net_mut().set_cable(host, Cable::Down);
    let began = world.now();
    let mut offline_after = None;
    // A user notices because he tries things: without requests there is nothing to judge by.
    while world.now() < began + 30 * SECOND {
        for n in 0..4 {
            let to = SocketAddrV4::new(world.net().address(population.hosts[n]), Config::PORT);
            world.call(host, |node, now| node.start(now, Task::Ping { to }));
        }
        world.run_for(SECOND).unwrap();
        if offline_after.is_none() && !online(world) {
            offline_after = Some(world.now().saturating_sub(began));
        }
    }
    let offline_after = offline_after.unwrap();
    assert!(offline_after >= 10 * SECOND && offline_after <= 25 * SECOND, "{offline_after:?}");
    world.net_mut().set_cable(host, Cable::Up);
    world.take_events();
    for _ in 0..10 {
        for n in 0..4 {
            let to = SocketAddrV4::new(world.net().address(population.hosts[n]), Config::PORT);
            world.call(host, |node, now| node.start(now, Task::Ping { to }));
        }
        world.run_for(SECOND).unwrap();
    }
    assert!(online(world) && raised(world, host, changes_health));
}

#[test]
fn a_node_started_without_a_network_fills_its_table_once_there_is_one() {
    let mut population = network(4);
    let host = population.world.add_host(Realm::Internet);
    let bootstrap = population.bootstrap.clone();
    let world = &mut population.world;
    world.net_mut().set_cable(host, Cable::Down);
    world.start(host, Config { bootstrap, ..Config::default() });
    world.run_for(120 * SECOND).unwrap();
    assert!(raised(world, host, is_ready) && snapshot(world, host).nodes.is_empty());
    world.net_mut().set_cable(host, Cable::Up);
    world.run_until(30 * SECOND, |world| snapshot(world, host).nodes.len() >= 20).unwrap();
}

#[test]
fn a_node_started_without_a_network_is_quick_when_it_is_told_of_one() {
    let mut population = network(5);
    let host = population.world.add_host(Realm::Internet);
    let bootstrap = population.bootstrap.clone();
    let world = &mut population.world;
    world.net_mut().set_cable(host, Cable::Down);
    world.start(host, Config { bootstrap, ..Config::default() });
    world.run_for(121 * SECOND).unwrap();
    world.net_mut().set_cable(host, Cable::Up);
    world.change_network(host);
    world.run_until(3 * SECOND, |world| snapshot(world, host).nodes.len() >= 15).unwrap();
}

#[test]
fn a_node_that_slept_wakes_and_works() {
    let mut population = network(6);
    let host = population.hosts[17];
    let world = &mut population.world;
    world.sleep(host);
    world.run_for(8 * 3600 * SECOND).unwrap();
    world.take_events();
    world.wake(host);
    world.run_until(SECOND, |world| raised(world, host, |event| matches!(event, Event::Woke))).unwrap();
    let to = SocketAddrV4::new(world.net().address(population.hosts[3]), Config::PORT);
    let ping = world.call(host, |node, now| node.start(now, Task::Ping { to }));
    world
        .run_until(SECOND, |world| {
            world.events().iter().any(
                |raised| matches!(&raised.event, Event::Finished { operation, .. } if *operation == ping),
            )
        })
        .unwrap();
    assert_eq!(snapshot(world, host).health.online, Online::Yes);
}
