//! Frames over an ordered byte stream (npm `@hyperswarm/secret-stream` 6.9).

mod input;

use std::fmt;
use std::time::{Duration, Instant};

use crate::key::Secret;
use crate::secretstream::{Chain, HEADER_LEN, OVERHEAD};
use crate::session::Session;
use input::Input;
use wire::PublicKey;

const LENGTH_LEN: usize = 3;
const ID_LEN: usize = 32;

/// What happens to frames without text, which JavaScript peers send to keep a connection alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmptyFrames {
    /// They only show that the peer lives.
    Swallowed,
    /// They are frames like others, until keep-alive is enabled here.
    Delivered,
}

/// Limits and times of a [`SecretStream`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamConfig {
    /// Longest text of a frame that a peer may send, in bytes. An unfinished frame takes as much memory as has
    /// arrived of it, so this is what a connection can cost. The default is all that a frame can hold, as in
    /// the reference.
    pub frame_max: usize,
    /// Sends an empty frame after so long without a frame of ours; HyperDHT uses five seconds on both sides.
    pub keep_alive: Option<Duration>,
    /// Gives up after so long without a byte from the peer. The reference leaves this off: a dead peer is
    /// noticed because it does not acknowledge keep-alive frames.
    pub silence_max: Option<Duration>,
    /// What to do with empty frames; without effect where keep-alive is enabled.
    pub empty_frames: EmptyFrames,
}

impl Default for StreamConfig {
    fn default() -> Self {
        Self {
            frame_max: SecretStream::FRAME_MAX,
            keep_alive: Some(Duration::from_secs(5)),
            silence_max: None,
            empty_frames: EmptyFrames::Swallowed,
        }
    }
}

/// A frame is longer than [`SecretStream::FRAME_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {0} bytes is too long")]
pub struct FrameTooLong(pub usize);

/// Why a stream is over. None of these heals: the connection has to be destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The peer's first frame is no header of this session.
    #[error("the peer sent a wrong header")]
    Header,
    /// The peer claims a frame that is shorter than its seal.
    #[error("the peer sent a frame that is too short")]
    FrameTooShort,
    /// The peer claims a frame above [`StreamConfig::frame_max`].
    #[error("the peer sent a frame that is too long")]
    FrameTooLong,
    /// A frame was changed on its way, or was made by someone else.
    #[error("a frame does not authenticate")]
    Forged,
    /// Nothing came for [`StreamConfig::silence_max`].
    #[error("the peer was silent for too long")]
    Silent,
}

/// What a stream carried, without the headers; empty frames count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamStats {
    /// Sealed bytes of frames received, without their lengths (the reference's `rawBytesRead`).
    pub bytes_read: u64,
    /// Bytes of frames sent, with their lengths (the reference's `rawBytesWritten`).
    pub bytes_written: u64,
    /// Authentic frames received.
    pub frames_read: u64,
    /// Frames sent.
    pub frames_written: u64,
}

/// Seals and opens the frames of one connection. Frames stay whole: one sent is one received.
///
/// It writes into buffers of the caller, and reads from slices of the caller one frame at a time, so it holds
/// no queue: at most one unfinished frame.
///
/// ```text
/// first, each side:  | 38 00 00 | stream id 32 | header 24 |
/// then, each frame:  | length u24le | sealed tag 1 | sealed text | authenticator 16 |
/// ```
///
/// ```
/// # use std::time::Instant;
/// # use peer::{Handshake, Party, Role, Secret, SecretStream, StaticKey, StreamConfig};
/// # let keys = [1, 2].map(|seed| StaticKey::from_seed(&[seed; 32]));
/// # let party = |n: u8| Party { key: &keys[usize::from(n)], prologue: b"", ephemeral: Secret::new([7 + n; 32]) };
/// # let mut client = Handshake::new(Role::IkInitiator { remote: keys[1].public() }, party(0));
/// # let mut server = Handshake::new(Role::IkResponder, party(1));
/// # let (mut first, mut second) = (Vec::new(), Vec::new());
/// # client.write(b"", &mut first)?;
/// # server.read(&first)?;
/// # server.write(b"", &mut second)?;
/// # client.read(&second)?;
/// # let (ours, theirs) = (client.finish()?, server.finish()?);
/// # let now = Instant::now();
/// # let (chance, more_chance) = ([3; 24], [4; 24]);
/// let (mut to_peer, mut ignored) = (Vec::new(), Vec::new());
/// let mut ours = SecretStream::start(now, ours, chance, StreamConfig::default(), &mut to_peer);
/// let mut theirs = SecretStream::start(now, theirs, more_chance, StreamConfig::default(), &mut ignored);
/// ours.send(now, b"hello", &mut to_peer)?;
///
/// let mut arrived = &to_peer[..];
/// assert_eq!(theirs.read(now, &mut arrived)?, Some(&b"hello"[..]));
/// assert_eq!(theirs.read(now, &mut arrived)?, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SecretStream {
    remote: PublicKey,
    outgoing: Chain,
    incoming: Incoming,
    input: Input,
    frame_max: usize,
    empty_frames: EmptyFrames,
    keep_alive: Option<Duration>,
    keep_alive_at: Option<Instant>,
    silence_max: Option<Duration>,
    heard: Instant,
    failed: Option<StreamError>,
    stats: StreamStats,
}

