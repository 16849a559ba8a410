use std::net::SocketAddrV4;

use anyhow::{Context as _, Result, ensure};
use wire::hyper::{LOOKUP, LookupReply};
use wire::{Command, Id, Request};

use crate::bench::author::{Author, hash};
use crate::bench::caller::Caller;

/// Requests of one kind have this many targets in turn.
const TARGETS: u64 = 512;

/// Peers that announce the topic that is looked up.
const PEERS: u64 = 5;

/// Closer nodes in a full answer.
const CLOSER: usize = 20;

/// What is asked over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    Ping,
    FindNode,
    Lookup,
}

impl Question {
    pub(crate) const ALL: [Self; 3] = [Self::Ping, Self::FindNode, Self::Lookup];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::FindNode => "find-node",
            Self::Lookup => "look-up",
        }
    }

    pub(crate) fn parse(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|question| question.name() == name);
        found.with_context(|| format!("nothing is called {name}"))
    }

    /// Requests to ask in turn, all of the same length, with a transaction of 0.
    pub(crate) fn requests(self, to: SocketAddrV4) -> Vec<Vec<u8>> {
        (0..TARGETS).map(|number| self.request(to, number)).collect()
    }

    fn request(self, to: SocketAddrV4, number: u64) -> Vec<u8> {
        let (command, target) = match self {
            Self::Ping => (Command::PING, None),
            Self::FindNode => (Command::FIND_NODE, Some(hash(&[b"target", &number.to_le_bytes()]))),
            Self::Lookup => (LOOKUP, Some(topic())),
        };
        let mut out = Vec::new();
        Request { tid: 0, to, id: None, token: None, command, target, value: None }.encode(&mut out);
        out
    }
}

/// The topic that peers announce and look up.
pub(crate) fn topic() -> Id<32> {
    hash(&[b"homing bench topic"])
}

/// Those who announce it.
pub(crate) fn peers() -> impl Iterator<Item = Author> {
    (0..PEERS).map(Author::new)
}

/// Stores what look-ups find, and checks that the server answers every question in full.
pub(crate) fn prepare(caller: &mut Caller) -> Result<()> {
    peers().try_for_each(|peer| caller.announce(&peer, topic()))?;
    let closer = caller.ask(Command::FIND_NODE, Some(topic()))?.closer.len();
    ensure!(closer == CLOSER, "find-node is answered with {closer} nodes");
    let found = caller.ask(LOOKUP, Some(topic()))?;
    let peers = LookupReply::decode(found.value.context("a look-up is answered without peers")?)?.peers.len();
    ensure!(found.closer.len() == CLOSER, "a look-up is answered with {} nodes", found.closer.len());
    ensure!(u64::try_from(peers)? == PEERS, "a look-up is answered with {peers} peers");
    Ok(())
}
