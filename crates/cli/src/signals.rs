use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::exit::Exit;

/// Tells when to end: at SIGINT, at SIGTERM, and where asked for, at the end of standard input.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    told: watch::Receiver<bool>,
}

impl Stop {
    /// Starts to listen. A second signal ends the process at once.
    pub(crate) fn listen(input: Input) -> io::Result<Self> {
        let (tell, told) = watch::channel(false);
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tracing::debug!("ready for signals");
        if input == Input::Watched {
            wait_for_stdin(tell.clone());
        }
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if tell.send_replace(true) {
                    std::process::exit(i32::from(u8::from(Exit::Interrupted)));
                }
            }
        });
        Ok(Self { told })
    }

    /// Waits until it is time to end. Cancellation-safe.
    pub(crate) async fn told(&self) {
        let mut told = self.told.clone();
        // Without a sender there is nobody to tell us; that is the end, too.
        while !*told.borrow_and_update() {
            if told.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Whether the end of standard input ends us, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    Ignored,
    Watched,
}

/// A thread, because standard input cannot be waited for by a runtime that must be able to end meanwhile.
fn wait_for_stdin(tell: watch::Sender<bool>) {
    std::thread::spawn(move || {
        let ended = io::copy(&mut io::stdin().lock(), &mut io::sink());
        drop(ended);
        tell.send_replace(true);
    });
}
