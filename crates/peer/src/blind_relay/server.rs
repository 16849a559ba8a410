use std::collections::VecDeque;
use std::collections::btree_map::{BTreeMap, Entry};
use std::time::{Duration, Instant};

use pace::Timers;
use wire::DecodeError;
use wire::hyper::Pair;

use super::{Message, PairToken, encode_pair, side_of};
use crate::session::Side;

/// Names a client's channel; the host chooses it, for example as the number of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelaySessionId(pub u64);

/// Names two joined streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(u64);

/// How much a relay does for others. Beyond a limit a wish is ignored, as the protocol has no refusal: the
/// client gives up after fifteen seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlindRelayLimits {
    /// Clients at once.
    pub sessions_max: usize,
    /// Tokens of one client, waiting and joined.
    pub pairs_max: usize,
    /// How long a token waits for its second peer; clients wait fifteen seconds.
    pub patience: Duration,
    /// Bytes that one pair may pass in both directions together, before it is separated.
    pub bytes_max: u64,
}

impl Default for BlindRelayLimits {
    fn default() -> Self {
        Self { sessions_max: 256, pairs_max: 16, patience: Duration::from_secs(30), bytes_max: 1 << 30 }
    }
}

/// The relay has all the clients that it may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the relay serves as many clients as it may")]
pub struct Full;

/// One of the two streams to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayEnd {
    /// The client.
    pub session: RelaySessionId,
    /// The client's UDX stream id. Its address is whatever first sends to the relay's stream.
    pub stream: u32,
}

/// What the host has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlindRelayAction {
    /// Make two streams that pass packets to each other, then call [`BlindRelay::handle_joined`].
    Join {
        /// For later.
        link: LinkId,
        /// The peer that proposed the relay.
        initiator: RelayEnd,
        /// The other.
        responder: RelayEnd,
    },
    /// Send a message on the client's channel.
    Send {
        /// The client.
        session: RelaySessionId,
        /// Number of the message's type.
        kind: u64,
        /// The message.
        payload: Vec<u8>,
    },
    /// Destroy both streams.
    Separate {
        /// As it was named in [`BlindRelayAction::Join`].
        link: LinkId,
    },
}

/// What a relay did, counted as the reference counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlindRelayStats {
    /// Clients that came.
    pub sessions_accepted: u64,
    /// Clients that opened the channel too.
    pub sessions_opened: u64,
    /// Clients that went.
    pub sessions_closed: u64,
    /// Wishes taken, two for each pair.
    pub pairings_requested: u64,
    /// Pairs that found each other.
    pub pairings_matched: u64,
    /// Wishes and links that were taken back, or waited too long.
    pub pairings_cancelled: u64,
    /// Streams made, two for each link.
    pub streams_opened: u64,
    /// Streams that ended.
    pub streams_closed: u64,
    /// Bytes passed on; the reference does not count them.
    pub bytes_relayed: u64,
    /// Pairs separated because they had passed all that they may.
    pub pairings_exhausted: u64,
}

/// What a relay has at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BlindRelayCensus {
    /// Clients.
    pub sessions: usize,
    /// Tokens that wait for their second peer.
    pub waiting: usize,
    /// Joined pairs, and those that are being joined.
    pub links: usize,
}

/// Joins the streams of clients that name the same token. It sees tokens and stream ids, no plaintext.
///
/// The host opens [`blind_relay_channel`](super::blind_relay_channel) on each client's connection, gives this
/// machine what happens there, and does what [`Self::poll_action`] says.
#[derive(Debug)]
pub struct BlindRelay {
    limits: BlindRelayLimits,
    sessions: BTreeMap<RelaySessionId, BTreeMap<PairToken, Option<LinkId>>>,
    waiting: BTreeMap<PairToken, (Side, RelayEnd)>,
    deadlines: Timers<PairToken>,
    links: BTreeMap<LinkId, Link>,
    link_ids: u64,
    actions: VecDeque<BlindRelayAction>,
    stats: BlindRelayStats,
}

