//! The captured conversations, with a replica in the place of each JavaScript server.
//!
//! All flows were captured one after another on the same servers, so they are replayed like that. Where our answer is another on purpose,
//! the flow is listed with the row of the specification's section 21 that says so.

use std::collections::BTreeMap;

use tooldb::json::Value;
use tooldb::{Backfill, Config, Event, Key, LinkId, Peer, Return, Side, Source};

use crate::sim::{Clock, Node, server};
use crate::vectors::{flows, identity, text};

struct Captured {
    flow: String,
    at: i64,
    from: String,
    to: String,
    raw: String,
}

fn in_order() -> Vec<Captured> {
    let mut frames = Vec::new();
    for (flow, vectors) in flows() {
        for frame in vectors["frames"].as_array().unwrap() {
            frames.push(Captured {
                flow: flow.trim_end_matches(".json").to_owned(),
                at: frame["at"].as_i64().unwrap(),
                from: text(&frame["from"]).to_owned(),
                to: text(&frame["to"]).to_owned(),
                raw: text(&frame["raw"]).to_owned(),
            });
        }
    }
    frames.sort_by_key(|frame| frame.at);
    frames
}

fn link(name: &str) -> LinkId {
    let names = ["alicepeer", "bobpeer", "server1", "server2", "carol"];
    LinkId(u64::try_from(names.iter().position(|known| *known == name).unwrap()).unwrap())
}

/// A frame without what is ours to choose: the id of a ping, and time and signature of introductions, which
/// must be genuine.
fn compared(raw: &str) -> String {
    let frame = Value::parse(raw).unwrap();
    let frame = frame.as_object().unwrap();
    let mut text = raw.to_owned();
    let servers = frame.get("servers").and_then(Value::as_array).unwrap_or_default();
    for introduction in servers.iter().chain(frame.get("peer")) {
        assert!(Peer::parse(&introduction.to_json()).unwrap().is_genuine());
        let members = introduction.as_object().unwrap();
        let signature = members.get("sig").and_then(Value::as_text).unwrap().escaped();
        text = text.replace(signature, "").replace(&members.get("timestamp").unwrap().to_json(), "");
    }
    if frame.get("peer").is_some() { text.replace(&id(raw), "") } else { text }
}

/// Replays them with our replica as one of the servers; returns what it sent in each flow, as
/// (milliseconds after the flow began, to whom, what).
fn replay(who: &str, port: u16) -> BTreeMap<String, Vec<(i64, String, String)>> {
    let config = Config { backfill: Backfill::Never, ..server(port) };
    let mut node = Node::new(config, &identity(who), Clock::new());
    for name in ["sum", "fail", "undef"] {
        node.act(|replica, _| replica.offer(Key::new(name).unwrap()));
    }
    let mut pong_id = None;
    let frames = in_order();
    let mut begun: Vec<(i64, String)> = Vec::new();
    for frame in &frames {
        if begun.iter().all(|(_, flow)| *flow != frame.flow) {
            begun.push((frame.at, frame.flow.clone()));
        }
        node.pass_until(frame.at);
        if frame.from == who && frame.raw.contains("\"type\":\"ping\"") {
            node.open(link(&frame.to), Side::Dialled, Source::Stranger);
            let (_, _, ping) = node.sent.last().unwrap();
            pong_id = ping.split_once("\"id\":\"").and_then(|(_, id)| id.get(..10)).map(str::to_owned);
            node.welcome(link("carol"), &identity("carol"));
        }
        if frame.to != who {
            continue;
        }
        if frame.raw.contains("\"type\":\"ping\"") {
            node.open(link(&frame.from), Side::Accepted, Source::Stranger);
        }
        let raw = match &pong_id {
            Some(id) if frame.raw.contains("\"type\":\"pong\"") => frame.raw.replace("PHb541PGNL", id),
            _ => frame.raw.clone(),
        };
        node.hear(link(&frame.from), raw);
        run_functions(&mut node);
    }
    node.pass(2_000);
    let mut sent: BTreeMap<String, Vec<(i64, String, String)>> = BTreeMap::new();
    for (at, to, text) in &node.sent {
        let (start, flow) = begun.iter().rev().find(|(start, _)| start <= at).unwrap();
        let names = ["alicepeer", "bobpeer", "server1", "server2", "carol"];
        let to = names.into_iter().find(|name| link(name) == *to).unwrap();
        sent.entry(flow.clone()).or_default().push((at - start, to.to_owned(), text.clone()));
    }
    sent
}

/// The functions that the captured server offered.
fn run_functions(node: &mut Node) {
    let events = std::mem::take(&mut node.events);
    for event in events {
        if let Event::Called { call, name, args } = event {
            let outcome = match name.as_str() {
                "sum" if &*args == "{\"items\":[1,2,3]}" => Return::Value("6"),
                "fail" => Return::Error("\"Error: nope\""),
                _ => Return::Nothing,
            };
            node.act(|replica, _| replica.answer(call, outcome));
        }
    }
}

