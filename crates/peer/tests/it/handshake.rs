use peer::{
    Handshake, HandshakeError, Party, PublicKey, RelayReadable, Role, Secret, Session, Side, StaticKey,
    hyperdht_prologue,
};
use serde_json::Value;

use crate::json::{NOISE, fixed, hex, rows};

fn key(seed: &Value) -> StaticKey {
    StaticKey::from_seed(&fixed(seed))
}

fn party<'a>(key: &'a StaticKey, prologue: &'a [u8], ephemeral: [u8; 32]) -> Party<'a> {
    Party { key, prologue, ephemeral: Secret::new(ephemeral) }
}

fn write(handshake: &mut Handshake, payload: &[u8]) -> Vec<u8> {
    let mut out = b"before".to_vec();
    handshake.write(payload, &mut out).expect("our turn");
    out.split_off(6)
}

/// Both sides of the handshake of the vectors, before the first message.
fn ik() -> [Handshake; 2] {
    let row = &NOISE["ik"];
    let prologue = hex(&row["prologue"]);
    let (client, server) = (key(&row["client"]["seed"]), key(&row["server"]["seed"]));
    let role = Role::IkInitiator { remote: server.public() };
    [
        Handshake::new(role, party(&client, &prologue, fixed(&row["clientEphemeral"]["seed"]))),
        Handshake::new(Role::IkResponder, party(&server, &prologue, fixed(&row["serverEphemeral"]["seed"]))),
    ]
}

/// Both outcomes of the handshake of the vectors.
pub(crate) fn sessions() -> [Session; 2] {
    let [mut client, mut server] = ik();
    let [first, second] = ["message1", "message2"].map(|name| hex(&NOISE["ik"][name]["payload"]));
    server.read(&write(&mut client, &first)).expect("the true message");
    client.read(&write(&mut server, &second)).expect("the true message");
    [client.finish().expect("both messages were read"), server.finish().expect("both messages were read")]
}

#[test]
fn public_keys_are_those_of_the_reference() {
    for pointer in ["/ik/client", "/ik/server", "/ik/clientEphemeral", "/xx/a", "/xx/b"] {
        let row = NOISE.pointer(pointer).unwrap();
        assert_eq!(key(&row["seed"]).public().0, fixed(&row["publicKey"]));
    }
}

#[test]
fn the_prologue_is_that_of_the_reference() {
    assert_eq!(hyperdht_prologue().to_vec(), hex(&NOISE["ik"]["prologue"]));
}

#[test]
fn an_ik_handshake_is_that_of_the_reference_from_both_sides() {
    let row = &NOISE["ik"];
    let [mut client, mut server] = ik();
    let [(payload1, wire1), (payload2, wire2)] =
        ["message1", "message2"].map(|name| (hex(&row[name]["payload"]), hex(&row[name]["wire"])));
    assert_eq!(write(&mut client, &payload1), wire1);
    assert_eq!(server.remote(), None);
    assert_eq!(server.read(&wire1).unwrap(), payload1);
    assert_eq!(server.remote(), Some(PublicKey(fixed(&row["client"]["publicKey"]))));
    assert_eq!(write(&mut server, &payload2), wire2);
    assert_eq!(client.read(&wire2).unwrap(), payload2);
    let [client, server] = [client.finish().unwrap(), server.finish().unwrap()];
    let result = &row["result"];
    for session in [&client, &server] {
        assert_eq!(session.hash(), &fixed::<64>(&result["handshakeHash"]));
        assert_eq!(session.punch_secret(), Secret::new(fixed(&result["holepunchSecret"])));
        assert_eq!(session.punch_secret(), Secret::new(fixed(&result["holepunchSecretResponder"])));
        assert_eq!(session.stream_id(Side::Responder), fixed(&result["remoteIdSeenByInitiator"]));
    }
    for (key, name) in [
        (client.send_key(), "initiatorTx"),
        (client.receive_key(), "initiatorRx"),
        (server.send_key(), "responderTx"),
        (server.receive_key(), "responderRx"),
    ] {
        assert_eq!(key, &Secret::new(fixed(&result[name])), "{name}");
    }
    assert_eq!((client.side(), client.remote()), (Side::Initiator, server.local()));
    assert_eq!((server.side(), server.remote()), (Side::Responder, client.local()));
}

