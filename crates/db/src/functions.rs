//! Functions that clients may ask this server to run.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tooldb::{CallId, Key, Return};

use crate::host::Ask;

/// How long a function may take; the library's clients wait for ten seconds.
const SPAN_MAX: Duration = Duration::from_secs(10);
/// Functions that run at a time; more wait.
const RUNNING_MAX: usize = 64;

/// How a function ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It returned a value, as JSON.
    Value(String),
    /// It returned nothing.
    Nothing,
    /// It failed, and this is why.
    Failed(String),
}

/// A function's work.
pub type Work = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// A function: gets its argument as JSON. Calls carry no identity: anybody may make them.
pub type Function = Arc<dyn Fn(Box<str>) -> Work + Send + Sync>;

impl Outcome {
    pub(crate) fn as_return(&self) -> Return<'_> {
        match self {
            Self::Value(json) => Return::Value(json),
            Self::Nothing => Return::Nothing,
            Self::Failed(json) => Return::Error(json),
        }
    }

    fn failed(why: &str) -> Self {
        Self::Failed(serde_json::Value::from(why).to_string())
    }

    /// Brings what the application said into the form of the protocol; nonsense counts as failure.
    fn checked(self) -> Self {
        match self {
            Self::Value(json) if tooldb::json::Value::parse(&json).is_err() => {
                Self::failed("the function returned no JSON")
            }
            Self::Failed(why) => Self::failed(&why),
            outcome => outcome,
        }
    }
}

#[derive(Clone)]
pub(crate) struct Functions {
    by_name: BTreeMap<Key, Function>,
    running: Arc<Semaphore>,
}

impl fmt::Debug for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}

impl Functions {
    pub(crate) fn new(by_name: BTreeMap<Key, Function>) -> Self {
        Self { by_name, running: Arc::new(Semaphore::new(RUNNING_MAX)) }
    }

    pub(crate) fn names(&self) -> Vec<Key> {
        self.by_name.keys().cloned().collect()
    }

    /// Runs a function in a task of its own, so that one that panics or hangs takes nobody with it.
    pub(crate) fn call(&self, (call, name): (CallId, &Key), args: Box<str>, asks: mpsc::Sender<Ask>) {
        let Some(function) = self.by_name.get(name).cloned() else { return };
        let running = Arc::clone(&self.running);
        tokio::spawn(async move {
            let _permit = running.acquire_owned().await;
            let work = tokio::spawn(async move { function(args).await });
            let abort = work.abort_handle();
            let outcome = match tokio::time::timeout(SPAN_MAX, work).await {
                Ok(Ok(outcome)) => outcome.checked(),
                Ok(Err(_)) => Outcome::failed("the function broke"),
                Err(_) => {
                    abort.abort();
                    Outcome::failed("Timed out")
                }
            };
            asks.send(Ask::Returned { call, outcome }).await.unwrap_or_default();
        });
    }
}