/// What the JavaScript server sent in each flow.
fn captured(who: &str) -> BTreeMap<String, Vec<(String, String)>> {
    let mut sent: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for frame in in_order() {
        let sends = sent.entry(frame.flow).or_default();
        if frame.from == who {
            sends.push((frame.to, frame.raw));
        }
    }
    sent
}

/// Flows whose answers differ on purpose, with the rows of the specification's section 21 that say why.
const CHANGED_AT_SERVER_1: [(&str, &str); 4] = [
    ("debounce-burst", "C1, C2"),
    ("get-repeat-suppressed", "C3"),
    ("subscribe-existing", "C1, C2"),
    ("subscribe-then-updates", "C1, C2"),
];
const CHANGED_AT_SERVER_2: [(&str, &str); 2] =
    [("federation-get-miss-multihop", "C4"), ("federation-query", "C5")];

/// The flows in which our replica does not say, frame by frame, what the captured server said.
fn changed(who: &str, port: u16) -> Vec<String> {
    let ours = replay(who, port);
    let theirs = captured(who);
    assert_eq!(theirs.len(), 28);
    let differs = |(flow, theirs): &(String, Vec<(String, String)>)| {
        let ours = ours.get(flow).map(Vec::as_slice).unwrap_or_default();
        let ours = ours.iter().map(|(_, to, raw)| (to.clone(), compared(raw)));
        !ours.eq(theirs.iter().map(|(to, raw)| (to.clone(), compared(raw))))
    };
    theirs.into_iter().filter(differs).map(|(flow, _)| flow).collect()
}

#[test]
fn server_1_says_what_the_captured_server_said_but_for_the_changes_on_purpose() {
    assert_eq!(changed("server1", 9401), CHANGED_AT_SERVER_1.map(|(flow, _)| flow));
}

#[test]
fn server_2_says_what_the_captured_server_said_but_for_the_changes_on_purpose() {
    assert_eq!(changed("server2", 9402), CHANGED_AT_SERVER_2.map(|(flow, _)| flow));
}

/// The value in a frame's record.
fn value(raw: &str) -> String {
    let frame = Value::parse(raw).unwrap();
    let data = frame.as_object().and_then(|frame| frame.get("data")).and_then(Value::as_object).unwrap();
    data.get("v").unwrap().to_json()
}

fn id(raw: &str) -> String {
    let frame = Value::parse(raw).unwrap();
    frame.as_object().unwrap().get("id").unwrap().as_text().unwrap().escaped().to_owned()
}

/// Time after the flow began and value of each push, which must all have ids of their own.
fn pushes(flow: &str) -> Vec<(i64, String)> {
    let sent = replay("server1", 9401);
    let mut ids: Vec<String> = sent[flow].iter().map(|(_, _, raw)| id(raw)).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), sent[flow].len());
    assert!(sent[flow].iter().all(|(_, to, _)| to == "bobpeer"));
    sent[flow].iter().map(|(at, _, raw)| (*at, value(raw))).collect()
}

#[test]
fn every_update_reaches_the_subscriber_at_once() {
    let expected = [(1, "{\"i\":0}"), (252, "{\"i\":1}"), (504, "{\"i\":2}")];
    assert_eq!(pushes("subscribe-then-updates"), expected.map(|(at, value)| (at, value.to_owned())));
}

#[test]
fn a_subscriber_gets_what_is_there_and_then_each_update() {
    // The first push quiets the key for 120 ms; the update comes 100 ms after it.
    assert_eq!(pushes("subscribe-existing"), [(151, "1".to_owned()), (271, "2".to_owned())]);
}

#[test]
fn a_burst_is_thinned_and_ends_with_the_latest() {
    let expected = [(52, "0"), (172, "5"), (292, "9")];
    assert_eq!(pushes("debounce-burst"), expected.map(|(at, value)| (at, value.to_owned())));
}

#[test]
fn a_repeated_get_is_answered_again() {
    let sent = &replay("server1", 9401)["get-repeat-suppressed"];
    let first = &replay("server1", 9401)["get-hit"];
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].2, first[0].2.replace(&id(&first[0].2), "rawget0001"));
}

#[test]
fn an_answer_from_further_away_reaches_the_asker() {
    let sent = &replay("server2", 9402)["federation-get-miss-multihop"];
    let [(_, asked, _), (_, answered, answer)] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!((asked.as_str(), answered.as_str()), ("server1", "carol"));
    assert_eq!((id(answer).as_str(), value(answer).as_str()), ("EfvgKafk2Z", "42"));
}

#[test]
fn keys_of_all_servers_come_in_one_answer() {
    let sent = &replay("server2", 9402)["federation-query"];
    let [(_, asked, _), (at, answered, answer)] = sent.as_slice() else { panic!("{sent:?}") };
    assert_eq!((asked.as_str(), answered.as_str()), ("server1", "carol"));
    assert!(*at < 600, "{at}");
    assert!(
        answer.ends_with("\"keys\":[\"v-bool\",\"v-empty\",\"v-null\",\"v-num\",\"v-str\"]}"),
        "{answer}"
    );
}
