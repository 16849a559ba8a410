//! Peers that meet at relays, and those that find a direct path later, in virtual time.

use std::sync::Arc;
use std::time::Duration;

use peer::{Mux, MuxLimits, blind_relay_channel};
use swarm::{
    Course, DialOptions, Event, Identity, LinkError, LinkId, ListenOptions, Opened, Paths, Permit,
    RelayLimits, RelayNews, RelayOptions, RelayPolicy, Route, SeparationReason, Taken,
};
use wire::PublicKey;
use wire::hyper::Pair;

use crate::street::{Mapping, Street};

/// One way, as in the NAT lab: 80 ms there and back.
const DELAY: Duration = Duration::from_millis(40);

fn street() -> Street {
    let mut street = Street::new();
    street.delay = DELAY;
    street
}

/// An open host that is a relay for everybody.
fn add_relay(street: &mut Street, limits: RelayLimits) -> (usize, PublicKey) {
    let host = street.add_open();
    let identity = Arc::new(Identity::from_seed([77; 32]));
    let key = identity.public_key();
    let options = RelayOptions { limits, announce: Permit::Allowed };
    street.with(host, |swarm, now| swarm.host_relay(now, identity, options));
    street.run(Duration::from_secs(3));
    (host, key)
}

fn dial(street: &mut Street, client: usize, remote: PublicKey, options: DialOptions) {
    let own = Arc::new(Identity::from_seed([92; 32]));
    street.with(client, |swarm, now| swarm.dial(now, remote, &own, options));
}

fn through(relay: PublicKey) -> DialOptions {
    let mut options = DialOptions::default();
    options.through = RelayPolicy::These([relay].into());
    options
}

fn opened(street: &mut Street, [server, client]: [usize; 2]) -> (Opened, Opened) {
    let here = street.opened(client).expect("the client is connected");
    (street.opened(server).expect("the server accepts"), here)
}

fn rerouted(street: &Street, host: usize) -> Option<Course> {
    street.hosts[host].events.iter().rev().find_map(|event| match event {
        Event::Rerouted { course, .. } => Some(*course),
        _ => None,
    })
}

fn news(street: &Street, host: usize) -> Vec<RelayNews> {
    let news = |event: &Event| match event {
        Event::Relay { news, .. } => Some(*news),
        _ => None,
    };
    street.hosts[host].events.iter().filter_map(news).collect()
}

/// Sends numbered frames both ways, ten each hundredth of a second, until a time; returns how many of each arrived
/// in their order.
fn converse(street: &mut Street, ends: [(usize, LinkId); 2], time: Duration) -> [u32; 2] {
    let mut sent = [0_u32; 2];
    let mut arrived = [0_u32; 2];
    let quiet = Duration::from_secs(3);
    let step = Duration::from_millis(10);
    let steps = (time + quiet).as_millis() / step.as_millis();
    for round in 0..steps {
        for (from, (host, link)) in ends.into_iter().enumerate() {
            let is_over = round * step.as_millis() >= time.as_millis();
            for _ in 0..if is_over { 0 } else { 10 } {
                street.send(host, link, &sent[from].to_le_bytes());
                sent[from] += 1;
            }
        }
        street.run(step);
        for (to, (host, link)) in ends.into_iter().enumerate() {
            while let Taken::Frame(frame) = street.take(host, link) {
                assert_eq!(frame, arrived[1 - to].to_le_bytes());
                arrived[1 - to] += 1;
            }
        }
    }
    assert_eq!(arrived, sent, "everything arrives");
    sent
}

#[test]
fn random_nats_on_both_sides_meet_at_a_relay_that_they_find_within_600_ms() {
    let mut street = street();
    let (relay, key) = add_relay(&mut street, RelayLimits::default());
    assert!(news(&street, relay).contains(&RelayNews::Announced));
    let pair @ [server, client] =
        [street.add_behind(Some(Mapping::Random)), street.add_behind(Some(Mapping::Random))];
    let remote = street.serve_with(server, ListenOptions::default());
    street.run(Duration::from_secs(2));
    dial(&mut street, client, remote, DialOptions::default());
    street.run(Duration::from_secs(2));
    let (there, here) = opened(&mut street, pair);
    assert_eq!((here.route, here.relay), (Route::Relayed, Some(key)));
    assert_eq!((there.route, there.relay), (Route::Relayed, Some(key)));
    assert!(here.took <= Duration::from_millis(600), "it took {:?}", here.took);
    let ends = [(server, there.link), (client, here.link)];
    converse(&mut street, ends, Duration::from_secs(1));
    assert_eq!(rerouted(&street, client), None, "there is no other path");
}

#[test]
fn a_client_that_finds_relays_only_after_it_failed_gets_through_all_the_same() {
    let mut street = street();
    let pair @ [server, client] =
        [street.add_behind(Some(Mapping::Random)), street.add_behind(Some(Mapping::Random))];
    // The server proposes none, and the client's first walk for relays found nobody.
    let mut options = ListenOptions::default();
    options.through = RelayPolicy::These([].into());
    let remote = street.serve_with(server, options);
    let (_, key) = add_relay(&mut street, RelayLimits::default());
    street.run(Duration::from_secs(31));
    dial(&mut street, client, remote, DialOptions::default());
    street.run(Duration::from_secs(10));
    let (_, here) = opened(&mut street, pair);
    assert_eq!(here.relay, Some(key));
}

