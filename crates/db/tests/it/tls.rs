//! Databases that talk over TLS, with certificates of two authorities that were made for these tests.

use std::path::{Path, PathBuf};

use db::{Certificate, Config, Listen, Scheme, Server};
use tooldb::Identity;
use tooldb::message::Verdict;

use crate::home::{Home, arrived, draft, listen, met};
use crate::temporary::Temporary;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/tls").join(name)
}

/// The certificates that an authority is known by.
pub(crate) fn authority(number: u8) -> PathBuf {
    file(&format!("authority-{number}.pem"))
}

/// A certificate for this computer by one of the authorities.
pub(crate) fn certificate(number: u8) -> Certificate {
    Certificate {
        chain: file(&format!("server-{number}.pem")),
        key: file(&format!("server-{number}.key.pem")),
    }
}

fn copy(from: &Certificate, to: &Certificate) {
    std::fs::copy(&from.chain, &to.chain).unwrap();
    std::fs::copy(&from.key, &to.key).unwrap();
}

/// A client that trusts an authority.
async fn trusting(number: u8, server: &Server) -> Home {
    Home::open(Temporary::new(), |config: &mut Config| {
        config.peers = vec![server.clone()];
        config.roots = Some(authority(number));
    })
    .await
}

#[tokio::test]
async fn a_new_certificate_is_served_without_a_restart_and_connections_go_on() {
    let files = Temporary::new();
    let served = Certificate { chain: files.path().join("chain.pem"), key: files.path().join("key.pem") };
    copy(&certificate(1), &served);
    let server = Home::server(|config| {
        config.listen = Some(Listen { certificate: Some(served.clone()), ..listen(0) });
    })
    .await;
    let address = server.db.announced().unwrap().clone();
    assert_eq!(address.scheme, Scheme::Wss);
    let ana = trusting(1, &address).await;
    let ben = trusting(2, &address).await;
    met(&ana.db, 1).await;
    let author = Identity::from_seed([1; 32]);
    let kept = ana.db.put(draft("greeting", "\"hi\""), &author).await.unwrap();
    assert!(matches!(ana.db.confirmed(kept.hash).await.unwrap(), Verdict::Kept | Verdict::Known));
    assert_eq!(ana.db.status().await.unwrap().servers, [address]);
    assert_eq!(ben.db.status().await.unwrap().peers, 0, "it does not know this authority");

    copy(&certificate(2), &served);
    server.db.reload();
    met(&ben.db, 1).await;
    let kept = ben.db.put(draft("answer", "\"ho\""), &author).await.unwrap();
    ben.db.confirmed(kept.hash).await.unwrap();
    // Over the connection of the first certificate.
    let answer = ana.db.get(tooldb::Key::new("answer").unwrap()).await.unwrap();
    assert_eq!(answer.unwrap().value(), "\"ho\"");
    assert_eq!(arrived(&server.db, "answer").await, "\"ho\"");
}

#[tokio::test]
async fn files_that_are_no_certificate_leave_the_one_in_use() {
    let files = Temporary::new();
    let served = Certificate { chain: files.path().join("chain.pem"), key: files.path().join("key.pem") };
    copy(&certificate(1), &served);
    let server = Home::server(|config| {
        config.listen = Some(Listen { certificate: Some(served.clone()), ..listen(0) });
    })
    .await;
    std::fs::write(&served.chain, "nothing of the kind").unwrap();
    server.db.reload();
    let ana = trusting(1, server.db.announced().unwrap()).await;
    met(&ana.db, 1).await;
}
