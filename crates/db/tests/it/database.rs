use std::collections::BTreeMap;
use std::sync::Arc;

use db::{Function, Named, Outcome};
use tooldb::message::{Code, Verdict};
use tooldb::{Draft, Identity, Key, Rejected, Shape};

use crate::home::{Home, arrived, draft, key, listen, met};
use crate::temporary::Temporary;

#[tokio::test]
async fn what_a_client_puts_is_confirmed_and_another_reads_it() {
    let server = Home::server(|_| {}).await;
    let (ana, ben) = (Home::client(&[&server]).await, Home::client(&[&server]).await);
    let author = Identity::from_seed([1; 32]);
    let kept = ana.db.put(draft("greeting", "\"hi\""), &author).await.unwrap();
    assert!(matches!(ana.db.confirmed(kept.hash).await.unwrap(), Verdict::Kept | Verdict::Known));
    assert_eq!(ben.db.get(key("greeting")).await.unwrap().unwrap().value(), "\"hi\"");
    assert_eq!(ben.db.query(key("gr")).await.unwrap(), [key("greeting")]);
    assert_eq!(ana.db.status().await.unwrap().unconfirmed, 0);
}

#[tokio::test]
async fn what_was_written_offline_is_sent_and_confirmed_when_a_server_is_met_even_after_a_restart() {
    let server = Home::server(|_| {}).await;
    let alone = Home::open(Temporary::new(), |_| {}).await;
    let author = Identity::from_seed([1; 32]);
    let kept = alone.db.put(draft("offline", "1"), &author).await.unwrap();
    assert_eq!(alone.db.status().await.unwrap().unconfirmed, 1);
    let directory = alone.close().await;
    let back = Home::open(directory, |_| {}).await;
    assert_eq!(back.db.status().await.unwrap().unconfirmed, 1);
    back.db.connect(server.db.announced().unwrap().clone(), Named::ByOperator).await;
    assert!(matches!(back.db.confirmed(kept.hash).await.unwrap(), Verdict::Kept | Verdict::Known));
    assert_eq!(server.db.local(key("offline")).await.unwrap().unwrap().value(), "1");
    let directory = back.close().await;
    let again = Home::open(directory, |_| {}).await;
    assert_eq!(again.db.status().await.unwrap().unconfirmed, 0);
}

#[tokio::test]
async fn a_client_reconnects_to_a_server_that_comes_back_and_subscriptions_go_on() {
    let server = Home::server(|_| {}).await;
    let port = server.db.address().unwrap().port();
    let (reader, writer) = (Home::client(&[&server]).await, Home::client(&[&server]).await);
    let author = Identity::from_seed([1; 32]);
    let mut watch = reader.db.subscribe(key("ticker")).await.unwrap();
    writer.db.put(draft("ticker", "1"), &author).await.unwrap();
    assert_eq!(watch.next().await.unwrap().value(), "1");
    let directory = server.close().await;
    let back = Home::open(directory, |config| config.listen = Some(listen(port))).await;
    met(&writer.db, 1).await;
    met(&reader.db, 1).await;
    writer.db.put(draft("ticker", "2"), &author).await.unwrap();
    assert_eq!(watch.next().await.unwrap().value(), "2");
    back.close().await;
}

#[tokio::test]
async fn accounts_open_with_their_password_alone_and_names_are_given_once() {
    let server = Home::server(|_| {}).await;
    let (ana, ben) = (Home::client(&[&server]).await, Home::client(&[&server]).await);
    let identity = ana.db.sign_up("ana", "secret").await.unwrap();
    arrived(&server.db, "==ana").await;
    assert_eq!(ben.db.sign_in("ana", "secret").await.unwrap().address(), identity.address());
    assert!(matches!(ben.db.sign_in("ana", "other").await, Err(db::Error::SignIn(_))));
    assert!(matches!(ben.db.sign_up("ana", "mine").await, Err(db::Error::Taken)));
}

