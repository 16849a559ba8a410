use std::time::Duration;

use crate::server::Server;

#[tokio::test]
async fn the_code_opens_a_session_whose_cookie_is_named_with_the_port() {
    let server = Server::start().await;
    let port = server.authority.rsplit(':').next().unwrap().to_owned();
    let entered = server.enter(server.guard.code().reveal()).await;
    assert_eq!((entered.status, entered.header("location")), (303, Some("/")));
    let cookie = entered.header("set-cookie").unwrap();
    assert!(cookie.starts_with(&format!("test-{port}=")), "{cookie}");
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let session = server.session().await;
    assert_eq!(server.send("GET /", &[&session], "").await.status, 200);
    assert_eq!(server.guard.url(), format!("http://{}/#{}", server.authority, server.guard.code().reveal()));
}

#[tokio::test]
async fn a_pasted_code_may_have_blanks_and_capitals() {
    let server = Server::start().await;
    let code = server.guard.code().reveal().to_ascii_uppercase();
    let (left, right) = code.split_at(16);
    assert_eq!(server.enter(&format!("+{left}+{right}%0a")).await.status, 303);
}

#[tokio::test]
async fn the_session_of_another_launch_opens_nothing() {
    let (first, second) = (Server::start().await, Server::start().await);
    // Both launches have one seed here, so only the name of the cookie tells them apart.
    let session = first.session().await;
    assert_eq!(second.send("GET /", &[&session], "").await.status, 401);
}

#[tokio::test]
async fn wrong_codes_close_the_entry_for_a_while() {
    let server = Server::start().await;
    for _ in 0..10 {
        assert_eq!(server.enter("0123").await.status, 401);
    }
    assert_eq!(server.enter(server.guard.code().reveal()).await.status, 429);
}

#[tokio::test]
async fn a_lock_ends_sessions_and_whoever_waits_for_it() {
    let server = Server::start().await;
    let session = server.session().await;
    let guard = server.guard.clone();
    let waiting = tokio::spawn(async move { guard.locked().await });
    // The waiter must have begun; a lock before that is one it does not wait for.
    tokio::task::yield_now().await;
    server.guard.lock();
    tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap();
    assert_eq!(server.send("GET /", &[&session], "").await.status, 401);
    let again = server.session().await;
    assert_ne!(again, session);
    assert_eq!(server.send("GET /", &[&again], "").await.status, 200);
}

#[tokio::test]
async fn programs_come_in_with_the_bearer_token() {
    let server = Server::start().await;
    let token = "Authorization: Bearer a-long-bearer-token";
    assert_eq!(server.send("GET /", &[token], "").await.body, "program");
    assert_eq!(server.send("POST /change", &[token], "{}").await.status, 200);
    let foreign = [token, "Origin: http://evil.example"];
    assert_eq!(server.send("POST /change", &foreign, "{}").await.status, 403);
}
