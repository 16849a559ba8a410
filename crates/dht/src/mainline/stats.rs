use wire::krpc::Method;

/// Counters of a node since its birth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Queries of ours.
    pub requests: u64,
    /// Of these, sent a second time.
    pub repeated: u64,
    /// Answers to them.
    pub responses: u64,
    /// Of these, given up.
    pub timeouts: u64,
    /// Queries not made: too many were under way, or one host had got enough of them.
    pub unasked: u64,
    /// Look-ups, those of upkeep included.
    pub lookups: u64,
    /// Queries of others that were answered.
    pub served: Served,
    /// Of these, answered with a refusal.
    pub refused: u64,
    /// Of these, refused for their token.
    pub bad_tokens: u64,
    /// Queries not answered because their host, block or kind has a limit.
    pub limited: u64,
    /// Queries not answered because we are read-only.
    pub unserved: u64,
    /// Values not sent to a host that may not have asked for them.
    pub withheld: u64,
    /// Datagrams that are no message.
    pub rejected: u64,
    /// Answers that nobody waited for.
    pub unexpected: u64,
}

/// Queries of others by method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Served {
    /// `ping`.
    pub ping: u64,
    /// `find_node`.
    pub find_node: u64,
    /// `get_peers`.
    pub get_peers: u64,
    /// `announce_peer`.
    pub announce_peer: u64,
    /// `get`.
    pub get: u64,
    /// `put`.
    pub put: u64,
    /// `sample_infohashes`.
    pub sample_infohashes: u64,
    /// Methods that this node does not know.
    pub other: u64,
}

impl Served {
    pub(super) const fn count(&mut self, method: Method<'_>) {
        let counter = match method {
            Method::Ping => &mut self.ping,
            Method::FindNode => &mut self.find_node,
            Method::GetPeers => &mut self.get_peers,
            Method::AnnouncePeer => &mut self.announce_peer,
            Method::Get => &mut self.get,
            Method::Put => &mut self.put,
            Method::SampleInfohashes => &mut self.sample_infohashes,
            Method::Other(_) => &mut self.other,
        };
        *counter += 1;
    }
}
