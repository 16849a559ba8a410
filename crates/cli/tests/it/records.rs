use std::io::Write;
use std::process::Stdio;

use crate::process::{Temporary, Testnet, homing};

const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
const PUBLIC_KEY: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
/// `BLAKE2b` of "hello" with 32 bytes of output, by coreutils' b2sum.
const HELLO: &str = "324dcf027dd4a30a932c441f365a25e86b173defa4b8e58948253471b81b72cf";

#[test]
fn a_value_is_stored_under_its_hash_and_read_again() {
    let net = Testnet::new(5);
    let put = net.run(&["put", "hello"]);
    assert_eq!(put.code, Some(0));
    assert_eq!(put.event("stored")["target"], HELLO);
    assert_eq!(put.event("stored")["stored"], 5);
    let got = net.run(&["get", HELLO]);
    assert_eq!(got.event("value")["value"], "hello");
    assert_eq!(got.event("value")["hex"], "68656c6c6f");
    let none = net.run(&["get", &"00".repeat(32)]);
    assert_eq!((none.code, &none.event("error")["code"]), (Some(1), &"not-found".into()));
}

#[test]
fn a_value_may_come_from_standard_input_and_need_not_be_text() {
    let net = Testnet::new(3);
    let mut child =
        homing(&["put", "-", "--json", "--bootstrap", &net.bootstrap]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&[0xff, 0x00]).unwrap();
    let output = child.wait_with_output().unwrap();
    let line: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let got = net.run(&["get", line["target"].as_str().unwrap()]);
    assert_eq!(got.event("value")["hex"], "ff00");
    assert!(got.event("value")["value"].is_null());
}

#[test]
fn a_signed_value_goes_up_by_one_and_what_is_not_newer_is_refused() {
    let net = Testnet::new(5);
    let dir = Temporary::new("signed");
    let key = dir.join("me.key");
    assert_eq!(net.run(&["keygen", &key, "--seed", SEED]).lines[0]["public_key"], PUBLIC_KEY);

    for (value, seq) in [("zero", 0), ("one", 1)] {
        let put = net.run(&["put", value, "--key-file", &key]);
        assert_eq!((put.code, &put.event("stored")["seq"]), (Some(0), &seq.into()));
        let got = net.run(&["get", "--key", PUBLIC_KEY]);
        assert_eq!((&got.event("value")["value"], &got.event("value")["seq"]), (&value.into(), &seq.into()));
    }

    for (seq, code) in [("0", "seq-too-low"), ("1", "seq-reused")] {
        let refused = net.run(&["put", "other", "--key-file", &key, "--seq", seq]);
        assert_eq!(refused.code, Some(1));
        assert_eq!(refused.event("stored")["stored"], 0);
        assert_eq!(refused.event("stored")["refused"], 5);
        assert_eq!(refused.event("error")["code"], code);
    }
    assert_eq!(net.run(&["get", "--key", PUBLIC_KEY, "--seq", "1"]).event("value")["value"], "one");
    assert_eq!(net.run(&["get", "--key", PUBLIC_KEY, "--seq", "2"]).code, Some(1));
}

#[test]
fn a_value_too_long_for_a_datagram_is_refused_at_once() {
    let net = Testnet::new(1);
    let refused = net.run(&["put", &"x".repeat(1201)]);
    assert_eq!((refused.code, &refused.event("error")["code"]), (Some(2), &"too-long".into()));
}
