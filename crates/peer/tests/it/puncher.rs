#![expect(clippy::disallowed_methods, reason = "a test needs an origin to count from")]
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use peer::{
    Analysis, LocalReach, Pace, Prediction, Probe, PunchCommand, PunchConfig, PunchEvent, PunchFailure,
    Puncher, RemoteNat, Reopening, Side, Stability, Strategy, Unpunchable,
};
use wire::SocketId;
use wire::hyper::Firewall;

use crate::json::{NATLAB, rows};

const SECOND: Duration = Duration::from_secs(1);
const REFERENCE: PunchConfig =
    PunchConfig { pace: Pace::Reference, prediction: Prediction::Off, sockets_max: 256 };
const HOST: Ipv4Addr = Ipv4Addr::new(50, 0, 0, 1);
const REMOTE: SocketAddrV4 = SocketAddrV4::new(HOST, 7000);
const STRANGER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(60, 0, 0, 1), 9);
const CONSISTENT: [u16; 4] = [5000; 4];
const RANDOM: [u16; 4] = [5000, 17_000, 43_000, 29_000];
const NUMBERED: [u16; 4] = [5002, 5000, 5003, 5001];

/// A puncher whose owner grants each socket as the next number.
struct Bench {
    puncher: Puncher,
    start: Instant,
    now: Instant,
    opened: u16,
    closed: BTreeSet<SocketId>,
    samples: Vec<(SocketId, usize, usize)>,
}

impl Bench {
    fn new(side: Side, config: PunchConfig) -> Self {
        let start = Instant::now();
        let puncher = Puncher::new(start, side, LocalReach::Unknown, config, [7; 32]);
        let mut bench =
            Self { puncher, start, now: start, opened: 0, closed: BTreeSet::new(), samples: Vec::new() };
        bench.obey();
        bench
    }

    /// One that knows its NAT by how four nodes see its ports.
    fn sampled(side: Side, config: PunchConfig, ports: [u16; 4]) -> Self {
        let mut bench = Self::new(side, config);
        bench.sample(&ports);
        assert_eq!(bench.puncher.poll_event(), Some(PunchEvent::Analyzed));
        bench
    }

    fn sample(&mut self, ports: &[u16]) {
        let Some(socket) = self.puncher.socket() else { return };
        for (node, port) in (1..).zip(ports) {
            let observer = SocketAddrV4::new(Ipv4Addr::new(30, 0, 0, node), 49737);
            let seen_as = SocketAddrV4::new(Ipv4Addr::new(40, 0, 0, 1), *port);
            self.puncher.handle_sample(self.now, socket, observer, seen_as);
        }
        self.obey();
    }

    fn tell(&mut self, firewall: Firewall, addresses: &[SocketAddrV4], verified: Option<Ipv4Addr>) {
        self.puncher.update_remote(self.now, RemoteNat { firewall, addresses, punching: true, verified });
    }

    fn obey(&mut self) {
        while let Some(command) = self.puncher.poll_command() {
            match command {
                PunchCommand::Open => {
                    self.opened += 1;
                    self.puncher.handle_opened(self.now, SocketId(self.opened));
                }
                PunchCommand::Close(socket) => assert!(self.closed.insert(socket), "closed once"),
                PunchCommand::Sample { socket, count, skip_recent } => {
                    self.samples.push((socket, count, skip_recent));
                }
            }
        }
    }

    fn probes(&mut self) -> Vec<Probe> {
        std::iter::from_fn(|| self.puncher.poll_transmit()).collect()
    }

    /// Lets the time pass to the end of all timers; returns the probes with the time since the begin.
    fn run(&mut self) -> Vec<(Duration, Probe)> {
        let mut all = Vec::new();
        loop {
            self.obey();
            let at = self.now.duration_since(self.start);
            all.extend(self.probes().into_iter().map(|probe| (at, probe)));
            let Some(next) = self.puncher.poll_timeout() else { return all };
            self.now = self.now.max(next);
            self.puncher.handle_timeout(self.now);
        }
    }

    fn open_sockets(&self) -> usize {
        usize::from(self.opened) - self.closed.len()
    }
}

