use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};

const SAMPLES: usize = 16;
const RECENT: usize = 4;

/// Learns this node's public address from what others say they see (npm `nat-sampler`).
#[derive(Clone, Debug, Default)]
pub(crate) struct Sampler {
    /// Each sample with its counters: how often this address, and this host, were seen in a row of samples.
    ring: VecDeque<(SocketAddrV4, usize, usize)>,
    counts: Vec<Count>,
    verdict: Seen,
}

/// What the samples agree on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Seen {
    #[default]
    Nothing,
    /// One host, with another port for every observer.
    Host(Ipv4Addr),
    Address(SocketAddrV4),
}

/// How many samples of the ring count for one address (or, with port 0, one host). A counter whose samples
/// are all older than the last four stays as it is, and a new one begins.
#[derive(Clone, Copy, Debug)]
struct Count {
    serial: usize,
    addr: SocketAddrV4,
    hits: usize,
}

impl Sampler {
    pub(crate) const fn seen(&self) -> Seen {
        self.verdict
    }

    pub(crate) fn host(&self) -> Option<Ipv4Addr> {
        match self.verdict {
            Seen::Nothing => None,
            Seen::Host(host) => Some(host),
            Seen::Address(addr) => Some(*addr.ip()),
        }
    }

    /// What the latest observers said, oldest first.
    pub(crate) fn samples(&self) -> impl Iterator<Item = SocketAddrV4> {
        self.ring.iter().map(|(addr, ..)| *addr)
    }

    /// Adds what one observer said; tells whether the verdict changed.
    pub(crate) fn add(&mut self, addr: SocketAddrV4) -> bool {
        if self.ring.len() == SAMPLES
            && let Some((_, exact, host)) = self.ring.pop_front()
        {
            self.release(exact);
            self.release(host);
        }
        let exact = self.join(addr, |(_, exact, _)| *exact);
        let host = self.join(SocketAddrV4::new(*addr.ip(), 0), |(_, _, host)| *host);
        self.ring.push_back((addr, exact, host));
        let verdict = self.judge();
        std::mem::replace(&mut self.verdict, verdict) != verdict
    }

    fn join(&mut self, addr: SocketAddrV4, counter: fn(&(SocketAddrV4, usize, usize)) -> usize) -> usize {
        let recent: Vec<usize> = self.ring.iter().rev().take(RECENT).map(counter).collect();
        if let Some(count) = self.counts.iter_mut().find(|c| c.addr == addr && recent.contains(&c.serial)) {
            count.hits += 1;
            return count.serial;
        }
        let serial = self.counts.iter().map(|c| c.serial + 1).max().unwrap_or(0);
        self.counts.push(Count { serial, addr, hits: 1 });
        serial
    }

    fn release(&mut self, serial: usize) {
        if let Some(count) = self.counts.iter_mut().find(|c| c.serial == serial) {
            count.hits -= 1;
        }
        self.counts.retain(|c| c.hits > 0);
    }

    fn judge(&self) -> Seen {
        let size = self.ring.len();
        let tolerated = match size {
            0..4 => 0,
            4..8 => 1,
            8..12 => 2,
            _ => 3,
        };
        let best = |exact: bool| {
            let counts = self.counts.iter().filter(|c| (c.addr.port() != 0) == exact);
            // Of equals the first counted wins.
            counts.rev().max_by_key(|c| c.hits).filter(|c| c.hits >= size - tolerated).map(|c| c.addr)
        };
        match (best(true), best(false)) {
            _ if size == 0 => Seen::Nothing,
            (Some(addr), _) => Seen::Address(addr),
            (None, Some(addr)) => Seen::Host(*addr.ip()),
            (None, None) => Seen::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::tests::vector;

    #[test]
    fn samples_are_judged_as_the_reference_judges_them() {
        let vectors = vector("dht-rpc");
        for (name, rows) in vectors["natSampler"].as_object().unwrap() {
            let mut sampler = Sampler::default();
            for (n, row) in rows.as_array().unwrap().iter().enumerate() {
                sampler.add(row["add"].as_str().unwrap().parse().unwrap());
                let port = match sampler.seen() {
                    Seen::Address(addr) => addr.port(),
                    Seen::Host(_) | Seen::Nothing => 0,
                };
                let host = sampler.host().map(|host| host.to_string());
                assert_eq!(host.as_deref(), row["host"].as_str(), "{name} {n}");
                assert_eq!(u64::from(port), row["port"].as_u64().unwrap(), "{name} {n}");
                assert_eq!(sampler.ring.len() as u64, row["size"].as_u64().unwrap(), "{name} {n}");
            }
        }
    }
}
