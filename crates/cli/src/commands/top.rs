use std::net::SocketAddr;
use std::path::PathBuf;

use monitor::{Source, top};
use serde_json::json;

use crate::commands::serve::unless_interrupted;
use crate::exit::Failed;
use crate::session::Session;

/// Columns and rows of a screen that is printed.
const SIZE: (u16, u16) = (100, 30);

/// Finds where snapshots come from: a monitor with its token file, or the node in the data directory.
pub(super) fn source(session: &Session, monitor: Option<(SocketAddr, PathBuf)>) -> Result<Source, Failed> {
    match monitor {
        Some((address, token_file)) => Ok(Source::monitor(address, &token_file)?),
        None => Ok(Source::Directory(session.data_dir()?)),
    }
}

/// Watches a node until `q` is pressed.
pub(super) async fn top(session: &Session, source: &Source) -> Result<(), Failed> {
    unless_interrupted(session.or_stop(async { Ok(top::run(source).await?) }).await)
}

/// Prints one screen.
pub(super) async fn once(session: &Session, source: &Source) -> Result<(), Failed> {
    let snapshot = session.or_stop(async { Ok(source.snapshot().await?) }).await?;
    let line = json!({"event": "snapshot", "snapshot": snapshot});
    let screen = top::Screen::new(snapshot).text(SIZE.0, SIZE.1)?;
    session.console.line(&line, screen.trim_end())
}
