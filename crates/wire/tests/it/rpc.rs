use std::collections::BTreeSet;
use std::net::SocketAddrV4;

use arbtest::arbitrary::Unstructured;
use serde_json::Value;
use wire::{Addrs, Command, Datagram, Id, Request, Response, Token};

use crate::json::{RPC, addr, fixed, hex, number, optional, rows, text};

/// The identifier of the persistent node that made the packets; the ephemeral one shows none.
fn own_id(standing: &Value) -> Option<Id<32>> {
    (text(standing) == "persistent").then(|| Id(fixed(&RPC["tableForReplies"]["ourId"])))
}

fn command(row: &Value) -> Command {
    let number = number(&row["command"]);
    if row["internal"] == true { Command::Internal(number) } else { Command::App(number) }
}

fn tid(row: &Value) -> u16 {
    u16::try_from(number(&row["tid"])).expect("a transaction id has 16 bits")
}

#[test]
fn requests_take_the_bytes_of_the_reference() {
    for row in rows(&RPC["requests"]) {
        let value = optional(&row["value"], hex);
        let expected = Request {
            tid: tid(row),
            to: addr(&row["to"]),
            id: own_id(&row["io"]),
            token: optional(&row["token"], fixed).map(Token),
            command: command(row),
            target: optional(&row["target"], fixed).map(Id),
            value: value.as_deref(),
        };
        let packet = hex(&row["packet"]);
        assert_codec!(Request, expected, packet);
    }
}

/// What a reply of the vectors holds beyond its header, told by its name alone.
#[derive(Default)]
struct Content {
    token: bool,
    closer: usize,
    error: u64,
    value: Option<&'static [u8]>,
}

fn content(name: &str) -> Content {
    let none = Content::default();
    match name {
        "find_node reply with closer nodes" => Content { closer: 20, ..none },
        "unknown command error 1 with closer nodes" => Content { closer: 2, error: 1, ..none },
        "user reply with token and value" => {
            Content { token: true, closer: 2, value: Some(b"world"), ..none }
        }
        "user reply null value, token, no closer nodes" => Content { token: true, ..none },
        "invalid token gives error 2 with a fresh token and closer nodes, handler not called" => {
            Content { token: true, closer: 2, error: 2, ..none }
        }
        "user error 16 (no token)" => Content { error: 16, ..none },
        "user error 300 (3 byte uint)" => Content { error: 300, ..none },
        _ => none,
    }
}

#[test]
fn replies_take_the_bytes_of_the_reference() {
    let known: BTreeSet<SocketAddrV4> = rows(&RPC["tableForReplies"]["nodes"]).iter().map(addr).collect();
    let tokens = rows(&RPC["tokens"]["rows"]);
    let token = tokens.iter().find(|row| row["host"] == "5.6.7.8").expect("the requester's token is known");
    let token = Token(fixed(&token["token_secret1"]));
    for row in rows(&RPC["replies"]) {
        let (request, packet) = (hex(&row["request"]), hex(&row["packet"]));
        let request = Request::decode(&request).unwrap();
        let reply = Response::decode(&packet).unwrap();
        let content = content(text(&row["name"]));
        let expected = Response {
            tid: request.tid,
            to: addr(&row["replyTo"]),
            id: own_id(&row["responder"]),
            token: content.token.then_some(token),
            // The order of closer nodes is the reference's own; which nodes they are is checked below.
            closer: reply.closer,
            error: content.error,
            value: content.value,
        };
        let closer: BTreeSet<SocketAddrV4> = reply.closer.iter().collect();
        assert_eq!((closer.len(), reply.closer.len()), (content.closer, content.closer), "{row}");
        assert!(closer.is_subset(&known), "{row}");
        assert_codec!(Response, expected, packet);
    }
}

