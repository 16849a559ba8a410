use std::net::Ipv6Addr;
use std::num::NonZeroU16;

use node::Stopped;
use node::mainline::{Config, Mainline, OperationError, Port, Task, sha1};

use crate::network::soon;

async fn network(count: usize, v6: Option<Ipv6Addr>) -> Vec<Mainline> {
    let mut nodes: Vec<Mainline> = Vec::new();
    for _ in 0..count {
        let known = nodes.iter().take(1).flat_map(Mainline::local).flatten().collect();
        let node = Mainline::spawn(Config { v6, ..Config::testnet(known) }).await.unwrap();
        soon(node.ready()).await.unwrap();
        nodes.push(node);
    }
    nodes
}

#[tokio::test]
async fn both_internets_are_one_network_to_its_users() {
    let nodes = network(6, Some(Ipv6Addr::LOCALHOST)).await;
    let topic = sha1(b"a topic");
    let [here, there] = [nodes[2].local(), nodes[4].local()];
    // A computer without IPv6 has the IPv4 addresses alone.
    let mut wanted: Vec<_> = here.into_iter().chain(there).flatten().collect();
    wanted.sort();
    // On a busy computer a node may not have met the other internet yet; it goes on trying.
    soon(async {
        loop {
            nodes[2].announce_once(topic, Port::Implied).await.unwrap();
            nodes[4].announce_once(topic, Port::Implied).await.unwrap();
            let mut lookup = nodes[5].lookup(topic).await.unwrap();
            let mut found = Vec::new();
            while let Some(peer) = lookup.next().await {
                found.push(peer.peer);
            }
            lookup.finish().await.unwrap();
            found.sort();
            if found == wanted {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn everything_that_a_handle_offers_works_on_a_small_network() {
    let nodes = network(4, None).await;
    let to = nodes[0].local()[0].unwrap();
    let pong = soon(nodes[1].ping(to)).await.unwrap();
    assert_eq!(pong.seen, nodes[1].local()[0]);
    let value = b"5:hello".to_vec();
    let stored = soon(nodes[1].put_immutable(value.clone())).await.unwrap();
    assert_eq!(stored.nodes.len(), 3);
    let got = soon(nodes[3].get(sha1(&value), Vec::new())).await.unwrap();
    assert_eq!(got.map(|got| got.value), Some(value));
    let topic = sha1(b"topic");
    nodes[1].announce(topic, Port::Is(NonZeroU16::MIN)).await.unwrap();
    let mut events = nodes[1].events();
    while !matches!(soon(events.recv()).await.unwrap(), node::mainline::Event::Announced { stored: 3, .. }) {}
    let estimate = soon(nodes[2].scrape(topic)).await.unwrap();
    assert!((0.5..1.5).contains(&estimate.downloaders), "{estimate:?}");
    let snapshot = nodes[1].snapshot().await.unwrap();
    assert_eq!((snapshot.topics.len(), snapshot.stacks[0].nodes.len()), (1, 3));
    let unfit = nodes[1].put(Task::PutImmutable { value: b"x".to_vec() }).await;
    assert_eq!(unfit.err(), Some(OperationError::Failed(node::mainline::Failure::Unfit)));
}

#[tokio::test]
async fn a_node_that_was_shut_down_says_so() {
    let mut nodes = network(2, None).await;
    let other = nodes[1].clone();
    soon(nodes.remove(1).shutdown()).await.unwrap();
    assert_eq!(other.nodes().await, Err(Stopped));
    let port = other.local()[0].unwrap();
    assert!(std::net::UdpSocket::bind(port).is_ok(), "its socket is closed");
}
