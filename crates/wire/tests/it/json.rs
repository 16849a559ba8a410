use std::net::SocketAddrV4;
use std::sync::LazyLock;

use serde_json::Value;

/// Packets of `dht-rpc` that the reference encoded.
pub(crate) static RPC: LazyLock<Value> =
    LazyLock::new(|| parse(include_str!("../../../../vectors/hyperdht/dht-rpc.json")));

/// Messages of `hyperdht` that the reference encoded.
pub(crate) static HYPER: LazyLock<Value> =
    LazyLock::new(|| parse(include_str!("../../../../vectors/hyperdht/hyperdht-messages.json")));

/// Stream packets between two streams of the reference.
pub(crate) static UDX: LazyLock<Value> =
    LazyLock::new(|| parse(include_str!("../../../../vectors/hyperdht/udx.json")));

/// Messages of Mainline and its extensions, as others write them.
pub(crate) static MAINLINE: LazyLock<Value> =
    LazyLock::new(|| parse(include_str!("../../../../vectors/discovery/vectors.json")));

fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("the vectors are JSON")
}

/// The rows of an array, of which there must be one at least: a test over no row proves nothing.
pub(crate) fn rows(value: &Value) -> &[Value] {
    let rows = value.as_array().expect("an array of vectors");
    assert!(!rows.is_empty(), "no vector to test");
    rows
}

pub(crate) fn number(value: &Value) -> u64 {
    value.as_u64().expect("a whole number")
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

pub(crate) fn hex(value: &Value) -> Vec<u8> {
    let digits = text(value).as_bytes();
    assert_eq!(digits.len() % 2, 0, "hexadecimal digits come in pairs");
    let digit =
        |c: &u8| char::from(*c).to_digit(16).and_then(|d| u8::try_from(d).ok()).expect("a hexadecimal digit");
    digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, c| byte << 4 | digit(c))).collect()
}

pub(crate) fn fixed<const N: usize>(value: &Value) -> [u8; N] {
    hex(value).try_into().expect("as many bytes as the field has")
}

/// Converts a field that the vectors may leave out or set to null.
pub(crate) fn optional<T>(value: &Value, convert: impl FnOnce(&Value) -> T) -> Option<T> {
    if value.is_null() { None } else { Some(convert(value)) }
}

/// An address, written as `host:port` or as an object of both.
pub(crate) fn addr(value: &Value) -> SocketAddrV4 {
    if let Some(text) = value.as_str() {
        return text.parse().expect("an IPv4 address with its port");
    }
    let port = u16::try_from(number(&value["port"])).expect("a port");
    SocketAddrV4::new(text(&value["host"]).parse().expect("an IPv4 address"), port)
}

/// The addresses of a list that may be empty or null, packed as on the wire.
pub(crate) fn packed(value: &Value) -> Vec<u8> {
    wire::pack_addrs(value.as_array().into_iter().flatten().map(addr))
}

/// The datagram of a captured row, which gives its length; zeros stand for bytes that the capture left out.
pub(crate) fn cut_hex(row: &Value) -> Vec<u8> {
    let digits = text(&row["hex"]).trim_end_matches("..");
    let mut bytes = hex(&Value::from(digits));
    bytes.resize(usize::try_from(number(&row["len"])).expect("a length"), 0);
    bytes
}
