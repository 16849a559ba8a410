//! Frames: one JSON object each, as the library writes and reads them.

mod print;
mod sync;

use std::fmt;

pub use sync::{Items, Range, Reply, Sum};

use crate::digest::Digest;
use crate::encoding::hex_exact;
use crate::json::{self, JsonError, Value};
use crate::key::Key;
use crate::keys::ClientId;
use crate::peer::Peer;

/// What connects a question and its answers. The library's ids have ten characters of its alphabet.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(Box<str>);

impl MessageId {
    /// Bytes that an id may have.
    pub const LEN_MAX: usize = 64;

    /// Makes an id; `None` if it is too long or would need escapes in JSON.
    pub fn new(text: &str) -> Option<Self> {
        let plain = |char: char| !char.is_control() && char != '"' && char != '\\';
        (text.len() <= Self::LEN_MAX && text.chars().all(plain)).then(|| Self(text.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a node says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Dials, and gets what it asks for.
    Client,
    /// Listens, and gets every write.
    Server,
}

/// The nodes that a message has visited, in order: fan-out passes them by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Visited(Vec<ClientId>);

impl Visited {
    /// How many nodes a message may pass: longer lists are cut, and then fan-out may come by twice.
    pub const LEN_MAX: usize = 64;

    /// The list of a message that has been nowhere but at its sender.
    pub fn only(client: ClientId) -> Self {
        Self(vec![client])
    }

    /// How many nodes it has visited.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether it has been nowhere.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells whether the message was at a node.
    pub fn contains(&self, client: ClientId) -> bool {
        self.0.contains(&client)
    }

    /// Adds a node unless it is on the list.
    #[must_use]
    pub fn and(mut self, client: ClientId) -> Self {
        if self.0.len() < Self::LEN_MAX && !self.contains(client) {
            self.0.push(client);
        }
        self
    }

    /// Reads the member `to`. Nodes of other kinds of account have other ids, and are left out.
    fn parse(raw: &str) -> Option<Self> {
        let value = Value::parse(raw).ok()?;
        let clients = value.as_array()?.iter().filter_map(|item| ClientId::parse(item.as_text()?.escaped()));
        Some(clients.fold(Self::default(), Self::and))
    }
}

/// Why a record is sent; the library orders the members of each differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Its author or a relay passes it on.
    Write,
    /// It answers a `get`.
    Answer,
    /// A subscriber gets it.
    Push,
    /// As [`Manner::Write`], by a node that wants to hear once it is kept. JavaScript nodes take it for one.
    Confirmed,
}

/// Which messages a record travels in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Carrier {
    /// `put` and `get`
    Plain,
    /// `crdtPut` and `crdtGet`
    Document,
}

/// How a function ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// It returned.
    Ok,
    /// It failed; the value says how.
    Err,
    /// There is no function of this name.
    NotFound,
}

/// What became of a record whose sender asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is kept, and survives whatever befalls the process.
    Kept,
    /// It was known, or is beaten by what is.
    Known,
    /// This node does not believe it, and will not when asked again.
    Refused,
    /// This node has no room for it now.
    Full,
}

