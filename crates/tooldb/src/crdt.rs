//! Documents that merge: maps, lists and counters as the operations that made them.
//!
//! A document is a set of operations. Merging is union, so replicas that saw the same operations in any order
//! hold the same document; what it comes to is computed when somebody looks. Operations are kept as they were
//! written, with members this crate does not know.

mod counter;
mod list;
mod map;

use std::collections::BTreeMap;

use crate::json::{Object, Text, Value};
use crate::record::{Kind, integer};

/// What makes two operations the same one. The order is the order in which they are applied.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum OpId {
    Map { index: i64, verb: Verb, author: Text, key: Text },
    Counter { index: i64, author: Text, verb: Verb },
    List { index: Text, verb: Verb, value: String },
}

/// Operations that put something there come before those that take it away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verb {
    Give,
    Take,
}

/// Which operations a document takes, by the type that its records carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `"MAP"`
    Map,
    /// `"LIST"`, which the library also writes for counters.
    List,
}

impl Shape {
    /// The shape of a record's value; `None` for plain values and the application's own types.
    pub fn of(kind: &Kind) -> Option<Self> {
        match kind {
            Kind::Map => Some(Self::Map),
            Kind::List => Some(Self::List),
            Kind::Plain | Kind::Custom(_) => None,
        }
    }
}

/// A document: a set of operations.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    shape: Shape,
    ops: BTreeMap<OpId, Value>,
}

impl Document {
    /// An empty document.
    pub fn new(shape: Shape) -> Self {
        Self { shape, ops: BTreeMap::new() }
    }

    /// Reads the value of a record; `None` if it is no list of operations. Items that are not operations of
    /// this shape are left out.
    pub fn from_value(shape: Shape, value: &Value) -> Option<Self> {
        let mut document = Self::new(shape);
        for op in value.as_array()? {
            document.merge_op(op);
        }
        Some(document)
    }

    /// Which operations this takes.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// How many operations there are.
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Tells whether there are no operations.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Takes one operation in. Of two that claim to be the same one and say different things, the one whose
    /// value prints as the lesser text stays, on every replica alike.
    fn merge_op(&mut self, op: &Value) {
        let Some(id) = OpId::of(self.shape, op) else { return };
        self.ops
            .entry(id)
            .and_modify(|known| {
                if said(op) < said(known) {
                    *known = op.clone();
                }
            })
            .or_insert_with(|| op.clone());
    }

    /// Takes all operations of another document in.
    pub fn merge(&mut self, other: &Self) {
        other.ops.values().for_each(|op| self.merge_op(op));
    }

    /// Tells whether merging the other would change nothing.
    pub fn covers(&self, other: &Self) -> bool {
        other.ops.iter().all(|(id, op)| self.ops.get(id).is_some_and(|known| said(known) <= said(op)))
    }

    /// All operations in the order in which they are applied: the value of a record.
    pub fn to_value(&self) -> Value {
        Value::Array(self.ops.values().cloned().collect())
    }

    /// What the operations come to: an object, an array, or a number if all of them count.
    pub fn value(&self) -> Value {
        match self.shape {
            Shape::Map => Value::Object(map::value(&self.ops)),
            Shape::List if !self.ops.is_empty() && self.ops.keys().all(OpId::counts) => {
                Value::Number(counter::value(&self.ops))
            }
            Shape::List => Value::Array(list::Sequence::of(&self.ops).values()),
        }
    }
}

/// What an operation says, for comparing two of the same identity.
fn said(op: &Value) -> Option<String> {
    op.as_object()?.get("v").map(Value::to_json)
}

impl OpId {
    fn of(shape: Shape, op: &Value) -> Option<Self> {
        let op = op.as_object()?;
        let text = |name| op.get(name)?.as_text().cloned();
        let index = || integer(&op.get("i").filter(|index| index.as_number().is_some())?.to_json());
        Some(match (shape, op.get("t")?.as_text()?.escaped()) {
            (Shape::Map, "SET") => {
                op.get("v")?;
                Self::Map { index: index()?, verb: Verb::Give, author: text("a")?, key: text("k")? }
            }
            (Shape::Map, "DEL") => {
                Self::Map { index: index()?, verb: Verb::Take, author: text("a")?, key: text("k")? }
            }
            (Shape::List, "INS") => {
                Self::List { index: text("i")?, verb: Verb::Give, value: op.get("v")?.to_json() }
            }
            (Shape::List, "DEL") => Self::List {
                index: text("i")?,
                verb: Verb::Take,
                value: op.get("v")?.as_text()?.escaped().into(),
            },
            (Shape::List, verb @ ("ADD" | "SUB")) => {
                op.get("v")?.as_number()?;
                let verb = if verb == "ADD" { Verb::Give } else { Verb::Take };
                Self::Counter { index: index()?, author: text("a")?, verb }
            }
            _ => return None,
        })
    }

    fn counts(&self) -> bool {
        matches!(self, Self::Counter { .. })
    }
}

/// Makes an operation, its members in the order in which the library writes them.
fn operation<'a>(members: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    Value::Object(Object::from_members(members.into_iter().map(|(name, value)| (name.into(), value))))
}

fn text_value(text: &str) -> Value {
    Value::Text(text.into())
}