/// What the peer's next frame is.
enum Incoming {
    Header { id: [u8; ID_LEN], key: Secret },
    Frames(Chain),
}

impl SecretStream {
    /// Longest text of a frame, in bytes: what a length of three bytes leaves for it.
    pub const FRAME_MAX: usize = 0xff_ffff - OVERHEAD;

    /// Bytes that a frame has besides its text.
    pub const FRAME_OVERHEAD: usize = LENGTH_LEN + OVERHEAD;

    /// Starts a stream, and appends our header to `out`; `header` is fresh chance. Frames can be sent at once:
    /// neither side waits for the other's header.
    #[must_use]
    pub fn start(
        now: Instant,
        session: Session,
        header: [u8; HEADER_LEN],
        config: StreamConfig,
        out: &mut Vec<u8>,
    ) -> Self {
        push_length(ID_LEN + HEADER_LEN, out);
        out.extend(session.stream_id(session.side()));
        out.extend(header);
        let outgoing = Chain::new(session.send_key(), &header);
        let id = session.stream_id(session.side().other());
        let mut stream = Self {
            remote: session.remote(),
            outgoing,
            incoming: Incoming::Header { id, key: session.receive },
            input: Input::default(),
            frame_max: config.frame_max,
            empty_frames: config.empty_frames,
            keep_alive: None,
            keep_alive_at: None,
            silence_max: config.silence_max,
            heard: now,
            failed: None,
            stats: StreamStats::default(),
        };
        stream.set_keep_alive(now, config.keep_alive);
        stream
    }

    /// Returns the key that the peer proved, see [`Self::is_confirmed`].
    #[must_use]
    pub const fn remote(&self) -> PublicKey {
        self.remote
    }

    /// Tells whether a frame of the peer authenticated: only then is it certain that the peer is there, and
    /// that the first message of its handshake was no recording. Its header proves nothing.
    #[must_use]
    pub const fn is_confirmed(&self) -> bool {
        self.stats.frames_read > 0
    }

    /// Returns what was carried.
    #[must_use]
    pub const fn stats(&self) -> StreamStats {
        self.stats
    }

