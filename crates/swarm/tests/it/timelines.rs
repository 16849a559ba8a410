//! What the reference did, replayed: the same happens to a roster, and it tells the same.

use std::time::Duration;

use serde_json::Value;
use swarm::roster::{
    Action, Backoffs, Ban, DialFailure, Direction, Proven, Role, RosterConfig, RosterEvent, RosterLimits,
    Standing,
};

use crate::desk::{Desk, LOCAL, TOPIC, greater_key, key};
use crate::json::{BEHAVIOUR, CORNERS, MACHINES, list, number};

/// What the reference's log says at an event.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    connecting: u64,
    connections: u64,
    peers: u64,
    /// Priority, attempts, proven.
    peer: Option<(u64, u64, bool)>,
}

fn line(entry: &Value) -> Line {
    let peer = || Some((number(&entry["priority"]), number(&entry["attempts"]), entry["proven"] == true));
    Line {
        connecting: number(&entry["connecting"]),
        connections: number(&entry["connections"]),
        peers: number(&entry["peers"]),
        peer: if entry["event"] == "connection" { peer() } else { None },
    }
}

fn log<'a>(scene: &'a str, swarm: &'a str, event: &'a str) -> Vec<Line> {
    let entries = list(&BEHAVIOUR[scene]["log"]).iter();
    entries.filter(|entry| entry["swarm"] == swarm && entry["event"] == event).map(line).collect()
}

fn counts(desk: &Desk) -> Line {
    let census = desk.roster.census();
    Line {
        connecting: census.connecting as u64,
        connections: census.links_open as u64,
        peers: census.peers_known as u64,
        peer: None,
    }
}

fn with_peer(desk: &Desk) -> Line {
    let peer = desk.roster.peers().next().expect("one peer is known");
    let peer = (peer.priority as u64, u64::from(peer.attempts), peer.proven == Proven::Yes);
    Line { peer: Some(peer), ..counts(desk) }
}

fn stats(desk: &Desk) -> [u64; 6] {
    let census = desk.roster.census();
    [
        census.outgoing_attempted,
        census.outgoing_opened,
        census.outgoing_closed,
        census.incoming_opened,
        census.incoming_closed,
        census.updates,
    ]
}

fn recorded(stats: &Value) -> [u64; 6] {
    let (client, server) = (&stats["connects"]["client"], &stats["connects"]["server"]);
    let counts =
        [&client["attempted"], &client["opened"], &client["closed"], &server["opened"], &server["closed"]];
    let mut all = [0; 6];
    all[..5].copy_from_slice(&counts.map(number));
    all[5] = number(&stats["updates"]);
    all
}

#[test]
fn a_client_and_a_server_count_what_the_reference_counts() {
    let scene = &BEHAVIOUR["one server one client"];
    let mut client = Desk::finding(RosterConfig::default());
    client.found(key(1));
    let updates = log("one server one client", "client", "update");
    assert_eq!(counts(&client), updates[0]);
    let (dial, _) = client.dial();
    let link = client.opened(dial);
    assert_eq!(with_peer(&client), log("one server one client", "client", "connection")[0]);
    assert_eq!(counts(&client), updates[1]);
    assert!(client.told().contains(&RosterEvent::Connected {
        link,
        key: key(1),
        topics: vec![TOPIC],
        direction: Direction::Outgoing
    }));

    let mut server = Desk::new(RosterConfig::default());
    server.join(Role::Announce, None);
    let connection = server.incoming(key(2), None);
    assert_eq!(with_peer(&server), log("one server one client", "server", "connection")[0]);
    let expected = RosterEvent::Connected {
        link: connection,
        key: key(2),
        topics: vec![],
        direction: Direction::Incoming,
    };
    assert!(server.told().contains(&expected));

    client.closed(link);
    server.closed(connection);
    assert_eq!(stats(&client)[..5], recorded(&scene["clientStats"])[..5]);
    assert_eq!(stats(&server), recorded(&scene["serverStats"]));
}

