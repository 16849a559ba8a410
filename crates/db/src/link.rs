//! One connection: frames in, checked on their way; frames out, as fast as the other side reads.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Bytes as Payload, Message, Utf8Bytes};
use tooldb::{LinkId, Record};

use crate::host::Ask;
use crate::limits::{Host, LinkLimits, Meter};

/// The library's default would cost 128 KiB for every idle client.
const READ_BUFFER: usize = 2 * 1024;
/// Frames that are handed on together.
const BATCH_FRAMES_MAX: usize = 64;
/// Bytes after which a batch takes no further frame.
const BATCH_BYTES_MAX: usize = 128 * 1024;
/// Batches of one connection that are being checked.
const BATCHES_MAX: usize = 4;
/// Frames that wait to be written to one connection.
const UNREAD_FRAMES_MAX: usize = 8_192;
/// Bytes for each unit of the budget of received frames.
const BUDGET_UNIT: usize = 1024;

pub(crate) fn websocket_config(frame_bytes_max: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_message_size(Some(frame_bytes_max))
        .max_frame_size(Some(frame_bytes_max))
}

/// A frame, with its record if one was found to be genuine.
#[derive(Debug)]
pub(crate) struct Inspected {
    pub(crate) text: Payload,
    pub(crate) record: Option<Record>,
}

impl Inspected {
    fn of(text: Payload) -> Self {
        Self { record: tooldb::inspect(&text), text }
    }
}

/// Where frames for one connection go. Dropping it ends the connection.
#[derive(Debug)]
pub(crate) struct Outbox {
    frames: mpsc::Sender<Outgoing>,
    unread: Arc<AtomicUsize>,
    unread_max: usize,
    /// Dropped with the outbox, which cuts a connection that is stuck in writing.
    alive: watch::Sender<()>,
}

#[derive(Debug)]
enum Outgoing {
    Text(Arc<str>),
    /// The last words; the connection is cut once they are said, or cannot be. In a box, for every connection has
    /// room for some of these.
    Close(Box<(String, watch::Sender<()>)>),
}

/// The other side reads too slowly.
#[derive(Debug)]
pub(crate) struct Slow;

impl Outbox {
    pub(crate) fn send(&self, text: Arc<str>) -> Result<(), Slow> {
        let unread = self.unread.fetch_add(text.len(), Ordering::Relaxed) + text.len();
        if unread > self.unread_max {
            return Err(Slow);
        }
        self.frames.try_send(Outgoing::Text(text)).map_err(|_| Slow)
    }

    /// Says why the connection ends, if the other side still reads.
    pub(crate) fn close(self, why: String) {
        // Who cannot be told is cut off.
        self.frames.try_send(Outgoing::Close(Box::new((why, self.alive)))).unwrap_or_default();
    }
}

/// What a connection shares with all others.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) asks: mpsc::Sender<Ask>,
    pub(crate) limits: Arc<LinkLimits>,
    /// Bytes that may be received and not handled, in kibibytes.
    pub(crate) budget: Arc<Semaphore>,
    /// Threads that check signatures at a time.
    pub(crate) checkers: Arc<Semaphore>,
}

/// The connection's own end of its outbox.
#[derive(Debug)]
pub(crate) struct Inbox {
    frames: mpsc::Receiver<Outgoing>,
    unread: Arc<AtomicUsize>,
    alive: watch::Receiver<()>,
}

pub(crate) fn outbox(limits: &LinkLimits) -> (Outbox, Inbox) {
    let (sender, frames) = mpsc::channel(UNREAD_FRAMES_MAX);
    let (alive, watched) = watch::channel(());
    let unread = Arc::new(AtomicUsize::new(0));
    let inbox = Inbox { frames, unread: Arc::clone(&unread), alive: watched };
    (Outbox { frames: sender, unread, unread_max: limits.unread_bytes_max, alive }, inbox)
}

