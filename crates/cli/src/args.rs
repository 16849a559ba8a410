use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{ArgGroup, Args, Parser, Subcommand};
use node::channel::Source;
use node::{
    Bootstrap, Id, KeyPair, ParseBootstrapError, Paths, Permit, PublicKey, RelayLimits, RelayOptions,
    RelayPolicy,
};

use crate::commands::db;
use crate::exit::Failed;
use crate::topic::Topic;

/// Find and be found on a HyperDHT network.
#[derive(Debug, Parser)]
#[command(name = "homing", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0    done; also a node, bootstrap, testnet or announce that was told to end
  1    failed, or not found
  2    wrong use
  3    the network cannot be reached
  4    this computer refused: port taken, directory in use, file unreadable
  130  interrupted before it was done

A TOPIC is 64 hexadecimal digits, or 40 on Mainline, or a text, which is hashed: with SHA-256, on Mainline with
SHA-1.";

/// A network to be on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum On {
    /// HyperDHT.
    Hyper,
    /// The BitTorrent Mainline DHT.
    Mainline,
}

const DOCTOR_HELP: &str = "\
Examples:
  homing doctor
  homing doctor --topic 'my program'
  homing doctor --bootstrap 127.0.0.1:40000 --report report.txt

Exit codes of this command:
  0   no fault found
  30  what was looked for is not there
  40  a fault of the network
  50  a fault of this computer";

/// Options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Network and output")]
pub(crate) struct Global {
    /// Print one JSON object a line.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Node to enter the network by: host:port or ip@host:port; repeats. [default: the public network]
    #[arg(long = "bootstrap", global = true, value_name = "HOST:PORT", env = "HOMING_BOOTSTRAP")]
    #[arg(hide_env_values = true)]
    entries: Vec<Entries>,
    /// Directory of the node: its lock, key, saved nodes and control socket.
    #[arg(long, global = true, value_name = "DIR", env = "HOMING_DATA_DIR", hide_env_values = true)]
    #[arg(value_parser = OsStringValueParser::new().map(PathBuf::from))]
    data_dir: Option<PathBuf>,
    /// Port that others reach this node by: UDP, or TCP for a database.
    #[arg(long, global = true, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// Local address to listen on. [default: all, or 127.0.0.1 where the network is on loopback] For a database,
    /// the name or address that others are told.
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub(crate) host: Option<String>,
    /// End when standard input does, for harnesses.
    #[arg(long, global = true)]
    pub(crate) until_stdin_closes: bool,
    /// Log more to standard error; repeats. `HOMING_LOG=debug` does the same.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

impl Global {
    /// The bootstrap nodes that were named, if any.
    pub(crate) fn bootstrap(&self) -> Vec<Bootstrap> {
        self.entries.iter().flat_map(|Entries(entries)| entries).cloned().collect()
    }

    /// The local address that was named.
    pub(crate) fn host(&self) -> Result<Option<Ipv4Addr>, Failed> {
        let parsed = self.host.as_ref().map(|host| host.parse());
        parsed.transpose().map_err(|_| Failed::usage("--host must be an IPv4 address of this computer"))
    }

    /// The name or address that others are told of a database.
    pub(crate) fn announced_host(&self) -> Option<&str> {
        self.host.as_deref()
    }

    /// The directory that was named; as for bootstrap nodes, an empty variable names none.
    pub(crate) fn data_dir(&self) -> Option<&Path> {
        self.data_dir.as_deref().filter(|dir| !dir.as_os_str().is_empty())
    }
}

/// Bootstrap nodes, separated by commas.
#[derive(Clone, Debug)]
struct Entries(Vec<Bootstrap>);

impl FromStr for Entries {
    type Err = ParseBootstrapError;

    fn from_str(text: &str) -> Result<Self, ParseBootstrapError> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        entries.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a node that others enter a network by.
    #[command(after_help = "Examples:
  homing bootstrap --host 192.0.2.7
  homing bootstrap --host 127.0.0.1 --port 40000 --json
  homing bootstrap --network mainline --host 127.0.0.1 --port 40001")]
    Bootstrap {
        /// Which network.
        #[arg(long, value_enum, default_value_t = On::Hyper)]
        network: On,
    },

    /// Run a private network of N persistent nodes on this computer.
    #[command(after_help = "Examples:
  homing testnet 20
  homing testnet 20 --port 40000 --json
  homing testnet 20 --network mainline
  homing testnet 5 --bootstrap 127.0.0.1:40000   (join that network instead of making one)")]
    Testnet {
        /// How many nodes.
        #[arg(value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
        nodes: u16,
        /// Which network.
        #[arg(long, value_enum, default_value_t = On::Hyper)]
        network: On,
    },

