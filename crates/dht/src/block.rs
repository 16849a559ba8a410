use std::net::IpAddr;

/// Addresses that are likely to have one owner: a /24 of IPv4, a /64 of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Block {
    V4([u8; 3]),
    V6([u8; 8]),
}

impl Block {
    pub(crate) fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                Self::V4([a, b, c])
            }
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments().map(u16::to_be_bytes);
                Self::V6([a[0], a[1], b[0], b[1], c[0], c[1], d[0], d[1]])
            }
        }
    }

    /// The first half of a block's bits or so: a /16 of IPv4, a /32 of IPv6. It takes a provider to own many.
    pub(crate) const fn provider(self) -> [u8; 4] {
        match self {
            Self::V4([a, b, _]) => [4, 0, a, b],
            Self::V6([a, b, c, d, ..]) => [a, b, c, d],
        }
    }
}

/// Tells whether an address is one of the public internet. Others are given out by whoever runs the network
/// that they are in, so that nothing about them proves anything.
pub(crate) const fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            let shared = first == 100 && second & 0xc0 == 64;
            !(ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || shared
                || is_nowhere(IpAddr::V4(ip)))
        }
        IpAddr::V6(ip) => {
            !(ip.is_loopback()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
                || is_nowhere(IpAddr::V6(ip)))
        }
    }
}

/// Tells whether nobody can have an address: a datagram to it is wasted, or reaches more than one.
pub(crate) const fn is_nowhere(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets()[0] == 0 || ip.is_multicast() || ip.octets()[0] >= 240,
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast() || ip.to_ipv4_mapped().is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_the_prefixes_that_one_owner_gets() {
        let block = |text: &str| Block::of(text.parse().unwrap());
        assert_eq!(block("1.2.3.4"), block("1.2.3.250"));
        assert_ne!(block("1.2.3.4"), block("1.2.4.4"));
        assert_eq!(block("2001:db8:1:2::5"), block("2001:db8:1:2:ffff::"));
        assert_ne!(block("2001:db8:1:2::5"), block("2001:db8:1:3::5"));
        assert_eq!(block("1.2.3.4").provider(), block("1.2.9.9").provider());
    }

    #[test]
    fn private_and_impossible_addresses_are_not_public() {
        for text in ["1.2.3.4", "44.1.1.1", "2001:db8::1", "100.128.0.1"] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
        for text in
            ["127.0.0.1", "10.1.1.1", "192.168.0.1", "169.254.1.1", "100.64.0.1", "::1", "fc00::1", "fe80::1"]
        {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        for text in ["0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "ff02::1", "::ffff:1.2.3.4"] {
            assert!(is_nowhere(text.parse().unwrap()), "{text}");
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
    }
}
