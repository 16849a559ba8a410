use peer::{PunchSeal, Secret};
use wire::hyper::HolepunchPayload;

use crate::handshake::sessions;
use crate::json::{HYPER, fixed, hex, rows, text};

#[test]
fn payloads_are_sealed_as_the_reference_seals_them() {
    for row in rows(&HYPER["holepunchPayload"]) {
        let seal = PunchSeal::with_key(Secret::new(fixed(&row["secret"])), Secret::new([0; 32]));
        let plain = hex(&row["plain"]);
        let payload = HolepunchPayload::decode(&plain).unwrap();
        let mut boxed = Vec::new();
        seal.seal(fixed(&row["nonce24"]), &payload, &mut boxed);
        assert_eq!(boxed, hex(&row["boxed"]));
        assert_eq!(seal.open(&boxed).unwrap(), plain);
    }
}

#[test]
fn changed_payloads_do_not_open() {
    let [client, server] = sessions();
    let [client, server] = [&client, &server].map(|session| PunchSeal::new(session, Secret::new([0; 32])));
    let plain = hex(&HYPER["holepunchPayload"][1]["plain"]);
    let mut boxed = Vec::new();
    client.seal([9; 24], &HolepunchPayload::decode(&plain).unwrap(), &mut boxed);
    assert_eq!(server.open(&boxed).unwrap(), plain);
    for at in 0..boxed.len() {
        let mut changed = boxed.clone();
        changed[at] ^= 0x20;
        assert!(server.open(&changed).is_err());
        assert!(server.open(&boxed[..at]).is_err());
    }
}

#[test]
fn address_tokens_are_those_of_the_reference() {
    let row = &HYPER["holepunchAddressToken"];
    let seal = PunchSeal::with_key(Secret::new([0; 32]), Secret::new(fixed(&row["localSecret"])));
    assert_eq!(seal.token(text(&row["host"]).parse().unwrap()), fixed(&row["token"]));
}
