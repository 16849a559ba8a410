//! Frames against those the library sent.

use tooldb::message::{Body, DecodeError, Frame, Manner, MessageId, Role, Visited};

use crate::vectors::{flows, load, text};

/// The text of a frame once it has been read and written again, for the reason given.
fn rewritten(raw: &str, manner: Manner) -> String {
    let mut frame = Frame::decode(raw.as_bytes()).unwrap_or_else(|error| panic!("{error}: {raw}"));
    if let Body::Put { manner: read, .. } = &mut frame.body {
        *read = manner;
    }
    frame.encode()
}

#[test]
fn one_frame_of_each_type_is_written_as_the_library_writes_it() {
    let vectors = load("messages.json");
    let messages = vectors.as_object().unwrap().iter().filter(|(name, _)| *name != "note");
    assert_eq!(messages.clone().count(), 23);
    for (name, message) in messages {
        let raw = text(&message["raw"]);
        let manner = match name.as_str() {
            "get_reply_put" | "crdtGet_reply_crdtPut" => Manner::Answer,
            "subscription_push" => Manner::Push,
            _ => Manner::Write,
        };
        assert_eq!(rewritten(raw, manner), raw, "{name}");
    }
}

#[test]
fn every_frame_of_every_conversation_is_written_as_it_was() {
    let mut frames = 0;
    for (name, flow) in flows() {
        for frame in flow["frames"].as_array().unwrap() {
            let raw = text(&frame["raw"]);
            let manners = [Manner::Write, Manner::Answer, Manner::Push];
            assert!(manners.iter().any(|manner| rewritten(raw, *manner) == raw), "{name}: {raw}");
            frames += 1;
        }
    }
    assert_eq!(frames, 86);
}

#[test]
fn any_bytes_give_a_frame_or_an_error_and_frames_survive_rewriting() {
    let seeds: Vec<String> = load("messages.json")
        .as_object()
        .unwrap()
        .values()
        .filter_map(|message| message["raw"].as_str().map(str::to_owned))
        .collect();
    arbtest::arbtest(|input| {
        let mut bytes = input.choose(&seeds)?.clone().into_bytes();
        for _ in 0..input.int_in_range(0..=4)? {
            let place = input.choose_index(bytes.len())?;
            match input.int_in_range(0..=2)? {
                0 => bytes[place] = input.arbitrary()?,
                1 => bytes.truncate(place.max(1)),
                _ => bytes.insert(place, input.arbitrary()?),
            }
        }
        if let Ok(frame) = Frame::decode(&bytes) {
            let text = frame.encode();
            assert_eq!(Frame::decode(text.as_bytes()).as_ref(), Ok(&frame), "{text}");
        }
        Ok(())
    })
    .budget_ms(2_000);
}

#[test]
fn frames_that_say_nothing_are_told_apart() {
    let decode = |raw: &str| Frame::decode(raw.as_bytes()).map(|_| ()).unwrap_err();
    for raw in ["", "null", "[]", "7", "hello (not JSON)", "{\"type\":\"get\"", "{}{}"] {
        assert_eq!(decode(raw), DecodeError::NotJson, "{raw}");
    }
    assert_eq!(Frame::decode(b"{\"type\":\"\xff\"}").map(|_| ()).unwrap_err(), DecodeError::NotJson);
    for raw in ["{}", "{\"type\":5}", "{\"type\":\"nope\",\"id\":\"x\"}", "{\"type\":\"__proto__\"}"] {
        assert_eq!(decode(raw), DecodeError::UnknownType, "{raw}");
    }
    let deep = format!("{{\"type\":\"put\",\"id\":\"a\",\"to\":[],\"data\":{}}}", "[".repeat(200_000));
    assert_eq!(decode(&deep), DecodeError::TooDeep);
    let malformed = [
        ("{\"type\":\"get\",\"id\":\"x\"}", "key"),
        ("{\"type\":\"get\",\"key\":\"k\"}", "id"),
        ("{\"type\":\"get\",\"key\":\"k\",\"id\":7}", "id"),
        ("{\"type\":\"get\",\"key\":\"k\",\"id\":\"x\",\"to\":\"all\"}", "to"),
        ("{\"type\":\"put\",\"id\":\"x\",\"data\":[]}", "data"),
        ("{\"type\":\"pong\",\"id\":\"x\",\"clientId\":\"zz\",\"isServer\":true,\"servers\":[]}", "clientId"),
        ("{\"type\":\"functionReturn\",\"id\":\"x\",\"code\":\"MAYBE\"}", "code"),
    ];
    for (raw, member) in malformed {
        assert_eq!(decode(raw), DecodeError::Malformed(member), "{raw}");
    }
}

#[test]
fn nodes_without_ids_of_our_kind_are_left_out_of_the_list() {
    let raw = "{\"type\":\"get\",\"to\":[\"Jr-c39iQs5a7XwCOw3iA\",5,\"short\",\"Jr-c39iQs5a7XwCOw3iA\"],\"key\":\"k\",\"id\":\"x\"}";
    let expected = "{\"type\":\"get\",\"to\":[\"Jr-c39iQs5a7XwCOw3iA\"],\"key\":\"k\",\"id\":\"x\"}";
    assert_eq!(rewritten(raw, Manner::Write), expected);
}

#[test]
fn the_list_of_visited_nodes_has_a_limit() {
    let names: Vec<String> = (0..100).map(|place| format!("\"client-{place:013}\"")).collect();
    let raw = format!("{{\"type\":\"get\",\"to\":[{}],\"key\":\"k\",\"id\":\"x\"}}", names.join(","));
    assert_eq!(Frame::decode(raw.as_bytes()).unwrap().visited.len(), Visited::LEN_MAX);
}

#[test]
fn one_broken_server_does_not_spoil_the_list() {
    let raw = text(&load("messages.json")["pong_two_servers"]["raw"]).replacen(
        "\"port\":9401",
        "\"port\":\"x\"",
        1,
    );
    let frame = Frame::decode(raw.as_bytes()).unwrap();
    let Body::Pong { role: Role::Server, servers, .. } = frame.body else { panic!("not a server's pong") };
    assert_eq!(servers.iter().map(|peer| peer.endpoint().port()).collect::<Vec<_>>(), [9402]);
}

#[test]
fn ids_that_would_need_escapes_are_refused() {
    assert!(MessageId::new(&"x".repeat(MessageId::LEN_MAX)).is_some());
    assert!(MessageId::new(&"x".repeat(MessageId::LEN_MAX + 1)).is_none());
    for text in ["a\"b", "a\\b", "a\nb"] {
        assert!(MessageId::new(text).is_none());
    }
}
