#![expect(clippy::disallowed_methods, reason = "a test needs an origin to count from")]
use std::time::{Duration, Instant};

use arbtest::arbitrary::{Result, Unstructured};
use peer::{EmptyFrames, FrameTooLong, SecretStream, StreamConfig, StreamError, StreamStats};

use crate::handshake::sessions;
use crate::json::{NOISE, fixed, hex, rows};

const HEADER_FRAME_LEN: usize = 59;

const QUIET: StreamConfig = StreamConfig {
    frame_max: SecretStream::FRAME_MAX,
    keep_alive: None,
    silence_max: None,
    empty_frames: EmptyFrames::Delivered,
};

/// Both ends of the connection of the vectors, and what each wrote first.
fn pair(now: Instant, config: StreamConfig) -> ([SecretStream; 2], [Vec<u8>; 2]) {
    let header = fixed(&NOISE["secretStream"]["initiatorToResponder"]["header"]);
    let mut first = [Vec::new(), Vec::new()];
    let [client, server] = sessions();
    let client = SecretStream::start(now, client, header, config, &mut first[0]);
    let server = SecretStream::start(now, server, [8; 24], config, &mut first[1]);
    ([client, server], first)
}

/// Reads all frames of `bytes`, which arrive in slices of `len` bytes.
fn read_all(
    stream: &mut SecretStream,
    bytes: &[u8],
    len: usize,
) -> std::result::Result<Vec<Vec<u8>>, StreamError> {
    let now = Instant::now();
    let mut frames = Vec::new();
    for mut slice in bytes.chunks(len) {
        while let Some(frame) = stream.read(now, &mut slice)? {
            frames.push(frame.to_vec());
        }
        assert!(slice.is_empty());
    }
    Ok(frames)
}

#[test]
fn header_and_frames_are_those_of_the_reference() {
    let now = Instant::now();
    let row = &NOISE["secretStream"]["initiatorToResponder"];
    let ([mut client, mut server], [mut wire, _]) = pair(now, QUIET);
    assert_eq!(wire, hex(&row["headerFrame"]));
    let mut plain = Vec::new();
    for row in rows(&row["frames"]) {
        let before = wire.len();
        plain.push(hex(&row["plain"]));
        client.send(now, &plain[plain.len() - 1], &mut wire).unwrap();
        assert_eq!(wire[before..], hex(&row["frame"]));
    }
    assert_eq!(read_all(&mut server, &wire, 1), Ok(plain));
}

#[test]
fn counters_leave_the_header_out_and_count_empty_frames() {
    let now = Instant::now();
    let ([mut client, mut server], [mut wire, _]) =
        pair(now, StreamConfig { keep_alive: Some(Duration::from_secs(5)), ..QUIET });
    assert_eq!(read_all(&mut server, &wire, 7), Ok(Vec::new()));
    assert_eq!(server.stats(), StreamStats::default());
    assert!(!server.is_confirmed());
    wire.clear();
    client.send_keep_alive(now, &mut wire);
    assert_eq!(wire.len(), 20);
    assert_eq!(read_all(&mut server, &wire, 7), Ok(Vec::new()));
    assert!(server.is_confirmed());
    wire.clear();
    client.send(now, b"hello", &mut wire).unwrap();
    assert_eq!(wire.len(), 25);
    assert_eq!(read_all(&mut server, &wire, 7), Ok(vec![b"hello".to_vec()]));
    // A frame sent counts with its length of three bytes, a frame received without.
    assert_eq!((client.stats().bytes_written, client.stats().frames_written), (45, 2));
    assert_eq!((server.stats().bytes_read, server.stats().frames_read), (39, 2));
    assert_eq!((server.stats().bytes_written, client.stats().bytes_read), (0, 0));
}

#[test]
fn frames_survive_any_slicing() {
    arbtest::arbtest(|u| {
        let now = Instant::now();
        let ([mut client, mut server], [mut wire, _]) = pair(now, QUIET);
        let mut sent: Vec<Vec<u8>> = Vec::new();
        for _ in 0..u.int_in_range(0..=8)? {
            let len = u.int_in_range(0..=3000)?;
            sent.push(vec![u.arbitrary()?; len]);
            client.send(now, &sent[sent.len() - 1], &mut wire).unwrap();
        }
        let mut received = Vec::new();
        let mut rest = &wire[..];
        while !rest.is_empty() {
            let (mut slice, later) = rest.split_at(u.int_in_range(1..=rest.len().min(2000))?);
            rest = later;
            while let Some(frame) = server.read(now, &mut slice).unwrap() {
                received.push(frame.to_vec());
            }
        }
        assert_eq!(received, sent);
        Ok(())
    });
}

