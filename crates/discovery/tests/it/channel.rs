//! The channel alone: what it orders and when, and what it tells of what it is told.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use discovery::{
    Act, Channel, Command, Event, Found, Join, JoinError, Manner, Naming, Outcome, Own, Sighting, Source,
    Sources, Topic, Who,
};
use wire::Id;

use crate::vectors::{port, start};

const SECOND: Duration = Duration::from_secs(1);

fn channel(manner: Manner) -> Channel {
    Channel::new(manner, Sources::ALL, [1; 32])
}

fn topic() -> Topic {
    Topic::text("my-app-topic")
}

fn commands(channel: &mut Channel) -> Vec<Command> {
    std::iter::from_fn(|| channel.poll_command()).collect()
}

fn events(channel: &mut Channel) -> Vec<Event> {
    std::iter::from_fn(|| channel.poll_event()).collect()
}

fn found(channel: &mut Channel) -> Vec<Found> {
    let found = |event| match event {
        Event::Found { found, .. } => Some(found),
        _ => None,
    };
    events(channel).into_iter().filter_map(found).collect()
}

fn lost(channel: &mut Channel) -> usize {
    events(channel).iter().filter(|event| matches!(event, Event::Lost { .. })).count()
}

fn address(text: &str) -> Who {
    Who::Address(text.parse().unwrap())
}

fn see(channel: &mut Channel, now: Instant, source: Source, who: Who) {
    channel.handle_sighting(now, Sighting { source, topic: topic(), who, informant: None });
}

/// Answers every order at once, for `span`; returns when each kind of order of one mechanism came.
fn obey(channel: &mut Channel, now: Instant, span: Duration, outcome: Outcome) -> Vec<(Duration, Command)> {
    let mut log = Vec::new();
    let mut at = now;
    loop {
        channel.handle_timeout(at);
        for command in commands(channel) {
            log.push((at - now, command));
            channel.handle_outcome(at, command, outcome);
        }
        match channel.poll_timeout() {
            Some(next) if next <= now + span => at = at.max(next),
            _ => return log,
        }
    }
}

fn times(log: &[(Duration, Command)], source: Source, act: Act) -> Vec<Duration> {
    log.iter()
        .filter(|(_, command)| command.source == source && command.act == act)
        .map(|(at, _)| *at)
        .collect()
}

fn gaps(times: &[Duration]) -> Vec<Duration> {
    times.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect()
}

#[test]
fn a_topic_goes_to_every_mechanism_that_knows_its_kind() {
    let sources = |topic| {
        let (mut channel, now) = (channel(Manner::Active), start());
        channel.join(now, Join::look(topic)).unwrap();
        let looks = commands(&mut channel).into_iter().filter(|command| command.act == Act::Look);
        looks.map(|command| command.source).collect::<Vec<_>>()
    };
    assert_eq!(sources(topic()), Source::ALL);
    let local = [Source::Static, Source::Mdns, Source::Dns];
    assert_eq!(sources(Topic::short(Id([1; 20]))), [&local[..], &[Source::Mainline]].concat());
    assert_eq!(sources(Topic::long(Id([1; 32]))), [&local[..], &[Source::Hyper]].concat());
}

#[test]
fn look_ups_go_on_for_ever_at_a_decaying_and_then_steady_pace() {
    let (mut channel, now) = (channel(Manner::Active), start());
    channel.join(now, Join::look(topic())).unwrap();
    let log = obey(&mut channel, now, Duration::from_hours(24), Outcome::Answered);
    for (source, first, steady) in [(Source::Mdns, 1, 60), (Source::Dns, 5, 60), (Source::Mainline, 15, 600)]
    {
        let at = times(&log, source, Act::Look);
        let gaps = gaps(&at);
        assert_eq!(at[0], Duration::ZERO);
        assert!(gaps[0] >= first * SECOND && gaps[0] <= first * SECOND * 7 / 6, "{source}: {:?}", gaps[0]);
        let late = &gaps[20..];
        assert!(
            late.iter().all(|gap| *gap >= steady * SECOND && *gap <= steady * SECOND * 7 / 6),
            "{source}"
        );
        assert!(late.iter().any(|gap| *gap != late[0]), "{source}: chance is added");
        assert!(*at.last().unwrap() > Duration::from_hours(23), "{source} went on");
    }
}

