use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::swarm::{Course, Direction, LinkError, Opened, Route, SendError};
use dht::PublicKey;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::pipe::Pipe;

/// Bytes of one frame when a connection is written to as a stream.
const CHUNK: usize = 64 << 10;
/// Longest frame that a peer takes (`@hyperswarm/secret-stream` 6.9), in bytes.
const FRAME_MAX: usize = 16_777_198;

/// Tells when the packets of a connection travel another way.
pub struct Moves {
    pipe: Arc<Pipe>,
}

impl Moves {
    /// Waits for the next change; `None` once the connection is over. Cancellation-safe.
    pub async fn next(&self) -> Option<Course> {
        poll_fn(|context| self.pipe.poll_moved(context)).await
    }
}

impl fmt::Debug for Moves {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Moves").finish_non_exhaustive()
    }
}

/// An encrypted connection with a peer.
///
/// It carries frames, which arrive whole ([`send`](Self::send), [`recv`](Self::recv)), and is a stream of bytes
/// as well ([`AsyncRead`], [`AsyncWrite`]). Dropping it closes it at once: what was not sent is lost. To end it
/// in order, call [`finish`](Self::finish) and read to the end.
///
/// Incoming bytes count as the peer's from the first frame on; before that the key may be shown by a recording of
/// its handshake.
pub struct Connection {
    opened: Opened,
    pipe: Arc<Pipe>,
    /// The rest of a frame that was read as bytes.
    rest: Vec<u8>,
    at: usize,
}

impl Connection {
    pub(crate) const fn new(opened: Opened, pipe: Arc<Pipe>) -> Self {
        Self { opened, pipe, rest: Vec::new(), at: 0 }
    }

    /// Returns the peer's key.
    #[must_use]
    pub const fn remote(&self) -> PublicKey {
        self.opened.remote
    }

    /// Returns our key of this connection.
    #[must_use]
    pub const fn local(&self) -> PublicKey {
        self.opened.local
    }

    /// Returns 32 bytes that both ends of this connection know, and nobody else. A protocol inside signs them, so that
    /// nobody can stand between.
    #[must_use]
    pub const fn binding(&self) -> [u8; 32] {
        self.opened.binding
    }

    /// Returns who began it.
    #[must_use]
    pub const fn direction(&self) -> Direction {
        self.opened.direction
    }

    /// Returns the way of its packets, as it is now: a relayed connection may have found a direct path since
    /// it opened.
    #[must_use]
    pub fn course(&self) -> Course {
        let Opened { route, address, relay, .. } = self.opened;
        self.pipe.course().unwrap_or(Course { route, address, relay })
    }

    /// Returns how packets travel.
    #[must_use]
    pub fn route(&self) -> Route {
        self.course().route
    }

    /// Returns the relay that packets travel through.
    #[must_use]
    pub fn relay(&self) -> Option<PublicKey> {
        self.course().relay
    }

    /// Returns the peer's address, or the relay's.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.course().address
    }

    /// Returns a handle that tells of other ways, for while the connection itself is lent as a stream.
    #[must_use]
    pub fn moves(&self) -> Moves {
        Moves { pipe: Arc::clone(&self.pipe) }
    }

    /// Returns how long it took from the first message to the address.
    #[must_use]
    pub const fn took(&self) -> Duration {
        self.opened.took
    }

    /// Sends a frame, which arrives whole. Waits while 256 KiB wait already. Cancellation-safe: a frame is taken
    /// whole or not at all.
    ///
    /// # Errors
    ///
    /// Fails where the connection is over or was finished, or the frame is longer than 16,777,198 bytes.
    pub async fn send(&self, frame: &[u8]) -> Result<(), SendError> {
        send(&self.pipe, frame).await
    }

    /// Returns a handle that sends while another task receives.
    #[must_use]
    pub fn sender(&self) -> Sender {
        Sender { pipe: Arc::clone(&self.pipe) }
    }

    /// Waits for the next frame; `None` once the peer has finished, or the connection is over, of which
    /// [`closed`](Self::closed) tells why. Cancellation-safe.
    pub async fn recv(&mut self) -> Option<Vec<u8>> {
        if self.at < self.rest.len() {
            let rest = self.rest.split_off(self.at);
            (self.rest, self.at) = (Vec::new(), 0);
            return Some(rest);
        }
        poll_fn(|context| self.pipe.poll_frame(context)).await
    }

    /// Says that nothing follows what was sent; the peer may still send.
    pub fn finish(&self) {
        self.pipe.finish();
    }

    /// Waits until the connection is over, and tells why. Cancellation-safe.
    pub async fn closed(&self) -> LinkError {
        poll_fn(|context| self.pipe.poll_closed(context)).await
    }
}

/// Sends frames of a [`Connection`] that another task reads. The connection ends with its own handle.
#[derive(Debug)]
pub struct Sender {
    pipe: Arc<Pipe>,
}

impl Sender {
    /// Sends a frame as [`Connection::send`] does.
    ///
    /// # Errors
    ///
    /// As [`Connection::send`].
    pub async fn send(&self, frame: &[u8]) -> Result<(), SendError> {
        send(&self.pipe, frame).await
    }

    /// Says that nothing follows what was sent.
    pub fn finish(&self) {
        self.pipe.finish();
    }
}

async fn send(pipe: &Pipe, frame: &[u8]) -> Result<(), SendError> {
    if frame.len() > FRAME_MAX {
        return Err(SendError::TooLong);
    }
    poll_fn(|context| pipe.poll_room(context))
        .await
        .map_err(|closed| if closed.is_some() { SendError::Closed } else { SendError::Finished })?;
    pipe.push(frame.to_vec());
    Ok(())
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.at >= self.rest.len() {
            match ready!(self.pipe.poll_frame(context)) {
                Some(frame) => (self.rest, self.at) = (frame, 0),
                None => {
                    return Poll::Ready(match self.pipe.closed() {
                        None | Some(LinkError::Finished) => Ok(()),
                        Some(why) => Err(broken(why)),
                    });
                }
            }
        }
        let len = buf.remaining().min(self.rest.len() - self.at);
        buf.put_slice(&self.rest[self.at..self.at + len]);
        self.at += len;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match ready!(self.pipe.poll_room(context)) {
            Ok(()) if bytes.is_empty() => Poll::Ready(Ok(0)),
            Ok(()) => {
                let len = bytes.len().min(CHUNK);
                self.pipe.push(bytes[..len].to_vec());
                Poll::Ready(Ok(len))
            }
            Err(Some(why)) => Poll::Ready(Err(broken(why))),
            Err(None) => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pipe.poll_drained(context).map_err(broken)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pipe.finish();
        self.pipe.poll_drained(context).map_err(broken)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.pipe.release();
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connection").field(&self.opened).finish()
    }
}

fn broken(why: LinkError) -> io::Error {
    let kind = match why {
        LinkError::TimedOut => io::ErrorKind::TimedOut,
        LinkError::Broken(_) => io::ErrorKind::InvalidData,
        LinkError::Closed | LinkError::Duplicate => io::ErrorKind::ConnectionAborted,
        _ => io::ErrorKind::ConnectionReset,
    };
    io::Error::new(kind, why)
}
