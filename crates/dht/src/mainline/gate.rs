use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use pace::Generations;

use super::config::Rate;
use crate::block::{Block, is_public};

/// Hosts, and blocks, whose queries are counted; one that finds no room shares an account with all such.
const ACCOUNTS_MAX: usize = 16_384;
/// Hosts remembered to receive what is sent to them, for one to two spans.
const PROVEN_MAX: usize = 16_384;
const PROVEN_SPAN: Duration = Duration::from_mins(5);
/// Between two questions for proof to one host.
const CHALLENGE_EVERY: Duration = Duration::from_secs(10);
/// Datagrams of ours to one host within a span. libtorrent ignores a host for five minutes that sent it 50
/// within ten seconds.
const COURTESY: u8 = 40;
const COURTESY_SPAN: Duration = Duration::from_secs(10);
const COURTESY_MAX: usize = 16_384;

/// Who is answered, how often, and who may get answers longer than three times the question.
#[derive(Debug)]
pub(super) struct Gate {
    host: Rate,
    block: Rate,
    hosts: BTreeMap<IpAddr, Bucket>,
    blocks: BTreeMap<Block, Bucket>,
    others: Bucket,
    proven: Generations<IpAddr, ()>,
    challenged: Generations<SocketAddr, ()>,
    sent: Generations<IpAddr, u8>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// In thousandths of a query.
    tokens: u64,
    filled: Instant,
}

impl Bucket {
    fn take(&mut self, now: Instant, rate: Rate) -> bool {
        let passed =
            u64::try_from(now.saturating_duration_since(self.filled).as_millis()).unwrap_or(u64::MAX);
        if passed > 0 {
            let full = u64::from(rate.burst) * 1000;
            self.tokens =
                self.tokens.saturating_add(passed.saturating_mul(u64::from(rate.per_second))).min(full);
            self.filled = now;
        }
        let enough = self.tokens >= 1000;
        if enough {
            self.tokens -= 1000;
        }
        enough
    }
}

impl Gate {
    pub(super) const fn new(host: Rate, block: Rate, now: Instant) -> Self {
        Self {
            host,
            block,
            hosts: BTreeMap::new(),
            blocks: BTreeMap::new(),
            others: Bucket { tokens: 0, filled: now },
            proven: Generations::new(PROVEN_MAX, PROVEN_SPAN),
            challenged: Generations::new(PROVEN_MAX, CHALLENGE_EVERY),
            sent: Generations::new(COURTESY_MAX, COURTESY_SPAN),
        }
    }

    /// Tells whether a query of a host is answered.
    pub(super) fn admit(&mut self, now: Instant, from: IpAddr) -> bool {
        let mut admitted = true;
        if self.host.per_second < Rate::UNLIMITED.per_second {
            admitted = Self::charge(&mut self.hosts, &mut self.others, now, (from, self.host));
        }
        if admitted && self.block.per_second < Rate::UNLIMITED.per_second {
            admitted = Self::charge(&mut self.blocks, &mut self.others, now, (Block::of(from), self.block));
        }
        admitted
    }

    fn charge<K: Ord>(
        accounts: &mut BTreeMap<K, Bucket>,
        others: &mut Bucket,
        now: Instant,
        (key, rate): (K, Rate),
    ) -> bool {
        if let Some(bucket) = accounts.get_mut(&key) {
            return bucket.take(now, rate);
        }
        if accounts.len() >= ACCOUNTS_MAX {
            return others.take(now, rate);
        }
        let mut bucket = Bucket { tokens: u64::from(rate.burst) * 1000, filled: now };
        let admitted = bucket.take(now, rate);
        accounts.insert(key, bucket);
        admitted
    }

    /// Remembers that a host received what was sent to it: it answered, or showed a token of ours.
    pub(super) fn prove(&mut self, now: Instant, host: IpAddr) {
        self.proven.insert(now, host, ());
    }

