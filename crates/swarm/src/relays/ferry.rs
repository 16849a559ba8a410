use std::collections::BTreeSet;
use std::time::Instant;

use peer::{BlindRelayClient, BlindRelayEvent, Mux, MuxEvent, MuxLimits, PairRequest, PairToken};
use wire::PublicKey;

use crate::event::LinkId;

/// Names a connection with a relay, from before it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FerryId(pub(crate) u64);

/// A connection with a relay, and what it is asked for.
#[derive(Debug)]
pub(crate) struct Ferry {
    pub(crate) relay: PublicKey,
    pub(crate) voyage: Voyage,
    mux: Mux,
    client: BlindRelayClient,
    tokens: BTreeSet<PairToken>,
    answered: Answered,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Voyage {
    Dialling,
    Open(LinkId),
}

/// Whether the relay opened the channel too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answered {
    No,
    Yes,
}

impl Ferry {
    /// Prepares what the relay is asked once its connection is open; `own` is our key to it.
    pub(crate) fn new(relay: PublicKey, own: PublicKey) -> Option<Self> {
        let mut mux = Mux::new(MuxLimits { channels_max: 4, ..MuxLimits::default() });
        let client = BlindRelayClient::open(&mut mux, own).ok()?;
        let (voyage, tokens) = (Voyage::Dialling, BTreeSet::new());
        Some(Self { relay, voyage, mux, client, tokens, answered: Answered::No })
    }

    pub(crate) const fn link(&self) -> Option<LinkId> {
        match self.voyage {
            Voyage::Dialling => None,
            Voyage::Open(link) => Some(link),
        }
    }

    /// Tells whether the relay serves us.
    pub(crate) fn is_open(&self) -> bool {
        self.answered == Answered::Yes
    }

    pub(crate) fn crossings(&self) -> usize {
        self.tokens.len()
    }

    pub(crate) fn pair(&mut self, now: Instant, request: PairRequest) -> bool {
        let asked = self.client.pair(now, &mut self.mux, request).is_ok();
        if asked {
            self.tokens.insert(request.token);
        }
        asked
    }

    pub(crate) fn unpair(&mut self, token: PairToken) {
        if self.tokens.remove(&token) {
            self.client.unpair(&mut self.mux, token);
        }
    }

    /// Takes a frame of the relay; tells whether it is one that a relay may send.
    pub(crate) fn handle_frame(&mut self, frame: &[u8]) -> bool {
        if self.mux.handle_frame(frame).is_err() {
            return false;
        }
        loop {
            match self.mux.poll_event() {
                Ok(Some(MuxEvent::Requested { request, .. })) => self.mux.reject(request),
                Ok(Some(event)) => {
                    if matches!(event, MuxEvent::Opened { .. }) {
                        self.answered = Answered::Yes;
                    }
                    if self.client.handle_event(&event).is_err() {
                        return false;
                    }
                }
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.client.handle_timeout(now, &mut self.mux);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.client.poll_timeout()
    }

    pub(crate) fn poll_event(&mut self) -> Option<BlindRelayEvent> {
        let event = self.client.poll_event()?;
        if let BlindRelayEvent::Failed { token, .. } = &event {
            self.tokens.remove(token);
        }
        Some(event)
    }

    pub(crate) fn poll_frame(&mut self, buf: &mut Vec<u8>) -> bool {
        self.mux.poll_frame(buf)
    }
}
