use std::net::SocketAddr;

use wire::SocketId;
use wire::udx::StreamId;

/// A way to a peer: our socket, and its address as we see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    /// Socket that packets leave from and arrive at.
    pub socket: SocketId,
    /// Address of the peer.
    pub remote: SocketAddr,
}

/// What happened to a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Packets for the stream came by a path that it does not know; the first are kept until
    /// [`admit`](crate::Udx::admit), [`connect`](crate::Udx::connect), [`change_path`](crate::Udx::change_path) or
    /// [`refuse`](crate::Udx::refuse). Told once for each path, for as many as four
    /// without a decision.
    PathOffered {
        /// Ours.
        stream: StreamId,
        /// Where they came from.
        path: Path,
    },
    /// The peer uses another path than before, one that was admitted.
    PathHeard {
        /// Ours.
        stream: StreamId,
        /// Where its packets come from now.
        path: Path,
    },
    /// All that was sent before the last change of path has arrived.
    PathChanged(StreamId),
    /// The peer sends by the path that we send by, and did not before.
    PathShared(StreamId),
    /// There are bytes to read, or the end; told again once everything was read and there is more.
    Readable(StreamId),
    /// After a write that was cut short: there is room again.
    Writable(StreamId),
    /// A message came.
    Message(StreamId),
    /// A message came by a path that the stream does not know, where the application wants those
    /// ([`hear_strangers`](crate::Udx::hear_strangers)). Whoever knows the stream's id can send one.
    Overheard(StreamId),
    /// The peer has not acknowledged what it should have by now; told once, until it does.
    Unanswered(StreamId),
    /// The peer acknowledges again.
    Answered(StreamId),
    /// The stream is no more, except for what can still be read: bytes, and the end if the peer finished. It is
    /// kept until [`read`](crate::Udx::read) has told that, or [`destroy`](crate::Udx::destroy) is called.
    Closed {
        /// Ours.
        stream: StreamId,
        /// Who ended it, and how.
        why: CloseReason,
    },
}

/// Why a stream is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// Both sides finished, and everything arrived.
    Finished,
    /// The peer destroyed it (the reference: `ECONNRESET`).
    Reset,
    /// The peer did not answer, for 13 s at least (the reference: `ETIMEDOUT`).
    TimedOut,
}

/// What a read gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Read {
    /// As many bytes.
    Bytes(usize),
    /// Nothing now; [`Event::Readable`] tells when there is more.
    Empty,
    /// The peer finished, everything was read.
    End,
    /// There is no such stream any more.
    Gone,
}

/// Whether a packet was for a stream of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Taken {
    /// It was dealt with.
    Yes,
    /// No stream has this id: the datagram may be for others.
    No,
}

/// What becomes of packets that are on their way when the path changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unacked {
    /// They go on by the former path while that answers, as the reference has it.
    Stay,
    /// The former path is gone: they are sent again by the new one, at once.
    Move,
}

/// Why a call was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// There is no such stream, or no longer.
    #[error("there is no such stream")]
    Unknown,
    /// The id is in use, or was until a moment ago.
    #[error("the stream id is taken")]
    Taken,
    /// As many streams are open as may be.
    #[error("too many streams are open")]
    TooMany,
    /// The stream has a peer already; its path can be changed.
    #[error("the stream is connected already")]
    Connected,
    /// The stream has no peer yet.
    #[error("the stream is not connected")]
    NotConnected,
    /// The application finished the stream.
    #[error("the stream is finished")]
    Finished,
    /// A message is longer than the path carries.
    #[error("the message is longer than a packet")]
    TooLong,
}
