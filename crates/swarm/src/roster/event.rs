use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use peer::StreamStats;
use wire::{Id, PublicKey};

use crate::event::{Direction, LinkId};

/// Names an attempt that the roster asks for. The owner may name what it makes of it differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DialId(pub(super) u64);

/// Names one wish to be in a topic; a topic may have many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JoinId(pub(super) u64);

/// Names a wait that ends with [`RosterEvent::Flushed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlushId(pub(super) u64);

/// What to do in a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Be found in it.
    Announce,
    /// Find others in it, and connect.
    Find,
    /// Both.
    Both,
}

impl Role {
    pub(super) const fn announces(self) -> bool {
        matches!(self, Self::Announce | Self::Both)
    }

    pub(super) const fn finds(self) -> bool {
        matches!(self, Self::Find | Self::Both)
    }
}

/// Why a wish could not be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// [`RosterLimits::topics`](super::RosterLimits::topics) are joined.
    #[error("too many topics are joined")]
    TooManyTopics,
    /// [`RosterLimits::joins`](super::RosterLimits::joins) are held.
    #[error("topics are joined too many times")]
    TooManyJoins,
    /// [`RosterLimits::explicit`](super::RosterLimits::explicit) peers are joined by their key.
    #[error("too many peers are joined by their key")]
    TooManyPeers,
    /// The roster is shut down.
    #[error("the swarm is shut down")]
    ShutDown,
}

/// Whether a peer is kept away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ban {
    /// Neither dialled nor admitted from now on; a connection that is open stays, as in the reference.
    Imposed,
    /// A peer like others.
    Lifted,
}

/// Whether a peer is dialled again after its connection or an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconnect {
    /// It is.
    Wanted,
    /// It is not, until this changes or the application joins it by its key.
    Unwanted,
}

/// How a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshOutcome {
    /// Nodes answered, and where something was to be stored some stored it.
    Succeeded,
    /// None did.
    Failed,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialled {
    /// The connection is open, under this name from now on.
    Opened(LinkId),
    /// There is none.
    Failed(DialFailure),
}

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialFailure {
    /// No node of the network knows the key.
    #[error("no node knows the peer")]
    NotFound,
    /// The key is known, and the peer did not answer.
    #[error("the peer did not answer")]
    NoAnswer,
    /// The peer answered, and no direct path was found (`HOLEPUNCH_ABORTED`, `CANNOT_HOLEPUNCH`,
    /// `HOLEPUNCH_DOUBLE_RANDOMIZED_NATS`, `REMOTE_NOT_HOLEPUNCHABLE`): where there are relays, the next attempt asks for one.
    #[error("no direct path to the peer was found")]
    NoPath,
    /// The peer answered, and did not want to.
    #[error("the peer refused")]
    Refused,
    /// The peer broke the protocol.
    #[error("the peer broke the protocol")]
    Broken,
    /// This node could not try: too much was under way, or its network was gone.
    #[error("this node could not try")]
    Unable,
}

/// Whether an attempt may go through a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayUse {
    /// Where the owner thinks it useful.
    AsNeeded,
    /// A direct attempt failed: ask for a relay at once.
    Forced,
}

/// What a walk is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshKind {
    /// Announce this node; a walk that announces also finds.
    Announce,
    /// Find others.
    Lookup,
    /// Remove what was announced; this walk also finds.
    Unannounce,
}

/// A connection that a peer opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// Its name.
    pub link: LinkId,
    /// Whose it is.
    pub key: PublicKey,
    /// When its first message came.
    pub begun: Instant,
    /// How the connection is that [`Roster::link_with`](super::Roster::link_with) names for this key, if any.
    pub existing: Option<Vitals>,
}

/// How a connection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// What it carried.
    pub stats: StreamStats,
    /// Its round trip; zero where unknown.
    pub round_trip: Duration,
}

/// What a peer that wants a connection may be told before it costs one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Admission {
    /// Go on.
    Open,
    /// The answer will be [`Action::Close`] with this reason.
    Refused(CloseReason),
}