    /// Run a node.
    #[command(after_help = "Examples:
  homing node
  homing node --persistent --open --port 49737
  homing node --data-dir /var/lib/homing --json
  homing node --monitor 127.0.0.1:0               (prints where to look)
  homing snapshot                                (asks the running node)")]
    Node(NodeArgs),

    /// Announce a key under a topic for as long as this runs; on Mainline, a port.
    #[command(after_help = "Examples:
  homing announce 'my program'
  homing announce 'my program' --key-file me.key
  homing announce 'my program' --port 9000 --on mainline
  homing announce 'my program' --once            (others find it for the next 13 to 27 minutes)
  homing announce 'my program' --port 9000 --on hyper,mainline,mdns")]
    Announce {
        /// What to be found under.
        topic: Topic,
        #[command(flatten)]
        key: KeyArgs,
        /// Announce once and end, without unannouncing.
        #[arg(long)]
        once: bool,
        #[command(flatten)]
        on: OnArgs,
    },

    /// Remove an announcement.
    #[command(after_help = "Examples:
  homing unannounce 'my program' --key-file me.key")]
    Unannounce {
        /// What it was announced under.
        topic: Topic,
        #[command(flatten)]
        key: RequiredKeyArgs,
    },

    /// Find who announced a topic.
    #[command(after_help = "Examples:
  homing lookup 'my program'
  homing lookup 'my program' --on mainline --watch
  homing lookup 'my program' --on hyper,mainline,mdns --watch
  homing lookup 2a8c4f0e6b1d3f5a7c9e0b2d4f6a8c0e1b3d5f7a9c0e2b4d6f8a0c1e3b5d7f90 --json")]
    Lookup {
        /// What they announced.
        topic: Topic,
        /// Look for as long as this runs, and tell who comes and who goes.
        #[arg(long)]
        watch: bool,
        #[command(flatten)]
        on: OnArgs,
    },

    /// Estimate how many share a topic on Mainline.
    #[command(after_help = "Examples:
  homing scrape 'my program'
  homing scrape 28074e261f4f545485d5d233a2f4ac82f9d8fe66 --json")]
    Scrape {
        /// What they announced.
        topic: Topic,
    },

    /// Find the nodes that pass handshakes on to a key.
    #[command(after_help = "Examples:
  homing find-peer 8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c")]
    FindPeer {
        /// Its 64 hexadecimal digits.
        key: PublicKey,
    },

    /// Ask one node whether it is there.
    #[command(after_help = "Examples:
  homing ping 127.0.0.1:40000
  homing ping node1.hyperdht.org:49737 --json")]
    Ping {
        /// The node.
        #[arg(value_name = "HOST:PORT")]
        to: String,
    },

    /// Store a value under its hash, or with a key, a signed value under the key.
    #[command(after_help = "Examples:
  homing put 'hello'
  homing put - < note.txt
  homing put 'hello again' --key-file me.key      (reads the sequence number from the network and adds one)
  homing put 'hello again' --key-file me.key --seq 7")]
    Put {
        /// The value, 1,200 bytes at most; - reads standard input.
        value: String,
        #[command(flatten)]
        key: KeyArgs,
        /// Sequence number of a signed value; nodes refuse one that is not above theirs.
        #[arg(long, value_name = "N", requires = "KeyArgs")]
        seq: Option<u64>,
        /// Where; on Mainline the value is stored as a bencoded byte string, 1,000 bytes with its length.
        #[arg(long, value_enum, default_value_t = On::Hyper)]
        on: On,
    },

    /// Read a value by its hash, or a signed value by its key.
    #[command(after_help = "Examples:
  homing get 324dcf027dd4a30a932c441f365a25e86b173defa4b8e58948253471b81b72cf
  homing get --key 8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c --seq 3
  homing get --mainline e5f96f6f38320f0f33959cb4d3d656452117aadb")]
    Get(GetArgs),

    /// Create a key file.
    #[command(after_help = "Examples:
  homing keygen me.key
  homing keygen                                   (the key of the node in the data directory)")]
    Keygen {
        /// File to create, with mode 0600. [default: the data directory's]
        file: Option<PathBuf>,
        /// 64 hexadecimal digits to make it from. [default: random]
        #[arg(long, value_name = "HEX")]
        seed: Option<Id<32>>,
    },