#[test]
fn relays_that_are_forbidden_are_not_used_and_not_accepted() {
    for forbids_server in [true, false] {
        let mut street = street();
        let (_, key) = add_relay(&mut street, RelayLimits::default());
        let [server, client] =
            [street.add_behind(Some(Mapping::Random)), street.add_behind(Some(Mapping::Random))];
        let mut served = ListenOptions::default();
        let mut dialled = through(key);
        if forbids_server {
            served.through = RelayPolicy::Never;
        } else {
            dialled.through = RelayPolicy::Never;
        }
        let remote = street.serve_with(server, served);
        dial(&mut street, client, remote, dialled);
        street.run(Duration::from_secs(40));
        assert_eq!(street.opened(client).map(|opened| opened.route), None);
        assert_eq!(street.opened(server).map(|opened| opened.route), None);
    }
}

#[test]
fn a_random_nat_against_a_port_restricted_one_is_relayed_within_500_ms_and_direct_later() {
    let mut street = street();
    let (_, key) = add_relay(&mut street, RelayLimits::default());
    let pair @ [server, client] =
        [street.add_behind(Some(Mapping::Same)), street.add_behind(Some(Mapping::Random))];
    let remote = street.serve_with(server, ListenOptions::default());
    street.run(Duration::from_secs(2));
    dial(&mut street, client, remote, DialOptions::default());
    street.run(Duration::from_millis(700));
    let (there, here) = opened(&mut street, pair);
    assert_eq!((here.route, here.relay), (Route::Relayed, Some(key)));
    assert!(here.took <= Duration::from_millis(500), "it took {:?}", here.took);
    let ends = [(server, there.link), (client, here.link)];
    converse(&mut street, ends, Duration::from_secs(40));
    for host in pair {
        let way = rerouted(&street, host).expect("a direct path is found");
        assert_eq!((way.route, way.relay), (Route::Punched, None));
    }
}

#[test]
fn a_direct_path_that_opens_late_takes_over_without_losing_a_frame() {
    for late in [0, 300, 1_500, 4_000] {
        let mut street = street();
        let (relay, key) = add_relay(&mut street, RelayLimits::default());
        let pair @ [server, client] =
            [street.add_behind(Some(Mapping::Same)), street.add_behind(Some(Mapping::Same))];
        let remote = street.serve_with(server, ListenOptions::default());
        street.barred = Some((server, client, street.now + Duration::from_millis(500 + late)));
        dial(&mut street, client, remote, through(key));
        street.run(Duration::from_millis(500));
        let (there, here) = opened(&mut street, pair);
        assert_eq!((here.route, here.relay), (Route::Relayed, Some(key)), "{late} ms late");
        let ends = [(server, there.link), (client, here.link)];
        converse(&mut street, ends, Duration::from_secs(8));
        for host in pair {
            let way = rerouted(&street, host).unwrap_or_else(|| panic!("no direct path, {late} ms late"));
            assert_eq!((way.route, way.relay), (Route::Punched, None));
        }
        // The relay is left, and the connection outlives that.
        street.run(Duration::from_secs(40));
        let left =
            |news: &RelayNews| matches!(news, RelayNews::Separated { why: SeparationReason::Left, .. });
        assert!(news(&street, relay).iter().any(left));
        converse(&mut street, ends, Duration::from_secs(1));
        assert_eq!((street.closed(server), street.closed(client)), (None, None));
    }
}

/// Two hosts that use nothing but a relay.
fn relayed(limits: RelayLimits) -> (Street, usize, [(usize, LinkId); 2]) {
    let mut street = street();
    let (relay, key) = add_relay(&mut street, limits);
    let pair @ [server, client] = [street.add_firewalled(), street.add_firewalled()];
    let mut options = ListenOptions::default();
    options.paths = Paths::RelayOnly;
    let remote = street.serve_with(server, options);
    dial(&mut street, client, remote, through(key));
    street.run(Duration::from_secs(2));
    let (there, here) = opened(&mut street, pair);
    (street, relay, [(server, there.link), (client, here.link)])
}

#[test]
fn a_relay_that_ends_ends_what_goes_through_it() {
    let (mut street, relay, [(server, _), (client, _)]) = relayed(RelayLimits::default());
    let key = Identity::from_seed([77; 32]).public_key();
    street.with(relay, |swarm, now| swarm.end_relay(now, key));
    street.run(Duration::from_millis(200));
    assert_eq!(street.closed(server), Some(LinkError::RelayGone));
    assert_eq!(street.closed(client), Some(LinkError::RelayGone));
}

#[test]
fn a_pair_by_which_nothing_passes_is_separated() {
    let limits = RelayLimits { idle: Duration::from_secs(20), ..RelayLimits::default() };
    let (mut street, relay, [(server, _), (client, _)]) = relayed(limits);
    // Both ends vanish without a word.
    for host in [server, client] {
        street.hosts[host].ip = std::net::Ipv4Addr::new(10, 250, 0, 1);
    }
    street.run(Duration::from_secs(22));
    let key = Identity::from_seed([77; 32]).public_key();
    let census = street.hosts[relay].swarm.relay_census(&key).unwrap();
    assert_eq!((census.pairs, census.waiting), (0, 0));
}

