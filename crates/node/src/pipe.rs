//! What a connection's handle and the node's task share: two queues of frames.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use ::swarm::{Course, LinkError, LinkId};
use tokio::sync::Notify;

/// Bytes of frames that wait for the application before no more are read from the stream. The stream then
/// narrows the peer's window.
const INBOUND_MAX: usize = 256 << 10;
/// Bytes of frames that wait for the node's task before the application has to wait.
const OUTBOUND_MAX: usize = 256 << 10;
/// What an empty frame counts for, so that a queue of them ends too.
const FRAME_COST: usize = 64;

/// Tells the node's task which connections have something for it.
#[derive(Debug, Default)]
pub(crate) struct Doorbell {
    ringing: Mutex<BTreeSet<LinkId>>,
    notify: Notify,
}

impl Doorbell {
    fn ring(&self, link: LinkId) {
        let first = {
            let mut ringing = lock(&self.ringing);
            ringing.insert(link) && ringing.len() == 1
        };
        if first {
            self.notify.notify_one();
        }
    }

    /// Waits until a connection has something. Cancellation-safe.
    pub(crate) async fn heard(&self) {
        self.notify.notified().await;
    }

    pub(crate) fn take(&self) -> BTreeSet<LinkId> {
        std::mem::take(&mut *lock(&self.ringing))
    }
}

/// The queues of one connection.
#[derive(Debug)]
pub(crate) struct Pipe {
    link: LinkId,
    bell: Arc<Doorbell>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    inbound: Queue,
    /// No frame follows those that wait.
    ended: Flag,
    reader: Option<Waker>,
    /// More waits in the stream than there was room for here.
    starved: Flag,
    outbound: Queue,
    finished: Flag,
    writer: Option<Waker>,
    /// The handle is gone.
    released: Flag,
    closed: Option<LinkError>,
    watcher: Option<Waker>,
    /// The way that packets took last, unless it is that of the beginning.
    course: Option<Course>,
    /// The way has changed, and nobody was told.
    moved: Flag,
    mover: Option<Waker>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Flag {
    #[default]
    Down,
    Up,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Queue {
    fn push(&mut self, frame: Vec<u8>) {
        self.bytes += frame.len() + FRAME_COST;
        self.frames.push_back(frame);
    }

    fn pop(&mut self) -> Option<Vec<u8>> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.len() + FRAME_COST;
        if self.frames.is_empty() {
            self.frames = VecDeque::new();
        }
        Some(frame)
    }

    fn unpop(&mut self, frame: Vec<u8>) {
        self.bytes += frame.len() + FRAME_COST;
        self.frames.push_front(frame);
    }
}

/// What the node's task has to do for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outbound {
    /// There may be more later.
    Open,
    /// After what was taken, no more follows.
    Finish,
    /// The handle is gone: nobody reads any more.
    Released,
}

