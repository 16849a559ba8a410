use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use dht::{Config, Hyper};
use wire::hyper::{ANNOUNCE, LOOKUP};
use wire::{Command, Id, Request, Response, SocketId, Transmit};

use crate::bench::author::{Shelf, id_of};
use crate::bench::crowd::{around, hello, pong};
use crate::bench::question::{Question, peers, topic};

/// Where the machine believes to be.
const OWN: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 17_031);

/// Who asks it.
const ASKER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 17_032);

/// Time between two requests; upkeep is not part of an answer.
const BETWEEN: Duration = Duration::from_micros(2);

/// First byte of a response.
const RESPONSE: u8 = 0x13;

/// A node without sockets, its table and store filled like those of the servers that are measured.
pub(crate) struct Machine {
    hyper: Hyper,
    now: Instant,
    out: Vec<u8>,
    answer: Vec<u8>,
    reply: Vec<u8>,
}

impl Machine {
    pub(crate) fn new() -> Result<Self> {
        let now = Instant::now();
        let mut hyper = Hyper::new(Config::bootstrapper(OWN), [1; 32], now);
        hyper.handle_opened(now, SocketId::SERVER, OWN);
        hyper.handle_opened(now, SocketId::CLIENT, SocketAddrV4::new(Ipv4Addr::LOCALHOST, 17_033));
        let mut machine = Self { hyper, now, out: Vec::new(), answer: Vec::new(), reply: Vec::new() };
        for address in around(id_of(OWN), Some) {
            machine.exchange(address, &hello(OWN, id_of(address)));
        }
        ensure!(
            machine.hyper.nodes().count() >= 100,
            "the table holds {} nodes",
            machine.hyper.nodes().count()
        );
        peers().try_for_each(|peer| {
            let shelf = machine.shelf()?;
            let value = peer.announcement(topic(), shelf);
            let (token, target, value) = (Some(shelf.token), Some(topic()), Some(value.as_slice()));
            let response = machine.ask(Request { token, value, ..request(ANNOUNCE, target) })?;
            ensure!(response.error == 0, "an announcement was refused");
            Ok(())
        })?;
        Ok(machine)
    }

    /// Asks this many times and tells how many answers came.
    pub(crate) fn serve(&mut self, requests: &[Vec<u8>], count: usize) -> usize {
        requests.iter().cycle().take(count).map(|request| self.exchange(ASKER, request)).sum()
    }

    /// Passes one datagram in and everything out, as the driver does; pings are answered at once. Counts responses.
    fn exchange(&mut self, from: SocketAddrV4, bytes: &[u8]) -> usize {
        self.now += BETWEEN;
        self.hyper.handle_datagram(self.now, from.into(), SocketId::SERVER, bytes);
        let mut answers = 0;
        while let Some(Transmit { to, .. }) = self.hyper.poll_transmit(&mut self.out) {
            if self.out.first() == Some(&RESPONSE) {
                answers += 1;
                std::mem::swap(&mut self.answer, &mut self.out);
                continue;
            }
            self.reply.clear();
            if pong(&self.out, OWN, Some(id_of(from)), &mut self.reply) {
                self.hyper.handle_datagram(self.now, to, SocketId::SERVER, &self.reply);
            }
        }
        while self.hyper.poll_command().is_some() {}
        while self.hyper.poll_event().is_some() {}
        let _due = self.hyper.poll_timeout();
        answers
    }

    fn ask(&mut self, request: Request<'_>) -> Result<Response<'_>> {
        let mut bytes = Vec::new();
        request.encode(&mut bytes);
        ensure!(self.exchange(ASKER, &bytes) == 1, "{:?} is not answered", request.command);
        Ok(Response::decode(&self.answer)?)
    }

    fn shelf(&mut self) -> Result<Shelf> {
        let response = self.ask(request(LOOKUP, Some(topic())))?;
        Ok(Shelf {
            id: response.id.context("the machine has no id")?,
            token: response.token.context("the machine gives no token")?,
        })
    }
}

const fn request(command: Command, target: Option<Id<32>>) -> Request<'static> {
    Request { tid: 0, to: OWN, id: None, token: None, command, target, value: None }
}

/// Serves for an instruction counter, which tells two counts of requests apart.
pub(crate) fn serve(question: Question, count: usize) -> Result<ExitCode> {
    let answers = Machine::new()?.serve(&question.requests(OWN), count);
    ensure!(answers == count, "{answers} of {count} requests were answered");
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUESTS: usize = 10_000;

    #[test]
    fn answering_a_request_allocates_nothing() {
        let mut machine = Machine::new().unwrap();
        for question in Question::ALL {
            let requests = question.requests(OWN);
            machine.serve(&requests, REQUESTS);
            let mut answers = 0;
            let allocations = allocation_counter::measure(|| answers = machine.serve(&requests, REQUESTS));
            assert_eq!((answers, allocations.count_total), (REQUESTS, 0), "{}", question.name());
        }
    }
}