fn mutate(u: &mut Unstructured<'_>, bytes: &mut Vec<u8>) -> Result<()> {
    let at = u.int_in_range(0..=bytes.len() - 1)?;
    match u.int_in_range(0..=3u8)? {
        0 => bytes[at] = bytes[at].wrapping_add(u.int_in_range(1..=255)?),
        1 => bytes.insert(at, u.arbitrary()?),
        2 => drop(bytes.drain(at..(at + u.int_in_range(1..=30)?).min(bytes.len()))),
        _ => drop(bytes.splice(at..at, u.bytes(u.len().min(200))?.iter().copied())),
    }
    Ok(())
}

#[test]
fn hostile_bytes_yield_only_frames_that_were_sent_and_bounded_memory() {
    let config = StreamConfig { frame_max: 1000, ..QUIET };
    arbtest::arbtest(|u| {
        let now = Instant::now();
        let ([mut client, mut server], [mut wire, _]) = pair(now, config);
        let sent: Vec<Vec<u8>> = (0..5u8).map(|n| vec![n; usize::from(n) * 250]).collect();
        for frame in &sent {
            client.send(now, frame, &mut wire).unwrap();
        }
        mutate(u, &mut wire)?;
        let mut received = Vec::new();
        let mut input = &wire[..];
        while let Ok(Some(frame)) = server.read(now, &mut input) {
            received.push(frame.to_vec());
        }
        assert!(server.buffered() <= 2048);
        assert!(sent.starts_with(&received), "what is received is a beginning of what was sent");
        Ok(())
    });
    arbtest::arbtest(|u| {
        let ([_, mut server], _) = pair(Instant::now(), config);
        // A first frame that is not the header of this very session is the end.
        let mut bytes = u.bytes(u.len())?;
        assert!(!matches!(server.read(Instant::now(), &mut bytes), Ok(Some(_))));
        Ok(())
    });
}

#[test]
fn a_wrong_header_is_the_end() {
    let now = Instant::now();
    let ([_, mut server], [wire, own]) = pair(now, QUIET);
    // What the server wrote itself, sent back: the other side's id.
    let mut reflected = &own[..];
    assert_eq!(server.read(now, &mut reflected), Err(StreamError::Header));
    assert_eq!(server.read(now, &mut &wire[..]), Err(StreamError::Header), "it does not heal");
    for length in [0, 55, 57, 0xff_ffff_u32] {
        let ([_, mut server], [mut wire, _]) = pair(now, QUIET);
        wire[..3].copy_from_slice(&length.to_le_bytes()[..3]);
        assert_eq!(server.read(now, &mut &wire[..3]), Err(StreamError::Header));
        assert_eq!(server.buffered(), 0);
    }
}

#[test]
fn frames_of_a_wrong_length_are_the_end_before_they_take_memory() {
    let now = Instant::now();
    let config = StreamConfig { frame_max: 100, ..QUIET };
    for (length, error) in [
        (0_u32, StreamError::FrameTooShort),
        (16, StreamError::FrameTooShort),
        (118, StreamError::FrameTooLong),
        (0xff_ffff, StreamError::FrameTooLong),
    ] {
        let ([_, mut server], [mut wire, _]) = pair(now, config);
        wire.extend(&length.to_le_bytes()[..3]);
        assert_eq!(read_all(&mut server, &wire, 1), Err(error), "{length}");
        assert_eq!(server.poll_timeout(), None);
    }
    let ([mut client, mut server], [mut wire, _]) = pair(now, config);
    client.send(now, &[1; 100], &mut wire).unwrap();
    assert_eq!(read_all(&mut server, &wire, 60), Ok(vec![vec![1; 100]]));
}

#[test]
fn the_longest_frame_passes_and_one_above_is_refused() {
    let now = Instant::now();
    let ([mut client, mut server], [mut wire, _]) = pair(now, QUIET);
    let longest = vec![3; 16_777_198];
    assert_eq!(client.send(now, &[&longest[..], &[3]].concat(), &mut wire), Err(FrameTooLong(16_777_199)));
    assert_eq!(wire.len(), HEADER_FRAME_LEN);
    client.send(now, &longest, &mut wire).unwrap();
    assert_eq!(wire[HEADER_FRAME_LEN..HEADER_FRAME_LEN + 3], [0xff, 0xff, 0xff]);
    assert_eq!(read_all(&mut server, &wire, 60_000), Ok(vec![longest]));
    assert!(server.buffered() <= 2048, "a long frame's memory is given back");
}

