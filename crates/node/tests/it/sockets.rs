use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use node::{BATCH, Batch, DATAGRAM_MAX, Scratch, Sent, Socket};
use wire::{SocketId, Transmit};

use crate::network::{address, bootstrapper, free_address, soon};

/// Opens a socket, and waits until the runtime knows that it has room.
async fn open() -> Socket {
    let socket = Socket::bind(Ipv4Addr::LOCALHOST, 0).unwrap();
    soon(socket.writable()).await;
    socket
}

/// Sends numbered datagrams in as many batches as they need.
fn send(socket: &mut Socket, to: SocketAddr, numbers: std::ops::Range<u32>) {
    let mut numbers = numbers;
    Scratch::with(|scratch| {
        loop {
            let slots = scratch.outbox.fill(|buf| {
                let number = numbers.next()?;
                buf.clear();
                buf.extend(number.to_be_bytes());
                Some(Transmit::new(SocketId::SERVER, to))
            });
            if slots.is_empty() {
                break;
            }
            assert_eq!(socket.send(slots), Sent::All);
        }
    });
}

#[tokio::test]
async fn batches_of_any_size_arrive_whole_and_in_order() {
    let mut here = open().await;
    let mut there = open().await;
    let mut expected = 0;
    for count in [1, 2, 8, 9, 63, 64, 65, 200] {
        send(&mut here, there.local(), expected..expected + count);
        let until = expected + count;
        while expected < until {
            soon(there.readable()).await;
            Scratch::with(|scratch| {
                let batch = there.receive(&mut scratch.inbox);
                assert!(batch.taken <= BATCH);
                for (from, bytes) in scratch.inbox.datagrams() {
                    assert_eq!((from, bytes), (here.local(), &expected.to_be_bytes()[..]));
                    expected += 1;
                }
            });
        }
    }
    assert_eq!(here.traffic().packets_out, 412);
    assert_eq!((there.traffic().packets_in, there.traffic().bytes_in), (412, 4 * 412));
}

#[tokio::test]
async fn a_datagram_longer_than_the_buffer_is_dropped_and_the_longest_is_not() {
    let mut socket = open().await;
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    for len in [DATAGRAM_MAX + 1, DATAGRAM_MAX, 0] {
        sender.send_to(&vec![1; len], socket.local()).unwrap();
    }
    soon(socket.readable()).await;
    Scratch::with(|scratch| {
        assert_eq!(socket.receive(&mut scratch.inbox), Batch { taken: 3, oversized: 1 });
        let lengths: Vec<_> = scratch.inbox.datagrams().map(|(_, bytes)| bytes.len()).collect();
        assert_eq!(lengths, [DATAGRAM_MAX, 0]);
        assert_eq!(socket.receive(&mut scratch.inbox), Batch::default());
    });
    assert_eq!(socket.traffic().dropped_in, 1);
}

#[tokio::test]
async fn what_cannot_be_sent_is_dropped_and_the_rest_goes_on() {
    let mut socket = open().await;
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = [
        SocketAddr::from(address(&receiver)),
        // Nobody listens there; what the system says about that later is no reason to stop.
        free_address().into(),
        // An IPv6 address cannot be reached from an IPv4 socket.
        "[::1]:1".parse().unwrap(),
        address(&receiver).into(),
    ];
    let mut rest = to.iter();
    Scratch::with(|scratch| {
        let slots = scratch.outbox.fill(|buf| {
            let to = rest.next()?;
            buf.clear();
            buf.push(b'x');
            Some(Transmit::new(SocketId::SERVER, *to))
        });
        assert_eq!(socket.send(slots), Sent::All);
    });
    assert_eq!((socket.traffic().packets_out, socket.traffic().dropped_out), (3, 1));
    for _ in 0..2 {
        assert_eq!(receiver.recv(&mut [0; 8]).unwrap(), 1);
    }
}

#[tokio::test]
async fn a_probe_with_a_time_to_live_leaves_that_of_the_others_alone() {
    let mut socket = open().await;
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = address(&receiver);
    let mut ttls = [None, Some(5), None].into_iter();
    Scratch::with(|scratch| {
        let slots = scratch.outbox.fill(|buf| {
            let ttl = ttls.next()?;
            buf.clear();
            Some(Transmit { ttl, ..Transmit::new(SocketId::SERVER, to.into()) })
        });
        assert_eq!(socket.send(slots), Sent::All);
    });
    let receive = || receiver.recv(&mut [0; 8]).unwrap();
    assert_eq!((receive(), receive(), receive()), (0, 0, 0));
    assert_eq!(socket.traffic().packets_out, 3);
}

#[tokio::test]
async fn a_node_counts_what_is_no_message_and_goes_on() {
    let node = bootstrapper().await;
    let stranger = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for garbage in [&b"x"[..], b"garbage", &[0x03; 5], &[0xff; 1400]] {
        stranger.send_to(garbage, node.server_address()).await.unwrap();
    }
    // dht-rpc PING with transaction id 0x0201, its `to` field zero: the vectors' layout.
    let ping = [0x03, 0x04, 0x01, 0x02, 0, 0, 0, 0, 0, 0, 0];
    stranger.send_to(&ping, node.server_address()).await.unwrap();
    let mut pong = [0; 64];
    let len = soon(stranger.recv(&mut pong)).await.unwrap();
    assert_eq!((len, &pong[..4]), (42, &[0x13, 0x01, 0x01, 0x02][..]));
    let snapshot = node.snapshot().await.unwrap();
    assert_eq!(snapshot.sockets[0].packets_in, 5);
    assert_eq!(snapshot.served.ping, 1);
    assert!(snapshot.rejected >= 3, "{}", snapshot.rejected);
}
