use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use wire::hyper::LOOKUP;
use wire::{Id, Request, Response};

use crate::bench::author::Shelf;
use crate::bench::batch::{Inbox, Outbound, Wait};
use crate::bench::crowd::pong;
use crate::flood::ledger::Ledger;
use crate::flood::wave::{MIXTURE, Wave, Writer};

/// A hundred datagrams leave each tick, 20,000 a second.
const TICK: Duration = Duration::from_millis(5);

/// Hosts, each on a network of its own, that ask for tokens and store things.
const TOKEN_HOSTS: u8 = 8;

/// How often they ask: a token of the reference lives 7.5 s at least.
const TOKEN_EVERY: Duration = Duration::from_secs(3);

/// Longest wait for the first tokens.
const TOKEN_WAIT_MAX: Duration = Duration::from_secs(5);

/// Room for answers that come faster than they are read.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// The flood: one socket on all loopback addresses, so that any of them can be a source.
pub(crate) struct Strike {
    socket: UdpSocket,
    to: SocketAddrV4,
    writer: Writer,
    inbox: Inbox,
    outbound: Outbound,
    shelves: [Option<Shelf>; TOKEN_HOSTS as usize],
    turn: u8,
    pub(crate) ledger: Ledger,
    /// Datagrams sent.
    pub(crate) sent: u64,
}

impl Strike {
    pub(crate) fn new(to: SocketAddrV4) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER_BYTES)?;
        let port = socket.local_addr()?.port();
        let mut ledger = Ledger::new();
        (0..TOKEN_HOSTS).for_each(|number| ledger.proves(token_host(number)));
        Ok(Self {
            socket,
            to,
            writer: Writer::new(to, port),
            inbox: Inbox::with_destinations(),
            outbound: Outbound::with_sources(),
            shelves: [None; TOKEN_HOSTS as usize],
            turn: 0,
            ledger,
            sent: 0,
        })
    }

    /// Floods for this long.
    pub(crate) fn run(&mut self, time: Duration) -> Result<()> {
        self.first_tokens()?;
        let start = Instant::now();
        let mut asked = start;
        let mut tick = start;
        while start.elapsed() < time {
            for (wave, count) in MIXTURE {
                self.send(wave, count)?;
            }
            if asked.elapsed() >= TOKEN_EVERY {
                asked = Instant::now();
                self.ask_for_tokens()?;
            }
            tick += TICK;
            self.read_until(tick)?;
        }
        Ok(())
    }

    fn send(&mut self, wave: Wave, count: usize) -> Result<()> {
        match wave {
            Wave::Spoofed(kind) => {
                let source = self.writer.source(kind);
                self.send_from(source, count, |writer, out| writer.write(kind, source, out))
            }
            Wave::Signed(kind) => {
                self.turn = (self.turn + 1) % TOKEN_HOSTS;
                let shelf = self.shelves[usize::from(self.turn)].context("a host has no token")?;
                self.send_from(token_host(self.turn), count, |writer, out| writer.sign(kind, shelf, out))
            }
        }
    }

    fn send_from(
        &mut self,
        source: Ipv4Addr,
        count: usize,
        write: impl Fn(&mut Writer, &mut Vec<u8>),
    ) -> Result<()> {
        for _ in 0..count {
            let mut len = 0;
            self.outbound.push(self.to, |out| {
                let start = out.len();
                write(&mut self.writer, out);
                len = out.len() - start;
            });
            self.ledger.sent(source, len);
            self.sent += 1;
        }
        Ok(self.outbound.flush_from(&self.socket, source)?)
    }

    fn first_tokens(&mut self) -> Result<()> {
        let start = Instant::now();
        while self.shelves.iter().any(Option::is_none) {
            ensure!(start.elapsed() < TOKEN_WAIT_MAX, "the node gives no tokens");
            self.ask_for_tokens()?;
            self.read_until(Instant::now() + TOKEN_WAIT_MAX / 20)?;
        }
        Ok(())
    }

    fn ask_for_tokens(&mut self) -> Result<()> {
        for number in 0..TOKEN_HOSTS {
            let (to, target) = (self.to, Some(Id([number; 32])));
            self.outbound.push(to, |out| {
                Request { tid: 0, to, id: None, token: None, command: LOOKUP, target, value: None }
                    .encode(out);
            });
            self.outbound.flush_from(&self.socket, token_host(number))?;
        }
        Ok(())
    }

    fn read_until(&mut self, deadline: Instant) -> Result<()> {
        loop {
            while self.inbox.receive(&self.socket, Wait::Never)? > 0 {
                self.read()?;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            let mut fds = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            ppoll(&mut fds, Some(TimeSpec::from_duration(left)), None)?;
        }
    }

    /// Accounts for what came, takes tokens, and answers pings to hosts that mean to prove themselves.
    fn read(&mut self) -> Result<()> {
        for (meta, bytes) in self.inbox.iter() {
            self.ledger.came_back(meta.at, bytes.len());
            let Some(number) = token_host_number(meta.at) else { continue };
            if let Ok(Response { id: Some(id), token: Some(token), .. }) = Response::decode(bytes) {
                self.shelves[usize::from(number)] = Some(Shelf { id, token });
            }
            self.outbound.push(meta.from, |out| {
                pong(bytes, meta.from, None, out);
            });
            self.outbound.flush_from(&self.socket, meta.at)?;
        }
        Ok(())
    }
}

const fn token_host(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 9, number, 1)
}

fn token_host_number(address: Ipv4Addr) -> Option<u8> {
    let [_, nine, number, _] = address.octets();
    (nine == 9 && number < TOKEN_HOSTS).then_some(number)
}
