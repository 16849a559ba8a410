use super::*;

const MS: Duration = Duration::from_millis(1);
const FLAT: Path =
    Path { latency: Latency::Fixed(Duration::from_millis(30)), jitter: Duration::ZERO, ..Path::INTERNET };

fn flat() -> Net {
    Net::new(7, FLAT)
}

/// Sends and delivers one datagram, at once.
fn carry(net: &mut Net, now: Duration, from: (HostId, u16), to: SocketAddrV4) -> Result<Arrival, Lost> {
    let sent = net.send(now, from, to, None)?;
    net.arrive(sent.flight.arrives, &sent.flight)
}

fn at(net: &Net, host: HostId, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(net.address(host), port)
}

#[test]
fn a_datagram_between_public_hosts_takes_the_paths_latency() {
    let mut net = flat();
    let (a, b) = (net.add_host(Realm::Internet), net.add_host(Realm::Internet));
    let to = at(&net, b, 2);
    let sent = net.send(5 * MS, (a, 1), to, None).unwrap();
    assert_eq!((sent.flight.arrives, sent.copy_arrives), (35 * MS, None));
    let arrival = net.arrive(35 * MS, &sent.flight).unwrap();
    assert_eq!(arrival, Arrival { host: b, port: 2, from: at(&net, a, 1) });
}

#[test]
fn round_trips_on_the_map_are_between_20_and_120_ms_and_the_same_both_ways() {
    let mut net = Net::new(3, Path { jitter: Duration::ZERO, ..Path::INTERNET });
    let hosts: Vec<_> = (0..60).map(|_| net.add_host(Realm::Internet)).collect();
    let mut one_way = Vec::new();
    for a in &hosts {
        for b in hosts.iter().filter(|b| *b != a) {
            let (to, back) = (at(&net, *b, 1), at(&net, *a, 1));
            let there = net.send(Duration::ZERO, (*a, 1), to, None).unwrap().flight.arrives;
            assert_eq!(there, net.send(Duration::ZERO, (*b, 1), back, None).unwrap().flight.arrives);
            one_way.push(there);
        }
    }
    let (least, most) = (*one_way.iter().min().unwrap(), *one_way.iter().max().unwrap());
    assert!(least >= 10 * MS && least < 15 * MS, "{least:?}");
    assert!(most <= 60 * MS && most > 45 * MS, "{most:?}");
}

#[test]
fn loss_duplication_and_reordering_happen_as_often_as_they_should() {
    let faults = Path {
        loss: Millionths::percent(10),
        duplication: Millionths::percent(20),
        reordering: Millionths::percent(30),
        ..FLAT
    };
    let mut net = Net::new(11, faults);
    let (a, b) = (net.add_host(Realm::Internet), net.add_host(Realm::Internet));
    let to = at(&net, b, 2);
    let (mut lost, mut copied, mut held) = (0, 0, 0);
    for _ in 0..10_000 {
        match net.send(Duration::ZERO, (a, 1), to, None) {
            Ok(sent) => {
                copied += u32::from(sent.copy_arrives.is_some());
                held += u32::from(sent.flight.arrives == 130 * MS);
            }
            Err(why) => {
                assert_eq!(why, Lost::Dropped);
                lost += 1;
            }
        }
    }
    // Five standard deviations of the binomial distribution around 1,000, 1,800 and 2,700.
    assert!((850..=1150).contains(&lost), "{lost}");
    assert!((1590..=2010).contains(&copied), "{copied}");
    assert!((2450..=2950).contains(&held), "{held}");
}

#[test]
fn one_direction_can_have_its_own_path() {
    let mut net = flat();
    let (a, b) = (net.add_host(Realm::Internet), net.add_host(Realm::Internet));
    net.set_path_between(net.address(a), net.address(b), FLAT.with_loss(Millionths::ALWAYS));
    let (to_a, to_b) = (at(&net, a, 1), at(&net, b, 1));
    assert_eq!(carry(&mut net, MS, (a, 1), to_b), Err(Lost::Dropped));
    assert!(carry(&mut net, MS, (b, 1), to_a).is_ok());
}

