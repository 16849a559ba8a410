//! What a snapshot means, in words: pure functions, so that the page, the terminal, the metrics and the doctor
//! never disagree.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use node::Snapshot;
use node::snapshot::Belief;

mod company;

pub use company::{Company, company, connected, failures, made, standing, way};

/// An answer older than this is no evidence that the network is there; upkeep asks more often.
const EVIDENCE_MS_MAX: u64 = 120_000;
/// Observers that must have told our address before their agreement means something.
const OBSERVERS_MIN: usize = 4;

/// How a node stands, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The sockets are closed.
    Off,
    /// The network is being entered.
    Starting,
    /// Anybody can reach this node.
    Open,
    /// Reachable by those who punch a hole together with us.
    Punchable,
    /// Another port for every observer: holes are hard to punch.
    Hard,
    /// The network answers, and how others see us is not known yet.
    Online,
    /// The network answers badly.
    Degraded,
    /// The network does not answer.
    Offline,
}

/// Whether that is good, and how sure it is. Shown as a word and a shape, too, never by colour alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Proven by somebody outside.
    Good,
    /// It may be well; nobody outside has proven it, or it has limits.
    Fair,
    /// Something does not work.
    Bad,
    /// Not known, or not measured.
    Unknown,
}

/// A state with the evidence for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The word.
    pub standing: Standing,
    /// How good that is.
    pub tone: Tone,
    /// One sentence with the evidence and its age.
    pub sentence: String,
    /// Why, where something is wrong.
    pub cause: Option<Cause>,
}

/// Root causes, by the codes that scripts read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "`Cause::advice` says what each means")]
#[non_exhaustive]
pub enum Cause {
    NetDown,
    NoRoute,
    DnsFail,
    UdpBlocked,
    BootstrapUnreachable,
    ClockSkew,
    PortInUse,
    FdLimit,
    NatSymmetric,
    Firewalled,
    PeerNotAnnounced,
    PeerOffline,
    PeerRefused,
    PeerVersion,
    NatSymmetricBoth,
    RelayNone,
    RelayFailed,
    EclipseSuspected,
    StoreUnusable,
}

impl Cause {
    /// Returns the code of the catalogue.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NetDown => "NET_DOWN",
            Self::NoRoute => "NO_ROUTE",
            Self::DnsFail => "DNS_FAIL",
            Self::UdpBlocked => "UDP_BLOCKED",
            Self::BootstrapUnreachable => "BOOTSTRAP_UNREACHABLE",
            Self::ClockSkew => "CLOCK_SKEW",
            Self::PortInUse => "PORT_IN_USE",
            Self::FdLimit => "FD_LIMIT",
            Self::NatSymmetric => "NAT_SYMMETRIC",
            Self::Firewalled => "FIREWALLED",
            Self::PeerNotAnnounced => "PEER_NOT_ANNOUNCED",
            Self::PeerOffline => "PEER_OFFLINE",
            Self::PeerRefused => "PEER_REFUSED",
            Self::PeerVersion => "PEER_VERSION",
            Self::NatSymmetricBoth => "NAT_SYMMETRIC_BOTH",
            Self::RelayNone => "RELAY_NONE",
            Self::RelayFailed => "RELAY_FAILED",
            Self::EclipseSuspected => "ECLIPSE_SUSPECTED",
            Self::StoreUnusable => "STORE_UNUSABLE",
        }
    }

    /// Says what to do about it.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::NetDown => "Connect this computer to a network: no interface has an address.",
            Self::NoRoute => {
                "The system has no way to the network; check the default route, a VPN, or the firewall of this computer."
            }
            Self::DnsFail => {
                "Names cannot be resolved; check the name server, or name bootstrap nodes by address."
            }
            Self::UdpBlocked => {
                "TCP passes and UDP does not: a firewall or a sign-in page is in the way. Sign in, or allow outgoing UDP."
            }
            Self::BootstrapUnreachable => {
                "No bootstrap node answers; check their addresses with --bootstrap, or try again later."
            }
            Self::ClockSkew => "Set this computer's clock; signed records depend on it.",
            Self::PortInUse => "Another program uses the port; end it or choose another with --port.",
            Self::FdLimit => "Raise the limit of open files (ulimit -n).",
            Self::NatSymmetric => {
                "The router gives every connection another port. Peers behind ordinary routers can still connect; two such routers need a relay."
            }
            Self::Firewalled => {
                "Nobody can call this node unasked. Peers connect by punching through; forward the UDP port to be reachable by all."
            }
            Self::PeerNotAnnounced => {
                "Nobody announces this; a mistyped key or topic looks the same, so compare it letter by letter."
            }
            Self::PeerOffline => {
                "It was announced, and the nodes that should pass messages on to it do not answer; the program there has probably ended."
            }
            Self::PeerRefused => {
                "The program there said no: it may not know this key, or have blocked it. Ask the person there."
            }
            Self::PeerVersion => "The two programs do not understand each other; update the older one.",
            Self::NatSymmetricBoth => {
                "The routers on both sides give every connection another port; no direct way exists, and only a relay helps."
            }
            Self::RelayNone => {
                "The peer is there, and no packet finds a way between the two networks. Try another network, or name a relay."
            }
            Self::RelayFailed => "The relay did not carry the connection; try again, or name another one.",
            Self::EclipseSuspected => {
                "Most nodes known lie in one block of addresses; one owner could hide others. Name further bootstrap nodes."
            }
            Self::StoreUnusable => {
                "The data directory cannot be used; check its owner, its mode (0700) and the free space."
            }
        }
    }
}