#[test]
fn an_xx_handshake_is_that_of_the_reference_from_both_sides() {
    let row = &NOISE["xx"];
    let wire: Vec<Vec<u8>> = rows(&row["wire"]).iter().map(hex).collect();
    let (a, b) = (key(&row["a"]["seed"]), key(&row["b"]["seed"]));
    let mut first = Handshake::new(Role::XxInitiator, party(&a, b"", fixed(&row["aEphemeralSeed"])));
    let mut second = Handshake::new(Role::XxResponder, party(&b, b"", fixed(&row["bEphemeralSeed"])));
    assert_eq!(write(&mut first, b""), wire[0]);
    assert_eq!(second.read(&wire[0]).unwrap(), b"");
    assert_eq!(write(&mut second, b""), wire[1]);
    assert_eq!(first.read(&wire[1]).unwrap(), b"");
    assert_eq!(write(&mut first, b""), wire[2]);
    assert_eq!(second.read(&wire[2]).unwrap(), b"");
    let [first, second] = [first.finish().unwrap(), second.finish().unwrap()];
    assert_eq!((first.remote(), second.remote()), (b.public(), a.public()));
    for session in [&first, &second] {
        assert_eq!(session.hash(), &fixed::<64>(&row["handshakeHash"]));
    }
    let (tx, rx) = (Secret::new(fixed(&row["initiatorTx"])), Secret::new(fixed(&row["initiatorRx"])));
    assert_eq!((first.send_key(), first.receive_key()), (&tx, &rx));
    assert_eq!((second.send_key(), second.receive_key()), (&rx, &tx));
}

#[test]
fn stream_ids_and_keys_of_unordered_messages_are_those_of_the_reference() {
    let row = &NOISE["secretStream"];
    for session in sessions() {
        for (side, id, key) in [
            (Side::Initiator, "idInitiator", "keyInitiatorToResponder"),
            (Side::Responder, "idResponder", "keyResponderToInitiator"),
        ] {
            assert_eq!(session.stream_id(side), fixed(&row[id]));
            assert_eq!(session.relay_readable_key(side), Secret::new(fixed(&row["unordered"][key])));
        }
    }
}