#[test]
fn a_claimed_length_takes_no_memory_until_bytes_come() {
    let now = Instant::now();
    let ([_, mut server], [mut wire, _]) = pair(now, QUIET);
    wire.extend([0xff, 0xff, 0xff]);
    wire.extend([0; 10_000]);
    assert_eq!(read_all(&mut server, &wire, 1400), Ok(Vec::new()));
    assert!(server.buffered() <= 20_000, "{}", server.buffered());
}

#[test]
fn a_changed_frame_is_the_end() {
    let now = Instant::now();
    let ([mut client, mut server], [mut wire, _]) = pair(now, QUIET);
    client.send(now, b"one", &mut wire).unwrap();
    client.send(now, b"two", &mut wire).unwrap();
    *wire.last_mut().unwrap() ^= 1;
    let mut input = &wire[..];
    assert_eq!(server.read(now, &mut input), Ok(Some(&b"one"[..])));
    assert_eq!(server.read(now, &mut input), Err(StreamError::Forged));
    assert_eq!(server.read(now, &mut &b""[..]), Err(StreamError::Forged));
    assert_eq!(server.buffered(), 0, "what failed holds no memory");
    assert_eq!(server.stats().frames_read, 1);
}

#[test]
fn empty_frames_are_delivered_until_keep_alive_was_enabled_once() {
    let now = Instant::now();
    let ([mut client, mut server], [mut wire, _]) = pair(now, QUIET);
    client.send(now, b"", &mut wire).unwrap();
    assert_eq!(read_all(&mut server, &wire, 100), Ok(vec![Vec::new()]));
    for every in [Some(Duration::from_secs(1)), None] {
        server.set_keep_alive(now, every);
        wire.clear();
        client.send(now, b"", &mut wire).unwrap();
        client.send(now, b"text", &mut wire).unwrap();
        assert_eq!(read_all(&mut server, &wire, 100), Ok(vec![b"text".to_vec()]));
    }
}

#[test]
fn a_silent_application_sends_one_empty_frame_every_five_seconds() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let ([mut client, mut server], [mut wire, _]) = pair(start, StreamConfig::default());
    let mut sent = Vec::new();
    for due in [5000, 10_000] {
        assert_eq!(client.poll_timeout(), Some(at(due)));
        client.handle_timeout(at(due - 1), &mut sent).unwrap();
        assert_eq!(sent, b"", "an early timeout is harmless");
        client.handle_timeout(at(due), &mut sent).unwrap();
        assert_eq!((sent.len(), &sent[..3]), (20, &[0x11, 0, 0][..]));
        wire.append(&mut sent);
    }
    client.send(at(12_000), b"text", &mut wire).unwrap();
    assert_eq!(client.poll_timeout(), Some(at(17_000)), "a frame of the application is a sign of life too");
    assert_eq!(read_all(&mut server, &wire, 1000), Ok(vec![b"text".to_vec()]));
    client.finish();
    assert_eq!(client.poll_timeout(), None);
    client.handle_timeout(at(90_000), &mut sent).unwrap();
    assert_eq!(sent, b"");
}

#[test]
fn a_keep_alive_of_no_time_is_none() {
    let now = Instant::now();
    let ([mut client, _], _) = pair(now, StreamConfig { keep_alive: Some(Duration::ZERO), ..QUIET });
    assert_eq!(client.poll_timeout(), None);
    let mut out = Vec::new();
    client.handle_timeout(now + Duration::from_secs(1), &mut out).unwrap();
    assert_eq!(out, b"");
}

#[test]
fn silence_beyond_its_limit_is_the_end_and_any_byte_breaks_it() {
    let start = Instant::now();
    let at = |s| start + Duration::from_secs(s);
    let config = StreamConfig { silence_max: Some(Duration::from_secs(30)), ..QUIET };
    let ([_, mut server], [wire, _]) = pair(start, config);
    assert_eq!(server.poll_timeout(), Some(at(30)));
    assert_eq!(server.read(at(20), &mut &wire[..1]), Ok(None));
    assert_eq!(server.read(at(25), &mut &b""[..]), Ok(None));
    assert_eq!(server.handle_timeout(at(49), &mut Vec::new()), Ok(()));
    assert_eq!(server.handle_timeout(at(50), &mut Vec::new()), Err(StreamError::Silent));
    assert_eq!(server.read(at(51), &mut &wire[1..]), Err(StreamError::Silent));
}
