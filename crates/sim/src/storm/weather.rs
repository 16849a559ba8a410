use std::net::SocketAddrV4;
use std::time::Duration;

use dht::Hyper;
use rand::RngExt as _;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use wire::{Id, Request, Response, Token, pack_addrs};

use crate::net::{Cable, HostId, Millionths, Path, Realm};
use crate::storm::{BOOTSTRAPPERS, Storm};
use crate::world::{Heard, Said};

/// Addresses that only liars name; nobody lives there.
pub(super) const NOWHERE: u8 = 99;

impl Storm {
    /// Lets one thing go wrong, or come right again.
    pub(super) fn strike(&mut self) {
        let host = self.anybody();
        match self.rng.random_range(0..14) {
            0 => self.fell(host),
            1 => self.world.sleep(host),
            2 => self.world.net_mut().set_cable(host, Cable::Mute),
            3 => self.world.net_mut().set_cable(host, Cable::Down),
            4 | 5 => self.revive(host),
            6 => self.divide(),
            7 => {
                if let Some(cut) = self.cuts.pop() {
                    self.world.net_mut().heal(cut);
                }
            }
            8 => self.change_path(),
            9 => self.disturb_nat(),
            10 => self.tell(host, Hyper::handle_network_change),
            11 => self.tell(host, Hyper::suspend),
            12 => self.tell(host, Hyper::resume),
            _ => self.babble(host),
        }
    }

    /// Puts everything about a host in order.
    pub(super) fn revive(&mut self, host: HostId) {
        if self.world.is_asleep(host) {
            // What was under way when it fell asleep has its time from now on.
            let now = self.world.now();
            self.running.iter_mut().filter(|((of, _), _)| *of == host).for_each(|(_, began)| *began = now);
        }
        self.world.wake(host);
        if self.world.node(host).is_none() {
            self.start(host);
        } else {
            self.world.call(host, Hyper::resume);
            self.world.change_network(host);
        }
    }

    /// Adds a host that answers every request with nodes that do not exist, and claims ids that are not its.
    pub(super) fn add_liar(&mut self) {
        let liar = self.world.add_script(Realm::Internet, Box::new(lie));
        let address = SocketAddrV4::new(self.world.net().address(liar), 1);
        self.bootstrap.push(dht::Bootstrap::Address(address));
    }

    fn fell(&mut self, host: HostId) {
        self.running.retain(|(of, _), _| *of != host);
        self.world.kill(host);
    }

    fn divide(&mut self) {
        let mut group = self.everybody();
        group.shuffle(&mut self.rng);
        group.truncate(self.rng.random_range(1..group.len()));
        self.cuts.push(self.world.net_mut().cut(group));
    }

    fn change_path(&mut self) {
        let mut percent = |most| Millionths::percent(self.rng.random_range(0..=most));
        let (loss, duplication, reordering) = (percent(30), percent(10), percent(10));
        let jitter = Duration::from_millis(self.rng.random_range(0..150));
        let path = Path { jitter, loss, duplication, reordering, ..Path::INTERNET };
        self.world.net_mut().set_path(path);
    }

    fn disturb_nat(&mut self) {
        let nat = *self.nats.choose(&mut self.rng).expect("there is at least one");
        if self.rng.random() {
            self.world.net_mut().flush(nat);
        } else {
            self.world.net_mut().rebind(nat);
        }
    }

    fn tell(&mut self, host: HostId, verb: fn(&mut Hyper, std::time::Instant)) {
        if self.world.node(host).is_some() && !self.world.is_asleep(host) {
            self.world.call(host, verb);
        }
    }

    /// Sends a host a datagram of noise, or one that is almost valid, under somebody's name.
    fn babble(&mut self, to: HostId) {
        let from = *self.open[BOOTSTRAPPERS..].choose(&mut self.rng).expect("there are at least six");
        let alias = SocketAddrV4::new(self.world.net().address(from), dht::Config::PORT);
        let to = SocketAddrV4::new(self.world.net().address(to), dht::Config::PORT);
        let mut bytes = Vec::new();
        let liar = Request {
            tid: self.rng.random(),
            to,
            id: Some(Id(self.rng.random())),
            token: Some(Token(self.rng.random())),
            command: wire::Command::App(self.rng.random_range(0..12)),
            target: Some(Id(self.rng.random())),
            value: Some(&[0xff; 40]),
        };
        liar.encode(&mut bytes);
        for _ in 0..self.rng.random_range(0..4) {
            let at = self.rng.random_range(0..bytes.len());
            bytes[at] = self.rng.random();
        }
        self.world.send(from, Said { spoof: Some(alias), ..Said::new(1, to, bytes) });
    }
}

fn lie(heard: &Heard<'_>) -> Vec<Said> {
    let Ok(request) = Request::decode(heard.bytes) else { return Vec::new() };
    let nowhere: Vec<SocketAddrV4> = (1..=20)
        .map(|n| SocketAddrV4::new([NOWHERE, heard.bytes[2], heard.bytes[3], n].into(), 49_737))
        .collect();
    let packed = pack_addrs(nowhere);
    let mut bytes = Vec::new();
    let response = Response {
        tid: request.tid,
        to: heard.from,
        id: request.target.or(Some(Id([heard.bytes[2]; 32]))),
        token: Some(Token([7; 32])),
        closer: wire::Addrs::from_packed(&packed),
        error: 0,
        value: Some(&[0xfd, 0xff, 0xff]),
    };
    response.encode(&mut bytes);
    vec![Said::new(heard.at.port(), heard.from, bytes)]
}
