//! Answers as people read them.

use std::fmt::Write as _;

use pehr::Request;
use serde_json::Value;

use crate::terminal::{lines, word};

/// Letters of a key that are shown.
const KEY: usize = 12;

/// An answer in words; what has no form of its own is shown field by field.
pub(crate) fn words(request: &Request, answer: &Value) -> String {
    match request {
        Request::List { .. } => rows(&answer["entries"], "No entries.", |entry| {
            format!(
                "{}  {}  {:<13} {:<12} {}  – {} ({})",
                key(&entry["entry"]),
                word(&entry["at"]),
                text(&entry["kind"]),
                text(&entry["state"]),
                text(&entry["text"]),
                text(&entry["author"]["name"]),
                text(&entry["author"]["role"]),
            )
        }),
        Request::Patients => rows(&answer["patients"], "No records.", |patient| {
            let state = match (&patient["ended"], &patient["connected"]) {
                (Value::Bool(true), _) => "access has ended",
                (_, Value::Bool(true)) => "connected",
                _ => "not connected",
            };
            let (name, role) = (text(&patient["name"]), text(&patient["role"]));
            format!(
                "{}  {name} – you are {role}, {} entries, {state}",
                key(&patient["record"]),
                patient["entries"]
            )
        }),
        Request::People { .. } => people(answer),
        Request::Audit { .. } => audit(answer),
        _ => lines(answer),
    }
}

fn people(answer: &Value) -> String {
    let mut shown = rows(&answer["people"], "Nobody else can see this record.", |person| {
        let here = if person["connected"] == true { ", connected" } else { "" };
        let (name, role, state) = (text(&person["name"]), text(&person["role"]), text(&person["state"]));
        format!("{}  {name} – {role}, {state}{here}, since {}", key(&person["key"]), word(&person["since"]))
    });
    shown.push_str(&rows(&answer["invitations"], "", |invitation| {
        let (name, role, state) =
            (text(&invitation["name"]), text(&invitation["role"]), text(&invitation["state"]));
        format!("{}  invitation for {name} – {role}, {state}", key(&invitation["invitation"]))
    }));
    shown.push_str(&rows(&answer["visitors"], "", |visitor| {
        let (name, words) = (text(&visitor["claims"]), text(&visitor["words"]));
        format!("{}  waits: says to be {name}; six words: {words}", key(&visitor["invitation"]))
    }));
    shown
}

fn audit(answer: &Value) -> String {
    let mut shown = rows(&answer["deeds"], "Nothing.", |deed| {
        let why = deed["refused"].as_str().map(|why| format!(" – REFUSED: {why}")).unwrap_or_default();
        let (name, role, did) = (text(&deed["name"]), text(&deed["role"]), text(&deed["did"]));
        format!(
            "{}  {name} ({role}, {}) {did} {}{why}",
            word(&deed["at"]),
            key(&deed["key"]),
            key(&deed["about"])
        )
    });
    shown.push_str(&rows(&answer["warnings"], "", |warning| format!("WARNING: {}", word(warning))));
    shown.push_str(&rows(&answer["damaged"], "", |place| {
        format!("DAMAGED: number {} of the log of {}", place["height"], word(&place["key"]))
    }));
    shown
}

fn rows(items: &Value, none: &str, row: impl Fn(&Value) -> String) -> String {
    let mut shown = String::new();
    match items.as_array() {
        Some(items) if !items.is_empty() => {
            for item in items {
                writeln!(shown, "{}", row(item)).expect("text grows");
            }
        }
        _ if none.is_empty() => {}
        _ => writeln!(shown, "{none}").expect("text grows"),
    }
    shown
}

fn text(value: &Value) -> String {
    if value.is_null() { String::new() } else { word(value) }
}

fn key(value: &Value) -> String {
    text(value).chars().take(KEY).collect()
}
