//! What strangers may cost.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What connections may cost a server. Whoever is faster is read more slowly; whoever reads too slowly is
/// dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkLimits {
    /// Connections at a time; more are refused.
    pub links_max: usize,
    /// Connections of one network address; a whole /64 in IPv6.
    pub links_per_host_max: usize,
    /// Frames a second of one connection, a second's worth at once.
    pub frames_per_second: u32,
    /// Frames a second of one network address.
    pub frames_per_second_of_host: u32,
    /// Bytes a second of one network address.
    pub bytes_per_second_of_host: u32,
    /// Bytes that wait to be read by one other side. A slower reader is dropped.
    pub unread_bytes_max: usize,
    /// Bytes of frames that were received and not handled yet, of all connections together.
    pub unhandled_bytes_max: usize,
    /// Without a sign of life for this long, a connection is taken for dead. Half of it is waited before a ping.
    pub silence_max: Duration,
    /// How long a request's head or a handshake may take.
    pub handshake_max: Duration,
}

impl Default for LinkLimits {
    /// Enough for a busy application, and some hundred megabytes at worst.
    fn default() -> Self {
        Self {
            links_max: 8_192,
            links_per_host_max: 1_024,
            frames_per_second: 25_000,
            frames_per_second_of_host: 50_000,
            bytes_per_second_of_host: 64 * 1024 * 1024,
            unread_bytes_max: 8 * 1024 * 1024,
            unhandled_bytes_max: 64 * 1024 * 1024,
            silence_max: Duration::from_secs(60),
            handshake_max: Duration::from_secs(10),
        }
    }
}

/// Gives so much a second, at most a second's worth at once (the generic cell rate algorithm).
#[derive(Debug)]
pub(crate) struct Meter {
    start: Instant,
    /// Nanoseconds after the start at which everything given so far is earned.
    earned: AtomicU64,
    nanos_each: f64,
}

const SECOND: u64 = 1_000_000_000;

impl Meter {
    pub(crate) fn new(per_second: u32, now: Instant) -> Self {
        Self { start: now, earned: AtomicU64::new(0), nanos_each: 1e9 / f64::from(per_second.max(1)) }
    }

    /// Takes so much, and tells how long to wait before going on.
    pub(crate) fn take(&self, count: usize, now: Instant) -> Duration {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let cost = Duration::from_nanos(1).mul_f64(self.nanos_each * f64::from(count));
        let cost = u64::try_from(cost.as_nanos()).unwrap_or(u64::MAX);
        let now = u64::try_from(now.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX);
        let after = |earned: u64| earned.max(now).saturating_add(cost);
        let before =
            self.earned.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |earned| Some(after(earned)));
        let earned = before.map_or(now, after);
        Duration::from_nanos(earned.saturating_sub(now.saturating_add(SECOND)))
    }
}

/// What one network address may cost, over all of its connections.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) frames: Meter,
    pub(crate) bytes: Meter,
}

/// The network addresses that are connected.
#[derive(Debug, Default)]
pub(crate) struct Hosts(BTreeMap<IpAddr, Arc<Host>>);

impl Hosts {
    /// Admits one more connection of an address, unless it has as many as it may.
    pub(crate) fn admit(&mut self, address: IpAddr, limits: &LinkLimits, now: Instant) -> Option<Arc<Host>> {
        self.0.retain(|_, host| Arc::strong_count(host) > 1);
        let host = self.0.entry(network(address)).or_insert_with(|| {
            let frames = Meter::new(limits.frames_per_second_of_host, now);
            Arc::new(Host { frames, bytes: Meter::new(limits.bytes_per_second_of_host, now) })
        });
        // One more is ours.
        (Arc::strong_count(host) <= limits.links_per_host_max).then(|| Arc::clone(host))
    }
}

/// The address that counts as one host: its /64 in IPv6.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_gives_a_seconds_worth_at_once_and_then_so_much_a_second() {
        let start = Instant::now();
        let meter = Meter::new(10, start);
        assert_eq!(meter.take(10, start), Duration::ZERO);
        assert_eq!(meter.take(5, start), Duration::from_millis(500));
        assert_eq!(meter.take(1, start + Duration::from_secs(5)), Duration::ZERO);
    }

    #[test]
    fn a_host_has_so_many_connections_and_a_whole_network_is_one_host() {
        let limits = LinkLimits { links_per_host_max: 2, ..LinkLimits::default() };
        let (mut hosts, now) = (Hosts::default(), Instant::now());
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = hosts.admit(address("2001:db8::1"), &limits, now);
        let second = hosts.admit(address("2001:db8::2"), &limits, now);
        assert!(first.is_some() && second.is_some());
        assert!(hosts.admit(address("2001:db8::3"), &limits, now).is_none());
        assert!(hosts.admit(address("2001:db8:0:1::1"), &limits, now).is_some());
        drop(first);
        assert!(hosts.admit(address("2001:db8::3"), &limits, now).is_some());
    }
}
