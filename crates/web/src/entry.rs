//! The page that asks for the code, for whoever has no session.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

const STYLE: &str = include_str!("entry.css");
const SCRIPT: &str = include_str!("entry.js");
pub(crate) const ICON: &str = include_str!("icon.svg");

/// What became of a code that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tried {
    NotYet,
    Wrong,
    TooOften,
}

/// The entry page. `app` is the program's own name, never anything that came from outside.
pub(crate) fn page(app: &str, tried: Tried) -> Response {
    let (status, message) = match tried {
        Tried::NotYet => (StatusCode::UNAUTHORIZED, ""),
        Tried::Wrong => (StatusCode::UNAUTHORIZED, "This is not the code of the program that runs now."),
        Tried::TooOften => {
            (StatusCode::TOO_MANY_REQUESTS, "Too many wrong codes. Wait a minute, then try again.")
        }
    };
    let page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{app}: enter</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <link rel=\"icon\" href=\"/icon.svg\"><link rel=\"stylesheet\" href=\"/entry.css\">\
         <script src=\"/entry.js\" defer></script></head>\n<body><main><h1>{app}</h1>\
         <p>This page is only for you. Paste the code that the program printed when it started.</p>\
         <p role=\"alert\">{message}</p>\
         <form method=\"post\" action=\"/enter\"><label for=\"code\">Code</label>\
         <input id=\"code\" name=\"code\" autocomplete=\"off\" autofocus required spellcheck=\"false\">\
         <button>Enter</button></form></main></body></html>\n"
    );
    (status, Html(page)).into_response()
}

/// Files that anybody may read, since they say nothing.
pub(crate) fn asset(path: &str) -> Option<Response> {
    let (kind, body) = match path {
        "/entry.css" => ("text/css; charset=utf-8", STYLE),
        "/entry.js" => ("text/javascript; charset=utf-8", SCRIPT),
        "/icon.svg" => ("image/svg+xml", ICON),
        _ => return None,
    };
    Some(([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], body).into_response())
}
