//! What the health app that this monitor began with got wrong, as tests.

use monitor::words::{Standing, judge};
use node::{Config, Node};
use serde_json::json;

use crate::world::{Watched, network, soon};

#[tokio::test]
async fn a_node_without_anybody_to_ask_sends_nothing_and_is_not_called_online() {
    let node = Node::spawn(Config::testnet(Vec::new())).await.unwrap();
    soon(node.ready()).await.unwrap();
    let snapshot = node.snapshot().await.unwrap();
    assert_eq!(snapshot.sockets.iter().map(|socket| socket.packets_out).sum::<u64>(), 0);
    assert_eq!(snapshot.contacted.addresses, 0);
    assert_eq!(judge(&snapshot).standing, Standing::Starting);
}

#[tokio::test]
async fn joining_a_hundred_nodes_fills_the_table_beyond_fifty_and_makes_no_peer() {
    let nodes = network(100).await;
    let node = Node::spawn(Config::testnet(vec![nodes[0].server_address()])).await.unwrap();
    let watched = Watched::new(&node, "seed").await;
    watched.until(|snapshot| snapshot.nodes.known > 50).await;
    let snapshot = node.snapshot().await.unwrap();
    assert_eq!(snapshot.peers.found, 0);
    let (_, status) = watched.get("/api/status").await;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert!(status["nodes"].as_u64().unwrap() > 50);
    assert_eq!((&status["peers"], &status["connections"]), (&json!(0), &json!(0)));
    let (_, page) = watched.get("/").await;
    assert!(page.contains("<strong>0</strong> peers connected"), "{page}");
}

#[tokio::test]
async fn a_suspended_node_is_off_which_is_not_zero_nodes() {
    let nodes = network(5).await;
    let watched = Watched::new(&nodes[2], "off").await;
    nodes[2].suspend().await.unwrap();
    watched.until(|snapshot| snapshot.state.suspended).await;
    let (_, page) = watched.get("/").await;
    assert!(page.contains("</span> Off</span>"), "{page}");
    let (_, metrics) = watched.get("/metrics").await;
    assert!(metrics.contains("p2p_state{state=\"off\"} 1\n"));
}
