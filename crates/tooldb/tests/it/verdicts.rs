//! Which records are believed.

use std::time::Duration;

use tooldb::json::Value;
use tooldb::{Claim, Difficulty, Draft, Key, Receipt, Record, Rejected, Rules, Source, UnixMillis, Verified};

use crate::vectors::{cases, flows, identity, load, text};

const NOW: UnixMillis = UnixMillis(1_795_199_054_474);

fn stranger(claim: Option<Claim>) -> Receipt {
    Receipt { now: NOW, source: Source::Stranger, claim }
}

fn verify(raw: &str, rules: &Rules, receipt: &Receipt) -> Result<Verified<Record>, Rejected> {
    Record::parse(raw)?.verify(rules, receipt)
}

fn verdict(result: &Result<Verified<Record>, Rejected>) -> String {
    result.as_ref().map_or_else(|rejected| format!("{rejected:?}"), |_| "Verified".into())
}

#[test]
fn every_case_of_the_library_has_the_strict_outcome() {
    assert_eq!(load("verify.json")["now"], NOW.0);
    let mut believed = 0;
    for case in cases("verify.json", 35) {
        let difficulty = Difficulty(u8::try_from(case["pow"].as_u64().unwrap_or(0)).unwrap());
        let rules = Rules { difficulty, ..Rules::default() };
        let claim = case["stored"].is_object().then(|| {
            let stored = Record::parse(&case["stored"].to_string()).unwrap();
            let first_seen = stored.time();
            Claim { record: stored, first_seen }
        });
        let result = verify(&case["msg"].to_string(), &rules, &stranger(claim));
        believed += usize::from(result.is_ok());
        let expected = match text(&case["strict_expectation"]) {
            "policy: CantOverwrite recommended (back-dating steals names)" => "CantOverwrite",
            "Verified (k is not covered by h: protocol flaw)" => "Verified",
            expected => expected,
        };
        assert_eq!(verdict(&result), expected, "{}", case["name"]);
    }
    assert_eq!(believed, 13);
}

#[test]
fn every_record_of_the_captured_conversations_is_believed() {
    let mut records = 0;
    for (_, flow) in flows() {
        for frame in flow["frames"].as_array().unwrap() {
            let data = &frame["frame"]["data"];
            if data.is_object() {
                // The text as sent: the test's JSON library would print numbers its own way.
                let raw = text(&frame["raw"]);
                let start = raw.find("\"data\":").unwrap() + "\"data\":".len();
                let length = (start..=raw.len())
                    .rev()
                    .find(|end| raw.get(start..*end).is_some_and(|raw| Value::parse(raw).is_ok()))
                    .unwrap();
                let raw = raw.get(start..length).unwrap();
                let result = verify(raw, &Rules::default(), &stranger(None));
                assert_eq!(verdict(&result), "Verified", "{raw}");
                records += 1;
            }
        }
    }
    assert_eq!(records, 48);
}

#[test]
fn a_record_with_foreign_spelling_is_hashed_in_canonical_form() {
    let key = Key::new("k").unwrap();
    let draft = Draft::plain(key, Value::parse("{\"2\":1.50,\"a\":\"\\u0041/\",\"1\":1e21}").unwrap());
    let record = draft.sign(NOW, &identity("alice"));
    let canonical = "{\"1\":1e+21,\"2\":1.5,\"a\":\"A/\"}";
    assert_eq!(record.value(), canonical);
    let respelled = record.raw().replace(canonical, "{ \"2\" : 15e-1, \"a\":\"\\u0041\\/\", \"1\":1E21 }");
    assert_ne!(respelled, record.raw());
    let verified = verify(&respelled, &Rules::default(), &stranger(None)).unwrap();
    assert_eq!(verified.raw(), respelled);
    assert_eq!(verified.hash(), record.hash());
}

#[test]
fn unknown_members_are_kept() {
    let record = Draft::plain(Key::new("k").unwrap(), Value::Null).sign(NOW, &identity("alice"));
    let extended = record.raw().replace("\"c\":null", "\"c\":null,\"x\":{\"sig\":\"..\"}");
    let verified = verify(&extended, &Rules::default(), &stranger(None)).unwrap();
    assert!(verified.raw().ends_with(",\"x\":{\"sig\":\"..\"}}"));
}

#[test]
fn the_last_of_equal_members_counts() {
    let record = Draft::plain(Key::new("k").unwrap(), Value::Null).sign(NOW, &identity("alice"));
    let twice = record.raw().replace("{\"k\":\"k\"", "{\"v\":7,\"k\":\"other\",\"k\":\"k\"");
    assert!(verify(&twice, &Rules::default(), &stranger(None)).is_ok());
    let tampered = record.raw().replace("\"c\":null", "\"c\":null,\"v\":7");
    assert_eq!(verify(&tampered, &Rules::default(), &stranger(None)), Err(Rejected::InvalidHashNonce));
}

