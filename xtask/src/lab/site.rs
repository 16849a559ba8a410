use std::net::Ipv4Addr;

use anyhow::Result;

use crate::lab::namespace::{Namespace, write_setting};
use crate::lab::nat::{Hairpin, INSIDE, Kind};
use crate::lab::shaper::{Block, LinkId, Shaper, UPLINK, Weather};

/// Public addresses in the middle of the internet, where the network's nodes are.
const NODES: u8 = 24;

/// An internet of namespaces.
#[derive(Debug)]
pub(crate) struct Internet {
    shaper: Shaper,
    /// Where the nodes of the network are, without delay of their own.
    pub(crate) middle: Namespace,
    pub(crate) nodes: Vec<Ipv4Addr>,
    sites: u8,
}

impl Internet {
    pub(crate) fn open(seed: u64) -> Result<Self> {
        Namespace::sweep()?;
        let mut shaper = Shaper::start(seed)?;
        let middle = Namespace::new("middle")?;
        let nodes: Vec<Ipv4Addr> = (1..=NODES).map(|number| Ipv4Addr::new(45, 0, 0, number)).collect();
        shaper.attach(&middle, nodes.iter().map(|first| Block { first: *first, bits: 32 }).collect())?;
        Ok(Self { shaper, middle, nodes, sites: 0 })
    }

    /// Builds what is between a new host and the internet, and the host.
    pub(crate) fn site(&mut self, kind: Kind, weather: Weather) -> Result<Site> {
        self.site_of(kind, Hairpin::None, 1, weather)
    }

    /// As [`Self::site`], but with several hosts. Behind a carrier, each has a router of its own.
    pub(crate) fn site_of(
        &mut self,
        kind: Kind,
        hairpin: Hairpin,
        hosts: u8,
        weather: Weather,
    ) -> Result<Site> {
        self.sites += 1;
        let number = self.sites;
        let mut site =
            Site { kind, public: Ipv4Addr::UNSPECIFIED, link: None, routers: Vec::new(), hosts: Vec::new() };
        let edge = Namespace::new(&format!("{number}-{kind}"))?;
        let public = if kind == Kind::Open {
            Ipv4Addr::new(45, 30, number, 1)
        } else {
            Ipv4Addr::new(45, 10, number, 1)
        };
        site.public = public;
        let mut blocks = vec![Block { first: public, bits: 32 }];
        let lan = match kind {
            Kind::Firewall => [45, 20, number],
            Kind::Carrier => [100, 64, number],
            _ => [192, 168, number],
        };
        if kind == Kind::Firewall {
            blocks.push(Block { first: Ipv4Addr::new(lan[0], lan[1], lan[2], 0), bits: 24 });
        }
        let link = self.shaper.attach(&edge, blocks)?;
        self.shaper.change(link, weather)?;
        site.link = Some(link);
        if kind == Kind::Open {
            site.hosts.push(edge);
            return Ok(site);
        }
        let of_carrier = kind == Kind::Carrier;
        edge.filter(&if of_carrier { Kind::PortConeMoved } else { kind }.rules(public, hairpin))?;
        serve_inside(&edge, lan)?;
        for host in 0..hosts {
            if of_carrier {
                let home = Namespace::new(&format!("{number}-home{host}"))?;
                let outside = plug(&home, UPLINK, &edge, lan, host)?;
                home.filter(&Kind::PortCone.rules(outside, Hairpin::None))?;
                let lan = [192, 168, 100 + host];
                serve_inside(&home, lan)?;
                let inside = Namespace::new(&format!("{number}-host{host}"))?;
                plug(&inside, "eth0", &home, lan, 0)?;
                site.hosts.push(inside);
                site.routers.push(home);
            } else {
                let inside = Namespace::new(&format!("{number}-host{host}"))?;
                plug(&inside, "eth0", &edge, lan, host)?;
                site.hosts.push(inside);
            }
        }
        site.routers.push(edge);
        Ok(site)
    }

    pub(crate) fn change(&mut self, site: &Site, weather: Weather) -> Result<()> {
        site.link.map_or(Ok(()), |link| self.shaper.change(link, weather))
    }
}

/// Makes a router's inner side.
fn serve_inside(router: &Namespace, [a, b, c]: [u8; 3]) -> Result<()> {
    router.ip(&format!("link add {INSIDE} type bridge forward_delay 0"))?;
    router.ip(&format!("addr add {a}.{b}.{c}.1/24 dev {INSIDE}"))?;
    router.ip(&format!("link set {INSIDE} up"))?;
    // Where bridges are filtered as routers are, a packet that turns back would leave untranslated.
    router.within(|| {
        let _where_present = write_setting("net/bridge/bridge-nf-call-iptables", "0");
    })
}

/// Connects a network to the inner side of a router, and tells its address there.
fn plug(
    network: &Namespace,
    device: &str,
    router: &Namespace,
    [a, b, c]: [u8; 3],
    place: u8,
) -> Result<Ipv4Addr> {
    let address = Ipv4Addr::new(a, b, c, 2 + place);
    let name = network.name();
    router.ip(&format!("link add host{place} type veth peer name {device} netns {name}"))?;
    router.ip(&format!("link set host{place} master {INSIDE} up"))?;
    network.ip(&format!("addr add {address}/24 dev {device}"))?;
    network.ip(&format!("link set {device} up"))?;
    network.ip(&format!("route add default via {a}.{b}.{c}.1"))?;
    Ok(address)
}

/// Hosts and the routers between them and the internet.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) kind: Kind,
    /// The address that others see its packets come from, if it is translated or open.
    pub(crate) public: Ipv4Addr,
    link: Option<LinkId>,
    pub(crate) hosts: Vec<Namespace>,
    routers: Vec<Namespace>,
}

impl Site {
    /// Its only host, or the first of them.
    pub(crate) fn host(&self) -> &Namespace {
        &self.hosts[0]
    }
}
