use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time;

/// Connections at one time; a browser opens six, and a stream holds one.
pub const CONNECTIONS_MAX: usize = 64;
/// A request whose headers take longer, or a connection that is idle for longer, is closed.
const HEADER_TIME_MAX: Duration = Duration::from_secs(5);
/// Bytes of a request's headers.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// Wait after the system had no file or memory for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why a page cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Only this computer may ask; for another, use a tunnel.
    #[error("{0} is not an address of this computer alone, such as 127.0.0.1")]
    NotLoopback(SocketAddr),
    /// The port is taken, or may not be used.
    #[error("cannot listen on {0}")]
    Io(SocketAddr, #[source] io::Error),
}

/// Opens a listener that only this computer reaches.
///
/// # Errors
///
/// Fails for another address than loopback, or if the port is taken.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    if !address.ip().is_loopback() {
        return Err(BindError::NotLoopback(address));
    }
    TcpListener::bind(address).await.map_err(|source| BindError::Io(address, source))
}

/// Serves until the future is dropped, which closes all connections.
pub async fn serve(listener: TcpListener, router: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "accept");
                time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let router = router.clone();
        connections.spawn(async move {
            converse(stream, router).await;
            drop(place);
        });
    }
}

async fn converse(stream: TcpStream, router: Router) {
    // Small answers go out at once; where the option cannot be set they come a little later.
    stream.set_nodelay(true).unwrap_or_default();
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = served.await {
        tracing::trace!(%error, "page connection");
    }
}
