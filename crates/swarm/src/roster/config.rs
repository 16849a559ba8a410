use std::time::Duration;

/// How a [`Roster`](super::Roster) is set up. The defaults are the reference's (hyperswarm 4.17), unless a field says otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterConfig {
    /// No attempt is begun while there are so many connections, incoming ones and attempts included, divided
    /// by 2 with one explicit peer, by 3 with two or three, by 4 with more (`maxPeers`). It limits neither
    /// incoming connections nor explicit peers.
    pub peers_max: usize,
    /// Outgoing connections and attempts at one time (`maxClientConnections`).
    pub outgoing_max: usize,
    /// Incoming connections at one time, explicit peers apart (`maxServerConnections`, which the reference
    /// reads and never applies, so that its default is no limit).
    pub incoming_max: usize,
    /// Attempts at one time (`maxParallel`), not counting those under way for longer than [`slow`](Self::slow).
    pub parallel_max: usize,
    /// Attempts at one time, slow ones included. In the reference three dead peers, which need eight seconds
    /// each, hold up everyone else.
    pub dials_max: usize,
    /// An attempt that takes longer lets others begin. Whatever opens without loss, punching through a
    /// symmetric NAT included, opens within two seconds.
    pub slow: Duration,
    /// Base waits before a peer is dialled again.
    pub backoff: Backoffs,
    /// Whether an attempt can be asked to use a relay.
    pub relays: Relays,
    /// Between the refreshes of a topic, to which up to `refresh_jitter` is added. Nodes keep records for 13 to
    /// 27 minutes.
    pub refresh: Duration,
    /// See `refresh`.
    pub refresh_jitter: Duration,
    /// First wait before a topic without any connected peer is looked up again; it doubles up to `refresh`. The
    /// reference waits for `refresh` from the start.
    pub lonely: Duration,
    /// Every bound on what is remembered.
    pub limits: RosterLimits,
}

impl Default for RosterConfig {
    fn default() -> Self {
        Self {
            peers_max: 64,
            outgoing_max: usize::MAX,
            incoming_max: 4096,
            parallel_max: 3,
            dials_max: 16,
            slow: Duration::from_secs(3),
            backoff: Backoffs::default(),
            relays: Relays::Available,
            refresh: Duration::from_mins(10),
            refresh_jitter: Duration::from_mins(2),
            lonely: Duration::from_secs(1),
            limits: RosterLimits::default(),
        }
    }
}

/// Base waits before a peer is dialled again, shortest first. The reference draws its bases once a process, up
/// to half again as long, and batches peers; here each wait is drawn anew, so that peers of one failure
/// do not come back at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoffs {
    /// After a connection that lasted.
    pub short: Duration,
    /// After the first failure.
    pub medium: Duration,
    /// After the second and third; from then on it doubles.
    pub long: Duration,
    /// The longest, between attempts at a peer that has long been away.
    pub extra: Duration,
}

impl Default for Backoffs {
    fn default() -> Self {
        Self {
            short: Duration::from_secs(1),
            medium: Duration::from_secs(5),
            long: Duration::from_secs(15),
            extra: Duration::from_mins(10),
        }
    }
}

/// Whether connections through relays are possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relays {
    /// The owner can find one.
    Available,
    /// The application forbids them, or there is none.
    Absent,
}

/// How much is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RosterLimits {
    /// Topics, those being left included.
    pub topics: usize,
    /// Wishes to be in a topic.
    pub joins: usize,
    /// Peers found in topics. When full, a newcomer takes the place of the peer that failed most often; while
    /// none has failed, newcomers are not remembered, and the next refresh finds them again.
    pub known: usize,
    /// Peers joined by their key.
    pub explicit: usize,
    /// Bans. When full, the oldest is lifted.
    pub bans: usize,
    /// Topics remembered of one peer; connecting needs one.
    pub topics_each: usize,
    /// Relays remembered of one peer; records carry three at most.
    pub relays_each: usize,
    /// Flushes that wait.
    pub flushes: usize,
    /// Walks at one time; topics wait for their turn, the longest overdue first.
    pub refreshes: usize,
}

impl Default for RosterLimits {
    fn default() -> Self {
        Self {
            topics: 1024,
            joins: 4096,
            known: 4096,
            explicit: 1024,
            bans: 4096,
            topics_each: 16,
            relays_each: 3,
            flushes: 64,
            refreshes: 16,
        }
    }
}
