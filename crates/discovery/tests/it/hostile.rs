//! Hosts on the link that lie, flood, listen and play back.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use arbtest::arbtest;
use discovery::{Domain, Join, Multicast, Naming, Seat, Topic};
use wire::SocketId;

use crate::link::{Link, NOON, address, at};
use crate::packets;
use crate::vectors::{bytes, port, start, vectors};

const SECOND: Duration = Duration::from_secs(1);

fn topic() -> Topic {
    Topic::text("my-app-v1")
}

/// A server, host 1, and a client, host 2, that know each other.
fn server_and_client() -> Link {
    let mut link = Link::new(20);
    for number in 1..=2 {
        link.start(number, Duration::ZERO);
    }
    link.join(1, Join::announce(topic(), port(9001)));
    link.join(2, Join::look(topic()));
    link.run(20 * SECOND);
    assert_eq!(link.host(2).found(), [at(1, 9001)]);
    link
}

fn on_link(number: u8) -> SocketAddrV4 {
    SocketAddrV4::new(address(number), 5353)
}

#[test]
fn an_answer_played_back_from_another_address_makes_nobody_found() {
    let mut link = server_and_client();
    for (_, bytes) in std::mem::take(&mut link.heard) {
        link.inject(on_link(66), &bytes);
    }
    link.run(SECOND);
    assert_eq!(link.host(2).found(), [at(1, 9001)]);
}

#[test]
fn an_answer_played_back_later_keeps_no_dead_server_alive() {
    let mut link = server_and_client();
    let recorded = std::mem::take(&mut link.heard);
    link.kill(1);
    for _ in 0..5 {
        link.run(Duration::from_mins(1));
        // Even under the dead server's own address.
        for (_, bytes) in recorded.iter().filter(|(from, _)| *from == 1) {
            link.inject(on_link(1), bytes);
        }
    }
    assert_eq!(link.host(2).lost(), [at(1, 9001)]);
    assert_eq!(link.host(2).found(), [at(1, 9001)], "nor does it bring it back");
}

#[test]
fn questions_played_back_are_answered_no_oftener_than_once_a_second() {
    let mut link = server_and_client();
    let questions: Vec<_> =
        link.heard.iter().filter(|(from, _)| *from == 2).map(|(_, bytes)| bytes.clone()).collect();
    let before = link.host(1).sent;
    for _ in 0..10 {
        for _ in 0..100 {
            for question in &questions {
                link.inject(on_link(2), question);
            }
        }
        link.run(SECOND);
    }
    let sent = link.host(1).sent - before;
    assert!(sent <= 12, "{sent} in ten seconds");
}

#[test]
fn who_does_not_know_the_topic_can_neither_ask_nor_answer_under_its_label() {
    let mut link = server_and_client();
    // A label is heard by everybody; its owner's topic is not.
    let question = link.heard[0].1.clone();
    let name_end = 12 + 1 + 26 + 1 + 6 + 1 + 5 + 1;
    let label = &question[12..name_end];
    let answer = |text: &[u8]| {
        let mut answer = vec![0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        answer.extend(label);
        answer.extend([0, 16, 0, 1, 0, 0, 0, 0, 0, u8::try_from(text.len() + 1).unwrap()]);
        answer.push(u8::try_from(text.len()).unwrap());
        answer.extend(text);
        answer
    };
    // 192.0.2.66:9066, as the reference packs it.
    link.inject(on_link(66), &answer(b"peers=wAACQiNq"));
    link.inject(on_link(66), &answer(b"peers=AAAAACNq"));
    let asked = [&question[..12], label, &[0, 16, 0, 1]].concat();
    let before = link.host(1).sent;
    let mut alone = asked;
    alone[11] = 0;
    link.inject(on_link(66), &alone);
    link.run(SECOND);
    assert_eq!(link.host(2).found(), [at(1, 9001)]);
    assert_eq!(link.host(1).sent, before);
    assert!(link.host(2).multicast.stats().unproven >= 1);
}

#[test]
fn a_flood_of_one_host_leaves_the_others_heard() {
    let mut link = server_and_client();
    link.start(3, Duration::ZERO);
    link.join(3, Join::look(topic()));
    for _ in 0..20 {
        for number in 0..2_000_u16 {
            let mut rubbish = vec![0; 40];
            rubbish[..2].copy_from_slice(&number.to_be_bytes());
            link.inject(on_link(66), &rubbish);
        }
        link.run(SECOND);
    }
    assert_eq!(link.host(3).found(), [at(1, 9001)]);
    let stats = link.host(3).multicast.stats();
    assert!(stats.flooded >= 20 * 1_700, "{stats:?}");
}

#[test]
fn what_comes_from_outside_the_link_is_not_read() {
    let mut link = server_and_client();
    let recorded: Vec<_> = link.heard.iter().map(|(_, bytes)| bytes.clone()).collect();
    let before = link.host(1).sent;
    for bytes in &recorded {
        link.inject(SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 1), 5353), bytes);
    }
    link.run(SECOND);
    assert_eq!(link.host(1).sent, before);
    assert!(link.host(1).multicast.stats().off_link >= u64::try_from(recorded.len()).unwrap());
}

