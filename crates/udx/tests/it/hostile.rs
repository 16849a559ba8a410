//! Packets that no honest peer sends cost little and change nothing.

use std::time::Duration;

use udx::{CloseReason, Config, Event, Read, StreamId, Taken, Udx};
use wire::SocketId;
use wire::udx::{Kinds, Packet, Sacks, Seq};

use crate::net::{Flow, Link, Net, address, encoded, forged, path};

const ELSEWHERE: u8 = 66;

fn connected() -> (Net, StreamId, StreamId) {
    let mut net = Net::new(Link::of(10), 1);
    let (a, b) = net.connect();
    net.drain();
    (net, a, b)
}

#[test]
fn a_destroy_from_elsewhere_is_ignored() {
    let (mut net, a, b) = connected();
    for _ in 0..100 {
        assert_eq!(net.inject(1, address(ELSEWHERE), &encoded(&forged(Kinds::DESTROY, b))), Taken::Yes);
    }
    assert_eq!(net.closed(1, b), None);
    assert_eq!(net.hosts[1].udx.stats().off_path, 100);
    assert!(net.hosts[1].events.is_empty(), "the application is not asked about it either");
    let mut flows = [Flow::new((0, a), (1, b), 1000)];
    assert!(net.run_flows(&mut flows, Duration::from_secs(5)));
}

#[test]
fn data_from_elsewhere_waits_for_a_decision() {
    let (mut net, a, b) = connected();
    let packet = Packet { payload: b"forged", ..forged(Kinds::DATA, b) };
    net.log = Some(Vec::new());
    assert_eq!(net.inject(1, address(ELSEWHERE), &encoded(&packet)), Taken::Yes);
    let offered = Event::PathOffered { stream: b, path: path(address(ELSEWHERE)) };
    assert_eq!(net.hosts[1].events, [offered]);
    assert_eq!(net.hosts[1].udx.read(b, &mut [0; 10]), Read::Empty);
    assert!(net.log.as_ref().unwrap().is_empty(), "nothing is sent to an address that proved nothing");
    net.hosts[1].udx.refuse(b, path(address(ELSEWHERE)));
    assert_eq!(net.inject(1, address(ELSEWHERE), &encoded(&packet)), Taken::Yes);
    assert_eq!(net.hosts[1].events, [offered], "refused is refused");
    net.hosts[1].udx.admit(net.now, b, path(address(ELSEWHERE)));
    assert_eq!(net.hosts[1].udx.read(b, &mut [0; 10]), Read::Empty, "what came meanwhile is gone");
    let mut flows = [Flow::new((0, a), (1, b), 100_000)];
    assert!(net.run_flows(&mut flows, Duration::from_secs(5)));
}

#[test]
fn an_admitted_path_delivers_what_waited() {
    let (mut net, _, b) = connected();
    let packet = Packet { payload: b"moved", ..forged(Kinds::DATA, b) };
    assert_eq!(net.inject(1, address(ELSEWHERE), &encoded(&packet)), Taken::Yes);
    net.hosts[1].udx.admit(net.now, b, path(address(ELSEWHERE)));
    net.drain();
    let mut buf = [0; 10];
    assert_eq!(net.hosts[1].udx.read(b, &mut buf), Read::Bytes(5));
    assert!(net.has(1, &Event::PathHeard { stream: b, path: path(address(ELSEWHERE)) }));
}

#[test]
fn a_flood_from_everywhere_is_kept_within_bounds() {
    let (mut net, _, b) = connected();
    let payload = [0; 1400];
    let bytes = encoded(&Packet { payload: &payload, ..forged(Kinds::DATA, b) });
    for host in 3..200 {
        for _ in 0..20 {
            assert_eq!(net.inject(1, address(host), &bytes), Taken::Yes);
        }
    }
    assert_eq!(net.hosts[1].events.len(), 4, "paths are offered up to a limit");
    for host in 3..200 {
        net.hosts[1].udx.admit(net.now, b, path(address(host)));
    }
    let received = net.hosts[1].udx.stream_stats(b).unwrap().packets_rx;
    assert_eq!(received, 16, "packets are kept up to a limit");
}