#[test]
fn a_cut_separates_its_hosts_from_the_others_until_it_heals() {
    let mut net = flat();
    let [a, b, c] = std::array::from_fn(|_| net.add_host(Realm::Internet));
    let (to_b, to_c) = (at(&net, b, 1), at(&net, c, 1));
    let cut = net.cut([a, b]);
    assert!(carry(&mut net, MS, (a, 1), to_b).is_ok());
    assert_eq!(carry(&mut net, MS, (a, 1), to_c), Err(Lost::Cut));
    assert_eq!(carry(&mut net, MS, (c, 1), to_b), Err(Lost::Cut));
    net.heal(cut);
    assert!(carry(&mut net, MS, (a, 1), to_c).is_ok());
}

#[test]
fn a_mute_host_hears_and_a_host_without_cable_does_not() {
    let mut net = flat();
    let (a, b) = (net.add_host(Realm::Internet), net.add_host(Realm::Internet));
    let (to_a, to_b) = (at(&net, a, 1), at(&net, b, 1));
    net.set_cable(b, Cable::Mute);
    assert!(carry(&mut net, MS, (a, 1), to_b).is_ok());
    assert_eq!(carry(&mut net, MS, (b, 1), to_a), Err(Lost::Cable));
    net.set_cable(b, Cable::Down);
    assert_eq!(carry(&mut net, MS, (a, 1), to_b), Err(Lost::Cable));
}

#[test]
fn a_host_behind_a_nat_is_seen_under_the_nats_address_and_gets_the_answer() {
    let mut net = flat();
    let nat = net.add_nat(Realm::Internet, NatConfig::HOME);
    let (inside, outside) = (net.add_host(Realm::Behind(nat)), net.add_host(Realm::Internet));
    let stranger = net.add_host(Realm::Internet);
    let to = at(&net, outside, 2);
    let seen = carry(&mut net, MS, (inside, 5000), to).unwrap().from;
    assert_eq!(seen, SocketAddrV4::new(net.outer_address(nat), 5000));
    assert_eq!(carry(&mut net, MS, (outside, 2), seen), Ok(Arrival { host: inside, port: 5000, from: to }));
    assert_eq!(carry(&mut net, MS, (stranger, 2), seen), Err(Lost::Filtered));
}

#[test]
fn a_mapping_made_while_a_datagram_is_in_flight_lets_it_in() {
    let mut net = flat();
    let nats = [0; 2].map(|_| net.add_nat(Realm::Internet, NatConfig::HOME));
    let [a, b] = nats.map(|nat| net.add_host(Realm::Behind(nat)));
    let [to_a, to_b] = nats.map(|nat| SocketAddrV4::new(net.outer_address(nat), 1));
    let first = net.send(Duration::ZERO, (a, 1), to_b, None).unwrap().flight;
    net.send(10 * MS, (b, 1), to_a, None).unwrap();
    assert_eq!(net.arrive(first.arrives, &first).unwrap().host, b);
}

#[test]
fn a_low_time_to_live_opens_the_own_nat_and_ends_before_the_other() {
    let mut net = flat();
    let nats = [0; 2].map(|_| net.add_nat(Realm::Internet, NatConfig::HOME));
    let [a, b] = nats.map(|nat| net.add_host(Realm::Behind(nat)));
    let [to_a, to_b] = nats.map(|nat| SocketAddrV4::new(net.outer_address(nat), 1));
    assert_eq!(net.send(MS, (a, 1), to_b, Some(5)), Err(Lost::Expired));
    assert_eq!(carry(&mut net, MS, (b, 1), to_a).unwrap().host, a);
}

#[test]
fn hosts_behind_one_nat_meet_on_their_lan_and_at_the_outer_address_only_with_hairpin() {
    for (hairpin, expected) in [(Hairpin::On, true), (Hairpin::Off, false)] {
        let mut net = flat();
        let nat = net.add_nat(Realm::Internet, NatConfig { hairpin, ..NatConfig::OPEN });
        let [a, b] = std::array::from_fn(|_| net.add_host(Realm::Behind(nat)));
        let public = net.add_host(Realm::Internet);
        let (to_public, to_b) = (at(&net, public, 1), at(&net, b, 2));
        assert!(carry(&mut net, MS, (a, 1), to_b).is_ok());
        let b_seen = carry(&mut net, MS, (b, 2), to_public).unwrap().from;
        let carried = carry(&mut net, MS, (a, 1), b_seen);
        assert_eq!(carried.is_ok(), expected);
        if let Ok(arrival) = carried {
            assert_eq!(
                arrival,
                Arrival { host: b, port: 2, from: SocketAddrV4::new(net.outer_address(nat), 1) }
            );
        }
    }
}

