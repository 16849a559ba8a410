use std::net::IpAddr;
use std::time::{Duration, Instant};

use blake2::Blake2sMac;
use blake2::digest::{KeyInit, Mac, consts::U8};
use wire::Id;

/// Life of a secret; a token is good for one to two of these (BEP 5 wants ten minutes at most).
const SPAN: Duration = Duration::from_mins(5);

/// Hands out proofs of address and checks them. A token is bound to an address and to a target, so that what
/// one host learned serves nobody else and nothing else.
#[derive(Debug)]
pub(super) struct Tokens {
    secrets: [[u8; 32]; 2],
    turn: Instant,
}

impl Tokens {
    pub(super) fn new(secrets: [[u8; 32]; 2], now: Instant) -> Self {
        Self { secrets, turn: now + SPAN }
    }

    pub(super) fn issue(&mut self, now: Instant, ip: IpAddr, target: &Id<20>) -> [u8; 8] {
        self.rotate(now);
        make(&self.secrets[1], ip, target)
    }

    pub(super) fn accepts(&mut self, now: Instant, ip: IpAddr, target: &Id<20>, token: &[u8]) -> bool {
        self.rotate(now);
        token.len() == 8 && self.secrets.iter().any(|secret| make(secret, ip, target) == token)
    }

    fn rotate(&mut self, now: Instant) {
        if now < self.turn {
            return;
        }
        // After two turns no secret is left that was in use, so more would change nothing that others see.
        let turns = if now.saturating_duration_since(self.turn) < SPAN { 1 } else { 2 };
        for _ in 0..turns {
            let [older, newer] = self.secrets;
            self.secrets = [newer, crate::key::hash(&older).0];
        }
        self.turn = now + SPAN;
    }
}

fn make(secret: &[u8; 32], ip: IpAddr, target: &Id<20>) -> [u8; 8] {
    let mut mac = Blake2sMac::<U8>::new_from_slice(secret).expect("BLAKE2s takes keys of up to 32 bytes");
    match ip {
        IpAddr::V4(ip) => mac.update(&ip.octets()),
        IpAddr::V6(ip) => mac.update(&ip.octets()),
    }
    mac.update(&target.0);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs an origin to count from")]
    use super::*;

    #[test]
    fn a_token_serves_its_host_and_target_for_one_to_two_spans() {
        let start = Instant::now();
        let mut tokens = Tokens::new([[1; 32], [2; 32]], start);
        let (ip, target) = (IpAddr::from([5, 6, 7, 8]), Id([9; 20]));
        let token = tokens.issue(start, ip, &target);
        assert!(tokens.accepts(start + SPAN, ip, &target, &token));
        assert!(!tokens.accepts(start + SPAN, [5, 6, 7, 9].into(), &target, &token));
        assert!(!tokens.accepts(start + SPAN, ip, &Id([8; 20]), &token));
        assert!(!tokens.accepts(start + SPAN, ip, &target, &token[..7]));
        assert!(!tokens.accepts(start + 2 * SPAN, ip, &target, &token));
        let late = tokens.issue(start + 2 * SPAN, ip, &target);
        assert!(!tokens.accepts(start + 100 * SPAN, ip, &target, &late));
    }
}
