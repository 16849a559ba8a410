//! Reads the vectors, which the JavaScript library made.

use std::path::Path;

use serde_json::Value;
use tooldb::encoding::hex_lax;
use tooldb::{Identity, json};

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/tooldb").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn load(name: &str) -> Value {
    serde_json::from_str(&read(name)).unwrap()
}

/// All captured conversations with their names, in order.
pub(crate) fn flows() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/tooldb/flows");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.len(), 28);
    names.into_iter().map(|name| (name.clone(), load(&format!("flows/{name}")))).collect()
}

/// The text of a member with its own members in the order of the file, which the test's JSON library forgets.
pub(crate) fn ordered(name: &str, path: &[&str]) -> String {
    let mut value = &json::Value::parse(&read(name)).unwrap();
    for step in path {
        let member = match step.parse::<usize>() {
            Ok(place) => value.as_array().and_then(|items| items.get(place)),
            Err(_) => value.as_object().and_then(|object| object.get(step)),
        };
        value = member.unwrap_or_else(|| panic!("no {step}"));
    }
    value.to_json()
}

/// The cases of a file, which must be as many as its test was written for.
pub(crate) fn cases(name: &str, count: usize) -> Vec<Value> {
    let cases = load(name)["cases"].as_array().unwrap().clone();
    assert_eq!(cases.len(), count, "{name}");
    cases
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a string: {value}"))
}

/// One of the fixed identities of `keys.json`.
pub(crate) fn identity(name: &str) -> Identity {
    let keys = load("keys.json");
    Identity::from_pkcs8(&hex_lax(text(&keys["keys"][name]["pkcs8_hex"]))).unwrap()
}
