use std::time::Instant;

use wire::{Id, PublicKey};

use super::backoff::Priority;
use super::event::{DialFailure, RefreshKind, Role};
use crate::event::{Direction, LinkId};

/// How many; first what the reference counts, with its meaning, then what is true now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Census {
    /// Attempts begun (`stats.connects.client.attempted`).
    pub outgoing_attempted: u64,
    /// Attempts that became a connection (`stats.connects.client.opened`).
    pub outgoing_opened: u64,
    /// Attempts that failed, and outgoing connections that closed (`stats.connects.client.closed`).
    pub outgoing_closed: u64,
    /// Incoming connections kept (`stats.connects.server.opened`).
    pub incoming_opened: u64,
    /// Of these, those that closed (`stats.connects.server.closed`).
    pub incoming_closed: u64,
    /// Changes (`stats.updates`).
    pub updates: u64,
    /// Peers that the firewall rejected (`stats.bannedPeers`).
    pub firewalled: u64,
    /// Connections open now, in both directions; none on trial, none still opening.
    pub links_open: usize,
    /// Of these, incoming.
    pub links_incoming: usize,
    /// Incoming connections that wait for the outcome of a challenge.
    pub links_on_trial: usize,
    /// Attempts under way (`connecting`).
    pub connecting: usize,
    /// Peers that wait for an attempt.
    pub queued: usize,
    /// Peers that wait for the time of their next attempt.
    pub waiting: usize,
    /// Peers remembered, connected or not (`peers.size`, without the banned).
    pub peers_known: usize,
    /// Peers joined by their key.
    pub explicit: usize,
    /// Peers banned.
    pub banned: usize,
    /// Topics joined.
    pub topics: usize,
    /// Walks for topics under way.
    pub refreshing: usize,
}

/// How a topic stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicState {
    /// The topic.
    pub topic: Id<32>,
    /// The sum of its joins; none while it is being left.
    pub role: Option<Role>,
    /// The walk that goes on for it.
    pub running: Option<RefreshKind>,
    /// When the next one is due; in the past while one goes on.
    pub due: Instant,
    /// Peers of it that are connected.
    pub linked: usize,
    /// Peers of it that are being dialled.
    pub dialling: usize,
}

/// What the roster does about a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing: it is banned, or not wanted, or a topic's limit is reached.
    Idle,
    /// It waits for its turn.
    Queued,
    /// It is being dialled.
    Connecting,
    /// It will be dialled at this time.
    Waiting(Instant),
    /// It is connected.
    Connected(LinkId, Direction),
}

/// What is known of one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerState {
    /// Its key.
    pub key: PublicKey,
    /// Joined topics that it was found in.
    pub topics: Vec<Id<32>>,
    /// Attempts and short connections since the last long one.
    pub attempts: u32,
    /// Its turn in the queue.
    pub priority: Priority,
    /// Whether a dial of ours ever reached it.
    pub proven: Proven,
    /// Who wants it.
    pub wanted: Wanted,
    /// Why the last attempt failed; nothing since one succeeded.
    pub last_error: Option<DialFailure>,
    /// What the roster does about it.
    pub standing: Standing,
    /// Since when.
    pub since: Instant,
}

/// Whether a dial reached a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proven {
    /// Not since it was found.
    No,
    /// One did.
    Yes,
}

/// Who wants a peer to be connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Nobody; it connected by itself, or is banned or not to be dialled again.
    No,
    /// A topic.
    ByTopic,
    /// The application, by its key.
    ByKey,
}
