use std::net::Ipv6Addr;

use serde_json::Value;
use wire::Addrs;
use wire::hyper::{
    Firewall, HandshakeEnvelope, HolepunchEnvelope, HolepunchPayload, Mode, NoisePayload, Pair, PunchOffer,
    RelayPairs, RelayThrough, Udx, Unpair,
};

use crate::json::{HYPER, addr, fixed, hex, number, optional, packed, rows, text};

fn mode(value: &Value) -> Mode {
    let mode = match text(value) {
        "FROM_CLIENT" => Some(Mode::FromClient),
        "FROM_SERVER" => Some(Mode::FromServer),
        "FROM_RELAY" => Some(Mode::FromRelay),
        "FROM_SECOND_RELAY" => Some(Mode::FromSecondRelay),
        "REPLY" => Some(Mode::Reply),
        _ => None,
    };
    mode.expect("a mode of the reference")
}

fn firewall(value: &Value) -> Firewall {
    let known = [Firewall::Unknown, Firewall::Open, Firewall::Consistent, Firewall::Random];
    let at = usize::try_from(number(value)).expect("a small number");
    *known.get(at).expect("a firewall of the reference")
}

#[test]
fn handshake_envelopes_take_the_bytes_of_the_reference() {
    for row in rows(&HYPER["peerHandshake"]) {
        let noise = hex(&row["noise"]);
        let expected = HandshakeEnvelope {
            mode: mode(&row["mode"]),
            noise: &noise,
            peer: optional(&row["peerAddress"], addr),
            relay: optional(&row["relayAddress"], addr),
        };
        let bytes = hex(&row["value"]);
        assert_codec!(HandshakeEnvelope, expected, bytes);
    }
}

#[test]
fn holepunch_envelopes_take_the_bytes_of_the_reference() {
    for row in rows(&HYPER["peerHolepunch"]) {
        let payload = hex(&row["payload"]);
        let expected = HolepunchEnvelope {
            mode: mode(&row["mode"]),
            id: number(&row["id"]),
            payload: &payload,
            peer: optional(&row["peerAddress"], addr),
        };
        let bytes = hex(&row["value"]);
        assert_codec!(HolepunchEnvelope, expected, bytes);
    }
}

/// Lists that a [`NoisePayload`] of the vectors borrows.
struct Lists {
    relays: Vec<u8>,
    addresses4: Vec<u8>,
    addresses6: Vec<u8>,
    relay_addresses: Option<Vec<u8>>,
}

impl Lists {
    fn of(input: &Value) -> Self {
        let pairs = input["holepunch"]["relays"].as_array().into_iter().flatten();
        let relays = pairs.flat_map(|pair| [addr(&pair["relayAddress"]), addr(&pair["peerAddress"])]);
        Self {
            relays: wire::pack_addrs(relays),
            addresses4: packed(&input["addresses4"]),
            addresses6: input["addresses6"].as_array().into_iter().flatten().flat_map(addr6).collect(),
            relay_addresses: optional(&input["relayAddresses"], packed),
        }
    }

    fn payload(&self, input: &Value) -> NoisePayload<'_> {
        NoisePayload {
            version: 1,
            error: number(&input["error"]),
            firewall: firewall(&input["firewall"]),
            punch: optional(&input["holepunch"], |punch| PunchOffer {
                id: number(&punch["id"]),
                relays: RelayPairs::from_packed(&self.relays),
            }),
            addresses4: Addrs::from_packed(&self.addresses4),
            addresses6: &self.addresses6,
            udx: optional(&input["udx"], udx),
            secret_stream: optional(&input["secretStream"], |_| 1),
            relay_through: optional(&input["relayThrough"], |relay| RelayThrough {
                version: 1,
                public_key: fixed(&relay["publicKey"]),
                token: fixed(&relay["token"]),
            }),
            relay_addresses: self.relay_addresses.as_deref().map(Addrs::from_packed),
        }
    }
}

fn addr6(value: &Value) -> Vec<u8> {
    let host: Ipv6Addr = text(&value["host"]).parse().expect("an IPv6 address");
    let port = u16::try_from(number(&value["port"])).expect("a port");
    [&host.octets()[..], &port.to_le_bytes()].concat()
}

fn udx(value: &Value) -> Udx {
    let small = |value| u32::try_from(number(value)).expect("a number of 32 bits");
    let features = u64::from(value["reusableSocket"] == true);
    Udx { version: 1, features, id: small(&value["id"]), seq: small(&value["seq"]) }
}

#[test]
fn noise_payloads_take_the_bytes_of_the_reference() {
    for row in rows(&HYPER["noisePayload"]) {
        let lists = Lists::of(&row["input"]);
        let expected = lists.payload(&row["input"]);
        let bytes = hex(&row["encoded"]);
        assert_codec!(NoisePayload, expected, bytes);
    }
}

#[test]
fn a_noise_payload_of_another_version_keeps_its_version_only() {
    let row = &HYPER["noisePayloadUnknownVersion"];
    let lists = Lists::of(&row["decoded"]);
    let expected =
        NoisePayload { version: number(&row["decoded"]["version"]), ..lists.payload(&row["decoded"]) };
    assert_eq!(NoisePayload::decode(&hex(&row["encoded"])), Ok(expected));
}

#[test]
fn holepunch_payloads_take_the_bytes_of_the_reference() {
    for row in rows(&HYPER["holepunchPayload"]) {
        let input = &row["input"];
        let addresses = optional(&input["addresses"], packed);
        let expected = HolepunchPayload {
            error: number(&input["error"]),
            firewall: firewall(&input["firewall"]),
            round: number(&input["round"]),
            connected: input["connected"] == true,
            punching: input["punching"] == true,
            addresses: addresses.as_deref().map(Addrs::from_packed),
            remote_address: optional(&input["remoteAddress"], addr),
            token: optional(&input["token"], fixed),
            remote_token: optional(&input["remoteToken"], fixed),
        };
        let bytes = hex(&row["plain"]);
        assert_codec!(HolepunchPayload, expected, bytes);
    }
}

#[test]
fn blind_relay_messages_take_the_bytes_of_the_reference() {
    for row in rows(&HYPER["blindRelay"]["pair"]) {
        let expected = Pair {
            initiator: row["isInitiator"] == true,
            token: fixed(&row["token"]),
            stream: u32::try_from(number(&row["id"])).unwrap(),
            seq: u32::try_from(number(&row["seq"])).unwrap(),
        };
        let bytes = hex(&row["encoded"]);
        assert_codec!(Pair, expected, bytes);
    }
    let row = &HYPER["blindRelay"]["unpair"];
    let expected = Unpair { token: fixed(&row["token"]) };
    let bytes = hex(&row["encoded"]);
    assert_codec!(Unpair, expected, bytes);
}
