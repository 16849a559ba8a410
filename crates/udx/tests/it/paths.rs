//! Streams that move, and streams through a relay.

use std::net::SocketAddr;
use std::time::Duration;

use udx::{CloseReason, Config, Event, StreamId, Unacked};
use wire::udx::Kinds;

use crate::net::{Flow, Link, Net, address, path};

const LIMIT: Duration = Duration::from_secs(60);

fn lossy() -> Link {
    Link { loss: 10, rate: Some(2_000_000), ..Link::of(10) }
}

/// Follows the peers of `host` to the paths that they come by, as an application would.
fn follow(net: &mut Net, host: usize, remote: StreamId) {
    let events = std::mem::take(&mut net.hosts[host].events);
    for event in events {
        if let Event::PathOffered { stream, path } = event {
            let now = net.now;
            net.hosts[host].udx.change_path(now, stream, (path, remote), Unacked::Move).unwrap();
        } else {
            net.hosts[host].events.push(event);
        }
    }
}

#[test]
fn a_stream_follows_a_peer_whose_address_changes() {
    for seed in 0..20 {
        let mut net = Net::new(lossy(), seed);
        let (a, b) = net.connect();
        let mut flows = [Flow::new((0, a), (1, b), 1 << 20), Flow::new((1, b), (0, a), 1 << 20)];
        assert!(!net.run_flows(&mut flows, Duration::from_millis(200)));
        // Only who moved can tell: it does so while it has nothing to send, too.
        net.hosts[0].udx.set_keepalive(net.now, a, Some(Duration::from_millis(500)));
        for port in 2000..2003 {
            let moved = SocketAddr::new(address(1).ip(), port);
            net.rebind(0, moved);
            for _ in 0..5 {
                assert!(!net.run_flows(&mut flows, Duration::from_millis(20)));
                follow(&mut net, 1, a);
            }
        }
        let mut rounds = 0;
        while !net.run_flows(&mut flows, Duration::from_millis(20)) {
            follow(&mut net, 1, a);
            rounds += 1;
            assert!(rounds < 500, "{:?}, {:?}", net.closed(1, b), net.hosts[1].udx.stream_stats(b));
        }
        assert!(net.has(1, &Event::PathChanged(b)));
    }
}

#[test]
fn what_is_on_its_way_goes_on_by_the_former_path() {
    let mut net = Net::new(lossy(), 3);
    let (a, b) = net.connect();
    let second = net.add(Config::default());
    let mut flows = [Flow::new((0, a), (1, b), 1 << 20)];
    assert!(!net.run_flows(&mut flows, Duration::from_millis(200)));
    // The other end is known under two addresses for a while.
    let now = net.now;
    net.log = Some(Vec::new());
    net.hosts[0].udx.change_path(now, a, (path(address(3)), b), Unacked::Stay).unwrap();
    net.run_ms(50);
    let log = net.log.take().unwrap();
    let first_new = log.iter().find(|sent| sent.to == address(3)).expect("new packets go there at once");
    let boundary = first_new.packet().seq.0;
    let data = log.iter().filter(|sent| sent.from == 0 && sent.packet().kinds.has(Kinds::DATA));
    for sent in data {
        let former = sent.packet().seq.0 < boundary;
        assert_eq!(sent.to, if former { address(2) } else { address(3) });
    }
    assert_eq!(second, 2);
}

#[test]
fn a_former_path_that_is_gone_is_left_by_itself() {
    let mut net = Net::new(Link { rate: Some(2_000_000), ..Link::of(10) }, 4);
    let (a, b) = net.connect();
    let mut flows = [Flow::new((0, a), (1, b), 1 << 20)];
    assert!(!net.run_flows(&mut flows, Duration::from_millis(200)));
    // The host moves without a trace; its peer hears of the new address, and keeps what was sent on the old way.
    let moved = SocketAddr::new(address(2).ip(), 2000);
    net.rebind(1, moved);
    let now = net.now;
    net.hosts[0].udx.change_path(now, a, (path(moved), b), Unacked::Stay).unwrap();
    assert!(net.run_flows(&mut flows, Duration::from_secs(4)), "one timeout, not seven");
    assert!(net.has(0, &Event::PathChanged(a)));
}

#[test]
fn a_dead_path_can_be_left_at_once() {
    let mut net = Net::new(Link { rate: Some(2_000_000), ..Link::of(10) }, 5);
    let (a, b) = net.connect();
    let mut flows = [Flow::new((0, a), (1, b), 400_000)];
    assert!(!net.run_flows(&mut flows, Duration::from_millis(150)));
    let moved = SocketAddr::new(address(2).ip(), 2000);
    net.rebind(1, moved);
    let now = net.now;
    net.hosts[0].udx.change_path(now, a, (path(moved), b), Unacked::Move).unwrap();
    assert!(net.run_flows(&mut flows, Duration::from_millis(500)), "no timeout is needed");
    assert_eq!(net.closed(0, a), None);
}

#[test]
fn a_move_of_an_idle_stream_is_complete_at_once() {
    let mut net = Net::new(lossy(), 6);
    let (a, b) = net.connect();
    net.run_ms(100);
    let now = net.now;
    net.hosts[0].udx.change_path(now, a, (path(address(9)), b), Unacked::Stay).unwrap();
    net.drain();
    assert!(net.has(0, &Event::PathChanged(a)));
    assert_eq!(net.hosts[0].udx.stream_stats(a).unwrap().mtu, 1200);
}

