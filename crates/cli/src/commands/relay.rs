//! Being a relay from the command line.

use node::{AssumedFirewall, Node, RelayNews};
use serde_json::{Value, json};

use crate::args::RelayArgs;
use crate::commands::link::{identity, reachable};
use crate::commands::serve::unless_interrupted;
use crate::exit::Failed;
use crate::session::Session;

/// Passes packets on until told to end.
pub(super) async fn relay(session: &Session, args: &RelayArgs) -> Result<(), Failed> {
    let mut config = session.config()?;
    if args.open {
        config.firewall = AssumedFirewall::Open;
    }
    let node = Node::spawn(config).await?;
    let outcome = session.or_stop(serve(session, &node, args)).await;
    node.shutdown().await?;
    unless_interrupted(outcome)
}

async fn serve(session: &Session, node: &Node, args: &RelayArgs) -> Result<(), Failed> {
    session.join(node).await?;
    let identity = identity(&args.key)?;
    let mut events = node.events();
    let mut relay = node.relay(&identity, args.options()).await?;
    session.console.progress("announcing the key", reachable(&mut events, relay.public_key())).await?;
    let key = relay.public_key().to_string();
    session.console.line(&json!({"event": "relaying", "key": key}), format_args!("relaying as {key}"))?;
    while let Some(news) = relay.next().await {
        let (line, text) = describe(&news);
        session.console.line(&line, text)?;
    }
    Ok(())
}

fn describe(news: &RelayNews) -> (Value, String) {
    match news {
        RelayNews::Announced => {
            (json!({"event": "announced"}), "announced: whoever needs a relay finds this one".to_owned())
        }
        RelayNews::Came { client, address } => {
            let key = client.to_string();
            let text = format!("client {key} came, at {address}");
            (json!({"event": "client", "key": key, "remote": address}), text)
        }
        RelayNews::Went { client } => {
            let key = client.to_string();
            let text = format!("client {key} went");
            (json!({"event": "client-left", "key": key}), text)
        }
        RelayNews::Joined { clients } => {
            let keys = clients.map(|client| client.to_string());
            let text = format!("joined {} with {}", keys[0], keys[1]);
            (json!({"event": "joined", "keys": keys}), text)
        }
        RelayNews::Separated { clients, bytes, lasted, why } => {
            let keys = clients.map(|client| client.to_string());
            let seconds = lasted.as_secs_f64();
            let text = format!(
                "separated {} and {} ({}) after {bytes} bytes in {seconds:.1} s",
                keys[0],
                keys[1],
                why.word()
            );
            let line = json!({
                "event": "separated", "keys": keys, "bytes": bytes, "seconds": seconds, "why": why.word(),
            });
            (line, text)
        }
        _ => (json!({"event": "news"}), "something happened".to_owned()),
    }
}