#[test]
fn absurd_acknowledgements_are_ignored() {
    let (mut net, a, b) = connected();
    assert_eq!(net.hosts[0].udx.write(net.now, a, &[7; 5000]), Ok(5000));
    net.drain();
    let before = net.hosts[0].udx.stream_stats(a).unwrap();
    assert_eq!(before.in_flight, 5);
    for (start, end) in [(3, 3), (4, 2), (0, u32::MAX), (6, 5), (1, 6), (u32::MAX - 5, 2), (1 << 31, 1 << 30)]
    {
        let mut list = Vec::new();
        Sacks::pack(Seq(start), Seq(end), &mut list);
        let packet = Packet { between: &list, ..forged(Kinds::SACK, a) };
        assert_eq!(net.inject(0, address(2), &encoded(&packet)), Taken::Yes);
    }
    for ack in [6, 1000, 1 << 30] {
        assert_eq!(
            net.inject(0, address(2), &encoded(&Packet { ack: Seq(ack), ..forged(Kinds::ACK, a) })),
            Taken::Yes
        );
    }
    let after = net.hosts[0].udx.stream_stats(a).unwrap();
    assert_eq!((after.in_flight, after.bad_sacks, after.retransmits), (5, 7, 0));
    assert_eq!(net.hosts[0].udx.stats().rejected, 3);
    let mut cut = encoded(&forged(Kinds::DATA, b));
    cut[3] = 1;
    assert_eq!(net.inject(1, address(1), &cut), Taken::Yes);
    assert_eq!(net.hosts[1].udx.stats().rejected, 1);
    net.run_ms(100);
    assert_eq!(net.hosts[1].udx.read(b, &mut [0; 8000]), Read::Bytes(5000));
}

#[test]
fn data_that_acknowledges_what_was_never_sent_is_dropped() {
    let (mut net, _, b) = connected();
    let packet = Packet { ack: Seq(1), payload: b"guess", ..forged(Kinds::DATA, b) };
    net.log = Some(Vec::new());
    assert_eq!(net.inject(1, address(1), &encoded(&packet)), Taken::Yes);
    assert_eq!(net.hosts[1].udx.read(b, &mut [0; 10]), Read::Empty);
    assert!(net.log.unwrap().is_empty());
}

#[test]
fn a_destroy_must_be_of_this_moment() {
    let (mut net, _, b) = connected();
    let data = Packet { payload: b"x", ..forged(Kinds::DATA, b) };
    assert_eq!(net.inject(1, address(1), &encoded(&data)), Taken::Yes);
    for seq in [0, u32::MAX, 1 << 20, 1 << 31] {
        let packet = Packet { seq: Seq(seq), ..forged(Kinds::DESTROY, b) };
        assert_eq!(net.inject(1, address(1), &encoded(&packet)), Taken::Yes);
        assert_eq!(net.closed(1, b), None, "{seq}");
    }
    let packet = Packet { seq: Seq(1), ..forged(Kinds::DESTROY, b) };
    assert_eq!(net.inject(1, address(1), &encoded(&packet)), Taken::Yes);
    assert_eq!(net.closed(1, b), Some(CloseReason::Reset));
}

#[test]
fn early_packets_are_kept_within_the_window() {
    let (mut net, _, b) = connected();
    let payload = [1; 1400];
    for seq in 1..20_000 {
        let packet = Packet { seq: Seq(seq), payload: &payload, ..forged(Kinds::DATA, b) };
        assert_eq!(net.inject(1, address(1), &encoded(&packet)), Taken::Yes);
    }
    let refused = net.hosts[1].udx.stream_stats(b).unwrap().refused;
    // The window of 4 MiB, and 64 KiB beyond it, hold fewer than 3,043 packets of 1,400 bytes.
    assert!(refused > 20_000 - 3043, "{refused}");
    let first = Packet { payload: &payload, ..forged(Kinds::DATA, b) };
    assert_eq!(net.inject(1, address(1), &encoded(&first)), Taken::Yes);
    assert!(net.hosts[1].udx.stream_stats(b).unwrap().unread <= (4 << 20) + (64 << 10));
}

