//! The reference's behaviour, as recorded from it.

use std::sync::LazyLock;

use serde_json::Value;

/// Timelines of hyperswarm 4.17 on a loopback network.
pub(crate) static BEHAVIOUR: LazyLock<Value> =
    LazyLock::new(|| parse(include_str!("../../../../vectors/hyperdht/hyperswarm-behaviour.json")));
/// Where it fails.
pub(crate) static CORNERS: LazyLock<Value> =
    LazyLock::new(|| parse(include_str!("../../../../vectors/hyperdht/hyperswarm-corner-cases.json")));
/// Its ceiling for attempts.
pub(crate) static MACHINES: LazyLock<Value> =
    LazyLock::new(|| parse(include_str!("../../../../vectors/hyperdht/state-machines.json")));

fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("vectors are JSON")
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

pub(crate) fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}
