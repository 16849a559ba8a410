//! Faults that can be made on loopback, and what the doctor says of each.

use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::time::{Duration, Instant};

use monitor::doctor::{Grade, Plan, Report, Wanted, examine, examine_running};
use monitor::words::Cause;
use node::{AnyPort, Bootstrap, Config, Id, KeyPair, PublicKey};

use crate::world::{network, soon};

/// The specification's budget for all checks.
const BUDGET: Duration = Duration::from_secs(8);

async fn examined(config: Config, wanted: Option<Wanted>) -> Report {
    let begun = Instant::now();
    let report = examine(Plan { config, wanted, data_dir: None }).await;
    assert!(begun.elapsed() < BUDGET, "{:?}", begun.elapsed());
    report
}

fn silent() -> (UdpSocket, Config) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let config = Config::testnet(vec![socket.local_addr().unwrap().to_string().parse().unwrap()]);
    (socket, config)
}

#[tokio::test]
async fn a_sound_network_has_no_fault_and_a_topic_that_is_announced_is_found() {
    let nodes = network(6).await;
    let (topic, key) = (Id([3; 32]), KeyPair::from_seed([3; 32]));
    assert!(nodes[1].announce_once(topic, key.clone()).await.unwrap().stored > 0);
    let config = Config::testnet(vec![nodes[0].server_address()]);
    let report = examined(config.clone(), Some(Wanted::Topic(topic))).await;
    assert_eq!((report.cause(), report.exit_code()), (None, 0), "{}", report.text());
    let running = examine_running(&nodes[2]).await;
    assert_eq!(running.cause(), None, "{}", running.text());
    for secret in [nodes[0].server_address().to_string(), topic.to_string(), key.public_key().to_string()] {
        assert!(!report.text().contains(&secret), "{}", report.text());
    }
}

#[tokio::test]
async fn what_nobody_announces_is_told_apart_from_a_network_that_is_away() {
    let nodes = network(6).await;
    let config = Config::testnet(vec![nodes[0].server_address()]);
    let key: PublicKey = KeyPair::from_seed([9; 32]).public_key();
    for wanted in [Wanted::Topic(Id([9; 32])), Wanted::Key(key)] {
        let report = examined(config.clone(), Some(wanted)).await;
        assert_eq!((report.cause(), report.exit_code()), (Some(Cause::PeerNotAnnounced), 30));
    }
    let (_socket, config) = silent();
    let report = examined(config, Some(Wanted::Key(key))).await;
    assert_eq!((report.cause(), report.exit_code()), (Some(Cause::BootstrapUnreachable), 40));
}

#[tokio::test]
async fn one_dead_bootstrap_node_of_two_is_a_note_and_no_fault() {
    let nodes = network(4).await;
    let (_socket, mut config) = silent();
    config.bootstrap.push(Bootstrap::Address(nodes[0].server_address()));
    let report = examined(config, None).await;
    assert_eq!(report.cause(), None);
    let note = report.findings.iter().find(|finding| finding.check == "bootstrap").unwrap();
    assert_eq!((note.grade, note.cause), (Grade::Note, Some(Cause::BootstrapUnreachable)));
}

#[tokio::test]
async fn faults_of_this_computer_are_told_before_the_network_is_asked() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let config = Config { port, any_port: AnyPort::Refused, ..Config::testnet(Vec::new()) };
    let report = examined(config, None).await;
    assert_eq!((report.cause(), report.exit_code()), (Some(Cause::PortInUse), 50));

    // An address of the documentation, which no computer has.
    let config = Config { host: Ipv4Addr::new(192, 0, 2, 1), ..Config::testnet(Vec::new()) };
    let report = examined(config, None).await;
    assert_eq!((report.cause(), report.exit_code()), (Some(Cause::NetDown), 40));

    let dir = std::env::temp_dir().join(format!("homing-doctor-{}", std::process::id()));
    std::fs::DirBuilder::new().mode(0o700).create(&dir).unwrap();
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o777)).unwrap();
    let plan = Plan { config: Config::testnet(Vec::new()), wanted: None, data_dir: Some(dir.clone()) };
    let report = soon(examine(plan)).await;
    std::fs::remove_dir(&dir).unwrap();
    assert_eq!((report.cause(), report.exit_code()), (Some(Cause::StoreUnusable), 50));
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_the_name_services_fault() {
    let mut config = Config::testnet(Vec::new());
    // The zone that is reserved to not exist.
    config.bootstrap = vec![Bootstrap::Name { hint: None, host: "node.invalid".into(), port: 1 }];
    let report = examined(config, None).await;
    // Without any interface of its own the computer has no name service either, and that is the root.
    assert!(matches!(report.cause(), Some(Cause::DnsFail | Cause::NetDown)), "{}", report.text());
}
