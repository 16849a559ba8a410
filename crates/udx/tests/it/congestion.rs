//! How much of a link streams use, in virtual time.

use std::time::Duration;

use udx::StreamId;

use crate::net::{Flow, Link, Net};

/// Seconds that `len` bytes take from the first host to the second.
fn seconds(link: Link, seed: u64, len: u64) -> f64 {
    let mut net = Net::new(link, seed);
    let (a, b) = net.connect();
    let mut flows = [Flow::new((0, a), (1, b), len)];
    assert!(net.run_flows(&mut flows, Duration::from_secs(600)), "{:?}", net.hosts[0].udx.stream_stats(a));
    (flows[0].ended.unwrap() - net.start).as_secs_f64()
}

/// A link of 100 Mbit/s with a round trip of 40 ms, whose queue holds one.
const fn shaped(loss: u32) -> Link {
    Link { loss, rate: Some(12_500_000), queue: Duration::from_millis(40), ..Link::of(20) }
}

#[test]
fn a_lossy_link_is_used_to_four_fifths() {
    const LEN: u64 = 40 << 20;
    // 1,452 of 1,500 bytes are the application's.
    let best = 12_500_000.0 * 1452.0 / 1500.0;
    for seed in 0..3 {
        let goodput = LEN as f64 / seconds(shaped(10), seed, LEN);
        assert!(goodput > 0.8 * best, "{:.1} Mbit/s of 100", goodput * 8e-6);
    }
}

#[test]
fn a_clean_link_is_used_to_nine_tenths() {
    const LEN: u64 = 40 << 20;
    let goodput = LEN as f64 / seconds(shaped(0), 1, LEN);
    assert!(goodput > 0.9 * 12_500_000.0 * 1452.0 / 1500.0, "{:.1} Mbit/s of 100", goodput * 8e-6);
}

#[test]
fn every_tenth_packet_lost_costs_less_than_two_thirds() {
    const LEN: u64 = 10 << 20;
    let link = |loss| Link { loss, ..shaped(0) };
    let (clean, lossy) = (seconds(link(0), 2, LEN), seconds(link(100), 2, LEN));
    assert!(clean / lossy >= 0.3, "{clean:.2} s without loss, {lossy:.2} s with");
}

#[test]
fn a_shallow_queue_is_no_obstacle() {
    const LEN: u64 = 20 << 20;
    let link = Link { queue: Duration::from_millis(4), ..shaped(0) };
    let goodput = LEN as f64 / seconds(link, 3, LEN);
    assert!(goodput > 0.5 * 12_500_000.0, "{:.1} Mbit/s of 100", goodput * 8e-6);
}

#[test]
fn a_long_transfer_looks_for_its_shortest_round_trip() {
    let mut net = Net::new(Link { rate: Some(1_000_000), ..shaped(0) }, 4);
    let (a, b) = net.connect();
    let mut flows = [Flow::new((0, a), (1, b), 30 << 20)];
    assert!(net.run_flows(&mut flows, Duration::from_secs(60)));
    let seconds = (flows[0].ended.unwrap() - net.start).as_secs_f64();
    assert!((30 << 20) as f64 / seconds > 850_000.0, "{seconds:.1} s");
    let stats = net.hosts[0].udx.stream_stats(a).unwrap();
    assert!(stats.min_rtt.unwrap() < Duration::from_millis(45), "{:?}", stats.min_rtt);
    assert_eq!(stats.timeouts, 0);
}

#[test]
fn sixteen_streams_share_a_link() {
    let mut net = Net::new(shaped(0), 5);
    let streams: Vec<(StreamId, StreamId)> = (0..16).map(|_| net.connect()).collect();
    let mut flows: Vec<Flow> = streams.iter().map(|(a, b)| Flow::new((0, *a), (1, *b), 1 << 30)).collect();
    assert!(!net.run_flows(&mut flows, Duration::from_secs(10)));
    let (most, least) =
        flows.iter().fold((0, u64::MAX), |(most, least), flow| (most.max(flow.read), least.min(flow.read)));
    let all: u64 = flows.iter().map(|flow| flow.read).sum();
    assert!(most <= 3 * least, "the most {most}, the least {least}");
    assert!(all as f64 > 0.85 * 125e6, "{all} bytes in ten seconds");
}

#[test]
fn the_largest_packet_of_the_path_is_found() {
    for mtu in [1200, 1280, 1400, 1492, 1500] {
        let mut net = Net::new(Link { mtu, rate: Some(5_000_000), ..Link::of(5) }, 6);
        let (a, b) = net.connect();
        let mut flows = [Flow::new((0, a), (1, b), 2 << 20)];
        assert!(net.run_flows(&mut flows, Duration::from_secs(60)));
        let stats = net.hosts[0].udx.stream_stats(a).unwrap();
        assert!(usize::from(stats.mtu) <= mtu && usize::from(stats.mtu) + 16 > mtu, "{} of {mtu}", stats.mtu);
        assert_eq!((stats.timeouts, stats.fast_recoveries), (0, 0), "a lost probe is no loss");
    }
}
