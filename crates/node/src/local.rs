//! Sockets on every link of this computer, and the machine of local discovery behind them.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::task::Poll;
use std::time::Instant;

use discovery::{DATAGRAM_MAX, GROUP, Multicast, Seat, UnixMillis};
use nix::net::if_::InterfaceFlags;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use wire::SocketId;

use crate::snapshot::unix_millis;

/// Datagrams read of one link before others have a turn.
const READ_MAX: usize = 64;

/// Which links local discovery uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Those that lead to other computers; loopback only where there is none.
    #[default]
    Links,
    /// Loopback, for programs of one computer and for tests.
    Loopback,
}

/// Multicast DNS on the links of this computer.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) multicast: Multicast,
    scope: Scope,
    links: BTreeMap<SocketId, Link>,
    next: u16,
    buf: Vec<u8>,
}

#[derive(Debug)]
struct Link {
    seat: Seat,
    socket: UdpSocket,
}

impl Local {
    /// Opens a socket on each link. Links that cannot be used are left out and tried again by [`Local::refresh`].
    pub(crate) fn open(scope: Scope, seed: [u8; 32], now: Instant) -> Self {
        let multicast = Multicast::new(seed, now, UnixMillis(unix_millis()));
        let mut local =
            Self { multicast, scope, links: BTreeMap::new(), next: 0, buf: vec![0; DATAGRAM_MAX] };
        local.refresh(now);
        local
    }

    /// Looks at the interfaces and the wall clock again.
    pub(crate) fn refresh(&mut self, now: Instant) {
        self.multicast.handle_clock(now, UnixMillis(unix_millis()));
        let wanted = match links(self.scope) {
            Ok(wanted) => wanted,
            Err(error) => {
                tracing::debug!(%error, "cannot list the interfaces");
                return;
            }
        };
        self.links.retain(|_, link| wanted.contains(&(link.seat.address, link.seat.prefix_len)));
        for (address, prefix_len) in wanted {
            let is_open = self.links.values().any(|link| link.seat.address == address);
            if is_open {
                continue;
            }
            match open(address) {
                Ok(socket) => {
                    let id = SocketId(self.next);
                    self.next = self.next.wrapping_add(1);
                    self.links.insert(id, Link { seat: Seat { socket: id, address, prefix_len }, socket });
                }
                Err(error) => tracing::debug!(%error, %address, "no local discovery on this link"),
            }
        }
        self.multicast.handle_seats(now, self.links.values().map(|link| link.seat));
    }

    /// Waits until a socket may have received something. Cancellation-safe.
    pub(crate) async fn readable(&self) {
        poll_fn(|cx| {
            let is_ready = |link: &Link| link.socket.poll_recv_ready(cx).is_ready();
            if self.links.values().map(is_ready).fold(false, |any, one| any | one) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Hands the machine what has arrived.
    pub(crate) fn read(&mut self, now: Instant) {
        for (id, link) in &self.links {
            for _ in 0..READ_MAX {
                match link.socket.try_recv_from(&mut self.buf) {
                    Ok((len, from)) => {
                        let bytes = self.buf.get(..len).unwrap_or_default();
                        self.multicast.handle_datagram(now, *id, from, bytes);
                    }
                    Err(_) => break,
                }
            }
        }
    }

    /// Sends what the machine wants to. What a link does not take is lost, as on any link.
    pub(crate) fn write(&mut self) {
        let mut buf = Vec::new();
        while let Some(transmit) = self.multicast.poll_transmit(&mut buf) {
            if let Some(link) = self.links.get(&transmit.from)
                && let Err(error) = send(&link.socket, &buf, transmit.to)
            {
                tracing::trace!(%error, address = %link.seat.address, "not sent");
            }
        }
    }
}

/// Sends at once: a socket that was just opened is not known to be writable, and `try_send_to` would say it is not.
fn send(socket: &UdpSocket, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
    socket2::SockRef::from(socket).send_to(bytes, &to.into())
}

/// A socket that hears the group on one interface and speaks there, beside others of this computer (RFC 6762, 15.1).
fn open(address: Ipv4Addr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    // Elsewhere than on Linux, sharing a port takes both.
    #[cfg(all(unix, not(target_os = "linux")))]
    socket.set_reuse_port(true)?;
    // Else it would hear what comes to other interfaces too, and take it for this link's.
    #[cfg(target_os = "linux")]
    socket.set_multicast_all_v4(false)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, GROUP.port())).into())?;
    socket.join_multicast_v4(GROUP.ip(), &address)?;
    socket.set_multicast_if_v4(&address)?;
    socket.set_multicast_loop_v4(true)?;
    // RFC 6762, 11: 255 shows that no router was in between.
    socket.set_multicast_ttl_v4(255)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket.into())
}

/// Addresses of the interfaces to use, with the length of their prefixes.
fn links(scope: Scope) -> io::Result<Vec<(Ipv4Addr, u8)>> {
    let (mut loopback, mut others) = (Vec::new(), Vec::new());
    for interface in nix::ifaddrs::getifaddrs().map_err(io::Error::from)? {
        if !interface.flags.contains(InterfaceFlags::IFF_UP) {
            continue;
        }
        let address = interface.address.and_then(|address| Some(address.as_sockaddr_in()?.ip()));
        let mask = interface.netmask.and_then(|mask| Some(mask.as_sockaddr_in()?.ip()));
        let (Some(address), Some(mask)) = (address, mask) else { continue };
        let prefix_len = u8::try_from(u32::from(mask).leading_ones()).unwrap_or(32);
        if address.is_loopback() {
            loopback.push((address, prefix_len));
        } else if interface.flags.contains(InterfaceFlags::IFF_MULTICAST) {
            others.push((address, prefix_len));
        }
    }
    let is_alone = others.is_empty();
    Ok(if scope == Scope::Loopback || is_alone { loopback } else { others })
}
