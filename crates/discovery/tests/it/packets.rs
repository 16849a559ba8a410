//! What holds for every datagram, whoever sent it. The fuzz target includes this file.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use discovery::{
    DnsServer, Domain, Errand, GROUP, Multicast, NameServer, Naming, Seat, Topic, Unicast, UnixMillis,
};
use wire::SocketId;

const SOCKET: SocketId = SocketId(0);
const SENDER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 66), 5353);
/// Datagrams that one may lead to within a minute: an answer of each name, and questions of each name.
const REPLIES_MAX: usize = 12;

/// Hands one datagram to each machine as if it came off a link; panics where one breaks a promise.
pub(crate) fn local(now: Instant, bytes: &[u8]) {
    multicast(now, bytes);
    asker(now, bytes);
    server(now, bytes);
}

fn topic() -> Topic {
    Topic::text("my-app-topic")
}

fn multicast(now: Instant, bytes: &[u8]) {
    let mut peer = Multicast::new([1; 32], now, UnixMillis(0));
    peer.handle_seats(now, [Seat { socket: SOCKET, address: Ipv4Addr::new(192, 0, 2, 1), prefix_len: 24 }]);
    peer.join(now, topic(), Naming::Compatible(Domain::DnsDiscovery));
    peer.announce(topic(), NonZeroU16::MIN);
    peer.handle_datagram(now, SOCKET, SENDER.into(), bytes);
    let mut buf = Vec::new();
    let mut replies = 0;
    for second in 0..60 {
        peer.handle_timeout(now + Duration::from_secs(second));
        while let Some(transmit) = peer.poll_transmit(&mut buf) {
            replies += 1;
            assert_eq!(transmit.to.ip(), GROUP.ip().to_owned(), "nothing is sent to who sent it");
        }
    }
    assert!(replies <= REPLIES_MAX, "{replies}");
    while let Some(finding) = peer.poll_event() {
        assert_eq!(finding.topic, topic());
        assert!(finding.address.ip().octets().starts_with(&[192, 0, 2]), "{finding:?} is not on the link");
        assert_ne!(finding.address.port(), 0);
    }
}

fn asker(now: Instant, bytes: &[u8]) {
    let at = NameServer { address: SENDER, secondary: None };
    let mut asker = Unicast::new(SOCKET, &[at], [1; 32], (now, UnixMillis(0)));
    asker.join(now, topic(), Naming::Compatible(Domain::DnsDiscovery));
    asker.run(now, topic(), Errand::Look);
    let mut buf = Vec::new();
    while asker.poll_transmit(&mut buf).is_some() {}
    // As if it answered what was asked: ids are drawn, so the answer takes the question's.
    let id = buf.get(..2).unwrap_or_default();
    asker.handle_datagram(now, SENDER.into(), &[id, bytes.get(2..).unwrap_or_default()].concat());
    let mut sent = 0;
    while asker.poll_transmit(&mut buf).is_some() {
        sent += buf.len();
    }
    // A question for each of two names, where the answer was a token.
    assert!(sent <= bytes.len().max(1) * 3 + 700, "{sent} for {}", bytes.len());
    asker.handle_timeout(now + Duration::from_mins(1));
}

fn server(now: Instant, bytes: &[u8]) {
    let mut server = DnsServer::new(SOCKET, [1; 32], now);
    server.handle_datagram(now, SocketAddr::V4(SENDER), bytes);
    let (mut buf, mut sent) = (Vec::new(), 0);
    while server.poll_transmit(&mut buf).is_some() {
        sent += buf.len();
    }
    assert!(sent * 10 <= bytes.len() * 31, "{sent} for {}", bytes.len());
    assert_eq!(server.kept(), (0, 0), "nobody has a token");
}
