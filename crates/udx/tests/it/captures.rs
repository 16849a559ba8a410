//! The reference's conversations, held again.

use std::sync::LazyLock;
use std::time::Duration;

use serde_json::Value;
use udx::{CloseReason, Event, Read, StreamId, Taken};
use wire::udx::{Kinds, Packet};

use crate::net::{Link, Net, Sent, address, encoded, forged, path};

static UDX: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../../vectors/hyperdht/udx.json")).expect("vectors are JSON")
});
static TIMING: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../../vectors/hyperdht/udx-timing.json"))
        .expect("vectors are JSON")
});

/// What the two ends of a capture see of a packet: all but the window, which ours narrows by what is not read yet.
type Seen = (String, u32, u32, u32, usize, Vec<u8>);

fn hex(digits: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2).unwrap(), 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// The rows of a capture that one end sent.
fn rows(scenario: &str, direction: &str) -> Vec<(Vec<u8>, Fate)> {
    let packets = UDX["scenarios"][scenario]["packets"].as_array().expect("a capture has packets");
    let rows = packets.iter().filter(|row| row["dir"] == direction);
    let rows: Vec<_> = rows
        .map(|row| {
            let mut bytes = hex(row["hex"].as_str().unwrap().trim_end_matches(".."));
            bytes.resize(usize::try_from(row["len"].as_u64().unwrap()).unwrap(), 0);
            (bytes, if row["verdict"] == "drop" { Fate::Lost } else { Fate::Arrived })
        })
        .collect();
    assert!(!rows.is_empty(), "{scenario} has no packet {direction}");
    rows
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Arrived,
    Lost,
}

fn seen(bytes: &[u8]) -> Seen {
    let packet = Packet::decode(bytes).unwrap();
    let named = [
        (Kinds::DATA, "DATA"),
        (Kinds::END, "END"),
        (Kinds::SACK, "SACK"),
        (Kinds::MESSAGE, "MESSAGE"),
        (Kinds::DESTROY, "DESTROY"),
        (Kinds::HEARTBEAT, "HEARTBEAT"),
    ];
    let names: Vec<&str> =
        named.iter().filter(|(kind, _)| packet.kinds.has(*kind)).map(|(_, name)| *name).collect();
    let kinds = if names.is_empty() { "ACK".to_owned() } else { names.join("|") };
    (kinds, packet.stream.0, packet.seq.0, packet.ack.0, bytes.len(), packet.between.to_vec())
}

