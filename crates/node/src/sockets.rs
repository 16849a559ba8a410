use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::task::{Context, Poll};

use dht::{AnyPort, Ports};
use wire::SocketId;

use crate::batch::{Batch, Inbox, Slot};
use crate::contacts::Contacts;
use crate::socket::{Sent, Socket, Traffic};

/// The sockets that a node keeps; hole punching opens more for a while.
const NAMES: [(SocketId, &str); 2] = [(SocketId::SERVER, "server"), (SocketId::CLIENT, "client")];
/// What all others together are called: they live for one hole punch and its connection.
const OTHERS: &str = "punch";

/// The sockets that a machine asked for.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    places: BTreeMap<SocketId, Place>,
    /// What passed through sockets of hole punches that are closed.
    others: Traffic,
    contacts: Contacts,
}

/// One socket, and what outlives its closing.
#[derive(Debug, Default)]
struct Place {
    socket: Option<Socket>,
    before: Traffic,
    /// The rest of a batch that the system had no room for.
    unsent: Vec<Slot>,
}

impl Sockets {
    /// The identifiers of all open sockets, in the order they are read.
    pub(crate) fn ids(&self) -> impl Iterator<Item = SocketId> {
        self.places.keys().copied()
    }

    /// Binds the first port that is free, and returns the address.
    pub(crate) fn open(&mut self, id: SocketId, ports: &Ports) -> io::Result<SocketAddrV4> {
        let mut socket = bind(ports)?;
        let place = self.places.entry(id).or_default();
        socket.count_from(place.before);
        let local = local(&socket);
        place.socket = Some(socket);
        Ok(local)
    }

    pub(crate) fn close(&mut self, id: SocketId) {
        if id > SocketId::CLIENT {
            let socket = self.places.remove(&id).and_then(|place| place.socket);
            self.others += socket.map(|socket| socket.traffic()).unwrap_or_default();
        } else if let Some(place) = self.places.get_mut(&id)
            && let Some(socket) = place.socket.take()
        {
            place.before = socket.traffic();
            place.unsent.clear();
        }
    }

    pub(crate) fn local(&self, id: SocketId) -> Option<SocketAddrV4> {
        self.places.get(&id)?.socket.as_ref().map(local)
    }

    pub(crate) fn states(&self) -> Vec<(&'static str, Option<SocketAddrV4>, Traffic)> {
        let state = |(id, name): (SocketId, &'static str)| {
            let place = self.places.get(&id);
            let socket = place.and_then(|place| place.socket.as_ref());
            let before = place.map(|place| place.before).unwrap_or_default();
            (name, socket.map(local), socket.map_or(before, Socket::traffic))
        };
        let mut states: Vec<_> = NAMES.into_iter().map(state).collect();
        let (mut others, mut open) = (self.others, None);
        for (_, place) in self.places.range(SocketId(SocketId::CLIENT.0 + 1)..) {
            let Some(socket) = &place.socket else { continue };
            others += socket.traffic();
            open = Some(local(socket));
        }
        states.push((OTHERS, open, others));
        states
    }

    /// Fills `inbox` from one socket.
    pub(crate) fn receive(&mut self, id: SocketId, inbox: &mut Inbox) -> Batch {
        let socket = self.places.get_mut(&id).and_then(|place| place.socket.as_mut());
        socket.map_or_else(Batch::default, |socket| socket.receive(inbox))
    }

    /// Sends a batch, each datagram from the socket it names. What a full socket has no room for is kept
    /// until it has; the caller polls the machine for no more while [`Self::is_blocked`].
    pub(crate) fn send(&mut self, slots: &[Slot]) {
        for run in slots.chunk_by(|a, b| a.transmit.from == b.transmit.from) {
            let Some(place) = run.first().and_then(|slot| self.places.get_mut(&slot.transmit.from)) else {
                continue;
            };
            let Some(socket) = &mut place.socket else { continue };
            let done = match socket.send(run) {
                Sent::All => run.len(),
                Sent::Blocked(done) => done,
            };
            let copy = |slot: &Slot| Slot { transmit: slot.transmit, bytes: slot.bytes.clone() };
            place.unsent.extend(run.iter().skip(done).map(copy));
            self.contacts.note(run);
        }
    }