    /// Returns the bytes of memory that the unfinished frame takes.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.input.capacity()
    }

    /// Appends a frame to `out`.
    ///
    /// # Errors
    ///
    /// Fails, and appends nothing, where the text is longer than [`Self::FRAME_MAX`].
    pub fn send(&mut self, now: Instant, text: &[u8], out: &mut Vec<u8>) -> Result<(), FrameTooLong> {
        if text.len() > Self::FRAME_MAX {
            return Err(FrameTooLong(text.len()));
        }
        self.push(now, text, out);
        Ok(())
    }

    /// Appends an empty frame to `out`: a sign of life which the peer has to acknowledge.
    pub fn send_keep_alive(&mut self, now: Instant, out: &mut Vec<u8>) {
        self.push(now, &[], out);
    }

    fn push(&mut self, now: Instant, text: &[u8], out: &mut Vec<u8>) {
        push_length(text.len() + OVERHEAD, out);
        self.outgoing.seal(text, out);
        self.stats.frames_written += 1;
        self.stats.bytes_written += (text.len() + Self::FRAME_OVERHEAD) as u64;
        self.keep_alive_at = self.keep_alive.map(|every| now + every);
    }

    /// Changes how long we may be silent. Once enabled, empty frames of the peer are swallowed for good.
    pub fn set_keep_alive(&mut self, now: Instant, every: Option<Duration>) {
        self.keep_alive = every.filter(|every| !every.is_zero());
        self.keep_alive_at = self.keep_alive.map(|every| now + every);
        if self.keep_alive.is_some() {
            self.empty_frames = EmptyFrames::Swallowed;
        }
    }

    /// Stops keep-alive because nothing more will be sent; the peer may still send.
    pub fn finish(&mut self) {
        self.keep_alive = None;
        self.keep_alive_at = None;
    }

    /// Takes bytes from the front of `input` until a frame is complete, and returns its text; `None` once all
    /// bytes are taken. Call it until then.
    ///
    /// # Errors
    ///
    /// Fails where the peer broke the protocol, and then for ever.
    pub fn read(&mut self, now: Instant, input: &mut &[u8]) -> Result<Option<&[u8]>, StreamError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if !input.is_empty() {
            self.heard = now;
        }
        match self.next(input) {
            Ok(true) => Ok(Some(self.input.text(OVERHEAD))),
            Ok(false) => Ok(None),
            Err(error) => {
                self.failed = Some(error);
                self.input = Input::default();
                Err(error)
            }
        }
    }

    /// Goes on to the next frame that is to be delivered; its text then stands in the input, opened.
    fn next(&mut self, input: &mut &[u8]) -> Result<bool, StreamError> {
        loop {
            let claimed = self.input.claim(input);
            let Some(len) = claimed else { return Ok(false) };
            self.check_length(len)?;
            let Some(frame) = self.input.fill(input) else { return Ok(false) };
            match &mut self.incoming {
                Incoming::Header { id, key } => {
                    self.incoming = Incoming::Frames(open_header(frame, id, key)?);
                }
                Incoming::Frames(chain) => {
                    let text = chain.open(frame).map_err(|_| StreamError::Forged)?;
                    self.stats.frames_read += 1;
                    self.stats.bytes_read += len as u64;
                    if !text.is_empty() || self.empty_frames == EmptyFrames::Delivered {
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// Checks a length before a byte of its frame takes memory.
    fn check_length(&self, len: usize) -> Result<(), StreamError> {
        match self.incoming {
            Incoming::Header { .. } if len != ID_LEN + HEADER_LEN => Err(StreamError::Header),
            Incoming::Frames(_) if len < OVERHEAD => Err(StreamError::FrameTooShort),
            Incoming::Frames(_) if len - OVERHEAD > self.frame_max => Err(StreamError::FrameTooLong),
            _ => Ok(()),
        }
    }

    /// Does what is due: appends a keep-alive frame to `out`.
    ///
    /// # Errors
    ///
    /// Fails with [`StreamError::Silent`] where nothing came for too long, and where the stream had failed.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<u8>) -> Result<(), StreamError> {
        if self.silence_max.is_some_and(|max| now >= self.heard + max) {
            self.failed.get_or_insert(StreamError::Silent);
        }
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.keep_alive_at.is_some_and(|at| at <= now) {
            self.send_keep_alive(now, out);
        }
        Ok(())
    }

    /// Returns when [`Self::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.failed.is_some() {
            return None;
        }
        let silence = self.silence_max.map(|max| self.heard + max);
        self.keep_alive_at.into_iter().chain(silence).min()
    }
}

impl fmt::Debug for SecretStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretStream")
            .field("remote", &self.remote)
            .field("stats", &self.stats)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

fn push_length(len: usize, out: &mut Vec<u8>) {
    let [low, middle, high, ..] = len.to_le_bytes();
    out.extend([low, middle, high]);
}

fn open_header(frame: &[u8], id: &[u8; ID_LEN], key: &Secret) -> Result<Chain, StreamError> {
    let (theirs, header) = frame.split_first_chunk::<ID_LEN>().ok_or(StreamError::Header)?;
    let header = header.try_into().map_err(|_| StreamError::Header)?;
    if theirs == id { Ok(Chain::new(key, header)) } else { Err(StreamError::Header) }
}