enum Act {
    Write(&'static [u8]),
    Finish,
    Destroy,
    Message(&'static [u8]),
    Keepalive(u64),
    Connect,
}

const A: usize = 0;
const B: usize = 1;

fn act(net: &mut Net, host: usize, act: &Act) {
    let (now, id) = (net.now, StreamId(u32::try_from(host + 1).unwrap()));
    let udx = &mut net.hosts[host].udx;
    match act {
        Act::Write(bytes) => assert_eq!(udx.write(now, id, bytes), Ok(bytes.len())),
        Act::Finish => udx.finish(now, id),
        Act::Destroy => udx.destroy(now, id),
        Act::Message(bytes) => udx.send_message(id, bytes).unwrap(),
        Act::Keepalive(ms) => udx.set_keepalive(now, id, Some(Duration::from_millis(*ms))),
        Act::Connect => {
            let (peer, name) = if host == A { (address(2), StreamId(2)) } else { (address(1), StreamId(1)) };
            udx.connect(now, id, path(peer), name).unwrap();
        }
    }
}

/// Does at each millisecond what the hosts did, until `end`, and returns the conversation.
fn converse(net: &mut Net, script: &[(u64, usize, Act)], end: u64) -> Vec<Sent> {
    net.log = Some(Vec::new());
    for (ms, host, what) in script {
        // What is done in one turn leaves together.
        if *ms > net.ms() {
            net.run_ms(ms - net.ms());
        }
        act(net, *host, what);
    }
    net.run_ms(end - net.ms());
    net.log.take().unwrap()
}

fn by(log: &[Sent], host: usize) -> Vec<Seen> {
    log.iter().filter(|sent| sent.from == host).map(|sent| seen(&sent.bytes)).collect()
}

/// Holds a conversation and compares what each end sent with the capture.
fn replay(scenario: &str, net: &mut Net, script: &[(u64, usize, Act)], end: u64) {
    let log = converse(net, script, end);
    for (host, direction) in [(A, "A>B"), (B, "B>A")] {
        let expected: Vec<Seen> = if scenario_has(scenario, direction) {
            rows(scenario, direction).iter().map(|(bytes, _)| seen(bytes)).collect()
        } else {
            Vec::new()
        };
        assert_eq!(by(&log, host), expected, "{scenario} {direction}");
    }
}

fn scenario_has(scenario: &str, direction: &str) -> bool {
    UDX["scenarios"][scenario]["packets"].as_array().unwrap().iter().any(|row| row["dir"] == direction)
}

/// Two hosts a tenth of a millisecond apart, with connected streams 1 and 2.
fn near() -> Net {
    let mut net = Net::new(Link { delay: Duration::from_micros(100), ..Link::of(0) }, 1);
    net.connect_as((0, 0));
    net
}

#[test]
fn both_sides_write_and_end_as_the_reference_does() {
    let script = [
        (9, A, Act::Write(b"hello")),
        (42, B, Act::Write(b"world")),
        (72, A, Act::Finish),
        (102, B, Act::Finish),
    ];
    replay("small-write", &mut near(), &script, 3000);
}

#[test]
fn data_and_end_share_a_packet() {
    let script = [(1, A, Act::Write(b"hello")), (1, A, Act::Finish), (1, B, Act::Finish)];
    let mut net = near();
    replay("end-with-data", &mut net, &script, 3000);
    assert_eq!(net.closed(A, StreamId(1)), Some(CloseReason::Finished));
    assert_eq!(net.closed(B, StreamId(2)), Some(CloseReason::Finished));
    let mut buf = [0; 10];
    assert_eq!(net.hosts[B].udx.read(StreamId(2), &mut buf), Read::Bytes(5));
    assert_eq!(net.hosts[B].udx.read(StreamId(2), &mut buf), Read::End);
    assert_eq!(net.hosts[B].udx.read(StreamId(2), &mut buf), Read::Gone);
}

#[test]
fn messages_take_no_number() {
    let script = [(1, A, Act::Message(b"datagram")), (35, A, Act::Message(b""))];
    let mut net = near();
    replay("message", &mut net, &script, 3000);
    assert_eq!(net.hosts[B].udx.read_message(StreamId(2)).as_deref(), Some(&b"datagram"[..]));
    assert_eq!(net.hosts[B].udx.read_message(StreamId(2)).as_deref(), Some(&b""[..]));
    assert_eq!(net.hosts[B].udx.read_message(StreamId(2)), None);
}

#[test]
fn a_destroyed_stream_resets_its_peer() {
    let script = [(9, A, Act::Write(b"hello")), (31, A, Act::Destroy)];
    let mut net = near();
    replay("destroy", &mut net, &script, 3000);
    assert_eq!(net.closed(B, StreamId(2)), Some(CloseReason::Reset));
}

#[test]
fn heartbeats_are_answered() {
    replay("heartbeat", &mut near(), &[(0, A, Act::Keepalive(100))], 350);
    let script = [(0, A, Act::Keepalive(100)), (1, A, Act::Write(b"x"))];
    replay("heartbeat-after-data", &mut near(), &script, 350);
}

#[test]
fn numbers_wrap_as_in_the_reference() {
    let mut net = Net::new(Link { delay: Duration::from_micros(100), ..Link::of(0) }, 1);
    net.connect_as((u32::MAX - 1, 0));
    let script = [
        (1, A, Act::Write(b"n0")),
        (31, A, Act::Write(b"n1")),
        (61, A, Act::Write(b"n2")),
        (91, A, Act::Write(b"n3")),
    ];
    replay("seq-wrap", &mut net, &script, 3000);
}

#[test]
fn data_before_the_connection_is_acknowledged_after_it() {
    let mut net = Net::new(Link { delay: Duration::from_micros(100), ..Link::of(0) }, 1);
    let (_, b) = net.open_as((0, 0));
    let script = [(0, A, Act::Connect), (1, A, Act::Write(b"early")), (61, B, Act::Connect)];
    replay("preconnect", &mut net, &script, 3000);
    assert!(net.has(B, &Event::PathOffered { stream: b, path: path(address(1)) }));
    assert!(net.has(B, &Event::Readable(b)));
}

#[test]
fn data_of_an_admitted_path_is_read_before_the_connection() {
    let mut net = Net::new(Link::of(1), 1);
    let (_, b) = net.open_as((0, 0));
    let data = Packet { payload: b"aaaaa", ..forged(Kinds::DATA, b) };
    net.log = Some(Vec::new());
    for _ in 0..2 {
        assert_eq!(net.inject(B, address(1), &encoded(&data)), Taken::Yes);
        net.hosts[B].udx.admit(net.now, b, path(address(1)));
    }
    let mut buf = [0; 10];
    assert_eq!((net.hosts[B].udx.read(b, &mut buf), &buf[..5]), (Read::Bytes(5), &b"aaaaa"[..]));
    net.drain();
    assert!(net.log.as_ref().unwrap().is_empty(), "nothing is said before the connection");
    net.hosts[B].udx.connect(net.now, b, path(address(1)), StreamId(0x37)).unwrap();
    net.drain();
    let theirs = TIMING["scenarios"]["firewall-default"]["afterConnect"][0].as_str().unwrap();
    assert_eq!(net.log.unwrap()[0].bytes, hex(theirs));
}

#[test]
fn packets_are_acknowledged_as_recorded() {
    for scenario in ["sack", "sack-two-holes", "mtu-probe", "tail-loss", "seq-wrap", "heartbeat-after-data"] {
        let mut net = Net::new(Link::of(1000), 1);
        let first = if scenario == "seq-wrap" { u32::MAX - 1 } else { 0 };
        net.connect_as((first, 0));
        net.log = Some(Vec::new());
        for (bytes, fate) in rows(scenario, "A>B") {
            if fate == Fate::Arrived {
                assert_eq!(net.inject(B, address(1), &bytes), Taken::Yes);
            }
        }
        let acks = by(&net.log.take().unwrap(), B);
        let expected: Vec<Seen> = rows(scenario, "B>A").iter().map(|(bytes, _)| seen(bytes)).collect();
        // One capture was cut while acknowledgements were on their way.
        let acks = &acks[..expected.len().min(acks.len())];
        assert_eq!(acks, expected, "{scenario}");
    }
}

/// A line of a timed log: milliseconds since the first line, who, and what.
fn timed(scenario: &str) -> Vec<(u64, String)> {
    let log = TIMING["scenarios"][scenario]["log"].as_array().expect("a log");
    let lines = log.iter().map(|line| {
        let (ms, what) = line.as_str().unwrap().split_once(' ').unwrap();
        (ms.parse::<u64>().unwrap(), what.trim_end_matches("drop").trim_end().to_owned())
    });
    let lines: Vec<_> = lines.filter(|(_, what)| !what.contains("close")).collect();
    let first = lines[0].0;
    lines.into_iter().map(|(ms, what)| (ms - first, what)).collect()
}

fn told(log: &[Sent], from: u64) -> Vec<(u64, String)> {
    log.iter()
        .filter(|sent| sent.ms >= from)
        .map(|sent| {
            let (kinds, _, seq, _, len, _) = seen(&sent.bytes);
            let direction = if sent.from == A { "A>B" } else { "B>A" };
            (sent.ms - from, format!("{direction} {kinds} seq={seq} len={len}"))
        })
        .collect()
}

/// Compares a log with the reference's: the same packets, within what its event loop adds.
fn assert_timed(ours: &[(u64, String)], theirs: &[(u64, String)]) {
    let what = |lines: &[(u64, String)]| lines.iter().map(|(_, what)| what.clone()).collect::<Vec<_>>();
    assert_eq!(what(ours), what(theirs));
    for ((ms, what), (expected, _)) in ours.iter().zip(theirs) {
        assert!(ms.abs_diff(*expected) <= 10, "{what} at {ms} ms, the reference at {expected} ms");
    }
}

#[test]
fn a_silent_peer_is_given_up_as_fast_as_by_the_reference() {
    let mut net = Net::new(Link::of(20), 1);
    net.connect_as((0, 0));
    net.censor = Some(Box::new(|_| true));
    let log = converse(&mut net, &[(5, A, Act::Write(b"never"))], 14_000);
    let mut theirs = timed("blackhole-from-start");
    let (end, error) = theirs.pop().unwrap();
    assert_eq!(error, "a error ETIMEDOUT");
    assert_timed(&told(&log, 5), &theirs);
    assert_eq!((net.closed(A, StreamId(1)), end), (Some(CloseReason::TimedOut), 13_001));
}

#[test]
fn a_peer_that_falls_silent_is_given_up_as_fast_as_by_the_reference() {
    let mut net = Net::new(Link::of(20), 1);
    net.connect_as((0, 0));
    net.censor = Some(Box::new(|sent| sent.ms >= 500));
    let mut script: Vec<_> = (0..5).map(|n| (n * 100, A, Act::Write(b"hello"))).collect();
    script.push((502, A, Act::Write(b"never")));
    script.push((508, A, Act::Write(b"never")));
    let log = converse(&mut net, &script, 502 + 13_080);
    let mut theirs = timed("blackhole-after-rtt-40ms");
    let (end, error) = theirs.pop().unwrap();
    assert_eq!((end, error.as_str()), (13_089, "a error ETIMEDOUT"));
    assert_timed(&told(&log, 502), &theirs);
    assert_eq!(net.closed(A, StreamId(1)), None);
    net.run_ms(20);
    assert_eq!(net.closed(A, StreamId(1)), Some(CloseReason::TimedOut));
}

#[test]
fn half_a_stream_stays_open_as_in_the_reference() {
    let mut net = Net::new(Link { delay: Duration::from_millis(2), ..Link::of(0) }, 1);
    net.connect_as((0, 0));
    let script = [
        (1, A, Act::Write(b"one")),
        (1, A, Act::Finish),
        (52, B, Act::Write(b"later")),
        (102, B, Act::Write(b"more")),
        (152, B, Act::Finish),
    ];
    let log = converse(&mut net, &script, 3000);
    assert_timed(&told(&log, 1), &timed("half-close"));
}

#[test]
fn a_copy_of_old_data_is_acknowledged_again() {
    let mut net = near();
    let log = converse(&mut net, &[(1, A, Act::Write(b"x"))], 20);
    net.log = Some(Vec::new());
    assert_eq!(net.inject(B, address(1), &log[0].bytes), Taken::Yes);
    let again = net.log.take().unwrap();
    let theirs = timed("duplicate-and-reorder");
    assert_eq!(
        told(&log, 0)[..2].iter().chain(&told(&again, 0)).map(|line| &line.1).collect::<Vec<_>>(),
        theirs.iter().map(|line| &line.1).collect::<Vec<_>>()
    );
}

#[test]
fn the_tail_of_a_flight_is_probed_after_two_round_trips() {
    let mut net = Net::new(Link::of(20), 1);
    net.connect_as((0, 0));
    net.censor = Some(Box::new(|sent| sent.from == A && (400..500).contains(&sent.ms)));
    let script = [
        (1, A, Act::Write(b"warm")),
        (151, A, Act::Write(b"w2")),
        (301, A, Act::Write(b"w3")),
        (453, A, Act::Write(b"lost")),
    ];
    replay("tail-loss", &mut net, &script, 3000);
    let stats = net.hosts[A].udx.stream_stats(StreamId(1)).unwrap();
    assert_eq!((stats.retransmits, stats.timeouts), (1, 0));
}

#[test]
fn datagrams_of_no_stream_are_left_to_others() {
    let mut net = near();
    let rows = TIMING["scenarios"]["unknown-id"]["deliveredToSocketHandler"].as_array().unwrap();
    net.log = Some(Vec::new());
    for row in rows {
        assert_eq!(net.inject(B, address(1), &hex(row.as_str().unwrap())), Taken::No);
    }
    assert!(rows.len() == 3 && net.log.take().unwrap().is_empty());
}
