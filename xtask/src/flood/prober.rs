use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;
use wire::{Command, Request, Response};

use crate::bench::crowd::pong;
use crate::bench::report::quantile;
use crate::bench::routine::Ending;

/// Time between two pings.
const PERIOD: Duration = Duration::from_millis(10);

/// After this long a ping is lost; it is how long the reference waits.
pub(crate) const PING_WAIT_MAX: Duration = Duration::from_secs(1);

/// How pings fared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pings {
    pub(crate) rtt_ms: Vec<f64>,
    pub(crate) lost: u32,
}

impl Pings {
    /// Share of pings without an answer, in percent.
    pub(crate) fn lost_percent(&self) -> f64 {
        let answered = f64::from(u32::try_from(self.rtt_ms.len()).unwrap_or(u32::MAX));
        f64::from(self.lost) * 100.0 / (answered + f64::from(self.lost)).max(1.0)
    }

    /// Reads what a node printed about the pings that it made.
    pub(crate) fn read(lines: &[String]) -> Result<Self> {
        let mut pings = Self::default();
        for line in lines {
            let line: Value = serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?;
            match (line["event"].as_str(), line["ms"].as_f64()) {
                (Some("ping"), Some(ms)) => pings.rtt_ms.push(ms),
                (Some("lost"), _) => pings.lost += 1,
                _ => {}
            }
        }
        Ok(pings)
    }

    pub(crate) fn p99_ms(&mut self) -> f64 {
        quantile(&mut self.rtt_ms, 0.99)
    }
}

/// Pings a node all the time, from an honest host, until told to end.
pub(crate) fn probe(to: SocketAddrV4, ending: &Ending) -> Result<Pings> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut pings = Pings::default();
    let mut waiting = BTreeMap::new();
    let mut tid = 0_u16;
    let mut out = Vec::new();
    while !ending.is_wanted() || !waiting.is_empty() {
        if !ending.is_wanted() {
            tid = tid.wrapping_add(1);
            out.clear();
            let command = Command::PING;
            Request { tid, to, id: None, token: None, command, target: None, value: None }.encode(&mut out);
            socket.send_to(&out, to)?;
            waiting.insert(tid, Instant::now());
        }
        listen(&socket, &mut waiting, &mut pings, Instant::now() + PERIOD)?;
        let before = waiting.len();
        waiting.retain(|_, sent| sent.elapsed() < PING_WAIT_MAX);
        pings.lost += u32::try_from(before - waiting.len())?;
    }
    Ok(pings)
}

fn listen(
    socket: &UdpSocket,
    waiting: &mut BTreeMap<u16, Instant>,
    pings: &mut Pings,
    until: Instant,
) -> Result<()> {
    let (mut buf, mut out) = ([0; 2048], Vec::new());
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        socket.set_read_timeout(Some(left))?;
        let Ok((len, SocketAddr::V4(from))) = socket.recv_from(&mut buf) else { continue };
        let bytes = buf.get(..len).unwrap_or_default();
        out.clear();
        if let Ok(response) = Response::decode(bytes) {
            let sent = waiting.remove(&response.tid);
            pings.rtt_ms.extend(sent.map(|sent| sent.elapsed().as_secs_f64() * 1000.0));
        } else if pong(bytes, from, None, &mut out) {
            socket.send_to(&out, from)?;
        }
    }
    Ok(())
}