#[derive(Debug)]
struct Link {
    token: PairToken,
    initiator: RelayEnd,
    responder: RelayEnd,
    joined: bool,
    bytes: u64,
}

impl BlindRelay {
    /// Starts without clients.
    #[must_use]
    pub const fn new(limits: BlindRelayLimits) -> Self {
        Self {
            limits,
            sessions: BTreeMap::new(),
            waiting: BTreeMap::new(),
            deadlines: Timers::new(),
            links: BTreeMap::new(),
            link_ids: 0,
            actions: VecDeque::new(),
            stats: BlindRelayStats {
                sessions_accepted: 0,
                sessions_opened: 0,
                sessions_closed: 0,
                pairings_requested: 0,
                pairings_matched: 0,
                pairings_cancelled: 0,
                streams_opened: 0,
                streams_closed: 0,
                bytes_relayed: 0,
                pairings_exhausted: 0,
            },
        }
    }

    /// Takes a client on whose connection the channel is being opened.
    ///
    /// # Errors
    ///
    /// Fails where there are too many clients.
    pub fn accept(&mut self, session: RelaySessionId) -> Result<(), Full> {
        let full = self.sessions.len() >= self.limits.sessions_max;
        if let Entry::Vacant(place) = self.sessions.entry(session) {
            if full {
                return Err(Full);
            }
            place.insert(BTreeMap::new());
            self.stats.sessions_accepted += 1;
        }
        Ok(())
    }

    /// Takes note that the client opened the channel too.
    pub fn handle_opened(&mut self, session: RelaySessionId) {
        self.stats.sessions_opened += u64::from(self.sessions.contains_key(&session));
    }

    /// Takes a message from a client's channel.
    ///
    /// # Errors
    ///
    /// Fails where it is none: the connection has to be destroyed.
    pub fn handle_message(
        &mut self,
        now: Instant,
        session: RelaySessionId,
        kind: u64,
        payload: &[u8],
    ) -> Result<(), DecodeError> {
        match Message::decode(kind, payload)? {
            Message::Pair(pair) => self.handle_pair(now, session, &pair),
            Message::Unpair(unpair) => self.handle_unpair(session, PairToken(unpair.token)),
            Message::Newer => {}
        }
        Ok(())
    }

    /// Forgets a client whose channel closed, with all that it waited for and was joined to.
    pub fn handle_closed(&mut self, session: RelaySessionId) {
        let Some(pairs) = self.sessions.remove(&session) else { return };
        self.stats.sessions_closed += 1;
        for (token, link) in pairs {
            match link {
                None => {
                    self.stop_waiting(token);
                    self.stats.pairings_cancelled += 1;
                }
                Some(link) => self.separate(link),
            }
        }
    }

    /// Tells both clients the ids of the streams that the host made for them.
    pub fn handle_joined(&mut self, link: LinkId, initiator_stream: u32, responder_stream: u32) {
        let Some(joined) = self.links.get_mut(&link).filter(|joined| !joined.joined) else { return };
        joined.joined = true;
        self.stats.streams_opened += 2;
        for (side, end, stream) in [
            (Side::Initiator, joined.initiator, initiator_stream),
            (Side::Responder, joined.responder, responder_stream),
        ] {
            self.actions.push_back(BlindRelayAction::Send {
                session: end.session,
                kind: super::PAIR,
                payload: encode_pair(side, joined.token, stream),
            });
        }
    }

    /// Takes note of bytes that the streams of a link passed on since the last time.
    pub fn handle_relayed(&mut self, link: LinkId, bytes: u64) {
        let Some(relayed) = self.links.get_mut(&link) else { return };
        relayed.bytes = relayed.bytes.saturating_add(bytes);
        self.stats.bytes_relayed = self.stats.bytes_relayed.saturating_add(bytes);
        if relayed.bytes > self.limits.bytes_max {
            self.stats.pairings_exhausted += 1;
            self.separate(link);
        }
    }

