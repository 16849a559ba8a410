//! Frames that no node should send.

use tooldb::json::Value;
use tooldb::{Backfill, Config, Draft, Event, Identity, Key, Kind, LinkId, Record, UnixMillis};

use crate::sim::{Clock, EPOCH, Node, server};
use crate::vectors::{cases, identity, text};

const EVE: LinkId = LinkId(1);
const ANA: LinkId = LinkId(2);

fn node() -> Node {
    let config = Config { backfill: Backfill::Never, ..server(9401) };
    let mut node = Node::new(config, &identity("server1"), Clock::new());
    node.welcome(EVE, &identity("alicepeer"));
    node.welcome(ANA, &identity("bobpeer"));
    node.act(|replica, _| replica.offer(Key::new("sum").unwrap()));
    node
}

fn record(value: &str, kind: Kind) -> Record {
    let key = Key::new("vd").unwrap();
    Draft { key, value: Value::parse(value).unwrap(), kind }.sign(UnixMillis(EPOCH), &identity("alice"))
}

/// The frame of a case, with what its note says in the place of what it could not hold.
fn frame(case: &serde_json::Value) -> String {
    let valid = record("{\"x\":1}", Kind::Plain);
    let frame = case["frame"].as_str().map_or_else(|| case["frame"].to_string(), str::to_owned);
    let filled = [
        ("\"VD with a=\\\"garbage\\\"\"", valid.raw().replace(&valid.author().to_string(), "garbage")),
        ("\"VD with k=5\"", valid.raw().replace("\"k\":\"vd\"", "\"k\":5")),
        ("\"VD v=7 c=MAP\"", record("7", Kind::Map).raw().to_owned()),
        ("\"VD\"", valid.raw().to_owned()),
        ("[[[...]]]", format!("{}{}", "[".repeat(200_000), "]".repeat(200_000))),
    ];
    filled.iter().fold(frame, |frame, (place, value)| frame.replace(place, value))
}

/// Asks for something as an honest client does, and gets it.
fn serves(node: &mut Node) {
    let put = record("\"honest\"", Kind::Plain);
    node.hear(ANA, format!("{{\"type\":\"put\",\"id\":\"honest0001\",\"to\":[],\"data\":{}}}", put.raw()));
    node.hear(ANA, "{\"type\":\"get\",\"id\":\"honest0002\",\"to\":[],\"key\":\"vd\"}");
    let sent = node.take(ANA);
    assert!(
        sent.iter().any(|text| text.contains("honest0002") && text.contains("\"type\":\"put\"")),
        "{sent:?}"
    );
}

#[test]
fn every_malformed_frame_is_survived_and_none_is_answered() {
    let cases = cases("malformed.json", 18);
    for case in &cases {
        let name = text(&case["name"]);
        let mut node = node();
        let map = record("[{\"t\":\"SET\",\"k\":\"k\",\"a\":\"A\",\"v\":1,\"i\":1}]", Kind::Map);
        node.hear(
            EVE,
            format!("{{\"type\":\"crdtPut\",\"id\":\"map0000001\",\"to\":[],\"data\":{}}}", map.raw()),
        );
        node.take(EVE);
        node.hear(EVE, frame(case));
        let answers = node.take(EVE);
        match name {
            // Well formed, and a name like any other that is not offered: the captured flow
            // `function-notfound` wants this answer.
            "function constructor / toString" => {
                assert_eq!(answers.len(), 1);
                assert!(answers[0].contains("\"code\":\"NOT_FOUND\""), "{answers:?}");
            }
            _ => assert_eq!(answers, [""; 0], "{name}"),
        }
        // A question without a list of where it has been is still a question for others.
        let passed_on = node.take(ANA);
        assert_eq!(passed_on.len(), usize::from(name == "get of absent key without to"), "{passed_on:?}");
        node.pass(10_000);
        assert_eq!(node.sent, []);
        serves(&mut node);
    }
    let filled =
        |case: &serde_json::Value| ["VD", "[[[...]]]"].iter().any(|place| frame(case).contains(place));
    assert!(!cases.iter().any(filled), "a placeholder was left");
}

#[test]
fn any_bytes_leave_the_node_serving() {
    let seeds: Vec<String> = crate::vectors::load("messages.json")
        .as_object()
        .unwrap()
        .values()
        .filter_map(|message| message["raw"].as_str().map(str::to_owned))
        .collect();
    arbtest::arbtest(|input| {
        let mut node = node();
        for _ in 0..input.int_in_range(1..=8)? {
            let mut bytes = input.choose(&seeds)?.clone().into_bytes();
            for _ in 0..input.int_in_range(0..=3)? {
                let place = input.choose_index(bytes.len())?;
                bytes[place] = input.arbitrary()?;
            }
            node.hear(EVE, bytes);
            node.pass(input.int_in_range(0..=1_000)?);
        }
        node.take(EVE);
        node.take(ANA);
        serves(&mut node);
        Ok(())
    })
    .budget_ms(3_000);
}

#[test]
fn stolen_signatures_write_nothing() {
    let mut node = node();
    let alice = identity("alice");
    let victim =
        Draft::plain(Key::new("public").unwrap(), Value::Number(1.0)).sign(UnixMillis(EPOCH), &alice);
    let put = |raw: &str| format!("{{\"type\":\"put\",\"id\":\"x\",\"to\":[],\"data\":{raw}}}");
    node.hear(EVE, put(&victim.raw().replace("\"v\":1", "\"v\":2")));
    let mine = identity("bob").address().to_string();
    node.hear(EVE, put(&victim.raw().replace("\"public\"", &format!("\":{mine}.mine\""))));
    assert_eq!(node.replica.store().records(), [""; 0]);
    assert_eq!(node.replica.stats().rejected, 2);
}

