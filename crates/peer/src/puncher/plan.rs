//! Which probes leave when.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use rand::RngExt as _;
use rand::rngs::StdRng;
use wire::SocketId;

use super::{OPENING_TTL, Pace, Probe, RemoteAddress, Strategy};
use crate::nat::Sequence;
use crate::session::Side;

const SECOND: Duration = Duration::from_secs(1);

/// Rounds of probes between consistent sides, a second apart (`_consistentProbe`).
const ROUNDS: u32 = 10;
/// Unverified addresses get a probe in each fourth of them only.
const UNVERIFIED_EVERY: u32 = 4;
/// Rounds beside these, while a lost probe is worth most.
const EARLY: [Duration; 4] = [
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(700),
];

/// Probes at random ports: with 256 ports open of 64,536, all but one punch in a thousand hit (`_randomProbes`).
const SPRAY_PROBES: u32 = 1750;
/// Between two of them.
const SPRAY_EVERY: Duration = Duration::from_millis(20);
/// Between two of the first ones when brisk: half of all punches hit within 174 probes, so within 0.9 s, nine of
/// ten within 580, so within 3 s. It is 10 kB a second with all headers.
const SPRAY_BRISK_EVERY: Duration = Duration::from_millis(5);
/// How many are brisk: nineteen of twenty punches hit within these.
const SPRAY_BRISK: u32 = 750;
/// Probes of one call at most, if it comes late.
const BURST_MAX: u32 = 8;
/// The ports that are guessed first at a NAT that numbers its mappings. Its side opens four times as many sockets
/// in a row, and other mappings of the household may come before and between them.
const GUESSES: u16 = 64;
/// Every other probe is such a guess, for as many probes as go four times through them.
const GUESSED: u32 = 2 * 4 * GUESSES as u32;
const FIRST_PORT: u16 = 1000;

/// Between two probes of a random NAT's sockets (`_keepAliveRandomNat`).
const CYCLE_EVERY: Duration = Duration::from_millis(20);
/// How many of these the first one waits, so that all sockets are open.
const CYCLE_AFTER: u32 = 5;
/// Before which of them the main socket sends an ordinary probe as well: it ends the punch at once where the other
/// side's NAT lets in a known host, or anybody, and need not wait until the cycle with few hops is over.
const SCOUTS: [u32; 5] = [0, 2, 5, 10, 25];

/// Ports of each side in one attempt to meet at guessed ports.
const MEETING_WIDTH: u16 = 64;
/// How far beyond the port named the responder aims: as many mappings as both households together may make between
/// the naming and the probe, which is a third of a second. The rest of the row is for those made within it.
const MEETING_LEAD: u16 = 56;
/// Attempts, each with fresh ports.
const MEETINGS: usize = 3;
/// When the probes of an attempt leave, and when the next attempt begins.
const MEETING_PASSES: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(80),
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(700),
];
const MEETING_EVERY: Duration = SECOND;

/// What probes are made from.
pub(super) struct Range<'a> {
    pub(super) main: SocketId,
    pub(super) spares: &'a [SocketId],
    pub(super) remote: &'a [RemoteAddress],
    /// The address that got an ordinary probe before.
    pub(super) met: Option<SocketAddrV4>,
    pub(super) rng: &'a mut StdRng,
}

/// The probes of one punch.
#[derive(Debug)]
pub(super) struct Plan {
    began: Instant,
    next: Instant,
    fired: u32,
    pace: Pace,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Consistent {
        side: Side,
    },
    Spray {
        host: Ipv4Addr,
        sequence: Option<Sequence>,
    },
    Birthday {
        to: SocketAddrV4,
    },
    /// One socket, a row of ports.
    Row {
        host: Ipv4Addr,
        sequence: Sequence,
    },
    /// A row of sockets, one port.
    Fan {
        host: Ipv4Addr,
        sequence: Sequence,
    },
}

/// A round of probes between consistent sides.
#[derive(Clone, Copy)]
enum RoundKind {
    /// One that the reference has too, by number.
    Second(u32),
    /// One between these.
    Early,
}

impl Plan {
    pub(super) fn consistent(now: Instant, side: Side, pace: Pace) -> Self {
        let mut plan = Self::new(now, pace, Kind::Consistent { side });
        if side == Side::Responder && pace == Pace::Reference {
            // Its answer to the fast open has just left, and has a second to work.
            plan.began = now + SECOND;
            plan.next = plan.began;
        }
        plan
    }

    pub(super) const fn spray(now: Instant, pace: Pace, host: Ipv4Addr, sequence: Option<Sequence>) -> Self {
        Self::new(now, pace, Kind::Spray { host, sequence })
    }

