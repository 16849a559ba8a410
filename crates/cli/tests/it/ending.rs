use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::process::{Ended, Running, Temporary, Testnet, homing};

/// What people are promised.
const PROMPT: Duration = Duration::from_secs(2);

#[test]
fn an_interrupted_announcement_is_gone_from_the_network_within_two_seconds() {
    let net = Testnet::new(10);
    let announce = net.start(&["announce", "fleeting"]);
    let key = announce.event("announced")["public_key"].as_str().unwrap().to_owned();
    assert_eq!(net.run(&["lookup", "fleeting"]).event("done")["peers"], 1);

    let Ended { code, took, lines } = announce.signal(Signal::SIGINT);
    assert_eq!(code, Some(0));
    assert!(took < PROMPT, "{took:?}");
    assert_eq!(lines.last().unwrap()["event"], "unannounced");
    assert_eq!(lines.last().unwrap()["removed"], 10);
    assert_eq!(net.run(&["lookup", "fleeting"]).code, Some(1));
    assert_eq!(net.run(&["find-peer", &key]).code, Some(1), "the key's own announcement is gone, too");
}

#[test]
fn an_announcement_whose_network_died_still_ends_within_two_seconds() {
    let net = Testnet::new(3);
    let announce = net.start(&["announce", "orphan"]);
    announce.event("announced");
    drop(net);
    let took = announce.signal(Signal::SIGINT).took;
    assert!(took < PROMPT, "{took:?}");
}

#[test]
fn long_running_commands_end_at_each_of_the_signals_and_with_standard_input() {
    let net = Testnet::new(3);
    let dir = Temporary::new("ending");
    let data = dir.join("data");
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let commands: [&[&str]; 3] = [
        &["bootstrap", "--host", "127.0.0.1", "--port", &port],
        &["testnet", "3"],
        &["node", "--data-dir", &data, "--port", "0", "--bootstrap", &net.bootstrap],
    ];
    for args in commands {
        let ends: [fn(Running) -> Ended; 3] = [
            |running| running.signal(Signal::SIGINT),
            |running| running.signal(Signal::SIGTERM),
            Running::close_stdin,
        ];
        for end in ends {
            let running = Running::new(args);
            running.event("ready");
            let Ended { code, took, .. } = end(running);
            assert_eq!(code, Some(0), "{args:?}");
            assert!(took < PROMPT, "{args:?} {took:?}");
        }
    }
}

#[test]
fn a_command_that_was_interrupted_before_it_was_done_says_so() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    for args in [&["lookup", "x"][..], &["get", &"00".repeat(32)], &["announce", "x", "--once"]] {
        let running = Running::new(&[args, &["--bootstrap", &address]].concat());
        // Its first question shows that it is under way.
        silent.recv(&mut [0; 64]).unwrap();
        let Ended { code, took, .. } = running.signal(Signal::SIGINT);
        assert_eq!(code, Some(130), "{args:?}");
        assert!(took < PROMPT, "{args:?} {took:?}");
    }
}

#[test]
fn a_command_that_waits_for_input_can_be_interrupted() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let mut command = homing(&["put", "-", "--bootstrap", &address, "-vv"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    // It logs when it is ready for signals; then it reads.
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(log.next().unwrap().unwrap().contains("ready for signals"));
    let started = Instant::now();
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(started.elapsed() < PROMPT);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let net = Testnet::new(3);
    for json in [&[][..], &["--json"]] {
        let mut command = homing(&[&["snapshot", "--data-dir", "/nonexistent"], json].concat());
        let mut child = command.args(["--bootstrap", &net.bootstrap]).stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
    }
}
