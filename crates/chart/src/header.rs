//! Signed headers, chained into one log for each author.

use crate::bytes::{DecodeError, Reader, Writer, whole, written};
use crate::clock::{Hlc, UnixMillis};
use crate::key::{AuthorKey, Digest, Domain, Identity, RecordId, Signature, hash};
use crate::operation::Operation;
use crate::root::{FORMAT_VERSION, version};
use crate::seal::{TAG_LEN, WRAPPED_LEN};

const HEADER: Domain = Domain("homing chart header");
const CONTENT: Domain = Domain("homing chart content");

/// Bytes of a header with its signature; an epoch of 64 members that supersedes 64 others fits.
pub const HEADER_MAX: usize = 24 * 1024;

/// Bytes of what a version says. Larger things are attachments.
pub const STATEMENT_MAX: usize = 256 * 1024;

/// Bytes of contents: the boxed key, what is said, and the tag.
pub(crate) const CONTENT_MAX: usize = WRAPPED_LEN + STATEMENT_MAX + TAG_LEN;

/// Encrypted contents that lie apart from the header: `epoch 32 | length uint | hash 32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRef {
    /// Whose key opens the box of the contents' own key.
    pub epoch: Digest,
    /// Bytes.
    pub len: u64,
    /// Of the bytes.
    pub digest: Digest,
}

impl ContentRef {
    pub(crate) fn of(epoch: Digest, content: &[u8]) -> Self {
        let len = u64::try_from(content.len()).expect("no length in memory is above 2^64");
        Self { epoch, len, digest: Digest(hash(&CONTENT, &[content])) }
    }

    /// Whether these are the bytes.
    pub(crate) fn fits(&self, content: &[u8]) -> bool {
        Self::of(self.epoch, content) == *self
    }
}

/// One link of a log, as signed by its author.
///
/// ```text
/// | version 1 | record 32 | author 32 | height uint | previous 32, if height > 0 | hlc u64le | wall u64le |
/// | contents option | operation | signature 64 |
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Of which record.
    pub record: RecordId,
    /// Whose log.
    pub author: AuthorKey,
    /// Its place there, from 0.
    pub height: u64,
    /// The header before it, zeros at height 0.
    pub previous: Digest,
    /// Its place in the order that people see.
    pub hlc: Hlc,
    /// What the author's clock said.
    pub wall: UnixMillis,
    /// Contents that lie apart.
    pub content: Option<ContentRef>,
    /// What it says.
    pub operation: Operation,
}

impl Header {
    fn unsigned(&self) -> Vec<u8> {
        written(|w| self.write(w))
    }

    fn write(&self, w: &mut Writer) {
        w.u8(FORMAT_VERSION);
        self.record.write(w);
        self.author.write(w);
        w.uint(self.height);
        if self.height > 0 {
            w.raw(&self.previous.0);
        }
        w.u64(self.hlc.0).u64(self.wall.0).option(self.content, |w, content| {
            w.raw(&content.epoch.0).uint(content.len).raw(&content.digest.0);
        });
        self.operation.write(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        version(r)?;
        let (record, author, height) = (RecordId::read(r)?, AuthorKey::read(r)?, r.uint()?);
        Ok(Self {
            record,
            author,
            height,
            previous: if height == 0 { Digest::ZERO } else { Digest::read(r)? },
            hlc: Hlc(r.u64()?),
            wall: UnixMillis::read(r)?,
            content: r.option(|r| {
                let (epoch, len, digest) = (Digest::read(r)?, r.uint()?, Digest::read(r)?);
                let max = u64::try_from(CONTENT_MAX).unwrap_or(u64::MAX);
                if len > max { Err(DecodeError::OutOfRange) } else { Ok(ContentRef { epoch, len, digest }) }
            })?,
            operation: Operation::read(r)?,
        })
    }

    /// Signs.
    #[must_use]
    pub fn sign(self, identity: &Identity) -> Signed {
        let bytes = self.unsigned();
        let id = Digest(hash(&HEADER, &[&bytes]));
        let signature = identity.sign(&HEADER, &[&bytes]);
        Signed { header: self, id, signature }
    }
}

/// A header with its name and a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    header: Header,
    id: Digest,
    signature: Signature,
}

impl Signed {
    /// Reads a header, and does not believe it.
    ///
    /// # Errors
    ///
    /// On bytes that are not exactly one header in its one form.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > HEADER_MAX {
            return Err(DecodeError::OutOfRange);
        }
        whole(bytes, |r| {
            let header = Header::read(r)?;
            let (unsigned, _) = bytes.split_at_checked(bytes.len() - r.rest().len()).unwrap_or((bytes, &[]));
            let id = Digest(hash(&HEADER, &[unsigned]));
            Ok(Self { header, id, signature: Signature::read(r)? })
        })
    }

    /// Writes what [`Signed::decode`] reads.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        written(|w| {
            self.header.write(w);
            self.signature.write(w);
        })
    }

    /// Checks the author's signature.
    ///
    /// # Errors
    ///
    /// If the author did not sign this.
    pub fn verify(&self) -> Result<(), DecodeError> {
        self.header.author.verify(&HEADER, &[&self.header.unsigned()], &self.signature)
    }

    /// The hash by which others refer to it: over everything but the signature, so that a second signature of the
    /// same words is no second header.
    #[must_use]
    pub const fn id(&self) -> Digest {
        self.id
    }

    /// What was signed.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }
}
