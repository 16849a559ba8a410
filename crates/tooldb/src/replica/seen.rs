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
