//! Plays scenes: a server and a client that were never used before, a dial, an echo.

use std::time::Duration;

use anyhow::Result;

use crate::lab::endpoint::{Endpoint, Outcome, Side};
use crate::lab::namespace::Namespace;
use crate::lab::nat::{Hairpin, Kind};
use crate::lab::scene::Scene;
use crate::lab::shaper::Weather;
use crate::lab::site::{Internet, Site};

/// One way over a host's link: a host is 40 ms from a node and 80 ms from another host.
const DELAY: Duration = Duration::from_millis(20);

const JITTER: Duration = Duration::from_millis(1);

/// The links of every host, with this share of packets lost each way.
pub(crate) const fn weather(loss: f64) -> Weather {
    Weather { delay: DELAY, jitter: JITTER, loss, rate: None }
}

/// Who plays: the server's side and the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cast {
    pub(crate) server: Side,
    pub(crate) client: Side,
}

impl Cast {
    pub(crate) const ALL: [Self; 4] = {
        use Side::{JavaScript, Rust};
        [
            Self { server: JavaScript, client: JavaScript },
            Self { server: Rust, client: Rust },
            Self { server: Rust, client: JavaScript },
            Self { server: JavaScript, client: Rust },
        ]
    };

    /// Reads `SERVER-CLIENT`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (server, client) = text.split_once('-')?;
        Some(Self { server: Side::parse(server)?, client: Side::parse(client)? })
    }

    pub(crate) fn name(self) -> String {
        format!("{}-{}", self.server.name(), self.client.name())
    }
}

/// An internet, and the sites that were needed so far.
#[derive(Debug)]
pub(crate) struct Town {
    pub(crate) internet: Internet,
    weather: Weather,
    sites: Vec<(Lot, Site)>,
}

/// What a site is for: the two sides of a scene must not share a router unless the scene says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lot {
    Server(Kind),
    Client(Kind),
    Both(Kind, Hairpin),
}

impl Town {
    /// An internet in which every host's link loses this share of packets each way.
    pub(crate) fn new(seed: u64, loss: f64) -> Result<Self> {
        Ok(Self { internet: Internet::open(seed)?, weather: weather(loss), sites: Vec::new() })
    }

    /// Plays a scene a number of times.
    pub(crate) fn play(
        &mut self,
        bootstrap: &[String],
        scene: Scene,
        cast: Cast,
        times: usize,
    ) -> Result<Vec<Outcome>> {
        let (server, client) = self.hosts(scene)?;
        let mut server = Endpoint::start(cast.server, server, bootstrap)?;
        let mut client = Endpoint::start(cast.client, client, bootstrap)?;
        let mut outcomes = Vec::new();
        for _ in 0..times {
            outcomes.push(match server.serve() {
                Ok(key) => client.dial(&key, None)?,
                Err(error) => Outcome::Failed { reason: format!("cannot serve: {error:#}"), ms: None },
            });
            client.end()?;
            server.end()?;
        }
        Ok(outcomes)
    }

    /// The server's host and the client's.
    fn hosts(&mut self, scene: Scene) -> Result<(&Namespace, &Namespace)> {
        let (server, client) = match scene {
            Scene::Apart { server, client } => (Lot::Server(server), Lot::Client(client)),
            Scene::Blocked => (Lot::Server(Kind::PortCone), Lot::Client(Kind::Blocked)),
            Scene::Together { kind, hairpin } => (Lot::Both(kind, hairpin), Lot::Both(kind, hairpin)),
            Scene::Neighbours => {
                let lot = Lot::Both(Kind::Carrier, Hairpin::None);
                (lot, lot)
            }
        };
        let (server_at, client_at) = (self.built(server)?, self.built(client)?);
        let second = usize::from(server == client);
        Ok((&self.sites[server_at].1.hosts[0], &self.sites[client_at].1.hosts[second]))
    }

    /// Where the site of a lot is; builds it if need be.
    fn built(&mut self, lot: Lot) -> Result<usize> {
        if let Some(at) = self.sites.iter().position(|(other, _)| *other == lot) {
            return Ok(at);
        }
        let site = match lot {
            Lot::Server(kind) | Lot::Client(kind) => self.internet.site(kind, self.weather)?,
            Lot::Both(kind, hairpin) => self.internet.site_of(kind, hairpin, 2, self.weather)?,
        };
        self.sites.push((lot, site));
        Ok(self.sites.len() - 1)
    }
}
