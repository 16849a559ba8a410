use serde_json::Value;
use wire::hyper::{
    Announcement, LookupReply, MutablePut, MutableRecord, PeerRecord, PluginRequest, encode_lookup_reply,
};
use wire::{Addrs, DecodeError, Reader, Write};

use crate::json::{HYPER, fixed, hex, number, optional, packed, rows, text};

fn assert_announcement(row: &Value) {
    let relays = packed(&row["relayAddresses"]);
    let peer = PeerRecord { public_key: fixed(&row["publicKey"]), relays: Addrs::from_packed(&relays) };
    let peer_bytes = hex(&row["peerEncoded"]);
    assert_codec!(PeerRecord, peer, peer_bytes);

    let expected = Announcement {
        peer: Some(peer),
        refresh: optional(&row["refresh"], fixed),
        signature: Some(fixed(&row["signature"])),
        bump: number(&row["bump"]),
    };
    let bytes = hex(&row["value"]);
    assert_codec!(Announcement, expected, bytes);
}

#[test]
fn announcements_take_the_bytes_of_the_reference() {
    rows(&HYPER["announce"]).iter().for_each(assert_announcement);
}

#[test]
fn unannouncements_take_the_bytes_of_the_reference() {
    rows(&HYPER["unannounce"]).iter().for_each(assert_announcement);
}

#[test]
fn a_refresh_takes_the_bytes_of_the_reference() {
    let row = &HYPER["refreshOnly"];
    let expected =
        Announcement { peer: None, refresh: Some(fixed(&row["refresh"])), signature: None, bump: 0 };
    let bytes = hex(&row["value"]);
    assert_codec!(Announcement, expected, bytes);
}

#[test]
fn mutable_records_take_the_bytes_of_the_reference() {
    for row in rows(&HYPER["mutable"]) {
        let value = hex(&row["value"]);
        let record =
            MutableRecord { seq: number(&row["seq"]), value: &value, signature: fixed(&row["signature"]) };
        let put = MutablePut { public_key: fixed(&row["publicKey"]), record };
        let (put_bytes, reply_bytes) = (hex(&row["putValue"]), hex(&row["getReplyValue"]));
        assert_codec!(MutablePut, put, put_bytes);
        assert_codec!(MutableRecord, record, reply_bytes);
        let mut signed = Vec::new();
        record.encode_unsigned(&mut signed);
        assert_eq!(signed, hex(&row["signableInner"]), "{row}");
    }
}

#[test]
fn a_mutable_get_asks_with_the_bytes_of_the_reference() {
    for row in rows(&HYPER["mutable"]) {
        let (seq, bytes) = (number(&row["seq"]), hex(&row["getRequestValue"]));
        let mut out = Vec::new();
        out.uint(seq);
        assert_eq!(out, bytes, "{row}");
        assert_eq!(Reader::new(&bytes).uint(), Ok(seq), "{row}");
    }
}

#[test]
fn lookup_replies_take_the_bytes_of_the_reference() {
    for row in rows(&HYPER["lookupReply"]) {
        let records: Vec<Vec<u8>> = rows(&row["peers"]).iter().map(hex).collect();
        let (bump, bytes) = (number(&row["bump"]), hex(&row["value"]));
        let mut out = Vec::new();
        encode_lookup_reply(records.iter().map(Vec::as_slice), bump, &mut out);
        assert_eq!(out, bytes, "{row}");

        let reply = LookupReply::decode(&bytes).unwrap();
        assert_eq!((reply.bump, reply.peers.len()), (bump, records.len()), "{row}");
        let expected: Vec<PeerRecord<'_>> = records.iter().map(|r| PeerRecord::decode(r).unwrap()).collect();
        assert_eq!(reply.peers.iter().collect::<Vec<_>>(), expected, "{row}");
        out.clear();
        reply.encode(&mut out);
        assert_eq!(out, bytes, "{row}");
    }
}

#[test]
fn a_lookup_reply_of_an_old_node_has_no_bump() {
    let bytes = hex(&HYPER["lookupReply"][0]["value"]);
    let old = &bytes[..bytes.len() - 1];
    assert_eq!(LookupReply::decode(old), LookupReply::decode(&bytes));
}

#[test]
fn a_short_lookup_value_that_claims_a_huge_count_is_refused_at_once() {
    let one = hex(&HYPER["lookupReply"][0]["value"]);
    let counts: [&[u8]; 5] = [
        &[2],
        &[0xfd, 0xff, 0xff],
        &[0xfe, 0x00, 0x00, 0x10, 0x00],
        &[0xfe, 0xff, 0xff, 0xff, 0xff],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x1f, 0x00],
    ];
    for count in counts {
        assert_eq!(LookupReply::decode(count), Err(DecodeError::Truncated), "{count:02x?}");
        let claimed = [count, &one[1..]].concat();
        assert_eq!(LookupReply::decode(&claimed), Err(DecodeError::Truncated), "{count:02x?}");
    }
}

#[test]
fn a_find_peer_reply_takes_the_bytes_of_the_reference() {
    let bytes = hex(&HYPER["findPeerReply"]["value"]);
    let relays = wire::pack_addrs(["1.2.3.4:1234".parse().unwrap(), "5.6.7.8:49737".parse().unwrap()]);
    let expected = PeerRecord {
        public_key: fixed(&HYPER["keyPairs"][1]["publicKey"]),
        relays: Addrs::from_packed(&relays),
    };
    assert_codec!(PeerRecord, expected, bytes);
}

#[test]
fn plugin_requests_take_the_bytes_of_the_reference() {
    for row in rows(&HYPER["plugin"]) {
        let input = &row["input"];
        let value = optional(&input["value"], hex);
        let expected = PluginRequest {
            plugin: text(&input["plugin"]),
            version: number(&input["version"]),
            command: number(&input["command"]),
            value: value.as_deref(),
        };
        let bytes = hex(&row["value"]);
        assert_codec!(PluginRequest, expected, bytes);
    }
}

#[test]
fn a_plugin_name_that_is_not_text_is_refused() {
    assert_eq!(PluginRequest::decode(&[2, 0xc3, 0x28, 1, 2, 0]), Err(DecodeError::NotText));
}
