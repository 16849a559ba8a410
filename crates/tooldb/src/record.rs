//! The signed record, the one thing that is stored and sent.

use std::fmt::{self, Write as _};
use std::ops::Range;
use std::time::Duration;

use crate::digest::{Digest, Hasher};
use crate::encoding::hex_exact;
use crate::json::{self, Text, Value};
use crate::key::Key;
use crate::keys::{Address, Identity, Signature};
use crate::pow::{Difficulty, Search};
use crate::verify::Rejected;

/// Milliseconds since 1970 by somebody's clock; authors may claim any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// The time that much later.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// What a record's value is, which decides how two records of one key meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A plain value: the newest wins. On the wire `null`.
    Plain,
    /// A map as a list of operations. On the wire `"MAP"`.
    Map,
    /// A list as a list of operations, or a counter, whose operations tell it apart. On the wire `"LIST"`.
    List,
    /// A type of the application's own, kept as each author sent it.
    Custom(Box<str>),
}

impl Kind {
    fn from_json(raw: &str) -> Option<Self> {
        match Value::parse(raw) {
            Ok(Value::Null) => Some(Self::Plain),
            Ok(Value::Text(text)) => Some(match text.escaped() {
                "MAP" => Self::Map,
                "LIST" => Self::List,
                _ => Self::Custom(text.plain()?.into()),
            }),
            _ => None,
        }
    }

    fn print(&self, out: &mut String) {
        let name = match self {
            Self::Plain => return out.push_str("null"),
            Self::Map => "MAP",
            Self::List => "LIST",
            Self::Custom(name) => name,
        };
        json::print_text(&Text::from(name), out);
    }
}

/// Whole numbers beyond this are not exact in JavaScript.
const INTEGER_MAX: f64 = 9_007_199_254_740_992.0;

/// Reads a whole number that JavaScript holds exactly.
pub(crate) fn integer(raw: &str) -> Option<i64> {
    if let Ok(exact) = raw.parse::<i64>() {
        #[expect(clippy::cast_precision_loss, reason = "only compared with a bound far from any rounding")]
        return (exact as f64).abs().le(&INTEGER_MAX).then_some(exact);
    }
    let value = Value::parse(raw).ok()?.as_number().filter(|value| value.abs() <= INTEGER_MAX)?;
    // Other spellings of whole numbers (`1e3`, `5.0`) print as plain digits once JavaScript has read them.
    Value::Number(value).to_json().parse().ok()
}

/// Digits of a nonce given as a string: more than any search can have tried.
const NONCE_CHARS_MAX: usize = 20;

/// Reads a nonce: a number, or the digits in a string, which hash alike.
fn nonce(raw: &str) -> Option<Box<str>> {
    if let Ok(Value::Text(text)) = Value::parse(raw) {
        let digits = text.escaped();
        let fits = (1..=NONCE_CHARS_MAX).contains(&digits.len());
        return (fits && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.into());
    }
    integer(raw).map(|nonce| nonce.to_string().into())
}

/// A record as somebody sent it: well formed, but not yet believed.
///
/// ```text
/// {"k":key,"a":author,"n":nonce,"t":unix ms,"h":hash,"s":signature,"v":value,"c":null|"MAP"|"LIST"|type}
/// hash      = sha256(JSON.stringify(v) ‖ a ‖ t ‖ n), lower-case hexadecimal
/// signature = ECDSA P-256/SHA-256 over the 64 characters of the hash
/// ```
///
/// The key and the type are under neither, so a record proves that its author wrote this value at this time,
/// and not where. The text is kept as received, with members this crate does not know.
#[derive(Clone)]
pub struct Record {
    raw: Box<str>,
    value: Range<usize>,
    key: Key,
    author: Address,
    nonce: Box<str>,
    time: UnixMillis,
    hash: Digest,
    signature: Signature,
    kind: Kind,
    /// Hash and signature were found to fit.
    genuine: bool,
}

impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        self.raw == other.raw
    }
}

impl Eq for Record {}

#[derive(Default)]
struct Members<'a> {
    key: Option<&'a str>,
    author: Option<&'a str>,
    nonce: Option<&'a str>,
    time: Option<&'a str>,
    hash: Option<&'a str>,
    signature: Option<&'a str>,
    value: Option<&'a str>,
    kind: Option<&'a str>,
}

impl<'a> Members<'a> {
    fn read(raw: &'a str) -> Result<Self, Rejected> {
        let mut members = Self::default();
        json::members(raw, |name, value| {
            let member = match name.escaped() {
                "k" => &mut members.key,
                "a" => &mut members.author,
                "n" => &mut members.nonce,
                "t" => &mut members.time,
                "h" => &mut members.hash,
                "s" => &mut members.signature,
                "v" => &mut members.value,
                "c" => &mut members.kind,
                _ => return,
            };
            *member = Some(value);
        })
        .map_err(|_| Rejected::InvalidData)?;
        Ok(members)
    }
}

impl Record {
    /// Reads a record.
    ///
    /// # Errors
    ///
    /// [`Rejected::InvalidData`] if a member is missing or of the wrong type, [`Rejected::TooLarge`] for the
    /// key, [`Rejected::InvalidSignature`] if the author, hash or signature cannot be one, so that no check of
    /// the signature could succeed.
    pub fn parse(raw: &str) -> Result<Self, Rejected> {
        let members = Members::read(raw)?;
        let value = members.value.ok_or(Rejected::InvalidData)?;
        let key = members.key.ok_or(Rejected::InvalidData).and_then(Key::from_json)?;
        let author = members.author.and_then(json::bare).ok_or(Rejected::InvalidData)?;
        let hash = members.hash.and_then(json::bare).ok_or(Rejected::InvalidData)?;
        let signature = members.signature.and_then(json::bare).ok_or(Rejected::InvalidData)?;
        let kind = members.kind.and_then(Kind::from_json).ok_or(Rejected::InvalidData)?;
        let nonce = members.nonce.and_then(nonce).ok_or(Rejected::InvalidData)?;
        let time = members.time.and_then(integer).map(UnixMillis).ok_or(Rejected::InvalidData)?;
        let start = value.as_ptr().addr() - raw.as_ptr().addr();
        Ok(Self {
            raw: raw.into(),
            value: start..start + value.len(),
            key,
            author: Address::parse(author).ok_or(Rejected::InvalidSignature)?,
            nonce,
            time,
            hash: hex_exact(hash).map(Digest).ok_or(Rejected::InvalidSignature)?,
            signature: Signature::parse(signature).ok_or(Rejected::InvalidSignature)?,
            kind,
            genuine: false,
        })
    }

    /// The text as received, byte for byte.
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// The name it is stored under.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Who claims to have written it.
    pub fn author(&self) -> Address {
        self.author
    }

    /// When, by the author's clock.
    pub fn time(&self) -> UnixMillis {
        self.time
    }

    /// The hash it carries.
    pub fn hash(&self) -> Digest {
        self.hash
    }

    /// How it meets other records of its key.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The value's JSON text as received.
    #[expect(clippy::missing_panics_doc, reason = "the range was taken from this text")]
    pub fn value(&self) -> &str {
        self.raw.get(self.value.clone()).expect("the range was taken from this text")
    }

    /// Newer records beat older ones; of equal times the greater hash wins, on every node alike.
    pub fn order(&self) -> Order {
        Order { time: self.time, hash: self.hash }
    }

    /// Tells whether the carried hash is that of the content. What the library sends is already in canonical
    /// form, so the text is hashed as it stands before it is brought into that form.
    pub(crate) fn hash_fits(&self) -> bool {
        let author = self.author.to_string();
        let fits = |value: &str| preimage(value, &author, self.time).and(&self.nonce).finish() == self.hash;
        fits(self.value()) || json::canonical(self.value()).is_ok_and(|value| fits(&value))
    }

