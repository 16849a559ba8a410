use std::collections::{BTreeMap, VecDeque};

use arbtest::arbitrary::{Result, Unstructured};
use peer::{
    ChannelError, ChannelId, ChannelName, Mux, MuxError, MuxEvent, MuxLimits, Outgoing, Refused, RequestId,
    SecretStream,
};
use wire::Write;

use crate::json::{MISC, hex, rows, text, unhex};

fn new() -> Mux {
    Mux::new(MuxLimits::default())
}

fn name(protocol: &str) -> ChannelName {
    ChannelName::new(protocol, b"")
}

/// Everything that a mux wants to send.
pub(crate) fn sent(mux: &mut Mux) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut buf = Vec::new();
    while mux.poll_frame(&mut buf) {
        frames.push(buf.clone());
    }
    frames
}

/// Gives a frame to a mux and returns what it told.
pub(crate) fn give(mux: &mut Mux, frame: &[u8]) -> Vec<MuxEvent> {
    mux.handle_frame(frame).expect("the mux is drained");
    events(mux)
}

pub(crate) fn events(mux: &mut Mux) -> Vec<MuxEvent> {
    std::iter::from_fn(|| mux.poll_event().expect("the peer keeps to the protocol")).collect()
}

/// Gives a hostile frame to a mux and returns how it ends.
fn fails(mux: &mut Mux, frame: &[u8]) -> MuxError {
    mux.handle_frame(frame).expect("the mux is drained");
    loop {
        match mux.poll_event() {
            Ok(None) => panic!("{frame:02x?} was accepted"),
            Ok(Some(_)) => {}
            Err(error) => return error,
        }
    }
}

fn request(events: &[MuxEvent]) -> RequestId {
    match events {
        [MuxEvent::Requested { request, .. }] => *request,
        other => panic!("{other:?} is no request"),
    }
}

/// The frames of one side in the vectors.
fn vectors(from: &str) -> Vec<Vec<u8>> {
    let rows = rows(&MISC["protomux"]["frames"]);
    rows.iter().filter(|row| text(&row["from"]) == from).map(|row| hex(&row["frame"])).collect()
}

fn message(channel: ChannelId, kind: u64, payload: &[u8]) -> MuxEvent {
    MuxEvent::Message { channel, kind, payload: payload.to_vec() }
}

#[test]
fn the_side_that_speaks_writes_the_frames_of_the_reference() {
    let mut mux = new();
    let theirs = vectors("B");
    let channel = mux.open(ChannelName::new("test", &[1]), b"").unwrap();
    assert_eq!(give(&mut mux, &theirs[0]), [MuxEvent::Opened { channel, handshake: Vec::new() }]);
    mux.send(channel, 0, b"\x02hi").unwrap();
    mux.send(channel, 1, &unhex("fd2c01")).unwrap();
    let batch = [(0, &b"\x01a"[..]), (0, b"\x01b"), (1, b"\x01")];
    mux.send_batch(&batch.map(|(kind, payload)| Outgoing { channel, kind, payload })).unwrap();
    let unwanted = mux.open(name("nobody"), b"").unwrap();
    assert_eq!(give(&mut mux, &theirs[1]), [MuxEvent::Rejected { channel: unwanted }]);
    mux.close(channel);
    assert_eq!(sent(&mut mux), vectors("A"));
    assert_eq!(mux.channels(), 0);
}

#[test]
fn the_side_that_listens_understands_the_frames_of_the_reference() {
    let mut mux = new();
    let mut theirs = vectors("A").into_iter();
    let mut next = |mux: &mut Mux| give(mux, &theirs.next().unwrap());
    assert!(
        matches!(&next(&mut mux)[..], [MuxEvent::Requested { name, .. }] if *name == ChannelName::new("test", &[1]))
    );
    let channel = mux.open(ChannelName::new("test", &[1]), b"").unwrap();
    assert_eq!(events(&mut mux), [MuxEvent::Opened { channel, handshake: Vec::new() }]);
    assert_eq!(next(&mut mux), [message(channel, 0, b"\x02hi")]);
    assert_eq!(next(&mut mux), [message(channel, 1, &unhex("fd2c01"))]);
    let batch = [message(channel, 0, b"\x01a"), message(channel, 0, b"\x01b"), message(channel, 1, b"\x01")];
    assert_eq!(next(&mut mux), batch);
    let unwanted = request(&next(&mut mux));
    mux.reject(unwanted);
    assert_eq!(next(&mut mux), [MuxEvent::Closed { channel }]);
    assert_eq!(sent(&mut mux), vectors("B"));
    assert_eq!(mux.channels(), 0);
}

