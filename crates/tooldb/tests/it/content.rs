//! What a record says: canonical JSON, encodings, hashes and proof of work.

use tooldb::encoding::{base64_bytes, base64_text, from_base64_bytes, hex, hex_lax};
use tooldb::json::{self, DEPTH_MAX, JsonError, Value};
use tooldb::{Difficulty, Digest, Draft, Key, UnixMillis};

use crate::vectors::{cases, identity, load, text};

#[test]
fn values_print_as_v8_prints_them() {
    for case in cases("json-canonical.json", 29) {
        let raw = text(&case["raw"]);
        assert_eq!(json::canonical(raw).as_deref(), Ok(text(&case["js"])), "{raw}");
    }
}

#[test]
fn printing_is_a_fixed_point_for_any_text() {
    arbtest::arbtest(|input| {
        let raw: String = input.arbitrary()?;
        for raw in [raw.clone(), format!("[{raw}]"), format!("\"{raw}\"")] {
            if let Ok(canonical) = json::canonical(&raw) {
                assert_eq!(json::canonical(&canonical).as_ref(), Ok(&canonical), "{raw}");
                serde_json::from_str::<serde_json::Value>(&canonical)
                    .map(drop)
                    .or_else(|error| if canonical.contains("\\ud") { Ok(()) } else { Err(error) })
                    .unwrap();
            }
        }
        Ok(())
    });
}

#[test]
fn numbers_read_back_as_the_same_number() {
    arbtest::arbtest(|input| {
        let value = f64::from_bits(input.arbitrary()?);
        if value.is_finite() {
            let printed = Value::Number(value).to_json();
            assert_eq!(printed.parse(), Ok(value), "{printed}");
        }
        Ok(())
    });
}

#[test]
fn strings_are_ordered_as_javascript_orders_them() {
    // By UTF-16 units: U+D83D U+DE00 before U+E000, although UTF-8 has them the other way round.
    let ordered = [
        "\"\"",
        "\"\\u0001\"",
        "\"\\\"\"",
        "\"A\"",
        "\"A\\n\"",
        "\"B\"",
        "\"\\\\\"",
        "\"a\"",
        "\"ñ\"",
        "\"\\ud83d\"",
        "\"😀\"",
        "\"\\ude00\"",
        "\"\u{e000}\"",
    ];
    let texts = ordered.map(|raw| Value::parse(raw).unwrap().as_text().unwrap().clone());
    assert!(texts.is_sorted_by(|one, two| one < two), "{texts:?}");
}

#[test]
fn what_is_not_json_is_refused() {
    let broken = [
        "",
        " ",
        "nul",
        "01",
        "1.",
        ".5",
        "+1",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "'a'",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"a\nb\"",
        "[1 2]",
        "1 2",
        "\u{feff}1",
        "NaN",
        "Infinity",
        "-",
        "\"",
        "{\"a\"}",
        "1e",
        "--1",
    ];
    for raw in broken {
        assert_eq!(json::canonical(raw), Err(JsonError::Syntax), "{raw}");
    }
}

#[test]
fn nesting_has_a_limit() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(json::canonical(&nested(DEPTH_MAX)).is_ok());
    assert_eq!(json::canonical(&nested(DEPTH_MAX + 1)), Err(JsonError::TooDeep));
    assert_eq!(json::canonical(&"[".repeat(200_000)), Err(JsonError::TooDeep));
}

#[test]
fn names_beyond_array_indices_keep_their_place() {
    // As printed by Node 20.
    let raw = "{\"a\":1,\"4294967295\":2,\"4294967294\":3,\"00\":4}";
    let expected = "{\"4294967294\":3,\"a\":1,\"4294967295\":2,\"00\":4}";
    assert_eq!(json::canonical(raw).as_deref(), Ok(expected));
}

#[test]
fn many_members_keep_the_order_of_v8() {
    let names = (0..40).map(|name| format!("\"n{name}\":{name}")).collect::<Vec<_>>().join(",");
    let raw = format!("{{{names},\"7\":1,\"n3\":\"last\",\"5\":2,\"n39\":null}}");
    let expected = names.replace("\"n3\":3,", "\"n3\":\"last\",").replace("\"n39\":39", "\"n39\":null");
    assert_eq!(json::canonical(&raw), Ok(format!("{{\"5\":2,\"7\":1,{expected}}}")));
}

#[test]
fn encodings_are_those_of_the_library() {
    let vectors = load("encoding.json");
    let list = |name: &str| vectors[name].as_array().unwrap().clone();
    for case in list("sha256") {
        assert_eq!(Digest::of(text(&case["s"])).to_hex(), text(&case["hex"]));
    }
    for case in list("toBase64") {
        assert_eq!(base64_text(text(&case["s"])), text(&case["b64"]));
    }
    for case in list("uint8ToBase64") {
        let bytes = hex_lax(text(&case["hex"]));
        assert_eq!(base64_bytes(&bytes), text(&case["b64"]));
        assert_eq!(from_base64_bytes(text(&case["b64"])), Some(bytes));
    }
    for case in list("hexToArrayBuffer") {
        assert_eq!(hex(&hex_lax(text(&case["in"]))), text(&case["out"]));
    }
}

#[test]
fn hashes_and_nonces_are_those_of_the_library() {
    let alice = identity("alice");
    for case in cases("pow-hash.json", 16) {
        assert_eq!(alice.address().to_string(), text(&case["a"]));
        let draft = Draft::plain(Key::new("k").unwrap(), Value::parse(text(&case["json"])).unwrap());
        let difficulty = Difficulty(u8::try_from(case["difficulty"].as_u64().unwrap_or(0)).unwrap());
        let time = UnixMillis(case["t"].as_i64().unwrap());
        let nonce = case["nonce"].as_u64().unwrap();
        let mut work = draft.clone().work(time, alice.clone(), difficulty);
        assert_eq!(work.step(nonce), None, "a smaller nonce fits");
        let record = work.step(1).unwrap();
        assert_eq!(record.hash().to_hex(), text(&case["hash"]));
        assert!(record.raw().contains(&format!("\"n\":{nonce},")));
        if difficulty == Difficulty(0) {
            assert_eq!(draft.sign(time, &alice), record);
        }
    }
}
