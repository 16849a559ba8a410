use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use db::{Config, Db, Kept, OpenError, Running, Server, StartError, Storage};
use serde_json::json;
use tooldb::json::Value;
use tooldb::message::{Code, Verdict};
use tooldb::{Address, Document, Draft, Endpoint, Identity, Key, Record, Shape};

use super::args::{Change, NetworkArgs, OwnArgs, PORT};
use super::{CLIENT, Joined, directory, join};
use crate::commands::serve::unless_interrupted;
use crate::exit::Failed;
use crate::session::Session;

/// How long a command waits for a server before it goes on without one.
const MEETING: Duration = Duration::from_secs(3);
/// How long, if it has to be found first.
const MEETING_BY_TOPIC: Duration = Duration::from_secs(15);
/// How long a server may take to confirm a record.
const CONFIRMING: Duration = Duration::from_secs(5);
/// Bytes of a password.
const PASSWORD_MAX: u64 = 4096;

/// A client for one command.
struct Client {
    db: Db,
    running: Running,
    joined: Joined,
    author: Identity,
    met: Met,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Met {
    Server,
    Nobody,
}

/// Opens the client's store, or one in memory where another command has it; waits for a server.
async fn open(session: &Session, network: &NetworkArgs) -> Result<Client, Failed> {
    let directory = directory(session, CLIENT)?;
    let config = |storage| {
        let mut config = Config::new(network.topic.clone(), directory.clone());
        config.storage = storage;
        config.peers = servers(network);
        config.roots.clone_from(&network.roots);
        // Commands that run at the same time are different nodes.
        config.identity = node::seed().ok().map(Identity::from_seed);
        config
    };
    let started = match Db::start(config(Storage::Directory)).await {
        Err(StartError::Store(OpenError::Database(_))) => Db::start(config(Storage::Memory)).await,
        started => started,
    };
    let (db, running) = started?;
    let author = author(&directory)?;
    let joined = join(session, network, (&db, node::seed()?)).await?;
    let met = session.console.progress("looking for a server", meet(&db, network)).await;
    Ok(Client { db, running, joined, author, met })
}

fn servers(network: &NetworkArgs) -> Vec<Server> {
    if network.peers.is_empty() && !network.looks() {
        return Endpoint::new("127.0.0.1", PORT).map(Server::new).into_iter().collect();
    }
    network.peers.clone()
}

async fn meet(db: &Db, network: &NetworkArgs) -> Met {
    let mut events = db.events();
    let met = async {
        loop {
            if db.status().await.is_ok_and(|status| status.peers > 0) {
                return;
            }
            if events.recv().await.is_err() {
                return;
            }
        }
    };
    let patience = if network.looks() { MEETING_BY_TOPIC } else { MEETING };
    tokio::time::timeout(patience, met).await.map_or(Met::Nobody, |()| Met::Server)
}

fn identity_path(directory: &Path) -> PathBuf {
    directory.join("account")
}

/// Who is signed in, or else the key of the directory.
fn author(directory: &Path) -> Result<Identity, Failed> {
    let path = identity_path(directory);
    if !path.exists() {
        return Ok(db::node_identity(directory)?);
    }
    let text = std::fs::read_to_string(&path)?;
    let der = tooldb::encoding::hex_lax(text.trim());
    Identity::from_pkcs8(&der)
        .map_err(|error| Failed::system(anyhow::Error::new(error).context("the saved account")))
}

impl Client {
    fn key(&self, key: Key, own: &OwnArgs) -> Result<Key, Failed> {
        if !own.mine {
            return Ok(key);
        }
        let own = Key::owned(&self.author.address(), key.as_str());
        own.ok_or_else(|| Failed::usage("the key is too long"))
    }

