//! Commands from other processes to a running node, over a socket that only its owner can open.
//!
//! One JSON object a line in each direction: `{"cmd":"snapshot"}` is answered by `{"snapshot":{…}}`, and
//! what cannot be done by `{"error":"…"}`.

use std::fs::Permissions;
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time;

use crate::datadir::{DataDir, control_path};
use crate::node::Node;
use crate::snapshot::Snapshot;

/// Connections served at once; more wait in the system's queue.
const CONNECTIONS_MAX: usize = 8;
/// A request is a few words.
const REQUEST_BYTES_MAX: u64 = 4 << 10;
/// A snapshot of a full routing table and a few thousand topics is below this.
const ANSWER_BYTES_MAX: u64 = 4 << 20;
/// A connection that says nothing for this long is closed, so that eight of them cannot lock others out.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// What a running node can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cmd", rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Request {
    /// Its state.
    Snapshot,
}

/// What it answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Answer {
    /// Its state.
    Snapshot(Box<Snapshot>),
    /// Why it cannot answer.
    Error(String),
}

/// Why the control socket of a node could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// No node runs with this directory.
    #[error("no node is running with {}", .0.display())]
    NotRunning(PathBuf),
    /// The system refused.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which socket.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// What came is no answer; the running node may be of another version.
    #[error("{} answered nonsense", .path.display())]
    Nonsense {
        /// Which socket.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Asks the node that runs with a directory.
///
/// # Errors
///
/// Fails if none runs, or if it does not answer within ten seconds.
pub async fn ask(directory: &Path, request: &Request) -> Result<Answer, ControlError> {
    let path = control_path(directory);
    let failed = |action, source| ControlError::Io { action, path: path.clone(), source };
    let mut stream = UnixStream::connect(&path).await.map_err(|source| {
        let nobody = matches!(source.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused);
        if nobody { ControlError::NotRunning(directory.to_owned()) } else { failed("open", source) }
    })?;
    let nonsense = |source| ControlError::Nonsense { path: path.clone(), source };
    let exchange = async {
        write_line(&mut stream, request).await?;
        read_line(&mut BufReader::new(&mut stream), ANSWER_BYTES_MAX).await
    };
    let line = time::timeout(SILENCE_MAX, exchange)
        .await
        .unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
        .map_err(|source| failed("ask", source))?;
    serde_json::from_slice(&line).map_err(nonsense)
}

/// Opens the control socket. Whatever lies at its path is stale, since the directory's lock is ours.
///
/// # Errors
///
/// As the system does.
pub fn listen(dir: &DataDir) -> Result<UnixListener, ControlError> {
    remove(dir);
    let path = dir.control_path();
    UnixListener::bind(&path)
        .and_then(|listener| {
            std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
            Ok(listener)
        })
        .map_err(|source| ControlError::Io { action: "listen on", path, source })
}

/// Removes the control socket.
pub fn remove(dir: &DataDir) {
    match std::fs::remove_file(dir.control_path()) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            tracing::warn!(%error, "cannot remove the control socket");
        }
        Ok(()) | Err(_) => {}
    }
}

/// Answers until the task is aborted.
pub(crate) async fn serve(listener: UnixListener, node: Node) {
    let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&free).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let node = node.clone();
                tokio::spawn(async move {
                    if let Err(error) = converse(stream, &node).await {
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

async fn converse(stream: UnixStream, node: &Node) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let line = time::timeout(SILENCE_MAX, read_line(&mut stream, REQUEST_BYTES_MAX)).await;
        let Ok(line) = line else { return Ok(()) };
        let line = line?;
        if line.is_empty() {
            return Ok(());
        }
        let answer = match serde_json::from_slice(&line) {
            Ok(request) => answer(node, &request).await,
            Err(error) => Answer::Error(error.to_string()),
        };
        let sent = time::timeout(SILENCE_MAX, write_line(&mut stream, &answer)).await;
        sent.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))?;
    }
}

async fn answer(node: &Node, request: &Request) -> Answer {
    match request {
        Request::Snapshot => match node.snapshot().await {
            Ok(snapshot) => Answer::Snapshot(Box::new(snapshot)),
            Err(error) => Answer::Error(error.to_string()),
        },
    }
}

/// Reads one line; empty at the end of the stream.
///
/// # Errors
///
/// As the stream does, and beyond `bytes_max`.
pub async fn read_line(stream: &mut (impl AsyncBufRead + Unpin), bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    stream.take(bytes_max).read_until(b'\n', &mut line).await?;
    if line.len() as u64 == bytes_max && line.last() != Some(&b'\n') {
        return Err(ErrorKind::InvalidData.into());
    }
    Ok(line)
}

/// Writes a value as one line of JSON.
///
/// # Errors
///
/// As the stream does.
pub async fn write_line(stream: &mut (impl AsyncWrite + Unpin), value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_documented_and_others_are_refused() {
        let read = |line: &str| serde_json::from_str::<Request>(line).ok();
        assert_eq!(read(r#"{"cmd":"snapshot"}"#), Some(Request::Snapshot));
        assert_eq!(read(r#"{"cmd":"reboot"}"#), None);
        assert_eq!(read("[]"), None);
    }

    #[tokio::test]
    async fn a_line_longer_than_allowed_is_an_error_and_the_end_is_an_empty_one() {
        let mut stream = &b"12345\n123456789"[..];
        assert_eq!(read_line(&mut stream, 8).await.unwrap(), b"12345\n");
        assert_eq!(read_line(&mut stream, 8).await.unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(read_line(&mut &b""[..], 8).await.unwrap(), b"");
    }
}
