use arbtest::arbitrary::Unstructured;
use serde_json::Value;
use wire::DecodeError;
use wire::udx::{BETWEEN_LEN_MAX, HEADER_LEN, Kinds, Packet, Sacks, Seq, StreamId, readdress, receiver};

use crate::json::{UDX, cut_hex, number, rows, text};

fn field(row: &Value, name: &str) -> u32 {
    u32::try_from(number(&row[name])).expect("a field of 32 bits")
}

fn kinds(names: &str) -> Kinds {
    let known = [
        ("ACK", Kinds::ACK),
        ("DATA", Kinds::DATA),
        ("END", Kinds::END),
        ("SACK", Kinds::SACK),
        ("MESSAGE", Kinds::MESSAGE),
        ("DESTROY", Kinds::DESTROY),
        ("HEARTBEAT", Kinds::HEARTBEAT),
    ];
    let kind = |name| known.iter().find(|(known, _)| *known == name).expect("the name of a kind").1;
    names.split('|').map(kind).fold(Kinds::ACK, Kinds::and)
}

#[test]
fn packets_take_the_bytes_of_the_reference() {
    let scenarios = UDX["scenarios"].as_object().expect("captures by name");
    for row in scenarios.values().flat_map(|scenario| rows(&scenario["packets"])) {
        let bytes = cut_hex(row);
        let sacks: Vec<u8> = row["sacks"].as_array().map_or_else(Vec::new, |pairs| {
            pairs.iter().flat_map(|pair| [&pair[0], &pair[1]]).flat_map(u32_bytes).collect()
        });
        let padding = usize::try_from(number(&row["dataOffset"])).unwrap();
        let (between, payload) = bytes[HEADER_LEN..].split_at(padding.max(sacks.len()));
        if !sacks.is_empty() {
            assert_eq!(between, sacks);
        }
        let expected = Packet {
            kinds: kinds(text(&row["flags"])),
            stream: StreamId(field(row, "id")),
            window: field(row, "rwnd"),
            seq: Seq(field(row, "seq")),
            ack: Seq(field(row, "ack")),
            between,
            payload,
        };
        assert_codec!(Packet, expected, bytes);
        assert_eq!(expected.kinds.0, u8::try_from(number(&row["type"])).unwrap());
        assert_eq!(receiver(&bytes), Some(expected.stream));
    }
}

fn u32_bytes(value: &Value) -> [u8; 4] {
    u32::try_from(number(value)).expect("a packet number").to_le_bytes()
}

#[test]
fn a_payload_cannot_begin_behind_its_end() {
    let mut bytes = Vec::new();
    packet(Kinds::DATA, &[], b"data").encode(&mut bytes);
    bytes[3] = 4;
    assert_eq!(Packet::decode(&bytes).map(|packet| packet.payload), Ok(&[][..]));
    bytes[3] = 5;
    assert_eq!(Packet::decode(&bytes), Err(DecodeError::Truncated));
}

#[test]
fn acknowledgements_and_payload_share_a_packet() {
    let mut list = Vec::new();
    Sacks::pack(Seq(u32::MAX), Seq(1), &mut list);
    let mixed = packet(Kinds::DATA.and(Kinds::SACK), &list, b"data");
    let mut bytes = Vec::new();
    mixed.encode(&mut bytes);
    assert_eq!(Packet::decode(&bytes), Ok(mixed));
    assert_eq!(mixed.sacks().iter().collect::<Vec<_>>(), [(Seq(u32::MAX), Seq(1))]);
}

#[test]
fn padding_is_no_acknowledgement() {
    let probe = packet(Kinds::DATA, &[0; 32], b"data");
    assert_eq!(probe.sacks().iter().count(), 0);
}

#[test]
fn a_relay_changes_the_receiver_and_nothing_else() {
    let mut bytes = Vec::new();
    packet(Kinds::DATA, &[], b"data").encode(&mut bytes);
    let mut passed = Vec::new();
    readdress(&bytes, StreamId(0x0403_0201), &mut passed).unwrap();
    assert_eq!(passed[4..8], [1, 2, 3, 4]);
    assert_eq!((&passed[..4], &passed[8..]), (&bytes[..4], &bytes[8..]));
    assert!(readdress(&bytes[..19], StreamId(1), &mut passed).is_err());
}

#[test]
fn packets_that_encode_decode_to_themselves() {
    arbtest::arbtest(|u| {
        let between = some_bytes(u, BETWEEN_LEN_MAX)?;
        let payload = some_bytes(u, 1500)?;
        let mut kinds = Kinds(u.arbitrary()?);
        if between.is_empty() && !payload.is_empty() {
            kinds.0 &= !Kinds::SACK.0;
        }
        let (stream, window) = (StreamId(u.arbitrary()?), u.arbitrary()?);
        let (seq, ack) = (Seq(u.arbitrary()?), Seq(u.arbitrary()?));
        let packet = Packet { kinds, stream, window, seq, ack, between, payload };
        let mut out = Vec::new();
        packet.encode(&mut out);
        assert_eq!(Packet::decode(&out), Ok(packet));
        Ok(())
    });
}

fn some_bytes<'a>(u: &mut Unstructured<'a>, max: usize) -> arbtest::arbitrary::Result<&'a [u8]> {
    let len = u.int_in_range(0..=max.min(u.len()))?;
    u.bytes(len.min(u.len()))
}

fn packet<'a>(kinds: Kinds, between: &'a [u8], payload: &'a [u8]) -> Packet<'a> {
    Packet { kinds, stream: StreamId(7), window: 1 << 22, seq: Seq(1), ack: Seq(2), between, payload }
}