#[test]
fn timestamps_that_lock_a_key_for_ever_are_malformed() {
    let record = Draft::plain(Key::new("k").unwrap(), Value::Null).sign(NOW, &identity("alice"));
    let time = format!("\"t\":{}", NOW.0);
    for broken in
        ["\"zzzz\"", "null", "true", "1.5", "1e400", "9007199254740993000", "{}", "\"1795199054474\""]
    {
        let raw = record.raw().replace(&time, &format!("\"t\":{broken}"));
        assert_eq!(verify(&raw, &Rules::default(), &stranger(None)), Err(Rejected::InvalidData), "{broken}");
    }
}

#[test]
fn members_of_the_wrong_type_are_malformed() {
    let record = Draft::plain(Key::new("k").unwrap(), Value::Null).sign(NOW, &identity("alice"));
    let cases = [
        ("\"k\":\"k\"", "\"k\":5"),
        ("\"k\":\"k\"", "\"k\":\"\\ud800\""),
        ("\"n\":0", "\"n\":\"\""),
        ("\"n\":0", "\"n\":\"0x\""),
        ("\"n\":0", "\"n\":0.5"),
        ("\"c\":null", "\"c\":7"),
        ("\"c\":null", "\"c\":undefined"),
    ];
    for (right, wrong) in cases {
        let raw = record.raw().replace(right, wrong);
        assert_ne!(raw, record.raw());
        assert_eq!(verify(&raw, &Rules::default(), &stranger(None)), Err(Rejected::InvalidData), "{wrong}");
    }
    for raw in ["null", "[]", "7", "\"\"", "", "{}"] {
        assert_eq!(Record::parse(raw), Err(Rejected::InvalidData), "{raw}");
    }
}

#[test]
fn sizes_are_limited() {
    let alice = identity("alice");
    let rules = Rules { value_bytes_max: 12, ..Rules::default() };
    let value = |text: &str| Value::Text(text.into());
    let draft = |text: &str| Draft::plain(Key::new("k").unwrap(), value(text)).sign(NOW, &alice);
    assert!(draft("ten bytes!").verify(&rules, &stranger(None)).is_ok());
    assert_eq!(draft("elevenbytes").verify(&rules, &stranger(None)), Err(Rejected::TooLarge));
    let extended = |bytes: usize| {
        let member = format!("\"c\":null,\"x\":\"{}\"", "x".repeat(bytes));
        verify(&draft("v").raw().replace("\"c\":null", &member), &rules, &stranger(None)).map(drop)
    };
    assert_eq!(extended(15_000), Ok(()));
    assert_eq!(extended(17_000), Err(Rejected::TooLarge));
    assert!(Key::new(&"k".repeat(Key::LEN_MAX)).is_some());
    assert!(Key::new(&"k".repeat(Key::LEN_MAX + 1)).is_none());
    let long =
        draft("v").raw().replace("\"k\":\"k\"", &format!("\"k\":\"{}\"", "k".repeat(Key::LEN_MAX + 1)));
    assert_eq!(Record::parse(&long), Err(Rejected::TooLarge));
}

#[test]
fn names_cannot_be_taken_by_dating_back() {
    let (alice, bob) = (identity("alice"), identity("bob"));
    let key = Key::frozen("name").unwrap();
    let at = |millis: i64| UnixMillis(NOW.0 + millis);
    let sign = |millis: i64, author| Draft::plain(key.clone(), Value::Null).sign(at(millis), author);
    let claim = Claim { record: sign(-5_000, &alice), first_seen: at(-4_000) };
    let rules = Rules { claim_window: Duration::from_secs(4), ..Rules::default() };

    let try_with = |record: Record, now: i64, source| {
        record.verify(&rules, &Receipt { now: at(now), source, claim: Some(claim.clone()) }).map(drop)
    };
    assert_eq!(try_with(sign(-5_001, &bob), -1, Source::Stranger), Ok(()));
    assert_eq!(try_with(sign(-5_001, &bob), 0, Source::Stranger), Err(Rejected::CantOverwrite));
    assert_eq!(try_with(sign(-5_001, &bob), 0, Source::Trusted), Ok(()));
    assert_eq!(try_with(sign(-4_999, &bob), -1, Source::Trusted), Err(Rejected::CantOverwrite));
    assert_eq!(try_with(sign(-9_000, &alice), 0, Source::Stranger), Ok(()));
}

#[test]
fn claims_of_equal_age_go_to_the_smaller_address_on_every_node() {
    let (alice, bob) = (identity("alice"), identity("bob"));
    assert!(bob.address() < alice.address());
    let sign = |author| Draft::plain(Key::frozen("n").unwrap(), Value::Null).sign(NOW, author);
    let claim = |author| Claim { record: sign(author), first_seen: NOW };
    assert!(claim(&alice).yields_to(&sign(&bob)));
    assert!(!claim(&bob).yields_to(&sign(&alice)));
    assert!(!claim(&bob).yields_to(&sign(&bob)));
}

#[test]
fn equal_times_are_ordered_by_hash() {
    let alice = identity("alice");
    let sign = |value: f64, millis| {
        Draft::plain(Key::new("k").unwrap(), Value::Number(value)).sign(UnixMillis(millis), &alice)
    };
    let (one, two, later) = (sign(1.0, 5), sign(2.0, 5), sign(1.0, 6));
    assert_eq!(one.order() < two.order(), one.hash() < two.hash());
    assert!(one.order() < later.order() && two.order() < later.order());
}