#[test]
fn messages_wait_for_the_channel_to_be_opened_here_too() {
    let mut mux = new();
    let opened = give(&mut mux, &unhex("00010104746573740068656c6c6f"));
    assert!(matches!(&opened[..], [MuxEvent::Requested { .. }]));
    assert_eq!(give(&mut mux, &unhex("0100aa")), []);
    assert_eq!(give(&mut mux, &unhex("0105bbcc")), []);
    let channel = mux.open(name("test"), b"").unwrap();
    let expected = [
        MuxEvent::Opened { channel, handshake: b"hello".to_vec() },
        message(channel, 0, &[0xaa]),
        message(channel, 5, &[0xbb, 0xcc]),
    ];
    assert_eq!(events(&mut mux), expected);
}

#[test]
fn what_waits_is_bounded_and_answering_makes_room() {
    let mut mux = new();
    let request = request(&give(&mut mux, &unhex("000101047465737400")));
    // Each message counts 512 bytes more than it has: the request and 63 empty messages are 32,768.
    for _ in 0..63 {
        assert_eq!(give(&mut mux, &unhex("0100")), []);
    }
    assert_eq!(give(&mut mux, &unhex("0100")), []);
    assert_eq!(mux.handle_frame(&unhex("0100")), Err(Refused::Backlog));
    mux.reject(request);
    assert_eq!(give(&mut mux, &unhex("0100")), [], "messages for a rejected channel are dropped");
}

#[test]
fn a_frame_is_taken_only_when_the_one_before_is_drained() {
    let mut mux = new();
    mux.handle_frame(&unhex("000101047465737400")).unwrap();
    assert_eq!(mux.handle_frame(b""), Err(Refused::Undrained));
    assert_eq!(events(&mut mux).len(), 1);
    assert_eq!(give(&mut mux, b""), [], "an empty frame says nothing");
    mux.open(name("test"), b"").unwrap();
    assert_eq!(mux.handle_frame(b""), Err(Refused::Undrained), "opening has an event too");
}

#[test]
fn batches_carry_messages_of_several_channels_and_messages_about_channels() {
    let mut mux = new();
    let [a, b] = ["a", "b"].map(|protocol| mux.open(name(protocol), b"").unwrap());
    // Channel 0: open 1 "a", open 2 "b"; channel 1: type 7 "x"; channel 2: type 8; channel 0: close 1.
    let frame = unhex("0000000501010161000501020162000001020778000201080000020301");
    let expected = [
        MuxEvent::Opened { channel: a, handshake: Vec::new() },
        MuxEvent::Opened { channel: b, handshake: Vec::new() },
        message(a, 7, b"x"),
        message(b, 8, b""),
        MuxEvent::Closed { channel: a },
    ];
    assert_eq!(give(&mut mux, &frame), expected);
    sent(&mut mux);
    let [first, second] = [(b, 1), (b, 2)].map(|(channel, kind)| Outgoing { channel, kind, payload: b"y" });
    mux.send_batch(&[first, second]).unwrap();
    assert_eq!(sent(&mut mux), [unhex("000002020179020279")]);
    assert_eq!(mux.send_batch(&[first, Outgoing { channel: a, ..first }]), Err(ChannelError::Closed));
    assert_eq!(sent(&mut mux), [[0_u8; 0]; 0], "nothing is sent of a batch that fails");
}

#[test]
fn hostile_frames_are_the_end() {
    for (frame, expected) in [
        ("000102047465737400", Some(MuxError::InvalidOpen)),
        ("000201", Some(MuxError::InvalidReject)),
        ("000000020000", Some(MuxError::NestedBatch)),
        ("00", None),
        ("0001", None),
        ("00010105746573", None),
        ("0001010101ff00", None),
        ("000001fd", None),
        ("0000010500", None),
        ("00000100", None),
        ("fe0000", None),
        ("ffffffffffffffffff00", None),
    ] {
        let mut mux = new();
        let error = fails(&mut mux, &unhex(frame));
        match expected {
            Some(expected) => assert_eq!(error, expected, "{frame}"),
            None => assert!(matches!(error, MuxError::Malformed(_)), "{frame}: {error}"),
        }
        mux.handle_frame(b"").unwrap();
        assert_eq!(mux.poll_event(), Err(error), "it does not heal");
    }
    let mut mux = new();
    give(&mut mux, &unhex("000101047465737400"));
    assert_eq!(fails(&mut mux, &unhex("000101056f7468657200")), MuxError::InvalidOpen, "the number is taken");
}

#[test]
fn harmless_frames_of_other_peers_are_ignored() {
    let mut mux = new();
    for frame in ["0009", "0900aa", "000305", "000300", ""] {
        assert_eq!(give(&mut mux, &unhex(frame)), [], "{frame}");
    }
    // Number 0 is the control channel itself; the reference rejects it too.
    assert_eq!(give(&mut mux, &unhex("000100047465737400")), []);
    assert_eq!(sent(&mut mux), [unhex("000200")]);
}