    /// Serve and use a Tool Db database.
    #[command(after_help = "Examples:
  homing db serve --host 127.0.0.1
  homing db put greeting '{\"text\":\"hi\"}'
  homing db get greeting")]
    Db(Box<db::DbArgs>),

    /// Talk with everybody who joined a topic.
    #[command(after_help = "Examples:
  homing chat 'garden club'
  homing chat 'garden club' --key-file me.key     (with the same key each time)")]
    Chat {
        /// What to meet under.
        topic: Topic,
        #[command(flatten)]
        key: KeyArgs,
        #[command(flatten)]
        paths: PathArgs,
        /// Serve the monitor's pages at this address of loopback; port 0 is any.
        #[arg(long, value_name = "ADDRESS")]
        monitor: Option<SocketAddr>,
    },

    /// Serve a key: accept encrypted connections from whoever knows it, or finds it on a topic.
    #[command(after_help = "Examples:
  homing listen                                  (standard input and output belong to the first peer)
  homing listen --topic photos | tar x           (the other side: tar c . | homing connect --topic photos)
  homing listen --key-file me.key --echo         (send everything back, to everybody)
  homing listen --sink --json                    (count and hash what peers send)")]
    Listen(ListenArgs),

    /// Connect standard input and output to whoever serves a key, or to the first peer of a topic.
    #[command(after_help = "Examples:
  homing connect 8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c
  homing connect --topic photos                  (waits until somebody is there)
  tar c photos | homing connect KEY              (the other side: homing listen | tar x)")]
    Connect(ConnectArgs),

    /// Pass packets on between peers that do not reach each other; what they say stays theirs.
    #[command(after_help = "Examples:
  homing relay --open --port 49737               (peers name it: homing connect KEY --relay THIS-KEY)
  homing relay --public --key-file relay.key     (be found by whoever needs a relay)
  homing relay --kib-per-second 1024 --mib-hour 2048 --clients 32 --json")]
    Relay(Box<RelayArgs>),

    /// Show the state of the running node, or of a new one if none runs.
    #[command(after_help = "Examples:
  homing snapshot
  homing snapshot --data-dir /var/lib/homing --json
  homing snapshot --json --watch                  (of the running node, once a second)")]
    Snapshot {
        /// Go on, once a second, until told to end.
        #[arg(long)]
        watch: bool,
    },

    /// Watch the running node on the terminal.
    #[command(after_help = "Examples:
  homing top
  homing top --monitor 127.0.0.1:8337 --token-file monitor.token   (a node elsewhere, through a tunnel)
  homing top --once")]
    Top {
        /// Ask the monitor at this address instead of the node in the data directory.
        #[arg(long, value_name = "ADDRESS:PORT", requires = "token_file")]
        monitor: Option<SocketAddr>,
        /// File that holds the monitor's token.
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
        /// Print one screen and end.
        #[arg(long)]
        once: bool,
    },

    /// Find out why it does not work.
    #[command(after_help = DOCTOR_HELP)]
    Doctor {
        /// Also look for whoever announces this topic.
        #[arg(long, conflicts_with = "key")]
        topic: Option<Topic>,
        /// Also look for whoever is reachable by this key.
        #[arg(long)]
        key: Option<PublicKey>,
        /// Write the report, which holds no address, key or topic, to a file.
        #[arg(long, value_name = "FILE")]
        report: Option<PathBuf>,
    },

    /// Start a private network, use every part of it, and check the results.
    #[command(after_help = "Examples:
  homing demo
  homing demo --nodes 100 --json")]
    Demo {
        /// Nodes of the private network.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(5..))]
        nodes: u16,
    },
}

/// What a node believes of itself.
#[derive(Clone, Debug, Args)]
pub(crate) struct NodeArgs {
    /// Let others store this node as soon as its address is known, instead of after 20 minutes.
    #[arg(long)]
    pub(crate) persistent: bool,
    /// Never let others store this node.
    #[arg(long, conflicts_with = "persistent")]
    pub(crate) ephemeral: bool,
    /// Believe that others can reach the port, without a test.
    #[arg(long)]
    pub(crate) open: bool,
    /// Serve the monitor's pages at this address of loopback; port 0 is any.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) monitor: Option<SocketAddr>,
}

/// A key that may be given.
#[derive(Clone, Debug, Args)]
#[group(multiple = false)]
pub(crate) struct KeyArgs {
    /// 64 hexadecimal digits that the key is made from; others on this computer can see them.
    #[arg(long, value_name = "HEX")]
    pub(crate) seed: Option<Id<32>>,
    /// Key file, as `homing keygen` makes it.
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
}

impl KeyArgs {
    /// Reads the key, if one was named.
    pub(crate) fn read(&self) -> Result<Option<KeyPair>, Failed> {
        Ok(self.seed()?.map(KeyPair::from_seed))
    }