/// A peer that goes by the reference's name, where nothing is proven.
fn compatible(now: Instant) -> (Multicast, Topic) {
    let topic = Topic::text("my-app-topic");
    let mut peer = Multicast::new([5; 32], now, NOON);
    peer.handle_seats(now, [Seat { socket: SocketId(0), address: address(1), prefix_len: 24 }]);
    peer.join(now, topic, Naming::Compatible(Domain::DnsDiscovery));
    (peer, topic)
}

#[test]
fn under_a_compatible_name_nobody_speaks_for_hosts_outside_the_link() {
    let now = start();
    let (mut peer, _) = compatible(now);
    let answer = bytes(&vectors()["mdns_dns_discovery"][1]["hex"]);
    let with = |host: [u8; 4]| {
        let peers = data_encoding::BASE64.encode(&[&host[..], &[0x23, 0x28]].concat());
        let at = answer.windows(14).position(|bytes| bytes == b"peers=AAAAACMo").unwrap();
        let mut answer = answer.clone();
        answer[at + 6..at + 14].copy_from_slice(peers.as_bytes());
        answer
    };
    for host in [[8, 8, 8, 8], [224, 0, 0, 251], [255, 255, 255, 255]] {
        peer.handle_datagram(now, SocketId(0), on_link(66).into(), &with(host));
    }
    assert_eq!(peer.poll_event(), None);
    assert_eq!(peer.stats().disbelieved, 3);
    peer.handle_datagram(now, SocketId(0), on_link(66).into(), &with([192, 0, 2, 7]));
    assert_eq!(peer.poll_event().map(|finding| finding.address), Some(SocketAddrV4::new(address(7), 9000)));
}

#[test]
fn a_header_that_claims_more_than_there_is_is_no_message() {
    let now = start();
    let (mut peer, _) = compatible(now);
    let mut question = bytes(&vectors()["mdns_dns_discovery"][0]["hex"]);
    question[10..12].copy_from_slice(&[0xff, 0xff]);
    peer.handle_datagram(now, SocketId(0), on_link(66).into(), &question);
    assert_eq!(peer.stats().malformed, 1);
}

#[test]
fn no_datagram_breaks_a_promise() {
    let now = start();
    arbtest(|u| {
        packets::local(now, u.bytes(u.len())?);
        Ok(())
    });
}

#[test]
fn no_recorded_datagram_breaks_a_promise_whatever_is_changed_in_it() {
    let now = start();
    let vectors = vectors();
    let recorded =
        ["mdns_dns_discovery", "unicast_dns_discovery"].map(|key| vectors[key].as_array().unwrap());
    let recorded: Vec<_> = recorded.into_iter().flatten().map(|packet| bytes(&packet["hex"])).collect();
    for packet in &recorded {
        packets::local(now, packet);
    }
    arbtest(|u| {
        let mut packet = u.choose(&recorded)?.clone();
        for _ in 0..u.int_in_range(1..=6)? {
            let at = u.choose_index(packet.len())?;
            packet[at] = u.arbitrary()?;
        }
        packet.truncate(u.int_in_range(1..=packet.len())?);
        packets::local(now, &packet);
        Ok(())
    });
}