    /// Ends the client; what it was told goes to the disk first.
    async fn close(self) -> Result<(), Failed> {
        self.joined.leave().await?;
        Ok(self.db.shutdown(self.running).await?)
    }
}

/// Runs `work` with a client, which is closed afterwards, also when we are interrupted.
async fn with_client<T>(
    session: &Session,
    network: &NetworkArgs,
    work: impl AsyncFnOnce(&Client) -> Result<T, Failed>,
) -> Result<T, Failed> {
    let client = open(session, network).await?;
    let outcome = session.or_stop(work(&client)).await;
    client.close().await?;
    outcome
}

/// JSON, or a text.
fn value(text: &str) -> Value {
    Value::parse(text).unwrap_or_else(|_| Value::Text(text.into()))
}

fn json_of(value: &str) -> serde_json::Value {
    serde_json::from_str(value).unwrap_or(serde_json::Value::Null)
}

fn show_record(session: &Session, record: &Record) -> Result<(), Failed> {
    let line = json!({
        "event": "value", "key": record.key().as_str(), "value": json_of(record.value()),
        "author": record.author().to_string(), "time": record.time().0,
    });
    session.console.line(&line, record.value())
}

pub(super) async fn get(
    session: &Session,
    network: &NetworkArgs,
    (key, own): (Key, OwnArgs),
) -> Result<(), Failed> {
    with_client(session, network, async |client| {
        let key = client.key(key, &own)?;
        let found = session.console.progress("asking", client.db.get(key)).await?;
        let found = found.filter(|record| record.value() != "null");
        show_record(session, &found.ok_or_else(|| Failed::new("not-found", "nobody has a value"))?)
    })
    .await
}

pub(super) async fn put(
    session: &Session,
    network: &NetworkArgs,
    (key, text, own): (Key, String, OwnArgs),
) -> Result<(), Failed> {
    with_client(session, network, async |client| {
        let key = client.key(key, &own)?;
        let kept = client.db.put(Draft::plain(key.clone(), value(&text)), &client.author).await?;
        show_kept(session, client, (&key, kept)).await
    })
    .await
}

pub(super) async fn delete(
    session: &Session,
    network: &NetworkArgs,
    (key, own): (Key, OwnArgs),
) -> Result<(), Failed> {
    with_client(session, network, async |client| {
        let key = client.key(key, &own)?;
        let kept = client.db.delete(key.clone(), &client.author).await?;
        show_kept(session, client, (&key, kept)).await
    })
    .await
}

/// Waits for a server's word on a record, and prints it.
async fn show_kept(session: &Session, client: &Client, (key, kept): (&Key, Kept)) -> Result<(), Failed> {
    let verdict = match client.met {
        Met::Nobody => None,
        Met::Server => {
            let confirmed = tokio::time::timeout(CONFIRMING, client.db.confirmed(kept.hash)).await;
            confirmed.ok().transpose()?
        }
    };
    let (word, text) = match verdict {
        Some(Verdict::Kept | Verdict::Known) => (Some("kept"), "kept by a server"),
        Some(Verdict::Refused) => return Err(Failed::new("refused", "the server does not take it")),
        Some(Verdict::Full) => (None, "kept here; the server has no room now"),
        None => (None, "kept here, to be sent when a server is met"),
    };
    let line = json!({
        "event": "kept", "key": key.as_str(), "hash": kept.hash.to_hex(), "confirmed": word,
        "author": client.author.address().to_string(),
    });
    session.console.line(&line, text)
}

pub(super) async fn query(
    session: &Session,
    network: &NetworkArgs,
    (prefix, own): (Key, OwnArgs),
) -> Result<(), Failed> {
    with_client(session, network, async |client| {
        let prefix = client.key(prefix, &own)?;
        for key in session.console.progress("asking", client.db.query(prefix)).await? {
            session.console.line(&json!({"event": "key", "key": key.as_str()}), &key)?;
        }
        Ok(())
    })
    .await
}

pub(super) async fn watch(
    session: &Session,
    network: &NetworkArgs,
    (key, own): (Key, OwnArgs),
) -> Result<(), Failed> {
    let outcome = with_client(session, network, async |client| {
        let key = client.key(key, &own)?;
        let mut watch = client.db.subscribe(key.clone()).await?;
        if let Some(record) = client.db.local(key.clone()).await? {
            show_record(session, &record)?;
        }
        session
            .console
            .line(&json!({"event": "watching", "key": key.as_str()}), format_args!("watching {key}"))?;
        while let Some(record) = watch.next().await {
            if *record.key() == key {
                show_record(session, &record)?;
            }
        }
        Ok(())
    });
    unless_interrupted(outcome.await)
}

pub(super) async fn crdt(
    session: &Session,
    network: &NetworkArgs,
    (key, own, change): (Key, OwnArgs, Option<Change>),
) -> Result<(), Failed> {
    with_client(session, network, async |client| {
        let key = client.key(key, &own)?;
        let Some(change) = change else {
            let document = session.console.progress("asking", client.db.document(key.clone())).await?;
            let document = document.ok_or_else(|| Failed::new("not-found", "nobody has a document"))?;
            return show_document(session, (&key, &document));
        };
        let shape = match change {
            Change::Set { .. } | Change::Unset { .. } => Shape::Map,
            _ => Shape::List,
        };
        let apply = move |document: &mut Document, author: &str| match change {
            Change::Set { name, value: text } => document.set(author, &name, value(&text)),
            Change::Unset { name } => document.unset(author, &name),
            Change::Push { value: text } => document.push(author, value(&text)),
            Change::Insert { place, value: text } => document.insert(author, place, value(&text)),
            Change::Remove { place } => document.remove(author, place),
            Change::Add { amount } => document.count(author, amount),
        };
        let kept = client.db.update((key.clone(), shape), &client.author, apply).await?;
        show_kept(session, client, (&key, kept)).await
    })
    .await
}

fn show_document(session: &Session, (key, document): (&Key, &Document)) -> Result<(), Failed> {
    let value = document.value().to_json();
    let line = json!({"event": "document", "key": key.as_str(), "value": json_of(&value), "operations": document.len()});
    session.console.line(&line, value)
}

pub(super) async fn call(
    session: &Session,
    network: &NetworkArgs,
    (name, args): (Key, String),
) -> Result<(), Failed> {
    let args = Value::parse(&args).map_err(|_| Failed::usage("the argument is no JSON"))?.to_json();
    with_client(session, network, async |client| {
        let (code, value) = session.console.progress("calling", client.db.call(name, args)).await?;
        let value = value.unwrap_or_else(|| "null".into());
        match code {
            Code::Ok => session.console.line(&json!({"event": "returned", "value": json_of(&value)}), value),
            Code::Err => Err(Failed::new("failed", value)),
            Code::NotFound => Err(Failed::new("not-found", "the server has no such function")),
        }
    })
    .await
}

fn password() -> Result<String, Failed> {
    if let Some(password) = std::env::var_os("HOMING_PASSWORD") {
        return password.into_string().map_err(|_| Failed::usage("HOMING_PASSWORD is not UTF-8"));
    }
    let mut text = String::new();
    std::io::stdin().lock().take(PASSWORD_MAX).read_to_string(&mut text)?;
    let password = text.lines().next().unwrap_or_default().to_owned();
    if password.is_empty() { Err(Failed::usage("the password is missing")) } else { Ok(password) }
}

pub(super) async fn sign_up(session: &Session, network: &NetworkArgs, user: String) -> Result<(), Failed> {
    let password = password()?;
    with_client(session, network, async |client| {
        let identity = session.console.progress("signing up", client.db.sign_up(&user, &password)).await?;
        let key = Key::frozen(&user).ok_or_else(|| Failed::usage("the name is too long"))?;
        if let Some(record) = client.db.local(key).await?
            && client.met == Met::Server
        {
            let confirmed = tokio::time::timeout(CONFIRMING, client.db.confirmed(record.hash())).await;
            if matches!(confirmed, Ok(Ok(Verdict::Refused))) {
                return Err(Failed::new("taken", "the name is taken"));
            }
        }
        remember(session, (&user, &identity))
    })
    .await
}

pub(super) async fn sign_in(session: &Session, network: &NetworkArgs, user: String) -> Result<(), Failed> {
    let password = password()?;
    with_client(session, network, async |client| {
        let identity = session.console.progress("signing in", client.db.sign_in(&user, &password)).await?;
        remember(session, (&user, &identity))
    })
    .await
}

/// Saves the key that things are signed with from now on.
fn remember(session: &Session, (user, identity): (&str, &Identity)) -> Result<(), Failed> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let path = identity_path(&directory(session, CLIENT)?);
    let temporary = path.with_extension("new");
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    writeln!(file, "{}", tooldb::encoding::hex(&identity.to_pkcs8()))?;
    file.sync_all()?;
    std::fs::rename(&temporary, &path)?;
    show_user(session, (user, identity.address()))
}

fn show_user(session: &Session, (user, address): (&str, Address)) -> Result<(), Failed> {
    let address = address.to_string();
    let line = json!({"event": "signed-in", "user": user, "author": address});
    session.console.line(&line, format_args!("signed in as {user}, {address}"))
}

pub(super) fn sign_out(session: &Session) -> Result<(), Failed> {
    let path = identity_path(&directory(session, CLIENT)?);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        Ok(()) | Err(_) => {}
    }
    session.console.line(&json!({"event": "signed-out"}), "signed out")
}
