//! "Why can I not connect?": checks that each end in one sentence, and one root cause for all of them.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

use node::{Bootstrap, Call, Command, Config, Id, Node, PublicKey, Snapshot, SpawnError, Standing};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use crate::words::{self, Cause, Mapping};

mod local;
mod peers;
mod report;

pub use report::{Finding, Grade, Report};

/// The longest wait for the network, for all that is asked at one time; with the rest it stays below 8 s.
const PATIENCE: Duration = Duration::from_millis(4_500);
/// The longest wait for one more question after that.
const SHORT_PATIENCE: Duration = Duration::from_millis(2_500);
/// All checks end within this, but for what it takes to leave the network.
const BUDGET: Duration = Duration::from_millis(7_500);
/// Nodes asked to call back.
const CALLERS: usize = 3;
/// How long the fresh node may take to leave.
const FAREWELL: Duration = Duration::from_millis(400);
/// Nodes of a running node's table that are pinged.
const PINGED: usize = 8;

/// What to examine.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How the fresh node that asks is set up; it is made ephemeral.
    pub config: Config,
    /// What should be found, if anything.
    pub wanted: Option<Wanted>,
    /// The data directory to look at, if there is one.
    pub data_dir: Option<PathBuf>,
}

/// What should be found in the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Whoever announces a topic.
    Topic(Id<32>),
    /// Whoever is reachable by a key.
    Key(PublicKey),
}

/// Examines this computer and its network with a fresh node.
pub async fn examine(plan: Plan) -> Report {
    let begun = Instant::now();
    let mut report = Report::default();
    report.add(local::clock());
    report.add(local::files());
    if let Some(dir) = &plan.data_dir {
        report.add(local::directory(dir));
    }
    let wanted = plan.wanted;
    let config = Config { standing: Standing::Ephemeral, ..plan.config };
    let bootstrap = config.bootstrap.clone();
    let node = match Node::spawn(config).await {
        Ok(node) => node,
        Err(error) => {
            report.add(bind_failed(&error));
            return report;
        }
    };
    report.add(Finding::fine("socket", "Two UDP sockets could be opened."));
    entering(&node, &bootstrap, &mut report).await;
    if report.root().is_none() {
        surroundings(&node, &mut report).await;
        if let Some(wanted) = wanted {
            peers::search(&node, wanted, begun + BUDGET, &mut report).await;
        }
    }
    // Whoever asked has the report; how the node ended does not matter.
    drop(timeout(FAREWELL, node.shutdown()).await);
    report
}

/// Examines a node that runs, by what it knows and what the nodes it knows answer now.
pub async fn examine_running(node: &Node) -> Report {
    let begun = Instant::now();
    let mut report = Report::default();
    report.add(local::clock());
    report.add(local::files());
    let Ok(snapshot) = node.snapshot().await else {
        report.add(Finding::skipped("node", "The node was shut down."));
        return report;
    };
    let verdict = words::judge(&snapshot);
    if snapshot.state.suspended {
        report.add(Finding::skipped("network", "The node is suspended, so the network was not asked."));
        return report;
    }
    let table: Vec<_> = snapshot.nodes.table.iter().take(PINGED).map(|node| node.address).collect();
    let asked = table.len();
    let answered = ping_all(node, table).await;
    report.add(match (asked, answered, verdict.cause) {
        (0, _, cause) if snapshot.entering.named > 0 => {
            Finding::fault("network", cause.unwrap_or(Cause::BootstrapUnreachable), verdict.sentence.clone())
        }
        (0, ..) => Finding::skipped("network", "No other node is known yet."),
        (_, 0, _) => {
            let sentence = format!("None of {asked} known nodes answered a ping just now.");
            Finding::fault("network", Cause::BootstrapUnreachable, sentence)
        }
        _ => Finding::fine("network", format!("{answered} of {asked} known nodes answered a ping just now.")),
    });
    if answered > 0 {
        mapping(&snapshot, &mut report);
        blocks(&snapshot, &mut report);
        let late = || Finding::skipped("announced", "A fresh node did not end its look-ups in time.");
        let announced = timeout_at(begun + BUDGET, peers::announced(node, &snapshot)).await;
        if let Some(finding) = announced.unwrap_or_else(|_| Some(late())) {
            report.add(finding);
        }
    }
    peers::known(&snapshot, &mut report);
    report
}