    /// Whom datagrams were sent to.
    pub(crate) fn contacts(&self) -> &Contacts {
        &self.contacts
    }

    /// Tries again what was kept.
    pub(crate) fn send_kept(&mut self) {
        for place in self.places.values_mut() {
            let Some(socket) = &mut place.socket else { continue };
            match socket.send(&place.unsent) {
                Sent::All => place.unsent = Vec::new(),
                Sent::Blocked(done) => drop(place.unsent.drain(..done)),
            }
        }
    }

    /// Tells whether a full socket holds back what the machine wants to send.
    pub(crate) fn is_blocked(&self) -> bool {
        self.places.values().any(|place| !place.unsent.is_empty())
    }

    /// Waits until something may be received, or sent if something waits for that. Cancellation-safe.
    pub(crate) async fn ready(&self) {
        poll_fn(|context| {
            let mut ready = |place: &Place| place.poll_ready(context).is_ready();
            // Each has to be asked: a socket wakes us only after it was.
            let count = self.places.values().filter(|place| ready(place)).count();
            if count > 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl Place {
    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<()> {
        let Some(socket) = &self.socket else { return Poll::Pending };
        let readable = socket.poll_readable(context);
        if self.unsent.is_empty() || readable.is_ready() { readable } else { socket.poll_writable(context) }
    }
}

/// The address of a socket of HyperDHT, which speaks IPv4.
fn local(socket: &Socket) -> SocketAddrV4 {
    match socket.local() {
        SocketAddr::V4(local) => local,
        SocketAddr::V6(local) => unreachable!("{local} was bound to an IPv4 address"),
    }
}

fn bind(ports: &Ports) -> io::Result<Socket> {
    let mut refused = None;
    for port in &ports.candidates {
        match Socket::bind(ports.host, *port) {
            Ok(socket) => return Ok(socket),
            Err(error) => refused = Some(error),
        }
    }
    match (ports.any, refused) {
        (AnyPort::Refused, Some(error)) => Err(error),
        (AnyPort::Allowed, _) | (AnyPort::Refused, None) => Socket::bind(ports.host, 0),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

    use wire::Transmit;

    use super::*;

    #[tokio::test]
    async fn what_a_socket_has_no_room_for_is_kept_and_sent_in_order() {
        let mut sockets = Sockets::default();
        let ports = Ports { host: Ipv4Addr::LOCALHOST, candidates: Vec::new(), any: AnyPort::Allowed };
        sockets.open(SocketId::CLIENT, &ports).unwrap();
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to: SocketAddr = receiver.local_addr().unwrap();
        let slot = |n| Slot { transmit: Transmit::new(SocketId::CLIENT, to), bytes: vec![n] };
        // A new socket counts as full until the runtime has heard that it is not.
        sockets.send(&[slot(1), slot(2)]);
        assert!(sockets.is_blocked());
        sockets.ready().await;
        sockets.send_kept();
        assert!(!sockets.is_blocked());
        sockets.send(&[slot(3)]);
        let mut byte = [0];
        for n in 1..=3 {
            receiver.recv(&mut byte).unwrap();
            assert_eq!(byte, [n]);
        }
    }

    #[tokio::test]
    async fn closing_keeps_the_counters_and_forgets_what_waits() {
        let mut sockets = Sockets::default();
        let ports = Ports { host: Ipv4Addr::LOCALHOST, candidates: Vec::new(), any: AnyPort::Allowed };
        let local = sockets.open(SocketId::SERVER, &ports).unwrap();
        poll_fn(|cx| sockets.places[&SocketId::SERVER].socket.as_ref().unwrap().poll_writable(cx)).await;
        let transmit = Transmit::new(SocketId::SERVER, local.into());
        sockets.send(&[Slot { transmit, bytes: vec![0; 7] }]);
        sockets.close(SocketId::SERVER);
        assert_eq!(sockets.local(SocketId::SERVER), None);
        sockets.open(SocketId::SERVER, &ports).unwrap();
        let (name, _, traffic) = sockets.states()[0];
        assert_eq!((name, traffic.packets_out, traffic.bytes_out), ("server", 1, 7));
    }
}
