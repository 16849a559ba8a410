use std::net::SocketAddr;

/// What every path is trusted to carry, in bytes with the IP header (libudx).
pub(crate) const BASE: u16 = 1200;
/// Bytes of IP, UDP and UDX headers (libudx).
const HEADERS_V4: u16 = 48;
const HEADERS_V6: u16 = 68;
/// A packet counts its padding in one byte.
const PADDING_MAX: u16 = 255;
/// A size is given up after so many probes of it were lost (libudx).
const FAILURES_MAX: u8 = 3;
/// The search ends where less than this is left to gain.
const STEP_MIN: u16 = 16;

/// The search for the largest datagram that a path carries.
///
/// A probe is a full packet with zeros added, which libudx lengthens by 32 bytes a round trip. This one takes the
/// largest step that padding allows, and halves the rest after failure: 1500 is found in two round trips.
#[derive(Debug)]
pub(crate) struct Mtu {
    confirmed: u16,
    /// Largest size that may work.
    ceiling: u16,
    headers: u16,
    search: Search,
    failures: u8,
    failed_once: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Search {
    /// Nothing was acknowledged on this path yet.
    Base,
    Ready,
    /// A probe of this size is on its way.
    Probing(u16),
    Done,
}

impl Mtu {
    /// Starts a search up to `max` bytes on the path to `remote`.
    pub(crate) fn new(remote: SocketAddr, max: u16) -> Self {
        let headers = if remote.is_ipv4() { HEADERS_V4 } else { HEADERS_V6 };
        let (confirmed, ceiling) = (BASE.min(max.max(headers + 1)), max);
        Self { confirmed, ceiling, headers, search: Search::Base, failures: 0, failed_once: None }
    }

    /// The largest IP packet known to arrive, in bytes.
    pub(crate) const fn size(&self) -> u16 {
        self.confirmed
    }

    /// Bytes of the stream in a full packet.
    pub(crate) fn payload(&self) -> usize {
        usize::from(self.confirmed - self.headers)
    }

    /// Tells that the peer answered on this path.
    pub(crate) fn confirm(&mut self) {
        if self.search == Search::Base {
            self.search = Search::Ready;
            self.settle();
        }
    }

    /// Returns the padding that makes a full packet a probe, if it is time for one.
    pub(crate) fn padding(&self) -> Option<u8> {
        (self.search == Search::Ready).then(|| u8::try_from(self.candidate() - self.confirmed).ok()).flatten()
    }

    /// Tells that a full packet left with the padding asked for.
    pub(crate) fn probe_sent(&mut self) {
        self.search = Search::Probing(self.candidate());
    }

    pub(crate) fn probe_acked(&mut self) {
        if let Search::Probing(size) = self.search {
            self.confirmed = size;
            self.failures = 0;
            self.search = Search::Ready;
            self.settle();
        }
    }

    pub(crate) fn probe_lost(&mut self) {
        if let Search::Probing(size) = self.search {
            self.failures += 1;
            self.search = Search::Ready;
            if self.failures >= FAILURES_MAX {
                self.ceiling = size - 1;
                self.failed_once = Some(size);
                self.failures = 0;
            }
            self.settle();
        }
    }

    fn candidate(&self) -> u16 {
        let room = self.ceiling.saturating_sub(self.confirmed);
        let step = if self.failed_once.is_some() { room.div_ceil(2) } else { room };
        self.confirmed + step.min(PADDING_MAX)
    }

    fn settle(&mut self) {
        // The first ceiling is worth reaching to the byte; after a failure a few bytes are not.
        let step = if self.failed_once.is_some() { STEP_MIN } else { 1 };
        if self.ceiling < self.confirmed.saturating_add(step) {
            self.search = Search::Done;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches on a path that carries `limit` bytes; returns what was found and the probes it took.
    fn search(limit: u16, max: u16) -> (u16, u32) {
        let mut mtu = Mtu::new("10.0.0.1:1".parse().unwrap(), max);
        assert_eq!(mtu.padding(), None, "no probe before the path is known to work");
        mtu.confirm();
        let mut probes = 0;
        while let Some(padding) = mtu.padding() {
            probes += 1;
            let size = mtu.size() + u16::from(padding);
            mtu.probe_sent();
            assert_eq!(mtu.padding(), None, "one probe at a time");
            if size <= limit { mtu.probe_acked() } else { mtu.probe_lost() }
        }
        (mtu.size(), probes)
    }

    #[test]
    fn a_path_of_1500_bytes_is_known_after_two_probes() {
        assert_eq!(search(1500, 1500), (1500, 2));
    }

    #[test]
    fn a_tunnel_is_found_within_its_last_bytes() {
        for limit in 1200..=1500 {
            let (size, probes) = search(limit, 1500);
            assert!(size <= limit && size + STEP_MIN > limit, "{limit}: {size}");
            assert!(probes <= 20, "{limit}: {probes} probes");
        }
    }

    #[test]
    fn an_interface_of_1200_bytes_is_not_probed() {
        assert_eq!(search(1200, 1200), (1200, 0));
        assert_eq!(search(1200, 1000), (1000, 0));
    }

    #[test]
    fn a_full_packet_fills_the_path() {
        let v4 = Mtu::new("10.0.0.1:1".parse().unwrap(), 1500);
        let v6 = Mtu::new("[fd00::1]:1".parse().unwrap(), 1500);
        assert_eq!((v4.payload(), v6.payload()), (1152, 1132));
    }
}
