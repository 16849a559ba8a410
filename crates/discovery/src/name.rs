use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use blake2::Blake2bMac;
use blake2::digest::{KeyInit, Mac, consts::U16};
use data_encoding::{BASE32_NOPAD, HEXLOWER};
use subtle::ConstantTimeEq;

use crate::topic::Topic;

/// How long a keyed label is used: what a listener can link is an hour of one topic.
pub(crate) const EPOCH: Duration = Duration::from_hours(1);
/// Domain of keyed labels on the link.
const KEYED_DOMAIN: &str = "homing.local";
/// Bytes of a proof.
pub(crate) const PROOF_LEN: usize = 16;

/// Milliseconds since 1970 began, which choose the labels of the hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixMillis(pub u64);

/// How a topic is named on the local network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Naming {
    /// By a label that changes every hour and that only those can compute who know the topic.
    #[default]
    Keyed,
    /// Also by the name that npm `dns-discovery` gives it, which tells everybody on the link the topic's key on
    /// Mainline.
    Compatible(Domain),
}

/// Under which domain JavaScript peers look for a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Domain {
    /// `dns-discovery.local`, what npm `discovery-channel` uses unless told otherwise.
    #[default]
    DnsDiscovery,
    /// `dat.local`, what Dat used.
    Dat,
}

impl Domain {
    /// The domain's text.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::DnsDiscovery => "dns-discovery.local",
            Self::Dat => "dat.local",
        }
    }
}

/// Wall time, which steps, told apart from the machine's own, which does not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wall {
    at: Instant,
    millis: UnixMillis,
}

impl Wall {
    pub(crate) const fn new(at: Instant, millis: UnixMillis) -> Self {
        Self { at, millis }
    }

    /// The present hour, counted from 1970.
    pub(crate) fn epoch(&self, now: Instant) -> u64 {
        self.millis(now) / epoch_millis()
    }

    /// How long the present hour still lasts.
    pub(crate) fn remaining(&self, now: Instant) -> Duration {
        Duration::from_millis(epoch_millis() - self.millis(now) % epoch_millis())
    }

    fn millis(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.at).as_millis();
        self.millis.0.saturating_add(u64::try_from(since).unwrap_or(u64::MAX / 2))
    }
}

fn epoch_millis() -> u64 {
    EPOCH.as_secs() * 1000
}

/// The label of a topic in one hour: `base32(BLAKE2b-128(topic, "mdns" ‖ epoch))`.
pub(crate) fn keyed_label(topic: &Topic, epoch: u64) -> String {
    let label: [u8; 16] =
        keyed(topic).chain_update("mdns").chain_update(epoch.to_be_bytes()).finalize().into_bytes().into();
    BASE32_NOPAD.encode(&label).to_ascii_lowercase()
}

/// The name of a topic on the link in one hour.
pub(crate) fn keyed_name(topic: &Topic, epoch: u64) -> String {
    format!("{}.{KEYED_DOMAIN}", keyed_label(topic, epoch))
}

/// The name of a topic in `dns-discovery`.
pub(crate) fn compatible_name(topic: &Topic, domain: Domain) -> String {
    format!("{}.{}", HEXLOWER.encode(&topic.compatible()), domain.as_str())
}

/// What shows that a message is of somebody who knows the topic, and from this address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim<'a> {
    /// The name asked about, which changes every hour.
    pub(crate) name: &'a str,
    /// Drawn by the asker for this question.
    pub(crate) nonce: &'a [u8],
    pub(crate) sender: Ipv4Addr,
    /// What the message says.
    pub(crate) said: Said<'a>,
}

/// What a proof covers beside the circumstances.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Said<'a> {
    /// A question.
    Question,
    /// An answer with these packed peers.
    Peers(&'a str),
}

impl Claim<'_> {
    pub(crate) fn prove(&self, topic: &Topic) -> [u8; PROOF_LEN] {
        self.mac(topic).finalize().into_bytes().into()
    }

    pub(crate) fn is_proven_by(&self, topic: &Topic, proof: &[u8]) -> bool {
        self.prove(topic).ct_eq(proof).into()
    }

    fn mac(&self, topic: &Topic) -> Blake2bMac<U16> {
        let (kind, peers) = match self.said {
            Said::Question => ("ask", ""),
            Said::Peers(peers) => ("tell", peers),
        };
        keyed(topic)
            .chain_update(kind)
            .chain_update([0])
            .chain_update(self.name)
            .chain_update([0])
            .chain_update(self.nonce)
            .chain_update(self.sender.octets())
            .chain_update(peers)
    }
}

fn keyed(topic: &Topic) -> Blake2bMac<U16> {
    Blake2bMac::new_from_slice(topic.secret()).expect("a key of 32 bytes fits BLAKE2b")
}
