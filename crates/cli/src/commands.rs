//! One function for each command, in files by what they are about.

mod announce;
mod chat;
mod keygen;
mod link;
mod lookup;
mod mainline;
mod ping;
mod record;
mod serve;
mod snapshot;
mod testnet;

pub(crate) use snapshot::{nodes_line, show_nodes};
pub(crate) use testnet::{Network, Place};

use crate::args::{Command, GetArgs, On};
use crate::commands::mainline::Until;
use crate::demo;
use crate::exit::Failed;
use crate::session::Session;

pub(crate) async fn run(command: Command, session: &Session) -> Result<(), Failed> {
    match command {
        Command::Bootstrap { network: On::Hyper } => serve::bootstrap(session).await,
        Command::Bootstrap { network: On::Mainline } => mainline::bootstrap(session).await,
        Command::Testnet { nodes, network: On::Hyper } => testnet::testnet(session, nodes).await,
        Command::Testnet { nodes, network: On::Mainline } => mainline::testnet(session, nodes).await,
        Command::Node(args) => serve::node(session, &args).await,
        Command::Announce { topic, once: true, on: On::Mainline, .. } => {
            mainline::announce(session, topic, Until::Done).await
        }
        Command::Announce { topic, on: On::Mainline, .. } => {
            mainline::announce(session, topic, Until::Stopped).await
        }
        Command::Announce { topic, key, once: false, .. } => announce::announce(session, topic, &key).await,
        Command::Announce { topic, key, once: true, .. } => {
            announce::announce_once(session, topic, &key).await
        }
        Command::Unannounce { topic, key } => announce::unannounce(session, topic, &key.into()).await,
        Command::Lookup { topic, on: On::Mainline, watch: false } => {
            mainline::lookup(session, topic, Until::Done).await
        }
        Command::Lookup { topic, on: On::Mainline, watch: true } => {
            mainline::lookup(session, topic, Until::Stopped).await
        }
        Command::Scrape { topic } => mainline::scrape(session, topic).await,
        Command::Lookup { topic, .. } => lookup::lookup(session, topic).await,
        Command::FindPeer { key } => lookup::find_peer(session, key).await,
        Command::Ping { to } => ping::ping(session, &to).await,
        Command::Put { value, key, seq, on: On::Mainline } => mainline::put(session, value, &key, seq).await,
        Command::Put { value, key, seq, .. } => record::put(session, value, &key, seq).await,
        Command::Get(GetArgs { mainline: Some(target), salt, .. }) => {
            mainline::get(session, target, salt).await
        }
        Command::Get(args) => record::get(session, args).await,
        Command::Keygen { file, seed } => keygen::keygen(session, file, seed),
        Command::Chat { topic, key } => chat::chat(session, topic, &key).await,
        Command::Listen(args) => link::listen(session, &args).await,
        Command::Connect(args) => link::connect(session, &args).await,
        Command::Snapshot => snapshot::snapshot(session).await,
        Command::Demo { nodes } => demo::demo(session, nodes).await,
    }
}