#[test]
fn a_new_puncher_asks_for_a_socket_and_for_four_nodes_beyond_the_latest_five() {
    let bench = Bench::new(Side::Initiator, REFERENCE);
    assert_eq!(bench.samples, [(SocketId(1), 4, 5)]);
    assert_eq!(bench.puncher.analyzed(), Analysis::Pending);
}

#[test]
fn missing_samples_are_asked_for_once_more_and_then_the_view_is_what_it_is() {
    let mut bench = Bench::new(Side::Initiator, REFERENCE);
    bench.sample(&[5000, 5000]);
    bench.puncher.handle_sampling_ended(bench.now, SocketId(1));
    bench.obey();
    assert_eq!(bench.samples[1..], [(SocketId(1), 2, 0)]);
    assert_eq!(bench.puncher.poll_event(), None);
    bench.puncher.handle_sampling_ended(bench.now, SocketId(1));
    bench.obey();
    assert_eq!(bench.puncher.poll_event(), Some(PunchEvent::Analyzed));
    let unknown = Analysis::Done { firewall: Firewall::Unknown, stability: Stability::Unstable };
    assert_eq!((bench.puncher.analyzed(), bench.samples.len()), (unknown, 2));
}

#[test]
fn more_nodes_are_asked_before_a_lost_ping_has_cost_its_timeout() {
    let mut bench = Bench::new(Side::Initiator, PunchConfig::default());
    bench.sample(&[5000, 5000]);
    bench.run();
    assert_eq!(bench.samples[1..], [(SocketId(1), 2, 0)]);
    assert_eq!(bench.now.duration_since(bench.start), Duration::from_millis(250));
    assert_eq!(bench.puncher.analyzed(), Analysis::Pending);
    bench.puncher.handle_sampling_ended(bench.now, SocketId(1));
    assert_ne!(bench.puncher.analyzed(), Analysis::Pending, "the end of all pings ends both");
}

#[test]
fn a_node_that_is_not_behind_a_nat_needs_no_samples() {
    let now = Instant::now();
    let mut puncher = Puncher::new(now, Side::Responder, LocalReach::Open, REFERENCE, [0; 32]);
    assert_eq!(puncher.poll_command(), Some(PunchCommand::Open));
    puncher.handle_opened(now, SocketId(1));
    assert_eq!((puncher.poll_command(), puncher.firewall()), (None, Firewall::Open));
    assert_eq!(puncher.poll_event(), Some(PunchEvent::Analyzed));
}

#[test]
fn an_unsteady_view_is_tried_on_three_fresh_sockets_at_most() {
    let mut bench = Bench::new(Side::Initiator, REFERENCE);
    for attempt in 1..=3 {
        bench.sample(&[5000, 5000, 6000, 7000]);
        assert_eq!(bench.puncher.reopen(bench.now), Reopening::Started);
        bench.obey();
        assert_eq!(bench.puncher.socket(), Some(SocketId(attempt + 1)));
        assert_eq!(bench.samples.last(), Some(&(SocketId(attempt + 1), 4, 5)));
        assert_eq!((bench.puncher.analyzed(), bench.open_sockets()), (Analysis::Pending, 1));
    }
    assert_eq!(bench.puncher.reopen(bench.now), Reopening::Exhausted);
}

#[test]
fn late_samples_of_a_socket_that_was_given_up_are_not_counted() {
    let mut bench = Bench::new(Side::Initiator, REFERENCE);
    assert_eq!(bench.puncher.reopen(bench.now), Reopening::Started);
    bench.obey();
    for node in 1..5 {
        let observer = SocketAddrV4::new(Ipv4Addr::new(30, 0, 0, node), 49737);
        bench.puncher.handle_sample(bench.now, SocketId(1), observer, REMOTE);
    }
    assert_eq!(bench.puncher.analyzed(), Analysis::Pending);
}

