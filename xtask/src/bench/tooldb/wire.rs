//! A client that sends frames as they are, signed beforehand.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tooldb::{Draft, Endpoint, Identity, Key, Peer, Topic, UnixMillis};

/// No answer takes this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection that has introduced itself.
pub(crate) struct Wire(WebSocketStream<TcpStream>);

/// The time of records.
pub(crate) fn wall() -> UnixMillis {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(wall.as_millis()).unwrap_or(i64::MAX))
}

/// An id that no message had before: the library drops messages whose ids it knows, whoever sends them.
pub(crate) fn fresh_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("bench{:x}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A frame that writes a record, as the library sends it.
pub(crate) fn put(key: &str, author: &Identity) -> Result<Utf8Bytes> {
    let value = json!({ "text": "x".repeat(100), "for": key }).to_string();
    let value = tooldb::json::Value::parse(&value).ok().context("not JSON")?;
    let record = Draft::plain(Key::new(key).context("a long key")?, value).sign(wall(), author);
    let raw = record.raw();
    Ok(format!(r#"{{"type":"put","id":"{key}","to":[],"data":{raw}}}"#).into())
}

impl Wire {
    /// Connects, and waits to be welcome.
    pub(crate) async fn open(address: &str, seed: [u8; 32]) -> Result<Self> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        let small = WebSocketConfig::default().read_buffer_size(16 << 10).write_buffer_size(0);
        let url = format!("ws://{address}/");
        let (socket, _) = tokio_tungstenite::client_async_with_config(url, socket, Some(small)).await?;
        let mut wire = Self(socket);
        let identity = Identity::from_seed(seed);
        let topic = Topic::new("bench").context("a short topic")?;
        let endpoint = Endpoint::new("127.0.0.1", 1).context("a short host")?;
        let peer: Value = serde_json::from_str(&Peer::sign(topic, endpoint, wall(), &identity).to_json())?;
        let client = identity.address().client_id();
        let ping = json!({
            "type": "ping", "clientId": client.as_str(), "to": [client.as_str()], "isServer": false,
            "id": fresh_id(), "peer": peer,
        });
        wire.send(ping.to_string().into()).await?;
        wire.hear("pong").await?;
        Ok(wire)
    }

    pub(crate) async fn send(&mut self, frame: Utf8Bytes) -> Result<()> {
        Ok(self.0.send(Message::Text(frame)).await?)
    }

    /// Hands a frame over; it leaves with the next that is sent, or before.
    pub(crate) async fn feed(&mut self, frame: Utf8Bytes) -> Result<()> {
        Ok(self.0.feed(Message::Text(frame)).await?)
    }

    pub(crate) async fn flush(&mut self) -> Result<()> {
        Ok(self.0.flush().await?)
    }

    /// Waits for a frame of a type, unread.
    pub(crate) async fn hear_raw(&mut self, kind: &str) -> Result<Utf8Bytes> {
        let head = format!("{{\"type\":\"{kind}\"");
        loop {
            let frame =
                tokio::time::timeout(PATIENCE, self.0.next()).await.with_context(|| format!("no {kind}"))?;
            match frame.context("the server hung up")?? {
                // The library prints the type first in some messages, and elsewhere in others.
                Message::Text(text)
                    if text.starts_with(&head) || text.contains(&format!("\"type\":\"{kind}\"")) =>
                {
                    return Ok(text);
                }
                Message::Close(_) => bail!("the server closed"),
                _ => {}
            }
        }
    }

    pub(crate) async fn hear(&mut self, kind: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.hear_raw(kind).await?)?)
    }

    /// The keys that begin with a text.
    pub(crate) async fn query(&mut self, prefix: &str) -> Result<usize> {
        let id = fresh_id();
        self.send(json!({"type": "query", "id": id, "to": [], "key": prefix}).to_string().into()).await?;
        let answer = self.hear("queryAck").await?;
        Ok(answer["keys"].as_array().map_or(0, Vec::len))
    }

    /// Waits until a key is there.
    pub(crate) async fn await_key(&mut self, key: &str) -> Result<()> {
        while self.query(key).await? == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }
}