fn bind_failed(error: &SpawnError) -> Finding {
    let (SpawnError::Bind(_, kind) | SpawnError::Entropy(kind)) = error else {
        return Finding::fault("socket", Cause::PortInUse, "The sockets could not be opened.");
    };
    match kind.kind() {
        std::io::ErrorKind::AddrNotAvailable => {
            Finding::fault("socket", Cause::NetDown, "The address to listen on is not one of this computer.")
        }
        _ if kind.raw_os_error() == Some(nix::errno::Errno::EMFILE as i32) => {
            Finding::fault("socket", Cause::FdLimit, "The system allows this process no further files.")
        }
        _ => Finding::fault("socket", Cause::PortInUse, "The UDP port is taken."),
    }
}

/// Enters the network, and asks every bootstrap node by itself meanwhile.
async fn entering(node: &Node, bootstrap: &[Bootstrap], report: &mut Report) {
    let named = bootstrap.len();
    let (ready, (addresses, answered)) =
        tokio::join!(timeout(PATIENCE, node.ready()), ask_bootstrap(node, bootstrap));
    let Ok(snapshot) = node.snapshot().await else { return };
    let known = snapshot.nodes.known;
    if answered > 0 || known > 0 {
        report.add(match answered {
            _ if answered == named => {
                Finding::fine("bootstrap", format!("All {named} bootstrap nodes answer."))
            }
            0 => Finding::note(
                "bootstrap",
                Cause::BootstrapUnreachable,
                format!("None of {named} bootstrap nodes answers; nodes known from before do."),
            ),
            _ => Finding::note(
                "bootstrap",
                Cause::BootstrapUnreachable,
                format!("Only {answered} of {named} bootstrap nodes answer, which is enough."),
            ),
        });
        let took = snapshot.entering.took_ms.map(words::span);
        report.add(match (ready, took) {
            (Ok(_), Some(took)) => Finding::fine(
                "entering",
                format!("The network was entered in {took}, and {known} nodes are known."),
            ),
            _ => Finding::note(
                "entering",
                Cause::BootstrapUnreachable,
                "Somebody answers, and the network is not entered yet.".to_owned(),
            ),
        });
        return;
    }
    report.add(nobody_answers(&snapshot, &addresses, named).await);
}

/// Finds out why no bootstrap node answers.
async fn nobody_answers(snapshot: &Snapshot, addresses: &[SocketAddrV4], named: usize) -> Finding {
    let local = addresses.iter().any(|address| address.ip().is_loopback());
    if snapshot.state.interfaces.is_empty() && !local {
        return Finding::fault("bootstrap", Cause::NetDown, "No interface of this computer has an address.");
    }
    if named > 0 && addresses.is_empty() {
        return Finding::fault("bootstrap", Cause::DnsFail, "No name of a bootstrap node could be resolved.");
    }
    let refused: u64 = snapshot.sockets.iter().map(|socket| socket.dropped_out).sum();
    let sent: u64 = snapshot.sockets.iter().map(|socket| socket.packets_out).sum();
    if sent == 0 && refused > 0 {
        return Finding::fault(
            "bootstrap",
            Cause::NoRoute,
            "The system refuses to send to the bootstrap nodes.",
        );
    }
    let reached = reached_by_tcp(addresses).await;
    if !local && reached >= 2 {
        let sentence = format!("{reached} bootstrap hosts answer TCP, and none answers UDP.");
        return Finding::fault("bootstrap", Cause::UdpBlocked, sentence);
    }
    Finding::fault(
        "bootstrap",
        Cause::BootstrapUnreachable,
        format!("None of {named} bootstrap nodes answers."),
    )
}

