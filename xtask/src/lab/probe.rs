//! Measures the laboratory itself: what no test of it is worth anything without.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::bench::report::median;
use crate::lab::namespace::Namespace;
use crate::lab::nat::Kind;
use crate::lab::site::{Internet, Site};

/// Longer than any round trip in the laboratory.
const PATIENCE: Duration = Duration::from_millis(400);

/// Tries of a packet that may be lost.
const TRIES: usize = 5;

const ROUND_TRIPS: usize = 21;

/// How mapping or filtering depends on the remote side (RFC 4787).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Nothing,
    Address,
    AddressAndPort,
}

/// What a host can find out about the NAT that it is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Nature {
    pub(crate) mapping: By,
    pub(crate) filtering: By,
    /// The outer port is the inner one.
    pub(crate) keeps_port: bool,
    /// The ports of three mappings follow one another.
    pub(crate) counts: bool,
}

/// What a kind must turn out to be; nothing where UDP does not pass.
pub(crate) fn expected(kind: Kind) -> Option<Nature> {
    let cone = |filtering, keeps_port| Nature { mapping: By::Nothing, filtering, keeps_port, counts: false };
    let symmetric = |counts| Nature {
        mapping: By::AddressAndPort,
        filtering: By::AddressAndPort,
        keeps_port: false,
        counts,
    };
    Some(match kind {
        Kind::Open | Kind::FullCone => cone(By::Nothing, true),
        Kind::AddressCone => cone(By::Address, true),
        Kind::Firewall | Kind::PortCone => cone(By::AddressAndPort, true),
        Kind::PortConeMoved | Kind::Carrier => cone(By::AddressAndPort, false),
        Kind::Sequential => symmetric(true),
        Kind::Random => symmetric(false),
        Kind::Blocked => return None,
    })
}

/// Finds out what NAT a host is behind; nothing if no packet of it arrives.
pub(crate) fn nature(internet: &Internet, host: &Namespace) -> Result<Option<Nature>> {
    let [one, other] = [internet.nodes[0], internet.nodes[1]];
    let [near, near_other_port, far, far_other_port] = [
        socket(&internet.middle, one)?,
        socket(&internet.middle, one)?,
        socket(&internet.middle, other)?,
        socket(&internet.middle, other)?,
    ];
    let mapped = socket(host, Ipv4Addr::UNSPECIFIED)?;
    let Some(first) = seen(&mapped, &near)? else { return Ok(None) };
    let second = seen(&mapped, &near_other_port)?.context("a mapping did not last")?;
    let third = seen(&mapped, &far)?.context("a mapping did not last")?;
    let mapping = match (first == second, second == third) {
        (true, true) => By::Nothing,
        (true, false) => By::Address,
        (false, _) => By::AddressAndPort,
    };
    let filtered = socket(host, Ipv4Addr::UNSPECIFIED)?;
    let outside = seen(&filtered, &near)?.context("a second mapping failed")?;
    let filtering = if reaches(&far_other_port, outside, &filtered)? {
        By::Nothing
    } else if reaches(&near_other_port, outside, &filtered)? {
        By::Address
    } else {
        By::AddressAndPort
    };
    let ports = [first, second, third].map(|address| address.port());
    let counts = ports.windows(2).all(|pair| pair[0] + 1 == pair[1]);
    let keeps_port = mapped.local_addr()?.port() == first.port();
    Ok(Some(Nature { mapping, filtering, keeps_port, counts }))
}

/// The median round trip between two open hosts, in milliseconds.
pub(crate) fn round_trip_ms(one: &Site, other: &Site) -> Result<f64> {
    let near = socket(one.host(), Ipv4Addr::UNSPECIFIED)?;
    let far = socket(other.host(), Ipv4Addr::UNSPECIFIED)?;
    ensure!(
        one.kind == Kind::Open && other.kind == Kind::Open,
        "round trips are measured between open hosts"
    );
    let to = SocketAddr::from((other.public, far.local_addr()?.port()));
    let mut times = Vec::new();
    let mut buf = [0; 16];
    for _ in 0..ROUND_TRIPS {
        let start = Instant::now();
        near.send_to(b"there", to)?;
        if let Ok((_, from)) = far.recv_from(&mut buf) {
            far.send_to(b"back", from)?;
            if near.recv_from(&mut buf).is_ok() {
                times.push(start.elapsed().as_secs_f64() * 1000.0);
            }
        }
    }
    ensure!(times.len() > ROUND_TRIPS / 2, "only {} of {ROUND_TRIPS} packets came back", times.len());
    Ok(median(times))
}

fn socket(network: &Namespace, host: Ipv4Addr) -> Result<UdpSocket> {
    let socket = network.within(|| UdpSocket::bind((host, 0)))??;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// How an outer socket sees an inner one.
fn seen(inner: &UdpSocket, outer: &UdpSocket) -> Result<Option<SocketAddr>> {
    for _ in 0..TRIES {
        inner.send_to(b"who am I", outer.local_addr()?)?;
        if let Ok((_, from)) = outer.recv_from(&mut [0; 16]) {
            return Ok(Some(from));
        }
    }
    Ok(None)
}

/// Whether a packet from outside comes in.
fn reaches(outer: &UdpSocket, at: SocketAddr, inner: &UdpSocket) -> Result<bool> {
    for _ in 0..TRIES {
        outer.send_to(b"knock", at)?;
        if inner.recv_from(&mut [0; 16]).is_ok() {
            return Ok(true);
        }
    }
    Ok(false)
}

impl fmt::Display for Nature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = |by| match by {
            By::Nothing => "nothing",
            By::Address => "address",
            By::AddressAndPort => "address and port",
        };
        write!(f, "maps by {}, filters by {}", by(self.mapping), by(self.filtering))?;
        f.write_str(if self.keeps_port { ", keeps the port" } else { "" })?;
        f.write_str(if self.counts { ", counts its ports" } else { "" })
    }
}
