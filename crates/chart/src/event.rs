//! What a replica tells its host.

use std::collections::VecDeque;

use crate::journal::Intake;
use crate::key::{AuthorKey, Digest};
use crate::ledger::Refused;
use crate::link::LinkId;
use crate::message::Bye;

/// Events that wait; one frame makes fewer.
const EVENTS_MAX: usize = 8_192;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A header came from elsewhere.
    Received {
        /// Its hash.
        id: Digest,
        /// Who passed it on.
        via: AuthorKey,
    },
    /// Contents came after their header.
    Completed(Digest),
    /// An operation has no effect, and why.
    Refused(Refused),
    /// A header was not taken in at all.
    TurnedAway {
        /// Who sent it.
        via: AuthorKey,
        /// Whose it claims to be.
        author: AuthorKey,
        /// Why.
        why: Intake,
    },
    /// Contents were destroyed.
    Erased(Digest),
    /// An author signed two headers of one height.
    Forked(AuthorKey),
    /// Others had more of our log than we did: the store was set back.
    SetBack,
    /// A peer proved who it is.
    Met {
        /// By which connection.
        link: LinkId,
        /// Who.
        author: AuthorKey,
    },
    /// A conversation has ended; close the connection once what waits has been sent.
    Closed {
        /// Which.
        link: LinkId,
        /// Who, if known.
        author: Option<AuthorKey>,
        /// Why.
        why: Bye,
    },
    /// An attachment is here as a whole.
    Fetched(Digest),
}

/// Events in their order.
#[derive(Debug, Default)]
pub(crate) struct Events {
    queue: VecDeque<Event>,
}

impl Events {
    /// Adds an event; beyond the limit the earliest goes, as the state that it tells of can be read.
    pub(crate) fn push(&mut self, event: Event) {
        if self.queue.len() >= EVENTS_MAX {
            self.queue.pop_front();
        }
        self.queue.push_back(event);
    }

    pub(crate) fn pop(&mut self) -> Option<Event> {
        self.queue.pop_front()
    }
}