#[test]
fn of_two_crossing_dials_both_sides_keep_that_of_the_greater_key() {
    let results = list(&BEHAVIOUR["crossing via joinPeer"]["results"]);
    for greater in [true, false] {
        let remote = if greater { key(1) } else { greater_key(1) };
        assert_eq!(LOCAL > remote, greater);
        let mut desk = Desk::new(RosterConfig::default());
        let now = desk.now;
        desk.with(|roster| roster.join_peer(now, remote)).unwrap();
        let (dial, _) = desk.dial();
        let link = desk.incoming(remote, None);
        let recorded_as = results.iter().find(|result| result["aGreater"] == greater).unwrap();
        if greater {
            assert_eq!(desk.closes().len(), 1);
            desk.opened(dial);
        } else {
            let expected = [Action::CancelDial(dial), Action::Accept(link)];
            assert_eq!(desk.asked(), expected);
            // The reference's log shows the failed attempt.
            let lines = log("crossing via joinPeer", "a0", "connection");
            assert_eq!(with_peer(&desk), lines[0]);
        }
        let census = desk.roster.census();
        assert_eq!(census.links_open as u64, number(&recorded_as["aConns"]));
        let ours = desk.roster.peers().next().unwrap().standing;
        let initiator = matches!(ours, Standing::Connected(_, Direction::Outgoing));
        assert_eq!(Some(initiator), recorded_as["aIsInitiator"].as_bool());
        let client = &recorded_as["aStats"]["client"];
        assert_eq!(census.outgoing_attempted, number(&client["attempted"]));
        assert_eq!(census.outgoing_opened, number(&client["opened"]));
        assert_eq!(census.incoming_opened, number(&recorded_as["aStats"]["server"]["opened"]));
    }
}

#[test]
fn a_peer_that_closes_each_connection_is_dialled_at_the_reference_s_pace() {
    let scene = "reconnect backoff after server socket destroy";
    let backoff = Backoffs {
        short: Duration::from_millis(100),
        medium: Duration::from_millis(500),
        long: Duration::from_millis(1500),
        extra: Duration::from_secs(60),
    };
    // The reference closed at these times and dialled again at those: 0.66 to 1.32 of its timers, in whole
    // milliseconds.
    let gaps = [(65, 198), (269, 705), (731, 2692)].map(|(closed, dialled)| dialled - closed);
    let timers = [backoff.short, backoff.medium, backoff.long];
    for (gap, timer) in gaps.iter().zip(timers) {
        let gap = Duration::from_millis(*gap);
        assert!(
            gap >= timer.mul_f64(0.66) && gap <= timer.mul_f64(1.32) + Duration::from_millis(2),
            "{gap:?}"
        );
    }
    let connections = log(scene, "client", "connection");
    assert_eq!(connections.len(), 4);
    for seed in 0..50 {
        let mut desk = Desk::seeded(RosterConfig { backoff, ..RosterConfig::default() }, seed);
        desk.join(Role::Find, None);
        desk.found(key(1));
        for (round, recorded) in connections.iter().enumerate() {
            let (dial, _) = desk.dial();
            let link = desk.opened(dial);
            assert_eq!(with_peer(&desk).peer, recorded.peer, "round {round}");
            desk.pass(Duration::from_millis(20));
            desk.closed(link);
            let before = desk.now;
            desk.asked();
            let Some(timer) = timers.get(round) else { break };
            desk.pass(timer.mul_f64(0.659));
            assert_eq!(desk.asked(), [], "seed {seed} round {round}");
            while desk.roster.census().connecting == 0 {
                desk.pass(Duration::from_millis(1));
            }
            assert!(desk.now - before <= timer.mul_f64(1.32) + Duration::from_millis(1));
        }
    }
}

#[test]
fn a_peer_that_the_firewall_rejects_is_banned_once() {
    let scene = &BEHAVIOUR["firewall"];
    let mut server = Desk::new(RosterConfig::default());
    server.join(Role::Announce, None);
    for _ in 0..3 {
        let now = server.now;
        server.with(|roster| roster.handle_rejected(now, key(1)));
    }
    assert_eq!(server.told(), [RosterEvent::Banned { key: key(1) }]);
    assert_eq!(server.roster.census().firewalled, number(&scene["serverStats"]["bannedPeers"]));
    assert_eq!(stats(&server), recorded(&scene["serverStats"]));
}

