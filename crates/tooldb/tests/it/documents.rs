//! Documents that merge, against what the library makes of the same operations.

use tooldb::json::Value;
use tooldb::{Document, Shape};

use crate::vectors::{cases, ordered, text};

fn shape(kind: &str) -> Shape {
    if kind == "MAP" { Shape::Map } else { Shape::List }
}

fn read(shape: Shape, ops: &serde_json::Value) -> Document {
    Document::from_value(shape, &Value::parse(&ops.to_string()).unwrap()).unwrap()
}

fn value(document: &Document) -> serde_json::Value {
    serde_json::from_str(&document.value().to_json()).unwrap()
}

/// Operations as texts, in an order of their own: the library leaves equals in the order of arrival.
fn sorted(ops: &serde_json::Value) -> Vec<String> {
    let mut ops: Vec<String> = ops.as_array().unwrap().iter().map(ToString::to_string).collect();
    ops.sort();
    ops
}

#[test]
fn documents_come_to_what_the_library_says() {
    let mut thrown = 0;
    for case in cases("crdt.json", 114) {
        let name = text(&case["name"]);
        let document = read(shape(text(&case["type"])), &case["changes"]);
        if case["js_throws"].is_string() {
            thrown += 1;
            continue;
        }
        let (ours, theirs) = (value(&document), &case["value"]);
        match (ours.as_f64(), theirs.as_f64()) {
            (Some(ours), Some(theirs)) => assert_eq!(ours.to_bits(), theirs.to_bits(), "{name}"),
            _ => assert_eq!(&ours, theirs, "{name}"),
        }
        let ours = serde_json::from_str(&document.to_value().to_json()).unwrap();
        assert_eq!(sorted(&ours), sorted(&case["changes_after"]), "{name}");
    }
    assert_eq!(thrown, 6);
}

/// Worked out by hand: all insertions in the order of their ids, then the deletions.
#[test]
fn where_the_library_throws_the_deleted_item_is_gone() {
    let expected = [
        ("DEL by lower-sorted author: JS throws", "[]"),
        ("random 9", "[21,36,19]"),
        ("random 18", "[2,40,84]"),
        ("random 20", "[99,92,35,25,62]"),
        ("random 30", "[68]"),
        ("random 33", "[40,70,47,8,14,93,97,23,12]"),
    ];
    let cases = cases("crdt.json", 114);
    let thrown = cases.iter().filter(|case| case["js_throws"].is_string());
    for (case, (name, expected)) in thrown.zip(expected) {
        assert_eq!(text(&case["name"]), name);
        assert_eq!(read(Shape::List, &case["changes"]).value().to_json(), expected, "{name}");
    }
}

#[test]
fn merging_gives_the_same_in_any_order_and_grouping() {
    arbtest::arbtest(|input| {
        let cases = cases("crdt.json", 114);
        let case = input.choose(&cases)?;
        let shape = shape(text(&case["type"]));
        let mut ops = case["changes"].as_array().unwrap().clone();
        let whole = read(shape, &case["changes"]);
        for place in (1..ops.len()).rev() {
            ops.swap(place, input.int_in_range(0..=place)?);
        }
        let (one, two) = ops.split_at(input.int_in_range(0..=ops.len())?);
        let (mut one, two) = (read(shape, &one.into()), read(shape, &two.into()));
        assert!(whole.covers(&one) && whole.covers(&two));
        one.merge(&two);
        assert_eq!(one, whole);
        assert!(one.covers(&two));
        Ok(())
    })
    .budget_ms(2_000);
}

#[test]
fn items_that_are_objects_are_not_doubled() {
    let mut list = Document::new(Shape::List);
    list.push("A", Value::parse("{\"a\":[1]}").unwrap());
    let copy = Document::from_value(Shape::List, &Value::parse(&list.to_value().to_json()).unwrap()).unwrap();
    list.merge(&copy);
    assert_eq!(list.value().to_json(), "[{\"a\":[1]}]");
    assert_eq!(list.len(), 1);
}

/// An author who lost their state numbers items anew; the library then takes the one further ahead for both.
#[test]
fn of_items_with_one_id_the_one_further_ahead_is_the_anchor() {
    let ops = "[{\"t\":\"INS\",\"v\":\"x\",\"i\":\"A-00000000\"},\
        {\"t\":\"INS\",\"n\":\"A-00000000\",\"v\":\"y\",\"i\":\"A-00000000\"},\
        {\"t\":\"INS\",\"p\":\"A-00000000\",\"v\":\"z\",\"i\":\"B-00000000\"}]";
    let list = Document::from_value(Shape::List, &Value::parse(ops).unwrap()).unwrap();
    assert_eq!(list.value().to_json(), "[\"y\",\"z\",\"x\"]");
    let behind = ops.replace("\"n\":\"A-00000000\"", "\"p\":\"A-00000000\"");
    let list = Document::from_value(Shape::List, &Value::parse(&behind).unwrap()).unwrap();
    assert_eq!(list.value().to_json(), "[\"x\",\"z\",\"y\"]");
}

