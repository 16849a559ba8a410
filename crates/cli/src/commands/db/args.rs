use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};
use db::Server;
use node::channel::Source;
use tooldb::{Endpoint, Key, Topic};

/// The port that the library listens on if it is not told otherwise.
pub(super) const PORT: u16 = 8080;

#[derive(Clone, Debug, Args)]
pub(crate) struct DbArgs {
    #[command(flatten)]
    pub(super) network: NetworkArgs,
    #[command(subcommand)]
    pub(super) command: DbCommand,
}

/// Which application, and where its servers are.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Database")]
pub(crate) struct NetworkArgs {
    /// The application. Nodes of other topics are turned away.
    #[arg(long, global = true, value_parser = topic, default_value = "tool-db-default", env = "HOMING_DB_TOPIC")]
    pub(super) topic: Topic,
    /// A server: HOST:PORT, or wss://HOST:PORT for TLS at other ports than 443; repeats. [default for a client:
    /// 127.0.0.1:8080]
    #[arg(long = "peer", visible_alias = "server", global = true, value_name = "HOST:PORT")]
    #[arg(env = "HOMING_DB_PEERS", value_delimiter = ',', value_parser = server)]
    pub(super) peers: Vec<Server>,
    /// Find servers by the topic on HyperDHT and Mainline, or on one of them, and be found there as a server. `--bootstrap`
    /// names nodes of private networks.
    #[arg(long, global = true, value_name = "NETWORK,..", value_delimiter = ',', require_equals = true)]
    #[arg(num_args = 0.., default_missing_value = "hyper,mainline", value_parser = distributed)]
    pub(super) dht: Vec<Source>,
    /// Find servers on the local network too, as npm discovery-channel does, and be found there as a server.
    #[arg(long, global = true)]
    pub(super) lan: bool,
    /// PEM file of certificates to trust. [default: the system's]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) roots: Option<PathBuf>,
}

impl NetworkArgs {
    /// Whether servers are looked for by the topic.
    pub(super) fn looks(&self) -> bool {
        self.lan || !self.dht.is_empty()
    }
}

/// Why an argument cannot be one.
#[derive(Debug)]
enum Unfit {
    Topic,
    Key,
    Scheme,
    Port,
    Host,
    Network,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Topic => "longer than 256 bytes",
            Self::Key => "longer than 2,048 bytes",
            Self::Scheme => "neither ws:// nor wss://",
            Self::Port => "without a port up to 65535",
            Self::Host => "the name is too long",
            Self::Network => "neither hyper nor mainline",
        })
    }
}

impl std::error::Error for Unfit {}

fn topic(text: &str) -> Result<Topic, Unfit> {
    Topic::new(text).ok_or(Unfit::Topic)
}

fn key(text: &str) -> Result<Key, Unfit> {
    Key::new(text).ok_or(Unfit::Key)
}

fn distributed(text: &str) -> Result<Source, Unfit> {
    let source = text.parse().map_err(|_| Unfit::Network)?;
    if matches!(source, Source::Hyper | Source::Mainline) { Ok(source) } else { Err(Unfit::Network) }
}

fn server(text: &str) -> Result<Server, Unfit> {
    let (rest, scheme) = match text.split_once("://") {
        None => (text, None),
        Some(("ws", rest)) => (rest, Some(db::Scheme::Ws)),
        Some(("wss", rest)) => (rest, Some(db::Scheme::Wss)),
        Some(_) => return Err(Unfit::Scheme),
    };
    let (host, port) = rest.trim_end_matches('/').rsplit_once(':').ok_or(Unfit::Port)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let endpoint = Endpoint::new(host, u16::from_str(port).map_err(|_| Unfit::Port)?);
    let server = Server::new(endpoint.ok_or(Unfit::Host)?);
    Ok(Server { scheme: scheme.unwrap_or(server.scheme), ..server })
}