#[test]
fn between_consistent_sides_ten_rounds_of_probes_leave_and_unverified_addresses_get_each_fourth() {
    let unverified = SocketAddrV4::new(Ipv4Addr::new(51, 0, 0, 1), 7000);
    for (side, first) in [(Side::Initiator, 0), (Side::Responder, 1)] {
        let mut bench = Bench::sampled(side, REFERENCE, CONSISTENT);
        bench.tell(Firewall::Consistent, &[REMOTE, unverified], Some(HOST));
        bench.puncher.punch(bench.now).unwrap();
        assert_eq!(bench.puncher.strategy(), Ok(Strategy::Consistent));
        let sent = bench.run();
        let times = |to| {
            let all = sent.iter().filter(move |(_, probe)| probe.to == to);
            all.map(|(at, probe)| (at.as_secs(), probe.ttl)).collect::<Vec<_>>()
        };
        assert_eq!(times(REMOTE), (first..first + 10).map(|second| (second, None)).collect::<Vec<_>>());
        assert_eq!(times(unverified), [(first + 3, None), (first + 7, None)]);
        assert_eq!(bench.puncher.poll_event(), Some(PunchEvent::Failed(PunchFailure::Exhausted)));
        assert_eq!(bench.now, bench.start + SECOND * u32::try_from(first + 10).unwrap());
        assert_eq!(bench.open_sockets(), 0);
    }
}

#[test]
fn a_brisk_responder_first_opens_its_own_nat_unless_it_has_met_the_initiator() {
    for (met, ttl) in [(None, Some(5)), (Some(REMOTE), None)] {
        let mut bench = Bench::sampled(Side::Responder, PunchConfig::default(), CONSISTENT);
        bench.tell(Firewall::Consistent, &[REMOTE], Some(HOST));
        if let Some(met) = met {
            bench.puncher.answer_opening(bench.now, met, SocketAddrV4::new(Ipv4Addr::new(40, 0, 0, 1), 5000));
            assert_eq!(bench.probes(), [Probe { from: SocketId(1), to: met, ttl: None }]);
        }
        bench.puncher.punch(bench.now).unwrap();
        assert_eq!(bench.probes(), [Probe { from: SocketId(1), to: REMOTE, ttl }]);
        let later = bench.run();
        assert!(later.iter().all(|(_, probe)| probe.ttl.is_none()));
        let within_a_second = later.iter().filter(|(at, _)| *at < SECOND).count();
        assert_eq!(within_a_second, 4);
    }
}

#[test]
fn an_opening_for_an_address_that_is_not_ours_is_not_answered() {
    let mut bench = Bench::sampled(Side::Responder, PunchConfig::default(), CONSISTENT);
    bench.puncher.answer_opening(bench.now, REMOTE, SocketAddrV4::new(Ipv4Addr::new(40, 0, 0, 1), 5001));
    assert_eq!(bench.probes(), []);
}

#[test]
fn no_random_port_is_probed_at_a_host_that_is_not_verified() {
    let random = SocketAddrV4::new(HOST, 0);
    for (ports, remote) in [(CONSISTENT, Firewall::Random), (RANDOM, Firewall::Consistent)] {
        let mut bench = Bench::sampled(Side::Initiator, PunchConfig::default(), ports);
        assert_eq!(bench.puncher.punch(bench.now), Err(Unpunchable::NoAddress));
        bench.tell(remote, &[random], None);
        assert_eq!(bench.puncher.punch(bench.now), Err(Unpunchable::Unverified));
        bench.tell(remote, &[random], Some(*STRANGER.ip()));
        assert_eq!(bench.puncher.punch(bench.now), Err(Unpunchable::Unverified));
        assert_eq!((bench.probes(), bench.opened), (Vec::new(), 1));
    }
}

#[test]
fn a_verified_host_stays_verified_as_long_as_it_is_named() {
    let random = [SocketAddrV4::new(HOST, 0)];
    let mut bench = Bench::sampled(Side::Initiator, REFERENCE, CONSISTENT);
    bench.tell(Firewall::Random, &random, Some(HOST));
    bench.tell(Firewall::Random, &random, None);
    assert_eq!(bench.puncher.strategy(), Ok(Strategy::Spray));
    bench.tell(Firewall::Random, &[STRANGER], None);
    bench.tell(Firewall::Random, &random, None);
    assert_eq!(bench.puncher.strategy(), Err(Unpunchable::Unverified));
}

