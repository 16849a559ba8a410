use std::collections::BTreeSet;

use crate::process::{Done, Testnet, homing};

/// RFC 8032's first test: the public key of this seed.
const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
const PUBLIC_KEY: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

#[test]
fn a_testnet_of_one_process_answers_pings_on_every_port() {
    let net = Testnet::new(5);
    assert_eq!(net.nodes.iter().collect::<BTreeSet<_>>().len(), 5);
    for node in &net.nodes {
        let pong = net.run(&["ping", node]);
        assert_eq!(pong.code, Some(0));
        assert_eq!(pong.event("pong")["from"], node.as_str());
        assert_eq!(pong.event("pong")["id"].as_str().unwrap().len(), 64);
    }
}

#[test]
fn more_nodes_join_an_existing_network() {
    let net = Testnet::new(3);
    let more = net.start(&["testnet", "4"]);
    let ready = more.event("ready");
    assert_eq!(ready["bootstrap"][0], net.bootstrap.as_str());
    assert_eq!(ready["nodes"].as_array().unwrap().len(), 4);
    let found = net.run(&["snapshot", "--data-dir", "/nonexistent"]);
    assert_eq!(found.lines[0]["nodes"]["known"], 7, "{found:?}");
}

#[test]
fn what_is_announced_is_found_and_by_its_key_too() {
    let net = Testnet::new(10);
    let announce = net.start(&["announce", "a topic", "--seed", SEED]);
    let announced = announce.event("announced");
    assert_eq!(announced["public_key"], PUBLIC_KEY);
    // SHA-256 of "a topic", by coreutils.
    assert_eq!(announced["topic"], "216f1e1ecd590130ae34e79c36d3eafea4f4466a6badce49a20ed54a9c8101df");
    assert_eq!(announced["stored"], 10);

    let found = net.run(&["lookup", "a topic"]);
    assert_eq!(found.code, Some(0));
    assert_eq!(found.event("peer")["public_key"], PUBLIC_KEY);
    assert_eq!(found.event("peer")["relays"].as_array().unwrap().len(), 3);
    assert_eq!(found.event("done")["peers"], 1);
    assert_eq!(found.lines.len(), 2, "one line a peer: {found:?}");

    let by_key = net.run(&["find-peer", PUBLIC_KEY]);
    assert_eq!(by_key.event("peer")["public_key"], PUBLIC_KEY);
}

#[test]
fn an_announcement_made_once_stays_until_it_is_removed() {
    let net = Testnet::new(10);
    let once = net.run(&["announce", "stay", "--once", "--seed", SEED]);
    assert_eq!((once.code, &once.event("announced")["stored"]), (Some(0), &10.into()));
    assert_eq!(net.run(&["lookup", "stay"]).event("peer")["public_key"], PUBLIC_KEY);
    let removed = net.run(&["unannounce", "stay", "--seed", SEED]);
    assert_eq!((removed.code, &removed.event("unannounced")["removed"]), (Some(0), &10.into()));
    let gone = net.run(&["lookup", "stay"]);
    assert_eq!((gone.code, &gone.event("error")["code"]), (Some(1), &"not-found".into()));
}

#[test]
fn an_empty_environment_variable_is_as_good_as_none() {
    let net = Testnet::new(3);
    let mut command = homing(&["lookup", "nothing", "--json", "--bootstrap", &net.bootstrap]);
    command.env("HOMING_BOOTSTRAP", "").env("HOMING_DATA_DIR", "");
    assert_eq!(Done::new(command).code, Some(1));
    let mut command = homing(&["testnet", "1", "--json"]);
    command.env("HOMING_BOOTSTRAP", "").arg("--until-stdin-closes");
    assert_eq!(Done::new(command).code, Some(0));
}

#[test]
fn the_environment_names_bootstrap_nodes_where_no_option_does() {
    let net = Testnet::new(3);
    let mut command = homing(&["lookup", "nothing", "--json"]);
    command.env("HOMING_BOOTSTRAP", format!("{},{}", net.nodes[2], net.bootstrap));
    let done = Done::new(command);
    assert_eq!(done.event("done")["responses"], 3, "{done:?}");
}
