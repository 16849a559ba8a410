//! How much of a link streams use, in virtual time.

use std::time::Duration;

use udx::StreamId;

use crate::net::{Flow, Link, Net};

/// Kilobytes a second that a stream carries from the first host to the second, in the time that `len` bytes take.
fn goodput(link: Link, seed: u64, len: u64) -> u64 {
    let mut net = Net::new(link, seed);
    let (a, b) = net.connect();
    let mut flows = [Flow::new((0, a), (1, b), len)];
    assert!(net.run_flows(&mut flows, Duration::from_secs(600)), "{:?}", net.hosts[0].udx.stream_stats(a));
    len / u64::try_from((flows[0].ended.unwrap() - net.start).as_millis()).unwrap()
}

/// What a link of 100 Mbit/s carries for the application, in kilobytes a second: 1,452 of 1,500 bytes.
const BEST: u64 = 12_500 * 1452 / 1500;

/// A link of 100 Mbit/s with a round trip of 40 ms, whose queue holds one.
const fn shaped(loss: u32) -> Link {
    Link { loss, rate: Some(12_500_000), queue: Duration::from_millis(40), ..Link::of(20) }
}

#[test]
fn a_lossy_link_is_used_to_five_sixths() {
    for seed in 0..3 {
        let goodput = goodput(shaped(10), seed, 40 << 20);
        assert!(goodput > BEST * 5 / 6, "{goodput} kB/s of {BEST}");
    }
}

#[test]
fn a_clean_link_is_used_to_nine_tenths() {
    let goodput = goodput(shaped(0), 1, 40 << 20);
    assert!(goodput > BEST * 9 / 10, "{goodput} kB/s of {BEST}");
}

#[test]
fn every_tenth_packet_lost_costs_less_than_half() {
    let link = |loss| Link { delay: Duration::from_millis(25), ..shaped(loss) };
    let (clean, lossy) = (goodput(link(0), 2, 10 << 20), goodput(link(100), 2, 10 << 20));
    assert!(lossy * 2 > clean, "{clean} kB/s without loss, {lossy} kB/s with");
}

#[test]
fn a_shallow_queue_is_no_obstacle() {
    let link = Link { queue: Duration::from_millis(4), ..shaped(0) };
    let goodput = goodput(link, 3, 20 << 20);
    assert!(goodput > BEST / 2, "{goodput} kB/s of {BEST}");
}

#[test]
fn a_long_transfer_looks_for_its_shortest_round_trip() {
    let mut net = Net::new(Link { rate: Some(1_000_000), ..shaped(0) }, 4);
    let (a, b) = net.connect();
    let mut flows = [Flow::new((0, a), (1, b), 30 << 20)];
    assert!(
        net.run_flows(&mut flows, Duration::from_secs(37)),
        "at a megabyte a second, with a tenth to spare"
    );
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
    assert!(all > 10_000 * BEST * 7 / 8, "{all} bytes in ten seconds");
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
