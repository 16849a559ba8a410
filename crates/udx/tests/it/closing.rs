//! Streams close once, on both sides, whatever is lost on the way.

use std::time::Duration;

use udx::{CloseReason, Event, Read, StreamError, Taken};
use wire::udx::Kinds;

use crate::net::{Flow, Link, Net, address, encoded, forged};

const FINISHED: Option<CloseReason> = Some(CloseReason::Finished);

#[test]
fn a_lost_last_acknowledgement_is_given_again() {
    let mut net = Net::new(Link::of(1), 1);
    let (a, b) = net.connect();
    net.hosts[1].udx.finish(net.now, b);
    net.run_ms(50);
    // From here on, what the first host says is lost for four seconds: the reference's peer would fail after 13.
    net.censor =
        Some(Box::new(|sent| sent.from == 0 && sent.ms < 4000 && !sent.packet().kinds.has(Kinds::END)));
    let start = net.start;
    net.hosts[0].udx.finish(net.now, a);
    net.run(Duration::from_millis(100));
    assert_eq!((net.closed(0, a), net.closed(1, b)), (FINISHED, FINISHED));

    let mut net = Net::new(Link::of(1), 1);
    let (a, b) = net.connect();
    net.hosts[0].udx.finish(net.now, a);
    net.run_ms(50);
    net.censor = Some(Box::new(|sent| sent.from == 0 && sent.ms < 4000));
    net.hosts[1].udx.finish(net.now, b);
    net.run_ms(3000);
    assert_eq!((net.closed(0, a), net.closed(1, b)), (FINISHED, None));
    net.run_ms(3000);
    assert_eq!(net.closed(1, b), FINISHED);
    assert!(net.now > start);
}

#[test]
fn a_lost_destroy_is_told_again_to_a_peer_that_goes_on() {
    let mut net = Net::new(Link::of(1), 1);
    let (a, b) = net.connect();
    net.censor = Some(Box::new(|sent| sent.packet().kinds.has(Kinds::DESTROY) && sent.ms < 10));
    net.hosts[0].udx.destroy(net.now, a);
    net.run_ms(2000);
    assert_eq!(net.closed(1, b), None, "nothing tells the peer while it has nothing to say");
    assert_eq!(net.hosts[1].udx.write(net.now, b, b"still there?"), Ok(12));
    net.run_ms(10);
    assert_eq!(net.closed(1, b), Some(CloseReason::Reset));
}

#[test]
fn one_direction_ends_and_the_other_goes_on() {
    let mut net = Net::new(Link { loss: 50, ..Link::of(5) }, 1);
    let (a, b) = net.connect();
    let mut first = [Flow::new((0, a), (1, b), 1000)];
    assert!(net.run_flows(&mut first, Duration::from_secs(20)));
    assert_eq!(net.hosts[0].udx.write(net.now, a, b"x"), Err(StreamError::Finished));
    net.run_ms(5000);
    assert_eq!(net.closed(0, a), None);
    let mut second = [Flow::new((1, b), (0, a), 100_000)];
    assert!(net.run_flows(&mut second, Duration::from_secs(20)));
    net.run_ms(14_000);
    assert_eq!((net.closed(0, a), net.closed(1, b)), (FINISHED, FINISHED));
}

#[test]
fn both_may_end_in_the_same_moment() {
    for seed in 0..50 {
        let mut net = Net::new(Link { loss: 100, ..Link::of(3) }, seed);
        let (a, b) = net.connect();
        let mut flows = [Flow::new((0, a), (1, b), 100), Flow::new((1, b), (0, a), 100)];
        assert!(net.run_flows(&mut flows, Duration::from_secs(20)));
        net.run_ms(15_000);
        assert_eq!((net.closed(0, a), net.closed(1, b)), (FINISHED, FINISHED));
        let closings = |host: usize| {
            net.hosts[host].events.iter().filter(|event| matches!(event, Event::Closed { .. })).count()
        };
        assert_eq!((closings(0), closings(1)), (1, 1));
    }
}

#[test]
fn what_came_before_a_reset_can_be_read() {
    let mut net = Net::new(Link::of(1), 1);
    let (a, b) = net.connect();
    assert_eq!(net.hosts[0].udx.write(net.now, a, b"last words"), Ok(10));
    net.run_ms(10);
    net.hosts[0].udx.destroy(net.now, a);
    net.run_ms(10);
    assert_eq!(net.closed(1, b), Some(CloseReason::Reset));
    let mut buf = [0; 100];
    assert_eq!(net.hosts[1].udx.read(b, &mut buf), Read::Bytes(10));
    assert_eq!(&buf[..10], b"last words");
    assert_eq!(net.hosts[1].udx.read(b, &mut buf), Read::Gone);
    assert!(net.hosts[1].udx.is_empty());
}

#[test]
fn a_closed_stream_frees_its_place() {
    let mut net = Net::new(Link::of(1), 1);
    for _ in 0..100 {
        let (a, b) = net.connect();
        let mut flows = [Flow::new((0, a), (1, b), 10), Flow::new((1, b), (0, a), 10)];
        assert!(net.run_flows(&mut flows, Duration::from_secs(1)));
    }
    net.run_ms(100);
    assert_eq!((net.hosts[0].udx.len(), net.hosts[1].udx.len()), (0, 0));
    net.run_ms(20_000);
    assert_eq!(net.hosts[0].udx.poll_timeout(), None, "nothing is left to wait for");
}

#[test]
fn a_closed_stream_is_forgotten_in_the_end() {
    let mut net = Net::new(Link::of(1), 1);
    let (a, b) = net.connect();
    net.hosts[0].udx.finish(net.now, a);
    net.hosts[1].udx.finish(net.now, b);
    net.run_ms(14_000);
    let end = encoded(&forged(Kinds::END, a));
    assert_eq!(net.inject(0, address(2), &end), Taken::Yes);
    net.run_ms(2000);
    assert_eq!(net.inject(0, address(2), &end), Taken::No);
}

#[test]
fn a_heartbeat_that_nobody_answers_closes_nothing() {
    let mut net = Net::new(Link::of(1), 1);
    let (a, _) = net.connect();
    net.hosts[0].udx.set_keepalive(net.now, a, Some(Duration::from_millis(500)));
    net.censor = Some(Box::new(|sent| sent.from == 1));
    net.run_ms(60_000);
    assert_eq!(net.closed(0, a), None);
}