impl Standing {
    /// The word that people read, and the label that metrics carry.
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Off => ("Off", "off"),
            Self::Starting => ("Starting", "starting"),
            Self::Open => ("Online, open", "open"),
            Self::Punchable => ("Online, punchable", "punchable"),
            Self::Hard => ("Online, hard to punch", "hard"),
            Self::Online => ("Online", "online"),
            Self::Degraded => ("Degraded", "degraded"),
            Self::Offline => ("Offline", "offline"),
        }
    }

    /// Returns the word that people read.
    pub const fn word(self) -> &'static str {
        self.names().0
    }

    /// Returns the label that metrics carry.
    pub const fn label(self) -> &'static str {
        self.names().1
    }

    /// All of them, in the order of the enum.
    pub const ALL: [Self; 8] = [
        Self::Off,
        Self::Starting,
        Self::Open,
        Self::Punchable,
        Self::Hard,
        Self::Online,
        Self::Degraded,
        Self::Offline,
    ];
}

impl Tone {
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Good => ("good", "●"),
            Self::Fair => ("fair", "◐"),
            Self::Bad => ("bad", "▲"),
            Self::Unknown => ("unknown", "○"),
        }
    }

    /// Returns the class that styles it, and the word that says it.
    pub const fn word(self) -> &'static str {
        self.names().0
    }

    /// Returns a shape that tells it without colour.
    pub const fn mark(self) -> &'static str {
        self.names().1
    }
}

/// Judges how a node stands. [`Tone::Good`] needs an answer from outside that is fresh, and for an open node a
/// call that others made.
pub fn judge(snapshot: &Snapshot) -> Verdict {
    let state = &snapshot.state;
    let verdict = |standing, tone, sentence: String, cause| Verdict { standing, tone, sentence, cause };
    if state.suspended {
        let said = "The sockets are closed; nothing is sent or received.".to_owned();
        return verdict(Standing::Off, Tone::Unknown, said, None);
    }
    let reach = &snapshot.reachability;
    if !state.bootstrapped {
        let said = format!("Asking {} bootstrap nodes the way in.", snapshot.entering.named);
        return verdict(Standing::Starting, Tone::Unknown, said, None);
    }
    if snapshot.nodes.known == 0 && snapshot.entering.named == 0 && reach.answered_ms_ago.is_none() {
        let said = "Waiting: this node was given nobody to ask, and nobody has come yet.".to_owned();
        return verdict(Standing::Starting, Tone::Unknown, said, None);
    }
    let fresh = reach.answered_ms_ago.filter(|ago| *ago <= EVIDENCE_MS_MAX);
    let Some(fresh) = fresh.filter(|_| state.online && snapshot.nodes.known > 0) else {
        return offline(snapshot);
    };
    if state.degraded {
        let said = "More than half of the requests of the last 20 seconds went unanswered.".to_owned();
        return verdict(Standing::Degraded, Tone::Bad, said, None);
    }
    let last = span(fresh);
    match (reach.openness, state.port) {
        (Belief::Proven, _) => {
            let ago =
                reach.proven_ms_ago.map_or_else(|| "earlier".into(), |ago| format!("{} ago", span(ago)));
            let said = format!("Other nodes called this one unasked {ago}; the last answer came {last} ago.");
            verdict(Standing::Open, Tone::Good, said, None)
        }
        (Belief::Assumed, _) => {
            let said = format!(
                "The last answer came {last} ago. This node is set up as open; nobody outside has tested it."
            );
            verdict(Standing::Open, Tone::Fair, said, None)
        }
        (Belief::Closed, Some(_)) => {
            let enough = reach.samples.len() >= OBSERVERS_MIN;
            let tone = if enough { Tone::Good } else { Tone::Fair };
            let said = format!("{}; the last answer came {last} ago.", nat(snapshot).sentence());
            verdict(Standing::Punchable, tone, said, Some(Cause::Firewalled))
        }
        (Belief::Closed, None) if state.randomized => {
            let said = format!("{}; the last answer came {last} ago.", nat(snapshot).sentence());
            verdict(Standing::Hard, Tone::Fair, said, Some(Cause::NatSymmetric))
        }
        (Belief::Closed, None) => {
            let said =
                format!("The last answer came {last} ago; observers do not agree yet on how they see us.");
            verdict(Standing::Online, Tone::Fair, said, None)
        }
    }
}

