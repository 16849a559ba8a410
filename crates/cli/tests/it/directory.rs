use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::process::{Done, Running, Temporary, Testnet, homing};

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

fn start_node(net: &Testnet, data: &str) -> Running {
    let node = net.start(&["node", "--data-dir", data, "--port", "0"]);
    node.event("ready");
    node
}

fn run(args: &[&str]) -> Done {
    let mut command = homing(args);
    command.arg("--json");
    Done::new(command)
}

#[test]
fn a_key_file_is_its_owners_alone_and_never_overwritten() {
    let dir = Temporary::new("keygen");
    let file = dir.join("me.key");
    let made = run(&["keygen", &file]);
    assert_eq!((made.code, &made.lines[0]["file"]), (Some(0), &file.as_str().into()));
    assert_eq!(mode(&file), 0o600);
    let before = fs::read(&file).unwrap();
    let again = run(&["keygen", &file]);
    assert_eq!((again.code, &again.event("error")["code"]), (Some(4), &"system".into()));
    assert_eq!(fs::read(&file).unwrap(), before);

    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let exposed = run(&["unannounce", "x", "--key-file", &file]);
    assert_eq!(exposed.code, Some(4));
    assert!(exposed.event("error")["message"].as_str().unwrap().contains("chmod go="));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&file, "nonsense").unwrap();
    assert_eq!(run(&["unannounce", "x", "--key-file", &file]).code, Some(4));
}

#[test]
fn without_a_file_the_key_is_the_data_directorys() {
    let dir = Temporary::new("identity");
    let data = dir.join("data");
    let made = run(&["keygen", "--data-dir", &data]);
    assert_eq!(made.lines[0]["file"], format!("{data}/key"));
    assert_eq!((mode(&data), mode(format!("{data}/key"))), (0o700, 0o600));
    let net = Testnet::new(3);
    let announce = net.start(&["announce", "x", "--data-dir", &data]);
    assert_eq!(announce.event("announced")["public_key"], made.lines[0]["public_key"]);
}

#[test]
fn a_running_node_is_asked_over_its_control_socket() {
    let net = Testnet::new(5);
    let dir = Temporary::new("control");
    let data = dir.join("data");
    let _node = start_node(&net, &data);
    assert_eq!(mode(&data), 0o700);
    for file in ["control", "key", "nodes", "lock"] {
        assert_eq!(mode(format!("{data}/{file}")), 0o600, "{file}");
    }

    let snapshot = run(&["snapshot", "--data-dir", &data]);
    assert_eq!(snapshot.code, Some(0));
    assert_eq!(snapshot.lines[0]["nodes"]["known"], 5);
    assert_eq!(snapshot.lines[0]["peers"]["found"], 0);
    assert_eq!(snapshot.lines[0]["sockets"][1]["name"], "client");
    assert!(snapshot.lines[0]["sockets"][1]["packets_in"].as_u64().unwrap() >= 5);

    // The protocol itself, as other programs speak it: garbage is answered, and the connection goes on.
    let mut stream = UnixStream::connect(format!("{data}/control")).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut ask = |request: &str| -> Value {
        stream.write_all(request.as_bytes()).unwrap();
        serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap()
    };
    assert!(ask("{\"cmd\":\"nothing\"}\n")["error"].is_string());
    assert!(ask("garbage\n")["error"].is_string());
    assert_eq!(ask("{\"cmd\":\"snapshot\"}\n")["snapshot"]["nodes"]["known"], 5);
}

#[test]
fn two_nodes_never_share_a_directory() {
    let net = Testnet::new(3);
    let dir = Temporary::new("lock");
    let data = dir.join("data");
    let _node = start_node(&net, &data);
    let second = net.run(&["node", "--data-dir", &data]);
    assert_eq!(second.code, Some(4));
    assert_eq!(second.event("error")["message"], format!("another process uses {data}"));
    assert_eq!(run(&["snapshot", "--data-dir", &data]).code, Some(0), "the first is still there");
}

#[test]
fn a_killed_node_leaves_its_table_and_what_it_leaves_is_no_obstacle() {
    let net = Testnet::new(5);
    let dir = Temporary::new("killed");
    let data = dir.join("data");
    let node = start_node(&net, &data);
    assert_eq!(node.signal(Signal::SIGKILL).code, None);
    assert!(dir.path().join("data/control").exists(), "a stale socket is left");
    let mut saved: Vec<_> =
        fs::read_to_string(format!("{data}/nodes")).unwrap().lines().map(str::to_owned).collect();
    let mut nodes: Vec<_> = net.nodes.iter().collect();
    saved.sort();
    nodes.sort();
    assert_eq!(saved.iter().collect::<Vec<_>>(), nodes);

    // The saved nodes are enough to find the network: the only bootstrap node named is a dead one.
    let again = Running::new(&["node", "--data-dir", &data, "--port", "0", "--bootstrap", "127.0.0.1:1"]);
    assert_eq!(again.event("ready")["nodes"], 5);
    assert_eq!(run(&["snapshot", "--data-dir", &data]).lines[0]["nodes"]["known"], 5);
}
