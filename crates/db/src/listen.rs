//! The one port: WebSocket for the conversation, plain HTTP for whoever looks.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;
use tooldb::Source;

use crate::db::Db;
use crate::host::Way;
use crate::http::{self, Request};
use crate::limits::Host;
use crate::link::{carry, websocket_config};

/// Bytes of a request's head.
const HEAD_MAX: usize = 8 * 1024;
/// Requests that one connection may make before it is closed; pages are few.
const REQUESTS_MAX: usize = 64;
/// After the system refused to accept, which it does when files run out.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What the listening tasks share.
pub(crate) struct Front {
    pub(crate) db: Db,
    pub(crate) tls: Option<watch::Receiver<TlsAcceptor>>,
}

/// Accepts connections until told to stop.
pub(crate) async fn listen(listener: TcpListener, front: Arc<Front>, mut stop: watch::Receiver<()>) {
    let room = Arc::new(Semaphore::new(front.db.limits().links_max));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.changed() => return,
        };
        let Ok((socket, address)) = accepted else {
            tokio::time::sleep(ACCEPT_AGAIN).await;
            continue;
        };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else { continue };
        let (front, mut stop) = (Arc::clone(&front), stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                served = serve(socket, address, (front, permit)) => {
                    if let Err(error) = served {
                        tracing::debug!(%address, %error, "connection ended");
                    }
                }
                _ = stop.changed() => {}
            }
        });
    }
}

async fn serve(
    socket: TcpStream,
    address: SocketAddr,
    (front, permit): (Arc<Front>, OwnedSemaphorePermit),
) -> io::Result<()> {
    let ip = address.ip();
    let Some(host) = front.db.admit(ip).await else { return Ok(()) };
    socket.set_nodelay(true)?;
    let patience = front.db.limits().handshake_max;
    match front.tls.as_ref().map(|tls| tls.borrow().clone()) {
        None => {
            if let Some(socket) = talk(socket, &front.db).await? {
                converse(socket, ip, (&front.db, host, permit)).await;
            }
        }
        Some(tls) => {
            let socket = tokio::time::timeout(patience, tls.accept(socket)).await??;
            if let Some(socket) = talk(socket, &front.db).await? {
                converse(socket, ip, (&front.db, host, permit)).await;
            }
        }
    }
    Ok(())
}

/// Begins a conversation. It is a task of its own, smaller than this one, for it may idle for days.
async fn converse<S>(
    socket: WebSocketStream<S>,
    ip: IpAddr,
    (db, host, permit): (&Db, Arc<Host>, OwnedSemaphorePermit),
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let opened = db.with(move |host, _| host.open((Way::Accepted, ip), Source::Stranger)).await;
    let Ok(Ok((link, inbox))) = opened else { return };
    let shared = db.shared();
    // It ends with its link, which the host closes when the database stops.
    tokio::spawn(async move {
        carry(socket, link, (shared, Some(host), inbox)).await;
        drop(permit);
    });
}

/// Answers requests, until one of them turns the connection into a conversation.
async fn talk<S>(mut socket: S, db: &Db) -> io::Result<Option<WebSocketStream<S>>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let patience = db.limits().handshake_max;
    let mut unread = Vec::new();
    for _ in 0..REQUESTS_MAX {
        let head = tokio::time::timeout(patience, read_head(&mut socket, &mut unread)).await??;
        let Some(head) = head else { return Ok(None) };
        let Some(request) = Request::parse(&head) else {
            socket.write_all(&http::refusal("400 Bad Request")).await?;
            return Ok(None);
        };
        if let Some(key) = request.upgrade() {
            socket.write_all(http::switching(key).as_bytes()).await?;
            let config = websocket_config(db.frame_bytes_max());
            let socket =
                WebSocketStream::from_partially_read(socket, unread, Role::Server, Some(config)).await;
            return Ok(Some(socket));
        }
        let answer = http::answer(&request, db).await;
        tokio::time::timeout(patience, socket.write_all(&answer)).await??;
        if request.is_last() {
            break;
        }
    }
    socket.shutdown().await?;
    Ok(None)
}

/// Reads up to the empty line that ends a head, and leaves what follows it unread; `None` at a clean end.
async fn read_head(
    socket: &mut (impl AsyncRead + Unpin),
    unread: &mut Vec<u8>,
) -> io::Result<Option<Vec<u8>>> {
    loop {
        if let Some(end) = unread.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let rest = unread.split_off(end + 4);
            return Ok(Some(std::mem::replace(unread, rest)));
        }
        if unread.len() >= HEAD_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the request's head is too long"));
        }
        let mut chunk = [0; 1024];
        let count = socket.read(&mut chunk).await?;
        if count == 0 {
            return if unread.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        unread.extend(chunk.iter().take(count));
    }
}
