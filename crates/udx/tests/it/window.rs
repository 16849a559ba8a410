//! A reader that does not read holds its writer back, and nobody else.

use std::time::Duration;

use udx::{CloseReason, Config, Event};
use wire::udx::Kinds;

use crate::net::{Flow, Link, Net};

#[test]
fn a_writer_waits_for_its_reader() {
    let mut net = Net::new(Link::of(5), 1);
    let (a, b) = net.connect();
    let mut flow = Flow::new((0, a), (1, b), 20 << 20);
    for _ in 0..300 {
        net.write_flow(&mut flow);
        net.run_ms(10);
    }
    let stats = net.hosts[1].udx.stream_stats(b).unwrap();
    assert!(
        (4 << 20..(4 << 20) + 3000).contains(&(stats.unread + 1500)),
        "{} bytes are unread",
        stats.unread
    );
    assert!(flow.written < (5 << 20), "{} bytes were taken of the writer", flow.written);
    assert_eq!(stats.refused, 0);
    // Twenty seconds later nothing has happened but heartbeats.
    net.log = Some(Vec::new());
    net.run_ms(20_000);
    let log = net.log.take().unwrap();
    assert!(log.iter().all(|sent| sent.from == 1 || sent.packet().kinds == Kinds::HEARTBEAT));
    assert!((9..=11).contains(&log.iter().filter(|sent| sent.from == 0).count()), "one every two seconds");
    assert_eq!(net.closed(0, a), None);
    assert!(net.run_flows(std::slice::from_mut(&mut flow), Duration::from_secs(60)));
}

#[test]
fn the_news_of_room_may_be_lost() {
    let mut net = Net::new(Link::of(5), 1);
    let (a, b) = net.connect();
    let mut flow = Flow::new((0, a), (1, b), 8 << 20);
    for _ in 0..300 {
        net.write_flow(&mut flow);
        net.run_ms(10);
    }
    let from = net.ms();
    // The window opens, and nobody hears of it for a second.
    net.censor = Some(Box::new(move |sent| sent.from == 1 && sent.ms < from + 1000));
    net.read_flow(&mut flow);
    net.drain();
    let before = flow.read;
    net.run_ms(1000);
    net.read_flow(&mut flow);
    assert_eq!(flow.read, before);
    net.run_ms(2100);
    net.read_flow(&mut flow);
    assert!(flow.read > before, "a heartbeat asks within two timeouts");
    assert!(net.run_flows(std::slice::from_mut(&mut flow), Duration::from_secs(60)));
}

#[test]
fn a_reader_that_reopens_tells_so_at_once() {
    let mut net = Net::new(Link::of(5), 1);
    let (a, b) = net.connect();
    let mut flow = Flow::new((0, a), (1, b), 8 << 20);
    for _ in 0..300 {
        net.write_flow(&mut flow);
        net.run_ms(10);
    }
    net.read_flow(&mut flow);
    let before = flow.read;
    net.run_ms(15);
    net.read_flow(&mut flow);
    assert!(flow.read > before, "one round trip is enough");
}

#[test]
fn a_peer_that_vanishes_behind_a_closed_window_is_given_up() {
    let mut net = Net::new(Link::of(5), 1);
    let (a, b) = net.connect();
    let mut flow = Flow::new((0, a), (1, b), 8 << 20);
    for _ in 0..300 {
        net.write_flow(&mut flow);
        net.run_ms(10);
    }
    net.censor = Some(Box::new(|_| true));
    net.run_ms(20_000);
    assert_eq!(net.closed(0, a), Some(CloseReason::TimedOut));
}

#[test]
fn one_reader_that_sleeps_does_not_disturb_another() {
    let mut net = Net::new(Link { rate: Some(5_000_000), ..Link::of(5) }, 1);
    let (a, b) = net.connect();
    let mut asleep = Flow::new((0, a), (1, b), 20 << 20);
    net.write_flow(&mut asleep);
    net.run_ms(2000);
    let (c, d) = net.connect();
    let mut awake = [Flow::new((0, c), (1, d), 5 << 20)];
    assert!(net.run_flows(&mut awake, Duration::from_secs(3)));
}

#[test]
fn a_writer_that_was_cut_short_hears_of_room() {
    let mut net = Net::new(Link::of(5), 1);
    let (a, b) = net.connect();
    let mut flow = Flow::new((0, a), (1, b), 3 << 20);
    net.write_flow(&mut flow);
    assert!(flow.written < 400_000, "{} bytes at once", flow.written);
    assert!(!net.has(0, &Event::Writable(a)));
    net.run_ms(50);
    assert!(net.has(0, &Event::Writable(a)));
}

#[test]
fn many_streams_have_smaller_windows() {
    let config = Config { window_total: 1 << 20, ..Config::default() };
    let mut net = Net::with(Link::of(1), 1, config);
    let streams: Vec<_> = (0..8).map(|_| net.connect()).collect();
    let mut flows: Vec<Flow> = streams.iter().map(|(a, b)| Flow::new((0, *a), (1, *b), 4 << 20)).collect();
    for _ in 0..200 {
        for flow in &mut flows {
            net.write_flow(flow);
        }
        net.run_ms(5);
    }
    let unread: usize = streams.iter().map(|(_, b)| net.hosts[1].udx.stream_stats(*b).unwrap().unread).sum();
    // A quarter and a half, a third.. of the total were promised before the others came.
    assert!(unread <= 3 << 20, "{unread} bytes");
    assert!(net.run_flows(&mut flows, Duration::from_secs(60)));
}

#[test]
fn an_idle_stream_sleeps() {
    let mut net = Net::new(Link::of(5), 1);
    let (a, b) = net.connect();
    let mut flow = [Flow::new((0, a), (1, b), 1 << 20)];
    assert!(net.run_flows(&mut flow, Duration::from_secs(5)));
    net.run_ms(5000);
    assert_eq!((net.hosts[0].udx.poll_timeout(), net.hosts[1].udx.poll_timeout()), (None, None));
}
