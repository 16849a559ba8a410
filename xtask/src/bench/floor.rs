use std::net::{SocketAddrV4, UdpSocket};
use std::process::ExitCode;

use anyhow::Result;

use crate::bench::batch::{Inbox, Outbound, Wait};

/// Sends every datagram back: the least that any server on these system calls must spend on a request.
pub(crate) fn serve(address: SocketAddrV4) -> Result<ExitCode> {
    let socket = UdpSocket::bind(address)?;
    println!(r#"{{"event":"ready"}}"#);
    let mut inbox = Inbox::new();
    let mut outbound = Outbound::new();
    loop {
        inbox.receive(&socket, Wait::ForOne)?;
        for (meta, bytes) in inbox.iter() {
            outbound.push(meta.from, |out| out.extend_from_slice(bytes));
        }
        outbound.flush(&socket)?;
    }
}
