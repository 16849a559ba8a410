use std::time::Duration;

use crate::BbrMode;

/// Counters of all streams since the machine was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Datagrams sent.
    pub packets_tx: u64,
    /// Bytes of datagrams sent.
    pub bytes_tx: u64,
    /// Datagrams for streams of ours.
    pub packets_rx: u64,
    /// Bytes of datagrams for streams of ours.
    pub bytes_rx: u64,
    /// Packets that no peer would send.
    pub rejected: u64,
    /// Packets by a path that the stream does not know.
    pub off_path: u64,
    /// Packets passed on between streams.
    pub relayed: u64,
    /// Packets that would have been passed on beyond an allowance.
    pub relay_dropped: u64,
    /// Packets answered for streams that are closed.
    pub lingered: u64,
}

/// Counters and measures of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamStats {
    /// Largest IP packet known to arrive, in bytes.
    pub mtu: u16,
    /// Smoothed round trip.
    pub rtt: Option<Duration>,
    /// Shortest round trip of the last five minutes.
    pub min_rtt: Option<Duration>,
    /// Packets that may be on their way.
    pub cwnd: u64,
    /// Packets on their way.
    pub in_flight: u64,
    /// Bytes that wait or are on their way.
    pub queued: usize,
    /// Bytes that the application has not read.
    pub unread: usize,
    /// Times that patience ended without an answer.
    pub timeouts: u64,
    /// Packets sent once more.
    pub retransmits: u64,
    /// Recoveries that began because a later packet arrived.
    pub fast_recoveries: u64,
    /// Selective acknowledgements of what was not sent.
    pub bad_sacks: u64,
    /// Packets for which the receive window had no room.
    pub refused: u64,
    /// Datagrams sent.
    pub packets_tx: u64,
    /// Bytes of datagrams sent.
    pub bytes_tx: u64,
    /// Datagrams received.
    pub packets_rx: u64,
    /// Bytes of datagrams received.
    pub bytes_rx: u64,
    /// How the path is being explored.
    pub mode: BbrMode,
    /// Packets a second that the path delivered at best, lately.
    pub bandwidth: u64,
}

/// Counters of one direction.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SendStats {
    pub(crate) timeouts: u64,
    pub(crate) retransmits: u64,
    pub(crate) fast_recoveries: u64,
    pub(crate) bad_sacks: u64,
}