#[test]
fn channels_beyond_the_limits_are_rejected_or_refused() {
    let limits = MuxLimits { channels_max: 2, name_max: 4, ..MuxLimits::default() };
    let mut mux = Mux::new(limits);
    assert_eq!(give(&mut mux, &unhex("00010105746573747300")), []);
    assert_eq!(sent(&mut mux), [unhex("000201")], "a name that is too long");
    for id in [1_u8, 2] {
        assert_eq!(give(&mut mux, &[0, 1, id, 1, id, 0]).len(), 1);
    }
    assert_eq!(give(&mut mux, &[0, 1, 3, 1, 3, 0]), []);
    assert_eq!(sent(&mut mux), [unhex("000203")]);
    mux.open(name("x"), b"").unwrap();
    mux.open(name("y"), b"").unwrap();
    assert_eq!(mux.open(name("z"), b""), Err(ChannelError::TooManyChannels));
}

#[test]
fn messages_have_to_fit_a_frame() {
    let mut mux = new();
    let channel = mux.open(name("x"), b"").unwrap();
    let long = vec![1; SecretStream::FRAME_MAX - 10];
    assert_eq!(mux.send(channel, 0, &long), Err(ChannelError::TooLong(long.len())));
    assert!(matches!(mux.open(name("y"), &long), Err(ChannelError::TooLong(_))));
    sent(&mut mux);
    let fits = &long[..SecretStream::FRAME_MAX - 100];
    let third = &long[..3 * 1024 * 1024];
    let batch = [fits, third, third, third].map(|payload| Outgoing { channel, kind: 0, payload });
    mux.send_batch(&batch).unwrap();
    let frames = sent(&mut mux);
    assert_eq!(frames.len(), 3, "a batch goes on in another frame after eight mebibytes");
    assert!(frames.iter().all(|frame| frame.len() <= SecretStream::FRAME_MAX));
}

#[test]
fn a_channel_closed_before_it_was_answered_frees_its_number_when_it_is() {
    // The peer opens late, having passed our close over; or it rejects.
    for (answer, reply) in [("000101047465737400", Some("000301")), ("000201", None)] {
        let mut mux = new();
        let first = mux.open(name("test"), b"").unwrap();
        mux.close(first);
        assert_eq!(mux.send(first, 0, b""), Err(ChannelError::Closed));
        let second = mux.open(name("other"), b"").unwrap();
        assert_eq!(sent(&mut mux)[2][2], 2, "number 1 is not free yet");
        assert_eq!(give(&mut mux, &unhex(answer)), []);
        assert_eq!(sent(&mut mux), reply.map(unhex).into_iter().collect::<Vec<_>>());
        let third = mux.open(name("test"), b"").unwrap();
        assert_eq!(sent(&mut mux)[0][2], 1);
        assert_ne!(first, third, "a number may serve again, a channel does not");
        mux.close(first);
        assert_eq!(sent(&mut mux), [[0_u8; 0]; 0]);
        assert_eq!((mux.channels(), mux.send(second, 0, b"")), (2, Ok(())));
    }
}

#[test]
fn a_request_that_is_taken_back_is_answered_so_that_its_number_comes_free() {
    let mut mux = new();
    let request = request(&give(&mut mux, &unhex("000101047465737400")));
    assert_eq!(give(&mut mux, &unhex("000301")), [MuxEvent::Withdrawn { request }]);
    assert_eq!(sent(&mut mux), [unhex("000201")]);
    mux.reject(request);
    assert_eq!(sent(&mut mux), [[0_u8; 0]; 0]);
    assert_eq!(give(&mut mux, &unhex("000101047465737400")).len(), 1, "the number serves again");
}

/// One of two sides that talk over links which deliver late but in order.
struct End {
    mux: Mux,
    inbox: VecDeque<Vec<u8>>,
    open: Vec<ChannelId>,
    requested: BTreeMap<RequestId, ChannelName>,
    /// Channels whose messages were counted, by name.
    received: BTreeMap<ChannelId, u8>,
}

impl End {
    fn new() -> Self {
        let limits = MuxLimits { channels_max: 6, ..MuxLimits::default() };
        Self {
            mux: Mux::new(limits),
            inbox: VecDeque::new(),
            open: Vec::new(),
            requested: BTreeMap::new(),
            received: BTreeMap::new(),
        }
    }

    fn take_one(&mut self) {
        let Some(frame) = self.inbox.pop_front() else { return };
        match self.mux.handle_frame(&frame) {
            Ok(()) => {}
            Err(Refused::Backlog) => return self.inbox.push_front(frame),
            Err(refused) => panic!("{refused}"),
        }
        self.drain();
    }

