use std::time::Duration;

use dht::{Bootstrap, Config, Event, Standing};

use crate::harness::{World, address, stranger};

fn name(hint: Option<u8>) -> Bootstrap {
    let hint = hint.map(|n| *address(n).ip());
    Bootstrap::Name { hint, host: "node1.example".into(), port: 49737 }
}

fn client(bootstrap: Bootstrap) -> Config {
    Config { bootstrap: vec![bootstrap], ..Config::default() }
}

fn when(world: &World, wanted: fn(&Event) -> bool) -> bool {
    world.events.iter().any(|(at, event)| *at == address(99) && wanted(event))
}

#[test]
fn a_dead_bootstrap_list_ends_in_a_node_that_works_later() {
    let mut world = World::new();
    world.add(address(99), client(Bootstrap::Address(address(1))));
    world.run(Duration::from_millis(2_000));
    assert!(!when(&world, |event| matches!(event, Event::Ready)));
    // Four sendings, after 0, 150, 450 and 1,050 ms, and 1,200 ms for the last.
    world.run(Duration::from_millis(300));
    assert!(when(&world, |event| matches!(event, Event::Ready)));
    world.add(address(1), Config::bootstrapper(address(1)));
    world.run(Duration::from_secs(20));
    assert_eq!(world.node(address(99)).nodes().collect::<Vec<_>>(), [address(1)]);
}

#[test]
fn the_suggested_address_saves_the_name_and_the_name_is_the_way_out() {
    for (hint, wait) in [(Some(1), 0), (Some(77), 4_000), (None, 0)] {
        let mut world = World::network(3);
        if hint != Some(1) {
            world.names.insert("node1.example".into(), *address(1).ip());
        }
        world.add(address(99), client(name(hint)));
        world.run(Duration::from_millis(wait));
        assert!(when(&world, |event| matches!(event, Event::Ready)), "{hint:?}");
        assert_eq!(world.node(address(99)).nodes().count(), 3);
    }
}

#[test]
fn a_node_started_without_a_network_fills_its_table_when_there_is_one() {
    let mut world = World::network(5);
    world.add(address(99), client(name(None)));
    world.run(Duration::from_secs(120));
    assert!(when(&world, |event| matches!(event, Event::Ready)));
    assert_eq!(world.node(address(99)).nodes().count(), 0);
    world.names.insert("node1.example".into(), *address(1).ip());
    world.run(Duration::from_secs(20));
    assert_eq!(world.node(address(99)).nodes().count(), 5);
}

#[test]
fn an_open_node_learns_so_at_once_and_becomes_persistent_after_twenty_minutes() {
    let mut world = World::network(8);
    world.add(address(99), client(Bootstrap::Address(address(1))));
    world.run(Duration::from_secs(10));
    let now = world.now;
    let snapshot = world.node(address(99)).snapshot(now);
    assert!(!snapshot.firewalled && snapshot.ephemeral && snapshot.id.is_none());
    world.run(Duration::from_secs(1190 - 5));
    assert!(!when(&world, |event| matches!(event, Event::Persistent)));
    world.run(Duration::from_secs(15));
    assert!(when(&world, |event| matches!(event, Event::Persistent)));
    let now = world.now;
    assert_eq!(world.node(address(99)).snapshot(now).id, Some(dht::node_id(address(99))));
    world.run(Duration::from_secs(5));
    let listed = (1..=8).filter(|n| world.node(address(*n)).nodes().any(|node| node == address(99))).count();
    assert_eq!(listed, 8);
    world.node(address(99)).suspend(now);
    let now = world.now;
    world.node(address(99)).resume(now);
    world.run(Duration::from_secs(1));
    assert!(when(&world, |event| matches!(event, Event::Ephemeral)));
}

#[test]
fn nodes_of_an_earlier_run_are_enough_to_enter() {
    let mut world = World::network(8);
    let nodes = vec![stranger(1), address(5), stranger(2)];
    world.add(
        address(99),
        Config { bootstrap: Vec::new(), nodes, standing: Standing::Ephemeral, ..Config::default() },
    );
    world.run(Duration::from_secs(10));
    assert_eq!(world.node(address(99)).nodes().count(), 8);
}

#[test]
fn bootstrap_nodes_help_where_all_nodes_of_an_earlier_run_are_gone() {
    let mut world = World::network(8);
    world.names.insert("node1.example".into(), *address(1).ip());
    let nodes = vec![stranger(1), stranger(2), stranger(3)];
    // The hint is dead too, so that the name is the last way and comes while the walk waits for the dead.
    world.add(address(99), Config { nodes, ..client(name(Some(77))) });
    world.run(Duration::from_secs(7));
    assert!(when(&world, |event| matches!(event, Event::Ready)));
    assert_eq!(world.node(address(99)).nodes().count(), 8);
}
