//! Maps: the operation applied last to a name decides.
//!
//! Order of application: index, then settings before deletions, then author. So of concurrent operations a
//! deletion beats a setting, and the greater author the lesser.

use std::collections::BTreeMap;

use super::{Document, OpId, Shape, Verb, operation, text_value};
use crate::json::{Object, Text, Value};

/// JavaScript takes this name for the object's prototype, so that a member of it never shows.
const PROTOTYPE: &str = "__proto__";

pub(super) fn value(ops: &BTreeMap<OpId, Value>) -> Object {
    let mut members: BTreeMap<&Text, (usize, &Value)> = BTreeMap::new();
    for (turn, (id, op)) in ops.iter().enumerate() {
        let OpId::Map { verb, key, .. } = id else { continue };
        let set = op.as_object().and_then(|op| op.get("v")).filter(|_| *verb == Verb::Give);
        match set {
            Some(value) if key.escaped() != PROTOTYPE => {
                members.entry(key).and_modify(|member| member.1 = value).or_insert((turn, value));
            }
            _ => drop(members.remove(key)),
        }
    }
    let mut ordered: Vec<(&Text, (usize, &Value))> = members.into_iter().collect();
    ordered.sort_by_key(|(_, (turn, _))| *turn);
    Object::from_members(ordered.into_iter().map(|(name, (_, value))| (name.clone(), value.clone())))
}

impl Document {
    /// Sets a member of a map, on behalf of an author. Other shapes are left as they are.
    pub fn set(&mut self, author: &str, name: &str, value: Value) {
        let index = self.next_map_index(name);
        self.edit_map([
            ("t", text_value("SET")),
            ("k", text_value(name)),
            ("a", text_value(author)),
            ("v", value),
            ("i", index),
        ]);
    }

    /// Removes a member of a map, on behalf of an author. Other shapes are left as they are.
    pub fn unset(&mut self, author: &str, name: &str) {
        let index = self.next_map_index(name);
        self.edit_map([
            ("t", text_value("DEL")),
            ("k", text_value(name)),
            ("a", text_value(author)),
            ("i", index),
        ]);
    }

    fn edit_map<const N: usize>(&mut self, members: [(&str, Value); N]) {
        if self.shape == Shape::Map {
            self.merge_op(&operation(members));
        }
    }

    /// One more than the greatest index of a name, so that the new operation is applied after all known ones.
    fn next_map_index(&self, name: &str) -> Value {
        let name = Text::from(name);
        let last = self.ops.keys().rev().find_map(|id| match id {
            OpId::Map { index, key, .. } if *key == name => Some(*index),
            OpId::Map { .. } | OpId::List { .. } | OpId::Counter { .. } => None,
        });
        #[expect(clippy::cast_precision_loss, reason = "indices are read as whole numbers below 2^53")]
        Value::Number(last.unwrap_or(0) as f64 + 1.0)
    }
}
