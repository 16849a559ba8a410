//! What a node does for honest clients and servers beyond what the library's does.

use tooldb::json::Value;
use tooldb::{
    Admitted, Backfill, Config, Draft, Event, Identity, Key, Kind, Limits, LinkId, Misses, PutError, Record,
    Rejected, Side, Source, UnixMillis,
};

use crate::greetings::ping;
use crate::sim::{Clock, EPOCH, Node, server};
use crate::vectors::identity;

const ALICE: LinkId = LinkId(1);
const BOB: LinkId = LinkId(2);

fn node_with(config: Config) -> Node {
    Node::new(config, &identity("server1"), Clock::new())
}

fn quiet() -> Config {
    Config { backfill: Backfill::Never, ..server(9401) }
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn signed(name: &str, value: &str, (millis, author): (i64, &Identity)) -> Record {
    Draft::plain(key(name), Value::parse(value).unwrap()).sign(UnixMillis(EPOCH + millis), author)
}

fn put(record: &Record) -> String {
    format!("{{\"type\":\"put\",\"id\":\"put0000001\",\"to\":[],\"data\":{}}}", record.raw())
}

fn get(kind: &str, name: &str) -> String {
    format!("{{\"type\":\"{kind}\",\"to\":[],\"key\":\"{name}\",\"id\":\"get-{name}\"}}")
}

fn value_of(node: &Node, name: &str) -> Option<String> {
    node.replica.get(&key(name)).unwrap().map(|record| record.value().to_owned())
}

#[test]
fn equal_times_end_equal_whatever_came_first() {
    let alice = identity("alice");
    let (one, two) = (signed("k", "1", (0, &alice)), signed("k", "2", (0, &alice)));
    let winner = if one.hash() > two.hash() { &one } else { &two };
    for order in [[&one, &two], [&two, &one]] {
        let mut node = node_with(quiet());
        node.welcome(ALICE, &identity("alicepeer"));
        for record in order {
            node.hear(ALICE, put(record));
        }
        assert_eq!(node.replica.get(&key("k")).unwrap().as_ref(), Some(winner));
    }
}

#[test]
fn what_is_known_is_neither_checked_nor_spread_again() {
    let mut node = node_with(quiet());
    node.welcome(ALICE, &identity("alicepeer"));
    let (old, new) = (signed("k", "1", (0, &identity("alice"))), signed("k", "2", (1, &identity("alice"))));
    for record in [&new, &new, &old] {
        node.hear(ALICE, put(record));
    }
    let stats = node.replica.stats();
    assert_eq!((stats.admitted, stats.known), (1, 2));
    let changed = node.events.iter().filter(|event| matches!(event, Event::Changed { .. })).count();
    assert_eq!(changed, 1);
}

#[test]
fn a_miss_is_answered_where_nobody_else_could_know() {
    let mut node = node_with(Config { misses: Misses::Answered, ..quiet() });
    node.welcome(ALICE, &identity("alicepeer"));
    node.hear(ALICE, get("get", "none"));
    node.hear(ALICE, get("crdtGet", "none"));
    node.hear(ALICE, get("get", "==none"));
    let own = node.replica.client_id();
    let answer = |kind: &str, value: &str| {
        format!("{{\"type\":\"{kind}\",\"data\":{{\"v\":{value}}},\"to\":[\"{own}\"],\"id\":\"get-none\"}}")
    };
    assert_eq!(node.take(ALICE), [answer("put", "null"), answer("crdtPut", "[]")]);
    node.welcome(BOB, &identity("bobpeer"));
    node.hear(ALICE, get("get", "other"));
    assert_eq!(node.take(ALICE), [""; 0]);
}

#[test]
fn what_was_written_offline_is_asked_for_and_taken() {
    let mut node = node_with(server(9401));
    let alice = identity("alice");
    node.act(|replica, now| {
        replica.put(now, &Draft::plain(key("known"), Value::Number(1.0)), &identity("bob")).unwrap();
    });
    node.open(ALICE, Side::Accepted, Source::Stranger);
    node.hear(ALICE, ping(&identity("alicepeer"), node.clock.now().wall, "false"));
    let sent = node.take(ALICE);
    let query = &sent[1];
    assert!(query.contains("\"type\":\"query\"") && query.contains("\"key\":\"\""), "{query}");
    let id = |frame: &str| {
        let (_, id) = frame.split_once("\"id\":\"").unwrap();
        id.get(..10).unwrap().to_owned()
    };
    let mut offline: Vec<Record> =
        (0..100).map(|place| signed(&format!("off{place}"), "1", (place - 500, &alice))).collect();
    offline.push(signed("known", "2", (5, &alice)));
    let keys: Vec<String> = offline.iter().map(|record| format!("\"{}\"", record.key())).collect();
    node.hear(
        ALICE,
        format!("{{\"type\":\"queryAck\",\"id\":\"{}\",\"to\":[],\"keys\":[{}]}}", id(query), keys.join(",")),
    );
    let mut asked = Vec::new();
    loop {
        let questions = node.take(ALICE);
        assert!(questions.len() <= 32);
        if questions.is_empty() {
            break;
        }
        for question in questions {
            let record =
                offline.iter().find(|record| question.contains(&format!("\"key\":\"{}\"", record.key())));
            let record = record.unwrap();
            asked.push(record.key().to_string());
            // The fiftieth is not answered, as by a client that thinks it sent it before.
            if asked.len() != 50 {
                let answer = format!(
                    "{{\"type\":\"put\",\"data\":{},\"to\":[],\"id\":\"{}\"}}",
                    record.raw(),
                    id(&question)
                );
                node.hear(ALICE, answer);
            }
        }
    }
    assert_eq!(asked.len(), 101);
    assert_eq!(asked.last().map(String::as_str), Some("known"), "what is lacked comes first");
    assert_eq!(value_of(&node, "known").as_deref(), Some("2"));
    assert_eq!(node.replica.store().records().len(), 100);
}

#[test]
fn a_silent_client_does_not_stop_the_asking() {
    let mut node = node_with(server(9401));
    node.open(ALICE, Side::Accepted, Source::Stranger);
    node.hear(ALICE, ping(&identity("alicepeer"), node.clock.now().wall, "false"));
    let query = node.take(ALICE).remove(1);
    let (_, id) = query.split_once("\"id\":\"").unwrap();
    let keys: Vec<String> = (0..2_000).map(|place| format!("\"k{place}\"")).collect();
    let keys = keys.join(",");
    node.hear(
        ALICE,
        format!("{{\"type\":\"queryAck\",\"id\":\"{}\",\"to\":[],\"keys\":[{keys}]}}", id.get(..10).unwrap()),
    );
    assert_eq!(node.take(ALICE).len(), 32);
    node.pass(5_000);
    assert_eq!(node.take(ALICE).len(), 32);
    node.pass(1_000_000);
    assert_eq!(node.take(ALICE).len(), 1_000 - 64);
    assert_eq!(node.replica.poll_timeout(), None);
}

#[test]
fn a_client_that_comes_back_gets_what_changed_without_asking() {
    let mut node = node_with(quiet());
    let (alice, bob) = (identity("alicepeer"), identity("bobpeer"));
    node.welcome(ALICE, &alice);
    node.welcome(BOB, &bob);
    for name in ["changed", "same"] {
        node.hear(ALICE, put(&signed(name, "1", (0, &alice))));
        node.hear(
            BOB,
            format!("{{\"type\":\"subscribe\",\"key\":\"{name}\",\"to\":[],\"id\":\"sub-{name}\"}}"),
        );
    }
    assert_eq!(node.take(BOB).len(), 2);
    node.close(BOB);
    node.pass(1_000);
    node.hear(ALICE, put(&signed("changed", "2", (1_000, &alice))));
    assert_eq!(node.take(BOB), [""; 0]);

    let again = LinkId(3);
    node.open(again, Side::Accepted, Source::Stranger);
    node.hear(again, ping(&bob, node.clock.now().wall, "false"));
    let sent = node.take(again);
    assert_eq!(sent.len(), 2, "a pong and what changed: {sent:?}");
    assert!(sent[1].contains("\"k\":\"changed\"") && sent[1].contains("\"v\":2"));
    node.pass(1_000);
    node.hear(ALICE, put(&signed("same", "2", (2_000, &alice))));
    assert_eq!(node.take(again).len(), 1);
}

#[test]
fn subscriptions_of_the_departed_are_forgotten() {
    let mut node = node_with(Config { limits: Limits { parked_max: 1, ..Limits::default() }, ..quiet() });
    let record = signed("k", "1", (0, &identity("alice")));
    let leave = |node: &mut Node, who: &str| {
        node.welcome(BOB, &identity(who));
        node.hear(BOB, "{\"type\":\"subscribe\",\"key\":\"k\",\"to\":[],\"id\":\"sub\"}");
        node.close(BOB);
    };
    leave(&mut node, "bobpeer");
    leave(&mut node, "alicepeer");
    assert_eq!(node.replica.stats().limited, 1);
    node.act(|replica, now| replica.put_signed(now, &record).unwrap());
    node.pass(600_000);
    node.open(BOB, Side::Accepted, Source::Stranger);
    node.hear(BOB, ping(&identity("bobpeer"), node.clock.now().wall, "false"));
    assert_eq!(node.take(BOB).len(), 1, "only a pong");
}

fn map(author: &Identity, millis: i64, (name, value): (&str, f64)) -> Record {
    let mut map = tooldb::Document::new(tooldb::Shape::Map);
    map.set(&author.address().to_string(), name, Value::Number(value));
    Draft { key: key("doc"), value: map.to_value(), kind: Kind::Map }.sign(UnixMillis(EPOCH + millis), author)
}

#[test]
fn documents_written_apart_are_served_whole() {
    let mut node = node_with(quiet());
    node.welcome(ALICE, &identity("alicepeer"));
    let (alice, bob) = (identity("alice"), identity("bob"));
    // The second is older than the first, which the library would not merge at all.
    for record in [map(&alice, 0, ("a", 1.0)), map(&bob, -100, ("b", 2.0))] {
        node.hear(ALICE, put(&record));
    }
    let document = node.replica.document(&key("doc")).unwrap().unwrap();
    // Bob's address sorts before Alice's.
    assert_eq!(document.value().to_json(), "{\"b\":2,\"a\":1}");
    node.hear(ALICE, get("crdtGet", "doc"));
    let answer = node.take(ALICE).remove(0);
    let served = node.replica.get(&key("doc")).unwrap().unwrap();
    assert!(answer.contains(served.raw()));
    assert_eq!(served.author(), identity("server1").address());
    let receipt = tooldb::Receipt { now: UnixMillis(EPOCH + 1), source: Source::Stranger, claim: None };
    assert!(served.clone().verify(&tooldb::Rules::default(), &receipt).is_ok());
    assert_eq!(
        node.replica.get(&key("doc")).unwrap().as_ref(),
        Some(&served),
        "the same however often asked"
    );

    // Who merges and writes the whole is its author from then on, and the parts are not needed any more.
    let whole = Draft { key: key("doc"), value: document.to_value(), kind: Kind::Map };
    node.act(|replica, now| replica.put(now, &whole, &bob).unwrap());
    assert_eq!(node.replica.store().records().len(), 1);
    assert_eq!(node.replica.get(&key("doc")).unwrap().unwrap().author(), bob.address());
    // What it covers says nothing new.
    let again = node.act(|replica, now| replica.put_signed(now, &map(&alice, 0, ("a", 1.0))).unwrap());
    assert_eq!(again, Admitted::Known);
}

#[test]
fn types_of_the_application_are_kept_for_each_author() {
    let mut node = node_with(quiet());
    let custom = |value: f64, millis: i64, author: &Identity| {
        let draft = Draft { key: key("doc"), value: Value::Number(value), kind: Kind::Custom("LORO".into()) };
        draft.sign(UnixMillis(EPOCH + millis), author)
    };
    let (alice, bob) = (identity("alice"), identity("bob"));
    let records =
        [custom(1.0, 0, &alice), custom(2.0, 5, &bob), custom(3.0, 3, &alice), custom(4.0, 1, &alice)];
    let admitted = records.map(|record| node.act(|replica, now| replica.put_signed(now, &record).unwrap()));
    assert_eq!(admitted, [Admitted::New, Admitted::New, Admitted::New, Admitted::Known]);
    assert_eq!(node.replica.store().records().len(), 2);
    assert_eq!(value_of(&node, "doc").as_deref(), Some("2"));
}

#[test]
fn a_document_in_too_many_parts_takes_only_who_merges_it() {
    let limits = Limits { envelopes_max: 3, ..Limits::default() };
    let mut node = node_with(Config { limits, ..quiet() });
    let author = |place: u8| Identity::from_seed([place; 32]);
    let part = |place: u8| map(&author(place), 0, ("k", f64::from(place)));
    for place in 0..3 {
        node.act(|replica, now| replica.put_signed(now, &part(place)).unwrap());
    }
    let fourth = node.act(|replica, now| replica.put_signed(now, &part(3)));
    assert!(matches!(fourth, Err(PutError::Full)), "{fourth:?}");
    let mut whole = node.replica.document(&key("doc")).unwrap().unwrap();
    whole.set("me", "more", Value::Null);
    let draft = Draft { key: key("doc"), value: whole.to_value(), kind: Kind::Map };
    node.act(|replica, now| replica.put(now, &draft, &author(3)).unwrap());
    assert_eq!(node.replica.store().records().len(), 1);
}

#[test]
fn a_document_has_a_size() {
    let limits = Limits { document_bytes_max: 500, ..Limits::default() };
    let mut node = node_with(Config { limits, ..quiet() });
    let part = |place: u8| map(&Identity::from_seed([place; 32]), 0, ("k", 1.0));
    let results =
        [0, 1, 2, 3].map(|place| node.act(|replica, now| replica.put_signed(now, &part(place)).is_ok()));
    assert_eq!(results, [true, true, true, false]);
}

#[test]
fn names_stay_with_whom_they_were_first_seen_but_federations_agree() {
    let (alice, bob) = (identity("alice"), identity("bob"));
    let claims = [signed("==n", "1", (-10, &alice)), signed("==n", "2", (-20, &bob))];
    for source in [Source::Stranger, Source::Trusted] {
        for order in [[0, 1], [1, 0]] {
            let mut node = node_with(quiet());
            node.open(ALICE, Side::Accepted, source);
            node.hear(ALICE, ping(&identity("alicepeer"), node.clock.now().wall, "true"));
            for place in order {
                node.hear(ALICE, put(&claims[place]));
            }
            let owner = node.replica.get(&key("==n")).unwrap().unwrap().author();
            let expected = match source {
                Source::Stranger => claims[order[0]].author(),
                Source::Trusted => bob.address(),
            };
            assert_eq!(owner, expected);
        }
    }
}

#[test]
fn an_owner_keeps_a_name_by_the_oldest_of_their_claims() {
    let (alice, bob) = (identity("alice"), identity("bob"));
    let mut node = node_with(quiet());
    node.open(ALICE, Side::Accepted, Source::Trusted);
    node.hear(ALICE, ping(&identity("alicepeer"), node.clock.now().wall, "true"));
    // The owner's update arrives before their claim, and a claim from between the two after both.
    for (value, millis, author) in [("1", -10, &alice), ("2", -30, &alice), ("3", -20, &bob)] {
        node.hear(ALICE, put(&signed("==n", value, (millis, author))));
    }
    assert_eq!(value_of(&node, "==n").as_deref(), Some("1"));
    node.hear(ALICE, put(&signed("==n", "4", (-31, &bob))));
    assert_eq!(value_of(&node, "==n").as_deref(), Some("4"));
}

#[test]
fn a_name_taken_over_shows_nothing_of_its_former_owner() {
    let (alice, bob) = (identity("alice"), identity("bob"));
    let mut node = node_with(quiet());
    node.open(ALICE, Side::Accepted, Source::Trusted);
    node.hear(ALICE, ping(&identity("alicepeer"), node.clock.now().wall, "true"));
    let mut document = tooldb::Document::new(tooldb::Shape::List);
    document.push("alice", Value::Null);
    let list = Draft { key: key("==n"), value: document.to_value(), kind: Kind::List };
    node.hear(ALICE, put(&list.sign(UnixMillis(EPOCH - 5), &alice)));
    assert!(node.replica.document(&key("==n")).unwrap().is_some());
    node.hear(ALICE, put(&signed("==n", "1", (-10, &bob))));
    assert_eq!(value_of(&node, "==n").as_deref(), Some("1"));
    assert_eq!(node.replica.document(&key("==n")).unwrap(), None);
}

#[test]
fn a_store_that_fails_is_reported_and_nothing_is_spread() {
    let mut node = node_with(quiet());
    node.welcome(ALICE, &identity("alicepeer"));
    node.events.clear();
    node.act(|replica, _| replica.store_mut().broken = true);
    node.hear(ALICE, put(&signed("k", "1", (0, &identity("alice")))));
    assert!(matches!(node.events.as_slice(), [Event::StoreFailed { .. }]), "{:?}", node.events);
    let draft = Draft::plain(key("k"), Value::Null);
    let result = node.act(|replica, now| replica.put(now, &draft, &identity("alice")));
    assert!(matches!(result, Err(PutError::Store(_))));
}

#[test]
fn our_own_writes_obey_the_rules_too() {
    let mut node = node_with(quiet());
    let foreign = Key::owned(&identity("bob").address(), "x").unwrap();
    let result =
        node.act(|replica, now| replica.put(now, &Draft::plain(foreign, Value::Null), &identity("alice")));
    assert!(matches!(result, Err(PutError::Rejected(Rejected::AddressMismatch))));
}

#[test]
fn a_client_sends_its_writes_to_everyone() {
    let clock = Clock::new();
    let config = Config { role: tooldb::message::Role::Client, ..quiet() };
    let mut client = Node::new(config, &identity("alicepeer"), clock);
    client.welcome(BOB, &identity("bobpeer"));
    client.act(|replica, now| {
        replica.put(now, &Draft::plain(key("k"), Value::Null), &identity("alice")).unwrap()
    });
    let sent = client.take(BOB);
    assert!(sent[0].starts_with("{\"type\":\"put\",\"id\":\""), "{sent:?}");
    let mut server = node_with(quiet());
    server.welcome(BOB, &identity("bobpeer"));
    server.act(|replica, now| {
        replica.put(now, &Draft::plain(key("k"), Value::Null), &identity("alice")).unwrap()
    });
    assert_eq!(server.take(BOB), [""; 0]);
}

/// A document of alice's own, of which two devices wrote one part each; the second part is newer.
fn two_parts(name: &str, config: Config) -> (Node, [Record; 2]) {
    let alice = identity("alice");
    let part = |place: u8, millis: i64| {
        let mut map = tooldb::Document::new(tooldb::Shape::Map);
        map.set("alice", &format!("device {place}"), Value::Null);
        let draft = Draft { key: key(name), value: map.to_value(), kind: Kind::Map };
        let mut work = draft.work(UnixMillis(EPOCH + millis), alice.clone(), config.rules.difficulty);
        work.step(10_000).unwrap()
    };
    let parts = [part(1, -10), part(2, -5)];
    let mut node = node_with(config);
    for part in &parts {
        assert_eq!(node.act(|replica, now| replica.put_signed(now, part).unwrap()), Admitted::New);
    }
    (node, parts)
}

#[test]
fn where_this_node_may_not_sign_the_newest_part_is_served() {
    let own = Key::owned(&identity("alice").address(), "doc").unwrap();
    let mut working = quiet();
    working.rules.difficulty = tooldb::Difficulty(1);
    for (name, config) in [(own.as_str(), quiet()), ("==doc", quiet()), ("doc", working)] {
        let (node, parts) = two_parts(name, config);
        assert_eq!(node.replica.get(&key(name)).unwrap().as_ref(), Some(&parts[1]), "{name}");
        let whole = node.replica.document(&key(name)).unwrap().unwrap();
        assert_eq!(whole.len(), 2);
    }
    let (node, parts) = two_parts("doc", quiet());
    let served = node.replica.get(&key("doc")).unwrap().unwrap();
    assert_eq!(served.time(), UnixMillis(parts[1].time().0 + 1));
}

#[test]
fn a_repeated_subscription_is_answered_and_leaves_one_timer() {
    let mut node = node_with(quiet());
    node.welcome(BOB, &identity("bobpeer"));
    node.act(|replica, now| {
        replica.put(now, &Draft::plain(key("k"), Value::Null), &identity("alice")).unwrap()
    });
    for _ in 0..100 {
        node.hear(BOB, "{\"type\":\"subscribe\",\"key\":\"k\",\"to\":[],\"id\":\"sub\"}");
        node.pass(1);
    }
    assert_eq!(node.take(BOB).len(), 100);
    let first = node.replica.poll_timeout().unwrap();
    node.pass(118);
    assert_eq!(node.replica.poll_timeout(), Some(first), "the last answer quiets the key for 120 ms");
    node.pass(1);
    assert_eq!(node.replica.poll_timeout(), None);
}

#[test]
fn a_connection_that_closes_leaves_no_timers() {
    let mut node = node_with(server(9401));
    node.open(ALICE, Side::Accepted, Source::Stranger);
    node.hear(ALICE, ping(&identity("alicepeer"), node.clock.now().wall, "false"));
    node.welcome(BOB, &identity("bobpeer"));
    let query = node.take(ALICE).remove(1);
    let (_, id) = query.split_once("\"id\":\"").unwrap();
    let id = id.get(..10).unwrap();
    node.act(|replica, now| {
        replica.put(now, &Draft::plain(key("k"), Value::Null), &identity("alice")).unwrap()
    });
    node.hear(ALICE, format!("{{\"type\":\"queryAck\",\"id\":\"{id}\",\"to\":[],\"keys\":[\"k\"]}}"));
    node.hear(ALICE, "{\"type\":\"subscribe\",\"key\":\"k\",\"to\":[],\"id\":\"sub\"}");
    node.hear(ALICE, get("get", "none"));
    assert!(node.replica.poll_timeout().is_some());
    node.close(ALICE);
    assert_eq!(node.replica.poll_timeout(), None);
}
