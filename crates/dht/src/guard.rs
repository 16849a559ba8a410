use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use pace::Generations;

/// Bytes that a network block is given on trust: some seventy full answers.
const BURST: i64 = 64 << 10;
/// Bytes that it earns for each byte that comes from it (RFC 9000 section 8 allows as much).
const FACTOR: i64 = 3;
/// Credit below which a host is asked to prove its address, while there still is enough to ask.
const CHALLENGE_BELOW: i64 = BURST / 2;
/// Between two such questions to one block.
const CHALLENGE_EVERY: Duration = Duration::from_secs(1);
/// How long a block's account is remembered after its last datagram.
const MEMORY: Duration = Duration::from_mins(10);
/// Accounts kept; a block that finds no room gets at most three times what it has just sent.
const ACCOUNTS_MAX: usize = 8192;
/// Bytes of the ping that asks for proof, with our id.
pub(crate) const PING_LEN: usize = 43;
/// Hosts remembered to receive what is sent to them, for one to two spans.
const PROVEN_MAX: usize = 8192;
const PROVEN_SPAN: Duration = Duration::from_mins(5);

/// Keeps this node from being used to flood others: a host that has not shown that it receives what is sent
/// to its address gets at most three times what came from its /24, beyond a burst.
///
/// The reference has no such limit and answers 20 to 26 times the bytes of a look-up.
#[derive(Debug)]
pub(crate) struct Guard {
    accounts: BTreeMap<u32, Account>,
    /// The block without an account that was heard last. One account for all of them would let one spend what
    /// the others earned.
    visitor: (u32, Account),
    proven: Generations<Ipv4Addr, ()>,
}

#[derive(Clone, Copy, Debug)]
struct Account {
    credit: i64,
    heard: Instant,
    challenged: Option<Instant>,
}

impl Account {
    const fn new(now: Instant, credit: i64) -> Self {
        Self { credit, heard: now, challenged: None }
    }
}

impl Guard {
    pub(crate) const fn new(now: Instant) -> Self {
        Self {
            accounts: BTreeMap::new(),
            visitor: (0, Account::new(now, 0)),
            proven: Generations::new(PROVEN_MAX, PROVEN_SPAN),
        }
    }

    /// Counts a datagram that came in.
    pub(crate) fn receive(&mut self, now: Instant, from: Ipv4Addr, len: usize) {
        let account = self.account(now, from);
        account.heard = now;
        account.credit = (account.credit + FACTOR * bytes(len)).min(BURST);
    }

    /// Asks to send `len` bytes, and takes them from the credit of a host that is not proven.
    pub(crate) fn admit(&mut self, now: Instant, to: Ipv4Addr, len: usize) -> bool {
        let len = bytes(len);
        let account = self.account(now, to);
        if account.credit > CHALLENGE_BELOW {
            account.credit -= len;
            return true;
        }
        if self.is_proven(to) {
            return true;
        }
        let account = self.account(now, to);
        let enough = account.credit >= len;
        if enough {
            account.credit -= len;
        }
        enough
    }

    /// Tells whether to ask a host now for proof of its address, and takes the question from its credit.
    pub(crate) fn wants_proof(&mut self, now: Instant, of: Ipv4Addr) -> bool {
        if self.account(now, of).credit > CHALLENGE_BELOW || self.is_proven(of) {
            return false;
        }
        let account = self.account(now, of);
        let due = account.credit >= bytes(PING_LEN)
            && account.challenged.is_none_or(|at| now.saturating_duration_since(at) >= CHALLENGE_EVERY);
        if due {
            account.challenged = Some(now);
            account.credit -= bytes(PING_LEN);
        }
        due
    }

    /// Remembers that a host received what was sent to it: it answered, or showed a token of ours.
    pub(crate) fn prove(&mut self, now: Instant, host: Ipv4Addr) {
        self.proven.insert(now, host, ());
    }

