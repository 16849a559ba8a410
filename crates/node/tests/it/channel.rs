//! Channels over real networks of loopback: HyperDHT, Mainline, and multicast DNS.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;

use node::channel::{
    Channel, ChannelError, Event, Events, Found, Join, JoinError, Manner, Scope, Setup, Source, Topic,
};
use node::mainline::{self, Mainline};
use node::{KeyPair, Node};
use wire::Id;

use crate::network::{bootstrapper, join, soon};

/// Networks that a test's channels are on.
struct Networks {
    hyper: Node,
    mainline: Mainline,
}

impl Networks {
    async fn start() -> Self {
        let hyper = bootstrapper().await;
        let mainline = Mainline::spawn(mainline::Config::testnet(Vec::new())).await.unwrap();
        mainline.ready().await.unwrap();
        Self { hyper, mainline }
    }

    async fn channel(&self, number: u8, manner: Manner) -> (Channel, Events) {
        let entries = self.mainline.local().into_iter().flatten().collect();
        let mainline = Mainline::spawn(mainline::Config::testnet(entries)).await.unwrap();
        let setup = Setup {
            manner,
            hyper: Some((join(&self.hyper).await, key(number))),
            mainline: Some(mainline),
            local: Some(Scope::Loopback),
            servers: Vec::new(),
        };
        Channel::open(setup).await.unwrap()
    }
}

fn key(number: u8) -> KeyPair {
    KeyPair::from_seed([number; 32])
}

fn port(number: u8) -> NonZeroU16 {
    NonZeroU16::new(9000 + u16::from(number)).unwrap()
}

/// What a server is found as.
fn as_found(number: u8) -> BTreeSet<Found> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port(number).get()));
    let key = Id(key(number).public_key().0);
    [
        Found::Address { address, source: Source::Mdns },
        Found::Address { address, source: Source::Mainline },
        Found::Key { key, source: Source::Hyper },
    ]
    .into()
}

/// Reads until all that is expected was found; nothing else may be, and nothing twice.
async fn meets(events: &mut Events, expected: &BTreeSet<Found>) {
    let mut missing = expected.clone();
    while !missing.is_empty() {
        if let Event::Found { found, .. } = soon(events.next()).await.unwrap() {
            assert!(missing.remove(&found), "{found:?} is not among {missing:?}");
        }
    }
}

/// Waits until an announcement was made by every mechanism.
async fn announced(events: &mut Events) {
    let mut missing: BTreeSet<_> = [Source::Mdns, Source::Mainline, Source::Hyper].into();
    while !missing.is_empty() {
        if let Event::Announced { source, .. } = soon(events.next()).await.unwrap() {
            missing.remove(&source);
        }
    }
}

#[tokio::test]
async fn two_servers_and_two_passive_clients_meet_on_every_network_once_each() {
    let networks = Networks::start().await;
    let topic = Topic::text("my-app-v1");
    let (first, mut first_events) = networks.channel(1, Manner::Active).await;
    first.join(Join::announce(topic, port(1))).await.unwrap();
    announced(&mut first_events).await;

    let (second, mut second_events) = networks.channel(2, Manner::Active).await;
    second.join(Join::announce(topic, port(2))).await.unwrap();
    meets(&mut second_events, &as_found(1)).await;
    let (third, mut third_events) = networks.channel(3, Manner::Passive).await;
    third.join(Join::look(topic)).await.unwrap();
    meets(&mut third_events, &as_found(1)).await;

    let (other, mut other_events) = networks.channel(4, Manner::Passive).await;
    other.join(Join::look(Topic::text("my-app-v2"))).await.unwrap();
    let mut looked: BTreeSet<_> = [Source::Mdns, Source::Mainline, Source::Hyper].into();
    while !looked.is_empty() {
        match soon(other_events.next()).await.unwrap() {
            Event::Looked { source, .. } => looked.remove(&source),
            event => panic!("a wrong topic meets nobody: {event:?}"),
        };
    }
    for channel in [first, second, third, other] {
        soon(channel.close()).await.unwrap();
    }
}

#[tokio::test]
async fn a_channel_that_is_closed_is_found_on_hyperdht_no_more_and_its_handles_say_so() {
    let networks = Networks::start().await;
    let topic = Topic::text("closing");
    let (server, mut events) = networks.channel(1, Manner::Active).await;
    server.join(Join::announce(topic, port(1))).await.unwrap();
    announced(&mut events).await;
    let other = server.clone();
    soon(server.close()).await.unwrap();
    let mut lookup = networks.hyper.lookup(topic.hyper().unwrap()).await.unwrap();
    assert!(soon(lookup.next()).await.is_none());
    assert_eq!(other.join(Join::look(topic)).await, Err(ChannelError::Stopped));
}

#[tokio::test]
async fn a_passive_channel_refuses_to_announce_and_one_without_networks_has_none() {
    let (channel, _events) =
        Channel::open(Setup { manner: Manner::Passive, ..Setup::default() }).await.unwrap();
    let announce = channel.join(Join::announce(Topic::text("x"), port(1))).await;
    assert_eq!(announce, Err(ChannelError::Refused(JoinError::Passive)));
    let given: SocketAddr = "192.0.2.1:9000".parse().unwrap();
    let (channel, mut events) = Channel::open(Setup::default()).await.unwrap();
    channel.join(Join { fixed: vec![given], ..Join::look(Topic::text("x")) }).await.unwrap();
    let found = Found::Address { address: given, source: Source::Static };
    assert!(matches!(soon(events.next()).await, Some(Event::Found { found: told, .. }) if told == found));
}
