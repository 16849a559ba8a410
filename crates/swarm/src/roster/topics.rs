//! When topics are refreshed, and how (hyperswarm `lib/peer-discovery.js`).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pace::Timers;
use rand::RngExt;
use rand::rngs::StdRng;
use wire::Id;

use super::census::TopicState;
use super::config::RosterConfig;
use super::event::{JoinId, RefreshKind, RefreshOutcome, Role};

/// After a walk that failed, the next one waits no longer than this: most likely the network was away.
const FAILED_MAX: Duration = Duration::from_mins(1);
/// Doublings of [`RosterConfig::lonely`] after a topic lost its last connection. Known peers are dialled again
/// earlier than that; a peer that comes back under another key is found by this walk.
const LOST_DOUBLINGS: u32 = 5;
/// Waits of lonely topics vary by so much, so that two peers who missed each other do not do so again.
const LONELY_SPREAD: [f64; 2] = [0.75, 1.25];

#[derive(Clone, Copy, Debug)]
pub(super) struct Join {
    pub(super) topic: Id<32>,
    pub(super) role: Role,
    pub(super) limit: Option<usize>,
}

/// Whether nodes may have records of us under a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Records {
    None,
    Possible,
}

/// A look-up soon after the first announcement of a topic that also finds, though peers are connected: two who join
/// at once have both looked before either was to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SecondLook {
    /// Nothing was announced yet.
    Unplanned,
    At(Instant),
    Done,
}

/// What has to happen to a walk that goes on when the role in its topic changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Running {
    /// None goes on, or it serves the new role too, or it must end first.
    Keep,
    /// It is of no use any more.
    Stop,
}

#[derive(Debug)]
pub(super) struct Topic {
    /// The sum of all joins; none while the topic is being left.
    role: Option<Role>,
    limit: Option<usize>,
    run: Option<RefreshKind>,
    due: Instant,
    records: Records,
    /// When records have to be renewed.
    renew: Instant,
    second_look: SecondLook,
    doublings: u32,
    failures: u32,
    /// Peers of this topic that are connected, and that are being dialled.
    pub(super) linked: usize,
    pub(super) dialling: usize,
}

impl SecondLook {
    /// The earlier one of this, if it is planned, and another time.
    fn before(self, other: Instant) -> Instant {
        match self {
            Self::At(at) => at.min(other),
            Self::Unplanned | Self::Done => other,
        }
    }
}

impl Topic {
    const fn new(now: Instant) -> Self {
        Self {
            role: None,
            limit: None,
            run: None,
            due: now,
            records: Records::None,
            renew: now,
            second_look: SecondLook::Unplanned,
            doublings: 0,
            failures: 0,
            linked: 0,
            dialling: 0,
        }
    }

    pub(super) fn finds(&self) -> bool {
        self.role.is_some_and(Role::finds)
    }

    pub(super) fn announces(&self) -> bool {
        self.role.is_some_and(Role::announces)
    }

    pub(super) const fn run(&self) -> Option<RefreshKind> {
        self.run
    }

    pub(super) const fn is_running(&self) -> bool {
        self.run.is_some()
    }

    pub(super) const fn is_announcing(&self) -> bool {
        matches!(self.run, Some(RefreshKind::Announce))
    }

    pub(super) const fn is_removing(&self) -> bool {
        matches!(self.run, Some(RefreshKind::Unannounce))
    }

    /// Tells whether a walk goes on or is due.
    pub(super) fn is_unsettled(&self, now: Instant) -> bool {
        self.is_running() || self.due <= now
    }

    pub(super) const fn is_limited(&self) -> bool {
        self.limit.is_some()
    }

    pub(super) fn has_room(&self) -> bool {
        self.finds() && self.limit.is_none_or(|limit| self.linked + self.dialling < limit)
    }

    const fn is_lonely(&self) -> bool {
        self.linked == 0
    }

