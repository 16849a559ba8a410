use std::sync::atomic::Ordering;

use crate::server::{FORM, Server};

#[tokio::test]
async fn a_host_that_is_not_exactly_the_bound_address_is_forbidden() {
    let server = Server::start().await;
    let port = server.authority.rsplit(':').next().unwrap().to_owned();
    let session = server.session().await;
    let hosts = [
        format!("evil.example:{port}"),
        format!("localhost:{port}"),
        format!("localhost.:{port}"),
        format!("127.evil.com:{port}"),
        format!("127.0.0.1.evil.com:{port}"),
        format!("[::ffff:127.0.0.1]:{port}"),
        format!("[::1]:{port}"),
        format!("2130706433:{port}"),
        format!("0x7f.1:{port}"),
        format!("127.0.0.1:{port}0"),
        "127.0.0.1".to_owned(),
        "127.0.0.1:1".to_owned(),
        String::new(),
    ];
    for host in hosts {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{session}\r\nConnection: close\r\n\r\n");
        let answer = server.raw(&request).await;
        assert_eq!(answer.status, 403, "{host}");
        assert!(answer.header("content-security-policy").is_some(), "{host}");
    }
    let authority = &server.authority;
    for request in [
        format!("GET / HTTP/1.1\r\n{session}\r\nConnection: close\r\n\r\n"),
        format!("GET / HTTP/1.0\r\n{session}\r\n\r\n"),
        format!(
            "GET / HTTP/1.1\r\nHost: {authority}\r\nHost: evil.example\r\n{session}\r\nConnection: close\r\n\r\n"
        ),
        format!(
            "GET http://evil.example/ HTTP/1.1\r\nHost: {authority}\r\n{session}\r\nConnection: close\r\n\r\n"
        ),
    ] {
        let answer = server.raw(&request).await;
        assert!(matches!(answer.status, 400 | 403), "{request}: {}", answer.head);
        assert!(!answer.head.contains("200"), "{request}");
    }
}

#[tokio::test]
async fn without_a_session_nothing_but_the_entry_is_answered() {
    let server = Server::start().await;
    for (line, headers) in [
        ("GET /", vec![]),
        ("GET /", vec!["Cookie: test-1=abc"]),
        ("GET /nowhere", vec![]),
        ("GET /../../etc/passwd", vec![]),
        ("GET /%2e%2e/etc/passwd", vec![]),
        ("GET /", vec!["Authorization: Bearer wrong"]),
        ("GET /", vec!["Authorization: Bearer "]),
        ("GET /", vec!["Authorization: Basic YTpi"]),
        ("HEAD /", vec![]),
    ] {
        let answer = server.send(line, &headers, "").await;
        assert_eq!(answer.status, 401, "{line} {headers:?}");
        assert!(answer.header("content-security-policy").is_some());
    }
    let page = server.send("GET /", &["Accept: text/html"], "").await;
    assert_eq!(page.status, 401);
    assert!(page.body.contains("<form method=\"post\" action=\"/enter\">"));
    assert!(!page.body.contains(server.guard.code().reveal()));
}

#[tokio::test]
async fn what_another_site_sends_changes_nothing() {
    let server = Server::start().await;
    let session = server.session().await;
    let csrf = server.send("GET /", &[&session], "").await.body;
    let body = format!("csrf={csrf}");
    let origin = server.origin();
    let attacks: &[(&[&str], &str)] = &[
        (&["Origin: http://evil.example", FORM], &body),
        (&["Origin: null", FORM], &body),
        (&["Origin: null", "Sec-Fetch-Site: cross-site", FORM], &body),
        (&["Origin: http://evil.example", "Sec-Fetch-Site: same-origin", FORM], &body),
        (&["Origin: https://127.0.0.1", FORM], &body),
        (&["Sec-Fetch-Site: cross-site", FORM], &body),
        (&["Sec-Fetch-Site: same-site", FORM], &body),
        (&["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", &origin, FORM], &body),
        (&[FORM], &body),
        (&["Sec-Fetch-Site: none", FORM], &body),
        (&[&origin, FORM], "csrf="),
        (&[&origin, FORM], "csrf=00000000000000000000000000000000"),
        (&[&origin, FORM], "other=1"),
        (&[&origin, "Content-Type: text/plain"], &body),
        (&[&origin], &body),
        (&[&origin, "X-Csrf-Token: wrong"], "{}"),
    ];
    for (headers, body) in attacks {
        let headers = [*headers, &[&session]].concat();
        let answer = server.send("POST /change", &headers, body).await;
        assert_eq!(answer.status, 403, "{headers:?} {body}");
        assert!(answer.header("content-security-policy").is_some());
    }
    let large = format!("x={}", "y".repeat(70 << 10));
    assert_eq!(server.send("POST /change", &[&origin, FORM, &session], &large).await.status, 403);
    let framed = [session.as_str(), "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"];
    assert_eq!(server.send("GET /", &framed, "").await.status, 403);
    let stolen_entry = ["Origin: http://evil.example", FORM];
    let entered = format!("code={}", server.guard.code().reveal());
    assert_eq!(server.send("POST /enter", &stolen_entry, &entered).await.status, 403);
    assert_eq!(server.changes.load(Ordering::Relaxed), 0);

    assert_eq!(server.send("POST /change", &[&origin, FORM, &session], &body).await.status, 200);
    // A browser's form from a page without a referrer.
    let form = ["Origin: null", "Sec-Fetch-Site: same-origin", FORM, session.as_str()];
    assert_eq!(server.send("POST /change", &form, &body).await.status, 200);
    let header = format!("X-Csrf-Token: {csrf}");
    assert_eq!(server.send("POST /change", &[&origin, &header, &session], "{}").await.status, 200);
    assert_eq!(server.changes.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn every_answer_says_that_pages_belong_here_and_nowhere_else() {
    let server = Server::start().await;
    let session = server.session().await;
    for (line, headers) in [
        ("GET /", vec![session.as_str()]),
        ("GET /nowhere", vec![session.as_str()]),
        ("GET /entry.css", vec![]),
        ("GET /entry.js", vec![]),
        ("GET /", vec![]),
        ("DELETE /", vec![]),
    ] {
        let answer = server.send(line, &headers, "").await;
        let policy = answer.header("content-security-policy").unwrap_or_else(|| panic!("{line}"));
        for part in ["default-src 'none'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"]
        {
            assert!(policy.contains(part), "{line}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("cross-origin-opener-policy"), Some("same-origin"));
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
}

#[tokio::test]
async fn a_flood_of_headers_is_turned_away() {
    let server = Server::start().await;
    let many = format!("X-Long: {}", "a".repeat(32 << 10));
    assert_eq!(server.send("GET /", &[&many], "").await.status, 431);
}

#[tokio::test]
async fn other_computers_cannot_be_served() {
    for address in ["0.0.0.0:0", "192.0.2.1:0", "[::]:0", "[2001:db8::1]:0"] {
        let refused = web::bind(address.parse().unwrap()).await.unwrap_err();
        assert!(matches!(refused, web::BindError::NotLoopback(_)), "{address}");
    }
}
