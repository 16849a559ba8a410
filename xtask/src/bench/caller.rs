use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use wire::hyper::{ANNOUNCE, LOOKUP};
use wire::{Command, Id, Request, Response};

use crate::bench::author::{Author, Shelf};
use crate::bench::crowd::pong;

/// Longest wait for an answer on loopback.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks one node one thing at a time.
pub(crate) struct Caller {
    socket: UdpSocket,
    to: SocketAddrV4,
    tid: u16,
    buf: [u8; 2048],
}

impl Caller {
    pub(crate) fn new(host: Ipv4Addr, to: SocketAddrV4) -> Result<Self> {
        let socket = UdpSocket::bind((host, 0))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { socket, to, tid: 0, buf: [0; 2048] })
    }

    /// The node that is asked.
    pub(crate) const fn to(&self) -> SocketAddrV4 {
        self.to
    }

    /// Asks without a token or value.
    pub(crate) fn ask(&mut self, command: Command, target: Option<Id<32>>) -> Result<Response<'_>> {
        let to = self.to;
        self.call(Request { tid: 0, to, id: None, token: None, command, target, value: None })
    }

    /// Sends a request and waits for its answer; pings of the node are answered meanwhile.
    pub(crate) fn call(&mut self, request: Request<'_>) -> Result<Response<'_>> {
        self.tid = self.tid.wrapping_add(1);
        let tid = self.tid;
        let mut out = Vec::new();
        Request { tid, to: self.to, ..request }.encode(&mut out);
        self.socket.send_to(&out, self.to)?;
        let deadline = Instant::now() + PATIENCE;
        let len = loop {
            ensure!(Instant::now() < deadline, "{} does not answer {:?}", self.to, request.command);
            let (len, from) = self.socket.recv_from(&mut self.buf).context("no answer")?;
            let bytes = self.buf.get(..len).unwrap_or_default();
            out.clear();
            if Response::decode(bytes).is_ok_and(|response| response.tid == tid) {
                break len;
            }
            if let SocketAddr::V4(from) = from
                && pong(bytes, from, None, &mut out)
            {
                self.socket.send_to(&out, from)?;
            }
        };
        Ok(Response::decode(self.buf.get(..len).unwrap_or_default())?)
    }

    /// Learns what a signature for this node must cover.
    pub(crate) fn shelf(&mut self) -> Result<Shelf> {
        let response = self.ask(LOOKUP, Some(Id([0; 32])))?;
        let id = response.id.context("the node has no id, so it stores nothing")?;
        Ok(Shelf { id, token: response.token.context("the node gave no token")? })
    }

    /// Announces an author under a topic.
    pub(crate) fn announce(&mut self, author: &Author, topic: Id<32>) -> Result<()> {
        let shelf = self.shelf()?;
        let value = author.announcement(topic, shelf);
        let response = self.call(Request {
            tid: 0,
            to: self.to,
            id: None,
            token: Some(shelf.token),
            command: ANNOUNCE,
            target: Some(topic),
            value: Some(&value),
        })?;
        ensure!(response.error == 0, "the announcement was refused with error {}", response.error);
        Ok(())
    }
}