    /// Returns what walk the topic needs at `now`; none where it is left and clean.
    fn kind(&self, now: Instant) -> Option<RefreshKind> {
        match (self.role, self.records) {
            (None, Records::None) => None,
            (None | Some(Role::Find), Records::Possible) => Some(RefreshKind::Unannounce),
            (Some(Role::Find), Records::None) => Some(RefreshKind::Lookup),
            // Between two announcements a look-up does, which costs nodes no storing.
            (Some(Role::Both), Records::Possible) if now < self.renew => Some(RefreshKind::Lookup),
            (Some(Role::Announce | Role::Both), _) => Some(RefreshKind::Announce),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Topics {
    by_id: BTreeMap<Id<32>, Topic>,
    joins: BTreeMap<JoinId, Join>,
    /// Topics that have no walk under way, by when they need one.
    due: Timers<Id<32>>,
    running: usize,
}

impl Topics {
    pub(super) fn get(&self, topic: &Id<32>) -> Option<&Topic> {
        self.by_id.get(topic)
    }

    pub(super) fn get_mut(&mut self, topic: &Id<32>) -> Option<&mut Topic> {
        self.by_id.get_mut(topic)
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn joins(&self) -> usize {
        self.joins.len()
    }

    pub(super) const fn running(&self) -> usize {
        self.running
    }

    pub(super) fn ids(&self) -> Vec<Id<32>> {
        self.by_id.keys().copied().collect()
    }

    pub(super) fn announces(&self) -> bool {
        self.by_id.values().any(Topic::announces)
    }

    pub(super) fn states(&self) -> impl Iterator<Item = TopicState> {
        self.by_id.iter().map(|(id, topic)| TopicState {
            topic: *id,
            role: topic.role,
            running: topic.run,
            due: topic.due,
            linked: topic.linked,
            dialling: topic.dialling,
        })
    }

    /// Names the topics that a walk goes on for, or is due for.
    pub(super) fn unsettled(&self, now: Instant) -> impl Iterator<Item = Id<32>> {
        self.by_id.iter().filter(move |(_, topic)| topic.is_unsettled(now)).map(|(id, _)| *id)
    }

    /// Returns when a topic needs a walk, unless as many as are allowed go on.
    pub(super) fn due(&self, config: &RosterConfig) -> Option<Instant> {
        if self.running < config.limits.refreshes { self.due.next() } else { None }
    }

    pub(super) fn join(&self, id: JoinId) -> Option<Join> {
        self.joins.get(&id).copied()
    }

    /// Adds or changes a join; the caller then settles its topic.
    pub(super) fn set_join(&mut self, now: Instant, id: JoinId, join: Join) {
        self.joins.insert(id, join);
        self.by_id.entry(join.topic).or_insert_with(|| Topic::new(now));
    }

    pub(super) fn remove_join(&mut self, id: JoinId) -> Option<Join> {
        self.joins.remove(&id)
    }

    /// Sums up the joins of a topic, and tells what becomes of a walk that goes on for it.
    pub(super) fn settle(&mut self, now: Instant, id: Id<32>) -> Running {
        let Some(topic) = self.by_id.get_mut(&id) else { return Running::Keep };
        let before = topic.role;
        topic.sum_up(self.joins.values().filter(|join| join.topic == id));
        let wanted = topic.kind(now);
        match topic.run {
            // What is being removed must be gone before it is announced anew.
            Some(RefreshKind::Unannounce) => Running::Keep,
            Some(run) if Some(run) == wanted || (run == RefreshKind::Announce && topic.announces()) => {
                Running::Keep
            }
            Some(_) => Running::Stop,
            None => {
                if topic.role != before || before.is_none() {
                    self.nudge(now, id);
                }
                Running::Keep
            }
        }
    }

    /// Has a topic refreshed now, unless a walk goes on.
    pub(super) fn nudge(&mut self, now: Instant, id: Id<32>) {
        let Some(topic) = self.by_id.get_mut(&id) else { return };
        topic.doublings = 0;
        topic.failures = 0;
        if !topic.is_running() {
            self.set_due(id, now);
        }
    }

    /// Takes a topic whose time has come and begins its walk; forgets topics on the way that need none.
    pub(super) fn start(&mut self, now: Instant, config: &RosterConfig) -> Option<(Id<32>, RefreshKind)> {
        while self.running < config.limits.refreshes {
            let id = self.due.expire(now)?;
            if let Some(kind) = self.begin(now, id) {
                return Some((id, kind));
            }
        }
        None
    }

    fn begin(&mut self, now: Instant, id: Id<32>) -> Option<RefreshKind> {
        let topic = self.by_id.get_mut(&id)?;
        let Some(kind) = topic.kind(now) else {
            self.forget(id);
            return None;
        };
        topic.run = Some(kind);
        if kind == RefreshKind::Announce {
            topic.records = Records::Possible;
        }
        self.due.cancel(id);
        self.running += 1;
        Some(kind)
    }

    /// Begins the removal of a topic's records, whatever its joins, where there may be any.
    pub(super) fn begin_removal(&mut self, id: Id<32>) -> Option<RefreshKind> {
        let topic = self.by_id.get_mut(&id)?;
        if topic.run.is_some() || topic.records == Records::None {
            return None;
        }
        topic.run = Some(RefreshKind::Unannounce);
        self.due.cancel(id);
        self.running += 1;
        topic.run
    }

    /// Forgets the walk of a topic, to begin another at `now`; tells whether there was one.
    pub(super) fn stop(&mut self, now: Instant, id: Id<32>) -> bool {
        let Some(topic) = self.by_id.get_mut(&id) else { return false };
        let ran = topic.run.take().is_some();
        self.running -= usize::from(ran);
        self.set_due(id, now);
        ran
    }

    /// Takes the end of a walk and plans the next.
    pub(super) fn ended(&mut self, now: Instant, id: Id<32>, outcome: RefreshOutcome, waits: &mut Waits<'_>) {
        let Some(topic) = self.by_id.get_mut(&id) else { return };
        let Some(run) = topic.run.take() else { return };
        self.running -= 1;
        let due = match run {
            // Whatever could not be removed expires; the topic's new role, if any, goes on at once.
            RefreshKind::Unannounce => {
                topic.records = Records::None;
                topic.second_look = SecondLook::Unplanned;
                if topic.announces() || !topic.finds() { now } else { topic.next(now, outcome, waits) }
            }
            RefreshKind::Announce => {
                if outcome == RefreshOutcome::Succeeded {
                    topic.renew = now + waits.period();
                    if topic.finds() && topic.second_look == SecondLook::Unplanned {
                        topic.second_look = SecondLook::At(now + waits.lonely(0));
                    }
                }
                topic.next(now, outcome, waits)
            }
            RefreshKind::Lookup => {
                if matches!(topic.second_look, SecondLook::At(_)) {
                    topic.second_look = SecondLook::Done;
                }
                topic.next(now, outcome, waits)
            }
        };
        let due = topic.second_look.before(due);
        self.set_due(id, due);
    }

    /// Plans anew when the first peer of a topic is connected.
    pub(super) fn found_company(&mut self, now: Instant, id: Id<32>, waits: &mut Waits<'_>) {
        let Some(topic) = self.by_id.get_mut(&id) else { return };
        topic.doublings = 0;
        if !topic.is_running() && topic.role.is_some() {
            let due = if topic.announces() { topic.renew } else { now + waits.period() };
            let due = topic.second_look.before(due);
            self.set_due(id, due.max(now));
        }
    }

    /// Plans anew when the last peer of a topic is gone.
    pub(super) fn lost_company(&mut self, now: Instant, id: Id<32>, waits: &mut Waits<'_>) {
        let Some(topic) = self.by_id.get_mut(&id) else { return };
        if topic.finds() {
            topic.doublings = LOST_DOUBLINGS;
            if !topic.is_running() {
                let due = topic.due.min(now + waits.lonely(LOST_DOUBLINGS));
                self.set_due(id, due);
            }
        }
    }

    /// Has every topic refreshed now; a walk that goes on is joined.
    pub(super) fn hurry(&mut self, now: Instant) {
        for id in self.ids() {
            self.renew(now, id);
        }
    }

    /// Spreads what became due while the host slept: at once where nobody is connected, else within the jitter,
    /// so that hosts that wake together do not walk together.
    pub(super) fn wake(&mut self, now: Instant, waits: &mut Waits<'_>) {
        for id in self.ids() {
            let Some(topic) = self.by_id.get(&id) else { continue };
            if topic.is_running() || topic.due > now {
                continue;
            }
            if topic.is_lonely() {
                self.renew(now, id);
            } else {
                self.set_due(id, now + waits.config.refresh_jitter.mul_f64(waits.rng.random()));
            }
        }
    }

    /// Forgets every topic that is left, and every plan.
    pub(super) fn rest(&mut self) {
        for id in self.ids() {
            self.due.cancel(id);
            if self.by_id.get(&id).is_some_and(|topic| topic.role.is_none()) {
                self.forget(id);
            }
        }
    }

    /// Has a topic refreshed now, with new records where it is announced.
    pub(super) fn renew(&mut self, now: Instant, id: Id<32>) {
        if let Some(topic) = self.by_id.get_mut(&id) {
            topic.renew = topic.renew.min(now);
        }
        self.nudge(now, id);
    }

    fn set_due(&mut self, id: Id<32>, due: Instant) {
        if let Some(topic) = self.by_id.get_mut(&id) {
            topic.due = due;
            self.due.set(id, due);
        }
    }

    fn forget(&mut self, id: Id<32>) {
        self.due.cancel(id);
        if let Some(topic) = self.by_id.remove(&id) {
            self.running -= usize::from(topic.is_running());
        }
    }
}

impl Topic {
    fn sum_up<'a>(&mut self, joins: impl Iterator<Item = &'a Join>) {
        let (mut announces, mut limit) = (false, None);
        for join in joins {
            announces |= join.role.announces();
            if join.role.finds() {
                let theirs = join.limit.unwrap_or(usize::MAX);
                limit = Some(limit.map_or(theirs, |ours: usize| ours.max(theirs)));
            }
        }
        self.role = match (announces, limit) {
            (true, Some(_)) => Some(Role::Both),
            (true, None) => Some(Role::Announce),
            (false, Some(_)) => Some(Role::Find),
            (false, None) => None,
        };
        self.limit = limit.filter(|limit| *limit < usize::MAX);
    }

    /// Plans the walk after one that ended.
    fn next(&mut self, now: Instant, outcome: RefreshOutcome, waits: &mut Waits<'_>) -> Instant {
        if outcome == RefreshOutcome::Failed {
            self.failures = (self.failures + 1).min(16);
            return now + waits.lonely(self.failures).min(FAILED_MAX);
        }
        self.failures = 0;
        let regular = if self.announces() { self.renew } else { now + waits.period() };
        if !self.finds() || !self.is_lonely() {
            return regular;
        }
        let soon = now + waits.lonely(self.doublings);
        self.doublings = (self.doublings + 1).min(16);
        soon.min(regular)
    }
}

/// Draws the waits between walks.
#[derive(Debug)]
pub(super) struct Waits<'a> {
    pub(super) config: &'a RosterConfig,
    pub(super) rng: &'a mut StdRng,
}

impl Waits<'_> {
    fn period(&mut self) -> Duration {
        self.config.refresh + self.config.refresh_jitter.mul_f64(self.rng.random())
    }

    /// Returns a wait that doubles: a peer that comes `t` after us is found within about `2t`, for ten walks in
    /// the first ten minutes.
    fn lonely(&mut self, doublings: u32) -> Duration {
        let spread = self.rng.random_range(LONELY_SPREAD[0]..=LONELY_SPREAD[1]);
        self.config.lonely.saturating_mul(1 << doublings).mul_f64(spread)
    }
}
