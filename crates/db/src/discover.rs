//! Servers that meet by topic alone.
//!
//! A server is found by the port of its WebSocket: on Mainline, under the SHA-1 of the topic, where scripts on npm
//! `discovery-channel` look, and on the local network. It is found by a key on HyperDHT, under the SHA-256 of the
//! topic, as applications of `hyperswarm` are, and then [talked to over the swarm](crate::bridge).

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use node::channel::{
    self, Channel, ChannelError, Domain, Event, Events, Found, Join, Manner, Naming, Scope, Setup, Source,
};
use node::mainline::Mainline;
use node::roster::Role;
use node::{Identity, Node, SwarmError, SwarmOptions};
use tokio::sync::watch;
use tooldb::Endpoint;

use crate::bridge::bridge;
use crate::db::Db;
use crate::dial::{Named, Reach};
use crate::status::Server;

/// How often servers that are still announced are dialled again, should nobody dial them at the time.
const OFFER_SPAN: Duration = Duration::from_secs(10);
/// Addresses that are offered at a time, so that many that lead nowhere leave room for others.
const OFFERS_MAX: usize = 16;

/// Where servers are to be found.
#[derive(Debug, Default)]
pub struct Networks {
    /// A node of HyperDHT, and whom the swarm knows this database as.
    pub hyper: Option<(Node, Arc<Identity>)>,
    /// A node of Mainline.
    pub mainline: Option<Mainline>,
    /// The local network, under the name that npm `dns-discovery` gives the topic.
    pub local: Option<Scope>,
}

/// Why servers cannot be looked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiscoverError {
    /// The channel cannot be opened.
    #[error(transparent)]
    Channel(#[from] channel::OpenError),
    /// The topic cannot be joined by it.
    #[error(transparent)]
    Join(#[from] ChannelError),
    /// The swarm cannot join.
    #[error(transparent)]
    Swarm(#[from] SwarmError),
}

/// Finds servers of the topic, and lets a server be found, until it is dropped. Their connections by address stay.
#[derive(Debug)]
pub struct Discovery {
    channel: Option<Channel>,
    _going: watch::Sender<()>,
}

impl Discovery {
    /// Begins to look for servers of a database's topic, and announces the database if it is a server.
    ///
    /// # Errors
    ///
    /// Fails where a network cannot be used.
    pub async fn open(db: &Db, networks: Networks) -> Result<Self, DiscoverError> {
        let topic = channel::Topic::text(db.topic());
        let port = db.announced().and_then(|server| NonZeroU16::new(server.endpoint.port()));
        let (going, stop) = watch::channel(());
        if let (Some((node, identity)), Some(id)) = (networks.hyper, topic.hyper()) {
            let swarm = node.swarm(&identity, SwarmOptions::default()).await.map_err(SwarmError::from)?;
            let role = if port.is_some() { Role::Both } else { Role::Find };
            swarm.join(id, role).await?;
            tokio::spawn(bridge(db.clone(), swarm, stop.clone()));
        }
        if networks.mainline.is_none() && networks.local.is_none() {
            return Ok(Self { channel: None, _going: going });
        }
        let private = networks.mainline.as_ref().is_some_and(is_private);
        let manner = if port.is_some() { Manner::Active } else { Manner::Passive };
        let setup = Setup { manner, mainline: networks.mainline, local: networks.local, ..Setup::default() };
        let (channel, events) = Channel::open(setup).await?;
        let naming = Naming::Compatible(Domain::DnsDiscovery);
        channel.join(Join { port, naming, ..Join::look(topic) }).await?;
        let reach = if private { Reach::Computer } else { Reach::World };
        tokio::spawn(offer(db.clone(), events, (reach, stop)));
        Ok(Self { channel: Some(channel), _going: going })
    }

    /// Takes back what was announced on the local network, which dropping it does not. Nodes of Mainline forget by
    /// themselves only.
    pub async fn close(self) {
        if let Some(channel) = self.channel {
            // It may have ended by itself.
            channel.close().await.unwrap_or_default();
        }
    }
}

/// Whether a node knows none but nodes of this computer.
fn is_private(mainline: &Mainline) -> bool {
    mainline.local().into_iter().flatten().all(|address| address.ip().is_loopback())
}

/// Has servers dialled for as long as they are announced.
async fn offer(db: Db, mut events: Events, (reach, mut stop): (Reach, watch::Receiver<()>)) {
    let mut found: VecDeque<(Source, SocketAddr)> = VecDeque::new();
    let mut again = tokio::time::interval(OFFER_SPAN);
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            _ = again.tick() => {
                for _ in 0..found.len().min(OFFERS_MAX) {
                    if let Some((_, address)) = found.front() {
                        db.connect(server(*address), Named::ByOthers).await;
                    }
                    found.rotate_left(1);
                }
                continue;
            }
            _ = stop.changed() => return,
        };
        match event {
            Some(Event::Found { found: Found::Address { address, source }, .. })
                if may_dial(source, address.ip(), reach) =>
            {
                tracing::debug!(%address, %source, "a server is announced");
                found.push_back((source, address));
                db.connect(server(address), Named::ByOthers).await;
            }
            Some(Event::Lost { found: Found::Address { address, source }, .. }) => {
                found.retain(|known| *known != (source, address));
            }
            Some(_) => {}
            None => return,
        }
    }
}

fn server(address: SocketAddr) -> Server {
    let endpoint = Endpoint::new(&address.ip().to_string(), address.port());
    Server::new(endpoint.expect("an address is shorter than any name may be"))
}

/// Nobody on Mainline makes us dial into our own network; on the link, everybody speaks for himself.
fn may_dial(source: Source, address: IpAddr, reach: Reach) -> bool {
    source != Source::Mainline || Reach::of(address) >= reach
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_far_away_name_no_address_of_our_own_network() {
        let may = |source, address: &str| may_dial(source, address.parse().unwrap(), Reach::World);
        assert!(may(Source::Mainline, "198.51.100.7"));
        for inside in ["127.0.0.1", "192.168.1.1", "169.254.1.1", "::1", "fd00::1", "::ffff:10.0.0.1"] {
            assert!(!may(Source::Mainline, inside), "{inside}");
        }
        assert!(may(Source::Mdns, "192.168.1.1"));
        assert!(may_dial(Source::Mainline, "127.0.0.1".parse().unwrap(), Reach::Computer));
    }
}