    pub(super) fn birthday(now: Instant, pace: Pace, to: SocketAddrV4) -> Self {
        let mut plan = Self::new(now, pace, Kind::Birthday { to });
        if pace == Pace::Reference {
            plan.fired = CYCLE_AFTER;
            plan.next = now + CYCLE_EVERY * CYCLE_AFTER;
        }
        plan
    }

    /// Two NATs that number their mappings meet where one side's row of ports crosses the other's.
    ///
    /// The initiator sends from one socket to `width` ports in a row, beginning with the next that the responder
    /// named, so that each probe gets an own mapping, one after the other. The responder sends from as many sockets
    /// to a single port, some way ahead of the one that the initiator named. One of the initiator's mappings has that
    /// port; its destination is one of the responder's mappings, if less than the lead was used by others meanwhile.
    /// Rows on both sides would meet only if nothing at all was.
    pub(super) const fn predicted(now: Instant, side: Side, host: Ipv4Addr, sequence: Sequence) -> Self {
        let kind = match side {
            Side::Initiator => Kind::Row { host, sequence },
            Side::Responder => Kind::Fan { host, sequence },
        };
        Self::new(now, Pace::Brisk, kind)
    }

    const fn new(now: Instant, pace: Pace, kind: Kind) -> Self {
        Self { began: now, next: now, fired: 0, pace, kind }
    }

    pub(super) const fn strategy(&self) -> Strategy {
        match self.kind {
            Kind::Consistent { .. } => Strategy::Consistent,
            Kind::Spray { .. } => Strategy::Spray,
            Kind::Birthday { .. } => Strategy::Birthday,
            Kind::Row { .. } | Kind::Fan { .. } => Strategy::Predicted,
        }
    }

    pub(super) const fn next(&self) -> Instant {
        self.next
    }

    /// Returns how many sockets it needs beside the main one.
    pub(super) fn spares_wanted(&self, sockets_max: usize) -> usize {
        match self.kind {
            Kind::Consistent { .. } | Kind::Spray { .. } | Kind::Row { .. } => 0,
            Kind::Birthday { .. } => sockets_max.saturating_sub(1),
            Kind::Fan { .. } => sockets_max.saturating_sub(1).min(MEETING_WIDTH.into()),
        }
    }

    /// Returns the probe that opens our NAT for a socket that has just come.
    pub(super) fn greet(&self, socket: SocketId) -> Option<Probe> {
        let to = match self.kind {
            Kind::Consistent { .. } | Kind::Spray { .. } | Kind::Row { .. } => return None,
            Kind::Birthday { to, .. } => to,
            Kind::Fan { host, sequence } => fan_target(host, sequence, 0),
        };
        Some(Probe { from: socket, to, ttl: Some(OPENING_TTL) })
    }

    /// Adds the probes that are due, and tells whether all were sent.
    pub(super) fn fire(&mut self, now: Instant, range: Range<'_>, out: &mut VecDeque<Probe>) -> bool {
        let mut range = range;
        for _ in 0..BURST_MAX {
            if self.next > now {
                return false;
            }
            let Some(next) = self.fire_once(&mut range, out) else { return true };
            self.next = next;
        }
        self.next = self.next.max(now);
        false
    }

    fn fire_once(&mut self, range: &mut Range<'_>, out: &mut VecDeque<Probe>) -> Option<Instant> {
        let n = self.fired;
        self.fired += 1;
        match self.kind {
            Kind::Consistent { side } => self.fire_round(n, side, range, out),
            Kind::Spray { host, sequence } => self.fire_spray(n, (host, sequence), range, out),
            Kind::Birthday { to } => self.fire_birthday(n, to, range, out),
            Kind::Row { .. } | Kind::Fan { .. } => self.fire_pass(n, range, out),
        }
    }

    fn fire_round(
        &self,
        n: u32,
        side: Side,
        range: &Range<'_>,
        out: &mut VecDeque<Probe>,
    ) -> Option<Instant> {
        let round = match self.round(n).0 {
            RoundKind::Early => None,
            RoundKind::Second(ROUNDS..) => return None,
            RoundKind::Second(second) => Some(second),
        };
        let unverified_too = round.is_some_and(|round| (round + 1).is_multiple_of(UNVERIFIED_EVERY));
        // The initiator begins when it hears from us: until then its NAT may not expect us.
        let first = n == 0 && side == Side::Responder && self.pace == Pace::Brisk;
        for remote in range.remote.iter().filter(|remote| remote.verified || unverified_too) {
            let ttl = (first && range.met != Some(remote.address)).then_some(OPENING_TTL);
            if remote.address.port() != 0 {
                out.push_back(Probe { from: range.main, to: remote.address, ttl });
            }
        }
        Some(self.began + self.round(n + 1).1)
    }