#[test]
fn malformed_packets_are_read_or_refused_as_the_reference_does() {
    for row in rows(&RPC["malformed"]) {
        let packet = hex(&row["packet"]);
        let request = match Datagram::classify(&packet) {
            Ok(Datagram::Rpc(bytes)) => Request::decode(bytes).ok(),
            Ok(Datagram::Probe | Datagram::Stream(_)) | Err(_) => None,
        };
        // A source port of 0 is refused by whoever knows the source, not by the codec.
        if text(&row["name"]) == "source port 0" {
            assert!(request.is_some(), "{row}");
            continue;
        }
        assert_eq!(request.is_some(), row["delivered"] == true, "{row}");
        let Some(request) = request else { continue };
        let decoded = &row["decoded"];
        assert_eq!(request.tid, tid(decoded), "{row}");
        assert_eq!(request.command, command(decoded), "{row}");
        assert_eq!(request.target, optional(&decoded["target"], fixed).map(Id), "{row}");
        assert_eq!(request.value.map(<[u8]>::to_vec), optional(&decoded["value"], hex), "{row}");
        // An id of another address is dropped by whoever knows the source; the codec only reports it.
        if let Some(id) = optional(&decoded["id"], fixed).map(Id) {
            assert_eq!(request.id, Some(id), "{row}");
        }
    }
}

#[test]
fn a_response_is_no_request() {
    let (request, reply) = (hex(&RPC["requests"][0]["packet"]), hex(&RPC["replies"][0]["packet"]));
    assert!(Request::decode(&reply).is_err());
    assert!(Response::decode(&request).is_err());
}

#[test]
fn a_closer_list_may_claim_no_more_nodes_than_bytes_follow() {
    let header = hex(&RPC["replies"][0]["packet"]);
    for (count, nodes) in [(&[1][..], 0), (&[2], 1), (&[0xfe, 0xff, 0xff, 0xff, 0xff], 1), (&[0xfc], 251)] {
        let mut packet = header.clone();
        packet.splice(1..2, [4]);
        packet.extend(count);
        packet.extend(vec![1; nodes * 6]);
        assert_eq!(Response::decode(&packet), Err(wire::DecodeError::Truncated), "{count:?}");
    }
    let mut packet = header;
    packet.splice(1..2, [4]);
    packet.extend([1, 10, 0, 0, 1, 1, 0]);
    let expected = [SocketAddrV4::new([10, 0, 0, 1].into(), 1)];
    assert_eq!(
        Response::decode(&packet).map(|reply| reply.closer),
        Ok(Addrs::from_packed(&wire::pack_addrs(expected)))
    );
}

fn any_addr(u: &mut Unstructured<'_>) -> arbtest::arbitrary::Result<SocketAddrV4> {
    Ok(SocketAddrV4::new(u.arbitrary::<[u8; 4]>()?.into(), u.arbitrary()?))
}

#[test]
fn any_request_reads_back_as_it_was_written() {
    arbtest::arbtest(|u| {
        let number = u.int_in_range(0..=wire::UINT_MAX)?;
        let value: Option<Vec<u8>> = u.arbitrary()?;
        let request = Request {
            tid: u.arbitrary()?,
            to: any_addr(u)?,
            id: u.arbitrary::<Option<[u8; 32]>>()?.map(Id),
            token: u.arbitrary::<Option<[u8; 32]>>()?.map(Token),
            command: if u.arbitrary()? { Command::Internal(number) } else { Command::App(number) },
            target: u.arbitrary::<Option<[u8; 32]>>()?.map(Id),
            value: value.as_deref(),
        };
        let mut out = Vec::new();
        request.encode(&mut out);
        assert_eq!(Request::decode(&out), Ok(request));
        Ok(())
    });
}

#[test]
fn any_response_reads_back_as_it_was_written() {
    arbtest::arbtest(|u| {
        let nodes: Vec<[u8; 6]> = u.arbitrary()?;
        let nodes = nodes.concat();
        let value: Option<Vec<u8>> = u.arbitrary()?;
        let response = Response {
            tid: u.arbitrary()?,
            to: any_addr(u)?,
            id: u.arbitrary::<Option<[u8; 32]>>()?.map(Id),
            token: u.arbitrary::<Option<[u8; 32]>>()?.map(Token),
            closer: Addrs::from_packed(&nodes),
            error: u.int_in_range(0..=wire::UINT_MAX)?,
            value: value.as_deref(),
        };
        let mut out = Vec::new();
        response.encode(&mut out);
        assert_eq!(Response::decode(&out), Ok(response));
        Ok(())
    });
}
