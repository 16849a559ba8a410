//! Channels over the frames of one connection (npm `protomux` 3.12).

mod cursor;
mod frames;

use std::collections::{BTreeMap, VecDeque};

use wire::{DecodeError, Reader, Write};

use crate::stream::SecretStream;
use cursor::{Cursor, Item};
use frames::Frames;

/// Channel 0 carries messages about channels.
const CONTROL: u64 = 0;

const BATCH: u64 = 0;
const OPEN: u64 = 1;
const REJECT: u64 = 2;
const CLOSE: u64 = 3;

/// What two sides pair their channels by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelName {
    /// What is spoken, for example `blind-relay`.
    pub protocol: Box<str>,
    /// Tells channels of one protocol apart; empty where there is nothing to tell.
    pub id: Box<[u8]>,
}

impl ChannelName {
    /// Names a channel.
    #[must_use]
    pub fn new(protocol: &str, id: &[u8]) -> Self {
        Self { protocol: protocol.into(), id: id.into() }
    }

    fn len(&self) -> usize {
        self.protocol.len() + self.id.len()
    }
}

/// A channel that we opened. Its number on the wire may serve another channel after it; this does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId {
    serial: u64,
    local: u64,
}

/// A channel that the peer opened and we did not answer yet. The order is that of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId {
    serial: u64,
    remote: u64,
}

/// How much a peer can make a [`Mux`] hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MuxLimits {
    /// Channels that either side has open at once. Of the peer's, more are rejected; of ours, more are refused.
    pub channels_max: usize,
    /// Bytes of protocol and id in a name; longer ones are rejected.
    pub name_max: usize,
    /// Bytes of messages for channels that we did not answer yet, with 512 more each. Above it the mux takes no
    /// frame; the reference pauses its stream there.
    pub backlog_max: usize,
}

impl Default for MuxLimits {
    fn default() -> Self {
        Self { channels_max: 1024, name_max: 1024, backlog_max: 32_768 }
    }
}

/// Why nothing more can be read from a peer's channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MuxError {
    /// A frame ended early, or a number in it is out of range.
    #[error("a frame is malformed")]
    Malformed(#[from] DecodeError),
    /// The peer opened a channel under a number that is taken, or not next.
    #[error("a channel was opened under a wrong number")]
    InvalidOpen,
    /// The peer rejected what we did not open.
    #[error("a channel was rejected that was not opened")]
    InvalidReject,
    /// A batch stands in a batch.
    #[error("a batch stands in a batch")]
    NestedBatch,
}

/// Why a frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The events of the previous frame were not all polled.
    #[error("the previous frame has more events")]
    Undrained,
    /// Too much waits for channels that were requested: open or reject them first.
    #[error("requested channels have to be answered first")]
    Backlog,
}

/// Why a channel was not opened, or a message not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The channel is closed.
    #[error("the channel is closed")]
    Closed,
    /// [`MuxLimits::channels_max`] channels are open.
    #[error("too many channels are open")]
    TooManyChannels,
    /// The message does not fit a frame.
    #[error("a message of {0} bytes is too long")]
    TooLong(usize),
}

/// What the peer did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MuxEvent {
    /// It opened a channel that we did not. Answer with [`Mux::open`] of the same name or [`Mux::reject`].
    Requested {
        /// For [`Mux::reject`].
        request: RequestId,
        /// What it wants to speak.
        name: ChannelName,
    },
    /// It took a request back.
    Withdrawn {
        /// The request.
        request: RequestId,
    },
    /// A channel of ours is open on both sides.
    Opened {
        /// The channel.
        channel: ChannelId,
        /// What the peer said on opening; empty where the protocol has nothing to say.
        handshake: Vec<u8>,
    },
    /// A message came.
    Message {
        /// Its channel.
        channel: ChannelId,
        /// Number of its type in the channel's protocol.
        kind: u64,
        /// The message itself.
        payload: Vec<u8>,
    },
    /// It does not want a channel of ours.
    Rejected {
        /// The channel, gone.
        channel: ChannelId,
    },
    /// It closed a channel.
    Closed {
        /// The channel, gone.
        channel: ChannelId,
    },
}

