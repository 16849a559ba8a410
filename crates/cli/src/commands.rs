//! One function for each command, in files by what they are about.

mod announce;
mod chat;
mod doctor;
mod keygen;
mod link;
mod lookup;
mod ping;
mod record;
mod serve;
mod snapshot;
mod testnet;
mod top;

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
        Command::Snapshot { watch: false } => snapshot::snapshot(session).await,
        Command::Snapshot { watch: true } => snapshot::watch(session).await,
        Command::Top { monitor, token_file, once } => {
            let source = top::source(session, monitor.zip(token_file))?;
            if once { top::once(session, &source).await } else { top::top(session, &source).await }
        }
        Command::Doctor { topic, key, report } => {
            doctor::doctor(session, topic, key, report.as_deref()).await
        }
        Command::Chat { topic, key } => chat::chat(session, topic, &key).await,
        Command::Listen(args) => link::listen(session, &args).await,
        Command::Connect(args) => link::connect(session, &args).await,
        Command::Demo { nodes } => demo::demo(session, nodes).await,
    }
}
