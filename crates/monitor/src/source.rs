use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use node::Snapshot;
use node::control::{self, Answer, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use web::Secret;

/// A node that does not answer within this counts as gone.
const PATIENCE: Duration = Duration::from_secs(5);
/// A snapshot of a full table and a few thousand topics is below this.
const ANSWER_BYTES_MAX: u64 = 8 << 20;

/// Where snapshots of a node that runs come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Its control socket, in its data directory.
    Directory(PathBuf),
    /// Its monitor, through a tunnel if it runs elsewhere.
    Monitor {
        /// Where the monitor listens, as this computer sees it.
        address: SocketAddr,
        /// The token of programs.
        token: Secret,
    },
}

/// Why no snapshot came.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The control socket.
    #[error(transparent)]
    Control(#[from] control::ControlError),
    /// The monitor cannot be reached.
    #[error("cannot reach the monitor")]
    Unreachable(#[from] std::io::Error),
    /// It answered something else.
    #[error("the node refused: {0}")]
    Refused(String),
    /// It did not answer in time.
    #[error("the node does not answer")]
    Silent,
    /// Its answer is no snapshot; it may be of another version.
    #[error("the answer is no snapshot")]
    Nonsense(#[from] serde_json::Error),
}

impl Source {
    /// Reads the token of a monitor from its file.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, or others can.
    pub fn monitor(address: SocketAddr, token_file: &std::path::Path) -> Result<Self, std::io::Error> {
        Ok(Self::Monitor { address, token: crate::server::read_token(token_file)? })
    }

    /// Asks for the present state.
    ///
    /// # Errors
    ///
    /// Fails if the node does not run, refuses, or is of another version.
    pub async fn snapshot(&self) -> Result<Snapshot, SourceError> {
        match self {
            Self::Directory(dir) => match control::ask(dir, &Request::Snapshot).await? {
                Answer::Snapshot(snapshot) => Ok(*snapshot),
                Answer::Error(error) => Err(SourceError::Refused(error)),
                _ => Err(SourceError::Refused("something else".into())),
            },
            Self::Monitor { address, token } => {
                let answer =
                    timeout(PATIENCE, fetch(*address, token)).await.map_err(|_| SourceError::Silent)??;
                let text = String::from_utf8_lossy(&answer);
                let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
                let line = head.lines().next().unwrap_or_default();
                if line.split(' ').nth(1) != Some("200") {
                    return Err(SourceError::Refused(line.to_owned()));
                }
                Ok(serde_json::from_str(body)?)
            }
        }
    }
}

/// One question a connection; HTTP/1.0 has no chunks to be put together.
async fn fetch(address: SocketAddr, token: &Secret) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!(
        "GET /api/snapshot HTTP/1.0\r\nHost: {address}\r\nAuthorization: Bearer {}\r\n\r\n",
        token.reveal()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(answer)
}
