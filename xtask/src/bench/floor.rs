use std::net::{SocketAddrV4, UdpSocket};

use anyhow::Result;

use crate::bench::batch::{Inbox, Outbound, Wait};
use crate::bench::report::print;

/// Sends every datagram back: the least that any server on these system calls must spend on a request.
pub(crate) fn serve(address: SocketAddrV4) -> Result<()> {
    let socket = UdpSocket::bind(address)?;
    print(r#"{"event":"ready"}"#)?;
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
