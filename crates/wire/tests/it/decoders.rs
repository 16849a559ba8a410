//! What holds for every decoder on any bytes. The fuzz targets include this file.

use wire::bencode::{Cursor, DEPTH_MAX};
use wire::hyper::{
    Announcement, HandshakeEnvelope, HolepunchEnvelope, HolepunchPayload, LookupReply, MutablePut,
    MutableRecord, NodeAddress, NoisePayload, Pair, PeerRecord, PluginRequest, RelayPairs, Unpair,
};
use wire::krpc::{Body, Family, Message, TID_MAX};
use wire::udx::{self as stream, Packet};
use wire::{ADDR_LEN, Addrs, Datagram, Reader, Request, Response, UINT_MAX, Write, is_rpc};

/// Panics where a decoder breaks a promise on these bytes.
pub(crate) type Check = fn(&[u8]);

/// Every decoder by name with its check.
pub(crate) const DECODERS: &[(&str, Check)] = &[
    ("announcement", announcement),
    ("bencode", bencode),
    ("datagram", datagram),
    ("handshake_envelope", handshake_envelope),
    ("holepunch_envelope", holepunch_envelope),
    ("holepunch_payload", holepunch_payload),
    ("krpc", krpc),
    ("lookup_reply", lookup_reply),
    ("mutable_put", mutable_put),
    ("mutable_record", mutable_record),
    ("node_address", node_address),
    ("noise_payload", noise_payload),
    ("pair", pair),
    ("peer_record", peer_record),
    ("plugin_request", plugin_request),
    ("reader", reader),
    ("request", request),
    ("response", response),
    ("udx", udx),
    ("unpair", unpair),
];

/// Bytes that an encoder may add to what it read: defaults that were left out of the input, one byte each.
const DEFAULTS_LEN_MAX: usize = 3;

/// Defines a check: what decodes must encode to something that decodes to the same value, must claim no more
/// than its bytes hold (`$claimed`, in bytes), and must not grow.
macro_rules! check {
    ($name:ident, $message:ident, |$value:ident| $claimed:expr) => {
        fn $name(bytes: &[u8]) {
            let Ok($value) = $message::decode(bytes) else { return };
            let claimed: usize = $claimed;
            assert!(claimed <= bytes.len(), "{} bytes hold {claimed}: {:?}", bytes.len(), $value);
            let mut out = Vec::new();
            $value.encode(&mut out);
            assert!(out.len() <= bytes.len() + DEFAULTS_LEN_MAX, "{:?} grew", $value);
            assert_eq!($message::decode(&out), Ok($value));
        }
    };
}

check!(announcement, Announcement, |message| message.peer.map_or(0, |peer| addrs(peer.relays)));
check!(handshake_envelope, HandshakeEnvelope, |message| message.noise.len());
check!(holepunch_envelope, HolepunchEnvelope, |message| message.payload.len());
check!(holepunch_payload, HolepunchPayload, |message| message.addresses.map_or(0, addrs));
check!(lookup_reply, LookupReply, |message| records(&message));
check!(mutable_put, MutablePut, |message| message.record.value.len());
check!(mutable_record, MutableRecord, |message| message.value.len());
check!(node_address, NodeAddress, |message| addrs(message.nodes));
check!(noise_payload, NoisePayload, |message| lists(&message));
check!(pair, Pair, |message| message.token.len());
check!(peer_record, PeerRecord, |message| addrs(message.relays));
check!(plugin_request, PluginRequest, |message| message.plugin.len() + message.value.map_or(0, <[u8]>::len));
check!(request, Request, |message| message.value.map_or(0, <[u8]>::len));
check!(response, Response, |message| addrs(message.closer) + message.value.map_or(0, <[u8]>::len));
check!(unpair, Unpair, |message| message.token.len());

/// Bytes that a list of addresses must have stood in.
fn addrs(list: Addrs<'_>) -> usize {
    assert_eq!(list.iter().count(), list.len());
    list.len() * ADDR_LEN
}

fn pairs(list: RelayPairs<'_>) -> usize {
    list.iter().count() * 2 * ADDR_LEN
}

fn records(reply: &LookupReply<'_>) -> usize {
    assert_eq!(reply.peers.iter().count(), reply.peers.len());
    reply.peers.iter().map(|peer| peer.public_key.len() + addrs(peer.relays)).sum()
}

fn lists(payload: &NoisePayload<'_>) -> usize {
    payload.punch.map_or(0, |punch| pairs(punch.relays))
        + addrs(payload.addresses4)
        + payload.addresses6.len()
        + payload.relay_addresses.map_or(0, addrs)
}