    fn drain(&mut self) {
        for event in events(&mut self.mux) {
            match event {
                MuxEvent::Requested { request, name } => drop(self.requested.insert(request, name)),
                MuxEvent::Withdrawn { request } => {
                    drop(self.requested.remove(&request).expect("was requested"));
                }
                MuxEvent::Rejected { channel } | MuxEvent::Closed { channel } => {
                    let before = self.open.len();
                    self.open.retain(|open| *open != channel);
                    assert_eq!(self.open.len() + 1, before, "only what is open is closed");
                }
                MuxEvent::Message { channel, payload, .. } => {
                    let seen = self.received.entry(channel).or_default();
                    assert_eq!(payload, [*seen], "messages of a channel come in order, none missing");
                    *seen += 1;
                }
                MuxEvent::Opened { channel, .. } => assert!(self.open.contains(&channel)),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Does something that an application may do; `counts` has how many messages each channel sent.
fn act(u: &mut Unstructured<'_>, end: &mut End, counts: &mut BTreeMap<ChannelId, u8>) -> Result<()> {
    match u.int_in_range(0..=5u8)? {
        0 => {
            let name = name(u.choose(&["a", "b"])?);
            if let Ok(channel) = end.mux.open(name.clone(), b"") {
                end.open.push(channel);
                let answered = end.requested.iter().find(|(_, other)| **other == name).map(|(id, _)| *id);
                if let Some(request) = answered {
                    end.requested.remove(&request);
                }
            }
        }
        1 if !end.open.is_empty() => {
            let at = u.choose_index(end.open.len())?;
            end.mux.close(end.open.swap_remove(at));
        }
        2 => {
            if let Some((request, _)) = end.requested.pop_first() {
                end.mux.reject(request);
            }
        }
        _ if !end.open.is_empty() => {
            let channel = *u.choose(&end.open)?;
            let count = counts.entry(channel).or_default();
            if *count < 250 {
                end.mux.send(channel, 0, &[*count]).expect("the channel is open");
                *count += 1;
            }
        }
        _ => {}
    }
    end.drain();
    Ok(())
}

#[test]
fn two_sides_agree_whatever_they_do_and_however_late_frames_are() {
    arbtest::arbtest(|u| {
        let mut ends = [End::new(), End::new()];
        let mut counts = [BTreeMap::new(), BTreeMap::new()];
        for _ in 0..u.int_in_range(0..=60)? {
            let side = u.choose_index(2)?;
            if u.ratio(1, 2)? {
                act(u, &mut ends[side], &mut counts[side])?;
            } else {
                ends[side].take_one();
            }
            let frames = sent(&mut ends[side].mux);
            ends[1 - side].inbox.extend(frames);
        }
        for side in [0, 1] {
            while let Some(channel) = ends[side].open.pop() {
                ends[side].mux.close(channel);
            }
            while let Some((request, _)) = ends[side].requested.pop_first() {
                ends[side].mux.reject(request);
            }
        }
        settle(&mut ends);
        // Every number is free again: as many channels can be opened as at the beginning.
        for end in &mut ends {
            for _ in 0..6 {
                end.mux.open(name("c"), b"").expect("no number is lost");
            }
        }
        Ok(())
    });
}

/// Rejects whatever is requested until no frame is under way.
fn settle(ends: &mut [End; 2]) {
    for _ in 0..1000 {
        let mut quiet = true;
        for side in [0, 1] {
            ends[side].take_one();
            while let Some((request, _)) = ends[side].requested.pop_first() {
                ends[side].mux.reject(request);
            }
            let frames = sent(&mut ends[side].mux);
            quiet &= frames.is_empty() && ends[side].inbox.is_empty();
            ends[1 - side].inbox.extend(frames);
        }
        if quiet {
            return;
        }
    }
    panic!("frames go back and forth for ever");
}

#[test]
fn hostile_bytes_keep_the_mux_within_its_limits() {
    let limits = MuxLimits { channels_max: 8, name_max: 16, backlog_max: 2000 };
    arbtest::arbtest(|u| {
        let mut mux = Mux::new(limits);
        let mut requested = 0_usize;
        mux.open(name("a"), b"").expect("the first channel");
        for _ in 0..u.int_in_range(0..=20)? {
            let mut frame = Vec::new();
            for _ in 0..u.int_in_range(0..=12)? {
                match u.int_in_range(0..=2u8)? {
                    0 => frame.uint(u.int_in_range(0..=4)?),
                    1 => frame.bytes(b"a"),
                    _ => frame.push(u.arbitrary()?),
                }
            }
            if mux.handle_frame(&frame).is_err() {
                return Ok(());
            }
            loop {
                match mux.poll_event() {
                    Ok(Some(MuxEvent::Requested { .. })) => requested += 1,
                    Ok(Some(MuxEvent::Withdrawn { .. })) => requested -= 1,
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) => return Ok(()),
                }
            }
            assert!(requested <= limits.channels_max && mux.channels() <= 1);
        }
        Ok(())
    });
}
