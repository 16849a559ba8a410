//! Counters: additions less subtractions.

use std::collections::BTreeMap;

use super::{Document, OpId, Shape, Verb, operation, text_value};
use crate::json::{Text, Value};

pub(super) fn value(ops: &BTreeMap<OpId, Value>) -> f64 {
    let amount = |op: &Value| op.as_object()?.get("v")?.as_number();
    ops.iter().fold(0.0, |sum, (id, op)| match (id, amount(op)) {
        (OpId::Counter { verb: Verb::Give, .. }, Some(amount)) => sum + amount,
        (OpId::Counter { verb: Verb::Take, .. }, Some(amount)) => sum - amount,
        _ => sum,
    })
}

impl Document {
    /// Adds to a counter, on behalf of an author; negative amounts count down. Maps are left as they are.
    pub fn count(&mut self, author: &str, amount: f64) {
        if self.shape != Shape::List {
            return;
        }
        let name = Text::from(author);
        let last = self.ops.keys().filter_map(|id| match id {
            OpId::Counter { index, author, .. } if *author == name => Some(*index),
            OpId::Counter { .. } | OpId::List { .. } | OpId::Map { .. } => None,
        });
        #[expect(clippy::cast_precision_loss, reason = "indices are read as whole numbers below 2^53")]
        let index = last.max().map_or(0.0, |last| last as f64 + 1.0);
        self.merge_op(&operation([
            ("t", text_value(if amount < 0.0 { "SUB" } else { "ADD" })),
            ("v", Value::Number(amount.abs())),
            ("a", text_value(author)),
            ("i", Value::Number(index)),
        ]));
    }
}