fn offline(snapshot: &Snapshot) -> Verdict {
    let sentence = match snapshot.reachability.answered_ms_ago {
        Some(ago) => format!("Nobody has answered for {}.", span(ago)),
        None => "No node has ever answered.".to_owned(),
    };
    let cause = if snapshot.state.interfaces.is_empty() && !is_local(snapshot) {
        Cause::NetDown
    } else if snapshot.entering.named > 0 && snapshot.entering.unresolved == snapshot.entering.named {
        Cause::DnsFail
    } else {
        Cause::BootstrapUnreachable
    };
    Verdict { standing: Standing::Offline, tone: Tone::Bad, sentence, cause: Some(cause) }
}

fn is_local(snapshot: &Snapshot) -> bool {
    let mut locals = snapshot.sockets.iter().filter_map(|socket| socket.local);
    locals.any(|local| local.ip().is_loopback())
}

/// How the router in front of a node gives out addresses, and how many observers say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nat {
    /// What they say.
    pub mapping: Mapping,
    /// Latest observers, 16 at most.
    pub observers: usize,
    /// Those that see the host and port that most see.
    pub agree: usize,
}

/// How a router maps one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// Too few observers, or they contradict each other.
    Unknown,
    /// The address is this computer's own.
    None,
    /// One address for all observers.
    Consistent,
    /// Another port for each.
    Random,
}

impl Nat {
    /// Says it with its basis.
    pub fn sentence(&self) -> String {
        let Self { observers, agree, .. } = self;
        match self.mapping {
            Mapping::Unknown => format!("{observers} observers do not agree on our address yet"),
            Mapping::None => format!("{agree} of {observers} observers see this computer's own address"),
            Mapping::Consistent => format!("{agree} of {observers} observers see one address and port"),
            Mapping::Random => format!("{observers} observers see one address and another port each"),
        }
    }

    /// Names it for people.
    pub const fn word(&self) -> &'static str {
        match self.mapping {
            Mapping::Unknown => "not known yet",
            Mapping::None => "no address translation",
            Mapping::Consistent => "consistent: one port for all",
            Mapping::Random => "random: another port for each",
        }
    }
}

/// Says what connecting with peers of each kind will be like: the kind, and the prospect.
pub fn prospects(snapshot: &Snapshot) -> [(&'static str, &'static str); 3] {
    let open = snapshot.reachability.openness == Belief::Proven;
    let (steady, changing) = match nat(snapshot).mapping {
        _ if open => ("directly, they call us", "directly, they call us"),
        Mapping::Unknown => ("not known yet", "not known yet"),
        Mapping::None => ("directly", "directly"),
        Mapping::Consistent => {
            ("directly, once both routers are opened", "mostly directly, after some seconds of trying")
        }
        Mapping::Random => (
            "mostly directly, after some seconds of trying",
            "seldom, if ports can be guessed; else through a relay",
        ),
    };
    [
        ("open to everybody", "directly"),
        ("behind routers with steady ports", steady),
        ("behind routers with changing ports", changing),
    ]
}

