//! Tool Db: a server, and a client for the shell.

mod admin;
mod args;
mod serve;
mod use_it;

use std::path::PathBuf;

pub(crate) use args::DbArgs;
use args::{DbCommand, NetworkArgs};

use crate::exit::Failed;
use crate::session::Session;
use crate::topic::Topic;

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

/// Joins the DHT for a database, if the DHT is to be used; returns the node, to be shut down in the end.
async fn join(session: &Session, network: &NetworkArgs, db: &db::Db) -> Result<Option<node::Node>, Failed> {
    if !network.dht {
        return Ok(None);
    }
    // Its port is the database's, which is TCP.
    let node = node::Node::spawn(node::Config { port: 0, ..session.config()? }).await?;
    let key = node::KeyPair::from_seed(node::seed()?);
    let topic = Topic::of_text(network.topic.as_str());
    tokio::spawn(db::discover(db.clone(), node.clone(), (topic.0, key)));
    Ok(Some(node))
}

const SERVER: &str = "db";
const CLIENT: &str = "db-client";
