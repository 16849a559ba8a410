use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use db::{Config, Db, control};
use serde_json::{Value, json};
use tooldb::{Key, Store};

use super::args::NetworkArgs;
use super::{SERVER, directory};
use crate::exit::Failed;
use crate::session::Session;

/// Changes that are asked for at a time.
const CHUNK: usize = 1_000;

/// Has the running server do something, or opens its store for it where none runs.
async fn perform(session: &Session, network: &NetworkArgs, command: &Value) -> Result<Value, Failed> {
    let directory = directory(session, SERVER)?;
    if let Some(answer) = control::ask(&directory, command).await? {
        return Ok(answer);
    }
    let (db, running) = Db::start(Config::new(network.topic.clone(), directory)).await?;
    let answer = session.or_stop(async { Ok(control::perform_here(&db, command).await?) }).await;
    db.shutdown(running).await?;
    answer
}

fn absolute(path: &Path) -> Result<PathBuf, Failed> {
    Ok(std::path::absolute(path)?)
}

pub(super) async fn import(session: &Session, network: &NetworkArgs, path: PathBuf) -> Result<(), Failed> {
    let command = json!({"do": "import", "path": absolute(&path)?});
    let counts = session.console.progress("importing", perform(session, network, &command)).await?;
    let text = format!(
        "{} records taken, {} known, {} signed by this node, {} refused",
        counts["taken"], counts["known"], counts["signed"], counts["refused"]
    );
    let mut line = json!({"event": "imported"});
    for (name, count) in counts.as_object().into_iter().flatten() {
        line[name] = count.clone();
    }
    session.console.line(&line, text)
}

pub(super) async fn backup(session: &Session, network: &NetworkArgs, path: PathBuf) -> Result<(), Failed> {
    let path = absolute(&path)?;
    let command = json!({"do": "backup", "path": path});
    let copied = session.console.progress("copying", perform(session, network, &command)).await?;
    let keys = &copied["keys"];
    let line = json!({"event": "backup", "path": path, "keys": keys});
    session.console.line(&line, format_args!("{keys} keys copied to {}", path.display()))
}

pub(super) fn restore(session: &Session, path: &Path) -> Result<(), Failed> {
    let store = db::store_path(&directory(session, SERVER)?);
    let before = db::restore(path, &store)?;
    let line = json!({"event": "restored", "before": before});
    let kept = before.map(|before| format!("; what was there is in {}", before.display()));
    session.console.line(&line, format_args!("restored{}", kept.unwrap_or_default()))
}

pub(super) async fn ban(
    session: &Session,
    network: &NetworkArgs,
    (name, lift): (Option<String>, bool),
) -> Result<(), Failed> {
    let Some(name) = name else {
        let bans = perform(session, network, &json!({"do": "bans"})).await?;
        for ban in bans.as_array().into_iter().flatten().filter_map(Value::as_str) {
            session.console.line(&json!({"event": "ban", "name": ban}), ban)?;
        }
        return Ok(());
    };
    let verb = if lift { "unban" } else { "ban" };
    perform(session, network, &json!({"do": verb, "name": name})).await?;
    let word = if lift { "welcome again" } else { "banned" };
    session.console.line(&json!({"event": verb, "name": name}), format_args!("{name} is {word}"))
}

pub(super) async fn status(session: &Session, network: &NetworkArgs) -> Result<(), Failed> {
    let status = perform(session, network, &json!({"do": "status"})).await?;
    let mut line = json!({"event": "status"});
    let mut text = String::new();
    for (name, value) in status.as_object().into_iter().flatten() {
        line[name] = value.clone();
        let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        writeln!(text, "{:<24}{shown}", name.replace('_', " ")).expect("a string takes everything");
    }
    session.console.line(&line, text.trim_end())
}

/// Prints all records of a copy of the store, which is made for this and is consistent.
pub(super) async fn export(session: &Session, network: &NetworkArgs, prefix: Key) -> Result<(), Failed> {
    let directory = directory(session, SERVER)?;
    let name = format!("export-{}.redb", std::process::id());
    let copy = directory.join(name);
    perform(session, network, &json!({"do": "backup", "path": copy})).await?;
    let printed = print(session, (&copy, &prefix));
    std::fs::remove_file(&copy)?;
    printed
}

fn print(session: &Session, (copy, prefix): (&Path, &Key)) -> Result<(), Failed> {
    let disk = db::Disk::open(copy, db::CACHE_BYTES).map_err(db::StartError::from)?;
    let mut place = disk.beginning();
    loop {
        let changes = disk.changes(place, CHUNK).map_err(Failed::system)?;
        if changes.keys.is_empty() {
            return Ok(());
        }
        place = changes.next;
        for key in changes.keys.iter().filter(|key| key.as_str().starts_with(prefix.as_str())) {
            for record in disk.records(key).map_err(Failed::system)? {
                let value: Value = serde_json::from_str(record.raw()).map_err(Failed::system)?;
                session.console.line(&json!({"event": "record", "record": value}), record.raw())?;
            }
        }
    }
}
