//! Connections to other servers: each is dialled once, never ourselves, and again after a while when it fails.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_tungstenite::client_async_with_config;
use tooldb::{ClientId, Source};

use crate::db::Db;
use crate::host::{Ended, Way};
use crate::link::{carry, websocket_config};
use crate::status::{Scheme, Server};

/// Servers that are dialled, whoever named them.
const SERVERS_MAX: usize = 64;
/// Addresses remembered that led back here.
const OURSELVES_MAX: usize = 64;
const BACK_OFF_MIN: Duration = Duration::from_millis(500);
/// For servers that the operator named, so that a healed network is whole again within seconds.
const BACK_OFF_MAX: Duration = Duration::from_secs(4);
/// For others.
const BACK_OFF_MAX_OF_OTHERS: Duration = Duration::from_secs(30);
/// A connection that lasted for this long was a good one: the next attempt follows soon.
const LASTED: Duration = Duration::from_secs(10);
/// Attempts after which a server that was merely heard of is forgotten.
const ATTEMPTS_MAX: u32 = 6;
/// How often a server that is connected the other way around is looked after.
const TWIN_SPAN: Duration = Duration::from_secs(5);

/// Who named a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// The operator: it is of the same federation, is trusted with names, and never given up.
    ByOperator,
    /// A discovery service or another server.
    ByOthers,
}

/// Dials servers as they become known, until the database ends.
pub(crate) async fn dial(
    db: Db,
    mut servers: mpsc::Receiver<(Server, Named)>,
    (tls, stop): (Option<TlsConnector>, watch::Receiver<()>),
) {
    let mut dialled: BTreeSet<Server> = BTreeSet::new();
    // Addresses that led back here.
    let mut ourselves: VecDeque<Server> = VecDeque::new();
    let mut kept = JoinSet::new();
    let mut stopped = stop.clone();
    loop {
        let named = tokio::select! {
            named = servers.recv() => named,
            Some(over) = kept.join_next() => {
                // None of them panics, or the server would stay in the set.
                let Ok((server, over)) = over else { continue };
                dialled.remove(&server);
                if over == Over::Ourselves {
                    ourselves.push_back(server);
                    ourselves.drain(..ourselves.len().saturating_sub(OURSELVES_MAX));
                }
                continue;
            }
            _ = stopped.changed() => return,
        };
        let Some((server, named)) = named else { return };
        if dialled.len() >= SERVERS_MAX || ourselves.contains(&server) || !dialled.insert(server.clone()) {
            continue;
        }
        let (db, tls, mut stop) = (db.clone(), tls.clone(), stop.clone());
        kept.spawn(async move {
            let over = tokio::select! {
                over = keep(&db, &server, (named, tls)) => over,
                _ = stop.changed() => Over::GivenUp,
            };
            (server, over)
        });
    }
}

/// Why a server is dialled no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    Ourselves,
    GivenUp,
}

/// Keeps a connection to a server. One of which others said no more than an address may speak TLS or not.
async fn keep(db: &Db, server: &Server, (named, tls): (Named, Option<TlsConnector>)) -> Over {
    let mut back_off = BACK_OFF_MIN;
    let mut failures = 0;
    let mut server = server.clone();
    loop {
        let begun = Instant::now();
        match connect(db, &server, (named, tls.as_ref())).await {
            Ok(Some(Ended::Ourselves)) => return Over::Ourselves,
            Ok(Some(Ended::Twin(client))) => wait_for_twin(db, client).await,
            Ok(Some(Ended::Unfit | Ended::Parted(_)) | None) => failures = 0,
            Err(error) => {
                tracing::debug!(server = ?server.endpoint, %error, "cannot connect");
                failures += 1;
                if named == Named::ByOthers {
                    server.scheme = server.scheme.other();
                }
            }
        }
        if named == Named::ByOthers && failures >= ATTEMPTS_MAX {
            return Over::GivenUp;
        }
        if begun.elapsed() >= LASTED {
            back_off = BACK_OFF_MIN;
        }
        // A third more or less, so that servers that fell together do not come back together.
        let jitter = node::seed().map_or(0, |seed| u32::from(seed[0]));
        tokio::time::sleep(back_off * (171 + jitter % 170) / 256).await;
        back_off = (back_off * 2).min(match named {
            Named::ByOperator => BACK_OFF_MAX,
            Named::ByOthers => BACK_OFF_MAX_OF_OTHERS,
        });
    }
}

