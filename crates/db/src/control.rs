//! Commands to a running database from other processes of the same user, over a socket in its directory.
//!
//! One line of JSON asks, one answers: `{"do":"ban","name":".."}` and `{"ok":..}` or `{"error":".."}`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::db::{Db, Error};
use crate::store::{BackupError, Ban};

/// Bytes of a command: a path, and some to spare.
const COMMAND_MAX: u64 = 16 * 1024;
/// Bytes of an answer.
const ANSWER_MAX: u64 = 1024 * 1024;
/// How long a command may be on its way; what it does may take longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The socket of a database's directory.
pub fn path(directory: &Path) -> PathBuf {
    directory.join("control")
}

/// Begins to take commands, as long as the returned value lives.
///
/// # Errors
///
/// Fails if the socket cannot be made. The store's lock must be held: a socket that is there is taken for a
/// remnant.
pub fn serve(db: Db, directory: &Path) -> io::Result<Serving> {
    let path = path(directory);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&path)?;
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let db = db.clone();
            tokio::spawn(async move {
                if let Err(error) = answer(stream, &db).await {
                    tracing::debug!(%error, "a command was not answered");
                }
            });
        }
    });
    Ok(Serving { task, path })
}

/// A socket that takes commands.
#[derive(Debug)]
pub struct Serving {
    task: tokio::task::JoinHandle<()>,
    path: PathBuf,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
        // The next start removes what is left.
        std::fs::remove_file(&self.path).unwrap_or_default();
    }
}

async fn answer(stream: UnixStream, db: &Db) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    let read = BufReader::new(reader.take(COMMAND_MAX));
    let mut read = std::pin::pin!(read);
    tokio::time::timeout(PATIENCE, read.read_line(&mut line)).await??;
    let answer = match serde_json::from_str::<Value>(&line) {
        Ok(command) => perform(db, &command).await,
        Err(error) => Err(error.into()),
    };
    let line = match answer {
        Ok(value) => json!({"ok": value}),
        Err(error) => json!({"error": chain(&error)}),
    };
    writer.write_all(format!("{line}\n").as_bytes()).await
}

async fn perform(db: &Db, command: &Value) -> Result<Value, Failed> {
    let text = |name: &'static str| command[name].as_str().ok_or(Failed::Missing(name));
    match text("do")? {
        "status" => Ok(db.status().await.map_err(Error::from)?.to_json()),
        "ban" => Ok(db.ban(text("name")?, Ban::Set).await.map(|()| Value::Null)?),
        "unban" => Ok(db.ban(text("name")?, Ban::Lifted).await.map(|()| Value::Null)?),
        "bans" => Ok(json!(db.bans().await?)),
        "backup" => Ok(json!({"keys": db.backup(Path::new(text("path")?)).await??})),
        "import" => Ok(db.import(Path::new(text("path")?)).await?.to_json()),
        _ => Err(Failed::Unknown),
    }
}

/// Why a command was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failed {
    /// Nobody knows such a command.
    #[error("unknown command")]
    Unknown,
    /// It is no JSON.
    #[error("not a command")]
    Json(#[from] serde_json::Error),
    /// It lacks an argument.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// The database did not do it.
    #[error(transparent)]
    Database(#[from] Error),
    /// There is no copy.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The running database says so.
    #[error("{0}")]
    Elsewhere(String),
    /// The socket failed.
    #[error("the running database hung up")]
    Socket(#[from] io::Error),
}

/// A failure with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Has the running database of a directory do something; `None` if none runs.
///
/// # Errors
///
/// As the database says it, or if it hangs up.
pub async fn ask(directory: &Path, command: &Value) -> Result<Option<Value>, Failed> {
    let mut stream = match UnixStream::connect(path(directory)).await {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    stream.write_all(format!("{command}\n").as_bytes()).await?;
    let mut line = String::new();
    stream.take(ANSWER_MAX).read_to_string(&mut line).await?;
    let answer: Value = serde_json::from_str(&line)?;
    match answer["error"].as_str() {
        Some(error) => Err(Failed::Elsewhere(error.to_owned())),
        None => Ok(Some(answer["ok"].clone())),
    }
}

/// Does to an open database what [`ask`] has a running one do.
///
/// # Errors
///
/// As the database says it.
pub async fn perform_here(db: &Db, command: &Value) -> Result<Value, Failed> {
    perform(db, command).await
}
