//! The kinds of NAT (RFC 4787), as rules of the kernel's packet filter.

use std::fmt;
use std::net::Ipv4Addr;

use crate::lab::shaper::UPLINK;

/// The device by which a router reaches its hosts.
pub(crate) const INSIDE: &str = "lan0";

/// How long a mapping that is kept here lives without use.
const MAPPING_LIFE: &str = "120s";

/// What stands between a host and the internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// Nothing: the host has a public address.
    Open,
    /// No translation, but only answers come in.
    Firewall,
    /// One port for all destinations; anyone may use it.
    FullCone,
    /// One port for all; hosts that were sent to may answer from any port.
    AddressCone,
    /// One port for all, the host's own; only who was sent to may answer: a router at home.
    PortCone,
    /// The same, but the port differs from the host's.
    PortConeMoved,
    /// A router at home behind a carrier's.
    Carrier,
    /// Another port for each destination, one after the other.
    Sequential,
    /// Another port for each destination, by chance.
    Random,
    /// UDP does not pass.
    Blocked,
}

impl Kind {
    /// Kinds of the matrix.
    pub(crate) const MATRIX: [Self; 9] = [
        Self::Open,
        Self::Firewall,
        Self::FullCone,
        Self::AddressCone,
        Self::PortCone,
        Self::PortConeMoved,
        Self::Carrier,
        Self::Sequential,
        Self::Random,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Firewall => "fw",
            Self::FullCone => "eim-eif",
            Self::AddressCone => "eim-adf",
            Self::PortCone => "eim-apdf",
            Self::PortConeMoved => "eim-apdf-rp",
            Self::Carrier => "cgnat",
            Self::Sequential => "apdm-seq",
            Self::Random => "apdm-apdf",
            Self::Blocked => "udpblock",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::MATRIX.into_iter().chain([Self::Blocked]).find(|kind| kind.name() == name)
    }

    /// Whether the port differs by destination.
    pub(crate) const fn is_symmetric(self) -> bool {
        matches!(self, Self::Sequential | Self::Random)
    }

    /// Whether packets come in from ports that were not sent to.
    pub(crate) const fn admits_strange_ports(self) -> bool {
        matches!(self, Self::Open | Self::FullCone | Self::AddressCone)
    }

    /// Rules of the router of this kind, whose public address is `public`.
    pub(crate) fn rules(self, public: Ipv4Addr, hairpin: Hairpin) -> String {
        let Way { inwards, outwards, learn, forward } = self.way(public);
        let pin = match hairpin {
            Hairpin::None => Pin::default(),
            Hairpin::Turns => Pin {
                learn: format!(
                    "iifname {INSIDE} meta l4proto udp update @pinned {{ udp sport : ip saddr . udp sport }}"
                ),
                inwards: format!(
                    "iifname {INSIDE} ip daddr {public} meta l4proto udp dnat ip to udp dport map @pinned"
                ),
                outwards: format!(
                    "iifname {INSIDE} oifname {INSIDE} meta l4proto udp ct status dnat snat to {public}"
                ),
            },
        };
        // The drop on input matters: an unexpected packet that reached the router itself would take the port,
        // and the host's mapping would get another.
        format!(
            "table ip lab {{
                map by_port {{ type inet_service : ipv4_addr . inet_service; size 65535; flags dynamic,timeout; timeout {MAPPING_LIFE}; }}
                map pinned {{ type inet_service : ipv4_addr . inet_service; size 65535; flags dynamic,timeout; timeout {MAPPING_LIFE}; }}
                map by_peer {{ type ipv4_addr . inet_service : ipv4_addr . inet_service; size 65535; flags dynamic,timeout; timeout {MAPPING_LIFE}; }}
                chain inwards {{ type nat hook prerouting priority dstnat;
                    {inwards}
                    {pin_inwards}
                }}
                chain outwards {{ type nat hook postrouting priority srcnat;
                    {pin_outwards}
                    {outwards}
                }}
                chain own {{ type filter hook input priority filter;
                    ct state established,related accept
                    iifname {UPLINK} drop
                }}
                chain through {{ type filter hook forward priority filter; policy drop;
                    {forward}
                    {learn}
                    {pin_learn}
                    ct state established,related accept
                    iifname {INSIDE} accept
                    ct status dnat accept
                }}
            }}",
            pin_inwards = pin.inwards,
            pin_outwards = pin.outwards,
            pin_learn = pin.learn,
        )
    }

    fn way(self, public: Ipv4Addr) -> Way {
        let masquerade = format!("oifname {UPLINK} masquerade");
        let udp_to = |ports: &str| {
            format!("oifname {UPLINK} meta l4proto udp snat to {public} : {ports}\n{masquerade}")
        };
        match self {
            Self::Open | Self::Firewall => Way::default(),
            Self::FullCone => Way {
                learn: format!(
                    "oifname {UPLINK} meta l4proto udp update @by_port {{ udp sport : ip saddr . udp sport }}"
                ),
                inwards: format!("iifname {UPLINK} meta l4proto udp dnat ip to udp dport map @by_port"),
                outwards: masquerade,
                ..Way::default()
            },
            Self::AddressCone => Way {
                learn: format!(
                    "oifname {UPLINK} meta l4proto udp update @by_peer {{ ip daddr . udp sport : ip saddr . udp sport }}"
                ),
                inwards: format!(
                    "iifname {UPLINK} meta l4proto udp dnat ip to ip saddr . udp dport map @by_peer"
                ),
                outwards: masquerade,
                ..Way::default()
            },
            Self::PortCone | Self::Carrier => Way { outwards: masquerade, ..Way::default() },
            Self::PortConeMoved => Way {
                outwards: udp_to("jhash ip saddr . udp sport mod 50000 seed 7 offset 10000"),
                ..Way::default()
            },
            // A counter as a port comes out with its bytes swapped, but not by way of a map.
            Self::Sequential => {
                let ports: Vec<String> = (0..4096).map(|n| format!("{n} : {}", 20_000 + n)).collect();
                let map = format!("numgen inc mod 4096 map {{ {} }}", ports.join(", "));
                Way { outwards: udp_to(&map), ..Way::default() }
            }
            Self::Random => Way { outwards: format!("{masquerade} random,fully-random"), ..Way::default() },
            Self::Blocked => {
                Way { forward: "meta l4proto udp drop".into(), outwards: masquerade, ..Way::default() }
            }
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether a router sends packets back that its hosts send to its public address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hairpin {
    None,
    Turns,
}

/// What distinguishes the rules of a kind.
#[derive(Default)]
struct Way {
    inwards: String,
    outwards: String,
    learn: String,
    forward: String,
}

#[derive(Default)]
struct Pin {
    inwards: String,
    outwards: String,
    learn: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_name() {
        for kind in Kind::MATRIX.into_iter().chain([Kind::Blocked]) {
            assert_eq!(Kind::parse(kind.name()), Some(kind));
        }
        assert_eq!(Kind::parse("bridge"), None);
    }
}
