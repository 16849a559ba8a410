//! What the swarm and its owner tell each other.

use std::net::SocketAddr;
use std::time::Duration;

use wire::{Id, PublicKey};

use crate::relay_host::RelayNews;
use crate::roster::{FlushId, FlushOutcome};

/// Names a connection that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// Names an attempt to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DialId(pub(crate) u64);

/// Names a handshake that a server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId(pub(crate) u64);

/// Who began a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// We dialled.
    Outgoing,
    /// The peer dialled.
    Incoming,
}

/// How a connection's packets travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// To an address that anybody can reach.
    Direct,
    /// Within one network.
    Lan,
    /// Through NATs that were opened from both sides.
    Punched,
    /// Through a third peer, which cannot read them.
    Relayed,
}

impl Route {
    /// Returns the word for it in figures and machine-readable output.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Lan => "lan",
            Self::Punched => "punched",
            Self::Relayed => "relayed",
        }
    }
}

/// The course of a connection's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    /// How they travel.
    pub route: Route,
    /// The peer's address as we see it; the relay's, where there is one.
    pub address: SocketAddr,
    /// The relay that they travel through.
    pub relay: Option<PublicKey>,
}

/// What is known of a connection when it opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The connection.
    pub link: LinkId,
    /// The key that the peer uses.
    pub remote: PublicKey,
    /// The key of ours that it is a connection of.
    pub local: PublicKey,
    /// What both ends of this connection know, and nobody else.
    pub binding: [u8; 32],
    /// Who began it.
    pub direction: Direction,
    /// How packets travel.
    pub route: Route,
    /// The peer's address as we see it; the relay's, where there is one.
    pub address: SocketAddr,
    /// The relay that packets travel through.
    pub relay: Option<PublicKey>,
    /// From the first message to the address.
    pub took: Duration,
}

/// Why a dial came to nothing. The names are those of `hyperdht lib/errors.js` where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// `PEER_NOT_FOUND`
    #[error("no node of the network knows this key; is the peer online, and the key right?")]
    NotFound,
    /// `PEER_CONNECTION_FAILED`
    #[error(
        "nodes know this key, but the peer answered through none of them; it may have gone, or refuse us"
    )]
    NoAnswer,
    /// `SERVER_INCOMPATIBLE`
    #[error("the peer speaks another version of the protocol")]
    Incompatible,
    /// `SERVER_ERROR`
    #[error("the peer refused the connection (error {0})")]
    Refused(u64),
    /// The peer believes to be reachable, or we told it that we are, and no packet came through in ten seconds.
    #[error("the peer agreed to connect, but no packet of it came through")]
    Unreachable,
    /// `CANNOT_HOLEPUNCH`
    #[error("the peer does not punch holes and is in another network")]
    CannotPunch,
    /// `HOLEPUNCH_ABORTED`
    #[error("the hole punch was given up")]
    PunchAborted,
    /// `HOLEPUNCH_PROBE_TIMEOUT`
    #[error("the NATs between us could not be told")]
    NatUnknown,
    /// `HOLEPUNCH_DOUBLE_RANDOMIZED_NATS`
    #[error("both sides are behind NATs with random ports: only a relay helps")]
    DoubleRandom,
    /// `REMOTE_NOT_HOLEPUNCHING`
    #[error("the peer does not join the hole punch")]
    NotPunching,
    /// `REMOTE_NOT_HOLEPUNCHABLE`
    #[error("the peer's address could not be verified for a hole punch")]
    NotPunchable,
    /// `RELAY_ABORTED`
    #[error("the relay could not be used")]
    RelayAborted,
    /// `SUSPENDED`
    #[error("the node is suspended")]
    Suspended,
    /// Too much is under way.
    #[error("too many connections are under way")]
    TooBusy,
    /// The application took it back.
    #[error("the dial was taken back")]
    Canceled,
}

/// Why a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// Both sides finished.
    #[error("both sides finished")]
    Finished,
    /// `ECONNRESET`
    #[error("the peer closed it at once")]
    Reset,
    /// `ETIMEDOUT`
    #[error("the peer stopped answering")]
    TimedOut,
    /// The peer broke the protocol of encrypted streams.
    #[error("the stream is broken")]
    Broken(#[from] peer::StreamError),
    /// `DUPLICATE_CONNECTION`
    #[error("another connection with the same peer took its place")]
    Duplicate,
    /// It went through a relay that is gone, or serves us no more.
    #[error("the relay is gone")]
    RelayGone,
    /// The application, or the node's end.
    #[error("closed here")]
    Closed,
}

/// Why a frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// There is no such connection, or no longer.
    #[error("the connection is closed")]
    Closed,
    /// What was sent before waits for the peer; [`Event::Writable`] tells of room.
    #[error("the connection is busy")]
    Full,
    /// Longer than a frame can be.
    #[error("the frame is longer than 16,777,198 bytes")]
    TooLong,
    /// The application finished it.
    #[error("the connection was finished")]
    Finished,
}

/// What the swarm tells its owner.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// Something of the DHT that no connection waits for.
    Dht(dht::Event),
    /// A dial succeeded: [`Opened::direction`] is outgoing, and frames can be sent.
    Dialled {
        /// The dial.
        dial: DialId,
        /// The connection.
        opened: Opened,
    },
    /// A dial came to nothing, one for the peers of an identity included.
    DialFailed {
        /// The dial.
        dial: DialId,
        /// The peer.
        remote: PublicKey,
        /// Why.
        error: DialError,
    },
    /// A client wants to connect to a key whose owner is to be asked; see
    /// [`Swarm::decide`](crate::Swarm::decide).
    Asked(crate::server::Visitor),
    /// A peer connected to a key of ours.
    Accepted(Opened),
    /// The peer of an identity is connected, because one of both dialled.
    Met {
        /// The connection.
        opened: Opened,
        /// Joined topics that the peer was found in; none for one that only found us.
        topics: Vec<Id<32>>,
    },
    /// A peer was found in a topic; told once for as long as it is remembered.
    PeerFound {
        /// Who looked.
        local: PublicKey,
        /// The topic.
        topic: Id<32>,
        /// The peer.
        remote: PublicKey,
    },
    /// A wait is over.
    Flushed {
        /// Whose.
        local: PublicKey,
        /// Which.
        flush: FlushId,
        /// How.
        outcome: FlushOutcome,
    },
    /// An identity's records are removed and its connections closed.
    Dispersed(PublicKey),
    /// There are frames, or the end, to take.
    Readable(LinkId),
    /// After [`SendError::Full`]: there is room again.
    Writable(LinkId),
    /// Packets travel another way from now on.
    Rerouted {
        /// The connection.
        link: LinkId,
        /// Which.
        course: Course,
    },
    /// Something happened to a relay of ours.
    Relay {
        /// Its key.
        relay: PublicKey,
        /// What.
        news: RelayNews,
    },
    /// The peer of a connection has not been heard for 18 s; it does not count as open until it is. Where the peer
    /// cannot outlast that, the connection is closed instead.
    Stalled(LinkId),
    /// The peer of a stalled connection is heard again.
    Revived(LinkId),
    /// A connection is over; nothing more can be taken from it.
    Closed {
        /// The connection.
        link: LinkId,
        /// The peer.
        remote: PublicKey,
        /// Why.
        why: LinkError,
    },
}