/// What a frame says. Records, arguments and return values are JSON texts of the frame they came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body<'a> {
    /// The dialling side introduces itself.
    Ping {
        /// The name it goes by.
        client: ClientId,
        /// What it says it is.
        role: Role,
        /// Its signed introduction.
        peer: Peer,
    },
    /// The accepting side answers.
    Pong {
        /// The name it goes by.
        client: ClientId,
        /// What it says it is.
        role: Role,
        /// The servers it knows, itself among them.
        servers: Vec<Peer>,
    },
    /// A record.
    Put {
        /// `put` or `crdtPut`.
        carrier: Carrier,
        /// Why it is sent; what is read is a [`Manner::Write`] or [`Manner::Confirmed`], for frames do not say
        /// more.
        manner: Manner,
        /// The record's text.
        record: &'a str,
    },
    /// Asks for the record of a key.
    Get {
        /// `get` or `crdtGet`.
        carrier: Carrier,
        /// Which.
        key: Key,
    },
    /// Asks for the keys that start with a text.
    Query {
        /// The text.
        prefix: Key,
    },
    /// The keys asked for.
    QueryAck {
        /// All that the sender knows of.
        keys: Vec<Key>,
    },
    /// Asks for the record of a key now and whenever it changes.
    Subscribe {
        /// Which.
        key: Key,
    },
    /// Asks a server to run a function.
    Function {
        /// Its name.
        name: Key,
        /// Its argument, as JSON.
        args: &'a str,
    },
    /// What the sender has in some ranges of keys, in brief.
    Ranges {
        /// In ascending order.
        list: Vec<Range>,
    },
    /// What the sender has in some ranges of keys, one by one.
    Items {
        /// Whether the sender wants to be told the same.
        reply: Reply,
        /// The ranges.
        items: Items,
    },
    /// Asks for all records of some keys.
    Need {
        /// Which.
        keys: Vec<Key>,
    },
    /// They were sent.
    Given,
    /// What became of a record. JavaScript nodes ignore it.
    Confirm {
        /// The record's hash.
        hash: Digest,
        /// What became of it.
        verdict: Verdict,
    },
    /// What the function returned.
    FunctionReturn {
        /// How it ended.
        code: Code,
        /// What it returned, as JSON; nothing for JavaScript's `undefined`.
        value: Option<&'a str>,
    },
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What connects it with its answers.
    pub id: MessageId,
    /// Where it has been.
    pub visited: Visited,
    /// What it says.
    pub body: Body<'a>,
}

/// Why a frame says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not one JSON object in UTF-8.
    #[error("not a JSON object")]
    NotJson,
    /// Nested deeper than any honest frame.
    #[error("nested too deep")]
    TooDeep,
    /// Of a type that this crate does not know, or without one.
    #[error("unknown type")]
    UnknownType,
    /// A member is missing, of the wrong type or too large.
    #[error("malformed {0}")]
    Malformed(&'static str),
}

#[derive(Default)]
struct Members<'a> {
    kind: Option<&'a str>,
    id: Option<&'a str>,
    to: Option<&'a str>,
    key: Option<&'a str>,
    data: Option<&'a str>,
    client: Option<&'a str>,
    server: Option<&'a str>,
    peer: Option<&'a str>,
    servers: Option<&'a str>,
    keys: Option<&'a str>,
    function: Option<&'a str>,
    args: Option<&'a str>,
    code: Option<&'a str>,
    value: Option<&'a str>,
    ack: Option<&'a str>,
    hash: Option<&'a str>,
    list: Option<&'a str>,
    reply: Option<&'a str>,
    cut: Option<&'a str>,
}

impl<'a> Members<'a> {
    fn read(text: &'a str) -> Result<Self, DecodeError> {
        let mut members = Self::default();
        json::members(text, |name, value| {
            let member = match name.escaped() {
                "type" => &mut members.kind,
                "id" => &mut members.id,
                "to" => &mut members.to,
                "key" => &mut members.key,
                "data" => &mut members.data,
                "clientId" => &mut members.client,
                "isServer" => &mut members.server,
                "peer" => &mut members.peer,
                "servers" => &mut members.servers,
                "keys" => &mut members.keys,
                "function" => &mut members.function,
                "args" => &mut members.args,
                "code" => &mut members.code,
                "return" => &mut members.value,
                "ack" => &mut members.ack,
                "h" => &mut members.hash,
                "list" => &mut members.list,
                "reply" => &mut members.reply,
                "cut" => &mut members.cut,
                _ => return,
            };
            *member = Some(value);
        })
        .map_err(|error| match error {
            JsonError::Syntax => DecodeError::NotJson,
            JsonError::TooDeep => DecodeError::TooDeep,
        })?;
        Ok(members)
    }

    fn key(&self) -> Result<Key, DecodeError> {
        read("key", self.key, |raw| Key::from_json(raw).ok())
    }

    fn client(&self) -> Result<ClientId, DecodeError> {
        read("clientId", self.client, |raw| ClientId::parse(json::bare(raw)?))
    }

    fn role(&self) -> Result<Role, DecodeError> {
        read("isServer", self.server, |raw| match raw {
            "true" => Some(Role::Server),
            "false" => Some(Role::Client),
            _ => None,
        })
    }

