use std::collections::VecDeque;

use crate::snapshot::{Health, Online};

const RING: usize = 4;
const EXCHANGES_MIN: u64 = 4;
const OFFLINE_TICKS: usize = 2;

/// Judges the network from the outcome of our own requests, tick by tick (`dht-rpc lib/health.js`).
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    totals: Option<(u64, u64)>,
    warm_ticks: usize,
    /// The last ticks that had enough exchanges to judge by.
    ring: VecDeque<Verdict>,
    offline_ticks: usize,
    state: Health,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Healthy,
    Degraded,
    Offline,
}

impl Pulse {
    pub(crate) const fn state(&self) -> Health {
        self.state
    }

    /// Takes the counters of answered and of finally failed requests since the start; tells of a change.
    pub(crate) fn tick(&mut self, responses: u64, timeouts: u64) -> Option<Health> {
        self.warm_ticks += 1;
        let (responses_before, timeouts_before) = self.totals.replace((responses, timeouts))?;
        let (answered, failed) = (responses - responses_before, timeouts - timeouts_before);
        if answered + failed < EXCHANGES_MIN {
            return None;
        }
        let verdict = match (answered, failed) {
            (0, _) => Verdict::Offline,
            _ if failed > answered => Verdict::Degraded,
            _ => Verdict::Healthy,
        };
        if self.ring.len() == RING {
            self.ring.pop_front();
        }
        self.ring.push_back(verdict);
        if self.warm_ticks < RING { None } else { self.judge(verdict) }
    }

    fn judge(&mut self, verdict: Verdict) -> Option<Health> {
        self.offline_ticks = if verdict == Verdict::Offline { self.offline_ticks + 1 } else { 0 };
        let all = |wanted| self.ring.len() == RING && self.ring.iter().all(|v| *v == wanted);
        let mut next = self.state;
        if self.offline_ticks >= OFFLINE_TICKS {
            next = Health { online: Online::No, degraded: false };
        } else if self.offline_ticks == 0 {
            next.online = Online::Yes;
        }
        if next.online == Online::Yes && all(Verdict::Degraded) {
            next.degraded = true;
        } else if all(Verdict::Healthy) {
            next.degraded = false;
        }
        (std::mem::replace(&mut self.state, next) != next).then_some(next)
    }

    /// Starts over, as after a sleep: what was measured before says nothing.
    pub(crate) fn reset(&mut self) {
        *self = Self { totals: self.totals, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::tests::vector;

    #[test]
    fn health_follows_the_ticks_as_the_reference_does() {
        let vectors = vector("state-machines");
        for (name, rows) in vectors["health"].as_object().unwrap().iter().filter(|(_, rows)| rows.is_array())
        {
            let mut pulse = Pulse::default();
            let (mut responses, mut timeouts) = (0, 0);
            for row in rows.as_array().unwrap() {
                responses += row["responses"].as_u64().unwrap();
                timeouts += row["timeouts"].as_u64().unwrap();
                let changed = pulse.tick(responses, timeouts).is_some();
                let state = (pulse.state().online == Online::Yes, pulse.state().degraded, changed);
                let wanted = ["online", "degraded", "networkUpdate"].map(|k| row[k].as_bool().unwrap());
                assert_eq!(state, (wanted[0], wanted[1], wanted[2]), "{name}: {row}");
            }
        }
    }
}