    /// Tells whether the author signed the carried hash. Costs some 40 µs: ask last.
    pub(crate) fn signature_fits(&self) -> bool {
        self.author.signed(&self.hash.to_hex(), &self.signature)
    }

    /// Does the costly part of [`verify`](Self::verify) ahead of time, on any thread. What fits is not checked
    /// again; what does not is left to `verify` to refuse.
    #[must_use]
    pub fn inspect(mut self) -> Self {
        self.genuine = self.hash_fits() && self.signature_fits();
        self
    }

    pub(crate) fn is_genuine(&self) -> bool {
        self.genuine
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.raw)
    }
}

/// The order in which plain records of one key replace each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Order {
    /// The author's clock counts first.
    pub time: UnixMillis,
    /// Then the hash, so that nodes that saw equal times in another sequence still agree.
    pub hash: Digest,
}

/// Everything of the pre-image that stands before the nonce.
fn preimage(value: &str, author: &str, time: UnixMillis) -> Hasher {
    Hasher::new().and(value).and(author).and(&time.0.to_string())
}

/// Content that is yet to be signed.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// Where it goes.
    pub key: Key,
    /// What it says.
    pub value: Value,
    /// How it meets other records of its key.
    pub kind: Kind,
}

impl Draft {
    /// A plain value.
    pub fn plain(key: Key, value: Value) -> Self {
        Self { key, value, kind: Kind::Plain }
    }

    /// Signs the draft for networks that ask for no work.
    pub fn sign(&self, now: UnixMillis, author: &Identity) -> Record {
        let value = self.value.to_json();
        let hash = preimage(&value, &author.address().to_string(), now).and("0").finish();
        self.seal(&value, (now, 0, hash), author)
    }

    /// Starts the work that a network may ask for before a record counts.
    pub fn work(self, now: UnixMillis, author: Identity, difficulty: Difficulty) -> Work {
        let value = self.value.to_json();
        let head = preimage(&value, &author.address().to_string(), now);
        Work { draft: self, value, now, author, search: Search::new(head, difficulty) }
    }

    fn seal(&self, value: &str, (time, nonce, hash): (UnixMillis, u64, Digest), author: &Identity) -> Record {
        let hash_hex = hash.to_hex();
        let signature = author.sign(&hash_hex);
        let mut raw = String::from("{\"k\":");
        self.key.print(&mut raw);
        let UnixMillis(millis) = time;
        write!(raw, ",\"a\":\"{}\",\"n\":{nonce},\"t\":{millis},\"h\":\"{hash_hex}\"", author.address())
            .expect("writing to a String cannot fail");
        write!(raw, ",\"s\":\"{}\",\"v\":", signature.to_hex()).expect("writing to a String cannot fail");
        let start = raw.len();
        raw.push_str(value);
        let end = raw.len();
        raw.push_str(",\"c\":");
        self.kind.print(&mut raw);
        raw.push('}');
        Record {
            raw: raw.into(),
            value: start..end,
            key: self.key.clone(),
            author: author.address(),
            nonce: nonce.to_string().into(),
            time,
            hash,
            signature,
            kind: self.kind.clone(),
            genuine: true,
        }
    }
}

/// A draft whose proof of work is being searched for, in steps, so that a machine need not stand still.
pub struct Work {
    draft: Draft,
    value: String,
    now: UnixMillis,
    author: Identity,
    search: Search,
}

impl Work {
    /// Tries up to `tries` nonces more, about ten million a second; returns the signed record once one fits.
    pub fn step(&mut self, tries: u64) -> Option<Record> {
        let (nonce, hash) = self.search.step(tries)?;
        Some(self.draft.seal(&self.value, (self.now, nonce, hash), &self.author))
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").field("draft", &self.draft).finish_non_exhaustive()
    }
}