    /// Reads what the key is made from, if one was named.
    pub(crate) fn seed(&self) -> Result<Option<[u8; 32]>, Failed> {
        Ok(match (&self.seed, &self.key_file) {
            (Some(seed), _) => Some(seed.0),
            (None, Some(file)) => Some(node::read_key(file)?),
            (None, None) => None,
        })
    }
}

/// Which networks a channel uses.
#[derive(Clone, Debug, Args)]
pub(crate) struct OnArgs {
    /// Networks to use, of hyper, mainline, mdns and dns. With another than hyper, --port is what is announced.
    #[arg(long, value_name = "NETWORK,..", value_delimiter = ',', default_value = "hyper")]
    pub(crate) on: Vec<Source>,
    /// Also use the name that npm dns-discovery gives the topic; the local network can read it.
    #[arg(long)]
    pub(crate) compatible: bool,
    /// Server of npm dns-discovery, for --on dns; repeats.
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) dns_server: Vec<SocketAddrV4>,
}

/// A key that must be given.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct RequiredKeyArgs {
    /// 64 hexadecimal digits that the key is made from; others on this computer can see them.
    #[arg(long, value_name = "HEX")]
    pub(crate) seed: Option<Id<32>>,
    /// Key file, as `homing keygen` makes it.
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
}

impl From<RequiredKeyArgs> for KeyArgs {
    fn from(key: RequiredKeyArgs) -> Self {
        Self { seed: key.seed, key_file: key.key_file }
    }
}

/// By which ways a connection may come about.
#[derive(Clone, Debug, Args)]
pub(crate) struct PathArgs {
    /// Do not tell or try addresses of the same network.
    #[arg(long)]
    pub(crate) no_lan: bool,
    /// Do not test whether others reach this computer: punch holes as if they did not.
    #[arg(long)]
    pub(crate) firewalled: bool,
    /// Relay to propose to the peer, 64 hexadecimal digits; repeats, and one is chosen. [default: one that is
    /// found, where nothing else helps]
    #[arg(long = "relay", value_name = "KEY", conflicts_with = "no_relay")]
    relays: Vec<PublicKey>,
    /// Use no relay, whoever proposes it.
    #[arg(long)]
    no_relay: bool,
    /// Use this kind of path alone.
    #[arg(long, value_enum, value_name = "PATH", conflicts_with = "no_relay")]
    only: Option<OnlyPath>,
}

/// A kind of path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum OnlyPath {
    /// Between the two computers.
    Direct,
    /// Through a relay.
    Relay,
    /// In the same network.
    Lan,
}

impl PathArgs {
    /// Which relays are proposed.
    pub(crate) fn through(&self) -> RelayPolicy {
        match (self.no_relay, &*self.relays) {
            (true, _) => RelayPolicy::Never,
            (false, []) => RelayPolicy::Found,
            (false, relays) => RelayPolicy::These(relays.into()),
        }
    }

    /// Which paths may be used.
    pub(crate) fn paths(&self) -> Paths {
        match self.only {
            None => Paths::Any,
            Some(OnlyPath::Direct) => Paths::DirectOnly,
            Some(OnlyPath::Relay) => Paths::RelayOnly,
            Some(OnlyPath::Lan) => Paths::LanOnly,
        }
    }

    /// Whether addresses of the same network are told and tried.
    pub(crate) fn lan(&self) -> Permit {
        if self.no_lan { Permit::Forbidden } else { Permit::Allowed }
    }
}

