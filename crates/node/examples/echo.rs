//! Sends every datagram back, with the node's own batching: the floor under what a node can answer.
//!
//! `cargo run --release -p homing-node --example echo` prints its address, and ends with its standard input.

use std::io::Write;
use std::net::Ipv4Addr;

use node::{Inbox, Scratch, Socket};
use wire::{SocketId, Transmit};

fn main() -> std::io::Result<()> {
    std::thread::spawn(|| {
        let ended = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(i32::from(ended.is_err()));
    });
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(serve())
}

async fn serve() -> std::io::Result<()> {
    let mut socket = Socket::bind(Ipv4Addr::LOCALHOST, 0)?;
    writeln!(std::io::stdout(), "{}", socket.local())?;
    loop {
        socket.readable().await;
        Scratch::with(|scratch| {
            while socket.receive(&mut scratch.inbox).taken > 0 {
                answer(&mut socket, scratch);
            }
        });
    }
}

fn answer(socket: &mut Socket, Scratch { inbox, outbox }: &mut Scratch) {
    let mut arrived = Inbox::datagrams(inbox);
    let slots = outbox.fill(|buf| {
        let (from, bytes) = arrived.next()?;
        buf.clear();
        buf.extend_from_slice(bytes);
        Some(Transmit::new(SocketId::SERVER, from))
    });
    // What a full socket does not take is lost, as it would be on the way.
    let _sent = socket.send(slots);
}
