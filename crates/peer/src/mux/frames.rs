use std::collections::VecDeque;

/// Frames that wait to be sent, side by side in one buffer.
#[derive(Debug, Default)]
pub(super) struct Frames {
    bytes: Vec<u8>,
    read: usize,
    lens: VecDeque<usize>,
}

impl Frames {
    pub(super) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        self.lens.push_back(self.bytes.len() - start);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lens.is_empty()
    }

    pub(super) fn pop(&mut self, buf: &mut Vec<u8>) -> bool {
        buf.clear();
        let Some(len) = self.lens.pop_front() else {
            *self = Self::default();
            return false;
        };
        buf.extend_from_slice(&self.bytes[self.read..self.read + len]);
        self.read += len;
        true
    }
}
