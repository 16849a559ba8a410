//! The bridge: conversations over connections of the swarm, with servers that are found by key.
//!
//! A frame of such a connection is a frame of the library, as over a WebSocket: what the guide leaves to the reader of
//! `hyperswarm` is `socket.write(text)` and `socket.on('data', ..)`. The side that dialled introduces itself first.
//!
//! Nodes that reach each other over a WebSocket as well talk over that. The connection of the swarm then stands by:
//! whoever notices says so with [`STANDBY`], and the side that dialled begins again once the WebSocket is gone.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{sink, stream};
use node::{Connection, Direction, PublicKey, SendError, Sender, Swarm};
use tokio::sync::watch;
use tokio_tungstenite::tungstenite::Message;
use tooldb::message::{Body, Frame};
use tooldb::{ClientId, LinkId, Side, Source};

use crate::db::Db;
use crate::host::{Ended, Way};
use crate::limits::Host;
use crate::link::{Received, carry_between};

/// Says that a conversation is over and its connection stays. JavaScript nodes know no such message and let it pass.
const STANDBY: &[u8] = br#"{"type":"standby","id":"standby","to":[]}"#;
/// How often the side that dialled looks whether the other connection is still there.
const STANDBY_SPAN: Duration = Duration::from_secs(1);

/// Talks to everybody whom the swarm meets, until the swarm ends, or is to end.
pub(crate) async fn bridge(db: Db, mut swarm: Swarm, mut stop: watch::Receiver<()>) {
    loop {
        let meeting = tokio::select! {
            meeting = swarm.next() => meeting,
            _ = stop.changed() => break,
        };
        let Some(meeting) = meeting else { return };
        let db = db.clone();
        // It ends with its connection, which ends with the node, or with the database.
        tokio::spawn(async move { keep(&db, meeting.connection).await });
    }
    // A node that has ended has removed the announcements.
    swarm.end().await.unwrap_or_default();
}

/// A connection, whose conversation may end and begin again.
struct Line {
    remote: PublicKey,
    side: Side,
    address: std::net::IpAddr,
    host: Arc<Host>,
    connection: Connection,
    sender: Sender,
}

async fn keep(db: &Db, connection: Connection) {
    let address = connection.address().ip();
    let Some(host) = db.admit(address).await else { return };
    let side = match connection.direction() {
        Direction::Outgoing => Side::Dialled,
        Direction::Incoming => Side::Accepted,
    };
    let remote = connection.remote();
    let sender = connection.sender();
    let mut line = Line { remote, side, address, host, connection, sender };
    let mut first = None;
    loop {
        let Some(ended) = converse(db, &mut line, first.take()).await else { return };
        tracing::debug!(peer = %line.remote, ?ended, "a conversation over the swarm is over");
        let client = match ended {
            Ended::Unfit | Ended::Ourselves | Ended::Parted(None) => return,
            Ended::Twin(client) | Ended::Parted(Some(client)) => client,
        };
        if line.sender.send(STANDBY).await.is_err() {
            return;
        }
        match stand_by(db, &mut line, client).await {
            Some(Again::Begin) => {}
            Some(Again::Answer(ping)) => first = Some(ping),
            None => return,
        }
    }
}

/// One conversation; `None` where the database takes no more.
async fn converse(db: &Db, line: &mut Line, first: Option<Bytes>) -> Option<Ended> {
    let (side, address) = (line.side, line.address);
    let opened = db.with(move |host, _| host.open((Way::Met(side), address), Source::Stranger)).await;
    let (link, inbox) = opened.ok()?.ok()?;
    let frames = Box::pin(incoming(first, &mut line.connection));
    let out = Box::pin(outgoing(&line.sender));
    let with = (db.shared(), Some(Arc::clone(&line.host)), inbox);
    tokio::select! {
        () = carry_between((out, frames), link, with) => db.with(move |host, _| host.ended(link)).await.ok()?,
        ended = unintroduced(db, link) => Some(ended),
    }
}

/// Ends a conversation whose other end does not say who it is; waits for ever if it does.
async fn unintroduced(db: &Db, link: LinkId) -> Ended {
    tokio::time::sleep(db.limits().handshake_max).await;
    match db.with(move |host, _| host.give_up(link)).await {
        Ok(None) => std::future::pending().await,
        Ok(Some(ended)) => ended,
        Err(_) => Ended::Unfit,
    }
}

fn incoming(first: Option<Bytes>, connection: &mut Connection) -> impl stream::Stream<Item = Received> {
    stream::unfold((first, connection), |(first, connection)| async {
        let frame = match first {
            Some(frame) => frame,
            None => connection.recv().await?.into(),
        };
        (frame != STANDBY).then_some((Ok(Message::Binary(frame)), (None, connection)))
    })
}

fn outgoing(sender: &Sender) -> impl sink::Sink<Message, Error = SendError> {
    sink::unfold(sender, async |sender: &Sender, message| {
        // Connections of the swarm have pings and farewells of their own.
        if let Message::Text(_) | Message::Binary(_) = message {
            sender.send(&message.into_data()).await?;
        }
        Ok(sender)
    })
}

/// How a conversation begins again.
enum Again {
    /// From here.
    Begin,
    /// From there, with this introduction.
    Answer(Bytes),
}

/// Waits until the conversation is to begin again; `None` once the connection is over.
async fn stand_by(db: &Db, line: &mut Line, client: ClientId) -> Option<Again> {
    let side = line.side;
    let alone = async {
        loop {
            tokio::time::sleep(STANDBY_SPAN).await;
            if side == Side::Dialled && !db.with(move |host, _| host.knows(client)).await.unwrap_or(false) {
                return;
            }
        }
    };
    tokio::pin!(alone);
    loop {
        let frame = tokio::select! {
            () = &mut alone => return Some(Again::Begin),
            frame = line.connection.recv() => Bytes::from(frame?),
        };
        // What was under way when the conversation ended is said again when it begins.
        if frame.len() <= db.frame_bytes_max()
            && matches!(Frame::decode(&frame), Ok(Frame { body: Body::Ping { .. }, .. }))
        {
            return Some(Again::Answer(frame));
        }
    }
}