/// How to be a relay.
#[derive(Clone, Debug, Args)]
pub(crate) struct RelayArgs {
    #[command(flatten)]
    pub(crate) key: KeyArgs,
    /// Be found by everybody who needs a relay, as soon as others reach this computer.
    #[arg(long)]
    pub(crate) public: bool,
    /// Believe that others can reach the port, without a test.
    #[arg(long)]
    pub(crate) open: bool,
    /// Clients at once.
    #[arg(long, value_name = "N", default_value_t = RelayLimits::default().clients)]
    clients: usize,
    /// Clients at once from one address.
    #[arg(long, value_name = "N", default_value_t = RelayLimits::default().clients_of_host)]
    clients_of_host: usize,
    /// Pairs at once.
    #[arg(long, value_name = "N", default_value_t = RelayLimits::default().pairs)]
    pairs: usize,
    /// Mebibytes of one pair, both ways together.
    #[arg(long, value_name = "MIB", default_value_t = RelayLimits::default().bytes_of_pair >> 20)]
    mib_of_pair: u64,
    /// Mebibytes of one address in an hour.
    #[arg(long, value_name = "MIB", default_value_t = RelayLimits::default().bytes_of_host_hour >> 20)]
    mib_of_host_hour: u64,
    /// Mebibytes of all in an hour.
    #[arg(long, value_name = "MIB", default_value_t = RelayLimits::default().bytes_hour >> 20)]
    mib_hour: u64,
    /// Kibibytes a second of each direction of a pair.
    #[arg(long, value_name = "KIB", default_value_t = RelayLimits::default().rate_of_pair >> 10)]
    kib_per_second_of_pair: u64,
    /// Kibibytes a second of all.
    #[arg(long, value_name = "KIB", default_value_t = RelayLimits::default().rate >> 10)]
    kib_per_second: u64,
    /// Seconds after which a pair is separated by which nothing passes.
    #[arg(long, value_name = "SECONDS", default_value_t = RelayLimits::default().idle.as_secs())]
    idle: u64,
}

impl RelayArgs {
    /// How much is done for others.
    pub(crate) fn options(&self) -> RelayOptions {
        let limits = RelayLimits {
            clients: self.clients,
            clients_of_host: self.clients_of_host,
            pairs: self.pairs,
            bytes_of_pair: self.mib_of_pair << 20,
            bytes_of_host_hour: self.mib_of_host_hour << 20,
            bytes_hour: self.mib_hour << 20,
            rate_of_pair: self.kib_per_second_of_pair << 10,
            rate: self.kib_per_second << 10,
            idle: Duration::from_secs(self.idle),
            ..RelayLimits::default()
        };
        let announce = if self.public { Permit::Allowed } else { Permit::Forbidden };
        RelayOptions { limits, announce }
    }
}

/// How to serve a key.
#[derive(Clone, Debug, Args)]
pub(crate) struct ListenArgs {
    #[command(flatten)]
    pub(crate) key: KeyArgs,
    /// Send every frame back to whoever sent it.
    #[arg(long, conflicts_with = "sink")]
    pub(crate) echo: bool,
    /// Count and hash what each peer sends, and tell it when it has finished.
    #[arg(long)]
    pub(crate) sink: bool,
    /// Announce the key on a topic, so that peers need not know it.
    #[arg(long)]
    pub(crate) topic: Option<Topic>,
    #[command(flatten)]
    pub(crate) paths: PathArgs,
}

/// Whom to connect to, and how.
#[derive(Clone, Debug, Args)]
pub(crate) struct ConnectArgs {
    /// The peer's key, 64 hexadecimal digits.
    #[arg(value_name = "KEY", required_unless_present = "topic", conflicts_with = "topic")]
    pub(crate) peer: Option<PublicKey>,
    /// Connect to the first peer that is found on a topic; anybody can announce there.
    #[arg(long)]
    pub(crate) topic: Option<Topic>,
    #[command(flatten)]
    pub(crate) key: KeyArgs,
    #[command(flatten)]
    pub(crate) paths: PathArgs,
}

/// What to read.
#[derive(Clone, Debug, Args)]
#[command(group(ArgGroup::new("what").required(true)))]
pub(crate) struct GetArgs {
    /// Hash of the value.
    #[arg(group = "what")]
    pub(crate) target: Option<Id<32>>,
    /// Key of a signed value.
    #[arg(long, value_name = "HEX", group = "what")]
    pub(crate) key: Option<PublicKey>,
    /// Where a value is stored on Mainline: its hash, or that of its key and salt.
    #[arg(long, value_name = "HEX", group = "what")]
    pub(crate) mainline: Option<Id<20>>,
    /// Salt of a signed value on Mainline.
    #[arg(long, default_value = "", requires = "mainline")]
    pub(crate) salt: String,
    /// Lowest sequence number of interest.
    #[arg(long, value_name = "MIN", requires = "key")]
    pub(crate) seq: Option<u64>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_every_command_has_examples() {
        let command = Cli::command();
        command.clone().debug_assert();
        let databases = command.get_subcommands().find(|command| command.get_name() == "db");
        let databases = databases.into_iter().flat_map(clap::Command::get_subcommands);
        for command in command.get_subcommands().chain(databases) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Examples:\n  homing"), "{}", command.get_name());
        }
    }
}
