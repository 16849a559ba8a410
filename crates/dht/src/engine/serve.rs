use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use wire::hyper::error;
use wire::{ADDR_LEN, Addrs, Command, Id, Reader, Request, Response, SocketId, Transmit, pack_addr};

use super::Engine;
use super::ask::{Ask, Owner, Urgency};
use crate::guard::PING_LEN;
use crate::key::node_id;
use crate::table::K;

/// Delayed pings that wait for their time; more are not answered.
const DELAYED_MAX: usize = 1024;

/// A request for the application.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inbound<'a> {
    pub(crate) from: SocketAddrV4,
    /// The socket that it arrived at.
    pub(crate) at: SocketId,
    /// Its token was checked.
    pub(crate) request: Request<'a>,
}

/// What to answer besides the transaction and our id.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Answer<'a> {
    pub(crate) error: u64,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) extras: Extras,
}

/// What an answer gives besides its value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Extras {
    #[default]
    Nothing,
    /// Nodes closer to the target.
    Closer,
    /// The same, and a token.
    CloserAndToken,
}

#[derive(Debug)]
pub(super) struct Delayed {
    from: SocketAddrV4,
    at: SocketId,
    tid: u16,
}

impl Engine {
    pub(super) fn handle_request<'a>(
        &mut self,
        now: Instant,
        from: SocketAddrV4,
        at: SocketId,
        request: Request<'a>,
    ) -> Option<Inbound<'a>> {
        self.heard = Some(now);
        let inbound = Inbound { from, at, request };
        self.challenge(now, from);
        if let Some(token) = request.token {
            if !self.tokens.accepts(now, *from.ip(), &token) {
                let refusal =
                    Answer { error: error::INVALID_TOKEN, value: None, extras: Extras::CloserAndToken };
                self.reply(now, &inbound, refusal);
                return None;
            }
            self.guard.prove(now, *from.ip());
        }
        if let Some(id) = request.id {
            self.consider(now, from, &id);
        }
        match request.command {
            Command::Internal(_) => {
                self.serve(now, &inbound);
                None
            }
            Command::App(_) => Some(inbound),
        }
    }

    /// Answers a request of the application, or refuses it.
    pub(crate) fn reply(&mut self, now: Instant, to: &Inbound<'_>, answer: Answer<'_>) {
        let mut packed = [0; K * ADDR_LEN];
        let closer = match (answer.extras, to.request.target) {
            (Extras::Closer | Extras::CloserAndToken, Some(target)) => {
                self.pack_closest(&target, &mut packed)
            }
            _ => Addrs::EMPTY,
        };
        let token = (answer.extras == Extras::CloserAndToken).then(|| self.tokens.issue(now, *to.from.ip()));
        let (error, value) = (answer.error, answer.value);
        let id = self.id().filter(|_| to.at == SocketId::SERVER);
        let response = Response { tid: to.request.tid, to: to.from, id, token, closer, error, value };
        self.respond(now, to.at, response);
    }

    /// Answers a command that nobody serves here.
    pub(crate) fn refuse(&mut self, now: Instant, to: &Inbound<'_>) {
        self.stats.served.unknown += 1;
        self.reply(now, to, Answer { error: error::UNKNOWN_COMMAND, value: None, extras: Extras::Closer });
    }

    /// Sends a response under the transaction of a request that another node made.
    pub(crate) fn relay_response(&mut self, now: Instant, via: &Inbound<'_>, to: SocketAddrV4, value: &[u8]) {
        let id = self.id().filter(|_| via.at == SocketId::SERVER);
        let tid = via.request.tid;
        let response =
            Response { tid, to, id, token: None, closer: Addrs::EMPTY, error: 0, value: Some(value) };
        self.respond(now, via.at, response);
    }

    /// Passes a request on to another node, under its transaction, with another value.
    pub(crate) fn relay_request(&mut self, now: Instant, via: &Inbound<'_>, to: SocketAddrV4, value: &[u8]) {
        let id = self.id().filter(|_| via.at == SocketId::SERVER);
        let request = Request { to, id, token: None, value: Some(value), ..via.request };
        let guard = &mut self.guard;
        let sent = self.outbox.push_if(
            Transmit::new(via.at, to.into()),
            |out| request.encode(out),
            |len| guard.admit(now, *to.ip(), len),
        );
        self.stats.withheld += u64::from(!sent);
    }

    pub(super) fn answer_delayed(&mut self, now: Instant) {
        while let Some(entry) = self.delayed.first_entry() {
            if entry.key().0 > now {
                return;
            }
            let Delayed { from, at, tid } = entry.remove();
            let id = self.id().filter(|_| at == SocketId::SERVER);
            self.respond(now, at, pong(tid, from, id));
        }
    }

    fn serve(&mut self, now: Instant, to: &Inbound<'_>) {
        let value = to.request.value.unwrap_or_default();
        match to.request.command {
            Command::PING => {
                self.stats.served.ping += 1;
                self.reply(now, to, Answer::default());
            }
            Command::PING_NAT => {
                let Some(port) = Reader::new(value).u16().ok().filter(|port| *port != 0) else { return };
                self.stats.served.ping_nat += 1;
                let other = Inbound { from: SocketAddrV4::new(*to.from.ip(), port), ..*to };
                self.reply(now, &other, Answer::default());
            }
            Command::FIND_NODE if to.request.target.is_some() => {
                self.stats.served.find_node += 1;
                self.reply(now, to, Answer { extras: Extras::Closer, ..Answer::default() });
            }
            Command::FIND_NODE => {}
            Command::DOWN_HINT => {
                let Ok(addr) = Reader::new(value).addr() else { return };
                self.stats.served.down_hint += 1;
                self.check_hinted(now, addr);
                self.reply(now, to, Answer::default());
            }
            Command::DELAYED_PING => {
                let Ok(delay) = Reader::new(value).u32() else { return };
                self.delay(now, to, Duration::from_millis(u64::from(delay)));
            }
            Command::Internal(_) | Command::App(_) => self.refuse(now, to),
        }
    }

    fn delay(&mut self, now: Instant, to: &Inbound<'_>, delay: Duration) {
        if delay > self.timing.ping_delay_max || self.delayed.len() >= DELAYED_MAX {
            return;
        }
        self.stats.served.delayed_ping += 1;
        self.serial += 1;
        let delayed = Delayed { from: to.from, at: to.at, tid: to.request.tid };
        self.delayed.insert((now + delay, self.serial), delayed);
    }

    /// Asks a host to prove its address, before its block's credit is used up.
    fn challenge(&mut self, now: Instant, from: SocketAddrV4) {
        if self.guard.wants_proof(now, *from.ip()) {
            let ask = Ask { retries: 0, urgency: Urgency::Forced, ..Ask::new(from, Command::PING) };
            self.ask(now, &ask, Owner::Challenge);
        }
    }

    /// Looks at a node that says it is persistent: it enters the table only after it answered us.
    ///
    /// The reference believes the request (`dht-rpc index.js`), so a forged source fills tables.
    fn consider(&mut self, now: Instant, from: SocketAddrV4, id: &Id<32>) {
        if self.table.get(id).is_some() || *id != node_id(from) || *id == self.table.id() {
            return;
        }
        let admitted = self.table.neighbours(id).len() < K && self.guard.admit(now, *from.ip(), PING_LEN);
        if admitted && self.may_check() {
            let ask = Ask { retries: 0, urgency: Urgency::Forced, ..Ask::new(from, Command::PING) };
            self.ask(now, &ask, Owner::Newcomer);
        }
    }

    fn pack_closest<'a>(&self, target: &Id<32>, packed: &'a mut [u8; K * ADDR_LEN]) -> Addrs<'a> {
        let mut len = 0;
        for (slot, node) in packed.chunks_exact_mut(ADDR_LEN).zip(self.table.closest(target).iter()) {
            slot.copy_from_slice(&pack_addr(node.addr));
            len += ADDR_LEN;
        }
        Addrs::from_packed(&packed[..len])
    }

    fn respond(&mut self, now: Instant, at: SocketId, response: Response<'_>) {
        let to = response.to;
        let guard = &mut self.guard;
        let sent = self.outbox.push_if(
            Transmit::new(at, to.into()),
            |out| response.encode(out),
            |len| guard.admit(now, *to.ip(), len),
        );
        self.stats.withheld += u64::from(!sent);
    }
}

const fn pong(tid: u16, to: SocketAddrV4, id: Option<Id<32>>) -> Response<'static> {
    Response { tid, to, id, token: None, closer: Addrs::EMPTY, error: 0, value: None }
}
