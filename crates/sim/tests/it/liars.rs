//! Hosts that answer falsely: what they cost an honest node.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use dht::{Config, Event, Outcome, Task, node_id};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sim::{Heard, HostId, Path, Population, Realm, Said};
use wire::{Addrs, Id, Request, Response, Token, pack_addrs};

/// Answers as a good node would, except that it names nodes that do not exist: of many addresses, those whose
/// ids are closest to what is looked for.
fn lie(heard: &Heard<'_>) -> Vec<Said> {
    let Ok(request) = Request::decode(heard.bytes) else { return Vec::new() };
    let target = request.target.unwrap_or(Id([0; 32]));
    let mut rng = StdRng::seed_from_u64(target.prefix());
    let mut invented: Vec<_> = (0..1000)
        .map(|_| SocketAddrV4::new(Ipv4Addr::new(99, rng.random(), rng.random(), 1), Config::PORT))
        .collect();
    invented.sort_by_cached_key(|address| node_id(*address).distance(&target));
    let named = pack_addrs(invented.into_iter().take(20));
    let (to, tid, error) = (heard.from, request.tid, 0);
    let closer = if request.target.is_some() { Addrs::from_packed(&named) } else { Addrs::EMPTY };
    let (id, token, value) = (Some(node_id(heard.at)), Some(Token([1; 32])), None);
    let mut bytes = Vec::new();
    Response { tid, to, id, token, closer, error, value }.encode(&mut bytes);
    vec![Said::new(heard.at.port(), heard.from, bytes)]
}

/// Makes a liar known to everybody: it asks them something, under its true id.
fn introduce(population: &mut Population, liar: HostId) {
    let address = SocketAddrV4::new(population.world.net().address(liar), Config::PORT);
    for host in population.hosts.clone() {
        let to = SocketAddrV4::new(population.world.net().address(host), Config::PORT);
        let (tid, id, token, target, value) = (1, Some(node_id(address)), None, None, None);
        let mut bytes = Vec::new();
        Request { tid, to, id, token, command: wire::Command::PING, target, value }.encode(&mut bytes);
        population.world.send(liar, Said::new(Config::PORT, to, bytes));
    }
}

/// Makes one lookup and returns whom it found.
fn find(population: &mut Population, host: HostId, target: Id<32>, limit: Duration) -> Vec<SocketAddrV4> {
    let world = &mut population.world;
    world.take_events();
    let mine = world.call(host, |node, now| node.start(now, Task::FindNode { target }));
    let is_mine = |event: &Event| matches!(event, Event::Finished { operation, .. } if *operation == mine);
    world.run_until(limit, |world| world.events().iter().any(|raised| is_mine(&raised.event))).unwrap();
    let walked = world.take_events().into_iter().find_map(|raised| match raised.event {
        Event::Finished { operation, outcome: Outcome::Walked(walked) } if operation == mine => Some(walked),
        _ => None,
    });
    walked.unwrap().closest
}

#[test]
fn a_tenth_of_liars_costs_time_and_no_results() {
    let mut population = Population::grow(1, Path::INTERNET, 180, Duration::from_millis(100)).unwrap();
    let mut truth = population.roster();
    let mut liars = Vec::new();
    for _ in 0..20 {
        let liar = population.world.add_script(Realm::Internet, Box::new(lie));
        introduce(&mut population, liar);
        population.world.run_for(Duration::from_secs(1)).unwrap();
        liars.push(SocketAddrV4::new(population.world.net().address(liar), Config::PORT));
    }
    // Liars under their true ids are nodes like others: they belong to the result, what they invent does not.
    for liar in &liars {
        truth.add(*liar);
    }
    let (mut exact, mut met) = (0, 0);
    for _ in 0..50 {
        let (host, target) = (population.any_host(), population.any_target());
        let asker = SocketAddrV4::new(population.world.net().address(host), Config::PORT);
        let found = find(&mut population, host, target, Duration::from_secs(5));
        exact += usize::from(found == truth.closest(&target, Some(asker)));
        met += usize::from(found.iter().any(|address| liars.contains(address)));
    }
    assert!(met > 25, "liars are among the closest in {met} of 50 lookups only");
    assert!(exact >= 49, "{exact} of 50 lookups find exactly the closest");
}
