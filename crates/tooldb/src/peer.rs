//! How nodes introduce themselves: an address, an endpoint and a topic under one signature.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use crate::digest::Digest;
use crate::json::{self, Text, Value};
use crate::keys::{Address, Identity, Signature};
use crate::record::{UnixMillis, integer};

/// The application that a network serves. Nodes of other topics are turned away.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Topic(Box<str>);

impl Topic {
    /// Bytes that a topic may have.
    pub const LEN_MAX: usize = 256;

    /// Makes a topic; `None` if it is longer than [`Topic::LEN_MAX`].
    pub fn new(text: &str) -> Option<Self> {
        (text.len() <= Self::LEN_MAX).then(|| Self(text.into()))
    }

    /// The topic as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where a node says it listens; clients say so too, and do not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// A name or an address.
    host: Box<str>,
    /// The port of its WebSocket.
    port: u16,
}

impl Endpoint {
    /// Bytes that a host may have, the limit of names in DNS.
    pub const HOST_LEN_MAX: usize = 253;

    /// Makes an endpoint; `None` if the host is longer than [`Endpoint::HOST_LEN_MAX`].
    pub fn new(host: &str, port: u16) -> Option<Self> {
        (host.len() <= Self::HOST_LEN_MAX).then(|| Self { host: host.into(), port })
    }

    /// The name or address.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// A node's introduction of itself.
///
/// ```text
/// {"topic":text,"timestamp":unix ms,"host":text,"port":number,"address":text,"sig":hex}
/// sig = signature over hex(sha256(topic-timestamp-host:port))
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    topic: Topic,
    time: UnixMillis,
    endpoint: Endpoint,
    address: Address,
    signature: Signature,
}

/// How far from ours the clock of an introduction may be. Within it an introduction can be replayed to another
/// node, for the protocol has no challenge.
pub const INTRODUCTION_SPAN: Duration = Duration::from_mins(2);

fn signed_text(topic: &Topic, time: UnixMillis, endpoint: &Endpoint) -> String {
    let (topic, UnixMillis(millis), Endpoint { host, port }) = (topic.as_str(), time, endpoint);
    Digest::of(&format!("{topic}-{millis}-{host}:{port}")).to_hex()
}

impl Peer {
    /// Introduces oneself.
    pub fn sign(topic: Topic, endpoint: Endpoint, now: UnixMillis, identity: &Identity) -> Self {
        let signature = identity.sign(&signed_text(&topic, now, &endpoint));
        Self { topic, time: now, endpoint, address: identity.address(), signature }
    }

    /// Reads an introduction; `None` if it is not one.
    pub fn parse(raw: &str) -> Option<Self> {
        let value = Value::parse(raw).ok()?;
        let object = value.as_object()?;
        let text = |name| object.get(name)?.as_text()?.plain();
        // Nodes that take their port from the environment send it as a string; the signed text is the same.
        let digits = |name| {
            let value = object.get(name)?;
            value.as_text().map_or_else(|| Some(value.to_json()), |text| text.plain().map(Cow::into_owned))
        };
        Some(Self {
            topic: Topic::new(&text("topic")?)?,
            time: UnixMillis(integer(&digits("timestamp")?)?),
            endpoint: Endpoint::new(&text("host")?, digits("port")?.parse().ok()?)?,
            address: Address::parse(&text("address")?)?,
            signature: Signature::parse(&text("sig")?)?,
        })
    }

    /// Tells whether the node signed this. Says nothing of who sent it.
    pub fn is_genuine(&self) -> bool {
        self.address.signed(&signed_text(&self.topic, self.time, &self.endpoint), &self.signature)
    }

    /// Tells whether the introduction was signed lately, by both clocks.
    pub fn is_fresh(&self, now: UnixMillis) -> bool {
        self.time <= now.plus(INTRODUCTION_SPAN) && now <= self.time.plus(INTRODUCTION_SPAN)
    }

    /// The application that the node serves.
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// Where it says it listens.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Its peer account.
    pub fn address(&self) -> Address {
        self.address
    }

    /// Appends the introduction as JSON.
    pub(crate) fn print(&self, out: &mut String) {
        out.push_str("{\"topic\":");
        json::print_text(&Text::from(self.topic.as_str()), out);
        let UnixMillis(millis) = self.time;
        write!(out, ",\"timestamp\":{millis},\"host\":").expect("writing to a String cannot fail");
        json::print_text(&Text::from(self.endpoint.host()), out);
        let (port, address, signature) = (self.endpoint.port, self.address, self.signature.to_hex());
        write!(out, ",\"port\":{port},\"address\":\"{address}\",\"sig\":\"{signature}\"}}")
            .expect("writing to a String cannot fail");
    }

    /// The introduction as JSON.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        self.print(&mut out);
        out
    }
}
