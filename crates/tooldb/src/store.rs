//! Where a replica keeps what it believes.

use crate::digest::Digest;
use crate::key::Key;
use crate::keys::Address;
use crate::record::Record;
use crate::verify::{Claim, Verified};

/// What goes wrong below a replica: a full disk, a broken file.
#[derive(Debug, thiserror::Error)]
#[error("the store failed")]
// tidy-expect(string-error): hosts bring their own stores, and each store its own failures
pub struct StoreError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// One change, to be made as a whole or not at all.
#[derive(Debug)]
pub enum Write {
    /// A plain record takes the place of whatever plain record its key had.
    Plain {
        /// What to keep.
        record: Verified<Record>,
        /// Who owns the name from now on, if it is one that can be owned.
        claim: Option<Claim>,
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
// tidy-expect(lone-trait): the machine opens no files; hosts implement this, and the tests have a twin
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

    /// The first `limit` keys that start with a text, in the order of their bytes.
    ///
    /// # Errors
    ///
    /// If the store cannot be read.
    fn keys(&self, prefix: &Key, limit: usize) -> Result<Vec<Key>, StoreError>;

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
