//! Who is connected, in words.

use node::Snapshot;
use node::snapshot::{Failure, Link, Peer, PeerState, Reason};

use super::{Cause, Tone};

/// What the connections of a node amount to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Company {
    /// How good it is. [`Tone::Good`] needs a peer that has proven to be there, and a path of our own to one.
    pub tone: Tone,
    /// In a word or two.
    pub word: &'static str,
    /// In a sentence or two.
    pub sentence: String,
    /// Why nobody is connected, where that is known.
    pub cause: Option<Cause>,
}

impl Cause {
    /// Returns the cause of a dial that came to nothing, if the network or the peer was the cause.
    pub const fn of(reason: Reason) -> Option<Self> {
        match reason {
            Reason::Unknown => Some(Self::PeerNotAnnounced),
            Reason::Silent => Some(Self::PeerOffline),
            Reason::Refused => Some(Self::PeerRefused),
            Reason::Version => Some(Self::PeerVersion),
            Reason::NoPath => Some(Self::RelayNone),
            Reason::BothRandom => Some(Self::NatSymmetricBoth),
            Reason::Relay => Some(Self::RelayFailed),
            _ => None,
        }
    }
}

/// Judges the connections of a node.
pub fn company(snapshot: &Snapshot) -> Company {
    let (connections, peers) = (&snapshot.connections, &snapshot.peers);
    let company = |tone, word, sentence| Company { tone, word, sentence, cause: None };
    if snapshot.state.suspended {
        return company(Tone::Unknown, "Off", "The node is off, and so are its connections.".to_owned());
    }
    if peers.connected == 0 {
        return alone(snapshot);
    }
    let ways = connections.paths.named().into_iter().filter(|(_, count)| *count > 0);
    let ways: Vec<_> = ways.collect();
    let are = if peers.connected == 1 { "peer is" } else { "peers are" };
    let how = match *ways {
        [(path, 1)] => way(path).to_owned(),
        [(path, _)] => format!("all {}", way(path)),
        _ => ways.iter().map(|(path, count)| format!("{count} {}", way(path))).collect::<Vec<_>>().join(", "),
    };
    let said = format!("{} {are} connected, {how}.", peers.connected);
    let links = connected(snapshot).filter_map(|peer| peer.link.as_ref());
    let mut proven = links.filter(|link| link.frames_in > 0).peekable();
    if proven.peek().is_none() {
        return company(Tone::Fair, "Connected", format!("{said} None of them has sent anything yet."));
    }
    if proven.all(|link| link.path == "relayed") {
        let said = format!("{said} What arrives goes through others, which is slower.");
        return company(Tone::Fair, "Through relays", said);
    }
    company(Tone::Good, "Connected", said)
}

fn alone(snapshot: &Snapshot) -> Company {
    let (connections, peers) = (&snapshot.connections, &snapshot.peers);
    let company = |tone, word, sentence| Company { tone, word, sentence, cause: None };
    let looks = peers.topics.iter().any(|topic| topic.found.is_some()) || connections.dialling > 0;
    match (failures(snapshot).next(), peers.known) {
        (Some(failure), known) => {
            let who = if known == 1 {
                "One peer is known and is not connected".to_owned()
            } else {
                format!("{known} peers are known and none is connected")
            };
            let phrase = failure.step.phrase();
            let cause = Cause::of(failure.reason);
            let sentence = format!("{who}; the last attempt failed while {phrase}.");
            Company { tone: Tone::Bad, word: "Nobody reached", sentence, cause }
        }
        (None, 0) if looks => {
            let said = "Nobody is connected yet; peers are being looked for.".to_owned();
            company(Tone::Fair, "Looking", said)
        }
        (None, 0) if !peers.listening.is_empty() => {
            let said = "Nobody has connected yet; this node waits for others to call.".to_owned();
            company(Tone::Fair, "Waiting", said)
        }
        (None, 0) => {
            let said = "Nobody is connected, and this node looks for nobody.".to_owned();
            company(Tone::Unknown, "Nobody", said)
        }
        (None, known) => {
            let are = if known == 1 { "peer is" } else { "peers are" };
            let said = format!("Nobody is connected now; {known} {are} known.");
            company(Tone::Fair, "Not connected", said)
        }
    }
}

/// Goes through the peers that an application is connected with.
pub fn connected(snapshot: &Snapshot) -> impl Iterator<Item = &Peer> {
    snapshot.peers.list.iter().filter(|peer| peer.state == PeerState::Connected)
}

/// Goes through the failures of peers that are not connected, the latest first.
pub fn failures(snapshot: &Snapshot) -> impl Iterator<Item = &Failure> {
    let away = snapshot.peers.list.iter().filter(|peer| peer.link.is_none());
    let mut failures: Vec<_> = away.filter_map(|peer| peer.failure.as_ref()).collect();
    failures.sort_by_key(|failure| failure.ms_ago);
    failures.into_iter()
}

/// Says which way packets go.
pub fn way(path: &str) -> &'static str {
    match path {
        "direct" => "directly",
        "lan" => "within the local network",
        "punched" => "directly, through opened routers",
        "relayed" => "through a relay",
        _ => "in an unknown way",
    }
}

/// Says how a connection's way was made.
pub fn made(link: &Link) -> String {
    let how = match link.punch.as_deref() {
        Some("opening") => ", at the first try",
        Some("consistent") => ", both with steady ports",
        Some("random") => ", one with changing ports",
        Some("predicted") => ", both with ports that could be guessed",
        _ => "",
    };
    format!("{}{how}", way(&link.path))
}

/// Names a peer's state for people, and says how good it is.
pub fn standing(peer: &Peer) -> (Tone, &'static str) {
    match peer.state {
        PeerState::Connected => match &peer.link {
            Some(link) if link.frames_in > 0 => (Tone::Good, "connected"),
            _ => (Tone::Fair, "connected, silent so far"),
        },
        PeerState::OnTrial => (Tone::Fair, "being checked"),
        PeerState::Connecting => (Tone::Fair, "connecting"),
        PeerState::Queued => (Tone::Fair, "waits for its turn"),
        PeerState::Waiting => (Tone::Fair, "tries again later"),
        PeerState::Idle if peer.failure.is_some() => (Tone::Bad, "not reached"),
        PeerState::Idle => (Tone::Unknown, "not wanted now"),
    }
}