/// Every byte of a stream packet has its place, so what decodes encodes to the same bytes.
fn udx(bytes: &[u8]) {
    let Ok(packet) = Packet::decode(bytes) else { return };
    let mut out = Vec::new();
    packet.encode(&mut out);
    assert_eq!(Packet::decode(&out), Ok(packet));
    assert_eq!(out.len(), bytes.len(), "{packet:?}");
    assert!(packet.sacks().iter().count() * stream::SACK_LEN <= packet.between.len());
    assert_eq!(stream::receiver(bytes), Some(packet.stream));
    let mut passed = Vec::new();
    stream::readdress(bytes, stream::StreamId(!packet.stream.0), &mut passed).expect("a packet has a header");
    let expected = Packet { stream: stream::StreamId(!packet.stream.0), ..packet };
    assert_eq!(Packet::decode(&passed), Ok(expected));
}

fn datagram(bytes: &[u8]) {
    match Datagram::classify(bytes) {
        Ok(Datagram::Probe) => assert!(bytes.len() <= 1),
        Ok(Datagram::Rpc(packet)) => {
            assert_eq!(packet, bytes);
            assert!(is_rpc(bytes[0]));
            request(packet);
            response(packet);
        }
        Ok(Datagram::Stream(packet)) => {
            assert_eq!(packet, bytes);
            assert_eq!(bytes[0], 0xff);
            udx(packet);
        }
        Err(_) => assert!(bytes.len() > 1 && !is_rpc(bytes[0])),
    }
}

/// Runs the bytes as a program: one chooses a primitive, the primitive reads on, until one fails.
fn reader(bytes: &[u8]) {
    let mut r = Reader::new(bytes);
    while let Ok(primitive) = r.u8() {
        let before = r.rest();
        let used = match primitive % 9 {
            0 => r.u16().map(|_| 2),
            1 => r.u32().map(|_| 4),
            2 => r.uint().map(uint_len),
            3 => r.uint32().map(|value| uint_len(u64::from(value))),
            4 => r.bytes().map(<[u8]>::len),
            5 => r.text().map(str::len),
            6 => r.addr().map(|_| ADDR_LEN),
            7 => r.addrs().map(addrs),
            _ => r.count(3).map(|count| {
                assert!(count * 3 <= r.rest().len(), "a count of what is not there");
                1
            }),
        };
        assert!(before.ends_with(r.rest()), "what is left was left in its order");
        let Ok(used) = used else { return };
        assert!(before.len() - r.rest().len() >= used, "a value took fewer bytes than it needs");
    }
}

/// Bytes of an integer in its shortest form, which reads back.
fn uint_len(value: u64) -> usize {
    assert!(value <= UINT_MAX, "an integer that JavaScript cannot hold");
    let mut out = Vec::new();
    out.uint(value);
    assert_eq!(Reader::new(&out).uint(), Ok(value));
    out.len()
}

/// A value is a prefix of what it was read from, and a value again, nested no deeper than its limit.
fn bencode(bytes: &[u8]) {
    let mut cursor = Cursor::new(bytes);
    let Ok(value) = cursor.value() else { return };
    assert_eq!([value, cursor.rest()].concat(), bytes);
    assert_eq!(Cursor::new(value).value(), Ok(value));
    let opened = value.iter().take_while(|byte| matches!(**byte, b'l' | b'd')).count();
    assert!(opened <= DEPTH_MAX);
}

/// Bytes by which a message may grow: parts that were malformed or left out get their usual form.
const KRPC_GROWTH_MAX: usize = 48;

fn krpc(bytes: &[u8]) {
    let Ok(message) = Message::decode(bytes) else { return };
    assert!((1..=TID_MAX).contains(&message.tid.len()));
    let mut out = Vec::new();
    message.encode(&mut out);
    assert!(out.len() <= bytes.len() + KRPC_GROWTH_MAX, "{message:?} grew");
    assert_eq!(Message::decode(&out), Ok(message));
    let mut again = Vec::new();
    message.encode(&mut again);
    assert_eq!(out, again, "there is one form");
    assert_eq!(Cursor::new(&out).value(), Ok(&out[..]), "what is written is one value");
    if let Body::Response(response) = message.body {
        let nodes = response.nodes.map_or(0, |nodes| nodes.iter().count()) * Family::V4.node_len();
        let nodes6 = response.nodes6.map_or(0, |nodes| nodes.iter().count()) * Family::V6.node_len();
        let values = response.values.iter().count() * Family::V4.addr_len();
        assert!(nodes + nodes6 + values <= bytes.len());
    }
}