/// A message to send with others in one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outgoing<'a> {
    /// Its channel.
    pub channel: ChannelId,
    /// Number of its type in the channel's protocol.
    pub kind: u64,
    /// The message itself.
    pub payload: &'a [u8],
}

/// Carries many channels over one connection; both sides open a channel, and name it alike.
///
/// Numbers of channels belong to the side that opened them. After each change, poll frames to send and
/// events. Frames are decoded as their events are polled, so a frame takes its own size and no more.
///
/// ```text
/// open     | 00 | 01 | own id uint | protocol text | id bytes | handshake |
/// reject   | 00 | 02 | the opener's id uint |
/// close    | 00 | 03 | own id uint |
/// message  | own id uint | type uint | message |
/// batch    | 00 | 00 | id uint | items |        item | length uint | type uint | message |
///          a length of 0 is followed by the id of the items after it
/// ```
#[derive(Debug)]
pub struct Mux {
    limits: MuxLimits,
    local: BTreeMap<u64, Local>,
    /// Our numbers in the order in which they came free; the last is used first, as in the reference.
    free: Vec<u64>,
    local_ids: u64,
    remote: BTreeMap<u64, Remote>,
    remote_ids: u64,
    /// Our numbers that the peer did not answer yet, closed ones too: those are not free before.
    unanswered: BTreeMap<ChannelName, VecDeque<u64>>,
    requests: BTreeMap<ChannelName, VecDeque<u64>>,
    backlog: usize,
    serial: u64,
    cursor: Cursor,
    ready: VecDeque<MuxEvent>,
    frames: Frames,
    failed: Option<MuxError>,
}

#[derive(Debug)]
struct Local {
    channel: ChannelId,
    remote: Option<u64>,
}

/// Whom the peer's number stands for.
#[derive(Debug)]
enum Remote {
    Paired(ChannelId),
    Requested(Request),
}

#[derive(Debug)]
struct Request {
    id: RequestId,
    name: ChannelName,
    handshake: Vec<u8>,
    messages: Vec<(u64, Vec<u8>)>,
    backlog: usize,
}

/// What each waiting message counts besides its bytes, as in the reference.
const BACKLOG_PER_MESSAGE: usize = 512;

/// Bytes after which a batch goes on in another frame, as in the reference.
const BATCH_MAX: usize = 8 * 1024 * 1024;

/// Bytes that the numbers before a message take at most.
const NUMBERS_MAX: usize = 3 + 9 + 9 + 9;

impl Mux {
    /// Starts without channels.
    #[must_use]
    pub fn new(limits: MuxLimits) -> Self {
        Self {
            limits,
            local: BTreeMap::new(),
            free: Vec::new(),
            local_ids: 0,
            remote: BTreeMap::new(),
            remote_ids: 0,
            unanswered: BTreeMap::new(),
            requests: BTreeMap::new(),
            backlog: 0,
            serial: 0,
            cursor: Cursor::default(),
            ready: VecDeque::new(),
            frames: Frames::default(),
            failed: None,
        }
    }