/// Carries frames until either side ends the connection.
pub(crate) async fn carry<S>(
    socket: WebSocketStream<S>,
    link: LinkId,
    with: (Shared, Option<Arc<Host>>, Inbox),
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    carry_between(socket.split(), link, with).await;
}

/// Carries frames between a sink and a stream of any kind.
pub(crate) async fn carry_between(
    (sink, stream): (impl Sink<Message> + Unpin, impl Stream<Item = Received> + Unpin),
    link: LinkId,
    (shared, host, inbox): (Shared, Option<Arc<Host>>, Inbox),
) {
    let Inbox { frames, unread, mut alive } = inbox;
    let heard = AtomicUsize::new(0);
    let meter = Meter::new(shared.limits.frames_per_second, Instant::now());
    let reading = read(stream, link, (&shared, host.as_deref(), &meter, &heard));
    let writing = write(sink, (frames, &unread), (shared.limits.silence_max, &heard));
    tokio::select! {
        () = reading => {}
        () = writing => {}
        _ = alive.changed() => {}
    }
    // The host is gone when there is nobody to tell.
    shared.asks.send(Ask::Closed { link }).await.unwrap_or_default();
}

pub(crate) type Received = Result<Message, tokio_tungstenite::tungstenite::Error>;

/// Frames that are being checked, in the order in which they came.
enum Pending {
    Done(Vec<Inspected>),
    Checking(JoinHandle<Vec<Inspected>>),
}

impl Pending {
    async fn done(&mut self) -> Vec<Inspected> {
        match self {
            Self::Done(frames) => std::mem::take(frames),
            // A frame whose check panics is lost, and so is its batch.
            Self::Checking(task) => task.await.unwrap_or_default(),
        }
    }
}

