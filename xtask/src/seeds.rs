//! Writes the fuzz targets' first inputs: every message of the vectors, under the decoder that reads it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::Command;

pub(crate) const COMMAND: Command = Command {
    name: "seeds",
    summary: "write the vectors as inputs of the fuzz targets",
    help: "\n\nWrites fuzz/seeds/DECODER/NAME from vectors/hyperdht. Other files there stay: inputs that once\n\
           broke a decoder belong beside the vectors.",
    run,
};

/// Vector file, JSON pointer whose `*` is every item of an array, and the decoders that read what is there.
const SOURCES: &[(&str, &str, &[&str])] = &[
    ("dht-rpc", "/uint/*/hex", &["reader"]),
    ("dht-rpc", "/requests/*/packet", &["request", "datagram", "reader"]),
    ("dht-rpc", "/replies/*/packet", &["response", "datagram", "reader"]),
    ("dht-rpc", "/malformed/*/packet", &["request", "datagram"]),
    ("hyperdht-messages", "/announce/*/value", &["announcement"]),
    ("hyperdht-messages", "/announce/*/peerEncoded", &["peer_record"]),
    ("hyperdht-messages", "/unannounce/*/value", &["announcement"]),
    ("hyperdht-messages", "/refreshOnly/value", &["announcement"]),
    ("hyperdht-messages", "/findPeerReply/value", &["peer_record"]),
    ("hyperdht-messages", "/lookupReply/*/value", &["lookup_reply"]),
    ("hyperdht-messages", "/mutable/*/putValue", &["mutable_put"]),
    ("hyperdht-messages", "/mutable/*/getReplyValue", &["mutable_record"]),
    ("hyperdht-messages", "/peerHandshake/*/value", &["handshake_envelope"]),
    ("hyperdht-messages", "/peerHolepunch/*/value", &["holepunch_envelope"]),
    ("hyperdht-messages", "/noisePayload/*/encoded", &["noise_payload"]),
    ("hyperdht-messages", "/noisePayloadUnknownVersion/encoded", &["noise_payload"]),
    ("hyperdht-messages", "/holepunchPayload/*/plain", &["holepunch_payload"]),
    ("hyperdht-messages", "/plugin/*/value", &["plugin_request"]),
    ("hyperdht-messages", "/hyperdhtAddress/*/encoded", &["node_address"]),
    ("hyperdht-messages", "/blindRelay/pair/*/encoded", &["pair"]),
    ("hyperdht-messages", "/blindRelay/unpair/encoded", &["unpair"]),
    ("../discovery/vectors", "/krpc_bittorrent_dht_7_10/*/hex", &["krpc", "bencode"]),
    ("../discovery/vectors", "/mdns_dns_discovery/*/hex", &["local_discovery"]),
    ("../discovery/vectors", "/unicast_dns_discovery/*/hex", &["local_discovery"]),
    ("../discovery/vectors", "/krpc_edge_inputs/*/hex", &["krpc", "bencode"]),
    ("udx", "/scenarios/small-write/packets/*/hex", &["udx", "datagram"]),
    ("udx", "/scenarios/end-with-data/packets/*/hex", &["udx"]),
    ("udx", "/scenarios/message/packets/*/hex", &["udx"]),
    ("udx", "/scenarios/destroy/packets/*/hex", &["udx"]),
    ("udx", "/scenarios/heartbeat/packets/*/hex", &["udx"]),
    ("udx", "/scenarios/sack-two-holes/packets/*/hex", &["udx"]),
    ("udx", "/scenarios/seq-wrap/packets/*/hex", &["udx"]),
];

fn run(arguments: &[String]) -> Result<ExitCode> {
    if let Some(argument) = arguments.first() {
        return Ok(crate::refuse(&COMMAND, argument));
    }
    let root = crate::root();
    let seeds = collect(&root)?;
    for (path, bytes) in &seeds {
        let path = root.join(path);
        fs::create_dir_all(path.parent().context("a seed lies in a folder")?)?;
        fs::write(&path, bytes)?;
    }
    println!("{} seeds", seeds.len());
    Ok(ExitCode::SUCCESS)
}

/// Reads the vectors into seeds by path.
fn collect(root: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut seeds = BTreeMap::new();
    for (file, pointer, decoders) in SOURCES {
        let path = root.join("vectors/hyperdht").join(file).with_extension("json");
        let json: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
        let texts = texts(&json, pointer).with_context(|| format!("{file} has nothing at {pointer}"))?;
        let name = pointer.trim_matches('/').replace("/*", "").replace('/', "-");
        for (at, text) in texts.iter().enumerate() {
            let bytes = bytes(text).with_context(|| format!("{file}{pointer} is not hexadecimal"))?;
            for decoder in *decoders {
                seeds.insert(format!("fuzz/seeds/{decoder}/{name}-{at:02}"), bytes.clone());
            }
        }
    }
    Ok(seeds)
}

/// The texts at a pointer, or nothing where there is none.
fn texts<'a>(json: &'a Value, pointer: &str) -> Option<Vec<&'a str>> {
    let Some((array, rest)) = pointer.split_once("/*") else {
        return json.pointer(pointer)?.as_str().map(|text| vec![text]);
    };
    let rows = json.pointer(array)?.as_array()?;
    let texts: Option<Vec<&str>> = rows.iter().map(|row| row.pointer(rest)?.as_str()).collect();
    // A capture that was cut short is no message.
    texts.map(|texts| texts.into_iter().filter(|text| !text.ends_with("..")).collect())
}

fn bytes(hex: &str) -> Result<Vec<u8>> {
    ensure!(hex.len().is_multiple_of(2), "an odd number of digits");
    let digit = |c: &u8| char::from(*c).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = hex.as_bytes().chunks_exact(2);
    pairs
        .map(|pair| pair.iter().try_fold(0, |byte: u8, c| Some(byte << 4 | digit(c)?)).context("not a digit"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_in_the_tree_are_those_of_the_vectors() {
        let root = crate::root();
        for (path, bytes) in collect(&root).unwrap() {
            let committed = fs::read(root.join(&path)).unwrap_or_default();
            assert_eq!(committed, bytes, "{path} is old: run `cargo xtask seeds`");
        }
    }

    #[test]
    fn a_pointer_reaches_every_item_of_an_array() {
        let json = serde_json::json!({"rows": [{"hex": "00"}, {"hex": "ff"}], "one": "aa"});
        assert_eq!(texts(&json, "/rows/*/hex"), Some(vec!["00", "ff"]));
        assert_eq!(texts(&json, "/one"), Some(vec!["aa"]));
        assert_eq!(texts(&json, "/rows/*/none"), None);
        assert_eq!(texts(&json, "/none/*/hex"), None);
    }

    #[test]
    fn digits_become_bytes() {
        assert_eq!(bytes("00ffA0").unwrap(), [0, 0xff, 0xa0]);
        assert!(bytes("0").is_err());
        assert!(bytes("0g").is_err());
    }
}