#[test]
fn counters_of_two_authors_add_up() {
    let (mut a, mut b) = (Document::new(Shape::List), Document::new(Shape::List));
    a.count("A", 5.0);
    b.count("B", 5.0);
    b.count("B", -2.0);
    a.merge(&b);
    assert_eq!(a.value(), Value::Number(8.0));
    let ops = "[{\"t\":\"ADD\",\"v\":5,\"a\":\"A\",\"i\":0},{\"t\":\"ADD\",\"v\":5,\"a\":\"B\",\"i\":0},{\"t\":\"SUB\",\"v\":2,\"a\":\"B\",\"i\":1}]";
    assert_eq!(a.to_value().to_json(), ops);
}

#[test]
fn edits_write_the_operations_that_the_library_writes() {
    let library = |case: &str, shape| {
        let ops = ordered("crdt.json", &["cases", case, "changes"]);
        Document::from_value(shape, &Value::parse(&ops).unwrap()).unwrap()
    };
    let mut map = Document::new(Shape::Map);
    map.set("A", "x", Value::Number(1.0));
    map.set("A", "y", Value::parse("{\"d\":1}").unwrap());
    map.set("A", "x", Value::Number(2.0));
    map.unset("A", "y");
    assert_eq!(map, library("0", Shape::Map));
    assert_eq!(map.value().to_json(), "{\"x\":2}");

    let mut list = Document::new(Shape::List);
    let item = |text: &str| Value::Text(text.into());
    list.push("A", item("a"));
    list.push("A", item("c"));
    list.insert("A", 1, item("b"));
    list.insert("A", 0, item("0"));
    list.remove("A", 2);
    assert_eq!(list, library("4", Shape::List));
    assert_eq!(list.value().to_json(), "[\"0\",\"a\",\"c\"]");
    list.remove("A", 3);
    assert_eq!(list.len(), 5);
}

#[test]
fn an_item_inserted_at_the_end_becomes_the_last() {
    let mut list = Document::new(Shape::List);
    list.insert("A", 0, Value::Number(1.0));
    list.insert("A", 1, Value::Number(2.0));
    list.insert("B", 7, Value::Number(3.0));
    assert_eq!(list.value().to_json(), "[1,2,3]");
}

#[test]
fn edits_on_a_merged_map_win() {
    let mut map = Document::new(Shape::Map);
    map.set("Z", "x", Value::Number(1.0));
    map.unset("Z", "x");
    map.set("A", "x", Value::Number(2.0));
    assert_eq!(map.value().to_json(), "{\"x\":2}");
}

#[test]
fn what_is_no_operation_is_left_out() {
    let strange = "[null,7,[],{},{\"t\":\"SET\"},{\"t\":\"SET\",\"k\":\"k\",\"a\":\"A\",\"i\":\"1\",\"v\":1},\
        {\"t\":\"SET\",\"k\":\"k\",\"a\":\"A\",\"i\":1.5,\"v\":1},{\"t\":\"INS\",\"i\":\"A-1\",\"v\":1},\
        {\"t\":\"SET\",\"k\":\"k\",\"a\":\"A\",\"i\":1,\"v\":1,\"extra\":true}]";
    let value = Value::parse(strange).unwrap();
    let map = Document::from_value(Shape::Map, &value).unwrap();
    assert_eq!(map.value().to_json(), "{\"k\":1}");
    assert!(map.to_value().to_json().contains("\"extra\":true"));
    assert_eq!(Document::from_value(Shape::List, &value).unwrap().value().to_json(), "[1]");
    assert_eq!(Document::from_value(Shape::Map, &Value::Number(7.0)), None);
}

#[test]
fn of_two_operations_that_claim_to_be_one_all_replicas_keep_the_same() {
    let op = |value: u32| format!("[{{\"t\":\"SET\",\"k\":\"k\",\"a\":\"A\",\"i\":1,\"v\":{value}}}]");
    let read = |text: String| Document::from_value(Shape::Map, &Value::parse(&text).unwrap()).unwrap();
    let (mut one, mut two) = (read(op(1)), read(op(2)));
    assert!(one.covers(&two) && !two.covers(&one));
    one.merge(&two);
    two.merge(&one);
    assert_eq!(one, two);
}