#[test]
fn gaps_everywhere_make_one_packet_of_fifty_reports() {
    let (mut net, _, b) = connected();
    for seq in (1..2001).step_by(2) {
        let packet = Packet { seq: Seq(seq), payload: b"x", ..forged(Kinds::DATA, b) };
        assert_eq!(net.inject(1, address(1), &encoded(&packet)), Taken::Yes);
    }
    net.log = Some(Vec::new());
    let packet = Packet { seq: Seq(2001), payload: b"x", ..forged(Kinds::DATA, b) };
    assert_eq!(net.inject(1, address(1), &encoded(&packet)), Taken::Yes);
    let log = net.log.unwrap();
    assert_eq!((log.len(), log[0].bytes.len(), log[0].packet().sacks().iter().count()), (1, 20 + 50 * 8, 50));
}

#[test]
fn messages_that_nobody_reads_are_lost() {
    let (mut net, a, b) = connected();
    for n in 0..200u8 {
        net.hosts[0].udx.send_message(a, &[n; 1000]).unwrap();
    }
    net.run_ms(50);
    let mut kept = Vec::new();
    while let Some(message) = net.hosts[1].udx.read_message(b) {
        kept.push(message[0]);
    }
    assert_eq!(kept, (0..64).collect::<Vec<u8>>());
}

#[test]
fn streams_are_counted_and_their_ids_are_their_own() {
    let now = Net::new(Link::of(0), 1).now;
    let mut udx = Udx::new(Config { streams_max: 100, ..Config::default() }, [1; 32]);
    let ids: std::collections::BTreeSet<StreamId> = (0..100).map(|_| udx.open(now).unwrap()).collect();
    assert_eq!(ids.len(), 100);
    assert!(udx.open(now).is_err());
    let one = *ids.first().unwrap();
    udx.destroy(now, one);
    assert!(udx.open_as(now, *ids.last().unwrap(), Seq(0), Seq(0)).is_err());
    assert_eq!(udx.open_as(now, one, Seq(0), Seq(0)), Ok(()));
}

#[test]
fn any_packet_leaves_a_stream_in_working_order() {
    arbtest::arbtest(|u| {
        let (mut net, a, b) = connected();
        let mut flows = [Flow::new((0, a), (1, b), 20_000)];
        net.write_flow(&mut flows[0]);
        for _ in 0..u.int_in_range(1..=30)? {
            let (host, stream) = if u.arbitrary()? { (0, a) } else { (1, b) };
            let list: Vec<u8> = (0..u.int_in_range(0..=6)?).flat_map(|_| small(u).to_le_bytes()).collect();
            // A peer may send what it likes; these it sends to its own harm.
            let harmful = Kinds::DESTROY.and(Kinds::DATA).and(Kinds::END);
            let kinds = Kinds(u.arbitrary::<u8>()? & !harmful.0);
            let (seq, ack) = (Seq(small(u)), Seq(0));
            let packet = Packet { kinds, stream, window: 1 << 22, seq, ack, between: &list, payload: &[] };
            if host == 1 || !kinds.has(Kinds::SACK) {
                let remote = if host == 0 { address(2) } else { address(1) };
                let _taken =
                    net.hosts[host].udx.handle_packet(net.now, remote, SocketId::SERVER, &encoded(&packet));
            }
            net.run_ms(u.int_in_range(0..=20)?);
        }
        assert!(net.run_flows(&mut flows, Duration::from_secs(30)));
        Ok(())
    })
    .size_max(600);
}

/// A number near the beginning, or just before it.
fn small(u: &mut arbtest::arbitrary::Unstructured<'_>) -> u32 {
    u.int_in_range(0..=40u32).unwrap_or_default().wrapping_sub(5)
}
