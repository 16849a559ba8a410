use std::collections::{BTreeMap, VecDeque};

use wire::udx::{Kinds, SACK_LEN, Sacks};

use crate::number::narrow;
use crate::ranges::Ranges;

/// Packets beyond the expected one that may be kept; the reference has at most 3,640 on their way.
const EARLY_MAX: u64 = 8192;
/// Bytes taken beyond the window: probes of the tail ignore it, and packets may cross its news.
const SLACK: usize = 64 << 10;
/// What a packet kept early costs beside its bytes.
const EARLY_COST: usize = 64;
/// Bytes taken before there is a peer that was told of a window.
const UNCONNECTED_MAX: u32 = 64 << 10;
/// Selective acknowledgements in one packet (libudx).
const SACKS_MAX: usize = 50;
/// Messages, and their bytes, that wait for the application; further ones are lost, as datagrams are.
const MESSAGES_MAX: usize = 64;
const MESSAGES_LEN_MAX: usize = 64 << 10;
/// Buffer that a stream keeps while everything is read.
const BUFFER_KEPT: usize = 4 << 10;

/// One direction of a stream: what came, in order for the application, and early packets beyond gaps.
#[derive(Debug)]
pub(crate) struct Receiver {
    next: u64,
    early: BTreeMap<u64, Box<[u8]>>,
    early_len: usize,
    /// What came beyond gaps, and the packet that came last.
    beyond: Ranges,
    latest: u64,
    /// Number of the packet after which nothing comes.
    end: Option<u64>,
    unread: VecDeque<u8>,
    messages: VecDeque<Box<[u8]>>,
    messages_len: usize,
    /// The largest window that was ever told, and the one told last.
    granted: u32,
    told: u32,
    pub(crate) refused: u64,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// It was expected: there is more to read.
    Next,
    /// It is kept until what is missing comes.
    Early,
    /// It had come before.
    Old,
    /// There is no room for it, or it cannot be.
    No,
}

impl Receiver {
    pub(crate) const fn new(first: u64) -> Self {
        Self {
            next: first,
            early: BTreeMap::new(),
            early_len: 0,
            beyond: Ranges::new(),
            latest: first,
            end: None,
            unread: VecDeque::new(),
            messages: VecDeque::new(),
            messages_len: 0,
            granted: UNCONNECTED_MAX,
            told: 0,
            refused: 0,
        }
    }

    /// The number that is expected.
    pub(crate) const fn next(&self) -> u64 {
        self.next
    }

    /// Tells whether everything that the peer will send has come.
    pub(crate) fn is_ended(&self) -> bool {
        self.end.is_some_and(|end| end < self.next)
    }

    pub(crate) fn unread(&self) -> usize {
        self.unread.len()
    }

    /// Tells whether a packet of this number can be from a peer in its right mind.
    pub(crate) const fn is_near(&self, number: u64) -> bool {
        number >= self.next && number - self.next < EARLY_MAX
    }

    /// Takes a packet of bytes, or of the end.
    pub(crate) fn take(&mut self, number: u64, kinds: Kinds, payload: &[u8]) -> Kept {
        if number < self.next || self.early.contains_key(&number) {
            return Kept::Old;
        }
        if !self.is_near(number) || self.end.is_some_and(|end| number > end) || !self.has_room(payload.len())
        {
            self.refused += 1;
            return Kept::No;
        }
        if kinds.has(Kinds::END) {
            if self.early.keys().next_back().is_some_and(|last| *last > number) {
                self.refused += 1;
                return Kept::No;
            }
            self.end = Some(number);
        }
        if number > self.next {
            self.early_len += payload.len() + EARLY_COST;
            self.early.insert(number, payload.into());
            self.beyond.insert(number, number + 1, |_, _| {});
            self.latest = number;
            return Kept::Early;
        }
        self.unread.extend(payload);
        self.next += 1;
        while let Some(payload) = self.early.remove(&self.next) {
            self.early_len -= payload.len() + EARLY_COST;
            self.unread.extend(&payload);
            self.next += 1;
        }
        self.beyond.forget_below(self.next);
        Kept::Next
    }

    fn has_room(&self, len: usize) -> bool {
        let window = usize::try_from(self.granted).unwrap_or(usize::MAX);
        len == 0 || self.unread.len() + self.early_len + len <= window.saturating_add(SLACK)
    }

    /// Returns the bytes that the peer may send, for a packet that tells it so.
    pub(crate) fn tell_window(&mut self, window: u32) -> u32 {
        self.granted = self.granted.max(window);
        self.told = self.window(window);
        self.told
    }

    fn window(&self, window: u32) -> u32 {
        window.saturating_sub(u32::try_from(self.unread.len()).unwrap_or(u32::MAX))
    }

    /// Tells whether the peer should hear that there is room again.
    pub(crate) fn has_reopened(&self, window: u32) -> bool {
        self.told < window / 4 && self.window(window) >= self.told + window / 4
    }

    /// Writes what came beyond gaps, for a packet that tells the peer so.
    ///
    /// Where that is too much, the reference tells the lowest ranges, and the peer learns of the others in one jump
    /// that looks like a fast path. We tell what came last and the highest: lower ranges were told before.
    pub(crate) fn write_sacks(&self, out: &mut Vec<u8>) {
        let skipped = self.beyond.len().saturating_sub(SACKS_MAX);
        let is_latest = |range: &(u64, u64)| (range.0..range.1).contains(&self.latest);
        let low = self.beyond.iter().take(skipped).find(is_latest);
        let high = self.beyond.iter().skip(skipped + usize::from(low.is_some()));
        out.reserve(SACK_LEN);
        for (start, end) in low.into_iter().chain(high) {
            Sacks::pack(narrow(start), narrow(end), out);
        }
    }

    pub(crate) fn has_gap(&self) -> bool {
        !self.beyond.is_empty()
    }

    /// Moves bytes to `buf`, and returns how many.
    pub(crate) fn read(&mut self, buf: &mut [u8]) -> usize {
        let len = buf.len().min(self.unread.len());
        let (front, back) = self.unread.as_slices();
        let split = front.len().min(len);
        for (to, from) in [(0..split, &front[..split]), (split..len, &back[..len - split])] {
            buf[to].copy_from_slice(from);
        }
        let was = self.unread.capacity();
        self.unread.drain(..len);
        if self.unread.is_empty() && len < was / 4 {
            self.unread.shrink_to(BUFFER_KEPT);
        }
        len
    }

    /// Takes a message; tells whether there was room.
    pub(crate) fn take_message(&mut self, message: &[u8]) -> bool {
        let fits =
            self.messages.len() < MESSAGES_MAX && self.messages_len + message.len() <= MESSAGES_LEN_MAX;
        if fits {
            self.messages_len += message.len();
            self.messages.push_back(message.into());
        }
        fits
    }

    pub(crate) fn read_message(&mut self) -> Option<Box<[u8]>> {
        let message = self.messages.pop_front()?;
        self.messages_len -= message.len();
        Some(message)
    }
}
