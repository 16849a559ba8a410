use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use pace::Generations;

/// Datagrams of one address in a second that are read; a peer with a hundred topics sends that many.
const SECOND_MAX: u32 = 200;
/// Addresses remembered.
const SENDERS_MAX: usize = 4096;

/// Counts what each address sends, and says when it is too much.
#[derive(Debug)]
pub(crate) struct Flood(Generations<Ipv4Addr, Second>);

#[derive(Clone, Copy, Debug)]
struct Second {
    began: Instant,
    datagrams: u32,
}

impl Flood {
    pub(crate) const fn new() -> Self {
        Self(Generations::new(SENDERS_MAX, Duration::from_secs(2)))
    }

    /// Counts a datagram; tells whether to read it.
    pub(crate) fn admits(&mut self, now: Instant, sender: Ipv4Addr) -> bool {
        let fresh = Second { began: now, datagrams: 0 };
        let last = self.0.get(&sender).copied().unwrap_or(fresh);
        let lasts = now.saturating_duration_since(last.began) < Duration::from_secs(1);
        let second = if lasts { last } else { fresh };
        self.0.insert(now, sender, Second { datagrams: second.datagrams.saturating_add(1), ..second });
        second.datagrams < SECOND_MAX
    }
}
