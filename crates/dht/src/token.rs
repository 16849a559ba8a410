use std::io::Write as _;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use blake2::Blake2bMac;
use blake2::digest::{KeyInit, Mac, consts::U32};
use wire::Token;

use crate::key::hash;

/// Hands out proofs of address and checks them (`dht-rpc lib/io.js`): the hash of the host's text under a
/// secret that changes every few seconds. A token is good for one to two spans.
#[derive(Debug)]
pub(crate) struct Tokens {
    secrets: [[u8; 32]; 2],
    span: Duration,
    turn: Instant,
}

impl Tokens {
    pub(crate) fn new(secrets: [[u8; 32]; 2], span: Duration, now: Instant) -> Self {
        Self { secrets, span, turn: now + span }
    }

    pub(crate) fn issue(&mut self, now: Instant, host: Ipv4Addr) -> Token {
        self.rotate(now);
        make(&self.secrets[1], host)
    }

    pub(crate) fn accepts(&mut self, now: Instant, host: Ipv4Addr, token: &Token) -> bool {
        self.rotate(now);
        self.secrets.iter().any(|secret| make(secret, host) == *token)
    }

    fn rotate(&mut self, now: Instant) {
        let due = now.saturating_duration_since(self.turn);
        if now < self.turn {
            return;
        }
        // After two turns no secret is left that was in use, so more would change nothing that others see.
        let turns = if due < self.span { 1 } else { 2 };
        for _ in 0..turns {
            let [older, newer] = self.secrets;
            self.secrets = [newer, hash(&older).0];
        }
        self.turn = now + self.span;
    }
}

fn make(secret: &[u8; 32], host: Ipv4Addr) -> Token {
    let mut text = [0; 15];
    let mut rest = &mut text[..];
    write!(rest, "{host}").expect("fifteen bytes hold any IPv4 address");
    let len = 15 - rest.len();
    let mut mac = Blake2bMac::<U32>::new_from_slice(secret).expect("BLAKE2b takes keys of up to 64 bytes");
    mac.update(&text[..len]);
    Token(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs an origin to count from")]
    use super::*;
    use crate::key::tests::{hex, vector};

    fn secret(name: &str) -> [u8; 32] {
        hex(&vector("dht-rpc")["tokens"][name]).try_into().unwrap()
    }

    #[test]
    fn tokens_are_those_of_the_reference() {
        let vectors = vector("dht-rpc");
        for row in vectors["tokens"]["rows"].as_array().unwrap() {
            let host = row["host"].as_str().unwrap().parse().unwrap();
            for name in ["secret0", "secret1"] {
                assert_eq!(make(&secret(name), host).0.to_vec(), hex(&row[format!("token_{name}")]));
            }
        }
    }

    #[test]
    fn rotation_is_that_of_the_reference_and_ends_a_token_after_two_spans() {
        let (start, span) = (Instant::now(), Duration::from_millis(7500));
        let mut tokens = Tokens::new([secret("secret0"), secret("secret1")], span, start);
        let host = Ipv4Addr::new(5, 6, 7, 8);
        let token = tokens.issue(start, host);
        assert!(tokens.accepts(start + span, host, &token));
        let after = vector("dht-rpc")["tokens"]["rotation"]["after"].clone();
        assert_eq!(tokens.secrets[0].to_vec(), hex(&after[0]));
        assert_eq!(tokens.secrets[1].to_vec(), hex(&after[1]));
        assert!(!tokens.accepts(start + span, Ipv4Addr::new(5, 6, 7, 9), &token));
        assert!(!tokens.accepts(start + 2 * span, host, &token));
        let late = tokens.issue(start + 2 * span, host);
        assert!(!tokens.accepts(start + 100 * span, host, &late));
    }
}
