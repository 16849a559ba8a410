//! What people rely on: the same topic, each peer once, the dead dropped and their return noticed.

use std::time::Duration;

use discovery::{Domain, Join, Naming, Topic};

use crate::link::{Link, Weather, at};
use crate::vectors::port;

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);
const NONE: Duration = Duration::ZERO;

fn topic() -> Topic {
    Topic::text("my-app-v1")
}

/// Two servers, hosts 1 and 2 at ports 9001 and 9002, and two passive clients, hosts 3 and 4.
fn servers_and_clients(link: &mut Link) {
    for number in 1..=4 {
        link.start(number, NONE);
    }
    link.join(1, Join::announce(topic(), port(9001)));
    link.join(2, Join::announce(topic(), port(9002)));
    link.join(3, Join::look(topic()));
    link.join(4, Join::look(topic()));
}

fn found(link: &mut Link, number: u8) -> Vec<std::net::SocketAddr> {
    let mut found = link.host(number).found();
    found.sort();
    found
}

#[test]
fn two_servers_and_two_passive_clients_meet_once_each() {
    let mut link = Link::new(1);
    servers_and_clients(&mut link);
    link.run(Duration::from_secs(1));
    let early: Vec<_> = (1..=4).map(|number| found(&mut link, number)).collect();
    assert_eq!(
        early,
        [
            vec![at(2, 9002)],
            vec![at(1, 9001)],
            vec![at(1, 9001), at(2, 9002)],
            vec![at(1, 9001), at(2, 9002)]
        ]
    );
    link.run(HOUR * 5);
    let late: Vec<_> = (1..=4).map(|number| found(&mut link, number)).collect();
    assert_eq!(late, early, "nobody is told of twice, in five hours and through the turns of four");
    assert!((1..=4).all(|number| link.host(number).lost().is_empty()));
}

#[test]
fn a_server_that_dies_is_dropped_and_its_return_is_noticed() {
    let mut link = Link::new(2);
    servers_and_clients(&mut link);
    link.run(10 * MINUTE);
    link.kill(1);
    link.run(2 * MINUTE);
    assert!(link.host(3).lost().is_empty(), "two minutes are too few to say so");
    link.run(2 * MINUTE);
    for number in [2, 3, 4] {
        assert_eq!(link.host(number).lost(), [at(1, 9001)]);
    }
    link.start(1, NONE);
    link.join(1, Join::announce(topic(), port(9001)));
    link.run(Duration::from_secs(3));
    assert_eq!(link.host(3).found().iter().filter(|peer| **peer == at(1, 9001)).count(), 2);
}

#[test]
fn who_comes_later_is_found_at_once_though_everybody_asks_once_a_minute_by_then() {
    let mut link = Link::new(3);
    link.start(1, NONE);
    link.join(1, Join::look(topic()));
    link.run(20 * MINUTE + Duration::from_secs(1));
    link.start(2, NONE);
    link.join(2, Join::announce(topic(), port(9002)));
    link.run(Duration::from_secs(1));
    assert_eq!(link.host(1).found(), [at(2, 9002)]);
}

#[test]
fn a_wrong_topic_meets_nobody() {
    let mut link = Link::new(4);
    servers_and_clients(&mut link);
    link.start(5, NONE);
    link.join(5, Join::announce(Topic::text("my-app-v2"), port(9005)));
    link.run(10 * MINUTE);
    assert_eq!(link.host(5).found(), []);
    assert!((1..=4).all(|number| !found(&mut link, number).contains(&at(5, 9005))));
}

#[test]
fn who_left_is_dropped_and_hears_no_more() {
    let mut link = Link::new(5);
    servers_and_clients(&mut link);
    link.run(MINUTE);
    link.leave(1, topic());
    let (events, sent) = (link.host(1).events.len(), link.host(1).sent);
    link.run(5 * MINUTE);
    assert_eq!(link.host(3).lost(), [at(1, 9001)]);
    assert_eq!((link.host(1).events.len(), link.host(1).sent), (events, sent));
}

#[test]
fn a_third_of_all_datagrams_may_be_lost() {
    let mut link = Link::new(6);
    link.weather = Weather { lost_permille: 333 };
    servers_and_clients(&mut link);
    link.run(10 * MINUTE);
    assert_eq!(found(&mut link, 3), [at(1, 9001), at(2, 9002)]);
    assert_eq!(found(&mut link, 1), [at(2, 9002)]);
}

