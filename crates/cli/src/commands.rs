//! One function for each command, in files by what they are about.

mod announce;
mod chat;
mod keygen;
mod link;
mod lookup;
mod ping;
mod record;
mod serve;
mod snapshot;
mod testnet;

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
        Command::Announce { topic, key, once: false } => announce::announce(session, topic, &key).await,
        Command::Announce { topic, key, once: true } => announce::announce_once(session, topic, &key).await,
        Command::Unannounce { topic, key } => announce::unannounce(session, topic, &key.into()).await,
        Command::Lookup { topic } => lookup::lookup(session, topic).await,
        Command::FindPeer { key } => lookup::find_peer(session, key).await,
        Command::Ping { to } => ping::ping(session, &to).await,
        Command::Put { value, key, seq } => record::put(session, value, &key, seq).await,
        Command::Get(args) => record::get(session, args).await,
        Command::Keygen { file, seed } => keygen::keygen(session, file, seed),
        Command::Chat { topic, key } => chat::chat(session, topic, &key).await,
        Command::Listen(args) => link::listen(session, &args).await,
        Command::Connect(args) => link::connect(session, &args).await,
        Command::Snapshot => snapshot::snapshot(session).await,
        Command::Demo { nodes } => demo::demo(session, nodes).await,
    }
}
