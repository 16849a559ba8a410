#![expect(clippy::disallowed_methods, reason = "a test needs an origin to count from")]
use std::time::{Duration, Instant};

use arbtest::arbitrary::{Result, Unstructured};
use peer::{
    BlindRelay, BlindRelayAction, BlindRelayCensus, BlindRelayClient, BlindRelayEvent, BlindRelayLimits,
    BlindRelayStats, ChannelId, Full, LinkId, Mux, MuxEvent, MuxLimits, PairError, PairFailure, PairRequest,
    PairToken, PublicKey, RelayEnd, RelaySessionId, Side, blind_relay_channel,
};
use serde_json::Value;
use wire::hyper::{Pair, Unpair};

use crate::json::{MISC, fixed, hex, rows, text};
use crate::mux::{events, give, sent};

const TOKEN: PairToken = PairToken([0x12; 32]);
const X: RelaySessionId = RelaySessionId(1);
const Y: RelaySessionId = RelaySessionId(2);

/// The frames that one side of a client's connection wrote in the vectors: A is the client, B the relay.
fn vectors(client: &str, from: &str) -> Vec<Vec<u8>> {
    let rows = rows(&MISC["blindRelaySession"][format!("client{client}Frames")]);
    rows.iter().filter(|row| text(&row["from"]) == from).map(|row| hex(&row["frame"])).collect()
}

fn key(client: &str) -> PublicKey {
    PublicKey(fixed(&MISC["blindRelaySession"][format!("id{client}")]))
}

/// A client, its mux, and what the relay tells it.
fn client(name: &str) -> (BlindRelayClient, Mux) {
    let mut mux = Mux::new(MuxLimits::default());
    let client = BlindRelayClient::open(&mut mux, key(name)).expect("the first channel");
    (client, mux)
}

fn feed(client: &mut BlindRelayClient, mux: &mut Mux, frame: &[u8]) -> Vec<BlindRelayEvent> {
    for event in give(mux, frame) {
        assert_eq!(client.handle_event(&event), Ok(true));
    }
    std::iter::from_fn(|| client.poll_event()).collect()
}

#[test]
fn a_client_writes_the_frames_of_the_reference() {
    let now = Instant::now();
    for (name, side, stream, unpairs) in
        [("X", Side::Initiator, 111, true), ("Y", Side::Responder, 222, false)]
    {
        let (mut client, mut mux) = client(name);
        let theirs = vectors(name, "B");
        assert_eq!(feed(&mut client, &mut mux, &theirs[0]), []);
        client.pair(now, &mut mux, PairRequest { side, token: TOKEN, stream }).unwrap();
        let paired = BlindRelayEvent::Paired { token: TOKEN, stream: 1000 };
        assert_eq!(feed(&mut client, &mut mux, &theirs[1]), [paired]);
        assert_eq!(feed(&mut client, &mut mux, &theirs[1]), [], "told twice, it is told once");
        assert_eq!(client.poll_timeout(), None);
        if unpairs {
            client.unpair(&mut mux, TOKEN);
            client.close(&mut mux);
            assert_eq!(client.poll_event(), Some(BlindRelayEvent::Closed));
        }
        assert_eq!(sent(&mut mux), vectors(name, "A"));
    }
}

/// One client's connection as the relay has it.
struct Connection {
    session: RelaySessionId,
    mux: Mux,
    channel: ChannelId,
    written: Vec<Vec<u8>>,
}

impl Connection {
    fn new(relay: &mut BlindRelay, session: RelaySessionId, client: &str) -> Self {
        relay.accept(session).expect("there is room");
        let mut mux = Mux::new(MuxLimits::default());
        let channel = mux.open(blind_relay_channel(key(client)), b"").expect("the first channel");
        Self { session, mux, channel, written: Vec::new() }
    }

    fn feed(&mut self, relay: &mut BlindRelay, frame: &[u8]) {
        for event in give(&mut self.mux, frame) {
            match event {
                MuxEvent::Opened { channel, .. } if channel == self.channel => {
                    relay.handle_opened(self.session);
                }
                MuxEvent::Message { kind, payload, .. } => {
                    relay.handle_message(Instant::now(), self.session, kind, &payload).expect("a message");
                }
                MuxEvent::Closed { .. } => relay.handle_closed(self.session),
                other => panic!("{other:?}"),
            }
        }
    }

    fn flush(&mut self) {
        assert_eq!(events(&mut self.mux), []);
        self.written.extend(sent(&mut self.mux));
    }
}

fn actions(relay: &mut BlindRelay) -> Vec<BlindRelayAction> {
    std::iter::from_fn(|| relay.poll_action()).collect()
}

