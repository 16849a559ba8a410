use std::sync::LazyLock;

use serde_json::Value;

/// Handshakes, frames and datagrams that the reference made from fixed keys.
pub(crate) static NOISE: LazyLock<Value> =
    LazyLock::new(|| parse(include_str!("../../../../vectors/hyperdht/noise-secretstream.json")));

/// Channels and relayed connections between two peers of the reference.
pub(crate) static MISC: LazyLock<Value> =
    LazyLock::new(|| parse(include_str!("../../../../vectors/hyperdht/misc.json")));

/// Messages of `hyperdht` that the reference encoded.
pub(crate) static HYPER: LazyLock<Value> =
    LazyLock::new(|| parse(include_str!("../../../../vectors/hyperdht/hyperdht-messages.json")));

/// Probes of the reference between real NATs.
pub(crate) static NATLAB: LazyLock<Value> =
    LazyLock::new(|| parse(include_str!("../../../../vectors/hyperdht/natlab-probes.json")));

fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("the vectors are JSON")
}

/// The rows of an array, of which there must be one at least: a test over no row proves nothing.
pub(crate) fn rows(value: &Value) -> &[Value] {
    let rows = value.as_array().expect("an array of vectors");
    assert!(!rows.is_empty(), "no vector to test");
    rows
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

pub(crate) fn hex(value: &Value) -> Vec<u8> {
    unhex(text(value))
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    assert_eq!(text.len() % 2, 0, "hexadecimal digits come in pairs");
    let digit =
        |c: &u8| char::from(*c).to_digit(16).and_then(|d| u8::try_from(d).ok()).expect("a hexadecimal digit");
    text.as_bytes().chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, c| byte << 4 | digit(c))).collect()
}

pub(crate) fn fixed<const N: usize>(value: &Value) -> [u8; N] {
    hex(value).try_into().expect("as many bytes as the field has")
}