#[test]
fn a_resumed_swarm_dials_in_the_same_breath_and_blames_nobody() {
    let mut desk = Desk::finding(RosterConfig::default());
    desk.found(key(1));
    let (dial, _) = desk.dial();
    desk.opened(dial);
    desk.pass(Duration::from_millis(200));
    let now = desk.now;
    desk.with(|roster| roster.suspend(now));
    assert_eq!(desk.roster.census().links_open, 0);
    assert!(desk.told().contains(&RosterEvent::Suspended));
    desk.pass(Duration::from_millis(300));
    desk.asked();
    let now = desk.now;
    desk.with(|roster| roster.resume(now));
    let (dial, _) = desk.dial();
    desk.opened(dial);
    let recorded = log("suspend resume", "client", "connection");
    assert_eq!(with_peer(&desk).peer, recorded[1].peer);
}

#[test]
fn peers_queued_at_suspension_are_all_dialled_after_it() {
    let case = &CORNERS["cases"]["peers queued at suspend"];
    let mut desk = Desk::finding(RosterConfig { peers_max: 1, ..RosterConfig::default() });
    for number in 0..4 {
        desk.found(key(number));
    }
    let (dial, _) = desk.dial();
    desk.opened(dial);
    let before = desk.roster.census();
    assert_eq!(before.links_open as u64, number(&case["before"]["connections"]));
    assert_eq!(before.queued as u64, number(&case["before"]["queueLength"]));
    let now = desk.now;
    desk.with(|roster| roster.suspend(now));
    desk.with(|roster| roster.resume(now));
    // Each gives its place to the next; the reference never dials the three again.
    let mut reached = Vec::new();
    while let Some(&(dial, key)) = desk.dials().first() {
        reached.push(key);
        desk.opened(dial);
        let now = desk.now;
        desk.with(|roster| roster.ban(now, key, Ban::Imposed));
        let link = desk.roster.link_with(&key).unwrap();
        desk.closed(link);
    }
    reached.sort();
    assert_eq!(reached, [0, 1, 2, 3].map(key));
}

#[test]
fn a_limit_of_two_stays_two_through_every_refresh() {
    let grown =
        list(&CORNERS["cases"]["limit 2, 8 servers, connections after the first and each further refresh"]);
    assert_eq!(number(grown.last().unwrap()), 8, "the reference does not hold its limit");
    let mut desk = Desk::new(RosterConfig::default());
    desk.join(Role::Find, Some(2));
    let mut links = Vec::new();
    for _ in grown {
        (0..8).for_each(|number| desk.found(key(number)));
        for (dial, _) in desk.dials() {
            links.push(desk.opened(dial));
        }
        desk.walked();
        assert_eq!(links.len(), 2);
        desk.pass(Duration::from_mins(12));
    }
    // One that leaves makes room for another.
    desk.closed(links[0]);
    assert_eq!(desk.dials().len(), 1);
}

#[test]
fn explicit_peers_lower_the_ceiling_as_in_the_reference() {
    const PEERS_MAX: usize = 24;
    for row in list(&MACHINES["maxPeersFactor"]) {
        let explicit = u32::try_from(number(&row["explicitPeers"])).unwrap();
        let factor = usize::try_from(number(&row["factor"])).unwrap();
        let config = RosterConfig {
            peers_max: PEERS_MAX,
            parallel_max: 100,
            dials_max: 100,
            limits: RosterLimits::default(),
            ..RosterConfig::default()
        };
        let mut desk = Desk::finding(config);
        for number in 0..explicit {
            let now = desk.now;
            desk.with(|roster| roster.join_peer(now, key(number))).unwrap();
        }
        (100..200).for_each(|number| desk.found(key(number)));
        let expected = PEERS_MAX.div_ceil(factor).max(usize::try_from(explicit).unwrap());
        assert_eq!(desk.dials().len(), expected, "{explicit} explicit peers");
    }
}

#[test]
fn attempts_at_a_host_that_is_gone_end_and_begin_as_counted() {
    let mut desk = Desk::finding(RosterConfig::default());
    desk.found(key(1));
    for round in 0..10 {
        let (dial, _) = desk.dial();
        desk.failed(dial, DialFailure::NoAnswer);
        let census = desk.roster.census();
        assert_eq!((census.outgoing_attempted, census.outgoing_closed), (round + 1, round + 1));
        assert_eq!((census.outgoing_opened, census.connecting, census.waiting), (0, 0, 1));
        while desk.roster.census().connecting == 0 {
            // The topic goes on naming it.
            desk.found(key(1));
            desk.pass(Duration::from_secs(1));
        }
    }
}