/// The figures of the reference after the session of the vectors.
fn stats() -> (BlindRelayStats, BlindRelayCensus) {
    let row = &MISC["blindRelaySession"]["serverStats"];
    let number = |group: &str, name: &str| row[group][name].as_u64().expect("a number");
    let small = |group: &str, name: &str| usize::try_from(number(group, name)).expect("a small number");
    let mut stats = BlindRelayStats::default();
    stats.sessions_accepted = number("sessions", "accepted");
    stats.sessions_opened = number("sessions", "opened");
    stats.sessions_closed = number("sessions", "closed");
    stats.pairings_requested = number("pairings", "requested");
    stats.pairings_matched = number("pairings", "matched");
    stats.pairings_cancelled = number("pairings", "cancelled");
    stats.streams_opened = number("streams", "opened");
    stats.streams_closed = number("streams", "closed");
    let census = BlindRelayCensus {
        sessions: small("sessions", "active"),
        waiting: small("pairings", "pending"),
        links: small("pairings", "active"),
    };
    (stats, census)
}

#[test]
fn a_relay_writes_the_frames_and_counts_the_figures_of_the_reference() {
    let mut relay = BlindRelay::new(BlindRelayLimits::default());
    let mut x = Connection::new(&mut relay, X, "X");
    let mut y = Connection::new(&mut relay, Y, "Y");
    let (from_x, from_y) = (vectors("X", "A"), vectors("Y", "A"));
    x.feed(&mut relay, &from_x[0]);
    y.feed(&mut relay, &from_y[0]);
    x.feed(&mut relay, &from_x[1]);
    assert_eq!(actions(&mut relay), []);
    y.feed(&mut relay, &from_y[1]);
    let made = actions(&mut relay);
    let [BlindRelayAction::Join { link, initiator, responder }] = made[..] else { panic!("{made:?}") };
    assert_eq!(initiator, RelayEnd { session: X, stream: 111 });
    assert_eq!(responder, RelayEnd { session: Y, stream: 222 });
    relay.handle_joined(link, 1000, 1000);
    for action in actions(&mut relay) {
        let BlindRelayAction::Send { session, kind, payload } = action else { panic!("{action:?}") };
        let to = if session == X { &mut x } else { &mut y };
        to.mux.send(to.channel, kind, &payload).unwrap();
    }
    assert_eq!(relay.census(), BlindRelayCensus { sessions: 2, waiting: 0, links: 1 });
    x.feed(&mut relay, &from_x[2]);
    assert_eq!(actions(&mut relay), [BlindRelayAction::Separate { link }]);
    x.feed(&mut relay, &from_x[3]);
    for (connection, client) in [(&mut x, "X"), (&mut y, "Y")] {
        connection.flush();
        assert_eq!(connection.written, vectors(client, "B"));
    }
    assert_eq!((relay.stats(), relay.census()), stats());
}

#[test]
fn an_answer_for_nobody_or_for_the_other_side_is_none() {
    let now = Instant::now();
    let (mut client, mut mux) = client("Y");
    let theirs = vectors("Y", "B");
    feed(&mut client, &mut mux, &theirs[0]);
    assert_eq!(feed(&mut client, &mut mux, &theirs[1]), []);
    let request = PairRequest { side: Side::Initiator, token: TOKEN, stream: 1 };
    client.pair(now, &mut mux, request).unwrap();
    assert_eq!(client.pair(now, &mut mux, request), Err(PairError::AlreadyPairing));
    assert_eq!(feed(&mut client, &mut mux, &theirs[1]), [], "the vector answers a responder");
    // A pair message of type 0 without its stream id is none.
    let short = theirs[1][..35].to_vec();
    mux.handle_frame(&short).unwrap();
    let event = mux.poll_event().unwrap().unwrap();
    assert!(client.handle_event(&event).is_err());
}

#[test]
fn a_client_gives_up_after_fifteen_seconds_and_tells_the_relay() {
    let start = Instant::now();
    let at = |s| start + Duration::from_secs(s);
    let (mut client, mut mux) = client("X");
    client.pair(start, &mut mux, PairRequest { side: Side::Initiator, token: TOKEN, stream: 111 }).unwrap();
    assert_eq!(client.poll_timeout(), Some(at(15)));
    client.handle_timeout(at(14), &mut mux);
    assert_eq!(client.poll_event(), None);
    client.handle_timeout(at(15), &mut mux);
    let failed = BlindRelayEvent::Failed { token: TOKEN, why: PairFailure::TimedOut };
    assert_eq!((client.poll_event(), client.poll_event()), (Some(failed), None));
    assert_eq!(sent(&mut mux)[2], vectors("X", "A")[2], "unpair, as in the vectors");
}