#[test]
fn clocks_may_be_most_of_an_hour_apart_and_step() {
    let mut link = Link::new(7);
    link.start(1, NONE);
    link.start(2, Duration::from_mins(59));
    link.join(1, Join::announce(topic(), port(9001)));
    link.join(2, Join::look(topic()));
    link.run(3 * HOUR);
    assert_eq!((link.host(2).found(), link.host(2).lost()), (vec![at(1, 9001)], vec![]));

    link.step_clock(2, 30 * HOUR);
    link.run(10 * MINUTE);
    assert_eq!(link.host(2).lost(), [at(1, 9001)], "a day apart they have no label in common");
    link.step_clock(2, NONE);
    link.run(2 * MINUTE);
    assert_eq!(link.host(2).found(), [at(1, 9001); 2]);
}

#[test]
fn two_processes_of_one_computer_meet_though_they_share_its_address() {
    let mut link = Link::new(8);
    link.start(1, NONE);
    link.join(1, Join::announce(topic(), port(9001)));
    // The other process, which is its host's second: the same address, another port.
    let other = Topic::text("my-app-v1");
    let now = link.now;
    let mut twin = discovery::Multicast::new([99; 32], now, crate::link::NOON);
    twin.handle_seats(
        now,
        [discovery::Seat { socket: wire::SocketId(0), address: crate::link::address(1), prefix_len: 24 }],
    );
    twin.join(now, other, Naming::Keyed);
    twin.announce(other, port(9002));
    twin.ask(now, other);
    let mut buf = Vec::new();
    assert!(twin.poll_transmit(&mut buf).is_some());
    let from = std::net::SocketAddrV4::new(crate::link::address(1), 5353);
    link.inject(from, &buf);
    link.run(Duration::from_secs(1));
    let heard = std::mem::take(&mut link.heard);
    for (_, bytes) in heard {
        twin.handle_datagram(now + Duration::from_secs(1), wire::SocketId(0), from.into(), &bytes);
    }
    let met: Vec<_> =
        std::iter::from_fn(|| twin.poll_event()).map(|finding| finding.address.into()).collect();
    assert!(met.contains(&at(1, 9001)), "{met:?}");
}

#[test]
fn health_records_leave_nothing_on_the_local_network() {
    let mut link = Link::new(9);
    link.start(1, NONE);
    let now = link.now;
    // The only mechanism of this host is the local network, so there is none left.
    let refused = link.host(1).channel.join(now, Join::announce(topic(), port(9001)).health());
    assert_eq!(refused, Err(discovery::JoinError::NoSource));
    link.run(HOUR);
    assert!(link.heard.is_empty());
}

#[test]
fn a_keyed_topic_is_nowhere_on_the_link_and_its_label_changes_with_the_hour() {
    let mut link = Link::new(10);
    servers_and_clients(&mut link);
    link.run(MINUTE);
    let label = |bytes: &[u8]| bytes[13..39].to_vec();
    let first = label(&link.heard[0].1);
    let hex = data_encoding::HEXLOWER.encode(&topic().compatible());
    let is_in = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    assert!(!link.heard.is_empty());
    for (_, bytes) in &link.heard {
        assert!(!is_in(bytes, hex.as_bytes()) && !is_in(bytes, b"my-app"));
        assert_eq!(label(bytes), first, "a label is of the hour");
    }
    link.run(HOUR);
    link.heard.clear();
    link.run(2 * MINUTE);
    assert!(!link.heard.is_empty());
    assert!(link.heard.iter().all(|(_, bytes)| !is_in(bytes, &first)));
}

#[test]
fn a_compatible_peer_is_found_by_keyed_ones_too() {
    let mut link = Link::new(11);
    servers_and_clients(&mut link);
    link.start(5, NONE);
    let naming = Naming::Compatible(Domain::DnsDiscovery);
    link.join(5, Join { naming, ..Join::announce(topic(), port(9005)) });
    link.run(Duration::from_secs(5));
    assert!(found(&mut link, 3).contains(&at(5, 9005)));
    assert_eq!(found(&mut link, 5), [at(1, 9001), at(2, 9002)]);
}

#[test]
fn twenty_hosts_say_little_once_they_know_each_other() {
    let mut link = Link::new(12);
    for number in 1..=20 {
        link.start(number, NONE);
        link.join(number, Join::announce(topic(), port(9000)));
    }
    link.run(10 * MINUTE);
    assert!((1..=20).all(|number| link.host(number).found().len() == 19));
    link.heard.clear();
    link.run(10 * MINUTE);
    // Each asks every 60 to 70 seconds, and each question has 19 answers at most: answers within a second are one.
    let datagrams = link.heard.len();
    assert!(datagrams <= 20 * 10 * (1 + 19), "{datagrams}");
}