#[test]
fn a_pair_gets_the_rate_that_is_allowed_and_no_more() {
    let rate_of_pair = 64 << 10;
    let (mut street, relay, [(server, there), (client, here)]) =
        relayed(RelayLimits { rate_of_pair, ..RelayLimits::default() });
    let key = Identity::from_seed([77; 32]).public_key();
    let mut came = 0;
    for _ in 0..200 {
        street.with(client, |swarm, now| swarm.send(now, here, &[1; 4_000])).unwrap_or_default();
        street.run(Duration::from_millis(100));
        while let Taken::Frame(frame) = street.take(server, there) {
            came += frame.len() as u64;
        }
    }
    let allowed = rate_of_pair * 20;
    let passed = street.hosts[relay].swarm.relay_census(&key).unwrap().bytes;
    assert!(came > allowed / 4, "{came} bytes arrived");
    assert!(passed < allowed * 2 + (64 << 10), "{passed} bytes passed both ways");
}

#[test]
fn a_client_that_asks_for_ten_thousand_pairs_is_given_sixteen_and_others_are_served() {
    let mut street = street();
    let (relay, key) = add_relay(&mut street, RelayLimits::default());
    let flooder = street.add_firewalled();
    let own = Arc::new(Identity::from_seed([50; 32]));
    street.with(flooder, |swarm, now| swarm.dial(now, key, &own, DialOptions::default()));
    street.run(Duration::from_secs(2));
    let link = street.opened(flooder).expect("the relay serves everybody").link;
    let mut mux = Mux::new(MuxLimits::default());
    let channel = mux.open(blind_relay_channel(own.public_key()), &[]).unwrap();
    for number in 0..10_000_u32 {
        let mut token = [0; 32];
        token[..4].copy_from_slice(&number.to_le_bytes());
        let mut payload = Vec::new();
        Pair { initiator: true, token, stream: number, seq: 0 }.encode(&mut payload);
        mux.send(channel, 0, &payload).unwrap();
    }
    let mut frame = Vec::new();
    while mux.poll_frame(&mut frame) {
        while street.with(flooder, |swarm, now| swarm.send(now, link, &frame)).is_err() {
            street.run(Duration::from_millis(10));
        }
    }
    street.run(Duration::from_secs(5));
    let waiting = |street: &Street| street.hosts[relay].swarm.relay_census(&key).unwrap().waiting;
    assert_eq!(waiting(&street), 16);
    let pair @ [server, client] = [street.add_firewalled(), street.add_firewalled()];
    let mut options = ListenOptions::default();
    options.paths = Paths::RelayOnly;
    let remote = street.serve_with(server, options);
    dial(&mut street, client, remote, through(key));
    street.run(Duration::from_secs(2));
    assert_eq!(opened(&mut street, pair).1.relay, Some(key));
    street.run(Duration::from_secs(30));
    assert_eq!(waiting(&street), 0, "tokens without a second peer are given up");
}

#[test]
fn a_client_that_breaks_the_relays_protocol_loses_its_connection_alone() {
    let (mut street, relay, [(server, there), (client, here)]) = relayed(RelayLimits::default());
    let key = Identity::from_seed([77; 32]).public_key();
    let vandal = street.add_firewalled();
    let own = Arc::new(Identity::from_seed([51; 32]));
    street.with(vandal, |swarm, now| swarm.dial(now, key, &own, DialOptions::default()));
    street.run(Duration::from_secs(2));
    let link = street.opened(vandal).expect("the relay serves everybody").link;
    street.send(vandal, link, &[0, 1, 99, 255, 255]);
    street.run(Duration::from_secs(1));
    assert_eq!(street.closed(vandal), Some(LinkError::Reset));
    assert_eq!(street.hosts[relay].swarm.relay_census(&key).unwrap().clients, 2);
    converse(&mut street, [(server, there), (client, here)], Duration::from_secs(1));
}

#[test]
fn clients_that_propose_many_relays_make_a_server_dial_no_more_than_32_at_one_time() {
    let mut street = street();
    let [server, client] = [street.add_firewalled(), street.add_firewalled()];
    let remote = street.serve_with(server, ListenOptions::default());
    for number in 0..60 {
        let own = Arc::new(Identity::from_seed([100 + number; 32]));
        let mut options = through(Identity::from_seed([number; 32]).public_key());
        options.paths = Paths::RelayOnly;
        street.with(client, |swarm, now| swarm.dial(now, remote, &own, options));
    }
    let mut most = 0;
    for _ in 0..1_000 {
        street.run(Duration::from_millis(10));
        let stats = street.hosts[server].swarm.stats();
        most = most.max(stats.dialled - stats.failed);
    }
    // The relays do not exist, and a walk takes a while to say so.
    assert!((16..=32).contains(&most), "{most} relays are dialled at one time");
}