#[tokio::test]
async fn documents_of_two_clients_merge() {
    let server = Home::server(|_| {}).await;
    let people = [Home::client(&[&server]).await, Home::client(&[&server]).await];
    for (seed, person) in (1..).zip(&people) {
        let author = Identity::from_seed([seed; 32]);
        let count = |document: &mut tooldb::Document, author: &str| document.count(author, 5.0);
        let kept = person.db.update((key("visits"), Shape::List), &author, count).await.unwrap();
        person.db.confirmed(kept.hash).await.unwrap();
    }
    let document = people[0].db.document(key("visits")).await.unwrap().unwrap();
    assert_eq!(document.value().to_json(), "10");
}

#[tokio::test]
async fn functions_answer_and_one_that_breaks_takes_nobody_with_it() {
    let functions: [(&str, Function); 2] = [
        ("double", Arc::new(|args| Box::pin(async move { Outcome::Value(format!("[{args},{args}]")) }))),
        ("break", Arc::new(|_| Box::pin(async { panic!("on purpose") }))),
    ];
    let functions: BTreeMap<Key, Function> =
        functions.into_iter().map(|(name, function)| (key(name), function)).collect();
    let server = Home::server(|config| config.functions = functions).await;
    let client = Home::client(&[&server]).await;
    let call = async |name| client.db.call(key(name), "7".into()).await.unwrap();
    assert_eq!(call("double").await, (Code::Ok, Some("[7,7]".into())));
    assert_eq!(call("break").await.0, Code::Err);
    assert_eq!(call("toString").await.0, Code::NotFound);
    assert_eq!(call("double").await.0, Code::Ok);
}

#[tokio::test]
async fn rules_of_the_application_bans_and_quotas_refuse_records() {
    let server = Home::server(|config| {
        config.screens.0.push((
            key("age"),
            Box::new(|record, _| record.value().parse::<u8>().map(|_| ()).map_err(|_| Rejected::Refused)),
        ));
        config.replica.author_bytes_max = 2_000;
    })
    .await;
    let client = Home::client(&[&server]).await;
    let (author, banned) = (Identity::from_seed([1; 32]), Identity::from_seed([2; 32]));
    server.db.ban(&banned.address().to_string(), db::Ban::Set).await.unwrap();
    let verdict = async |draft: Draft, author: &Identity| {
        let kept = client.db.put(draft, author).await.unwrap();
        client.db.confirmed(kept.hash).await.unwrap()
    };
    assert_eq!(verdict(draft("age", "\"old\""), &author).await, Verdict::Refused);
    assert_eq!(verdict(draft("age", "70"), &author).await, Verdict::Kept);
    assert_eq!(verdict(draft("other", "1"), &banned).await, Verdict::Refused);
    server.db.ban(&banned.address().to_string(), db::Ban::Lifted).await.unwrap();
    assert_eq!(verdict(draft("other", "1"), &banned).await, Verdict::Kept);
    let large = format!("\"{}\"", "x".repeat(3_000));
    assert_eq!(verdict(draft("large", &large), &author).await, Verdict::Full);
    let small = client.db.put(draft("small", "1"), &author).await.unwrap();
    client.db.confirmed(small.hash).await.unwrap();
    assert!(server.db.local(key("large")).await.unwrap().is_none());
    assert_eq!(client.db.status().await.unwrap().unconfirmed, 1, "it is tried again later");
}

#[tokio::test]
async fn servers_find_each_other_through_a_third_and_each_is_connected_once() {
    let hub = Home::server(|_| {}).await;
    let peers = vec![hub.db.announced().unwrap().clone()];
    let one = Home::server(|config| config.peers.clone_from(&peers)).await;
    met(&one.db, 1).await;
    let two = Home::server(|config| config.peers.clone_from(&peers)).await;
    for home in [&hub, &one, &two] {
        met(&home.db, 2).await;
    }
    let status = two.db.status().await.unwrap();
    assert_eq!(status.peers, 2);
    let author = Identity::from_seed([1; 32]);
    two.db.put(draft("from two", "2"), &author).await.unwrap();
    assert_eq!(arrived(&one.db, "from two").await, "2");
    one.db.connect(one.db.announced().unwrap().clone(), Named::ByOperator).await;
    assert_eq!(one.db.status().await.unwrap().peers, 2, "never itself");
}