    /// Opens a channel, and answers a request of the same name if there is one. Messages can be sent at once.
    ///
    /// # Errors
    ///
    /// Fails where too many channels are open, and where name and handshake do not fit a frame.
    pub fn open(&mut self, name: ChannelName, handshake: &[u8]) -> Result<ChannelId, ChannelError> {
        let in_use = self.local_ids - self.free.len() as u64;
        if in_use >= self.limits.channels_max as u64 {
            return Err(ChannelError::TooManyChannels);
        }
        let len = name.len() + handshake.len() + NUMBERS_MAX;
        if len > SecretStream::FRAME_MAX {
            return Err(ChannelError::TooLong(len));
        }
        let local = self.free.pop().unwrap_or_else(|| {
            self.local_ids += 1;
            self.local_ids
        });
        let channel = ChannelId { local, serial: self.next_serial() };
        self.frames.push(|out| {
            out.raw(&[0, 1]);
            out.uint(local);
            out.bytes(name.protocol.as_bytes());
            out.bytes(&name.id);
            out.raw(handshake);
        });
        let request = self.take_request(&name);
        self.local
            .insert(local, Local { channel, remote: request.as_ref().map(|request| request.id.remote) });
        match request {
            Some(request) => self.pair(channel, request),
            None => self.unanswered.entry(name).or_default().push_back(local),
        }
        Ok(channel)
    }

    /// Tells the peer that a channel which it opened is not wanted here.
    pub fn reject(&mut self, request: RequestId) {
        if self.is_waiting(request) {
            self.forget_request(request.remote);
            self.push_control(REJECT, request.remote);
        }
    }

    /// Closes a channel; messages of the peer that are on their way are dropped.
    pub fn close(&mut self, channel: ChannelId) {
        if let Some(local) = self.find(channel) {
            self.push_control(CLOSE, local);
            self.release(local);
        }
    }

    /// Sends a message.
    ///
    /// # Errors
    ///
    /// Fails where the channel is closed, and where the message does not fit a frame.
    pub fn send(&mut self, channel: ChannelId, kind: u64, payload: &[u8]) -> Result<(), ChannelError> {
        let local = self.find(channel).ok_or(ChannelError::Closed)?;
        check_len(payload.len())?;
        self.frames.push(|out| {
            out.uint(local);
            out.uint(kind);
            out.raw(payload);
        });
        Ok(())
    }

