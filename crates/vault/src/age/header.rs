//! What stands before the contents of an `age` file.

use std::io::{BufRead, Read};

use data_encoding::BASE64_NOPAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::{AgeError, expand};

const INTRODUCTION: &str = "age-encryption.org/v1";
/// Bytes of a header; one stanza takes 120.
const HEADER_MAX: u64 = 16 * 1024;
/// Characters of a line of base 64.
const COLUMNS: usize = 64;

/// Bytes that are no header of an `age` file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the header is damaged or something else")]
pub struct NotAnAgeFile;

/// One way to the file's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stanza {
    pub(super) arguments: Vec<String>,
    pub(super) body: Vec<u8>,
}

/// The header of an `age` file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgeHeader {
    stanzas: Vec<Stanza>,
    mac: [u8; 32],
}

impl AgeHeader {
    pub(super) fn of(stanza: Stanza) -> Self {
        Self { stanzas: vec![stanza], mac: [0; 32] }
    }

    pub(super) fn stanzas(&self) -> &[Stanza] {
        &self.stanzas
    }

    /// Reads a header and leaves what follows it.
    pub(super) fn read(from: &mut impl BufRead) -> Result<Self, AgeError> {
        let mut text = Vec::new();
        let mut limited = Read::take(&mut *from, HEADER_MAX);
        loop {
            let begin = text.len();
            limited.read_until(b'\n', &mut text)?;
            let line = text.get(begin..).unwrap_or_default();
            if line.last() != Some(&b'\n') {
                return Err(NotAnAgeFile.into());
            }
            if line.starts_with(b"---") {
                return Ok(Self::decode(&text)?);
            }
        }
    }

    /// Reads the bytes of a header.
    ///
    /// # Errors
    ///
    /// On any bytes but those of one header.
    pub fn decode(bytes: &[u8]) -> Result<Self, NotAnAgeFile> {
        let text = std::str::from_utf8(bytes).map_err(|_| NotAnAgeFile)?;
        let mut lines = text.strip_suffix('\n').ok_or(NotAnAgeFile)?.split('\n');
        if lines.next() != Some(INTRODUCTION) {
            return Err(NotAnAgeFile);
        }
        let mut stanzas = Vec::new();
        loop {
            let line = lines.next().ok_or(NotAnAgeFile)?;
            if let Some(mac) = line.strip_prefix("--- ") {
                let mac = base64(mac)?.try_into().map_err(|_| NotAnAgeFile)?;
                let is_whole = lines.next().is_none() && !stanzas.is_empty();
                return if is_whole { Ok(Self { stanzas, mac }) } else { Err(NotAnAgeFile) };
            }
            let arguments = line.strip_prefix("-> ").ok_or(NotAnAgeFile)?;
            let is_visible = |argument: &str| argument.bytes().all(|byte| byte.is_ascii_graphic());
            let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
            if arguments.iter().any(|argument| argument.is_empty() || !is_visible(argument)) {
                return Err(NotAnAgeFile);
            }
            stanzas.push(Stanza { arguments, body: body(&mut lines)? });
        }
    }

    /// Writes the bytes, with the code of the file's key.
    pub(super) fn encode(&self, file_key: &[u8; 16]) -> Vec<u8> {
        let mut text = self.covered();
        let mac = code(file_key, text.as_bytes()).finalize().into_bytes();
        text.push(' ');
        BASE64_NOPAD.encode_append(&mac, &mut text);
        text.push('\n');
        text.into_bytes()
    }

    /// Whether whoever has the file's key wrote the header.
    pub(super) fn is_of(&self, file_key: &[u8; 16]) -> bool {
        code(file_key, self.covered().as_bytes()).verify_slice(&self.mac).is_ok()
    }

    fn covered(&self) -> String {
        let mut text = format!("{INTRODUCTION}\n");
        for stanza in &self.stanzas {
            text.push_str("-> ");
            text.push_str(&stanza.arguments.join(" "));
            text.push('\n');
            let body = BASE64_NOPAD.encode(&stanza.body);
            let (whole, rest) = body.as_bytes().as_chunks::<COLUMNS>();
            for line in whole.iter().map(|line| &line[..]).chain([rest]) {
                text.extend(line.iter().copied().map(char::from));
                text.push('\n');
            }
        }
        text.push_str("---");
        text
    }
}

/// Whole lines, and at last one that is shorter or empty.
fn body<'a>(lines: &mut impl Iterator<Item = &'a str>) -> Result<Vec<u8>, NotAnAgeFile> {
    let mut text = String::new();
    loop {
        let line = lines.next().ok_or(NotAnAgeFile)?;
        text.push_str(line);
        match line.len() {
            COLUMNS => {}
            0..COLUMNS => return base64(&text),
            _ => return Err(NotAnAgeFile),
        }
    }
}

pub(super) fn base64(text: &str) -> Result<Vec<u8>, NotAnAgeFile> {
    BASE64_NOPAD.decode(text.as_bytes()).map_err(|_| NotAnAgeFile)
}

fn code(file_key: &[u8; 16], covered: &[u8]) -> Hmac<Sha256> {
    let key = expand(file_key, &[], b"header");
    Hmac::<Sha256>::new_from_slice(key.expose()).expect("any key will do").chain_update(covered)
}