/// What to do with the records of this node when it leaves for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// Remove them.
    Unannounce,
    /// Leave at once; records expire within half an hour.
    Silent,
}

/// Why the roster wants a connection closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// Another connection with the peer stays.
    #[error("another connection with the peer stays")]
    Duplicate,
    /// The peer has a newer connection.
    #[error("the peer has a newer connection")]
    Outdated,
    /// As many peers as are allowed have connected.
    #[error("too many peers have connected")]
    Full,
    /// The peer is banned.
    #[error("the peer is banned")]
    Banned,
    /// It is this node.
    #[error("the peer is this node itself")]
    Own,
    /// The attempt was cancelled before it opened.
    #[error("the attempt was cancelled")]
    Cancelled,
    /// The node is suspended or shut down.
    #[error("the swarm is suspended")]
    Suspended,
}

/// What the owner has to do. Drain after every call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Serve connections under the node's key.
    Listen,
    /// Stop serving; what was announced of the key itself is to be removed.
    Unlisten,
    /// Walk for a topic, tell [`Roster::handle_found`](super::Roster::handle_found) of what is found, and
    /// [`Roster::handle_refreshed`](super::Roster::handle_refreshed) once at the end.
    Refresh {
        /// The topic.
        topic: Id<32>,
        /// What for.
        kind: RefreshKind,
    },
    /// Abort the walk of a topic, and tell nothing of it any more, not even its end.
    Stop {
        /// The topic.
        topic: Id<32>,
    },
    /// Connect, and tell [`Roster::handle_dialled`](super::Roster::handle_dialled) how it ended.
    Dial {
        /// The attempt.
        dial: DialId,
        /// Whom.
        key: PublicKey,
        /// Nodes that pass handshakes on to it, as far as known.
        relays: Vec<SocketAddrV4>,
        /// By which way.
        relay: RelayUse,
    },
    /// Give an attempt up. If it opens all the same and that is told, the answer is [`Action::Close`].
    CancelDial(DialId),
    /// An incoming connection is one of ours from now on: give it to the application.
    Accept(LinkId),
    /// Send a keep-alive at once, and tell [`Roster::handle_evidence`](super::Roster::handle_evidence) when it is
    /// acknowledged.
    KeepAlive(LinkId),
    /// Close a connection. The roster has forgotten it; telling of its end is allowed and changes nothing.
    Close {
        /// The connection.
        link: LinkId,
        /// Why.
        why: CloseReason,
    },
}

/// What the roster tells. Drain after every call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RosterEvent {
    /// A peer was found in a topic; told once for as long as the peer is remembered.
    PeerFound {
        /// The topic.
        topic: Id<32>,
        /// The peer.
        key: PublicKey,
    },
    /// A peer is connected. It is never connected twice: the end of one connection is told before the begin
    /// of the next.
    Connected {
        /// The connection.
        link: LinkId,
        /// The peer.
        key: PublicKey,
        /// Joined topics that it was found in; none for a peer that only found us.
        topics: Vec<Id<32>>,
        /// Who opened it.
        direction: Direction,
    },
    /// A connection that was told of is over.
    Disconnected {
        /// The connection.
        link: LinkId,
        /// The peer.
        key: PublicKey,
    },
    /// An attempt, or a connection, began or ended; told once for what happened since the last drain.
    Updated,
    /// The application's firewall rejected a peer for the first time.
    Banned {
        /// The peer.
        key: PublicKey,
    },
    /// A flush is over.
    Flushed {
        /// Which.
        flush: FlushId,
        /// How.
        outcome: FlushOutcome,
    },
    /// Records are removed, or their removal took too long: sockets may be closed.
    Suspended,
    /// As [`RosterEvent::Suspended`], for good.
    ShutDown,
}

/// How a flush ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushOutcome {
    /// Topics were refreshed, and each peer known then was connected, or tried, or need not be.
    Settled,
    /// The roster was suspended or shut down, or too many flushes waited.
    Abandoned,
}
