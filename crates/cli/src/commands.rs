//! One function for each command, in files by what they are about.

mod announce;
mod chat;
pub(crate) mod db;
mod doctor;
mod keygen;
mod link;
mod lookup;
mod mainline;
mod ping;
mod record;
mod relay;
mod serve;
mod snapshot;
mod testnet;
mod top;
mod watch;

pub(crate) use snapshot::{nodes_line, show_nodes};
pub(crate) use testnet::{Network, Place};

use node::channel::Source;

use crate::args::{Command, GetArgs, KeyArgs, On, OnArgs};
use crate::commands::mainline::Until;
use crate::demo;
use crate::exit::Failed;
use crate::session::Session;
use crate::topic::Topic;

pub(crate) async fn run(command: Command, session: &Session) -> Result<(), Failed> {
    match command {
        Command::Bootstrap { network: On::Hyper } => serve::bootstrap(session).await,
        Command::Bootstrap { network: On::Mainline } => mainline::bootstrap(session).await,
        Command::Testnet { nodes, network: On::Hyper } => testnet::testnet(session, nodes).await,
        Command::Testnet { nodes, network: On::Mainline } => mainline::testnet(session, nodes).await,
        Command::Node(args) => serve::node(session, &args).await,
        Command::Announce { topic, key, once, on } => announce_on(session, topic, (&key, once, &on)).await,
        Command::Unannounce { topic, key } => announce::unannounce(session, topic, &key.into()).await,
        Command::Scrape { topic } => mainline::scrape(session, topic).await,
        Command::Lookup { topic, watch, on } => lookup_on(session, topic, (watch, &on)).await,
        Command::FindPeer { key } => lookup::find_peer(session, key).await,
        Command::Ping { to } => ping::ping(session, &to).await,
        Command::Put { value, key, seq, on: On::Mainline } => mainline::put(session, value, &key, seq).await,
        Command::Put { value, key, seq, .. } => record::put(session, value, &key, seq).await,
        Command::Get(GetArgs { mainline: Some(target), salt, .. }) => {
            mainline::get(session, target, salt).await
        }
        Command::Get(args) => record::get(session, args).await,
        Command::Keygen { file, seed } => keygen::keygen(session, file, seed),
        Command::Snapshot { watch: false } => snapshot::snapshot(session).await,
        Command::Snapshot { watch: true } => snapshot::watch(session).await,
        Command::Top { monitor, token_file, once } => {
            let source = top::source(session, monitor.zip(token_file))?;
            if once { top::once(session, &source).await } else { top::top(session, &source).await }
        }
        Command::Doctor { topic, key, report } => {
            doctor::doctor(session, topic, key, report.as_deref()).await
        }
        Command::Db(args) => db::run(session, *args).await,
        Command::Chat { topic, key, paths, monitor } => {
            chat::chat(session, topic, (&key, &paths), monitor).await
        }
        Command::Relay(args) => relay::relay(session, &args).await,
        Command::Listen(args) => link::listen(session, &args).await,
        Command::Connect(args) => link::connect(session, &args).await,
        Command::Demo { nodes } => demo::demo(session, nodes).await,
    }
}

/// A network alone has more to tell than a channel over several.
async fn announce_on(session: &Session, topic: Topic, how: (&KeyArgs, bool, &OnArgs)) -> Result<(), Failed> {
    match (how, &*how.2.on) {
        ((key, true, _), [Source::Hyper]) => announce::announce_once(session, topic, key).await,
        ((_, true, _), [Source::Mainline]) => mainline::announce(session, topic, Until::Done).await,
        ((_, true, _), _) => Err(Failed::usage("--once is for hyper or mainline alone")),
        ((key, false, _), [Source::Hyper]) => announce::announce(session, topic, key).await,
        ((_, false, _), [Source::Mainline]) => mainline::announce(session, topic, Until::Stopped).await,
        ((key, false, on), _) => watch::announce(session, topic, (key, on)).await,
    }
}

async fn lookup_on(session: &Session, topic: Topic, how: (bool, &OnArgs)) -> Result<(), Failed> {
    match (how, &*how.1.on) {
        ((false, _), [Source::Hyper]) => lookup::lookup(session, topic).await,
        ((false, _), [Source::Mainline]) => mainline::lookup(session, topic, Until::Done).await,
        ((false, _), _) => {
            Err(Failed::usage("this needs --watch: only hyper or mainline alone come to an end"))
        }
        ((true, _), [Source::Mainline]) => mainline::lookup(session, topic, Until::Stopped).await,
        ((true, on), _) => watch::watch(session, topic, on).await,
    }
}
