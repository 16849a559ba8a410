//! Accounts, shared secrets and introductions.

use tooldb::encoding::{hex, hex_lax};
use tooldb::json::Value;
use tooldb::{
    Account, Address, Draft, Endpoint, Identity, Iv, Key, Passphrase, Peer, Receipt, Record, Rules,
    SharedKey, SignInError, Source, Topic, UnixMillis, Verified, sign_in, sign_up,
};

use crate::vectors::{cases, identity, load, ordered, text};

fn iv(hexadecimal: &str) -> Iv {
    Iv(hex_lax(hexadecimal).try_into().unwrap())
}

#[test]
fn accounts_are_those_of_the_library() {
    let cases = cases("accounts.json", 4);
    assert_eq!(cases.iter().filter(|case| case["record"].is_object()).count(), 3);
    for (place, case) in cases.iter().enumerate().filter(|(_, case)| case["record"].is_object()) {
        let passphrase = Passphrase::verbatim(text(&case["password_given_to_kdf"]));
        let stored = ordered("accounts.json", &["cases", &place.to_string(), "record"]);
        let record = Value::parse(&stored).unwrap();
        let account = Account::from_value(&record).unwrap();
        let opened = account.open(&passphrase).unwrap();
        assert_eq!(opened.address(), identity(text(&case["identity"])).address());
        assert!(text(&case["plaintext"]).contains(&hex(&opened.to_pkcs8())));

        let name = text(&case["record"]["name"]);
        let sealed = Account::seal(name, &opened, &passphrase, iv(text(&case["iv_hex"])));
        assert_eq!(sealed, account);
        assert_eq!(sealed.to_value().to_json(), stored);
    }
}

fn verified(record: Record) -> Verified<Record> {
    let receipt = Receipt { now: record.time(), source: Source::Stranger, claim: None };
    record.verify(&Rules::default(), &receipt).unwrap()
}

#[test]
fn who_signs_up_can_sign_in() {
    let new = Identity::from_seed([1; 32]);
    let record = sign_up("ana ñ", "pässword", &new, (Iv([2; 12]), UnixMillis(5))).unwrap();
    assert_eq!(record.key().as_str(), "==ana ñ");
    assert_eq!(record.author(), new.address());
    let record = verified(record);
    assert_eq!(sign_in(&record, "pässword").unwrap().address(), new.address());
    assert_eq!(sign_in(&record, "password").unwrap_err(), SignInError::WrongPassword);
    let account = Account::from_value(&Value::parse(record.value()).unwrap()).unwrap();
    assert_eq!(account.name().plain().unwrap(), "ana ñ");
}

#[test]
fn an_account_of_the_library_opens_with_its_password() {
    let case = &cases("accounts.json", 4)[3];
    let record = Record::parse(&ordered("accounts.json", &["cases", "3", "record_vd"])).unwrap();
    let record = verified(record);
    let alice = sign_in(&record, text(&case["password"])).unwrap();
    assert_eq!(alice.address(), record.author());
    assert_eq!(sign_in(&record, "password2").unwrap_err(), SignInError::WrongPassword);
}

#[test]
fn copied_and_foreign_values_sign_nobody_in() {
    let (ana, eve) = (Identity::from_seed([1; 32]), Identity::from_seed([2; 32]));
    let account = Account::seal("ana", &ana, &Passphrase::of_user("p"), Iv([0; 12]));
    let copy = Draft::plain(Key::frozen("ana").unwrap(), account.to_value()).sign(UnixMillis(0), &eve);
    assert_eq!(sign_in(&verified(copy), "p").unwrap_err(), SignInError::ForeignKeys);
    for value in [
        "null",
        "{}",
        "{\"name\":\"a\",\"keys\":\"00\",\"iv\":7}",
        "{\"name\":1,\"keys\":\"00\",\"iv\":\"AA==\"}",
    ] {
        let value = Value::parse(value).unwrap();
        let record = Draft::plain(Key::frozen("ana").unwrap(), value).sign(UnixMillis(0), &ana);
        assert_eq!(sign_in(&verified(record), "p").unwrap_err(), SignInError::NotAnAccount);
    }
}

