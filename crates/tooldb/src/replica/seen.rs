//! Questions that came by already, in bounded memory.

use std::collections::HashSet;

use crate::message::MessageId;

/// What sort of question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Question {
    Get,
    DocumentGet,
    Query,
}

/// Two generations of ids: when the younger is full it becomes the older, and the older is forgotten. So the
/// last `max / 2` ids at least are remembered, and never more than `max`.
#[derive(Debug)]
pub(super) struct Seen {
    young: HashSet<(Question, MessageId)>,
    old: HashSet<(Question, MessageId)>,
    generation: usize,
}

impl Seen {
    pub(super) fn new(max: usize) -> Self {
        Self { young: HashSet::new(), old: HashSet::new(), generation: max.div_ceil(2).max(1) }
    }

    /// Remembers a question; tells whether it is new.
    pub(super) fn insert(&mut self, question: Question, id: &MessageId) -> bool {
        let entry = (question, id.clone());
        if self.old.contains(&entry) || !self.young.insert(entry) {
            return false;
        }
        if self.young.len() >= self.generation {
            self.old = std::mem::take(&mut self.young);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_half_is_remembered_and_no_more_than_the_whole() {
        let mut seen = Seen::new(10);
        let id = |place: i32| MessageId::new(&place.to_string()).expect("digits");
        for place in 0..100 {
            assert!(seen.insert(Question::Get, &id(place)));
            assert!(seen.young.len() + seen.old.len() <= 10);
            for recent in (place - 4).max(0)..=place {
                assert!(!seen.insert(Question::Get, &id(recent)), "{recent} at {place}");
            }
        }
        assert!(seen.insert(Question::Query, &id(99)), "another sort of question");
        assert!(seen.insert(Question::Get, &id(0)), "long forgotten");
    }
}
