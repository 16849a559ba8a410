use std::net::SocketAddr;

use serde_json::Value;
use wire::krpc::{
    BLOOM_LEN, Body, Family, Item, Message, Method, Nodes, Query, Response, Samples, Values, Want, read_addr,
    write_addr,
};
use wire::{DecodeError, Id};

use crate::json::{MAINLINE, hex, rows, text};

fn edge(case: &str) -> Vec<u8> {
    let row = rows(&MAINLINE["krpc_edge_inputs"]).iter().find(|row| text(&row["case"]).starts_with(case));
    hex(&row.expect("a case of that name")["hex"])
}

fn query(bytes: &[u8]) -> Query<'_> {
    match Message::decode(bytes).expect("a message").body {
        Body::Query(query) => query,
        other => unreachable!("no query: {other:?}"),
    }
}

fn encoded(message: &Message<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(&mut out);
    assert_eq!(Message::decode(&out).as_ref(), Ok(message));
    out
}

fn decoded<'a>(row: &'a Value, key: &str) -> Option<&'a str> {
    row["decoded"][if row["decoded"]["q"].is_null() { "r" } else { "a" }][key].as_str()?.strip_prefix("hex:")
}

#[test]
fn captured_messages_decode_to_what_was_said_and_encode_to_the_same_bytes() {
    for row in rows(&MAINLINE["krpc_bittorrent_dht_7_10"]) {
        let bytes = hex(&row["hex"]);
        let message = Message::decode(&bytes).unwrap();
        let mut out = Vec::new();
        message.encode(&mut out);
        assert_eq!(out, bytes, "{row}");
        let id = match &message.body {
            Body::Query(query) => {
                assert_eq!(query.method.name(), text(&row["decoded"]["q"]).as_bytes());
                let target = decoded(row, "info_hash").or_else(|| decoded(row, "target"));
                assert_eq!(query.target.map(|id| id.to_string()).as_deref(), target);
                assert_eq!(query.port.map(u64::from), row["decoded"]["a"]["port"].as_u64());
                assert_eq!(query.implied_port, row["decoded"]["a"]["implied_port"] == 1);
                query.id
            }
            Body::Response(response) => {
                let token = decoded(row, "token").map(|token| hex(&token.into()));
                assert_eq!(response.token.map(<[u8]>::to_vec), token);
                let values: Vec<Vec<u8>> = response.values.iter().map(|addr| compact(&addr)).collect();
                let wanted = row["decoded"]["r"]["values"].as_array();
                let wanted = wanted.into_iter().flatten();
                let wanted: Vec<_> = wanted.map(|v| hex(&text(v).replace("hex:", "").into())).collect();
                assert_eq!(values, wanted);
                let nodes = response.nodes.map_or(0, |nodes| nodes.iter().count());
                assert_eq!(nodes, decoded(row, "nodes").map_or(0, |digits| digits.len() / 52));
                response.id
            }
            Body::Error(..) => panic!("the capture has no error"),
        };
        assert_eq!(Some(id.to_string().as_str()), decoded(row, "id"));
    }
}

fn compact(addr: &SocketAddr) -> Vec<u8> {
    let mut out = Vec::new();
    write_addr(&mut out, addr);
    out
}

#[test]
fn addresses_are_written_as_others_write_them() {
    for row in rows(&MAINLINE["compact_peer"]) {
        let addr: SocketAddr = format!("{}:{}", text(&row["host"]), row["port"]).parse().unwrap();
        assert_eq!(compact(&addr), hex(&row["hex"]));
        assert_eq!(read_addr(&hex(&row["hex"])), Some(addr));
    }
    let six: SocketAddr = "[2001:db8::1]:6881".parse().unwrap();
    assert_eq!(read_addr(&compact(&six)), Some(six));
    assert_eq!((read_addr(&[1; 5]), read_addr(&[1; 7]), read_addr(&[10, 0, 0, 1, 0, 0])), (None, None, None));
}

#[test]
fn hostile_datagrams_are_refused_or_read_for_what_they_are_worth() {
    use DecodeError::{Incomplete, Malformed, OutOfRange, TooDeep, Truncated};
    for (case, fault) in [
        ("empty", Truncated),
        ("truncated dict", Truncated),
        ("huge length prefix", OutOfRange),
        ("negative length", Malformed),
        ("1000 nested lists", Malformed),
        ("1400 nested dicts", TooDeep),
        ("not a dict", Malformed),
        ("int key", Malformed),
        ("short node id", Incomplete),
        ("zero-length tid", Incomplete),
        ("1200-byte tid", Incomplete),
        // It ends before the method: the vector has an `e` too many.
        ("port 0 announce", Incomplete),
    ] {
        assert_eq!(Message::decode(&edge(case)), Err(fault), "{case}");
    }
    for case in ["unsorted keys", "leading zero int", "trailing garbage"] {
        assert_eq!(query(&edge(case)).method, Method::Ping, "{case}");
    }
    assert_eq!(query(&edge("duplicate keys")).id, Id([b'A'; 20]));
    assert!(query(&edge("ro flag")).read_only);
    let unknown = edge("unknown method with target");
    assert_eq!(query(&unknown).method, Method::Other(b"nope"));
    assert_eq!(query(&unknown).target, Some(Id([b'B'; 20])));
    assert_eq!(query(&edge("port 70000")).port, None);
    for (case, nodes) in [("nodes not multiple", 1), ("values with a 5-byte", 0)] {
        let bytes = edge(case);
        let Body::Response(response) = Message::decode(&bytes).unwrap().body else { panic!("{case}") };
        assert_eq!(response.nodes.map_or(0, |nodes| nodes.iter().count()), nodes, "{case}");
        assert_eq!(response.values.iter().count(), 0, "{case}");
    }
}

