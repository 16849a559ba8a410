use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::net::{Flight, HostId};
use crate::world::host::Said;

/// What will happen, in order of time; what is due together happens in the order in which it was put in.
#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Reverse<Entry>>,
    sequence: u64,
}

#[derive(Debug)]
pub(super) enum Due {
    Arrival(Flight, Box<[u8]>),
    Deadline(HostId),
    Resolution(HostId, Box<str>),
    Speech(HostId, Box<Said>),
}

#[derive(Debug)]
struct Entry {
    at: Duration,
    sequence: u64,
    due: Due,
}

impl Queue {
    pub(super) fn push(&mut self, at: Duration, due: Due) {
        self.sequence += 1;
        self.heap.push(Reverse(Entry { at, sequence: self.sequence, due }));
    }

    /// Returns the next thing, if it is due by `end`.
    pub(super) fn pop_until(&mut self, end: Duration) -> Option<(Duration, Due)> {
        let Reverse(next) = self.heap.peek()?;
        if next.at > end {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| (entry.at, entry.due))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_due_together_happen_in_the_order_they_were_put_in() {
        let mut queue = Queue::default();
        for (at, host) in [(3, 1), (2, 2), (3, 3), (1, 4), (9, 5)] {
            queue.push(Duration::from_secs(at), Due::Deadline(HostId(host)));
        }
        let order: Vec<_> = std::iter::from_fn(|| queue.pop_until(Duration::from_secs(3)))
            .map(|(at, due)| {
                let Due::Deadline(HostId(host)) = due else { panic!("{due:?} was not put in") };
                (at.as_secs(), host)
            })
            .collect();
        assert_eq!(order, [(1, 4), (2, 2), (3, 1), (3, 3)]);
    }
}