/// Writes a count with its noun.
pub fn counted(count: usize, noun: &str) -> String {
    let end = match (count, noun.ends_with('s')) {
        (1, _) => "",
        (_, false) => "s",
        (_, true) => "es",
    };
    format!("{count} {noun}{end}")
}

/// Tells how the router maps this node, and by whose word.
pub fn nat(snapshot: &Snapshot) -> Nat {
    let samples = &snapshot.reachability.samples;
    let mut seen: BTreeMap<SocketAddrV4, usize> = BTreeMap::new();
    for sample in samples {
        *seen.entry(*sample).or_default() += 1;
    }
    let agree = seen.values().max().copied().unwrap_or_default();
    let state = &snapshot.state;
    let own = state.host.is_some_and(|host| host.is_loopback() || state.interfaces.contains(&host));
    let mapping = match (state.host, state.port) {
        (None, _) => Mapping::Unknown,
        (Some(_), Some(_)) if own => Mapping::None,
        (Some(_), Some(_)) => Mapping::Consistent,
        (Some(_), None) => Mapping::Random,
    };
    Nat { mapping, observers: samples.len(), agree }
}

/// The block of addresses that holds most of the table, where one stands out: its nodes and all.
pub fn skew(snapshot: &Snapshot) -> Option<(Ipv4Addr, usize, usize)> {
    let table = &snapshot.nodes.table;
    let mut blocks: BTreeMap<[u8; 3], usize> = BTreeMap::new();
    for node in table.iter().filter(|node| !node.address.ip().is_loopback()) {
        let [a, b, c, _] = node.address.ip().octets();
        *blocks.entry([a, b, c]).or_default() += 1;
    }
    let public: usize = blocks.values().sum();
    let ([a, b, c], most) = blocks.into_iter().max_by_key(|(_, count)| *count)?;
    (public >= 20 && most * 100 > public * 15).then_some((Ipv4Addr::new(a, b, c, 0), most, public))
}

/// Writes a time for people: one figure and its unit.
pub fn span(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{} s", ms / 1_000),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        7_200_000..172_800_000 => format!("{} h", ms / 3_600_000),
        _ => format!("{} days", ms / 86_400_000),
    }
}

/// Writes a number of bytes for people.
#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = UNITS[0];
    for larger in &UNITS[1..] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    if value < 10.0 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

/// Writes a whole number in groups of three digits.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// Whether addresses of others are written out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// Only the first half of each.
    Masked,
    /// As they are.
    Addresses,
}

impl Show {
    /// Writes an address as far as it may be seen.
    pub fn address(self, address: SocketAddrV4) -> String {
        match self {
            Self::Addresses => address.to_string(),
            Self::Masked => format!("{}:•", self.host(*address.ip())),
        }
    }

    /// Writes an address of either family as far as it may be seen.
    pub fn socket(self, address: SocketAddr) -> String {
        match (address, self) {
            (SocketAddr::V4(address), _) => self.address(address),
            (SocketAddr::V6(address), Self::Addresses) => address.to_string(),
            (SocketAddr::V6(_), Self::Masked) => "•".into(),
        }
    }

    /// Writes a host as far as it may be seen.
    pub fn host(self, host: Ipv4Addr) -> String {
        match self {
            Self::Addresses => host.to_string(),
            Self::Masked => {
                let [a, b, ..] = host.octets();
                format!("{a}.{b}.•.•")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_for_people() {
        let spans = [999, 1_000, 119_999, 120_000, 7_199_999, 7_200_000, 172_800_000].map(span);
        assert_eq!(spans, ["999 ms", "1 s", "119 s", "2 min", "119 min", "2 h", "2 days"]);
        let sizes = [0, 1023, 1024, 10_240, 1 << 20, 5 << 30].map(bytes);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "10 KiB", "1.0 MiB", "5.0 GiB"]);
        assert_eq!([7, 1234, 1_234_567].map(grouped), ["7", "1\u{202f}234", "1\u{202f}234\u{202f}567"]);
    }

    #[test]
    fn a_masked_address_shows_no_more_than_its_first_half() {
        let address = "203.0.113.7:4567".parse().unwrap();
        assert_eq!(Show::Masked.address(address), "203.0.•.•:•");
        assert_eq!(Show::Addresses.address(address), "203.0.113.7:4567");
    }
}