#[test]
fn announcements_are_renewed_where_they_expire_and_retried_where_they_fail() {
    let (mut channel, now) = (channel(Manner::Active), start());
    channel.join(now, Join::announce(topic(), port(9000))).unwrap();
    let act = Act::Announce(port(9000));
    let log = obey(&mut channel, now, Duration::from_hours(10), Outcome::Answered);
    for (source, min, max) in [(Source::Dns, 60, 70), (Source::Mainline, 600, 700)] {
        let at = times(&log, source, act);
        assert!(gaps(&at).iter().all(|gap| (min * SECOND..=max * SECOND).contains(gap)), "{source}");
        assert!(at.len() > 40, "{source}");
    }
    // The local network keeps nothing, and HyperDHT's announcer renews by itself.
    assert_eq!(times(&log, Source::Mdns, act).len(), 1);
    assert_eq!(times(&log, Source::Hyper, act).len(), 1);

    let mut failing = self::channel(Manner::Active);
    failing.join(now, Join::announce(topic(), port(9000))).unwrap();
    let log = obey(&mut failing, now, Duration::from_hours(1), Outcome::Failed);
    let at: Vec<_> = times(&log, Source::Mainline, act).iter().map(Duration::as_secs).take(5).collect();
    assert_eq!(at, [0, 15, 45, 105, 225], "15 seconds, doubled each time");
}

#[test]
fn a_peer_is_told_once_for_each_mechanism() {
    let (mut channel, now) = (channel(Manner::Active), start());
    channel.join(now, Join::look(topic())).unwrap();
    let peer = address("192.0.2.1:9000");
    for source in [Source::Mdns, Source::Mainline, Source::Mdns, Source::Mainline] {
        see(&mut channel, now, source, peer);
    }
    see(&mut channel, now, Source::Hyper, Who::Key(Id([7; 32])));
    see(&mut channel, now, Source::Hyper, Who::Key(Id([7; 32])));
    let address: SocketAddr = "192.0.2.1:9000".parse().unwrap();
    let expected = [
        Found::Address { address, source: Source::Mdns },
        Found::Address { address, source: Source::Mainline },
        Found::Key { key: Id([7; 32]), source: Source::Hyper },
    ];
    assert_eq!(found(&mut channel), expected);
}

#[test]
fn given_addresses_are_told_at_once_and_never_lost() {
    let (mut channel, now) = (channel(Manner::Active), start());
    let given: SocketAddr = "203.0.113.5:9000".parse().unwrap();
    channel.join(now, Join { fixed: vec![given], ..Join::look(topic()) }).unwrap();
    assert_eq!(found(&mut channel), [Found::Address { address: given, source: Source::Static }]);
    obey(&mut channel, now, Duration::from_hours(48), Outcome::Answered);
    assert_eq!(lost(&mut channel), 0);
}

#[test]
fn we_are_never_found_by_address_or_by_key() {
    let (mut channel, now) = (channel(Manner::Active), start());
    let hosts = ["198.51.100.7", "192.168.1.2"].map(|host| host.parse::<IpAddr>().unwrap());
    channel.handle_own(Own { hosts: hosts.into(), keys: [Id([7; 32])].into() });
    channel.join(now, Join::announce(topic(), port(9000))).unwrap();
    for own in ["198.51.100.7:9000", "192.168.1.2:9000", "127.0.0.1:9000", "[::ffff:198.51.100.7]:9000"] {
        see(&mut channel, now, Source::Mainline, address(own));
    }
    see(&mut channel, now, Source::Hyper, Who::Key(Id([7; 32])));
    assert_eq!(found(&mut channel), []);
    // Another program of this computer is somebody else.
    see(&mut channel, now, Source::Mdns, address("192.168.1.2:9001"));
    assert_eq!(found(&mut channel).len(), 1);

    // A public address that is learned late takes back what was told before.
    see(&mut channel, now, Source::Mainline, address("203.0.113.99:9000"));
    assert_eq!(found(&mut channel).len(), 1);
    channel
        .handle_own(Own { hosts: [IpAddr::from(Ipv4Addr::new(203, 0, 113, 99))].into(), ..Own::default() });
    assert_eq!(lost(&mut channel), 1);
}

#[test]
fn a_peer_is_lost_only_when_look_ups_that_were_answered_missed_it() {
    let (mut channel, now) = (channel(Manner::Active), start());
    channel.join(now, Join::look(topic())).unwrap();
    see(&mut channel, now, Source::Mainline, address("192.0.2.1:9000"));
    obey(&mut channel, now, Duration::from_hours(3), Outcome::Failed);
    assert_eq!(lost(&mut channel), 0, "without a network nothing is known of anybody");
    let later = now + Duration::from_hours(3);
    obey(&mut channel, later, Duration::from_mins(31), Outcome::Answered);
    assert_eq!(lost(&mut channel), 1);
    see(&mut channel, later + Duration::from_hours(1), Source::Mainline, address("192.0.2.1:9000"));
    assert_eq!(found(&mut channel).len(), 1, "who comes back is told again");
}

