//! What a version says, once decrypted.

use std::fmt;

use crate::bytes::{DecodeError, Reader, Writer, whole, written};
use crate::header::STATEMENT_MAX;
use crate::key::{Digest, Secret};
use crate::root::{FORMAT_VERSION, version};

const LINE_MAX: usize = 1_024;
const LABELS_MAX: usize = 32;
const ATTACHMENTS_MAX: usize = 64;

/// A value that is a person's own: its `Debug` shows nothing.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Private<T>(pub T);

impl<T> fmt::Debug for Private<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// Where attached bytes are and what opens them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The hash of the first page.
    pub root: Digest,
    /// The key of its chunks.
    pub key: Secret,
    /// Bytes.
    pub len: u64,
    /// As the author called it. A claim: clean it before a file system sees it.
    pub name: Private<String>,
    /// What it is said to be.
    pub media_type: String,
}

/// What a version says.
///
/// ```text
/// | version 1 | media type | archetype | reason | on behalf of | labels list | attachments list | body bytes |
/// attachment: | root 32 | key 32 | length uint | name | media type |
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statement {
    /// How to read the body, such as `application/fhir+json;fhirVersion=4.0`.
    pub media_type: String,
    /// An openEHR archetype that it follows, or nothing.
    pub archetype: String,
    /// Why the version was made.
    pub reason: Private<String>,
    /// For whom the author acts, or nothing.
    pub on_behalf_of: Private<String>,
    /// Categories.
    pub labels: Private<Vec<String>>,
    /// Files.
    pub attachments: Vec<Attachment>,
    /// The exact text that was said.
    pub body: Private<Vec<u8>>,
}

impl Statement {
    /// Reads what [`Statement::encode`] wrote.
    ///
    /// # Errors
    ///
    /// On any other bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        whole(bytes, |r| {
            version(r)?;
            Ok(Self {
                media_type: r.text(LINE_MAX)?,
                archetype: r.text(LINE_MAX)?,
                reason: Private(r.text(LINE_MAX)?),
                on_behalf_of: Private(r.text(LINE_MAX)?),
                labels: Private(r.list(LABELS_MAX, |r| r.text(LINE_MAX))?),
                attachments: r.list(ATTACHMENTS_MAX, read_attachment)?,
                body: Private(r.bytes(STATEMENT_MAX)?.to_vec()),
            })
        })
    }

    /// Writes the bytes that are encrypted.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        written(|w| {
            w.u8(FORMAT_VERSION).bytes(self.media_type.as_bytes()).bytes(self.archetype.as_bytes());
            w.bytes(self.reason.0.as_bytes()).bytes(self.on_behalf_of.0.as_bytes());
            w.list(&self.labels.0, |w, label| {
                w.bytes(label.as_bytes());
            });
            w.list(&self.attachments, write_attachment).bytes(&self.body.0);
        })
    }
}

fn read_attachment(r: &mut Reader<'_>) -> Result<Attachment, DecodeError> {
    Ok(Attachment {
        root: Digest::read(r)?,
        key: Secret::new(r.array()?),
        len: r.uint()?,
        name: Private(r.text(LINE_MAX)?),
        media_type: r.text(LINE_MAX)?,
    })
}

fn write_attachment(w: &mut Writer, attachment: &Attachment) {
    w.raw(&attachment.root.0).raw(attachment.key.expose()).uint(attachment.len);
    w.bytes(attachment.name.0.as_bytes()).bytes(attachment.media_type.as_bytes());
}