#[test]
fn every_field_of_a_query_keeps_its_value() {
    let item = Item {
        value: Some(b"12:Hello World!"),
        key: Some([1; 32]),
        signature: Some([2; 64]),
        seq: Some(4),
        salt: Some(b"foobar"),
    };
    let query = Query {
        read_only: true,
        target: Some(Id([4; 20])),
        token: Some(b"tok"),
        port: Some(6881),
        implied_port: true,
        seed: true,
        noseed: true,
        scrape: true,
        want: Some(Want { v4: true, v6: true }),
        item,
        cas: Some(-3),
        ..Query::new(Method::Put, Id([3; 20]))
    };
    let out = encoded(&Message { tid: b"aa", client: Some(b"HM01"), ip: None, body: Body::Query(query) });
    let expected = [
        &b"d1:ad3:casi-3e2:id20:"[..],
        &[3; 20],
        b"12:implied_porti1e1:k32:",
        &[1; 32],
        b"6:noseedi1e4:porti6881e4:salt6:foobar6:scrapei1e4:seedi1e3:seqi4e3:sig64:",
        &[2; 64],
        b"6:target20:",
        &[4; 20],
        b"5:token3:tok1:v12:Hello World!4:wantl2:n42:n6ee1:q3:put2:roi1e1:t2:aa1:v4:HM011:y1:qe",
    ];
    assert_eq!(out, expected.concat());
}

#[test]
fn every_field_of_a_response_keeps_its_value() {
    let (four, six) = ([7; 26], [8; 38]);
    let mut items = Vec::new();
    Values::write(&mut items, &"1.2.3.4:5".parse().unwrap());
    Values::write(&mut items, &"[2001:db8::1]:6".parse().unwrap());
    let (seeds, downloaders) = ([1; BLOOM_LEN], [2; BLOOM_LEN]);
    let response = Response {
        nodes: Some(Nodes::from_packed(Family::V4, &four)),
        nodes6: Some(Nodes::from_packed(Family::V6, &six)),
        token: Some(b"token"),
        values: Values::from_items(&items),
        item: Item {
            value: Some(b"i7e"),
            key: Some([1; 32]),
            signature: Some([2; 64]),
            seq: Some(9),
            salt: None,
        },
        blooms: Some((&seeds, &downloaders)),
        samples: Some(Samples { interval: 21_600, num: 3, packed: &[5; 60] }),
        ..Response::new(Id([6; 20]))
    };
    let ip = Some("9.8.7.6:5".parse().unwrap());
    let out = encoded(&Message { tid: b"t", client: None, ip, body: Body::Response(response) });
    let expected = [
        &b"d2:ip6:\x09\x08\x07\x06\x00\x051:rd4:BFpe256:"[..],
        &downloaders,
        b"4:BFsd256:",
        &seeds,
        b"2:id20:",
        &[6; 20],
        b"8:intervali21600e1:k32:",
        &[1; 32],
        b"5:nodes26:",
        &four,
        b"6:nodes638:",
        &six,
        b"3:numi3e7:samples60:",
        &[5; 60],
        b"3:seqi9e3:sig64:",
        &[2; 64],
        b"5:token5:token1:vi7e6:valuesl6:\x01\x02\x03\x04\x00\x0518:\x20\x01\x0d\xb8",
        &[0; 11],
        b"\x01\x00\x06ee1:t1:t1:y1:re",
    ];
    assert_eq!(out, expected.concat());
    assert_eq!(response.values.iter().count(), 2);
}

#[test]
fn a_refusal_has_a_code_and_a_text() {
    let message = Message { tid: b"aa", client: None, ip: None, body: Body::Error(203, b"Bad token") };
    assert_eq!(encoded(&message), b"d1:eli203e9:Bad tokene1:t2:aa1:y1:ee");
    let odd = Message::decode(b"d1:e3:odd1:t2:aa1:y1:ee").unwrap();
    assert!(matches!(odd.body, Body::Error(0, _)));
}