/// A host that accepts or refuses a connection is there; one that is silent may not be.
async fn reached_by_tcp(addresses: &[SocketAddrV4]) -> usize {
    let mut tries = JoinSet::new();
    let mut hosts: Vec<Ipv4Addr> = addresses.iter().map(|address| *address.ip()).collect();
    hosts.sort_unstable();
    hosts.dedup();
    for host in hosts.into_iter().take(PINGED) {
        tries.spawn(async move {
            match timeout(SHORT_PATIENCE, TcpStream::connect((host, 443))).await {
                Ok(Ok(_)) => true,
                Ok(Err(error)) => error.kind() == std::io::ErrorKind::ConnectionRefused,
                Err(_) => false,
            }
        });
    }
    tries.join_all().await.into_iter().filter(|reached| *reached).count()
}

/// Returns the addresses of the bootstrap nodes, and how many of the nodes answer.
async fn ask_bootstrap(node: &Node, bootstrap: &[Bootstrap]) -> (Vec<SocketAddrV4>, usize) {
    let mut addresses = Vec::new();
    for entry in bootstrap {
        match entry {
            Bootstrap::Address(address) => addresses.push(*address),
            Bootstrap::Name { hint: Some(host), port, .. } => addresses.push(SocketAddrV4::new(*host, *port)),
            Bootstrap::Name { host, port, hint: None } => {
                let found = timeout(SHORT_PATIENCE, tokio::net::lookup_host((host.as_str(), *port))).await;
                let found = found.ok().and_then(Result::ok).into_iter().flatten();
                addresses.extend(
                    found
                        .filter_map(|address| match address {
                            std::net::SocketAddr::V4(address) => Some(address),
                            std::net::SocketAddr::V6(_) => None,
                        })
                        .take(1),
                );
            }
        }
    }
    let answered = ping_all(node, addresses.clone()).await;
    (addresses, answered)
}

async fn ping_all(node: &Node, addresses: Vec<SocketAddrV4>) -> usize {
    let mut pings = JoinSet::new();
    for address in addresses {
        let node = node.clone();
        pings.spawn(async move { matches!(timeout(PATIENCE, node.ping(address)).await, Ok(Ok(_))) });
    }
    pings.join_all().await.into_iter().filter(|answered| *answered).count()
}

/// What the network says of this node.
async fn surroundings(node: &Node, report: &mut Report) {
    let Ok(snapshot) = node.snapshot().await else { return };
    mapping(&snapshot, report);
    let callers = snapshot.nodes.table.iter().take(CALLERS).map(|node| node.address);
    let callers: Vec<_> = callers.collect();
    let asked = callers.len();
    let calls = called_back(node, callers).await;
    report.add(match (asked, calls) {
        (0, _) => Finding::skipped("reachability", "No node is known that could call back."),
        (_, 0) => Finding::note(
            "reachability",
            Cause::Firewalled,
            format!("None of {asked} nodes could call this computer unasked."),
        ),
        _ => Finding::fine("reachability", format!("{calls} of {asked} nodes called this computer unasked.")),
    });
    blocks(&snapshot, report);
}

/// Asks nodes to call at the port that nothing was sent from; returns how many calls arrived.
async fn called_back(node: &Node, callers: Vec<SocketAddrV4>) -> usize {
    let port = node.server_address().port().to_le_bytes();
    let mut calls = JoinSet::new();
    for to in callers {
        let node = node.clone();
        let call = Call { to, command: Command::PING_NAT, target: None, value: Some(port.to_vec()) };
        calls.spawn(async move { matches!(timeout(SHORT_PATIENCE, node.call(call)).await, Ok(Ok(_))) });
    }
    calls.join_all().await.into_iter().filter(|arrived| *arrived).count()
}

fn mapping(snapshot: &Snapshot, report: &mut Report) {
    let nat = words::nat(snapshot);
    let sentence = format!("{}.", nat.sentence());
    report.add(match nat.mapping {
        Mapping::Unknown => Finding::skipped("address", sentence),
        Mapping::None | Mapping::Consistent => Finding::fine("address", sentence),
        Mapping::Random => Finding::note("address", Cause::NatSymmetric, sentence),
    });
}

fn blocks(snapshot: &Snapshot, report: &mut Report) {
    if let Some((_, most, all)) = words::skew(snapshot) {
        let sentence = format!("{most} of {all} nodes known are in one block of 256 addresses.");
        report.add(Finding::note("neighbours", Cause::EclipseSuspected, sentence));
    }
}