async fn read(
    mut stream: impl Stream<Item = Received> + Unpin,
    link: LinkId,
    (shared, host, meter, heard): (&Shared, Option<&Host>, &Meter, &AtomicUsize),
) {
    let mut pending: VecDeque<Pending> = VecDeque::new();
    let mut open = true;
    while open || !pending.is_empty() {
        tokio::select! {
            batch = receive(Pin::new(&mut stream), heard), if open && pending.len() < BATCHES_MAX => {
                open = batch.open;
                throttle(&batch.frames, (host, meter)).await;
                if !batch.frames.is_empty() {
                    pending.push_back(check(batch.frames, shared));
                }
            }
            frames = first(&mut pending), if !pending.is_empty() => {
                pending.pop_front();
                let bytes: usize = frames.iter().map(|frame| frame.text.len()).sum();
                let units = u32::try_from(bytes / BUDGET_UNIT + 1).unwrap_or(u32::MAX);
                let budget = Arc::clone(&shared.budget).acquire_many_owned(units).await;
                let Ok(budget) = budget else { return };
                if shared.asks.send(Ask::Frames { link, frames, budget }).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn first(pending: &mut VecDeque<Pending>) -> Vec<Inspected> {
    match pending.front_mut() {
        Some(first) => first.done().await,
        None => Vec::new(),
    }
}

#[derive(Debug, Default)]
struct Batch {
    frames: Vec<Payload>,
    open: bool,
}

/// Takes a frame and whatever is there with it. Cancellation-safe: it waits only for the first.
async fn receive(mut stream: Pin<&mut (impl Stream<Item = Received> + Unpin)>, heard: &AtomicUsize) -> Batch {
    let mut batch = Batch { frames: Vec::new(), open: true };
    let mut bytes = 0;
    let mut next = stream.next().await;
    loop {
        heard.fetch_add(1, Ordering::Relaxed);
        match next {
            // JavaScript nodes take binary frames, too.
            Some(Ok(Message::Text(text))) => batch.frames.push(text.into()),
            Some(Ok(Message::Binary(bytes))) => batch.frames.push(bytes),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Close(_)) | Err(_)) | None => {
                batch.open = false;
                return batch;
            }
        }
        bytes += batch.frames.last().map_or(0, Bytes::len);
        if batch.frames.len() >= BATCH_FRAMES_MAX || bytes >= BATCH_BYTES_MAX {
            return batch;
        }
        // What is there already, and no more: nothing is waited for.
        let more = std::future::poll_fn(|context| match stream.as_mut().poll_next(context) {
            Poll::Ready(more) => Poll::Ready(Some(more)),
            Poll::Pending => Poll::Ready(None),
        });
        match more.await {
            Some(more) => next = more,
            None => return batch,
        }
    }
}

/// Waits until the frames are within the rates.
async fn throttle(frames: &[Payload], (host, meter): (Option<&Host>, &Meter)) {
    let now = Instant::now();
    let bytes: usize = frames.iter().map(Bytes::len).sum();
    let own = meter.take(frames.len(), now);
    let of_host = host.map(|host| host.frames.take(frames.len(), now).max(host.bytes.take(bytes, now)));
    let wait = own.max(of_host.unwrap_or_default());
    if wait > Duration::ZERO {
        tokio::time::sleep(wait).await;
    }
}

/// One frame is checked here, which is quicker than to wake a thread; more are checked beside what else is done.
fn check(frames: Vec<Payload>, shared: &Shared) -> Pending {
    if frames.len() < 2 {
        return Pending::Done(frames.into_iter().map(Inspected::of).collect());
    }
    let checkers = Arc::clone(&shared.checkers);
    Pending::Checking(tokio::spawn(async move {
        let Ok(permit) = checkers.acquire_owned().await else { return Vec::new() };
        let checked = tokio::task::spawn_blocking(move || {
            let checked = frames.into_iter().map(Inspected::of).collect();
            drop(permit);
            checked
        });
        checked.await.unwrap_or_default()
    }))
}

async fn write(
    mut sink: impl Sink<Message> + Unpin,
    (mut frames, unread): (mpsc::Receiver<Outgoing>, &AtomicUsize),
    (silence_max, heard): (Duration, &AtomicUsize),
) {
    let mut heard_before = heard.load(Ordering::Relaxed);
    let mut pinged = false;
    loop {
        let next = tokio::time::timeout(silence_max / 2, frames.recv()).await;
        let Ok(next) = next else {
            let heard_now = heard.load(Ordering::Relaxed);
            if pinged && heard_now == heard_before {
                return;
            }
            (heard_before, pinged) = (heard_now, true);
            if sink.send(Message::Ping(Payload::new())).await.is_err() {
                return;
            }
            continue;
        };
        let Some(mut outgoing) = next else { return };
        let written = tokio::time::timeout(silence_max, async {
            loop {
                say(&mut sink, outgoing, unread).await?;
                match frames.try_recv() {
                    Ok(more) => outgoing = more,
                    Err(_) => break,
                }
            }
            sink.flush().await.map_err(|_| Ended)
        });
        if !matches!(written.await, Ok(Ok(()))) {
            return;
        }
    }
}

/// There is nothing more to write.
struct Ended;

async fn say(
    sink: &mut (impl Sink<Message> + Unpin),
    outgoing: Outgoing,
    unread: &AtomicUsize,
) -> Result<(), Ended> {
    let text = match outgoing {
        Outgoing::Close(last) => {
            let (why, alive) = *last;
            let frame = CloseFrame { code: CloseCode::Policy, reason: Utf8Bytes::from(why) };
            sink.send(Message::Close(Some(frame))).await.map_err(|_| Ended)?;
            drop(alive);
            return Err(Ended);
        }
        Outgoing::Text(text) => text,
    };
    let length = text.len();
    let text = Utf8Bytes::try_from(Bytes::from_owner(Text(text))).map_err(|_| Ended)?;
    let fed = sink.feed(Message::Text(text)).await;
    unread.fetch_sub(length, Ordering::Relaxed);
    fed.map_err(|_| Ended)
}

/// A frame that several connections share.
struct Text(Arc<str>);

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}
