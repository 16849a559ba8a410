//! Servers and those who ask them, against recordings of the reference and each other.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use discovery::{
    DnsEvent, DnsServer, Domain, Errand, NameServer, Naming, Outcome, Topic, Unicast, UnixMillis,
};
use serde_json::Value;
use wire::SocketId;

use crate::link::NOON;
use crate::vectors::{bytes, port, start, vectors};

const SOCKET: SocketId = SocketId(0);
/// Far from the turn of an hour, around which announcements have two names.
const HALF_PAST: UnixMillis = UnixMillis(NOON.0 + 1_800_000);

/// Servers and askers by address, and what is on its way.
struct Net {
    now: Instant,
    servers: BTreeMap<SocketAddrV4, DnsServer>,
    askers: BTreeMap<SocketAddrV4, Unicast>,
    events: BTreeMap<SocketAddrV4, Vec<DnsEvent>>,
    /// From, to, bytes.
    log: Vec<(SocketAddrV4, SocketAddrV4, Vec<u8>)>,
}

fn server_at(number: u8) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, number), 5300)
}

fn asker_at(number: u8) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, number), 40_000)
}

fn topic() -> Topic {
    Topic::text("my-app-topic")
}

impl Net {
    fn new(servers: &[u8]) -> Self {
        let now = start();
        let servers = servers
            .iter()
            .map(|number| (server_at(*number), DnsServer::new(SOCKET, [*number; 32], now)))
            .collect();
        Self { now, servers, askers: BTreeMap::new(), events: BTreeMap::new(), log: Vec::new() }
    }

    fn asker(&mut self, number: u8, servers: &[u8]) {
        let servers: Vec<_> = servers
            .iter()
            .map(|number| NameServer { address: server_at(*number), secondary: Some(53) })
            .collect();
        let mut asker = Unicast::new(SOCKET, &servers, [number; 32], (self.now, HALF_PAST));
        asker.join(self.now, topic(), Naming::Keyed);
        self.askers.insert(asker_at(number), asker);
    }

    fn run(&mut self, number: u8, errand: Errand) {
        let now = self.now;
        self.askers.get_mut(&asker_at(number)).unwrap().run(now, topic(), errand);
        self.deliver();
    }

    /// Carries datagrams until none is left; what goes to nobody is lost.
    fn deliver(&mut self) {
        loop {
            let mut buf = Vec::new();
            let mut flight = Vec::new();
            for (from, server) in &mut self.servers {
                while let Some(transmit) = server.poll_transmit(&mut buf) {
                    flight.push((*from, transmit.to, buf.clone()));
                }
            }
            for (from, asker) in &mut self.askers {
                while let Some(transmit) = asker.poll_transmit(&mut buf) {
                    flight.push((*from, transmit.to, buf.clone()));
                }
                let events = self.events.entry(*from).or_default();
                events.extend(std::iter::from_fn(|| asker.poll_event()));
            }
            if flight.is_empty() {
                return;
            }
            for (from, to, bytes) in flight {
                let SocketAddr::V4(to) = to else { panic!("{to}") };
                if let Some(server) = self.servers.get_mut(&to) {
                    server.handle_datagram(self.now, from.into(), &bytes);
                } else if let Some(asker) = self.askers.get_mut(&to) {
                    asker.handle_datagram(self.now, from.into(), &bytes);
                }
                self.log.push((from, to, bytes));
            }
        }
    }

    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let servers = self.servers.values().map(DnsServer::poll_timeout);
            let next = servers.chain(self.askers.values().map(Unicast::poll_timeout)).flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            for server in self.servers.values_mut() {
                server.handle_timeout(next);
            }
            for asker in self.askers.values_mut() {
                asker.handle_timeout(next);
            }
            self.deliver();
        }
        self.now = end;
    }

    fn found(&self, number: u8) -> Vec<SocketAddrV4> {
        let mut found: Vec<_> = self.events[&asker_at(number)]
            .iter()
            .filter_map(|event| match event {
                DnsEvent::Found(finding) => Some(finding.address),
                _ => None,
            })
            .collect();
        found.sort();
        found.dedup();
        found
    }

    fn ended(&self, number: u8) -> Vec<(Errand, Outcome)> {
        let events = self.events[&asker_at(number)].iter();
        events
            .filter_map(|event| match event {
                DnsEvent::Ended { errand, outcome, .. } => Some((*errand, *outcome)),
                _ => None,
            })
            .collect()
    }
}

