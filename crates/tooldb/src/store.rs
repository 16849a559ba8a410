//! Where a replica keeps what it believes.

use crate::crdt::{Document, Shape};
use crate::digest::Digest;
use crate::json::Value;
use crate::key::Key;
use crate::keys::Address;
use crate::record::Record;
use crate::verify::{Claim, Verified};

/// What goes wrong below a replica: a full disk, a broken file.
#[derive(Debug, thiserror::Error)]
#[error("the store failed")]
// tidy-expect(string-error): hosts bring their own stores, and each store its own failures
pub struct StoreError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// A range of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The first key that may be in it.
    pub from: Key,
    /// The first key that is beyond it; `None` if it has no end.
    pub until: Option<Key>,
}

/// What there is of one key, for comparing: [`digest_of`] its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Which key.
    pub key: Key,
    /// What there is of it.
    pub digest: Digest,
}

/// What there is of a key, under one hash: equal wherever the same is known. Of a document its operations count,
/// not the records that brought them.
pub fn digest_of(plain: Option<&Record>, envelopes: &[Record], claim: Option<&Record>) -> Digest {
    if let (Some(plain), [], None) = (plain, envelopes, claim) {
        return plain.hash();
    }
    let mut parts: Vec<String> = Vec::new();
    parts.extend(plain.map(|plain| plain.hash().to_hex()));
    parts.extend(claim.map(|claim| format!("claim {}", claim.hash().to_hex())));
    for shape in [Shape::Map, Shape::List] {
        let mut whole = Document::new(shape);
        for envelope in envelopes.iter().filter(|envelope| Shape::of(envelope.kind()) == Some(shape)) {
            let value = Value::parse(envelope.value()).ok();
            if let Some(part) = value.and_then(|value| Document::from_value(shape, &value)) {
                whole.merge(&part);
            }
        }
        if !whole.is_empty() {
            parts.push(whole.to_value().to_json());
        }
    }
    let custom = envelopes.iter().filter(|envelope| Shape::of(envelope.kind()).is_none());
    let mut custom: Vec<String> = custom.map(|envelope| envelope.hash().to_hex()).collect();
    custom.sort_unstable();
    parts.extend(custom);
    Digest::of(&parts.join("\n"))
}

/// One change, to be made as a whole or not at all.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one at a time is made, and taken apart at once")]
pub enum Write {
    /// A plain record takes the place of whatever plain record its key had.
    Plain {
        /// What to keep.
        record: Verified<Record>,
        /// Who owns the name from now on, if it is one that can be owned.
        claim: Option<Claim>,
        /// What the former owner of the name had there, to be kept aside: they may turn out to be the owner yet.
        displaced: Option<Record>,
    },
    /// A record of a document joins those of its key.
    Envelope {
        /// What to keep.
        record: Verified<Record>,
        /// Who owns the name from now on, if it is one that can be owned.
        claim: Option<Claim>,
        /// Hashes of the key's records that add nothing to this one.
        superseded: Vec<Digest>,
    },
    /// The owner of a name turned out to have claimed it earlier.
    Claim {
        /// The claim, whose record tells the name.
        claim: Claim,
    },
}

/// A place for records. Reads see all writes before them.
///
/// A key has at most one plain record, and beside it any number of records that carry operations of a document
/// or values of the application's own types: their envelopes. Both are kept as received, so that whoever gets
/// them can check the signature.
pub trait Store {
    /// The plain record of a key.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    fn plain(&self, key: &Key) -> Result<Option<Record>, StoreError>;

    /// The envelopes of a key.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    fn envelopes(&self, key: &Key) -> Result<Vec<Record>, StoreError>;

    /// Who owns a `==` name.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    fn claim(&self, key: &Key) -> Result<Option<Claim>, StoreError>;

    /// What an author had under a name before it turned out to be another's, if it was kept.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    fn displaced(&self, key: &Key, author: &Address) -> Result<Option<Record>, StoreError>;

    /// The first `limit` keys that start with a text, in the order of their bytes.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    fn keys(&self, prefix: &Key, limit: usize) -> Result<Vec<Key>, StoreError>;

    /// All records of a key, each once: whoever is given them knows as much of it as this store.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    fn records(&self, key: &Key) -> Result<Vec<Record>, StoreError>;

    /// What there is of the first `limit` keys of a range, in the order of their bytes.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    fn states(&self, span: &Span, limit: usize) -> Result<Vec<State>, StoreError>;

    /// What there is of a key, if there is anything.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    fn state(&self, key: &Key) -> Result<Option<Digest>, StoreError>;

    /// Bytes of the records that an author has here.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    fn author_bytes(&self, author: &Address) -> Result<u64, StoreError>;

    /// Makes a change.
    ///
    /// # Errors
    ///
    /// If the store cannot be written. Then nothing has changed.
    fn write(&mut self, write: Write) -> Result<(), StoreError>;
}
