use super::*;
use std::cell::Cell;
use std::rc::Rc;

const SECOND: Duration = Duration::from_secs(1);

fn bootstrapped(world: &mut World) -> (HostId, Vec<dht::Bootstrap>) {
    let host = world.add_host(Realm::Internet);
    let address = SocketAddrV4::new(world.net().address(host), Config::PORT);
    world.start(host, Config::bootstrapper(address));
    (host, vec![dht::Bootstrap::Address(address)])
}

fn ready(world: &World, host: HostId) -> bool {
    world.events().iter().any(|raised| raised.host == host && matches!(raised.event, Event::Ready))
}

#[test]
fn a_node_becomes_ready_once_its_bootstrap_node_answers() {
    let mut world = World::new(1, Path::INTERNET);
    let (_, bootstrap) = bootstrapped(&mut world);
    let host = world.add_node(Realm::Internet, Config { bootstrap, ..Config::default() });
    let report = world.run_until(5 * SECOND, |world| ready(world, host)).unwrap();
    assert!(report.now < SECOND, "{report}");
    assert!(report.traffic.delivered >= 2, "{report}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let faults = Path {
        loss: crate::Millionths::percent(10),
        duplication: crate::Millionths::percent(5),
        reordering: crate::Millionths::percent(5),
        ..Path::INTERNET
    };
    let run = |seed| {
        let mut world = World::new(seed, faults);
        let (_, bootstrap) = bootstrapped(&mut world);
        let hosts: Vec<_> = (0..20)
            .map(|_| {
                world.add_node(Realm::Internet, Config { bootstrap: bootstrap.clone(), ..Config::default() })
            })
            .collect();
        world.run_for(20 * SECOND).unwrap();
        world.sleep(hosts[3]);
        world.kill(hosts[4]);
        world.run_for(20 * SECOND).unwrap();
        world.wake(hosts[3]);
        world.run_for(20 * SECOND).unwrap()
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5).digest, run(6).digest);
}

#[test]
fn a_script_hears_and_speaks_after_a_while_and_under_a_false_name() {
    let mut world = World::new(1, Path::INTERNET);
    let heard = Rc::new(Cell::new(None));
    let ear = Rc::clone(&heard);
    let listener = world.add_script(
        Realm::Internet,
        Box::new(move |datagram| {
            ear.set(Some((datagram.now, datagram.from)));
            Vec::new()
        }),
    );
    let to = SocketAddrV4::new(world.net().address(listener), 7);
    let alias: SocketAddrV4 = "30.1.2.3:4".parse().unwrap();
    let liar = world.add_script(
        Realm::Internet,
        Box::new(move |_| {
            vec![Said { after: 3 * SECOND, spoof: Some(alias), ..Said::new(1, to, b"hello".into()) }]
        }),
    );
    let liars = SocketAddrV4::new(world.net().address(liar), 9);
    world.send(listener, Said::new(7, liars, b"speak".into()));
    world.run_for(4 * SECOND).unwrap();
    let (now, from) = heard.get().unwrap();
    assert_eq!(from, alias);
    assert!(now > 3 * SECOND && now < 4 * SECOND, "{now:?}");
}

#[test]
fn a_broken_rule_ends_the_run_with_seed_time_and_trace() {
    let mut world = World::new(77, Path::INTERNET);
    let (_, bootstrap) = bootstrapped(&mut world);
    world.add_node(Realm::Internet, Config { bootstrap, ..Config::default() });
    world.set_rule(Box::new(|world, _| if world.now() < SECOND { Ok(()) } else { Err("a second passed") }));
    let failure = world.run_for(10 * SECOND).unwrap_err();
    assert_eq!(failure.seed, 77);
    assert!(matches!(failure.why, Why::Broken(_, "a second passed")));
    assert!(failure.at >= SECOND && !failure.tail.is_empty());
}

#[test]
fn what_does_not_happen_in_time_fails() {
    let mut world = World::new(1, Path::INTERNET);
    let failure = world.run_until(SECOND, |_| false).unwrap_err();
    assert_eq!((failure.why, failure.at), (Why::Limit, SECOND));
}