impl Pipe {
    pub(crate) fn new(link: LinkId, bell: Arc<Doorbell>) -> Self {
        Self { link, bell, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    // The node's side.

    /// Tells whether there is room for a frame; where not, the task is called when there is.
    pub(crate) fn has_room(&self) -> bool {
        let mut state = self.state();
        if state.inbound.bytes < INBOUND_MAX {
            return true;
        }
        state.starved = Flag::Up;
        false
    }

    pub(crate) fn deliver(&self, frame: Vec<u8>) {
        let mut state = self.state();
        state.inbound.push(frame);
        wake(&mut state.reader);
    }

    pub(crate) fn end(&self) {
        let mut state = self.state();
        state.ended = Flag::Up;
        wake(&mut state.reader);
    }

    /// Says that the connection is over.
    pub(crate) fn close(&self, why: LinkError) {
        let mut state = self.state();
        state.closed.get_or_insert(why);
        state.ended = Flag::Up;
        let State { reader, writer, watcher, mover, .. } = &mut *state;
        [reader, writer, watcher, mover].into_iter().for_each(wake);
    }

    /// Says that packets travel another way.
    pub(crate) fn reroute(&self, course: Course) {
        let mut state = self.state();
        state.course = Some(course);
        state.moved = Flag::Up;
        wake(&mut state.mover);
    }

    /// Has the task come back after others had a turn.
    pub(crate) fn call_again(&self) {
        self.bell.ring(self.link);
    }

    /// Takes the oldest frame to send.
    pub(crate) fn next_outbound(&self) -> Option<Vec<u8>> {
        let mut state = self.state();
        let frame = state.outbound.pop()?;
        if state.outbound.bytes < OUTBOUND_MAX {
            wake(&mut state.writer);
        }
        Some(frame)
    }

    /// Puts a frame back for which the stream has no room yet.
    pub(crate) fn keep_outbound(&self, frame: Vec<u8>) {
        self.state().outbound.unpop(frame);
    }

    pub(crate) fn outbound(&self) -> Outbound {
        let state = self.state();
        match (state.released, state.finished) {
            (Flag::Up, _) => Outbound::Released,
            (Flag::Down, Flag::Up) => Outbound::Finish,
            (Flag::Down, Flag::Down) => Outbound::Open,
        }
    }

    // The handle's side.

    pub(crate) fn poll_frame(&self, context: &Context<'_>) -> Poll<Option<Vec<u8>>> {
        let mut state = self.state();
        if let Some(frame) = state.inbound.pop() {
            if state.starved == Flag::Up && state.inbound.bytes < INBOUND_MAX / 2 {
                state.starved = Flag::Down;
                drop(state);
                self.bell.ring(self.link);
            }
            return Poll::Ready(Some(frame));
        }
        if state.ended == Flag::Up {
            return Poll::Ready(None);
        }
        state.reader = Some(context.waker().clone());
        Poll::Pending
    }

    /// Waits for room to send, or fails where the connection is over.
    pub(crate) fn poll_room(&self, context: &Context<'_>) -> Poll<Result<(), Option<LinkError>>> {
        let mut state = self.state();
        if let Some(why) = state.closed {
            return Poll::Ready(Err(Some(why)));
        }
        if state.finished == Flag::Up {
            return Poll::Ready(Err(None));
        }
        if state.outbound.bytes < OUTBOUND_MAX {
            return Poll::Ready(Ok(()));
        }
        state.writer = Some(context.waker().clone());
        Poll::Pending
    }

    pub(crate) fn push(&self, frame: Vec<u8>) {
        self.state().outbound.push(frame);
        self.bell.ring(self.link);
    }

    /// Waits until the node's task has taken all frames.
    pub(crate) fn poll_drained(&self, context: &Context<'_>) -> Poll<Result<(), LinkError>> {
        let mut state = self.state();
        if state.outbound.frames.is_empty() {
            return Poll::Ready(Ok(()));
        }
        if let Some(why) = state.closed {
            return Poll::Ready(Err(why));
        }
        state.writer = Some(context.waker().clone());
        Poll::Pending
    }

    pub(crate) fn finish(&self) {
        self.state().finished = Flag::Up;
        self.bell.ring(self.link);
    }

    pub(crate) fn release(&self) {
        self.state().released = Flag::Up;
        self.bell.ring(self.link);
    }

    pub(crate) fn poll_closed(&self, context: &Context<'_>) -> Poll<LinkError> {
        let mut state = self.state();
        if let Some(why) = state.closed {
            return Poll::Ready(why);
        }
        state.watcher = Some(context.waker().clone());
        Poll::Pending
    }

    pub(crate) fn course(&self) -> Option<Course> {
        self.state().course
    }

    /// Waits until packets travel another way; `None` once the connection is over.
    pub(crate) fn poll_moved(&self, context: &Context<'_>) -> Poll<Option<Course>> {
        let mut state = self.state();
        if state.moved == Flag::Up {
            state.moved = Flag::Down;
            return Poll::Ready(state.course);
        }
        if state.closed.is_some() {
            return Poll::Ready(None);
        }
        state.mover = Some(context.waker().clone());
        Poll::Pending
    }

    pub(crate) fn closed(&self) -> Option<LinkError> {
        self.state().closed
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

/// A panic while the lock was held leaves a queue that is whole: every change is one call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
