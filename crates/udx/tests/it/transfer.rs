//! Bytes arrive as they were written, whatever the link does.

use std::time::Duration;

use udx::{CloseReason, Config};

use crate::net::{Flow, Link, Net};

const LIMIT: Duration = Duration::from_secs(120);

/// Sends `len` bytes each way, and checks bytes, ends and how the streams closed.
fn exchange(net: &mut Net, first: u32, len: u64) {
    let (a, b) = net.connect_as((first, first));
    let mut flows = [Flow::new((0, a), (1, b), len), Flow::new((1, b), (0, a), len / 2)];
    let link = net.link;
    let ended = net.run_flows(&mut flows, LIMIT);
    let read = (flows[0].read, flows[1].read);
    let closed = (net.closed(0, a), net.closed(1, b));
    assert!(ended, "{link:?}: read {read:?}, closed {closed:?}, {:?}", net.hosts[0].udx.stream_stats(a));
    net.run(Duration::from_secs(16));
    let closed = (net.closed(0, a), net.closed(1, b));
    assert_eq!(closed, (Some(CloseReason::Finished), Some(CloseReason::Finished)), "{link:?}");
    assert!(net.hosts.iter().all(|host| host.udx.is_empty()));
}

#[test]
fn bytes_survive_loss() {
    for loss in [0, 10, 50] {
        for seed in 0..20 {
            exchange(&mut Net::new(Link { loss, ..Link::of(20) }, seed), 0, 200_000);
        }
    }
}

#[test]
fn bytes_survive_loss_of_every_fifth_packet() {
    for seed in 0..10 {
        exchange(&mut Net::new(Link { loss: 200, ..Link::of(10) }, seed), 0, 60_000);
    }
}

#[test]
fn bytes_survive_reordering_and_duplication() {
    for seed in 0..20 {
        let late = Duration::from_millis(seed);
        let link = Link { loss: 10, twice: 100, reorder: 200, late, ..Link::of(5) };
        exchange(&mut Net::new(link, seed), 0, 200_000);
    }
}

#[test]
fn numbers_wrap() {
    for (seed, before) in [1, 2, 3, 10, 50, 100, 150].into_iter().enumerate() {
        let link = Link { loss: 20, reorder: 50, late: Duration::from_millis(3), ..Link::of(5) };
        exchange(&mut Net::new(link, seed as u64), 0u32.wrapping_sub(before), 200_000);
    }
}

#[test]
fn batches_arrive_as_single_packets_do() {
    for seed in 0..10 {
        let config = Config { segments_max: 44, ..Config::default() };
        exchange(&mut Net::with(Link { loss: 20, ..Link::of(5) }, seed, config), 0, 500_000);
    }
}

#[test]
fn any_link_that_carries_something_carries_a_stream() {
    for seed in 0..60u64 {
        let pick = |salt: u64, among: u64| seed.wrapping_mul(0x9e37_79b9).wrapping_add(salt * 7919) % among;
        let permille = |salt, among| u32::try_from(pick(salt, among)).unwrap();
        let link = Link {
            delay: Duration::from_millis(pick(1, 150)),
            loss: permille(2, 100),
            twice: permille(3, 100),
            reorder: permille(4, 300),
            late: Duration::from_millis(pick(5, 60)),
            rate: (pick(6, 2) == 0).then_some(200_000 + pick(7, 2_000_000)),
            queue: Duration::from_millis(20 + pick(8, 200)),
            mtu: 1200 + usize::try_from(pick(9, 301)).unwrap(),
        };
        let config = Config { segments_max: 1 + usize::try_from(pick(10, 20)).unwrap(), ..Config::default() };
        exchange(&mut Net::with(link, seed, config), 0u32.wrapping_sub(permille(11, 60)), 100_000);
    }
}

#[test]
fn a_reordered_path_is_not_taken_for_a_lossy_one() {
    let mut net = Net::new(
        Link { reorder: 50, late: Duration::from_millis(1), rate: Some(3_500_000), ..Link::of(25) },
        7,
    );
    let (a, b) = net.connect();
    let mut flows = [Flow::new((0, a), (1, b), 4 << 20)];
    net.hosts[1].udx.finish(net.now, b);
    let before = net.hosts[0].udx.stream_stats(a).unwrap();
    assert!(net.run_flows(&mut flows, LIMIT));
    let stats = net.hosts[0].udx.stream_stats(a).unwrap_or(before);
    assert_eq!(stats.timeouts, 0);
    assert!(stats.retransmits * 50 < 3600, "{} retransmits", stats.retransmits);
}