#[test]
fn leaving_takes_back_every_port_and_silences_the_topic() {
    let (mut channel, now) = (channel(Manner::Active), start());
    channel.join(now, Join::announce(topic(), port(9000))).unwrap();
    channel.join(now, Join::announce(topic(), port(9001))).unwrap();
    commands(&mut channel);

    // One of two ports: the other and the looking stay.
    channel.leave_port(topic(), port(9001));
    let acts: Vec<_> = commands(&mut channel).iter().map(|command| (command.source, command.act)).collect();
    let taken = Act::Unannounce(port(9001));
    assert_eq!(acts, [(Source::Mdns, taken), (Source::Dns, taken), (Source::Mainline, taken)]);
    see(&mut channel, now, Source::Mdns, address("192.0.2.1:9000"));
    assert_eq!(found(&mut channel).len(), 1);

    channel.leave(topic());
    let acts: Vec<_> = commands(&mut channel).iter().map(|command| (command.source, command.act)).collect();
    for source in [Source::Mdns, Source::Dns, Source::Mainline, Source::Hyper] {
        assert!(acts.contains(&(source, Act::Unannounce(port(9000)))), "{source}");
        assert!(acts.contains(&(source, Act::Leave)), "{source}");
    }
    see(&mut channel, now, Source::Mdns, address("192.0.2.2:9000"));
    assert_eq!((found(&mut channel), channel.poll_timeout()), (vec![], None));
}

#[test]
fn looking_and_announcing_one_topic_are_one_membership() {
    let (mut channel, now) = (channel(Manner::Active), start());
    channel.join(now, Join::look(topic())).unwrap();
    commands(&mut channel);
    channel.join(now, Join::announce(topic(), port(9000))).unwrap();
    let acts: Vec<_> = commands(&mut channel).iter().map(|command| command.act).collect();
    assert_eq!(acts, [Act::Announce(port(9000)); 4], "no second look-up, no second beginning");
    let naming = Naming::Compatible(discovery::Domain::Dat);
    channel.join(now, Join { naming, ..Join::look(topic()) }).unwrap();
    assert!(commands(&mut channel).iter().all(|command| command.act == Act::Join(naming)));
}

#[test]
fn a_passive_channel_announces_nothing() {
    let (mut channel, now) = (channel(Manner::Passive), start());
    assert_eq!(channel.join(now, Join::announce(topic(), port(9000))), Err(JoinError::Passive));
    channel.join(now, Join::look(topic())).unwrap();
    let log = obey(&mut channel, now, Duration::from_hours(2), Outcome::Answered);
    assert!(log.iter().all(|(_, command)| matches!(command.act, Act::Look | Act::Join(_))));
}

#[test]
fn a_thousand_topics_are_not_looked_for_in_one_moment() {
    let (mut channel, now) = (channel(Manner::Active), start());
    for number in 0..1024 {
        channel.join(now, Join::look(Topic::text(&format!("topic {number}")))).unwrap();
    }
    let refused = channel.join(now, Join::look(topic()));
    assert_eq!(refused, Err(JoinError::Full));
    let mut at = now;
    let mut ended = 0;
    while ended < 1024 {
        let looks: Vec<_> = commands(&mut channel)
            .into_iter()
            .filter(|command| command.source == Source::Mainline && command.act == Act::Look)
            .collect();
        assert!(looks.len() <= 32, "{}", looks.len());
        ended += looks.len();
        for command in looks {
            channel.handle_outcome(at, command, Outcome::Answered);
        }
        at += SECOND;
        channel.handle_timeout(at);
        assert!(at < now + Duration::from_mins(5), "{ended}");
    }
}

#[test]
fn who_invents_peers_pushes_out_its_own_and_nobody_elses() {
    let (mut channel, now) = (channel(Manner::Active), start());
    channel.join(now, Join::look(topic())).unwrap();
    let informant = |last| Some(IpAddr::from(Ipv4Addr::new(198, 51, 100, last)));
    let tell = |channel: &mut Channel, who, informant| {
        channel.handle_sighting(now, Sighting { source: Source::Mainline, topic: topic(), who, informant });
        events(channel).len()
    };
    for honest in 0..20 {
        tell(&mut channel, address(&format!("192.0.2.{honest}:9000")), informant(1));
    }
    for port in 1..=5_000_u16 {
        tell(&mut channel, Who::Address(([203, 0, 113, 1], port).into()), informant(66));
    }
    for honest in 0..20 {
        let again = tell(&mut channel, address(&format!("192.0.2.{honest}:9000")), informant(1));
        assert_eq!(again, 0, "known still");
        let more = tell(&mut channel, address(&format!("192.0.2.{honest}:9001")), informant(1));
        assert_eq!(more, 1, "and there is room for more of the honest");
    }
}

#[test]
fn what_cannot_be_reached_is_not_told() {
    let (mut channel, now) = (channel(Manner::Active), start());
    channel.join(now, Join::look(topic())).unwrap();
    for nowhere in ["0.0.0.0:9000", "192.0.2.1:0", "224.0.0.251:9000", "[::]:9000", "[ff02::fb]:9000"] {
        see(&mut channel, now, Source::Mainline, address(nowhere));
    }
    assert_eq!(found(&mut channel), []);
    assert_eq!(channel.stats().refused, 5);
}