    /// Tells what the `n`-th round of probes is, and how long after the first it leaves.
    fn round(&self, n: u32) -> (RoundKind, Duration) {
        let early = match self.pace {
            Pace::Brisk => &EARLY[..],
            Pace::Reference => &[],
        };
        let place = usize::try_from(n).expect("rounds are few");
        if let Some(after) = place.checked_sub(1).and_then(|place| early.get(place)) {
            return (RoundKind::Early, *after);
        }
        let second = u32::try_from(place.saturating_sub(early.len())).expect("rounds are few");
        (RoundKind::Second(second), SECOND * second)
    }

    fn fire_spray(
        &self,
        n: u32,
        (host, sequence): (Ipv4Addr, Option<Sequence>),
        range: &mut Range<'_>,
        out: &mut VecDeque<Probe>,
    ) -> Option<Instant> {
        if n >= SPRAY_PROBES {
            return None;
        }
        let guess = sequence.filter(|_| n < GUESSED && n.is_multiple_of(2)).map(|sequence| {
            let guessed = u16::try_from(n / 2).expect("guesses are few") % GUESSES;
            sequence.port(guessed)
        });
        let port =
            guess.filter(|port| *port != 0).unwrap_or_else(|| range.rng.random_range(FIRST_PORT..=u16::MAX));
        out.push_back(Probe { from: range.main, to: SocketAddrV4::new(host, port), ttl: None });
        let every = match self.pace {
            Pace::Brisk if n < SPRAY_BRISK => SPRAY_BRISK_EVERY,
            Pace::Brisk | Pace::Reference => SPRAY_EVERY,
        };
        Some(self.next + every)
    }

    fn fire_birthday(
        &self,
        n: u32,
        to: SocketAddrV4,
        range: &Range<'_>,
        out: &mut VecDeque<Probe>,
    ) -> Option<Instant> {
        if self.pace == Pace::Brisk && SCOUTS.contains(&n) {
            out.push_back(Probe { from: range.main, to, ttl: None });
        }
        if let Some(n) = n.checked_sub(CYCLE_AFTER) {
            if n >= SPRAY_PROBES {
                return None;
            }
            let n = usize::try_from(n).expect("probes are few");
            let sockets = 1 + range.spares.len();
            let from = (n % sockets).checked_sub(1).map_or(range.main, |spare| range.spares[spare]);
            out.push_back(Probe { from, to, ttl: (n < sockets).then_some(OPENING_TTL) });
        }
        Some(self.next + CYCLE_EVERY)
    }

    fn fire_pass(&self, n: u32, range: &Range<'_>, out: &mut VecDeque<Probe>) -> Option<Instant> {
        let (attempt, pass) = meeting(n);
        if attempt >= MEETINGS {
            return None;
        }
        let ttl = (pass == 0).then_some(OPENING_TTL);
        match self.kind {
            Kind::Consistent { .. } | Kind::Spray { .. } | Kind::Birthday { .. } => return None,
            Kind::Row { host, sequence } => out.extend(row(attempt).map(|n| {
                let to = SocketAddrV4::new(host, sequence.port(n));
                Probe { from: range.main, to, ttl }
            })),
            Kind::Fan { host, sequence } => {
                let to = fan_target(host, sequence, attempt);
                out.extend(range.spares.iter().map(|from| Probe { from: *from, to, ttl }));
            }
        }
        let (attempt, pass) = meeting(n + 1);
        let attempts = u32::try_from(attempt).expect("attempts are few");
        Some(self.began + MEETING_EVERY * attempts + MEETING_PASSES[pass])
    }
}

/// Returns attempt and pass of the `n`-th volley.
fn meeting(n: u32) -> (usize, usize) {
    let n = usize::try_from(n).expect("passes are few");
    (n / MEETING_PASSES.len(), n % MEETING_PASSES.len())
}

/// Returns the places in the sequence that belong to an attempt.
fn row(attempt: usize) -> std::ops::Range<u16> {
    let first = MEETING_WIDTH * u16::try_from(attempt).expect("attempts are few");
    first..first + MEETING_WIDTH
}

fn fan_target(host: Ipv4Addr, sequence: Sequence, attempt: usize) -> SocketAddrV4 {
    SocketAddrV4::new(host, sequence.port(row(attempt).start + MEETING_LEAD))
}