#[test]
fn a_random_nat_is_sprayed_with_1750_probes_20_ms_apart() {
    let mut bench = Bench::sampled(Side::Initiator, REFERENCE, CONSISTENT);
    bench.tell(Firewall::Random, &[SocketAddrV4::new(HOST, 0)], Some(HOST));
    bench.puncher.punch(bench.now).unwrap();
    let sent = bench.run();
    assert_eq!(sent.len(), 1750);
    for (n, (at, probe)) in (0..).zip(&sent) {
        assert_eq!(*at, Duration::from_millis(20) * n);
        assert_eq!((probe.from, probe.to.ip(), probe.ttl), (SocketId(1), &HOST, None));
        assert!(probe.to.port() >= 1000);
    }
    let low = sent.iter().filter(|(_, probe)| probe.to.port() < 33_268).count();
    // Half of the ports are below that; four standard deviations of the binomial distribution are 84.
    assert!((791..=959).contains(&low), "{low}");
    assert_eq!(bench.puncher.poll_event(), Some(PunchEvent::Failed(PunchFailure::Exhausted)));
}

#[test]
fn a_random_nat_opens_sockets_as_the_reference_does_in_the_lab() {
    let run = &NATLAB["runs"]["random-cone"];
    assert_eq!((&run["clientNat"], &run["serverNat"]), (&"random".into(), &"cone".into()));
    let low = rows(&run["probeSummary"]).iter().find(|row| row["ttlSeen"] == 4).unwrap();
    let mut bench = Bench::sampled(Side::Initiator, REFERENCE, RANDOM);
    bench.puncher.fast_open(bench.now, REMOTE);
    bench.tell(Firewall::Consistent, &[REMOTE], Some(HOST));
    bench.puncher.punch(bench.now).unwrap();
    let sent = bench.run();
    let low_sent: Vec<_> = sent.iter().filter(|(_, probe)| probe.ttl == Some(5)).collect();
    let sockets: BTreeSet<SocketId> = low_sent.iter().map(|(_, probe)| probe.from).collect();
    assert_eq!(low["count"], low_sent.len());
    assert_eq!(low["distinctSourcePorts"], sockets.len());
    // The last of these and the first ordinary one are next to each other; the lab's timers are late by some percent.
    let last = low_sent.last().unwrap().0;
    let first_ordinary = sent.iter().find(|(_, probe)| probe.ttl.is_none()).unwrap().0;
    assert_eq!(first_ordinary, last + Duration::from_millis(20));
    let span = low["lastMs"].as_f64().unwrap() - low["firstMs"].as_f64().unwrap();
    assert!((last.as_secs_f64() * 1000.0 / span - 1.0).abs() < 0.05);
}

#[test]
fn a_brisk_random_nat_sends_ordinary_probes_from_its_first_socket_too() {
    let mut bench = Bench::sampled(Side::Responder, PunchConfig::default(), RANDOM);
    bench.tell(Firewall::Consistent, &[REMOTE], Some(HOST));
    bench.puncher.punch(bench.now).unwrap();
    let sent = bench.run();
    let ordinary = sent.iter().filter(|(at, probe)| probe.ttl.is_none() && *at < SECOND);
    let times: Vec<u128> = ordinary.map(|(at, _)| at.as_millis()).collect();
    assert_eq!(times, [0, 40, 100, 200, 500]);
}

#[test]
fn sockets_that_cannot_be_had_are_done_without_but_for_the_first() {
    let mut bench = Bench::sampled(Side::Initiator, REFERENCE, RANDOM);
    bench.tell(Firewall::Consistent, &[REMOTE], Some(HOST));
    bench.puncher.punch(bench.now).unwrap();
    for socket in 2..=10 {
        assert_eq!(bench.puncher.poll_command(), Some(PunchCommand::Open));
        bench.puncher.handle_opened(bench.now, SocketId(socket));
    }
    bench.opened = 10;
    assert_eq!(bench.puncher.poll_command(), Some(PunchCommand::Open));
    bench.puncher.handle_refused(bench.now);
    assert_eq!(bench.puncher.poll_command(), None);
    let used: BTreeSet<SocketId> = bench.run().into_iter().map(|(_, probe)| probe.from).collect();
    assert_eq!(used.len(), 10);

    let now = Instant::now();
    let mut puncher = Puncher::new(now, Side::Initiator, LocalReach::Unknown, REFERENCE, [0; 32]);
    assert_eq!(puncher.poll_command(), Some(PunchCommand::Open));
    puncher.handle_refused(now);
    assert_eq!(puncher.poll_event(), Some(PunchEvent::Failed(PunchFailure::NoSocket)));
}