#[test]
fn forged_answers_are_not_passed_on() {
    let mut node = node();
    let owner = identity("alice").address();
    let key = format!(":{owner}.secret");
    node.hear(ANA, format!("{{\"type\":\"get\",\"id\":\"get0000001\",\"to\":[],\"key\":\"{key}\"}}"));
    assert_eq!(node.take(EVE).len(), 1);
    let eve = Identity::from_seed([9; 32]);
    let forged = Draft::plain(Key::new(&key).unwrap(), Value::Number(666.0)).sign(UnixMillis(EPOCH), &eve);
    node.hear(EVE, format!("{{\"type\":\"put\",\"id\":\"get0000001\",\"to\":[],\"data\":{}}}", forged.raw()));
    let forged = forged.raw().replace(&eve.address().to_string(), &owner.to_string());
    node.hear(EVE, format!("{{\"type\":\"put\",\"id\":\"get0000001\",\"to\":[],\"data\":{forged}}}"));
    assert_eq!(node.take(ANA), [""; 0]);
    let genuine =
        Draft::plain(Key::new(&key).unwrap(), Value::Number(7.0)).sign(UnixMillis(EPOCH), &identity("alice"));
    node.hear(
        EVE,
        format!("{{\"type\":\"put\",\"id\":\"get0000001\",\"to\":[],\"data\":{}}}", genuine.raw()),
    );
    assert_eq!(node.take(ANA).len(), 1);
}

#[test]
fn an_answer_counts_only_from_who_was_asked_and_for_what() {
    let mut node = node();
    node.hear(ANA, "{\"type\":\"get\",\"id\":\"get0000001\",\"to\":[],\"key\":\"k\"}");
    let put = |key: &str, value: f64| {
        let draft = Draft::plain(Key::new(key).unwrap(), Value::Number(value));
        let record = draft.sign(UnixMillis(EPOCH), &identity("alice"));
        format!("{{\"type\":\"put\",\"id\":\"get0000001\",\"to\":[],\"data\":{}}}", record.raw())
    };
    node.hear(EVE, put("other", 1.0));
    let late = LinkId(3);
    node.welcome(late, &identity("carol"));
    node.hear(late, put("k", 2.0));
    assert_eq!(node.take(ANA), [""; 0]);
    node.hear(EVE, put("k", 2.0));
    let answers = node.take(ANA);
    assert_eq!(answers.len(), 1, "{answers:?}");
    node.hear(EVE, put("k", 3.0));
    assert_eq!(node.take(ANA), [""; 0]);
}

#[test]
fn a_hundred_thousand_subscriptions_meet_the_limit() {
    let mut node = node();
    for place in 0..100_000 {
        node.hear(EVE, format!("{{\"type\":\"subscribe\",\"key\":\"s{place}\",\"to\":[],\"id\":\"sub\"}}"));
    }
    assert_eq!(node.replica.stats().limited, 90_000);
    serves(&mut node);
}

#[test]
fn a_flood_of_questions_meets_the_limit_and_is_forgotten() {
    let mut node = node();
    for place in 0..10_000 {
        node.hear(EVE, format!("{{\"type\":\"get\",\"key\":\"none\",\"to\":[],\"id\":\"q{place}\"}}"));
    }
    assert_eq!(node.replica.stats().limited, 10_000 - 4_096);
    node.take(ANA);
    node.pass(5_001);
    node.hear(EVE, "{\"type\":\"get\",\"key\":\"none\",\"to\":[],\"id\":\"later\"}");
    assert_eq!(node.take(ANA).len(), 1);
}

#[test]
fn calls_that_are_not_answered_meet_the_limit() {
    let mut node = node();
    for place in 0..300 {
        node.hear(
            EVE,
            format!(
                "{{\"type\":\"function\",\"function\":\"sum\",\"args\":{{}},\"to\":[],\"id\":\"f{place}\"}}"
            ),
        );
    }
    let called = node.events.iter().filter(|event| matches!(event, Event::Called { .. })).count();
    assert_eq!((called, node.replica.stats().limited), (256, 44));
    node.close(EVE);
    node.welcome(EVE, &identity("alicepeer"));
    node.hear(EVE, "{\"type\":\"function\",\"function\":\"sum\",\"args\":{},\"to\":[],\"id\":\"again\"}");
    assert_eq!(node.replica.stats().limited, 44);
}

#[test]
fn an_answer_to_a_query_fits_a_frame() {
    let mut config = Config { backfill: Backfill::Never, ..server(9401) };
    config.limits.frame_bytes_max = 8_192;
    let mut node = Node::new(config, &identity("server1"), Clock::new());
    node.welcome(EVE, &identity("alicepeer"));
    let alice = identity("alice");
    for place in 0..1_200 {
        let key = Key::new(&format!("k\"{place:04}")).unwrap();
        node.act(|replica, now| replica.put(now, &Draft::plain(key, Value::Null), &alice).unwrap());
    }
    node.hear(EVE, "{\"type\":\"query\",\"to\":[],\"key\":\"k\",\"id\":\"q\"}");
    let answer = node.take(EVE).remove(0);
    assert!((7_900..=8_192).contains(&answer.len()), "{}", answer.len());
    assert!(answer.contains("k\\\"0000"));
    assert_eq!(node.replica.stats().limited, 1);
}
