//! One function for each command, in files by what they are about.

mod announce;
mod keygen;
mod lookup;
mod ping;
mod record;
mod serve;
mod snapshot;
mod testnet;
mod watch;

pub(crate) use snapshot::{nodes_line, show_nodes};
pub(crate) use testnet::{Network, Place};

use crate::args::Command;
use crate::demo;
use crate::exit::Failed;
use crate::session::Session;

pub(crate) async fn run(command: Command, session: &Session) -> Result<(), Failed> {
    match command {
        Command::Bootstrap => serve::bootstrap(session).await,
        Command::Testnet { nodes } => testnet::testnet(session, nodes).await,
        Command::Node(args) => serve::node(session, &args).await,
        Command::Announce { topic, key, once: true, .. } => {
            announce::announce_once(session, topic, &key).await
        }
        Command::Announce { topic, key, on, .. } if on.on.is_empty() => {
            announce::announce(session, topic, &key).await
        }
        Command::Announce { topic, key, on, .. } => watch::announce(session, topic, (&key, &on)).await,
        Command::Unannounce { topic, key } => announce::unannounce(session, topic, &key.into()).await,
        Command::Lookup { topic, watch: true, on } => watch::watch(session, topic, &on).await,
        Command::Lookup { topic, on, .. } if on.on.is_empty() => lookup::lookup(session, topic).await,
        Command::Lookup { .. } => Err(Failed::usage("--on needs --watch")),
        Command::FindPeer { key } => lookup::find_peer(session, key).await,
        Command::Ping { to } => ping::ping(session, &to).await,
        Command::Put { value, key, seq } => record::put(session, value, &key, seq).await,
        Command::Get(args) => record::get(session, args).await,
        Command::Keygen { file, seed } => keygen::keygen(session, file, seed),
        Command::Snapshot => snapshot::snapshot(session).await,
        Command::Demo { nodes } => demo::demo(session, nodes).await,
    }
}