    /// Forgets blocks that were silent for long.
    pub(crate) fn tidy(&mut self, now: Instant) {
        self.proven.expire(now);
        self.accounts.retain(|_, account| now.saturating_duration_since(account.heard) < MEMORY);
    }

    fn is_proven(&self, host: Ipv4Addr) -> bool {
        self.proven.get(&host).is_some()
    }

    fn account(&mut self, now: Instant, of: Ipv4Addr) -> &mut Account {
        let block = of.to_bits() >> 8;
        if self.accounts.len() >= ACCOUNTS_MAX && !self.accounts.contains_key(&block) {
            if self.visitor.0 != block {
                self.visitor = (block, Account::new(now, 0));
            }
            return &mut self.visitor.1;
        }
        self.accounts.entry(block).or_insert_with(|| Account::new(now, BURST))
    }
}

fn bytes(len: usize) -> i64 {
    i64::try_from(len).unwrap_or(i64::MAX / 8)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs an origin to count from")]
    use super::*;

    #[test]
    fn an_unproven_block_gets_a_burst_and_three_times_what_it_sends() {
        let now = Instant::now();
        let mut guard = Guard::new(now);
        let (mut came, mut went) = (0, 0);
        for n in 0..100_000u32 {
            let host = Ipv4Addr::from_bits(0x0a00_0000 | (n % 256));
            guard.receive(now, host, 43);
            came += 43;
            if guard.admit(now, host, 900) {
                went += 900;
            }
        }
        assert!(went <= 65_536 + 3 * came);
        assert!(went > 3 * came - 900);
    }

    #[test]
    fn a_proven_host_is_answered_and_its_neighbour_is_not() {
        let now = Instant::now();
        let mut guard = Guard::new(now);
        let [host, neighbour] = [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)];
        while guard.admit(now, neighbour, 1000) {}
        assert!(!guard.admit(now, host, 1000));
        assert!(guard.wants_proof(now, host));
        assert!(!guard.wants_proof(now, host));
        assert!(guard.wants_proof(now + CHALLENGE_EVERY, host));
        guard.prove(now, host);
        assert!(guard.admit(now, host, 1_000_000));
        assert!(!guard.admit(now, neighbour, 1000));
        assert!(!guard.wants_proof(now + 2 * CHALLENGE_EVERY, host));
    }

    #[test]
    fn questions_for_proof_come_out_of_the_same_credit() {
        let start = Instant::now();
        let mut guard = Guard::new(start);
        let host = Ipv4Addr::new(10, 0, 0, 1);
        let (mut came, mut went) = (0, 0);
        for second in 0..10_000 {
            let now = start + CHALLENGE_EVERY * second;
            guard.receive(now, host, 11);
            came += 11;
            went += if guard.wants_proof(now, host) { PING_LEN } else { 0 };
            while guard.admit(now, host, 42) {
                went += 42;
            }
        }
        assert!(went <= 65_536 + 3 * came);
    }

    #[test]
    fn a_block_beyond_the_limit_gets_three_times_what_it_just_sent() {
        let now = Instant::now();
        let mut guard = Guard::new(now);
        let host = |block: usize| Ipv4Addr::from_bits(u32::try_from(block).unwrap() << 8);
        (0..ACCOUNTS_MAX).for_each(|block| guard.receive(now, host(block), 10));
        let (late, later) = (host(ACCOUNTS_MAX), host(ACCOUNTS_MAX + 1));
        guard.receive(now, late, 43);
        assert!(guard.wants_proof(now, late));
        assert!(guard.admit(now, late, 3 * 43 - PING_LEN));
        assert!(!guard.admit(now, late, 1));
        guard.receive(now, late, 43);
        guard.receive(now, later, 43);
        assert!(!guard.admit(now, late, 1));
        guard.prove(now, late);
        assert!(guard.admit(now, late, 1000));
        assert_eq!(guard.accounts.len(), ACCOUNTS_MAX);
        guard.tidy(now + MEMORY);
        assert!(guard.accounts.is_empty());
    }
}
