//! Who may know whom, as ARCHITECTURE.md draws it.

/// A crate of the workspace.
pub(crate) struct Room {
    /// Folder below `crates`.
    pub(crate) name: &'static str,
    /// Crates that its code may use; tests may use any.
    pub(crate) knows: &'static [&'static str],
    /// Lines of code before tests above which it is time for a record of why, or for a diet.
    pub(crate) lines_max: usize,
}

const fn room(name: &'static str, knows: &'static [&'static str], lines_max: usize) -> Room {
    Room { name, knows, lines_max }
}

/// Crates that hold machines: no clock, no entropy, no sockets, no threads, no files, no runtime.
const MACHINES: &[&str] = &["wire", "pace", "dht", "discovery", "udx", "peer", "swarm", "tooldb", "chart"];

pub(crate) const ROOMS: &[Room] = &[
    room("wire", &[], 3_200),
    room("pace", &[], 600),
    room("dht", &["wire", "pace"], 7_400),
    room("discovery", &["wire", "pace"], 2_400),
    room("udx", &["wire", "pace"], 4_000),
    room("peer", &["wire", "pace", "udx"], 4_500),
    room("swarm", &["wire", "pace", "dht", "peer", "udx"], 5_300),
    room("tooldb", &["pace"], 4_600),
    room("chart", &["pace"], 4_600),
    room("node", MACHINES, 4_900),
    room("db", &["tooldb", "pace", "wire", "node", "discovery"], 4_200),
    room("vault", &["chart"], 2_600),
    room("web", &[], 700),
    room("monitor", &["node", "web"], 4_200),
    room("pehr", &["node", "chart", "vault", "web", "monitor"], 5_000),
    room("cli", &["wire", "pace", "dht", "node", "monitor", "db", "tooldb"], 3_900),
    room("sim", MACHINES, 2_700),
];

pub(crate) fn is_machine(krate: &str) -> bool {
    MACHINES.contains(&krate)
}