    /// Takes note that the streams of a link ended by themselves, or could not be made.
    pub fn handle_ended(&mut self, link: LinkId) {
        self.forget_link(link);
    }

    /// Gives up tokens whose second peer did not come.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(token) = self.deadlines.expire(now) {
            if let Some((_, end)) = self.waiting.remove(&token) {
                self.forget_pair(end.session, token);
                self.stats.pairings_cancelled += 1;
            }
        }
    }

    /// Returns the next thing to do.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<BlindRelayAction> {
        self.actions.pop_front()
    }

    /// Returns when [`Self::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Returns what was done.
    #[must_use]
    pub const fn stats(&self) -> BlindRelayStats {
        self.stats
    }

    /// Counts what there is at this moment.
    #[must_use]
    pub fn census(&self) -> BlindRelayCensus {
        BlindRelayCensus {
            sessions: self.sessions.len(),
            waiting: self.waiting.len(),
            links: self.links.len(),
        }
    }

    fn handle_pair(&mut self, now: Instant, session: RelaySessionId, pair: &Pair) {
        let (token, side) = (PairToken(pair.token), side_of(pair));
        let Some(pairs) = self.sessions.get_mut(&session) else { return };
        // A client that repeats itself, or wants to meet itself, gets no second stream.
        if pairs.len() >= self.limits.pairs_max || pairs.contains_key(&token) {
            return;
        }
        let end = RelayEnd { session, stream: pair.stream };
        match self.waiting.get(&token) {
            Some((waiting, _)) if *waiting == side => {}
            Some((_, other)) => {
                let other = *other;
                pairs.insert(token, None);
                self.stats.pairings_requested += 1;
                self.stop_waiting(token);
                let (initiator, responder) =
                    if side == Side::Initiator { (end, other) } else { (other, end) };
                self.link(token, initiator, responder);
            }
            None => {
                pairs.insert(token, None);
                self.stats.pairings_requested += 1;
                self.waiting.insert(token, (side, end));
                self.deadlines.set(token, now + self.limits.patience);
            }
        }
    }

    fn link(&mut self, token: PairToken, initiator: RelayEnd, responder: RelayEnd) {
        self.stats.pairings_matched += 1;
        self.link_ids += 1;
        let link = LinkId(self.link_ids);
        for end in [initiator, responder] {
            if let Some(pairs) = self.sessions.get_mut(&end.session) {
                pairs.insert(token, Some(link));
            }
        }
        self.links.insert(link, Link { token, initiator, responder, joined: false, bytes: 0 });
        self.actions.push_back(BlindRelayAction::Join { link, initiator, responder });
    }

    fn handle_unpair(&mut self, session: RelaySessionId, token: PairToken) {
        // Only who asked can take back.
        let Some(pair) = self.sessions.get_mut(&session).and_then(|pairs| pairs.remove(&token)) else {
            return;
        };
        self.stats.pairings_cancelled += 1;
        match pair {
            None => self.stop_waiting(token),
            Some(link) => self.separate(link),
        }
    }

    /// Separates two streams that the host has had enough of.
    pub fn separate(&mut self, link: LinkId) {
        if self.forget_link(link) {
            self.actions.push_back(BlindRelayAction::Separate { link });
        }
    }

    fn forget_link(&mut self, link: LinkId) -> bool {
        let Some(gone) = self.links.remove(&link) else { return false };
        self.stats.streams_closed += if gone.joined { 2 } else { 0 };
        for session in [gone.initiator.session, gone.responder.session] {
            self.forget_pair(session, gone.token);
        }
        true
    }

    fn forget_pair(&mut self, session: RelaySessionId, token: PairToken) {
        if let Some(pairs) = self.sessions.get_mut(&session) {
            pairs.remove(&token);
        }
    }

    fn stop_waiting(&mut self, token: PairToken) {
        self.waiting.remove(&token);
        self.deadlines.cancel(token);
    }
}