#[test]
fn two_random_nats_are_refused_unless_both_number_their_mappings() {
    let numbered = [SocketAddrV4::new(HOST, 0), SocketAddrV4::new(HOST, 8000), SocketAddrV4::new(HOST, 8001)];
    let guessing = PunchConfig::default();
    for (config, ports, remote, expected) in [
        (guessing, RANDOM, &numbered[..], Err(Unpunchable::BothRandom)),
        (guessing, NUMBERED, &numbered[..1], Err(Unpunchable::BothRandom)),
        (guessing, NUMBERED, &numbered[..2], Err(Unpunchable::BothRandom)),
        (REFERENCE, NUMBERED, &numbered, Err(Unpunchable::BothRandom)),
        (guessing, NUMBERED, &numbered, Ok(Strategy::Predicted)),
    ] {
        let mut bench = Bench::sampled(Side::Initiator, config, ports);
        bench.tell(Firewall::Random, remote, Some(HOST));
        assert_eq!(bench.puncher.strategy(), expected);
        let stability = if expected.is_ok() { Stability::Stable } else { Stability::Unstable };
        assert_eq!(bench.puncher.analyzed(), Analysis::Done { firewall: Firewall::Random, stability });
    }
}

#[test]
fn the_reference_is_told_of_a_random_nat_what_it_expects() {
    let random = |config, ports| Bench::sampled(Side::Initiator, config, ports).puncher.addresses().to_vec();
    let host = Ipv4Addr::new(40, 0, 0, 1);
    assert_eq!(random(REFERENCE, NUMBERED), [SocketAddrV4::new(host, 0)]);
    let told: Vec<_> = [0, 5004, 5005].map(|port| SocketAddrV4::new(host, port)).into();
    assert_eq!(random(PunchConfig::default(), NUMBERED), told);
}

#[test]
fn an_initiator_takes_the_first_probe_as_its_path_and_closes_all_other_sockets() {
    let mut bench = Bench::sampled(Side::Initiator, REFERENCE, RANDOM);
    bench.tell(Firewall::Consistent, &[REMOTE], Some(HOST));
    bench.puncher.punch(bench.now).unwrap();
    bench.obey();
    assert_eq!(bench.opened, 256);
    let from = SocketAddrV4::new(HOST, 7001);
    bench.puncher.handle_probe(bench.now, SocketId(9), from);
    bench.puncher.handle_probe(bench.now, SocketId(10), REMOTE);
    bench.obey();
    assert_eq!(bench.puncher.poll_event(), Some(PunchEvent::Opened { socket: SocketId(9), remote: from }));
    assert_eq!((bench.puncher.poll_event(), bench.puncher.socket()), (None, Some(SocketId(9))));
    assert_eq!((bench.open_sockets(), bench.closed.contains(&SocketId(9))), (1, false));
    assert_eq!((bench.probes(), bench.puncher.poll_timeout()), (Vec::new(), None));
}

#[test]
fn a_stranger_does_not_take_the_path_from_a_host_that_was_named() {
    let mut bench = Bench::sampled(Side::Initiator, PunchConfig::default(), CONSISTENT);
    bench.tell(Firewall::Consistent, &[REMOTE], Some(HOST));
    bench.puncher.handle_probe(bench.now, SocketId(1), STRANGER);
    assert_eq!(bench.puncher.poll_event(), None);
    bench.puncher.handle_probe(bench.now, SocketId(1), REMOTE);
    let opened = PunchEvent::Opened { socket: SocketId(1), remote: REMOTE };
    assert_eq!(bench.puncher.poll_event(), Some(opened));
}

#[test]
fn a_stranger_gets_the_path_if_nobody_else_comes_since_carriers_have_many_addresses() {
    let mut bench = Bench::sampled(Side::Initiator, PunchConfig::default(), CONSISTENT);
    bench.tell(Firewall::Consistent, &[REMOTE], Some(HOST));
    bench.puncher.handle_probe(bench.now, SocketId(1), STRANGER);
    bench.run();
    assert_eq!(bench.now.duration_since(bench.start), Duration::from_millis(300));
    let opened = PunchEvent::Opened { socket: SocketId(1), remote: STRANGER };
    assert_eq!(bench.puncher.poll_event(), Some(opened));
}