fn where_(number: u8, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(*asker_at(number).ip(), port)
}

#[test]
fn who_announces_is_found_by_who_looks_and_by_who_looked_before() {
    let mut net = Net::new(&[1, 2]);
    for number in 1..=3 {
        net.asker(number, &[1, 2]);
    }
    net.run(1, Errand::Look);
    net.run(2, Errand::Announce(port(9000)));
    assert_eq!(net.found(1), [where_(2, 9000)], "told by the servers without asking again");
    net.run(3, Errand::Look);
    assert_eq!(net.found(3), [where_(2, 9000)]);
    assert_eq!(net.ended(2), [(Errand::Announce(port(9000)), Outcome::Answered)]);
    net.pass(Duration::from_secs(10));
    assert_eq!(net.askers.values().map(|asker| asker.stats().unanswered).sum::<u64>(), 0);
}

#[test]
fn two_servers_on_different_hosts_tell_us_our_address_and_one_does_not() {
    let seen = |servers: &[u8]| {
        let mut net = Net::new(servers);
        net.asker(1, servers);
        net.run(1, Errand::Look);
        net.events[&asker_at(1)].iter().find(|event| matches!(event, DnsEvent::Seen { .. })).cloned()
    };
    assert_eq!(seen(&[1]), None);
    let (host, port) = (*asker_at(1).ip(), Some(asker_at(1).port()));
    assert_eq!(seen(&[1, 2]), Some(DnsEvent::Seen { host, port }));
}

#[test]
fn what_is_unannounced_or_not_renewed_is_found_no_more() {
    let mut net = Net::new(&[1]);
    for number in 1..=4 {
        net.asker(number, &[1]);
    }
    net.run(1, Errand::Announce(port(9000)));
    net.run(2, Errand::Announce(port(9000)));
    net.run(1, Errand::Unannounce(port(9000)));
    net.run(3, Errand::Look);
    assert_eq!(net.found(3), [where_(2, 9000)]);
    net.pass(Duration::from_mins(4));
    net.run(4, Errand::Look);
    assert_eq!(net.found(4), []);
    assert_eq!(net.servers[&server_at(1)].kept().1, 0);
}

#[test]
fn a_silent_server_is_asked_by_its_other_port_and_does_not_hold_up_the_others() {
    let mut net = Net::new(&[1]);
    // Server 9 is not there at port 5300; the second time it is found at 53.
    net.asker(1, &[9, 1]);
    net.run(1, Errand::Look);
    assert_eq!(net.ended(1), []);
    net.pass(Duration::from_secs(9));
    assert_eq!(net.ended(1), [(Errand::Look, Outcome::Answered)]);
    let questions = net.log.iter().filter(|(_, to, _)| *to == server_at(9)).count();
    assert_eq!(questions, 5, "as the reference: at once and after 0.5, 1.5, 3.5 and 7.5 seconds");
    net.run(1, Errand::Look);
    assert!(net.log.iter().any(|(_, to, _)| to.port() == 53));
}

#[test]
fn without_a_server_every_errand_fails_at_once() {
    let mut net = Net::new(&[]);
    net.asker(1, &[]);
    net.run(1, Errand::Look);
    assert_eq!(net.ended(1), [(Errand::Look, Outcome::Failed)]);
}

#[test]
fn an_announcement_around_the_turn_of_an_hour_is_found_by_clocks_on_both_sides() {
    let found = |announcer: i64, looker: i64| {
        let mut net = Net::new(&[1]);
        for (number, seconds) in [(1, announcer), (2, looker)] {
            net.asker(number, &[1]);
            let wall = UnixMillis(NOON.0.checked_add_signed(seconds * 1000).unwrap());
            let now = net.now;
            net.askers.get_mut(&asker_at(number)).unwrap().handle_clock(now, wall);
        }
        net.run(1, Errand::Announce(port(9000)));
        net.run(2, Errand::Look);
        net.found(2).len()
    };
    assert_eq!([found(-60, 60), found(60, -60), found(-540, 540)], [1, 1, 1]);
    assert_eq!(found(-1800, 1800), 0, "half an hour is another name");
}

