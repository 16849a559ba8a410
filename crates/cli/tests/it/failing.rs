use std::net::UdpSocket;

use crate::process::{Done, Testnet, homing};

fn run(args: &[&str]) -> Done {
    let mut command = homing(args);
    command.arg("--json");
    Done::new(command)
}

#[test]
fn wrong_use_is_told_apart_from_failure() {
    for args in [
        &["no-such-command"][..],
        &["lookup"],
        &["get"],
        &["get", "abc"],
        &["find-peer", "abc"],
        &["put", "x", "--seq", "1"],
        &["unannounce", "x"],
        &["bootstrap"],
        &["ping", "127.0.0.1"],
        &["ping", "127.0.0.1:70000"],
        &["lookup", "x", "--bootstrap", "nonsense"],
        &["node", "--persistent", "--ephemeral"],
    ] {
        let output = homing(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(!output.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn every_command_explains_itself_with_examples() {
    let help = homing(&["--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("Exit codes:"));
    for command in [
        "bootstrap",
        "testnet",
        "node",
        "announce",
        "unannounce",
        "lookup",
        "find-peer",
        "ping",
        "put",
        "get",
        "keygen",
        "snapshot",
        "top",
        "doctor",
        "demo",
    ] {
        assert!(help.contains(&format!("\n  {command}")), "{command}");
        let output = homing(&[command, "--help"]).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8(output.stdout).unwrap().contains("Examples:"), "{command}");
    }
}

#[test]
fn a_network_that_does_not_answer_is_told_apart_from_one_that_has_nothing() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let lost = run(&["lookup", "x", "--bootstrap", &address]);
    assert_eq!((lost.code, &lost.event("error")["code"]), (Some(3), &"no-network".into()));

    let unanswered = run(&["ping", &address]);
    assert_eq!((unanswered.code, &unanswered.event("error")["code"]), (Some(1), &"no-answer".into()));

    let net = Testnet::new(3);
    let nobody = net.run(&["lookup", "x"]);
    assert_eq!((nobody.code, &nobody.event("error")["code"]), (Some(1), &"not-found".into()));
    assert_eq!(nobody.event("done")["peers"], 0);
}

#[test]
fn a_taken_port_is_this_computers_fault() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let refused = run(&["bootstrap", "--host", "127.0.0.1", "--port", &port]);
    assert_eq!((refused.code, &refused.event("error")["code"]), (Some(4), &"system".into()));
    let message = refused.event("error")["message"].as_str().unwrap();
    assert!(message.starts_with(&format!("cannot listen on 127.0.0.1:{port}: ")), "{message}");
}

#[test]
fn people_read_errors_on_standard_error_and_nothing_else_there() {
    let net = Testnet::new(3);
    let output = homing(&["lookup", "x", "--bootstrap", &net.bootstrap]).output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "homing: nobody found\n");
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("0 found in "));
}

#[test]
fn the_demo_passes_all_its_checks() {
    let demo = run(&["demo"]);
    assert_eq!(demo.code, Some(0), "{demo:?}");
    let steps: Vec<_> = demo.lines.iter().filter(|line| line["event"] == "step").collect();
    assert!(steps.len() >= 14);
    assert!(steps.iter().all(|step| step["check"] == "ok"));
    assert_eq!(demo.event("snapshot")["nodes"].as_array().unwrap().len(), 20);
}
