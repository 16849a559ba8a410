//! Tool Db: a server, and a client for the shell.

mod admin;
mod args;
mod serve;
mod use_it;

use std::path::PathBuf;
use std::sync::Arc;

pub(crate) use args::DbArgs;
use args::{DbCommand, NetworkArgs};
use db::{Discovery, Networks};
use node::channel::{Scope, Source};
use node::mainline::Mainline;
use node::{Identity, Node, Standing};

use crate::commands::mainline;
use crate::exit::Failed;
use crate::session::Session;

pub(crate) async fn run(session: &Session, args: DbArgs) -> Result<(), Failed> {
    let DbArgs { network, command } = args;
    match command {
        DbCommand::Serve(args) => serve::serve(session, (&network, &args)).await,
        DbCommand::Get { key, own } => use_it::get(session, &network, (key, own)).await,
        DbCommand::Put { key, value, own } => use_it::put(session, &network, (key, value, own)).await,
        DbCommand::Delete { key, own } => use_it::delete(session, &network, (key, own)).await,
        DbCommand::Query { prefix, own } => use_it::query(session, &network, (prefix, own)).await,
        DbCommand::Watch { key, own } => use_it::watch(session, &network, (key, own)).await,
        DbCommand::Crdt { key, own, change } => use_it::crdt(session, &network, (key, own, change)).await,
        DbCommand::Call { name, args } => use_it::call(session, &network, (name, args)).await,
        DbCommand::Signup { user } => use_it::sign_up(session, &network, user).await,
        DbCommand::Signin { user } => use_it::sign_in(session, &network, user).await,
        DbCommand::Signout => use_it::sign_out(session),
        DbCommand::Import { path } => admin::import(session, &network, path).await,
        DbCommand::Export { prefix } => admin::export(session, &network, prefix).await,
        DbCommand::Backup { path } => admin::backup(session, &network, path).await,
        DbCommand::Restore { path } => admin::restore(session, &path),
        DbCommand::Ban { name, lift } => admin::ban(session, &network, (name, lift)).await,
        DbCommand::Status => admin::status(session, &network).await,
    }
}

/// The directory of the server, or of the client, made where it is missing.
fn directory(session: &Session, name: &str) -> Result<PathBuf, Failed> {
    let path = session.data_dir()?.join(name);
    node::DataDir::open(&path)?;
    Ok(path)
}

/// What a database looks for others by, to be shut down in the end.
#[derive(Default)]
struct Joined {
    discovery: Option<Discovery>,
    node: Option<Node>,
    mainline: Option<Mainline>,
}

impl Joined {
    async fn leave(self) -> Result<(), Failed> {
        if let Some(discovery) = self.discovery {
            discovery.close().await;
        }
        if let Some(mainline) = self.mainline {
            mainline.shutdown().await?;
        }
        if let Some(node) = self.node {
            node.shutdown().await?;
        }
        Ok(())
    }
}

/// Joins the networks that a database is to use, known to its swarm by a key made of `seed`.
async fn join(
    session: &Session,
    network: &NetworkArgs,
    (db, seed): (&db::Db, [u8; 32]),
) -> Result<Joined, Failed> {
    let mut joined = Joined::default();
    if !network.looks() {
        return Ok(joined);
    }
    let mut networks = Networks::default();
    // The host that was named is the database's, and may be a name.
    let mut session = session.clone();
    session.global.host = None;
    if network.lan {
        // Who listens to this computer only is announced to it only.
        let private = db.address().is_some_and(|address| address.ip().is_loopback());
        networks.local = Some(if private { Scope::Loopback } else { Scope::Links });
    }
    if network.dht.contains(&Source::Mainline) {
        let standing = if db.announced().is_some() { Standing::Adaptive } else { Standing::Ephemeral };
        joined.mainline = Some(Mainline::spawn(mainline::config(&session, standing)?).await?);
        networks.mainline.clone_from(&joined.mainline);
    }
    if network.dht.contains(&Source::Hyper) {
        // The port that was named is the database's, which is TCP.
        let node = Node::spawn(node::Config { port: 0, ..session.config()? }).await?;
        networks.hyper = Some((node.clone(), Arc::new(Identity::from_seed(seed))));
        joined.node = Some(node);
    }
    joined.discovery = Some(Discovery::open(db, networks).await?);
    Ok(joined)
}

const SERVER: &str = "db";
const CLIENT: &str = "db-client";
