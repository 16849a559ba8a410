//! A guarded server, and requests as bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::routing::{get, post};
use axum::{Extension, Router};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use web::{Guard, Identity, Secret, Settings};

pub(crate) struct Server {
    pub(crate) guard: Guard,
    pub(crate) authority: String,
    pub(crate) changes: Arc<AtomicU32>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = web::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let bearer = Some(Secret::new("a-long-bearer-token"));
        let guard = Guard::new(Settings { app: "Test", address, seed: [1; 32], bearer });
        let changes = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&changes);
        let change = move || {
            counted.fetch_add(1, Ordering::Relaxed);
            async { "changed" }
        };
        let csrf = async |Extension(identity): Extension<Identity>| match identity {
            Identity::Browser { csrf } => csrf.reveal().to_owned(),
            _ => "program".to_owned(),
        };
        let router = Router::new().route("/", get(csrf)).route("/change", post(change));
        let task = tokio::spawn(web::serve(listener, guard.protect(router)));
        Self { guard, authority: address.to_string(), changes, task }
    }

    pub(crate) async fn raw(&self, request: &str) -> Answer {
        let exchange = async {
            let mut stream = TcpStream::connect(&self.authority).await.unwrap();
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            String::from_utf8(answer).unwrap()
        };
        let answer = tokio::time::timeout(Duration::from_secs(10), exchange).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Answer { status, head: head.into(), body: body.into() }
    }

    /// Sends a request with the right host and these headers.
    pub(crate) async fn send(&self, line: &str, headers: &[&str], body: &str) -> Answer {
        let mut request = format!("{line} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.authority);
        for header in headers {
            request.push_str(header);
            request.push_str("\r\n");
        }
        if !body.is_empty() {
            request = format!("{request}Content-Length: {}\r\n", body.len());
        }
        self.raw(&format!("{request}\r\n{body}")).await
    }

    pub(crate) fn origin(&self) -> String {
        format!("Origin: http://{}", self.authority)
    }

    pub(crate) async fn enter(&self, code: &str) -> Answer {
        let headers = [&self.origin(), FORM];
        self.send("POST /enter", &headers, &format!("code={code}")).await
    }

    /// Enters, and returns the cookie header of the session.
    pub(crate) async fn session(&self) -> String {
        let entered = self.enter(self.guard.code().reveal()).await;
        let cookie = entered.header("set-cookie").unwrap().split(';').next().unwrap();
        format!("Cookie: {cookie}")
    }
}

pub(crate) const FORM: &str = "Content-Type: application/x-www-form-urlencoded";
