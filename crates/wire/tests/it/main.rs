//! The wire codecs against the reference's own bytes, and against bytes that nobody should send.

/// Asserts that the bytes decode to the message, every field of it, and that the message encodes to the bytes.
macro_rules! assert_codec {
    ($message:ident, $expected:expr, $bytes:expr) => {{
        let (expected, bytes) = (&$expected, &$bytes);
        assert_eq!($message::decode(bytes).as_ref(), Ok(expected), "decoding {bytes:02x?}");
        let mut out = Vec::new();
        expected.encode(&mut out);
        assert_eq!(&out, bytes, "encoding {expected:?}");
    }};
}

mod datagram;
mod decoders;
mod handshake;
mod json;
mod krpc;
mod primitives;
mod record;
mod rpc;
mod totality;
mod udx;
