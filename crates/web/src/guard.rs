use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use tokio::sync::watch;

use crate::entry::{self, Tried};
use crate::headers;
use crate::secret::Secret;

/// A form that changes something is no longer than this; longer uploads carry the token in a header.
const FORM_BYTES_MAX: usize = 64 << 10;
/// Wrong codes in a row before the entry is closed for a while. A code has 128 bits; this only keeps it quiet.
const FAILURES_MAX: u32 = 10;
/// How long it is closed then.
const CLOSED: Duration = Duration::from_secs(60);
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const CSRF_HEADER: HeaderName = HeaderName::from_static("x-csrf-token");

/// What one launch of a program gives its pages.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of the program, as the entry page shows it and the cookie begins with: letters and digits.
    pub app: &'static str,
    /// The address that the server is bound to.
    pub address: SocketAddr,
    /// Randomness of this launch.
    pub seed: [u8; 32],
    /// What programs send as `Authorization: Bearer`, if they may come in at all.
    pub bearer: Option<Secret>,
}

/// Decides who may ask.
///
/// A request must name exactly the address that the server is bound to, must not come from another site, and
/// must carry the session of this launch or the bearer token. One that changes something must also prove that it
/// was made by a page of ours. Refusals happen before anything is routed, and every answer carries the headers
/// that keep a page to itself.
#[derive(Clone, Debug)]
pub struct Guard(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Settings,
    authority: String,
    origin: String,
    cookie: String,
    code: Secret,
    /// Grows with each lock; sessions of earlier numbers are over.
    epoch: watch::Sender<u64>,
    failures: AtomicU32,
    born: Instant,
    closed_until_ms: AtomicU64,
}

/// Who asks, for handlers to be found among a request's extensions.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Identity {
    /// A browser with a session.
    Browser {
        /// Goes as `csrf` into each form that changes something.
        csrf: Secret,
    },
    /// A program with the bearer token.
    Program,
}

/// Why a request is not let in.
enum Refusal {
    Forbidden(&'static str),
    NoSession,
}

impl Guard {
    /// Creates the guard of one launch.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let authority = settings.address.to_string();
        Self(Arc::new(Inner {
            origin: format!("http://{authority}"),
            cookie: format!("{}-{}", settings.app.to_ascii_lowercase(), settings.address.port()),
            code: Secret::derive(&settings.seed, "code", 0),
            epoch: watch::Sender::new(0),
            failures: AtomicU32::new(0),
            born: Instant::now(),
            closed_until_ms: AtomicU64::new(0),
            authority,
            settings,
        }))
    }

    /// Returns the code that lets a browser in.
    #[must_use]
    pub fn code(&self) -> &Secret {
        &self.0.code
    }