#[test]
fn a_question_of_the_reference_is_answered_in_less_than_it_sent_times_3_1() {
    let now = start();
    let asker: SocketAddr = "127.0.0.1:52383".parse().unwrap();
    let vectors = vectors();
    let queries = vectors["unicast_dns_discovery"].as_array().unwrap().iter();
    let queries: Vec<Value> =
        queries.filter(|packet| packet["decoded"]["flags"] == "0x0100").cloned().collect();
    let mut seen = 0;
    for query in &queries {
        let mut server = DnsServer::new(SOCKET, [1; 32], now);
        let query = bytes(&query["hex"]);
        server.handle_datagram(now, asker, &query);
        let mut answer = Vec::new();
        while server.poll_transmit(&mut answer).is_some() {
            assert_eq!(answer[..2], query[..2], "the id comes back");
            assert!(answer.len() * 10 <= query.len() * 31, "{} for {}", answer.len(), query.len());
            seen += 1;
        }
    }
    assert!(seen >= 5, "{seen}");
}

#[test]
fn a_look_without_a_token_gets_no_peers_and_one_with_it_at_most_31() {
    let mut net = Net::new(&[1]);
    for number in 1..=60 {
        net.asker(number, &[1]);
        net.run(number, Errand::Announce(port(9000)));
    }
    net.asker(61, &[1]);
    net.run(61, Errand::Look);
    assert_eq!(net.found(61).len(), 31);

    // The same question from an address that has shown nothing; somebody may have written it on the packet.
    let (_, _, question) = net.log.iter().rfind(|(from, ..)| *from == asker_at(61)).unwrap().clone();
    let server = net.servers.get_mut(&server_at(1)).unwrap();
    server.handle_datagram(net.now, asker_at(99).into(), &question);
    let mut answer = Vec::new();
    assert!(server.poll_transmit(&mut answer).is_some());
    assert!(!answer.windows(6).any(|bytes| bytes == b"peers="));
    assert!(answer.len() < question.len());
}

#[test]
fn a_push_is_believed_of_a_server_only() {
    let now = start();
    let vectors = vectors();
    let push = vectors["unicast_dns_discovery"].as_array().unwrap().iter();
    let push = push.clone().find(|packet| packet["len"] == 101).map(|packet| bytes(&packet["hex"])).unwrap();
    let server = NameServer { address: server_at(1), secondary: None };
    let mut asker = Unicast::new(SOCKET, &[server], [1; 32], (now, HALF_PAST));
    asker.join(now, topic(), Naming::Compatible(Domain::DnsDiscovery));
    asker.handle_datagram(now, server_at(2).into(), &push);
    assert_eq!(asker.poll_event(), None);
    asker.handle_datagram(now, server_at(1).into(), &push);
    let Some(DnsEvent::Found(finding)) = asker.poll_event() else { panic!("nobody found") };
    assert_eq!(finding.address, "127.0.0.1:9001".parse().unwrap());
    let mut answer = Vec::new();
    assert!(asker.poll_transmit(&mut answer).is_some());
    // The reference's own acknowledgement, whose id is the push's.
    let acknowledged = [&push[..2], &[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
    assert_eq!(answer, acknowledged);
    assert!(asker.poll_transmit(&mut answer).is_none());
}

#[test]
fn a_host_that_announces_without_end_is_kept_within_its_share() {
    let mut net = Net::new(&[1]);
    for number in 1..=2 {
        net.asker(number, &[1]);
    }
    for second in 0..10 {
        for number in 0..20 {
            net.run(1, Errand::Announce(port(1000 + second * 100 + number)));
        }
        net.pass(Duration::from_secs(1));
    }
    assert_eq!(net.servers[&server_at(1)].kept(), (1, 4));
    net.run(2, Errand::Announce(port(9000)));
    assert!(net.servers[&server_at(1)].kept().1 == 5, "others find room");
}
