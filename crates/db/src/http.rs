//! Plain HTTP on the same port: health, metrics, servers, changes, and a page to look at.

use std::fmt::Write as _;

use serde_json::json;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tooldb::Key;

use crate::db::Db;
use crate::status::Status;
use crate::store::{FeedError, Token};

/// Headers of a request that are looked at.
const HEADERS_MAX: usize = 64;
/// Changes in one answer.
const CHANGES_MAX: usize = 1_000;

/// A request's head, as far as it matters here.
#[derive(Debug)]
pub(crate) struct Request {
    method: String,
    path: String,
    query: String,
    upgrade: Option<String>,
    last: Last,
}

/// Whether the other side wants the connection closed after the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Yes,
    No,
}

impl Request {
    pub(crate) fn parse(head: &[u8]) -> Option<Self> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        request.parse(head).ok().filter(httparse::Status::is_complete)?;
        let header = |name: &str| {
            let found = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            found.and_then(|header| str::from_utf8(header.value).ok()).map(str::trim)
        };
        let says = |name: &str, word: &str| {
            header(name)
                .is_some_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word)))
        };
        let websocket = says("upgrade", "websocket")
            && says("connection", "upgrade")
            && header("sec-websocket-version") == Some("13");
        let body = header("content-length").is_some_and(|length| length != "0")
            || header("transfer-encoding").is_some();
        let (path, query) = request.path?.split_once('?').unwrap_or((request.path?, ""));
        let last = if says("connection", "close") || request.version == Some(0) || body {
            Last::Yes
        } else {
            Last::No
        };
        Some(Self {
            method: request.method?.into(),
            path: path.into(),
            query: query.into(),
            upgrade: header("sec-websocket-key").filter(|_| websocket).map(str::to_owned),
            last,
        })
    }

    /// The key of a WebSocket handshake, if this is one.
    pub(crate) fn upgrade(&self) -> Option<&str> {
        self.upgrade.as_deref().filter(|_| self.method == "GET")
    }

    pub(crate) fn is_last(&self) -> bool {
        self.last == Last::Yes
    }

    fn parameter(&self, name: &str) -> Option<String> {
        let pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        let value = pairs.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)?;
        percent_decoded(value)
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
                out.push(u8::try_from(high * 16 + low).ok()?);
            }
            b'+' => out.push(b' '),
            byte => out.push(byte),
        }
    }
    String::from_utf8(out).ok()
}

/// The answer to a WebSocket handshake (RFC 6455, section 4.2.2).
pub(crate) fn switching(key: &str) -> String {
    let accept = derive_accept_key(key.as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
}

/// An answer that says no more than its status.
pub(crate) fn refusal(status: &str) -> Vec<u8> {
    response(status, ("text/plain; charset=utf-8", &format!("{status}\n")))
}

fn response(status: &str, (kind, body): (&str, &str)) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         Access-Control-Allow-Origin: *\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n\
         Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\n\r\n{body}"
    )
    .into_bytes()
}

const JSON: &str = "application/json";

/// Answers a request.
pub(crate) async fn answer(request: &Request, db: &Db) -> Vec<u8> {
    if request.method == "OPTIONS" {
        return b"HTTP/1.1 204 No Content\r\nAccess-Control-Allow-Origin: *\r\n\
                 Access-Control-Allow-Methods: GET\r\nContent-Length: 0\r\n\r\n"
            .to_vec();
    }
    if request.method != "GET" {
        return refusal("405 Method Not Allowed");
    }
    if request.path == "/changes" {
        return changes(request, db).await;
    }
    let Ok(status) = db.status().await else { return refusal("503 Service Unavailable") };
    match request.path.as_str() {
        "/health" => {
            let line = json!({"status": if status.is_healthy() { "ok" } else { "degraded" }}).to_string();
            response(if status.is_healthy() { "200 OK" } else { "503 Service Unavailable" }, (JSON, &line))
        }
        "/metrics" => response("200 OK", ("text/plain; version=0.0.4; charset=utf-8", &status.metrics())),
        "/servers" => {
            let servers = status.servers.iter().map(|server| {
                let (host, port) = (server.endpoint.host(), server.endpoint.port());
                json!({"host": host, "port": port, "ssl": server.is_tls()})
            });
            let list: Vec<serde_json::Value> = servers.collect();
            response("200 OK", (JSON, &serde_json::Value::from(list).to_string()))
        }
        "/status" => response("200 OK", (JSON, &status.to_json().to_string())),
        "/" => response("200 OK", ("text/html; charset=utf-8", &page(&status))),
        _ => refusal("404 Not Found"),
    }
}

/// Which keys changed since a token: `/changes?since=TOKEN&prefix=TEXT&limit=N`.
async fn changes(request: &Request, db: &Db) -> Vec<u8> {
    let since = match request.parameter("since").map(|token| token.parse::<Token>()) {
        None => None,
        Some(Ok(token)) => Some(token),
        Some(Err(_)) => return refusal("400 Bad Request"),
    };
    let limit = request.parameter("limit").and_then(|limit| limit.parse().ok()).unwrap_or(CHANGES_MAX);
    let prefix = request.parameter("prefix").unwrap_or_default();
    match db.changes(since, limit.min(CHANGES_MAX)).await {
        Ok(Ok(changes)) => {
            let keys: Vec<&str> =
                changes.keys.iter().map(Key::as_str).filter(|key| key.starts_with(&prefix)).collect();
            let line = json!({"keys": keys, "next": changes.next.to_string()});
            response("200 OK", (JSON, &line.to_string()))
        }
        Ok(Err(FeedError::Foreign)) => refusal("410 Gone"),
        Ok(Err(FeedError::Store(_))) | Err(_) => refusal("503 Service Unavailable"),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A page for people; it shows counts and changes nothing.
fn page(status: &Status) -> String {
    let mut rows = String::new();
    for (name, value) in status.rows() {
        write!(rows, "<tr><th scope=row>{}<td>{}", escaped(&name), escaped(&value))
            .expect("a string takes everything");
    }
    let topic = escaped(&status.topic);
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Tool Db: {topic}</title>\
         <meta name=viewport content='width=device-width'>\
         <style>body{{font:1rem/1.5 system-ui;margin:2rem auto;max-width:40rem;padding:0 1rem}}\
         th{{text-align:left;font-weight:400;padding-right:2rem}}td{{font-variant-numeric:tabular-nums}}\
         @media(prefers-color-scheme:dark){{body{{background:#111;color:#ddd}}}}</style>\
         <h1>Tool Db: {topic}</h1><table>{rows}</table>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_key_is_that_of_the_standards_example() {
        // RFC 6455, section 1.3.
        assert!(switching("dGhlIHNhbXBsZSBub25jZQ==").contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }

    #[test]
    fn a_handshake_is_told_from_a_page_by_its_headers() {
        let head = b"GET /x?since=a%2Db HTTP/1.1\r\nHost: h\r\nUpgrade: WebSocket\r\n\
            Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: k\r\n\r\n";
        let request = Request::parse(head).unwrap();
        assert_eq!((request.upgrade(), request.is_last()), (Some("k"), false));
        assert_eq!(request.parameter("since").as_deref(), Some("a-b"));
        let page = Request::parse(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        assert_eq!((page.upgrade(), page.is_last()), (None, true));
        assert!(Request::parse(b"\x16\x03\x01\r\n\r\n").is_none());
    }
}