    /// Returns the address to open: the code is in the fragment, which stays in the browser.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}/#{}", self.0.origin, self.0.code.reveal())
    }

    /// Ends all sessions.
    pub fn lock(&self) {
        self.0.epoch.send_modify(|epoch| *epoch += 1);
    }

    /// Waits until the sessions of this moment are over, for streams that must not outlive them.
    pub async fn locked(&self) {
        // The sender lives as long as the guard.
        self.0.epoch.subscribe().changed().await.unwrap_or_default();
    }

    /// Puts the guard before everything that a router does.
    pub fn protect(&self, router: Router) -> Router {
        Router::new().fallback_service(router).layer(middleware::from_fn_with_state(self.clone(), admit))
    }

    fn session(&self) -> Secret {
        Secret::derive(&self.0.settings.seed, "session", *self.0.epoch.borrow())
    }

    fn csrf(&self) -> Secret {
        Secret::derive(&self.0.settings.seed, "csrf", *self.0.epoch.borrow())
    }

    fn check_place(&self, request: &Request) -> Result<(), Refusal> {
        let mut hosts = request.headers().get_all(header::HOST).iter();
        let host = hosts.next().and_then(|host| host.to_str().ok());
        let elsewhere = request.uri().authority().is_some_and(|named| named.as_str() != self.0.authority);
        if host != Some(&self.0.authority) || hosts.next().is_some() || elsewhere {
            return Err(Refusal::Forbidden("This server answers only at the address it is bound to.\n"));
        }
        Ok(())
    }

    /// Refuses what a page of another site sent, as far as the browser tells.
    fn check_site(&self, request: &Request) -> Result<(), Refusal> {
        let foreign = Err(Refusal::Forbidden("Another site cannot ask this.\n"));
        let headers = request.headers();
        let site = headers.get(FETCH_SITE).map(HeaderValue::as_bytes);
        let origin = headers.get(header::ORIGIN).map(HeaderValue::as_bytes);
        // Our pages send no referrer, so a browser names the origin of their forms `null`; where they come from
        // it says in the other header, which no page can write.
        let unnamed = origin == Some(b"null") && site == Some(b"same-origin");
        if origin.is_some_and(|origin| origin != self.0.origin.as_bytes()) && !unnamed {
            return foreign;
        }
        let ours = matches!(site, None | Some(b"same-origin" | b"none"));
        // Following a link is harmless: the session's cookie does not come with it.
        let link = request.method() == Method::GET
            && headers.get(FETCH_MODE).is_some_and(|mode| mode.as_bytes() == b"navigate");
        if ours || link { Ok(()) } else { foreign }
    }

    fn identify(&self, headers: &HeaderMap) -> Result<Identity, Refusal> {
        if let Some(given) = headers.get(header::AUTHORIZATION) {
            let token = given.to_str().ok().and_then(|given| given.strip_prefix("Bearer "));
            let right = self.0.settings.bearer.as_ref().zip(token).is_some_and(|(own, token)| own.is(token));
            return if right { Ok(Identity::Program) } else { Err(Refusal::NoSession) };
        }
        let session = self.session();
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let ours = cookies
            .flat_map(|line| line.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .any(|(name, value)| name == self.0.cookie && session.is(value));
        if ours { Ok(Identity::Browser { csrf: self.csrf() }) } else { Err(Refusal::NoSession) }
    }

    /// Looks for the token in the header, or where there is none in the form, which is read for that.
    async fn check_form(&self, request: Request) -> Result<Request, Refusal> {
        let wrong = || Refusal::Forbidden("The form is not of this session; load the page again.\n");
        let csrf = self.csrf();
        if let Some(given) = request.headers().get(CSRF_HEADER) {
            let right = given.to_str().is_ok_and(|given| csrf.is(given));
            return if right { Ok(request) } else { Err(wrong()) };
        }
        let (parts, body) = request.into_parts();
        let body = read_form(&parts.headers, body).await.ok_or_else(wrong)?;
        let right = field(&body, "csrf").is_some_and(|given| csrf.is(&given));
        if right { Ok(Request::from_parts(parts, Body::from(body))) } else { Err(wrong()) }
    }

    async fn enter(&self, request: Request) -> Response {
        let now = u64::try_from(self.0.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        if now < self.0.closed_until_ms.load(Ordering::Relaxed) {
            return entry::page(self.0.settings.app, Tried::TooOften);
        }
        let (parts, body) = request.into_parts();
        let form = read_form(&parts.headers, body).await.unwrap_or_default();
        let guess = field(&form, "code").unwrap_or_default();
        let guess: String = guess.chars().filter(char::is_ascii_hexdigit).collect();
        if self.0.code.is(&guess.to_ascii_lowercase()) {
            self.0.failures.store(0, Ordering::Relaxed);
            let session = self.session();
            let cookie = format!("{}={}; HttpOnly; SameSite=Strict; Path=/", self.0.cookie, session.reveal());
            return ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response();
        }
        if self.0.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES_MAX {
            self.0.failures.store(0, Ordering::Relaxed);
            let closed = u64::try_from(CLOSED.as_millis()).unwrap_or(u64::MAX);
            self.0.closed_until_ms.store(now + closed, Ordering::Relaxed);
        }
        entry::page(self.0.settings.app, Tried::Wrong)
    }

    async fn answer(&self, request: Request, next: Next) -> Result<Response, Refusal> {
        self.check_place(&request)?;
        self.check_site(&request)?;
        let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
        let path = request.uri().path();
        if path == "/enter" && request.method() == Method::POST {
            check_origin(request.headers())?;
            return Ok(self.enter(request).await);
        }
        if !changes && let Some(asset) = entry::asset(path) {
            return Ok(asset);
        }
        let identity = self.identify(request.headers())?;
        let mut request = match identity {
            Identity::Browser { .. } if changes => {
                check_origin(request.headers())?;
                self.check_form(request).await?
            }
            Identity::Browser { .. } | Identity::Program => request,
        };
        request.extensions_mut().insert(identity);
        Ok(next.run(request).await)
    }
}

async fn admit(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let wants_page = accept.is_some_and(|accept| accept.contains("text/html"));
    let mut response = match guard.answer(request, next).await {
        Ok(response) => response,
        Err(Refusal::Forbidden(why)) => (StatusCode::FORBIDDEN, why).into_response(),
        Err(Refusal::NoSession) if wants_page => entry::page(guard.0.settings.app, Tried::NotYet),
        Err(Refusal::NoSession) => {
            (StatusCode::UNAUTHORIZED, "A session or token is needed.\n").into_response()
        }
    };
    headers::add(&mut response);
    response
}

/// A change must name where it comes from.
fn check_origin(headers: &HeaderMap) -> Result<(), Refusal> {
    let same_site = headers.get(FETCH_SITE).is_some_and(|site| site.as_bytes() == b"same-origin");
    if same_site || headers.contains_key(header::ORIGIN) {
        Ok(())
    } else {
        Err(Refusal::Forbidden("A change must come from a page of this server.\n"))
    }
}

/// Reads a form of a bounded length; `None` where it is longer or something else.
async fn read_form(headers: &HeaderMap, body: Body) -> Option<Bytes> {
    let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let is_form =
        kind.split(';').next().is_some_and(|kind| kind.trim() == "application/x-www-form-urlencoded");
    if !is_form {
        return None;
    }
    to_bytes(body, FORM_BYTES_MAX).await.ok()
}

fn field(form: &[u8], name: &str) -> Option<String> {
    form_urlencoded::parse(form).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}