    fn body(&self, kind: &str) -> Result<Body<'a>, DecodeError> {
        let carrier = if kind.starts_with("crdt") { Carrier::Document } else { Carrier::Plain };
        Ok(match kind {
            "ping" => Body::Ping {
                client: self.client()?,
                role: self.role()?,
                peer: read("peer", self.peer, Peer::parse)?,
            },
            "pong" => Body::Pong {
                client: self.client()?,
                role: self.role()?,
                servers: read("servers", self.servers, servers)?,
            },
            "put" | "crdtPut" => {
                let record = read("data", self.data, |raw| raw.starts_with('{').then_some(raw))?;
                let manner = if self.ack == Some("true") { Manner::Confirmed } else { Manner::Write };
                Body::Put { carrier, manner, record }
            }
            "get" | "crdtGet" => Body::Get { carrier, key: self.key()? },
            "query" => Body::Query { prefix: self.key()? },
            "queryAck" => Body::QueryAck { keys: read("keys", self.keys, keys)? },
            "subscribe" => Body::Subscribe { key: self.key()? },
            "function" => Body::Function {
                name: read("function", self.function, |raw| Key::from_json(raw).ok())?,
                args: read("args", self.args, Some)?,
            },
            "ranges" => Body::Ranges { list: read("list", self.list, sync::ranges)? },
            "items" => {
                let cut = self.cut == Some("true");
                let list = read("list", self.list, sync::items)?;
                Body::Items { reply: Reply::of(self.reply), items: Items { list, cut } }
            }
            "need" => Body::Need { keys: read("keys", self.keys, keys)? },
            "given" => Body::Given,
            "confirm" => Body::Confirm {
                hash: read("h", self.hash, |raw| hex_exact(json::bare(raw)?).map(Digest))?,
                verdict: read("code", self.code, Verdict::parse)?,
            },
            "functionReturn" => {
                Body::FunctionReturn { code: read("code", self.code, Code::parse)?, value: self.value }
            }
            _ => return Err(DecodeError::UnknownType),
        })
    }
}

fn read<'a, T>(
    name: &'static str,
    member: Option<&'a str>,
    parse: impl FnOnce(&'a str) -> Option<T>,
) -> Result<T, DecodeError> {
    member.and_then(parse).ok_or(DecodeError::Malformed(name))
}

/// How many servers of a pong are looked at.
const SERVERS_MAX: usize = 256;

/// The servers that can be read; one stranger's broken entry does not spoil the list.
fn servers(raw: &str) -> Option<Vec<Peer>> {
    let mut servers = Vec::new();
    json::items(raw, |item| {
        if servers.len() < SERVERS_MAX {
            servers.extend(Peer::parse(item));
        }
    })
    .ok()?;
    Some(servers)
}

fn keys(raw: &str) -> Option<Vec<Key>> {
    let mut keys = Vec::new();
    json::items(raw, |item| keys.extend(Key::from_json(item).ok())).ok()?;
    Some(keys)
}

impl Verdict {
    fn parse(raw: &str) -> Option<Self> {
        match raw {
            "\"KEPT\"" => Some(Self::Kept),
            "\"KNOWN\"" => Some(Self::Known),
            "\"REFUSED\"" => Some(Self::Refused),
            "\"FULL\"" => Some(Self::Full),
            _ => None,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Kept => "KEPT",
            Self::Known => "KNOWN",
            Self::Refused => "REFUSED",
            Self::Full => "FULL",
        }
    }
}

impl Code {
    fn parse(raw: &str) -> Option<Self> {
        match raw {
            "\"OK\"" => Some(Self::Ok),
            "\"ERR\"" => Some(Self::Err),
            "\"NOT_FOUND\"" => Some(Self::NotFound),
            _ => None,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Err => "ERR",
            Self::NotFound => "NOT_FOUND",
        }
    }
}

impl<'a> Frame<'a> {
    /// Reads a frame. Any bytes give a frame or an error.
    ///
    /// # Errors
    ///
    /// What is wrong with it. A missing `to` is not: JavaScript nodes leave it out at times.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let text = str::from_utf8(bytes).map_err(|_| DecodeError::NotJson)?;
        let members = Members::read(text)?;
        let kind = members.kind.and_then(json::bare).ok_or(DecodeError::UnknownType)?;
        let body = members.body(kind)?;
        let id = read("id", members.id, |raw| MessageId::new(json::bare(raw)?))?;
        let visited = match members.to {
            Some(raw) => read("to", Some(raw), Visited::parse)?,
            None => Visited::default(),
        };
        Ok(Self { id, visited, body })
    }
}
