use std::collections::VecDeque;

use crate::datagram::Transmit;

/// Datagrams that wait for `poll_transmit`, their bytes side by side in one buffer.
///
/// A drained outbox keeps its buffer, so that answering a request allocates nothing; what a burst added
/// above [`Outbox::KEPT_BYTES`] is given back.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    queue: VecDeque<(Transmit, usize)>,
    read: usize,
    dropped: u64,
}

impl Outbox {
    /// Most bytes that may wait; beyond them new datagrams are dropped, as a full socket buffer would.
    pub const BYTES_MAX: usize = 1 << 20;
    /// Buffer kept while idle: the answers to a batch of 64 requests for nodes.
    pub const KEPT_BYTES: usize = 12 << 10;

    /// Adds a datagram whose bytes `write` appends.
    pub fn push(&mut self, transmit: Transmit, write: impl FnOnce(&mut Vec<u8>)) {
        self.push_if(transmit, write, |_| true);
    }

    /// Adds a datagram whose bytes `write` appends, if `admit` agrees to its length; tells whether it did. One that
    /// finds the outbox full is dropped and counted, without asking.
    pub fn push_if(
        &mut self,
        transmit: Transmit,
        write: impl FnOnce(&mut Vec<u8>),
        admit: impl FnOnce(usize) -> bool,
    ) -> bool {
        if self.bytes.len() - self.read >= Self::BYTES_MAX {
            self.dropped += 1;
            return true;
        }
        let start = self.bytes.len();
        write(&mut self.bytes);
        let len = self.bytes.len() - start;
        if !admit(len) {
            self.bytes.truncate(start);
            return false;
        }
        self.queue.push_back((transmit, len));
        true
    }

    /// Moves the oldest datagram into `buf`, replacing what was there.
    pub fn pop(&mut self, buf: &mut Vec<u8>) -> Option<Transmit> {
        let (transmit, len) = self.queue.pop_front()?;
        buf.clear();
        buf.extend_from_slice(self.bytes.get(self.read..self.read + len).unwrap_or_default());
        self.read += len;
        if self.queue.is_empty() {
            self.read = 0;
            self.bytes.clear();
            self.bytes.shrink_to(Self::KEPT_BYTES);
            self.queue.shrink_to(Self::KEPT_BYTES / size_of::<(Transmit, usize)>());
        } else if self.read >= Self::BYTES_MAX {
            // An outbox that is never empty must not keep what has left.
            self.bytes.drain(..self.read);
            self.read = 0;
        }
        Some(transmit)
    }

    /// Forgets everything that waits.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.queue.clear();
        self.read = 0;
    }

    /// Tells whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Counts datagrams dropped because the outbox was full.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datagram::SocketId;

    fn transmit() -> Transmit {
        Transmit::new(SocketId::CLIENT, "10.0.0.1:1".parse().unwrap())
    }

    #[test]
    fn datagrams_leave_in_order_and_the_buffer_shrinks_again() {
        let mut outbox = Outbox::default();
        for n in 0..200u8 {
            outbox.push(transmit(), |out| out.extend(vec![n; 100]));
        }
        let mut buf = Vec::new();
        for n in 0..200u8 {
            assert_eq!(outbox.pop(&mut buf), Some(transmit()));
            assert_eq!(buf, vec![n; 100]);
        }
        assert_eq!(outbox.pop(&mut buf), None);
        assert!(outbox.bytes.capacity() <= Outbox::KEPT_BYTES);
    }

    #[test]
    fn an_outbox_that_never_empties_forgets_what_has_left() {
        let mut outbox = Outbox::default();
        let mut buf = Vec::new();
        outbox.push(transmit(), |out| out.extend([0; 1024]));
        for n in 0..=255 {
            for _ in 0..Outbox::BYTES_MAX / 1024 / 64 {
                outbox.push(transmit(), |out| out.extend([n; 1024]));
                assert_eq!(outbox.pop(&mut buf), Some(transmit()));
            }
            assert_eq!(buf, [n; 1024]);
        }
        assert_eq!(outbox.dropped(), 0);
        assert!(outbox.bytes.len() <= 2 * Outbox::BYTES_MAX);
    }

    #[test]
    fn a_full_outbox_drops_what_comes_after() {
        let mut outbox = Outbox::default();
        for _ in 0..Outbox::BYTES_MAX / 1024 + 7 {
            outbox.push(transmit(), |out| out.extend([0; 1024]));
        }
        assert_eq!(outbox.dropped(), 7);
    }
}
