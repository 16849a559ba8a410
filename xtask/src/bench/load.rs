use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::bench::batch::{BATCH, Inbox, Outbound, Wait, send_segments};
use crate::bench::crowd::pong;
use crate::bench::question::Question;

/// Requests that wait for an answer at any time: two batches, so that neither side waits for the other.
const WINDOW: usize = 2 * BATCH;

/// After this long without an answer, what is outstanding counts as lost.
const PATIENCE: Duration = Duration::from_millis(200);

/// First byte of a response.
const RESPONSE: u8 = 0x13;

/// What answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    /// A node, which may also ask.
    Node,
    /// Something that sends everything back.
    Echo,
}

/// What a run showed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Answers {
    /// Requests answered.
    pub(crate) answered: u64,
    /// Requests that were not.
    pub(crate) lost: u64,
    /// How long it took.
    pub(crate) wall: Duration,
}

/// Asks one server, always with the same number of requests outstanding.
pub(crate) struct Generator {
    socket: UdpSocket,
    to: SocketAddrV4,
    server: Server,
    inbox: Inbox,
    outbound: Outbound,
    burst: Vec<u8>,
    requests: Vec<Vec<u8>>,
    next: usize,
    tid: u16,
    waiting: Vec<bool>,
    outstanding: usize,
}

impl Generator {
    pub(crate) fn new(to: SocketAddrV4, server: Server) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        Ok(Self {
            socket,
            to,
            server,
            inbox: Inbox::new(),
            outbound: Outbound::new(),
            burst: Vec::new(),
            requests: Vec::new(),
            next: 0,
            tid: 0,
            waiting: vec![false; 1 << 16],
            outstanding: 0,
        })
    }

    /// Asks for this long.
    pub(crate) fn run(&mut self, question: Question, time: Duration) -> Result<Answers> {
        self.requests = question.requests(self.to);
        self.waiting.fill(false);
        self.outstanding = 0;
        let mut answers = Answers::default();
        let start = Instant::now();
        let mut heard = start;
        loop {
            let now = Instant::now();
            if now - start >= time {
                break;
            }
            if now - heard > PATIENCE {
                answers.lost += u64::try_from(self.outstanding)?;
                self.waiting.fill(false);
                self.outstanding = 0;
                heard = now;
            }
            self.refill()?;
            let answered = self.collect()?;
            if answered > 0 {
                heard = now;
                answers.answered += answered;
            } else {
                thread::yield_now();
            }
        }
        answers.wall = start.elapsed();
        Ok(answers)
    }

    /// Sends as one segmented datagram what the window has room for: that costs the generator less than it costs
    /// the server, so that the server is what is measured.
    fn refill(&mut self) -> Result<()> {
        self.outbound.flush(&self.socket)?;
        self.burst.clear();
        let room = (WINDOW - self.outstanding).min(BATCH);
        for _ in 0..room {
            self.tid = self.tid.wrapping_add(1);
            let start = self.burst.len();
            self.burst.extend_from_slice(&self.requests[self.next]);
            self.burst[start + 2..start + 4].copy_from_slice(&self.tid.to_le_bytes());
            self.next = (self.next + 1) % self.requests.len();
            self.waiting[usize::from(self.tid)] = true;
            self.outstanding += 1;
        }
        if room > 0 {
            send_segments(&self.socket, self.to, &self.burst, self.requests[0].len())?;
        }
        Ok(())
    }

    /// Takes answers, and answers a server that wants to know whether this address is ours.
    fn collect(&mut self) -> Result<u64> {
        self.inbox.receive(&self.socket, Wait::Never)?;
        let mut answered = 0;
        for (meta, bytes) in self.inbox.iter() {
            let [first, _, low, high, ..] = *bytes else { continue };
            if first != RESPONSE && self.server == Server::Node {
                self.outbound.push(meta.from, |out| {
                    pong(bytes, meta.from, None, out);
                });
                continue;
            }
            let tid = usize::from(u16::from_le_bytes([low, high]));
            if std::mem::take(&mut self.waiting[tid]) {
                self.outstanding -= 1;
                answered += 1;
            }
        }
        Ok(answered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::seat::free_address;
    use node::{Config, Node};
    use tokio::runtime::Builder;
    use tokio::sync::oneshot;

    #[test]
    fn a_running_node_allocates_nothing_for_an_answer() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let at = free_address().unwrap();
        let node = runtime.block_on(Node::spawn(Config::bootstrapper(at))).unwrap();
        // The node runs on this thread, whose allocations are counted, and is asked from another.
        let answered = || {
            let (tell, told) = oneshot::channel();
            thread::spawn(move || {
                let mut generator = Generator::new(at, Server::Node).unwrap();
                tell.send(generator.run(Question::Lookup, PATIENCE).unwrap().answered).unwrap();
            });
            runtime.block_on(told).unwrap()
        };
        answered();
        let mut answers = 0;
        let allocations = allocation_counter::measure(|| answers = answered()).count_total;
        // The thread, the channel and the node's own timers allocate now and then.
        assert!(answers > 1000 && allocations < answers / 100, "{allocations} in {answers} answers");
        drop(node);
    }
}