#[test]
fn a_carriers_nat_maps_again_what_a_home_router_mapped() {
    let mut net = flat();
    let carrier = net.add_nat(Realm::Internet, NatConfig::SYMMETRIC);
    let home = net.add_nat(Realm::Behind(carrier), NatConfig::HOME);
    let inside = net.add_host(Realm::Behind(home));
    let [x, y] = std::array::from_fn(|_| net.add_host(Realm::Internet));
    let [to_x, to_y] = [x, y].map(|host| at(&net, host, 1));
    let by_x = carry(&mut net, MS, (inside, 5000), to_x).unwrap().from;
    let by_y = carry(&mut net, MS, (inside, 5000), to_y).unwrap().from;
    assert_eq!([by_x, by_y].map(|seen| *seen.ip()), [net.outer_address(carrier); 2]);
    assert_ne!(by_x.port(), by_y.port());
    assert_eq!(carry(&mut net, MS, (x, 1), by_x).unwrap().port, 5000);
    assert_eq!(carry(&mut net, MS, (x, 1), by_y), Err(Lost::Filtered));
}

#[test]
fn a_rebound_nat_has_another_address_and_no_mappings() {
    let mut net = flat();
    let nat = net.add_nat(Realm::Internet, NatConfig::HOME);
    let (inside, outside) = (net.add_host(Realm::Behind(nat)), net.add_host(Realm::Internet));
    let to = at(&net, outside, 1);
    let before = carry(&mut net, MS, (inside, 1), to).unwrap().from;
    net.rebind(nat);
    assert_eq!(carry(&mut net, MS, (outside, 1), before), Err(Lost::Unreachable));
    let after = carry(&mut net, MS, (inside, 1), to).unwrap().from;
    assert_ne!(before.ip(), after.ip());
    assert!(carry(&mut net, MS, (outside, 1), after).is_ok());
    net.flush(nat);
    assert_eq!(carry(&mut net, MS, (outside, 1), after), Err(Lost::Filtered));
}

#[test]
fn a_host_that_roams_is_reached_at_its_new_address_only() {
    let mut net = flat();
    let (a, b) = (net.add_host(Realm::Internet), net.add_host(Realm::Internet));
    let old = at(&net, b, 1);
    net.roam(b, Realm::Internet);
    let new = at(&net, b, 1);
    assert_eq!(carry(&mut net, MS, (a, 1), old), Err(Lost::Unreachable));
    assert_eq!(carry(&mut net, MS, (a, 1), new).unwrap().host, b);
}

#[test]
fn a_spoofed_datagram_arrives_under_the_false_source() {
    let mut net = flat();
    let [liar, victim, target] = std::array::from_fn(|_| net.add_host(Realm::Internet));
    let (from, to) = (at(&net, victim, 9), at(&net, target, 1));
    let flight = net.spoof(MS, liar, from, to).unwrap().flight;
    assert_eq!(net.arrive(flight.arrives, &flight), Ok(Arrival { host: target, port: 1, from }));
}

#[test]
fn a_hundred_thousand_addresses_share_no_network() {
    let mut net = flat();
    let mut networks = BTreeSet::new();
    for _ in 0..100_000 {
        let address = net.give_address(Realm::Internet);
        let [a, b, c, _] = address.octets();
        assert!((24..=87).contains(&a), "{address}");
        assert!(networks.insert([a, b, c]), "{address}");
    }
}

#[test]
fn the_same_seed_gives_the_same_fates() {
    let faults =
        Path { loss: Millionths::percent(10), duplication: Millionths::percent(10), ..Path::INTERNET };
    let fates = |seed| {
        let mut net = Net::new(seed, faults);
        let (a, b) = (net.add_host(Realm::Internet), net.add_host(Realm::Internet));
        let to = at(&net, b, 1);
        (0..500).map(|n| net.send(n * MS, (a, 1), to, None)).collect::<Vec<_>>()
    };
    assert_eq!(fates(1), fates(1));
    assert_ne!(fates(1), fates(2));
}
