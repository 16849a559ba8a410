//! Lists: items placed next to others, which stay as anchors when they are deleted.
//!
//! Insertions are applied in the order of their ids, whose first part is the author, and before all deletions:
//! the library applies them together and throws when a deletion sorts before what it deletes.

use std::collections::{BTreeMap, HashMap};

use super::{Document, OpId, Shape, Verb, operation, text_value};
use crate::json::{Text, Value};

struct Item<'a> {
    id: &'a Text,
    value: &'a Value,
    deleted: bool,
    next: Option<usize>,
}

/// The items of a list in order, deleted ones among them.
pub(super) struct Sequence<'a> {
    items: Vec<Item<'a>>,
    before: Vec<Option<usize>>,
    first: Option<usize>,
    last: Option<usize>,
    /// The place of an id in `items`; of two with the same id, that of the one further ahead.
    places: HashMap<&'a Text, usize>,
}

impl<'a> Sequence<'a> {
    pub(super) fn of(ops: &'a BTreeMap<OpId, Value>) -> Self {
        let mut sequence =
            Self { items: Vec::new(), before: Vec::new(), first: None, last: None, places: HashMap::new() };
        let listed = || {
            ops.iter().filter_map(|(id, op)| match id {
                OpId::List { index, verb, .. } => Some((index, *verb, op.as_object()?)),
                OpId::Map { .. } | OpId::Counter { .. } => None,
            })
        };
        for (id, _, op) in listed().filter(|(_, verb, _)| *verb == Verb::Give) {
            let anchor =
                |name| op.get(name).and_then(Value::as_text).filter(|anchor| !anchor.escaped().is_empty());
            let after = match (anchor("p"), anchor("n")) {
                (Some(previous), _) => sequence.places.get(previous).copied(),
                (None, Some(next)) => match sequence.places.get(next) {
                    Some(next) => sequence.before[*next],
                    // The library takes an unknown neighbour for the last item.
                    None => sequence.last.and_then(|last| sequence.before[last]),
                },
                (None, None) => None,
            };
            if let Some(value) = op.get("v") {
                sequence.insert(after, id, value);
            }
        }
        for (_, _, op) in listed().filter(|(_, verb, _)| *verb == Verb::Take) {
            let target = op.get("v").and_then(Value::as_text);
            if let Some(place) = target.and_then(|target| sequence.places.get(target)) {
                sequence.items[*place].deleted = true;
            }
        }
        sequence
    }

    /// Puts an item after another, or first.
    fn insert(&mut self, after: Option<usize>, id: &'a Text, value: &'a Value) {
        let place = self.items.len();
        let next = match after {
            Some(after) => self.items[after].next.replace(place),
            None => self.first.replace(place),
        };
        match next {
            Some(next) => self.before[next] = Some(place),
            None => self.last = Some(place),
        }
        self.items.push(Item { id, value, deleted: false, next });
        self.before.push(after);
        match self.places.get(id) {
            Some(twin) if !self.follows(*twin, place) => {}
            _ => drop(self.places.insert(id, place)),
        }
    }

    /// Tells whether one item comes after another.
    fn follows(&self, one: usize, other: usize) -> bool {
        let mut place = self.items[other].next;
        while let Some(at) = place {
            if at == one {
                return true;
            }
            place = self.items[at].next;
        }
        false
    }

    fn shown(&self) -> impl Iterator<Item = &Item<'a>> {
        let follow = |place: &usize| self.items[*place].next;
        std::iter::successors(self.first, follow).map(|place| &self.items[place]).filter(|item| !item.deleted)
    }

    pub(super) fn values(&self) -> Vec<Value> {
        self.shown().map(|item| item.value.clone()).collect()
    }
}

impl Document {
    /// Inserts an item into a list so that it becomes number `place`, on behalf of an author; beyond the end,
    /// it becomes the last. Maps are left as they are.
    pub fn insert(&mut self, author: &str, place: usize, value: Value) {
        let sequence = Sequence::of(&self.ops);
        let shown: Vec<&Text> = sequence.shown().map(|item| item.id).collect();
        let (previous, next) = match shown.get(place) {
            Some(next) => {
                let before = sequence.places.get(next).and_then(|place| sequence.before[*place]);
                (before.map(|before| sequence.items[before].id), Some(*next))
            }
            None => (shown.last().copied(), None),
        };
        let anchor = |name, id: Option<&Text>| Some((name, Value::Text(id?.clone())));
        let (previous, next) = (anchor("p", previous), anchor("n", next));
        self.edit_list(author, |id| {
            let anchors = previous.into_iter().chain(next);
            operation([("t", text_value("INS"))].into_iter().chain(anchors).chain([("v", value), ("i", id)]))
        });
    }

    /// Appends an item to a list, on behalf of an author. Maps are left as they are.
    pub fn push(&mut self, author: &str, value: Value) {
        self.insert(author, usize::MAX, value);
    }

    /// Removes item number `place` of a list, on behalf of an author. If there is none, nothing changes.
    pub fn remove(&mut self, author: &str, place: usize) {
        let target = Sequence::of(&self.ops).shown().nth(place).map(|item| Value::Text(item.id.clone()));
        if let Some(target) = target {
            self.edit_list(author, |id| operation([("t", text_value("DEL")), ("v", target), ("i", id)]));
        }
    }

    fn edit_list(&mut self, author: &str, op: impl FnOnce(Value) -> Value) {
        if self.shape == Shape::List {
            let id = self.next_list_id(author);
            self.merge_op(&op(text_value(&id)));
        }
    }

    /// `author-00000000` and on: one more than the author's greatest.
    fn next_list_id(&self, author: &str) -> String {
        let last = self.ops.keys().filter_map(|id| match id {
            OpId::List { index, .. } => {
                index.plain()?.strip_prefix(author)?.strip_prefix('-')?.parse::<u64>().ok()
            }
            OpId::Map { .. } | OpId::Counter { .. } => None,
        });
        let next = last.max().map_or(0, |last| last + 1);
        format!("{author}-{next:08}")
    }
}
