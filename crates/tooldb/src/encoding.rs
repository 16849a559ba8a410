//! Hexadecimal and base64 as the JavaScript library writes and reads them.

use std::fmt::Write as _;

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

/// Reads hexadecimal as the library does: whatever is not a pair of digits is passed over.
///
/// Signatures are compared after this, so a signature with spaces or in upper case is the same signature.
pub fn hex_lax(text: &str) -> Vec<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if let (Some(high), Some((low, after))) =
            (digit(first), after.split_first().and_then(|(byte, after)| Some((digit(byte)?, after))))
        {
            bytes.push(high << 4 | low);
            rest = after;
        }
    }
    bytes
}

/// Reads exactly `N` bytes of lower-case hexadecimal.
pub(crate) fn hex_exact<const N: usize>(text: &str) -> Option<[u8; N]> {
    let lower = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if text.len() != N * 2 || !lower {
        return None;
    }
    hex_lax(text).try_into().ok()
}

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn encode(alphabet: &[u8; 64], bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut bits = [0; 4];
        bits[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes(bits);
        for place in 0..=chunk.len() {
            let index = (bits >> (26 - 6 * place)) & 63;
            text.push(char::from(alphabet[usize::try_from(index).expect("six bits")]));
        }
    }
    text
}

/// Reads unpadded base64; `None` for foreign characters, an impossible length, or bits beyond the last byte.
fn decode(alphabet: &[u8; 64], text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for symbol in text.bytes() {
        let index = alphabet.iter().position(|known| *known == symbol)?;
        bits = bits << 6 | u32::try_from(index).ok()?;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held).ok()?);
            bits &= (1 << held) - 1;
        }
    }
    (held < 6 && bits == 0).then_some(bytes)
}

/// Unpadded base64url (RFC 4648, section 5), the alphabet of JSON web keys.
pub(crate) fn base64url(bytes: &[u8]) -> String {
    encode(URL, bytes)
}

/// Reads unpadded base64url; each byte string has exactly one accepted text.
pub(crate) fn from_base64url(text: &str) -> Option<Vec<u8>> {
    decode(URL, text)
}

/// Padded base64 (RFC 4648, section 4) of a text's UTF-8.
pub fn base64_text(text: &str) -> String {
    let mut encoded = encode(STANDARD, text.as_bytes());
    while !encoded.len().is_multiple_of(4) {
        encoded.push('=');
    }
    encoded
}

/// Base64 of bytes as the library writes initialisation vectors: each byte becomes the character of that
/// number, and the UTF-8 of those characters is encoded, so that bytes from 0x80 take two.
pub fn base64_bytes(bytes: &[u8]) -> String {
    base64_text(&bytes.iter().copied().map(char::from).collect::<String>())
}

/// Reads what [`base64_bytes`] writes; `None` for anything else.
pub fn from_base64_bytes(text: &str) -> Option<Vec<u8>> {
    let utf8 = decode(STANDARD, text.trim_end_matches('='))?;
    str::from_utf8(&utf8).ok()?.chars().map(|char| u8::try_from(u32::from(char)).ok()).collect()
}