#[test]
fn shared_secrets_and_group_keys_are_those_of_the_library() {
    let vectors = load("ecdh-groups.json");
    let pair = |name: &str| {
        let identity = Identity::from_pkcs8(&hex_lax(text(&vectors[name]["pkcs8_hex"]))).unwrap();
        let address = Address::from_spki(&hex_lax(text(&vectors[name]["spki_hex"]))).unwrap();
        (identity, address)
    };
    let ((alice, alice_public), (bob, bob_public)) = (pair("alice"), pair("bob"));
    let shared = SharedKey::between(&alice, &bob_public).unwrap();
    assert_eq!(shared.to_hex(), text(&vectors["shared_secret_hex"]));
    assert_eq!(SharedKey::between(&bob, &alice_public), Ok(shared.clone()));

    let group = SharedKey::parse(text(&vectors["group_key_hex"])).unwrap();
    let wrapped = Value::parse(&vectors["wrapped_by_alice_for_bob"].to_string()).unwrap();
    assert_eq!(shared.unwrap_key(&wrapped), Some(group.clone()));
    assert_eq!(shared.wrap(&group, iv(text(&vectors["wrapped_iv_hex"]))), wrapped);
    assert_eq!(group.unwrap_key(&wrapped), None);

    let message = &vectors["group_message"];
    let sealed = Value::parse(&format!("{{\"iv\":{},\"ct\":{}}}", message["iv"], message["ct"])).unwrap();
    assert_eq!(group.decrypt(&sealed).as_deref(), message["plaintext"].as_str());
    assert_eq!(shared.decrypt(&sealed), None);
    let again = group.encrypt(text(&message["plaintext"]), Iv([9; 12]));
    assert_eq!(group.decrypt(&again).as_deref(), message["plaintext"].as_str());
}

#[test]
fn a_shared_secret_needs_a_point_on_the_curve() {
    let nowhere = Address::parse(&"A".repeat(86)).unwrap();
    assert!(SharedKey::between(&identity("alice"), &nowhere).is_err());
}

#[test]
fn introductions_are_those_of_the_library() {
    for (place, case) in cases("peer-signatures.json", 3).into_iter().enumerate() {
        let raw = ordered("peer-signatures.json", &["cases", &place.to_string(), "peer"]);
        let peer = Peer::parse(&raw).unwrap();
        assert!(peer.is_genuine(), "{raw}");
        assert_eq!(peer.to_json(), raw);
        assert_eq!(peer.address(), identity(text(&case["signer"])).address());
        for (member, other) in [("topic", "\"t\""), ("timestamp", "7"), ("host", "\"h\""), ("port", "9")] {
            let forged = raw
                .replace(&format!("\"{member}\":{}", case["peer"][member]), &format!("\"{member}\":{other}"));
            assert!(!Peer::parse(&forged).unwrap().is_genuine(), "{forged}");
        }
    }
}

#[test]
fn we_introduce_ourselves_as_others_do() {
    let topic = Topic::new("tópic-ñ").unwrap();
    let endpoint = Endpoint::new("example.com", 443).unwrap();
    let peer = Peer::sign(topic, endpoint, UnixMillis(1_000_000), &identity("server2"));
    assert!(peer.is_genuine());
    assert_eq!(Peer::parse(&peer.to_json()).as_ref(), Some(&peer));
    let from_environment = peer.to_json().replace("443", "\"443\"");
    assert_eq!(Peer::parse(&from_environment).as_ref(), Some(&peer));
    for (now, fresh) in [(880_000, true), (879_999, false), (1_120_000, true), (1_120_001, false)] {
        assert_eq!(peer.is_fresh(UnixMillis(now)), fresh, "{now}");
    }
    for broken in [
        "null",
        "{}",
        "[]",
        "7",
        &peer.to_json().replace("443", "70000"),
        &peer.to_json().replace("443", "\"https\""),
        &peer.to_json().replace("443", "null"),
    ] {
        assert_eq!(Peer::parse(broken), None, "{broken}");
    }
}