/// Waits until a node is no longer connected.
async fn wait_for_twin(db: &Db, client: ClientId) {
    while db.with(move |host, _| host.knows(client)).await.unwrap_or(false) {
        tokio::time::sleep(TWIN_SPAN).await;
    }
}

/// Connects, and returns once the connection has ended.
async fn connect(
    db: &Db,
    server: &Server,
    (named, tls): (Named, Option<&TlsConnector>),
) -> io::Result<Option<Ended>> {
    let endpoint = &server.endpoint;
    let address = (endpoint.host().to_owned(), endpoint.port());
    let patience = db.limits().handshake_max;
    let socket = tokio::time::timeout(patience, TcpStream::connect(address)).await??;
    socket.set_nodelay(true)?;
    let remote = socket.peer_addr()?.ip();
    match server.scheme {
        Scheme::Ws => converse(db, (server, remote), (socket, named)).await,
        Scheme::Wss => {
            let tls = tls.ok_or_else(|| io::Error::other("no certificates to trust"))?;
            let name = ServerName::try_from(endpoint.host().to_owned()).map_err(io::Error::other)?;
            let socket = tokio::time::timeout(patience, tls.connect(name, socket)).await??;
            converse(db, (server, remote), (socket, named)).await
        }
    }
}

async fn converse<S>(
    db: &Db,
    (server, remote): (&Server, IpAddr),
    (socket, named): (S, Named),
) -> io::Result<Option<Ended>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (host, port) = (server.endpoint.host(), server.endpoint.port());
    let bracketed = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let scheme = if server.is_tls() { "wss" } else { "ws" };
    let url = format!("{scheme}://{bracketed}:{port}/");
    let config = websocket_config(db.frame_bytes_max());
    let handshake = client_async_with_config(url, socket, Some(config));
    let patience = db.limits().handshake_max;
    let (socket, _) = tokio::time::timeout(patience, handshake).await?.map_err(io::Error::other)?;
    let source = match named {
        Named::ByOperator => Source::Trusted,
        Named::ByOthers => Source::Stranger,
    };
    let way = Way::Dialled(server.clone());
    let opened = db.with(move |host, _| host.open((way, remote), source)).await.map_err(io::Error::other)?;
    let Ok((link, inbox)) = opened else { return Err(io::ErrorKind::ConnectionRefused.into()) };
    carry(socket, link, (db.shared(), None, inbox)).await;
    let ended = db.with(move |host, _| host.ended(link)).await.map_err(io::Error::other)?;
    Ok(ended)
}

/// How far a network address reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    Computer,
    Site,
    World,
}

impl Reach {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) if address.is_loopback() || address.is_unspecified() => Self::Computer,
            IpAddr::V4(address) if address.is_private() || address.is_link_local() => Self::Site,
            IpAddr::V6(address) if address.is_loopback() || address.is_unspecified() => Self::Computer,
            IpAddr::V6(address) if address.is_unique_local() || address.is_unicast_link_local() => Self::Site,
            IpAddr::V4(_) | IpAddr::V6(_) => Self::World,
        }
    }
}

/// Dials servers that other servers told of, or that connected themselves; but nobody from the outside makes us
/// dial into our own network.
pub(crate) async fn follow(
    mut learned: mpsc::Receiver<(Server, IpAddr)>,
    servers: mpsc::Sender<(Server, Named)>,
) {
    while let Some((server, teller)) = learned.recv().await {
        let (host, port) = (server.endpoint.host().to_owned(), server.endpoint.port());
        let Ok(mut addresses) = tokio::net::lookup_host((host, port)).await else { continue };
        if addresses.all(|address| Reach::of(address.ip()) >= Reach::of(teller))
            && servers.send((server, Named::ByOthers)).await.is_err()
        {
            return;
        }
    }
}

/// The connector, if anything could need one.
pub(crate) fn connector(
    roots: Option<&std::path::Path>,
) -> Result<Option<TlsConnector>, crate::tls::TlsError> {
    match (roots, crate::tls::connector(roots)) {
        (_, Ok(tls)) => Ok(Some(tls)),
        (None, Err(_)) => Ok(None),
        (Some(_), Err(error)) => Err(error),
    }
}
