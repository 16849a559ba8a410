use std::time::{Duration, Instant};

use pace::Generations;

use crate::hash::hash;

/// How much [`FirstMessages`] remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayLimits {
    /// Messages at most; each takes about a hundred bytes. To push one out, a stranger has to complete half
    /// as many handshakes, and then still meets [`Challenge`](crate::Challenge).
    pub len_max: usize,
    /// A message is known for this long to twice as long.
    pub span: Duration,
    /// So long after it was read, a message that comes again is a client that repeats itself: through its
    /// other relays, or because our answer was lost. The reference keeps its answers for ten seconds.
    pub again: Duration,
}

impl Default for ReplayLimits {
    fn default() -> Self {
        Self { len_max: 65_536, span: Duration::from_hours(6), again: Duration::from_secs(10) }
    }
}

/// What the first message of a handshake is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Sight {
    /// Not seen before: read it.
    New,
    /// A client repeats itself: give it the same answer, and nothing else.
    Again,
    /// Someone plays a recording: stay silent.
    Replay,
}

/// Remembers the first messages of handshakes, so that a recording of one opens no second connection.
///
/// The first message of Noise IK authenticates its sender but not its time: whoever passed it on can send it
/// again and appear as the same client. Any change to it breaks it, so its hash names it.
///
/// Remember a message only after it was read: what anyone can make up must not push out what is true, nor
/// keep a true message out that comes after it.
#[derive(Debug, Clone)]
pub struct FirstMessages {
    read: Generations<[u8; 32], Instant>,
    again: Duration,
}

impl FirstMessages {
    /// Starts without a memory.
    #[must_use]
    pub const fn new(limits: ReplayLimits) -> Self {
        Self { read: Generations::new(limits.len_max, limits.span), again: limits.again }
    }

    /// Tells what a message is, before it is read: a recording costs a hash, not a handshake.
    pub fn judge(&mut self, now: Instant, message: &[u8]) -> Sight {
        self.read.expire(now);
        match self.read.get(&hash(message)) {
            None => Sight::New,
            Some(read) if now < *read + self.again => Sight::Again,
            Some(_) => Sight::Replay,
        }
    }

    /// Remembers a message that was read and found authentic.
    pub fn remember(&mut self, now: Instant, message: &[u8]) {
        let name = hash(message);
        // Its time stays the first: repeating a message does not keep it answerable.
        if self.read.get(&name).is_none() {
            self.read.insert(now, name, now);
        }
    }

    /// Counts what is remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.read.len()
    }

    /// Tells whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.read.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs an origin to count from")]
    use super::*;

    const LIMITS: ReplayLimits =
        ReplayLimits { len_max: 100, span: Duration::from_hours(1), again: Duration::from_secs(10) };

    #[test]
    fn a_message_is_new_then_repeated_then_a_replay_for_hours() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut memory = FirstMessages::new(LIMITS);
        assert_eq!(memory.judge(start, b"first"), Sight::New);
        assert_eq!(memory.judge(at(1), b"first"), Sight::New, "judging is not remembering");
        memory.remember(at(1), b"first");
        assert_eq!(memory.judge(at(10), b"first"), Sight::Again);
        memory.remember(at(10), b"first");
        assert_eq!(memory.judge(at(11), b"first"), Sight::Replay, "repeating does not prolong");
        assert_eq!(memory.judge(at(3600), b"first"), Sight::Replay);
        assert_eq!(memory.judge(at(3600), b"first\0"), Sight::New);
        assert_eq!(memory.judge(at(7201), b"first"), Sight::New, "two spans later it is forgotten");
        assert!(memory.is_empty());
    }

    #[test]
    fn the_memory_is_bounded_and_forgets_the_oldest_half() {
        let now = Instant::now();
        let mut memory = FirstMessages::new(LIMITS);
        for n in 0..10_000_u32 {
            memory.remember(now, &n.to_le_bytes());
            assert!(memory.len() <= 100);
        }
        assert_eq!(memory.judge(now, &9_999_u32.to_le_bytes()), Sight::Again);
        assert_eq!(memory.judge(now, &9_950_u32.to_le_bytes()), Sight::Again);
        assert_eq!(memory.judge(now, &9_800_u32.to_le_bytes()), Sight::New);
    }
}
