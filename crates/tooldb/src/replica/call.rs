//! Functions that clients ask a server to run.

use std::collections::BTreeMap;

use super::{Event, LinkId, Replica};
use crate::key::Key;
use crate::message::{Body, Code, MessageId};
use crate::store::Store;

/// A call that waits for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(u64);

/// How a function ended, with what it returned as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Return<'a> {
    /// It returned a value.
    Value(&'a str),
    /// It returned nothing.
    Nothing,
    /// It failed; the text of the error, as JSON.
    Error(&'a str),
}

/// Calls that one connection may have waiting.
const CALLS_MAX: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Calls {
    waiting: BTreeMap<CallId, (LinkId, MessageId)>,
    next: u64,
}

impl Calls {
    pub(super) fn forget(&mut self, link: LinkId) {
        self.waiting.retain(|_, (caller, _)| *caller != link);
    }
}

impl<S: Store> Replica<S> {
    /// Offers a function under a name; calls of it arrive as [`Event::Called`].
    pub fn offer(&mut self, name: Key) {
        self.functions.insert(name);
    }

    pub(super) fn handle_function(&mut self, link: LinkId, id: MessageId, (name, args): (Key, &str)) {
        if !self.functions.contains(&name) {
            let body = Body::FunctionReturn { code: Code::NotFound, value: Some("\"Function not found\"") };
            return self.send(link, id, body);
        }
        let waiting = self.calls.waiting.values().filter(|(caller, _)| *caller == link).count();
        if waiting >= CALLS_MAX {
            self.stats.limited += 1;
            return;
        }
        let call = CallId(self.calls.next);
        self.calls.next += 1;
        self.calls.waiting.insert(call, (link, id));
        self.events.push_back(Event::Called { call, name, args: args.into() });
    }

    /// Answers a call. If the caller is gone, nothing happens.
    pub fn answer(&mut self, call: CallId, outcome: Return<'_>) {
        let Some((link, id)) = self.calls.waiting.remove(&call) else { return };
        let (code, value) = match outcome {
            Return::Value(value) => (Code::Ok, Some(value)),
            Return::Nothing => (Code::Ok, None),
            Return::Error(value) => (Code::Err, Some(value)),
        };
        self.send(link, id, Body::FunctionReturn { code, value });
    }
}
