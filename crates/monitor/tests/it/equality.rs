use std::os::unix::fs::PermissionsExt;

use monitor::{Source, top};
use node::{Id, KeyPair, Snapshot};

use crate::world::{Watched, network, sample, soon};

fn number(value: usize) -> f64 {
    f64::from(u32::try_from(value).unwrap())
}

#[tokio::test]
async fn page_terminal_json_and_metrics_tell_the_truth_of_a_scripted_network() {
    let nodes = network(10).await;
    let watched = Watched::new(&nodes[4], "equality").await;
    let mut events = nodes[4].events();
    let topic = Id([7; 32]);
    nodes[4].announce(topic, KeyPair::from_seed([7; 32])).await.unwrap();
    soon(async { while !matches!(events.recv().await, Ok(node::Event::Announced { .. })) {} }).await;
    // Nine others are there, each stores the topic, and it is found under one key.
    watched.until(|snapshot| snapshot.peers.topics.first().is_some_and(|topic| topic.stored > 0)).await;
    let mut lookup = nodes[4].lookup(topic).await.unwrap();
    while soon(lookup.next()).await.is_some() {}
    watched.until(|snapshot| snapshot.peers.found == 1 && snapshot.queries.active == 0).await;

    let (status, json) = watched.get("/api/snapshot").await;
    let snapshot: Snapshot = serde_json::from_str(&json).unwrap();
    assert_eq!((status, snapshot.nodes.known, snapshot.peers.found), (200, 9, 1));
    let addresses = nodes.iter().enumerate().filter(|(n, _)| *n != 4).map(|(_, node)| node.server_address());
    let mut truth: Vec<_> = addresses.collect();
    truth.sort_unstable();
    let mut told: Vec<_> = snapshot.nodes.table.iter().map(|node| node.address).collect();
    told.sort_unstable();
    assert_eq!(told, truth);
    let mut holders = snapshot.peers.topics[0].holders.clone();
    holders.sort_unstable();
    assert_eq!(holders, truth);
    let mut stored = 0;
    for other in nodes.iter().filter(|other| other.server_address() != nodes[4].server_address()) {
        stored += other.snapshot().await.unwrap().stored.topics;
    }
    assert_eq!(snapshot.peers.topics[0].stored, stored);
    assert_eq!(snapshot.contacted.addresses, nodes[4].contacts().await.unwrap().len());

    let (_, metrics) = watched.get("/metrics").await;
    for (name, value) in [
        ("dht_nodes{net=\"hyperdht\"}", 9.0),
        ("dht_peers_found", 1.0),
        ("dht_topics_announced", 1.0),
        ("dht_announce_holders_min", number(stored)),
        ("p2p_state{state=\"open\"}", 1.0),
        ("p2p_state{state=\"offline\"}", 0.0),
        ("dht_bootstrapped{net=\"hyperdht\"}", 1.0),
    ] {
        assert_eq!(sample(&metrics, name), Some(value), "{name}");
    }
    let answers = sample(&metrics, "dht_requests_total{result=\"ok\"}");
    assert_eq!(answers, sample(&metrics, "dht_request_seconds_count"));
    assert_eq!(sample(&metrics, "dht_request_seconds_bucket{le=\"+Inf\"}"), answers);
    let (_, hyperdht) = watched.get("/metrics?names=hyperdht").await;
    assert_eq!(sample(&hyperdht, "dht_nr_nodes"), Some(9.0));
    assert_eq!(sample(&hyperdht, "dht_request_responses"), answers);

    let (_, page) = watched.get("/").await;
    assert!(page.contains("<strong>9</strong> DHT nodes"), "{page}");
    assert!(page.contains("<strong>0</strong> peers connected"), "{page}");
    let (_, page) = watched.get("/peers").await;
    assert!(page.contains(&format!("<td class=\"number\">{stored}</td>")), "{page}");
    let screen = top::Screen::new(snapshot).text(120, 40).unwrap();
    assert!(screen.contains("DHT nodes 9   peers connected 0 of 0 known"), "{screen}");
    assert!(screen.contains("topics, keys         1, 0"), "{screen}");
}

#[tokio::test]
async fn the_token_of_programs_is_the_owners_alone_and_opens_the_same_snapshot() {
    let nodes = network(3).await;
    let watched = Watched::new(&nodes[1], "token").await;
    let file = watched.token_file();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let source = Source::monitor(watched.monitor.address(), &file).unwrap();
    assert_eq!(soon(source.snapshot()).await.unwrap().nodes.known, 2);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(Source::monitor(watched.monitor.address(), &file).is_err());
}

#[tokio::test]
async fn addresses_are_masked_until_asked_for_and_pages_stay_small() {
    let nodes = network(6).await;
    let watched = Watched::new(&nodes[2], "masks").await;
    let other = nodes[3].server_address().to_string();
    for path in ["/", "/network", "/nodes", "/peers", "/events", "/history", "/privacy", "/doctor"] {
        let (status, page) = watched.get(path).await;
        assert_eq!(status, 200, "{path}");
        assert!(!page.contains(&other), "{path}");
        assert!(page.len() < 150_000 && !page.contains("style=") && !page.contains("http://"), "{path}");
    }
    for path in ["/nodes?show=addresses", "/privacy?show=addresses"] {
        assert!(watched.get(path).await.1.contains(&other), "{path}");
    }
    // Without a request that ended there is no share of failures, which is not zero.
    let (_, history) = watched.get("/history").await;
    assert!(history.contains("highest unknown"), "{history}");
    assert_eq!(watched.get("/events?only=%3Cscript%3E").await.0, 200);
    assert_eq!(watched.get("/live?page=Nowhere").await.0, 404);
}
