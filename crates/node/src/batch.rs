//! Many datagrams for one system call, in buffers that all nodes of a thread share.
//!
//! A node holds no buffer of its own: it borrows the thread's [`Scratch`] for the length of one synchronous
//! pass. A thousand nodes in a process cost one set of buffers, and no datagram allocates.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;

use tokio::net::UdpSocket;
use wire::Transmit;

#[cfg(target_os = "linux")]
mod linux;
// Linux compiles it for its tests, since no test runs elsewhere.
#[cfg(any(test, not(target_os = "linux")))]
mod portable;

#[cfg(target_os = "linux")]
use linux as system;
#[cfg(not(target_os = "linux"))]
use portable as system;

/// Datagrams moved by one system call; beyond 64 the saving per datagram is no longer measurable.
pub const BATCH: usize = 64;
/// Bytes kept of one datagram, as in the reference; what is longer is dropped.
pub const DATAGRAM_MAX: usize = 2048;

/// Buffers for one batch in each direction.
#[derive(Debug, Default)]
pub struct Scratch<const LEN: usize = DATAGRAM_MAX> {
    /// What was received last.
    pub inbox: Inbox<LEN>,
    /// What is to be sent next.
    pub outbox: Outbox,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Scratch {
    /// Lends the buffers of this thread; `work` must not ask for them again.
    pub fn with<R>(work: impl FnOnce(&mut Self) -> R) -> R {
        SCRATCH.with_borrow_mut(work)
    }
}

/// One batch of received datagrams, of each of which `LEN` bytes are kept; what is longer is dropped.
pub struct Inbox<const LEN: usize = DATAGRAM_MAX> {
    buffers: Box<[[u8; LEN]]>,
    received: Vec<Arrival>,
    headers: system::Headers,
}

#[derive(Clone, Copy, Debug)]
struct Arrival {
    from: SocketAddr,
    len: usize,
    slot: usize,
}

impl<const LEN: usize> Default for Inbox<LEN> {
    fn default() -> Self {
        Self {
            buffers: vec![[0; LEN]; BATCH].into_boxed_slice(),
            received: Vec::with_capacity(BATCH),
            headers: system::Headers::default(),
        }
    }
}

impl<const LEN: usize> std::fmt::Debug for Inbox<LEN> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").field("received", &self.received).finish_non_exhaustive()
    }
}

/// How one call to receive ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Datagrams the system handed over, dropped ones included.
    pub taken: usize,
    /// Datagrams longer than the buffers, which were dropped.
    pub oversized: usize,
}

impl<const LEN: usize> Inbox<LEN> {
    /// Replaces the content by what waits on `socket`, up to [`BATCH`] datagrams.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if nothing waits; a pending error of the socket otherwise.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<Batch> {
        self.received.clear();
        system::receive(socket, &mut self.headers, &mut self.buffers, &mut self.received)
    }

    /// Returns the datagrams in the order of their arrival.
    pub fn datagrams(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        self.received.iter().map(|arrival| (arrival.from, &self.buffers[arrival.slot][..arrival.len]))
    }
}

/// One datagram that waits to be sent.
#[derive(Debug)]
pub struct Slot {
    /// Where it goes.
    pub transmit: Transmit,
    /// What it says; the buffer is used again.
    pub bytes: Vec<u8>,
}

/// One batch of datagrams to send; emptying it keeps the buffers.
#[derive(Debug, Default)]
pub struct Outbox {
    slots: Vec<Slot>,
    len: usize,
    spare: Vec<u8>,
}

impl Outbox {
    /// Fills the batch from `next`, which writes a datagram into the buffer it is given, until it has none
    /// or the batch is full; returns the datagrams.
    pub fn fill(&mut self, mut next: impl FnMut(&mut Vec<u8>) -> Option<Transmit>) -> &[Slot] {
        self.len = 0;
        while self.len < BATCH {
            let Some(slot) = self.slots.get_mut(self.len) else {
                let Some(transmit) = next(&mut self.spare) else { break };
                self.slots.push(Slot { transmit, bytes: std::mem::take(&mut self.spare) });
                self.len += 1;
                continue;
            };
            let Some(transmit) = next(&mut slot.bytes) else { break };
            slot.transmit = transmit;
            self.len += 1;
        }
        &self.slots[..self.len]
    }
}

/// Sends a run of datagrams that leave with the default time to live, and returns how many were taken.
///
/// # Errors
///
/// `WouldBlock` if the socket's buffer is full; otherwise the error belongs to the first datagram.
pub(crate) fn send(socket: &UdpSocket, slots: &[Slot]) -> io::Result<usize> {
    match slots {
        [] => Ok(0),
        [only] => socket.try_send_to(&only.bytes, only.transmit.to).map(|_| 1),
        many => system::send(socket, many),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use wire::SocketId;

    use super::*;

    #[tokio::test]
    async fn the_portable_way_moves_the_same_datagrams() {
        let here = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let there = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let from = here.local_addr().unwrap();
        let transmit = Transmit::new(SocketId::SERVER, there.local_addr().unwrap());
        let slots: Vec<_> = (0..70).map(|n| Slot { transmit, bytes: vec![n; usize::from(n)] }).collect();
        here.writable().await.unwrap();
        assert_eq!(portable::send(&here, &slots).unwrap(), 70);

        there.readable().await.unwrap();
        let (mut headers, mut received) = (portable::Headers, Vec::new());
        let mut buffers = vec![[0; DATAGRAM_MAX]; BATCH];
        let batch = portable::receive(&there, &mut headers, &mut buffers, &mut received).unwrap();
        assert_eq!(batch, Batch { taken: 64, oversized: 0 });
        for (arrival, slot) in received.iter().zip(&slots) {
            assert_eq!(arrival.from, from);
            assert_eq!(buffers[arrival.slot][..arrival.len], slot.bytes);
        }
        received.clear();
        let batch = portable::receive(&there, &mut headers, &mut buffers, &mut received).unwrap();
        assert_eq!(batch.taken, 6);
        let error = portable::receive(&there, &mut headers, &mut buffers, &mut received).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
