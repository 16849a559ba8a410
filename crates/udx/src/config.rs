use std::time::Duration;

/// Limits and tastes of a [`Udx`](crate::Udx).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Bytes that a stream takes before the application reads; more makes distant peers faster (libudx: 4 MiB).
    pub window: u32,
    /// Bytes that all streams together should take; their windows shrink as their number grows, down to 64 KiB.
    pub window_total: u64,
    /// Streams that may be open at once; each idle one costs about a kilobyte.
    pub streams_max: usize,
    /// Largest IP packet to try, in bytes: the interface's; 1200 turns the search off.
    pub mtu_max: u16,
    /// Datagrams that one transmission may hold, for hosts that can hand them to the system in one call; 1 is
    /// always right.
    pub segments_max: usize,
    /// How long a closed stream answers a peer that did not hear of it; the reference gives up after 13 s.
    pub linger: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            window: 4 << 20,
            window_total: 256 << 20,
            streams_max: 65_536,
            mtu_max: 1500,
            segments_max: 1,
            linger: Duration::from_secs(15),
        }
    }
}

impl Config {
    /// Windows do not shrink below this.
    const WINDOW_MIN: u64 = 64 << 10;

    /// The window of each of `streams` streams.
    pub(crate) fn window_among(&self, streams: usize) -> u32 {
        let share = self.window_total / (streams as u64).max(1);
        u32::try_from(share.max(Self::WINDOW_MIN)).map_or(self.window, |share| share.min(self.window))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_shrink_as_streams_grow_in_number() {
        let config = Config::default();
        assert_eq!(config.window_among(1), 4 << 20);
        assert_eq!(config.window_among(64), 4 << 20);
        assert_eq!(config.window_among(128), 2 << 20);
        assert_eq!(config.window_among(65_536), 64 << 10);
    }
}