/// Two hosts that know each other through a third, which has a stream for each.
fn relayed(link: Link, seed: u64) -> (Net, [StreamId; 4]) {
    let mut net = Net::new(link, seed);
    let relay = net.add(Config::default());
    let now = net.now;
    let a = net.hosts[0].udx.open(now).unwrap();
    let b = net.hosts[1].udx.open(now).unwrap();
    let for_a = net.hosts[relay].udx.open(now).unwrap();
    let for_b = net.hosts[relay].udx.open(now).unwrap();
    net.hosts[relay].udx.relay(now, for_a, for_b).unwrap();
    net.hosts[relay].udx.relay(now, for_b, for_a).unwrap();
    net.hosts[0].udx.connect(now, a, path(address(3)), for_a).unwrap();
    net.hosts[1].udx.connect(now, b, path(address(3)), for_b).unwrap();
    (net, [a, b, for_a, for_b])
}

/// Connects the relay's streams with whoever sends to them first, as blind relays do.
fn trust(net: &mut Net, [a, b, for_a, _]: [StreamId; 4]) {
    let offered: Vec<_> = std::mem::take(&mut net.hosts[2].events);
    for event in offered {
        if let Event::PathOffered { stream, path } = event {
            let remote = if stream == for_a { a } else { b };
            let now = net.now;
            net.hosts[2].udx.connect(now, stream, path, remote).unwrap();
        }
    }
}

#[test]
fn a_relay_passes_everything_on_and_keeps_the_first_packets() {
    for seed in 0..10 {
        let (mut net, streams) = relayed(Link { loss: 10, ..Link::of(5) }, seed);
        let [a, b, for_a, for_b] = streams;
        let mut flows = [Flow::new((0, a), (1, b), 200_000), Flow::new((1, b), (0, a), 200_000)];
        for _ in 0..20 {
            net.run_flows(&mut flows, Duration::from_millis(3));
            trust(&mut net, streams);
        }
        assert!(net.run_flows(&mut flows, LIMIT));
        net.run_ms(15_000);
        let closed = (net.closed(0, a), net.closed(1, b));
        assert_eq!(closed, (Some(CloseReason::Finished), Some(CloseReason::Finished)));
        let relay = &net.hosts[2].udx;
        assert!(relay.stats().relayed > 300);
        assert_eq!(relay.stream_stats(for_a).unwrap().packets_tx, 0, "a relay says nothing of its own");
        assert_eq!(relay.stream_stats(for_b).unwrap().unread, 0);
    }
}

#[test]
fn the_first_packet_through_a_relay_needs_no_second_try() {
    let (mut net, streams) = relayed(Link::of(5), 1);
    let [a, b, ..] = streams;
    assert_eq!(net.hosts[0].udx.write(net.now, a, b"first"), Ok(5));
    net.run_ms(20);
    trust(&mut net, streams);
    assert!(!net.has(1, &Event::Readable(b)), "the other half is not there yet");
    net.hosts[1].udx.send_message(b, b"here I am").unwrap();
    net.run_ms(10);
    trust(&mut net, streams);
    net.run_ms(10);
    assert!(net.has(1, &Event::Readable(b)));
    assert_eq!(net.hosts[0].udx.stream_stats(a).unwrap().retransmits, 0);
}

#[test]
fn a_relayed_packet_changes_its_receiver_alone() {
    let (mut net, streams) = relayed(Link::of(5), 1);
    let [a, b, ..] = streams;
    net.hosts[1].udx.send_message(b, b"here I am").unwrap();
    net.run_ms(10);
    trust(&mut net, streams);
    net.log = Some(Vec::new());
    assert_eq!(net.hosts[0].udx.write(net.now, a, b"data"), Ok(4));
    net.run_ms(8);
    trust(&mut net, streams);
    net.drain();
    let log = net.log.take().unwrap();
    let sent = log.iter().find(|sent| sent.from == 0).unwrap();
    let passed = log.iter().find(|sent| sent.from == 2 && sent.to == address(2)).unwrap();
    assert_eq!((&sent.bytes[..4], &sent.bytes[8..]), (&passed.bytes[..4], &passed.bytes[8..]));
    assert_eq!(passed.packet().stream, b);
}

#[test]
fn a_destroyed_end_takes_its_half_of_the_relay_along() {
    let (mut net, streams) = relayed(Link::of(5), 1);
    let [a, b, for_a, _] = streams;
    net.hosts[0].udx.send_message(a, b"hello").unwrap();
    net.hosts[1].udx.send_message(b, b"hello").unwrap();
    net.run_ms(10);
    trust(&mut net, streams);
    net.hosts[0].udx.destroy(net.now, a);
    net.run_ms(20);
    assert_eq!(net.closed(1, b), Some(CloseReason::Reset));
    assert_eq!(net.closed(2, for_a), Some(CloseReason::Reset));
    assert_eq!(net.hosts[2].udx.len(), 1);
}

#[test]
fn a_relayed_stream_becomes_direct_without_losing_a_byte() {
    for seed in 0..20 {
        let (mut net, streams) = relayed(Link { loss: 10, rate: Some(1_000_000), ..Link::of(5) }, seed);
        let [a, b, ..] = streams;
        let mut flows = [Flow::new((0, a), (1, b), 400_000), Flow::new((1, b), (0, a), 400_000)];
        for _ in 0..30 {
            net.run_flows(&mut flows, Duration::from_millis(3));
            trust(&mut net, streams);
        }
        // One side moves first; the relay is gone before the other has moved.
        let now = net.now;
        net.hosts[1].udx.admit(now, b, path(address(1)));
        net.hosts[0].udx.change_path(now, a, (path(address(2)), b), Unacked::Stay).unwrap();
        net.run_flows(&mut flows, Duration::from_millis(30));
        net.rebind(2, address(99));
        let now = net.now;
        net.hosts[1].udx.change_path(now, b, (path(address(1)), a), Unacked::Move).unwrap();
        assert!(net.run_flows(&mut flows, LIMIT), "{:?}", net.hosts[0].udx.stream_stats(a));
    }
}