#[test]
fn a_responder_answers_each_probe_from_the_socket_that_got_it_and_keeps_a_limited_number_waiting() {
    let mut bench = Bench::sampled(Side::Responder, PunchConfig::default(), CONSISTENT);
    bench.puncher.handle_probe(bench.now, SocketId(1), STRANGER);
    assert_eq!(bench.probes(), [Probe { from: SocketId(1), to: STRANGER, ttl: None }]);
    bench.puncher.handle_probe(bench.now, SocketId(99), STRANGER);
    bench.puncher.handle_probe(bench.now, SocketId(1), SocketAddrV4::new(HOST, 0));
    assert_eq!(bench.probes(), []);
    for _ in 0..5000 {
        bench.puncher.handle_probe(bench.now, SocketId(1), STRANGER);
    }
    assert_eq!(bench.probes().len(), 1024);
    assert_eq!(bench.puncher.poll_event(), None);
}

#[test]
fn a_settled_punch_keeps_one_socket_and_an_abandoned_one_none() {
    for (settled, left) in [(Some(SocketId(3)), 1), (None, 0)] {
        let mut bench = Bench::sampled(Side::Responder, REFERENCE, RANDOM);
        bench.tell(Firewall::Consistent, &[REMOTE], Some(HOST));
        bench.puncher.punch(bench.now).unwrap();
        bench.obey();
        match settled {
            Some(socket) => bench.puncher.settle_on(bench.now, socket),
            None => bench.puncher.abandon(),
        }
        bench.obey();
        assert_eq!((bench.open_sockets(), bench.puncher.socket()), (left, settled));
        assert_eq!(bench.puncher.punch(bench.now), Err(Unpunchable::Over));
        bench.puncher.abandon();
        bench.obey();
        assert_eq!(bench.open_sockets(), left, "a socket that was settled on is its owner's");
    }
}

#[test]
fn whatever_happens_every_socket_but_the_path_is_closed_once_and_the_machine_falls_silent() {
    arbtest::arbtest(|u| {
        let side = if u.arbitrary()? { Side::Initiator } else { Side::Responder };
        let mut bench = Bench::new(side, if u.arbitrary()? { REFERENCE } else { PunchConfig::default() });
        let mut owned = None;
        for _ in 0..u.int_in_range(0..=40)? {
            let at = bench.now;
            let socket = SocketId(u.int_in_range(0..=300)?);
            let from =
                SocketAddrV4::new(Ipv4Addr::from(u.int_in_range(0..=2)? + u32::from(HOST)), u.arbitrary()?);
            match u.int_in_range(0..=11)? {
                0 => {
                    bench.opened += 1;
                    bench.puncher.handle_opened(at, SocketId(bench.opened));
                }
                1 => bench.puncher.handle_refused(at),
                2 => bench.puncher.handle_sample(at, SocketId(bench.opened), from, REMOTE),
                3 => bench.puncher.handle_sampling_ended(at, socket),
                4 => bench.puncher.handle_probe(at, socket, from),
                5 => {
                    let firewalls =
                        [Firewall::Unknown, Firewall::Consistent, Firewall::Random, Firewall::Other(9)];
                    let addresses = vec![from; u.int_in_range(0..=20)?];
                    bench.tell(*u.choose(&firewalls)?, &addresses, Some(*from.ip()));
                }
                6 => bench.puncher.fast_open(at, from),
                7 => drop(bench.puncher.reopen(at)),
                8 => bench.sample(u.choose(&[CONSISTENT, RANDOM, NUMBERED])?),
                9 => drop(bench.puncher.punch(at)),
                10 => bench.puncher.handle_timeout(at),
                _ => bench.now += Duration::from_millis(u.int_in_range(0..=3000)?),
            }
            bench.obey();
        }
        bench.run();
        while let Some(event) = bench.puncher.poll_event() {
            if let PunchEvent::Opened { socket, .. } = event {
                assert_eq!(owned.replace(socket), None, "opened once");
            }
        }
        bench.puncher.abandon();
        bench.obey();
        assert_eq!(bench.open_sockets(), usize::from(owned.is_some()));
        Ok(())
    })
    .budget_ms(300);
}
