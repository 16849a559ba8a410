use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

/// How often the addresses of the computer are looked at, as in the reference (`dht-rpc`, 3.16).
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);

/// The IPv4 addresses under which this computer is on a network, loopback left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interfaces(BTreeSet<(String, Ipv4Addr)>);

impl Interfaces {
    /// Asks the system.
    pub(crate) fn read() -> io::Result<Self> {
        let addresses = nix::ifaddrs::getifaddrs().map_err(io::Error::from)?;
        Ok(Self(
            addresses
                .filter_map(|interface| {
                    let address = interface.address?.as_sockaddr_in()?.ip();
                    (!address.is_loopback()).then_some((interface.interface_name, address))
                })
                .collect(),
        ))
    }

    /// Returns the addresses in the order of the interfaces' names.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.0.iter().map(|(_, address)| *address)
    }
}
