use wire::hyper::NodeAddress;
use wire::{Addrs, DecodeError, Reader, UINT_MAX, Write, pack_addrs};

use crate::json::{HYPER, RPC, addr, fixed, hex, number, packed, rows, text};

#[test]
fn integers_take_the_bytes_of_the_reference() {
    for row in rows(&RPC["uint"]) {
        let (value, bytes) = (number(&row["n"]), hex(&row["hex"]));
        let mut out = Vec::new();
        out.uint(value);
        assert_eq!(out, bytes, "{row}");
        let mut r = Reader::new(&bytes);
        assert_eq!(r.uint(), Ok(value), "{row}");
        assert!(r.rest().is_empty(), "{row}");
    }
}

#[test]
fn integers_above_what_javascript_holds_are_refused() {
    let mut above = vec![0xff];
    above.extend((UINT_MAX + 1).to_le_bytes());
    assert_eq!(Reader::new(&above).uint(), Err(DecodeError::OutOfRange));
    assert_eq!(Reader::new(&[0xff; 9]).uint(), Err(DecodeError::OutOfRange));
}

#[test]
fn integers_in_a_longer_form_than_needed_are_read() {
    for bytes in [&[5][..], &[0xfd, 5, 0], &[0xfe, 5, 0, 0, 0], &[0xff, 5, 0, 0, 0, 0, 0, 0, 0]] {
        assert_eq!(Reader::new(bytes).uint(), Ok(5), "{bytes:02x?}");
    }
}

#[test]
fn addresses_take_the_bytes_of_the_reference() {
    for row in rows(&RPC["ids"]) {
        let (address, bytes) = (addr(row), hex(&row["addr6"]));
        assert_eq!(pack_addrs([address]), bytes, "{row}");
        assert_eq!(Reader::new(&bytes).addr(), Ok(address), "{row}");
        assert_eq!(Addrs::from_packed(&bytes).iter().collect::<Vec<_>>(), [address], "{row}");
    }
}

#[test]
fn node_addresses_take_the_bytes_of_the_reference() {
    for row in rows(&HYPER["hyperdhtAddress"]) {
        let nodes = packed(&row["nodes"]);
        let expected = NodeAddress { public_key: fixed(&row["key"]), nodes: Addrs::from_packed(&nodes) };
        let bytes = hex(&row["encoded"]);
        assert_codec!(NodeAddress, expected, bytes);
    }
}

#[test]
fn a_bare_key_is_a_node_address() {
    let key: [u8; 32] = fixed(&HYPER["keyPairs"][0]["publicKey"]);
    let expected = NodeAddress { public_key: key, nodes: Addrs::EMPTY };
    assert_eq!(NodeAddress::decode(&key), Ok(expected));
}

#[test]
fn command_numbers_are_those_of_the_reference() {
    use wire::hyper;
    for (name, command) in [
        ("PEER_HANDSHAKE", hyper::PEER_HANDSHAKE),
        ("PEER_HOLEPUNCH", hyper::PEER_HOLEPUNCH),
        ("FIND_PEER", hyper::FIND_PEER),
        ("LOOKUP", hyper::LOOKUP),
        ("ANNOUNCE", hyper::ANNOUNCE),
        ("UNANNOUNCE", hyper::UNANNOUNCE),
        ("MUTABLE_PUT", hyper::MUTABLE_PUT),
        ("MUTABLE_GET", hyper::MUTABLE_GET),
        ("IMMUTABLE_PUT", hyper::IMMUTABLE_PUT),
        ("IMMUTABLE_GET", hyper::IMMUTABLE_GET),
        ("PLUGIN", hyper::PLUGIN),
    ] {
        let expected = wire::Command::App(number(&HYPER["constants"]["COMMANDS"][name]));
        assert_eq!(command, expected, "{name}");
    }
    let errors = &HYPER["constants"]["ERROR"];
    assert_eq!(hyper::error::SEQ_REUSED, number(&errors["SEQ_REUSED"]));
    assert_eq!(hyper::error::SEQ_TOO_LOW, number(&errors["SEQ_TOO_LOW"]));
}

#[test]
fn identifiers_read_back_from_their_text() {
    for row in rows(&RPC["ids"]) {
        let id = wire::Id::<32>(fixed(&row["id"]));
        assert_eq!(id.to_string(), text(&row["id"]));
        assert_eq!(text(&row["id"]).parse(), Ok(id));
    }
}
