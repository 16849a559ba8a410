//! The socket over which commands reach the process: only its owner can open it.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use node::control::{read_line, write_line};
use serde_json::Value;
use tokio::io::BufReader;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time;

use crate::desk::Ask;
use crate::request::{Answer, Request};

/// Connections served at once: scripts keep dozens of requests in flight.
const CONNECTIONS_MAX: usize = 128;
/// A request carries at most a statement, which is 256 KiB before JSON escapes it.
const REQUEST_BYTES_MAX: u64 = 4 << 20;
/// The list of a large record.
const ANSWER_BYTES_MAX: u64 = 256 << 20;
/// A connection that says nothing for this long is closed.
const SILENCE_MAX: Duration = Duration::from_mins(1);
/// Lines of progress that wait for a slow reader; what does not fit is left out.
pub(crate) const ANSWERS_MAX: usize = 16;

/// Why the process could not be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// No process serves the directory.
    #[error("no pehr is running with {}; run: pehr serve", .0.display())]
    NotRunning(PathBuf),
    /// The system refused.
    #[error("cannot reach the pehr that runs with {}", .path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// It answered that it cannot.
    #[error("{message}")]
    Refused {
        /// The name of the case.
        code: String,
        /// In words.
        message: String,
    },
}

/// Asks the process that runs with a directory, and tells how far it is meanwhile.
///
/// # Errors
///
/// If none runs, it does not answer, or it says that it cannot.
pub async fn ask(
    directory: &Path,
    request: &Request,
    mut progress: impl FnMut(u64, u64),
) -> Result<Value, ControlError> {
    let failed = |source| ControlError::Io { path: directory.to_owned(), source };
    let mut stream = UnixStream::connect(directory.join("control")).await.map_err(|source| {
        let nobody = matches!(source.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused);
        if nobody { ControlError::NotRunning(directory.to_owned()) } else { failed(source) }
    })?;
    write_line(&mut stream, request).await.map_err(failed)?;
    let mut stream = BufReader::new(stream);
    loop {
        let line = read_line(&mut stream, ANSWER_BYTES_MAX).await.map_err(failed)?;
        let answer = serde_json::from_slice(&line).map_err(|error| failed(error.into()))?;
        match answer {
            Answer::Progress { done, total } => progress(done, total),
            Answer::Done(value) => return Ok(value),
            Answer::Error { code, message } => return Err(ControlError::Refused { code, message }),
        }
    }
}

/// Passes requests on until the task is aborted.
pub(crate) async fn serve(listener: UnixListener, asks: mpsc::Sender<Ask>) {
    let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&free).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let asks = asks.clone();
                tokio::spawn(async move {
                    if let Err(error) = converse(stream, &asks).await {
                        tracing::debug!(%error, "control connection");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "control socket");
                time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn converse(stream: UnixStream, asks: &mpsc::Sender<Ask>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let line = time::timeout(SILENCE_MAX, read_line(&mut stream, REQUEST_BYTES_MAX)).await;
        let Ok(line) = line else { return Ok(()) };
        let line = zeroize::Zeroizing::new(line?);
        if line.is_empty() {
            return Ok(());
        }
        let (reply, mut answers) = mpsc::channel(ANSWERS_MAX);
        match serde_json::from_slice(&line) {
            Ok(request) => {
                if asks.send(Ask::Request { request, reply }).await.is_err() {
                    return Ok(());
                }
            }
            Err(error) => {
                // What stands in the line may be a passphrase: only the place of the error is told.
                let message = format!("not a request: column {}", error.column());
                write_line(&mut stream, &Answer::Error { code: "usage".into(), message }).await?;
                continue;
            }
        }
        while let Some(answer) = answers.recv().await {
            let sent = time::timeout(SILENCE_MAX, write_line(&mut stream, &answer)).await;
            sent.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))?;
            if answer.is_last() {
                break;
            }
        }
    }
}
