//! Servers that meet by topic alone, over HyperDHT.
//!
//! A server announces a key under SHA-256 of the topic, as Hyperswarm applications do, and stores under that
//! key, as a signed value of the DHT, where its WebSocket is: `{"host":"..","port":N,"tls":bool}`. Who looks for servers
//! asks for the keys, and then for the values; keys without one belong to other kinds of peers.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use node::{Id, KeyPair, Node, PublicKey};
use serde_json::{Value, json};
use tooldb::Endpoint;

use crate::db::Db;
use crate::dial::Named;
use crate::status::{Scheme, Server};

/// How often servers are looked for while none is connected, and while some are.
const LOOK_SPAN_LONELY: Duration = Duration::from_secs(5);
const LOOK_SPAN: Duration = Duration::from_mins(2);
/// How often the value is stored again; nodes of the DHT keep it for 48 minutes.
const STORE_SPAN: Duration = Duration::from_mins(10);
/// Keys of one look-up whose values are asked for.
const KEYS_MAX: usize = 64;

/// Finds servers of a topic for a database, and lets it be found if it is one. Runs until it is dropped.
pub async fn discover(db: Db, node: Node, (topic, key): (Id<32>, KeyPair)) {
    let own = key.public_key();
    let looking = look(&db, &node, (topic, own));
    let showing = show(&db, &node, (topic, key));
    tokio::join!(looking, showing);
}

/// Announces where this server is.
async fn show(db: &Db, node: &Node, (topic, key): (Id<32>, KeyPair)) {
    let Some(server) = db.announced() else { return };
    let value = encode(server);
    // It is announced again by the node itself, until the node ends.
    if node.announce(topic, key.clone()).await.is_err() {
        return;
    }
    loop {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if let Err(error) = node.put_mutable(key.clone(), seconds, value.clone()).await {
            tracing::debug!(%error, "our address was not stored");
            tokio::time::sleep(LOOK_SPAN_LONELY).await;
            continue;
        }
        tokio::time::sleep(STORE_SPAN).await;
    }
}

/// Looks for servers, and has them dialled.
async fn look(db: &Db, node: &Node, (topic, own): (Id<32>, PublicKey)) {
    loop {
        if let Err(error) = look_once(db, node, (topic, own)).await {
            tracing::debug!(%error, "the look-up failed");
        }
        let lonely = db.status().await.is_ok_and(|status| status.peers == 0);
        tokio::time::sleep(if lonely { LOOK_SPAN_LONELY } else { LOOK_SPAN }).await;
    }
}

async fn look_once(db: &Db, node: &Node, (topic, own): (Id<32>, PublicKey)) -> Result<(), node::WalkError> {
    let mut lookup = node.lookup(topic).await?;
    let mut keys = BTreeSet::new();
    while let Some(found) = lookup.next().await {
        if found.peer.public_key != own && keys.len() < KEYS_MAX {
            keys.insert(found.peer.public_key);
        }
    }
    lookup.finish().await?;
    for key in keys {
        let record = node.get_mutable(key, 0).await?;
        if let Some(server) = record.and_then(|record| decode(&record.value)) {
            db.connect(server, Named::ByOthers).await;
        }
    }
    Ok(())
}

fn encode(server: &Server) -> Vec<u8> {
    let (host, port) = (server.endpoint.host(), server.endpoint.port());
    json!({"host": host, "port": port, "tls": server.is_tls()}).to_string().into_bytes()
}

/// Reads what a server stored; `None` if it is something else.
fn decode(value: &[u8]) -> Option<Server> {
    let value: Value = serde_json::from_slice(value).ok()?;
    let port = u16::try_from(value["port"].as_u64()?).ok()?;
    let endpoint = Endpoint::new(value["host"].as_str()?, port)?;
    let scheme = if value["tls"].as_bool()? { Scheme::Wss } else { Scheme::Ws };
    Some(Server { endpoint, scheme })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_back_and_nonsense_is_no_server() {
        let endpoint = Endpoint::new("db.example.org", 9_000).unwrap();
        let server = Server { endpoint, scheme: Scheme::Wss };
        assert_eq!(decode(&encode(&server)), Some(server));
        for broken in
            ["", "{}", r#"{"host":"x","port":70000,"tls":false}"#, r#"{"host":1,"port":1,"tls":false}"#]
        {
            assert_eq!(decode(broken.as_bytes()), None, "{broken}");
        }
    }
}
