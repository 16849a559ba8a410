//! Keys in every form they travel in, and signatures.

use tooldb::encoding::{hex, hex_lax};
use tooldb::{Address, Identity, KeyError, Signature};

use crate::vectors::{cases, identity, load, text};

#[test]
fn keys_are_read_and_written_as_webcrypto_does() {
    let vectors = load("keys.json");
    let keys = vectors["keys"].as_object().unwrap();
    assert_eq!(keys.len(), 10);
    for (name, key) in keys {
        let pkcs8 = text(&key["pkcs8_hex"]);
        let identity = Identity::from_pkcs8(&hex_lax(pkcs8)).unwrap();
        assert_eq!(hex(&identity.to_pkcs8()), pkcs8, "{name}");
        let spki = text(&key["spki_hex"]);
        assert_eq!(hex(&identity.address().to_spki()), spki, "{name}");
        assert_eq!(Address::from_spki(&hex_lax(spki)), Ok(identity.address()), "{name}");
        if let Some(address) = key["address"].as_str() {
            assert_eq!(identity.address().to_string(), address);
            assert_eq!(Address::parse(address), Some(identity.address()));
            assert_eq!(identity.address().client_id().as_str(), text(&key["client_id"]));
        }
    }
}

#[test]
fn a_seed_makes_the_key_whose_scalar_is_its_hash() {
    // The vectors' scalars are sha256(name); ours are sha256 of the seed in hexadecimal.
    let seed = [7; 32];
    let scalar = tooldb::Digest::of(&hex(&seed)).to_hex();
    assert!(hex(&Identity::from_seed(seed).to_pkcs8()).contains(&scalar));
}

#[test]
fn damaged_keys_are_refused() {
    let alice = identity("alice").to_pkcs8();
    assert_eq!(Identity::from_pkcs8(&alice[..137]).unwrap_err(), KeyError::Encoding);
    let mut other_half = alice.clone();
    other_half[137] ^= 1;
    assert_eq!(Identity::from_pkcs8(&other_half).unwrap_err(), KeyError::Mismatch);
    let mut zero = alice;
    zero[36..68].fill(0);
    assert_eq!(Identity::from_pkcs8(&zero).unwrap_err(), KeyError::Invalid);
    let mut off_curve = identity("bob").address().to_spki();
    off_curve[90] ^= 1;
    assert_eq!(Address::from_spki(&off_curve), Err(KeyError::Invalid));
    assert_eq!(Address::from_spki(&off_curve[..90]), Err(KeyError::Encoding));
}

#[test]
fn addresses_have_one_spelling() {
    let address = identity("alice").address().to_string();
    // The last of 43 characters carries four bits of the coordinate; the two below must be zero.
    let short = address.get(..85).unwrap();
    let twin = format!("{short}d");
    assert_eq!(Address::parse(&twin), None);
    for broken in ["", "garbage", short, &format!("{address}A"), &address.replace('-', "+")] {
        assert_eq!(Address::parse(broken), None, "{broken}");
    }
}

#[test]
fn signatures_are_checked_as_webcrypto_does() {
    let mut refused = 0;
    let cases = cases("signatures.json", SIGNATURES);
    for case in &cases {
        let address = Address::parse(text(&case["a"]));
        let signature = Signature::parse(text(&case["s"]));
        let signed = address
            .zip(signature)
            .is_some_and(|(address, signature)| address.signed(text(&case["h"]), &signature));
        // Where the library throws, we refuse.
        assert_eq!(signed, case["js_result"] == true, "{case}");
        refused += usize::from(!signed);
    }
    assert!(refused > 5 && refused < SIGNATURES);
}

const SIGNATURES: usize = 18;

#[test]
fn our_signatures_are_valid_and_repeat() {
    let alice = identity("alice");
    let signature = alice.sign("text");
    assert!(alice.address().signed("text", &signature));
    assert!(!alice.address().signed("texT", &signature));
    assert!(!identity("bob").address().signed("text", &signature));
    assert_eq!(alice.sign("text"), signature);
}