#[test]
fn a_relay_that_goes_away_fails_every_pair_that_waits() {
    let now = Instant::now();
    // The relay rejects the channel, or opens and then closes it.
    for frames in [vec![vec![0, 2, 1]], vec![vectors("X", "B")[0].clone(), vec![0, 3, 1]]] {
        let (mut client, mut mux) = client("X");
        client.pair(now, &mut mux, PairRequest { side: Side::Initiator, token: TOKEN, stream: 111 }).unwrap();
        let told: Vec<_> = frames.iter().flat_map(|frame| feed(&mut client, &mut mux, frame)).collect();
        let failed = BlindRelayEvent::Failed { token: TOKEN, why: PairFailure::ChannelClosed };
        assert_eq!(told, [failed, BlindRelayEvent::Closed]);
        let again = PairRequest { side: Side::Initiator, token: TOKEN, stream: 111 };
        assert!(matches!(client.pair(now, &mut mux, again), Err(PairError::Channel(_))));
        assert_eq!(client.poll_timeout(), None);
    }
}

fn pair(relay: &mut BlindRelay, now: Instant, session: RelaySessionId, side: Side, token: u8) {
    let mut payload = Vec::new();
    Pair { initiator: side == Side::Initiator, token: [token; 32], stream: 7, seq: 0 }.encode(&mut payload);
    relay.handle_message(now, session, 0, &payload).expect("a message");
}

fn unpair(relay: &mut BlindRelay, session: RelaySessionId, token: u8) {
    let mut payload = Vec::new();
    Unpair { token: [token; 32] }.encode(&mut payload);
    relay.handle_message(Instant::now(), session, 1, &payload).expect("a message");
}

fn relay_of(sessions: &[RelaySessionId], limits: BlindRelayLimits) -> BlindRelay {
    let mut relay = BlindRelay::new(limits);
    for session in sessions {
        relay.accept(*session).expect("there is room");
    }
    relay
}

