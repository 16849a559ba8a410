//! Which of two connections with one peer stays (hyperswarm 4.17, `index.js`, made safe against replays).

use std::time::{Duration, Instant};

use crate::stream::StreamStats;
use wire::PublicKey;

/// The connection with a peer that we have when another of its connections arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// We still dial.
    Connecting,
    /// It is open.
    Open {
        /// When it opened.
        since: Instant,
        /// What it carried.
        stats: StreamStats,
    },
}

/// What to do with a connection that a peer opened while we have one with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// Close the new one; send a keep-alive on the existing one, so that a dead one is noticed.
    KeepExisting,
    /// Close the existing one, and judge again once it is closed.
    KeepNew,
    /// Keep both, send a keep-alive on the existing one, and let a [`Challenge`] decide.
    Challenge,
}

/// Judges a connection that `remote` opened, whose first message came at `begun`.
///
/// Of two dials that cross, both sides keep the one of the side with the greater key. An existing connection
/// that was in use before may belong to a peer that has started again since; the reference closes it at
/// once, and so lets a replayed first message close a living connection. Here it is challenged.
pub fn judge_duplicate(local: PublicKey, remote: PublicKey, existing: Existing, begun: Instant) -> Verdict {
    match existing {
        Existing::Open { since, stats }
            if since < begun && stats.frames_read > 0 && stats.frames_written > 0 =>
        {
            Verdict::Challenge
        }
        _ if local > remote => Verdict::KeepExisting,
        _ => Verdict::KeepNew,
    }
}

/// A connection that stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Winner {
    /// The one that we had.
    Existing,
    /// The one that arrived.
    Newcomer,
}

/// What is known of both connections while a [`Challenge`] runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The keep-alive that was sent on the existing connection for the challenge was acknowledged.
    pub existing_acknowledged: bool,
    /// A frame of the newcomer authenticated, see
    /// [`SecretStream::is_confirmed`](crate::SecretStream::is_confirmed).
    pub newcomer_confirmed: bool,
}

/// Waits for the first of two connections to show that its peer lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge {
    deadline: Instant,
}

impl Challenge {
    /// Round trips that an acknowledgement may take: one of them may be lost and sent again.
    const ROUND_TRIPS: u32 = 4;

    /// Shorter than this, a busy host looks like a dead one.
    const PATIENCE_MIN: Duration = Duration::from_secs(2);

    /// A peer that started again does not wait longer for its new connection.
    const PATIENCE_MAX: Duration = Duration::from_secs(10);

    /// Begins when the keep-alive is sent on the existing connection, of which `rtt` is the round trip.
    #[must_use]
    pub fn new(now: Instant, rtt: Duration) -> Self {
        let patience = rtt.saturating_mul(Self::ROUND_TRIPS).clamp(Self::PATIENCE_MIN, Self::PATIENCE_MAX);
        Self { deadline: now + patience }
    }

    /// Decides, as soon as it can be decided. Ask after each change of the evidence, and at the deadline.
    ///
    /// A newcomer that authenticates is the peer; a recording never does. Without that, an existing
    /// connection that acknowledges is alive; one that does not has lost its place.
    #[must_use]
    pub fn winner(&self, now: Instant, evidence: Evidence) -> Option<Winner> {
        if evidence.newcomer_confirmed {
            Some(Winner::Newcomer)
        } else if evidence.existing_acknowledged {
            Some(Winner::Existing)
        } else if now >= self.deadline {
            Some(Winner::Newcomer)
        } else {
            None
        }
    }

    /// Returns when the challenge is over at the latest.
    #[must_use]
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test needs an origin to count from")]
    use super::*;

    const SMALL: PublicKey = PublicKey([1; 32]);
    const GREAT: PublicKey = PublicKey([2; 32]);

    fn open(since: Instant, frames_read: u64, frames_written: u64) -> Existing {
        let stats = StreamStats { frames_read, frames_written, ..StreamStats::default() };
        Existing::Open { since, stats }
    }

    #[test]
    fn of_two_dials_that_cross_the_one_of_the_greater_key_stays_on_both_sides() {
        let now = Instant::now();
        for existing in [Existing::Connecting, open(now, 0, 0), open(now, 0, 1), open(now, 1, 0)] {
            let begun = now + Duration::from_millis(1);
            // The greater key keeps its own dial, the smaller one takes what arrives.
            assert_eq!(judge_duplicate(GREAT, SMALL, existing, begun), Verdict::KeepExisting);
            assert_eq!(judge_duplicate(SMALL, GREAT, existing, begun), Verdict::KeepNew);
        }
    }

    #[test]
    fn a_connection_in_use_is_challenged_whatever_the_keys() {
        let now = Instant::now();
        let begun = now + Duration::from_millis(1);
        for (local, remote) in [(SMALL, GREAT), (GREAT, SMALL)] {
            assert_eq!(judge_duplicate(local, remote, open(now, 1, 1), begun), Verdict::Challenge);
        }
    }

    #[test]
    fn a_connection_that_opened_after_the_other_was_begun_crossed_it() {
        let now = Instant::now();
        let later = now + Duration::from_millis(1);
        assert_eq!(judge_duplicate(GREAT, SMALL, open(later, 5, 5), now), Verdict::KeepExisting);
        assert_eq!(judge_duplicate(SMALL, GREAT, open(later, 5, 5), now), Verdict::KeepNew);
    }

    #[test]
    fn a_replayed_first_message_does_not_displace_a_living_connection() {
        let now = Instant::now();
        let challenge = Challenge::new(now, Duration::from_millis(80));
        assert_eq!(challenge.winner(now, Evidence::default()), None);
        let acknowledged = Evidence { existing_acknowledged: true, newcomer_confirmed: false };
        assert_eq!(challenge.winner(now + Duration::from_millis(80), acknowledged), Some(Winner::Existing));
    }

    #[test]
    fn a_peer_that_started_again_wins_with_its_first_frame_or_when_the_old_connection_is_silent() {
        let now = Instant::now();
        let challenge = Challenge::new(now, Duration::from_millis(80));
        let confirmed = Evidence { existing_acknowledged: false, newcomer_confirmed: true };
        assert_eq!(challenge.winner(now, confirmed), Some(Winner::Newcomer));
        let late = challenge.deadline();
        assert_eq!(late, now + Duration::from_secs(2));
        assert_eq!(challenge.winner(now + Duration::from_millis(1999), Evidence::default()), None);
        assert_eq!(challenge.winner(late, Evidence::default()), Some(Winner::Newcomer));
    }

    #[test]
    fn patience_grows_with_the_round_trip_up_to_a_limit() {
        let now = Instant::now();
        for (rtt_ms, patience_ms) in [(0, 2000), (500, 2000), (1000, 4000), (60_000, 10_000)] {
            let challenge = Challenge::new(now, Duration::from_millis(rtt_ms));
            assert_eq!(challenge.deadline(), now + Duration::from_millis(patience_ms));
        }
    }
}
