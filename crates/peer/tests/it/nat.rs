use std::net::{Ipv4Addr, SocketAddrV4};

use peer::{LocalReach, Nat};
use wire::hyper::Firewall;

use crate::json::{MISC, rows, text};

fn firewall(name: &str) -> Firewall {
    match name {
        "UNKNOWN" => Firewall::Unknown,
        "OPEN" => Firewall::Open,
        "CONSISTENT" => Firewall::Consistent,
        "RANDOM" => Firewall::Random,
        other => panic!("no firewall is called {other}"),
    }
}

#[test]
fn nats_are_told_apart_as_the_reference_tells_them_after_each_sample() {
    let table = &MISC["natClassification"];
    for (reach, name) in [(LocalReach::Unknown, "firewalledNode"), (LocalReach::Open, "openNode")] {
        for case in rows(&table[name]) {
            let mut nat = Nat::new(reach);
            for (n, step) in (1..).zip(rows(case)) {
                let observer = SocketAddrV4::new(Ipv4Addr::new(30, 0, 0, n), 49737);
                nat.add(observer, text(&step["sample"]).parse().unwrap());
                assert_eq!(nat.firewall(), firewall(text(&step["firewall"])), "{case}");
                let addresses = step["addresses"].as_array().map_or(&[][..], Vec::as_slice);
                let expected: Vec<SocketAddrV4> = addresses
                    .iter()
                    .map(|address| text(address).split(' ').next().unwrap().parse().unwrap())
                    .collect();
                // Behind a RANDOM host we name the ports of a sequence too; the reference has none.
                assert_eq!(&nat.addresses()[..expected.len()], expected, "{case}");
                let more = nat.addresses().len() - expected.len();
                assert!(more == 0 || nat.firewall() == Firewall::Random, "{case}");
            }
        }
    }
}

#[test]
fn an_observer_counts_once() {
    let mut nat = Nat::new(LocalReach::Unknown);
    for port in 1..5 {
        nat.add("30.0.0.1:49737".parse().unwrap(), SocketAddrV4::new(Ipv4Addr::new(40, 0, 0, 1), port));
    }
    assert_eq!(
        u64::try_from(nat.samples()).unwrap(),
        MISC["natClassification"]["duplicateResponder"]["sampled"]
    );
}
