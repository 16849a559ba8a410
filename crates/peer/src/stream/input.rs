use super::LENGTH_LEN;

/// Memory that a stream without an unfinished frame may keep.
const KEPT_BYTES: usize = 2048;

/// Gathers one frame from slices of any size.
#[derive(Debug, Default)]
pub(super) struct Input {
    length: [u8; LENGTH_LEN],
    length_have: usize,
    frame: Vec<u8>,
    complete: bool,
}

impl Input {
    /// Takes the bytes of the next frame's length, and returns it once known; forgets a complete frame first.
    pub(super) fn claim(&mut self, input: &mut &[u8]) -> Option<usize> {
        if self.complete {
            self.complete = false;
            self.length_have = 0;
            self.frame.clear();
        }
        let taken = take(input, LENGTH_LEN - self.length_have);
        self.length[self.length_have..self.length_have + taken.len()].copy_from_slice(taken);
        self.length_have += taken.len();
        if self.length_have == 0 {
            self.frame.shrink_to(KEPT_BYTES);
        }
        (self.length_have == LENGTH_LEN).then(|| self.len())
    }

    /// Takes the bytes of the frame itself, and lends it once complete.
    pub(super) fn fill(&mut self, input: &mut &[u8]) -> Option<&mut [u8]> {
        let len = self.len();
        let taken = take(input, len - self.frame.len());
        let needed = self.frame.len() + taken.len();
        if needed > self.frame.capacity() {
            // Memory follows what has arrived, not what was claimed.
            let room = len.min(needed.max(2 * self.frame.len()));
            self.frame.reserve_exact(room - self.frame.len());
        }
        self.frame.extend_from_slice(taken);
        self.complete = self.frame.len() == len;
        self.complete.then_some(&mut self.frame[..])
    }

    /// Lends the text of a frame that was complete and opened.
    pub(super) fn text(&self, overhead: usize) -> &[u8] {
        let end = self.frame.len() + 1 - overhead;
        &self.frame[1..end]
    }

    pub(super) fn capacity(&self) -> usize {
        self.frame.capacity()
    }

    fn len(&self) -> usize {
        let [low, middle, high] = self.length;
        usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16
    }
}

fn take<'a>(input: &mut &'a [u8], len_max: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at(len_max.min(input.len()));
    *input = rest;
    taken
}