fn joined(relay: &mut BlindRelay) -> LinkId {
    match actions(relay)[..] {
        [BlindRelayAction::Join { link, .. }] => link,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn only_an_initiator_and_a_responder_of_two_clients_meet() {
    let now = Instant::now();
    let z = RelaySessionId(3);
    let mut relay = relay_of(&[X, Y, z], BlindRelayLimits::default());
    pair(&mut relay, now, X, Side::Initiator, 1);
    pair(&mut relay, now, X, Side::Initiator, 1);
    pair(&mut relay, now, X, Side::Responder, 1);
    pair(&mut relay, now, Y, Side::Initiator, 1);
    pair(&mut relay, now, Y, Side::Responder, 2);
    assert_eq!((actions(&mut relay).len(), relay.stats().pairings_requested), (0, 2));
    pair(&mut relay, now, RelaySessionId(9), Side::Responder, 1);
    assert_eq!(actions(&mut relay), [], "no client of this number was accepted");
    unpair(&mut relay, z, 1);
    pair(&mut relay, now, z, Side::Responder, 1);
    joined(&mut relay);
}

#[test]
fn a_client_that_goes_takes_its_tokens_and_links_along() {
    let now = Instant::now();
    let mut relay = relay_of(&[X, Y], BlindRelayLimits::default());
    pair(&mut relay, now, X, Side::Initiator, 1);
    pair(&mut relay, now, Y, Side::Responder, 1);
    let link = joined(&mut relay);
    pair(&mut relay, now, X, Side::Initiator, 2);
    relay.handle_closed(X);
    assert_eq!(actions(&mut relay), [BlindRelayAction::Separate { link }]);
    assert_eq!(relay.census(), BlindRelayCensus { sessions: 1, waiting: 0, links: 0 });
    relay.handle_joined(link, 5, 6);
    assert_eq!(actions(&mut relay), [], "streams that were made too late are not told");
    assert_eq!((relay.stats().streams_opened, relay.stats().streams_closed), (0, 0));
    relay.handle_closed(X);
    assert_eq!(relay.stats().sessions_closed, 1);
}

#[test]
fn a_link_that_ended_leaves_its_token_free() {
    let now = Instant::now();
    let mut relay = relay_of(&[X, Y], BlindRelayLimits::default());
    for _ in 0..2 {
        pair(&mut relay, now, Y, Side::Responder, 1);
        pair(&mut relay, now, X, Side::Initiator, 1);
        let link = joined(&mut relay);
        relay.handle_joined(link, 5, 6);
        assert_eq!(actions(&mut relay).len(), 2);
        relay.handle_joined(link, 5, 6);
        relay.handle_ended(link);
        assert_eq!(actions(&mut relay), []);
    }
    assert_eq!((relay.stats().streams_opened, relay.stats().streams_closed), (4, 4));
}

#[test]
fn tokens_wait_no_longer_than_patience() {
    let start = Instant::now();
    let mut relay = relay_of(&[X, Y], BlindRelayLimits::default());
    pair(&mut relay, start, X, Side::Initiator, 1);
    let due = start + Duration::from_secs(30);
    assert_eq!(relay.poll_timeout(), Some(due));
    relay.handle_timeout(due);
    assert_eq!(relay.poll_timeout(), None);
    pair(&mut relay, due, Y, Side::Responder, 1);
    assert_eq!(actions(&mut relay), []);
    pair(&mut relay, due, X, Side::Initiator, 1);
    joined(&mut relay);
    assert_eq!(relay.stats().pairings_cancelled, 1);
}

#[test]
fn clients_and_tokens_beyond_the_limits_are_not_served() {
    let now = Instant::now();
    let limits = BlindRelayLimits { sessions_max: 2, pairs_max: 3, ..BlindRelayLimits::default() };
    let mut relay = relay_of(&[X, Y], limits);
    assert_eq!(relay.accept(RelaySessionId(3)), Err(Full));
    assert_eq!(relay.accept(X), Ok(()), "who is served already stays");
    for token in 0..10 {
        pair(&mut relay, now, X, Side::Initiator, token);
    }
    assert_eq!(relay.census(), BlindRelayCensus { sessions: 2, waiting: 3, links: 0 });
    assert!(relay.handle_message(now, X, 0, b"short").is_err());
    assert_eq!(relay.handle_message(now, X, 2, b"newer"), Ok(()));
    relay.handle_closed(X);
    assert_eq!(relay.accept(RelaySessionId(3)), Ok(()));
}

#[test]
fn a_pair_that_passed_all_it_may_is_separated() {
    let now = Instant::now();
    let mut relay = relay_of(&[X, Y], BlindRelayLimits { bytes_max: 1000, ..BlindRelayLimits::default() });
    pair(&mut relay, now, X, Side::Initiator, 1);
    pair(&mut relay, now, Y, Side::Responder, 1);
    let link = joined(&mut relay);
    relay.handle_joined(link, 5, 6);
    assert_eq!(actions(&mut relay).len(), 2);
    relay.handle_relayed(link, 600);
    relay.handle_relayed(link, 400);
    assert_eq!(actions(&mut relay), []);
    relay.handle_relayed(link, 1);
    assert_eq!(actions(&mut relay), [BlindRelayAction::Separate { link }]);
    relay.handle_relayed(link, 500);
    assert_eq!(actions(&mut relay), []);
    assert_eq!((relay.stats().bytes_relayed, relay.stats().pairings_exhausted), (1001, 1));
    assert_eq!(relay.census().links, 0);
}

fn stir(u: &mut Unstructured<'_>, relay: &mut BlindRelay, links: &mut Vec<LinkId>) -> Result<()> {
    let session = RelaySessionId(u.int_in_range(0..=3)?);
    let token = u.int_in_range(0..=3)?;
    let side = *u.choose(&[Side::Initiator, Side::Responder])?;
    match u.int_in_range(0..=6u8)? {
        0 => drop(relay.accept(session)),
        1 => relay.handle_closed(session),
        2 => unpair(relay, session, token),
        3 if !links.is_empty() => relay.handle_ended(links.swap_remove(u.choose_index(links.len())?)),
        4 if !links.is_empty() => relay.handle_joined(*u.choose(links)?, 1, 2),
        _ => pair(relay, Instant::now(), session, side, token),
    }
    for action in actions(relay) {
        match action {
            BlindRelayAction::Join { link, initiator, responder } => {
                assert_ne!(initiator.session, responder.session);
                links.push(link);
            }
            BlindRelayAction::Separate { link } => {
                let before = links.len();
                links.retain(|other| *other != link);
                assert_eq!(links.len() + 1, before, "only what was joined is separated");
            }
            _ => {}
        }
    }
    Ok(())
}

#[test]
fn a_relay_whose_clients_are_gone_holds_nothing() {
    arbtest::arbtest(|u| {
        let mut relay = BlindRelay::new(BlindRelayLimits::default());
        let mut links = Vec::new();
        for _ in 0..u.int_in_range(0..=80)? {
            stir(u, &mut relay, &mut links)?;
            assert_eq!(relay.census().links, links.len());
        }
        (0..4).for_each(|session| relay.handle_closed(RelaySessionId(session)));
        assert_eq!(relay.census(), BlindRelayCensus::default());
        assert_eq!(relay.poll_timeout(), None);
        let stats = relay.stats();
        assert_eq!(stats.sessions_accepted, stats.sessions_closed);
        assert_eq!(stats.streams_opened, stats.streams_closed);
        Ok(())
    });
}

#[test]
fn the_vectors_name_the_token_of_these_tests() {
    let token: &Value = &MISC["blindRelaySession"]["token"];
    assert_eq!(PairToken(fixed(token)), TOKEN);
    assert_eq!(format!("{TOKEN:?}"), "PairToken(…)");
}
