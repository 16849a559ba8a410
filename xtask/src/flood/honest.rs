use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;
use wire::Id;

use crate::bench::author::id_of;
use crate::bench::process::{Program, homing};
use crate::bench::routine::Ending;

/// Honest nodes around the flooded one, enough that its answers name as many as fit.
const NEIGHBOURS: &str = "30";

/// Look-ups start this far apart.
const LOOKUP_PERIOD: Duration = Duration::from_secs(1);

/// Longest that one look-up may take, with its own start.
const LOOKUP_MAX: Duration = Duration::from_secs(20);

/// The honest network around the flooded node.
pub(crate) struct Neighbourhood {
    _nodes: Program,
    _announcer: Program,
}

/// A topic that the node is closest to, so that whoever announces it does so there.
pub(crate) fn topic_at(node: SocketAddrV4) -> Id<32> {
    let mut topic = id_of(node);
    topic.0[31] ^= 1;
    topic
}

impl Neighbourhood {
    /// Nodes that join through the flooded one, and a peer that announces a topic.
    pub(crate) fn around(node: SocketAddrV4, topic: Id<32>) -> Result<Self> {
        let nodes = start(&["testnet", NEIGHBOURS], node)?;
        nodes.wait_for("ready")?;
        let announcer = start(&["announce", &topic.to_string()], node)?;
        announcer.wait_for("announced")?;
        Ok(Self { _nodes: nodes, _announcer: announcer })
    }
}

fn start(command: &[&str], bootstrap: SocketAddrV4) -> Result<Program> {
    let bootstrap = bootstrap.to_string();
    Program::start(homing()?.args(command).args(["--bootstrap", &bootstrap, "--until-stdin-closes"]))
}

/// How look-ups fared.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lookups {
    pub(crate) made: u32,
    /// Those that found the announced peer.
    pub(crate) found: u32,
}

/// Looks the topic up again and again, each time as a new client, until told to end.
pub(crate) fn look_up(node: SocketAddrV4, topic: Id<32>, ending: &Ending) -> Result<Lookups> {
    let mut lookups = Lookups::default();
    while !ending.is_wanted() {
        let start = Instant::now();
        let lines = look_up_once(node, topic)?;
        lookups.made += 1;
        lookups.found += u32::from(lines.iter().any(|line| line["event"] == "peer"));
        std::thread::park_timeout(LOOKUP_PERIOD.saturating_sub(start.elapsed()));
    }
    Ok(lookups)
}

fn look_up_once(node: SocketAddrV4, topic: Id<32>) -> Result<Vec<Value>> {
    let (topic, bootstrap) = (topic.to_string(), node.to_string());
    let program = Program::start(homing()?.args(["lookup", &topic, "--bootstrap", &bootstrap]))?;
    let mut lines = Vec::new();
    // A client that fails ends without a last line, which counts as not found.
    while let Ok(line) = program.line(LOOKUP_MAX) {
        let done = line["event"] == "done";
        lines.push(line);
        if done {
            break;
        }
    }
    Ok(lines)
}
