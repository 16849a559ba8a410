//! Bytes that npm `discovery-channel` 5.5.1 and `dns-discovery` 6.2.3 put on the wire.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use discovery::{Domain, Finding, Multicast, Naming, Seat, Topic, UnixMillis};
use serde_json::Value;
use wire::{Id, SocketId};

pub(crate) fn vectors() -> Value {
    let text = include_str!("../../../../vectors/discovery/vectors.json");
    serde_json::from_str(text).unwrap()
}

pub(crate) fn bytes(hex: &Value) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(hex.as_str().unwrap().as_bytes()).unwrap()
}

pub(crate) fn port(port: u16) -> NonZeroU16 {
    NonZeroU16::new(port).unwrap()
}

/// A time to count from; no test looks at the clock again.
pub(crate) fn start() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "a test needs an origin to count from")]
    Instant::now()
}

/// A peer on loopback that takes part in the vectors' topic by its name in `dns-discovery`.
fn peer(now: Instant) -> (Multicast, Topic) {
    let mut peer = Multicast::new([7; 32], now, UnixMillis(0));
    peer.handle_seats(now, [Seat { socket: SocketId(0), address: Ipv4Addr::LOCALHOST, prefix_len: 8 }]);
    let topic = Topic::text("my-app-topic");
    peer.join(now, topic, Naming::Compatible(Domain::DnsDiscovery));
    (peer, topic)
}

fn sent(peer: &mut Multicast) -> Vec<(SocketAddr, Vec<u8>)> {
    let mut buf = Vec::new();
    std::iter::from_fn(|| peer.poll_transmit(&mut buf).map(|transmit| (transmit.to, buf.clone()))).collect()
}

#[test]
fn topics_have_the_info_hashes_and_names_of_the_reference() {
    for case in vectors()["topic_to_infohash"].as_array().unwrap() {
        let id = bytes(&case["id_hex"]);
        let is_raw = case["opts.hash"] == false;
        let topic = match (is_raw, <[u8; 32]>::try_from(&*id)) {
            // An identifier of HyperDHT is one of those that the reference is told not to hash.
            (true, Ok(id)) => Topic::long(Id(id)),
            (false, Err(_)) => Topic::text(std::str::from_utf8(&id).unwrap()),
            // The reference hashes raw identifiers unless told not to, and takes any length; neither is needed.
            (false, Ok(_)) | (true, Err(_)) => continue,
        };
        let name = format!("{}.dns-discovery.local", data_encoding::HEXLOWER.encode(&topic.compatible()));
        assert_eq!(case["dns_name"], name, "{case}");
        if let Some(info_hash) = topic.mainline() {
            assert_eq!(case["info_hash"], info_hash.to_string());
        }
    }
}

#[test]
fn a_text_is_hashed_for_each_network_and_digits_are_taken_as_they_are() {
    let text = Topic::text("abc");
    // FIPS 180-2, appendices A.1 and B.1.
    assert_eq!(text.mainline().unwrap().to_string(), "a9993e364706816aba3e25717850c26c9cd0d89d");
    let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(text.hyper().unwrap().to_string(), sha256);
    assert_eq!(sha256.parse::<Topic>().unwrap(), Topic::long(text.hyper().unwrap()));
    let short: Topic = "a9993e364706816aba3e25717850c26c9cd0d89d".parse().unwrap();
    assert_eq!((short.mainline(), short.hyper()), (text.mainline(), None));
    assert_eq!("abc".parse::<Topic>().unwrap(), text);
}

#[test]
fn a_compatible_question_is_the_references_byte_for_byte() {
    let now = start();
    let (mut peer, topic) = peer(now);
    peer.ask(now, topic);
    let sent = sent(&mut peer);
    let (to, question) = sent.last().unwrap();
    assert_eq!(*to, SocketAddr::from(([224, 0, 0, 251], 5353)));
    assert_eq!(*question, bytes(&vectors()["mdns_dns_discovery"][0]["hex"]));
}

#[test]
fn an_answer_to_the_references_question_differs_from_its_own_in_the_token_only() {
    let now = start();
    let (mut peer, topic) = peer(now);
    peer.announce(topic, port(9000));
    let vectors = vectors();
    let recorded = &vectors["mdns_dns_discovery"];
    let asker: SocketAddr = "127.0.0.1:5353".parse().unwrap();
    peer.handle_datagram(now, SocketId(0), asker, &bytes(&recorded[0]["hex"]));
    peer.handle_timeout(now + Duration::from_millis(50));
    let sent = sent(&mut peer);
    let answers: Vec<_> = sent.iter().filter(|(_, bytes)| bytes[2] & 0x80 != 0).collect();
    let [(to, answer)] = &*answers else { panic!("{} answers", answers.len()) };
    assert_eq!(*to, SocketAddr::from(([224, 0, 0, 251], 5353)));
    let reference = bytes(&recorded[1]["hex"]);
    let token = reference.windows(6).position(|bytes| bytes == b"token=").unwrap() + 6;
    // Base64 of 32 bytes has 44 digits.
    assert_eq!(answer[..token], reference[..token]);
    assert_ne!(answer[token..token + 44], reference[token..token + 44]);
    assert_eq!(answer[token + 44..], reference[token + 44..]);
}

#[test]
fn an_answer_of_the_reference_gives_its_peer_at_the_address_it_came_from() {
    let now = start();
    let (mut peer, topic) = peer(now);
    let from: SocketAddr = "127.0.0.9:5353".parse().unwrap();
    peer.handle_datagram(now, SocketId(0), from, &bytes(&vectors()["mdns_dns_discovery"][1]["hex"]));
    let expected =
        Finding { topic, address: "127.0.0.9:9000".parse().unwrap(), informant: Ipv4Addr::new(127, 0, 0, 9) };
    assert_eq!(peer.poll_event(), Some(expected));
    assert_eq!(peer.poll_event(), None);
}
