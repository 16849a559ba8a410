use std::net::Ipv4Addr;

use wire::SocketId;

/// A place on a link: a socket of the host that sends to and hears the group there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The socket.
    pub socket: SocketId,
    /// Address of the interface, which datagrams are sent from.
    pub address: Ipv4Addr,
    /// Leading bits of the address that all hosts of the link share, 0 to 32.
    pub prefix_len: u8,
}

impl Seat {
    /// Tells whether an address is one of this link; what comes from elsewhere is not local, whoever sent it to the
    /// group (RFC 6762, 11).
    #[must_use]
    pub fn reaches(&self, host: Ipv4Addr) -> bool {
        let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix_len.min(32))).unwrap_or_default();
        (u32::from(host) ^ u32::from(self.address)) & mask == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_ends_with_its_prefix() {
        let seat =
            |prefix_len| Seat { socket: SocketId(0), address: Ipv4Addr::new(192, 0, 2, 77), prefix_len };
        assert!(seat(24).reaches(Ipv4Addr::new(192, 0, 2, 255)));
        assert!(!seat(24).reaches(Ipv4Addr::new(192, 0, 3, 77)));
        assert!(!seat(32).reaches(Ipv4Addr::new(192, 0, 2, 76)));
        assert!(seat(0).reaches(Ipv4Addr::new(8, 8, 8, 8)));
    }
}
