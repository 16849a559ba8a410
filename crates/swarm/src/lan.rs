//! Which addresses reach a peer of the same network (`hyperdht lib/connect.js`, npm `bogon` 1.3).

use std::net::{Ipv4Addr, SocketAddrV4};

/// Tells whether no host can have this address.
pub(crate) const fn is_reserved(ip: Ipv4Addr) -> bool {
    matches!(
        ip.octets(),
        [0 | 224..=255, ..] | [192, 0, 0 | 2, _] | [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _]
    )
}

/// Tells whether an address means something within one network only.
pub(crate) const fn is_private(ip: Ipv4Addr) -> bool {
    match ip.octets() {
        [100, second, ..] => second & 0xc0 == 64,
        _ => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
    }
}

/// Chooses the address most likely to be in a network of ours: the one that shares the most leading octets
/// with an address of ours, three at best. None where not even the first is shared.
pub(crate) fn best_match(ours: &[Ipv4Addr], theirs: &[SocketAddrV4]) -> Option<SocketAddrV4> {
    let shared = |addr: &SocketAddrV4| ours.iter().map(|own| shared_octets(*own, *addr.ip())).max();
    let ranked = theirs.iter().filter_map(|addr| Some((shared(addr)?, *addr))).filter(|(n, _)| *n > 0);
    // The first of several that are equally good, as the peer lists the likeliest first.
    ranked.rev().max_by_key(|(n, _)| *n).map(|(_, addr)| addr)
}

fn shared_octets(a: Ipv4Addr, b: Ipv4Addr) -> usize {
    a.octets().iter().zip(b.octets()).take(3).take_while(|(ours, theirs)| **ours == *theirs).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddrV4 {
        text.parse().unwrap()
    }

    #[test]
    fn the_address_that_shares_the_most_octets_is_chosen() {
        let ours = [Ipv4Addr::new(10, 0, 0, 4), Ipv4Addr::new(192, 168, 7, 9)];
        let theirs = [addr("10.9.9.9:1"), addr("192.168.7.2:2"), addr("192.168.8.2:3")];
        assert_eq!(best_match(&ours, &theirs), Some(theirs[1]));
        assert_eq!(best_match(&ours, &[addr("10.1.1.1:1"), addr("10.2.2.2:2")]), Some(addr("10.1.1.1:1")));
        assert_eq!(best_match(&ours, &[addr("172.16.0.1:1")]), None);
    }

    #[test]
    fn reserved_and_private_ranges_are_told_apart() {
        for reserved in
            ["0.1.2.3", "192.0.2.1", "198.19.255.255", "203.0.113.7", "224.0.0.1", "255.255.255.255"]
        {
            assert!(is_reserved(reserved.parse().unwrap()), "{reserved}");
        }
        for private in [
            "10.0.0.1",
            "100.64.0.1",
            "100.127.255.1",
            "127.0.0.1",
            "169.254.1.1",
            "172.31.0.1",
            "192.168.0.1",
        ] {
            let ip = private.parse().unwrap();
            assert!(is_private(ip) && !is_reserved(ip), "{private}");
        }
        for public in ["8.8.8.8", "100.128.0.1", "172.32.0.1", "192.0.1.1", "198.20.0.1"] {
            let ip = public.parse().unwrap();
            assert!(!is_private(ip) && !is_reserved(ip), "{public}");
        }
    }
}