    /// Sends messages in as few frames as possible.
    ///
    /// # Errors
    ///
    /// Fails, and sends none, where a channel is closed or a message does not fit a frame.
    pub fn send_batch(&mut self, messages: &[Outgoing<'_>]) -> Result<(), ChannelError> {
        for message in messages {
            self.find(message.channel).ok_or(ChannelError::Closed)?;
            check_len(message.payload.len())?;
        }
        let mut rest = messages;
        while !rest.is_empty() {
            let mut len = 0;
            let fits = rest.iter().take_while(|message| {
                let before = len;
                len += message.payload.len() + NUMBERS_MAX;
                before == 0 || len <= BATCH_MAX
            });
            let (now, later) = rest.split_at(fits.count());
            self.frames.push(|out| encode_batch(now, out));
            rest = later;
        }
        Ok(())
    }

    /// Takes a frame of the peer; its events are polled.
    ///
    /// # Errors
    ///
    /// Fails where the host must poll events, or answer requests, first.
    pub fn handle_frame(&mut self, frame: &[u8]) -> Result<(), Refused> {
        if !self.cursor.is_empty() || !self.ready.is_empty() {
            return Err(Refused::Undrained);
        }
        if self.backlog > self.limits.backlog_max {
            return Err(Refused::Backlog);
        }
        self.cursor = Cursor::new(frame.to_vec());
        Ok(())
    }

    /// Returns the next event.
    ///
    /// # Errors
    ///
    /// Fails where the peer broke the protocol, and then for ever: the connection has to be destroyed.
    pub fn poll_event(&mut self) -> Result<Option<MuxEvent>, MuxError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            if let Some(error) = self.failed {
                return Err(error);
            }
            let mut cursor = std::mem::take(&mut self.cursor);
            let handled = cursor.next().and_then(|item| match item {
                None => Ok(false),
                Some(item) => self.handle_item(&item).map(|()| true),
            });
            match handled {
                Ok(true) => self.cursor = cursor,
                Ok(false) => return Ok(None),
                Err(error) => self.failed = Some(error),
            }
        }
    }

    /// Puts the next frame to send into `buf`, in place of what was there; tells whether there was one.
    #[must_use]
    pub fn poll_frame(&mut self, buf: &mut Vec<u8>) -> bool {
        self.frames.pop(buf)
    }

    /// Tells whether there is a frame to send.
    #[must_use]
    pub fn has_frames(&self) -> bool {
        !self.frames.is_empty()
    }

    /// Counts our channels, including those that the peer did not answer yet.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.local.len()
    }

    fn handle_item(&mut self, item: &Item<'_>) -> Result<(), MuxError> {
        let mut rest = Reader::new(item.bytes);
        let kind = rest.uint()?;
        if item.channel != CONTROL {
            self.handle_message(item.channel, kind, rest.rest());
            return Ok(());
        }
        match kind {
            BATCH => Err(MuxError::NestedBatch),
            OPEN => self.handle_open(rest),
            REJECT => self.handle_reject(rest.uint()?),
            CLOSE => {
                self.handle_close(rest.uint()?);
                Ok(())
            }
            // Peers may be newer.
            _ => Ok(()),
        }
    }

    fn handle_message(&mut self, remote: u64, kind: u64, payload: &[u8]) {
        match self.remote.get_mut(&remote) {
            // It was closed here while the message was on its way.
            None => {}
            Some(Remote::Paired(channel)) => {
                let event = MuxEvent::Message { channel: *channel, kind, payload: payload.to_vec() };
                self.ready.push_back(event);
            }
            Some(Remote::Requested(request)) => {
                let cost = payload.len() + BACKLOG_PER_MESSAGE;
                request.messages.push((kind, payload.to_vec()));
                request.backlog += cost;
                self.backlog += cost;
            }
        }
    }

    fn handle_open(&mut self, mut r: Reader<'_>) -> Result<(), MuxError> {
        let remote = r.uint()?;
        let name = ChannelName::new(r.text()?, r.bytes()?);
        if remote == CONTROL {
            self.push_control(REJECT, remote);
            return Ok(());
        }
        // A number is one that was used before, or the next.
        if remote > self.remote_ids + 1 || self.remote.contains_key(&remote) {
            return Err(MuxError::InvalidOpen);
        }
        self.remote_ids = self.remote_ids.max(remote);
        match self.take_unanswered(&name) {
            Some(local) => self.answered(local, remote, r.rest()),
            None if self.remote.len() >= self.limits.channels_max || name.len() > self.limits.name_max => {
                self.push_control(REJECT, remote);
            }
            None => self.request(remote, name, r.rest()),
        }
        Ok(())
    }

    /// The peer opened what we had opened.
    fn answered(&mut self, local: u64, remote: u64, handshake: &[u8]) {
        if let Some(open) = self.local.get_mut(&local) {
            open.remote = Some(remote);
            self.remote.insert(remote, Remote::Paired(open.channel));
            self.ready.push_back(MuxEvent::Opened { channel: open.channel, handshake: handshake.to_vec() });
        } else {
            // It may have been slow to answer, and have passed our first close over: there was nothing to close.
            self.push_control(CLOSE, local);
            self.free.push(local);
        }
    }

    fn request(&mut self, remote: u64, name: ChannelName, handshake: &[u8]) {
        let id = RequestId { remote, serial: self.next_serial() };
        let backlog = handshake.len() + BACKLOG_PER_MESSAGE;
        self.backlog += backlog;
        self.requests.entry(name.clone()).or_default().push_back(remote);
        self.ready.push_back(MuxEvent::Requested { request: id, name: name.clone() });
        let request = Request { id, name, handshake: handshake.to_vec(), messages: Vec::new(), backlog };
        self.remote.insert(remote, Remote::Requested(request));
    }

    fn handle_reject(&mut self, local: u64) -> Result<(), MuxError> {
        let asked = self.unanswered.iter().find(|(_, ids)| ids.contains(&local));
        let name = asked.map(|(name, _)| name.clone()).ok_or(MuxError::InvalidReject)?;
        retain_others(&mut self.unanswered, &name, local);
        self.free.push(local);
        if let Some(open) = self.local.remove(&local) {
            self.ready.push_back(MuxEvent::Rejected { channel: open.channel });
        }
        Ok(())
    }

    fn handle_close(&mut self, remote: u64) {
        match self.remote.get(&remote) {
            None => {}
            Some(Remote::Paired(channel)) => {
                let channel = *channel;
                self.release(channel.local);
                self.ready.push_back(MuxEvent::Closed { channel });
            }
            Some(Remote::Requested(request)) => {
                let request = request.id;
                self.forget_request(remote);
                // Its number comes free only when it is answered.
                self.push_control(REJECT, remote);
                self.ready.push_back(MuxEvent::Withdrawn { request });
            }
        }
    }

    fn pair(&mut self, channel: ChannelId, request: Request) {
        self.remote.insert(request.id.remote, Remote::Paired(channel));
        self.ready.push_back(MuxEvent::Opened { channel, handshake: request.handshake });
        let messages = request.messages.into_iter();
        self.ready.extend(messages.map(|(kind, payload)| MuxEvent::Message { channel, kind, payload }));
    }

    /// Forgets a channel of ours; its number is free at once where the peer had answered.
    fn release(&mut self, local: u64) {
        if let Some(remote) = self.local.remove(&local).and_then(|open| open.remote) {
            self.remote.remove(&remote);
            self.free.push(local);
        }
    }

    fn find(&self, channel: ChannelId) -> Option<u64> {
        self.local.get(&channel.local).filter(|open| open.channel == channel).map(|_| channel.local)
    }

    fn is_waiting(&self, request: RequestId) -> bool {
        matches!(self.remote.get(&request.remote), Some(Remote::Requested(waiting)) if waiting.id == request)
    }

    /// Takes the oldest of our numbers that waits for the peer to open this name.
    fn take_unanswered(&mut self, name: &ChannelName) -> Option<u64> {
        let local = *self.unanswered.get(name)?.front()?;
        retain_others(&mut self.unanswered, name, local);
        Some(local)
    }

    fn take_request(&mut self, name: &ChannelName) -> Option<Request> {
        let remote = *self.requests.get(name)?.front()?;
        self.forget_request(remote)
    }

    fn forget_request(&mut self, remote: u64) -> Option<Request> {
        let Some(Remote::Requested(request)) = self.remote.remove(&remote) else { return None };
        retain_others(&mut self.requests, &request.name, remote);
        self.backlog -= request.backlog;
        Some(request)
    }

    fn push_control(&mut self, kind: u64, id: u64) {
        self.frames.push(|out| [CONTROL, kind, id].into_iter().for_each(|number| out.uint(number)));
    }

    const fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }
}

fn retain_others(queues: &mut BTreeMap<ChannelName, VecDeque<u64>>, name: &ChannelName, id: u64) {
    if let Some(queue) = queues.get_mut(name) {
        queue.retain(|other| *other != id);
        if queue.is_empty() {
            queues.remove(name);
        }
    }
}

fn check_len(len: usize) -> Result<(), ChannelError> {
    if len + NUMBERS_MAX > SecretStream::FRAME_MAX { Err(ChannelError::TooLong(len)) } else { Ok(()) }
}

fn encode_batch(messages: &[Outgoing<'_>], out: &mut Vec<u8>) {
    out.uint(CONTROL);
    out.uint(BATCH);
    let mut channel = None;
    for message in messages {
        if channel != Some(message.channel.local) {
            if channel.is_some() {
                out.count(0);
            }
            out.uint(message.channel.local);
            channel = Some(message.channel.local);
        }
        let mut item = Vec::with_capacity(message.payload.len() + 1);
        item.uint(message.kind);
        item.raw(message.payload);
        out.bytes(&item);
    }
}
