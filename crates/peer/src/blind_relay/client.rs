use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use pace::Timers;
use wire::DecodeError;
use wire::hyper::Unpair;

use super::{Message, PAIR, PairToken, UNPAIR, blind_relay_channel, encode_pair, side_of};
use crate::mux::{ChannelError, ChannelId, Mux, MuxEvent};
use crate::session::Side;
use wire::PublicKey;

/// How long a relay may take to find both peers (`hyperdht lib/connect.js`, `lib/server.js`).
const PAIRING_TIMEOUT: Duration = Duration::from_secs(15);

/// A wish to be joined with whoever names the same token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairRequest {
    /// The initiator is whoever proposed the relay.
    pub side: Side,
    /// The token that both name.
    pub token: PairToken,
    /// UDX stream id that the relay shall send to.
    pub stream: u32,
}

/// Why a relay was not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PairError {
    /// The token is waiting already.
    #[error("the token is waiting to be paired")]
    AlreadyPairing,
    /// The channel takes no message.
    #[error("the relay cannot be asked")]
    Channel(#[from] ChannelError),
}

/// Why no pair came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairFailure {
    /// The other peer did not come in time.
    TimedOut,
    /// The relay does not serve us, or no longer.
    ChannelClosed,
}

/// What a relay did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlindRelayEvent {
    /// The streams are joined: send to `stream`, at the address of the connection with the relay.
    Paired {
        /// The token.
        token: PairToken,
        /// The relay's UDX stream id.
        stream: u32,
    },
    /// They will not be.
    Failed {
        /// The token.
        token: PairToken,
        /// Why.
        why: PairFailure,
    },
    /// The channel is gone; open another client to ask again.
    Closed,
}

/// Asks one relay to join streams, over a channel of the connection with it.
#[derive(Debug)]
pub struct BlindRelayClient {
    channel: ChannelId,
    waiting: BTreeMap<PairToken, Side>,
    deadlines: Timers<PairToken>,
    events: VecDeque<BlindRelayEvent>,
}

impl BlindRelayClient {
    /// Opens the channel; `own` is the key that we proved to the relay. Pairs can be asked for at once.
    ///
    /// # Errors
    ///
    /// Fails where the mux has too many channels.
    pub fn open(mux: &mut Mux, own: PublicKey) -> Result<Self, ChannelError> {
        Ok(Self {
            channel: mux.open(blind_relay_channel(own), &[])?,
            waiting: BTreeMap::new(),
            deadlines: Timers::new(),
            events: VecDeque::new(),
        })
    }

    /// Asks to be joined with the peer that names the same token, within fifteen seconds.
    ///
    /// # Errors
    ///
    /// Fails where the token waits already, and where the channel is closed.
    pub fn pair(&mut self, now: Instant, mux: &mut Mux, request: PairRequest) -> Result<(), PairError> {
        let PairRequest { side, token, stream } = request;
        if self.waiting.contains_key(&token) {
            return Err(PairError::AlreadyPairing);
        }
        mux.send(self.channel, PAIR, &encode_pair(side, token, stream))?;
        self.waiting.insert(token, side);
        self.deadlines.set(token, now + PAIRING_TIMEOUT);
        Ok(())
    }

    /// Takes a wish back, or has the relay separate what it joined.
    pub fn unpair(&mut self, mux: &mut Mux, token: PairToken) {
        self.forget(token);
        let mut payload = Vec::new();
        Unpair { token: token.0 }.encode(&mut payload);
        // A relay forgets what belongs to a closed channel by itself.
        mux.send(self.channel, UNPAIR, &payload).ok();
    }

    /// Closes the channel. The relay separates what it joined for us.
    pub fn close(&mut self, mux: &mut Mux) {
        mux.close(self.channel);
        self.handle_closed();
    }

    /// Takes an event of the mux; tells whether it was meant for this client.
    ///
    /// # Errors
    ///
    /// Fails where the relay sent what is no message: the connection has to be destroyed.
    pub fn handle_event(&mut self, event: &MuxEvent) -> Result<bool, DecodeError> {
        match event {
            MuxEvent::Message { channel, kind, payload } if *channel == self.channel => {
                if let Message::Pair(pair) = Message::decode(*kind, payload)? {
                    let token = PairToken(pair.token);
                    // An answer for the other side, or for nobody, is none.
                    if self.waiting.get(&token) == Some(&side_of(&pair)) {
                        self.forget(token);
                        self.events.push_back(BlindRelayEvent::Paired { token, stream: pair.stream });
                    }
                }
                Ok(true)
            }
            MuxEvent::Closed { channel } | MuxEvent::Rejected { channel } if *channel == self.channel => {
                self.handle_closed();
                Ok(true)
            }
            MuxEvent::Opened { channel, .. } => Ok(*channel == self.channel),
            _ => Ok(false),
        }
    }

    /// Gives up pairs that took too long.
    pub fn handle_timeout(&mut self, now: Instant, mux: &mut Mux) {
        while let Some(token) = self.deadlines.expire(now) {
            self.events.push_back(BlindRelayEvent::Failed { token, why: PairFailure::TimedOut });
            self.unpair(mux, token);
        }
    }

    /// Returns the next event.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<BlindRelayEvent> {
        self.events.pop_front()
    }

    /// Returns when [`Self::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    fn forget(&mut self, token: PairToken) {
        self.waiting.remove(&token);
        self.deadlines.cancel(token);
    }

    fn handle_closed(&mut self) {
        while let Some((token, _)) = self.waiting.pop_first() {
            self.deadlines.cancel(token);
            self.events.push_back(BlindRelayEvent::Failed { token, why: PairFailure::ChannelClosed });
        }
        self.events.push_back(BlindRelayEvent::Closed);
    }
}