    pub(super) fn is_proven(&self, host: IpAddr) -> bool {
        self.proven.get(&host).is_some()
    }

    /// Tells whether to ask a host now for proof that it gets what is sent to it.
    pub(super) fn may_challenge(&mut self, now: Instant, host: SocketAddr) -> bool {
        self.challenged.expire(now);
        let due = self.challenged.get(&host).is_none();
        if due {
            self.challenged.insert(now, host, ());
        }
        due
    }

    /// Tells whether one more query of ours to a host is not too many.
    pub(super) fn may_ask(&mut self, now: Instant, host: IpAddr) -> bool {
        if !is_public(host) {
            return true;
        }
        self.sent.expire(now);
        let sent = self.sent.get(&host).copied().unwrap_or(0);
        if sent < COURTESY {
            self.sent.insert(now, host, sent + 1);
        }
        sent < COURTESY
    }

    /// Forgets accounts that say no more than none.
    pub(super) fn tidy(&mut self, now: Instant) {
        self.proven.expire(now);
        self.challenged.expire(now);
        let spent = |bucket: &Bucket, rate: Rate| {
            let refill = Duration::from_secs(u64::from(rate.burst / rate.per_second.max(1)) + 1);
            now.saturating_duration_since(bucket.filled) < refill
        };
        let (host, block) = (self.host, self.block);
        self.hosts.retain(|_, bucket| spent(bucket, host));
        self.blocks.retain(|_, bucket| spent(bucket, block));
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs an origin to count from")]
    use super::*;

    const HOST: Rate = Rate { per_second: 20, burst: 50 };
    const BLOCK: Rate = Rate { per_second: 200, burst: 500 };

    #[test]
    fn a_host_gets_its_burst_and_then_its_rate() {
        let start = Instant::now();
        let mut gate = Gate::new(HOST, BLOCK, start);
        let admitted =
            |gate: &mut Gate, at| (0..1000).filter(|_| gate.admit(at, [1, 2, 3, 4].into())).count();
        assert_eq!(admitted(&mut gate, start), 50);
        assert_eq!(admitted(&mut gate, start + Duration::from_secs(1)), 20);
        assert_eq!(admitted(&mut gate, start + Duration::from_mins(1)), 50);
        assert!(gate.admit(start + Duration::from_mins(1), [1, 2, 3, 5].into()));
    }

    #[test]
    fn hosts_of_one_block_share_its_rate() {
        let start = Instant::now();
        let mut gate = Gate::new(HOST, BLOCK, start);
        let admitted = (0..=255).map(|n| (0..50).filter(|_| gate.admit(start, [1, 2, 3, n].into())).count());
        assert_eq!(admitted.sum::<usize>(), 500);
        assert!(gate.admit(start, [1, 2, 4, 1].into()));
    }

    #[test]
    fn accounts_are_bounded_and_forgotten_when_full_again() {
        let start = Instant::now();
        let mut gate = Gate::new(HOST, BLOCK, start);
        for n in 0..100_000_u32 {
            gate.admit(start, IpAddr::from((n << 8).to_be_bytes()));
        }
        assert_eq!((gate.hosts.len(), gate.blocks.len()), (ACCOUNTS_MAX, ACCOUNTS_MAX));
        gate.tidy(start + Duration::from_secs(4));
        assert_eq!((gate.hosts.len(), gate.blocks.len()), (0, 0));
    }

    #[test]
    fn nobody_gets_more_of_our_queries_than_others_put_up_with() {
        let start = Instant::now();
        let mut gate = Gate::new(HOST, BLOCK, start);
        let host = IpAddr::from([1, 2, 3, 4]);
        assert_eq!((0..100).filter(|_| gate.may_ask(start, host)).count(), usize::from(COURTESY));
        assert!(gate.may_ask(start + 3 * COURTESY_SPAN, host));
        assert!((0..100).all(|_| gate.may_ask(start, [127, 0, 0, 1].into())));
    }
}