/// Whose key is meant.
#[derive(Clone, Debug, Args)]
pub(crate) struct OwnArgs {
    /// The key of this name in the own space, which nobody else can write.
    #[arg(long)]
    pub(super) mine: bool,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum DbCommand {
    /// Run a server.
    #[command(after_help = "Examples:
  homing db serve                                        (on 127.0.0.1:8080, for programs of this computer)
  homing db serve --host db.example.org --port 9000 --topic my-app
  HOST=db.example.org PORT=9000 homing db serve --topic my-app --peer other.example.org:9000
  homing db serve --host db.example.org --topic my-app --dht   (others find it by the topic)
  homing db serve --bind 0.0.0.0 --topic my-app --lan          (others on this network do)
  homing db serve --host db.example.org --port 443 --tls-cert chain.pem --tls-key key.pem")]
    Serve(ServeArgs),

    /// Read a value.
    #[command(after_help = "Examples:
  homing db get greeting
  homing db get profile --mine --json")]
    Get {
        #[arg(value_parser = key)]
        key: Key,
        #[command(flatten)]
        own: OwnArgs,
    },

    /// Sign and store a value. Without a server it is sent the next time that one is met.
    #[command(after_help = "Examples:
  homing db put greeting '{\"text\":\"hi\"}'
  homing db put greeting hello                           (what is no JSON is stored as a text)
  homing db put profile '{\"name\":\"Al\"}' --mine")]
    Put {
        #[arg(value_parser = key)]
        key: Key,
        /// JSON, or a text.
        value: String,
        #[command(flatten)]
        own: OwnArgs,
    },

    /// Replace a value by null, which is how Tool Db deletes.
    #[command(after_help = "Examples:
  homing db delete greeting")]
    Delete {
        #[arg(value_parser = key)]
        key: Key,
        #[command(flatten)]
        own: OwnArgs,
    },

    /// List the keys that start with a text.
    #[command(after_help = "Examples:
  homing db query
  homing db query notes/ --json")]
    Query {
        #[arg(value_parser = key, default_value = "")]
        prefix: Key,
        #[command(flatten)]
        own: OwnArgs,
    },

    /// Show a value and all its changes, until told to end.
    #[command(after_help = "Examples:
  homing db watch greeting --json")]
    Watch {
        #[arg(value_parser = key)]
        key: Key,
        #[command(flatten)]
        own: OwnArgs,
    },

    /// Show or change a document that merges: a map, a list or a counter.
    #[command(after_help = "Examples:
  homing db crdt settings set colour '\"green\"'
  homing db crdt tasks push 'buy milk'
  homing db crdt tasks remove 0
  homing db crdt visits add 1
  homing db crdt visits")]
    Crdt {
        #[arg(value_parser = key)]
        key: Key,
        #[command(flatten)]
        own: OwnArgs,
        #[command(subcommand)]
        change: Option<Change>,
    },

    /// Have a server run a function.
    #[command(after_help = "Examples:
  homing db call sum '[1,2,3]'")]
    Call {
        #[arg(value_parser = key)]
        name: Key,
        /// The argument, as JSON.
        #[arg(default_value = "null")]
        args: String,
    },

    /// Create an account and sign in. The password is in the variable `HOMING_PASSWORD`, or the first line of standard input.
    #[command(after_help = "Examples:
  homing db signup alice < password.txt
  HOMING_PASSWORD=secret homing db signup alice")]
    Signup { user: String },

    /// Sign in: from now on, what is put is signed with the account's key. The password is in the variable `HOMING_PASSWORD`, or
    /// the first line of standard input.
    #[command(after_help = "Examples:
  homing db signin alice < password.txt
  HOMING_PASSWORD=secret homing db signin alice")]
    Signin { user: String },

    /// Sign out.
    #[command(after_help = "Examples:
  homing db signout")]
    Signout,

    /// Take the records of a JavaScript server's LevelDB directory into the server's store.
    #[command(after_help = "Examples:
  homing db import ./tooldb --data-dir /var/lib/homing")]
    Import { path: PathBuf },

    /// Print the server's records, one a line, as they were signed.
    #[command(after_help = "Examples:
  homing db export > records.jsonl
  homing db export notes/")]
    Export {
        #[arg(value_parser = key, default_value = "")]
        prefix: Key,
    },

    /// Copy the server's store to a file, while it runs or not.
    #[command(after_help = "Examples:
  homing db backup /backups/monday.redb")]
    Backup { path: PathBuf },

    /// Put a copy in the place of the server's store; the store that was there is kept beside it.
    #[command(after_help = "Examples:
  homing db restore /backups/monday.redb")]
    Restore { path: PathBuf },

    /// Take nothing more from an author or a network address.
    #[command(after_help = "Examples:
  homing db ban 203.0.113.7
  homing db ban 203.0.113.7 --lift
  homing db ban                                          (lists who is banned)")]
    Ban {
        /// An author's address, or a network address.
        name: Option<String>,
        /// Lift the ban.
        #[arg(long, requires = "name")]
        lift: bool,
    },

    /// Show the state of the server.
    #[command(after_help = "Examples:
  homing db status
  homing db status --json")]
    Status,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Change {
    /// Set a member of a map.
    Set { name: String, value: String },
    /// Remove a member of a map.
    Unset { name: String },
    /// Append an item to a list.
    Push { value: String },
    /// Insert an item into a list.
    Insert { place: usize, value: String },
    /// Remove an item of a list.
    Remove { place: usize },
    /// Add to a counter; negative amounts count down.
    #[command(allow_negative_numbers = true)]
    Add { amount: f64 },
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ServeArgs {
    /// Local address to listen on. [default: 127.0.0.1, or all where --host names something else]
    #[arg(long, value_name = "ADDRESS")]
    pub(super) bind: Option<IpAddr>,
    /// PEM file of the certificate chain, for TLS; read again when it changes, or at SIGHUP.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(super) tls_cert: Option<PathBuf>,
    /// PEM file of the certificate's private key.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(super) tls_key: Option<PathBuf>,
    /// Milliseconds for which writes are gathered before the disk is waited for.
    #[arg(long, value_name = "MS", default_value_t = 2)]
    pub(super) sync_window: u64,
    /// Bytes that one author may store.
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 30)]
    pub(super) author_bytes: u64,
    /// Connections that one network address may have.
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub(super) links_per_host: usize,
    /// Leading zeros of hashes that the network asks for as proof of work.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) pow: u8,
    /// Do not ask clients for what they wrote while they were away.
    #[arg(long)]
    pub(super) no_backfill: bool,
    /// Tell clients at once that nobody has a key, instead of leaving them to wait; for networks of one server.
    #[arg(long)]
    pub(super) answer_misses: bool,
    /// Offer the function `echo`, which returns its argument; for tests of clients.
    #[arg(long)]
    pub(super) echo: bool,
}
