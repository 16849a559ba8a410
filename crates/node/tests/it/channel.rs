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

/// Networks that announcements are made on.
const ANNOUNCED: [Source; 3] = [Source::Mdns, Source::Mainline, Source::Hyper];

/// Reads until all that is expected was found and all that is announced was; nothing else may be found, and nothing
/// twice.
async fn meets(events: &mut Events, found: BTreeSet<Found>, announced: &[Source]) {
    let (mut missing, mut silent) = (found, BTreeSet::from_iter(announced));
    while !missing.is_empty() || !silent.is_empty() {
        match soon(events.next()).await.unwrap() {
            Event::Found { found, .. } => assert!(missing.remove(&found), "{found:?} is not in {missing:?}"),
            Event::Announced { source, .. } => drop(silent.remove(&source)),
            _ => {}
        }
    }
}

#[tokio::test]
async fn two_servers_and_two_passive_clients_meet_on_every_network_once_each() {
    let networks = Networks::start().await;
    let topic = Topic::text("my-app-v1");
    let (first, mut first_events) = networks.channel(1, Manner::Active).await;
    first.join(Join::announce(topic, port(1))).await.unwrap();
    meets(&mut first_events, BTreeSet::new(), &ANNOUNCED).await;
    let (second, mut second_events) = networks.channel(2, Manner::Active).await;
    second.join(Join::announce(topic, port(2))).await.unwrap();
    meets(&mut second_events, as_found(1), &ANNOUNCED).await;
    // It was there before and looked; on the local network it hears who comes.
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port(2).get()));
    meets(&mut first_events, [Found::Address { address, source: Source::Mdns }].into(), &[]).await;

    let both: BTreeSet<_> = &as_found(1) | &as_found(2);
    for number in 3..=4 {
        let (client, mut events) = networks.channel(number, Manner::Passive).await;
        client.join(Join::look(topic)).await.unwrap();
        meets(&mut events, both.clone(), &[]).await;
        soon(client.close()).await.unwrap();
    }

    let (other, mut events) = networks.channel(5, Manner::Passive).await;
    other.join(Join::look(Topic::text("my-app-v2"))).await.unwrap();
    let mut looked = BTreeSet::from(ANNOUNCED);
    while !looked.is_empty() {
        match soon(events.next()).await.unwrap() {
            Event::Looked { source, .. } => looked.remove(&source),
            event => panic!("a wrong topic meets nobody: {event:?}"),
        };
    }
}

#[tokio::test]
async fn a_channel_that_is_closed_is_found_on_hyperdht_no_more_and_its_handles_say_so() {
    let networks = Networks::start().await;
    let topic = Topic::text("closing");
    let (server, mut events) = networks.channel(1, Manner::Active).await;
    server.join(Join::announce(topic, port(1))).await.unwrap();
    meets(&mut events, BTreeSet::new(), &ANNOUNCED).await;
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