#[test]
fn unordered_messages_are_those_of_the_reference() {
    let row = &NOISE["secretStream"]["unordered"];
    let [client, server] = sessions();
    let plain = hex(&row["plain"]);
    let mut from = RelayReadable::new(&client, fixed(&row["counter8"]));
    let to = RelayReadable::new(&server, [0; 8]);
    let mut sealed = Vec::new();
    from.seal(&plain, &mut sealed).unwrap();
    assert_eq!(sealed, hex(&row["envelope"]));
    assert_eq!(sealed.len(), plain.len() + RelayReadable::OVERHEAD);
    assert_eq!(to.open(&sealed).unwrap(), plain);
    let mut next = Vec::new();
    from.seal(&plain, &mut next).unwrap();
    // The counter is a little-endian number: 0x0807060504030201 and one.
    assert_eq!(next[..8], [2, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(to.open(&next).unwrap(), plain);
    assert!(from.open(&sealed).is_err(), "a message does not come back to its sender");
    for len in 0..sealed.len() {
        assert!(to.open(&sealed[..len]).is_err());
    }
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert!(to.open(&changed).is_err());
    }
}

/// Encodings that libsodium refuses, besides those of the vectors: arithmetic on the curve gives them.
const MORE_UNUSABLE: [(&str, [u8; 32]); 3] = [
    // y = -1, order 2.
    ("order 2", {
        let mut y = [0xff; 32];
        (y[0], y[31]) = (0xec, 0x7f);
        y
    }),
    // y = 2 has no x.
    ("off the curve", {
        let mut y = [0; 32];
        y[0] = 2;
        y
    }),
    // The identity with the sign of x set: x is 0, so the sign says nothing.
    ("identity with a sign", {
        let mut y = [0; 32];
        (y[0], y[31]) = (1, 0x80);
        y
    }),
];

#[test]
fn keys_that_the_reference_refuses_are_refused() {
    let vectors = rows(&NOISE["dhRejects"]).iter().map(|row| {
        assert!(row["rejected"].as_bool().unwrap());
        (row["name"].as_str().unwrap(), fixed::<32>(&row["point"]))
    });
    let key = StaticKey::from_seed(&[1; 32]);
    for (name, point) in vectors.chain(MORE_UNUSABLE) {
        let role = Role::IkInitiator { remote: PublicKey(point) };
        let mut initiator = Handshake::new(role, party(&key, b"", [2; 32]));
        let mut out = vec![7];
        assert_eq!(initiator.write(b"", &mut out), Err(HandshakeError::UnusablePoint), "{name}");
        assert_eq!(out, [7], "{name}");
        let mut responder = Handshake::new(Role::IkResponder, party(&key, b"", [2; 32]));
        let message = [&point[..], &[0; 64]].concat();
        assert_eq!(responder.read(&message), Err(HandshakeError::UnusablePoint), "{name}");
    }
}

#[test]
fn a_forgery_does_not_keep_the_true_answer_out() {
    let [mut client, mut server] = ik();
    let first = write(&mut client, b"one");
    for at in 0..first.len() {
        let mut changed = first.clone();
        changed[at] ^= 4;
        assert!(matches!(server.read(&changed), Err(HandshakeError::Forged | HandshakeError::UnusablePoint)));
    }
    for len in 0..first.len() {
        assert!(server.read(&first[..len]).is_err());
    }
    assert_eq!(server.read(&first).unwrap(), b"one");
    let second = write(&mut server, b"two");
    for at in 0..second.len() {
        let mut changed = second.clone();
        changed[at] ^= 4;
        assert!(client.read(&changed).is_err());
    }
    assert_eq!(client.read(&second).unwrap(), b"two");
    let [client, server] = [client.finish().unwrap(), server.finish().unwrap()];
    assert_eq!(client.hash(), server.hash());
    assert_eq!(client.send_key(), server.receive_key());
}

#[test]
fn another_prologue_or_another_key_is_refused() {
    let [client, server] = [1, 2].map(|seed| StaticKey::from_seed(&[seed; 32]));
    let role = Role::IkInitiator { remote: server.public() };
    let first = write(&mut Handshake::new(role, party(&client, b"a", [3; 32])), b"");
    for (key, prologue) in [(&server, b"b"), (&client, b"a")] {
        let mut responder = Handshake::new(Role::IkResponder, party(key, prologue, [4; 32]));
        assert_eq!(responder.read(&first), Err(HandshakeError::Forged));
    }
}

#[test]
fn steps_out_of_turn_are_refused() {
    let [mut client, mut server] = ik();
    assert_eq!(server.write(b"", &mut Vec::new()), Err(HandshakeError::OutOfTurn));
    assert_eq!(client.read(&[0; 200]), Err(HandshakeError::OutOfTurn));
    let first = write(&mut client, b"");
    assert_eq!(client.write(b"", &mut Vec::new()), Err(HandshakeError::OutOfTurn));
    assert!(matches!(client.finish(), Err(HandshakeError::OutOfTurn)));
    server.read(&first).unwrap();
    write(&mut server, b"");
    assert_eq!(server.write(b"", &mut Vec::new()), Err(HandshakeError::OutOfTurn));
    assert_eq!(server.read(&first), Err(HandshakeError::OutOfTurn));
}

#[test]
fn payloads_are_as_long_as_a_message_allows() {
    let [mut client, mut server] = ik();
    let mut out = Vec::new();
    assert_eq!(client.write(&vec![0; 65_440], &mut out), Err(HandshakeError::Malformed));
    let longest = vec![5; 65_535 - 96];
    let first = write(&mut client, &longest);
    assert_eq!(first.len(), 65_535);
    assert_eq!(server.read(&[&first[..], b"1"].concat()), Err(HandshakeError::Malformed));
    assert_eq!(server.read(&first).unwrap(), longest);
}

#[test]
fn secrets_are_not_shown() {
    let [client, _] = sessions();
    let key = StaticKey::from_seed(&[1; 32]);
    let shown = format!("{client:?} {key:?} {:?}", client.send_key());
    assert!(shown.contains(&key.public().to_string()) && shown.contains("Secret(…)"));
    assert!(!shown.contains("cc00d99b") && !shown.contains("204, 0, 217"));
}
