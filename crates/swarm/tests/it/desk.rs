//! One roster, and an owner who does what a test says.

use std::time::{Duration, Instant};

use peer::PublicKey;
use swarm::roster::{
    Action, CloseReason, DialFailure, DialId, Dialled, Incoming, JoinId, LinkId, RefreshKind, RefreshOutcome,
    Role, Roster, RosterConfig, RosterEvent, Vitals,
};
use wire::Id;

pub(crate) const TOPIC: Id<32> = Id([7; 32]);
pub(crate) const LOCAL: PublicKey = PublicKey([128; 32]);

/// A key below [`LOCAL`].
pub(crate) fn key(number: u32) -> PublicKey {
    numbered(1, number)
}

/// A key above [`LOCAL`].
pub(crate) fn greater_key(number: u32) -> PublicKey {
    numbered(255, number)
}

fn numbered(first: u8, number: u32) -> PublicKey {
    let mut bytes = [first; 32];
    bytes[1..5].copy_from_slice(&number.to_be_bytes());
    PublicKey(bytes)
}

#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) roster: Roster,
    start: Instant,
    pub(crate) now: Instant,
    /// What was asked for and not looked at yet, with the time since the start.
    asked: Vec<(Duration, Action)>,
    told: Vec<RosterEvent>,
    next_link: u64,
}

impl Desk {
    pub(crate) fn new(config: RosterConfig) -> Self {
        Self::seeded(config, 1)
    }

    pub(crate) fn seeded(config: RosterConfig, seed: u8) -> Self {
        let now = Instant::now();
        let roster = Roster::new(LOCAL, config, [seed; 32]);
        Self { roster, start: now, now, asked: Vec::new(), told: Vec::new(), next_link: 0 }
    }

    /// A desk in the middle of a walk for [`TOPIC`].
    pub(crate) fn finding(config: RosterConfig) -> Self {
        let mut desk = Self::new(config);
        desk.join(Role::Find, None);
        desk
    }

    pub(crate) fn join(&mut self, role: Role, limit: Option<usize>) -> JoinId {
        let now = self.now;
        self.with(|roster| roster.join(now, TOPIC, role, limit)).expect("there is room")
    }

    pub(crate) fn with<T>(&mut self, act: impl FnOnce(&mut Roster) -> T) -> T {
        let out = act(&mut self.roster);
        self.drain();
        out
    }

    fn drain(&mut self) {
        let at = self.now - self.start;
        self.asked.extend(std::iter::from_fn(|| self.roster.poll_action()).map(|action| (at, action)));
        self.told.extend(std::iter::from_fn(|| self.roster.poll_event()));
    }

    /// Lets time pass, and the roster act at each of its deadlines.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.roster.poll_timeout().filter(|due| *due <= end) {
            assert!(due > self.now || due <= end);
            self.now = self.now.max(due);
            let now = self.now;
            self.with(|roster| roster.handle_timeout(now));
            assert!(self.roster.poll_timeout().is_none_or(|next| next > now), "it would spin");
        }
        self.now = end;
    }

    /// The host sleeps: time passes, and the roster learns of it late.
    pub(crate) fn doze(&mut self, time: Duration) {
        self.now += time;
        let now = self.now;
        self.with(|roster| roster.handle_timeout(now));
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// Takes what was asked for since the last look.
    pub(crate) fn asked(&mut self) -> Vec<Action> {
        self.asked.drain(..).map(|(_, action)| action).collect()
    }

    pub(crate) fn asked_when(&mut self) -> Vec<(Duration, Action)> {
        std::mem::take(&mut self.asked)
    }

    pub(crate) fn told(&mut self) -> Vec<RosterEvent> {
        std::mem::take(&mut self.told)
    }

    /// Takes the attempts asked for, and drops whatever else was.
    pub(crate) fn dials(&mut self) -> Vec<(DialId, PublicKey)> {
        let dial =
            |action| if let Action::Dial { dial, key, .. } = action { Some((dial, key)) } else { None };
        self.asked().into_iter().filter_map(dial).collect()
    }

    pub(crate) fn dial(&mut self) -> (DialId, PublicKey) {
        let dials = self.dials();
        assert_eq!(dials.len(), 1, "one attempt");
        dials[0]
    }

    /// Takes the walks asked for, and when, and drops whatever else was.
    pub(crate) fn walks(&mut self) -> Vec<(Duration, RefreshKind)> {
        let walk =
            |(at, action)| if let Action::Refresh { kind, .. } = action { Some((at, kind)) } else { None };
        self.asked_when().into_iter().filter_map(walk).collect()
    }

    pub(crate) fn found(&mut self, peer: PublicKey) {
        let now = self.now;
        self.with(|roster| roster.handle_found(now, TOPIC, peer, &[]));
    }

    pub(crate) fn walked(&mut self) {
        let now = self.now;
        self.with(|roster| roster.handle_refreshed(now, TOPIC, RefreshOutcome::Succeeded));
    }

    pub(crate) fn opened(&mut self, dial: DialId) -> LinkId {
        let (now, link) = (self.now, self.link());
        self.with(|roster| roster.handle_dialled(now, dial, Dialled::Opened(link)));
        link
    }

    pub(crate) fn failed(&mut self, dial: DialId, failure: DialFailure) {
        let now = self.now;
        self.with(|roster| roster.handle_dialled(now, dial, Dialled::Failed(failure)));
    }

    pub(crate) fn closed(&mut self, link: LinkId) {
        let now = self.now;
        self.with(|roster| roster.handle_closed(now, link));
    }

    pub(crate) fn incoming(&mut self, key: PublicKey, existing: Option<Vitals>) -> LinkId {
        let (now, link) = (self.now, self.link());
        self.with(|roster| roster.handle_incoming(now, Incoming { link, key, begun: now, existing }));
        link
    }

    pub(crate) fn closes(&mut self) -> Vec<(LinkId, CloseReason)> {
        let close = |action| if let Action::Close { link, why } = action { Some((link, why)) } else { None };
        self.asked().into_iter().filter_map(close).collect()
    }

    fn link(&mut self) -> LinkId {
        self.next_link += 1;
        LinkId(self.next_link)
    }
}
