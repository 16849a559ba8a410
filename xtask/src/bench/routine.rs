use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result};

/// A thread that goes on until it is told to end, at the latest when this is dropped.
pub(crate) struct Routine<T> {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<T>>>,
}

/// Tells a [`Routine`] whether it should go on.
#[derive(Clone, Debug)]
pub(crate) struct Ending(Arc<AtomicBool>);

impl Ending {
    pub(crate) fn is_wanted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl<T: Send + 'static> Routine<T> {
    /// Starts work that looks at [`Ending`] now and then.
    pub(crate) fn start(work: impl FnOnce(&Ending) -> Result<T> + Send + 'static) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let ending = Ending(Arc::clone(&ended));
        Self { ended, thread: Some(thread::spawn(move || work(&ending))) }
    }

    /// Ends it and returns what it made.
    pub(crate) fn finish(mut self) -> Result<T> {
        self.ended.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("a routine ended twice")?;
        thread.join().ok().context("a thread panicked")?
    }
}

impl Routine<()> {
    /// Repeats a step, which must return at times, until it fails or the end is wanted.
    pub(crate) fn repeat(mut step: impl FnMut() -> Result<()> + Send + 'static) -> Self {
        Self::start(move |ending| {
            while !ending.is_wanted() {
                step()?;
            }
            Ok(())
        })
    }
}

impl<T> Drop for Routine<T> {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Whoever wanted to know how it went has called `finish`.
            drop(thread.join());
        }
    }
}
