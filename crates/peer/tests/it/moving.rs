use std::net::SocketAddr;

use peer::{Mover, Note};

use crate::handshake::sessions;

fn movers() -> [Mover; 2] {
    let [client, server] = sessions();
    [Mover::new(&client), Mover::new(&server)]
}

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 1000))
}

#[test]
fn a_note_opens_on_the_other_side_only() {
    let [client, server] = movers();
    for note in [Note::Here, Note::Prove([1; 8]), Note::Proof([2; 8])] {
        let sealed = client.seal(note);
        assert_eq!(sealed.len(), 25);
        assert_eq!(server.open(&sealed), Some(note));
        assert_eq!(client.open(&sealed), None, "a note that is sent back to its sender");
    }
}

#[test]
fn changed_or_cut_notes_do_not_open() {
    let [client, server] = movers();
    let sealed = client.seal(Note::Proof([7; 8]));
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(server.open(&changed), None);
    }
    for len in 0..sealed.len() {
        assert_eq!(server.open(&sealed[..len]), None);
    }
    assert_eq!(server.open(&[sealed, vec![0]].concat()), None);
}

#[test]
fn a_challenge_counts_once_and_from_its_own_address() {
    let [mut mover, _] = movers();
    let challenge = mover.test(address(1), [1; 8]);
    assert_eq!(mover.test(address(1), [2; 8]), challenge, "a repeated call is asked the same");
    assert!(!mover.passes(address(2), challenge));
    assert!(!mover.passes(address(1), [9; 8]));
    assert!(mover.passes(address(1), challenge));
    assert!(!mover.passes(address(1), challenge), "a recorded proof");
}

#[test]
fn four_addresses_are_tested_at_a_time() {
    let [mut mover, _] = movers();
    for last in 1..=5 {
        mover.test(address(last), [last; 8]);
    }
    assert!(!mover.passes(address(1), [1; 8]));
    assert!(mover.passes(address(5), [5; 8]));
}
