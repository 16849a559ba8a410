//! The process: a desk with a thread of its own, and the socket where it is asked.

use std::path::Path;
use std::sync::Arc;

use node::DataDir;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use crate::control::{self, ANSWERS_MAX};
use crate::desk::{ASKS_MAX, Ask, Desk, Home, Presence};
use crate::failure::Failure;
use crate::profile::Reach;
use crate::request::{Answer, Request, Spoken};

/// How the process is started.
#[derive(Debug, Default)]
pub struct Options {
    /// Opens the store at once.
    pub passphrase: Option<Zeroizing<String>>,
    /// Where others are looked for, in place of what the profile says.
    pub reach: Option<Reach>,
}

/// A running process. Dropping it ends it without saying goodbye to anybody; nothing acknowledged is lost.
#[derive(Debug)]
pub struct Resident {
    asks: mpsc::Sender<Ask>,
    desk: JoinHandle<()>,
    control: Option<JoinHandle<()>>,
    dir: Arc<DataDir>,
}

/// Why the process cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The directory cannot be used.
    #[error(transparent)]
    Directory(#[from] node::DataDirError),
    /// The socket cannot be opened.
    #[error(transparent)]
    Control(#[from] node::control::ControlError),
    /// The store cannot be opened.
    #[error("{message}")]
    Refused {
        /// The name of the case.
        code: String,
        /// In words.
        message: String,
    },
}

impl Resident {
    /// Takes a directory, which is made where it is missing. Must be called inside a tokio runtime of several threads.
    ///
    /// # Errors
    ///
    /// If another process has the directory, it is open to others, or the passphrase is wrong.
    pub async fn start(directory: &Path, options: Options) -> Result<Self, StartError> {
        let it = Self::begin(directory, options.reach, Presence::Joins)?;
        if let Some(passphrase) = options.passphrase {
            let unlock = Request::Unlock { passphrase: Spoken(passphrase.to_string()) };
            it.ask(unlock).await?;
        }
        let listener = node::control::listen(&it.dir)?;
        let control = tokio::spawn(control::serve(listener, it.asks.clone()));
        Ok(Self { control: Some(control), ..it })
    }

    /// As [`Resident::start`], locked, without a socket and without the network: for what is done before there is a
    /// process to ask.
    ///
    /// # Errors
    ///
    /// As [`Resident::start`].
    pub fn quiet(directory: &Path) -> Result<Self, StartError> {
        Self::begin(directory, None, Presence::StaysAway)
    }

    fn begin(directory: &Path, reach: Option<Reach>, presence: Presence) -> Result<Self, StartError> {
        let dir = Arc::new(DataDir::open(directory)?);
        let home = Home { path: directory.to_owned(), dir: Arc::clone(&dir) };
        let (asks, receiver) = mpsc::channel(ASKS_MAX);
        let mut desk = Desk::new(home, reach, presence, asks.downgrade());
        let runtime = tokio::runtime::Handle::current();
        // The desk waits for the disk, which must not hold up anybody's connections.
        let desk = tokio::task::spawn_blocking(move || runtime.block_on(desk.run(receiver)));
        Ok(Self { asks, desk, control: None, dir })
    }

    /// Asks.
    ///
    /// # Errors
    ///
    /// If it cannot be done.
    pub async fn ask(&self, request: Request) -> Result<Value, StartError> {
        let (reply, mut answers) = mpsc::channel(ANSWERS_MAX);
        // A desk that has ended answers nothing, which is told below.
        drop(self.asks.send(Ask::Request { request, reply }).await);
        while let Some(answer) = answers.recv().await {
            match answer {
                Answer::Progress { .. } => {}
                Answer::Done(value) => return Ok(value),
                Answer::Error { code, message } => return Err(StartError::Refused { code, message }),
            }
        }
        let ending = Failure::Ending;
        Err(StartError::Refused { code: ending.code().into(), message: ending.to_string() })
    }

    /// Writes what is to be written, says goodbye, and ends.
    pub async fn shutdown(self) {
        if let Some(control) = self.control {
            control.abort();
            node::control::remove(&self.dir);
        }
        drop(self.asks.send(Ask::End).await);
        drop(self.asks);
        if let Err(error) = self.desk.await {
            tracing::error!(%error, "the desk failed");
        }
    }
}
